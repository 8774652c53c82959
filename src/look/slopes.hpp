// How a metric would answer to small changes of what the heads put out: one pass and its way back for all of them.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "look/metric.hpp"
#include "look/original.hpp"
#include "models/encoder.hpp"
#include "ops/tape.hpp"

namespace fovea::look {

/// Watches heads' outputs while a pass runs on a tape; afterwards says what the slope of a number to each of them is.
class HeadWatch {
 public:
  using Edit = std::function<Tensor(int layer, const Tensor& out)>;
  /// As Pass::heads (or cross_heads) of that kind of attention: what `then` makes of an output once it is watched.
  Edit watching(const std::string& kind, Edit then = {});
  /// Walks back from a number F32 [1] that came of the watched.
  void go_back(const Tensor& number) { tape_.backward(number); }

  /// Both F32 [1, tokens, heads, value_dim]: what the heads of a layer put out, and d number / d that.
  const Tensor& output(const std::string& kind, int layer) const { return outputs_.at({kind, layer}); }
  Tensor slope(const std::string& kind, int layer) const { return tape_.gradient(output(kind, layer)); }

 private:
  Tape tape_{Tape::Still()};  // of what the model does, not of how it was trained
  std::map<std::pair<std::string, int>, Tensor> outputs_;
};

/// g = d metric / d o of every layer's heads, F32 [1, tokens, heads, value_dim] each, of the kind of attention that the
/// run is asked about; empty where the metric is flat, and where a family has no heads to watch.
std::vector<Tensor> slopes_of(const Original& run, const Metric& metric);

}  // namespace fovea::look
