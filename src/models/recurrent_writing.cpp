// The recurrent family a token at a time: one state a row.
#include <numeric>
#include <utility>

#include "models/common.hpp"
#include "models/recurrent.hpp"
#include "ops/embedding.hpp"

namespace fovea::models {

class Recurrent::Writing final : public Decoding {
 public:
  Writing(const Recurrent& model, const Result& sources)
      : model_(&model), parts_(model.step_parts()), sources_(model.memory(sources)), rows_(sources_) {
    source_.resize(sources.ends.size());
    std::iota(source_.begin(), source_.end(), 0);
    state_ = activate(model.initial_(sources_.fixed), Activation::Tanh);
  }

  Tensor step(std::span<const int> ids) override {
    check_step(ids, source_.size(), written_, model_->config_.positions);
    model_->words_.check(ids, "token id");
    const Tensor word = model_->embed(ids);  // [rows, width]
    Stepped s = model_->step(parts_, rows_, model_->from_word_(word), state_);
    state_ = s.state;
    ++written_;
    return model_->vocabulary_logits(model_->readout(s.state, s.context, word));
  }

  void select(std::span<const int> rows) override {
    std::vector<int> source = selected_sources(source_, rows);
    state_ = embedding(state_, rows);
    if (source == source_) return;
    source_ = std::move(source);
    gather();
  }

 private:
  /// rows_ of sources_: each row has its own source beside it.
  void gather() {
    rows_.fixed = embedding(sources_.fixed, source_);
    rows_.lengths.clear();
    for (const int s : source_) rows_.lengths.push_back(sources_.lengths[static_cast<std::size_t>(s)]);
    if (sources_.keys.empty()) return;
    const std::int64_t time = sources_.keys.shape()[0], sources = sources_.keys.shape()[1],
                       width = model_->config_.width;
    std::vector<int> columns;  // [time · rows]
    for (std::int64_t t = 0; t < time; ++t)
      for (const int s : source_) columns.push_back(static_cast<int>(t * sources) + s);
    const auto gathered = [&](const Tensor& all) {
      return embedding(all.reshape({time * sources, width}), columns).reshape({time, std::ssize(source_), width});
    };
    rows_.keys = gathered(sources_.keys);
    rows_.values = gathered(sources_.values);
  }

  const Recurrent* model_;
  Step parts_;
  Memory sources_, rows_;    // of each source; of each row
  std::vector<int> source_;  // [rows], ascending
  Tensor state_;             // [rows, width]
  int written_ = 0;
};

std::unique_ptr<Decoding> Recurrent::begin(const Result& sources) const {
  return std::make_unique<Writing>(*this, sources);
}

}  // namespace fovea::models
