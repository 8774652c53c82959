#include "support/plain_layers.hpp"

namespace plain {

fovea::Tensor& Store::add(const std::string& name, const fovea::Shape& shape, double mean, double spread) {
  fovea::Tensor t(fovea::DType::F32, shape);
  for (float& x : t.values<float>()) x = static_cast<float>(mean + spread * random_.normal());
  return tensors[name] = t;
}

void Store::add_linear(const std::string& scope, std::int64_t in, std::int64_t out, bool bias) {
  add(scope + ".weight", {out, in});
  if (bias) add(scope + ".bias", {out});
}

void Store::add_norm(const std::string& scope, std::int64_t width) {
  add(scope + ".weight", {width}, 1);
  add(scope + ".bias", {width});
}

double Store::at(const std::string& name, std::size_t i) const { return double{tensors.at(name).values<float>()[i]}; }
bool Store::contains(const std::string& name) const { return tensors.contains(name); }

Matrix matrix(const fovea::Tensor& t) {
  const auto rows = static_cast<std::size_t>(t.shape()[0]), columns = static_cast<std::size_t>(t.shape()[1]);
  Matrix m(rows, Row(columns));
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) m[r][c] = double{t.values<float>()[r * columns + c]};
  return m;
}

fovea::Tensor tensor(const Matrix& m) {
  const std::size_t columns = m.empty() ? 0 : m[0].size();
  fovea::Tensor t(fovea::DType::F32, {static_cast<std::int64_t>(m.size()), static_cast<std::int64_t>(columns)});
  for (std::size_t r = 0; r < m.size(); ++r)
    for (std::size_t c = 0; c < columns; ++c) t.values<float>()[r * columns + c] = static_cast<float>(m[r][c]);
  return t;
}

Matrix random_matrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  fovea::testing::Rng random(seed);
  Matrix m(rows, Row(columns));
  for (Row& row : m)
    for (double& x : row) x = double{static_cast<float>(random.normal())};
  return m;
}

Matrix linear(const Store& s, const std::string& scope, const Matrix& x) {
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

Matrix layer_norm(const Store& s, const std::string& scope, Matrix x, double eps) {
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

Matrix map(Matrix x, const std::function<double(double)>& f) {
  for (Row& row : x)
    for (double& v : row) v = f(v);
  return x;
}

Matrix sum(Matrix a, const Matrix& b) {
  for (std::size_t r = 0; r < a.size(); ++r)
    for (std::size_t c = 0; c < a[r].size(); ++c) a[r][c] += b[r][c];
  return a;
}

Matrix attention(const Matrix& q, const Matrix& k, const Matrix& v, int heads, int kv_heads, const Visible& visible,
                 std::vector<Matrix>* weights) {
  const std::size_t head_dim = q[0].size() / static_cast<std::size_t>(heads),
                    value_dim = v[0].size() / static_cast<std::size_t>(kv_heads);
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
        total += w[i][j] =
            std::exp(dot / std::sqrt(static_cast<double>(head_dim)));  // small models: exp does not overflow
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

double worst(const Matrix& expected, const fovea::Tensor& found, std::size_t first_row) {
  double error = 0;
  for (std::size_t r = 0; r < expected.size(); ++r)
    for (std::size_t c = 0; c < expected[r].size(); ++c) {
      const double difference =
          std::abs(expected[r][c] - double{found.values<float>()[(first_row + r) * expected[r].size() + c]});
      if (!(difference <= error)) error = difference;  // a NaN is an error too
    }
  return error;
}

}  // namespace plain
