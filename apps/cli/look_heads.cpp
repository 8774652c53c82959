#include "look_heads.hpp"

#include <algorithm>
#include <tuple>

#include <fovea/threads.hpp>

#include "look/rows.hpp"
#include "models/encoder.hpp"

namespace fovea::cli {
namespace {

bool admits(const std::vector<int>& list, int i) {
  return list.empty() || std::find(list.begin(), list.end(), i) != list.end();
}

void measure(HeadView& view, const models::LayerRecord& record, const std::vector<Token>& tokens) {
  const look::HeadRows head(record, 0, view.statistics.head);
  const int queries = head.queries(), keys = head.keys();
  for (int begin = 0; begin < queries; begin += head.band()) {
    const Range band{begin, std::min(begin + head.band(), queries)};
    const std::vector<float> weights = head.weights(band);  // [rows, keys]
    for (int q = band.begin; q < band.end; ++q) {
      const float* row = weights.data() + static_cast<std::ptrdiff_t>(q - begin) * keys;
      for (int j = 0; j < keys; ++j)
        if (tokens[static_cast<std::size_t>(j)].special) view.special += static_cast<double>(row[j]) / queries;
      if (q < keys) view.self += static_cast<double>(row[q]) / queries;
      if (q + 1 < keys) view.next += static_cast<double>(row[q + 1]) / queries;
    }
  }
}

}  // namespace

std::string HeadView::name() const {
  constexpr double kMost = 0.5;      // more than half of the mass
  constexpr double kSink = 0.3;      // Gu et al. 2024, arXiv 2410.10781: above it a head counts as a sink
  constexpr double kEvenly = 0.85;   // of ln n: close to uniform
  if (statistics.kind != "cross") {  // whose queries and keys count different tokens
    if (statistics.previous > kMost) return "previous";
    if (next > kMost) return "next";
    if (self > kMost) return "self";
  }
  if (special > kMost || statistics.sink > kSink) return "sink";
  return statistics.normalised_entropy > kEvenly ? "diffuse" : "";
}

std::vector<HeadView> view_heads(const Run& run, const std::string& kind, const std::vector<int>& layers,
                                 const std::vector<int>& heads) {
  std::vector<HeadView> views;
  for (const HeadStatistics& s : run.heads())
    if ((kind.empty() || s.kind == kind) && admits(layers, s.layer) && admits(heads, s.head)) views.push_back({s});
  parallel_for(static_cast<std::int64_t>(views.size()), [&](std::int64_t i) {
    HeadView& view = views[static_cast<std::size_t>(i)];
    for (const models::LayerRecord& record : run.layers())
      if (record.kind == view.statistics.kind && record.layer == view.statistics.layer)
        measure(view, record, run.keys(record.kind));
  });
  return views;
}

void rank_heads(std::vector<HeadView>& heads) {
  const auto order = [](const HeadView& view) {
    const std::string name = view.name();
    return std::tuple(name == "sink" || name == "diffuse", view.statistics.normalised_entropy);
  };
  std::stable_sort(heads.begin(), heads.end(),
                   [&](const HeadView& a, const HeadView& b) { return order(a) < order(b); });
}

}  // namespace fovea::cli
