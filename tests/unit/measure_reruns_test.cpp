// How effects are measured: batched reruns against single ones, any number of threads, and the control.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include <fovea/threads.hpp>

#include "look/choice.hpp"
#include "look/draws.hpp"
#include "look/measure.hpp"
#include "support/random_cut.hpp"
#include "support/text_bert.hpp"

namespace fovea::look {
namespace {

using plain::Checkpoint;
using plain::kText;
using plain::Peaked;
using testing::kTokens;
using testing::random_cut;
using testing::Rng;

/// A run with all that the functions behind Run::measure ask for.
struct Prepared {
  ModelParts model;
  Reading reading;
  models::Result result;
  explicit Prepared(const Checkpoint& c, const char* text = kText)
      : model(c.folder.path()), reading(model.reader.read(text, {}, TooLong::Refuse, "text")) {
    models::Pass pass;
    pass.record_attention = pass.record_hidden = true;
    result = model.encoder->forward(std::span(&reading.sequence, 1), pass);
  }
  Original original() const { return {model, result, reading.tokens, records_of_kind(result.layers, "")}; }
};

// -------------------------------------------------------------------------------------------------------------- reruns

TEST(Measure, SideBySideIsBitwiseOneByOne) {
  const Peaked c({.layers = 3});
  const Prepared p(c);
  const Original run = p.original();
  const auto metric = choose_metric(p.model, p.result, p.reading.tokens, "", "");
  Rng rng(7);
  std::vector<Variant> variants;
  for (int i = 0; i < 30; ++i) {
    MeasureQuery query = random_cut(rng, c.size, rng.in(1, 3));
    if (i % 3 == 0) query.cuts.clear(), query.values = std::to_string(rng.below(kTokens));
    variants.push_back(cut_of(run, kText, query));
  }
  const std::vector<Answer> together = rerun(run, *metric, variants);
  for (std::size_t i = 0; i < variants.size(); ++i) {
    EXPECT_EQ(rerun(run, *metric, std::span(&variants[i], 1)).front().value, together[i].value);

    // From the embedding, by a predicate that knows nothing of EdgeMask, alone.
    models::Pass pass;
    const auto removed = [&](int layer, int head, int query, int key) {
      return std::ranges::find(variants[i].removed, Removal{layer, head, query, key}) != variants[i].removed.end();
    };
    pass.mask = [&](int layer) {
      return AnyMask(fovea::mask([=](Site s) { return !removed(layer, s.head, s.query, s.key); }));
    };
    pass.values = [&](int layer, Tensor& v) {  // [1, tokens, heads, head_dim]
      const std::int64_t dim = v.shape()[3];
      for (int key = 0; key < kTokens; ++key)
        for (int head = 0; head < c.size.heads; ++head)
          if (removed(layer, head, kEveryQuery, key))
            std::fill_n(v.data<float>() + (key * c.size.heads + head) * dim, dim, 0.0f);
    };
    const Variant* one = &variants[i];
    const models::Result alone = p.model.encoder->forward(std::span(&p.reading.sequence, 1), pass);
    EXPECT_EQ(metric->read(alone, {&one, 1}).front().value, together[i].value) << "variant " << i;
  }
}

TEST(Measure, LongTextsAreRerunInSeveralBatches) {
  const Checkpoint c({.positions = 300});
  std::string text = "the";
  for (int i = 0; i < 280; ++i) text += i % 3 ? " river" : " bank";
  const Prepared p(c, text.c_str());  // 283 tokens: 14 variants a batch of 4,096
  const Original run = p.original();
  const auto metric = choose_metric(p.model, p.result, p.reading.tokens, "", "");
  std::vector<Variant> variants;
  for (int i = 0; i < 31; ++i)
    variants.push_back(cut_of(run, text, {.cuts = {{std::to_string(3 * i), std::to_string(200 - i)}}}));
  const std::vector<Answer> together = rerun(run, *metric, variants);
  for (const std::size_t i : {std::size_t{0}, std::size_t{13}, std::size_t{14}, std::size_t{30}})
    EXPECT_EQ(rerun(run, *metric, std::span(&variants[i], 1)).front().value, together[i].value);
}

bool same(const Effect& a, const Effect& b) {
  return a.before == b.before && a.after == b.after && a.control.mean == b.control.mean &&
         a.control.sd == b.control.sd && a.control.smaller == b.control.smaller && a.control.draws == b.control.draws;
}

TEST(Measure, IsTheSameForAnyNumberOfThreadsAndForTheSameSeed) {
  const Peaked c;
  const fovea::Run run = c.load()(kText);
  const MeasureQuery query{.from = "bank", .to = "river"};
  const int before = threads();
  set_threads(1);
  const Effect one = run.measure(query);
  set_threads(4);
  EXPECT_TRUE(same(one, run.measure(query)));
  set_threads(before);
  MeasureQuery other = query;
  other.seed = 1;
  const Effect reseeded = run.measure(other);
  EXPECT_EQ(reseeded.after, one.after);
  EXPECT_NE(reseeded.control.mean, one.control.mean);
}

// ------------------------------------------------------------------------------------------------------------- control

TEST(Measure, TheControlIsWhatItsDrawsDo) {
  const Peaked c({.layers = 3});
  const Prepared p(c);
  const Original run = p.original();
  const auto metric = choose_metric(p.model, p.result, p.reading.tokens, "", "");
  const Variant cut = cut_of(run, kText, {.from = "bank", .to = "river"});
  const Effect e = measure(run, *metric, std::span(&cut, 1), 30, 5).front();
  std::vector<bool> special;
  for (const Token& t : p.reading.tokens) special.push_back(t.special);
  Draws draws({run.records, 0, special, {}}, cut, 5);
  std::vector<double> effects;
  for (int i = 0; i < 30; ++i) {
    const std::optional<Variant> draw = draws.next();
    ASSERT_TRUE(draw);
    effects.push_back(1 - rerun(run, *metric, std::span(&*draw, 1)).front().value);
  }
  const double mean = std::accumulate(effects.begin(), effects.end(), 0.0) / 30;
  double squares = 0;
  for (const double x : effects) squares += (x - mean) * (x - mean);
  EXPECT_EQ(e.control.draws, 30);
  EXPECT_NEAR(e.control.mean, mean, 1e-12);
  EXPECT_NEAR(e.control.sd, std::sqrt(squares / 29), 1e-12);
  EXPECT_GT(e.control.sd, 0);
  EXPECT_EQ(e.control.smaller, std::ranges::count_if(effects, [&](double x) { return x < e.effect; }));
  EXPECT_EQ(e.control.percentile(), 100.0 * e.control.smaller / 30);
}

}  // namespace
}  // namespace fovea::look
