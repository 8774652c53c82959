#include "look/measure.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "look/draws.hpp"
#include "look/readout.hpp"
#include "look/row_sums.hpp"

namespace fovea {

double Control::percentile() const {
  return draws > 0 ? 100.0 * smaller / draws : std::numeric_limits<double>::quiet_NaN();
}

bool Effect::measurable() const {
  const double p = static_cast<double>(1 + control.draws - control.smaller) / (1 + control.draws);
  return p <= 0.05;
}

namespace look {
namespace {

double mean_of(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

// ------------------------------------------------------------------------------------------- weight and local effect

/// The first two tiers, from the run as it was. Changes of one query in one layer add up over its heads, since W_O
/// does.
class Tiers {
 public:
  Tiers(const Original& run, const Variant& cut) : run_(run) {
    std::map<std::pair<int, int>, std::map<int, std::vector<int>>> rows;  // keys by layer and query, then by head
    for (const Removal& r : cut.removed) rows[{r.layer, r.query}][r.head].push_back(r.key);
    for (const auto& [at, heads] : rows) {
      const models::LayerRecord& record = *run.records[static_cast<std::size_t>(at.first)];
      at.second == kEveryQuery ? add_values(record, heads) : add_row(record, at.second, heads);
    }
    std::map<int, std::vector<int>> silenced;  // by layer
    for (const HeadAt& h : cut.silenced) silenced[h.layer].push_back(h.head);
    for (const auto& [layer, heads] : silenced)
      add_silenced(*run.records[static_cast<std::size_t>(layer)], heads, cut.means.get());
  }
  void write(Effect& e) const {
    e.weight = mean_of(weights_), e.local_effect = mean_of(changes_), e.norm_weighted = mean_of(carried_);
    e.gradient_effect = run_.slopes.empty() ? std::numeric_limits<double>::quiet_NaN() : -gained_;
  }

 private:
  using Heads = std::map<int, std::vector<int>>;
  std::vector<double> nothing() const { return std::vector<double>(static_cast<std::size_t>(run_.width())); }

  void add_row(const models::LayerRecord& record, int query, const Heads& heads) {
    std::vector<double> change = nothing(), carried = nothing();  // [width]
    bool rest = true;
    for (const auto& [head, keys] : heads) {
      const RowSums row(record, kOnlySequence, head, query);
      for (const int key : keys) weights_.push_back(row.weight(key));
      row.add_carried(keys, carried);
      rest = row.add_change(keys, change) && rest;
      if (!run_.slopes.empty()) gained_ += row.sloped_change(keys, slope(record, query, head));
    }
    changes_.push_back(rest ? norm(change) : std::numeric_limits<double>::infinity());
    carried_.push_back(norm(carried));
  }

  /// Without a softmax in between, what a value carried is what its absence changes.
  void add_values(const models::LayerRecord& record, const Heads& heads) {
    const auto queries = static_cast<std::size_t>(HeadRows(record, kOnlySequence, 0).queries());
    const std::size_t width = nothing().size();
    std::vector<double> carried(queries * width);  // [queries, width]
    for (const auto& [head, keys] : heads) {
      const HeadRows rows(record, kOnlySequence, head);
      std::vector<std::vector<double>> through(keys.size(), nothing());  // W_O v_j, one a key
      for (std::size_t k = 0; k < keys.size(); ++k) {
        const std::span v = rows.value(keys[k]);
        rows.add_projected(std::vector<double>(v.begin(), v.end()), through[k]);
      }
      const auto sloped = [&, h = head](int query, int key) {
        const std::span v = rows.value(key), g = slope(record, query, h);
        return std::inner_product(v.begin(), v.end(), g.begin(), 0.0, std::plus<>(), product);
      };
      for (int begin = 0; begin < rows.queries(); begin += rows.band()) {
        const Range band{begin, std::min(begin + rows.band(), rows.queries())};
        const std::vector<float> a = rows.weights(band);  // [rows, keys]
        for (int query = band.begin; query < band.end; ++query)
          for (std::size_t k = 0; k < keys.size(); ++k) {
            const auto weight =
                static_cast<double>(a[static_cast<std::size_t>(query - begin) * static_cast<std::size_t>(rows.keys()) +
                                      static_cast<std::size_t>(keys[k])]);
            weights_.push_back(weight);
            if (!run_.slopes.empty() && weight > 0) gained_ -= weight * sloped(query, keys[k]);
            double* sum = carried.data() + static_cast<std::size_t>(query) * width;
            for (std::size_t c = 0; c < width; ++c) sum[c] += weight * through[k][c];
          }
      }
    }
    for (std::size_t query = 0; query < queries; ++query) {
      carried_.push_back(norm(std::span(carried).subspan(query * width, width)));
      changes_.push_back(carried_.back());
    }
  }

  /// Whole heads: what each row of them wrote, less what stands in for it.
  void add_silenced(const models::LayerRecord& record, const std::vector<int>& heads, const HeadMeans* means) {
    const Tensor out = record.attention.out.to(DType::F32);  // [1, tokens, heads, value_dim]
    const auto count = static_cast<std::size_t>(out.shape()[2]), dim = static_cast<std::size_t>(out.shape()[3]);
    std::vector<HeadRows> rows;
    for (const int head : heads) rows.emplace_back(record, kOnlySequence, head);
    for (int query = 0; query < static_cast<int>(out.shape()[1]); ++query) {
      std::vector<double> change = nothing();
      for (std::size_t h = 0; h < heads.size(); ++h) {
        const auto at = (static_cast<std::size_t>(query) * count + static_cast<std::size_t>(heads[h])) * dim;
        const std::span o = out.values<float>().subspan(at, dim);
        std::vector<double> gone(o.begin(), o.end());
        if (means)
          for (std::size_t c = 0; c < dim; ++c) gone[c] -= static_cast<double>(means->at({record.layer, heads[h]})[c]);
        rows[h].add_projected(gone, change);
        if (run_.slopes.empty()) continue;
        const std::span g = slope(record, query, heads[h]);
        for (std::size_t c = 0; c < dim; ++c) gained_ -= gone[c] * static_cast<double>(g[c]);
      }
      changes_.push_back(norm(change));
      carried_.push_back(changes_.back());
    }
  }

  /// g of one head's output in one row, [value_dim].
  std::span<const float> slope(const models::LayerRecord& record, int query, int head) const {
    const Tensor& g = run_.slopes[static_cast<std::size_t>(record.layer)];  // [1, tokens, heads, value_dim]
    const std::int64_t dim = g.shape()[3];
    return g.values<float>().subspan(static_cast<std::size_t>((query * g.shape()[2] + head) * dim),
                                     static_cast<std::size_t>(dim));
  }
  static double product(float a, float b) { return static_cast<double>(a) * static_cast<double>(b); }

  const Original& run_;
  std::vector<double> weights_, changes_, carried_;
  double gained_ = 0;  // Σ g · Δo: by how much the metric is to rise
};

// -------------------------------------------------------------------------------------------------------------- reruns

/// The rows of its final vectors that a variant's answer needs, from the first to the last.
Range read_of(const Metric& metric, const Variant& variant) {
  const std::span asked = metric.positions().empty() ? std::span<const int>(variant.queries) : metric.positions();
  const auto [first, last] = std::ranges::minmax(asked);
  return {first, last + 1};
}

/// `read`: as in models::Repeat; `in_full`: as in Metric::read. `seen`, where it is given, hears the passes of a model
/// that writes.
std::vector<Answer> run_batch(const Original& run, const Metric& metric, std::span<const Variant* const> variants,
                              std::span<const Range> read, const std::vector<bool>& in_full,
                              const std::function<void(const Rerun&)>& seen) {
  const models::Sequence source = sequence_of(run.tokens);
  if (run.writing) {
    const Passage passage{source, sequence_of(run.writing->inputs), run.result, run.writing->result, run.result.layers};
    const Rerun batch = decode_without(*run.model.writer, passage, run.kind(), run.extent(), variants, read);
    if (seen) seen(batch);
    return metric.read(batch.written, variants, in_full);
  }
  const int layer = lowest_layer(*variants.front());
  models::Pass pass = pass_without(variants, run.extent());
  const Tensor start = repeated(run.result.hidden_states[static_cast<std::size_t>(layer)], variants.size());
  const models::Repeat repeat = repeat_of(run.result, run.result.layers, run.kind(), run.extent(), variants, read);
  pass.first_layer = layer, pass.start = &start, pass.repeat = &repeat;
  return metric.read(run.model.encoder->forward(std::vector(variants.size(), source), pass), variants, in_full);
}

/// The control's figures from the effects of its draws.
Control summary_of(const std::vector<double>& effects, double measured) {
  Control c;
  c.draws = static_cast<int>(effects.size());
  c.mean = c.sd = std::numeric_limits<double>::quiet_NaN();
  if (effects.empty()) return c;
  c.mean = mean_of(effects);
  double squares = 0;
  for (const double e : effects) {
    squares += (e - c.mean) * (e - c.mean);
    if (std::abs(e) < std::abs(measured)) ++c.smaller;
  }
  if (effects.size() > 1) c.sd = std::sqrt(squares / static_cast<double>(effects.size() - 1));
  return c;
}

}  // namespace

void describe(const Original& run, const Variant& cut, Effect& effect) { Tiers(run, cut).write(effect); }

std::vector<Answer> rerun(const Original& run, const Metric& metric, std::span<const Variant> variants,
                          const std::function<void(std::size_t)>& progress, const SeenReruns& seen) {
  constexpr std::size_t kTokens = 512;  // of a batch, unless the text has more: what it needs stays in the cache
  const std::size_t most = std::max<std::size_t>(1, kTokens / run.size());
  const auto is_seen = [&](std::size_t i) { return std::ranges::binary_search(seen.variants, i); };
  const Range whole{0, run.answering().ends.front()};
  std::map<int, std::vector<std::size_t>> by_layer;
  for (std::size_t i = 0; i < variants.size(); ++i) by_layer[lowest_layer(variants[i])].push_back(i);
  std::vector<Answer> answers(variants.size());
  std::size_t done = 0;
  for (const auto& [layer, all] : by_layer)
    for (std::size_t first = 0; first < all.size(); first += most) {
      const std::span here = std::span(all).subspan(first, std::min(most, all.size() - first));
      std::vector<const Variant*> batch;
      std::vector<Range> rows;
      std::vector<bool> in_full;
      for (const std::size_t i : here) {
        batch.push_back(&variants[i]);
        rows.push_back(is_seen(i) ? whole : read_of(metric, variants[i]));
        in_full.push_back(seen.variants.empty() || is_seen(i));
      }
      std::function<void(const Rerun&)> each;
      if (!seen.variants.empty())
        each = [&](const Rerun& passes) {
          for (std::size_t i = 0; i < here.size(); ++i)
            if (is_seen(here[i])) seen.hear(here[i], passes, i);
        };
      std::vector<Answer> read = run_batch(run, metric, batch, rows, in_full, each);
      for (std::size_t i = 0; i < here.size(); ++i) answers[here[i]] = std::move(read[i]);
      done += here.size();
      if (progress) progress(done);
    }
  return answers;
}

std::vector<Answer> answers_before(const Original& run, const Metric& metric, std::span<const Variant> variants) {
  std::vector<Answer> answers;
  for (const Variant& v : variants) {
    const Variant* asked = &v;
    const bool same = !metric.positions().empty() && !answers.empty();  // asked at one place, whatever was removed
    answers.push_back(same ? answers.front() : metric.read(run.answering(), {&asked, 1}).front());
  }
  return answers;
}

namespace {

Draws::Setting setting_of(const Original& run, const Metric& metric) {
  Draws::Setting setting{run.records, kOnlySequence, special_among(run.keys()), {}, special_among(run.queries())};
  const std::span read = metric.positions();
  // A writing model is asked at steps of its decoder, which are none of the encoder's queries; and where all of them
  // are read, none is more than another.
  if (!run.writing || (run.kind() != "encoder" && read.size() < run.queries().size()))
    setting.read.assign(read.begin(), read.end());
  return setting;
}

/// Up to so many random removals like a cut. A step that looks at one word with nearly all of its weight, as a
/// decoder's do, has no other of equal weight: then other steps' are taken.
std::vector<Variant> draws_like(const Original& run, Draws::Setting setting, const Variant& cut, int draws,
                                std::uint64_t seed) {
  std::vector<Variant> found;
  Draws control(setting, cut, seed);
  while (std::ssize(found) < draws) {
    std::optional<Variant> draw = control.next();
    if (!draw) break;
    found.push_back(std::move(*draw));
  }
  if (!found.empty() || !run.writing || setting.read.empty()) return found;
  setting.read.clear();
  return draws_like(run, std::move(setting), cut, draws, seed);
}

}  // namespace

std::vector<Variant> beside_draws(const Original& run, const Metric& metric, const Variant& cut, int draws,
                                  std::uint64_t seed) {
  std::vector<Variant> all{cut};
  std::ranges::move(cut.silenced.empty() ? draws_like(run, setting_of(run, metric), cut, draws, seed)
                                         : head_draws(run.records, cut, draws, seed),
                    std::back_inserter(all));
  return all;
}

std::vector<Effect> measure(const Original& run, const Metric& metric, std::span<const Variant> cuts, int draws,
                            std::uint64_t seed) {
  std::vector<Variant> variants;   // each cut, then its draws
  std::vector<std::size_t> begin;  // of each cut, and the end
  for (const Variant& cut : cuts) {
    begin.push_back(variants.size());
    std::ranges::move(beside_draws(run, metric, cut, draws, seed), std::back_inserter(variants));
  }
  begin.push_back(variants.size());
  std::vector<Rerun::Hidden> reread(cuts.size());  // of the cuts, to be written anew from
  const auto keep = [&](std::size_t variant, const Rerun& passes, std::size_t sequence) {
    reread[static_cast<std::size_t>(std::ranges::lower_bound(begin, variant) - begin.begin())] = passes.of(sequence);
  };
  const std::vector<Answer> answers = rerun(run, metric, variants, {}, {std::span(begin).first(cuts.size()), keep});

  const std::vector<Answer> befores = answers_before(run, metric, cuts);
  std::vector<Effect> effects(cuts.size());
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    Effect& e = effects[i];
    const Answer &before = befores[i], &after = answers[begin[i]];
    e.metric = metric.name();
    e.before = before.value, e.after = after.value, e.effect = before.value - after.value;
    e.logit_effect = before.logit - after.logit, e.kl = after.kl;
    e.log_probability_effect = before.log_probability - after.log_probability;
    e.output_before = before.output, e.output_after = after.output;
    if (run.writing) {
      e.output_before = run.writing->text;
      e.output_after =
          rewritten(run.model, sequence_of(run.tokens), *run.writing, run.kind(), run.extent(), cuts[i], reread[i]);
    }
    describe(run, cuts[i], e);
    std::vector<double> control;
    for (std::size_t d = begin[i] + 1; d < begin[i + 1]; ++d) control.push_back(before.value - answers[d].value);
    e.control = summary_of(control, e.effect);
  }
  return effects;
}

}  // namespace look
}  // namespace fovea
