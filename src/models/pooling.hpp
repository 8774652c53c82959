// One vector per text from its token vectors, as a sentence-transformers folder says: modules.json and the folders it names.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "models/encoder.hpp"

namespace fovea::models {

/// Ways to reduce a sequence (Reimers & Gurevych 2019, arXiv 1908.10084), in the order in which several of them are concatenated.
enum class Reduce { Cls, Max, Mean, MeanSqrtLength, WeightedMean, LastToken };

/// Reduction over all tokens of a sequence, the special ones included, then whatever follows (Normalize, Dense).
class Pooling {
 public:
  /// What the folder says for hidden vectors of `width`; the mean over tokens where it has no modules.json. Error when it says
  /// something that is not known, naming the module. max_seq_length of sentence_bert_config.json is not read: it would cut long
  /// texts without a word, and whoever wants that asks for truncation by name.
  static Pooling load(const std::filesystem::path& folder, int width);

  /// F32 [sequences, width()]
  Tensor operator()(const Result& result) const;
  int width() const { return width_; }
  /// "mean over tokens, then normalised (modules.json)"
  const std::string& description() const { return description_; }

 private:
  void read_pooling(const std::filesystem::path& folder, int width);
  void read_dense(const std::filesystem::path& folder);
  void read_module(const std::filesystem::path& folder, std::string_view type, int hidden_width);

  std::vector<Reduce> reductions_;
  std::vector<std::function<Tensor(Tensor)>> steps_;
  int width_ = 0;
  std::string description_;
};

}  // namespace fovea::models
