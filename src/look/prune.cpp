#include "look/prune.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "look/silence.hpp"

namespace fovea::look {

HeadWatch::Edit silencing(std::span<const HeadSet* const> without, std::vector<int> ends, const std::string& kind) {
  const auto lacks = [&](const HeadSet* set) {
    return std::ranges::any_of(*set, [&](const PrunedHead& h) { return h.kind == kind; });
  };
  if (std::ranges::none_of(without, lacks)) return {};
  return
      [sets = std::vector(without.begin(), without.end()), ends = std::move(ends), kind](int layer, const Tensor& out) {
        std::vector<Silence> heads;
        for (std::size_t i = 0; i < sets.size(); ++i)
          for (const PrunedHead& h : *sets[i])
            if (h.kind == kind && h.layer == layer) heads.push_back({{i == 0 ? 0 : ends[i - 1], ends[i]}, h.head});
        return silenced(out, std::move(heads));
      };
}

// ---------------------------------------------------------------------------------------------------------------- task

namespace {

/// Jobs in runs that bound what a pass keeps: run(first, last) for each.
template <class Job, class Tokens, class Run>
void in_batches(const std::vector<Job>& jobs, std::size_t most, const Tokens& tokens, const Run& run) {
  for (std::size_t first = 0; first < jobs.size();) {
    std::size_t last = first, sum = 0;
    while (last < jobs.size() && (last == first || sum + tokens(jobs[last]) <= most)) sum += tokens(jobs[last++]);
    run(std::span(jobs).subspan(first, last - first));
    first = last;
  }
}

}  // namespace

std::vector<PruneOutcome> PruneTask::run_all(const std::vector<Job>& jobs) const {
  constexpr std::size_t kTokens = 4096;
  std::vector<PruneOutcome> all;
  in_batches(
      jobs, kTokens, [&](const Job& j) { return tokens(j.example); },
      [&](std::span<const Job> batch) {
        const std::vector<PruneOutcome> some = run(batch);
        all.insert(all.end(), some.begin(), some.end());
      });
  return all;
}

PruneOutcome PruneTask::judge(const HeadSet& without) const {
  std::vector<Job> jobs;
  for (std::size_t i = shared_ ? 0 : ranking_; i < examples(); ++i) jobs.push_back({&without, i});
  PruneOutcome mean;
  for (const PruneOutcome& o : run_all(jobs)) mean.quality += o.quality, mean.loss += o.loss;
  const auto n = static_cast<double>(jobs.size());
  return {mean.quality / n, mean.loss / n};
}

std::vector<double> PruneTask::losses(std::span<const HeadSet> sets) const {
  std::vector<Job> jobs;
  for (const HeadSet& set : sets)
    for (std::size_t i = 0; i < ranking_; ++i) jobs.push_back({&set, i});
  const std::vector<PruneOutcome> outcomes = run_all(jobs);
  std::vector<double> losses(sets.size());
  for (std::size_t i = 0; i < outcomes.size(); ++i)
    losses[i / ranking_] += outcomes[i].loss / static_cast<double>(ranking_);
  return losses;
}

std::vector<double> PruneTask::importance(const HeadSet& without) const {
  constexpr std::size_t kTokens = 1024;  // a tape keeps every layer's
  const std::vector<PrunedHead> all = heads();
  std::vector<double> sums(all.size());
  std::vector<Job> jobs;
  for (std::size_t i = 0; i < ranking_; ++i) jobs.push_back({&without, i});
  const auto add = [&](std::span<const Job> batch) {
    HeadWatch watch;
    const auto [loss, ends] = recorded(batch, watch);
    watch.go_back(loss);
    for (std::size_t h = 0; h < all.size(); ++h) {
      if (without.contains(all[h])) continue;
      const Tensor &out = watch.output(all[h].kind, all[h].layer), slope = watch.slope(all[h].kind, all[h].layer);
      const std::int64_t dim = out.shape()[3], row = out.shape()[2] * dim;
      int begin = 0;
      for (const int end : ends.at(all[h].kind)) {  // one example's rows
        double sum = 0;
        for (std::int64_t t = begin; t < end; ++t)
          for (std::int64_t c = all[h].head * dim; c < (all[h].head + 1) * dim; ++c)
            sum += static_cast<double>(out.data<float>()[t * row + c]) *
                   static_cast<double>(slope.data<float>()[t * row + c]);
        sums[h] += std::abs(sum) / static_cast<double>(ranking_);
        begin = end;
      }
    }
  };
  in_batches(
      jobs, kTokens, [&](const Job& j) { return tokens(j.example); }, add);
  return sums;
}

// --------------------------------------------------------------------------------------------------------------- greed

namespace {

/// Heads that may go next: still there, and not the last of their layer where one must stay.
std::vector<std::size_t> candidates(const std::vector<PrunedHead>& all, const HeadSet& without, bool one_a_layer) {
  std::map<std::pair<std::string, int>, int> left;
  for (const PrunedHead& h : all)
    if (!without.contains(h)) ++left[{h.kind, h.layer}];
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (!without.contains(all[i]) && (!one_a_layer || left[{all[i].kind, all[i].layer}] > 1)) found.push_back(i);
  return found;
}

/// What ranks each candidate: the least goes first.
std::vector<double> ranks_of(const PruneTask& task, RankBy by, const std::vector<PrunedHead>& all,
                             const HeadSet& without, const std::vector<std::size_t>& among) {
  std::vector<double> ranks;
  if (by == RankBy::Importance) {
    const std::vector<double> importance = task.importance(without);
    for (const std::size_t i : among) ranks.push_back(importance[i]);
    return ranks;
  }
  std::vector<HeadSet> sets;
  for (const std::size_t i : among) {
    sets.push_back(without);
    sets.back().insert(all[i]);
  }
  return task.losses(sets);
}

}  // namespace

int PruneCurve::spare(double lost) const {
  int spare = 0;
  for (const PruneStep& step : steps) {
    if (step.left.quality < whole.quality - lost) break;
    ++spare;
  }
  return spare;
}

PruneCurve prune(const PruneTask& task, const PruneHow& how) {
  if (how.rank == RankBy::Importance && !task.has_slope())
    throw Error(
        fmt::format("prune: {} has no slope where nothing is removed, so heads have no importance by it; rank "
                    "them by their effect",
                    task.metric()));
  const std::vector<PrunedHead> all = task.heads();
  HeadSet without;
  PruneCurve curve{task.judge(without), {}};
  while (std::ssize(all) - std::ssize(without) > how.keep) {
    const std::vector<std::size_t> among = candidates(all, without, how.one_a_layer);
    if (among.empty()) break;
    const std::vector<double> ranks = ranks_of(task, how.rank, all, without, among);
    const auto least = static_cast<std::size_t>(std::ranges::min_element(ranks) - ranks.begin());
    without.insert(all[among[least]]);
    curve.steps.push_back({all[among[least]], ranks[least], task.judge(without)});
    if (how.progress) how.progress(curve.steps.back(), static_cast<int>(std::ssize(all) - std::ssize(without)));
  }
  return curve;
}

}  // namespace fovea::look
