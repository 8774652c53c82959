// From hidden states and logits to what a model says.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include <fovea/tensor.hpp>

namespace fovea::look {

/// exp(x − max) / Σ, in double.
std::vector<double> softmax(std::span<const float> logits);
/// ln softmax(logits)[at], in double.
double log_probability(std::span<const float> logits, std::size_t at);
/// Index of the largest; of equals the first. NaN is never the largest.
std::size_t likeliest(std::span<const float> logits);

/// Rows [positions, width] of hidden [tokens, width].
Tensor rows_at(const Tensor& hidden, std::span<const int> positions);
/// Rows [n · tokens, width]: n copies of hidden, one below the other.
Tensor repeated(const Tensor& hidden, std::size_t n);
/// Row i of F32 [rows, columns].
std::span<const float> row_of(const Tensor& matrix, std::size_t i);

/// How class logits become what is reported, by transformers' rules: config.json's problem_type, or the number of
/// labels where it is silent.
enum class Outcome { OneOf, AnyOf, Value };
Outcome outcome_of(const std::filesystem::path& folder, std::size_t labels);

}  // namespace fovea::look
