// The contract's error bound, in its one place, and everything that holds an answer against it.
//
//   |o − o*| ≤ A·ε_out·|o*| + B·ε_acc·(1 + L)·Σ p|v| + tiny      L = scale·max_j |q||k_j| + what functors add to a
//   logit |lse − lse*| ≤ A·ε_acc·|lse*| + B·ε_acc·(1 + L)
//
// o*, lse*, p: float64 reference. max_j over visible keys. ε: unit round-off (half a unit in the last place at 1). A =
// 1 because the result is rounded once; B carries everything before that: the dot products of q and k, which move a
// weight by ε·L, the exponential, and sums over keys in f32. `tiny`: what underflows. Weights below 2^-125 are 0, so
// 2^-125·Σ|v|, and what the output's dtype cannot hold: 2^-126 (f32 and bf16 flush denormals), 2^-25 (half of the least
// f16).
//
// Kernels on bf16 products (bf16 in and out) round each weight to bf16 before it meets its value: 2^-8·Σ p|v| more.
#pragma once
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include <fovea/cpu.hpp>

#include "kernels/reference/reference.hpp"
#include "support/isa.hpp"
#include "support/problems.hpp"

namespace fovea::testing {

// Calibrated on 26,000 random problems of problems.hpp (f32, bf16, f16; scalar, AVX2, AVX-512) and on rows of 1,000 to
// 65,536 keys, then frozen. The most of B that any needed, f32 in and out:
//   out 5.5, lse 5.0 up to 3,000 keys; scalar a little more than AVX2 and AVX-512, which fuse. 16-bit outputs: 0.65,
//   for A has it all out 2.5, 6.5, 14 at 4,000, 16,000, 65,536 keys of equal weight and values of one sign: f32 sums
//   round once a tile of 64
// FOVEA_CALIBRATE=1 contract_test prints them anew.
inline constexpr double kA = 1;
/// B of a row of that many keys.
inline double b_of(std::int64_t keys) { return 8 * std::max(1.0, std::sqrt(static_cast<double>(keys) / 4096)); }

constexpr double unit_roundoff(DType t) {
  switch (t) {
    case DType::F64:
      return 0x1p-53;
    case DType::F32:
      return 0x1p-24;
    case DType::BF16:
      return 0x1p-8;
    case DType::F16:
      return 0x1p-11;
    default:
      return 0;
  }
}
constexpr double tiny(DType t) { return t == DType::F64 ? 0 : t == DType::F16 ? 0x1p-25 : 0x1p-126; }
inline constexpr double kEpsAcc = 0x1p-24;
inline constexpr double kInf = std::numeric_limits<double>::infinity();

/// Whether a kernel's weights meet values rounded to bf16.
bool rounds_weights(std::string_view kernel);
/// Whether its backward pass multiplies weights, and what scores receive, rounded to bf16.
bool rounds_gradients(std::string_view kernel);

/// A number, and how far from it an answer may be. Sums and multiples carry their tolerance along.
struct Approx {
  double value = 0, tolerance = 0;
  friend Approx operator+(Approx a, Approx b) { return {a.value + b.value, a.tolerance + b.tolerance}; }
  friend Approx operator-(Approx a, Approx b) { return {a.value - b.value, a.tolerance + b.tolerance}; }
  friend Approx operator*(double s, Approx a) { return {s * a.value, std::abs(s) * a.tolerance}; }
};
/// Within both tolerances; infinities and NaNs must match.
bool close(Approx a, Approx b);

/// out and lse of a case in double, each element with the tolerance of the engine that computed it.
struct Answer {
  std::string engine;  // "reference", "flash_avx2", …
  std::int64_t time = 0, heads = 0, value_dim = 0;
  std::vector<double> out, out_tol;  // [batch, time, heads, value_dim]
  std::vector<double> lse, lse_tol;  // [batch, time, heads]

  std::size_t row(std::int64_t b, std::int64_t t, std::int64_t h) const {
    return static_cast<std::size_t>((b * time + t) * heads + h);
  }
  Approx o(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) const {
    const std::size_t i = row(b, t, h) * static_cast<std::size_t>(value_dim) + static_cast<std::size_t>(d);
    return {out[i], out_tol[i]};
  }
  Approx l(std::int64_t b, std::int64_t t, std::int64_t h) const { return {lse[row(b, t, h)], lse_tol[row(b, t, h)]}; }
};

/// The float64 reference, with what the bound needs beside it. Sums are over visible keys.
struct Truth {
  Answer answer;                      // tolerances: the reference's own round-off, some dozens of 2^-53
  std::vector<double> spread, reach;  // Σ p|v| as out; 1 + L as lse
  std::vector<double> mass;           // Σ|v| as out
  double b = 0;                       // B for the longest batch row

  explicit Truth(const Case& c);

  /// What a kernel's answer may be off by.
  double out_bound(std::size_t i, DType out) const;
  double out_bound(std::size_t i,
                   const Attention& a) const;  // the rounding of weights included, where a.kernel() does it
  double underflow(std::size_t i, DType out) const { return out == DType::F64 ? 0 : tiny(out) + 0x1p-125 * mass[i]; }
  double lse_bound(std::size_t row) const;

 private:
  void set_row(const Problem& p, int b, int h, int q, const std::vector<double>& norms, double moves, std::size_t at);
};

/// What attend() gives under the instruction set that is active, with the contract's bound as tolerance.
Answer answer_of(const Case& c, const Attention& a, const Truth& truth);

/// Every element of `got` within its tolerance of the truth.
::testing::AssertionResult within_bound(const Answer& got, const Truth& truth);

}  // namespace fovea::testing
