// Attention written down once more in float64, from its definition, for the tests of fovea attend: dense, slow,
// unrelated to the library.
#pragma once
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

namespace fovea::testing {

using Numbers = std::vector<double>;

struct OracleProblem {
  int batch = 1, time = 1, keys = 1, heads = 1, kv_heads = 1, head_dim = 1, value_dim = 1;
  Numbers q, k,
      v;  // [batch, time, heads, head_dim], [batch, keys, kv_heads, head_dim], [batch, keys, kv_heads, value_dim]
  Numbers bias;  // [batch, heads, time, keys], or empty
  Numbers sink;  // [heads], or empty
  double scale = 1;
  std::function<bool(int b, int h, int i, int j)> visible = [](int, int, int, int) { return true; };
  /// From scale·q·k and the bias of the site to the score.
  std::function<double(double logit, double bias, int h, int i, int j)> score = [](double s, double b, int, int, int) {
    return s + b;
  };
};

struct OracleResult {
  Numbers out;                // [batch, time, heads, value_dim]
  Numbers lse, entropy, max;  // [batch, heads, time]
  Numbers weights;            // [batch, heads, time, keys]
};

inline std::size_t flat(int a, int b, int nb, int c, int nc, int d, int nd) {
  return ((static_cast<std::size_t>(a) * static_cast<std::size_t>(nb) + static_cast<std::size_t>(b)) *
              static_cast<std::size_t>(nc) +
          static_cast<std::size_t>(c)) *
             static_cast<std::size_t>(nd) +
         static_cast<std::size_t>(d);
}

inline OracleResult oracle(const OracleProblem& p) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  OracleResult r;
  const std::size_t rows = flat(p.batch, 0, p.heads, 0, p.time, 0, 1);
  r.out.assign(rows * static_cast<std::size_t>(p.value_dim), 0);
  r.lse.assign(rows, -kInf), r.max.assign(rows, -kInf), r.entropy.assign(rows, 0);
  r.weights.assign(rows * static_cast<std::size_t>(p.keys), 0);
  for (int b = 0; b < p.batch; ++b)
    for (int h = 0; h < p.heads; ++h)
      for (int i = 0; i < p.time; ++i) {
        const std::size_t row = flat(b, h, p.heads, i, p.time, 0, 1);
        const int kv = h / (p.heads / p.kv_heads);
        Numbers s(static_cast<std::size_t>(p.keys), -kInf);
        double top = -kInf;
        for (int j = 0; j < p.keys; ++j) {
          if (!p.visible(b, h, i, j)) continue;
          double dot = 0;
          for (int d = 0; d < p.head_dim; ++d)
            dot += p.q[flat(b, i, p.time, h, p.heads, d, p.head_dim)] *
                   p.k[flat(b, j, p.keys, kv, p.kv_heads, d, p.head_dim)];
          const double bias = p.bias.empty() ? 0 : p.bias[flat(b, h, p.heads, i, p.time, j, p.keys)];
          s[static_cast<std::size_t>(j)] = p.score(p.scale * dot, bias, h, i, j);
          top = std::max(top, s[static_cast<std::size_t>(j)]);
        }
        r.max[row] = top;
        const double sink = p.sink.empty() ? -kInf : p.sink[static_cast<std::size_t>(h)], shift = std::max(top, sink);
        if (shift == -kInf) continue;
        double sum = std::exp(sink - shift);
        for (const double x : s) sum += std::exp(x - shift);
        r.lse[row] = shift + std::log(sum);
        const double rest = std::exp(sink - r.lse[row]);
        if (rest > 0) r.entropy[row] -= rest * std::log(rest);
        for (int j = 0; j < p.keys; ++j) {
          const double a = std::exp(s[static_cast<std::size_t>(j)] - r.lse[row]);
          r.weights[row * static_cast<std::size_t>(p.keys) + static_cast<std::size_t>(j)] = a;
          if (a == 0) continue;
          r.entropy[row] -= a * std::log(a);
          for (int d = 0; d < p.value_dim; ++d)
            r.out[flat(b, i, p.time, h, p.heads, d, p.value_dim)] +=
                a * p.v[flat(b, j, p.keys, kv, p.kv_heads, d, p.value_dim)];
        }
      }
  return r;
}

/// ∂(Σ out ∘ dout)/∂x by central differences, for x one of the problem's own arrays.
inline Numbers numeric_gradient(OracleProblem& p, Numbers& x, const Numbers& dout) {
  const auto loss = [&] {
    const Numbers out = oracle(p).out;
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * dout[i];
    return sum;
  };
  constexpr double kStep = 1e-5;
  Numbers gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + kStep;
    const double above = loss();
    x[i] = at - kStep;
    const double below = loss();
    x[i] = at;
    gradient[i] = (above - below) / (2 * kStep);
  }
  return gradient;
}

}  // namespace fovea::testing
