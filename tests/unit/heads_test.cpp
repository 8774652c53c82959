// Whole heads: silenced against the model in double, their slopes against finite differences in double, the control's
// draws, and folders with pruned heads.
#include <algorithm>
#include <cmath>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "look/choice.hpp"
#include "look/draws.hpp"
#include "look/measure.hpp"
#include "support/errors.hpp"
#include "support/pruned_bert.hpp"
#include "support/text_bert.hpp"

namespace fovea::look {
namespace {

using plain::Checkpoint;
using plain::Matrix;
using testing::for_cases;
using testing::refuses;
using testing::Rng;

constexpr const char* kText = "The bank by the [MASK] was flooded.";  // 10 tokens, the mask is token 5
constexpr std::size_t kMaskAt = 5;

/// A masked-language model with heads that look at few tokens each.
struct Masked : Checkpoint {
  explicit Masked(int layers = 2) : Checkpoint({.layers = layers}) {
    plain::add_masked_head(store, size);
    for (auto& [name, tensor] : store.tensors)
      if (name.ends_with("query.weight"))
        for (float& x : tensor.values<float>()) x *= 8;
    write({{"architectures", {"BertForMaskedLM"}}});
  }
  std::size_t dim() const { return static_cast<std::size_t>(size.width / size.heads); }
};

std::vector<int> ids_of(const fovea::Run& run) {
  std::vector<int> ids;
  for (const Token& t : run.tokens) ids.push_back(t.id);
  return ids;
}

/// ln p of each word at the mask, in double, with heads' outputs changed.
plain::Row log_probabilities(const Masked& c, const std::vector<int>& ids, const plain::LayerEdit& edit = {}) {
  const Matrix hidden = plain::run_bert(c.store, c.size, ids, {}, {}, plain::gelu, {}, edit).hidden.back();
  plain::Row x = plain::masked_logits(c.store, c.size, {hidden[kMaskAt]}).front();
  double sum = 0;
  for (const double z : x) sum += std::exp(z);
  for (double& z : x) z -= std::log(sum);
  return x;
}

/// What the heads of one layer put out, [tokens][width].
Matrix outputs(const Masked& c, const std::vector<int>& ids, int layer) {
  Matrix found;
  plain::run_bert(c.store, c.size, ids, {}, {}, plain::gelu, {},
                  [&](int at, const Matrix& attended) { at == layer ? found = attended : found; });
  return found;
}

bool holds(const std::vector<HeadAt>& heads, int layer, int head) {
  return std::ranges::find(heads, HeadAt{layer, head}) != heads.end();
}

TEST(Heads, AblatedOnesAreSilentInTheModelInDouble) {
  const Masked c(3);
  const fovea::Run run = c.load()(kText);
  const std::vector<int> ids = ids_of(run);
  const plain::Row before = log_probabilities(c, ids);
  const auto best = static_cast<std::size_t>(std::ranges::max_element(before) - before.begin());
  std::vector<Matrix> whole;
  for (int layer = 0; layer < 3; ++layer) whole.push_back(outputs(c, ids, layer));
  double largest = 0;
  for_cases(20, [&](Rng& rng) {
    MeasureQuery query{.mean = rng.chance(0.5)};
    for (int n = rng.in(1, 3); n > 0; --n) query.ablate.push_back({rng.below(3), rng.below(3)});
    const auto silence = [&](int layer, Matrix& attended) {
      for (std::size_t at = 0; at < attended.front().size(); ++at) {
        if (!holds(query.ablate, layer, static_cast<int>(at / c.dim()))) continue;
        double mean = 0;  // of the run as it was
        for (const plain::Row& row : whole[static_cast<std::size_t>(layer)])
          mean += row[at] / static_cast<double>(attended.size());
        for (plain::Row& row : attended) row[at] = query.mean ? mean : 0;
      }
    };
    const double expected = before[best] - log_probabilities(c, ids, silence)[best];
    const Effect e = run.measure(query);
    EXPECT_EQ(e.metric, "log_probability");
    EXPECT_NEAR(e.effect, expected, 2e-5 + 1e-4 * std::abs(expected));
    EXPECT_TRUE(std::isnan(e.weight));
    EXPECT_GT(e.local_effect, 0);
    EXPECT_LE(e.control.draws, 20);
    EXPECT_GT(e.control.draws, 0);
    largest = std::max(largest, std::abs(expected));
  });
  EXPECT_GT(largest, 0.01) << "the cases prove something";
}

TEST(Heads, MeansOverOtherTextsAreTheirs) {
  const Masked c;
  const fovea::Run run = c.load()(kText);
  const MeasureQuery own{.ablate = {{1, 2}}, .mean = true}, same{.ablate = {{1, 2}}, .mean = true, .over = {kText}},
      other{.ablate = {{1, 2}}, .mean = true, .over = {"the old money", "a river"}};
  EXPECT_EQ(run.measure(own).effect, run.measure(same).effect);
  EXPECT_NE(run.measure(own).effect, run.measure(other).effect);
}

/// m(+ε) − m(−ε) over 2ε, in double.
template <class Edit>
double slope_of(const Masked& c, const std::vector<int>& ids, std::size_t word, const Edit& edit) {
  constexpr double kStep = 1e-4;
  const auto at = [&](double step) {
    return log_probabilities(c, ids, [&](int layer, Matrix& attended) { edit(layer, attended, step); })[word];
  };
  return (at(kStep) - at(-kStep)) / (2 * kStep);
}

TEST(Heads, SlopesOfHeadsAreFiniteDifferencesInDouble) {
  const Masked c;
  const fovea::Run run = c.load()(kText);
  const std::vector<int> ids = ids_of(run);
  const plain::Row before = log_probabilities(c, ids);
  const auto best = static_cast<std::size_t>(std::ranges::max_element(before) - before.begin());
  const Survey s = run.survey({.unit = SurveyQuery::Unit::Heads});
  ASSERT_EQ(s.items.size(), 6u);
  double largest = 0;
  for (const Survey::Item& x : s.items) {
    const double slope = slope_of(c, ids, best, [&](int layer, Matrix& attended, double step) {
      if (layer != x.layer) return;
      for (plain::Row& row : attended)
        for (std::size_t d = 0; d < c.dim(); ++d) row[static_cast<std::size_t>(x.head) * c.dim() + d] *= 1 + step;
    });
    EXPECT_NEAR(x.gradient_effect, slope, 1e-5 + 1e-4 * std::abs(slope)) << "Σ o·do of a head";
    largest = std::max(largest, std::abs(slope));
  }
  EXPECT_GT(largest, 0.01);
  EXPECT_FALSE(std::isnan(s.gradient_correlation));
}

/// Δo of an edge in double: what the softmax of the other keys gives, less what it was.
plain::Row change_of(const plain::Row& weights, const Matrix& values, std::size_t first, std::size_t dim,
                     std::size_t key) {
  plain::Row change(dim, 0.0);
  for (std::size_t j = 0; j < weights.size(); ++j) {
    const double now = j == key ? 0 : weights[j] / (1 - weights[key]);
    for (std::size_t d = 0; d < dim; ++d) change[d] += (now - weights[j]) * values[j][first + d];
  }
  return change;
}

TEST(Heads, GradientEffectsOfEdgesAreSlopesAlongTheirExactChange) {
  const Masked c;
  const fovea::Run run = c.load()(kText);
  const std::vector<int> ids = ids_of(run);
  const plain::BertRun plain = plain::run_bert(c.store, c.size, ids);
  const plain::Row before = log_probabilities(c, ids);
  const auto best = static_cast<std::size_t>(std::ranges::max_element(before) - before.begin());
  const Survey s =
      run.survey({.unit = SurveyQuery::Unit::Edges, .token = "bank", .target = "river", .against = "money"});
  const io::Tokenizer words = io::Tokenizer::load(c.folder.path() / "tokenizer.json");
  const auto river = static_cast<std::size_t>(*words.id_of("river")),
             money = static_cast<std::size_t>(*words.id_of("money"));
  ASSERT_EQ(s.items.size(), 2u * 3 * 10);
  EXPECT_NE(best, river);
  std::size_t checked = 0;
  for (std::size_t i = 0; i < s.items.size(); i += 7, ++checked) {
    const Survey::Item& x = s.items[i];
    const auto layer = static_cast<std::size_t>(x.layer), first = static_cast<std::size_t>(x.head) * c.dim();
    const Matrix values = plain::linear(
        c.store, "bert.encoder.layer." + std::to_string(x.layer) + ".attention.self.value", plain.hidden[layer]);
    const plain::Row change =
        change_of(plain.weights[layer][static_cast<std::size_t>(x.head)][static_cast<std::size_t>(x.query)], values,
                  first, c.dim(), static_cast<std::size_t>(x.key));
    const auto push = [&](int at, Matrix& attended, double step) {
      for (std::size_t d = 0; at == x.layer && d < c.dim(); ++d)
        attended[static_cast<std::size_t>(x.query)][first + d] += step * change[d];
    };
    const double slope = slope_of(c, ids, river, push) - slope_of(c, ids, money, push);
    EXPECT_NEAR(x.gradient_effect, -slope, 2e-6 + 2e-4 * std::abs(slope));
  }
  EXPECT_GT(checked, 5u);
  EXPECT_GT(s.gradient_correlation, 0.9) << "first order or not, it finds the edges that matter";
}

TEST(Heads, ACosineHasNoSlope) {
  const Checkpoint c;
  const Survey s = c.load()("the river bank").survey({.unit = SurveyQuery::Unit::Heads});
  EXPECT_EQ(s.metric, "cosine_distance");
  for (const Survey::Item& x : s.items) EXPECT_TRUE(std::isnan(x.gradient_effect));
  EXPECT_TRUE(std::isnan(s.gradient_correlation));
}

TEST(Heads, TheirControlIsOtherSetsOfAsManyHeads) {
  const Masked c;
  const fovea::Run run = c.load()(kText);
  const auto records = records_of_kind(run.layers(), "");
  const Variant cut{{}, {1}, {{0, 1}, {1, 0}}};
  const std::vector<Variant> draws = head_draws(records, cut, 20, 7), again = head_draws(records, cut, 20, 7);
  EXPECT_EQ(draws.size(), 6u) << "four other heads have six pairs";
  std::set<std::vector<HeadAt>> distinct;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    EXPECT_EQ(draws[i].silenced, again[i].silenced);
    EXPECT_EQ(draws[i].silenced.size(), 2u);
    for (const HeadAt& h : draws[i].silenced) EXPECT_FALSE(holds(cut.silenced, h.layer, h.head));
    distinct.insert(draws[i].silenced);
  }
  EXPECT_EQ(distinct.size(), draws.size());
  EXPECT_TRUE(head_draws(records, {{}, {1}, {{0, 0}, {0, 1}, {0, 2}, {1, 0}}}, 20, 7).empty());
}

TEST(Heads, RefusesHeadsThatAreNotThere) {
  const fovea::Run run = Masked().load()(kText);
  EXPECT_TRUE(refuses([&] { run.measure({.ablate = {{2, 0}}}); }, {"layer 2", "0 to 1"}));
  EXPECT_TRUE(refuses([&] { run.measure({.ablate = {{1, 3}}}); }, {"head 3", "layer 1", "0 to 2"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "1", .to = "2", .ablate = {{1, 1}}}); }, {"one of", "ablate"}));
}

// -------------------------------------------------------------------------------------------------------------- pruned

TEST(PrunedHeads, AFolderWithoutThemIsTheWholeOneWithThemSilenced) {
  const Masked c(3);
  const std::map<int, std::set<int>> pruned{{0, {1}}, {2, {0, 2}}};
  const Model model = load(plain::pruned_folder(c, pruned, {{"architectures", {"BertForMaskedLM"}}}).string());
  const fovea::Run run = model(kText);
  plain::Row found(static_cast<std::size_t>(plain::kVocabulary));
  const std::vector<std::vector<Guess>> guesses = model.fill(kText, plain::kVocabulary);
  for (const Guess& g : guesses.front()) found[static_cast<std::size_t>(g.id)] = g.probability;
  const plain::Row expected = log_probabilities(c, ids_of(run), [&](int layer, Matrix& attended) {
    for (plain::Row& row : attended)
      for (std::size_t d = 0; d < row.size(); ++d)
        if (pruned.contains(layer) && pruned.at(layer).contains(static_cast<int>(d / c.dim()))) row[d] = 0;
  });
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], std::exp(expected[i]), 1e-5);

  EXPECT_EQ(run.model().pruned_heads, 3);
  EXPECT_EQ(run.heads().size(), 6u);
  EXPECT_LT(run.max_abs_error(), 1e-5);
  EXPECT_EQ(run.links({.token = "bank", .top = 1000}).size(), 60u);
  EXPECT_EQ(run.survey({.unit = SurveyQuery::Unit::Heads}).items.size(), 6u);
  EXPECT_EQ(run.survey({.token = "bank", .heads = {2}}).items.size(), 10u) << "layer 1 alone has a head 2";
  EXPECT_NE(run.measure({.from = "bank", .to = "[MASK]"}).effect, 0);
  EXPECT_NE(run.measure({.values = "[MASK]"}).effect, 0);
  EXPECT_TRUE(refuses([&] { run.measure({.ablate = {{2, 1}}}); }, {"layer 2 has heads 0 to 0"}));
}

TEST(PrunedHeads, TheConfigIsNotTrusted) {
  const auto with = [](const nlohmann::json& heads) {
    return [=] { Checkpoint({.layers = 2}, {{"pruned_heads", heads}}).load(); };
  };
  EXPECT_TRUE(refuses(with(nlohmann::json::array({1})), {"pruned_heads", "array"}));
  EXPECT_TRUE(refuses(with({{"2", {0}}}), {"layer \"2\"", "0 to 1"}));
  EXPECT_TRUE(refuses(with({{"one", {0}}}), {"layer \"one\""}));
  EXPECT_TRUE(refuses(with({{"1", 0}}), {"number for layer 1"}));
  EXPECT_TRUE(refuses(with({{"1", {3}}}), {"head 3 of layer 1"}));
  EXPECT_TRUE(refuses(with({{"1", {-1}}}), {"head -1"}));
  EXPECT_TRUE(refuses(with({{"1", {1, 1}}}), {"twice"}));
  EXPECT_TRUE(refuses(with({{"1", {0, 1, 2}}}), {"leaves layer 1 none"}));
  EXPECT_TRUE(refuses(with({{"1", {0}}}), {"attention.self.query", "[16, 24]"})) << "the tensors were not cut";
}

}  // namespace
}  // namespace fovea::look
