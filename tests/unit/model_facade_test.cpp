// From a folder and a text to everything that a run can be asked, on small random BERTs.
#include <algorithm>
#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "io/safetensors.hpp"
#include "look/export.hpp"
#include "look/links.hpp"
#include "models/encoder.hpp"
#include "support/errors.hpp"
#include "support/sanitized.hpp"
#include "support/text_bert.hpp"

namespace fovea {
namespace {

using plain::Checkpoint;
using plain::Folder;
using plain::ids_of;
using plain::kCls;
using plain::kSep;
using plain::kText;
using plain::words;
using testing::refuses;

TEST(Run, HasTheTokensOfItsText) {
  const Checkpoint c;
  const fovea::Run run = c.load()(kText);
  EXPECT_EQ(run.text, kText);
  ASSERT_EQ(run.tokens.size(), 10u);
  EXPECT_EQ(run.tokens.front().text, "[CLS]");
  EXPECT_EQ(run.tokens.back().text, "[SEP]");
  EXPECT_TRUE(run.tokens.front().special && run.tokens.back().special);
  for (const Token& t : run.tokens) {
    EXPECT_EQ(t.index, &t - run.tokens.data());
    if (t.special) {
      EXPECT_EQ(t.begin, 0);
      EXPECT_EQ(t.end, 0);
    } else {
      std::string spelled =
          run.text.substr(static_cast<std::size_t>(t.begin), static_cast<std::size_t>(t.end - t.begin));
      std::ranges::transform(spelled, spelled.begin(), [](char ch) { return static_cast<char>(std::tolower(ch)); });
      EXPECT_EQ(t.text, spelled);
    }
  }
  EXPECT_EQ(run.find("bank"), std::vector<int>{2});
  EXPECT_EQ(run.find("the"), std::vector<int>{4});
  EXPECT_EQ(run.find("The"), std::vector<int>{1});
  EXPECT_TRUE(refuses([&] { run.find("money"); }, {"\"money\"", "The, bank, by, the, river, was, flooded", "0 to 9"}));
}

TEST(Run, WeightsAndHiddenStatesAreThePlainModels) {
  const Checkpoint c;
  const fovea::Run run = c.load()(kText);
  const plain::BertRun expected = plain::run_bert(c.store, c.size, ids_of(run));
  ASSERT_EQ(run.hidden().size(), expected.hidden.size());
  for (std::size_t i = 0; i < expected.hidden.size(); ++i)
    EXPECT_LT(plain::worst(expected.hidden[i], run.hidden()[i]), 2e-5);
  ASSERT_EQ(run.layers().size(), static_cast<std::size_t>(c.size.layers));

  // Every link there is: as many as the matrices have entries, each with its own weight.
  const int n = static_cast<int>(run.tokens.size()), all = c.size.layers * c.size.heads * n * n;
  const std::vector<Link> links = run.links({.top = all + 5});
  ASSERT_EQ(static_cast<int>(links.size()), all);
  for (const Link& l : links) {
    const double weight = expected.weights[static_cast<std::size_t>(l.layer)][static_cast<std::size_t>(l.head)]
                                          [static_cast<std::size_t>(l.query)][static_cast<std::size_t>(l.key)];
    EXPECT_NEAR(l.weight, weight, 2e-6);
    EXPECT_NEAR(l.lift, weight * n, 2e-5);
    EXPECT_EQ(l.kind, "encoder");
  }
  EXPECT_TRUE(std::ranges::is_sorted(links, std::greater<>{}, &Link::weight));
  EXPECT_LE(run.max_abs_error(), 1e-5);
}

TEST(Run, HeadsStandInOrderAndProveThemselves) {
  const Checkpoint c;
  const fovea::Run run = c.load()(kText);
  const std::vector<HeadStatistics>& heads = run.heads();
  ASSERT_EQ(heads.size(), static_cast<std::size_t>(c.size.layers * c.size.heads));
  double worst = 0;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    EXPECT_EQ(heads[i].layer, static_cast<int>(i) / c.size.heads);
    EXPECT_EQ(heads[i].head, static_cast<int>(i) % c.size.heads);
    worst = std::max(worst, heads[i].max_abs_error);
  }
  EXPECT_EQ(run.max_abs_error(), worst);
  EXPECT_GT(
      worst,
      0);  // two ways of summing in floats: that they should agree to the last bit everywhere is not to be believed
}

TEST(Run, LinksOfOneWordInChosenHeads) {
  const Checkpoint c;
  const fovea::Run run = c.load()(kText);
  const std::vector<Link> some = run.links({.token = "bank", .top = 4, .layers = {1}, .heads = {2, 0}});
  ASSERT_EQ(some.size(), 4u);
  for (const Link& l : some) {
    EXPECT_EQ(l.layer, 1);
    EXPECT_NE(l.head, 1);
    EXPECT_EQ(l.query, 2);
  }
  for (const Link& l : run.links({.token = "bank", .top = 1000, .skip_special = true}))
    EXPECT_FALSE(run.tokens[static_cast<std::size_t>(l.key)].special);
  for (const Link& l : run.links({.top = 100000, .skip_special = true}))
    EXPECT_FALSE(run.tokens[static_cast<std::size_t>(l.query)].special);
  EXPECT_FALSE(run.links({.token = "[CLS]", .top = 3, .skip_special = true}).empty());
  EXPECT_TRUE(refuses([&] { run.links({.layers = {2}}); }, {"layer 2", "0 to 1"}));
  EXPECT_TRUE(refuses([&] { run.links({.heads = {-1}}); }, {"head -1", "0 to 2"}));
  EXPECT_TRUE(refuses([&] { run.links({.kind = "cross"}); }, {"cross", "encoder"}));
  EXPECT_TRUE(refuses([&] { run.links({.top = 0}); }, {"top 0"}));
}

/// The model itself, run again with that edge cut: the head's output must move by what local_effect said.
TEST(Run, LocalEffectIsTheModelRerunWithoutTheEdge) {
  const Checkpoint c;
  const fovea::Run run = c.load()(kText);
  const auto encoder = models::load_encoder(c.folder.path());
  const models::Sequence sequence{ids_of(run), {}};
  const auto width = static_cast<std::size_t>(c.size.width), dim = width / static_cast<std::size_t>(c.size.heads);
  for (const Link& l : run.links({.token = "river", .top = 12})) {
    models::Pass pass;
    pass.record_attention = true;
    pass.mask = [&](int layer) {
      return layer != l.layer
                 ? AnyMask()
                 : AnyMask(mask([&](Site s) { return s.head != l.head || s.query != l.query || s.key != l.key; }));
    };
    const models::Result cut = encoder->forward(std::span(&sequence, 1), pass);
    const auto at = static_cast<std::size_t>(l.layer);
    const std::size_t row = (static_cast<std::size_t>(l.query) * static_cast<std::size_t>(c.size.heads) +
                             static_cast<std::size_t>(l.head)) *
                            dim;
    const auto before = run.layers()[at].attention.out.values<float>().subspan(row, dim);
    const auto after = cut.layers[at].attention.out.values<float>().subspan(row, dim);
    const std::string name = fmt::format("bert.encoder.layer.{}.attention.output.dense.weight", l.layer);
    double squares = 0;
    for (std::size_t r = 0; r < width; ++r) {
      double y = 0;
      for (std::size_t d = 0; d < dim; ++d)
        y += c.store.at(name, r * width + static_cast<std::size_t>(l.head) * dim + d) *
             (static_cast<double>(after[d]) - static_cast<double>(before[d]));
      squares += y * y;
    }
    EXPECT_NEAR(l.local_effect, std::sqrt(squares), 2e-6 * (1 + l.local_effect));
  }
}

TEST(Run, OutlivesItsModel) {
  const Checkpoint c;
  const fovea::Run run = [&] { return c.load()(kText); }();
  EXPECT_LE(run.max_abs_error(), 1e-5);
  EXPECT_EQ(run.links({.token = "bank", .top = 3}).size(), 3u);
}

// ---------------------------------------------------------------------------------------------------------- long texts

TEST(Truncation, RefusedWithBothCountsUnlessAsked) {
  const Checkpoint c;  // 19 positions
  const Model model = c.load();
  EXPECT_EQ(model(words(17)).tokens.size(), 19u);
  EXPECT_TRUE(refuses([&] { model(words(18)); }, {"20 tokens", "19 positions"}));
  const std::vector<std::string> texts{words(3), words(30)};
  EXPECT_TRUE(refuses([&] { model.embed(texts); }, {"text 2", "32 tokens", "19 positions"}));
}

TEST(Truncation, CutsTheEndOfTheTextAndKeepsWhatWasAdded) {
  const Checkpoint c;
  const Model model = c.load();
  int cut = -1;
  const fovea::Run run = model(words(30), true, &cut);
  EXPECT_EQ(cut, 13);
  ASSERT_EQ(run.tokens.size(), 19u);
  EXPECT_EQ(run.tokens.front().id, kCls);
  EXPECT_EQ(run.tokens.back().id, kSep);
  EXPECT_EQ(run.tokens.back().index, 18);
  EXPECT_EQ(ids_of(run), ids_of(model(words(17))));
  EXPECT_EQ(run.text, words(30));
  (void)model(words(5), true, &cut);
  EXPECT_EQ(cut, 0);
  const std::vector<std::string> texts{words(20), words(2), words(19)};
  const Tensor vectors = model.embed(texts, true, &cut);
  EXPECT_EQ(cut, 5);
  EXPECT_EQ(vectors.shape(), (Shape{3, c.size.width}));
}

/// Peak of this process's memory since the last call, in bytes.
std::int64_t peak_since_reset() {
  std::ifstream status("/proc/self/status");
  std::int64_t peak = 0;
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) peak = std::stoll(line.substr(6)) * 1024;
  std::ofstream("/proc/self/clear_refs") << "5";
  return peak;
}

TEST(LongText, IsLookedIntoInMemoryThatGrowsWithItsLength) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers keep memory of their own";
  const Checkpoint c({.width = 16, .heads = 2, .layers = 2, .feed_forward = 16, .positions = 4096});
  const Model model = c.load();
  (void)model(words(50)).heads();  // threads and scratch are there
  peak_since_reset();
  const std::int64_t before = peak_since_reset();
  const fovea::Run run = model(words(4000));
  const std::int64_t matrix = std::int64_t{4} * 4002 * 4002;  // one head's weights: 64 MB
  EXPECT_EQ(run.heads().size(), 4u);
  EXPECT_LE(run.max_abs_error(), 1e-5);
  EXPECT_EQ(run.links({.top = 50}).size(), 50u);
  const Folder folder;
  look::export_run(run, {17, 20}, folder.path() / "rows.safetensors");
  EXPECT_LT(peak_since_reset() - before, matrix / 2);
}

// ------------------------------------------------------------------------------------------------------------ refusals

TEST(Load, RefusesATokenizerThatIsNotTheModels) {
  Checkpoint c;
  c.size.vocabulary = 100;
  c.store = plain::bert_store(c.size, 1);
  c.write();
  EXPECT_TRUE(refuses([&] { c.load(); }, {"tokenizer.json", "112", "100"}));
  EXPECT_TRUE(refuses([&] { load("/nowhere/at/all"); }, {"/nowhere/at/all"}));
}

// -------------------------------------------------------------------------------------------------------------- export

TEST(Export, HoldsWhatTheRunSays) {
  const Checkpoint c;
  const fovea::Run run = c.load()(kText);
  const Folder folder;
  const Range rows{2, 7};
  look::export_run(run, rows, folder.path() / "run.safetensors");
  const io::SafeTensors file(folder.path() / "run.safetensors");
  std::int64_t bytes = 0;
  for (const std::string& name : file.names()) bytes += file.tensor(name).bytes();
  EXPECT_EQ(bytes, look::export_bytes(run, rows));
  EXPECT_EQ(file.names().size(), static_cast<std::size_t>(3 * c.size.layers + 1));
  for (const models::LayerRecord& record : run.layers()) {
    const Tensor weights = file.tensor(fmt::format("attention.encoder.{}", record.layer));
    const Tensor lse = file.tensor(fmt::format("lse.encoder.{}", record.layer));
    ASSERT_EQ(weights.shape(), (Shape{c.size.heads, 5, 10}));
    ASSERT_EQ(lse.shape(), (Shape{c.size.heads, 5}));
    for (int h = 0; h < c.size.heads; ++h) {
      const std::vector<float> expected = record.attention.weights(0, h, rows);
      EXPECT_TRUE(std::ranges::equal(expected, weights.values<float>().subspan(static_cast<std::size_t>(h) * 50, 50)));
      for (std::size_t q = 0; q < 5; ++q)
        EXPECT_EQ(lse.values<float>()[static_cast<std::size_t>(h) * 5 + q],
                  record.attention.lse.values<float>()[static_cast<std::size_t>(h) * 10 + q + 2]);
    }
  }
  for (std::size_t i = 0; i < run.hidden().size(); ++i)
    EXPECT_TRUE(std::ranges::equal(file.tensor(fmt::format("hidden.encoder.{}", i)).values<float>(),
                                   run.hidden()[i].values<float>()));
}

TEST(Export, SaysHowManyQueriesFit) {
  const Checkpoint c;
  const fovea::Run run = c.load()(kText);
  for (const int rows : {1, 4, 10}) {
    const std::int64_t bytes = look::export_bytes(run, {0, rows});
    EXPECT_EQ(look::queries_within(run, bytes), rows);
    EXPECT_EQ(look::queries_within(run, bytes - 1), rows - 1);
  }
  EXPECT_EQ(look::queries_within(run, 1 << 30), 10);
  EXPECT_EQ(look::queries_within(run, 0), 0);
  const Folder folder;
  for (const Range rows : {Range{0, 11}, Range{-1, 2}, Range{3, 3}, Range{5, 2}})
    EXPECT_TRUE(refuses([&] { look::export_run(run, rows, folder.path() / "no.safetensors"); }, {"10 tokens"}));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "no.safetensors"));
}

}  // namespace
}  // namespace fovea
