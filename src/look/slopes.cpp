#include "look/slopes.hpp"

namespace fovea::look {

HeadWatch::Edit HeadWatch::watching(const std::string& kind, Edit then) {
  return [this, kind, then = std::move(then)](int layer, const Tensor& out) {
    tape_.watch(out);
    outputs_[{kind, layer}] = out;
    return then ? then(layer, out) : out;
  };
}

namespace {

/// What the metric reads, computed again with the heads of the run's kind watched.
models::Result watched_pass(const Original& run, HeadWatch& watch) {
  const models::Sequence source = sequence_of(run.tokens);
  models::Pass reading;
  if (run.kind() == "encoder") reading.heads = watch.watching("encoder");
  if (!run.writing) return run.model.encoder->forward({&source, 1}, reading);
  const models::EncoderDecoder& model = *run.model.writer;
  const models::Sequence target = sequence_of(run.writing->inputs);
  if (run.kind() == "encoder") return model.decode(model.encode({&source, 1}, reading), {&target, 1});
  models::DecoderPass writing;
  (run.kind() == "cross" ? writing.cross_heads : writing.heads) = watch.watching(run.kind());
  return model.decode(run.result, {&target, 1}, writing);
}

}  // namespace

std::vector<Tensor> slopes_of(const Original& run, const Metric& metric) {
  if (run.writing && !run.model.writer->edits_heads()) return {};
  HeadWatch watch;
  const Tensor number = metric.recorded(watched_pass(run, watch));
  if (number.empty()) return {};
  watch.go_back(number);
  std::vector<Tensor> slopes;
  for (int layer = 0; layer < static_cast<int>(run.records.size()); ++layer)
    slopes.push_back(watch.slope(run.kind(), layer));
  return slopes;
}

}  // namespace fovea::look
