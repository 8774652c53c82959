// Importance against what a survey of whole heads says of their slopes; induction against the weights of the texts it
// is defined by.
#include "look/head_scores.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include <fovea/model.hpp>

#include "support/errors.hpp"
#include "support/text_bert.hpp"

namespace fovea::testing {
namespace {

TEST(HeadScores, ImportanceIsTheSizeOfTheSlopeOfEachHead) {
  const fovea::Run run = load("demo")("The animal didn't cross the street because it was too tired.");
  const std::vector<HeadScore> scores = run.importance("il", "elle");
  ASSERT_EQ(scores.size(), run.heads().size());
  for (const std::string kind : {"encoder", "decoder", "cross"}) {
    const Survey s = run.survey({.unit = SurveyQuery::Unit::Heads, .kind = kind, .target = "il", .against = "elle"});
    for (const Survey::Item& x : s.items) {
      const auto found = std::ranges::find_if(
          scores, [&](const HeadScore& h) { return h.kind == kind && h.layer == x.layer && h.head == x.head; });
      ASSERT_NE(found, scores.end());
      EXPECT_NEAR(found->value, std::abs(x.gradient_effect), 1e-5 + 1e-4 * found->value);
    }
  }
}

TEST(HeadScores, ImportanceWantsAnAnswer) {
  plain::Checkpoint c({.layers = 1});
  const fovea::Run run = c.load()("the bank by the river");
  EXPECT_TRUE(refuses([&] { run.importance(); }, {"importance", "cosine_distance", "--all heads"}));
}

TEST(HeadScores, InductionIsOfEveryHeadThatReadsItsOwnText) {
  const Model model = load("demo");
  const std::vector<HeadScore> scores = model.induction(), again = model.induction();
  std::set<std::string> kinds;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    kinds.insert(scores[i].kind);
    EXPECT_GE(scores[i].value, 0);
    EXPECT_LE(scores[i].value, 1);
    EXPECT_EQ(scores[i].value, again[i].value);
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"encoder", "decoder"}));
  EXPECT_EQ(scores.size(), 20u);  // 4 layers of 4 heads, and the decoder's 4
}

/// Queries that ask for one position each, by keys that are told apart by position alone.
TEST(HeadScores, AHeadThatFindsWhatFollowedIsFound) {
  constexpr int kBegin = 1, kBlock = 5, kTime = kBegin + 2 * kBlock + 1, kHeads = 3;
  models::LayerRecord record;
  record.kind = "encoder";
  record.q = Tensor(DType::F32, {1, kTime, kHeads, kTime});
  record.k = Tensor(DType::F32, {1, kTime, kHeads, kTime});
  record.v = Tensor(DType::F32, {1, kTime, kHeads, 1});
  for (Tensor* t : {&record.q, &record.k, &record.v}) std::ranges::fill(t->values<float>(), 0.0f);
  const auto at = [](int i, int head, int d) { return (i * kHeads + head) * kTime + d; };
  const int back[kHeads] = {kBlock - 1, kBlock, 1};  // what followed, the token itself, the one before
  for (int i = 0; i < kTime; ++i)
    for (int h = 0; h < kHeads; ++h) {
      record.k.data<float>()[at(i, h, i)] = 10;
      if (i >= back[h]) record.q.data<float>()[at(i, h, i - back[h])] = 10;
    }
  record.attention = attend(record.q, record.k, record.v, scale(1));
  const std::vector<double> scores = look::block_scores(record, 1, kBegin, kBlock);
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_NEAR(scores[0], 1, 1e-6);
  EXPECT_NEAR(scores[1], 0, 1e-6);
  EXPECT_NEAR(scores[2], 0, 1e-6);
}

}  // namespace
}  // namespace fovea::testing
