// Measured effects in models that write, against transformers: data/writing.json, made by writing_goldens.py. Edges of
// the encoder, of the decoder and between them, values too, in two small Marians and a BART; what each writes without
// them.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "models/encoder.hpp"

namespace fovea {
namespace {

using nlohmann::json;

constexpr double kWeight = 5e-6, kLogit = 2e-4, kLocal = 5e-5;  // f32 against f64; of logits up to 10, sums of up to 20

MeasureQuery query_of(const json& q) {
  MeasureQuery query;
  for (const json& cut : q.value("cuts", json::array()))
    query.cuts.push_back({std::to_string(cut.at(0).get<int>()), std::to_string(cut.at(1).get<int>())});
  if (q.contains("values")) query.values = std::to_string(q.at("values").get<int>());
  if (q.contains("target")) query.target = std::to_string(q.at("target").get<int>());
  query.layers = q.at("layers").get<std::vector<int>>(), query.heads = q.at("heads").get<std::vector<int>>();
  query.kind = q.at("kind"), query.against = q.value("against", "");
  return query;
}

/// Whether the edges that are cut from some row of a head are all but 5e-7 of its weight.
bool takes_a_whole_row(const fovea::Run& run, const MeasureQuery& query) {
  bool whole = false;
  for (const models::LayerRecord& record : run.layers()) {
    if (record.kind != query.kind || std::ranges::find(query.layers, record.layer) == query.layers.end()) continue;
    for (const int head : query.heads) {
      std::map<int, double> left;  // by query
      for (const Cut& cut : query.cuts) {
        const int row = std::stoi(cut.from), key = std::stoi(cut.to);
        const std::vector<float> weights = record.attention.weights({0, head, row});
        double& rest = left.try_emplace(row, std::accumulate(weights.begin(), weights.end(), 0.0)).first->second;
        rest -= static_cast<double>(weights[static_cast<std::size_t>(key)]);
      }
      for (const auto& [row, rest] : left) whole = whole || rest < 5e-7;
    }
  }
  return whole;
}

TEST(WritingGolden, EffectsAndWhatIsWrittenInstead) {
  std::ifstream file(FOVEA_TEST_DATA "/writing.json");
  const json all = json::parse(file);
  ASSERT_EQ(all.size(), 3u);
  std::map<std::string, int> questions, changed;  // by kind
  double largest = 0;
  for (const auto& [name, golden] : all.items()) {
    SCOPED_TRACE(name);
    const fovea::Run run = load(std::string(FOVEA_TEST_DATA "/") + name)(golden.at("text").get<std::string>());
    std::vector<int> ids;
    for (const Token& t : run.target_tokens()) ids.push_back(t.id);
    ASSERT_EQ(ids, golden.at("target").get<std::vector<int>>());
    for (const json& q : golden.at("questions")) {
      SCOPED_TRACE(q.dump());
      const json& want = q.at("expected");
      const Effect e = run.measure(query_of(q));
      EXPECT_EQ(e.metric, want.at("metric").get<std::string>());
      EXPECT_NEAR(e.before, want.at("before").get<double>(), kLogit);
      EXPECT_NEAR(e.after, want.at("after").get<double>(), kLogit);
      EXPECT_NEAR(e.weight, want.at("weight").get<double>(), kWeight);
      if (takes_a_whole_row(run, query_of(q)))  // to float's last digits: nothing is left to look at
        EXPECT_TRUE(std::isinf(e.local_effect));
      else
        EXPECT_NEAR(e.local_effect, want.at("local_effect").get<double>(), kLocal);
      EXPECT_NEAR(e.norm_weighted, want.at("norm_weighted").get<double>(), kLocal);
      EXPECT_NEAR(e.logit_effect, want.at("logit_effect").get<double>(), 2 * kLogit);
      EXPECT_NEAR(e.log_probability_effect, want.at("log_probability_effect").get<double>(), 2 * kLogit);
      EXPECT_NEAR(e.kl, want.at("kl").get<double>(), kLogit);
      EXPECT_EQ(e.output_before, want.at("output").at(0).get<std::string>());
      EXPECT_EQ(e.output_after, want.at("output").at(1).get<std::string>());
      const std::string kind = q.at("kind");
      ++questions[kind], changed[kind] += e.output_before != e.output_after;
      largest = std::max(largest, std::abs(e.effect));
    }
  }
  for (const char* kind : {"encoder", "decoder", "cross"}) {
    EXPECT_EQ(questions[kind], 18) << kind;
    EXPECT_GE(changed[kind], 3) << kind << ": texts that stay as they are show little";
  }
  EXPECT_GT(largest, 1) << "the effects are next to nothing: this shows little";
}

}  // namespace
}  // namespace fovea
