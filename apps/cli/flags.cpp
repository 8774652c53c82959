#include "flags.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "command.hpp"

namespace fovea::cli {
namespace {

std::string shown_names(const CLI::Option& option) {
  if (option.get_positional()) return option.get_name(true);
  std::string names;
  for (const std::string& s : option.get_snames()) names += (names.empty() ? "-" : ", -") + s;
  for (const std::string& s : option.get_lnames()) names += (names.empty() ? "--" : ", --") + s;
  if (option.get_type_size() != 0 && !option.get_type_name().empty()) names += " " + option.get_type_name();
  return names;
}

}  // namespace

Flag* Flag::type_name(const char* name) { return option_->type_name(name), this; }
Flag* Flag::group(const std::string& title) { return option_->group(title), this; }
Flag* Flag::required() { return option_->required(), this; }
Flag* Flag::one_of(std::vector<std::string> words) {
  // Its own description would stand behind the type's name, which says these words already.
  return option_->check(CLI::IsMember(std::move(words)).description("")), this;
}
bool Flag::given() const { return option_->count() > 0; }

Flags::Flags(const char* about) : about_(about), app_(std::make_unique<CLI::App>(about)) {
  app_->set_help_flag("-h,--help", "show this");
}
Flags::~Flags() = default;

Flag* Flags::keep(CLI::Option* option) {
  // An empty shell variable must not read as if the flag had been left out.
  if (!option->get_positional())
    option->check(CLI::Validator(
        [](const std::string& value) {
          return value.empty() ? std::string("expected a value, found an empty one") : "";
        },
        ""));
  return &flags_.emplace_back(option);
}

Flag* Flags::add_option(const char* names, std::string& value, const std::string& about) {
  return keep(app_->add_option(names, value, about));
}
Flag* Flags::add_option(const char* names, std::vector<std::string>& values, const std::string& about) {
  return keep(app_->add_option(names, values, about));
}
Flag* Flags::add_option(const char* names, std::optional<int>& value, const std::string& about) {
  return add_option(
      names,
      [name = std::string(names), &value](const std::string& text) {
        int read = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
        if (error != std::errc() || end != text.data() + text.size())
          throw UsageError(fmt::format("{} {}: expected a whole number", name, text));
        value = read;
      },
      about);
}
Flag* Flags::add_option(const char* names, std::optional<double>& value, const std::string& about) {
  return add_option(
      names,
      [name = std::string(names), &value](const std::string& text) {
        char* end = nullptr;
        value = std::strtod(text.c_str(), &end);
        if (text.empty() || end != text.c_str() + text.size())
          throw UsageError(fmt::format("{} {}: expected a number", name, text));
      },
      about);
}
Flag* Flags::add_option(const char* names, std::function<void(const std::string&)> set, const std::string& about) {
  return keep(app_->add_option_function<std::string>(names, set, about));
}
Flag* Flags::add_flag(const char* names, bool& value, const std::string& about) {
  return keep(app_->add_flag(names, value, about));
}

/// An unknown flag is said first: what CLI11 found wrong besides usually follows from it.
std::string Flags::mistake(const std::string& what) const {
  std::vector<std::string> known;
  for (const CLI::Option* option : std::as_const(*app_).get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  for (const std::string& word : app_->remaining()) {
    if (word.size() < 2 || word[0] != '-') continue;
    const std::string meant = nearest(word.substr(0, word.find('=')), known);
    return fmt::format("unknown flag {}{}", word, meant.empty() ? "" : fmt::format("; did you mean {}?", meant));
  }
  if (const auto rest = app_->remaining(); !rest.empty())
    return fmt::format("unexpected argument '{}'; quote a text of several words", rest.front());
  return what;
}

bool Flags::parse(std::span<char* const> words) {
  std::vector<std::string> line(words.rbegin(), words.rend());  // CLI11 takes them from the back
  try {
    app_->parse(line);
  } catch (const CLI::CallForHelp&) { return false; } catch (const CLI::ArgumentMismatch& e) {
    const std::string_view what = e.what();
    const std::string flag(what.substr(0, what.find(':')));
    const bool missing = what.ends_with("missing");
    throw UsageError(mistake(missing ? fmt::format("{} wants a value, and the line ends before it", flag)
                                     : fmt::format("{} is given more than once", flag)));
  } catch (const CLI::ParseError& e) { throw UsageError(mistake(e.what())); }
  return true;
}

std::vector<Flags::Entry> Flags::entries() const {
  std::vector<Entry> entries;
  for (const CLI::Option* o : std::as_const(*app_).get_options())
    entries.push_back({shown_names(*o), o->get_description(), o->get_positional() ? "Arguments" : o->get_group()});
  return entries;
}

}  // namespace fovea::cli
