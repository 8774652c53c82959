// Attention in parts: over one set of keys at a time, joined by LSE, and over a few queries at a time.
//
// Each part of a row is a state of the softmax monoid: what it put out, and the log of what it divided by. With
// m = ln Σ_i e^lse_i over the parts, out = Σ_i e^(lse_i − m)·out_i and lse = m are those of all keys at once (Milakov &
// Gimelshein 2018, arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135). So a cache may lie in several places, or on
// several machines, and the part that many sequences share (a common prompt) is attended to once:
//
//   // example: a prompt and what came after it, never side by side in memory
//   Attention early = attend(q, prompt_k, prompt_v);
//   Attention late = attend(q, recent_k, recent_v, causal());
//   Partial all = merge(early, late);
//   // end
//
// A long prompt needs no merging to be read in chunks: causal() stands the last query on the last key, so queries are
// attended to a chunk at a time while the cache grows, and only a chunk's memory is ever in use:
//
//   // example: chunked prefill
//   for (std::int64_t at = 0; at < n; at += 256) {
//     const std::int64_t end = std::min(at + 256, n);
//     Attention chunk = attend(part(q, at, end), part(k, 0, end), part(v, 0, end), causal());
//     use(chunk.out, at);
//   }
//   // end
//
// Chunks in which more than 16 rows share a KV head (rows: queries × the heads that share it), of a prompt of as many,
// have the bits of the whole. Shorter ones are read as decoding reads, and agree with it within the contract's bound.
#pragma once
#include <optional>
#include <span>

#include <fovea/attention.hpp>

namespace fovea {

/// What attention over some keys gave: all that merging needs.
struct Partial {
  Tensor out;  // [batch, time, heads, value_dim], any float dtype
  Tensor lse;  // F32 [batch, heads, time]; −∞ where no key was visible: such a row of `out` is not even read

  Partial() = default;
  Partial(Tensor out, Tensor lse) : out(std::move(out)), lse(std::move(lse)) {}
  Partial(const Attention& a) : out(a.out), lse(a.lse) {}  // NOLINT: a whole is a part
};

/// Attention over the keys of both parts, which must have none in common. A sink joins one part alone.
///
/// Associative and commutative within rounding, commutative bitwise; a row of (anything, −∞) is the identity: then the
/// other's row is returned bit by bit. Sums are float64, rounded once to the dtype of the parts: keep 16-bit parts in
/// F32 (attend's output(DType::F32)) when many are to be merged one after another. Weights of a part times
/// e^(part.lse − merged.lse) are those of the whole. Throws Error when shapes or dtypes differ.
Partial merge(const Partial& a, const Partial& b);
/// The same for any number of parts at once, each read once. At least one.
Partial merge(std::span<const Partial> parts, std::optional<DType> output = std::nullopt);

}  // namespace fovea
