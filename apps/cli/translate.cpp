// fovea translate: a text as an encoder–decoder writes it, or every line of standard input.
#include <iostream>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "alignment_table.hpp"
#include "attention_flags.hpp"
#include "command.hpp"
#include "model_flags.hpp"
#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

struct TranslateRequest {
  Common common;
  ModelFlags model;
  TranslateOptions how;
  std::string text;
};

Json to_json(const Translation& t) {
  Json json{{"translation", t.text},
            {"tokens", tokens_json(t.tokens)},
            {"target_tokens", tokens_json(t.target_tokens)},
            {"score", t.score}};
  if (!t.alignment.empty()) json["alignment"] = alignment_json(t.alignment);
  return json;
}

void report(const Model& model, const std::vector<Translation>& translations) {
  int cut = 0;
  for (const Translation& t : translations) {
    cut += t.cut;
    if (!t.whole)
      warn(fmt::format("a translation was stopped at {} tokens before its end; {}", t.target_tokens.size(),
                       std::cmp_less(t.target_tokens.size() + 1, model.summary().positions)
                           ? "--max-length allows more"
                           : "the model has no positions for more"));
  }
  ModelFlags::report_cut(cut);
}

void one(const TranslateRequest& o, const Model& model) {
  const Translation t = model.translate(o.text, o.how);
  report(model, {t});
  if (o.common.json) {
    Json json{{"model", o.model.model}};
    json.update(to_json(t));
    return print_json(json);
  }
  say(o.text, 2, Ink::Dim);
  say(t.text, 2, Ink::Bold);
  fmt::print("\n");
  if (o.how.align) print_alignment(t.tokens, t.target_tokens, t.alignment, t.alignment.size());
  say(fmt::format("score {:.3f}: the mean log-probability of {} tokens", t.score, t.target_tokens.size()), 2);
  fmt::print("\n");
  suggest({o.how.align ? std::vector<std::string>{"fovea", "look", "--model", o.model.model, o.text}
                       : std::vector<std::string>{"fovea", "translate", "--model", o.model.model, "--look", o.text},
           {"fovea", "translate", "--model", o.model.model, "--beams", "4", o.text}});
}

/// Finds the line that cannot be translated and says so; returns where each can be alone.
void refuse_line(const TranslateRequest& o, const Model& model, const std::vector<std::string>& texts,
                 std::size_t done) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (is_blank(texts[i])) continue;
    try {
      model.translate(texts[i], o.how);
    } catch (const Error& e) { throw Error(fmt::format("line {}: {}", done + i + 1, e.what())); }
  }
}

/// Line by line, so that line n of what comes out is line n of what went in; empty lines stay empty.
void lines(const TranslateRequest& o, const Model& model) {
  constexpr std::size_t kBatch = 256;
  if (isatty(STDIN_FILENO)) note("reading texts from the terminal, one a line; end with Ctrl-D");
  Json all = Json::array();
  std::size_t done = 0;
  for (bool more = true; more;) {
    std::vector<std::string> texts, batch;
    for (std::string line; texts.size() < kBatch && (more = static_cast<bool>(std::getline(std::cin, line)));) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      check_utf8(line);
      texts.push_back(line);
      if (!is_blank(line)) batch.push_back(line);
    }
    std::vector<Translation> translations;
    try {
      translations = model.translate(batch, o.how);
    } catch (const Error&) {
      refuse_line(o, model, texts, done);
      throw;
    }
    report(model, translations);
    auto next = translations.begin();
    for (const std::string& text : texts) {
      const Translation translation = is_blank(text) ? Translation() : std::move(*next++);
      o.common.json ? all.push_back(to_json(translation)) : fmt::print("{}\n", printable(translation.text));
    }
    done += texts.size();
  }
  if (done == 0) throw Error("there is no text: give it as an argument or on standard input, one text a line");
  if (o.common.json) print_json({{"model", o.model.model}, {"translations", std::move(all)}});
}

void run(TranslateRequest& o, const Flag& text) {
  o.how.truncate = o.model.truncate;
  const Model model = o.model.load();
  if (o.text == "-") return lines(o, model);
  o.text = text_or_stdin(text, o.text);
  one(o, model);
}

Job declare_translate(Flags& flags) {
  auto o = std::make_shared<TranslateRequest>();
  const Flag* text =
      flags.add_option("TEXT", o->text, "the text to translate (default: standard input); - for every line of it")
          ->type_name("TEXT");
  const auto number = [&flags](const char* flag, int& to, int least, const char* what) {
    flags
        .add_option(
            flag,
            [flag, &to, least](const std::string& n) { to = static_cast<int>(number_of_flag(flag, n, least, 1000)); },
            what)
        ->type_name("N");
  };
  number("--beams", o->how.beams, 1,
         "beams of the search, 1 for the likeliest word each time (default: as the model's folder says)");
  number("--max-length", o->how.max_length, 2,
         "tokens of a translation, its start and end included (default: as the model's folder says)");
  flags.add_flag("--look", o->how.align,
                 "show which source word each written one looked at (last decoder layer, mean over heads)");
  o->model.declare(flags);
  o->common.declare(flags);
  return [o, text] { run(*o, *text); };
}

}  // namespace

const Command kTranslate{"translate", "a text as an encoder–decoder writes it", "[TEXT|-] [options]",
                         "  fovea translate \"The animal didn't cross the street because it was too wide.\"\n"
                         "  fovea translate --look \"The bank by the river was flooded.\"\n"
                         "  fovea translate --beams 4 --json \"The bank was flooded.\"\n"
                         "  printf 'The bank was flooded.\\nThe cat slept.\\n' | fovea translate -\n"
                         "  fovea translate --model path/to/marian \"A sentence of the language it reads.\"\n",
                         declare_translate};

}  // namespace fovea::cli
