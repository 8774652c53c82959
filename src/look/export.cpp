#include "look/export.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <fovea/threads.hpp>

#include "io/safetensors_writer.hpp"
#include "look/rows.hpp"
#include "models/encoder.hpp"

namespace fovea::look {
namespace {

std::string name_of(const char* what, const models::LayerRecord& r) {
  return fmt::format("{}.{}.{}", what, r.kind, r.layer);
}
std::string hidden_name(const Run& run, std::size_t layer) {
  return fmt::format("hidden.{}.{}", run.layers().front().kind, layer);
}

std::vector<io::TensorSpec> contents(const Run& run, Range queries) {
  const std::int64_t rows = queries.end - queries.begin;
  std::vector<io::TensorSpec> specs;
  for (const models::LayerRecord& r : run.layers()) {
    const std::int64_t heads = r.q.shape()[2], keys = HeadRows(r, kOnlySequence, 0).keys();
    specs.push_back({name_of("attention", r), DType::F32, {heads, rows, keys}});
    specs.push_back({name_of("lse", r), DType::F32, {heads, rows}});
  }
  for (std::size_t i = 0; i < run.hidden().size(); ++i)
    specs.push_back({hidden_name(run, i), DType::F32, run.hidden()[i].shape()});
  return specs;
}

/// Bands are rebuilt a few at once and written in their order.
void write_attention(io::SafeTensorsWriter& writer, const models::LayerRecord& record, Range queries) {
  std::vector<std::pair<HeadRows, Range>> bands;
  for (int head = 0; head < record.q.shape()[2]; ++head) {
    const HeadRows rows(record, kOnlySequence, head);
    for (int begin = queries.begin; begin < queries.end; begin += rows.band())
      bands.emplace_back(rows, Range{begin, std::min(begin + rows.band(), queries.end)});
  }
  constexpr std::size_t kAtOnce = 16;  // of 2 MB each, see HeadRows::band
  for (std::size_t first = 0; first < bands.size(); first += kAtOnce) {
    std::vector<std::vector<float>> weights(std::min(kAtOnce, bands.size() - first));
    parallel_for(std::ssize(weights), [&](std::int64_t i) {
      const auto at = static_cast<std::size_t>(i);
      weights[at] = bands[first + at].first.weights(bands[first + at].second);
    });
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto& [rows, band] = bands[first + i];
      writer.append(name_of("attention", record),
                    TensorView(DType::F32, weights[i].data(), {band.end - band.begin, rows.keys()}));
    }
  }
}

void write_lse(io::SafeTensorsWriter& writer, const models::LayerRecord& record, Range queries) {
  const Tensor& lse = record.attention.lse;  // [1, heads, time]
  const std::int64_t heads = lse.shape()[1], time = lse.shape()[2];
  writer.append(name_of("lse", record), TensorView(DType::F32, lse.data<float>() + queries.begin,
                                                   Shape{heads, queries.end - queries.begin}, Shape{time, 1}));
}

}  // namespace

std::int64_t export_bytes(const Run& run, Range queries) {
  std::int64_t bytes = 0;
  for (const io::TensorSpec& t : contents(run, queries)) bytes += t.shape.elements() * size_of(t.dtype);
  return bytes;
}

int queries_within(const Run& run, std::int64_t bytes) {
  const std::int64_t fixed = export_bytes(run, {0, 0}), each = export_bytes(run, {0, 1}) - fixed;
  if (bytes < fixed || each == 0) return 0;
  return static_cast<int>(std::min((bytes - fixed) / each, static_cast<std::int64_t>(run.tokens.size())));
}

void export_run(const Run& run, Range queries, const std::filesystem::path& file) {
  const auto tokens = static_cast<int>(run.tokens.size());
  if (queries.begin < 0 || queries.begin >= queries.end || queries.end > tokens)
    throw Error(fmt::format("rows {}:{} are not in this run: it has {} tokens, rows 0:{}", queries.begin, queries.end,
                            tokens, tokens));
  io::SafeTensorsWriter writer(file, contents(run, queries));
  for (const models::LayerRecord& record : run.layers()) {
    write_attention(writer, record, queries);
    write_lse(writer, record, queries);
  }
  for (std::size_t i = 0; i < run.hidden().size(); ++i) writer.append(hidden_name(run, i), run.hidden()[i]);
  writer.finish();
}

}  // namespace fovea::look
