#include "nn/embedding.hpp"

#include <algorithm>
#include <fovea/threads.hpp>

#include <fmt/format.h>

namespace fovea::nn {
namespace {

template <class T> void add_rows(const T* table, std::span<const int> ids, std::int64_t width, float* x) {
  constexpr std::int64_t kRows = 64;
  const auto n = static_cast<std::int64_t>(ids.size());
  parallel_for((n + kRows - 1) / kRows, [&](std::int64_t block) {
    for (std::int64_t i = block * kRows; i < std::min(n, (block + 1) * kRows); ++i) {
      const T* from = table + ids[static_cast<std::size_t>(i)] * width;
      float* to = x + i * width;
      for (std::int64_t c = 0; c < width; ++c) to[c] += static_cast<float>(from[c]);
    }
  });
}

}  // namespace

Embedding::Embedding(const Weights& weights, std::int64_t rows, std::int64_t width)
    : table_(weights.tensor("weight", {rows, width})) {}

void Embedding::check(std::span<const int> ids, std::string_view what) const {
  const auto bad = std::find_if(ids.begin(), ids.end(), [&](int id) { return id < 0 || id >= rows(); });
  if (bad == ids.end()) return;
  throw Error(fmt::format("{} {} at position {} is not in the model's table of {}: expected 0 to {}", what, *bad,
                          bad - ids.begin(), rows(), rows() - 1));
}

void Embedding::add_to(Tensor& x, std::span<const int> ids) const {
  const std::int64_t width = table_.shape()[1];
  float* out = x.data<float>();
  switch (table_.dtype()) {
    case DType::F64: return add_rows(table_.data<double>(), ids, width, out);
    case DType::BF16: return add_rows(table_.data<bf16>(), ids, width, out);
    case DType::F16: return add_rows(table_.data<f16>(), ids, width, out);
    default: return add_rows(table_.data<float>(), ids, width, out);
  }
}

}  // namespace fovea::nn
