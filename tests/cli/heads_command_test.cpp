// fovea measure --ablate, --all heads, --svg, and fovea prune: their JSON, screens and files, and what they refuse.
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program.hpp"
#include "support/text_bert.hpp"

namespace fovea::testing {
namespace {

constexpr const char* kText = "The bank by the river was flooded.";
const std::string kMasked = FOVEA_TEST_DATA "/bert_masked_lm";

Words masked(Words more) {
  more.insert(more.begin(), {"measure", "the old [MASK] by the river is dark.", "--model", kMasked});
  return more;
}

TEST(AblateCommand, IsWhatTheLibraryMeasures) {
  const plain::Checkpoint c;
  const auto json = json_of(
      fovea({"measure", kText, "--model", c.folder.path().string(), "--ablate", "1.2,0.0", "--mean", "--json"}));
  const Effect e = c.load()(kText).measure({.ablate = {{1, 2}, {0, 0}}, .mean = true});
  EXPECT_EQ(json["effect"], e.effect);
  EXPECT_EQ(json["local_effect"], e.local_effect);
  EXPECT_EQ(json["control"]["draws"], e.control.draws);
  EXPECT_TRUE(json["weight"].is_null()) << "a head has no weight";
  EXPECT_FALSE(json.contains("gradient_effect")) << "a cosine has no slope";
  EXPECT_GT(e.effect, 0);
}

TEST(AblateCommand, TheScreenSaysWhatWasSilenced) {
  const Outcome o = fovea(masked({"--ablate", "0.1"}));
  EXPECT_EQ(o.status, 0) << o.err;
  for (const char* word : {"Without head 0·1", "zero", "by the slope", "measured effect", "random sets of"})
    EXPECT_NE(o.out.find(word), std::string::npos) << word << " in " << o.out;
  EXPECT_EQ(o.out.find("nan"), std::string::npos) << o.out;
}

TEST(AblateCommand, SurveysOfHeadsCarryTheGradient) {
  const Scratch scratch;
  const std::string svg = scratch / "heads.svg", over = scratch / "texts.txt";
  plain::Folder texts;
  const std::string file = texts.Scratch::write("texts.txt", "the river\n\nthe old bank\n").string();
  const auto json = json_of(fovea(masked({"--all", "heads", "--mean", "--over", file, "--svg", svg, "--json"})));
  EXPECT_TRUE(json["rank_correlation"].contains("gradient_effect"));
  for (const auto& item : json["items"]) EXPECT_TRUE(item["gradient_effect"].is_number());
  const std::string picture = plain::read_file(svg);
  EXPECT_TRUE(picture.starts_with("<")) << picture.substr(0, 80);
  EXPECT_NE(picture.find("what the head wrote"), std::string::npos);
}

TEST(AblateCommand, Refuses) {
  expect_error(fovea(masked({"--ablate", "1"})), 2, {"--ablate 1", "LAYER.HEAD"});
  expect_error(fovea(masked({"--ablate", "0.99"})), 1, {"head 99", "layer 0"});
  expect_error(fovea(masked({"--ablate", "0.1", "--cut", "1:2"})), 2, {"one of them"});
  expect_error(fovea(masked({"--ablate", "0.1", "--layer", "1"})), 2, {"--ablate", "--layer"});
  expect_error(fovea(masked({"--cut", "1:2", "--mean"})), 2, {"--mean belongs"});
  expect_error(fovea(masked({"--ablate", "0.1", "--over", "x"})), 2, {"--over belongs"});
  expect_error(fovea(masked({"--ablate", "0.1", "--mean", "--over", "/no/such"})), 1, {"/no/such"});
  expect_error(fovea(masked({"--cut", "1:2", "--svg", "x.svg"})), 2, {"--svg belongs"});
}

// -----------------------------------------------------------------------------------------------------------------
// prune

TEST(PruneCommand, SaysWhatIsOddAboutTheWeightsAsEveryCommandDoes) {
  plain::Checkpoint c;
  c.store.tensors.emplace("left.over", Tensor(DType::F32, {2}));
  c.write();
  const std::string texts = c.folder.Scratch::write("texts.txt", "the river bank\nthe old money\n").string();
  const Outcome done = fovea({"prune", "--model", c.folder.path().string(), "--text", texts, "--keep", "5"});
  EXPECT_EQ(done.status, 0);
  const auto at = done.err.find("1 tensors are no part of this model and were left out: \"left.over\"");
  ASSERT_NE(at, std::string::npos) << done.err;
  EXPECT_EQ(done.err.find("were left out", at + 80), std::string::npos) << "once is enough";
}

TEST(PruneCommand, WritesASmallerModelAndItsCurve) {
  const plain::Checkpoint c;
  const Scratch scratch;
  const std::string out = scratch / "small", svg = scratch / "curve.svg";
  const std::string texts =
      c.folder.Scratch::write("texts.txt", "the river bank\nthe old money\na bank was flooded\n").string();
  const auto json = json_of(fovea({"prune", "--model", c.folder.path().string(), "--text", texts, "--keep", "4", "-o",
                                   out, "--svg", svg, "--json"}));
  EXPECT_EQ(json["metric"], "cosine");
  EXPECT_EQ(json["ranked_by"], "effect");
  EXPECT_EQ(json["heads"], 6);
  EXPECT_EQ(json["sentences"]["ranking"], 1);
  EXPECT_EQ(json["sentences"]["judging"], 2);
  ASSERT_EQ(json["steps"].size(), 2u);
  EXPECT_EQ(json["steps"][1]["kept"], 4);
  EXPECT_LT(json["steps"][1]["quality"], json["whole"]["quality"]);
  EXPECT_EQ(json_of(fovea({"info", "--model", out, "--json"}))["pruned_heads"], 2);
  EXPECT_NE(plain::read_file(svg).find("heads kept"), std::string::npos);
  // What is left is what was judged.
  const Tensor before = c.load().embed(std::vector<std::string>{"the river bank", "a bank was flooded"}),
               after = load(out).embed(std::vector<std::string>{"the river bank", "a bank was flooded"});
  double mean = 0;
  for (int i = 0; i < 2; ++i) {
    double ab = 0, aa = 0, bb = 0;
    for (int k = 0; k < before.shape()[1]; ++k) {
      const double x = before.as<float, 2>()(i, k), y = after.as<float, 2>()(i, k);
      ab += x * y, aa += x * x, bb += y * y;
    }
    mean += ab / std::sqrt(aa * bb) / 2;
  }
  EXPECT_NEAR(json["steps"][1]["quality"].get<double>(), mean, 1e-6);
}

TEST(PruneCommand, TheDemoHasSentencesOfItsOwn) {
  const Words words{"prune", "--sentences", "18", "--rank-on", "4", "--keep", "20"};
  Words with_json = words;
  with_json.push_back("--json");
  const auto json = json_of(fovea(with_json));
  EXPECT_EQ(json["metric"], "exact_match");
  EXPECT_EQ(json["heads"], 24);
  EXPECT_EQ(json["steps"].size(), 4u);
  EXPECT_EQ(json["sentences"]["judging"], 18);
  EXPECT_GE(json["whole"]["quality"].get<double>(), 0.9);
  const Outcome screen = fovea(words);
  EXPECT_EQ(screen.status, 0) << screen.err;
  for (const char* word : {"heads can go", "kept", "exact match", "ranked anew after each by importance"})
    EXPECT_NE(screen.out.find(word), std::string::npos) << word;
}

TEST(PruneCommand, Refuses) {
  expect_error(fovea({"prune", "--keep", "20", "-o", "/tmp/nowhere"}), 1,
               {"marian", "one number of heads", "leave out -o"});
  expect_error(fovea({"prune", "--model", kMasked, "-o", "x"}), 2, {"-o wants --keep"});
  expect_error(fovea({"prune", "--model", kMasked}), 2, {"--text FILE is required"});
  const plain::Checkpoint c;
  const std::string texts = c.folder.Scratch::write("texts.txt", "the river bank\nthe old money\n").string();
  const auto prune = [&](Words more) {
    more.insert(more.begin(), {"prune", "--model", c.folder.path().string(), "--text", texts});
    return fovea(more);
  };
  expect_error(prune({"--keep", "6"}), 1, {"--keep 6", "6 heads"});
  expect_error(prune({"--keep", "1", "-o", c.folder.path().string() + "-out"}), 1,
               {"2 is the fewest", "nothing was written"});
  expect_error(prune({"--rank", "importance"}), 1, {"cosine", "no slope"});
  expect_error(prune({"--keep", "4", "-o", c.folder.path().string()}), 1, {"the model itself"});
}

}  // namespace
}  // namespace fovea::testing
