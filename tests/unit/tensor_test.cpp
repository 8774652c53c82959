// Shapes, views and the owning tensor: what is checked, what is shared, what is copied.
#include <cstdint>
#include <type_traits>

#include <gtest/gtest.h>

#include <fovea/tensor.hpp>

#include "core/checked.hpp"
#include "support/random.hpp"

namespace fovea {
namespace {

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "no error";
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(Checked, ProductRefusesOverflowAndNegatives) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  EXPECT_EQ(checked_product({3, 5, 7}), 105);
  EXPECT_EQ(checked_product({kHuge, 0}), 0);
  EXPECT_EQ(checked_product({kHuge, 1}), kHuge);
  EXPECT_EQ(checked_product({std::initializer_list<std::int64_t>{}}), 1);
  EXPECT_FALSE(checked_product({kHuge, 2}));
  EXPECT_FALSE(checked_product({0, kHuge, 4}));  // a zero does not excuse the others
  EXPECT_FALSE(checked_product({-1, 5}));
  EXPECT_EQ(checked_sum(kHuge, kHuge - 1), kHuge + (kHuge - 1));
  EXPECT_FALSE(checked_sum(kHuge, kHuge));
  EXPECT_FALSE(checked_sum(-1, 5));
}

TEST(Shapes, ElementsStridesAndText) {
  EXPECT_EQ(Shape({2, 3, 5}).elements(), 30);
  EXPECT_EQ(Shape({2, 0, 5}).elements(), 0);
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ(Shape({1, 4096, 32, 128}).str(), "[1, 4096, 32, 128]");
  EXPECT_EQ(contiguous_strides({2, 3, 5}), Shape({15, 5, 1}));
  EXPECT_NE(Shape({2, 3}), Shape({2, 3, 1}));
  EXPECT_THROW(Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_TRUE(has(message_of([] { (void)Shape({-1, 5}).elements(); }), "[-1, 5]"));
  EXPECT_TRUE(has(message_of([] { (void)Shape({std::int64_t{1} << 40, std::int64_t{1} << 40}).elements(); }), "2^63"));
}

TEST(Views, AreRowMajorUnlessStridesAreGiven) {
  float data[30];
  for (int i = 0; i < 30; ++i) data[i] = static_cast<float>(i);
  const View rows(data, {2, 3, 5});
  EXPECT_EQ(rows(1, 2, 4), 29.f);
  EXPECT_EQ(rows(0, 1, 0), 5.f);
  const View turned(data, {5, 2, 3}, {1, 15, 5});  // [5, 2, 3] over the same memory
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 5; ++k) EXPECT_EQ(&turned(k, i, j), &rows(i, j, k));
  const View<const float, 3> read_only = rows;
  EXPECT_EQ(&read_only(1, 0, 3), &rows(1, 0, 3));

  const TensorView erased = turned;
  EXPECT_EQ(erased.str(), "F32 [5, 2, 3]");
  EXPECT_FALSE(erased.contiguous());
  EXPECT_TRUE(TensorView(rows).contiguous());
  EXPECT_TRUE(
      TensorView(DType::F32, data, {1, 30}, {777, 1}).contiguous());  // the stride of a dimension of 1 is never used
  EXPECT_EQ(element(erased, std::vector<std::int64_t>{4, 1, 2}), 29.0);
}

TEST(Tensors, AreZeroedAlignedAndShared) {
  Tensor t(DType::F32, {3, 7});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(t.raw()) % 64, 0u);
  for (const float x : t.values<float>()) EXPECT_EQ(x, 0.f);
  EXPECT_EQ(t.bytes(), 84);

  Tensor handle = t;
  const Tensor copy = t.clone();
  t.data<float>()[5] = 1;
  EXPECT_EQ(handle.data<float>()[5], 1.f);
  EXPECT_EQ(copy.data<float>()[5], 0.f);
  EXPECT_EQ((handle.as<float, 2>()(0, 5)), 1.f);

  const Tensor line = t.reshape({21});
  EXPECT_EQ(line.raw(), t.raw());
  EXPECT_TRUE(has(message_of([&] { (void)t.reshape({20}); }), "F32 [3, 7] cannot be reshaped to [20]"));
  EXPECT_TRUE(Tensor().empty());
  EXPECT_FALSE(Tensor(DType::F32, {0, 5}).empty());
}

TEST(Tensors, RefuseTheWrongTypeRankAndSize) {
  Tensor t(DType::F32, {3, 7});
  EXPECT_TRUE(has(message_of([&] { (void)t.data<double>(); }), "F32 [3, 7] was read as F64"));
  EXPECT_TRUE(has(message_of([&] { (void)t.as<float, 3>(); }), "F32 [3, 7] was read with rank 3"));
  EXPECT_TRUE(has(message_of([] { Tensor(DType::F64, {std::int64_t{1} << 61}); }), "F64 [2305843009213693952]"));
  EXPECT_TRUE(has(message_of([] { Tensor(DType::F32, {5, -2}); }), "[5, -2]"));
  EXPECT_TRUE(has(message_of([] { (void)Tensor(DType::I32, {2}).to(DType::F32); }), "I32 to F32"));
}

// A view of a temporary would outlive its memory, so it must not convert; a named tensor must.
static_assert(std::is_convertible_v<Tensor&, const TensorView&>);
static_assert(std::is_convertible_v<const Tensor&, const TensorView&>);
static_assert(!std::is_convertible_v<Tensor, TensorView>);
static_assert(!std::is_convertible_v<View<const float, 2>, View<float, 2>>);

TEST(Tensors, ConvertThroughEveryFloat) {
  Tensor t(DType::F64, {4});
  const double values[] = {1.0, -0.333251953125, 65504.0, 0.0};
  std::copy(std::begin(values), std::end(values), t.data<double>());
  const Tensor half = t.to(DType::F16);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(static_cast<double>(static_cast<float>(half.data<f16>()[i])), values[i]);
  const Tensor back = half.to(DType::F64);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(back.data<double>()[i], values[i]);
  EXPECT_EQ(t.to(DType::F64).raw(), t.raw());
}

// Rounding to float on the way would lose what decides a tie: 1 + 2⁻⁸ + 2⁻⁴⁰ lies above the middle of two bf16
// neighbours.
TEST(Tensors, ConvertFromDoubleWithOneRounding) {
  Tensor t(DType::F64, {3});
  t.data<double>()[0] = 1 + 0x1p-8 + 0x1p-40;
  t.data<double>()[1] = 1 + 0x1p-11 + 0x1p-40;
  t.data<double>()[2] = 1 + 0x3p-8 - 0x1p-40;
  const Tensor brain = t.to(DType::BF16), half = t.to(DType::F16);
  EXPECT_EQ(static_cast<double>(static_cast<float>(brain.data<bf16>()[0])), 1 + 0x1p-7);
  EXPECT_EQ(static_cast<double>(static_cast<float>(half.data<f16>()[1])), 1 + 0x1p-10);
  EXPECT_EQ(static_cast<double>(static_cast<float>(brain.data<bf16>()[2])), 1 + 0x1p-7);
}

TEST(Tensors, BorrowMemoryThatAnOwnerKeeps) {
  auto memory = std::make_shared<std::vector<float>>(6, 2.5f);
  const std::weak_ptr<std::vector<float>> alive = memory;
  {
    const Tensor t(DType::F32, {2, 3}, memory->data(), memory);
    memory.reset();
    EXPECT_FALSE(alive.expired());
    EXPECT_EQ((t.as<float, 2>()(1, 2)), 2.5f);
    const Tensor reshaped = t.reshape({6});
    EXPECT_EQ(reshaped.values<float>()[5], 2.5f);
  }
  EXPECT_TRUE(alive.expired());
}

}  // namespace
}  // namespace fovea
