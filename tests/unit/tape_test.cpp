// The tape itself, and what operators promise about memory, randomness and threads.
#include "ops/tape.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include <gtest/gtest.h>

#include <fovea/cpu.hpp>
#include <fovea/threads.hpp>

#include "kernels/registry.hpp"
#include "ops/attention.hpp"
#include "ops/cross_entropy.hpp"
#include "ops/dropout.hpp"
#include "ops/embedding.hpp"
#include "ops/linear.hpp"
#include "ops/norm.hpp"
#include "ops/pointwise.hpp"
#include "ops/softmax.hpp"
#include "support/errors.hpp"
#include "support/isa.hpp"
#include "support/random.hpp"

namespace fovea {
namespace {

using testing::refuses;

Tensor random_tensor(const Shape& shape, std::uint64_t seed) {
  testing::Rng random(seed);
  Tensor t(DType::F32, shape);
  for (float& x : t.values<float>()) x = static_cast<float>(random.uniform(-1, 1));
  return t;
}

Tensor tensor(std::initializer_list<float> values) {
  Tensor t(DType::F32, {std::ssize(values)});
  std::ranges::copy(values, t.data<float>());
  return t;
}

std::vector<float> values(const Tensor& t) { return {t.values<float>().begin(), t.values<float>().end()}; }

/// Σ x as a tensor of one element.
Tensor sum(const Tensor& x) {
  Tensor ones(DType::F32, {1, x.elements()});
  std::ranges::fill(ones.values<float>(), 1.0f);
  return linear(x.reshape({1, x.elements()}), ones, {});
}

// --------------------------------------------------------------------------------------------------------------- tape

TEST(Tape, OneAtATimeInAThread) {
  EXPECT_EQ(Tape::current(), nullptr);
  {
    const Tape tape;
    EXPECT_EQ(Tape::current(), &tape);
    EXPECT_TRUE(refuses([] { const Tape second; }, {"a tape already stands"}));
    EXPECT_EQ(Tape::current(), &tape);
  }
  EXPECT_EQ(Tape::current(), nullptr);
}

TEST(Tape, AnotherMayStandAfterBackward) {
  const Tensor x = tensor({2});
  auto first = std::make_unique<Tape>();
  first->watch(x);
  first->backward(scale(x, 3));
  const Tape second;
  EXPECT_EQ(first->gradient(x).values<float>()[0], 3);
  first.reset();
  EXPECT_EQ(Tape::current(), &second);
}

TEST(Tape, GradientsAddUpOverEveryUse) {
  const Tensor x = tensor({1, 2, 3});
  Tape tape;
  tape.watch(x);
  const Tensor y = add(multiply(x, x), x);  // x² + x
  tape.backward(sum(add(y, y)));
  EXPECT_EQ(values(tape.gradient(x)), (std::vector<float>{6, 10, 14}));
}

TEST(Tape, TheSameGradientToTwoTensorsIsNotSharedMemory) {
  const Tensor x = tensor({1}), y = tensor({1});
  Tape tape;
  tape.watch(x), tape.watch(y);
  const Tensor both = add(x, y);
  tape.backward(add(both, scale(x, 5)));  // what x receives later must not reach y
  EXPECT_EQ(values(tape.gradient(x)), std::vector<float>{6});
  EXPECT_EQ(values(tape.gradient(y)), std::vector<float>{1});
}

TEST(Tape, AWatchedResultKeepsItsGradient) {
  const Tensor x = tensor({3});
  Tape tape;
  tape.watch(x);
  const Tensor y = scale(x, 2);
  tape.watch(y);
  tape.backward(multiply(y, y));
  EXPECT_EQ(values(tape.gradient(y)), std::vector<float>{12});
  EXPECT_EQ(values(tape.gradient(x)), std::vector<float>{24});
}

TEST(Tape, WhatTheLossDoesNotDependOnHasZeros) {
  const Tensor x = tensor({1}), y = tensor({1, 2});
  Tape tape;
  tape.watch(x), tape.watch(y);
  tape.backward(scale(x, 2));
  EXPECT_EQ(values(tape.gradient(y)), (std::vector<float>{0, 0}));
  EXPECT_TRUE(refuses([&] { tape.gradient(tensor({1})); }, {"nobody watched it"}));
}

TEST(Tape, StartsFromOneNumber) {
  const Tensor x = tensor({1, 2});
  Tape tape;
  tape.watch(x);
  EXPECT_TRUE(refuses([&] { tape.backward(scale(x, 2)); }, {"one number", "[2]"}));
}

// ------------------------------------------------------------------------------------------------------------- memory

TEST(Operators, WorkInPlaceWhenHandedOver) {
  Tensor x = random_tensor({4, 5}, 1);
  const void* memory = x.raw();
  const Tensor y = random_tensor({4, 5}, 2);
  x = scale(multiply(add(activate(std::move(x), Activation::Gelu), y), y), 2);
  EXPECT_EQ(x.raw(), memory);
}

TEST(Operators, LeaveWhatOthersHold) {
  const Tensor x = tensor({-1, 2});
  EXPECT_EQ(values(activate(x, Activation::Relu)), (std::vector<float>{0, 2}));
  EXPECT_EQ(values(add(x, x)), (std::vector<float>{-2, 4}));
  EXPECT_EQ(values(multiply(x, x)), (std::vector<float>{1, 4}));
  EXPECT_EQ(values(scale(x, 3)), (std::vector<float>{-3, 6}));
  EXPECT_EQ(values(x), (std::vector<float>{-1, 2}));
}

TEST(Operators, LeaveForeignMemory) {
  const float foreign[] = {1, 2};
  Tensor x(DType::F32, {2}, foreign, std::make_shared<int>());
  const Tensor y = scale(std::move(x), 2);
  EXPECT_EQ(foreign[0], 1);
  EXPECT_EQ(values(y), (std::vector<float>{2, 4}));
}

TEST(Operators, LeaveWhatATapeKeeps) {
  Tensor x = tensor({3});
  Tape tape;
  tape.watch(x);
  Tensor y = activate(std::move(x), Activation::Tanh);
  const Tensor z = scale(std::move(y), 2);
  tape.backward(z);
  EXPECT_FLOAT_EQ(z.values<float>()[0], 2 * std::tanh(3.0f));
}

// ------------------------------------------------------------------------------------------------------------- errors

TEST(Operators, SayWhatDoesNotFit) {
  const Tensor x = random_tensor({2, 3}, 1), w = random_tensor({4, 5}, 2), half(DType::BF16, {2, 3});
  EXPECT_TRUE(refuses([&] { linear(x, w, {}); }, {"linear", "[2, 3]", "[rows, 5]"}));
  EXPECT_TRUE(refuses([&] { linear(x, x, tensor({1})); }, {"linear", "bias", "[1]", "[2]"}));
  EXPECT_TRUE(refuses([&] { add(x, w); }, {"add", "[2, 3]", "[4, 5]"}));
  EXPECT_TRUE(refuses([&] { scale(half, 2); }, {"scale", "BF16", "F32"}));
  EXPECT_TRUE(refuses([&] { layer_norm(x, tensor({1}), tensor({1, 2, 3}), 0); }, {"layer_norm", "gain", "[1]", "[3]"}));
  EXPECT_TRUE(refuses([&] { embedding(x, std::array{0, 2}); }, {"id 2", "position 1", "0 to 1"}));
  EXPECT_TRUE(refuses([&] { dropout(x, 1); }, {"dropout", "below 1"}));
  EXPECT_TRUE(refuses([&] { cross_entropy(x, std::array{0}); }, {"[2, 3]", "1 targets"}));
  EXPECT_TRUE(refuses([&] { cross_entropy(x, std::array{0, 3}); }, {"target 1 is 3", "0 to 2"}));
  EXPECT_TRUE(refuses([&] { cross_entropy(x, std::array{-1, -1}); }, {"every target"}));
}

// ------------------------------------------------------------------------------------------------------------ dropout

TEST(Philox, KnownAnswers) {  // Random123's kat_vectors
  struct Known {
    std::uint64_t seed, stream, first;
    std::array<std::uint32_t, 4> words;
  };
  const Known known[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Isa isa : usable_isas()) {
    const testing::UseIsa use(name_of(isa));
    for (const Known& k : known) {
      std::array<std::uint32_t, 4> words{};
      active_table().philox(k.seed, k.stream, k.first, 1, words.data());
      EXPECT_EQ(words, k.words) << name_of(isa);
    }
  }
}

TEST(Dropout, IsTheIdentityWithoutATape) {
  const Tensor x = random_tensor({100}, 1);
  EXPECT_EQ(dropout(x, 0.5f).raw(), x.raw());
}

TEST(Dropout, KeepsTheMeanAndFallsAnewEachTime) {
  Tensor x(DType::F32, {300, 333});
  std::ranges::fill(x.values<float>(), 1.0f);
  const auto drop = [&](std::uint64_t seed) {
    const Tape tape(seed);
    return std::pair(values(dropout(x, 0.1f)), values(dropout(x, 0.1f)));
  };
  const auto [first, second] = drop(1);
  const auto fallen = static_cast<double>(std::ranges::count(first, 0.0f)) / static_cast<double>(first.size());
  EXPECT_NEAR(fallen, 0.1, 5 * std::sqrt(0.09 / 99900));  // five standard deviations of a binomial
  const auto kept = static_cast<float>(1 / (1 - 6554 / 65536.0));  // p in 65536ths
  EXPECT_EQ(std::ranges::count(first, kept) + std::ranges::count(first, 0.0f), std::ssize(first));
  EXPECT_NE(first, second);
  EXPECT_NE(first, drop(2).first);
  EXPECT_EQ(first, drop(1).first);
}

// ------------------------------------------------------------------------------------------------------------ threads

/// Loss and gradients of a network that is large enough for every loop to be cut.
std::vector<float> everything_at_once() {
  constexpr int kRows = 300, kWidth = 72, kClasses = 401;
  std::vector<int> ids(kRows), targets(kRows);
  for (int i = 0; i < kRows; ++i)
    ids[static_cast<std::size_t>(i)] = i * 7 % 50, targets[static_cast<std::size_t>(i)] = i;
  const Tensor table = random_tensor({50, kWidth}, 1), up = random_tensor({kClasses, kWidth}, 2),
               bias = random_tensor({kClasses}, 3), gain = random_tensor({kWidth}, 4),
               shift = random_tensor({kWidth}, 5);
  Tape tape(9);
  for (const Tensor& t : {table, up, bias, gain, shift}) tape.watch(t);
  const Tensor x = dropout(layer_norm(embedding(table, ids), gain, shift, 1e-5f), 0.2f);
  const Tensor heads = x.reshape({1, kRows, 3, 24});
  const Tensor attended = attend_recorded(heads, heads, heads, AttentionSpec(causal())).out.reshape({kRows, kWidth});
  const Tensor y = add(activate(rms_norm(attended, gain, 1e-5f), Activation::Silu), multiply(x, softmax(x)));
  const Tensor loss = cross_entropy(linear(y, up, bias), targets, {.smoothing = 0.1f});
  tape.backward(loss);
  std::vector<float> all = values(loss);
  for (const Tensor& t : {table, up, bias, gain, shift}) {
    const Tensor g = tape.gradient(t);
    all.insert(all.end(), g.values<float>().begin(), g.values<float>().end());
  }
  return all;
}

TEST(Operators, HaveTheSameBitsForAnyNumberOfThreads) {
  const int before = threads();
  set_threads(1);
  const std::vector<float> alone = everything_at_once();
  for (const int n : {2, 3, 8}) {
    set_threads(n);
    EXPECT_EQ(everything_at_once(), alone) << n << " threads";
  }
  set_threads(before);
}

TEST(PackedLinear, PassesGradientsOn) {
  const Tensor x = random_tensor({5, 70}, 1), weight = random_tensor({131, 70}, 2), bias = random_tensor({131}, 3),
               towards = random_tensor({5, 131}, 4);
  const PackedLinear packed(weight, bias);
  const auto gradient = [&](auto forward) {
    Tape tape;
    tape.watch(x);
    tape.backward(sum(multiply(forward(), towards)));
    return values(tape.gradient(x));
  };
  EXPECT_EQ(values(packed(x)), values(linear(x, weight, bias)));
  EXPECT_EQ(gradient([&] { return packed(x); }), gradient([&] { return linear(x, weight, bias); }));
}

}  // namespace
}  // namespace fovea
