// The measured effect: the model run again without some of its attention, beside what random removals do.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <fovea/model.hpp>

#include "look/metric.hpp"
#include "look/original.hpp"

namespace fovea::look {

/// What a query means in this run. Error naming the token when it is not there, when nothing is asked for, and when a
/// query would see no key any more, or never saw the one that is cut.
Variant cut_of(const Original& run, std::string_view text, const MeasureQuery& query);
Variant cut_of(const Original& run, const Link& link);
/// Whether the link is all that its query sees, as a causal model's first token sees itself: it cannot be cut.
bool leaves_nothing(const Original& run, const Link& link);
/// Those of the heads that a layer has: where some are pruned, layers differ.
std::vector<int> heads_there(const Original& run, int layer, std::span<const int> heads);
/// Positions of words: where a question about no token in particular is asked. All where there are none.
std::vector<int> words_of(std::span<const Token> tokens);
/// What heads put out on average over texts; over the run's own where there are none.
std::shared_ptr<const HeadMeans> means_over(const Original& run, const std::vector<std::string>& texts);

/// Of these variants, ascending, all is read, and of a model that writes their passes are heard, whole: sequence
/// `sequence` of `passes`. Of the others the metric's value alone.
struct SeenReruns {
  std::span<const std::size_t> variants = {};
  std::function<void(std::size_t variant, const Rerun& passes, std::size_t sequence)> hear = {};
};
/// Reads variants from reruns: those of one lowest layer together, as sequences of one batch, from that layer on.
std::vector<Answer> rerun(const Original& run, const Metric& metric, std::span<const Variant> variants,
                          const std::function<void(std::size_t done)>& progress = {}, const SeenReruns& seen = {});

/// What the run as it was answers where each variant is asked.
std::vector<Answer> answers_before(const Original& run, const Metric& metric, std::span<const Variant> variants);

/// A cut, and behind it its control: up to so many random removals like it.
std::vector<Variant> beside_draws(const Original& run, const Metric& metric, const Variant& cut, int draws,
                                  std::uint64_t seed);

/// Each cut beside its own control. All of them, draws included, share their batches.
std::vector<Effect> measure(const Original& run, const Metric& metric, std::span<const Variant> cuts, int draws,
                            std::uint64_t seed);

/// Weight, local effect, norm-weighted and gradient effect of a cut: what the run as it was tells without a rerun.
void describe(const Original& run, const Variant& cut, Effect& effect);

/// See Run::flip.
Flip flip(const Original& run, const Metric& metric, const MeasureQuery& query, int most);

/// See Run::survey.
Survey survey(const Original& run, const Metric& metric, std::string_view text, const SurveyQuery& query);

}  // namespace fovea::look
