#include "ops/dropout.hpp"

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

std::uint32_t fall_of(float p) {
  return static_cast<std::uint32_t>(std::lround(static_cast<double>(p) * 0x1p32 - 0.5));
}
double factor_of(float p) { return 1 / (1 - static_cast<double>(p)); }

void drop(const Draw& draw, std::int64_t first, const float* x, std::int64_t n, float* y) {
  active_table().drop(draw.seed, draw.stream, static_cast<std::uint64_t>(first / 4), fall_of(draw.p),
                      static_cast<float>(factor_of(draw.p)), x, n, y);
}
void drop(const Draw& draw, std::int64_t first, const double* x, std::int64_t n, double* y) {
  std::vector<std::uint32_t> words(static_cast<std::size_t>((n + 3) / 4 * 4));
  active_table().philox(draw.seed, draw.stream, static_cast<std::uint64_t>(first / 4), (n + 3) / 4, words.data());
  for (std::int64_t i = 0; i < n; ++i)
    y[i] = words[static_cast<std::size_t>(i)] >= fall_of(draw.p) ? x[i] * factor_of(draw.p) : 0;
}

/// The mask is drawn again on the way back rather than kept.
template <class T>
Tensor dropped(const Tensor& x, const Draw& draw) {
  static_assert(kElementsAtOnce % 4 == 0);  // whole blocks of the stream
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
  if (!tape || p == 0) return x;
  const Draw draw{tape->seed(), tape->next_stream(), p};
  return by_precision("dropout", x, [&]<class T>(T) {
    Tensor y = dropped<T>(x, draw);
    tape->record(y, {x}, [=](Tape& t, const Tensor& dy) { t.add(x, dropped<T>(dy, draw)); });
    return y;
  });
}

}  // namespace fovea
