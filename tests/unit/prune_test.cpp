// Pruning: what a task says is what the model without those heads does, greed takes the least needed, and what is
// written is the model without them.
#include "look/prune.hpp"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/marian.hpp"
#include "models/pruned.hpp"
#include "runtime/search.hpp"
#include "support/errors.hpp"
#include "support/pruned_bert.hpp"
#include "support/small_marian.hpp"

namespace fovea::look {
namespace {

using plain::Checkpoint;
using plain::Matrix;
using testing::refuses;

constexpr const char* kText = "The bank by the [MASK] was flooded.";

/// A masked-language model with heads that look at few tokens each.
struct Masked : Checkpoint {
  Masked() : Checkpoint({.layers = 2}) {
    plain::add_masked_head(store, size);
    sharpen(8);
    write({{"architectures", {"BertForMaskedLM"}}});
  }
  /// ln p of each word at the mask in double, without these heads.
  plain::Row log_probabilities(const HeadSet& without) const {
    const fovea::Run run = load()(kText);
    std::vector<int> ids;
    for (const Token& t : run.tokens) ids.push_back(t.id);
    const auto edit = [&](int layer, Matrix& attended) {
      const auto dim = static_cast<std::size_t>(size.width / size.heads);
      for (plain::Row& row : attended)
        for (std::size_t d = 0; d < row.size(); ++d)
          if (without.contains({"encoder", layer, static_cast<int>(d / dim)})) row[d] = 0;
    };
    const Matrix hidden = plain::run_bert(store, size, ids, {}, {}, plain::gelu, {}, edit).hidden.back();
    plain::Row x = plain::masked_logits(store, size, {hidden[5]}).front();
    double sum = 0;
    for (const double z : x) sum += std::exp(z);
    for (double& z : x) z -= std::log(sum);
    return x;
  }
};

TEST(PruneTask, AReadersLossIsTheModelsInDoubleWithoutTheHeads) {
  const Masked c;
  const ModelParts model(c.folder.path());
  const std::string text = kText;
  const auto task = reading_task(model, {&text, 1});  // one text ranks and judges
  EXPECT_EQ(task->metric(), "agreement");
  EXPECT_EQ(task->heads().size(), 6u);
  EXPECT_EQ(task->ranking(), 1u);
  EXPECT_EQ(task->judged(), 1u);
  const plain::Row whole = c.log_probabilities({});
  const auto answer = static_cast<std::size_t>(std::ranges::max_element(whole) - whole.begin());
  const std::vector<HeadSet> sets{{}, {{"encoder", 0, 1}}, {{"encoder", 1, 2}, {"encoder", 0, 0}}};
  const std::vector<double> losses = task->losses(sets);
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const plain::Row left = c.log_probabilities(sets[i]);
    EXPECT_NEAR(losses[i], -left[answer], 2e-5);
    const bool same = std::ranges::max_element(left) - left.begin() == static_cast<std::ptrdiff_t>(answer);
    EXPECT_EQ(task->judge(sets[i]).quality, same ? 1 : 0);
    EXPECT_NEAR(task->judge(sets[i]).loss, losses[i], 1e-6);
  }
}

TEST(PruneTask, ImportanceIsTheSlopeTimesTheOutputOfEachText) {
  const Masked c;
  const ModelParts model(c.folder.path());
  const std::vector<std::string> texts{"the river", kText, "a bank", "the old [MASK] was dark."};  // 1 and 3 rank
  const auto task = reading_task(model, texts);
  const std::vector<double> importance = task->importance({});
  std::map<HeadAt, double> expected;
  for (const std::size_t i : {1u, 3u})
    for (const Survey::Item& x : c.load()(texts[i]).survey({.unit = SurveyQuery::Unit::Heads}).items)
      expected[{x.layer, x.head}] += std::abs(x.gradient_effect) / 2;
  const std::vector<PrunedHead> heads = task->heads();
  for (std::size_t h = 0; h < heads.size(); ++h)
    EXPECT_NEAR(importance[h], (expected[{heads[h].layer, heads[h].head}]), 1e-5 + 1e-4 * importance[h]);
  const std::vector<double> less = task->importance({heads[2]});
  EXPECT_EQ(less[2], 0);
  EXPECT_NE(less[4], importance[4]) << "the others are what they are without it";
}

TEST(PruneTask, VectorsAreComparedWhereNothingIsAnswered) {
  const Checkpoint c;
  const ModelParts model(c.folder.path());
  const std::vector<std::string> texts{"the river", "a bank"};
  const auto task = reading_task(model, texts);
  EXPECT_EQ(task->metric(), "cosine");
  EXPECT_FALSE(task->has_slope());
  EXPECT_NEAR(task->judge({}).quality, 1, 1e-6);
  EXPECT_LT(task->judge({{"encoder", 0, 0}}).quality, 1 - 1e-6);
  EXPECT_TRUE(refuses([&] { prune(*task, {}); }, {"cosine", "effect"}));
}

/// A translator that is whole, and what it writes of a few sources.
struct Translator {
  models::MarianConfig config = plain::small_marian();
  plain::Store store = plain::marian_store(config, 1);
  plain::StoreSource source{store};
  models::Marian model{config, nn::Weights(source)};
  std::vector<WritingPair> pairs;

  Translator() {
    runtime::Generation how;
    const models::TargetTokens special = model.target_tokens();
    how.max_length = 12, how.start = special.start, how.ends = {special.end}, how.never = {{special.pad}};
    std::vector<models::Sequence> sources;
    for (int i = 2; i < 14; ++i) sources.push_back({{i, i + 3, 2 + i * 7 % 20, 1}, {}});
    const auto written = runtime::write(model, sources, how);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      std::vector<int> ids = written[i].front().ids;
      ended.push_back(ids.back() == special.end);
      ids.erase(ids.begin());
      if (ended.back()) ids.pop_back();
      pairs.emplace_back(sources[i].ids, ids);
    }
  }
  std::vector<bool> ended;
};

TEST(PruneTask, ExactMatchIsThatOfGreedySearch) {
  Translator t;
  auto exact = static_cast<double>(std::ranges::count(t.ended, true));
  std::vector<WritingPair> judging = t.pairs;
  for (std::size_t i = 0; i < judging.size(); i += 3) {  // as many that nobody wrote
    if (t.ended[i]) --exact;
    std::vector<int>& written = judging[i].second;
    written.insert(written.begin(), !written.empty() && written.front() == 5 ? 6 : 5);
  }
  const auto task = writing_task(t.model, t.pairs, judging);
  EXPECT_EQ(task->metric(), "exact_match");
  EXPECT_EQ(task->judged(), judging.size());
  EXPECT_NEAR(task->judge({}).quality, exact / static_cast<double>(judging.size()), 1e-12);
  const std::vector<PrunedHead> heads = task->heads();
  EXPECT_EQ(std::ranges::count(heads, "encoder", &PrunedHead::kind), t.config.encoder.layers * t.config.encoder.heads);
  EXPECT_EQ(std::ranges::count(heads, "cross", &PrunedHead::kind), t.config.decoder.layers * t.config.decoder.heads);
}

TEST(PruneTask, EveryKindOfHeadIsMissedOnItsOwn) {
  Translator t;
  const auto task = writing_task(t.model, t.pairs, t.pairs);
  const double whole = task->judge({}).loss;
  const std::vector<double> importance = task->importance({});
  const std::vector<PrunedHead> heads = task->heads();
  std::vector<HeadSet> sets;
  for (const PrunedHead& h : heads) sets.push_back({h});
  const std::vector<double> losses = task->losses(sets);
  for (std::size_t h = 0; h < heads.size(); ++h) {
    EXPECT_GT(importance[h], 0) << heads[h].kind;
    EXPECT_NE(losses[h], whole) << heads[h].kind;
    EXPECT_NEAR(task->judge(sets[h]).loss, losses[h], 1e-6) << "the same texts rank and judge here";
  }
}

TEST(Prune, TakesTheLeastNeededAndRanksAnew) {
  Translator t;
  const auto task = writing_task(t.model, t.pairs, t.pairs);
  for (const RankBy by : {RankBy::Effect, RankBy::Importance}) {
    int heard = 0;
    const PruneCurve curve = prune(
        *task, {.keep = 2, .one_a_layer = false, .rank = by, .progress = [&](const PruneStep&, int) { ++heard; }});
    ASSERT_EQ(curve.steps.size(), task->heads().size() - 2);
    EXPECT_EQ(heard, static_cast<int>(curve.steps.size()));
    HeadSet without;
    for (const PruneStep& step : curve.steps) {
      const std::vector<double> importance = task->importance(without);
      const std::vector<PrunedHead> heads = task->heads();
      for (std::size_t h = 0; h < heads.size(); ++h) {
        if (without.contains(heads[h])) continue;
        HeadSet more = without;
        more.insert(heads[h]);
        EXPECT_LE(step.rank, (by == RankBy::Effect ? task->losses({&more, 1}).front() : importance[h]) + 1e-6);
      }
      without.insert(step.removed);
      EXPECT_EQ(step.left.quality, task->judge(without).quality);
    }
  }
  const PruneCurve kept = prune(*task, {.keep = 0, .one_a_layer = true});
  EXPECT_EQ(task->heads().size() - kept.steps.size(),
            static_cast<std::size_t>(t.config.encoder.layers + 2 * t.config.decoder.layers));
}

TEST(Prune, SpareHeadsAreThoseBeforeTheFirstFall) {
  PruneCurve curve{{1, 0}, {}};
  for (const double q : {1.0, 0.995, 0.98, 0.999}) curve.steps.push_back({{}, 0, {q, 0}});
  EXPECT_EQ(curve.spare(0), 1);
  EXPECT_EQ(curve.spare(0.01), 2);
  EXPECT_EQ(curve.spare(0.5), 4);
}

// ------------------------------------------------------------------------------------------------------------- folders

std::vector<double> guesses(const std::filesystem::path& folder) {
  std::vector<double> p(static_cast<std::size_t>(plain::kVocabulary));
  const std::vector<std::vector<Guess>> all = load(folder.string()).fill(kText, plain::kVocabulary);
  for (const Guess& g : all.front()) p[static_cast<std::size_t>(g.id)] = g.probability;
  return p;
}

// By hand, once: transformers 4.57.1 read MiniLM without 32 of its 72 heads (layers of 3 to 12) as BertModel, missing
// and unused tensors none, and in double its hidden states were within 1.1e-6 of what fovea look --export wrote, its
// weights within 4e-7.
TEST(PrunedFolder, IsTheModelWithoutTheHeadsHoweverOftenItIsPruned) {
  const Masked c;
  const std::filesystem::path once = c.folder / "once", twice = c.folder / "twice";
  c.folder.write("1_Pooling/config.json", std::string("{\"word_embedding_dimension\": 24}"));
  c.folder.write("pytorch_model.bin", std::string("weights of another format"));
  models::write_pruned(c.folder.path(), {{0, {1}}}, once);
  models::write_pruned(once, {{0, {1}}, {1, {0}}}, twice);  // head 1 of what is left was head 2
  const std::map<int, std::set<int>> all{{0, {1, 2}}, {1, {0}}};
  const std::vector<double> expected = guesses(plain::pruned_folder(c, all, {{"architectures", {"BertForMaskedLM"}}}));
  EXPECT_EQ(guesses(twice), expected);
  const nlohmann::json config = nlohmann::json::parse(plain::read_file((twice / "config.json").string()));
  std::set<int> first = config["pruned_heads"]["0"].get<std::set<int>>();
  EXPECT_EQ(first, (std::set<int>{1, 2}));
  EXPECT_TRUE(std::filesystem::exists(twice / "tokenizer.json"));
  EXPECT_TRUE(std::filesystem::exists(twice / "1_Pooling" / "config.json"));
  EXPECT_FALSE(std::filesystem::exists(twice / "pytorch_model.bin"));
  EXPECT_LT(std::filesystem::file_size(twice / "model.safetensors"),
            std::filesystem::file_size(once / "model.safetensors"));
  const plain::Row plain = c.log_probabilities({{"encoder", 0, 1}, {"encoder", 0, 2}, {"encoder", 1, 0}});
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(expected[i], std::exp(plain[i]), 1e-5);
}

TEST(PrunedFolder, Refuses) {
  const Masked c;
  const std::filesystem::path out = c.folder / "out";
  EXPECT_TRUE(refuses(
      [&] {
        models::write_pruned(c.folder.path(), {{0, {0}}}, c.folder.path());
      },
      {"the model itself"}));
  EXPECT_TRUE(refuses(
      [&] {
        models::write_pruned(c.folder.path(), {{1, {0, 1, 2}}}, out);
      },
      {"layer 1", "no head left"}));
  EXPECT_TRUE(
      refuses([&] { models::check_prunable(FOVEA_TEST_DATA "/marian_small"); }, {"\"marian\"", "one number of heads"}));
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace fovea::look
