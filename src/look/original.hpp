// A recorded run of one text, as questions and reruns need it.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include <fovea/model.hpp>

#include "look/model_parts.hpp"
#include "look/removal.hpp"
#include "look/writing.hpp"

namespace fovea::look {

struct Original {
  const ModelParts& model;
  const models::Result& result;  // with hidden states, and attention of every layer
  std::span<const Token> tokens;
  std::vector<const models::LayerRecord*> records;  // of the kind of attention that is asked about, by layer
  const Writing* writing = nullptr;                 // of a model that writes
  std::vector<Tensor> slopes = {};                  // of the metric, by layer, see slopes_of(); empty: not known

  const std::string& kind() const { return records.front()->kind; }
  int heads() const;  // of a layer, at most: pruned layers have fewer
  int group() const;  // query heads that share one head of keys and values
  std::int64_t width() const { return records.front()->output_weight.shape[0]; }
  /// The tokens that queries and keys of this kind stand for.
  std::span<const Token> queries() const;
  std::span<const Token> keys() const;
  std::vector<int> find_query(std::string_view text, std::string_view selector) const;
  std::vector<int> find_key(std::string_view text, std::string_view selector) const;
  /// The pass that answers: the decoder's where there is one.
  const models::Result& answering() const { return writing ? writing->result : result; }
  Extent extent() const {
    return {heads(), group(), static_cast<int>(queries().size()), static_cast<int>(keys().size())};
  }
  /// Tokens of one rerun.
  std::size_t size() const { return tokens.size() + (writing ? writing->tokens.size() : 0); }

 private:
  bool queries_are_written() const { return writing && kind() != "encoder"; }
  bool keys_are_written() const { return writing && kind() == "decoder"; }
};

/// Which of these tokens are not of the text: [tokens].
std::vector<bool> special_among(std::span<const Token> tokens);

}  // namespace fovea::look
