// The strongest edges of chosen heads and queries, exactly, without keeping the matrix they are chosen from.
#pragma once
#include <span>
#include <vector>

#include <fovea/look.hpp>

#include "models/encoder.hpp"

namespace fovea::look {

/// Which edges compete.
struct Field {
  std::vector<const models::LayerRecord*> layers;
  std::vector<int> heads;
  std::vector<int> queries;
  std::vector<bool> left_out;  // [keys]: keys that take no part; empty: all take part
};

/// The `top` strongest edges by weight; ties go to the earlier layer, head, query, key. Edges of weight 0 are none.
std::vector<Link> strongest_links(const Field& field, int sequence, int top);
/// Weight, lift and both estimates of one edge.
Link describe(const models::LayerRecord& record, int sequence, int head, int query, int key);

}  // namespace fovea::look
