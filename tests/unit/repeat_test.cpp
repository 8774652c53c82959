// Passes repeated in part against whole ones: the same bits wherever somebody reads.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "look/readout.hpp"
#include "look/writing.hpp"
#include "models/marian.hpp"
#include "support/random.hpp"
#include "support/small_marian.hpp"

namespace fovea::look {
namespace {

using testing::Rng;

constexpr int kSource = 7, kSteps = 9;

/// A decoder and an encoder of three layers, and what they keep of one passage.
class Passages {
 public:
  Passages() : store_(plain::marian_store(config_, 5)), source_(store_), model_(config_, nn::Weights(source_)) {
    for (int i = 0; i < kSource; ++i) text_.ids.push_back(2 + (5 * i) % 21);
    for (int i = 0; i < kSteps; ++i) target_.ids.push_back(i == 0 ? 0 : 2 + (4 * i) % 21);
    models::DecoderPass pass;
    pass.record_attention = pass.record_hidden = true;
    read_ = model_.encode({&text_, 1}, pass);
    written_ = model_.decode(read_, {&target_, 1}, pass);
    layers_ = read_.layers;
    layers_.insert(layers_.end(), written_.layers.begin(), written_.layers.end());
  }

  Extent extent(const std::string& kind) const {
    const int heads = kind == "encoder" ? config_.encoder.heads : config_.decoder.heads;
    return {heads, 1, kind == "encoder" ? kSource : kSteps, kind == "decoder" ? kSteps : kSource};
  }
  Rerun rerun(const std::string& kind, std::span<const Variant> variants, bool in_part,
              std::span<const Range> steps) const {
    std::vector<const Variant*> all;
    for (const Variant& v : variants) all.push_back(&v);
    const Passage passage{
        text_, target_, read_, written_,
        in_part ? std::span<const models::LayerRecord>(layers_) : std::span<const models::LayerRecord>()};
    return decode_without(model_, passage, kind, extent(kind), all, steps);
  }
  static constexpr int kLayers = 3;
  const models::Marian& model() const { return model_; }
  const models::Sequence& text() const { return text_; }
  const models::Result& read() const { return read_; }

 private:
  static models::MarianConfig deep() {
    models::MarianConfig c = plain::small_marian();
    c.encoder.layers = c.decoder.layers = kLayers;
    return c;
  }
  models::MarianConfig config_ = deep();
  plain::Store store_;
  plain::StoreSource source_;
  models::Marian model_;
  models::Sequence text_, target_;
  models::Result read_, written_;
  std::vector<models::LayerRecord> layers_;
};

/// Edges of one or two queries, or a key's values, in `lowest` and random layers above it. No query loses its last key.
Variant random_variant(Rng& rng, const std::string& kind, const Extent& of, int lowest) {
  Variant v;
  const bool values = rng.chance(0.25);
  const int first = 1 + rng.below(of.queries - 1), second = rng.chance(0.5) ? first : 1 + rng.below(of.queries - 1);
  const int valued = rng.below(of.keys);
  for (int layer = lowest; layer < Passages::kLayers; ++layer) {
    if (layer > lowest && rng.chance(0.4)) continue;
    for (int head = 0; head < of.heads; ++head) {
      if (values) {
        v.removed.push_back({layer, head, kEveryQuery, valued});
        continue;
      }
      for (const int query : {first, second}) {
        const int key = rng.below(kind == "decoder" ? query : of.keys);
        if (v.removed.empty() || rng.chance(0.7)) v.removed.push_back({layer, head, query, key});
      }
    }
  }
  std::ranges::sort(v.removed);
  v.removed.erase(std::unique(v.removed.begin(), v.removed.end()), v.removed.end());
  return v;
}

void expect_same_rows(const Rerun& part, const Rerun& whole, std::span<const Range> steps) {
  ASSERT_EQ(part.written.ends, whole.written.ends);
  for (std::size_t i = 0; i < steps.size(); ++i)
    for (int s = steps[i].begin; s < steps[i].end; ++s) {
      const std::size_t row = i * kSteps + static_cast<std::size_t>(s);
      EXPECT_TRUE(std::ranges::equal(row_of(part.written.hidden, row), row_of(whole.written.hidden, row)))
          << "copy " << i << " step " << s;
    }
  ASSERT_EQ(part.read.hidden.empty(), whole.read.hidden.empty());
  if (whole.read.hidden.empty()) return;
  EXPECT_TRUE(std::ranges::equal(part.read.hidden.values<float>(), whole.read.hidden.values<float>()));
}

TEST(Repeat, EveryRowThatIsReadHasTheBitsOfAWholePass) {
  const Passages p;
  Rng rng(3);
  for (const std::string kind : {"encoder", "decoder", "cross"})
    for (int round = 0; round < 12; ++round) {
      const int lowest = rng.below(Passages::kLayers);
      std::vector<Variant> variants;
      std::vector<Range> steps;
      for (int i = 0; i < 5; ++i) {
        variants.push_back(random_variant(rng, kind, p.extent(kind), lowest));
        const int first = rng.below(kSteps);
        steps.push_back(rng.chance(0.3) ? Range{0, kSteps} : Range{first, rng.in(first + 1, kSteps)});
      }
      SCOPED_TRACE(kind + " round " + std::to_string(round));
      expect_same_rows(p.rerun(kind, variants, true, steps), p.rerun(kind, variants, false, {}), steps);
    }
}

TEST(Repeat, WhatIsNotReachedStaysAsItWas) {
  const Passages p;
  // Step 5 of the decoder no longer sees step 2: what earlier steps say cannot change.
  const Variant v{{{0, 0, 5, 2}}, {5}};
  const std::vector<Range> all{{0, kSteps}};
  const Rerun cut = p.rerun("decoder", {&v, 1}, true, all);
  const Variant nothing{{{2, 0, 5, 2}}, {5}};
  const Rerun later = p.rerun("decoder", {&nothing, 1}, true, all);
  for (std::size_t s = 0; s < kSteps; ++s) {
    const bool same = std::ranges::equal(row_of(cut.written.hidden, s), row_of(later.written.hidden, s));
    EXPECT_EQ(same, s < 5) << "step " << s;
  }
}

TEST(Repeat, WhatWasNotRecordedIsRefused) {
  const Passages p;
  const Variant v{{{0, 0, 1, 2}}, {1}};
  const Variant* one = &v;
  const std::vector<Range> all{{0, kSource}};
  const auto repeated_from = [&](const models::Result& recorded) {
    const models::Repeat repeat = repeat_of(recorded, recorded.layers, "encoder", p.extent("encoder"), {&one, 1}, all);
    models::Pass pass;
    pass.repeat = &repeat;
    return p.model().encode({&p.text(), 1}, pass);
  };
  EXPECT_EQ(repeated_from(p.read()).ends, std::vector{kSource});
  models::Result other = p.read();
  other.hidden_states.pop_back();
  EXPECT_THROW(repeated_from(other), Error);
  models::Result no_layers = p.read();
  no_layers.layers.clear();
  EXPECT_THROW(repeated_from(no_layers), Error);
}

}  // namespace
}  // namespace fovea::look
