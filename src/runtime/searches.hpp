// The two searches over one batch, behind write().
#pragma once
#include <span>
#include <vector>

#include "runtime/search.hpp"

namespace fovea::runtime {

/// One text for each source of a batch: always the likeliest token.
std::vector<Written> greedy_search(models::Decoding& decoding, std::size_t sources, const Generation& how);
/// Up to how.results texts for each source of a batch.
std::vector<std::vector<Written>> beam_search(models::Decoding& decoding, std::size_t sources, const Generation& how);

/// Logits become log-probabilities, in place. Error when they are not numbers.
void log_softmax_row(std::span<float> row);
/// Row `i` of logits [rows, vocabulary].
std::span<float> row_of(Tensor& logits, std::size_t i);
/// `sum` over length to the power of length_penalty.
double normalised(double sum, std::size_t length, const Generation& how);

}  // namespace fovea::runtime
