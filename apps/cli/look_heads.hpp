// Which heads are worth a look: what each mostly does, in one word, and an order.
#pragma once
#include <string>
#include <vector>

#include <fovea/model.hpp>

namespace fovea::cli {

/// A head's statistics, and where its mass goes besides: means over queries.
struct HeadView {
  HeadStatistics statistics;
  double special = 0;  // mass on the tokens that the tokenizer added ([CLS], [SEP]): BERT's resting places
  double self = 0;     // A_ii
  double next = 0;     // A_i,i+1
  /// "previous", "next", "self", "sink" (most of its mass on the first or a special token), "diffuse", or empty.
  std::string name() const;
};

/// The heads of a run that the lists admit (empty: all), in the order (layer, head). Rebuilds their rows once more, in
/// bands.
std::vector<HeadView> view_heads(const Run& run, const std::string& kind, const std::vector<int>& layers,
                                 const std::vector<int>& heads);
/// Most worth looking at first: sink and diffuse heads last, then by entropy as a share of the most it could be.
void rank_heads(std::vector<HeadView>& heads);

}  // namespace fovea::cli
