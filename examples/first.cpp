#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include <fovea/fovea.hpp>
using namespace fovea;

int main() {
  std::vector<float> q_data(4096 * 8 * 64), k_data(4096 * 2 * 64), v_data(4096 * 2 * 64);  // your own memory, not copied
  std::mt19937 random;
  for (auto* data : {&q_data, &k_data, &v_data})
    for (float& x : *data) x = std::normal_distribution<float>()(random);

  View q(q_data.data(), {1, 4096, 8, 64}), k(k_data.data(), {1, 4096, 2, 64}), v(v_data.data(), {1, 4096, 2, 64});
  Attention a = attend(q, k, v, causal() & window(1024), softcap(50));  // four heads share each key head: read off the shapes

  std::vector<float> row = a.weights({.head = 3, .query = 4095});  // one exact row, rebuilt on demand
  int key = int(std::max_element(row.begin(), row.end()) - row.begin());
  std::printf("query 4095 of head 3 looks most at key %d, with %.1f times an equal share;\n", key, row[key] * 1025);
  std::printf("its output starts with %.4f, and without that key with %.4f\n", a.out.data<float>()[(4095 * 8 + 3) * 64],
              a.without({.head = 3, .query = 4095, .key = key})[0]);
}
