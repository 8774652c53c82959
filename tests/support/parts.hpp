// Random masks and scores of every kind and composition, each with a name that says what it is.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fovea/mask.hpp>
#include <fovea/score.hpp>

#include "support/random.hpp"

namespace fovea::testing {

/// What masks and scores borrow, kept alive beside them.
using Keep = std::vector<std::shared_ptr<const void>>;

struct NamedMask {
  AnyMask mask;
  std::string name;
};
std::pair<Align, std::string> random_align(Rng& rng, const Extents& e);
std::vector<int> random_ends(Rng& rng, int length, int most);
Blocks random_blocks(Rng& rng, const Extents& e);
NamedMask random_band(Rng& rng, const Extents& e);
/// `same_size` tells that every batch row has the extents' own size, which a BlockMap needs.
NamedMask random_mask(Rng& rng, const Extents& e, Keep& keep, bool same_size = true, int depth = 2);

struct NamedScore {
  AnyScore score;
  std::string name;
  double moves = 0;  // the most that it adds to or takes from a logit, beside what it does by shrinking it
};
NamedScore random_score(Rng& rng, const Extents& e, Keep& keep);

}  // namespace fovea::testing
