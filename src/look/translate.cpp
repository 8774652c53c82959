// What a model that writes does with texts.
#include <algorithm>

#include <fmt/format.h>

#include <fovea/model.hpp>

#include "look/alignment.hpp"
#include "look/model_parts.hpp"
#include "runtime/search.hpp"

namespace fovea {

namespace {

/// Reads what was written once more, as it was written: row i of the decoder chose token i of the translation.
void align(const models::EncoderDecoder& model, std::span<const models::Sequence> sources, int start,
           std::span<Translation> translations) {
  std::vector<models::Sequence> targets;
  for (const Translation& t : translations) {
    models::Sequence& target = targets.emplace_back();
    target.ids = {start};
    for (const Token& token : std::span(t.target_tokens).first(t.target_tokens.size() - 1))
      target.ids.push_back(token.id);
  }
  models::DecoderPass pass;
  pass.record_attention = true;
  const models::Result written = model.decode(model.encode(sources), targets, pass);
  const models::LayerRecord& cross = written.layers.back();
  for (std::size_t i = 0; i < translations.size(); ++i)
    translations[i].alignment = look::alignment_path(cross, static_cast<int>(i), translations[i].tokens);
}

}  // namespace

bool Model::writes() const { return parts_->writer != nullptr; }

Translation Model::translate(std::string_view text, const TranslateOptions& options) const {
  const std::string one(text);
  return translate(std::span(&one, 1), options).front();
}

std::vector<Translation> Model::translate(std::span<const std::string> texts, const TranslateOptions& options) const {
  if (!writes()) {
    throw Error(
        fmt::format("{}: this model only reads (model_type {}); to translate takes an encoder–decoder (marian, bart)",
                    parts_->folder.string(), summary().family));
  }
  if (options.align && summary().heads == 0)
    throw Error(fmt::format("{}: this model has no attention: it writes from one vector of the whole source, so that no "
                            "word looks at another; ask for the translation alone",
                            parts_->folder.string()));
  runtime::Generation how = runtime::generation_of(parts_->folder, parts_->writer->target_tokens(), summary());
  if (options.beams > 0) how.beams = options.beams;
  how.results = 1;
  if (options.max_length > summary().positions + 1) {
    throw Error(fmt::format("max_length {}: the model has {} positions; ask for at most {}", options.max_length,
                            summary().positions, summary().positions + 1));
  }
  if (options.max_length > 0) how.max_length = options.max_length;
  std::vector<Translation> translations;
  std::vector<models::Sequence> sources;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string what = texts.size() == 1 ? "the text" : fmt::format("text {}", i + 1);
    look::Reading reading =
        parts_->reader.read(texts[i], {}, options.truncate ? look::TooLong::Cut : look::TooLong::Refuse, what);
    if (reading.sequence.ids.empty()) throw Error(fmt::format("{} has no words; there is nothing to translate", what));
    parts_->reader.refuse_unknown(texts[i], reading, what);
    sources.push_back(std::move(reading.sequence));
    Translation& t = translations.emplace_back();
    t.tokens = std::move(reading.tokens);
    t.cut = reading.cut;
  }
  const std::vector<std::vector<runtime::Written>> written = runtime::write(*parts_->writer, sources, how);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const runtime::Written& best = written[i].front();
    const std::span<const int> ids = std::span(best.ids).subspan(1);  // without the start token, which nobody wrote
    translations[i].text = parts_->reader.written(ids, translations[i].target_tokens);
    translations[i].score = best.score;
    translations[i].whole = std::ranges::find(how.ends, ids.back()) != how.ends.end();
  }
  if (options.align) align(*parts_->writer, sources, how.start, translations);
  return translations;
}

}  // namespace fovea
