// NaN and infinity: behind the mask they are nothing (bit for bit), in sight they are not swallowed. Property 15 of the
// list.
#include <gtest/gtest.h>

#include "core/convert.hpp"
#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 800;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Choice small() {
  Choice choice;
  choice.lengths = false, choice.work = 8'000;
  return choice;
}
bool shown(const Case& c, std::int64_t b, std::int64_t h, std::int64_t q, std::int64_t key) {
  return c.mask(Site{static_cast<int>(b), static_cast<int>(h), static_cast<int>(q), static_cast<int>(key), c.queries(),
                     c.keys()});
}
/// Inputs with memory of their own: poison in one batch row or head must not be shared by another.
Case unshared(Rng& rng, const Choice& choice) {
  Case c = random_case(rng, choice);
  for (Input* x : {&c.q, &c.k, &c.v})
    if (x->view.strides[0] == 0 || x->view.strides[2] == 0)
      *x = x->copy_as(x->view.shape, contiguous_strides(x->view.shape), 0);
  return c;
}

// One element of K or V is poisoned. Rows that don't see its key keep their bits; rows that see it show the poison.
void poison(Rng& rng, bool in_keys) {
  const Case c = unshared(rng, small());
  if (c.keys() == 0 || c.queries() == 0 || (!in_keys && c.value_dim() == 0)) return;
  Case poisoned = c;
  Input& x = in_keys ? poisoned.k : poisoned.v;
  x = x.copy();
  const int b0 = rng.below(c.batches()), key = rng.below(c.keys()), kv = rng.below(c.kv_heads());
  const int dim = rng.below(in_keys ? c.head_dim() : c.value_dim());
  const double what = in_keys ? kNan : rng.pick({kNan, kNan, kInf, -kInf});
  x.set(b0, key, kv, dim, what);
  on_every_isa([&] {
    const Attention clean = c.attend(), a = poisoned.attend();
    for (std::int64_t b = 0; b < c.batches(); ++b)
      for (std::int64_t t = 0; t < c.queries(); ++t)
        for (std::int64_t h = 0; h < c.heads(); ++h) {
          const RowAt row{b, t, h};
          const bool reached = b == b0 && h / (c.heads() / c.kv_heads()) == kv && shown(c, b, h, t, key);
          if (!reached) {
            ASSERT_EQ(bits_of_row(a, row), bits_of_row(clean, row))
                << a.kernel() << " leaks " << what << " of key " << key << " into query " << t << ": " << c.str();
            continue;
          }
          const std::int64_t at = ((b * c.queries() + t) * c.heads() + h) * c.value_dim();
          for (std::int64_t d = 0; d < c.value_dim(); ++d) {
            const bool fine = !in_keys && d != dim;
            ASSERT_EQ(std::isfinite(load_element(a.out.dtype(), a.out.raw(), at + d)), fine)
                << a.kernel() << ' ' << c.str();
          }
          const float lse = a.lse.data<float>()[(b * c.heads() + h) * c.queries() + t];
          ASSERT_EQ(std::isnan(lse), in_keys) << a.kernel() << ' ' << c.str();
        }
  });
}
TEST(Poison, InAKeyReachesWhoSeesItAndNobodyElse) {
  for_cases(kCases, [](Rng& rng) { poison(rng, true); });
}
TEST(Poison, InAValueReachesWhoSeesItAndNobodyElse) {
  for_cases(kCases, [](Rng& rng) { poison(rng, false); });
}

TEST(Poison, InAQueryStaysInItsRow) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = unshared(rng, small());
    if (c.queries() == 0) return;
    Case poisoned = c;
    poisoned.q = c.q.copy();
    const RowAt bad{rng.below(c.batches()), rng.below(c.queries()), rng.below(c.heads())};
    poisoned.q.set(bad.batch, bad.time, bad.head, rng.below(c.head_dim()), kNan);
    bool any = false;
    for (int j = 0; j < c.keys(); ++j) any = any || shown(c, bad.batch, bad.head, bad.time, j);
    on_every_isa([&] {
      const Attention clean = c.attend(), a = poisoned.attend();
      for (std::int64_t b = 0; b < c.batches(); ++b)
        for (std::int64_t t = 0; t < c.queries(); ++t)
          for (std::int64_t h = 0; h < c.heads(); ++h) {
            const bool same = b != bad.batch || t != bad.time || h != bad.head || !any;
            const float lse = a.lse.data<float>()[(b * c.heads() + h) * c.queries() + t];
            if (same) {
              ASSERT_EQ(bits_of_row(a, {b, t, h}), bits_of_row(clean, {b, t, h})) << a.kernel() << ' ' << c.str();
            } else {
              ASSERT_TRUE(std::isnan(lse)) << a.kernel() << ' ' << c.str();
            }
          }
    });
  });
}

TEST(Poison, InABiasBehindTheMaskIsNothingAndInSightIsSeen) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = small();
    choice.scores = false;
    Case c = random_case(rng, choice);
    std::vector<float> clean, bad;  // [batch, heads, queries, keys]
    for (int b = 0; b < c.batches(); ++b)
      for (int h = 0; h < c.heads(); ++h)
        for (int q = 0; q < c.queries(); ++q)
          for (int j = 0; j < c.keys(); ++j) {
            clean.push_back(static_cast<float>(rng.normal()));
            bad.push_back(shown(c, b, h, q, j) ? clean.back()
                                               : rng.pick({std::nanf(""), HUGE_VALF, -HUGE_VALF, 1e30f}));
          }
    const Shape shape{c.batches(), c.heads(), c.queries(), c.keys()};
    Case other = c;
    c.score = bias(TensorView(DType::F32, clean.data(), shape)),
    other.score = bias(TensorView(DType::F32, bad.data(), shape));
    on_every_isa([&] { EXPECT_TRUE(same_bits(other.attend(), c.attend())) << c.str(); });
  });
}

// Hidden by a bias of −∞, a value may be NaN (a key may not: NaN + −∞ is NaN).
TEST(Poison, InAValueUnderABiasOfMinusInfinityIsNothing) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = small();
    choice.scores = false;
    Case c = unshared(rng, choice);
    if (c.keys() == 0) return;
    std::vector<float> values;  // [keys]
    for (int j = 0; j < c.keys(); ++j) values.push_back(rng.chance(0.7) ? 0.0f : -HUGE_VALF);
    c.score = bias(TensorView(DType::F32, values.data(), {1, 1, 1, c.keys()}));
    Case poisoned = c;
    poisoned.v = c.v.copy();
    poisoned.v.fill([&](auto b, auto t, auto h, auto d) {
      return values[static_cast<std::size_t>(t)] < 0 ? kNan : c.v.get(b, t, h, d);
    });
    on_every_isa([&] { EXPECT_TRUE(same_bits(poisoned.attend(), c.attend())) << c.str(); });
  });
}

TEST(Poison, BeyondALengthOrInAnotherSequenceIsNothing) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = small();
    choice.batches = rng.pick({1, 3});
    Case c = random_tensors(rng, choice);
    for (Input* x : {&c.q, &c.k, &c.v}) *x = x->copy_as(x->view.shape, contiguous_strides(x->view.shape), rng.below(4));
    add_lengths(rng, c);
    c.mask = random_band(rng, {c.batches(), c.heads(), c.queries(), c.keys()}).mask;
    const CaseProblem problem(c);
    const Problem& p = problem.p;
    // Packed: all but one sequence is poisoned. Otherwise: what lies beyond each row's lengths.
    const int kept = rng.below(std::max(p.batches, 1));
    const auto hidden = [&](std::int64_t b, std::int64_t t, bool query) {
      if (!p.q_begin) return t >= (query ? p.queries_of(static_cast<int>(b)) : p.keys_of(static_cast<int>(b)));
      const int begin = query ? p.q_begin[kept] : p.kv_begin[kept];
      return t < begin || t >= begin + (query ? p.queries_of(kept) : p.keys_of(kept));
    };
    Case poisoned = c;
    poisoned.q = c.q.copy(), poisoned.k = c.k.copy(), poisoned.v = c.v.copy();
    poisoned.q.fill([&](auto b, auto t, auto h, auto d) { return hidden(b, t, true) ? kNan : c.q.get(b, t, h, d); });
    poisoned.k.fill([&](auto b, auto t, auto h, auto d) { return hidden(b, t, false) ? kNan : c.k.get(b, t, h, d); });
    poisoned.v.fill([&](auto b, auto t, auto h, auto d) { return hidden(b, t, false) ? kNan : c.v.get(b, t, h, d); });
    on_every_isa([&] {
      const Attention clean = c.attend(), a = poisoned.attend();
      for (int b = 0; b < p.batches; ++b) {
        if (p.q_begin && b != kept) continue;
        for (int q = 0; q < p.queries_of(b); ++q)
          for (int h = 0; h < c.heads(); ++h) {
            const auto [at_b, at_t] = problem.place(b, q);
            ASSERT_EQ(bits_of_row(a, {at_b, at_t, h}), bits_of_row(clean, {at_b, at_t, h}))
                << a.kernel() << ' ' << c.str();
          }
      }
    });
  });
}

TEST(Empty, RowsGiveZerosAndMinusInfinity) {
  for_cases(kCases, [](Rng& rng) {
    Case c = random_case(rng, small());
    c.sinks.clear();
    const int hidden_every = rng.in(1, 3);
    c.mask = c.mask & mask([hidden_every](Site s) { return s.query % hidden_every != 0; });
    c.v.fill([&](auto...) { return rng.chance(0.5) ? kNan : 1.0; });
    c.k.fill([&](auto...) { return kNan; });
    on_every_isa([&] {
      const Attention a = c.attend();
      for (std::int64_t b = 0; b < c.batches(); ++b)
        for (std::int64_t t = 0; t < c.queries(); t += hidden_every)
          for (std::int64_t h = 0; h < c.heads(); ++h) {
            for (std::int64_t d = 0; d < c.value_dim(); ++d)
              ASSERT_EQ(
                  load_element(a.out.dtype(), a.out.raw(), ((b * c.queries() + t) * c.heads() + h) * c.value_dim() + d),
                  0.0)
                  << a.kernel();
            ASSERT_EQ(a.lse.data<float>()[(b * c.heads() + h) * c.queries() + t], -HUGE_VALF)
                << a.kernel() << ' ' << c.str();
          }
    });
  });
}

}  // namespace
}  // namespace fovea
