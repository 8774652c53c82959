#include "look/writing.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "look/readout.hpp"
#include "runtime/search.hpp"

namespace fovea::look {
namespace {

/// n copies of the pass over one source, as a decoder reads it.
models::Result copies_of(const models::Result& read, std::size_t n) {
  models::Result all{.ends = {}, .hidden = repeated(read.hidden, n), .layers = {}, .hidden_states = {}};
  for (std::size_t i = 1; i <= n; ++i) all.ends.push_back(static_cast<int>(i) * read.ends.front());
  return all;
}

/// A decoder's pass without what the variants remove from one of its two attentions.
models::DecoderPass decoder_pass(const std::string& kind, const Extent& of, std::span<const Variant* const> variants) {
  models::Pass edit = pass_without(variants, of);
  models::DecoderPass pass;
  (kind == "cross" ? pass.cross_mask : pass.mask) = std::move(edit.mask);
  (kind == "cross" ? pass.cross_values : pass.values) = std::move(edit.values);
  (kind == "cross" ? pass.cross_heads : pass.heads) = std::move(edit.heads);
  return pass;
}

// ------------------------------------------------------------------------------------------------------- writing anew

struct Lack {
  const std::string& kind;
  Extent extent;  // as it was
  const Variant& variant;
  std::span<const Token> draft;  // what each step read when nothing lacked …
  const Rerun::Hidden& reread;   // … and what becomes of it now
};

/// Without caches: a mask is of whole passes. One text takes what was written before for a draft of what it will read:
/// one pass over both answers every step until a word differs, and the next one goes on behind that word (Leviathan et
/// al. 2023, arXiv 2211.17192, with the text as it was in place of a smaller model). The first such pass is there
/// already.
class Rereading final : public models::Decoding {
 public:
  Rereading(const models::EncoderDecoder& model, const models::Result& sources, const Lack& lack)
      : model_(model),
        sources_(sources),
        lack_(lack),
        rows_(1),
        known_(sequence_of(lack.draft)),
        hidden_(lack.reread.written) {}

  Tensor step(std::span<const int> ids) override {
    for (std::size_t i = 0; i < ids.size(); ++i) rows_[i].ids.push_back(ids[i]);
    if (rows_.size() == 1) return drafted();
    const models::Result result = read(rows_);
    std::vector<int> last;
    for (const int end : result.ends) last.push_back(end - 1);
    return model_.vocabulary_logits(rows_at(result.hidden, last));
  }
  void select(std::span<const int> rows) override {
    std::vector<models::Sequence> chosen;
    for (const int r : rows) chosen.push_back(rows_[static_cast<std::size_t>(r)]);
    rows_ = std::move(chosen);
  }

 private:
  Tensor drafted() {
    const std::vector<int>& ids = rows_.front().ids;
    if (known_.ids.size() < ids.size() || !std::equal(ids.begin(), ids.end(), known_.ids.begin())) {
      known_.ids = ids;
      for (std::size_t i = ids.size(); i < lack_.draft.size(); ++i) known_.ids.push_back(lack_.draft[i].id);
      hidden_ = read({&known_, 1}).hidden;
      steps_ = {};
    }
    const int last = static_cast<int>(ids.size()) - 1;
    if (last < steps_.begin || last >= steps_.end) {
      constexpr int kAhead = 16;  // side by side at nearly the cost of one
      steps_ = {last, std::min(last + kAhead, static_cast<int>(hidden_.shape()[0]))};
      std::vector<int> next(static_cast<std::size_t>(steps_.end - steps_.begin));
      std::iota(next.begin(), next.end(), last);
      logits_ = model_.vocabulary_logits(rows_at(hidden_, next));
    }
    const int row = last - steps_.begin;
    return rows_at(logits_, {&row, 1});
  }

  /// Rows of one length.
  models::Result read(std::span<const models::Sequence> rows) const {
    const models::Result copies = copies_of(sources_, rows.size());
    if (lack_.kind == "encoder") return model_.decode(copies, rows);  // it lacks nothing here
    Extent now = lack_.extent;
    now.queries = static_cast<int>(rows.front().ids.size());
    if (lack_.kind == "decoder") now.keys = now.queries;
    const std::vector<const Variant*> variants(rows.size(), &lack_.variant);
    return model_.decode(copies, rows, decoder_pass(lack_.kind, now, variants));
  }

  const models::EncoderDecoder& model_;
  const models::Result& sources_;
  Lack lack_;
  std::vector<models::Sequence> rows_;
  models::Sequence known_;  // of one text: what the last pass read, …
  Tensor hidden_;           // … what became of it, [tokens, width], …
  Tensor logits_;           // … and what some of its steps say, [steps, vocabulary]
  Range steps_;
};

/// The model as a search sees it, without what is lacking.
class Lacking final : public models::EncoderDecoder {
 public:
  Lacking(const models::EncoderDecoder& model, const Lack& lack) : model_(model), lack_(lack) {}
  const models::Summary& summary() const override { return model_.summary(); }
  models::TargetTokens target_tokens() const override { return model_.target_tokens(); }
  models::Result encode(std::span<const models::Sequence> sources, const models::Pass&) const override {
    if (lack_.kind != "encoder") return model_.encode(sources);
    if (sources.size() != 1) throw Error("writing anew without something: one text at a time");
    return {.ends = {static_cast<int>(lack_.reread.read.shape()[0])},
            .hidden = lack_.reread.read,
            .layers = {},
            .hidden_states = {}};
  }
  models::Result decode(const models::Result& sources, std::span<const models::Sequence> targets,
                        const models::DecoderPass& pass) const override {
    return model_.decode(sources, targets, pass);
  }
  Tensor vocabulary_logits(const Tensor& hidden) const override { return model_.vocabulary_logits(hidden); }
  std::unique_ptr<models::Decoding> begin(const models::Result& sources) const override {
    return std::make_unique<Rereading>(model_, sources, lack_);
  }

 private:
  const models::EncoderDecoder& model_;
  Lack lack_;
};

std::span<const int> without_start(const runtime::Written& w) { return std::span(w.ids).subspan(1); }

}  // namespace

models::Sequence sequence_of(std::span<const Token> tokens) {
  models::Sequence s;
  for (const Token& t : tokens) s.ids.push_back(t.id);
  return s;
}

namespace {

/// What each step of `w` read, and the pass in which it did.
void read_again(const ModelParts& model, const models::Result& read, const CheckWritten& check, Writing& w) {
  if (check) check(std::ssize(w.tokens));
  w.inputs.push_back({0, w.how.start, model.reader.piece(w.how.start), 0, 0, true});
  for (const Token& t : std::span(w.tokens).first(w.tokens.size() - 1)) {
    w.inputs.push_back(t);
    ++w.inputs.back().index;
  }
  models::DecoderPass pass;
  pass.record_attention = pass.record_hidden = true;
  const models::Sequence target = sequence_of(w.inputs);
  w.result = model.writer->decode(read, {&target, 1}, pass);
}

/// Nothing yet, to be written as the folder says.
Writing nothing_written(const ModelParts& model) {
  Writing w;
  w.how = runtime::generation_of(model.folder, model.writer->target_tokens(), model.writer->summary());
  w.how.results = 1;
  return w;
}

}  // namespace

Writing write(const ModelParts& model, const models::Sequence& source, const models::Result& read,
              const CheckWritten& check) {
  Writing w = nothing_written(model);
  const auto found = runtime::write(*model.writer, {&source, 1}, w.how);
  w.text = model.reader.written(without_start(found.front().front()), w.tokens);
  read_again(model, read, check, w);
  return w;
}

Writing as_written(const ModelParts& model, std::string_view text, const models::Result& read,
                   const CheckWritten& check) {
  Writing w = nothing_written(model);
  Reading reading = model.reader.read(text, {}, TooLong::Refuse, "the translation");
  model.reader.refuse_unknown(text, reading, "the translation");
  w.text = text;
  w.tokens = std::move(reading.tokens);
  const int end = model.writer->target_tokens().end;
  if (w.tokens.empty() || w.tokens.back().id != end)
    w.tokens.push_back({static_cast<int>(w.tokens.size()), end, model.reader.piece(end), 0, 0, true});
  read_again(model, read, check, w);
  return w;
}

Rerun::Hidden Rerun::of(std::size_t sequence) const {
  const auto part = [&](const models::Result& all) {
    if (all.ends.empty()) return Tensor();
    const int begin = sequence == 0 ? 0 : all.ends[sequence - 1];
    std::vector<int> rows(static_cast<std::size_t>(all.ends[sequence] - begin));
    std::iota(rows.begin(), rows.end(), begin);
    return rows_at(all.hidden, rows);
  };
  return {part(read), part(written)};
}

Rerun decode_without(const models::EncoderDecoder& model, const Passage& passage, const std::string& kind,
                     const Extent& of, std::span<const Variant* const> variants, std::span<const Range> steps) {
  const std::size_t n = variants.size();
  const int layer = lowest_layer(*variants.front());
  const std::vector<models::Sequence> targets(n, passage.target);
  const std::vector<Range> whole(n, Range{0, static_cast<int>(passage.target.ids.size())});
  const std::span read = steps.empty() ? std::span(whole) : steps;
  models::Repeat writing = repeat_of(passage.written, passage.layers, kind, of, variants, read);
  const bool known = !passage.layers.empty();
  if (kind == "encoder") {
    models::Pass pass = pass_without(variants, of);
    const Tensor start = repeated(passage.read.hidden_states[static_cast<std::size_t>(layer)], n);
    const std::vector<Range> all(n, Range{0, of.queries});
    const models::Repeat reading = repeat_of(passage.read, passage.layers, kind, of, variants, all);
    pass.first_layer = layer, pass.start = &start;
    pass.repeat = known ? &reading : nullptr;
    models::Result anew = model.encode(std::vector(n, passage.source), pass);
    models::DecoderPass then;
    writing.new_sources = true;
    then.repeat = known ? &writing : nullptr;
    models::Result written = model.decode(anew, targets, then);
    return {std::move(anew), std::move(written)};
  }
  models::DecoderPass pass = decoder_pass(kind, of, variants);
  const Tensor start = repeated(passage.written.hidden_states[static_cast<std::size_t>(layer)], n);
  pass.first_layer = layer, pass.start = &start;
  pass.repeat = known && !pass.cross_heads ? &writing : nullptr;
  return {{}, model.decode(copies_of(passage.read, n), targets, pass)};
}

std::string rewritten(const ModelParts& model, const models::Sequence& source, const Writing& before,
                      const std::string& kind, const Extent& of, const Variant& variant, const Rerun::Hidden& reread) {
  const Lacking lacking(*model.writer, {kind, of, variant, before.inputs, reread});
  const auto found = runtime::write(lacking, {&source, 1}, before.how);
  const std::span written = without_start(found.front().front());
  if (std::ranges::equal(written, sequence_of(before.tokens).ids)) return before.text;
  std::vector<Token> tokens;
  return model.reader.written(written, tokens);
}

}  // namespace fovea::look
