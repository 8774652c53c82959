// Whole heads taken out of a pass: what they put out becomes zero, or what it is on average.
#pragma once
#include <map>
#include <span>
#include <vector>

#include <fovea/band.hpp>
#include <fovea/look.hpp>

#include "models/encoder.hpp"

namespace fovea::look {

/// What a head puts out on average, [value_dim] each: of heads that are silenced to their mean.
using HeadMeans = std::map<HeadAt, std::vector<float>>;
/// Means over every token of these layers' records.
HeadMeans head_means(std::span<const models::LayerRecord* const> records);

/// One head within some rows of a batch. `stand_in` [value_dim] takes the place of its output; null: zeros.
struct Silence {
  Range rows;
  int head = 0;
  const float* stand_in = nullptr;
};

/// out F32 [1, tokens, heads, value_dim] with these heads silenced; out itself when there are none. Under a tape
/// nothing goes back through what was put in their place (Michel et al. 2019, arXiv 1905.10650: a mask of heads).
Tensor silenced(const Tensor& out, std::vector<Silence> heads);

}  // namespace fovea::look
