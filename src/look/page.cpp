#include "look/page.hpp"

#include <cmath>

#include <fmt/format.h>

#include <fovea/threads.hpp>

#include "look/page_parts.hpp"
#include "look/row_effects.hpp"

namespace fovea::look {
namespace {

using Runs = std::vector<std::pair<int, int>>;

Runs runs_of(const HeadRows& head, int query) {
  Runs runs;
  head.for_visible(query, [&](int first, int last) {
    if (!runs.empty() && runs.back().second == first)
      runs.back().second = last;
    else
      runs.emplace_back(first, last);
  });
  return runs;
}

bool same_mask(const HeadRows& a, const HeadRows& b) {
  for (int q = 0; q < a.queries(); ++q)
    if (runs_of(a, q) != runs_of(b, q)) return false;
  return true;
}

std::int64_t bytes_a_row(std::int64_t keys) { return (keys + 7) / 8; }

/// seen U8 [M, Q, ⌈K/8⌉].
PageArray seen_bits(const PageMasks& masks, int queries, int keys) {
  const std::int64_t row = bytes_a_row(keys);
  Plane plane("seen", DType::U8, {std::ssize(masks.distinct), queries, row});
  for (std::int64_t m = 0; m < std::ssize(masks.distinct); ++m)
    for (int q = 0; q < queries; ++q)
      masks.distinct[static_cast<std::size_t>(m)]->for_visible(q, [&](int first, int last) {
        for (int j = first; j < last; ++j)
          plane.byte((m * queries + q) * row + j / 8) |= static_cast<std::uint8_t>(1u << j % 8);
      });
  return plane.take();
}

/// Bytes of the arrays of add_all_edges.
std::int64_t all_edges_bytes(std::int64_t heads, std::int64_t queries, std::int64_t keys, std::int64_t masks,
                             bool sinks, DType dtype) {
  const std::int64_t row = 2 * keys + (sinks ? 1 : 0), rows = heads * queries;
  return (rows * row + heads * keys) * size_of(dtype) + masks * queries * (4 + bytes_a_row(keys));
}

}  // namespace

PageMasks masks_of(const std::vector<HeadRows>& heads) {
  PageMasks masks;
  for (const HeadRows& head : heads) {
    if (head.all_visible()) {
      masks.of_head.push_back(-1);
      continue;
    }
    const auto known = std::ranges::find_if(masks.distinct, [&](const HeadRows* m) { return same_mask(*m, head); });
    masks.of_head.push_back(static_cast<int>(known - masks.distinct.begin()));
    if (known == masks.distinct.end()) masks.distinct.push_back(&head);
  }
  return masks;
}

PageArray visible_counts(const PageMasks& masks, int queries) {
  Plane plane("visible", DType::U32, {std::ssize(masks.distinct), queries});
  for (std::int64_t m = 0; m < std::ssize(masks.distinct); ++m)
    for (int q = 0; q < queries; ++q)
      plane.put_bits(m * queries + q,
                     static_cast<std::uint32_t>(masks.distinct[static_cast<std::size_t>(m)]->visible(q)));
  return plane.take();
}

void add_all_edges(PageGroup& group, const std::vector<HeadRows>& heads, const PageMasks& masks, DType dtype) {
  const std::int64_t count = std::ssize(heads), queries = group.queries, keys = group.keys;
  const bool sinks = heads.front().has_sinks();
  Plane weight("weight", dtype, {count, queries, keys}), effect("effect", dtype, {count, queries, keys});
  Plane norm("value_norm", dtype, {count, keys}), sink("sink", dtype, {count, sinks ? queries : 0});
  parallel_for(count, [&](std::int64_t h) {
    const HeadRows& rows = heads[static_cast<std::size_t>(h)];
    RowEffects effects(rows);
    const std::vector<float> weights = rows.weights({0, group.queries});  // [queries, keys]
    for (int q = 0; q < group.queries; ++q) {
      const std::span row(weights.data() + q * keys, static_cast<std::size_t>(keys));
      effects.enter(q, row);
      for (int j = 0; j < group.keys; ++j) {
        weight.put((h * queries + q) * keys + j, static_cast<double>(row[static_cast<std::size_t>(j)]));
        effect.put((h * queries + q) * keys + j, effects.effect(j));
      }
      if (sinks) sink.put(h * queries + q, rows.sink(q));
    }
    for (int j = 0; j < group.keys; ++j) norm.put(h * keys + j, effects.value_norm(j));
  });
  for (Plane* plane : {&weight, &effect, &norm}) group.arrays.push_back(plane->take());
  if (sinks) group.arrays.push_back(sink.take());
  if (masks.distinct.empty()) return;
  group.arrays.push_back(visible_counts(masks, group.queries));
  group.arrays.push_back(seen_bits(masks, group.queries, group.keys));
}

PageGroup page_group(std::span<const PageHead> wanted, std::span<const int> rank, int sequence,
                     const std::vector<bool>& special, PageRoom room) {
  if (wanted.empty()) throw Error("a page needs at least one head");
  std::vector<HeadRows> heads;
  for (const PageHead& h : wanted) heads.emplace_back(*h.record, sequence, h.head);
  PageGroup group;
  group.queries = heads.front().queries(), group.keys = heads.front().keys();
  const PageMasks masks = masks_of(heads);
  group.mask = masks.of_head;
  const auto bytes = [&](DType dtype) {
    return all_edges_bytes(std::ssize(heads), group.queries, group.keys, std::ssize(masks.distinct),
                           heads.front().has_sinks(), dtype);
  };
  if (bytes(DType::F32) <= std::min(room.exact_bytes, room.bytes)) {
    add_all_edges(group, heads, masks, DType::F32);
  } else if (bytes(DType::F16) <= room.bytes) {
    group.detail = Detail::Rounded;
    add_all_edges(group, heads, masks, DType::F16);
  } else {
    group.detail = Detail::Strongest;
    add_strongest(group, heads, masks, rank, special, room.bytes);
  }
  return group;
}

}  // namespace fovea::look
