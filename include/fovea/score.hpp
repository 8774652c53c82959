// Scores: what becomes of a logit. Written once, generic in the value; float, vector and gradient derive from it.
//
// A score is a value with `operator()(V logit, const Site&) -> V`, for V = float (kernels, where the compiler
// vectorises it over a tile), double (the reference) and Dual (the slope, for backward). `a | b` applies a first: the
// order is in the type.
#pragma once
#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <fovea/dual.hpp>
#include <fovea/mask_algebra.hpp>
#include <fovea/score_parameter.hpp>

namespace fovea {

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
    using T = Precision<V>;
    return tanh(s * (T(1) / T(cap))) * T(cap);
  }
  ScoreParameter parameter() const { return {"softcap", {1, 1, 1, 1}}; }
  template <class V>
  V parameter_slope(V s, const Site&) const {  // d/dc of c·tanh(s/c)
    const V u = s * (V(1) / V(cap)), t = tanh(u);
    return t - u * (V(1) - t * t);
  }
  std::string complaint(const Extents&) const {
    return cap > 0 && cap < HUGE_VALF ? ""
                                      : "softcap: the cap is " + std::to_string(cap) + "; expected a positive number";
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
    using T = Precision<V>;
    return s - T(slope[at.head]) * T(distance < 0 ? -distance : distance);
  }
  ScoreParameter parameter() const { return {"alibi", {1, static_cast<int>(slopes->size()), 1, 1}}; }
  template <class V>
  V parameter_slope(V, const Site& at) const {
    const int distance = at.query + align.offset(at.queries, at.keys) - at.key;
    return V(distance < 0 ? distance : -distance);
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
  ScoreParameter parameter() const { return {"bias", {site.shape[0], site.shape[1], site.shape[2], site.shape[3]}}; }
  template <class V>
  V parameter_slope(V, const Site&) const {
    return V(1);
  }
  std::string complaint(const Extents& e) const { return site.complaint(e, "bias"); }
};
template <Score A, Score B>
struct Then {
  using IsComposed = void;
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
/// ALiBi's own slopes, one a head: 2^(−8i/n) for powers of two, interleaved from the next power otherwise.
std::vector<float> alibi_slopes(int heads);
template <class F>
constexpr Custom<F> score(F f) {
  static_assert(
      std::is_invocable_v<const F&, Dual<double>, const Site&>,
      "score: write the functor for any value (auto), not for float alone: its slope is found by running it on Dual");
  return {std::move(f)};
}

class AnyScore;  // joins stage by stage, below: each stays a loop over a tile
template <Score A, Score B>
requires(!std::same_as<A, AnyScore> && !std::same_as<B, AnyScore>) constexpr Then<A, B> operator|(A a, B b) {
  return {std::move(a), std::move(b)};
}

namespace detail {

#if defined(__clang__)
#define FOVEA_TILE_LOOP gnu::flatten
#define FOVEA_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
#define FOVEA_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define FOVEA_TILE_LOOP gnu::flatten, gnu::optimize("O3")
#define FOVEA_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512"
#define FOVEA_INDEPENDENT _Pragma("GCC ivdep")
#endif

/// The tile loop. The functor is copied to the stack and rows are said not to overlap what it reads, or no compiler
/// vectorises it.
template <class S>
[[gnu::always_inline]] inline void apply_rows(const S& shared, const ScoreTile& tile) {
  const S f = shared;
  const Tile at = tile.at;
  const int keys = at.key.end - at.key.begin;
  for (int q = at.query.begin; q < at.query.end; ++q) {
    float* row = tile.data + (q - at.query.begin) * tile.query_stride;
    if (tile.key_stride == 1) {
      FOVEA_INDEPENDENT
      for (int k = 0; k < keys; ++k)
        row[k] = static_cast<float>(f(row[k], Site{at.batch, at.head, q, at.key.begin + k, at.queries, at.keys}));
    } else {
      FOVEA_INDEPENDENT
      for (int k = 0; k < keys; ++k)
        row[k * tile.key_stride] = static_cast<float>(
            f(row[k * tile.key_stride], Site{at.batch, at.head, q, at.key.begin + k, at.queries, at.keys}));
    }
  }
}
/// The same with the slope beside it. One build for all machines: the products of a backward pass are most of it.
template <class S>
[[FOVEA_TILE_LOOP]] void differentiate_rows(const void* shared, const ScoreTile& tile, float* slope) {
  const S f = *static_cast<const S*>(shared);
  const Tile at = tile.at;
  for (int q = at.query.begin; q < at.query.end; ++q)
    for (int k = at.key.begin; k < at.key.end; ++k) {
      const std::ptrdiff_t i = (q - at.query.begin) * tile.query_stride + (k - at.key.begin) * tile.key_stride;
      const Dual<float> y = f(Dual<float>{tile.data[i], slope[i]}, Site{at.batch, at.head, q, k, at.queries, at.keys});
      tile.data[i] = y.value, slope[i] = y.slope;
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
// The user's file is built with the user's flags. These are the same loop for each width of machine, vectorised
// whatever -O says; the kernel that runs takes its own.
template <class S>
[[FOVEA_TILE_LOOP]] void apply_scalar(const void* s, const ScoreTile& t) {
  apply_rows(*static_cast<const S*>(s), t);
}
template <class S>
[[gnu::target("avx2,fma"), FOVEA_TILE_LOOP]] void apply_avx2(const void* s, const ScoreTile& t) {
  apply_rows(*static_cast<const S*>(s), t);
}
template <class S>
[[gnu::target(FOVEA_AVX512), FOVEA_TILE_LOOP]] void apply_avx512(const void* s, const ScoreTile& t) {
  apply_rows(*static_cast<const S*>(s), t);
}
#else
template <class S>
void apply_scalar(const void* s, const ScoreTile& t) {
  apply_rows(*static_cast<const S*>(s), t);
}
template <class S>
void apply_avx2(const void* s, const ScoreTile& t) {
  apply_scalar<S>(s, t);
}
template <class S>
void apply_avx512(const void* s, const ScoreTile& t) {
  apply_scalar<S>(s, t);
}
#endif
#undef FOVEA_TILE_LOOP
#undef FOVEA_AVX512
#undef FOVEA_INDEPENDENT
}  // namespace detail

/// A score chosen at run time. It is a Score itself: `AnyScore s; if (cap) s = s | softcap(cap);`.
class AnyScore {
 public:
  AnyScore() = default;  // the logit as it is
  template <class S>
  requires(!std::same_as<S, AnyScore> && Score<S>) AnyScore(S s) {  // NOLINT: any score is an AnyScore
    if constexpr (!std::same_as<S, Identity>) append(std::move(s));
  }
  template <class V>
  V operator()(V s, const Site& at) const {
    if (!stages_) return s;
    for (const Stage& stage : *stages_) {
      if constexpr (std::is_same_v<V, Dual<double>>) {
        const Dual<double> f = stage.view.slope(stage.view.self, s.value, at);
        s = {f.value, f.slope * s.slope};
      } else if constexpr (std::is_same_v<V, Dual<float>>) {
        const Dual<double> f = stage.view.slope(stage.view.self, static_cast<double>(s.value), at);
        s = {static_cast<float>(f.value), static_cast<float>(f.slope) * s.slope};
      } else {
        s = static_cast<V>(stage.view.value(stage.view.self, static_cast<double>(s), at));
      }
    }
    return s;
  }
  std::string complaint(const Extents& e) const;
  /// The numbers inside it that have gradients, in order of composition.
  std::vector<ScoreParameter> parameters() const {
    std::vector<ScoreParameter> list;
    add_parameters(list);
    return list;
  }
  void add_parameters(std::vector<ScoreParameter>& list) const;
  int count_parameters() const;
  /// See ScoreView.
  void collect_tile(const ScoreTile& x, float* g, float* const* sums) const;
  double collect_site(double x, double g, const Site& at, int first, void* to, TakeShare take) const;
  /// Borrowed: valid as long as this object (or a copy of it) lives; self is null for the identity.
  ScoreView view() const;
  friend AnyScore operator|(AnyScore a, AnyScore b);

 private:
  struct Stage {
    std::shared_ptr<const void> self;
    ScoreView view;
    std::string (*complaint)(const void*, const Extents&);
    void (*add_parameters)(const void*, std::vector<ScoreParameter>&);
    int (*count_parameters)(const void*);
  };
  using Stages = std::vector<Stage>;
  template <ApplyTier tier>
  static void apply_all(const void* stages, const ScoreTile& t);
  static void differentiate_all(const void* stages, const ScoreTile& t, float* slope);
  static void collect_all(const Stages& stages, std::size_t stage, const ScoreTile& x, float* g, float* const* sums);
  static double collect_site_all(const Stages& stages, std::size_t stage, double x, double g, const Site& at, int first,
                                 void* to, TakeShare take);
  template <Score S>
  void append(S s) {
    auto self = std::make_shared<const S>(std::move(s));
    const ScoreView view{
        self.get(),
        [](const void* p, double x, const Site& at) { return static_cast<double>((*static_cast<const S*>(p))(x, at)); },
        [](const void* p, double x, const Site& at) -> Dual<double> {
          return (*static_cast<const S*>(p))(Dual<double>{x, 1.0}, at);
        },
        {detail::apply_scalar<S>, detail::apply_avx2<S>, detail::apply_avx512<S>},
        detail::differentiate_rows<S>,
        [](const void* p, const ScoreTile& x, float* g, float* const* sums) {
          detail::collect_tile(*static_cast<const S*>(p), x, g, sums);
        },
        [](const void* p, double x, double g, const Site& at, int first, void* to, TakeShare take) {
          return detail::collect_site(*static_cast<const S*>(p), x, g, at, first, to, take);
        }};
    const auto complaint = [](const void* p, const Extents& e) { return complaint_of(*static_cast<const S*>(p), e); };
    const auto list = [](const void* p, std::vector<ScoreParameter>& to) {
      detail::add_parameters(*static_cast<const S*>(p), to);
    };
    const auto count = [](const void* p) { return detail::count_parameters(*static_cast<const S*>(p)); };
    stages_ = std::make_shared<const Stages>(Stages{{self, view, complaint, list, count}});
  }
  std::shared_ptr<const Stages> stages_;  // applied first to last, each a pass over a tile that sits in L1
};
AnyScore operator|(AnyScore a, AnyScore b);
template <Score S>
AnyScore operator|(AnyScore a, S b) {
  return std::move(a) | AnyScore(std::move(b));
}
template <Score S>
AnyScore operator|(S a, AnyScore b) {
  return AnyScore(std::move(a)) | std::move(b);
}

}  // namespace fovea
