#include "ops/linear.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fovea/threads.hpp>

#include "core/convert.hpp"
#include "kernels/registry.hpp"

namespace fovea {
namespace {
constexpr std::int64_t kPanel = 64;  // columns of a panel, as KernelTable::linear reads them
constexpr std::int64_t kRowBlock =
    192;  // rows of x in one piece of work: 32 register tiles against a panel that stays in L2
}  // namespace

PackedLinear::PackedLinear(const TensorView& weight, const Tensor& bias) {
  if (weight.shape.rank() != 2 || !is_float(weight.dtype))
    throw Error(fmt::format("linear: weight is {}; expected floats [out_features, in_features]", weight.str()));
  out_ = weight.shape[0], in_ = weight.shape[1];
  if (!bias.empty() && (bias.elements() != out_ || bias.shape().rank() != 1))
    throw Error(fmt::format("linear: bias is {}; expected [{}]", bias.view().str(), out_));
  const std::int64_t panels = (out_ + kPanel - 1) / kPanel;
  panels_ = Tensor(DType::F32, {panels, in_, kPanel});
  bias_ = Tensor(DType::F32, {panels * kPanel});
  float* to = panels_.data<float>();
  for (std::int64_t o = 0; o < out_; ++o)
    for (std::int64_t i = 0; i < in_; ++i) {
      const double w = load_element(weight.dtype, weight.data, o * weight.strides[0] + i * weight.strides[1]);
      to[(o / kPanel * in_ + i) * kPanel + o % kPanel] = static_cast<float>(w);
    }
  for (std::int64_t o = 0; o < out_ && !bias.empty(); ++o)
    bias_.data<float>()[o] = static_cast<float>(load_element(bias.dtype(), bias.raw(), o));
}

Tensor PackedLinear::operator()(const Tensor& x) const {
  if (x.shape().rank() != 2 || x.shape()[1] != in_)
    throw Error(fmt::format("linear: x is {}; expected [rows, {}]", x.view().str(), in_));
  const std::int64_t rows = x.shape()[0], panels = panels_.shape()[0], blocks = (rows + kRowBlock - 1) / kRowBlock;
  Tensor y(DType::F32, {rows, out_});
  const KernelTable& kernels = active_table();
  const float* from = x.data<float>();
  float* to = y.data<float>();
  parallel_for(blocks * panels, [&](std::int64_t piece) {
    const std::int64_t panel = piece / blocks, row = piece % blocks * kRowBlock;
    kernels.linear(static_cast<int>(std::min(kRowBlock, rows - row)), static_cast<int>(in_), from + row * in_,
                   panels_.data<float>() + panel * in_ * kPanel, bias_.data<float>() + panel * kPanel,
                   to + row * out_ + panel * kPanel, out_, static_cast<int>(std::min(kPanel, out_ - panel * kPanel)));
  });
  return y;
}

}  // namespace fovea
