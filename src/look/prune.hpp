// Which heads a model can do without: greedily one after another, the least needed first (Michel et al. 2019, arXiv
// 1905.10650), with what the model is for measured after each.
#pragma once
#include <compare>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "look/model_parts.hpp"
#include "look/slopes.hpp"

namespace fovea::look {

/// A head of a kind of attention: "encoder", "decoder" or "cross".
struct PrunedHead {
  std::string kind;
  int layer = 0, head = 0;
  auto operator<=>(const PrunedHead&) const = default;
};
using HeadSet = std::set<PrunedHead>;

/// Of one example: how well it is done, and a finer number that falls as it is done better.
struct PruneOutcome {
  double quality = 0, loss = 0;
};

/// What a model is for, on examples: some to rank heads by, others to judge what is left.
class PruneTask {
 public:
  virtual ~PruneTask() = default;
  virtual std::string_view metric() const = 0;        // of quality: "exact_match", "agreement", "cosine"
  virtual std::vector<PrunedHead> heads() const = 0;  // all that the model has
  virtual bool has_slope() const = 0;                 // whether importance() is known
  std::size_t ranking() const { return ranking_; }
  std::size_t judged() const { return examples() - (shared_ ? 0 : ranking_); }

  /// Means over the examples that judge.
  PruneOutcome judge(const HeadSet& without) const;
  /// The mean loss of each set over the examples that rank.
  std::vector<double> losses(std::span<const HeadSet> sets) const;
  /// I_h = E_x |Σ_i o_i·do_i| over the examples that rank, in the order of heads(); 0 of heads that are gone.
  std::vector<double> importance(const HeadSet& without) const;

 protected:
  struct Job {
    const HeadSet* without;
    std::size_t example;
  };
  /// Where rows of the jobs end, in the pass of each kind.
  using RowEnds = std::function<const std::vector<int>&(const std::string& kind)>;

  PruneTask(std::size_t ranking, bool shared) : ranking_(ranking), shared_(shared) {}
  virtual std::size_t examples() const = 0;
  virtual std::size_t tokens(std::size_t example) const = 0;
  virtual std::vector<PruneOutcome> run(std::span<const Job> jobs) const = 0;
  /// The sum of the jobs' losses on the tape of `watch`, and where the rows of each job end, by kind.
  virtual std::pair<Tensor, std::map<std::string, std::vector<int>>> recorded(std::span<const Job> jobs,
                                                                              HeadWatch& watch) const = 0;

 private:
  std::vector<PruneOutcome> run_all(const std::vector<Job>& jobs) const;
  std::size_t ranking_;
  bool shared_;  // the same examples rank and judge
};

/// An edit for Pass::heads of one kind, over sequences that each lack what their job says; null when none lacks any.
HeadWatch::Edit silencing(std::span<const HeadSet* const> without, std::vector<int> ends, const std::string& kind);

/// An encoder reads texts, and is to answer as it did: at each [MASK] (or each word, where there is none), with its
/// label, or, where it has neither head, with its pooled vector. Every second text ranks.
std::unique_ptr<PruneTask> reading_task(const ModelParts& model, std::span<const std::string> texts);
/// A model writes `second` of `first`, both as ids; targets without start and end. Exact match is that of greedy
/// search: every token is the likeliest after those before it.
using WritingPair = std::pair<std::vector<int>, std::vector<int>>;
std::unique_ptr<PruneTask> writing_task(const models::EncoderDecoder& model, std::vector<WritingPair> ranking,
                                        std::vector<WritingPair> judging);

enum class RankBy { Importance, Effect };
struct PruneStep {
  PrunedHead removed;
  double rank = 0;    // what chose it: its importance, or the loss without it
  PruneOutcome left;  // without it and all before it
};
struct PruneCurve {
  PruneOutcome whole;
  std::vector<PruneStep> steps;
  /// How many heads can go, in this order, before quality falls by more than `lost`.
  int spare(double lost) const;
};
struct PruneHow {
  int keep = 0;             // heads
  bool one_a_layer = true;  // of each kind stays, or the layer would have none
  RankBy rank = RankBy::Importance;
  std::function<void(const PruneStep& step, int left)> progress = {};
};
PruneCurve prune(const PruneTask& task, const PruneHow& how);

}  // namespace fovea::look
