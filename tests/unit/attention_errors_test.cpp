// Misuse of attend(): one line that names the tensor, what was found, and what was expected.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include <fovea/attention.hpp>

#include "support/isa.hpp"

namespace fovea {
namespace {

/// Zeros of any size, in memory that lives as long as the test.
struct Errors : ::testing::Test {
  std::vector<Tensor> keep;
  const TensorView& zeros(Shape shape, DType dtype = DType::F32) {
    keep.reserve(64);
    keep.emplace_back(dtype, shape);
    return keep.back().view();
  }
  TensorView q = zeros({2, 7, 4, 8}), k = zeros({2, 9, 2, 8}), v = zeros({2, 9, 2, 5});

  /// attend's complaint must be one line and hold all of `parts`.
  template <class... Spec>
  void expect(const TensorView& a, const TensorView& b, const TensorView& c,
              std::initializer_list<std::string_view> parts, Spec&&... spec) {
    try {
      (void)attend(a, b, c, std::forward<Spec>(spec)...);
      ADD_FAILURE() << "accepted: " << a.str() << ", " << b.str() << ", " << c.str();
    } catch (const Error& e) {
      const std::string text = e.what();
      EXPECT_EQ(text.find('\n'), std::string::npos) << text;
      for (const std::string_view part : parts)
        EXPECT_NE(text.find(part), std::string::npos) << '"' << text << "\" doesn't say \"" << part << '"';
    }
  }
  template <class... Spec>
  void expect(std::initializer_list<std::string_view> parts, Spec&&... spec) {
    expect(q, k, v, parts, std::forward<Spec>(spec)...);
  }
};

TEST_F(Errors, NoneWhenAllIsWell) {
  const Attention a = attend(q, k, v);
  EXPECT_EQ(a.out.shape(), Shape({2, 7, 4, 5}));
  EXPECT_EQ(a.lse.shape(), Shape({2, 4, 7}));
}

TEST_F(Errors, Shapes) {
  expect(zeros({7, 4, 8}), k, v, {"q is F32 [7, 4, 8]", "rank 4", "[batch, time, heads, head_dim]"});
  expect(q, zeros({2, 9, 2, 8, 1}), v, {"k is F32 [2, 9, 2, 8, 1]", "rank 4"});
  expect(q, k, zeros({2, 9}), {"v is F32 [2, 9]", "rank 4"});
  expect(zeros({3, 7, 4, 8}), k, v, {"[3, 7, 4, 8]", "batch", "3", "2"});
  expect(q, k, zeros({1, 9, 2, 5}), {"v is F32 [1, 9, 2, 5]", "batch"});
  expect(q, k, zeros({2, 8, 2, 5}), {"v is F32 [2, 8, 2, 5]", "k is F32 [2, 9, 2, 8]", "keys", "8 against 9"});
  expect(q, k, zeros({2, 9, 1, 5}), {"v is F32 [2, 9, 1, 5]", "kv_heads"});
  expect(q, zeros({2, 9, 2, 16}), v, {"k is F32 [2, 9, 2, 16]", "q is F32 [2, 7, 4, 8]", "head_dim", "16 against 8"});
  expect(zeros({2, 7, 4, 0}), zeros({2, 9, 2, 0}), v, {"q is F32 [2, 7, 4, 0]", "head_dim"});
  expect(zeros({2, 7, 0, 8}), zeros({2, 9, 0, 8}), zeros({2, 9, 0, 5}), {"q is F32 [2, 7, 0, 8]", "heads is 0"});
  expect(zeros({2, 7, 0, 8}), k, v, {"heads is 0"});
}
TEST_F(Errors, HeadsThatKvHeadsDontDivide) {
  expect(zeros({2, 7, 5, 8}), k, v, {"[2, 7, 5, 8]", "kv_heads (2)", "heads (5)"});
  expect(zeros({2, 7, 1, 8}), k, v, {"kv_heads (2)", "heads (1)"});
  expect(q, zeros({2, 9, 0, 8}), zeros({2, 9, 0, 5}), {"kv_heads (0)", "heads (4)"});
}
TEST_F(Errors, NegativeAndImpossibleDimensions) {
  float x = 0;
  expect(TensorView(DType::F32, &x, {2, -7, 4, 8}), k, v, {"q is F32 [2, -7, 4, 8]"});
  expect(q, TensorView(DType::F32, &x, {2, std::int64_t{1} << 40, 2, 8}), v, {"k is F32 [2, 1099511627776, 2, 8]"});
  expect(TensorView(DType::F32, nullptr, {2, 7, 4, 8}), k, v, {"q is", "null"});
}
TEST_F(Errors, DTypes) {
  expect(q, zeros({2, 9, 2, 8}, DType::BF16), v, {"q is F32", "k is BF16", "v is F32", "one dtype"});
  expect(q, k, zeros({2, 9, 2, 5}, DType::F64), {"v is F64", "one dtype"});
  for (const DType t : {DType::I64, DType::I32, DType::U8, DType::Bool})
    expect(zeros({2, 7, 4, 8}, t), zeros({2, 9, 2, 8}, t), zeros({2, 9, 2, 5}, t), {"q is", name_of(t), "F32"});
  expect({"output", "I32"}, output(DType::I32));
}
TEST_F(Errors, Scales) {
  expect({"scale", "nan", "finite"}, scale(std::nan("")));
  expect({"scale", "inf", "finite"}, scale(std::numeric_limits<double>::infinity()));
  expect({"scale", "finite"}, scale(1e300));  // not in the f32 that kernels compute in
}
TEST_F(Errors, Sinks) {
  const std::vector<float> three(3);
  expect({"sinks", "3", "4 heads"}, sinks(three));
}
TEST_F(Errors, Lengths) {
  const std::vector<int> one{7}, fine{7, 9}, longer{9, 10}, negative{-1, 3}, queries{8, 0};
  expect({"kv_lengths", "1", "2 batch rows"}, lengths({}, one));
  expect({"kv_lengths[1] is 10", "9"}, lengths({}, longer));
  expect({"kv_lengths[0] is -1"}, lengths({}, negative));
  expect({"q_lengths[0] is 8", "7"}, lengths(queries, fine));
}
TEST_F(Errors, Packing) {
  const TensorView a = zeros({1, 7, 4, 8}), b = zeros({1, 9, 2, 8}), c = zeros({1, 9, 2, 5});
  const std::vector<int> q_ends{3, 7}, kv_ends{4, 9}, three{1, 2, 3}, down{5, 3}, past{3, 8}, negative{-1, 3};
  EXPECT_NO_THROW(attend(a, b, c, packed(q_ends, kv_ends)));
  expect({"packed", "batch 2", "batch 1"}, packed(q_ends, kv_ends));
  expect(a, b, c, {"packed", "2", "3", "as many"}, packed(q_ends, three));
  expect(a, b, c, {"packed", "key ends[1] is 3", "ascending"}, packed(q_ends, down));
  expect(a, b, c, {"packed", "query ends[1] is 8", "7"}, packed(past, kv_ends));
  expect(a, b, c, {"packed", "query ends[0] is -1"}, packed(negative, kv_ends));
  expect(a, b, c, {"packed", "lengths"}, packed(q_ends, kv_ends), lengths(kv_ends, kv_ends));
}
TEST_F(Errors, EmptySpansMeanNotGivenWhateverTheyPointTo) {
  std::vector<int> none{1};
  none.clear();  // data() is not null
  EXPECT_NO_THROW(attend(q, k, v, lengths(none, none)));
  EXPECT_NO_THROW(attend(q, k, v, packed(none)));
}
TEST_F(Errors, MasksAndBiasesThatDontBroadcast) {
  expect({"mask is [1, 1, 7, 8]", "[2, 4, 7, 9]"}, visible(zeros({7, 8}, DType::Bool)));
  expect({"bias is [2, 2, 7, 9]", "[2, 4, 7, 9]"}, bias(zeros({2, 2, 7, 9})));
  expect({"mask is", "does not broadcast"}, causal() & except(visible(zeros({3, 1, 1, 1}, DType::Bool))));
  expect({"bias is", "does not broadcast"}, softcap(30) | bias(zeros({8})));
  expect({"alibi has 2 slopes for 4 heads"}, alibi({0.5f, 0.25f}));
  expect({"chunked", "0"}, chunked(0));
  expect({"softcap"}, softcap(0));
}
TEST_F(Errors, MasksAndBiasesOfTheWrongDTypeOrRank) {
  const auto says = [](auto make, std::initializer_list<std::string_view> parts) {
    try {
      (void)make();
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      for (const std::string_view part : parts)
        EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  says([&] { return visible(zeros({7, 9})); }, {"mask is F32 [7, 9]", "BOOL"});
  says([&] { return bias(zeros({7, 9}, DType::F16)); }, {"bias is F16 [7, 9]", "F32"});
  says([&] { return bias(zeros({1, 1, 1, 7, 9})); }, {"bias is F32 [1, 1, 1, 7, 9]", "[batch, heads, queries, keys]"});
}
TEST_F(Errors, Kernels) {
  expect({"unknown kernel 'fast'", "flash_scalar", "reference"}, kernel("fast"));
  expect(zeros({2, 7, 4, 8}, DType::F64), zeros({2, 9, 2, 8}, DType::F64), zeros({2, 9, 2, 5}, DType::F64),
         {"flash_scalar refuses", "F64"}, kernel("flash_scalar"));
  const testing::UseIsa use("scalar");
  expect({"flash_avx2 refuses"}, kernel("flash_avx2"));
}

TEST_F(Errors, QuestionsOutOfRange) {
  const Attention a = attend(q, k, v);
  EXPECT_THROW(a.weights({.batch = 2}), Error);
  EXPECT_THROW(a.weights({.head = 4}), Error);
  EXPECT_THROW(a.weights({.head = -1}), Error);
  EXPECT_THROW(a.weights({.query = 7}), Error);
  EXPECT_THROW(a.weights(0, 0, {3, 2}), Error);
  EXPECT_THROW(a.weights(0, 0, {0, 8}), Error);
  EXPECT_THROW(a.without({.key = 9}), Error);
  EXPECT_THROW(a.without({.key = -1}), Error);
  EXPECT_THROW((void)a.sink_weight({.query = 7}), Error);
  EXPECT_THROW((void)a.max_abs_error({.query = 0}, std::vector<float>(8)), Error);
  EXPECT_EQ(a.weights(0, 0, {3, 3}).size(), 0u);
}
TEST_F(Errors, QuestionsBeyondALength) {
  const std::vector<int> queries{7, 3}, keys{9, 4};
  const Attention a = attend(q, k, v, lengths(queries, keys));
  EXPECT_EQ(a.weights({.batch = 1, .query = 2}).size(), 4u);
  EXPECT_THROW(a.weights({.batch = 1, .query = 3}), Error);
  EXPECT_THROW(a.without({.batch = 1, .query = 2, .key = 4}), Error);
}

}  // namespace
}  // namespace fovea
