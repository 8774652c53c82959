// What a run keeps is what was said before it was made, byte for byte; a limit is held.
#include "look/recording.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "models/encoder.hpp"
#include "models/recurrent.hpp"
#include "support/errors.hpp"
#include "support/small_marian.hpp"
#include "train/recurrent_start.hpp"

namespace fovea {
namespace {

using testing::refuses;

std::int64_t kept(const models::LayerRecord& r) {
  return r.q.bytes() + r.k.bytes() + r.v.bytes() + r.attention.out.bytes() + r.attention.lse.bytes() +
         r.attention.max.bytes();
}
std::int64_t kept(const std::vector<Tensor>& hidden) {
  std::int64_t sum = 0;
  for (const Tensor& x : hidden) sum += x.bytes();
  return sum;
}

TEST(Recording, SaysBeforeWhatARunKeeps) {
  const Model model = load("demo");
  const fovea::Run run = model("The bank by the river was flooded.");
  const Recording said =
      model.recording(static_cast<int>(run.tokens.size()), static_cast<int>(run.target_tokens().size()));
  ASSERT_EQ(said.layers.size(), run.layers().size());
  std::int64_t all = 0;
  for (std::size_t i = 0; i < said.layers.size(); ++i) {
    const models::LayerRecord& r = run.layers()[i];
    const auto same = [&](const Recording::Layer& l) { return l.kind == r.kind && l.layer == r.layer; };
    const auto found = std::ranges::find_if(said.layers, same);
    ASSERT_NE(found, said.layers.end()) << r.kind << r.layer;
    EXPECT_EQ(found->bytes, kept(r)) << r.kind << r.layer;
    all += kept(r);
  }
  EXPECT_EQ(said.hidden_bytes, kept(run.hidden("encoder")) + kept(run.hidden("decoder")));
  EXPECT_EQ(said.bytes(), all + said.hidden_bytes);
  EXPECT_LT(model.recording(500).bytes(), 11 * model.recording(50).bytes()) << "memory is linear in the text";
  EXPECT_GT(model.recording(500).matrices_bytes, 90 * model.recording(50).matrices_bytes) << "matrices are not";
}

TEST(Recording, OfAdditiveAttention) {
  const train::RecurrentStart start({true, 23, 20, 16, 0}, 1);
  plain::Store store(4);
  for (const std::string& name : start.names()) store.add(name, start.info(name).shape, 0, 0.4);
  const auto config = nlohmann::json::parse(train::recurrent_config_json({true, 23, 20, 16, 0}).dump());
  const models::Recurrent model(models::recurrent_config(config, "small/config.json"),
                                nn::Weights(plain::StoreSource(store)));
  const std::vector<models::Sequence> source{{{3, 4, 5, 6, 1}, {}}}, target{{{0, 7, 8}, {}}};
  models::DecoderPass pass;
  pass.record_attention = pass.record_hidden = true;
  const models::Result read = model.encode(source, pass), written = model.decode(read, target, pass);
  const Recording said = look::recording_of(model.summary(), 5, 3);
  ASSERT_EQ(said.layers.size(), 1u);
  ASSERT_EQ(written.layers.size(), 1u);
  const std::int64_t weights = 4 * 5 * 3;  // inside its score
  EXPECT_EQ(said.layers[0].bytes, kept(written.layers[0]) + weights);
  EXPECT_LE(kept(read.hidden_states) + kept(written.hidden_states), said.hidden_bytes);
}

TEST(Recording, ALimitIsHeldAndSaysWhatFits) {
  Model model = load("demo");
  const std::string text = "The bank by the river was flooded.";
  const fovea::Run run = model(text);
  const int read = static_cast<int>(run.tokens.size()), wrote = static_cast<int>(run.target_tokens().size());
  model.limit_recording(model.recording(read, wrote).bytes());
  EXPECT_EQ(model(text).target_text(), run.target_text());
  model.limit_recording(model.recording(read, wrote).bytes() - 1);  // seen when it has written
  EXPECT_TRUE(refuses([&] { model(text); }, {"translation of", "the limit is", "fits"}));
  model.limit_recording(model.recording(read - 1).bytes());  // seen before it reads
  EXPECT_TRUE(refuses([&] { model(text); },
                      {std::to_string(read) + " tokens keeps", std::to_string(read - 1) + " tokens fits"}));
  model.limit_recording(1);
  EXPECT_TRUE(refuses([&] { model(text); }, {"raise the limit"}));
  model.limit_recording(0);
  EXPECT_EQ(model(text).target_text(), run.target_text());
}

}  // namespace
}  // namespace fovea
