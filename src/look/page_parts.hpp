// What the two kinds of page, all edges and the strongest alone, have in common.
#pragma once
#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/convert.hpp"
#include "look/page.hpp"
#include "look/rows.hpp"

namespace fovea::look {

/// An array being filled. Threads may put different elements.
class Plane {
 public:
  Plane(std::string name, DType dtype, Shape shape) : array_{std::move(name), dtype, shape, {}} {
    array_.bytes.resize(static_cast<std::size_t>(shape.elements() * size_of(dtype)));
  }
  /// Floats. What is finite stays finite: infinity has a meaning of its own.
  void put(std::int64_t i, double x) {
    constexpr double kMostF16 = 65504;
    if (array_.dtype == DType::F16 && std::isfinite(x)) x = std::clamp(x, -kMostF16, kMostF16);
    store_element(array_.dtype, array_.bytes.data(), i, x);
  }
  template <class T>
  requires std::is_integral_v<T>
  void put_bits(std::int64_t i, T x) { std::memcpy(array_.bytes.data() + i * std::int64_t{sizeof(T)}, &x, sizeof(T)); }
  std::uint8_t& byte(std::int64_t i) {
    return reinterpret_cast<std::uint8_t&>(array_.bytes[static_cast<std::size_t>(i)]);
  }
  PageArray take() { return std::move(array_); }

 private:
  PageArray array_;
};

/// The masks of a group, each distinct one once.
struct PageMasks {
  std::vector<int> of_head;               // [H] −1: everything is visible
  std::vector<const HeadRows*> distinct;  // [M] one head of each
};
PageMasks masks_of(const std::vector<HeadRows>& heads);
/// visible U32 [M, Q].
PageArray visible_counts(const PageMasks& masks, int queries);

void add_all_edges(PageGroup& group, const std::vector<HeadRows>& heads, const PageMasks& masks, DType dtype);
void add_strongest(PageGroup& group, const std::vector<HeadRows>& heads, const PageMasks& masks,
                   std::span<const int> rank, const std::vector<bool>& special, std::int64_t room);

}  // namespace fovea::look
