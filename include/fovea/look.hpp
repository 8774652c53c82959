// What is shown of attention: definitions, in O(tokens) memory. Formulas and sources: docs/look.md.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fovea {

/// What a run keeps, so that any weight of it can be rebuilt, as it is said before it is taken: of each layer's
/// attention what the kernel read and put out (q, k, v, output, LSE, greatest scores), and the hidden states before the
/// first layer and after each. At most: heads that were pruned are counted too.
struct Recording {
  struct Layer {
    std::string kind;
    int layer = 0;
    std::int64_t bytes = 0;
  };
  std::vector<Layer> layers;
  std::int64_t hidden_bytes = 0;
  std::int64_t matrices_bytes = 0;  // what the attention matrices would be, which are not kept
  std::int64_t bytes() const;       // all that is kept
};

/// One head over one run. i query, j key, n_i keys that the mask shows to i; means are over the queries that see a key.
struct HeadStatistics {
  std::string kind;
  int layer = 0, head = 0;
  double entropy = 0;             // mean H_i, nats (Clark et al. 2019, arXiv 1906.04341)
  double normalised_entropy = 0;  // mean H_i / ln n_i over the queries that have a choice (n_i > 1)
  double confidence = 0;          // mean max_j A_ij (Voita et al. 2019, arXiv 1905.09418)
  double sink = 0;                // mean A_i0 over i ≥ 1 (Xiao et al. 2023, 2309.17453; Gu et al. 2410.10781)
  double distance = 0;            // Σ A_ij |i − j| / Σ A_ij (Vig & Belinkov 2019, arXiv 1906.04284)
  double previous = 0;            // mean A_i,i−1 over i ≥ 1 (Elhage et al. 2021)
  double special = 0;             // mean Σ A_ij over keys that the tokenizer added ([CLS], …)
  double self = 0, next = 0;      // mean A_ii and A_i,i+1
  double max_abs_error = 0;       // max |Σ_j A_ij v_j − o_i| over rows and channels
};

/// A number of one head that takes a pass of its own.
struct HeadScore {
  std::string kind;
  int layer = 0, head = 0;
  double value = 0;
};

/// One edge, in the order of what it proves: weight (where it looked), then two estimates of what it did.
struct Link {
  std::string kind;
  int layer = 0, head = 0, query = 0, key = 0;
  double weight = 0;         // A_ij
  double lift = 0;           // A_ij · n_i: how many times a uniform share
  double norm_weighted = 0;  // ‖W_O (A_ij v_j)‖ (Kobayashi et al. 2020, arXiv 2004.10102)
  /// ‖W_O Δo‖, Δo = A/(1−A)·(o − v_j): the exact change of this head's output had the edge not been there. Infinity
  /// when the edge is all that the row has (1 − A within a float's rounding of 0): nothing would be left.
  double local_effect = 0;
};

struct LinkQuery {
  std::string token = {};  // a selector, see Run::find; empty: every token
  int top = 5;
  std::vector<int> layers = {}, heads = {};  // empty: all
  std::string kind = {};                     // empty: the model's self-attention
  bool skip_special = false;  // leave out links to [CLS], [SEP], …; and from them, unless `token` names one
};

/// From the query that looks to the key that it looks at, both selectors, see Run::find. Words of several tokens: all
/// the edges between them.
struct Cut {
  std::string from, to;
};

/// One head of one layer, of the kind of attention that is asked about.
struct HeadAt {
  int layer = 0, head = 0;
  auto operator<=>(const HeadAt&) const = default;
};

/// What is removed, where, and by what number the model is asked before and after.
struct MeasureQuery {
  std::string from = {}, to = {};            // the edge to cut …
  std::vector<Cut> cuts = {};                // … and more of them, all at once
  std::string values = {};                   // or, instead of edges, the token whose values become zero
  std::vector<HeadAt> ablate = {};           // or whole heads, whose output becomes zero …
  bool mean = false;                         // … or what it is on average over the text (Michel et al. 2019), …
  std::vector<std::string> over = {};        // … or over these texts
  std::vector<int> layers = {}, heads = {};  // empty: all
  std::string kind = {};                     // empty: the model's self-attention
  /// Of a model that predicts tokens or labels: these are asked about instead of its own answer. Of one that writes,
  /// `target` is a word that it wrote (a selector, see Run::find), and is asked about at the step that wrote it.
  std::string target = {}, against = {};
  int draws = 20;  // of the control, at least 20
  std::uint64_t seed = 0;
};

/// What removing something else does: random sets of the same layers, of equal weight and similar distance; of heads,
/// random sets of as many other ones.
struct Control {
  double mean = 0, sd = 0;    // of the draws' effects; sd with n − 1. NaN without draws
  int draws = 0;              // fewer than asked for where the text has no more such sets
  int smaller = 0;            // draws whose |effect| is below the measured one
  double percentile() const;  // 100 · smaller / draws
};

/// The measured effect: the model run again without what was removed.
struct Effect {
  /// "cosine_distance": of the queries' final vectors, `before` being 1 and `after` the mean cosine with what they
  /// were. "log_probability", "log_odds": nats, of the model's own answer (or of `target`, against `against`).
  std::string metric;
  double before = 0, after = 0;
  double effect = 0;         // before − after
  double weight = 0;         // mean A_ij over what was removed; NaN of whole heads
  double local_effect = 0;   // ‖Σ_h W_O Δo‖ per layer and query, from the closed form; their mean. See Link
  double norm_weighted = 0;  // ‖Σ_h W_O Σ_j A_ij v_j‖, their mean. See Link
  /// What the slope of the metric makes of it: −Σ g·Δo with g = ∂metric/∂o of each head's output, a first-order
  /// estimate of `effect`. NaN where the metric has no slope (a cosine distance is flat where nothing is removed).
  double gradient_effect = 0;
  /// Of what the model says where it is asked, all such positions together; NaN of a model that answers with vectors
  /// alone. The answer's (or the target's) logit and log-probability, before − after, and KL(before ‖ after) of all
  /// that could be said there, nats.
  double logit_effect = 0, log_probability_effect = 0, kl = 0;
  Control control;
  /// The model's answer, of one that writes the whole text, written anew without what was removed; empty where it gives
  /// none.
  std::string output_before, output_after;
  /// Whether at most 1 in 20 of random sets would do as much: (1 + draws not smaller) / (1 + draws) ≤ 0.05 (Phipson &
  /// Smyth 2010, doi 10.2202/1544-6115.1585). Without it: no measurable effect.
  bool measurable() const;
};

/// A set of edges that turns a choice around, and what it does beside its control.
struct Flip {
  struct Step {
    int query = 0, key = 0;
    double after = 0;  // the metric once this edge is cut too
  };
  bool flipped = false;
  std::vector<Step> search;  // greedily: whatever lowers the metric most goes next
  std::vector<Cut> cuts;     // what is left of them: without any one of these cuts the choice would stay. Positions
  Effect effect;             // of all of `cuts`
};

/// Weight against effect: many removals, each made alone.
struct SurveyQuery {
  enum class Unit {
    Pairs,  // what one position looks at, in all chosen layers and heads at once
    Edges,  // the same in one head
    Heads,  // a whole head: its output becomes zero, or its mean (Michel et al. 2019, arXiv 1905.10650)
  };
  Unit unit = Unit::Pairs;
  std::string token = {};                    // the query that looks and is asked, see Run::find; empty: every word
  std::vector<int> layers = {}, heads = {};  // empty: all
  std::string kind = {};                     // empty: the model's self-attention
  std::string target = {}, against = {};     // as in MeasureQuery
  bool mean = false;                         // of heads, as in MeasureQuery, …
  std::vector<std::string> over = {};        // … and over what
  /// Hears how many of the items are measured, now and then: of none first.
  std::function<void(std::size_t done, std::size_t all)> progress = {};
};
struct Survey {
  struct Item {
    int query = -1, key = -1;                         // −1: all; a head's
    int layer = -1, head = -1;                        // −1: all that were chosen; a pair's
    double weight = 0, local_effect = 0, effect = 0;  // of a head, local_effect is the mean ‖W_O o_i‖: what it wrote
    double gradient_effect = 0;  // as in Effect; of a head, its importance and sign: Σ_i o_i·do_i
  };
  std::string metric;
  std::vector<Item> items;  // pairs and edges from each word to each token; the largest |effect| first
  /// Spearman's ρ over the items: of weight, of local effect, and of |gradient effect|, with |effect|. NaN where one of
  /// the two is constant or not known.
  double weight_correlation = 0, local_correlation = 0, gradient_correlation = 0;
  /// Where the two disagree, as indices of items: a weight of at least half the largest with an effect below half the
  /// largest, the least effect first; and an effect of at least a quarter of the largest with a weight below half the
  /// largest, the least weight first. Of heads, not weight but local effect.
  std::vector<std::size_t> idle, light;
};

}  // namespace fovea
