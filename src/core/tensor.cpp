#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include <fovea/tensor.hpp>

#include "core/allocate.hpp"
#include "core/checked.hpp"
#include "core/convert.hpp"

namespace fovea {

Shape::Shape(std::span<const std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  if (dims.size() > kMaxRank)
    throw Error(fmt::format("a tensor has rank {}; at most {} dimensions are supported", dims.size(), kMaxRank));
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

std::int64_t Shape::elements() const {
  const auto n = checked_product(std::span(begin(), static_cast<std::size_t>(rank_)));
  if (!n) throw Error(fmt::format("shape {} has a negative dimension or more elements than 2^63", str()));
  return *n;
}

bool Shape::operator==(const Shape& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

std::string Shape::str() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) strides[i] = step, step *= shape[i];
  return strides;
}

bool TensorView::contiguous() const {
  const Shape expected = contiguous_strides(shape);
  for (int i = 0; i < shape.rank(); ++i)
    if (shape[i] != 1 && strides[i] != expected[i]) return false;
  return true;
}

std::string TensorView::str() const { return fmt::format("{} {}", name_of(dtype), shape.str()); }

Tensor::Tensor(DType dtype, Shape shape) : Tensor(unset(dtype, shape)) {
  if (bytes() > 0) std::memset(raw(), 0, static_cast<std::size_t>(bytes()));
}

Tensor Tensor::unset(DType dtype, Shape shape) {
  const auto bytes = checked_product({shape.elements(), std::int64_t{size_of(dtype)}});
  if (!bytes) throw Error(fmt::format("a tensor {} {} needs more bytes than 2^63", name_of(dtype), shape.str()));
  const std::shared_ptr<const void> memory = allocate(static_cast<std::size_t>(std::max<std::int64_t>(*bytes, 1)));
  Tensor t(dtype, shape, memory.get(), memory);
  t.allocated_ = true;
  return t;
}

Tensor::Tensor(DType dtype, Shape shape, const void* data, std::shared_ptr<const void> owner)
    : view_(dtype, data, shape), owner_(std::move(owner)) {}

void Tensor::check(DType wanted) const {
  if (dtype() != wanted) throw Error(fmt::format("a tensor {} was read as {}", view_.str(), name_of(wanted)));
}
void Tensor::check_rank(int wanted) const {
  if (shape().rank() != wanted) throw Error(fmt::format("a tensor {} was read with rank {}", view_.str(), wanted));
}

Tensor Tensor::reshape(Shape shape) const {
  if (shape.elements() != elements()) throw Error(fmt::format("{} cannot be reshaped to {}", view_.str(), shape.str()));
  Tensor t = *this;
  t.view_ = TensorView(dtype(), view_.data, shape);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == this->dtype()) return *this;
  if (!is_float(dtype) || !is_float(this->dtype()))
    throw Error(fmt::format("no conversion from {} to {}", name_of(this->dtype()), name_of(dtype)));
  Tensor t = unset(dtype, shape());
  if (dtype == DType::F32) {
    widen(this->dtype(), raw(), 0, 1, elements(), t.data<float>());
    return t;
  }
  for (std::int64_t i = 0, n = elements(); i < n; ++i)
    store_element(dtype, t.raw(), i, load_element(this->dtype(), raw(), i));
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = unset(dtype(), shape());
  if (bytes() > 0) std::memcpy(t.raw(), raw(), static_cast<std::size_t>(bytes()));
  return t;
}

double element(const TensorView& t, std::span<const std::int64_t> index) {
  if (!is_float(t.dtype)) throw Error(fmt::format("element: {} is no tensor of floats", t.str()));
  std::int64_t at = 0;
  for (std::size_t i = 0; i < index.size(); ++i) at += index[i] * t.strides[static_cast<int>(i)];
  return load_element(t.dtype, t.data, at);
}

}  // namespace fovea
