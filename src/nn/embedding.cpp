#include "nn/embedding.hpp"

#include <algorithm>
#include <fovea/threads.hpp>

#include <fmt/format.h>

#include "ops/embedding.hpp"
#include "ops/pointwise.hpp"
#include "ops/tape.hpp"

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

Tensor Embedding::operator()(std::span<const int> ids) const {
  if (table_.dtype() == DType::F32) return embedding(table_, ids);
  return add_to(Tensor(DType::F32, {std::ssize(ids), table_.shape()[1]}), ids);
}

Tensor Embedding::add_to(Tensor x, std::span<const int> ids) const {
  if (Tape::current() && table_.dtype() == DType::F32) return add(std::move(x), embedding(table_, ids));
  if (!x.unique()) x = x.clone();
  const std::int64_t width = table_.shape()[1];
  float* out = x.data<float>();
  switch (table_.dtype()) {
    case DType::F64: add_rows(table_.data<double>(), ids, width, out); break;
    case DType::BF16: add_rows(table_.data<bf16>(), ids, width, out); break;
    case DType::F16: add_rows(table_.data<f16>(), ids, width, out); break;
    default: add_rows(table_.data<float>(), ids, width, out);
  }
  return x;
}

}  // namespace fovea::nn
