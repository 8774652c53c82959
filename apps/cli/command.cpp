#include "command.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <pthread.h>
#include <signal.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/threads.hpp>

#include "attention_flags.hpp"
#include "core/edit_distance.hpp"
#include "core/utf8.hpp"
#include "io/input_file.hpp"
#include "table.hpp"

namespace fovea::cli {

void warn(std::string_view line) { fmt::print(stderr, "fovea: {}\n", printable(line)); }
void note(std::string_view line) {
  if (isatty(STDERR_FILENO)) warn(line);
}

namespace {
std::string& name_in_use() {
  static std::string name = "fovea";
  return name;
}
}  // namespace

const std::string& program_name() { return name_in_use(); }

void called_as(std::string_view argv0) {
  const bool relative = argv0.find('/') != argv0.npos && argv0.front() != '/';
  name_in_use() = relative ? argv0 : "fovea";
}

void Common::declare(Flags& flags, bool with_threads) {
  flags.add_flag("--json", json, "one JSON object on standard output instead of tables");
  if (!with_threads) return;
  const auto apply = [](const std::string& n) {
    set_threads(static_cast<int>(number_of_flag("--threads", n, 1, 1024)));
  };
  flags
      .add_option("--threads", apply,
                  "threads to compute with (default: what the machine offers); never changes a result")
      ->type_name("N");
}

void print_json(const Json& object) { fmt::print("{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace)); }

double short_decimal(float x) { return std::strtod(fmt::format("{}", x).c_str(), nullptr); }

// ------------------------------------------------------------------------------------------------------------------
// texts

void check_utf8(std::string_view text) {
  if (const auto at = first_bad_utf8(text))
    throw Error(fmt::format("the text is not UTF-8: byte {} is 0x{:02x}; convert it first (iconv -t UTF-8)", *at,
                            static_cast<unsigned>(static_cast<unsigned char>(text[*at]))));
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\v\f") == text.npos; }

std::string text_or_stdin(const Flag& option, const std::string& value) {
  std::string text = value;
  if (!option.given()) {
    if (isatty(STDIN_FILENO)) note("reading the text from the terminal; end it with Ctrl-D");
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  }
  if (is_blank(text)) throw Error("the text is empty: give it as an argument or on standard input");
  check_utf8(text);
  return text;
}

std::vector<std::string> stdin_lines() {
  if (isatty(STDIN_FILENO)) note("reading texts from the terminal, one a line; end with Ctrl-D");
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (is_blank(line)) continue;
    check_utf8(line);
    lines.push_back(std::move(line));
  }
  if (lines.empty()) throw Error("there is no text: give it as an argument or on standard input, one text a line");
  return lines;
}

std::vector<std::string> lines_of_file(const std::string& path) {
  constexpr std::int64_t kMost = 64 << 20;
  const std::string text = io::read_text(io::InputFile::open(path), kMost);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!is_blank(line)) check_utf8(line), lines.push_back(std::move(line));
    at = end + 1;
  }
  if (lines.empty()) throw Error(fmt::format("{}: holds no text; expected one text a line", path));
  return lines;
}

// ---------------------------------------------------------------------------------------------------------------
// spelling

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  std::string best;
  int fewest = 1 + static_cast<int>(word.size()) / 3;
  for (const std::string& candidate : candidates) {
    const bool prefix = word.size() >= 3 && candidate.starts_with(word);
    const int edits = prefix ? 1 : edit_distance(word, candidate);
    if (edits < fewest || (edits == fewest && best.empty())) best = candidate, fewest = edits;
  }
  return best;
}

// -------------------------------------------------------------------------------------------------------------
// interrupts

namespace {
std::atomic<bool> deferred = false, seen = false;
}
void defer_interrupts() { deferred = true; }
bool interrupted() { return seen; }

void watch_interrupts() {
  // Blocked here, before any other thread starts, the signals reach nobody but the thread that waits for them. Nothing
  // needs to be cleaned up: an output file takes its name only when it is whole.
  signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is a failed write, with its error line
  static sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([] {
    int signal = 0;
    do {
      while (sigwait(&signals, &signal) != 0) {}
    } while (deferred && !seen.exchange(true));
    constexpr char kWords[] = "fovea: interrupted\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, kWords, sizeof kWords - 1);
    _exit(128 + signal);
  }).detach();
}

}  // namespace fovea::cli
