// The table of differentiable operators. Each is held to central differences in float64, and its f32 gradients to its
// float64 ones, on every instruction set of this machine.
#include <array>

#include <gtest/gtest.h>

#include <fovea/cpu.hpp>
#include <fovea/threads.hpp>

#include "ops/additive_attention.hpp"
#include "ops/attention.hpp"
#include "ops/cross_entropy.hpp"
#include "ops/dropout.hpp"
#include "ops/embedding.hpp"
#include "ops/join.hpp"
#include "ops/linear.hpp"
#include "ops/norm.hpp"
#include "ops/pointwise.hpp"
#include "ops/recurrent.hpp"
#include "ops/repeated_linear.hpp"
#include "ops/softmax.hpp"
#include "support/gradients.hpp"
#include "support/isa.hpp"

namespace fovea {
namespace {

using testing::Differentiable;
using testing::Argument;
using In = std::span<const Tensor>;

constexpr double kDifferences = 1e-6, kSingle = 1e-5;
constexpr float kEps = 1e-5f;

// What specs borrow.
constexpr int kEnds[] = {3, 4, 9}, kKeyEnds[] = {2, 6, 9}, kQueryLengths[] = {5, 3}, kKeyLengths[] = {4, 6};
constexpr int kIds[] = {2, 0, 2, 5, 2, 1}, kTargets[] = {1, -1, 0, 34, 8};

Differentiable activation(const char* name, Activation a) {
  return {name, {{{3, 19}}}, [a](In x) { return activate(x[0], a); }};
}

/// q, k, v of 2 heads that share one KV head, for any spec.
template <class... Parts>
Differentiable attention(const char* name, std::int64_t batch, std::int64_t queries, std::int64_t keys,
                         Parts... parts) {
  return {name, {{{batch, queries, 2, 6}}, {{batch, keys, 1, 6}}, {{batch, keys, 1, 5}}}, [=](In x) {
            return attend_recorded(x[0], x[1], x[2], AttentionSpec(parts...)).out;
          }};
}

Tensor attention_with_sinks(In x) {
  return attend_recorded(x[0], x[1], x[2], AttentionSpec(causal(), sinks(x[3].values<float>()))).out;
}

/// A whole post-norm transformer layer, width 8, two heads; x feeds four operators.
Tensor post_norm_layer(In x) {
  const std::int64_t rows = x[0].shape()[0];
  const Shape heads{1, rows, 2, 4};
  // Keys have no bias: it moves all scores of a row alike, so its gradient is 0 and its rounding all there is.
  const auto project = [&](std::size_t i, const Tensor& bias) { return linear(x[0], x[i], bias).reshape(heads); };
  const AttentionSpec spec(packed(kEnds));
  const Tensor joined =
      attend_recorded(project(1, x[2]), project(3, {}), project(4, x[5]), spec).out.reshape({rows, 8});
  const Tensor attended = layer_norm(add(dropout(linear(joined, x[6], x[7]), 0.2f), x[0]), x[8], x[9], kEps);
  const Tensor hidden = dropout(activate(linear(attended, x[10], x[11]), Activation::Gelu), 0.1f);
  return layer_norm(add(linear(hidden, x[12], x[13]), attended), x[14], x[15], kEps);
}

std::vector<Argument> layer_inputs() {
  const Argument x{{9, 8}}, square{{8, 8}}, row{{8}}, up{{12, 8}}, hidden{{12}}, down{{8, 12}};
  return {x, square, row, square, square, row, square, row, row, row, up, hidden, down, row, row, row};
}

std::vector<Differentiable> pointwise_table() {
  return {
      activation("relu", Activation::Relu),
      activation("gelu", Activation::Gelu),
      activation("gelu_tanh", Activation::GeluTanh),
      activation("gelu_quick", Activation::GeluQuick),
      activation("silu", Activation::Silu),
      activation("tanh", Activation::Tanh),
      activation("sigmoid", Activation::Sigmoid),
      activation("identity", Activation::Identity),
      {"add", {{{3, 7}}, {{3, 7}}}, [](In x) { return add(x[0], x[1]); }},
      {"multiply", {{{3, 7}}, {{3, 7}}}, [](In x) { return multiply(x[0], x[1]); }},
      {"scale", {{{3, 7}}}, [](In x) { return scale(x[0], -2.5); }},
      {"dropout", {{{9, 13}}}, [](In x) { return dropout(x[0], 0.3f); }},
  };
}

std::vector<Differentiable> row_table() {
  return {
      {"linear", {{{5, 7}}, {{3, 7}}, {{3}}}, [](In x) { return linear(x[0], x[1], x[2]); }},
      {"linear_without_bias", {{{2, 9}}, {{67, 9}}}, [](In x) { return linear(x[0], x[1], {}); }},
      {"layer_norm", {{{5, 37}}, {{37}}, {{37}}}, [](In x) { return layer_norm(x[0], x[1], x[2], kEps); }},
      {"rms_norm", {{{5, 37}}, {{37}}}, [](In x) { return rms_norm(x[0], x[1], kEps); }},
      {"softmax", {{{4, 35}}}, [](In x) { return softmax(x[0]); }},
      {"log_softmax", {{{4, 35}}}, [](In x) { return log_softmax(x[0]); }},
      {"embedding", {{{6, 5}}}, [](In x) { return embedding(x[0], kIds); }},
      {"cross_entropy", {{{5, 35}}}, [](In x) { return cross_entropy(x[0], kTargets); }},
      {"cross_entropy_smooth", {{{5, 35}}}, [](In x) { return cross_entropy(x[0], kTargets, {.smoothing = 0.1f}); }},
  };
}

std::vector<Differentiable> attention_table() {
  return {
      attention("attention", 2, 5, 7),
      attention("attention_causal_softcap", 1, 5, 7, causal(), softcap(2)),
      attention("attention_alibi", 1, 5, 7, alibi({0.5f, 0.25f}), scale(0.7)),
      attention("attention_window", 1, 9, 9, window(2, 1)),
      attention("attention_packed", 1, 9, 9, packed(kEnds, kKeyEnds)),
      attention("attention_lengths", 2, 5, 7, lengths(kQueryLengths, kKeyLengths)),
      {"attention_sinks", {{{1, 5, 2, 6}}, {{1, 7, 2, 6}}, {{1, 7, 2, 5}}, {{2}, true}}, attention_with_sinks},
  };
}

constexpr int kSteps[] = {5, 2, 3}, kSources[] = {5, 3};

Differentiable gru(const char* name, Direction direction) {
  return {name, {{{5, 3, 12}}, {{12, 4}}, {{12}}, {{3, 4}}}, [=](In x) {
            return gru_sequence(x[0], x[1], x[2], x[3], kSteps, direction);
          }};
}

/// A cell of width 17, so that vectors have a rest; `which` says what of its results counts.
Differentiable lstm(const char* name, Tensor (*which)(const LstmState&)) {
  return {name, {{{2, 68}}, {{2, 68}}, {{2, 17}}}, [=](In x) { return which(lstm_cell(x[0], x[1], x[2])); }};
}

/// One step of Bahdanau's decoder after his encoder: states of both directions, attention from the state before, a GRU.
Tensor attentive_step(In x) {
  const Tensor zeros(x[0].dtype(), {3, 4});
  const std::array both{gru_sequence(x[0], x[1], x[2], zeros, kSteps, Direction::Forward).reshape({15, 4}),
                        gru_sequence(x[0], x[1], x[2], {}, kSteps, Direction::Backward).reshape({15, 4})};
  const Tensor states = join_columns(both);
  const Tensor before = embedding(states, std::array{0, 1, 2});  // the first of each sequence
  const Tensor keys = linear(states, x[3], {}), query = linear(before, x[4], {});
  const Tensor context =
      attend_additive(query.reshape({1, 3, 6}), keys.reshape({5, 3, 6}), x[5], states.reshape({5, 3, 8}), kSteps).out;
  return gru_cell(linear(context.reshape({3, 8}), x[6], {}), linear(before, x[6], {}), before);
}

/// Three calls of one layer, of which the second sees what the first gave.
Tensor repeated_linear(In x) {
  const RepeatedLinear layer(x[1], x[2]);
  const Tensor first = layer(x[0]);
  return join_rows(std::array{first, layer(activate(first, Activation::Tanh)), layer(x[0])});
}

/// Two queries that each miss a key.
Tensor additive_with_hidden_keys(In x) {
  constexpr std::uint8_t kHidden[] = {0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0};  // [batch, queries, keys]
  return attend_additive(x[0], x[1], x[2], x[3], {}, kHidden).out;
}

std::vector<Differentiable> recurrent_table() {
  const auto halves = [](const LstmState& s) { return join_columns(std::array{s.hidden, s.memory}); };
  return {
      {"gru_cell", {{{2, 51}}, {{2, 51}}, {{2, 17}}}, [](In x) { return gru_cell(x[0], x[1], x[2]); }},
      lstm("lstm_cell", halves),
      lstm("lstm_cell_hidden", [](const LstmState& s) { return s.hidden; }),
      lstm("lstm_cell_memory", [](const LstmState& s) { return s.memory; }),
      gru("gru_forward", Direction::Forward),
      gru("gru_backward", Direction::Backward),
      {"additive_attention",
       {{{3, 2, 19}}, {{5, 2, 19}}, {{19}}, {{5, 2, 6}}},
       [](In x) { return attend_additive(x[0], x[1], x[2], x[3], kSources).out; }},
      {"additive_attention_hidden", {{{2, 2, 5}}, {{3, 2, 5}}, {{5}}, {{3, 2, 4}}}, additive_with_hidden_keys},
      {"repeated_linear", {{{4, 6}}, {{6, 6}}, {{6}}}, repeated_linear},
      {"join_columns", {{{3, 2}}, {{3, 5}}}, [](In x) { return join_columns(x); }},
      {"join_rows",
       {{{3, 4}}, {{1, 4}}},
       [](In x) {
         return join_rows(std::array{x[0], x[1], x[0]});
       }},
      {"attentive_step", {{{5, 3, 12}}, {{12, 4}}, {{12}}, {{6, 8}}, {{6, 8}}, {{6}}, {{24, 8}}}, attentive_step},
  };
}

std::vector<Differentiable> composite_table() {
  return {
      {"twice", {{{3, 7}}}, [](In x) { return add(multiply(x[0], x[0]), activate(x[0], Activation::Tanh)); }},
      {"reshape_between",
       {{{4, 6}}, {{3, 8}}},
       [](In x) {
         return linear(softmax(x[0]).reshape({3, 8}), x[1], {}).reshape({9, 1});
       }},
      {"tied_embedding",
       {{{6, 5}}},
       [](In x) {
         return cross_entropy(linear(embedding(x[0], kIds), x[0], {}), kIds, {.smoothing = 0.1f, .ignore = 5});
       }},
      {"post_norm_layer", layer_inputs(), post_norm_layer},
  };
}

std::vector<Differentiable> table() {
  std::vector<Differentiable> all;
  for (auto part : {pointwise_table, row_table, attention_table, recurrent_table, composite_table})
    for (Differentiable& c : part()) all.push_back(std::move(c));
  return all;
}

class GradientTable : public ::testing::TestWithParam<Differentiable> {
 protected:
  // Thousands of tiny operators: handing them to other threads costs more than they do.
  void SetUp() override { set_threads(1); }
  void TearDown() override { set_threads(before_); }

 private:
  int before_ = threads();
};

TEST_P(GradientTable, AgreesWithCentralDifferences) {
  const Differentiable& c = GetParam();
  const std::vector<Tensor> inputs = testing::inputs_of(c), gradients = testing::tape_gradients(c, inputs);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_TRUE(gradients[i].shape() == inputs[i].shape());
    EXPECT_LE(testing::relative_distance(gradients[i], testing::difference_gradients(c, inputs, i)), kDifferences)
        << "input " << i;
  }
}

TEST_P(GradientTable, SinglePrecisionAgreesWithDouble) {
  const Differentiable& c = GetParam();
  const std::vector<Tensor> inputs = testing::inputs_of(c), expected = testing::tape_gradients(c, inputs);
  for (const Isa isa : usable_isas()) {
    const testing::UseIsa use(name_of(isa));
    const std::vector<Tensor> found = testing::tape_gradients(c, testing::to_f32(inputs));
    for (std::size_t i = 0; i < inputs.size(); ++i)
      EXPECT_LE(testing::relative_distance(found[i], testing::doubles(expected[i])), kSingle)
          << name_of(isa) << ", input " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(, GradientTable, ::testing::ValuesIn(table()), [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace fovea
