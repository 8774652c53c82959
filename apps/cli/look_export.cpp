// fovea look --export: what a program wants of a run, streamed to a file: never more than a band of rows in memory.
#include <algorithm>

#include <fmt/format.h>

#include <fovea/threads.hpp>

#include "attention_flags.hpp"
#include "io/safetensors_writer.hpp"
#include "look.hpp"
#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;  // beyond it, --force

/// "A:B" → [A, B), within the tokens; all of them when absent.
Range rows_of(const std::string& text, int tokens) {
  if (text.empty()) return {0, tokens};
  const std::size_t colon = text.find(':');
  if (colon == text.npos) throw UsageError(fmt::format("--rows {}: expected A:B, the queries A to B−1", text));
  const auto begin = static_cast<int>(number_of_flag("--rows", text.substr(0, colon), 0, 1 << 30));
  const auto end = static_cast<int>(number_of_flag("--rows", text.substr(colon + 1), 0, 1 << 30));
  if (begin >= end || end > tokens)
    throw Error(fmt::format("--rows {}: expected 0 ≤ A < B ≤ {}, the tokens of this text", text, tokens));
  return {begin, end};
}

struct Plan {
  std::vector<const models::LayerRecord*> layers;
  std::vector<int> heads;
  Range rows;
  std::vector<io::TensorSpec> tensors;
  std::int64_t bytes_of_row = 0, bytes_besides = 0;  // attention and LSE of one query in all layers and heads; hidden states
};

Plan plan_export(const LookOptions& o, const Run& run) {
  Plan plan;
  const int tokens = static_cast<int>(run.tokens.size());
  plan.rows = rows_of(o.rows, tokens);
  plan.heads = o.heads;
  for (int h = 0; o.heads.empty() && h < run.model().heads; ++h) plan.heads.push_back(h);
  const std::string kind = o.kind.empty() ? run.layers().front().kind : o.kind;
  const std::int64_t heads = std::ssize(plan.heads), rows = plan.rows.end - plan.rows.begin;
  for (const models::LayerRecord& record : run.layers()) {
    if (record.kind != kind) continue;
    if (!o.layers.empty() && std::find(o.layers.begin(), o.layers.end(), record.layer) == o.layers.end()) continue;
    plan.layers.push_back(&record);
    const std::int64_t keys = record.k.shape()[1];
    plan.tensors.push_back({fmt::format("attention.{}.{}", kind, record.layer), DType::F32, {heads, rows, keys}});
    plan.tensors.push_back({fmt::format("lse.{}.{}", kind, record.layer), DType::F32, {heads, rows}});
    plan.bytes_of_row += 4 * heads * (keys + 1);
  }
  for (std::size_t l = 0; l < run.hidden().size(); ++l) {
    plan.tensors.push_back({fmt::format("hidden.{}.{}", kind, l), DType::F32, run.hidden()[l].shape()});
    plan.bytes_besides += run.hidden()[l].bytes();
  }
  return plan;
}

void check_size(const LookOptions& o, const Plan& plan) {
  const std::int64_t rows = plan.rows.end - plan.rows.begin, bytes = plan.bytes_besides + rows * plan.bytes_of_row;
  if (o.force || bytes <= kMostBytes) return;
  const std::int64_t fit = plan.bytes_of_row > 0 ? (kMostBytes - plan.bytes_besides) / plan.bytes_of_row : 0;
  const std::string advice = fit > 0 ? fmt::format("--rows {}:{} would fit", plan.rows.begin, plan.rows.begin + fit)
                                     : "fewer --layer or --head would make it smaller";
  throw Error(fmt::format("--export would write {} ({} bytes), more than 1 GiB: {}; or insist with --force",
                          bytes_text(static_cast<double>(bytes)), bytes, advice));
}

void write_attention(const Plan& plan, const models::LayerRecord& record, io::SafeTensorsWriter& file) {
  constexpr std::int64_t kElements = 1 << 20;  // 4 MB of weights at a time
  const std::int64_t keys = record.k.shape()[1];
  const int band = static_cast<int>(std::clamp<std::int64_t>(kElements / std::max<std::int64_t>(keys, 1), 1, 1 << 20));
  const std::string weights_name = fmt::format("attention.{}.{}", record.kind, record.layer);
  const std::string lse_name = fmt::format("lse.{}.{}", record.kind, record.layer);
  const std::int64_t rows = plan.rows.end - plan.rows.begin, time = record.attention.lse.shape()[2];
  for (const int head : plan.heads) {
    for (int q = plan.rows.begin; q < plan.rows.end; q += band) {
      const int end = std::min(q + band, plan.rows.end);
      const std::vector<float> weights = record.attention.weights(0, head, {q, end});  // [end - q, keys]
      file.append(weights_name, TensorView(DType::F32, weights.data(), {end - q, keys}));
    }
    const float* lse = record.attention.lse.data<float>() + head * time + plan.rows.begin;  // of [1, heads, time]
    file.append(lse_name, TensorView(DType::F32, lse, {1, rows}));
  }
}

}  // namespace

void export_look(const LookOptions& o, const Run& run) {
  const Plan plan = plan_export(o, run);
  check_size(o, plan);
  const std::map<std::string, std::string> metadata{
      {"heads", fmt::format("{}", fmt::join(plan.heads, ","))}, {"rows", fmt::format("{}:{}", plan.rows.begin, plan.rows.end)}};
  io::SafeTensorsWriter file(o.export_file, plan.tensors, metadata);
  for (const models::LayerRecord* record : plan.layers) write_attention(plan, *record, file);
  for (std::size_t l = 0; l < run.hidden().size(); ++l)
    file.append(fmt::format("hidden.{}.{}", plan.layers.front()->kind, l), run.hidden()[l]);
  file.finish();
  note(fmt::format("wrote {}", o.export_file));
}

}  // namespace fovea::cli
