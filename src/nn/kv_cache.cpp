#include "nn/kv_cache.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace fovea::nn {
namespace {

/// Elements of one token of one row.
std::int64_t token_size(const Tensor& t) { return t.shape()[2] * t.shape()[3]; }

/// The rows named, with room for `capacity` tokens each; of every row the first `length` are there.
Tensor gathered(const Tensor& t, std::span<const int> rows, std::int64_t capacity, std::int64_t length) {
  Tensor to(DType::F32, {std::ssize(rows), capacity, t.shape()[2], t.shape()[3]});
  const std::int64_t token = token_size(t), from_row = t.shape()[1] * token, to_row = capacity * token;
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(t.data<float>() + rows[i] * from_row, length * token,
                to.data<float>() + static_cast<std::int64_t>(i) * to_row);
  return to;
}

/// The same with more room.
Tensor grown(const Tensor& t, std::int64_t capacity, std::int64_t length) {
  Tensor to(DType::F32, {t.shape()[0], capacity, t.shape()[2], t.shape()[3]});
  const std::int64_t token = token_size(t);
  for (std::int64_t row = 0; row < t.shape()[0]; ++row)
    std::copy_n(t.data<float>() + row * t.shape()[1] * token, length * token,
                to.data<float>() + row * capacity * token);
  return to;
}

void put(Tensor& to, const Tensor& token, std::int64_t at) {
  const std::int64_t size = token_size(to), row = to.shape()[1] * size;
  for (std::int64_t i = 0; i < to.shape()[0]; ++i)
    std::copy_n(token.data<float>() + i * size, size, to.data<float>() + i * row + at * size);
}

}  // namespace

void KvCache::append(const Tensor& k, const Tensor& v) {
  constexpr std::int64_t kFirst = 16;
  if (keys_.empty()) {
    keys_ = Tensor(DType::F32, {k.shape()[0], kFirst, k.shape()[2], k.shape()[3]});
    values_ = Tensor(DType::F32, {v.shape()[0], kFirst, v.shape()[2], v.shape()[3]});
  }
  if (k.shape()[0] != keys_.shape()[0])
    throw Error(fmt::format("kv cache: {} rows go on and the cache has {}", k.shape()[0], keys_.shape()[0]));
  if (length_ == keys_.shape()[1]) {
    keys_ = grown(keys_, 2 * length_, length_);
    values_ = grown(values_, 2 * length_, length_);
  }
  put(keys_, k, length_);
  put(values_, v, length_);
  ++length_;
}

void KvCache::select(std::span<const int> rows) {
  if (keys_.empty()) return;  // nothing has been written yet
  keys_ = gathered(keys_, rows, keys_.shape()[1], length_);
  values_ = gathered(values_, rows, values_.shape()[1], length_);
}

TensorView KvCache::seen(const Tensor& t) const {
  TensorView view = t.view();
  view.shape[1] = length_;
  return view;
}

}  // namespace fovea::nn
