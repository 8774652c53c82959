// Scores: what becomes of a logit. Written once, generic in the value; float, vector and gradient derive from it.
//
// A score is a value with `operator()(V logit, const Site&) -> V`, for V = float (kernels, where the compiler
// vectorises it over a tile), double (the reference) and Dual (the slope, for backward). `a | b` applies a first: the
// order is in the type.
#pragma once
#include <cmath>
#include <concepts>
#include <fovea/mask.hpp>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea {

// ------------------------------------------------------------------------- arithmetic of Dual, and functions that
// vectorise

template <class V>
constexpr Dual<V> operator+(Dual<V> a, Dual<V> b) {
  return {a.value + b.value, a.slope + b.slope};
}
template <class V>
constexpr Dual<V> operator-(Dual<V> a, Dual<V> b) {
  return {a.value - b.value, a.slope - b.slope};
}
template <class V>
constexpr Dual<V> operator*(Dual<V> a, Dual<V> b) {
  return {a.value * b.value, a.slope * b.value + a.value * b.slope};
}
template <class V>
constexpr Dual<V> operator/(Dual<V> a, Dual<V> b) {
  return {a.value / b.value, (a.slope * b.value - a.value * b.slope) / (b.value * b.value)};
}
template <class V>
constexpr Dual<V> operator-(Dual<V> a) {
  return {-a.value, -a.slope};
}
template <class V, class C>
requires std::is_arithmetic_v<C>
constexpr Dual<V> operator+(Dual<V> a, C c) { return {a.value + V(c), a.slope}; }
template <class V, class C>
requires std::is_arithmetic_v<C>
constexpr Dual<V> operator+(C c, Dual<V> a) { return a + c; }
template <class V, class C>
requires std::is_arithmetic_v<C>
constexpr Dual<V> operator-(Dual<V> a, C c) { return {a.value - V(c), a.slope}; }
template <class V, class C>
requires std::is_arithmetic_v<C>
constexpr Dual<V> operator-(C c, Dual<V> a) { return {V(c) - a.value, -a.slope}; }
template <class V, class C>
requires std::is_arithmetic_v<C>
constexpr Dual<V> operator*(Dual<V> a, C c) { return {a.value * V(c), a.slope * V(c)}; }
template <class V, class C>
requires std::is_arithmetic_v<C>
constexpr Dual<V> operator*(C c, Dual<V> a) { return a * c; }
template <class V, class C>
requires std::is_arithmetic_v<C>
constexpr Dual<V> operator/(Dual<V> a, C c) { return {a.value / V(c), a.slope / V(c)}; }

/// tanh without branches or calls, so that a loop over it vectorises: below 0.625 an odd polynomial (relative error
/// 6e-8), above it 1 − 2 / (e^{2|x|} + 1). Measured ≤ 2.5e-7 relative everywhere (tests/unit/score_test.cpp).
inline float tanh(float x);
inline double tanh(double x) { return std::tanh(x); }
template <class V>
Dual<V> tanh(Dual<V> a) {
  const V t = tanh(a.value);
  return {t, a.slope * (V(1) - t * t)};
}

// --------------------------------------------------------------------------------------------------------------
// functors

template <class S>
concept Score = std::copy_constructible<S> && requires(const S s, float x, double y, Dual<double> d, const Site& at) {
  { s(x, at) } -> std::convertible_to<float>;
  { s(y, at) } -> std::convertible_to<double>;
  { s(d, at) } -> std::convertible_to<Dual<double>>;  // differentiable by construction, or it does not compile
};

struct Identity {
  template <class V>
  constexpr V operator()(V s, const Site&) const {
    return s;
  }
};
struct SoftCap {
  float cap;
  template <class V>
  V operator()(V s, const Site&) const {
    return tanh(s * (1 / cap)) * cap;
  }
};
struct Alibi {
  std::shared_ptr<const std::vector<float>> slopes;  // [heads]
  const float* slope;                                // the same memory, one load away
  Align align;
  Alibi(std::vector<float> s, Align a)
      : slopes(std::make_shared<const std::vector<float>>(std::move(s))), slope(slopes->data()), align(a) {}
  template <class V>
  V operator()(V s, const Site& at) const {
    const int distance = at.query + align.offset(at.queries, at.keys) - at.key;
    return s - slope[at.head] * static_cast<float>(distance < 0 ? -distance : distance);
  }
  std::string complaint(const Extents& e) const {
    if (static_cast<int>(slopes->size()) == e.heads) return {};
    return "alibi has " + std::to_string(slopes->size()) + " slopes for " + std::to_string(e.heads) +
           " heads; give one per head";
  }
};
/// A number per site. Does not own the memory; made by bias() in attention.hpp.
struct Bias {
  PerSite<float> site;
  template <class V>
  V operator()(V s, const Site& at) const {
    return s + site(at);
  }
  std::string complaint(const Extents& e) const { return site.complaint(e, "bias"); }
};
template <Score A, Score B>
struct Then {
  A a;
  B b;
  template <class V>
  V operator()(V s, const Site& at) const {
    return b(a(s, at), at);
  }
  std::string complaint(const Extents& e) const { return first_complaint(a, b, e); }
};
/// Your own functor: `score([](auto s, Site at) { return s - 0.1f * (at.query - at.key); })`.
template <class F>
struct Custom {
  F f;
  template <class V>
  V operator()(V s, const Site& at) const {
    return static_cast<V>(f(s, at));
  }
};

/// cap · tanh(logit / cap) (Gemma 2, arXiv 2408.00118). cap > 0.
constexpr SoftCap softcap(float cap) { return {cap}; }
/// −slope[head] · |distance| (Press et al. 2021, arXiv 2108.12409).
inline Alibi alibi(std::vector<float> slopes, Align align = bottom_right) { return {std::move(slopes), align}; }
/// ALiBi's own slopes for that many heads: 2^(−8i/n) for powers of two, interleaved from the next power otherwise.
std::vector<float> alibi_slopes(int heads);
template <class F>
constexpr Custom<F> score(F f) {
  return {std::move(f)};
}

template <Score A, Score B>
constexpr Then<A, B> operator|(A a, B b) {
  return {std::move(a), std::move(b)};
}

// -------------------------------------------------------------------------------------- erasure: what a kernel gets to
// see

namespace detail {

/// The tile loop. Runs of 16 logits with a constant trip count: compilers vectorise those at -O2 already.
template <class S>
[[gnu::always_inline]] inline void apply_rows(const S& score, const ScoreTile& t) {
  constexpr int kRun = 16;
  const int keys = t.at.key.end - t.at.key.begin;
  for (int q = t.at.query.begin; q < t.at.query.end; ++q) {
    float* row = t.data + (q - t.at.query.begin) * t.query_stride;
    for (int k = 0; k < keys; k += kRun) {
      const int n = keys - k < kRun ? keys - k : kRun;
      float run[kRun] = {};
      for (int j = 0; j < n; ++j) run[j] = row[(k + j) * t.key_stride];
      // Lanes past n are computed on zeros at the last real key, and dropped: a functor may read memory at its key.
      for (int j = 0; j < kRun; ++j) {
        const int key = t.at.key.begin + k + (j < n ? j : n - 1);
        run[j] = static_cast<float>(score(run[j], Site{t.at.batch, t.at.head, q, key, t.at.queries, t.at.keys}));
      }
      for (int j = 0; j < n; ++j) row[(k + j) * t.key_stride] = run[j];
    }
  }
}
template <class S>
void apply_scalar(const void* s, const ScoreTile& t) {
  apply_rows(*static_cast<const S*>(s), t);
}
#if defined(__x86_64__) && defined(__GNUC__)
// The user's file is built with the user's flags; these two are the same loop for wider machines, chosen by the kernel
// that runs.
template <class S>
[[gnu::target("avx2,fma"), gnu::flatten]] void apply_avx2(const void* s, const ScoreTile& t) {
  apply_rows(*static_cast<const S*>(s), t);
}
template <class S>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512"), gnu::flatten]] void apply_avx512(
    const void* s, const ScoreTile& t) {
  apply_rows(*static_cast<const S*>(s), t);
}
#else
template <class S>
void apply_avx2(const void* s, const ScoreTile& t) {
  apply_scalar<S>(s, t);
}
template <class S>
void apply_avx512(const void* s, const ScoreTile& t) {
  apply_scalar<S>(s, t);
}
#endif
}  // namespace detail

/// A score chosen at run time. It is a Score itself: `AnyScore s; if (cap) s = s | softcap(cap);`.
class AnyScore {
 public:
  AnyScore() = default;  // the logit as it is
  template <Score S>
  requires(!std::same_as<S, AnyScore>) AnyScore(S s) {  // NOLINT: any score is an AnyScore
    if constexpr (!std::same_as<S, Identity>) append(std::move(s));
  }
  template <class V>
  V operator()(V s, const Site& at) const {
    if (!stages_) return s;
    for (const Stage& stage : *stages_) {
      if constexpr (std::is_same_v<V, Dual<double>>) {
        const Dual<double> f = stage.view.slope(stage.view.self, s.value, at);
        s = {f.value, f.slope * s.slope};
      } else {
        s = static_cast<V>(stage.view.value(stage.view.self, static_cast<double>(s), at));
      }
    }
    return s;
  }
  std::string complaint(const Extents& e) const;
  /// Borrowed: valid as long as this object (or a copy of it) lives; self is null for the identity.
  ScoreView view() const;
  friend AnyScore operator|(AnyScore a, AnyScore b);

 private:
  struct Stage {
    std::shared_ptr<const void> self;
    ScoreView view;
    std::string (*complaint)(const void*, const Extents&);
  };
  using Stages = std::vector<Stage>;
  template <ApplyTier tier>
  static void apply_all(const void* stages, const ScoreTile& t);
  template <Score S>
  void append(S s) {
    auto self = std::make_shared<const S>(std::move(s));
    const ScoreView view{
        self.get(),
        [](const void* p, double x, const Site& at) { return static_cast<double>((*static_cast<const S*>(p))(x, at)); },
        [](const void* p, double x, const Site& at) -> Dual<double> {
          return (*static_cast<const S*>(p))(Dual<double>{x, 1.0}, at);
        },
        {detail::apply_scalar<S>, detail::apply_avx2<S>, detail::apply_avx512<S>}};
    const auto complaint = [](const void* p, const Extents& e) { return complaint_of(*static_cast<const S*>(p), e); };
    stages_ = std::make_shared<const Stages>(Stages{{self, view, complaint}});
  }
  std::shared_ptr<const Stages> stages_;  // applied first to last, each a pass over a tile that sits in L1
};
AnyScore operator|(AnyScore a, AnyScore b);

inline float tanh(float x) {
  const float a = x < 0 ? -x : x, y = a * a;
  // minimax on [0, 0.625]: tanh(a) = a + a·y·P(y)
  const float small =
      a + a * y *
              (-3.33332819422e-1f +
               y * (1.33314422036e-1f + y * (-5.37397155531e-2f + y * (2.06390887954e-2f + y * -5.70498872745e-3f))));
  const float z = 2 * a > 40 ? 40 : 2 * a;  // beyond 20, tanh is 1 in float
  // e^z = 2^n · e^r, |r| ≤ ln 2 / 2; n by adding and removing 1.5·2^23
  const float n = (z * 1.44269504f + 12582912.f) - 12582912.f;
  const float r = (z - n * 0.693359375f) + n * 2.12194440e-4f;
  const float e =
      1 + r * (1 + r * (0.5f + r * (1.66666659e-1f + r * (4.16657962e-2f + r * (8.33449e-3f + r * 1.39324e-3f)))));
  const float power = std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
  const float large = 1 - 2 / (e * power + 1);
  const float t = a < 0.625f ? small : large;
  const float signed_t = x < 0 ? -t : t;
  return x == x ? signed_t : x;
}

}  // namespace fovea
