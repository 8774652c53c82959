// The layers against plain double precision, and what they say about tensors that do not fit.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "nn/embedding.hpp"
#include "nn/encoder_layer.hpp"
#include "ops/pointwise.hpp"
#include "ops/tape.hpp"
#include "support/errors.hpp"
#include "support/plain_layers.hpp"
#include "support/small_marian.hpp"

namespace fovea::nn {
namespace {

using plain::Matrix;
using plain::Store;
using plain::StoreSource;
using testing::refuses;
using Names = std::vector<std::string>;

constexpr AttentionNames kNames{{"q"}, {"k"}, {"v"}, {"o"}};

Store attention_store(const AttentionShape& s, unsigned seed) {
  Store store(seed);
  store.add_linear("q", s.width, s.heads * s.head_dim);
  store.add_linear("k", s.memory_width, s.kv_heads * s.head_dim);
  store.add_linear("v", s.memory_width, s.kv_heads * s.value_dim);
  store.add_linear("o", s.heads * s.value_dim, s.width);
  return store;
}

Matrix plain_block(const Store& s, const AttentionShape& shape, const Matrix& x, const Matrix& memory,
                   const plain::Visible& visible = plain::all_visible, std::vector<Matrix>* weights = nullptr) {
  const Matrix q = plain::linear(s, "q", x), k = plain::linear(s, "k", memory), v = plain::linear(s, "v", memory);
  return plain::linear(s, "o", plain::attention(q, k, v, shape.heads, shape.kv_heads, visible, weights));
}

Matrix stacked(const std::vector<Matrix>& parts) {
  Matrix all;
  for (const Matrix& m : parts) all.insert(all.end(), m.begin(), m.end());
  return all;
}

TEST(AttentionBlock, SelfAttentionWithGroupedQueriesAndUnequalHeadWidths) {
  const AttentionShape shape{24, 24, 6, 2, 5, 7};
  const Store store = attention_store(shape, 1);
  const AttentionBlock block(Weights(StoreSource(store)), kNames, shape);
  const Matrix x = plain::random_matrix(13, 24, 2);
  EXPECT_LT(plain::worst(plain_block(store, shape, x, x), block(plain::tensor(x), AttentionSpec())), 1e-5);
}

TEST(AttentionBlock, CrossAttentionOverPackedPairsOfDifferentLengths) {
  const AttentionShape shape{16, 20, 4, 2, 8, 3};
  const Store store = attention_store(shape, 3);
  const AttentionBlock block(Weights(StoreSource(store)), kNames, shape);
  const std::vector<Matrix> x{plain::random_matrix(3, 16, 4), plain::random_matrix(9, 16, 5)};
  const std::vector<Matrix> memory{plain::random_matrix(70, 20, 6), plain::random_matrix(1, 20, 7)};
  const std::vector<int> query_ends{3, 12}, key_ends{70, 71};
  const Tensor y =
      block(plain::tensor(stacked(x)), plain::tensor(stacked(memory)), AttentionSpec(packed(query_ends, key_ends)));
  EXPECT_LT(plain::worst(plain_block(store, shape, x[0], memory[0]), y, 0), 1e-5);
  EXPECT_LT(plain::worst(plain_block(store, shape, x[1], memory[1]), y, 3), 1e-5);
}

TEST(AttentionBlock, AMaskOnTopAndATraceThatShowsTheWeights) {
  const AttentionShape shape{16, 16, 4, 4, 4, 4};
  const Store store = attention_store(shape, 8);
  const AttentionBlock block(Weights(StoreSource(store)), kNames, shape);
  const Matrix x = plain::random_matrix(11, 16, 9);
  const auto sees = [](int head, int query, int key) { return key <= query && !(head == 2 && query == 7 && key == 3); };
  std::vector<Matrix> weights;  // [heads][queries][keys]
  const Matrix expected = plain_block(store, shape, x, x, sees, &weights);
  AttentionTrace trace;
  const AnyMask cut = causal() & mask([](Site s) { return !(s.head == 2 && s.query == 7 && s.key == 3); });
  const Tensor y = block(plain::tensor(x), AttentionSpec(cut), &trace);
  EXPECT_LT(plain::worst(expected, y), 1e-5);
  EXPECT_EQ(trace.q.shape(), (Shape{1, 11, 4, 4}));
  double worst = 0;
  for (int h = 0; h < 4; ++h)
    for (int i = 0; i < 11; ++i) {
      const std::vector<float> row = trace.attention.weights({0, h, i});
      for (std::size_t j = 0; j < 11; ++j)
        worst = std::max(
            worst, std::abs(double{row[j]} - weights[static_cast<std::size_t>(h)][static_cast<std::size_t>(i)][j]));
    }
  EXPECT_LT(worst, 1e-6);
  EXPECT_EQ(trace.attention.weights({0, 2, 7})[3], 0.0f);
}

TEST(AttentionBlock, OutputWeightIsTheOneThatTheFileHolds) {
  const AttentionShape shape{10, 10, 2, 1, 3, 4};
  const Store store = attention_store(shape, 10);
  const AttentionBlock block(Weights(StoreSource(store)), kNames, shape);
  EXPECT_EQ(block.output_weight().shape(), (Shape{10, 8}));
  EXPECT_EQ(plain::worst(plain::matrix(store.tensors.at("o.weight")), block.output_weight()), 0);
}

TEST(AttentionBlock, AProjectionWithoutBiasIsNoneEvenIfTheFileHasOne) {
  const AttentionShape shape{12, 12, 3, 3, 4, 4};
  Store store = attention_store(shape, 11);
  const AttentionNames names{{"q"}, {"k", Bias::None}, {"v"}, {"o"}};
  const AttentionBlock block(Weights(StoreSource(store)), names, shape);
  const Matrix x = plain::random_matrix(5, 12, 12);
  const Tensor y = block(plain::tensor(x), AttentionSpec());
  store.tensors.erase("k.bias");
  EXPECT_LT(plain::worst(plain_block(store, shape, x, x), y), 1e-5);
  EXPECT_TRUE(refuses([&] { AttentionBlock(Weights(StoreSource(store)), kNames, shape); },
                      {"\"k.bias\" is missing", "[12]", "small.safetensors"}));
}

constexpr EncoderLayerNames kLayer{{{"q"}, {"k"}, {"v"}, {"o"}}, "norm1", {"up", "down"}, "norm2"};

Store layer_store(unsigned seed) {
  const AttentionShape shape{12, 12, 3, 3, 4, 4};
  Store store = attention_store(shape, seed);
  store.add_linear("up", 12, 29);
  store.add_linear("down", 29, 12);
  store.add_norm("norm1", 12);
  store.add_norm("norm2", 12);
  return store;
}

Matrix plain_feed_forward(const Store& s, const Matrix& x, double (*activation)(double)) {
  return plain::linear(s, "down", plain::map(plain::linear(s, "up", x), activation));
}

TEST(EncoderLayer, PostNormAsBert) {
  const Store s = layer_store(13);
  const EncoderLayerShape shape{{12, 12, 3, 3, 4, 4}, 29, activation_of("gelu"), 1e-5f, NormOrder::Post};
  const Matrix x = plain::random_matrix(9, 12, 14);
  const Matrix h = plain::layer_norm(s, "norm1", plain::sum(plain_block(s, shape.attention, x, x), x), 1e-5);
  const Matrix y = plain::layer_norm(s, "norm2", plain::sum(plain_feed_forward(s, h, plain::gelu), h), 1e-5);
  EXPECT_LT(plain::worst(y, EncoderLayer(Weights(StoreSource(s)), kLayer, shape)(plain::tensor(x), AttentionSpec())),
            1e-5);
}

TEST(EncoderLayer, PreNormLeavesItsInputAlone) {
  const Store s = layer_store(15);
  const EncoderLayerShape shape{{12, 12, 3, 3, 4, 4}, 29, activation_of("relu"), 1e-5f, NormOrder::Pre};
  const Matrix x = plain::random_matrix(9, 12, 16);
  const Matrix n = plain::layer_norm(s, "norm1", x, 1e-5);
  const Matrix h = plain::sum(plain_block(s, shape.attention, n, n), x);
  const Matrix y = plain::sum(plain_feed_forward(s, plain::layer_norm(s, "norm2", h, 1e-5), plain::relu), h);
  const Tensor input = plain::tensor(x);
  EXPECT_LT(plain::worst(y, EncoderLayer(Weights(StoreSource(s)), kLayer, shape)(input, AttentionSpec())), 1e-5);
  EXPECT_EQ(plain::worst(x, input), 0);
}

TEST(EncoderLayer, ABatchIsBitwiseItsSequencesAlone) {
  const Store s = layer_store(17);
  const EncoderLayer layer(Weights(StoreSource(s)), kLayer,
                           {{12, 12, 3, 3, 4, 4}, 29, Activation::Gelu, 1e-5f, NormOrder::Post});
  const std::vector<Matrix> parts{plain::random_matrix(1, 12, 18), plain::random_matrix(67, 12, 19),
                                  plain::random_matrix(6, 12, 20)};
  const std::vector<int> ends{1, 68, 74};
  const Tensor together = layer(plain::tensor(stacked(parts)), AttentionSpec(packed(ends)));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Tensor alone = layer(plain::tensor(parts[i]), AttentionSpec());
    const auto first = static_cast<std::size_t>(i == 0 ? 0 : ends[i - 1]);
    EXPECT_EQ(plain::worst(plain::matrix(alone), together, first), 0) << "sequence " << i;
  }
}

TEST(Embedding, AddsRowsWhateverTheStoredDtype) {
  Store store(21);
  const Tensor& table = store.add("weight", {7, 5});
  for (const DType dtype : {DType::F64, DType::F32, DType::BF16, DType::F16}) {
    Store stored(0);
    stored.tensors["weight"] = table.to(dtype);
    const Tensor kept = stored.tensors["weight"].to(DType::F32);
    const Embedding embedding(Weights(StoreSource(stored)), 7, 5);
    Tensor x(DType::F32, {3, 5});
    std::ranges::fill(x.values<float>(), 1.0f);
    const std::vector<int> ids{6, 0, 6};
    x = embedding.add_to(std::move(x), ids);
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t c = 0; c < 5; ++c) {
        const auto row = static_cast<std::size_t>(ids[i]);
        EXPECT_EQ(x.values<float>()[i * 5 + c], 1.0f + kept.values<float>()[row * 5 + c]) << name_of(dtype);
      }
  }
}

TEST(Embedding, AnIdOutsideTheTableIsNamed) {
  Store store(22);
  store.add("weight", {7, 5});
  const Embedding embedding(Weights(StoreSource(store)), 7, 5);
  const std::vector<int> high{1, 2, 7}, low{-1};
  EXPECT_TRUE(refuses([&] { embedding.check(high, "token id"); }, {"token id 7 at position 2", "0 to 6"}));
  EXPECT_TRUE(refuses([&] { embedding.check(low, "token id"); }, {"token id -1 at position 0"}));
}

TEST(LayerNorm, ReadsTheOldNames) {
  Store modern(23);
  modern.add_norm("norm", 6);
  Store old(0);
  old.tensors["norm.gamma"] = modern.tensors["norm.weight"];
  old.tensors["norm.beta"] = modern.tensors["norm.bias"];
  const Tensor x = plain::tensor(plain::random_matrix(4, 6, 24));
  const Tensor a = LayerNorm(Weights(StoreSource(modern)) / "norm", 6, 1e-5f)(x);
  const Tensor b = LayerNorm(Weights(StoreSource(old)) / "norm", 6, 1e-5f)(x);
  EXPECT_EQ(plain::worst(plain::matrix(a), b), 0);
}

TEST(Weights, AMissingOrMisshapenTensorIsNamedWithItsFileAndShape) {
  Store store(25);
  store.add("encoder.0.weight", {3, 4});
  store.tensors["encoder.0.quantised"] = Tensor(DType::I8, {3, 4});
  const StoreSource source(store);
  const Weights w = Weights(source) / "encoder" / 0;
  EXPECT_TRUE(refuses([&] { w.tensor("bias", {3}); }, {"small.safetensors", "\"encoder.0.bias\"", "[3]"}));
  EXPECT_TRUE(refuses([&] { w.tensor("weight", {4, 3}); }, {"\"encoder.0.weight\"", "[3, 4]", "[4, 3]"}));
  EXPECT_TRUE(refuses([&] { w.tensor("quantised", {3, 4}); }, {"\"encoder.0.quantised\"", "I8"}));
  EXPECT_TRUE(refuses([&] { w.dimension("weight", 1, 0); }, {"rank 1"}));
  EXPECT_EQ(w.dimension("weight", 2, 1), 4);
}

TEST(Weights, TheLedgerCountsEachTensorOnceAndKnowsTheRest) {
  Store store(26);
  store.add("a.weight", {3, 4});
  store.tensors["b"] = store.add("bf", {50}).to(DType::BF16);
  store.add("left", {2});
  const StoreSource source(store);
  const Weights w(source);
  (w / "a").tensor("weight", {3, 4});
  (w / "a").tensor("weight", {3, 4});
  w.f32("b", {50});
  EXPECT_EQ(w.ledger().total(), 62);
  EXPECT_EQ(w.ledger().dtype(), DType::BF16);
  EXPECT_EQ(w.unused(), (Names{"bf", "left"}));
}

TEST(Weights, NonFiniteValuesAreSeenInEveryDtype) {
  Store store(27);
  const float inf = std::numeric_limits<float>::infinity();
  for (const char* name : {"nan", "inf", "clean"}) store.add(name, {1 << 19});  // two runs of the scan
  store.tensors["nan"].values<float>()[(1 << 19) - 1] = std::nanf("");
  store.tensors["inf"].values<float>()[0] = -inf;
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16, DType::F64}) {
    Store stored(0);
    for (const auto& [name, tensor] : store.tensors) stored.tensors[name] = tensor.to(dtype);
    const StoreSource source(stored);
    const Weights w(source);
    for (const char* name : {"nan", "inf", "clean"}) w.tensor(name, {1 << 19});
    EXPECT_EQ(w.ledger().non_finite, (std::set<std::string>{"inf", "nan"})) << name_of(dtype);
  }
  Store wide(0);  // finite as stored, infinite once it is an f32
  wide.tensors["wide"] = Tensor(DType::F64, {1});
  wide.tensors["wide"].values<double>()[0] = 1e300;
  const StoreSource source(wide);
  const Weights w(source);
  w.tensor("wide", {1});
  EXPECT_EQ(w.ledger().non_finite, std::set<std::string>{"wide"});
}

TEST(Weights, NumberedScopesAreCountedUpToTheFirstGap) {
  Store store(28);
  for (const char* name : {"layer.0.w", "layer.1.w", "layer.1.v", "layer.10.w", "layer.3.w", "layer.x.w", "layer.2w"})
    store.add(name, {1});
  const StoreSource source(store);
  EXPECT_EQ((Weights(source) / "layer").numbered(), 2);
  EXPECT_EQ((Weights(source) / "nothing").numbered(), 0);
}

// ------------------------------------------------------------------------------------------------------------- training

TEST(Training, TheLedgerHoldsTheVeryMemoryThatLayersComputeWith) {
  Store store(29);
  store.add_linear("a", 5, 3);
  store.tensors["a.weight"] = store.tensors["a.weight"].to(DType::BF16);
  const StoreSource source(store);
  const Weights w(source, Purpose::Training);
  const Linear layer(w / "a", 5, 3);
  Names names;
  for (const auto& [name, tensor] : w.trainable()) {
    names.push_back(name);
    EXPECT_EQ(tensor.dtype(), DType::F32);
  }
  EXPECT_EQ(names, (Names{"a.bias", "a.weight"}));
  const Tensor x = plain::tensor(plain::random_matrix(4, 5, 30));
  const Tensor before = layer(x);
  const double stored = store.at("a.bias", 1);
  Tensor bias = w.trainable().at("a.bias");
  bias.data<float>()[1] += 2;
  const Tensor after = layer(x);
  for (std::int64_t i = 0; i < 12; ++i)
    EXPECT_NEAR(after.data<float>()[i] - before.data<float>()[i], i % 3 == 1 ? 2 : 0, 1e-6);
  EXPECT_EQ(store.at("a.bias", 1), stored) << "the source keeps what it had";
}

TEST(Training, ASharedTensorIsOneParameterAndABufferIsNone) {
  Store store(31);
  store.add("table.weight", {7, 4});
  store.add("bias", {7});
  const StoreSource source(store);
  const Weights w(source, Purpose::Training);
  const Embedding words(w / "table", 7, 4);
  EXPECT_EQ((w / "table").tensor("weight", {7, 4}).raw(), words.table().raw());
  w.buffer("bias", {7});
  EXPECT_EQ(w.trainable().size(), 1u);
  EXPECT_EQ(w.ledger().buffers.size(), 1u);
  EXPECT_TRUE(Weights(source).trainable().empty());
}

/// Σ of squares as a loss, so that dout is known: 2 · y.
double loss_of(const Tensor& y) {
  double sum = 0;
  for (const float v : y.values<float>()) sum += double{v} * double{v};
  return sum;
}

TEST(Training, ALayerIsTheSameForTrainingAndItsGradientsReachEveryParameter) {
  Store store = layer_store(32);
  const StoreSource source(store);
  const EncoderLayerShape shape{
      .attention = {12, 12, 3, 3, 4, 4}, .feed_forward = 29, .activation = Activation::Gelu, .eps = 1e-5f};
  const Weights w(source, Purpose::Training);
  const EncoderLayer trained(w, kLayer, shape), packed(Weights(source), kLayer, shape);
  const Tensor x = plain::tensor(plain::random_matrix(9, 12, 33));
  EXPECT_LT(plain::worst(plain::matrix(packed(x, AttentionSpec())), trained(x, AttentionSpec())), 1e-5);

  std::map<std::string, Tensor> gradients;
  {
    Tape tape;
    for (const auto& [name, tensor] : w.trainable()) tape.watch(tensor);
    const Tensor y = trained(x, AttentionSpec());
    const Tensor flat = multiply(y, y).reshape({1, y.elements()});
    Tensor ones(DType::F32, {1, y.elements()});
    std::ranges::fill(ones.values<float>(), 1.0f);
    tape.backward(linear(flat, ones, Tensor()).reshape({1}));
    for (const auto& [name, tensor] : w.trainable()) gradients[name] = tape.gradient(tensor);
  }
  ASSERT_EQ(gradients.size(), 16u);
  for (const auto& [name, tensor] : w.trainable()) {
    Tensor t = tensor;
    const std::int64_t at = t.elements() / 2;
    const float was = t.data<float>()[at];
    constexpr float kStep = 0.01f;
    t.data<float>()[at] = was + kStep;
    const double up = loss_of(trained(x, AttentionSpec()));
    t.data<float>()[at] = was - kStep;
    const double down = loss_of(trained(x, AttentionSpec()));
    t.data<float>()[at] = was;
    const double slope = (up - down) / (2 * double{kStep}), got = double{gradients.at(name).data<float>()[at]};
    EXPECT_NEAR(got, slope, 0.02 * std::abs(slope) + 0.01) << name;
  }
}

}  // namespace
}  // namespace fovea::nn
