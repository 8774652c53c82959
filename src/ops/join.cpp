#include "ops/join.hpp"

#include <cstring>
#include <vector>

#include "ops/cut.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

/// A part as rows inside the whole: rows of `bytes`, the first at `at`, `stride` apart.
struct Place {
  std::int64_t rows, bytes, at, stride;
};

using Places = std::vector<Place>;

const std::byte* bytes_of(const Tensor& t) { return static_cast<const std::byte*>(t.raw()); }
std::byte* bytes_of(Tensor& t) { return static_cast<std::byte*>(t.raw()); }

Tensor join(std::span<const Tensor> parts, const Shape& whole, const Places& places) {
  Tensor y = Tensor::unset(parts[0].dtype(), whole);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Place& p = places[i];
    for (std::int64_t r = 0; r < p.rows; ++r)
      std::memcpy(bytes_of(y) + p.at + r * p.stride, bytes_of(parts[i]) + r * p.bytes,
                  static_cast<std::size_t>(p.bytes));
  }
  if (Tape* tape = Tape::current())
    tape->record(y, parts, [places, kept = std::vector(parts.begin(), parts.end())](Tape& t, const Tensor& dy) {
      for (std::size_t i = 0; i < kept.size(); ++i) {
        if (!t.tracks(kept[i])) continue;
        const Place& p = places[i];
        Tensor d(dy.dtype(), kept[i].shape());
        for (std::int64_t r = 0; r < p.rows; ++r)
          std::memcpy(bytes_of(d) + r * p.bytes, bytes_of(dy) + p.at + r * p.stride, static_cast<std::size_t>(p.bytes));
        t.add(kept[i], std::move(d));
      }
    });
  return y;
}

void check(const char* op, std::span<const Tensor> parts, int alike) {
  if (parts.empty()) throw Error(fmt::format("{}: there is nothing to join; expected at least one tensor", op));
  for (const Tensor& t : parts)
    if (t.shape().rank() != 2 || t.dtype() != parts[0].dtype() || t.shape()[alike] != parts[0].shape()[alike])
      throw Error(fmt::format("{}: {} and {}; expected [rows, width] of one dtype and as many {}", op,
                              parts[0].view().str(), t.view().str(), alike == 0 ? "rows" : "columns"));
}

}  // namespace

Tensor join_columns(std::span<const Tensor> parts) {
  check("join_columns", parts, 0);
  const std::int64_t rows = parts[0].shape()[0], size = size_of(parts[0].dtype());
  std::int64_t width = 0;
  for (const Tensor& t : parts) width += t.shape()[1];
  Places places;
  std::int64_t at = 0;
  for (const Tensor& t : parts) {
    places.push_back({rows, t.shape()[1] * size, at, width * size});
    at += t.shape()[1] * size;
  }
  return join(parts, {rows, width}, places);
}

Tensor join_rows(std::span<const Tensor> parts) {
  check("join_rows", parts, 1);
  Places places;
  std::int64_t rows = 0, at = 0;
  for (const Tensor& t : parts) {
    places.push_back({1, t.bytes(), at, 0});
    rows += t.shape()[0], at += t.bytes();
  }
  return join(parts, {rows, parts[0].shape()[1]}, places);
}

}  // namespace fovea
