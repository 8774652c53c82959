// Transformer layers in double precision, as slow and as plain as the papers' formulas: what the engine's layers are
// held against.
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
  fovea::Tensor& add(const std::string& name, const fovea::Shape& shape, double mean = 0, double spread = 0.2);
  void add_linear(const std::string& scope, std::int64_t in, std::int64_t out, bool bias = true);
  void add_norm(const std::string& scope, std::int64_t width);
  double at(const std::string& name, std::size_t i) const;
  bool contains(const std::string& name) const;

  std::map<std::string, fovea::Tensor> tensors;

 private:
  fovea::testing::Rng random_;
};

Matrix matrix(const fovea::Tensor& t);
fovea::Tensor tensor(const Matrix& m);
Matrix random_matrix(std::size_t rows, std::size_t columns, std::uint64_t seed);

/// y = x · Wᵀ + b; no bias where the store has none.
Matrix linear(const Store& s, const std::string& scope, const Matrix& x);
Matrix layer_norm(const Store& s, const std::string& scope, Matrix x, double eps);
inline double gelu(double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }
inline double relu(double x) { return x > 0 ? x : 0; }
Matrix map(Matrix x, const std::function<double(double)>& f);
Matrix sum(Matrix a, const Matrix& b);

/// Whether query i of a head sees key j.
using Visible = std::function<bool(int head, int query, int key)>;
inline bool all_visible(int, int, int) { return true; }

/// Scaled dot-product attention of one sequence: q [queries][heads · head_dim], k [keys][kv_heads · head_dim], v alike.
/// `weights`, when given, receives one [queries][keys] per head. A row that sees nothing is zero.
Matrix attention(const Matrix& q, const Matrix& k, const Matrix& v, int heads, int kv_heads, const Visible& visible,
                 std::vector<Matrix>* weights);
double worst(const Matrix& expected, const fovea::Tensor& found, std::size_t first_row = 0);

}  // namespace plain
