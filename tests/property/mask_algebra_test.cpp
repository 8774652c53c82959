// What kernels rely on in every mask and composition: covers never lie, bits are the truth, spans contain all that is
// visible, bands are monotone, and erasing a mask (AnyMask, BlockMap) changes nothing of it.
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/parts.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 3000;

Extents random_extents(Rng& rng) { return {rng.in(1, 2), rng.in(1, 4), odd_size(rng, 200), odd_size(rng, 200)}; }
Tile random_tile(Rng& rng, const Extents& e) {
  const int q = rng.below(e.queries), k = rng.below(e.keys);
  const int rows = std::min(e.queries - q, rng.chance(0.5) ? kTileQueries : rng.in(1, kTileQueries));
  const int keys = std::min(e.keys - k, rng.chance(0.5) ? kTileKeys : rng.in(1, kTileKeys));
  return {rng.below(e.batches), rng.below(e.heads), {q, q + rows}, {k, k + keys}, e.queries, e.keys};
}
Site site(const Tile& t, int q, int k) { return {t.batch, t.head, q, k, t.queries, t.keys}; }
int rows_of(const Tile& t) { return t.query.end - t.query.begin; }
int keys_of(const Tile& t) { return t.key.end - t.key.begin; }

/// The cover that a tile really has.
template <Mask M>
Cover true_cover(const M& m, const Tile& t) {
  int seen = 0;
  for (int q = t.query.begin; q < t.query.end; ++q)
    for (int k = t.key.begin; k < t.key.end; ++k) seen += m(site(t, q, k));
  return seen == 0 ? Cover::Empty : seen == rows_of(t) * keys_of(t) ? Cover::Full : Cover::Partial;
}

template <Mask M>
void check(const M& m, const Tile& t, const std::string& name) {
  const Cover truth = true_cover(m, t), claimed = m.cover(t);
  ASSERT_TRUE(claimed == Cover::Partial || claimed == truth) << "cover lies: " << name;

  std::uint64_t bits[kTileQueries + 1];
  std::fill(std::begin(bits), std::end(bits), 0xabababababababab);
  const Cover known = tile_bits(m, t, bits);
  ASSERT_EQ(bits[kTileQueries], 0xabababababababab);
  ASSERT_EQ(known, truth) << "bits are exact, so is what they say of the tile: " << name;
  for (int i = 0; i < (known == Cover::Partial ? rows_of(t) : 0); ++i)
    for (int j = 0; j < 64; ++j)
      ASSERT_EQ((bits[i] >> j & 1) != 0, j < keys_of(t) && m(site(t, t.query.begin + i, t.key.begin + j)))
          << name << ' ' << i << ' ' << j;

  const Range span = tile_span(m, t);
  ASSERT_TRUE(span.begin >= 0 && span.end <= t.keys) << name;
  for (int q = t.query.begin; q < t.query.end; ++q)
    for (int k = 0; k < t.keys; ++k)
      ASSERT_TRUE(!m(site(t, q, k)) || (span.begin <= k && k < span.end))
          << "span misses key " << k << " of query " << q << ": " << name;
}
/// As it is, and erased.
template <Mask M>
void check_both(Rng& rng, const M& m, const Extents& e, const std::string& name) {
  const AnyMask erased(m);
  for (int i = 0; i < 3 && !::testing::Test::HasFatalFailure(); ++i) {
    const Tile t = random_tile(rng, e);
    const auto where = fmt::format("{} on queries [{}, {}) of {}, keys [{}, {}) of {}", name, t.query.begin,
                                   t.query.end, t.queries, t.key.begin, t.key.end, t.keys);
    check(m, t, where);
    check(erased, t, "erased " + where);
    for (int q = t.query.begin; q < t.query.end; ++q)
      for (int k = t.key.begin; k < t.key.end; ++k) ASSERT_EQ(m(site(t, q, k)), erased(site(t, q, k)));
  }
}

TEST(MaskAlgebra, HoldsForRandomCompositionsMadeAtRunTime) {
  for_cases(kCases, [](Rng& rng) {
    const Extents e = random_extents(rng);
    Keep keep;
    const NamedMask m = random_mask(rng, e, keep, true, 3);
    check_both(rng, m.mask, e, m.name);
  });
}

// One mask of each kind, their types visible to the compiler.
template <class F>
void with_band(Rng& rng, const Extents& e, F f) {
  const Align align = random_align(rng, e).first;
  const int n = rng.in(0, 150);
  switch (rng.below(7)) {
    case 0:
      return f(everything());
    case 1:
      return f(causal(align));
    case 2:
      return f(window(n, rng.in(-1, 20), align));
    case 3:
      return f(window(-1, rng.in(0, 20), align));
    case 4:
      return f(prefix(n, align));
    case 5:
      return f(chunked(n + 1, align));
    default:
      return f(documents(random_ends(rng, std::max(e.queries, e.keys), 6), align));
  }
}
template <class F>
void with_other(Rng& rng, const Extents& e, F f) {
  const int salt = rng.in(1, 17);
  if (rng.chance(0.5)) return f(random_blocks(rng, e));
  f(mask([salt](Site s) { return (s.query * 7 + s.key * 3 + s.head) % salt < 4; }));
}

TEST(MaskAlgebra, HoldsForCompositionsMadeAtCompileTime) {
  for_cases(kCases, [](Rng& rng) {
    const Extents e = random_extents(rng);
    with_band(rng, e, [&](const auto& a) {
      check_both(rng, a, e, "a");
      check_both(rng, except(a), e, "except(a)");
      check_both(rng, a & causal(), e, "a & causal()");
      with_other(rng, e, [&](const auto& b) {
        check_both(rng, b, e, "b");
        check_both(rng, a & b, e, "a & b");
        check_both(rng, a | b, e, "a | b");
        check_both(rng, (a & except(b)) | (b & causal()), e, "(a & except(b)) | (b & causal())");
      });
    });
  });
}

template <Banded B>
void check_band(const B& band, const Extents& e, int batch, int head) {
  Range last{0, 0};
  for (int q = 0; q < e.queries; ++q) {
    const Range r = detail::clip(band.keys(Row{batch, head, q, e.queries, e.keys}), e.keys);
    ASSERT_GE(r.begin, last.begin) << "query " << q;
    ASSERT_GE(r.end, last.end) << "query " << q;
    last = r;
    for (int k = 0; k < e.keys; ++k)
      ASSERT_EQ(band(Site{batch, head, q, k, e.queries, e.keys}), r.begin <= k && k < r.end);
  }
}
TEST(Bands, AreMonotoneAndSoAreTheirIntersections) {
  for_cases(kCases, [](Rng& rng) {
    const Extents e = random_extents(rng);
    with_band(rng, e, [&](const auto& a) {
      check_band(a, e, 0, 0);
      check_band(a & window(rng.in(0, 50), rng.in(-1, 9)), e, 0, 0);
      check_band(a & documents(random_ends(rng, e.queries, 4)), e, 0, 0);
    });
  });
}

TEST(BlockMaps, AreTheirMask) {
  for_cases(kCases / 3, [](Rng& rng) {
    const Extents e = random_extents(rng);
    Keep keep;
    const NamedMask m = random_mask(rng, e, keep);
    const BlockMap map(m.mask, e.batches, e.heads, e.queries, e.keys);
    check_both(rng, map, e, "map of " + m.name);
    int tiles = 0, visited = 0;
    for (int b = 0; b < e.batches; ++b)
      for (int h = 0; h < e.heads; ++h)
        for (int q = 0; q < e.queries; q += 64)
          for (int k = 0; k < e.keys; k += 64) {
            const Tile t{b, h, {q, std::min(q + 64, e.queries)}, {k, std::min(k + 64, e.keys)}, e.queries, e.keys};
            const Cover cover = true_cover(m.mask, t);
            ASSERT_EQ(map.cover(t), cover) << "whole tiles are known exactly";
            ++tiles, visited += cover != Cover::Empty;
            for (int i = q; i < t.query.end; ++i)
              for (int j = k; j < t.key.end; ++j) ASSERT_EQ(map(site(t, i, j)), m.mask(site(t, i, j))) << m.name;
          }
    ASSERT_DOUBLE_EQ(map.fill(), static_cast<double>(visited) / tiles);
  });
}

// De Morgan, double negation, neutral and absorbing elements: of truth, and of what tiles know.
TEST(MaskAlgebra, IsBoolean) {
  for_cases(kCases / 3, [](Rng& rng) {
    const Extents e = random_extents(rng);
    Keep keep;
    const AnyMask a = random_mask(rng, e, keep).mask, b = random_mask(rng, e, keep).mask, all = everything(),
                  none = except(AnyMask(everything()));
    const Tile t = random_tile(rng, e);
    const std::pair<AnyMask, AnyMask> equal[] = {{except(a & b), except(a) | except(b)},
                                                 {except(a | b), except(a) & except(b)},
                                                 {except(except(a)), a},
                                                 {a & all, a},
                                                 {a | none, a},
                                                 {a | all, all},
                                                 {a & none, none},
                                                 {a & b, b & a},
                                                 {a | b, b | a}};
    for (const auto& [x, y] : equal) {
      std::uint64_t x_bits[kTileQueries], y_bits[kTileQueries];
      const Cover cover = tile_bits(x, t, x_bits);
      ASSERT_EQ(cover, tile_bits(y, t, y_bits));
      ASSERT_TRUE(cover != Cover::Partial || std::equal(x_bits, x_bits + rows_of(t), y_bits));
    }
  });
}

}  // namespace
}  // namespace fovea
