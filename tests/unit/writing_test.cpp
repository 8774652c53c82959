// Runs of the translator in the program: what it wrote and both halves of its decoder's attention, its words as what is
// measured, and what is refused.
#include <algorithm>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include <fovea/model.hpp>

#include "io/safetensors.hpp"
#include "look/export.hpp"
#include "look/rows.hpp"
#include "models/encoder.hpp"
#include "support/errors.hpp"
#include "support/scratch.hpp"

namespace fovea::testing {
namespace {

constexpr const char* kText = "The animal didn't cross the street because it was too tired.";

const Model& demo_model() {
  static const Model model = load("demo");
  return model;
}
const fovea::Run& textbook_run() {
  static const fovea::Run run = demo_model()(kText);
  return run;
}
std::string text_of(const std::vector<Token>& tokens, int i) { return tokens[static_cast<std::size_t>(i)].text; }

TEST(Writing, ARunHoldsWhatTranslateWrites) {
  const fovea::Run& run = textbook_run();
  const Translation t = demo_model().translate(kText, {.align = true});
  EXPECT_TRUE(run.writes());
  EXPECT_EQ(run.target_text(), t.text);
  ASSERT_EQ(run.target_tokens().size(), t.target_tokens.size());
  ASSERT_EQ(run.target_inputs().size(), t.target_tokens.size());
  EXPECT_TRUE(run.target_inputs().front().special);
  const std::vector<Aligned> path = run.alignment();
  ASSERT_EQ(path.size(), t.alignment.size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    EXPECT_EQ(run.target_tokens()[i].id, t.target_tokens[i].id);
    if (i > 0) { EXPECT_EQ(run.target_inputs()[i].id, t.target_tokens[i - 1].id); }
    EXPECT_EQ(run.target_inputs()[i].index, static_cast<int>(i));
    EXPECT_EQ(path[i].source, t.alignment[i].source);
    EXPECT_NEAR(path[i].weight, t.alignment[i].weight, 1e-6);
  }
}

TEST(Writing, EveryKindHasItsHeadsItsLinksAndItsProof) {
  const fovea::Run& run = textbook_run();
  std::set<std::string> kinds;
  for (const HeadStatistics& h : run.heads()) kinds.insert(h.kind);
  EXPECT_EQ(kinds, (std::set<std::string>{"encoder", "decoder", "cross"}));
  for (const std::string& kind : kinds) {
    const auto links = run.links({.top = 1 << 20, .kind = kind});
    std::vector<double> rows(run.queries(kind).size());
    for (const Link& l : links) {
      EXPECT_EQ(l.kind, kind);
      ASSERT_LT(static_cast<std::size_t>(l.key), run.keys(kind).size());
      if (kind == "decoder") { EXPECT_LE(l.key, l.query); }
      rows[static_cast<std::size_t>(l.query)] += l.weight;
    }
    const auto heads = std::ranges::count(run.heads(), kind, &HeadStatistics::kind);
    for (const double mass : rows) EXPECT_NEAR(mass, static_cast<double>(heads), 1e-4) << kind;
    EXPECT_LT(run.max_abs_error(kind), 1e-5);
    EXPECT_GT(run.max_abs_error(kind), 0);
    EXPECT_LE(run.max_abs_error(kind), run.max_abs_error());
  }
}

TEST(Writing, WordsAreFoundOnTheSideThatTheyStandOn) {
  const fovea::Run& run = textbook_run();
  const std::vector<int> il = run.find_query("il", "cross"), it = run.find_key("it", "cross");
  ASSERT_EQ(il.size(), 1u);
  EXPECT_EQ(text_of(run.queries("cross"), il.front()), "il");
  EXPECT_EQ(text_of(run.keys("cross"), it.front()), "it");
  EXPECT_EQ(text_of(run.keys("decoder"), run.find_key("il", "decoder").front()), "il");
  EXPECT_EQ(run.find_key("il", "decoder").front(), il.front() + 1) << "read by the step after the one that wrote it";
  EXPECT_TRUE(refuses([&] { run.find_query("it", "cross"); }, {"\"it\"", "the model wrote", "animal", "position"}));
  EXPECT_TRUE(refuses([&] { run.queries("causal"); }, {"\"encoder\", \"decoder\", \"cross\""}));
}

TEST(Writing, TheStepBeforeTheWordIsTheOneThatIsAsked) {
  const fovea::Run& run = textbook_run();
  const Effect odds = run.measure({.from = "it", .to = "animal", .target = "il", .against = "elle"});
  const Effect back = run.measure({.from = "it", .to = "animal", .target = "il"});
  const Effect all = run.measure({.from = "it", .to = "animal"});
  EXPECT_EQ(odds.metric, "log_odds");
  EXPECT_EQ(back.metric, "log_probability");
  EXPECT_LT(back.before, 0);
  EXPECT_GT(odds.before, 0) << "it wrote il";
  EXPECT_LT(all.before, back.before) << "a text is less likely than one of its words";
  EXPECT_EQ(odds.output_before, run.target_text());
  EXPECT_EQ(odds.output_after, all.output_after);
}

TEST(Writing, EachKindHasAControl) {
  const fovea::Run& run = textbook_run();
  for (const MeasureQuery& q :
       {MeasureQuery{.from = "il", .to = "it", .kind = "cross", .target = "il", .against = "elle"},
        MeasureQuery{.from = "il", .to = "it", .kind = "cross"},
        MeasureQuery{.from = "il", .to = "parce", .kind = "decoder"},
        MeasureQuery{.from = "était", .to = "il", .kind = "decoder", .target = "fatigué"}}) {
    const Effect e = run.measure(q);
    EXPECT_GT(e.control.draws, 0) << q.kind << " " << q.target;
    EXPECT_TRUE(std::isfinite(e.control.mean));
  }
}

TEST(Writing, SurveysOfEachKind) {
  const fovea::Run& run = textbook_run();
  const Survey cross = run.survey({.token = "il", .kind = "cross", .target = "il", .against = "elle"});
  ASSERT_EQ(cross.items.size(), run.tokens.size());
  const Survey::Item& top = cross.items.front();
  const Effect alone = run.measure(
      {.from = "il", .to = text_of(run.keys("cross"), top.key), .kind = "cross", .target = "il", .against = "elle"});
  EXPECT_EQ(top.effect, alone.effect);
  const Survey decoder = run.survey({.token = "il", .kind = "decoder"});
  EXPECT_EQ(decoder.items.size(), static_cast<std::size_t>(run.find_query("il", "decoder").front()) + 1)
      << "what comes later is hidden";
}

TEST(Writing, ExportsEveryKindOrOne) {
  const fovea::Run& run = textbook_run();
  const Scratch folder;
  look::export_run(run, {0, look::exported_queries(run)}, folder.path() / "all.safetensors");
  look::export_run(run, {10, 12}, folder.path() / "cross.safetensors", "cross");
  const io::SafeTensors all(folder.path() / "all.safetensors"), cross(folder.path() / "cross.safetensors");
  const auto steps = static_cast<std::int64_t>(run.target_tokens().size());
  const auto tokens = static_cast<std::int64_t>(run.tokens.size());
  EXPECT_EQ(all.tensor("attention.encoder.3").shape(), (Shape{4, tokens, tokens}));
  EXPECT_EQ(all.tensor("attention.decoder.0").shape(), (Shape{4, steps, steps}));
  EXPECT_EQ(all.tensor("attention.cross.0").shape(), (Shape{4, steps, tokens}));
  EXPECT_EQ(all.tensor("lse.cross.0").shape(), (Shape{4, steps}));
  EXPECT_EQ(all.tensor("hidden.encoder.4").shape()[0], tokens);
  EXPECT_EQ(all.tensor("hidden.decoder.1").shape()[0], steps);
  EXPECT_EQ(cross.names().size(), 2u);
  const Tensor band = cross.tensor("attention.cross.0");
  ASSERT_EQ(band.shape(), (Shape{4, 2, tokens}));
  for (const models::LayerRecord& record : run.layers())
    for (int head = 0; record.kind == "cross" && head < 4; ++head) {
      const std::vector<float> rows = look::HeadRows(record, 0, head).weights({10, 12});
      const auto got = band.values<float>().subspan(static_cast<std::size_t>(head) * rows.size(), rows.size());
      EXPECT_TRUE(std::ranges::equal(got, rows));
    }
}

TEST(Writing, RefusesWhatIsNotThere) {
  const fovea::Run& run = textbook_run();
  const auto measuring = [&](const MeasureQuery& q) { return [&run, q] { run.measure(q); }; };
  EXPECT_TRUE(refuses([] { demo_model()("The animal ate the aple."); }, {"\"aple\"", "near: apple"}));
  EXPECT_TRUE(refuses(measuring({.from = "il", .to = "trop", .kind = "decoder"}), {"\"il\"", "never looks at"}));
  EXPECT_TRUE(refuses(measuring({.from = "it", .to = "animal", .target = "elle"}), {"\"elle\"", "the model wrote"}));
  EXPECT_TRUE(refuses(measuring({.from = "it", .to = "animal", .against = "elle"}), {"wants a target"}));
  MeasureQuery whole{.kind = "cross"};
  for (const Token& t : run.tokens) whole.cuts.push_back({"il", std::to_string(t.index)});
  EXPECT_TRUE(refuses(measuring(whole), {"\"il\"", "nothing left to look at", "at least one"}));
  const fovea::Run twice = demo_model()("The animal ate the apple because it was hungry and it was tired.");
  EXPECT_TRUE(refuses([&] { twice.measure({.from = "it", .to = "animal"}); }, {"it#1", "it#2"}));
  EXPECT_NO_THROW(twice.measure({.from = "it#2", .to = "animal"}));
}

}  // namespace
}  // namespace fovea::testing
