// The control's draws: as much weight, as far, from the same layers, and never the cut itself; and the mask that hides
// what is cut.
#include "look/draws.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "look/choice.hpp"
#include "look/rows.hpp"
#include "support/text_bert.hpp"

namespace fovea::look {
namespace {

using testing::for_cases;
using testing::Rng;

constexpr const char* kText = "The old bank by the river was flooded and the house near the bank is dark.";

/// A recorded run of a model with three layers of four heads, which look at few tokens each.
struct Recorded {
  plain::Checkpoint checkpoint{{.heads = 4, .layers = 3}};
  std::unique_ptr<fovea::Run> run;
  Draws::Setting setting;

  Recorded() {
    checkpoint.sharpen(6);
    run = std::make_unique<fovea::Run>(checkpoint.load()(kText));
    setting.records = records_of_kind(run->layers(), "");
    for (const Token& t : run->tokens) setting.special.push_back(t.special);
  }
  int tokens() const { return static_cast<int>(run->tokens.size()); }
  double weight(const Removal& r) const {
    const HeadRows rows(*setting.records[static_cast<std::size_t>(r.layer)], 0, r.head);
    const auto row = [&](int query) {
      return static_cast<double>(rows.weights({query, query + 1})[static_cast<std::size_t>(r.key)]);
    };
    if (r.query != kEveryQuery) return row(r.query);
    double sum = 0;
    for (int q = 0; q < tokens(); ++q) sum += row(q);
    return sum;
  }
};
const Recorded& recorded() {
  static const Recorded r;
  return r;
}

/// Weight and mean distance taken from each layer.
struct Taken {
  double weight = 0, distance = 0;
};
std::map<int, Taken> taken_by(const Recorded& r, const Variant& v) {
  std::map<int, Taken> layers;
  for (const Removal& x : v.removed) {
    layers[x.layer].weight += r.weight(x);
    layers[x.layer].distance += r.weight(x) * std::abs(x.query - x.key);
  }
  for (auto& [layer, t] : layers) t.distance /= t.weight;
  return layers;
}

/// Edges of one query in some layers and heads.
Variant random_cut(Rng& rng, const Recorded& r) {
  const int query = rng.below(r.tokens()), key = rng.below(r.tokens()), layers = rng.in(1, 3), heads = rng.in(1, 4);
  Variant cut{{}, {query}};
  for (int l = 0; l < layers; ++l)
    for (int h = 0; h < heads; ++h) cut.removed.push_back({l, h, query, key});
  return cut;
}

TEST(Draws, TakeAsMuchWeightFromTheSameLayersAsFarAway) {
  const Recorded& r = recorded();
  int draws_made = 0, cuts = 0;
  for_cases(60, [&](Rng& rng) {
    const Variant cut = random_cut(rng, r);
    const std::map<int, Taken> wanted = taken_by(r, cut);
    const std::set<Removal> removed(cut.removed.begin(), cut.removed.end());
    Draws draws(r.setting, cut, rng.word());
    std::set<std::vector<Removal>> seen;
    ++cuts;
    for (int i = 0; i < 20; ++i) {
      const std::optional<Variant> draw = draws.next();
      if (!draw) break;
      ++draws_made;
      EXPECT_TRUE(seen.insert(draw->removed).second) << "drawn twice";
      ASSERT_EQ(draw->queries.size(), 1u);
      const auto place = static_cast<std::size_t>(draw->queries.front());
      EXPECT_EQ(r.setting.special[place], r.setting.special[static_cast<std::size_t>(cut.queries.front())]);
      std::map<std::pair<int, int>, int> keys;
      for (const Removal& x : draw->removed) {
        EXPECT_FALSE(removed.contains(x)) << "part of the cut";
        EXPECT_EQ(x.query, draw->queries.front());
        ++keys[{x.layer, x.head}];
      }
      for (const auto& [row, count] : keys) EXPECT_LT(count, r.tokens()) << "nothing is left";
      const std::map<int, Taken> found = taken_by(r, *draw);
      ASSERT_EQ(found.size(), wanted.size());
      for (const auto& [layer, want] : wanted) {
        EXPECT_NEAR(found.at(layer).weight, want.weight, weight_tolerance(want.weight) + 1e-6);
        EXPECT_NEAR(found.at(layer).distance, want.distance, distance_tolerance(want.distance) + 1e-9);
      }
    }
  });
  if (cuts >= 20) {  // of a few, one may have none
    EXPECT_GE(draws_made, 18 * cuts) << "most cuts have their draws";
  }
}

TEST(Draws, SeveralQueriesGiveTheirPlacesToAsManyOthers) {
  const Recorded& r = recorded();
  const Variant cut{{{0, 1, 3, 6}, {1, 2, 5, 2}, {1, 2, 5, 9}}, {3, 5}};
  Draws draws(r.setting, cut, 1);
  for (int i = 0; i < 20; ++i) {
    const std::optional<Variant> draw = draws.next();
    ASSERT_TRUE(draw);
    ASSERT_EQ(draw->queries.size(), 2u);
    EXPECT_NE(draw->queries[0], draw->queries[1]);
    for (const Removal& x : draw->removed)  // what stood in layer 0 stays there, and so for layer 1
      EXPECT_EQ(x.query, draw->queries[static_cast<std::size_t>(x.layer)]);
  }
}

TEST(Draws, WhatTheMetricReadsKeepsItsPlace) {
  const Recorded& r = recorded();
  Draws::Setting setting = r.setting;
  setting.read = {3};
  const auto moderate = [&](int query) {  // an edge that has equals: neither all of its row nor next to nothing
    for (int key = 0;; ++key)
      if (const double w = r.weight({1, 0, query, key}); w > 0.05 && w < 0.4)
        return Variant{{{1, 0, query, key}}, {query}};
  };
  const Variant from_read = moderate(3), from_elsewhere = moderate(4);
  Draws same(setting, from_read, 2), others(setting, from_elsewhere, 2);
  for (int i = 0; i < 20; ++i) {
    const auto a = same.next(), b = others.next();
    ASSERT_TRUE(a && b);
    for (const Removal& x : a->removed) EXPECT_EQ(x.query, 3);
    for (const Removal& x : b->removed) EXPECT_NE(x.query, 3);
  }
}

TEST(Draws, TheSeedDecides) {
  const Recorded& r = recorded();
  Rng rng(11);
  const Variant cut = random_cut(rng, r);
  const auto drawn = [&](std::uint64_t seed) {
    Draws draws(r.setting, cut, seed);
    std::vector<std::vector<Removal>> all;
    for (int i = 0; i < 20; ++i)
      if (const auto draw = draws.next()) all.push_back(draw->removed);
    return all;
  };
  EXPECT_EQ(drawn(4), drawn(4));
  EXPECT_NE(drawn(4), drawn(5));
}

TEST(Draws, ValuesOfEqualReceivedWeight) {
  const Recorded& r = recorded();
  Variant cut{{}, all_below(r.tokens())};
  for (int l = 0; l < 3; ++l)
    for (int h = 0; h < 4; ++h) cut.removed.push_back({l, h, kEveryQuery, 6});
  Draws draws(r.setting, cut, 3);
  std::map<int, double> wanted;
  for (const Removal& x : cut.removed) wanted[x.layer] += r.weight(x);
  for (int i = 0; i < 20; ++i) {
    const auto draw = draws.next();
    ASSERT_TRUE(draw);
    EXPECT_EQ(draw->queries, cut.queries);
    std::map<int, double> found;
    for (const Removal& x : draw->removed) {
      EXPECT_EQ(x.query, kEveryQuery);
      EXPECT_NE(x.key, 6);
      found[x.layer] += r.weight(x);
    }
    for (const auto& [layer, weight] : wanted) EXPECT_NEAR(found[layer], weight, weight_tolerance(weight) + 1e-5);
  }
}

TEST(Draws, NoneWhereTheTextHasNoSuchEdges) {
  const Recorded& r = recorded();
  const fovea::Run run = r.checkpoint.load()("bank");  // [CLS] bank [SEP]: one word, and no other edge of its weight
  Draws::Setting setting{records_of_kind(run.layers(), ""), 0, {true, false, true}, {}};
  Variant cut{{}, {1}};
  for (int h = 0; h < 4; ++h) cut.removed.push_back({0, h, 1, 0}), cut.removed.push_back({0, h, 1, 1});
  EXPECT_FALSE(Draws(setting, cut, 0).next());
}

// ---------------------------------------------------------------------------------------------------------------- mask

TEST(EdgeMask, KnowsItsTilesAndSites) {
  for_cases(60, [](Rng& rng) {
    const int batches = rng.in(1, 3), heads = rng.in(1, 4), n = testing::odd_size(rng, 140);
    std::vector<EdgeMask::Edge> cut;
    std::set<std::vector<int>> hidden;
    for (int i = rng.in(0, 30); i > 0; --i) {
      cut.push_back({rng.below(batches), rng.below(heads), rng.below(n), rng.below(n)});
      hidden.insert({cut.back().batch, cut.back().head, cut.back().query, cut.back().key});
    }
    const AnyMask mask{EdgeMask(cut, batches, heads)};
    for (int b = 0; b < batches; ++b)
      for (int h = 0; h < heads; ++h)
        for (int q = 0; q < n; q += kTileQueries)
          for (int k = 0; k < n; k += kTileKeys) {
            const Tile t{b, h, {q, std::min(q + kTileQueries, n)}, {k, std::min(k + kTileKeys, n)}, n, n};
            std::uint64_t bits[kTileQueries];
            const Cover cover = tile_bits(mask, t, bits);
            bool any_hidden = false;
            for (int i = q; i < t.query.end; ++i)
              for (int j = k; j < t.key.end; ++j) {
                const bool sees = !hidden.contains({b, h, i, j});
                any_hidden |= !sees;
                EXPECT_EQ(mask(Site{b, h, i, j, n, n}), sees);
                EXPECT_TRUE(cover == Cover::Full    ? sees
                            : cover == Cover::Empty ? !sees
                                                    : ((bits[i - q] >> (j - k)) & 1) == (sees ? 1 : 0));
              }
            EXPECT_EQ(cover == Cover::Full, !any_hidden) << "a tile without a cut is not asked site by site";
          }
  });
}

}  // namespace
}  // namespace fovea::look
