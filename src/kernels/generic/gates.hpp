// The element-wise halves of recurrent cells, in PyTorch's order of gates.
//
// GRU (Cho et al. 2014, 1406.1078): r, z, n.  LSTM (Hochreiter & Schmidhuber 1997, with Gers et al. 2000): i, f, g, o.
// What came from the input and from the state are added here; each is [rows, gates · width].
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/parts.hpp"

namespace fovea::FOVEA_ISA {

/// r = σ(x_r + s_r), z = σ(x_z + s_z), n = tanh(x_n + r · s_n); out = (1 − z) · n + z · state. gates [rows, 3 · width]
/// receives r, z, n.
inline void gru(int rows, int width, const float* x, const float* s, const float* state, float* gates,
                float* out) noexcept {
  for (int row = 0; row < rows; ++row) {
    for_parts(width, [&](int i, int n) {
      const Vec r = sigmoid(get(x + i, n) + get(s + i, n));
      const Vec z = sigmoid(get(x + width + i, n) + get(s + width + i, n));
      const Vec c = tanh(fma(r, get(s + 2 * width + i, n), get(x + 2 * width + i, n)));
      put(gates + i, n, r), put(gates + width + i, n, z), put(gates + 2 * width + i, n, c);
      put(out + i, n, fma(z, get(state + i, n) - c, c));
    });
    x += 3 * width, s += 3 * width, gates += 3 * width, state += width, out += width;
  }
}

/// From dout: dx, ds [rows, 3 · width] and dstate [rows, width].
inline void gru_backward(int rows, int width, const float* dout, const float* gates, const float* s, const float* state,
                         float* dx, float* ds, float* dstate) noexcept {
  for (int row = 0; row < rows; ++row) {
    for_parts(width, [&](int i, int n) {
      const Vec d = get(dout + i, n), r = get(gates + i, n), z = get(gates + width + i, n),
                c = get(gates + 2 * width + i, n);
      const Vec dc = d * (Vec(1.0f) - z) * (Vec(1.0f) - c * c);
      const Vec dr = dc * get(s + 2 * width + i, n) * r * (Vec(1.0f) - r);
      const Vec dz = d * (get(state + i, n) - c) * z * (Vec(1.0f) - z);
      put(dx + i, n, dr), put(dx + width + i, n, dz), put(dx + 2 * width + i, n, dc);
      put(ds + i, n, dr), put(ds + width + i, n, dz), put(ds + 2 * width + i, n, dc * r);
      put(dstate + i, n, d * z);
    });
    dx += 3 * width, s += 3 * width, ds += 3 * width, gates += 3 * width;
    state += width, dout += width, dstate += width;
  }
}

/// i, f, o = σ(x + s), g = tanh(x + s); memory_out = f · memory + i · g; out = o · tanh(memory_out). gates [rows, 4 ·
/// width] receives i, f, g, o.
inline void lstm(int rows, int width, const float* x, const float* s, const float* memory, float* gates,
                 float* memory_out, float* out) noexcept {
  for (int row = 0; row < rows; ++row) {
    for_parts(width, [&](int k, int n) {
      const auto sum = [&](int gate) { return get(x + gate * width + k, n) + get(s + gate * width + k, n); };
      const Vec i = sigmoid(sum(0)), f = sigmoid(sum(1)), g = tanh(sum(2)), o = sigmoid(sum(3));
      const Vec m = fma(f, get(memory + k, n), i * g);
      put(gates + k, n, i), put(gates + width + k, n, f), put(gates + 2 * width + k, n, g);
      put(gates + 3 * width + k, n, o);
      put(memory_out + k, n, m), put(out + k, n, o * tanh(m));
    });
    x += 4 * width, s += 4 * width, gates += 4 * width, memory += width, memory_out += width, out += width;
  }
}

/// From dout and dmemory_out: dgates [rows, 4 · width], the same towards x and s, and dmemory [rows, width].
inline void lstm_backward(int rows, int width, const float* dout, const float* dmemory_out, const float* gates,
                          const float* memory, const float* memory_out, float* dgates, float* dmemory) noexcept {
  for (int row = 0; row < rows; ++row) {
    for_parts(width, [&](int k, int n) {
      const Vec one = 1.0f, d = get(dout + k, n), t = tanh(get(memory_out + k, n));
      const Vec i = get(gates + k, n), f = get(gates + width + k, n), g = get(gates + 2 * width + k, n),
                o = get(gates + 3 * width + k, n);
      const Vec dm = fma(d * o, one - t * t, get(dmemory_out + k, n));
      put(dgates + k, n, dm * g * i * (one - i));
      put(dgates + width + k, n, dm * get(memory + k, n) * f * (one - f));
      put(dgates + 2 * width + k, n, dm * i * (one - g * g));
      put(dgates + 3 * width + k, n, d * t * o * (one - o));
      put(dmemory + k, n, dm * f);
    });
    gates += 4 * width, dgates += 4 * width;
    dout += width, dmemory_out += width, memory += width, memory_out += width, dmemory += width;
  }
}

}  // namespace fovea::FOVEA_ISA
