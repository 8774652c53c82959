// Slopes of what a writing model says, in the heads of each kind of its attention, against the model run again with
// heads' outputs moved a little both ways.
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "look/choice.hpp"
#include "look/demo_model.hpp"
#include "look/slopes.hpp"
#include "support/random.hpp"

namespace fovea::testing {
namespace {

/// The textbook's sentence as the demo model reads and writes it.
struct Told {
  look::ModelParts model{look::demo_folder()};
  look::Reading reading = model.reader.read("The animal didn't cross the street because it was too tired.", {},
                                            look::TooLong::Refuse, "the text");
  models::Result read;
  look::Writing writing;

  Told() {
    models::Pass pass;
    pass.record_attention = pass.record_hidden = true;
    read = model.writer->encode({&reading.sequence, 1}, pass);
    writing = look::write(model, reading.sequence, read);
  }
  look::Original run(const std::string& kind) const {
    return {model, read, reading.tokens,
            look::records_of_kind(kind == "encoder" ? read.layers : writing.result.layers, kind), &writing};
  }
  /// The metric where the heads of one layer put out `edit` of what they do.
  double with(const look::Metric& metric, const std::string& kind, int layer,
              const std::function<void(std::span<float>)>& edit) const {
    const auto edited = [&](int at, const Tensor& out) {
      if (at != layer) return out;
      Tensor moved = out.clone();
      edit(moved.values<float>());
      return moved;
    };
    models::Pass reading_pass;
    models::DecoderPass pass;
    if (kind == "encoder") reading_pass.heads = edited;
    if (kind == "decoder") pass.heads = edited;
    if (kind == "cross") pass.cross_heads = edited;
    const models::Sequence target = look::sequence_of(writing.inputs);
    const models::Result source = model.writer->encode({&reading.sequence, 1}, reading_pass);
    const look::Variant as_it_is{{}, {0}};
    const look::Variant* asked = &as_it_is;
    return metric.read(model.writer->decode(source, {&target, 1}, pass), {&asked, 1}).front().value;
  }
};

TEST(WritingSlopes, AreThoseOfTheModelMovedALittle) {
  const Told told;
  Rng rng(7);
  for (const auto& [target, against] : {std::pair<std::string, std::string>{"il", "elle"}, {"fatigué", ""}, {"", ""}}) {
    const auto metric = look::writing_metric(told.model, told.writing, target, against);
    for (const std::string kind : {"encoder", "decoder", "cross"}) {
      const std::vector<Tensor> slopes = look::slopes_of(told.run(kind), *metric);
      ASSERT_EQ(slopes.size(), told.run(kind).records.size());
      for (int layer = 0; layer < static_cast<int>(slopes.size()); ++layer) {
        SCOPED_TRACE(kind + " layer " + std::to_string(layer) + " target " + target);
        const std::span<const float> g = slopes[static_cast<std::size_t>(layer)].values<float>();
        std::vector<float> way;  // half of it along the slope, so that there is something to see
        double length = 0, along = 0;
        for (const float x : g) length += static_cast<double>(x) * static_cast<double>(x);
        length = std::sqrt(length);
        ASSERT_GT(length, 1e-4);
        for (const float x : g)
          way.push_back(static_cast<float>(static_cast<double>(x) / length +
                                           rng.normal() / std::sqrt(static_cast<double>(g.size()))));
        for (std::size_t i = 0; i < g.size(); ++i) along += static_cast<double>(g[i]) * static_cast<double>(way[i]);
        constexpr double kStep = 0.01;
        const auto moved = [&](double step) {
          return told.with(*metric, kind, layer, [&](std::span<float> out) {
            for (std::size_t i = 0; i < out.size(); ++i)
              out[i] += static_cast<float>(step * static_cast<double>(way[i]));
          });
        };
        EXPECT_NEAR((moved(kStep) - moved(-kStep)) / (2 * kStep), along, 0.003 + 0.02 * std::abs(along));
      }
    }
  }
}

TEST(WritingSlopes, StandBesideEveryEdgeOfASurvey) {
  const fovea::Run run = load("demo")("The animal didn't cross the street because it was too tired.");
  for (const std::string kind : {"encoder", "decoder", "cross"}) {
    const Survey s = run.survey({.unit = SurveyQuery::Unit::Heads, .kind = kind, .target = "il", .against = "elle"});
    for (const Survey::Item& x : s.items) EXPECT_TRUE(std::isfinite(x.gradient_effect)) << kind;
  }
  const Effect e = run.measure({.from = "animal", .to = "tired", .target = "il", .against = "elle"});
  EXPECT_TRUE(std::isfinite(e.gradient_effect));
}

}  // namespace
}  // namespace fovea::testing
