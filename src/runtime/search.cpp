#include "runtime/search.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "runtime/searches.hpp"

namespace fovea::runtime {

std::span<float> row_of(Tensor& logits, std::size_t i) {
  const auto width = static_cast<std::size_t>(logits.shape()[1]);
  return logits.values<float>().subspan(i * width, width);
}

void log_softmax_row(std::span<float> row) {
  const float max = *std::ranges::max_element(row);
  double sum = 0;
  for (const float x : row) sum += static_cast<double>(std::exp(x - max));
  const double log_sum = std::log(sum);
  if (!std::isfinite(log_sum) || !std::isfinite(max))
    throw Error("the model's output is not a number; its weights or the text before are broken");
  for (float& x : row) x = static_cast<float>(static_cast<double>(x - max) - log_sum);
}

double normalised(double sum, std::size_t length, const Generation& how) {
  return sum / std::pow(static_cast<double>(length), how.length_penalty);
}

namespace {

void check(const Generation& how) {
  if (how.max_length < 2)
    throw Error(fmt::format("max_length {}: a text has at least 2 tokens, its start and its end", how.max_length));
  if (how.beams < 1 || how.results < 1 || how.results > how.beams)
    throw Error(fmt::format("{} beams, {} results: expected at least 1, and no more results than beams", how.beams,
                            how.results));
}

}  // namespace

std::vector<std::vector<Written>> write(const models::EncoderDecoder& model, std::span<const models::Sequence> sources,
                                        const Generation& how) {
  constexpr std::size_t kTokens =
      4096;  // of the sources of a batch: bounds what a pass keeps, and keeps the cores busy
  check(how);
  std::vector<std::vector<Written>> all;
  for (std::size_t first = 0; first < sources.size();) {
    std::size_t tokens = 0, count = 0;
    while (first + count < sources.size() && (count == 0 || tokens + sources[first + count].ids.size() <= kTokens))
      tokens += sources[first + count++].ids.size();
    const models::Result read = model.encode(sources.subspan(first, count));
    const std::unique_ptr<models::Decoding> decoding = model.begin(read);
    if (how.beams > 1)
      std::ranges::move(beam_search(*decoding, count, how), std::back_inserter(all));
    else
      for (Written& w : greedy_search(*decoding, count, how)) all.push_back({std::move(w)});
    first += count;
  }
  return all;
}

}  // namespace fovea::runtime
