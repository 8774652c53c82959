// What façades make powers of two of. 2^x = 2^(i/32) · 2^rest leaves so little of x that a square is enough for the
// rest, of 2^(i/8) a cubic, where a polynomial of degree 6 was.
#pragma once
#include <cstdint>

namespace fovea::FOVEA_ISA {

/// 2^r = (k + (r + a)²) / (k + a²) on [0, 1/32], with the square completed: of a polynomial 1 + r·(c + d·r) one FMA
/// stays, and its d joins the powers that it meets. Minimax but for rounding (relative error 6.5e-8), of which a, k and
/// the powers' last bits were chosen to leave 2^0 = 1 exactly, and 2.5e-7 at most, 7e-8 in the root of the mean square.
inline constexpr float kSquareAt = 1.4282707f, kSquarePlus = 2.08130121f;
/// 2^(i/32) / (k + a²).
alignas(64) inline constexpr float kPowersOfSquare[32] = {
    0.24264434f,  0.247957557f, 0.253387123f, 0.258935571f, 0.264605522f, 0.27039963f,  0.276320606f, 0.282371253f,
    0.28855437f,  0.29487288f,  0.301329762f, 0.307928026f, 0.314670771f, 0.321561158f, 0.328602433f, 0.335797906f,
    0.343150914f, 0.350664943f, 0.358343512f, 0.366190195f, 0.374208719f, 0.382402837f, 0.390776366f, 0.399333239f,
    0.408077508f, 0.417013228f, 0.42614463f,  0.435476005f, 0.445011675f, 0.454756171f, 0.46471402f,  0.474889934f};

/// The bits of 2^(i/8), less i in the place of eighths: a number of eighths there (of either sign, whole octaves in it)
/// added to them gives the bits of its power.
inline constexpr int kEighthsPlace = 20;
struct Eighths {
  alignas(32) std::int32_t bits[8];
};
inline constexpr Eighths kEighths = [] {
  constexpr float kPowers[8] = {1.0f,        1.09050775f, 1.18920708f, 1.29683959f,
                                1.41421354f, 1.54221082f, 1.68179286f, 1.83400810f};
  Eighths table{};
  for (int i = 0; i < 8; ++i) table.bits[i] = __builtin_bit_cast(std::int32_t, kPowers[i]) - (i << kEighthsPlace);
  return table;
}();
/// 2^r = 1 + r·(c[0] + c[1]·r + c[2]·r²), minimax on [−1/16, 1/16] (relative error ≤ 2.6e-8).
inline constexpr float kCubic[3] = {6.931471806e-1f, 2.402576934e-1f, 5.550843196e-2f};

}  // namespace fovea::FOVEA_ISA
