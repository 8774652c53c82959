// Transformer layers in double precision, as slow and as plain as the papers' formulas: what the engine's layers are held against.
#pragma once
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <fovea/tensor.hpp>

#include "support/random.hpp"

namespace plain {

using Row = std::vector<double>;
using Matrix = std::vector<Row>;  // [rows][columns]

/// Tensors by name, f32, so that the engine reads the very same numbers.
class Store {
 public:
  explicit Store(std::uint64_t seed) : random_(seed) {}
  fovea::Tensor& add(const std::string& name, const fovea::Shape& shape, double mean = 0, double spread = 0.2) {
    fovea::Tensor t(fovea::DType::F32, shape);
    for (float& x : t.values<float>()) x = static_cast<float>(mean + spread * random_.normal());
    return tensors[name] = t;
  }
  void add_linear(const std::string& scope, std::int64_t in, std::int64_t out, bool bias = true) {
    add(scope + ".weight", {out, in});
    if (bias) add(scope + ".bias", {out});
  }
  void add_norm(const std::string& scope, std::int64_t width) {
    add(scope + ".weight", {width}, 1);
    add(scope + ".bias", {width});
  }
  double at(const std::string& name, std::size_t i) const { return double{tensors.at(name).values<float>()[i]}; }
  bool contains(const std::string& name) const { return tensors.contains(name); }

  std::map<std::string, fovea::Tensor> tensors;

 private:
  fovea::testing::Rng random_;
};

inline Matrix matrix(const fovea::Tensor& t) {
  const auto rows = static_cast<std::size_t>(t.shape()[0]), columns = static_cast<std::size_t>(t.shape()[1]);
  Matrix m(rows, Row(columns));
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) m[r][c] = double{t.values<float>()[r * columns + c]};
  return m;
}

inline fovea::Tensor tensor(const Matrix& m) {
  const std::size_t columns = m.empty() ? 0 : m[0].size();
  fovea::Tensor t(fovea::DType::F32, {static_cast<std::int64_t>(m.size()), static_cast<std::int64_t>(columns)});
  for (std::size_t r = 0; r < m.size(); ++r)
    for (std::size_t c = 0; c < columns; ++c) t.values<float>()[r * columns + c] = static_cast<float>(m[r][c]);
  return t;
}

inline Matrix random_matrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  fovea::testing::Rng random(seed);
  Matrix m(rows, Row(columns));
  for (Row& row : m)
    for (double& x : row) x = double{static_cast<float>(random.normal())};
  return m;
}

/// y = x · Wᵀ + b; no bias where the store has none.
inline Matrix linear(const Store& s, const std::string& scope, const Matrix& x) {
  const fovea::Tensor& w = s.tensors.at(scope + ".weight");
  const auto out = static_cast<std::size_t>(w.shape()[0]), in = static_cast<std::size_t>(w.shape()[1]);
  Matrix y(x.size(), Row(out));
  for (std::size_t r = 0; r < x.size(); ++r)
    for (std::size_t o = 0; o < out; ++o) {
      double sum = s.contains(scope + ".bias") ? s.at(scope + ".bias", o) : 0;
      for (std::size_t i = 0; i < in; ++i) sum += x[r][i] * s.at(scope + ".weight", o * in + i);
      y[r][o] = sum;
    }
  return y;
}

inline Matrix layer_norm(const Store& s, const std::string& scope, Matrix x, double eps) {
  const bool old = s.contains(scope + ".gamma");
  for (Row& row : x) {
    double mean = 0, variance = 0;
    for (const double v : row) mean += v / static_cast<double>(row.size());
    for (const double v : row) variance += (v - mean) * (v - mean) / static_cast<double>(row.size());
    for (std::size_t i = 0; i < row.size(); ++i)
      row[i] = (row[i] - mean) / std::sqrt(variance + eps) * s.at(scope + (old ? ".gamma" : ".weight"), i) +
               s.at(scope + (old ? ".beta" : ".bias"), i);
  }
  return x;
}

inline double gelu(double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }
inline double relu(double x) { return x > 0 ? x : 0; }

inline Matrix map(Matrix x, const std::function<double(double)>& f) {
  for (Row& row : x)
    for (double& v : row) v = f(v);
  return x;
}

inline Matrix sum(Matrix a, const Matrix& b) {
  for (std::size_t r = 0; r < a.size(); ++r)
    for (std::size_t c = 0; c < a[r].size(); ++c) a[r][c] += b[r][c];
  return a;
}

/// Whether query i of a head sees key j.
using Visible = std::function<bool(int head, int query, int key)>;
inline bool all_visible(int, int, int) { return true; }

/// Scaled dot-product attention of one sequence: q [queries][heads · head_dim], k [keys][kv_heads · head_dim], v alike.
/// `weights`, when given, receives one [queries][keys] per head. A row that sees nothing is zero.
inline Matrix attention(const Matrix& q, const Matrix& k, const Matrix& v, int heads, int kv_heads, const Visible& visible,
                        std::vector<Matrix>* weights) {
  const std::size_t head_dim = q[0].size() / static_cast<std::size_t>(heads), value_dim = v[0].size() / static_cast<std::size_t>(kv_heads);
  Matrix out(q.size(), Row(static_cast<std::size_t>(heads) * value_dim, 0.0));
  for (int h = 0; h < heads; ++h) {
    const auto head = static_cast<std::size_t>(h), kv = static_cast<std::size_t>(h / (heads / kv_heads));
    Matrix w(q.size(), Row(k.size(), 0.0));
    for (std::size_t i = 0; i < q.size(); ++i) {
      double total = 0;
      for (std::size_t j = 0; j < k.size(); ++j) {
        if (!visible(h, static_cast<int>(i), static_cast<int>(j))) continue;
        double dot = 0;
        for (std::size_t d = 0; d < head_dim; ++d) dot += q[i][head * head_dim + d] * k[j][kv * head_dim + d];
        total += w[i][j] = std::exp(dot / std::sqrt(static_cast<double>(head_dim)));  // small models: exp does not overflow
      }
      for (std::size_t j = 0; j < k.size() && total > 0; ++j) {
        w[i][j] /= total;
        for (std::size_t d = 0; d < value_dim; ++d) out[i][head * value_dim + d] += w[i][j] * v[j][kv * value_dim + d];
      }
    }
    if (weights) weights->push_back(w);
  }
  return out;
}

inline double worst(const Matrix& expected, const fovea::Tensor& found, std::size_t first_row = 0) {
  double error = 0;
  for (std::size_t r = 0; r < expected.size(); ++r)
    for (std::size_t c = 0; c < expected[r].size(); ++c) {
      const double difference = std::abs(expected[r][c] - double{found.values<float>()[(first_row + r) * expected[r].size() + c]});
      if (!(difference <= error)) error = difference;  // a NaN is an error too
    }
  return error;
}

}  // namespace plain
