// The translator in the program: what its report promises is measured again, and the textbook's sentences come out as
// the textbook has them.
#include "look/demo_model.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "demo/corpus.hpp"
#include "models/encoder_decoder.hpp"
#include "train/evaluation.hpp"

namespace fovea::testing {
namespace {

nlohmann::json report() {
  std::ifstream in(std::filesystem::path(FOVEA_SOURCE) / "demo" / "evaluation.json");
  return nlohmann::json::parse(in).at("evaluation");
}

TEST(DemoModel, TranslatesTheTextbookAsItStands) {
  const Model model = load("demo");
  for (const demo::TextbookSentence& s : demo::textbook())
    EXPECT_EQ(model.translate(s.english).text, s.french) << s.english;
}

/// "Who ate the apple?" as it is often typed; French has a space before its question mark.
std::string without_mark(std::string text) {
  text.pop_back();
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

TEST(DemoModel, EndsWhereATextEndsWithoutAMark) {
  const Model model = load("demo");
  for (const demo::TextbookSentence& s : demo::textbook())
    EXPECT_EQ(model.translate(without_mark(s.english)).text, without_mark(s.french)) << s.english;
}

TEST(DemoModel, ScoresWhatItsReportSays) {
  const nlohmann::json expected = report();
  const auto model = models::load_encoder_decoder(look::demo_folder());
  // The report is of every sentence; under sanitizers, which ask for few cases, each set's first ones at least get as
  // far.
  const char* cases = std::getenv("FOVEA_TEST_CASES");
  const int most = cases ? std::atoi(cases) : 1 << 30;
  const auto scores = train::evaluate(*model, most, [](const train::SetScore&) {});
  ASSERT_EQ(scores.size(), expected.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const train::SetScore& s = scores[i];
    EXPECT_EQ(s.name, expected[i].at("set"));
    if (cases) {
      EXPECT_GE(s.exact + 2, s.sentences * expected[i].at("exact").get<int>() / expected[i].at("sentences").get<int>())
          << s.name;
      continue;
    }
    EXPECT_EQ(s.sentences, expected[i].at("sentences")) << s.name;
    EXPECT_EQ(s.exact, expected[i].at("exact")) << s.name;
    EXPECT_EQ(s.marked, expected[i].at("marked")) << s.name;
    EXPECT_EQ(s.right, expected[i].at("right")) << s.name;
  }
}

}  // namespace
}  // namespace fovea::testing
