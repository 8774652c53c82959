#include "look/slopes.hpp"

#include <algorithm>
#include <span>

namespace fovea::look {

HeadWatch::Edit HeadWatch::watching(const std::string& kind, Edit then) {
  return [this, kind, then = std::move(then)](int layer, const Tensor& out) {
    tape_.watch(out);
    outputs_[{kind, layer}] = out;
    return then ? then(layer, out) : out;
  };
}

namespace {

/// Steps of the decoder up to the last that the metric reads: later ones have no part in it.
std::size_t steps_read(const Original& run, const Metric& metric) {
  const std::span read = metric.positions();
  return read.empty() ? run.writing->inputs.size() : static_cast<std::size_t>(std::ranges::max(read)) + 1;
}

/// A slope [1, steps, heads, value_dim] with zeros for later steps.
Tensor lengthened(const Tensor& slope, std::size_t steps) {
  const Shape& s = slope.shape();
  Tensor all(DType::F32, {1, static_cast<std::int64_t>(steps), s[2], s[3]});
  std::ranges::copy(slope.values<float>(), all.data<float>());
  return all;
}

/// What the metric reads, computed again with the heads of the run's kind watched.
models::Result watched_pass(const Original& run, const Metric& metric, HeadWatch& watch) {
  const models::Sequence source = sequence_of(run.tokens);
  models::Pass reading;
  if (run.kind() == "encoder") reading.heads = watch.watching("encoder");
  if (!run.writing) return run.model.encoder->forward({&source, 1}, reading);
  const models::EncoderDecoder& model = *run.model.writer;
  const models::Sequence target = sequence_of(std::span(run.writing->inputs).first(steps_read(run, metric)));
  if (run.kind() == "encoder") return model.decode(model.encode({&source, 1}, reading), {&target, 1});
  models::DecoderPass writing;
  (run.kind() == "cross" ? writing.cross_heads : writing.heads) = watch.watching(run.kind());
  return model.decode(run.result, {&target, 1}, writing);
}

}  // namespace

std::vector<Tensor> slopes_of(const Original& run, const Metric& metric) {
  if (run.writing && !run.model.writer->edits_heads()) return {};
  HeadWatch watch;
  const Tensor number = metric.recorded(watched_pass(run, metric, watch));
  if (number.empty()) return {};
  watch.go_back(number);
  std::vector<Tensor> slopes;
  for (int layer = 0; layer < static_cast<int>(run.records.size()); ++layer)
    slopes.push_back(run.writing && run.kind() != "encoder"
                         ? lengthened(watch.slope(run.kind(), layer), run.writing->inputs.size())
                         : watch.slope(run.kind(), layer));
  return slopes;
}

}  // namespace fovea::look
