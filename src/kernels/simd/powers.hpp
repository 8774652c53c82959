// What façades look up for exp2(): powers of two between 1 and 2. 2^x = 2^(i/32) · 2^rest leaves so little of x that a
// polynomial of degree 2 is enough where one of degree 6 was; of 2^(i/8), degree 3.
#pragma once
#include <cstdint>

namespace fovea::FOVEA_ISA {

/// 2^(i/32), rounded to f32 (relative error ≤ 5.5e-8).
alignas(64) inline constexpr float kPowers[32] = {
    1.0f, 1.0218972f, 1.0442737f, 1.0671405f, 1.0905077f, 1.1143868f, 1.1387886f, 1.1637249f,
    1.1892071f, 1.2152474f, 1.2418578f, 1.269051f, 1.2968396f, 1.3252367f, 1.3542556f, 1.38391f,
    1.4142135f, 1.4451808f, 1.4768262f, 1.5091645f, 1.5422108f, 1.5759809f, 1.6104903f, 1.6457555f,
    1.6817929f, 1.7186193f, 1.7562522f, 1.7947091f, 1.8340081f, 1.8741677f, 1.9152066f, 1.9571441f};

/// The bits of 2^(i/8), less i in the place of eighths: a number of eighths there (of either sign, whole octaves in it)
/// added to them gives the bits of its power.
inline constexpr int kEighthsPlace = 20;
struct Eighths {
  alignas(32) std::int32_t bits[8];
};
inline constexpr Eighths kEighths = [] {
  Eighths table{};
  for (int i = 0; i < 8; ++i)
    table.bits[i] = __builtin_bit_cast(std::int32_t, kPowers[4 * i]) - (i << kEighthsPlace);
  return table;
}();

/// 2^r = 1 + r·(c[0] + c[1]·r + …), minimax where a façade's rests lie: on [0, 1/32] (relative error ≤ 6.6e-8), on
/// [−1/16, 1/16] (2.6e-8).
inline constexpr float kAboveStep[2] = {6.931237316e-1f, 2.426526925e-1f};
inline constexpr float kAroundStep[3] = {6.931471806e-1f, 2.402576934e-1f, 5.550843196e-2f};

}  // namespace fovea::FOVEA_ISA
