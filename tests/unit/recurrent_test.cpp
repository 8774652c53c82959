// Recurrent layers over padded batches: what padding may not change, and what PyTorch says of the whole.
#include "nn/recurrent.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "io/safetensors.hpp"
#include "ops/additive_attention.hpp"
#include "ops/linear.hpp"
#include "ops/tape.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"

namespace fovea::nn {
namespace {

using testing::refuses;
using Tensors = std::map<std::string, Tensor>;

class MapSource final : public TensorSource {
 public:
  explicit MapSource(const Tensors& tensors) : tensors_(tensors) {}
  std::string where() const override { return "small.safetensors"; }
  std::vector<std::string> names() const override {
    std::vector<std::string> n;
    for (const auto& [name, tensor] : tensors_) n.push_back(name);
    return n;
  }
  bool contains(const std::string& name) const override { return tensors_.contains(name); }
  StoredTensor info(const std::string& name) const override {
    const Tensor& t = tensors_.at(name);
    return {t.dtype(), name_of(t.dtype()), t.shape()};
  }
  Tensor tensor(const std::string& name) const override { return tensors_.at(name); }

 private:
  const Tensors& tensors_;
};

constexpr int kIn = 7, kWidth = 4;
const char* const kNames[] = {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"};

Tensor random_tensor(const Shape& shape, std::uint64_t seed) {
  testing::Rng random(seed);
  Tensor t(DType::F32, shape);
  for (float& x : t.values<float>()) x = static_cast<float>(random.uniform(-1, 1));
  return t;
}

Tensors gru_tensors() {
  Tensors t;
  for (const std::string suffix : {"", "_reverse"}) {
    t[kNames[0] + suffix] = random_tensor({3 * kWidth, kIn}, 1 + suffix.size());
    t[kNames[1] + suffix] = random_tensor({3 * kWidth, kWidth}, 2 + suffix.size());
    t[kNames[2] + suffix] = random_tensor({3 * kWidth}, 3 + suffix.size());
    t[kNames[3] + suffix] = random_tensor({3 * kWidth}, 4 + suffix.size());
  }
  return t;
}

/// x [time, batch, width], one sequence of it cut to its length: [length, 1, width].
Tensor alone(const Tensor& x, std::int64_t sequence, std::int64_t length) {
  const std::int64_t batch = x.shape()[1], width = x.shape()[2];
  Tensor y(DType::F32, {length, 1, width});
  for (std::int64_t t = 0; t < length; ++t)
    std::copy_n(x.data<float>() + (t * batch + sequence) * width, width, y.data<float>() + t * width);
  return y;
}

std::vector<float> values(const Tensor& t) { return {t.values<float>().begin(), t.values<float>().end()}; }

TEST(BidirectionalGru, ASequenceHasTheSameBitsAloneAndInABatch) {
  const Tensors tensors = gru_tensors();
  const MapSource source(tensors);
  const BidirectionalGru gru(Weights(source), kIn, kWidth);
  const std::vector<int> lengths{5, 2, 0, 3};
  Tensor x = random_tensor({5, 4, kIn}, 9);
  const Tensor states = gru(x, lengths);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const auto sequence = static_cast<std::int64_t>(i);
    if (lengths[i] > 0) {
      EXPECT_EQ(values(alone(states, sequence, lengths[i])),
                values(gru(alone(x, sequence, lengths[i]), std::vector{lengths[i]})));
    }
    const auto s = states.as<float, 3>();
    for (int t = lengths[i]; t < 5; ++t)
      for (int c = 0; c < 2 * kWidth; ++c) EXPECT_EQ(s(t, i, c), 0) << "beyond the end of sequence " << i;
  }
}

TEST(BidirectionalGru, NeverSeesPadding) {
  const Tensors tensors = gru_tensors();
  const MapSource source(tensors);
  const BidirectionalGru gru(Weights(source), kIn, kWidth);
  const std::vector<int> lengths{5, 2};
  Tensor x = random_tensor({5, 2, kIn}, 9);
  const std::vector<float> before = values(gru(x, lengths));
  for (int t = 2; t < 5; ++t)
    for (int c = 0; c < kIn; ++c) x.as<float, 3>()(t, 1, c) = 100;
  EXPECT_EQ(values(gru(x, lengths)), before);
}

TEST(BidirectionalGru, BackwardIsForwardOfTheReversedSequence) {
  const Tensors tensors = gru_tensors();
  Tensors swapped;
  for (const std::string name : kNames) swapped[name] = tensors.at(name + "_reverse");
  const MapSource source(tensors), swapped_source(swapped);
  const Gru backward(Weights(source), kIn, kWidth, Direction::Backward), forward(Weights(swapped_source), kIn, kWidth);
  const Tensor x = random_tensor({6, 1, kIn}, 9);
  const auto reversed = [](const Tensor& t) {
    Tensor y(DType::F32, t.shape());
    const std::int64_t width = t.shape()[2];
    for (std::int64_t i = 0; i < 6; ++i)
      std::copy_n(t.data<float>() + (5 - i) * width, width, y.data<float>() + i * width);
    return y;
  };
  EXPECT_EQ(values(backward(x, std::vector{6})), values(reversed(forward(reversed(x), std::vector{6}))));
}

TEST(GruCell, StepsMakeTheSequence) {
  const Tensors tensors = gru_tensors();
  Tensors cell_tensors;
  for (const std::string name : kNames) cell_tensors[name.substr(0, name.size() - 3)] = tensors.at(name);
  const MapSource source(tensors), cell_source(cell_tensors);
  const Gru gru(Weights(source), kIn, kWidth);
  const GruCell cell(Weights(cell_source), kIn, kWidth);
  const Tensor x = random_tensor({4, 2, kIn}, 9), initial = random_tensor({2, kWidth}, 10);
  const std::vector<float> states = values(gru(x, std::vector{4, 4}, initial));
  Tensor state = initial;
  for (int t = 0; t < 4; ++t) {
    Tensor now(DType::F32, {2, kIn});
    std::copy_n(x.data<float>() + t * 2 * kIn, 2 * kIn, now.data<float>());
    state = cell(now, state);
    const auto at = states.begin() + t * 2 * kWidth;
    EXPECT_EQ(values(state), std::vector<float>(at, at + 2 * kWidth)) << "step " << t;
  }
}

/// Loss and gradients through the layer itself, its weights found by name and watched where they lie.
TEST(BidirectionalGru, AgreesWithPyTorch) {
  const io::SafeTensors file(FOVEA_TEST_DATA "/gradients.safetensors");
  const auto golden = [&](const std::string& what) { return file.tensor("bidirectional_gru." + what); };
  Tensors tensors;
  for (int i = 0; i < 8; ++i)
    tensors[kNames[i % 4] + std::string(i < 4 ? "" : "_reverse")] = golden("in" + std::to_string(i + 1));
  const MapSource source(tensors);
  const BidirectionalGru gru(Weights(source), kIn, kWidth);
  const Tensor x = golden("in0");
  Tape tape;
  tape.watch(x);
  for (const auto& [name, t] : tensors) tape.watch(t);
  const Tensor out = gru(x, std::vector{5, 2, 3});
  const Shape row{1, out.elements()};
  tape.backward(linear(out.reshape(row), golden("dout").reshape(row), {}));
  const auto expect_near = [](const Tensor& found, const Tensor& expected) {
    for (std::size_t i = 0; i < expected.values<double>().size(); ++i)
      EXPECT_NEAR(static_cast<double>(found.values<float>()[i]), expected.values<double>()[i], 1e-5);
  };
  expect_near(out, golden("out"));
  expect_near(tape.gradient(x), golden("d0"));
  for (int i = 0; i < 8; ++i)
    expect_near(tape.gradient(tensors.at(kNames[i % 4] + std::string(i < 4 ? "" : "_reverse"))),
                golden("d" + std::to_string(i + 1)));
}

TEST(Gru, SaysWhatDoesNotFit) {
  const Tensors tensors = gru_tensors();
  const MapSource source(tensors);
  const Gru gru(Weights(source), kIn, kWidth);
  const Tensor x = random_tensor({5, 2, kIn}, 9);
  EXPECT_TRUE(refuses([&] { Gru(Weights(source), kIn, 3); }, {"weight_ih_l0", "[12, 7]", "[9, 7]"}));
  EXPECT_TRUE(refuses([&] { gru(x, std::vector{5}); }, {"1 lengths", "batch of 2"}));
  EXPECT_TRUE(refuses([&] { gru(x, std::vector{5, 6}); }, {"length 1 is 6", "0 to 5"}));
  EXPECT_TRUE(refuses([&] { gru(x.reshape({10, kIn}), std::vector{5, 6}); }, {"[10, 7]", "[time, batch, width]"}));
  EXPECT_TRUE(refuses([&] { gru(x, std::vector{5, 5}, random_tensor({1, kWidth}, 1)); }, {"initial", "[2, 4]"}));
}

// --------------------------------------------------------------------------------------------------- additive
// attention

TEST(AdditiveAttention, WeightsAreADistributionOverWhatTheSequenceHas) {
  const Tensor queries = random_tensor({3, 2, 9}, 1), direction = random_tensor({9}, 3),
               values_in = random_tensor({6, 2, 5}, 4);
  Tensor keys = random_tensor({6, 2, 9}, 2);
  const std::vector<int> lengths{6, 4};
  for (int t = 4; t < 6; ++t)  // what is beyond a sequence's end is not even read
    for (int c = 0; c < 9; ++c) keys.as<float, 3>()(t, 1, c) = std::numeric_limits<float>::quiet_NaN();
  const AdditiveAttention a = attend_additive(queries, keys, direction, values_in, lengths);
  const auto w = a.weights.as<float, 3>();
  const auto o = a.out.as<float, 3>(), v = values_in.as<float, 3>();
  for (int b = 0; b < 2; ++b)
    for (int q = 0; q < 3; ++q) {
      double sum = 0;
      for (int k = 0; k < 6; ++k) sum += static_cast<double>(w(b, q, k));
      EXPECT_NEAR(sum, 1, 1e-6);
      for (int k = lengths[static_cast<std::size_t>(b)]; k < 6; ++k) EXPECT_EQ(w(b, q, k), 0);
      for (int c = 0; c < 5; ++c) {
        float mean = 0;
        for (int k = 0; k < 6; ++k) mean += w(b, q, k) * v(k, b, c);
        EXPECT_NEAR(o(q, b, c), mean, 1e-6);
      }
    }
  EXPECT_TRUE(refuses(
      [&] {
        attend_additive(queries, keys, direction, values_in, std::vector{6, 0});
      },
      {"0 keys", "1 to 6"}));
}

}  // namespace
}  // namespace fovea::nn
