// What façades look up for exp2(): powers of two between 1 and 2. 2^x = 2^(i/16) · 2^rest leaves so little of x that a
// polynomial of degree 3 is enough where one of degree 6 was.
#pragma once
#include <cstdint>

namespace fovea::FOVEA_ISA {

/// 2^(i/16), rounded to f32 (relative error ≤ 4.8e-8).
alignas(64) inline constexpr float kSixteenths[16] = {
    1.0f,        1.04427373f, 1.09050775f, 1.13878858f, 1.18920708f, 1.24185777f, 1.29683959f, 1.3542556f,
    1.41421354f, 1.47682619f, 1.54221082f, 1.61049032f, 1.68179286f, 1.75625217f, 1.83400810f, 1.91520655f};

/// The bits of 2^(i/8), less i in the place of eighths: a number of eighths there (of either sign, whole octaves in it)
/// added to them gives the bits of its power.
inline constexpr int kEighthsPlace = 20;
struct Eighths {
  alignas(32) std::int32_t bits[8];
};
inline constexpr Eighths kEighths = [] {
  Eighths table{};
  for (int i = 0; i < 8; ++i)
    table.bits[i] = __builtin_bit_cast(std::int32_t, kSixteenths[2 * i]) - (i << kEighthsPlace);
  return table;
}();

/// 2^r = 1 + r·(c[0] + c[1]·r + c[2]·r²), minimax where a façade's rests lie: on [0, 1/16] (relative error ≤ 5e-9), on
/// [−1/16, 1/16] (2.6e-8).
inline constexpr float kAboveStep[3] = {6.931472549e-1f, 2.402051068e-1f, 5.641466251e-2f};
inline constexpr float kAroundStep[3] = {6.931471806e-1f, 2.402576934e-1f, 5.550843196e-2f};

}  // namespace fovea::FOVEA_ISA
