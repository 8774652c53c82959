// Measured effects: what the engine says after cutting edges or zeroing values, against the whole model in double with
// the same edges hidden from its softmax; what cannot be measured, and what is refused.
#include "look/measure.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/threads.hpp>

#include "look/choice.hpp"
#include "look/draws.hpp"
#include "support/errors.hpp"
#include "support/random_cut.hpp"
#include "support/text_bert.hpp"

namespace fovea::look {
namespace {

using plain::Checkpoint;
using plain::ids_of;
using plain::kText;
using plain::Matrix;
using plain::Peaked;
using testing::for_cases;
using testing::kTokens;
using testing::random_cut;
using testing::refuses;
using testing::Rng;

double cosine_distance(const plain::Row& a, const plain::Row& b) {
  const auto dot = [](const plain::Row& x, const plain::Row& y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  };
  return 1 - dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}
double mean_distance(const Matrix& a, const Matrix& b, const std::vector<int>& rows) {
  double sum = 0;
  for (const int r : rows) sum += cosine_distance(a[static_cast<std::size_t>(r)], b[static_cast<std::size_t>(r)]);
  return sum / static_cast<double>(rows.size());
}
double log_softmax(const plain::Row& logits, std::size_t at) {
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - logits[at]);
  return -std::log(sum);
}

bool holds(const std::vector<int>& list, int i) { return list.empty() || std::ranges::find(list, i) != list.end(); }

/// The model in double with these edges hidden.
plain::BertRun plain_without(const Checkpoint& c, const std::vector<int>& ids, const MeasureQuery& query) {
  const auto visible = [&](int layer, int head, int q, int k) {
    const bool cut = std::ranges::any_of(
        query.cuts, [&](const Cut& x) { return x.from == std::to_string(q) && x.to == std::to_string(k); });
    return !(cut && holds(query.layers, layer) && holds(query.heads, head));
  };
  const auto zero = [&](int layer, int head, int key) {
    return query.values == std::to_string(key) && holds(query.layers, layer) && holds(query.heads, head);
  };
  return plain::run_bert(c.store, c.size, ids, {}, visible, plain::gelu, zero);
}
std::vector<int> queries_of(const MeasureQuery& query) {
  std::set<int> queries;
  for (const Cut& c : query.cuts) queries.insert(std::stoi(c.from));
  return {queries.begin(), queries.end()};
}
double allowed(double expected) { return 2e-6 + 1e-4 * std::abs(expected); }

// ------------------------------------------------------------------------------------------------------------- effects

TEST(Measure, CutEdgesAreThoseOfTheModelInDouble) {
  const Peaked c({.layers = 3});
  const fovea::Run run = c.load()(kText);
  const std::vector<int> ids = ids_of(run);
  const plain::BertRun before = plain::run_bert(c.store, c.size, ids);
  double largest = 0;
  for_cases(60, [&](Rng& rng) {
    const MeasureQuery query = random_cut(rng, c.size, rng.in(1, 4));
    const Effect e = run.measure(query);
    const plain::BertRun after = plain_without(c, ids, query);
    const double expected = mean_distance(before.hidden.back(), after.hidden.back(), queries_of(query));
    EXPECT_EQ(e.metric, "cosine_distance");
    EXPECT_EQ(e.before, 1);
    EXPECT_NEAR(e.effect, expected, allowed(expected));
    EXPECT_EQ(e.effect, e.before - e.after);
    EXPECT_EQ(e.output_before + e.output_after, "");
    largest = std::max(largest, expected);

    double weight = 0;
    int edges = 0;
    std::set<std::pair<int, int>> distinct;
    for (const Cut& x : query.cuts) distinct.insert({std::stoi(x.from), std::stoi(x.to)});
    for (int l = 0; l < c.size.layers; ++l)
      for (int h = 0; h < c.size.heads; ++h)
        for (const auto& [q, k] : distinct)
          if (holds(query.layers, l) && holds(query.heads, h))
            ++edges, weight += before.weights[static_cast<std::size_t>(l)][static_cast<std::size_t>(h)]
                                             [static_cast<std::size_t>(q)][static_cast<std::size_t>(k)];
    EXPECT_NEAR(e.weight, weight / edges, 2e-6);
  });
  EXPECT_GT(largest, 0.01) << "the cases show nothing";
}

TEST(Measure, ZeroedValuesAreThoseOfTheModelInDouble) {
  const Peaked c({.layers = 3});
  const fovea::Run run = c.load()(kText);
  const std::vector<int> ids = ids_of(run);
  const plain::BertRun before = plain::run_bert(c.store, c.size, ids);
  for_cases(30, [&](Rng& rng) {
    MeasureQuery query;
    query.values = std::to_string(rng.below(kTokens));
    query.layers = some_below(rng, c.size.layers), query.heads = some_below(rng, c.size.heads);
    const Effect e = run.measure(query);
    const plain::BertRun after = plain_without(c, ids, query);
    const double expected = mean_distance(before.hidden.back(), after.hidden.back(), all_below(kTokens));
    EXPECT_GT(expected, 0);
    EXPECT_NEAR(e.effect, expected, allowed(expected));
    double weight = 0;
    int cells = 0;
    for (int l = 0; l < c.size.layers; ++l)
      for (int h = 0; h < c.size.heads; ++h)
        for (const plain::Row& row : before.weights[static_cast<std::size_t>(l)][static_cast<std::size_t>(h)])
          if (holds(query.layers, l) && holds(query.heads, h))
            ++cells, weight += row[static_cast<std::size_t>(std::stoi(query.values))];
    EXPECT_NEAR(e.weight, weight / cells, 2e-6);
    EXPECT_EQ(e.local_effect, e.norm_weighted) << "nothing is shared out anew";
  });
}

/// ‖Σ_h W_O (o' − o)‖ of one layer and query, o' from the rows of the model in double without the edges.
double local_change(const Checkpoint& c, const plain::BertRun& run, int layer, const std::vector<int>& heads, int query,
                    const std::vector<int>& keys) {
  const std::string scope = "bert.encoder.layer." + std::to_string(layer) + ".attention.";
  const Matrix values = plain::linear(c.store, scope + "self.value", run.hidden[static_cast<std::size_t>(layer)]);
  const int dim = c.size.width / c.size.heads;
  Matrix change(1, plain::Row(static_cast<std::size_t>(c.size.width), 0.0));
  for (const int head : heads) {
    const plain::Row& a =
        run.weights[static_cast<std::size_t>(layer)][static_cast<std::size_t>(head)][static_cast<std::size_t>(query)];
    double rest = 0;
    for (std::size_t j = 0; j < a.size(); ++j) rest += holds(keys, static_cast<int>(j)) ? 0 : a[j];
    for (int d = head * dim; d < (head + 1) * dim; ++d)
      for (std::size_t j = 0; j < a.size(); ++j) {
        const double now = holds(keys, static_cast<int>(j)) ? 0 : a[j] / rest;
        change[0][static_cast<std::size_t>(d)] += (now - a[j]) * values[j][static_cast<std::size_t>(d)];
      }
  }
  plain::Store output(0);
  output.tensors["o.weight"] = c.store.tensors.at(scope + "output.dense.weight");
  const plain::Row y = plain::linear(output, "o", change).front();
  return std::sqrt(std::inner_product(y.begin(), y.end(), y.begin(), 0.0));
}

TEST(Measure, LocalEffectIsTheChangeOfAttentionsOutput) {
  const Peaked c;
  const fovea::Run run = c.load()(kText);
  const plain::BertRun plain = plain::run_bert(c.store, c.size, ids_of(run));
  const Effect e = run.measure({.cuts = {{"2", "5"}, {"2", "7"}, {"4", "1"}}, .heads = {0, 2}});
  const double rows[] = {local_change(c, plain, 0, {0, 2}, 2, {5, 7}), local_change(c, plain, 0, {0, 2}, 4, {1}),
                         local_change(c, plain, 1, {0, 2}, 2, {5, 7}), local_change(c, plain, 1, {0, 2}, 4, {1})};
  EXPECT_NEAR(e.local_effect, (rows[0] + rows[1] + rows[2] + rows[3]) / 4, 2e-6);
  EXPECT_GT(e.local_effect, 1e-3);

  const Link link = run.links({.token = "bank", .top = 1}).front();
  const Effect one = run.measure(std::span(&link, 1)).front();
  EXPECT_EQ(one.weight, link.weight);
  EXPECT_EQ(one.local_effect, link.local_effect);
  EXPECT_EQ(one.norm_weighted, link.norm_weighted);
}

TEST(Measure, AMaskedLanguageModelIsAskedAtItsMask) {
  Peaked c;
  plain::add_masked_head(c.store, c.size);
  c.write({{"architectures", {"BertForMaskedLM"}}});
  const Model model = c.load();
  const fovea::Run run = model("The bank by the [MASK] was flooded.");
  const auto logits = [&](const MeasureQuery& query) {
    const Matrix hidden = plain_without(c, ids_of(run), query).hidden.back();
    return plain::masked_logits(c.store, c.size, {hidden[5]}).front();
  };
  const plain::Row untouched = logits({});
  const auto best = static_cast<std::size_t>(std::ranges::max_element(untouched) - untouched.begin());
  const io::Tokenizer words = io::Tokenizer::load(c.folder.path() / "tokenizer.json");
  const auto river = static_cast<std::size_t>(*words.id_of("river")),
             money = static_cast<std::size_t>(*words.id_of("money"));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"5", "2"}, {"5", "7"}, {"2", "7"}}) {
    MeasureQuery query{.cuts = {{from, to}}};
    const plain::Row cut = logits(query);
    const Effect own = run.measure(query);
    EXPECT_EQ(own.metric, "log_probability");
    EXPECT_NEAR(own.before, log_softmax(untouched, best), 2e-5);
    EXPECT_NEAR(own.after, log_softmax(cut, best), 2e-5);
    EXPECT_EQ(own.output_before, words.piece_of(static_cast<int>(best)));
    EXPECT_EQ(own.output_after, words.piece_of(static_cast<int>(std::ranges::max_element(cut) - cut.begin())));
    query.target = "river", query.against = "money";
    const Effect odds = run.measure(query);
    EXPECT_EQ(odds.metric, "log_odds");
    EXPECT_NEAR(odds.before, untouched[river] - untouched[money], 2e-5);
    EXPECT_NEAR(odds.after, cut[river] - cut[money], 2e-5);
    query.against = "";
    EXPECT_NEAR(run.measure(query).after, log_softmax(cut, river), 2e-5);
  }
  EXPECT_EQ(model(kText).measure({.from = "bank", .to = "river"}).metric, "cosine_distance") << "no mask, no word";
  EXPECT_TRUE(refuses([&] { model(kText).measure({.from = "bank", .to = "river", .target = "river"}); },
                      {"\"river\"", "no [MASK]"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "by", .target = "river bank"}); },
                      {"\"river bank\"", "no single token"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "by", .target = "%"}); }, {"no single token"}));
  EXPECT_TRUE(refuses([&] { model("The [MASK] by the [MASK].").measure({.from = "by", .to = ".", .target = "river"}); },
                      {"2 masks"}));
  EXPECT_EQ(model("The [MASK] by the [MASK].").measure({.from = "by", .to = "."}).metric, "log_probability");
}

TEST(Measure, AClassifierIsAskedForItsLabel) {
  Peaked c;
  c.store.add_linear("bert.pooler.dense", c.size.width, c.size.width);
  c.store.add_linear("classifier", c.size.width, 3);
  const nlohmann::json labels{{"architectures", {"BertForSequenceClassification"}},
                              {"id2label", {{"0", "near"}, {"1", "far"}, {"2", "away"}}}};
  c.write(labels);
  const fovea::Run run = c.load()(kText);
  const auto logits = [&](const MeasureQuery& query) {
    const Matrix hidden = plain_without(c, ids_of(run), query).hidden.back();
    return plain::linear(c.store, "classifier", plain::pooled(c.store, c.size, hidden)).front();
  };
  MeasureQuery query{.cuts = {{"0", "5"}, {"2", "5"}}};
  const plain::Row before = logits({}), after = logits(query);
  const auto best = static_cast<std::size_t>(std::ranges::max_element(before) - before.begin());
  const Effect own = run.measure(query);
  EXPECT_EQ(own.metric, "log_probability");
  EXPECT_NEAR(own.effect, log_softmax(before, best) - log_softmax(after, best), 2e-5);
  EXPECT_EQ(own.output_before, (std::vector<std::string>{"near", "far", "away"}[best]));
  query.target = "away", query.against = "near";
  EXPECT_NEAR(run.measure(query).after, after[2] - after[0], 2e-5);
  query.target = "elsewhere";
  EXPECT_TRUE(refuses([&] { run.measure(query); }, {"\"elsewhere\"", "near, far, away"}));

  nlohmann::json many = labels;
  many["problem_type"] = "multi_label_classification";
  c.write(many);
  EXPECT_EQ(c.load()(kText).measure({.from = "0", .to = "5"}).metric, "cosine_distance") << "labels that don't compete";
}

bool same(const Effect& a, const Effect& b) {
  return a.before == b.before && a.after == b.after && a.control.mean == b.control.mean &&
         a.control.sd == b.control.sd && a.control.smaller == b.control.smaller && a.control.draws == b.control.draws;
}

TEST(Measure, LinksAreMeasuredAsIfEachWereAlone) {
  const Peaked c({.layers = 3});
  const fovea::Run run = c.load()(kText);
  const std::vector<Link> links = run.links({.top = 12, .skip_special = true});
  const std::vector<Effect> effects = run.measure(links, 25, 3);
  ASSERT_EQ(effects.size(), links.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    const Link& l = links[i];
    const Effect alone = run.measure({.from = std::to_string(l.query),
                                      .to = std::to_string(l.key),
                                      .layers = {l.layer},
                                      .heads = {l.head},
                                      .draws = 25,
                                      .seed = 3});
    EXPECT_TRUE(same(effects[i], alone)) << i;
  }
  EXPECT_TRUE(run.measure(std::span<const Link>()).empty());
}

/// Nothing can be taken from a row that sees one key: said of that link, and the others are measured all the same.
TEST(Measure, ALinkThatIsAllItsQuerySeesIsLeftUnmeasured) {
  const Peaked c;
  nlohmann::json alone = nlohmann::json::parse(plain::word_pieces());
  alone["post_processor"] = nullptr;  // no [CLS], no [SEP]
  c.folder.write("tokenizer.json", alone);
  const fovea::Run run = c.load()("bank");
  ASSERT_EQ(run.tokens.size(), 1u);
  const std::vector<Link> links = run.links({.top = 3});
  ASSERT_EQ(links.size(), 3u);
  const std::vector<Effect> effects = run.measure(links);
  ASSERT_EQ(effects.size(), 3u);
  for (const Effect& e : effects) {
    EXPECT_TRUE(std::isnan(e.effect));
    EXPECT_FALSE(e.measurable());
    EXPECT_EQ(e.control.draws, 0);
    EXPECT_EQ(e.metric, "cosine_distance");
    EXPECT_EQ(e.weight, 1);
    EXPECT_TRUE(std::isinf(e.local_effect));
  }
}

TEST(Measure, OneInTwentyIsNotMeasurable) {
  Effect e;
  e.control.draws = 20, e.control.smaller = 20;
  EXPECT_TRUE(e.measurable());
  e.control.smaller = 19;
  EXPECT_FALSE(e.measurable());
  e.control.draws = 18, e.control.smaller = 18;
  EXPECT_FALSE(e.measurable()) << "too few to say";
  e.control.draws = 100, e.control.smaller = 96;
  EXPECT_TRUE(e.measurable());
  e.control.smaller = 95;
  EXPECT_FALSE(e.measurable());
  e.control.draws = e.control.smaller = 0;
  EXPECT_FALSE(e.measurable());
  EXPECT_TRUE(std::isnan(e.control.percentile()));
}

// -------------------------------------------------------------------------------------------------------------
// refusals

TEST(Measure, RefusesWhatCannotBeMeasured) {
  const Peaked c;
  const Model model = c.load();
  const fovea::Run run = model(kText);
  std::vector<Cut> whole_row;
  for (int k = 0; k < kTokens; ++k) whole_row.push_back({"bank", std::to_string(k)});
  EXPECT_TRUE(refuses([&] { run.measure({.cuts = whole_row, .layers = {1}, .heads = {2}}); },
                      {"token 2 (\"bank\")", "layer 1 head 2", "all 10 keys"}));
  whole_row.pop_back();
  EXPECT_GT(run.measure({.cuts = whole_row}).effect, 0) << "one key is left";
  EXPECT_TRUE(refuses([&] { run.measure(MeasureQuery{}); }, {"edges", "values"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "river", .values = "by"}); }, {"edges", "values"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "money"}); }, {"\"money\"", "flooded"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank"}); }, {"not among the words"}));
  EXPECT_TRUE(refuses([&] { run.measure({.values = "money"}); }, {"\"money\""}));
  EXPECT_TRUE(refuses([&] { model("it was by it").measure({.from = "it", .to = "by"}); }, {"it#1", "it#2"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "river", .layers = {2}}); }, {"layer 2", "0 to 1"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "river", .heads = {3}}); }, {"head 3", "0 to 2"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "river", .kind = "cross"}); }, {"cross", "encoder"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "river", .draws = 19}); }, {"draws 19", "20"}));
  EXPECT_TRUE(
      refuses([&] { run.measure({.from = "bank", .to = "river", .target = "x"}); }, {"\"x\"", "neither words"}));
  EXPECT_TRUE(refuses([&] { run.measure({.from = "bank", .to = "river", .against = "x"}); }, {"\"x\"", "target"}));
}

TEST(Measure, AWordOfSeveralTokensIsAllOfThem) {
  const Peaked c;
  const fovea::Run run = c.load()("the bankx was dark");  // bank ##x
  ASSERT_EQ(run.find("bankx").size(), 2u);
  const Effect word = run.measure({.from = "bankx", .to = "dark"});
  const Effect pieces = run.measure({.cuts = {{"2", "5"}, {"3", "5"}}});
  EXPECT_TRUE(same(word, pieces));
}

}  // namespace
}  // namespace fovea::look
