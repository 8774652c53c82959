#include "attention_input.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "command.hpp"

namespace fovea::cli {
namespace {

constexpr std::string_view kRead[] = {"q", "k", "v", "mask", "bias", "sink", "dout", "q_lengths", "kv_lengths"};

std::span<const int> span_of(const std::optional<std::vector<int>>& lengths) {
  return lengths ? std::span<const int>(*lengths) : std::span<const int>();
}

/// Any mask at all, asked tile by tile: none is asked more than once, and full tiles are counted whole.
std::int64_t count_tiles(const AnyMask& mask, int batch, int head, int queries, int keys) {
  std::int64_t pairs = 0;
  std::uint64_t bits[kTileQueries];
  for (int q = 0; q < queries; q += kTileQueries)
    for (int k = 0; k < keys; k += kTileKeys) {
      const Tile t{batch,   head, {q, std::min(q + kTileQueries, queries)}, {k, std::min(k + kTileKeys, keys)},
                   queries, keys};
      const int rows = t.query.end - t.query.begin;
      const Cover cover = tile_bits(mask, t, bits);
      if (cover == Cover::Full) pairs += std::int64_t{rows} * (t.key.end - t.key.begin);
      if (cover == Cover::Partial)
        for (int i = 0; i < rows; ++i) pairs += std::popcount(bits[i]);
    }
  return pairs;
}

}  // namespace

AttentionInput::AttentionInput(const std::string& path, const AttentionFlags& flags)
    : path_(path), file_(path), flags_(flags) {
  blame_file([this] { read(); });
  for (const std::string& name : file_.names())
    if (std::find(std::begin(kRead), std::end(kRead), name) == std::end(kRead))
      warn(fmt::format("{}: tensor {} is not read; attention reads {}", path_, name, fmt::join(kRead, ", ")));
}

void AttentionInput::blame_file(const std::function<void()>& job) const {
  try {
    job();
  } catch (const Error& e) {
    const std::string_view what = e.what();
    if (what.starts_with(path_)) throw;  // named already
    throw Error(fmt::format("{}: {}", path_, what));
  }
}

Tensor AttentionInput::required(const char* name) const {
  if (file_.contains(name)) return file_.tensor(name);
  throw Error(
      fmt::format("no tensor {}; the file holds {}; attention needs q, k and v", name, fmt::join(file_.names(), ", ")));
}

std::optional<Tensor> AttentionInput::optional(const char* name, std::optional<DType> dtype) const {
  if (!file_.contains(name)) return std::nullopt;
  Tensor t = file_.tensor(name);
  if (dtype && t.dtype() != *dtype)
    throw Error(fmt::format("{} is {}; expected {}", name, t.view().str(), name_of(*dtype)));
  return t;
}

std::optional<std::vector<int>> AttentionInput::lengths(const char* name) const {
  const std::optional<Tensor> t = optional(name, std::nullopt);
  if (!t) return std::nullopt;
  if (t->shape().rank() != 1 || (t->dtype() != DType::I32 && t->dtype() != DType::I64))
    throw Error(fmt::format("{} is {}; expected I32 or I64 [batch]", name, t->view().str()));
  std::vector<int> values;
  for (std::int64_t i = 0; i < t->elements(); ++i) {
    const std::int64_t n = t->dtype() == DType::I32 ? t->data<std::int32_t>()[i] : t->data<std::int64_t>()[i];
    if (n < 0 || n > std::numeric_limits<int>::max())
      throw Error(fmt::format("{}[{}] is {}; expected a length between 0 and the tensor's time", name, i, n));
    values.push_back(static_cast<int>(n));
  }
  return values;
}

void AttentionInput::read() {
  q = required("q"), k = required("k"), v = required("v");
  mask = optional("mask", DType::Bool);
  bias = optional("bias", DType::F32);
  sink = optional("sink", DType::F32);
  q_lengths = lengths("q_lengths"), kv_lengths = lengths("kv_lengths");
  dout = optional("dout", std::nullopt);
  if (q.shape().rank() != 4)
    throw Error(fmt::format("q is {}; expected rank 4, [batch, time, heads, head_dim]", q.view().str()));
  if (sink && !(sink->shape() == Shape{q.shape()[2]}))
    throw Error(fmt::format("sink is {}; expected F32 [heads] = [{}]", sink->view().str(), q.shape()[2]));

  const int heads = static_cast<int>(std::min<std::int64_t>(q.shape()[2], std::numeric_limits<int>::max()));
  const std::optional<Bias> values = bias ? std::optional(fovea::bias(bias->view())) : std::nullopt;
  spec = flags_.spec(heads, values);
  if (mask)
    spec.mask = spec.mask.view().self ? AnyMask(visible(mask->view()) & spec.mask) : AnyMask(visible(mask->view()));
  if (sink) spec.sinks = sink->values<float>();
  spec.lengths = {span_of(q_lengths), span_of(kv_lengths)};
}

std::pair<std::int64_t, std::int64_t> AttentionInput::count_pairs() const {
  const int batches = static_cast<int>(q.shape()[0]), heads = static_cast<int>(q.shape()[2]);
  std::int64_t seen = 0, all = 0;
  for (int b = 0; b < batches; ++b) {
    const auto at = static_cast<std::size_t>(b);
    const int queries = q_lengths ? (*q_lengths)[at] : static_cast<int>(q.shape()[1]);
    const int keys = kv_lengths ? (*kv_lengths)[at] : static_cast<int>(k.shape()[1]);
    all += std::int64_t{heads} * queries * keys;
    if (!mask) seen += heads * flags_.visible_pairs(queries, keys);
    for (int h = 0; mask && h < heads; ++h) seen += count_tiles(spec.mask, b, h, queries, keys);
  }
  return {seen, all};
}

}  // namespace fovea::cli
