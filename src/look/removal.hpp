// What is taken out of a model's attention, and the forward pass in which it is missing.
#pragma once
#include <compare>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fovea/mask.hpp>

#include "look/silence.hpp"
#include "models/encoder.hpp"

namespace fovea::look {

inline constexpr int kEveryQuery = -1;

/// An edge, masked before the softmax, which shares its weight out among the keys that stay; or, for kEveryQuery, the
/// key's value, which becomes zero while the weights stay as they are (Mohebbi et al. 2023, arXiv 2301.12971).
struct Removal {
  int layer = 0, head = 0, query = 0, key = 0;
  auto operator<=>(const Removal&) const = default;
};

/// One version of a run: what it lacks, and the queries whose final vectors tell what that did.
struct Variant {
  std::vector<Removal> removed;
  std::vector<int> queries;
  std::vector<HeadAt> silenced = {};            // whole heads, whose output becomes …
  std::shared_ptr<const HeadMeans> means = {};  // … this; null: zero
};

int lowest_layer(const Variant& variant);

/// Which sites are not cut, per batch row and head.
class EdgeMask {
 public:
  struct Edge {
    int batch, head, query, key;
    auto operator<=>(const Edge&) const = default;
  };
  EdgeMask(std::vector<Edge> cut, int batches, int heads);
  bool operator()(const Site& s) const;
  Cover cover(const Tile& t) const;

 private:
  std::span<const Edge> edges_of(int batch, int head) const;
  int heads_;
  std::vector<Edge> cut_;           // ascending
  std::vector<std::size_t> begin_;  // [batches · heads + 1]: where the edges of a batch row's head start in cut_
};

/// The attention that is edited, as each sequence of a batch has it.
struct Extent {
  int heads = 0;              // of a layer, at most
  int group = 1;              // query heads that share one head of keys and values
  int queries = 0, keys = 0;  // what is removed beyond them is not there (yet)
};

/// The pass in which sequence i of the batch lacks what variants[i] says; its first layer and start are left to the
/// caller. Borrows the variants. A head's values are its group's: where heads share them, all query heads of a group
/// must be named.
models::Pass pass_without(std::span<const Variant* const> variants, const Extent& of);

/// How such a pass repeats the recorded one that every sequence of the batch is a copy of, in its attention of `kind`.
/// Borrows all of it. `read`: rows of each that will be read.
models::Repeat repeat_of(const models::Result& original, std::span<const models::LayerRecord> layers,
                         const std::string& kind, const Extent& of, std::span<const Variant* const> variants,
                         std::span<const Range> read);

}  // namespace fovea::look
