// The measured effect: the model run again without some of its attention, beside what random removals do.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <fovea/model.hpp>

#include "look/metric.hpp"
#include "look/model_parts.hpp"
#include "look/removal.hpp"

namespace fovea::look {

/// A recorded run of one text, as reruns need it.
struct Original {
  const ModelParts& model;
  const models::Result& result;  // with hidden states, and attention of every layer
  std::span<const Token> tokens;
  std::vector<const models::LayerRecord*> records;  // of the kind of attention that is cut, by layer
};

/// What a query means in this run. Error naming the token when it is not there, when nothing is asked for, and when a
/// query would see no key any more.
Variant cut_of(const Original& run, std::string_view text, const MeasureQuery& query);
Variant cut_of(const Link& link);
/// Whether the link is all that its query sees, as a causal model's first token sees itself: it cannot be cut.
bool leaves_nothing(const Original& run, const Link& link);

/// Reads variants from reruns: those of one lowest layer together, as sequences of one batch, from that layer on.
std::vector<Answer> rerun(const Original& run, const Metric& metric, std::span<const Variant> variants);

/// What the run as it was answers where each variant is asked.
std::vector<Answer> answers_before(const Original& run, const Metric& metric, std::span<const Variant> variants);

/// Each cut beside its own control. All of them, draws included, share their batches.
std::vector<Effect> measure(const Original& run, const Metric& metric, std::span<const Variant> cuts, int draws,
                            std::uint64_t seed);

/// Weight, local effect and norm-weighted of a cut: what the run as it was tells without a rerun.
void describe(const Original& run, const Variant& cut, Effect& effect);

/// See Run::survey.
Survey survey(const Original& run, const Metric& metric, std::string_view text, const SurveyQuery& query);

}  // namespace fovea::look
