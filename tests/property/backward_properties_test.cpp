// The kernels' backward pass, held to the reference's element by element, and to what must hold for any gradient.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fovea/threads.hpp>

#include "core/convert.hpp"
#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 500;
constexpr double kB = 16;  // as B of bound.hpp; a chain of products deeper

Input random_dout(Rng& rng, const Case& c) {
  Input dout(c.out_dtype(), {c.batches(), c.queries(), c.heads(), c.value_dim()});
  dout.fill([&](auto...) { return rng.normal(); });
  return dout;
}

/// What a kernel on bf16 products rounds to bf16: the weights of its forward pass, which delta = Σ dout·out knows, then
/// P and dS of its backward pass as well. Each is off by at most u = 2^-8 of itself, and dV = Pᵀ·dout, dQ = dS·K and
/// dK = dSᵀ·Q are linear in them: u·Σ P|dout|, u·Σ |dS||k| and u·Σ |dS||q| more.
enum class Rounds { Nothing, Forward, Both };

/// The reference's gradients with what a kernel may be off by, as dense [batch, time, heads, dim].
struct Expected {
  std::vector<double> dq, dk, dv, dq_tol, dk_tol, dv_tol, dsink, dsink_tol;
  /// Of the score's own numbers: what they receive, and that by its size.
  std::vector<ScoreParameter> parameters;
  std::vector<std::vector<double>> score, score_tol;

  Expected(const Case& c, const Input& dout, Rounds rounds = Rounds::Nothing)
      : dq(count(c.batches(), c.queries(), c.heads(), c.head_dim())),
        dk(count(c.batches(), c.keys(), c.kv_heads(), c.head_dim())),
        dv(count(c.batches(), c.keys(), c.kv_heads(), c.value_dim())),
        dq_tol(dq.size()),
        dk_tol(dk.size()),
        dv_tol(dv.size()),
        dsink(static_cast<std::size_t>(c.heads())),
        dsink_tol(dsink.size()),
        parameters(c.score.parameters()),
        forward_(rounds == Rounds::Nothing ? 0 : unit_roundoff(DType::BF16)),
        both_(rounds == Rounds::Both ? unit_roundoff(DType::BF16) : 0) {
    for (const ScoreParameter& s : parameters) {
      score.emplace_back(static_cast<std::size_t>(s.elements()));
      score_tol.emplace_back(score.back().size(), 0x1p-100);
    }
    const CaseProblem problem(c);
    for (int b = 0; b < problem.p.batches; ++b)
      for (int h = 0; h < c.heads(); ++h)
        for (int q = 0; q < problem.p.queries_of(b); ++q) add_row(c, problem, dout, b, h, q);
    const double u = unit_roundoff(c.q.view.dtype), least = tiny(c.q.view.dtype);
    for (auto [x, tol] : {std::pair(&dq, &dq_tol), std::pair(&dk, &dk_tol), std::pair(&dv, &dv_tol)})
      for (std::size_t i = 0; i < x->size(); ++i) (*tol)[i] += u * std::abs((*x)[i]) + least;
  }

 private:
  double forward_, both_;  // the roundings of Rounds
  static std::size_t count(int a, int b, int c, int d) {
    return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(c) *
           static_cast<std::size_t>(d);
  }
  void add_row(const Case& c, const CaseProblem& problem, const Input& dout, int b, int h, int q) {
    const Problem& p = problem.p;
    const reference::ScoredRow r = reference::row(p, b, h, q);
    const std::vector<double> o = reference::output(p, b, h, r);
    const auto [at_b, at_t] = problem.place(b, q);
    const int kv = h / p.group(), keys = p.keys_of(b);
    const auto n = static_cast<std::size_t>(keys);
    std::vector<double> dp(n), size(n), logit(n);  // size: Σ|dout||v|, what dp rounds in
    double delta = 0, delta_size = 0, reach = 1, out_size = 0;
    double q_norm = 0;
    for (int d = 0; d < c.head_dim(); ++d) q_norm += std::pow(c.q.get(at_b, at_t, h, d), 2);
    for (int d = 0; d < c.value_dim(); ++d)
      out_size += std::abs(dout.get(at_b, at_t, h, d) * o[static_cast<std::size_t>(d)]);
    for (int j = 0; j < keys; ++j) {
      const auto key = static_cast<std::size_t>(j);
      if (r.score[key] == -kInf) continue;
      const int kt = p.kv_begin ? p.kv_begin[b] + j : j;
      double k_norm = 0;
      for (int d = 0; d < c.head_dim(); ++d) {
        const double k = c.k.get(at_b, kt, kv, d);
        k_norm += k * k, logit[key] += p.scale * c.q.get(at_b, at_t, h, d) * k;
      }
      for (int d = 0; d < c.value_dim(); ++d) {
        const double term = dout.get(at_b, at_t, h, d) * c.v.get(at_b, kt, kv, d);
        dp[key] += term, size[key] += std::abs(term);
      }
      delta += r.weight[key] * dp[key], delta_size += r.weight[key] * size[key];
      reach = std::max(reach, 1 + std::abs(p.scale) * std::sqrt(q_norm * k_norm) + c.moves);
    }
    const double e = kB * kEpsAcc * reach;
    const double delta_off = e * delta_size + unit_roundoff(c.out_dtype()) * out_size + forward_ * delta_size;
    dsink[static_cast<std::size_t>(h)] -= r.sink * delta;
    dsink_tol[static_cast<std::size_t>(h)] += r.sink * (delta_off + e * std::abs(delta));
    for (int j = 0; j < keys; ++j) {
      const auto key = static_cast<std::size_t>(j);
      if (r.score[key] == -kInf) continue;
      const int kt = p.kv_begin ? p.kv_begin[b] + j : j;
      const Site site{b, h, q, j, p.queries_of(b), keys};
      const double slope = p.score.self ? p.score.slope(p.score.self, logit[key], site).slope : 1;
      const double ds = r.weight[key] * (dp[key] - delta);
      const double ds_off =
          r.weight[key] * (e * (size[key] + delta_size) + delta_off) * (1 + std::abs(slope)) + 0x1p-100;
      if (p.score.self) add_shares(c, p, site, logit[key], ds, ds_off);
      for (int d = 0; d < c.head_dim(); ++d) {
        const double k = p.scale * c.k.get(at_b, kt, kv, d), x = p.scale * c.q.get(at_b, at_t, h, d);
        const std::size_t i = index(at_b, at_t, h, d, c.queries(), c.heads(), c.head_dim()),
                          jk = index(at_b, kt, kv, d, c.keys(), c.kv_heads(), c.head_dim());
        dq[i] += ds * slope * k, dq_tol[i] += (ds_off + both_ * std::abs(ds * slope)) * std::abs(k);
        dk[jk] += ds * slope * x, dk_tol[jk] += (ds_off + both_ * std::abs(ds * slope)) * std::abs(x);
      }
      for (int d = 0; d < c.value_dim(); ++d) {
        const std::size_t jv = index(at_b, kt, kv, d, c.keys(), c.kv_heads(), c.value_dim());
        const double g = dout.get(at_b, at_t, h, d);
        dv[jv] += r.weight[key] * g, dv_tol[jv] += (r.weight[key] * (e + both_) + 0x1p-120) * std::abs(g);
      }
    }
  }
  /// What a site adds to the score's own numbers, and what a kernel may be off by there.
  void add_shares(const Case& c, const Problem& p, const Site& site, double logit, double ds, double ds_off) {
    using Sums = std::vector<std::vector<double>>;
    static constexpr auto place = [](void* sums, int which, std::ptrdiff_t i) -> double& {
      return (*static_cast<Sums*>(sums))[static_cast<std::size_t>(which)][static_cast<std::size_t>(i)];
    };
    p.score.collect_site(p.score.self, logit, ds, site, 0, &score,
                         [](void* to, int which, std::ptrdiff_t i, double x) { place(to, which, i) += x; });
    const double off = 2 * ds_off + 0x1p-20 * std::abs(ds);  // sums in float, of what may have either sign
    p.score.collect_site(p.score.self, logit, off, site, 0, &score_tol,
                         [](void* to, int which, std::ptrdiff_t i, double x) { place(to, which, i) += std::abs(x); });
    // 1 − tanh² of a cap that follows is off by a float's rounding of 1, however little is left of it.
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const int most = parameters[i].name == std::string("alibi") ? p.queries + 2 * p.keys : 1;
      score_tol[i][static_cast<std::size_t>(parameters[i].at(site))] += 0x1p-22 * std::abs(ds) * most;
    }
    // tanh(u) − u(1 − tanh²u) cancels: it is off by a float's rounding of u, and no cap here is below ½.
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (parameters[i].name == std::string("softcap"))
        score_tol[i][0] += 0x1p-20 * std::abs(ds) * (std::abs(logit) + c.moves);
  }
  static std::size_t index(int b, int t, int h, int d, int times, int heads, int dims) {
    return ((static_cast<std::size_t>(b) * static_cast<std::size_t>(times) + static_cast<std::size_t>(t)) *
                static_cast<std::size_t>(heads) +
            static_cast<std::size_t>(h)) *
               static_cast<std::size_t>(dims) +
           static_cast<std::size_t>(d);
  }
};

/// The same for what any kernel rounds.
class ExpectedOf {
 public:
  ExpectedOf(const Case& c, const Input& dout)
      : nothing_(c, dout), forward_(c, dout, Rounds::Forward), both_(c, dout, Rounds::Both) {}
  const Expected& operator()(const Attention& a) const {
    return rounds_gradients(a.kernel()) ? both_ : rounds_weights(a.kernel()) ? forward_ : nothing_;
  }

 private:
  Expected nothing_, forward_, both_;
};

::testing::AssertionResult within(const char* name, const Tensor& got, const std::vector<double>& want,
                                  const std::vector<double>& tolerance) {
  if (static_cast<std::size_t>(got.elements()) != want.size())
    return ::testing::AssertionFailure() << name << " has " << got.elements() << " numbers for " << want.size();
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double x = load_element(got.dtype(), got.raw(), static_cast<std::int64_t>(i));
    if (!close({x, tolerance[i]}, {want[i], 0}))
      return ::testing::AssertionFailure()
             << fmt::format("{}[{}] = {:.9g}, expected {:.9g}; off by {:.3g}, allowed {:.3g}", name, i, x, want[i],
                            std::abs(x - want[i]), tolerance[i]);
  }
  return ::testing::AssertionSuccess();
}

void expect_gradients(const Case& c, const Gradients& g, const Expected& want, const std::string& kernel) {
  EXPECT_TRUE(within("dq", g.dq, want.dq, want.dq_tol)) << kernel << ' ' << c.str();
  EXPECT_TRUE(within("dk", g.dk, want.dk, want.dk_tol)) << kernel << ' ' << c.str();
  EXPECT_TRUE(within("dv", g.dv, want.dv, want.dv_tol)) << kernel << ' ' << c.str();
  if (!c.sinks.empty()) {
    std::vector<double> tolerance = want.dsink_tol;
    for (std::size_t h = 0; h < tolerance.size(); ++h) tolerance[h] += 1e-6 * std::abs(want.dsink[h]) + 0x1p-120;
    EXPECT_TRUE(within("dsinks", g.dsinks, want.dsink, tolerance)) << kernel << ' ' << c.str();
  }
}

void expect_score_gradients(const Case& c, const Gradients& g, const Expected& want) {
  ASSERT_EQ(g.score.size(), want.parameters.size()) << c.str();
  for (std::size_t i = 0; i < g.score.size(); ++i) {
    const ScoreParameter& p = want.parameters[i];
    EXPECT_EQ(g.score[i].name, p.name);
    EXPECT_TRUE(g.score[i].value.shape() == (Shape{p.shape[0], p.shape[1], p.shape[2], p.shape[3]}));
    EXPECT_TRUE(within(p.name, g.score[i].value, want.score[i], want.score_tol[i])) << c.str();
  }
}

TEST(FusedBackward, IsTheReferencesOnEveryKindOfProblem) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice;
    choice.work = 30'000;
    Case c = random_case(rng, choice);
    c.output.reset();
    const Input dout = random_dout(rng, c);
    const ExpectedOf expected(c, dout);
    on_every_isa([&] {
      const Attention a = c.attend();
      const Expected& want = expected(a);
      const Gradients g = backward(a, dout.view), all = backward(a, dout.view, Wanted::InputsAndScore);
      expect_gradients(c, g, want, std::string(a.kernel()));
      EXPECT_TRUE(g.score.empty());
      for (const auto& [x, y] : {std::pair(&g.dq, &all.dq), std::pair(&g.dk, &all.dk), std::pair(&g.dv, &all.dv)})
        EXPECT_EQ(std::memcmp(x->raw(), y->raw(), static_cast<std::size_t>(x->bytes())), 0);  // asking changes nothing
      expect_score_gradients(c, all, want);
    });
  });
}

TEST(FusedBackward, OfLongRowsInPiecesAndSplits) {
  for_cases(6, [](Rng& rng) {
    const DType dtype = rng.chance(0.5) ? DType::F32 : DType::BF16;
    Case c;
    c.q = Input(dtype, {1, 1700, 2, 3}), c.k = Input(dtype, {1, 150, 1, 3}), c.v = Input(dtype, {1, 150, 1, 5});
    for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
    if (rng.chance(0.4))
      c.mask = causal(top_left), c.mask_name = "causal top_left";
    else if (rng.chance(0.7))  // strips that see a tile between others that don't
      c.mask = mask([](const Site& s) { return (s.query / 40 + s.key / 64) % 3 != 0; }), c.mask_name = "holes";
    const Input dout = random_dout(rng, c);
    const ExpectedOf want(c, dout);
    for (const std::string& isa : isa_settings()) {  // the emulated ones always: they alone walk groups of strips
      const UseIsa use(isa);
      const Attention a = c.attend();
      expect_gradients(c, backward(a, dout.view), want(a), std::string(a.kernel()));
    }
  });
}

TEST(FusedBackward, IsBitwiseTheSameOnAnyNumberOfThreads) {
  Rng rng(7);
  for (const DType dtype : {DType::F32, DType::BF16}) {
    Case c;
    c.q = Input(dtype, {2, 700, 2, 16}), c.k = Input(dtype, {2, 90, 1, 16}), c.v = Input(dtype, {2, 90, 1, 16});
    for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
    const Input dout = random_dout(rng, c);
    const auto bits = [&] {
      const Gradients g = backward(c.attend(), dout.view);
      std::vector<std::byte> all;
      for (const Tensor* t : {&g.dq, &g.dk, &g.dv}) {
        const auto* raw = static_cast<const std::byte*>(t->raw());
        all.insert(all.end(), raw, raw + t->bytes());
      }
      return all;
    };
    const int before = threads();
    for (const std::string& isa : isa_settings()) {
      const UseIsa use(isa);
      set_threads(1);
      const std::vector<std::byte> one = bits();
      for (const int n : {2, 3, 7, 16}) {
        set_threads(n);
        EXPECT_EQ(bits(), one) << isa << ", " << n << " threads";
      }
    }
    set_threads(before);
  }
}

TEST(FusedBackward, OfScoresIsBitwiseTheSameOnAnyNumberOfThreads) {
  Rng rng(8);
  Case c;
  c.q = Input(DType::F32, {2, 520, 4, 8}), c.k = Input(DType::F32, {2, 24, 2, 8}),
  c.v = Input(DType::F32, {2, 24, 2, 8});
  for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
  const Input dout = random_dout(rng, c);
  // Large and small, shared by batch rows, by heads of a group, by queries, by none.
  for (const Shape& shape : {Shape{2, 4, 520, 24}, Shape{1, 4, 520, 24}, Shape{1, 1, 520, 24}, Shape{2, 4, 1, 24},
                             Shape{1, 1, 1, 24}, Shape{520, 24}}) {
    Tensor values(DType::F32, shape);
    for (float& x : values.values<float>()) x = static_cast<float>(rng.normal());
    c.score = softcap(7) | bias(values) | alibi(alibi_slopes(4));
    const Expected want(c, dout);
    std::vector<float> one;
    const int before = threads();
    for (const int n : {1, 2, 3, 7, 16}) {
      set_threads(n);
      const Gradients g = backward(c.attend(), dout.view, Wanted::InputsAndScore);
      std::vector<float> bits;
      for (const ScoreGradient& s : g.score)
        bits.insert(bits.end(), s.value.values<float>().begin(), s.value.values<float>().end());
      if (n == 1) one = bits, expect_score_gradients(c, g, want);
      ASSERT_EQ(std::memcmp(one.data(), bits.data(), one.size() * 4), 0) << n << " threads, bias " << shape.str();
    }
    set_threads(before);
  }
}

TEST(FusedBackward, WhatLiesBehindTheMaskIsIrrelevant) {
  for_cases(100, [](Rng& rng) {
    Case c;
    const int n = rng.in(3, 150);
    c.q = Input(DType::F32, {1, n, 1, 8}), c.k = Input(DType::F32, {1, n, 1, 8}), c.v = Input(DType::F32, {1, n, 1, 8});
    for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
    const int hidden = rng.below(n);
    c.mask = mask([hidden](const Site& s) { return s.key != hidden; });
    c.score = softcap(9) | alibi({0.01f});
    const Input dout = random_dout(rng, c);
    Case poisoned = c;
    poisoned.k = c.k.copy(), poisoned.v = c.v.copy();
    for (int d = 0; d < 8; ++d) poisoned.k.set(0, hidden, 0, d, std::nan("")), poisoned.v.set(0, hidden, 0, d, kInf);
    on_every_isa([&] {
      const Gradients want = backward(c.attend(), dout.view, Wanted::InputsAndScore),
                      got = backward(poisoned.attend(), dout.view, Wanted::InputsAndScore);
      for (std::size_t i = 0; i < 2; ++i)
        ASSERT_NEAR(got.score[i].value.data<float>()[0], want.score[i].value.data<float>()[0], 1e-4 * n);
      for (std::size_t i = 0; i < want.dq.values<float>().size(); ++i) {
        ASSERT_NEAR(got.dq.values<float>()[i], want.dq.values<float>()[i], 1e-5);
        ASSERT_NEAR(got.dk.values<float>()[i], want.dk.values<float>()[i], 1e-5);
        ASSERT_NEAR(got.dv.values<float>()[i], want.dv.values<float>()[i], 1e-5);
      }
    });
  });
}

TEST(FusedBackward, WhatLiesBehindTheMaskIsIrrelevantInBf16) {
  for_cases(60, [](Rng& rng) {
    Case c;
    const int n = rng.in(3, 150);
    c.q = Input(DType::BF16, {1, n, 1, 8}), c.k = Input(DType::BF16, {1, n, 1, 8}),
    c.v = Input(DType::BF16, {1, n, 1, 6});
    for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
    const int hidden = rng.below(n), blind = rng.below(n);
    c.mask = mask([hidden, blind](const Site& s) { return s.key != hidden && s.query != blind; });
    const Input dout = random_dout(rng, c);
    const ExpectedOf want(c, dout);
    Case poisoned = c;
    Input poisoned_dout = dout.copy();
    poisoned.q = c.q.copy(), poisoned.k = c.k.copy(), poisoned.v = c.v.copy();
    for (int d = 0; d < 6; ++d) poisoned.k.set(0, hidden, 0, d, std::nan("")), poisoned.v.set(0, hidden, 0, d, kInf);
    if (rng.chance(0.5)) poisoned.q.set(0, blind, 0, 2, kInf);
    if (rng.chance(0.5)) poisoned_dout.set(0, blind, 0, 3, std::nan(""));
    on_every_isa([&] {
      const Attention a = poisoned.attend();
      expect_gradients(c, backward(a, poisoned_dout.view), want(a), std::string(a.kernel()));
    });
  });
}

TEST(FusedBackward, SwallowsNoVisibleNan) {
  Rng rng(9);
  Case c;
  c.q = Input(DType::BF16, {1, 40, 1, 8}), c.k = Input(DType::BF16, {1, 70, 1, 8}),
  c.v = Input(DType::BF16, {1, 70, 1, 8});
  for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
  const Input dout = random_dout(rng, c);
  Tensor values(DType::F32, {40, 70});
  for (float& x : values.values<float>()) x = 0;
  for (const std::uint32_t payload : {0x7fc00000u, 0x7fffffffu, 0xffffffffu}) {  // rounded up, the last two are 0
    std::memcpy(values.data<float>() + 3 * 70 + 20, &payload, sizeof payload);
    c.score = bias(values);
    const ExpectedOf want(c, dout);
    for (const std::string& isa : isa_settings()) {
      const UseIsa use(isa);
      const Attention a = c.attend();
      expect_gradients(c, backward(a, dout.view), want(a), std::string(a.kernel()));
    }
  }
}

TEST(FusedBackward, OfADoutInAnotherDtype) {
  for_cases(20, [](Rng& rng) {
    Choice choice;
    choice.dtypes = {DType::BF16}, choice.work = 30'000;
    Case c = random_case(rng, choice);
    c.output.reset();
    Input dout(DType::F32, {c.batches(), c.queries(), c.heads(), c.value_dim()});
    dout.fill([&](auto...) { return rng.normal(); });
    const ExpectedOf want(c, dout);
    on_every_isa([&] {
      const Attention a = c.attend();
      expect_gradients(c, backward(a, dout.view), want(a), std::string(a.kernel()));
    });
  });
}

TEST(FusedBackward, RefusesAnotherShapeOrDtype) {
  Case c;
  c.q = Input(DType::F32, {1, 2, 1, 3}), c.k = c.q.copy(), c.v = c.q.copy();
  for (Input* x : {&c.q, &c.k, &c.v}) x->fill([](auto...) { return 1.0; });
  const Attention a = c.attend();
  EXPECT_THROW(backward(a, Input(DType::F32, {1, 2, 1, 4}).view), Error);
  EXPECT_THROW(backward(a, Input(DType::F64, {1, 2, 1, 3}).view), Error);
}

}  // namespace
}  // namespace fovea
