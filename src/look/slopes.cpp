#include "look/slopes.hpp"

namespace fovea::look {

HeadWatch::Edit HeadWatch::watching(const std::string& kind, Edit then) {
  return [this, kind, then = std::move(then)](int layer, const Tensor& out) {
    tape_.watch(out);
    outputs_[{kind, layer}] = out;
    return then ? then(layer, out) : out;
  };
}

std::vector<Tensor> slopes_of(const models::Encoder& encoder, const models::Sequence& sequence, const Metric& metric) {
  HeadWatch watch;
  models::Pass pass;
  pass.heads = watch.watching("encoder");
  const Tensor number = metric.recorded(encoder.forward(std::span(&sequence, 1), pass));
  if (number.empty()) return {};
  watch.go_back(number);
  std::vector<Tensor> slopes;
  for (int layer = 0; layer < encoder.summary().layers; ++layer) slopes.push_back(watch.slope("encoder", layer));
  return slopes;
}

}  // namespace fovea::look
