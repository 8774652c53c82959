// The flags that describe an attention problem, shared by attend, explain and bench.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <fovea/attention.hpp>

#include "flags.hpp"

namespace fovea::cli {

/// --causal --window --align --softcap --alibi --scale --order --kernel: what stands between the logits and the
/// softmax.
class AttentionFlags {
 public:
  void declare(Flags& flags);
  /// True when any of them asks for something.
  bool given() const;
  /// The mask that the flags alone describe; reads nothing of any batch or head.
  AnyMask mask() const;
  /// Mask, scores, scale and kernel of the flags. UsageError when a flag's value makes no sense.
  AttentionSpec spec(int heads, const std::optional<Bias>& bias = std::nullopt) const;
  /// How many keys the queries of one head see under mask(), all together.
  std::int64_t visible_pairs(int queries, int keys) const;

 private:
  Align align() const;
  /// In the order asked for. ALiBi counts as a bias: with a soft-cap, both stand on the same side of it.
  AnyScore score(int heads, const std::optional<Bias>& bias) const;
  bool causal_ = false, alibi_ = false;
  std::string window_, align_ = "bottom-right", order_ = "softcap-bias", kernel_;
  std::optional<double> softcap_, scale_;
};

/// --shape --q --kv --kv-heads --value-dim --dtype: a problem without numbers.
class ShapeFlags {
 public:
  void declare(Flags& flags);
  /// True when any of them was given.
  bool given() const;
  struct Problem {
    DType dtype = DType::F32;
    int batch = 1, heads = 1, kv_heads = 1, queries = 1, keys = 1, head_dim = 1, value_dim = 1;
    Shape q() const { return {batch, queries, heads, head_dim}; }
    Shape k() const { return {batch, keys, kv_heads, head_dim}; }
    Shape v() const { return {batch, keys, kv_heads, value_dim}; }
  };
  Problem problem() const;
  struct Layer {
    std::int64_t rows = 1024, in = 1024, out = 1024;
    DType dtype = DType::F32;  // or BF16
  };
  /// --shape as three sizes, RxIxO: rows, inputs and outputs of a linear layer, and its --dtype.
  Layer layer() const;

 private:
  std::vector<int> sizes(const char* expected, std::size_t count) const;
  std::string shape_ = "1x8x4096x64", dtype_ = "f32";
  std::optional<int> q_, kv_, kv_heads_, value_dim_;
  std::vector<const Flag*> options_;
};

/// "f32" or "F32", and so for f64, bf16, f16; UsageError naming the flag otherwise.
DType dtype_of_flag(const std::string& flag, const std::string& name);
/// A whole number within [least, most], all of the text; UsageError naming the flag otherwise, and all of the flag's
/// value where the number is but a part of it.
std::int64_t number_of_flag(const std::string& flag, std::string_view text, std::int64_t least, std::int64_t most,
                            std::string_view within = {});

}  // namespace fovea::cli
