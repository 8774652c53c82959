#include "attention_flags.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "command.hpp"

namespace fovea::cli {
namespace {

constexpr int kMostPositions = 1'000'000'000;  // places and window edges stay within int when added up

UsageError wrong(const std::string& flag, std::string_view value, std::string_view expected) {
  return UsageError(fmt::format("{} {}: expected {}", flag, value, expected));
}

}  // namespace

std::int64_t number_of_flag(const std::string& flag, std::string_view text, std::int64_t least, std::int64_t most,
                            std::string_view within) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    throw wrong(flag, within.empty() ? text : within,
                within.empty() || within == text ? fmt::format("a whole number from {} to {}", least, most)
                                                 : fmt::format("a whole number from {} to {}, found {}", least, most,
                                                               text.empty() ? "nothing" : fmt::format("\"{}\"", text)));
  return value;
}

DType dtype_of_flag(const std::string& flag, const std::string& name) {
  std::string upper = name;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const DType t : {DType::F64, DType::F32, DType::BF16, DType::F16})
    if (name_of(t) == upper) return t;
  throw wrong(flag, name, "f32, bf16, f16 or f64");
}

// ------------------------------------------------------------------------------------------------------------ the
// problem

void AttentionFlags::declare(Flags& flags) {
  const std::string group = "Attention";
  flags.add_flag("--causal", causal_, "a query sees the keys up to its own place")->group(group);
  flags
      .add_option("--window", window_,
                  "a query sees LEFT keys before its own place and RIGHT after it (0 when absent); -1: all")
      ->type_name("LEFT[:RIGHT]")
      ->group(group);
  flags
      .add_option("--align", align_,
                  "where query 0 stands among the keys: bottom-right (default: the last query on the last key), "
                  "top-left (query 0 on key 0), or N (query 0 on key N)")
      ->type_name("WHERE")
      ->group(group);
  flags.add_option("--softcap", softcap_, "scores become C·tanh(score / C)")->type_name("C")->group(group);
  flags
      .add_flag("--alibi", alibi_,
                "subtracts slope·distance from the scores, with ALiBi's own slopes for that many heads")
      ->group(group);
  flags.add_option("--scale", scale_, "what q·k is multiplied by (default 1/√head_dim)")->type_name("S")->group(group);
  flags.add_option("--order", order_, "softcap-bias (default) or bias-softcap; ALiBi counts as a bias")
      ->type_name("ORDER")
      ->group(group);
  flags.add_option("--kernel", kernel_, "insist on this kernel (fovea explain lists them)")
      ->type_name("NAME")
      ->group(group);
}

bool AttentionFlags::given() const {
  return causal_ || alibi_ || softcap_ || scale_ || !window_.empty() || !kernel_.empty() || align_ != "bottom-right" ||
         order_ != "softcap-bias";
}

Align AttentionFlags::align() const {
  if (align_ == "bottom-right") return bottom_right;
  if (align_ == "top-left") return top_left;
  if (align_.find_first_not_of("-0123456789") != std::string::npos || align_.empty())
    throw wrong("--align", align_, "bottom-right, top-left, or the key N that query 0 stands on");
  return on_key(static_cast<int>(number_of_flag("--align", align_, -kMostPositions, kMostPositions)));
}

AnyMask AttentionFlags::mask() const {
  AnyMask mask;
  const Align where = align();
  if (causal_ && window_.empty()) mask = causal(where);
  if (window_.empty()) return mask;
  const std::string_view text = window_;
  const auto colon = text.find(':');
  const auto edge = [this](std::string_view n) {
    return static_cast<int>(number_of_flag("--window", n, -1, kMostPositions, window_));
  };
  const int left = edge(text.substr(0, colon)), right = colon == text.npos ? 0 : edge(text.substr(colon + 1));
  return causal_ ? AnyMask(causal(where) & window(left, right, where)) : AnyMask(window(left, right, where));
}

AnyScore AttentionFlags::score(int heads, const std::optional<Bias>& bias) const {
  if (order_ != "softcap-bias" && order_ != "bias-softcap")
    throw wrong("--order", order_, "softcap-bias or bias-softcap");
  AnyScore cap, biases;
  if (softcap_) {
    const float c = static_cast<float>(*softcap_);
    if (!(c > 0) || !std::isfinite(c))
      throw wrong("--softcap", fmt::format("{}", *softcap_), "a finite number above 0");
    cap = softcap(c);
  }
  if (alibi_) biases = alibi(alibi_slopes(heads), align());
  if (bias) biases = biases | AnyScore(*bias);
  return order_ == "bias-softcap" ? biases | cap : cap | biases;
}

AttentionSpec AttentionFlags::spec(int heads, const std::optional<Bias>& bias) const {
  if (scale_ && !std::isfinite(*scale_)) throw wrong("--scale", fmt::format("{}", *scale_), "a finite number");
  AttentionSpec spec;
  spec.mask = mask();
  spec.score = score(heads, bias);
  spec.scale = scale_;
  spec.kernel = kernel_;
  return spec;
}

namespace {

/// What rows [first, last) of a mask see in all, where each end of a row's run of keys stays or moves on by as much as
/// the query does, from row to row, as those of causal masks and windows do. So an end that has moved by 0 or by all
/// the rows between moved so at each of them, and what rows see is an arithmetic series; other runs are halved.
template <class Row>
std::int64_t pairs_of_rows(const Row& row, int first, int last) {
  if (first >= last) return 0;
  const Range a = row(first), z = row(last - 1);
  const std::int64_t n = last - first, from = std::int64_t{a.end} - a.begin, to = std::int64_t{z.end} - z.begin;
  const auto even = [n](std::int64_t x, std::int64_t y) { return y - x == 0 || y - x == n - 1; };
  const bool series = even(a.begin, z.begin) && even(a.end, z.end);
  if (series && from <= 0 && to <= 0) return 0;
  if (series && from >= 0 && to >= 0) return n % 2 == 0 ? n / 2 * (from + to) : n * ((from + to) / 2);
  const int middle = static_cast<int>(first + n / 2);
  return pairs_of_rows(row, first, middle) + pairs_of_rows(row, middle, last);
}

}  // namespace

std::int64_t AttentionFlags::visible_pairs(int queries, int keys) const {
  const AnyMask all = mask();
  if (!all.view().self) return std::int64_t{queries} * keys;
  const auto row = [&](int q) { return tile_span(all, {0, 0, {q, q + 1}, {0, keys}, queries, keys}); };
  return pairs_of_rows(row, 0, queries);
}

// --------------------------------------------------------------------------------------------------------------- its
// sizes

void ShapeFlags::declare(Flags& flags) {
  const std::string group = "Problem";
  options_ = {
      flags.add_option("--shape", shape_, "batch × heads × length × head_dim (default 1x8x4096x64)")
          ->type_name("BxHxSxD")
          ->group(group),
      flags.add_option("--q", q_, "queries, when not the length of --shape")->type_name("N")->group(group),
      flags.add_option("--kv", kv_, "keys, when not the length of --shape")->type_name("N")->group(group),
      flags.add_option("--kv-heads", kv_heads_, "key and value heads (default: as many as heads)")
          ->type_name("N")
          ->group(group),
      flags.add_option("--value-dim", value_dim_, "width of a value (default: head_dim)")->type_name("N")->group(group),
      flags.add_option("--dtype", dtype_, "f32 (default), bf16, f16 or f64")->type_name("DTYPE")->group(group)};
}

bool ShapeFlags::given() const {
  return std::any_of(options_.begin(), options_.end(), [](const Flag* o) { return o->given(); });
}

std::vector<int> ShapeFlags::sizes(const char* expected, std::size_t count) const {
  constexpr std::int64_t kMost = 1 << 30;
  std::vector<int> sizes;
  for (std::size_t at = 0; at <= shape_.size();) {
    const std::size_t end = std::min(shape_.find('x', at), shape_.size());
    if (sizes.size() == count) throw wrong("--shape", shape_, expected);
    sizes.push_back(static_cast<int>(number_of_flag("--shape", shape_.substr(at, end - at),
                                                    count == 4 && sizes.size() == 2 ? 0 : 1, kMost, shape_)));
    at = end + 1;
  }
  if (sizes.size() != count) throw wrong("--shape", shape_, expected);
  return sizes;
}

ShapeFlags::Layer ShapeFlags::layer() const {
  for (const Flag* o : options_)
    if (o->given() && o != options_.front() && o != options_.back())
      throw UsageError(
          "bench gemm takes --shape and --dtype: rows, inputs and outputs of a linear layer, as in 256x1024x4096");
  Layer layer;
  layer.dtype = dtype_of_flag("--dtype", dtype_);
  if (layer.dtype != DType::F32 && layer.dtype != DType::BF16)
    throw UsageError(fmt::format("--dtype {}: linear layers multiply f32 or bf16", dtype_));
  if (!options_.front()->given()) return layer;
  const std::vector<int> n = sizes("three sizes RxIxO (rows, inputs, outputs), as in 256x1024x4096", 3);
  layer.rows = n[0], layer.in = n[1], layer.out = n[2];
  return layer;
}

ShapeFlags::Problem ShapeFlags::problem() const {
  const std::vector<int> sizes = this->sizes("four sizes BxHxSxD, as in 1x8x4096x64", 4);
  const auto checked = [](const char* flag, std::optional<int> given, int otherwise, int least) {
    if (given && *given < least)
      throw wrong(flag, std::to_string(*given), fmt::format("a whole number of at least {}", least));
    return given.value_or(otherwise);
  };
  Problem p;
  p.dtype = dtype_of_flag("--dtype", dtype_);
  p.batch = sizes[0], p.heads = sizes[1], p.head_dim = sizes[3];
  p.queries = checked("--q", q_, sizes[2], 0), p.keys = checked("--kv", kv_, sizes[2], 0);
  p.kv_heads = checked("--kv-heads", kv_heads_, p.heads, 1);
  p.value_dim = checked("--value-dim", value_dim_, p.head_dim, 1);
  return p;
}

}  // namespace fovea::cli
