// What a page holds, against the weights and effects that Attention and describe() give, with every mask and with
// sinks.
#include "look/page.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "core/convert.hpp"
#include "look/links.hpp"
#include "look/rows.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"

namespace fovea::look {
namespace {

using testing::for_cases;
using testing::Rng;

/// Some heads over one sequence, as an encoder records them, with everything that they borrow.
struct Layer {
  std::vector<float> sinks;
  AnyMask mask;
  Tensor output_weight;
  models::LayerRecord record;
  std::vector<PageHead> heads;
  std::vector<bool> special;
  std::vector<int> rank;
  int tokens = 0;
};

Tensor random_tensor(Rng& rng, Shape shape, double spread) {
  Tensor t(DType::F32, shape);
  for (float& x : t.values<float>()) x = static_cast<float>(spread * rng.normal());
  return t;
}

AnyMask random_mask(Rng& rng) {
  switch (rng.below(4)) {
    case 0:
      return AnyMask();
    case 1:
      return AnyMask(causal());
    case 2:
      return AnyMask(window(rng.in(0, 90), rng.in(0, 3)));
    default:
      return AnyMask(fovea::mask([](Site s) { return (s.query * 7 + s.key * 3 + s.head % 2) % 4 != 0; }));
  }
}

/// Borrowed memory must not move: made in place.
void make_layer(Rng& rng, Layer& l, int tokens) {
  const int kv_heads = rng.in(1, 2), heads = kv_heads * rng.in(1, 3), d = rng.in(1, 9), value_dim = rng.in(1, 9);
  l.tokens = tokens;
  if (rng.chance(0.3))
    for (int h = 0; h < heads; ++h) l.sinks.push_back(static_cast<float>(rng.normal()));
  l.mask = random_mask(rng);
  l.record.kind = "encoder";
  const double spread = rng.chance(0.3) ? 6 : 1;  // saturated rows too
  l.record.q = random_tensor(rng, {1, tokens, heads, d}, spread);
  l.record.k = random_tensor(rng, {1, tokens, kv_heads, d}, 1);
  l.record.v = random_tensor(rng, {1, tokens, kv_heads, value_dim}, 1);
  l.output_weight = random_tensor(rng, {rng.in(1, 20), heads * value_dim}, 1);
  AttentionSpec spec;
  spec.mask = l.mask, spec.sinks = l.sinks;
  l.record.attention = attend(l.record.q, l.record.k, l.record.v, spec);
  l.record.output_weight = l.output_weight;
  for (int h = 0; h < heads; ++h) l.heads.push_back({&l.record, h});
  for (int t = 0; t < tokens; ++t) l.special.push_back(t == 0 || t == tokens - 1);
  l.rank.resize(l.heads.size());
  std::iota(l.rank.begin(), l.rank.end(), 0);
  std::shuffle(l.rank.begin(), l.rank.end(), std::mt19937(static_cast<unsigned>(rng.below(1000))));
}

/// A page's arrays by name.
class Arrays {
 public:
  explicit Arrays(const PageGroup& group) {
    for (const PageArray& a : group.arrays) by_name_.emplace(a.name, &a);
  }
  bool has(const std::string& name) const { return by_name_.contains(name); }
  const PageArray& of(const std::string& name) const { return *by_name_.at(name); }
  double at(const std::string& name, std::initializer_list<std::int64_t> index) const {
    const PageArray& a = of(name);
    std::int64_t i = 0;
    int d = 0;
    for (const std::int64_t x : index) i = i * a.shape[d++] + x;
    EXPECT_LT((i + 1) * size_of(a.dtype), std::ssize(a.bytes) + 1);
    const auto whole = [&]<class T>(T value) {
      std::memcpy(&value, a.bytes.data() + i * std::int64_t{sizeof value}, sizeof value);
      return static_cast<double>(value);
    };
    switch (a.dtype) {
      case DType::U8:
        return whole(std::uint8_t{});
      case DType::U16:
        return whole(std::uint16_t{});
      case DType::U32:
        return whole(std::uint32_t{});
      default:
        return load_element(a.dtype, a.bytes.data(), i);
    }
  }
  std::int64_t bytes() const {
    std::int64_t sum = 0;
    for (const auto& [name, a] : by_name_) sum += std::ssize(a->bytes);
    return sum;
  }

 private:
  std::map<std::string, const PageArray*> by_name_;
};

bool sees(const Layer& l, int head, int query, int key) {
  const MaskView& m = l.mask.view();
  return !m.self || m.sees(m.self, Site{0, head, query, key, l.tokens, l.tokens});
}
int visible(const Layer& l, int head, int query) {
  int n = 0;
  for (int k = 0; k < l.tokens; ++k) n += sees(l, head, query, k);
  return n;
}

void expect_effect(double shown, const Link& link, double tolerance) {
  if (std::isinf(link.local_effect)) {
    EXPECT_TRUE(std::isinf(shown));
  } else {
    EXPECT_NEAR(shown, link.local_effect, tolerance * link.local_effect + 1e-6) << "weight " << link.weight;
  }
}

TEST(Page, HoldsEveryWeightAsAttentionGivesIt) {
  for_cases(60, [](Rng& rng) {
    Layer l;
    make_layer(rng, l, rng.in(1, 40));
    const bool exact = rng.chance(0.5);
    constexpr std::int64_t kPlenty = 10'000'000;
    const PageGroup group = page_group(l.heads, l.rank, 0, l.special, {kPlenty, exact ? kPlenty : 0});
    EXPECT_EQ(group.detail, exact ? Detail::Exact : Detail::Rounded);
    const Arrays arrays(group);
    const double step = exact ? 0 : 1.0 / 2048;  // of an F16
    for (int h = 0; h < std::ssize(l.heads); ++h)
      for (int q = 0; q < l.tokens; ++q) {
        const std::vector<float> row = l.record.attention.weights({0, h, q});
        for (int k = 0; k < l.tokens; ++k) {
          const double a = static_cast<double>(row[static_cast<std::size_t>(k)]);
          EXPECT_NEAR(arrays.at("weight", {h, q, k}), a, step * a + (exact ? 0 : 6e-8));
          const Link link = describe(l.record, 0, h, q, k);
          expect_effect(arrays.at("effect", {h, q, k}), link, exact ? 1e-4 : 2e-3);
          EXPECT_NEAR(a * arrays.at("value_norm", {h, k}), link.norm_weighted,
                      (step + 1e-6) * link.norm_weighted + 1e-6);
        }
        const int mask = group.mask[static_cast<std::size_t>(h)];
        EXPECT_EQ(mask < 0, !l.mask.view().self);
        if (mask >= 0) {
          EXPECT_EQ(arrays.at("visible", {mask, q}), visible(l, h, q));
          for (int k = 0; k < l.tokens; ++k)
            EXPECT_EQ(static_cast<int>(arrays.at("seen", {mask, q, k / 8})) >> k % 8 & 1, sees(l, h, q, k));
        }
        EXPECT_EQ(arrays.has("sink"), !l.sinks.empty());
        if (!l.sinks.empty()) {
          EXPECT_NEAR(arrays.at("sink", {h, q}), static_cast<double>(l.record.attention.sink_weight({0, h, q})), 6e-4);
        }
      }
  });
}

TEST(Page, KeepsTheStrongestLinksExactly) {
  for_cases(40, [](Rng& rng) {
    Layer l;
    make_layer(rng, l, rng.in(60, 200));
    const std::int64_t room = rng.in(12'000, 60'000) * std::ssize(l.heads);
    const PageGroup group = page_group(l.heads, l.rank, 0, l.special, {room, 0});
    if (group.detail != Detail::Strongest) return;  // so few tokens that all fit
    const Arrays arrays(group);
    EXPECT_LE(arrays.bytes(), room);
    EXPECT_GE(group.top, 4);
    for (int place = 0; place < std::ssize(group.linked); ++place) {
      const int h = group.linked[static_cast<std::size_t>(place)];
      for (int q = 0; q < l.tokens; ++q) {
        const std::vector<float> row = l.record.attention.weights({0, h, q});
        std::vector<int> order(row.size());
        std::iota(order.begin(), order.end(), 0);
        std::ranges::stable_sort(order, std::greater(), [&](int k) { return row[static_cast<std::size_t>(k)]; });
        double parked = static_cast<double>(l.record.attention.sink_weight({0, h, q}));
        for (int k = 0; k < l.tokens; ++k)
          if (l.special[static_cast<std::size_t>(k)]) parked += static_cast<double>(row[static_cast<std::size_t>(k)]);
        EXPECT_NEAR(arrays.at("special", {place, q}), parked, 1e-3);
        for (int i = 0; i < group.top; ++i) {
          const int k = order[static_cast<std::size_t>(i)];
          const double a = static_cast<double>(row[static_cast<std::size_t>(k)]);
          EXPECT_EQ(arrays.at("weight", {place, q, i}), a);
          EXPECT_EQ(arrays.at("key", {place, q, i}), a > 0 ? k : 0xffff);
          if (a > 0) expect_effect(arrays.at("effect", {place, q, i}), describe(l.record, 0, h, q, k), 2e-3);
        }
      }
    }
  });
}

TEST(Page, TilesAddUpWhatIsLeftOut) {
  for_cases(20, [](Rng& rng) {
    Layer l;
    make_layer(rng, l, rng.in(80, 200));
    const PageGroup group = page_group(l.heads, l.rank, 0, l.special, {20'000 * std::ssize(l.heads), 0});
    if (group.detail != Detail::Strongest) return;
    const Arrays arrays(group);
    const std::int64_t down = arrays.of("mass").shape[1], across = arrays.of("mass").shape[2];
    for (int h = 0; h < std::ssize(l.heads); ++h)
      for (std::int64_t r = 0; r < down; ++r) {
        const int first = static_cast<int>(r) * group.tile_queries,
                  last = std::min(first + group.tile_queries, l.tokens);
        const std::vector<float> rows = l.record.attention.weights(0, h, Range{first, last});
        for (std::int64_t c = 0; c < across; ++c) {
          const int left = static_cast<int>(c) * group.tile_keys, right = std::min(left + group.tile_keys, l.tokens);
          double mass = 0, peak = 0;
          int seen = 0;
          for (int q = first; q < last; ++q)
            for (int k = left; k < right; ++k) {
              const double a = static_cast<double>(rows[static_cast<std::size_t>((q - first) * l.tokens + k)]);
              mass += a, peak = std::max(peak, a), seen += sees(l, h, q, k);
            }
          EXPECT_NEAR(arrays.at("mass", {h, r, c}), mass / (last - first), 1e-3);
          EXPECT_NEAR(arrays.at("peak", {h, r, c}), peak, 1e-3);
          const int mask = group.mask[static_cast<std::size_t>(h)];
          const int cover = seen == 0 ? 0 : seen < (last - first) * (right - left) ? 1 : 2;
          if (mask >= 0) { EXPECT_EQ(arrays.at("cover", {mask, r, c}), cover); }
        }
      }
  });
}

TEST(Page, NeverTakesMoreThanItsRoom) {
  Rng rng(3);
  Layer l;
  make_layer(rng, l, 300);
  for (const std::int64_t room : {3'000, 10'000, 30'000, 100'000, 300'000, 1'000'000, 3'000'000, 10'000'000}) {
    try {
      const PageGroup group = page_group(l.heads, l.rank, 0, l.special, {room * std::ssize(l.heads), 2'000'000});
      EXPECT_LE(Arrays(group).bytes(), room * std::ssize(l.heads)) << room;
    } catch (const Error& e) {
      EXPECT_LT(room, 10'000) << e.what();
      EXPECT_NE(std::string(e.what()).find("choose fewer heads"), std::string::npos);
    }
  }
}

TEST(Page, HeadsOfTheFirstRanksKeepTheirRows) {
  Rng rng(17);
  Layer l;
  while (std::ssize(l.heads) < 4) {
    l = Layer();
    make_layer(rng, l, 256);
  }
  l.rank.clear();
  for (int h = 0; h < std::ssize(l.heads); ++h) l.rank.insert(l.rank.begin(), h);  // the last one first
  const PageGroup group = page_group(l.heads, l.rank, 0, l.special, {40'000, 0});
  ASSERT_EQ(group.detail, Detail::Strongest);
  ASSERT_FALSE(group.linked.empty());
  ASSERT_LT(group.linked.size(), l.heads.size());
  EXPECT_EQ(group.linked.back(), std::ssize(l.heads) - 1);
  EXPECT_EQ(group.linked.front(), std::ssize(l.heads) - std::ssize(group.linked));
  EXPECT_EQ(Arrays(group).of("mass").shape[0], std::ssize(l.heads));  // all have their map
}

}  // namespace
}  // namespace fovea::look
