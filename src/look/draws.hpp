// The control of a measured effect: random removals that are like the real one in all but what they remove.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "look/removal.hpp"
#include "models/encoder.hpp"

namespace fovea::look {

/// A draw takes as much weight as the cut does from each layer (of each query), to within a twentieth of it, or within
/// 0.005 where that is more (what has next to no weight rarely has an equal) …
constexpr double weight_tolerance(double weight) { return weight > 0.1 ? weight / 20 : 0.005; }
/// … over as long a way: the distances' means, weighted by what is removed, are no further apart than this.
constexpr double distance_tolerance(double distance) { return distance > 4 ? distance / 2 : 2; }

/// Draws for one cut. For edges: each query that was cut gives its place to a random one, and in each layer edges of
/// that query, of any head, are removed until the weight is equal; first those that span a similar distance and lead to
/// a key of the same sort (a word, or a special token). For values: random keys of random heads, of equal received
/// weight in each layer. Nothing of the cut itself is removed, no row loses all its keys, and no two draws are the
/// same.
class Draws {
 public:
  struct Setting {
    std::vector<const models::LayerRecord*> records;  // by layer
    int sequence = 0;
    std::vector<bool> special;  // [keys]
    /// Queries whose final vectors the metric reads whatever is removed: they stay in a draw, and no other takes their
    /// place, since what they look at reaches the metric more directly than anything else does.
    std::vector<int> read;
    std::vector<bool> special_queries = {};  // [queries]; empty: queries and keys are the same tokens
  };
  Draws(const Setting& setting, const Variant& cut, std::uint64_t seed);
  Draws(const Draws&) = delete;  // what is kept goes by where its targets lie
  Draws& operator=(const Draws&) = delete;

  /// Another one, whose `queries` are those that it took edges from; none when none was found.
  std::optional<Variant> next();

 private:
  /// What a draw takes from one layer: of one query's rows, or, for kEveryQuery, of values.
  struct Target {
    int layer;
    double weight = 0, distance = 0;
    std::vector<int> keys;  // that the cut removed
  };
  struct Place {
    int query;
    std::vector<int> others;  // queries that may take its place
    std::vector<Target> targets;
  };
  struct Candidate {
    int head, key;
    double weight;
    std::size_t group;  // by rank: those of a lower one are taken first
  };
  /// What may be taken for a target from one query, worked out once for all draws.
  struct Candidates {
    std::vector<Candidate> all;
    std::vector<std::size_t> group_ends;  // how many candidates there are up to each group
    double weight = 0;                    // of all of them
    std::vector<int> visible;             // [heads] keys that the row sees; −1: nobody asked yet
  };

  void add_place(int query);
  void set_target(Target& target, int query);
  /// Weights [heads, keys] of one query, or the columns' sums for kEveryQuery.
  const std::vector<float>& weights(int layer, int query);
  int rank(const Target& target, int query, int key) const;
  Candidates& candidates(const Target& target, int query);
  /// All of them in random order, those of lower ranks first.
  std::vector<std::size_t> shuffled(const Candidates& candidates);
  bool fill(const Target& target, int query, std::vector<Removal>& removed);
  bool fill_place(const Place& place, std::vector<int>& taken, std::vector<Removal>& removed);
  int below(std::size_t n) { return static_cast<int>(random_() % n); }

  Setting setting_;
  Variant cut_;
  std::set<Removal> removed_;  // by the cut
  std::vector<Place> places_;
  std::set<std::vector<Removal>> seen_;
  std::map<std::pair<int, int>, std::vector<float>> weights_;       // by layer and query
  std::map<std::pair<const Target*, int>, Candidates> candidates_;  // by target and query
  std::mt19937_64 random_;
};

/// The control of silenced heads: up to `draws` different random sets of as many heads, none of them the cut's own,
/// silenced in the same way. Fewer where these layers have no more such sets.
std::vector<Variant> head_draws(std::span<const models::LayerRecord* const> records, const Variant& cut, int draws,
                                std::uint64_t seed);

}  // namespace fovea::look
