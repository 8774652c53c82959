// The program's first screen and each command's --help, wrapped to the terminal.
#include <algorithm>

#include <fmt/format.h>

#include "command.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

constexpr int kMostColumns = 100;  // longer lines of prose are hard to read, however wide the terminal

int columns() { return std::min(terminal().width, kMostColumns); }

/// "  name   description", the description wrapped beside the name or, when the name is long, below it.
std::string entry(const std::string& name, const std::string& text, int margin) {
  std::string out = "  " + paint(Ink::Bold, name);
  int at = 2 + display_width(name);
  if (at + 2 > margin && !text.empty()) out += '\n', at = 0;
  for (const std::string& line : wrap(text, columns() - margin)) {
    out += std::string(static_cast<std::size_t>(margin - at), ' ') + line + '\n';
    at = 0;
  }
  return out;
}

std::string section(const char* title) { return "\n" + paint(Ink::Accent, title) + "\n"; }

std::string paragraph(std::string_view text) {
  std::string out;
  for (const std::string& line : wrap(text, columns())) out += line + '\n';
  return out;
}

}  // namespace

std::string program_help() {
  std::string out = paragraph("fovea: attention you can compute, run and look inside.");
  out += section("Usage") + "  fovea COMMAND …\n";
  out += section("Commands");
  std::size_t longest = 0;
  for (const Command* c : commands()) longest = std::max(longest, std::string_view(c->name).size());
  for (const Command* c : commands()) out += entry(c->name, c->summary, static_cast<int>(longest) + 4);
  out += section("For all commands");
  out += entry("--json", "one JSON object on standard output, all else on standard error", 14);
  out += entry("--help", "options and examples of a command; --version prints the version", 14);
  out +=
      "\n" +
      paragraph(
          "MODEL is a folder in Hugging Face layout (config.json, model.safetensors, tokenizer.json), an org/name that "
          "is already in the local hub cache, or demo, which needs not be named: a translator that is part of "
          "the program. Nothing is downloaded.");
  out += section("Examples");
  out +=
      "  fovea translate --look \"The bank by the river was flooded.\"\n"
      "  fovea look \"The bank by the river was flooded.\" --token bank\n"
      "  fovea measure \"The bank by the river was flooded.\" --cut bank:river\n"
      "  fovea explain --shape 1x32x4096x128 --kv-heads 8 --causal\n";
  return out;
}

std::string command_help(const Command& command, const Flags& flags) {
  std::string out = paragraph(fmt::format("fovea {}: {}", command.name, flags.about()));
  out += section("Usage") + fmt::format("  fovea {} {}\n", command.name, command.usage);
  const std::vector<Flags::Entry> entries = flags.entries();
  std::vector<std::string> groups;
  for (const Flags::Entry& e : entries)
    if (std::find(groups.begin(), groups.end(), e.group) == groups.end()) groups.push_back(e.group);
  std::rotate(groups.begin(), groups.begin() + 1, groups.end());  // the first holds --help and what is common: last
  for (const std::string& group : groups) {
    out += section(group.c_str());
    for (const Flags::Entry& e : entries)
      if (e.group == group) out += entry(e.names, e.about, 28);
  }
  if (!flags.footer().empty()) out += "\n" + paragraph(flags.footer());
  out += section("Examples");
  out += command.examples;
  return out;
}

}  // namespace fovea::cli
