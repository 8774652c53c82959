// Marian a token at a time: keys and values of what was written and of the sources are kept, only the new token is
// computed.
#include <numeric>

#include "models/common.hpp"
#include "models/marian.hpp"

namespace fovea::models {

class Marian::Writing final : public Decoding {
 public:
  Writing(const Marian& model, const Result& sources)
      : model_(&model), key_ends_(sources.ends), self_(model.decoder_.size()) {
    for (const nn::DecoderLayer& layer : model.decoder_)
      sources_.push_back(layer.cross_attention().project(sources.hidden));
    source_.resize(key_ends_.size());
    std::iota(source_.begin(), source_.end(), 0);
  }

  Tensor step(std::span<const int> ids) override {
    check_step(ids, source_.size(), written_, model_->config_.positions);
    model_->words_.check(ids, "token id");
    Tensor x = model_->embed(model_->decoder_entrance_, ids, std::vector<int>(ids.size(), written_));  // [rows, width]
    const std::vector<int> ends = query_ends();
    const AttentionSpec cross(packed(ends, key_ends_));
    for (std::size_t i = 0; i < self_.size(); ++i) x = model_->decoder_[i].step(x, self_[i], sources_[i], cross);
    ++written_;
    return model_->vocabulary_logits(x);
  }

  void select(std::span<const int> rows) override {
    source_ = selected_sources(source_, rows);
    for (nn::KvCache& cache : self_) cache.select(rows);
  }

 private:
  /// Rows of one source lie together, so they are one packed sequence over that source's keys; a source without rows is
  /// an empty one.
  std::vector<int> query_ends() const {
    std::vector<int> ends(key_ends_.size(), 0);
    for (const int s : source_) ++ends[static_cast<std::size_t>(s)];
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    return ends;
  }

  const Marian* model_;
  std::vector<int> key_ends_;            // [sources]
  std::vector<int> source_;              // [rows], ascending
  std::vector<nn::KvCache> self_;        // [layers]
  std::vector<nn::KeysValues> sources_;  // [layers], all sources packed along time
  int written_ = 0;
};

std::unique_ptr<Decoding> Marian::begin(const Result& sources) const {
  return std::make_unique<Writing>(*this, sources);
}

}  // namespace fovea::models
