// The program `fovea`: finds the command, parses its line, runs it, and turns what went wrong into one line and an exit
// status.
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

#include <fmt/format.h>

#include "command.hpp"
#include "study.hpp"
#include "table.hpp"

namespace fovea::cli {

std::span<const Command* const> commands() {
  static constexpr const Command* kAll[] = {&kLook,    &kMeasure, &kTranslate, &kEmbed, &kRun,   &kAttend,
                                            &kExplain, &kBench,   &kTrain,     &kStudy, &kPrune, &kInfo};
  return kAll;
}

namespace {

enum Exit { kDone = 0, kFailed = 1, kUsage = 2 };

const Command* find(std::string_view name) {
  for (const Command* c : commands())
    if (c->name == name) return c;
  return nullptr;
}

int fail(Exit status, std::string_view message) {
  fmt::print(stderr, "fovea: {}\n", printable(message));
  return status;
}

int run_command(const Command& command, std::span<char* const> words) {
  Flags flags(command.summary);
  const Job job = command.declare(flags);
  try {
    if (flags.parse(words))
      job();
    else
      fmt::print("{}", command_help(command, flags));
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
      return run_command(*find(argv[2]), std::array{+help});
    }
    if (argc < 3 || first != "help") {
      fmt::print("{}", program_help());
      return kDone;
    }
  }
  if (first == "--version") {
    fmt::print("fovea {}\n", FOVEA_VERSION);
    return kDone;
  }
  if (const Command* command = find(first))
    return run_command(*command, std::span(argv, static_cast<std::size_t>(argc)).subspan(2));
  std::vector<std::string> names;
  for (const Command* c : commands()) names.emplace_back(c->name);
  const std::string_view unknown = first == "help" ? argv[2] : first;  // of "help", what was asked about
  const std::string meant = nearest(unknown, names);
  return fail(
      kUsage,
      fmt::format("unknown {} '{}'{}; the commands are {}", unknown.starts_with('-') ? "flag" : "command", unknown,
                  meant.empty() ? "" : fmt::format(", did you mean {}?", meant), fmt::join(names, ", ")));
}

}  // namespace
}  // namespace fovea::cli

int main(int argc, char** argv) {
  using namespace fovea::cli;
  int status = kFailed;
  try {
    watch_interrupts();
    if (argc > 0) called_as(argv[0]);
    status = run(argc, argv);
  } catch (const fovea::Error& e) { status = fail(kFailed, e.what()); } catch (const std::system_error& e) {
    status =
        fail(kFailed, std::ferror(stdout) ? fmt::format("writing to standard output failed: {}", e.code().message())
                                          : std::string(e.what()));
  } catch (const std::bad_alloc&) { status = fail(kFailed, "out of memory"); } catch (const std::exception& e) {
    status = fail(kFailed, e.what());
  }
  // A full disk or a closed pipe under stdout must not look like success.
  if ((std::fflush(stdout) != 0 || std::ferror(stdout)) && status == kDone)
    status = fail(kFailed, fmt::format("writing to standard output failed: {}", std::strerror(errno)));
  return status;
}
