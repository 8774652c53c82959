// What every command of the program has, and what they share: errors, notes, JSON, texts.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <fovea/error.hpp>

#include "flags.hpp"

namespace fovea::cli {

using Json = nlohmann::ordered_json;
using Job = std::function<void()>;

struct Command {
  const char* name;
  const char* summary;     // one line of the program's help
  const char* usage;       // what follows the name
  const char* examples;    // ends the command's help; each can be pasted into a shell
  Job (*declare)(Flags&);  // declares the options, and returns what to do once they are parsed
};

extern const Command kLook, kMeasure, kTranslate, kEmbed, kRun, kAttend, kExplain, kBench, kTrain, kPrune, kInfo;
std::span<const Command* const> commands();

/// --json and --threads, which the commands that compute have in common.
struct Common {
  bool json = false;
  void declare(Flags& flags, bool with_threads = true);
};

/// What to call the program in a command that is suggested: as it was called where that says how to find it from here
/// ("build/fovea"), else "fovea".
const std::string& program_name();
void called_as(std::string_view argv0);

std::string program_help();
std::string command_help(const Command& command, const Flags& flags);
/// The candidate that a misspelt word most likely meant; empty when none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// One line on stderr, always: what a script's log should hold too (a slow path taken, text cut).
void warn(std::string_view line);
/// One line on stderr, on a terminal only: progress, what the program is waiting for.
void note(std::string_view line);

/// The one JSON object, on stdout. Text that is not UTF-8 is written with replacement characters; NaN and Inf as null.
void print_json(const Json& object);
/// A float as the shortest decimal that reads back to the same float, not its 17 digits as a double.
double short_decimal(float x);

/// TEXT as given, or all of stdin when it was not (without the line break at its end). Error unless it is UTF-8 and not
/// empty.
std::string text_or_stdin(const Flag& option, const std::string& value);
/// Nothing but white space: no text that a model could say anything of.
bool is_blank(std::string_view text);
/// Each line of stdin; Error when one is not UTF-8, or when there is none. Empty lines are skipped.
std::vector<std::string> stdin_lines();
/// The same of a file.
std::vector<std::string> lines_of_file(const std::string& path);
void check_utf8(std::string_view text);

/// Ends the program with status 130 on SIGINT (143 on SIGTERM) from a thread of its own, whatever the others are doing.
void watch_interrupts();
/// From now on the first SIGINT or SIGTERM only makes interrupted() true, for a command that saves what it has; a
/// second ends the program.
void defer_interrupts();
bool interrupted();

}  // namespace fovea::cli
