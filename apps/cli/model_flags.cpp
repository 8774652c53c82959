#include "model_flags.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "attention_flags.hpp"
#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {

const Flag* ModelFlags::declare(Flags& flags, bool with_truncate, const char* otherwise) {
  const Flag* given =
      flags
          .add_option("--model", model,
                      fmt::format("a folder in Hugging Face layout, an org/name in the local hub cache, or demo, the "
                                  "translator in the program{}",
                                  otherwise))
          ->type_name("MODEL");
  if (with_truncate)
    flags.add_flag("--truncate", truncate, "cut a text that is longer than the model's positions, and say how much");
  return given;
}

Model ModelFlags::load() const {
  Model loaded = fovea::load(model);
  report(loaded.summary().warnings);
  return loaded;
}

void ModelFlags::report(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) warn(warning);
}

void ModelFlags::declare_written(Flags& flags) {
  flags
      .add_option(
          "--written", written,
          "of a model that writes: this translation in the place of its own; each step reads what stands before "
          "it there")
      ->type_name("TEXT")
      ->group("Model");
}

Run ModelFlags::run(const Model& model, const std::string& text) const {
  if (!written.empty()) return model.forced(text, written);
  int cut = 0;
  Run run = model(text, truncate, &cut);
  report_cut(cut);
  return run;
}

void ModelFlags::report_cut(int cut) {
  if (cut > 0)
    warn(fmt::format("--truncate left out {} token{} at the end, beyond the model's positions", cut,
                     cut == 1 ? "" : "s"));
}

void PartFlags::declare(Flags& flags, const char* group) {
  constexpr const char* kList = "all (default), or a list as in 0,2-4";
  flags.add_option("--layer", layer, kList)->type_name("LIST")->group(group);
  flags.add_option("--head", head, kList)->type_name("LIST")->group(group);
  flags.add_option("--kind", kind, "encoder, decoder or cross (default: the self-attention over the text)")
      ->type_name("KIND")
      ->one_of({"encoder", "decoder", "cross"})
      ->group(group);
}

void PartFlags::read() { layers = list_of_flag("--layer", layer), heads = list_of_flag("--head", head); }

void PartFlags::check(const models::Summary& model) const {
  const auto check_list = [](const char* flag, const std::vector<int>& list, int count) {
    for (const int i : list)
      if (i >= count) throw Error(fmt::format("{} {}: this model has {}, 0 to {}", flag, i, count, count - 1));
  };
  const bool decoder = kind == "decoder" || kind == "cross";  // its heads are checked where its attention is at hand
  check_list("--layer", layers, decoder ? model.decoder_layers : model.layers);
  if (!decoder) check_list("--head", heads, model.heads);
}

Json tokens_json(const std::vector<Token>& tokens) {
  Json list = Json::array();
  for (const Token& t : tokens)
    list.push_back({{"index", t.index}, {"id", t.id}, {"text", t.text}, {"begin", t.begin}, {"end", t.end}});
  return list;
}

const Flag* declare_text(Flags& flags, std::string& text) {
  return flags.add_option("TEXT", text, "the text to read (default: standard input)")->type_name("TEXT");
}

Flag* declare_top(Flags& flags, int& top, const std::string& description) {
  const auto set = [&top](const std::string& n) { top = static_cast<int>(number_of_flag("--top", n, 1, 1'000'000)); };
  return flags.add_option("--top", set, description)->type_name("K");
}

std::vector<int> list_of_flag(const std::string& flag, const std::string& text) {
  std::vector<int> list;
  if (text.empty() || text == "all") return list;
  constexpr int kMost = 100'000;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string_view item = std::string_view(text).substr(at, end - at);
    const std::size_t dash = item.find('-');
    const auto number = [&](std::string_view digits) {
      int value = -1;
      const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      const bool whole = error == std::errc() && stop == digits.data() + digits.size();
      return whole && value <= kMost ? value : -1;
    };
    const int first = number(item.substr(0, dash)), last = dash == item.npos ? first : number(item.substr(dash + 1));
    if (first < 0 || last < first)
      throw UsageError(
          fmt::format("{} {}: expected numbers and ranges as in 0,2-4, each from 0 to {}", flag, text, kMost));
    for (int i = first; i <= last; ++i) list.push_back(i);
    at = end + 1;
  }
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

std::string shell_word(const std::string& word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("-_./:=,+@%").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  if (const auto steers = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
      std::any_of(word.begin(), word.end(), steers)) {  // named, not sent to the terminal
    std::string quoted = "$'";
    for (const char c : word)
      if (steers(c))
        quoted += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
      else
        c == '\'' || c == '\\' ? (quoted += '\\') += c : quoted += c;
    return quoted + "'";
  }
  const bool double_quotes = word.find_first_of("\"$`\\!") == std::string::npos;
  if (double_quotes) return '"' + word + '"';
  std::string quoted = "'";
  for (const char c : word) c == '\'' ? quoted += "'\\''" : quoted += c;
  return quoted + "'";
}

namespace {

/// The command without what it would take anyway, and each flag in one piece with its value, so that no line breaks
/// between them.
std::vector<std::string> pieces_of(const std::vector<std::string>& command) {
  std::vector<std::string> pieces;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const bool more = i + 1 < command.size(), flag = command[i].starts_with("--");
    if (more && command[i] == "--model" && command[i + 1] == "demo" && command[1] != "info") {
      ++i;
      continue;
    }
    pieces.push_back(shell_word(i == 0 ? program_name() : command[i]));
    if (flag && more && !command[i + 1].starts_with("--")) pieces.back() += ' ' + shell_word(command[++i]);
  }
  return pieces;
}

}  // namespace

void suggest(const std::vector<std::vector<std::string>>& commands) {
  constexpr int kMargin = 6;
  const std::string margin(kMargin, ' ');
  bool first = true;
  for (const auto& command : commands) {
    std::string line = first ? paint(Ink::Dim, "next: ") : margin;
    int used = kMargin;
    first = false;
    const std::vector<std::string> pieces = pieces_of(command);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const std::string& word = pieces[i];
      const int width = display_width(word) + (i == 0 ? 0 : 1);
      if (i > 0 && used + width + (i + 1 < pieces.size() ? 2 : 0) > terminal().width) {
        fmt::print("{} \\\n", line);
        line = margin + "  ", used = kMargin + 2;
      } else if (i > 0) {
        line += ' ';
      }
      line += word;
      used += width;
    }
    fmt::print("{}\n", line);
  }
}

}  // namespace fovea::cli
