// The flags of commands that run a model on text: which model, which text, which parts of it, and what to say about
// them.
#pragma once
#include <string>
#include <vector>

#include <fovea/model.hpp>

#include "command.hpp"

namespace fovea::cli {

struct ModelFlags {
  std::string model = "demo";
  bool truncate = false;
  std::string written;  // of a model that writes: its translation, given
  const Flag* declare(Flags& flags, bool with_truncate = true, const char* otherwise = " (default)");
  Model load() const;
  /// What loading found odd, on stderr, as load() says it; for commands that open a model's parts themselves.
  static void report(const std::vector<std::string>& warnings);
  /// --written TEXT, for commands that look at runs.
  void declare_written(Flags& flags);
  /// The model over that text, and over what was written of it where that is given. What was cut off is said.
  Run run(const Model& model, const std::string& text) const;
  /// What --truncate left out is always said.
  static void report_cut(int cut);
};

/// --layer, --head and --kind: the parts of a model that a question is about.
struct PartFlags {
  std::string layer = "all", head = "all", kind;
  std::vector<int> layers, heads;  // of `layer` and `head` once read(); empty: all
  void declare(Flags& flags, const char* group);
  /// UsageError when a list is none.
  void read();
  /// They name what the model has, or nothing is shown as if it were all.
  void check(const models::Summary& model) const;
};

/// Tokens as every command's JSON has them; begin and end are byte offsets into their text.
Json tokens_json(const std::vector<Token>& tokens);

/// The argument TEXT, which text_or_stdin() reads.
const Flag* declare_text(Flags& flags, std::string& text);
/// --top K, at least 1.
Flag* declare_top(Flags& flags, int& top, const std::string& description);

/// "0,2-4" → 0, 2, 3, 4; "all" → empty. UsageError naming the flag.
std::vector<int> list_of_flag(const std::string& flag, const std::string& text);

/// A word as a POSIX shell reads it back: quoted only where it must be.
std::string shell_word(const std::string& word);
/// "next: <command>" to stdout, each to be pasted: lines too long for the terminal continue after a backslash.
void suggest(const std::vector<std::vector<std::string>>& commands);

}  // namespace fovea::cli
