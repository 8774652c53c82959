// The flags and arguments of one command. CLI11 reads them, in flags.cpp alone: it is long, and a file that includes it
// takes many times as long to build.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace fovea::cli {

/// The command line is wrong (exit status 2), as against the input (fovea::Error, exit status 1).
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One of them, as it was declared.
class Flag {
 public:
  explicit Flag(CLI::Option* option) : option_(option) {}
  Flag* type_name(const char* name);  ///< what stands for its value in the help
  Flag* group(const std::string& title);
  Flag* required();
  Flag* one_of(std::vector<std::string> words);
  bool given() const;

 private:
  CLI::Option* option_;
};

class Flags {
 public:
  explicit Flags(const char* about);
  ~Flags();

  /// `names` as in "-o,--output", or "TEXT" for an argument without a name.
  Flag* add_option(const char* names, std::string& value, const std::string& about);
  Flag* add_option(const char* names, std::vector<std::string>& values, const std::string& about);
  Flag* add_option(const char* names, std::optional<int>& value, const std::string& about);
  Flag* add_option(const char* names, std::optional<double>& value, const std::string& about);
  /// Calls `set` with the text of the value; a UsageError that it throws is one of the line.
  Flag* add_option(const char* names, std::function<void(const std::string&)> set, const std::string& about);
  Flag* add_flag(const char* names, bool& value, const std::string& about);

  /// False when --help was asked for. UsageError when the line does not fit.
  bool parse(std::span<char* const> words);

  void footer(const std::string& text) { footer_ = text; }  ///< the last paragraph of the help

  struct Entry {
    std::string names, about, group;  // "-o, --output FILE"
  };
  std::vector<Entry> entries() const;
  const std::string& about() const { return about_; }
  const std::string& footer() const { return footer_; }

 private:
  Flag* keep(CLI::Option* option);
  std::string mistake(const std::string& what) const;
  std::string about_, footer_;
  std::unique_ptr<CLI::App> app_;
  std::deque<Flag> flags_;  // stays where it is while it grows
};

}  // namespace fovea::cli
