// Attention in parts: over disjoint keys, merged by LSE (property 21), and over queries in chunks (property 19).
#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fovea/merge.hpp>

#include "core/convert.hpp"
#include "support/examples.hpp"
#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 300;

/// The case with the keys of one part alone. `owner` [keys]: which part a key belongs to.
Case part_of_keys(const Case& c, const std::shared_ptr<const std::vector<int>>& owner, int part) {
  Case p = c;
  p.mask = c.mask & mask([owner, part](const Site& s) { return (*owner)[static_cast<std::size_t>(s.key)] == part; });
  if (part > 0) p.sinks.clear();  // a sink joins one part alone
  p.output = DType::F32;
  return p;
}

std::shared_ptr<const std::vector<int>> random_owners(Rng& rng, int keys, int parts) {
  auto owner = std::make_shared<std::vector<int>>();
  const int run = rng.pick({1, 7, 64, 1000});  // keys of a part lie side by side, or anyhow
  for (int j = 0; j < keys; ++j) owner->push_back(j % run == 0 || j == 0 ? rng.below(parts) : owner->back());
  return owner;
}

TEST(Merge, OfAnyPartitionOfTheKeysIsTheWhole) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice;
    choice.lengths = false, choice.work = 20'000;
    Case c = random_case(rng, choice);
    c.output = DType::F32;
    const int parts = rng.in(1, 5);
    const auto owner = random_owners(rng, c.keys(), parts);
    const Truth truth(c);
    on_every_isa([&] {
      std::vector<Partial> all;
      for (int p = 0; p < parts; ++p) all.push_back(part_of_keys(c, owner, p).attend());
      const Partial merged = merge(all);
      const float *out = merged.out.data<float>(), *lse = merged.lse.data<float>();
      for (std::size_t i = 0; i < truth.answer.out.size(); ++i) {
        const std::size_t row = i / static_cast<std::size_t>(c.value_dim());
        const double spread = truth.spread[i], off = truth.lse_bound(row);  // a part's share is off as its LSE is
        const double tolerance = 4 * (truth.out_bound(i, DType::F32) + off * spread);
        ASSERT_TRUE(close({static_cast<double>(out[i]), tolerance}, {truth.answer.out[i], 0})) << i << ' ' << c.str();
      }
      for (std::int64_t b = 0; b < c.batches(); ++b)
        for (std::int64_t h = 0; h < c.heads(); ++h)
          for (std::int64_t t = 0; t < c.queries(); ++t) {
            const std::size_t row = truth.answer.row(b, t, h);
            const auto got = static_cast<double>(lse[(b * c.heads() + h) * c.queries() + t]);
            ASSERT_TRUE(close({got, 4 * truth.lse_bound(row)}, {truth.answer.lse[row], 0})) << c.str();
          }
    });
  });
}

Partial random_part(Rng& rng, DType dtype, const Shape& shape) {
  Partial p{Tensor(dtype, shape), Tensor(DType::F32, {shape[0], shape[2], shape[1]})};
  for (std::int64_t i = 0; i < p.out.elements(); ++i) store_element(dtype, p.out.raw(), i, rng.normal());
  for (float& x : p.lse.values<float>()) x = static_cast<float>(rng.uniform(-9, 9));
  return p;
}
/// Rows of it become what nothing at all gives, and whatever stands in `out`.
void empty_rows(Rng& rng, Partial& p) {
  for (std::int64_t b = 0; b < p.out.shape()[0]; ++b)
    for (std::int64_t t = 0; t < p.out.shape()[1]; ++t)
      for (std::int64_t h = 0; h < p.out.shape()[2]; ++h) {
        if (rng.chance(0.6)) continue;
        p.lse.data<float>()[(b * p.out.shape()[2] + h) * p.out.shape()[1] + t] =
            -std::numeric_limits<float>::infinity();
        const std::int64_t dim = p.out.shape()[3], row = ((b * p.out.shape()[1] + t) * p.out.shape()[2] + h) * dim;
        for (std::int64_t d = 0; d < dim; ++d)
          store_element(p.out.dtype(), p.out.raw(), row + d, std::numeric_limits<double>::quiet_NaN());
      }
}
bool same_tensor(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.bytes())) == 0;
}
double gap(const Tensor& a, const Tensor& b) {
  double most = 0;
  for (std::int64_t i = 0; i < a.elements(); ++i) {
    const double x = load_element(a.dtype(), a.raw(), i), y = load_element(b.dtype(), b.raw(), i);
    if (x != y && !(std::abs(x - y) <= most)) most = std::abs(x - y);
  }
  return most;
}
Shape random_shape(Rng& rng) { return {rng.in(1, 3), rng.in(1, 40), rng.in(1, 4), rng.in(1, 70)}; }

TEST(Merge, IsAssociativeAndCommutative) {
  for_cases(kCases, [](Rng& rng) {
    const Shape shape = random_shape(rng);
    Partial p[3];
    for (Partial& part : p) part = random_part(rng, DType::F32, shape), empty_rows(rng, part);
    const Partial left = merge(merge(p[0], p[1]), p[2]), right = merge(p[0], merge(p[1], p[2])), at_once = merge(p);
    // Each merge rounds to f32 once: out by |o| ≤ 6, lse by 10, which moves a share of the next.
    ASSERT_LE(gap(left.out, right.out), 1e-5);
    ASSERT_LE(gap(left.out, at_once.out), 1e-5);
    ASSERT_LE(gap(left.lse, right.lse), 4e-6);
    ASSERT_LE(gap(left.lse, at_once.lse), 4e-6);
    const Partial ab = merge(p[0], p[1]), ba = merge(p[1], p[0]);
    ASSERT_TRUE(same_tensor(ab.out, ba.out) && same_tensor(ab.lse, ba.lse));
  });
}

TEST(Merge, WithNothingLeavesTheBits) {
  for_cases(kCases, [](Rng& rng) {
    const Shape shape = random_shape(rng);
    const DType dtype = rng.pick({DType::F64, DType::F32, DType::BF16, DType::F16});
    const Partial a = random_part(rng, dtype, shape);
    store_element(dtype, const_cast<void*>(a.out.raw()), 0, -0.0);
    Partial nothing = random_part(rng, dtype, shape);
    std::ranges::fill(nothing.lse.values<float>(), -std::numeric_limits<float>::infinity());
    for (std::int64_t i = 0; i < nothing.out.elements(); ++i)
      store_element(dtype, nothing.out.raw(), i, std::numeric_limits<double>::quiet_NaN());
    for (const Partial& x : {merge(a, nothing), merge(nothing, a), merge(std::span(&a, 1))})
      ASSERT_TRUE(same_tensor(x.out, a.out) && same_tensor(x.lse, a.lse));
    const Partial none = merge(nothing, nothing);
    for (const float l : none.lse.values<float>()) ASSERT_EQ(l, -std::numeric_limits<float>::infinity());
    ASSERT_EQ(gap(none.out, Tensor(dtype, shape)), 0);  // zeros
  });
}

TEST(Merge, DoesNotSwallowANaNThatIsSeen) {
  Rng rng(1);
  Partial a = random_part(rng, DType::F32, {1, 1, 1, 2}), b = random_part(rng, DType::F32, {1, 1, 1, 2});
  a.lse.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  for (const Partial& x : {merge(a, b), merge(b, a)}) {
    EXPECT_TRUE(std::isnan(x.out.data<float>()[0]));
    EXPECT_TRUE(std::isnan(x.lse.data<float>()[0]));
  }
}

TEST(Merge, RefusesWhatDoesNotFit) {
  Rng rng(2);
  const Partial a = random_part(rng, DType::F32, {1, 2, 3, 4});
  EXPECT_THROW(merge(std::span<const Partial>()), Error);
  EXPECT_THROW(merge(a, random_part(rng, DType::F32, {1, 2, 3, 5})), Error);
  EXPECT_THROW(merge(a, random_part(rng, DType::BF16, {1, 2, 3, 4})), Error);
  EXPECT_THROW(merge(a, Partial(a.out, a.out)), Error);
  EXPECT_THROW(merge(std::span(&a, 1), DType::I32), Error);
}

/// Rows [begin, end) of x along time.
TensorView part(const Tensor& x, std::int64_t begin, std::int64_t end) {
  TensorView v = x;
  v.data = static_cast<const std::byte*>(v.data) + begin * v.strides[1] * size_of(v.dtype);
  v.shape[1] = end - begin;
  return v;
}

Tensor random_tensor(Rng& rng, DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  for (std::int64_t i = 0; i < t.elements(); ++i) store_element(dtype, t.raw(), i, rng.normal());
  return t;
}

TEST(Prefill, InChunksOfMoreThanSixteenRowsHasTheBitsOfTheWhole) {
  for_cases(60, [](Rng& rng) {
    const DType dtype = rng.pick({DType::F32, DType::BF16, DType::F16});
    const int kv_heads = rng.in(1, 2), group = rng.pick({1, 2, 4}), dim = rng.pick({5, 16, 33, 64}),
              least = 16 / group + 1, n = rng.in(2 * least, 200);
    const Tensor q = random_tensor(rng, dtype, {1, n, kv_heads * group, dim}),
                 k = random_tensor(rng, dtype, {1, n, kv_heads, dim}),
                 v = random_tensor(rng, dtype, {1, n, kv_heads, rng.pick({3, 16, 64})});
    AttentionSpec spec(causal(), softcap(30) | alibi(alibi_slopes(kv_heads * group)));
    if (rng.chance(0.5)) spec.mask = causal() & window(rng.in(0, n));
    on_every_isa([&] {
      const Attention whole = attend(q.view(), k.view(), v.view(), spec);
      for (int at = 0; at < n;) {
        const int end = n - at < 2 * least ? n : at + rng.in(least, n - at - least);
        const Attention chunk = attend(part(q, at, end), part(k, 0, end), part(v, 0, end), spec);
        ASSERT_TRUE(same_bits(chunk, whole,
                              [&](auto b, auto t, auto h) {
                                return RowAt{b, at + t, h};
                              }))
            << "chunk [" << at << ", " << end << ") of " << n;
        at = end;
      }
    });
  });
}

TEST(Examples, OfTheHeaderAreThoseBelow) {
  const std::vector<std::string> shown = examples_of(FOVEA_SOURCE "/include/fovea/merge.hpp");
  EXPECT_EQ(shown.size(), 8u);
  EXPECT_EQ(shown, examples_of(FOVEA_SOURCE "/tests/property/merge_properties_test.cpp"));
}

TEST(Examples, PromptAndRecentKeysAreOneCache) {
  Rng rng(3);
  const Tensor q = random_tensor(rng, DType::F32, {1, 5, 2, 8}), k = random_tensor(rng, DType::F32, {1, 45, 1, 8}),
               v = random_tensor(rng, DType::F32, {1, 45, 1, 8});
  const TensorView prompt_k = part(k, 0, 40), prompt_v = part(v, 0, 40), recent_k = part(k, 40, 45),
                   recent_v = part(v, 40, 45);
  // example: a prompt and what came after it, never side by side in memory
  Attention early = attend(q, prompt_k, prompt_v);
  Attention late = attend(q, recent_k, recent_v, causal());
  Partial all = merge(early, late);
  // end
  const Attention whole = attend(q, k, v, causal());
  EXPECT_LE(gap(all.out, whole.out), 2e-6);
  EXPECT_LE(gap(all.lse, whole.lse), 2e-6);
}

TEST(Examples, APromptIsReadInChunks) {
  Rng rng(4);
  const std::int64_t n = 600;
  const Tensor q = random_tensor(rng, DType::F32, {1, n, 2, 8}), k = random_tensor(rng, DType::F32, {1, n, 2, 8}),
               v = random_tensor(rng, DType::F32, {1, n, 2, 8});
  const Attention whole = attend(q, k, v, causal());
  std::int64_t used = 0;
  const auto use = [&](const Tensor& out, std::int64_t at) {
    ASSERT_EQ(std::memcmp(out.raw(), whole.out.data<float>() + at * 16, static_cast<std::size_t>(out.bytes())), 0);
    used += out.shape()[1];
  };
  // example: chunked prefill
  for (std::int64_t at = 0; at < n; at += 256) {
    const std::int64_t end = std::min(at + 256, n);
    Attention chunk = attend(part(q, at, end), part(k, 0, end), part(v, 0, end), causal());
    use(chunk.out, at);
  }
  // end
  EXPECT_EQ(used, n);
}

}  // namespace
}  // namespace fovea
