#include "support/parts.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fovea/attention.hpp>

namespace fovea::testing {
namespace {

/// A random view of `shape` in memory of its own: some dimensions broadcast, some padded, any order in memory.
/// `fill(i)` gives the numbers.
template <class T, class Fill>
TensorView random_grid(Rng& rng, const Extents& e, Keep& keep, Fill fill) {
  const std::int64_t whole[4] = {e.batches, e.heads, e.queries, e.keys};
  Shape shape{1, 1, 1, 1}, strides{0, 0, 0, 0};
  std::int64_t step = 1;
  for (const int d : rng.permutation(4)) {
    shape[d] = rng.chance(0.7) ? whole[d] : 1;
    strides[d] = step;
    step *= shape[d] + (rng.chance(0.2) ? rng.in(1, 3) : 0);
  }
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(step, 1));
  std::shared_ptr<T[]> memory(new T[count]);
  for (std::size_t i = 0; i < count; ++i) memory[i] = fill();
  keep.push_back(memory);
  return {dtype_of<T>, memory.get(), shape, strides};
}

}  // namespace

std::pair<Align, std::string> random_align(Rng& rng, const Extents& e) {
  switch (rng.below(4)) {
    case 0:
      return {top_left, "top_left"};
    case 1: {
      const int key = rng.in(-5, e.keys + 5);
      return {on_key(key), fmt::format("on_key({})", key)};
    }
    default:
      return {bottom_right, "bottom_right"};
  }
}
std::vector<int> random_ends(Rng& rng, int length, int most) {
  std::vector<int> ends;
  for (int i = 0, n = rng.in(0, most); i < n; ++i) ends.push_back(rng.in(0, length));
  std::sort(ends.begin(), ends.end());
  return ends;
}
Blocks random_blocks(Rng& rng, const Extents& e) {
  const int size = rng.pick({1, 3, 7, 16, 32, 64}), rows = e.queries / size + rng.below(2), columns = e.keys / size + 1;
  std::vector<std::pair<int, int>> visible;
  for (int q = 0; q < rows; ++q)
    for (int k = 0; k < columns; ++k)
      if (rng.chance(0.5)) visible.emplace_back(q, k);
  return blocks(size, rows, columns, visible);
}

NamedMask random_band(Rng& rng, const Extents& e) {
  const auto [align, where] = random_align(rng, e);
  const int longest = std::max(e.queries, e.keys);
  switch (rng.below(6)) {
    case 0:
      return {causal(align), fmt::format("causal({})", where)};
    case 1: {
      const int left = rng.in(-1, longest), right = rng.chance(0.5) ? 0 : rng.in(-1, 9);
      return {window(left, right, align), fmt::format("window({}, {}, {})", left, right, where)};
    }
    case 2: {
      const int n = rng.in(0, longest);
      return {prefix(n, align), fmt::format("prefix({}, {})", n, where)};
    }
    case 3: {
      const int n = rng.in(1, longest + 1);
      return {chunked(n, align), fmt::format("chunked({}, {})", n, where)};
    }
    case 4: {
      const std::vector<int> ends = random_ends(rng, longest, 5);
      return {documents(ends, align), fmt::format("documents({{{}}}, {})", fmt::join(ends, ", "), where)};
    }
    default: {
      const int n = rng.in(0, longest);  // bands of a compile-time composition stay one band
      return {causal(align) & window(n, 0, align), fmt::format("causal({0}) & window({1}, 0, {0})", where, n)};
    }
  }
}

static NamedMask random_leaf(Rng& rng, const Extents& e, Keep& keep, bool same_size) {
  switch (rng.below(same_size ? 10 : 9)) {
    case 0:
      return {everything(), "everything()"};
    case 1: {
      const int stride = rng.in(1, 9);
      return {mask([stride](Site s) { return (s.query - s.key) % stride == 0; }), fmt::format("strided({})", stride)};
    }
    case 2: {
      const std::uint64_t salt = rng.word();
      const int share = rng.in(1, 9);
      return {mask([salt, share](Site s) {
                const std::uint64_t site = (static_cast<std::uint64_t>(s.batch * 64 + s.head) << 48) +
                                           (static_cast<std::uint64_t>(s.query) << 24) +
                                           static_cast<std::uint64_t>(s.key);
                return static_cast<int>(Rng(salt ^ site).word() % 10) < share;
              }),
              fmt::format("{}% at random", share * 10)};
    }
    case 3:
      return {random_blocks(rng, e), "blocks"};
    case 4: {
      const double share = rng.uniform();
      return {visible(random_grid<bool>(rng, e, keep, [&] { return rng.chance(share); })),
              fmt::format("grid({:.2f})", share)};
    }
    case 9: {
      const NamedMask inner = random_leaf(rng, e, keep, false);
      return {BlockMap(inner.mask, e.batches, e.heads, e.queries, e.keys), fmt::format("map of {}", inner.name)};
    }
    default:
      return random_band(rng, e);
  }
}

NamedMask random_mask(Rng& rng, const Extents& e, Keep& keep, bool same_size, int depth) {
  if (depth == 0 || rng.chance(0.5)) return random_leaf(rng, e, keep, same_size);
  const NamedMask a = random_mask(rng, e, keep, same_size, depth - 1);
  if (rng.chance(0.2)) return {except(a.mask), fmt::format("except({})", a.name)};
  const NamedMask b = random_mask(rng, e, keep, same_size, depth - 1);
  if (rng.chance(0.5)) return {a.mask & b.mask, fmt::format("({} & {})", a.name, b.name)};
  return {a.mask | b.mask, fmt::format("({} | {})", a.name, b.name)};
}

static NamedScore random_stage(Rng& rng, const Extents& e, Keep& keep) {
  const int longest = std::max(e.queries, e.keys);
  switch (rng.below(4)) {
    case 0: {
      const auto cap = static_cast<float>(rng.uniform(0.5, 50));
      return {softcap(cap), fmt::format("softcap({})", cap)};
    }
    case 1: {
      const auto [align, where] = random_align(rng, e);
      std::vector<float> slopes = rng.chance(0.5) ? alibi_slopes(e.heads) : std::vector<float>();
      while (static_cast<int>(slopes.size()) < e.heads) slopes.push_back(static_cast<float>(rng.uniform(0, 0.3)));
      float most = 0;
      for (const float s : slopes) most = std::max(most, s);
      return {alibi(slopes, align), fmt::format("alibi({:.3f}…, {})", most, where),
              double{most} * (longest + e.keys + 5)};
    }
    case 2: {
      const double size = rng.pick({0.1, 3.0, 30.0});
      const auto values =
          random_grid<float>(rng, e, keep, [&] { return static_cast<float>(rng.uniform(-size, size)); });
      return {bias(values), fmt::format("bias({})", size), size};
    }
    default: {
      const auto rate = static_cast<float>(rng.uniform(-0.1, 0.1));
      return {score([rate](auto s, Site at) { return s - rate * static_cast<float>(at.query - at.key); }),
              fmt::format("{:.3f} · distance", rate), std::abs(double{rate}) * longest};
    }
  }
}

NamedScore random_score(Rng& rng, const Extents& e, Keep& keep) {
  NamedScore all{AnyScore(), "identity"};
  for (int i = 0, n = rng.pick({0, 0, 1, 1, 1, 2, 3}); i < n; ++i) {
    NamedScore s = random_stage(rng, e, keep);
    all = {all.score | s.score, i == 0 ? s.name : all.name + " | " + s.name, all.moves + s.moves};
  }
  return all;
}

}  // namespace fovea::testing
