// A stack of layers in one pass: where it starts, what each attention of a layer sees and changes, and what is kept of
// it.
#pragma once
#include <functional>
#include <span>

#include "models/common.hpp"
#include "nn/decoder_layer.hpp"
#include "nn/encoder_layer.hpp"

namespace fovea::models {

class Stack {
 public:
  using Embed = std::function<Tensor(std::int64_t tokens)>;         // → [tokens, width], the input of layer 0
  using Layer = std::function<Tensor(int layer, const Tensor& x)>;  // [tokens, width] → the same
  /// What a pass changes in one kind of attention, as in Pass.
  struct Changes {
    const std::function<void(int layer, Tensor& v)>& values;
    const std::function<Tensor(int layer, const Tensor& out)>& heads;
  };

  /// Borrows `pass`. Sequences lie one after another along time.
  Stack(const Pass& pass, std::span<const Sequence> sequences);
  const Ends& ends() const { return ends_; }

  /// One attention of one layer: what it is given goes to the layer by pass(), and keep() records what came of it.
  class Attending {
   public:
    /// Borrows all but `spec`, and of `changes` what it holds. `key_ends`: as in LayerRecord.
    Attending(Stack& stack, const char* kind, int layer, AttentionSpec spec, const Changes& changes,
              Ends key_ends = nullptr);
    nn::AttentionPass pass() { return {spec_, stack_.pass_.record_attention ? &trace_ : nullptr, edit_}; }
    void keep(const nn::AttentionBlock& block);

   private:
    Stack& stack_;
    const char* kind_;
    int layer_;
    AttentionSpec spec_;
    nn::AttentionEdit edit_;
    Ends key_ends_;
    nn::AttentionTrace trace_;
  };

  /// All `layers`, from the pass's own start or from embed(). Error when that start doesn't fit.
  Result run(int layers, std::int64_t width, const Embed& embed, const Layer& layer) &&;

 private:
  const Pass& pass_;
  Ends ends_;
  Result result_;
};

/// Self-attention of whole sequences, layer after layer.
Result run_encoder(std::span<const nn::EncoderLayer> layers, std::int64_t width, std::span<const Sequence> sequences,
                   const Pass& pass, const Stack::Embed& embed);

}  // namespace fovea::models
