// Masks and what they are equal to: deleted keys, shorter problems, biases of −∞, other masks: properties 16 to 19, 23
// and 26 of the list.
#include <gtest/gtest.h>

#include "core/convert.hpp"
#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 800;
constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

Choice plain() {
  Choice choice;
  choice.masks = choice.lengths = false, choice.work = 10'000;
  return choice;
}

/// A bias [batch, heads, queries, keys] of −∞ where the mask hides, 0 elsewhere.
std::vector<float> bias_of(const Case& c, const AnyMask& m) {
  std::vector<float> values;
  for (int b = 0; b < c.batches(); ++b)
    for (int h = 0; h < c.heads(); ++h)
      for (int q = 0; q < c.queries(); ++q)
        for (int j = 0; j < c.keys(); ++j)
          values.push_back(m(Site{b, h, q, j, c.queries(), c.keys()}) ? 0.0f : kMinusInf);
  return values;
}
TensorView view_of(const Case& c, const std::vector<float>& values) {
  return {DType::F32, values.data(), {c.batches(), c.heads(), c.queries(), c.keys()}};
}
Input rows_of(const Input& x, std::int64_t begin, std::int64_t end) {
  Shape shape = x.view.shape;
  shape[1] = end - begin;
  Input part(x.view.dtype, shape);
  part.fill([&](auto b, auto t, auto h, auto d) { return x.get(b, t + begin, h, d); });
  return part;
}
/// The case with queries [first, last) and keys [0, keys) alone, its mask and score as they stand in the whole.
Case part_of(const Case& c, int first, int last, int keys) {
  Case part = c;
  part.q = rows_of(c.q, first, last), part.k = rows_of(c.k, 0, keys), part.v = rows_of(c.v, 0, keys);
  return part;
}

TEST(Masks, AreBiasesOfMinusInfinity) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = plain();
    choice.masks = true;
    const Case masked = random_case(rng, choice);
    const std::vector<float> values = bias_of(masked, masked.mask);
    Case biased = masked;
    biased.mask = AnyMask(), biased.mask_name = "as a bias";
    biased.score = masked.score | bias(view_of(masked, values));
    expect_same(biased, masked);
  });
}

TEST(Masks, AsBooleanTensorsGiveTheSameBits) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = plain();
    choice.masks = true;
    const Case c = random_case(rng, choice);
    const std::size_t n =
        static_cast<std::size_t>(c.batches() * c.heads()) * static_cast<std::size_t>(c.queries() * c.keys());
    const std::unique_ptr<bool[]> values(new bool[n + 1]);
    std::size_t at = 0;
    for (const float x : bias_of(c, c.mask)) values[at++] = x == 0;
    Case grid = c;
    grid.mask = visible(TensorView(DType::Bool, values.get(), {c.batches(), c.heads(), c.queries(), c.keys()}));
    on_every_isa([&] { EXPECT_TRUE(same_bits(grid.attend(), c.attend())) << c.str(); });
  });
}

TEST(Masks, OfBlocksAllVisibleAreNone) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, plain());
    const int size = rng.in(1, 80), rows = c.queries() / size + 1, columns = c.keys() / size + 1;
    std::vector<std::pair<int, int>> all;
    for (int q = 0; q < rows; ++q)
      for (int k = 0; k < columns; ++k) all.emplace_back(q, k);
    Case full = c;
    full.mask = blocks(size, rows, columns, all);
    on_every_isa([&] { EXPECT_TRUE(same_bits(full.attend(), c.attend())) << c.str(); });
  });
}

TEST(Masks, HidingAKeyFromAllIsDeletingIt) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, plain());
    std::vector<int> kept;
    std::vector<float> values;  // [keys]
    for (int j = 0; j < c.keys(); ++j) {
      values.push_back(rng.chance(0.6) ? 0.0f : kMinusInf);
      if (values.back() == 0) kept.push_back(j);
    }
    const auto n = static_cast<std::int64_t>(kept.size());
    Case biased = c, deleted = c;
    biased.score = c.score | bias(TensorView(DType::F32, values.data(), {1, 1, 1, c.keys()}));
    deleted.k = Input(c.k.view.dtype, {c.batches(), n, c.kv_heads(), c.head_dim()});
    deleted.v = Input(c.v.view.dtype, {c.batches(), n, c.kv_heads(), c.value_dim()});
    deleted.k.fill([&](auto b, auto t, auto h, auto d) { return c.k.get(b, kept[static_cast<std::size_t>(t)], h, d); });
    deleted.v.fill([&](auto b, auto t, auto h, auto d) { return c.v.get(b, kept[static_cast<std::size_t>(t)], h, d); });
    relabel(deleted, [kept, keys = c.keys()](Site s) {
      return s.key = kept[static_cast<std::size_t>(s.key)], s.keys = keys, s;
    });
    expect_same(biased, deleted);
  });
}

TEST(Causal, RowIsFullAttentionOnItsPrefix) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, plain());
    if (c.queries() == 0) return;
    const auto [align, name] = random_align(rng, {c.batches(), c.heads(), c.queries(), c.keys()});
    Case whole = c;
    whole.mask = causal(align), whole.mask_name = "causal " + name;
    const int row = rng.below(c.queries());
    const int prefix = std::clamp(row + align.offset(c.queries(), c.keys()) + 1, 0, c.keys());
    Case alone = part_of(c, row, row + 1, prefix);
    alone.score = score([old = c.score, row, queries = c.queries(), keys = c.keys()](auto s, Site at) {
      return at.query = row, at.queries = queries, at.keys = keys, old(s, at);
    });
    expect_same(alone, whole, [&](auto b, auto, auto h) { return RowAt{b, row, h}; });
  });
}

/// What a decoder uses: everything is told from where the query stands among the keys, so parts align by themselves.
Case decoder_case(Rng& rng) {
  Choice choice = plain();
  choice.scores = choice.empty = false, choice.most = 70;
  Case c = random_case(rng, choice);
  const int n = std::max(c.queries(), 1);
  c.k = rows_of(c.k, 0, 0), c.v = rows_of(c.v, 0, 0);
  Input k(c.q.view.dtype, {c.batches(), n, c.kv_heads(), c.head_dim()}),
      v(c.q.view.dtype, {c.batches(), n, c.kv_heads(), c.value_dim()});
  k.fill([&](auto...) { return rng.normal(); }), v.fill([&](auto...) { return rng.normal(); });
  c.k = k, c.v = v;
  if (rng.chance(0.5))
    c.mask = causal();
  else
    c.mask = causal() & window(rng.in(0, n));
  if (rng.chance(0.3)) c.score = c.score | softcap(20.0f);
  if (rng.chance(0.3)) c.score = c.score | alibi(alibi_slopes(c.heads())), c.moves = n;
  c.mask_name = "causal, perhaps windowed", c.score_name = "soft-cap and ALiBi, perhaps";
  return c;
}

TEST(Prefill, IsTokenByToken) {
  for_cases(kCases / 4, [](Rng& rng) {
    const Case c = decoder_case(rng);
    const std::vector<Answer> whole = everywhere(c);
    for (int i = 0; i < c.queries(); ++i) {
      const std::vector<Answer> step = everywhere(part_of(c, i, i + 1, i + 1));
      for (std::size_t e = 0; e < whole.size(); ++e)
        ASSERT_TRUE(same_rows(step[e], whole[e],
                              [&](auto b, auto, auto h) {
                                return RowAt{b, i, h};
                              }))
            << "token " << i << ' ' << c.str();
    }
  });
}

TEST(Prefill, InChunksIsWhole) {
  for_cases(kCases / 2, [](Rng& rng) {
    const Case c = decoder_case(rng);
    const std::vector<Answer> whole = everywhere(c);
    for (int begin = 0; begin < c.queries();) {
      const int end = std::min(begin + rng.in(1, 40), c.queries());
      const std::vector<Answer> chunk = everywhere(part_of(c, begin, end, end));
      for (std::size_t e = 0; e < whole.size(); ++e)
        ASSERT_TRUE(same_rows(chunk[e], whole[e],
                              [&](auto b, auto t, auto h) {
                                return RowAt{b, begin + t, h};
                              }))
            << "chunk [" << begin << ", " << end << ") " << c.str();
      begin = end;
    }
  });
}

TEST(Window, AsWideAsTheKeysIsCausal) {
  for_cases(kCases, [](Rng& rng) {
    Case c = random_case(rng, plain());
    const auto [align, name] = random_align(rng, {c.batches(), c.heads(), c.queries(), c.keys()});
    Case wide = c;
    c.mask = causal(align);
    wide.mask =
        window(rng.chance(0.3) ? -1 : std::max(c.queries(), c.keys()) + c.keys() + 5 + rng.below(100), 0, align);
    on_every_isa([&, name = name] { EXPECT_TRUE(same_bits(wide.attend(), c.attend())) << name << ' ' << c.str(); });
  });
}

TEST(Window, OfNothingButOneselfCopiesTheValue) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = plain();
    choice.scores = choice.sinks = false;
    Case c = random_case(rng, choice);
    c.output.reset();
    c.mask = window(0);
    const int group = c.heads() / c.kv_heads(), offset = c.keys() - c.queries();
    on_every_isa([&] {
      const Attention a = c.attend();
      for (int b = 0; b < c.batches(); ++b)
        for (int t = 0; t < c.queries(); ++t)
          for (int h = 0; h < c.heads(); ++h)
            for (int d = 0; d < c.value_dim(); ++d) {
              const std::int64_t at = ((std::int64_t{b} * c.queries() + t) * c.heads() + h) * c.value_dim() + d;
              const double want = t + offset < 0 ? 0.0 : c.v.get(b, t + offset, h / group, d);
              ASSERT_EQ(load_element(a.out.dtype(), a.out.raw(), at), want) << a.kernel() << ' ' << c.str();
            }
    });
  });
}

}  // namespace
}  // namespace fovea
