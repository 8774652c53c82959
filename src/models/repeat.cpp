#include "models/repeat.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace fovea::models {
namespace {

using Ranges = std::vector<Range>;  // one a copy

bool is_none(Range r) { return r.begin >= r.end; }
int count_of(Range r) { return is_none(r) ? 0 : r.end - r.begin; }
}  // namespace

Range hull(Range a, Range b) {
  if (is_none(a) || is_none(b)) return is_none(a) ? b : a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

namespace {

bool same(const Ranges& a, const Ranges& b) {
  return std::ranges::equal(a, b, [](Range x, Range y) { return x.begin == y.begin && x.end == y.end; });
}
Range both(Range a, Range b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }

/// Where each copy's rows end, lying one after another.
std::vector<int> row_ends(const Ranges& rows) {
  std::vector<int> ends;
  for (const Range r : rows) ends.push_back((ends.empty() ? 0 : ends.back()) + count_of(r));
  return ends;
}

/// The rows of each copy that differ from the original: x F32 [Σ rows, width]. Nowhere: `at` is empty.
struct Differing {
  Ranges at;
  Tensor x;
  Range of(std::size_t copy) const { return at.empty() ? Range{} : at[copy]; }
};

/// Rows `wanted` of each copy: from `rows`, which lie at `at`, where they are there, else from `original`, whose first
/// dimensions are 1 (or none) and time. F32 [Σ wanted, row].
Tensor gathered(const Ranges& wanted, const Ranges& at, const Tensor& rows, const Tensor& original, std::int64_t row) {
  if (same(wanted, at)) return rows.reshape({row_ends(wanted).back(), row});
  Tensor all = Tensor::unset(DType::F32, {row_ends(wanted).back(), row});
  float* to = all.data<float>();
  const float* from = at.empty() ? nullptr : rows.data<float>();
  for (std::size_t c = 0; c < wanted.size(); ++c) {
    const Range w = wanted[c], own = at.empty() ? Range{} : both(w, at[c]);
    const auto copy = [&](const float* source, Range r) {
      if (!is_none(r)) std::copy_n(source, count_of(r) * row, to + (r.begin - w.begin) * row);
    };
    if (is_none(own)) {
      copy(original.data<float>() + w.begin * row, w);
    } else {
      copy(original.data<float>() + w.begin * row, {w.begin, own.begin});
      copy(from + (own.begin - at[c].begin) * row, own);
      copy(original.data<float>() + own.end * row, {own.end, w.end});
    }
    to += count_of(w) * row;
    if (!at.empty()) from += count_of(at[c]) * row;
  }
  return all;
}

/// A mask that numbers queries as the original does, for passes in which each copy's begin at a row of its own.
class Shifted {
 public:
  Shifted(AnyMask mask, const Ranges& asked) : mask_(std::move(mask)) {
    for (const Range r : asked) first_.push_back(r.begin);
  }
  bool operator()(Site s) const {
    s.query += first_[static_cast<std::size_t>(s.batch)];
    return mask_(s);
  }
  Cover cover(Tile t) const {
    const int first = first_[static_cast<std::size_t>(t.batch)];
    t.query = {t.query.begin + first, t.query.end + first};
    std::array<std::uint64_t, kTileQueries> bits;
    return tile_bits(mask_, t, bits.data());
  }

 private:
  AnyMask mask_;
  std::vector<int> first_;  // [copies]
};

AnyMask shifted(const std::function<AnyMask(int)>& mask, int layer, const Ranges& asked) {
  AnyMask whole = mask ? mask(layer) : AnyMask();
  return whole.view().self ? AnyMask(Shifted(std::move(whole), asked)) : whole;
}

/// What a mask hides, and the rows of each copy that it is asked about; empty: all.
struct Masked {
  AnyMask mask;
  Ranges at;
};

/// out [1, Σ rows, heads, dim] with `some` [1, Σ at, heads, dim] in its place, at [copies] within rows.
Tensor overwritten(const Tensor& out, const Ranges& rows, const Tensor& some, const Ranges& at) {
  Tensor all = out;  // nobody else has seen it
  const std::int64_t row = out.shape()[2] * out.shape()[3];
  float* to = all.data<float>();
  const float* from = some.data<float>();
  for (std::size_t c = 0; c < rows.size(); ++c) {
    std::copy_n(from, count_of(at[c]) * row, to + (at[c].begin - rows[c].begin) * row);
    from += count_of(at[c]) * row, to += count_of(rows[c]) * row;
  }
  return all;
}

/// One stack's pass over copies.
class Repetition {
 public:
  Repetition(const Repeat& of, const Pass& pass, std::size_t layers) : of_(of), copies_(of.read.size()) {
    if (of.hidden_states.size() != layers + 1 || pass.first_layer < 0 || pass.first_layer > static_cast<int>(layers))
      throw Error(fmt::format("a pass is repeated from layer {} with {} hidden states; expected {} of {} layers",
                              pass.first_layer, of.hidden_states.size(), layers + 1, layers));
    tokens_ = static_cast<int>(of.hidden_states.back().shape()[0]);
  }

  std::size_t copies() const { return copies_; }
  int tokens() const { return tokens_; }
  Range all() const { return {0, tokens_}; }
  const Tensor& input(int layer) const { return of_.hidden_states[static_cast<std::size_t>(layer)]; }
  Range touched(const char* kind, int layer, std::size_t copy) const {
    return of_.kind == kind ? of_.touched(layer, copy) : Range{};
  }
  Range read(std::size_t copy) const { return of_.read[copy]; }
  const LayerRecord& record(const char* kind, int layer) const {
    for (const LayerRecord& r : of_.layers)
      if (r.kind == kind && r.layer == layer) return r;
    throw Error(fmt::format("a pass is repeated without the record of {} layer {}", kind, layer));
  }

  /// What a half is asked of each copy: all that is reached and needed; where that is nothing in one copy and something
  /// in another, a row that comes out as it was. Empty when there is nothing in any.
  template <class Reached, class Needed>
  Ranges asked(Reached reached, Needed needed) const {
    Ranges all;
    bool any = false;
    for (std::size_t c = 0; c < copies_; ++c) {
      const Range need = needed(c), r = both(reached(c), need);
      any = any || !is_none(r);
      all.push_back(is_none(r) ? Range{need.end - 1, need.end} : r);
    }
    return any ? all : Ranges();
  }

  /// Keys and values of every copy, `seen` rows of each; what differs is of the rows that differ, in all copies.
  nn::KeysValues keys_values(const LayerRecord& record, const Ranges& seen, const Differing& in,
                             const nn::KeysValues& differing, const std::function<void(int, Tensor&)>& edit) const {
    const auto copied = [&](const Tensor& was, const Tensor& rows, const Ranges& wanted) {
      const std::int64_t heads = was.shape()[2], dim = was.shape()[3];
      const Tensor all = gathered(wanted, in.at, rows, was, heads * dim);
      return all.reshape({1, all.shape()[0], heads, dim});
    };
    Tensor k = copied(record.k, differing.k, seen);
    if (!edit) return {k, copied(record.v, differing.v, seen)};
    const Ranges whole(copies_, Range{0, static_cast<int>(record.v.shape()[1])});
    Tensor v = copied(record.v, differing.v, whole);  // an edit numbers them so
    edit(record.layer, v);
    return {k, gathered_heads(seen, whole, v)};
  }

  /// A layer's mask over the rows that it touches alone, where they are few: it costs more than attention itself.
  Masked masked(const std::function<AnyMask(int)>& mask, const char* kind, int layer, const Ranges& asked) const {
    Ranges few;
    for (std::size_t c = 0; c < copies_; ++c) {
      const Range r = both(touched(kind, layer, c), asked[c]);
      few.push_back(is_none(r) ? Range{asked[c].begin, asked[c].begin + 1} : r);
    }
    if (2 * row_ends(few).back() > row_ends(asked).back()) few.clear();
    AnyMask shown = shifted(mask, layer, few.empty() ? asked : few);
    return shown.view().self ? Masked{std::move(shown), std::move(few)} : Masked{};
  }

  /// The attention half where it is asked. `was`: its input in the original, [tokens, width].
  Differing attend(const nn::AttentionHalf& half, const LayerRecord& record, const Ranges& asked, const Differing& in,
                   const Tensor& was, const nn::KeysValues& kv, const Ranges& seen, const Masked& masked) const {
    const std::int64_t width = was.shape()[1];
    const Tensor x = gathered(asked, in.at, in.x, was, width);  // [Σ asked, width]
    const Tensor q = queries(half, record, asked, in);
    const std::vector<int> ends = row_ends(asked), key_ends = row_ends(seen);
    const auto left = [&](const AttentionSpec& spec, const nn::OutputEdit& edit) {
      return Differing{asked, half.left(half.block.mixed(q, kv, spec, nullptr, edit), x)};
    };
    if (masked.at.empty()) return left(AttentionSpec(packed(ends, key_ends), masked.mask), {});
    const std::vector<int> masked_ends = row_ends(masked.at);
    return left(AttentionSpec(packed(ends, key_ends)), [&](const Tensor& out) {
      const Tensor some = gathered(masked.at, asked, q, q, q.shape()[2] * q.shape()[3]);
      const Attention a = fovea::attend(some.reshape({1, some.shape()[0], q.shape()[2], q.shape()[3]}), kv.k, kv.v,
                                        AttentionSpec(packed(masked_ends, key_ends), masked.mask));
      return overwritten(out, asked, a.out, masked.at);
    });
  }

  /// The last layer's output of every copy, rows that were not computed as they were.
  Result result(const Differing& last) const {
    Result r;
    for (std::size_t c = 1; c <= copies_; ++c) r.ends.push_back(static_cast<int>(c) * tokens_);
    const Tensor& was = of_.hidden_states.back();
    r.hidden = gathered(Ranges(copies_, all()), last.at, last.x, was, was.shape()[1]);
    return r;
  }

 private:
  static Tensor gathered_heads(const Ranges& seen, const Ranges& whole, const Tensor& v) {
    const std::int64_t heads = v.shape()[2], dim = v.shape()[3];
    const Tensor all = gathered(seen, whole, v, v, heads * dim);
    return all.reshape({1, all.shape()[0], heads, dim});
  }

  /// Of rows that differ anew, of all others as they were: [1, Σ asked, heads, head_dim].
  static Tensor queries(const nn::AttentionHalf& half, const LayerRecord& record, const Ranges& asked,
                        const Differing& in) {
    const std::int64_t heads = record.q.shape()[2], dim = record.q.shape()[3];
    Ranges moved;  // both asked and different
    for (std::size_t c = 0; c < asked.size(); ++c) {
      const Range r = both(asked[c], in.of(c));
      moved.push_back(is_none(r) ? Range{asked[c].begin, asked[c].begin} : r);
    }
    Tensor anew;
    const bool any = row_ends(moved).back() > 0;
    if (any) anew = half.queries(gathered(moved, in.at, in.x, in.x, in.x.shape()[1]));
    const Tensor q = gathered(asked, any ? moved : Ranges(), anew, record.q, heads * dim);
    return q.reshape({1, q.shape()[0], heads, dim});
  }

  const Repeat& of_;
  std::size_t copies_;
  int tokens_ = 0;
};

/// Keys and values of the rows that differ; nothing where none does.
nn::KeysValues own_keys_values(const nn::AttentionHalf& half, const Differing& in) {
  return in.at.empty() ? nn::KeysValues() : half.keys_values(in.x);
}

/// The two attentions of a decoder's layer, one after the other.
class DecoderRepetition {
 public:
  DecoderRepetition(const Repetition& copies, const Result& sources, const DecoderPass& pass, int layers)
      : copies_(copies), sources_(sources), pass_(pass), layers_(layers) {}

  Differing layer(const nn::DecoderLayer& layer, int i, const Differing& in) const {
    const Differing h = self(layer.self_half(), i, in);
    Differing out = cross(layer, i, h);
    if (!out.at.empty()) out.x = layer.feed_forward(out.x);
    return out;
  }

 private:
  Range needed(int layer, std::size_t copy) const {
    const Range read = copies_.read(copy);
    return layer + 1 == layers_ ? read : Range{0, read.end};
  }

  Differing self(const nn::AttentionHalf& half, int i, const Differing& in) const {
    const auto reached = [&](std::size_t c) {
      const Range later = is_none(in.of(c)) ? Range{} : Range{in.of(c).begin, copies_.tokens()};
      return hull(later, copies_.touched("decoder", i, c));
    };
    const Ranges asked = copies_.asked(reached, [&](std::size_t c) { return needed(i, c); });
    if (asked.empty()) return {};
    const LayerRecord& record = copies_.record("decoder", i);
    Ranges seen;  // the last query stands on the last key
    for (const Range a : asked) seen.push_back({0, a.end});
    const nn::KeysValues kv = copies_.keys_values(record, seen, in, own_keys_values(half, in), pass_.values);
    return copies_.attend(half, record, asked, in, copies_.input(i), kv, seen,
                          Masked{AnyMask(causal() & shifted(pass_.mask, i, asked)), {}});
  }

  Differing cross(const nn::DecoderLayer& layer, int i, const Differing& h) const {
    const auto reached = [&](std::size_t c) {
      if (pass_.repeat->new_sources) return copies_.all();
      return hull(h.of(c), copies_.touched("cross", i, c));
    };
    const Ranges asked = copies_.asked(reached, [&](std::size_t c) { return needed(i, c); });
    if (asked.empty()) return {};
    const nn::AttentionHalf half = layer.cross_half(), before = layer.self_half();
    const LayerRecord &record = copies_.record("cross", i), &own = copies_.record("decoder", i);
    const Tensor was = before.left(before.block.joined(own.attention.out), copies_.input(i));  // [tokens, width]
    const Ranges seen(copies_.copies(), Range{0, static_cast<int>(record.k.shape()[1])});
    const bool anew = pass_.repeat->new_sources;
    const Differing memory = anew ? Differing{seen, sources_.hidden} : Differing();
    const nn::KeysValues kv = copies_.keys_values(
        record, seen, memory, anew ? half.block.project(memory.x) : nn::KeysValues(), pass_.cross_values);
    return copies_.attend(half, record, asked, h, was, kv, seen, copies_.masked(pass_.cross_mask, "cross", i, asked));
  }

  const Repetition& copies_;
  const Result& sources_;
  const DecoderPass& pass_;
  int layers_;
};

}  // namespace

bool repeats(const Pass& pass) { return pass.repeat && !pass.heads && !pass.record_attention && !pass.record_hidden; }

Result repeat_encoder(std::span<const nn::EncoderLayer> layers, const Pass& pass) {
  const Repetition copies(*pass.repeat, pass, layers.size());
  const int count = static_cast<int>(layers.size());
  Differing x;
  for (int i = pass.first_layer; i < count; ++i) {
    const nn::EncoderLayer& layer = layers[static_cast<std::size_t>(i)];
    const nn::AttentionHalf half = layer.attention_half();
    const auto reached = [&](std::size_t c) {
      return is_none(x.of(c)) ? copies.touched("encoder", i, c) : copies.all();
    };
    const auto needed = [&](std::size_t c) { return i + 1 == count ? copies.read(c) : copies.all(); };
    const Ranges asked = copies.asked(reached, needed);
    if (asked.empty()) {
      x = {};
      continue;
    }
    const LayerRecord& record = copies.record("encoder", i);
    const Ranges seen(copies.copies(), copies.all());
    const nn::KeysValues kv = copies.keys_values(record, seen, x, own_keys_values(half, x), pass.values);
    x = copies.attend(half, record, asked, x, copies.input(i), kv, seen, copies.masked(pass.mask, "encoder", i, asked));
    x.x = layer.feed_forward(x.x);
  }
  return copies.result(x);
}

Result repeat_decoder(std::span<const nn::DecoderLayer> layers, const Result& sources, const DecoderPass& pass) {
  const Repetition copies(*pass.repeat, pass, layers.size());
  const int count = static_cast<int>(layers.size());
  const DecoderRepetition decoder(copies, sources, pass, count);
  Differing x;
  for (int i = pass.first_layer; i < count; ++i) x = decoder.layer(layers[static_cast<std::size_t>(i)], i, x);
  return copies.result(x);
}

}  // namespace fovea::models
