// attend(q, k, v, parts…): exact attention over the caller's own memory, in O(n) memory, and what can be asked of it
// afterwards.
//
// Parts may come in any order, each at most once: a mask, a score, scale(), sinks(), lengths() or packed(), output(),
// kernel().
#pragma once
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <fovea/mask.hpp>
#include <fovea/paged.hpp>
#include <fovea/score.hpp>
#include <fovea/tensor.hpp>

namespace fovea {

struct Scale {
  double value;
};
struct Sinks {
  std::span<const float> logits;
};
struct Lengths {
  std::span<const int> queries, keys;
};
struct Packed {
  std::span<const int> queries, keys;
};
struct Output {
  DType dtype;
};
struct KernelName {
  std::string name;
};

/// What QKᵀ is multiplied by; 1/√head_dim when not given. Finite.
constexpr Scale scale(double value) { return {value}; }
/// One logit per head that joins the softmax's denominator and has no value (attention sinks as in gpt-oss). Borrowed.
constexpr Sinks sinks(std::span<const float> logits) { return {logits}; }
/// Batch rows shorter than the tensors: [batch] lengths; an empty span means full length. Rows of `out` beyond are
/// zero, LSE −inf.
constexpr Lengths lengths(std::span<const int> queries, std::span<const int> keys) { return {queries, keys}; }
/// Sequences packed along time in tensors of batch 1, given by their ascending ends. Each is attended to by itself,
/// bitwise as alone.
constexpr Packed packed(std::span<const int> ends) { return {ends, ends}; }
constexpr Packed packed(std::span<const int> query_ends, std::span<const int> key_ends) {
  return {query_ends, key_ends};
}
/// dtype of out; the query's when not given.
constexpr Output output(DType dtype) { return {dtype}; }
/// Insist on a kernel by name (see explain); Error when it refuses the problem.
inline KernelName kernel(std::string name) { return {std::move(name)}; }

/// Asks for statistics of rows, for the `top` (at most 16) greatest weights of each, exactly, and for the mass that
/// segments of the keys receive: [keys of the longest batch row] each key's segment, 0, 1, …, at most 32 of them, or −1
/// for none. Borrowed. See RowStatistics.
struct Statistics {
  int top = 0;
  std::span<const int> segments = {};
};
constexpr Statistics statistics(int top = 0, std::span<const int> segments = {}) { return {top, segments}; }

/// All that composes into an attention problem besides the tensors.
struct AttentionSpec {
  AnyMask mask;
  AnyScore score;
  std::optional<double> scale;
  std::span<const float> sinks;
  Lengths lengths;
  Packed packed;
  std::optional<DType> output;
  std::string kernel;  // empty: the best that accepts
  std::optional<Statistics> statistics;

  AttentionSpec() = default;
  template <class... Parts>
  requires(sizeof...(Parts) > 0 &&
           !(sizeof...(Parts) == 1 && (std::same_as<std::remove_cvref_t<Parts>, AttentionSpec> &&
                                       ...))) explicit AttentionSpec(Parts&&... parts) {
    static_assert((0 + ... + int{Mask<std::remove_cvref_t<Parts>>}) <= 1,
                  "attend: one mask; compose masks with & and |");
    static_assert((0 + ... + int{Score<std::remove_cvref_t<Parts>>}) <= 1, "attend: one score; compose scores with |");
    (set(std::forward<Parts>(parts)), ...);
  }

 private:
  template <Mask M>
  void set(M m) {
    mask = AnyMask(std::move(m));
  }
  template <Score S>
  void set(S s) {
    score = AnyScore(std::move(s));
  }
  void set(Scale s) { scale = s.value; }
  void set(Sinks s) { sinks = s.logits; }
  void set(Lengths l) { lengths = l; }
  void set(Packed p) { packed = p; }
  void set(Output o) { output = o.dtype; }
  void set(KernelName k) { kernel = std::move(k.name); }
  void set(Statistics s) { statistics = s; }
};

/// What the forward pass has gathered of each row besides LSE and the greatest score; empty where statistics() did not
/// ask. F32 [batch, heads, time]; zeros for a row that sees nothing.
struct RowStatistics {
  Tensor entropy;   // H_i = lse − Σ_j A_ij s_ij, nats (Clark et al. 2019, arXiv 1906.04341); a sink is one more term
  Tensor distance;  // Σ_j A_ij |i − j|, as rows and keys are numbered (Vig & Belinkov 2019, 1906.04284)
  Tensor first;     // A_i0: what is parked on the first key (Xiao et al. 2023, 2309.17453)
  Tensor segments;  // [batch, heads, time, segments] Σ A_ij over each segment's keys
  std::vector<int> top_key;       // [batch, heads, time, top] heaviest first; −1 where the row has fewer
  std::vector<float> top_weight;  // the same
};

class Attention;
struct Trace;
struct TraceQuery;

/// What the numbers inside a score receive: those of a bias, ALiBi's slopes, a soft-cap's cap.
struct ScoreGradient {
  std::string name;  // "bias", "alibi", "softcap"
  Tensor value;      // F32 [batch, heads, queries, keys], 1 where the number is shared: [1, heads, 1, 1] for ALiBi
};
enum class Wanted { Inputs, InputsAndScore };

/// Gradients of Σ out ∘ dout, each rounded once to its input's dtype.
struct Gradients {
  Tensor dq, dk, dv;                 // shaped as q, k, v
  Tensor dsinks;                     // F32 [heads]; empty without sinks
  std::vector<ScoreGradient> score;  // in order of composition; empty unless wanted
};
/// The backward pass of an attention, from its LSE, in O(n) memory: weights are rebuilt tile by tile, masks and scores
/// (with their slopes) are those of the forward pass. dout: shape of a.out; F64 only where the reference ran. The same
/// bits for any number of threads. With Wanted::InputsAndScore also what the score's own numbers receive, summed over
/// what shares them: one pass more over every tile. Throws Error as attend() does.
Gradients backward(const Attention& a, const TensorView& dout, Wanted wanted = Wanted::Inputs);

/// A result that can be asked. It borrows q, k, v (and bias, boolean masks, sinks): they must outlive the questions,
/// not the result.
class Attention {
 public:
  Tensor out;  // [batch, time, heads, value_dim]
  Tensor lse;  // F32 [batch, heads, time]: natural log of Σ exp(score); −inf for a row that sees nothing
  /// F32 [batch, heads, time]: max_j score; −inf for a row that sees nothing. exp(max − lse) is the greatest weight
  /// (confidence; Voita et al. 2019, arXiv 1905.09418).
  Tensor max;
  RowStatistics rows;

  struct At {
    int batch = 0, head = 0, query = 0;
  };
  struct Edge {
    int batch = 0, head = 0, query = 0, key = 0;
  };

  std::string_view kernel() const { return kernel_; }
  /// What was composed into this problem: its mask says which keys a row sees, its spans are still borrowed.
  const AttentionSpec& spec() const { return spec_; }
  /// One row of weights [keys], rebuilt from q, k and LSE by the kernel that made them: exp(score − lse).
  std::vector<float> weights(At row) const;
  /// Rows [first, last) of weights, [rows, keys].
  std::vector<float> weights(int batch, int head, Range queries) const;
  /// A tile, [rows, keys]; of one key a column. Each weight is within |lse| · 1e-7 of itself (that of a whole row,
  /// whose sum is known, is nearer). Costs its own tiles of 64 × 64 alone.
  std::vector<float> weights(int batch, int head, Range queries, Range keys) const;
  /// Single weights, each from its own tile.
  std::vector<float> weights(std::span<const Edge> edges) const;
  /// The weight that the sink took from this row; 0 without sinks.
  float sink_weight(At row) const;
  /// That row's output [value_dim], had this edge not been there: (o − A·v) / (1 − A). Error if it is the row's only
  /// edge.
  std::vector<float> without(Edge edge) const;
  /// How far the weights of one row are from the output that the kernel produced: max |Σ A·v − o| over channels.
  double max_abs_error(At row) const;
  /// The same, from rows that are already at hand ([keys]).
  double max_abs_error(At row, std::span<const float> weights) const;

 private:
  friend Attention attend(const TensorView&, const PagedView&, const PagedView&, AttentionSpec);
  friend Gradients backward(const Attention&, const TensorView&, Wanted);
  friend Trace trace(const Attention&, const TraceQuery&);
  TensorView q_;
  PagedView k_, v_;
  AttentionSpec spec_;
  std::string kernel_;
};

/// Run-time dtypes and ranks. Shapes: q [batch, time, heads, head_dim], k [batch, keys, kv_heads, head_dim],
/// v [batch, keys, kv_heads, value_dim]; kv_heads divides heads. Throws Error naming the tensor, its shape and what was
/// expected.
Attention attend(const TensorView& q, const TensorView& k, const TensorView& v, AttentionSpec spec);
/// The same over caches in pages: same bits as over the same rows one after another. Masks and scores that have sizes
/// of their own are asked for the longest of lengths(…, keys).
Attention attend(const TensorView& q, const PagedView& k, const PagedView& v, AttentionSpec spec);

template <class... Parts>
requires(sizeof...(Parts) != 1 || !(std::same_as<std::remove_cvref_t<Parts>, AttentionSpec> && ...)) Attention
    attend(const TensorView& q, const TensorView& k, const TensorView& v, Parts&&... parts) {
  return attend(q, k, v, AttentionSpec(std::forward<Parts>(parts)...));
}

template <class... Parts>
requires(sizeof...(Parts) != 1 || !(std::same_as<std::remove_cvref_t<Parts>, AttentionSpec> && ...)) Attention
    attend(const TensorView& q, const PagedView& k, const PagedView& v, Parts&&... parts) {
  return attend(q, k, v, AttentionSpec(std::forward<Parts>(parts)...));
}

/// Typed views: rank and dtypes are checked by the compiler.
template <class Q, int QR, class K, int KR, class V, int VR, class... Parts>
Attention attend(const View<Q, QR>& q, const View<K, KR>& k, const View<V, VR>& v, Parts&&... parts) {
  static_assert(QR == 4 && KR == 4 && VR == 4, "attend: q, k and v are [batch, time, heads, head_dim]: rank 4");
  static_assert(std::is_same_v<std::remove_const_t<Q>, std::remove_const_t<K>> &&
                    std::is_same_v<std::remove_const_t<Q>, std::remove_const_t<V>>,
                "attend: q, k and v must have one dtype; convert with Tensor::to");
  return attend(TensorView(q), TensorView(k), TensorView(v), std::forward<Parts>(parts)...);
}

/// A boolean tensor as a mask (true = visible), each dimension equal to or broadcast over [batch, heads, queries,
/// keys]. Borrowed: a temporary does not compile.
Grid visible(const TensorView& grid);
Grid visible(Tensor&&) = delete;
/// An F32 tensor added to the logits, broadcast like visible(). Borrowed.
Bias bias(const TensorView& values);
Bias bias(Tensor&&) = delete;

/// Which kernel a problem takes and why each better one was refused. Allocates nothing of the problem's size.
struct Explanation {
  struct Candidate {
    std::string name, refusal;
  };                                  // refusal empty: accepted
  std::vector<Candidate> candidates;  // best first, down to the chosen one
  std::string chosen;
  int query_rows = 0, tile_keys = 0;          // rows kept in flight by one work item; keys of a tile
  std::int64_t items = 0, scratch_bytes = 0;  // work items; scratch memory of one thread
};
Explanation explain(const TensorView& q, const TensorView& k, const TensorView& v, const AttentionSpec& spec);
Explanation explain(const TensorView& q, const PagedView& k, const PagedView& v, const AttentionSpec& spec);

}  // namespace fovea
