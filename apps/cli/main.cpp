// The program `fovea`: finds the command, parses its line, runs it, and turns what went wrong into one line and an exit
// status.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "command.hpp"
#include "table.hpp"

namespace fovea::cli {

std::span<const Command* const> commands() {
  static constexpr const Command* kAll[] = {&kLook, &kMeasure, &kTranslate, &kEmbed, &kRun, &kAttend, &kExplain, &kBench, &kInfo};
  return kAll;
}

namespace {

enum Exit { kDone = 0, kFailed = 1, kUsage = 2 };

const Command* find(std::string_view name) {
  for (const Command* c : commands())
    if (c->name == name) return c;
  return nullptr;
}

/// An unknown flag is said first: what CLI11 found wrong besides usually follows from it.
std::string usage_message(const CLI::App& app, const std::string& what) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  for (const std::string& word : app.remaining()) {
    if (word.size() < 2 || word[0] != '-') continue;
    const std::string meant = nearest(word.substr(0, word.find('=')), known);
    return fmt::format("unknown flag {}{}", word, meant.empty() ? "" : fmt::format("; did you mean {}?", meant));
  }
  if (const auto rest = app.remaining(); !rest.empty())
    return fmt::format("unexpected argument '{}'; quote a text of several words", rest.front());
  return what;
}

int fail(Exit status, std::string_view message) {
  fmt::print(stderr, "fovea: {}\n", printable(message));
  return status;
}

int run_command(const Command& command, int argc, char** argv) {
  CLI::App app(command.summary);
  app.set_help_flag("-h,--help", "show this");
  const Job job = command.declare(app);
  std::vector<std::string> words(argv + 2, argv + argc);
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  try {
    app.parse(words);
    job();
  } catch (const CLI::CallForHelp&) { fmt::print("{}", command_help(command, app)); } catch (const CLI::ParseError& e) {
    return fail(kUsage, fmt::format("{}: {} (fovea {} --help shows all)", command.name, usage_message(app, e.what()),
                                    command.name));
  } catch (const UsageError& e) {
    return fail(kUsage, fmt::format("{}: {} (fovea {} --help shows all)", command.name, e.what(), command.name));
  }
  return kDone;
}

int run(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "--help";
  if (first == "-h" || first == "--help" || first == "help") {
    if (argc > 2 && find(argv[2])) {
      char help[] = "--help";
      char* line[] = {argv[0], argv[2], help};
      return run_command(*find(argv[2]), 3, line);
    }
    fmt::print("{}", program_help());
    return kDone;
  }
  if (first == "--version") {
    fmt::print("fovea {}\n", FOVEA_VERSION);
    return kDone;
  }
  if (const Command* command = find(first)) return run_command(*command, argc, argv);
  std::vector<std::string> names;
  for (const Command* c : commands()) names.emplace_back(c->name);
  const std::string meant = nearest(first, names);
  return fail(kUsage,
              fmt::format("unknown {} '{}'{}; the commands are {}", first.starts_with('-') ? "flag" : "command", first,
                          meant.empty() ? "" : fmt::format(", did you mean {}?", meant), fmt::join(names, ", ")));
}

}  // namespace
}  // namespace fovea::cli

int main(int argc, char** argv) {
  using namespace fovea::cli;
  int status = kFailed;
  try {
    watch_interrupts();
    status = run(argc, argv);
  } catch (const fovea::Error& e) { status = fail(kFailed, e.what()); } catch (const std::bad_alloc&) {
    status = fail(kFailed, "out of memory");
  } catch (const std::exception& e) { status = fail(kFailed, e.what()); }
  // A full disk or a closed pipe under stdout must not look like success.
  if ((std::fflush(stdout) != 0 || std::ferror(stdout)) && status == kDone)
    status = fail(kFailed, fmt::format("writing to standard output failed: {}", std::strerror(errno)));
  return status;
}
