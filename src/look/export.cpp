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
std::string hidden_name(const std::string& kind, std::size_t layer) { return fmt::format("hidden.{}.{}", kind, layer); }

/// Records of a kind (empty: of every kind), and of each the queries asked for that it has; none where it has none.
struct Part {
  const models::LayerRecord* record;
  Range queries;
};
std::vector<Part> parts_of(const Run& run, Range queries, const std::string& kind) {
  std::vector<Part> parts;
  if (!kind.empty()) run.queries(kind);  // refuses a kind that is not there
  for (const models::LayerRecord& r : run.layers()) {
    const Range here{queries.begin, std::min(queries.end, HeadRows(r, kOnlySequence, 0).queries())};
    if ((kind.empty() || r.kind == kind) && (here.begin < here.end || queries.begin == queries.end))
      parts.push_back({&r, {here.begin, std::max(here.begin, here.end)}});
  }
  return parts;
}

/// Kinds with hidden states of their own among those that are exported.
std::vector<std::string> hidden_kinds(const Run& run, const std::string& kind) {
  std::vector<std::string> kinds;
  for (const char* k : {"encoder", "decoder"})
    if ((kind.empty() || kind == k) && (k == run.layers().front().kind || run.writes())) kinds.emplace_back(k);
  return kinds;
}

std::vector<io::TensorSpec> contents(const Run& run, Range queries, const std::string& kind) {
  std::vector<io::TensorSpec> specs;
  for (const auto& [r, rows] : parts_of(run, queries, kind)) {
    const std::int64_t heads = r->q.shape()[2], keys = HeadRows(*r, kOnlySequence, 0).keys(), n = rows.end - rows.begin;
    specs.push_back({name_of("attention", *r), DType::F32, {heads, n, keys}});
    specs.push_back({name_of("lse", *r), DType::F32, {heads, n}});
  }
  for (const std::string& k : hidden_kinds(run, kind))
    for (std::size_t i = 0; i < run.hidden(k).size(); ++i)
      specs.push_back({hidden_name(k, i), DType::F32, run.hidden(k)[i].shape()});
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

std::int64_t export_bytes(const Run& run, Range queries, const std::string& kind) {
  std::int64_t bytes = 0;
  for (const io::TensorSpec& t : contents(run, queries, kind)) bytes += t.shape.elements() * size_of(t.dtype);
  return bytes;
}

int exported_queries(const Run& run, const std::string& kind) {
  int most = 0;
  for (const models::LayerRecord& r : run.layers())
    if (kind.empty() || r.kind == kind) most = std::max(most, HeadRows(r, kOnlySequence, 0).queries());
  return most;
}

int queries_within(const Run& run, std::int64_t bytes, const std::string& kind) {
  int fit = 0, past = exported_queries(run, kind) + 1;  // so many fit, so many don't
  while (past - fit > 1) {
    const int middle = fit + (past - fit) / 2;
    (export_bytes(run, {0, middle}, kind) <= bytes ? fit : past) = middle;
  }
  return fit;
}

void export_run(const Run& run, Range queries, const std::filesystem::path& file, const std::string& kind) {
  const int most = exported_queries(run, kind);
  if (queries.begin < 0 || queries.begin >= queries.end || queries.end > most)
    throw Error(fmt::format("rows {}:{} are not in this run: it has {} tokens, rows 0:{}", queries.begin, queries.end,
                            most, most));
  io::SafeTensorsWriter writer(file, contents(run, queries, kind));
  for (const auto& [record, rows] : parts_of(run, queries, kind)) {
    write_attention(writer, *record, rows);
    write_lse(writer, *record, rows);
  }
  for (const std::string& k : hidden_kinds(run, kind))
    for (std::size_t i = 0; i < run.hidden(k).size(); ++i) writer.append(hidden_name(k, i), run.hidden(k)[i]);
  writer.finish();
}

}  // namespace fovea::look
