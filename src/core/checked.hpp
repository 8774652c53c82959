// The one place where sizes are multiplied and added with overflow detected.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>

namespace fovea {

/// Product of non-negative numbers; nothing when one is negative or the product leaves int64 (a zero does not excuse an
/// overflow of the others: {0, 2^62, 4} is refused).
inline std::optional<std::int64_t> checked_product(std::span<const std::int64_t> factors) {
  std::int64_t product = 1;
  bool zero = false;
  for (const std::int64_t f : factors) {
    if (f < 0) return std::nullopt;
    if (f == 0)
      zero = true;
    else if (__builtin_mul_overflow(product, f, &product))
      return std::nullopt;
  }
  return zero ? 0 : product;
}
inline std::optional<std::int64_t> checked_product(std::initializer_list<std::int64_t> factors) {
  return checked_product(std::span(factors.begin(), factors.size()));
}

/// Sum of two non-negative numbers; nothing when one is negative or the sum leaves int64.
inline std::optional<std::int64_t> checked_sum(std::int64_t a, std::int64_t b) {
  std::int64_t sum;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

}  // namespace fovea
