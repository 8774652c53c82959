// IN.safetensors of attend and explain: q, k, v and what may stand beside them, checked and composed into a spec.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fovea/attention.hpp>

#include "attention_flags.hpp"
#include "io/safetensors.hpp"

namespace fovea::cli {

class AttentionInput {
 public:
  AttentionInput(const std::string& path, const AttentionFlags& flags);
  AttentionInput(const AttentionInput&) = delete;

  Tensor q, k, v;                                         // [batch, time, heads, head_dim], …
  std::optional<Tensor> mask, bias, sink, dout;           // as the file holds them
  std::optional<std::vector<int>> q_lengths, kv_lengths;  // [batch]
  AttentionSpec spec;                                     // borrows the tensors above

  /// Runs the job; an Error of it is passed on with the file's name in front.
  void blame_file(const std::function<void()>& job) const;
  /// Query-key pairs that are visible, and all, over batch rows and heads. The shapes must have been checked.
  std::pair<std::int64_t, std::int64_t> count_pairs() const;

 private:
  void read();
  Tensor required(const char* name) const;
  std::optional<Tensor> optional(const char* name, std::optional<DType> dtype) const;
  std::optional<std::vector<int>> lengths(const char* name) const;
  std::string path_;
  io::SafeTensors file_;
  AttentionFlags flags_;
};

}  // namespace fovea::cli
