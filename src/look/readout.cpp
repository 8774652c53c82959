#include "look/readout.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include <fmt/format.h>

#include "io/json.hpp"

namespace fovea::look {

std::vector<double> softmax(std::span<const float> logits) {
  const auto most = static_cast<double>(*std::ranges::max_element(logits));
  std::vector<double> p(logits.size());
  std::ranges::transform(logits, p.begin(), [&](float x) { return std::exp(static_cast<double>(x) - most); });
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

double log_probability(std::span<const float> logits, std::size_t at) {
  const auto most = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - most);
  return static_cast<double>(logits[at]) - most - std::log(sum);
}

std::size_t likeliest(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < logits.size(); ++i)
    if (logits[i] > logits[best] || std::isnan(logits[best])) best = i;
  return best;
}

Tensor rows_at(const Tensor& hidden, std::span<const int> positions) {
  const std::int64_t width = hidden.shape()[1];
  Tensor rows(DType::F32, {std::ssize(positions), width});
  float* to = rows.data<float>();
  for (const int p : positions) to = std::copy_n(hidden.data<float>() + p * width, width, to);
  return rows;
}

Tensor repeated(const Tensor& hidden, std::size_t n) {
  Tensor all(DType::F32, {hidden.shape()[0] * static_cast<std::int64_t>(n), hidden.shape()[1]});
  float* to = all.data<float>();
  for (std::size_t i = 0; i < n; ++i) to = std::ranges::copy(hidden.values<float>(), to).out;
  return all;
}

std::span<const float> row_of(const Tensor& matrix, std::size_t i) {
  const auto columns = static_cast<std::size_t>(matrix.shape()[1]);
  return matrix.values<float>().subspan(i * columns, columns);
}

Outcome outcome_of(const std::filesystem::path& folder, std::size_t labels) {
  const std::filesystem::path file = folder / "config.json";
  const auto type = io::optional_or<std::string>(io::read_json(file), "problem_type", "", file);
  if (type == "regression") return Outcome::Value;
  if (type == "multi_label_classification" || (type.empty() && labels == 1)) return Outcome::AnyOf;
  if (type.empty() || type == "single_label_classification") return Outcome::OneOf;
  throw Error(
      fmt::format("{}: problem_type {} is not known; expected single_label_classification, multi_label_classification "
                  "or regression",
                  file.string(), type));
}

}  // namespace fovea::look
