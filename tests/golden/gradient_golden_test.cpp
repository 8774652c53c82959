// Operators and their gradients against PyTorch's autograd: data/gradients.safetensors, made by gradient_goldens.py.
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fovea/cpu.hpp>

#include "io/safetensors.hpp"
#include "ops/additive_attention.hpp"
#include "ops/attention.hpp"
#include "ops/cross_entropy.hpp"
#include "ops/embedding.hpp"
#include "ops/join.hpp"
#include "ops/linear.hpp"
#include "ops/norm.hpp"
#include "ops/pointwise.hpp"
#include "ops/recurrent.hpp"
#include "ops/softmax.hpp"
#include "support/gradients.hpp"
#include "support/isa.hpp"

namespace fovea {
namespace {

using testing::Differentiable;
using In = std::span<const Tensor>;

// Relative to the largest number of a tensor: another order of summation, another library's exp. PyTorch's own GELU in
// float64 is exact to its last digits, and so is the rest.
constexpr double kDouble = 1e-12, kSingle = 1e-5;
constexpr float kEps = 1e-5f;
constexpr int kIds[] = {2, 0, 2, 5, 2, 1}, kTargets[] = {1, -1, 0, 34, 8}, kLengths[] = {5, 2, 3};

auto activation(Activation a) {
  return [a](In x) { return activate(x[0], a); };
}

/// Rows [first, first + 8) of a matrix of 8 columns, or of a vector.
Tensor third_of(const Tensor& t, int first) {
  std::array<int, 8> rows;
  std::iota(rows.begin(), rows.end(), first);
  if (t.shape().rank() == 1) return embedding(t.reshape({t.elements(), 1}), rows).reshape({8});
  return embedding(t, rows);
}

/// PyTorch keeps the three projections of self-attention in one matrix.
Tensor encoder_layer(In x) {
  const std::int64_t tokens = x[0].shape()[1];
  const Tensor in = x[0].reshape({tokens, 8});
  const auto project = [&](int first) {
    return linear(in, third_of(x[1], first), third_of(x[2], first)).reshape({1, tokens, 2, 4});
  };
  const Tensor joined = attend_recorded(project(0), project(8), project(16), {}).out.reshape({tokens, 8});
  const Tensor attended = layer_norm(add(linear(joined, x[3], x[4]), in), x[9], x[10], kEps);
  const Tensor hidden = activate(linear(attended, x[5], x[6]), Activation::Gelu);
  return layer_norm(add(linear(hidden, x[7], x[8]), attended), x[11], x[12], kEps);
}

Tensor lstm(In x) {
  const LstmState s = lstm_cell(linear(x[0], x[3], x[5]), linear(x[1], x[4], x[6]), x[2]);
  return join_columns(std::array{s.hidden, s.memory});
}

/// Parameters in PyTorch's order: W_ih, W_hh, b_ih, b_hh of each direction.
Tensor bidirectional_gru(In x) {
  const auto run = [&](std::size_t i, Direction direction) {
    const Tensor from_input = linear(x[0].reshape({15, 7}), x[i], x[i + 2]).reshape({5, 3, 12});
    return gru_sequence(from_input, x[i + 1], x[i + 3], {}, kLengths, direction).reshape({15, 4});
  };
  return join_columns(std::array{run(1, Direction::Forward), run(5, Direction::Backward)});
}

/// By the names of gradient_goldens.py; how many inputs there are, the file says.
std::vector<Differentiable> operators() {
  return {
      {"relu", {}, activation(Activation::Relu)},
      {"gelu", {}, activation(Activation::Gelu)},
      {"gelu_tanh", {}, activation(Activation::GeluTanh)},
      {"gelu_quick", {}, activation(Activation::GeluQuick)},
      {"silu", {}, activation(Activation::Silu)},
      {"tanh", {}, activation(Activation::Tanh)},
      {"sigmoid", {}, activation(Activation::Sigmoid)},
      {"linear", {}, [](In x) { return linear(x[0], x[1], x[2]); }},
      {"layer_norm", {}, [](In x) { return layer_norm(x[0], x[1], x[2], kEps); }},
      {"rms_norm", {}, [](In x) { return rms_norm(x[0], x[1], kEps); }},
      {"softmax", {}, [](In x) { return softmax(x[0]); }},
      {"log_softmax", {}, [](In x) { return log_softmax(x[0]); }},
      {"embedding", {}, [](In x) { return embedding(x[0], kIds); }},
      {"cross_entropy", {}, [](In x) { return cross_entropy(x[0], kTargets); }},
      {"cross_entropy_smooth", {}, [](In x) { return cross_entropy(x[0], kTargets, {.smoothing = 0.125f}); }},
      {"attention_causal", {}, [](In x) { return attend_recorded(x[0], x[1], x[2], AttentionSpec(causal())).out; }},
      {"encoder_layer", {}, encoder_layer},
      {"gru_cell", {}, [](In x) { return gru_cell(linear(x[0], x[2], x[4]), linear(x[1], x[3], x[5]), x[1]); }},
      {"lstm_cell", {}, lstm},
      {"bidirectional_gru", {}, bidirectional_gru},
      {"additive_attention", {}, [](In x) { return attend_additive(x[0], x[1], x[2], x[3], kLengths).out; }},
  };
}

const io::SafeTensors& goldens() {
  static const io::SafeTensors file(FOVEA_TEST_DATA "/gradients.safetensors");
  return file;
}

/// max |found − expected| / max(1, |expected|).
double distance(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(found.elements(), expected.elements());
  const std::vector<double> a = testing::doubles(found), b = testing::doubles(expected);
  double worst = 0, largest = 1;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double gap = std::abs(a[i] - b[i]);
    if (!(gap <= worst)) worst = gap;  // a NaN too
    largest = std::max(largest, std::abs(b[i]));
  }
  return worst / largest;
}

class GradientGolden : public ::testing::TestWithParam<Differentiable> {
 protected:
  Tensor golden(const std::string& what) const { return goldens().tensor(fmt::format("{}.{}", GetParam().name, what)); }

  void expect(DType type, double bound) const {
    std::vector<Tensor> inputs;
    while (goldens().contains(fmt::format("{}.in{}", GetParam().name, inputs.size())))
      inputs.push_back(golden(fmt::format("in{}", inputs.size())).to(type));
    const testing::Found found = testing::run_on_tape(GetParam(), inputs, golden("dout").to(type));
    EXPECT_LE(distance(found.out, golden("out")), bound);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      EXPECT_LE(distance(found.gradients[i], golden(fmt::format("d{}", i))), bound) << "towards input " << i;
  }
};

TEST_P(GradientGolden, InDoublePrecision) { expect(DType::F64, kDouble); }

TEST_P(GradientGolden, InSinglePrecisionOnEveryInstructionSet) {
  for (const Isa isa : usable_isas()) {
    const testing::UseIsa use(name_of(isa));
    SCOPED_TRACE(name_of(isa));
    expect(DType::F32, kSingle);
  }
}

INSTANTIATE_TEST_SUITE_P(, GradientGolden, ::testing::ValuesIn(operators()),
                         [](const auto& c) { return c.param.name; });

TEST(GradientGoldens, AreAllHeldTo) {
  std::set<std::string> in_file, here;
  for (const std::string& name : goldens().names()) in_file.insert(name.substr(0, name.find('.')));
  for (const Differentiable& c : operators()) here.insert(c.name);
  EXPECT_EQ(in_file, here);
}

}  // namespace
}  // namespace fovea
