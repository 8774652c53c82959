#include "train/bottleneck.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "demo/corpus.hpp"
#include "train/bleu.hpp"
#include "train/evaluation.hpp"

namespace fovea::train {
namespace {

using nlohmann::json;

constexpr int kQuickLongest = 12;      // English words that the quick study learns from …
constexpr double kQuickFurthest = 27;  // … and asks for
constexpr int kQuickSentences = 100;

json model_of(const std::string& key, bool quick) {
  if (key == "transformer")
    return quick ? json{{"width", 64}, {"feed_forward", 128}, {"encoder_layers", 2}}
                 : json::parse(demo_recipe_text()).at("model");
  // What lets each do its best: the state is what a sentence has to pass through, so it is wide.
  return {{"family", "recurrent"}, {"attention", key}, {"width", quick ? 96 : 256}};
}

}  // namespace

int longest_trained(const BottleneckSettings& settings) { return settings.quick ? kQuickLongest : demo::kLongest; }

std::vector<Contender> contenders(const BottleneckSettings& settings) {
  constexpr std::pair<const char*, const char*> kAll[] = {
      {"none", "GRU without attention"}, {"additive", "GRU with additive attention"}, {"transformer", "Transformer"}};
  std::vector<Contender> all;
  for (const auto& [key, name] : kAll) {
    json recipe = json::parse(demo_recipe_text());
    recipe["model"] = model_of(key, settings.quick);
    json& training = recipe["training"];
    training["seed"] = settings.seed;
    if (settings.quick) training["steps"] = 2500;
    if (settings.steps > 0) training["steps"] = settings.steps;
    if (settings.quick) {
      recipe["data"]["longest"] = kQuickLongest + 1;  // the end of a text counts
      recipe["data"]["pairs"] = 60'000;
      training["tokens_per_batch"] = 1200;
      training["shift"] = 16;
      training["warmup"] = 200;
    }
    all.push_back({key, name, recipe_of(recipe, name), recipe.dump()});
  }
  return all;
}

std::vector<LengthScore> score_by_length(const models::EncoderDecoder& model, const BottleneckSettings& settings,
                                         const std::function<void(const LengthScore&)>& each) {
  std::vector<LengthScore> scores;
  for (const demo::EvaluationSet& set : demo::evaluation_sets()) {
    if (!set.name.starts_with("length_")) continue;
    auto pairs = std::span(set.pairs);
    const int most = settings.sentences > 0 ? settings.sentences : settings.quick ? kQuickSentences : 0;
    if (most > 0) pairs = pairs.first(std::min(pairs.size(), static_cast<std::size_t>(most)));
    LengthScore score{.set = set.name, .sentences = static_cast<int>(pairs.size())};
    std::vector<std::vector<demo::Word>> expected;
    for (const demo::SentencePair& p : pairs) {
      score.words += static_cast<double>(p.english.size()) / static_cast<double>(pairs.size());
      score.trained &= std::cmp_less_equal(p.english.size(), longest_trained(settings));
      expected.push_back(p.french);
    }
    if (settings.quick && score.words > kQuickFurthest) continue;
    const auto written = translate(model, pairs);
    for (std::size_t i = 0; i < pairs.size(); ++i) score.exact += written[i] == expected[i];
    score.bleu = bleu(written, expected);
    each(score);
    scores.push_back(std::move(score));
  }
  return scores;
}

}  // namespace fovea::train
