#include "ops/dropout.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/registry.hpp"
#include "ops/cut.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

struct Draw {
  std::uint64_t seed, stream;
  float p;
};

// An element takes half a word, so p is a whole number of 65536ths.
constexpr double kHalves = 65536;
std::uint16_t fall_of(float p) {
  return static_cast<std::uint16_t>(std::min(kHalves - 1, std::round(static_cast<double>(p) * kHalves)));
}
double factor_of(float p) { return 1 / (1 - fall_of(p) / kHalves); }

void drop(const Draw& draw, std::int64_t first, const float* x, std::int64_t n, float* y) {
  active_table().drop(draw.seed, draw.stream, static_cast<std::uint64_t>(first / 8), fall_of(draw.p),
                      static_cast<float>(factor_of(draw.p)), x, n, y);
}
void drop(const Draw& draw, std::int64_t first, const double* x, std::int64_t n, double* y) {
  std::vector<std::uint32_t> words(static_cast<std::size_t>((n + 7) / 8 * 4));
  active_table().philox(draw.seed, draw.stream, static_cast<std::uint64_t>(first / 8), (n + 7) / 8, words.data());
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t half = words[static_cast<std::size_t>(i / 2)] >> (i % 2 * 16) & 0xffff;
    y[i] = half >= fall_of(draw.p) ? x[i] * factor_of(draw.p) : 0;
  }
}

/// The mask is drawn again on the way back rather than kept.
template <class T>
Tensor dropped(const Tensor& x, const Draw& draw) {
  static_assert(kElementsAtOnce % 8 == 0);  // whole blocks of the stream
  Tensor y = Tensor::unset(x.dtype(), x.shape());
  const T* from = x.data<T>();
  T* to = y.data<T>();
  for_runs(x.elements(), kElementsAtOnce,
           [&](std::int64_t begin, std::int64_t end) { drop(draw, begin, from + begin, end - begin, to + begin); });
  return y;
}

}  // namespace

Tensor dropout(Tensor x, float p) {
  if (!(p >= 0 && p < 1)) throw Error(fmt::format("dropout: p is {}; expected 0 or more, below 1", p));
  Tape* tape = Tape::current();
  if (!tape || tape->still() || p == 0) return x;
  const Draw draw{tape->seed(), tape->next_stream(), p};
  return by_precision("dropout", x, [&]<class T>(T) {
    Tensor y = dropped<T>(x, draw);
    tape->record(y, {x}, [=](Tape& t, const Tensor& dy) { t.add(x, dropped<T>(dy, draw)); });
    return y;
  });
}

}  // namespace fovea
