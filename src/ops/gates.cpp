#include "ops/gates.hpp"

#include <cmath>

#include "kernels/registry.hpp"
#include "ops/cut.hpp"

namespace fovea::gates {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// body(first row, rows) of runs of rows, in parallel.
template <class F>
void run_rows(std::int64_t rows, std::int64_t width, const F& body) {
  for_rows(rows, 4 * width,
           [&](std::int64_t first, std::int64_t last) { body(first, static_cast<int>(last - first)); });
}

}  // namespace

void gru(std::int64_t rows, std::int64_t width, const float* x, const float* s, const float* state, float* gates,
         float* out) {
  run_rows(rows, width, [&, w = static_cast<int>(width)](std::int64_t r, int n) {
    const std::int64_t one = r * width, three = 3 * one;
    active_table().gru(n, w, x + three, s + three, state + one, gates + three, out + one);
  });
}

void gru(std::int64_t rows, std::int64_t width, const double* x, const double* s, const double* state, double* gates,
         double* out) {
  for (std::int64_t row = 0; row < rows; ++row, x += 3 * width, s += 3 * width, gates += 3 * width)
    for (std::int64_t i = 0; i < width; ++i) {
      const double r = sigmoid(x[i] + s[i]), z = sigmoid(x[width + i] + s[width + i]);
      const double c = std::tanh(x[2 * width + i] + r * s[2 * width + i]);
      gates[i] = r, gates[width + i] = z, gates[2 * width + i] = c;
      out[row * width + i] = (1 - z) * c + z * state[row * width + i];
    }
}

void gru_backward(std::int64_t rows, std::int64_t width, const float* dout, const float* gates, const float* s,
                  const float* state, float* dx, float* ds, float* dstate) {
  run_rows(rows, width, [&, w = static_cast<int>(width)](std::int64_t r, int n) {
    const std::int64_t one = r * width, three = 3 * one;
    active_table().gru_backward(n, w, dout + one, gates + three, s + three, state + one, dx + three, ds + three,
                                dstate + one);
  });
}

void gru_backward(std::int64_t rows, std::int64_t width, const double* dout, const double* gates, const double* s,
                  const double* state, double* dx, double* ds, double* dstate) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < width; ++i) {
      const double d = dout[i], r = gates[i], z = gates[width + i], c = gates[2 * width + i];
      const double dc = d * (1 - z) * (1 - c * c), dr = dc * s[2 * width + i] * r * (1 - r);
      dx[i] = ds[i] = dr;
      dx[width + i] = ds[width + i] = d * (state[i] - c) * z * (1 - z);
      dx[2 * width + i] = dc, ds[2 * width + i] = dc * r;
      dstate[i] = d * z;
    }
    dx += 3 * width, s += 3 * width, ds += 3 * width, gates += 3 * width;
    state += width, dout += width, dstate += width;
  }
}

void lstm(std::int64_t rows, std::int64_t width, const float* x, const float* s, const float* memory, float* gates,
          float* memory_out, float* out) {
  run_rows(rows, width, [&, w = static_cast<int>(width)](std::int64_t r, int n) {
    const std::int64_t one = r * width, four = 4 * one;
    active_table().lstm(n, w, x + four, s + four, memory + one, gates + four, memory_out + one, out + one);
  });
}

void lstm(std::int64_t rows, std::int64_t width, const double* x, const double* s, const double* memory, double* gates,
          double* memory_out, double* out) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t k = 0; k < width; ++k) {
      const auto sum = [&](std::int64_t gate) { return x[gate * width + k] + s[gate * width + k]; };
      const double i = sigmoid(sum(0)), f = sigmoid(sum(1)), g = std::tanh(sum(2)), o = sigmoid(sum(3));
      gates[k] = i, gates[width + k] = f, gates[2 * width + k] = g, gates[3 * width + k] = o;
      memory_out[k] = f * memory[k] + i * g;
      out[k] = o * std::tanh(memory_out[k]);
    }
    x += 4 * width, s += 4 * width, gates += 4 * width, memory += width, memory_out += width, out += width;
  }
}

void lstm_backward(std::int64_t rows, std::int64_t width, const float* dout, const float* dmemory_out,
                   const float* gates, const float* memory, const float* memory_out, float* dgates, float* dmemory) {
  run_rows(rows, width, [&, w = static_cast<int>(width)](std::int64_t r, int n) {
    const std::int64_t one = r * width, four = 4 * one;
    active_table().lstm_backward(n, w, dout + one, dmemory_out + one, gates + four, memory + one, memory_out + one,
                                 dgates + four, dmemory + one);
  });
}

void lstm_backward(std::int64_t rows, std::int64_t width, const double* dout, const double* dmemory_out,
                   const double* gates, const double* memory, const double* memory_out, double* dgates,
                   double* dmemory) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t k = 0; k < width; ++k) {
      const double t = std::tanh(memory_out[k]);
      const double i = gates[k], f = gates[width + k], g = gates[2 * width + k], o = gates[3 * width + k];
      const double dm = dout[k] * o * (1 - t * t) + dmemory_out[k];
      dgates[k] = dm * g * i * (1 - i);
      dgates[width + k] = dm * memory[k] * f * (1 - f);
      dgates[2 * width + k] = dm * i * (1 - g * g);
      dgates[3 * width + k] = dout[k] * t * o * (1 - o);
      dmemory[k] = dm * f;
    }
    gates += 4 * width, dgates += 4 * width;
    dout += width, dmemory_out += width, memory += width, memory_out += width, dmemory += width;
  }
}

}  // namespace fovea::gates
