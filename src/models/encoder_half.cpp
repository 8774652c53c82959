// The reading half of an encoder–decoder as an encoder of its own.
#include <utility>

#include <fmt/format.h>

#include "models/encoder_decoder.hpp"

namespace fovea::models {
namespace {

class EncoderHalf final : public Encoder {
 public:
  explicit EncoderHalf(std::shared_ptr<const EncoderDecoder> model) : model_(std::move(model)) {}
  const Summary& summary() const override { return model_->summary(); }
  Result forward(std::span<const Sequence> sequences, const Pass& pass) const override {
    return model_->encode(sequences, pass);
  }
  bool predicts_vocabulary() const override { return false; }
  Tensor vocabulary_logits(const Tensor&) const override { no_head("masked-language head"); }
  Tensor class_logits(const Result&) const override { no_head("sequence-classification head"); }
  const std::vector<std::string>& labels() const override { return labels_; }
  Tensor pooled(const Result&) const override { no_head("pooler"); }

 private:
  [[noreturn]] void no_head(const char* head) const {
    throw Error(
        fmt::format("this model has no {}: it is an encoder–decoder ({}), which writes texts; ask it to translate",
                    head, summary().architecture.empty() ? summary().family : summary().architecture));
  }

  std::shared_ptr<const EncoderDecoder> model_;
  std::vector<std::string> labels_;
};

}  // namespace

std::unique_ptr<Encoder> encoder_half(std::shared_ptr<const EncoderDecoder> model) {
  return std::make_unique<EncoderHalf>(std::move(model));
}

}  // namespace fovea::models
