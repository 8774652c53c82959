// The number by which a run is judged with and without what was removed.
#pragma once
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fovea/model.hpp>

#include "look/original.hpp"

namespace fovea::look {

/// One variant's number, and what the model answers there. Of a model that gives no answer, only vectors, the rest is
/// empty and NaN.
struct Answer {
  double value = 0;
  std::string output = {};
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double logit = kNone, log_probability = kNone;  // of the answers that are asked about, their sums
  double kl = kNone;                              // KL(p ‖ p now), p being what was said when nothing lacked; its sum
};

class Metric {
 public:
  virtual ~Metric() = default;
  virtual std::string_view name() const = 0;  // see Effect::metric
  /// Positions whose final vectors are read in every variant (of a model that writes: steps of its decoder); empty when
  /// each variant's own queries are.
  virtual std::span<const int> positions() const = 0;
  /// One reading a variant: sequence i of the result is variants[i]. Where `in_full` says no of i, `value` is all that
  /// is wanted; empty: it says yes of all.
  virtual std::vector<Answer> read(const models::Result& result, std::span<const Variant* const> variants,
                                   const std::vector<bool>& in_full = {}) const = 0;
  /// The number of a run of one text, F32 [1], made by operators: a tape can go back from it to what the model
  /// computed. Empty where that would give zeros: a cosine distance is flat where nothing is removed.
  virtual Tensor recorded(const models::Result&) const { return {}; }
};

/// What this model and text can be asked: the word at the text's one or more masks, the class, or else the queries'
/// final vectors. `target` and `against` as in MeasureQuery. Error when they cannot be asked for.
std::unique_ptr<Metric> choose_metric(const ModelParts& model, const models::Result& result,
                                      std::span<const Token> tokens, const std::string& target,
                                      const std::string& against);
/// Of a model that writes: what it wrote, or one word of it at the step that wrote it.
std::unique_ptr<Metric> writing_metric(const ModelParts& model, const Writing& writing, const std::string& target,
                                       const std::string& against);
std::unique_ptr<Metric> choose_metric(const Original& run, const std::string& target, const std::string& against);

}  // namespace fovea::look
