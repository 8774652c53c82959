#include "train/mechanism.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "look/choice.hpp"
#include "look/draws.hpp"
#include "look/readout.hpp"
#include "look/writing.hpp"
#include "train/forced.hpp"

namespace fovea::train {
namespace {

struct Place {
  const char* name;
  int demo::Mark::*token;
};
constexpr Place kPronoun{"pronoun", &demo::Mark::token}, kNoun{"noun", &demo::Mark::source},
    kDeciding{"deciding", &demo::Mark::deciding}, kOther{"other", &demo::Mark::other};
/// What is cut at once: edges from one place to one or two.
struct Edges {
  Place from, to;
  std::optional<Place> and_to = {};
};
constexpr std::array kEdges{Edges{kPronoun, kNoun}, Edges{kPronoun, kDeciding}, Edges{kPronoun, kNoun, kDeciding},
                            Edges{kPronoun, kOther}, Edges{kNoun, kDeciding}};

look::Variant cut_everywhere(const std::vector<const models::LayerRecord*>& records, const demo::Mark& mark,
                             const Edges& edges) {
  const int query = mark.*edges.from.token;
  look::Variant cut{{}, {query}};
  for (const models::LayerRecord* record : records)
    for (int head = 0; head < record->q.shape()[2]; ++head) {
      cut.removed.push_back({record->layer, head, query, mark.*edges.to.token});
      if (edges.and_to) cut.removed.push_back({record->layer, head, query, mark.*edges.and_to->token});
    }
  return cut;
}

/// One sentence with its pronoun: the edges' cuts and draws like them, and what each does to the pronoun's odds.
class Sentence {
 public:
  Sentence(const models::EncoderDecoder& model, const demo::SentencePair& pair, const demo::Mark& mark)
      : model_(model), mark_(mark), source_(source_of(pair)), target_(target_of(pair, model.target_tokens())) {
    models::Pass pass;
    pass.record_attention = pass.record_hidden = true;
    read_ = model.encode({&source_, 1}, pass);
    records_ = look::records_of_kind(read_.layers, "encoder");
  }

  void add_to(std::array<Mechanism, kEdges.size()>& all, int draws, std::uint64_t seed) {
    const double before = odds(model_.decode(read_, {&target_, 1}), 1).front();
    std::vector<look::Variant> variants;
    std::vector<std::pair<std::size_t, bool>> what;  // of each variant: which edge, and whether it is a draw
    for (std::size_t e = 0; e < kEdges.size(); ++e) {
      const look::Variant cut = cut_everywhere(records_, mark_, kEdges[e]);
      variants.push_back(cut), what.emplace_back(e, false);
      std::vector<bool> special(source_.ids.size());
      special.back() = true;
      look::Draws control({records_, 0, special, {}}, cut, seed);
      for (int i = 0; i < draws; ++i) {
        std::optional<look::Variant> draw = control.next();
        if (!draw) break;
        variants.push_back(std::move(*draw)), what.emplace_back(e, true);
      }
    }
    const std::vector<double> after = without(variants);
    for (std::size_t i = 0; i < variants.size(); ++i) {
      Mechanism& m = all[what[i].first];
      const double effect = before - after[i];
      if (what[i].second) {
        ++m.draws, m.control += effect;
      } else {
        ++m.sentences, m.effect += effect, m.flipped += before > 0 && after[i] < 0;
      }
    }
  }

 private:
  /// Variants of different lowest layers cannot share a pass; those of one do.
  std::vector<double> without(const std::vector<look::Variant>& variants) const {
    const look::Passage passage{source_, target_, read_, read_};
    std::vector<double> all(variants.size());
    for (std::size_t layer = 0; layer < records_.size(); ++layer) {
      std::vector<const look::Variant*> batch;
      std::vector<std::size_t> places;
      for (std::size_t i = 0; i < variants.size(); ++i)
        if (look::lowest_layer(variants[i]) == static_cast<int>(layer))
          batch.push_back(&variants[i]), places.push_back(i);
      if (batch.empty()) continue;
      const int heads = static_cast<int>(records_.front()->q.shape()[2]), tokens = static_cast<int>(source_.ids.size());
      const look::Extent extent{heads, 1, tokens, tokens};
      const auto found = odds(look::decode_without(model_, passage, "encoder", extent, batch).written, batch.size());
      for (std::size_t i = 0; i < places.size(); ++i) all[places[i]] = found[i];
    }
    return all;
  }

  /// log p(right) − log p(wrong) at the pronoun's step of n passes over the target.
  std::vector<double> odds(const models::Result& written, std::size_t n) const {
    std::vector<int> rows;
    for (std::size_t i = 0; i < n; ++i) rows.push_back(static_cast<int>(i * target_.ids.size()) + mark_.french);
    const Tensor logits = model_.vocabulary_logits(look::rows_at(written.hidden, rows));  // [n, vocabulary]
    std::vector<double> all;
    for (std::size_t i = 0; i < n; ++i) {
      const auto logit = [&](demo::Word w) {
        return static_cast<double>(look::row_of(logits, i)[static_cast<std::size_t>(w)]);
      };
      all.push_back(logit(mark_.right) - logit(mark_.wrong));
    }
    return all;
  }

  const models::EncoderDecoder& model_;
  demo::Mark mark_;
  models::Sequence source_, target_;
  models::Result read_;
  std::vector<const models::LayerRecord*> records_;
};

}  // namespace

std::vector<Mechanism> measure_mechanism(const models::EncoderDecoder& model, int most) {
  constexpr int kDraws = 5;  // of each sentence: hundreds of sentences make thousands
  std::array<Mechanism, kEdges.size()> all;
  for (std::size_t e = 0; e < kEdges.size(); ++e) {
    const auto& [from, to, and_to] = kEdges[e];
    all[e].from = from.name, all[e].to = and_to ? fmt::format("{} and {}", to.name, and_to->name) : to.name;
  }
  const auto& sets = demo::evaluation_sets();
  const auto set = std::ranges::find(sets, "coreference", &demo::EvaluationSet::name);
  for (std::size_t i = 0; i < std::min(set->pairs.size(), static_cast<std::size_t>(most)); ++i)
    for (const demo::Mark& mark : set->pairs[i].marks)
      if (mark.kind == demo::MarkKind::Pronoun && mark.wrong != demo::kNoWord)
        Sentence(model, set->pairs[i], mark).add_to(all, kDraws, i);
  for (Mechanism& m : all) {
    if (m.sentences > 0) m.effect /= m.sentences;
    if (m.draws > 0) m.control /= m.draws;
  }
  return {all.begin(), all.end()};
}

}  // namespace fovea::train
