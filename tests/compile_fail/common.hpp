// What the cases share: views of the right shape and type, and attend's result thrown away.
#pragma once
#include <fovea/fovea.hpp>

using namespace fovea;

inline float numbers[8 * 2 * 16];  // enough for [1, 8, 2, 16]
inline bf16 halves[8 * 2 * 16];
inline const View q(numbers, {1, 8, 2, 16}), k(numbers, {1, 8, 2, 16}), v(numbers, {1, 8, 2, 16});
