// Which heads are worth a look: what each mostly does, in one word, and an order.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include <fovea/model.hpp>

namespace fovea::cli {

/// A head's statistics, and what was asked for besides; NaN: it was not.
struct HeadView {
  HeadStatistics statistics;
  double importance = std::numeric_limits<double>::quiet_NaN();  // see Run::importance
  double induction = std::numeric_limits<double>::quiet_NaN();   // see Model::induction
  /// "induction" (once that was asked for), "previous", "next", "self", "sink" (most of its mass on the first or a
  /// special token), "diffuse", or empty.
  std::string name() const;
};

/// The heads of a run that the lists admit (empty: all), in the order (layer, head).
std::vector<HeadView> view_heads(const Run& run, const std::string& kind, const std::vector<int>& layers,
                                 const std::vector<int>& heads);
void keep_importance(std::vector<HeadView>& views, const std::vector<HeadScore>& scores);
void keep_induction(std::vector<HeadView>& views, const std::vector<HeadScore>& scores);
/// Most worth looking at first: the most important where that is known, then sink and diffuse heads last, then by
/// entropy as a share of the most it could be.
void rank_heads(std::vector<HeadView>& heads);

}  // namespace fovea::cli
