#include "look_heads.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace fovea::cli {
namespace {

bool admits(const std::vector<int>& list, int i) {
  return list.empty() || std::find(list.begin(), list.end(), i) != list.end();
}

void keep(std::vector<HeadView>& views, const std::vector<HeadScore>& scores, double HeadView::*where) {
  for (HeadView& view : views)
    for (const HeadScore& s : scores)
      if (s.kind == view.statistics.kind && s.layer == view.statistics.layer && s.head == view.statistics.head)
        view.*where = s.value;
}

}  // namespace

std::string HeadView::name() const {
  constexpr double kMost = 0.5;       // more than half of the mass
  constexpr double kInduction = 0.3;  // of a text of 2 × 32 random tokens, where an equal share is 0.02
  constexpr double kSink = 0.3;       // Gu et al. 2024, arXiv 2410.10781: above it a head counts as a sink
  constexpr double kEvenly = 0.85;    // of ln n: close to uniform
  if (statistics.kind != "cross") {   // whose queries and keys count different tokens
    if (induction > kInduction) return "induction";
    if (statistics.previous > kMost) return "previous";
    if (statistics.next > kMost) return "next";
    if (statistics.self > kMost) return "self";
  }
  if (statistics.special > kMost || statistics.sink > kSink) return "sink";
  return statistics.normalised_entropy > kEvenly ? "diffuse" : "";
}

std::vector<HeadView> view_heads(const Run& run, const std::string& kind, const std::vector<int>& layers,
                                 const std::vector<int>& heads) {
  std::vector<HeadView> views;
  for (const HeadStatistics& s : run.heads())
    if ((kind.empty() || s.kind == kind) && admits(layers, s.layer) && admits(heads, s.head)) views.push_back({s});
  return views;
}

void keep_importance(std::vector<HeadView>& views, const std::vector<HeadScore>& scores) {
  keep(views, scores, &HeadView::importance);
}
void keep_induction(std::vector<HeadView>& views, const std::vector<HeadScore>& scores) {
  keep(views, scores, &HeadView::induction);
}

void rank_heads(std::vector<HeadView>& heads) {
  const auto order = [](const HeadView& view) {
    const std::string name = view.name();
    return std::tuple(std::isnan(view.importance) ? 0 : -view.importance, name == "sink" || name == "diffuse",
                      view.statistics.normalised_entropy);
  };
  std::stable_sort(heads.begin(), heads.end(),
                   [&](const HeadView& a, const HeadView& b) { return order(a) < order(b); });
}

}  // namespace fovea::cli
