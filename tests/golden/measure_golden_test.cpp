// Measured effects against transformers: data/measure.json, made by measure_goldens.py. Three small BERTs (one that
// answers with vectors, one with a word, one with a label) with edges masked before the softmax and values zeroed.
#include <cmath>
#include <fstream>
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "look/choice.hpp"
#include "look/measure.hpp"

namespace fovea {
namespace {

using nlohmann::json;

// Cosines and weights of f32 against f64; logits are one matrix product further on, and up to 10.
constexpr double kCosine = 2e-6, kWeight = 2e-6, kLogit = 5e-5, kLocal = 2e-5;
double allowed(const std::string& metric) { return metric == "cosine_distance" ? kCosine : kLogit; }

std::string folder(const std::string& name) { return FOVEA_TEST_DATA "/" + name; }

void for_models(const std::function<void(const std::string& name, const json& golden)>& body) {
  std::ifstream file(FOVEA_TEST_DATA "/measure.json");
  const json all = json::parse(file);
  ASSERT_EQ(all.size(), 3u);
  for (const auto& [name, golden] : all.items()) {
    SCOPED_TRACE(name);
    body(name, golden);
  }
}

MeasureQuery query_of(const json& q) {
  MeasureQuery query;
  for (const json& cut : q.value("cuts", json::array()))
    query.cuts.push_back({std::to_string(cut.at(0).get<int>()), std::to_string(cut.at(1).get<int>())});
  if (q.contains("values")) query.values = std::to_string(q.at("values").get<int>());
  query.layers = q.at("layers").get<std::vector<int>>(), query.heads = q.at("heads").get<std::vector<int>>();
  query.target = q.value("target", ""), query.against = q.value("against", "");
  return query;
}

TEST(MeasureGolden, EffectsWeightsAndLocalEffects) {
  int questions = 0;
  double largest = 0;
  for_models([&](const std::string& name, const json& golden) {
    const fovea::Run run = load(folder(name))(golden.at("text").get<std::string>());
    ASSERT_EQ(std::ssize(run.tokens), golden.at("tokens").get<int>());
    for (const json& q : golden.at("questions")) {
      SCOPED_TRACE(q.dump());
      const json& want = q.at("expected");
      const Effect e = run.measure(query_of(q));
      EXPECT_EQ(e.metric, want.at("metric").get<std::string>());
      EXPECT_NEAR(e.before, want.at("before").get<double>(), allowed(e.metric));
      EXPECT_NEAR(e.after, want.at("after").get<double>(), allowed(e.metric));
      EXPECT_NEAR(e.weight, want.at("weight").get<double>(), kWeight);
      EXPECT_NEAR(e.local_effect, want.at("local_effect").get<double>(), kLocal);
      EXPECT_NEAR(e.norm_weighted, want.at("norm_weighted").get<double>(), kLocal);
      if (want.contains("output")) {
        EXPECT_NEAR(e.logit_effect, want.at("logit_effect").get<double>(), 2 * allowed(e.metric));
        EXPECT_NEAR(e.log_probability_effect, want.at("log_probability_effect").get<double>(), 2 * allowed(e.metric));
        EXPECT_NEAR(e.kl, want.at("kl").get<double>(), allowed(e.metric));
        EXPECT_EQ(e.output_before, want.at("output").at(0).get<std::string>());
        EXPECT_EQ(e.output_after, want.at("output").at(1).get<std::string>());
      }
      EXPECT_EQ(std::isnan(e.kl), !want.contains("output"));
      largest = std::max(largest, std::abs(e.effect) / allowed(e.metric));
      ++questions;
    }
  });
  EXPECT_EQ(questions, 48);
  EXPECT_GT(largest, 1000) << "the effects are next to nothing: this shows little";
}

TEST(MeasureGolden, ScatteredRemovalsSideBySide) {
  for_models([](const std::string& name, const json& golden) {
    const look::ModelParts model(folder(name));
    const auto text = golden.at("text").get<std::string>();
    const look::Reading reading = model.reader.read(text, {}, look::TooLong::Refuse, "the text");
    models::Pass pass;
    pass.record_attention = pass.record_hidden = true;
    const models::Result result = model.encoder->forward(std::span(&reading.sequence, 1), pass);
    const look::Original run{model, result, reading.tokens, look::records_of_kind(result.layers, "")};
    const auto metric = look::choose_metric(model, result, reading.tokens, "", "");
    std::vector<look::Variant> variants;
    for (const json& s : golden.at("scattered")) {
      variants.push_back({{}, s.at("queries").get<std::vector<int>>()});
      for (const json& r : s.at("removed"))
        variants.back().removed.push_back(
            {r.at(0).get<int>(), r.at(1).get<int>(), r.at(2).get<int>(), r.at(3).get<int>()});
    }
    const std::vector<look::Answer> answers = look::rerun(run, *metric, variants);
    ASSERT_EQ(answers.size(), 12u);
    for (std::size_t i = 0; i < answers.size(); ++i)
      EXPECT_NEAR(answers[i].value, golden.at("scattered").at(i).at("after").get<double>(),
                  allowed(std::string(metric->name())))
          << i;
  });
}

}  // namespace
}  // namespace fovea
