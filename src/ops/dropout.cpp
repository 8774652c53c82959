#include "ops/dropout.hpp"

#include <array>
#include <cmath>

#include "kernels/registry.hpp"
#include "ops/cut.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

struct Draw {
  std::uint64_t seed, stream;
  float p;
};

/// The mask is drawn again on the way back rather than kept.
template <class T>
Tensor drop(const Tensor& x, const Draw& draw) {
  constexpr std::int64_t kRun = 2048;  // numbers drawn at a time: 8 KB
  static_assert(kElementsAtOnce % kRun == 0 && kRun % 4 == 0);
  const auto fall = static_cast<std::uint32_t>(std::lround(static_cast<double>(draw.p) * 0x1p32 - 0.5));
  const auto factor = static_cast<T>(1 / (1 - static_cast<double>(draw.p)));
  Tensor y = Tensor::unset(x.dtype(), x.shape());
  const T* from = x.data<T>();
  T* to = y.data<T>();
  for_runs(x.elements(), kElementsAtOnce, [&](std::int64_t begin, std::int64_t end) {
    std::array<std::uint32_t, kRun> word;
    for (std::int64_t first = begin; first < end; first += kRun) {
      const std::int64_t n = std::min(kRun, end - first);
      active_table().philox(draw.seed, draw.stream, static_cast<std::uint64_t>(first / 4), (n + 3) / 4, word.data());
      for (std::int64_t i = 0; i < n; ++i)
        to[first + i] = word[static_cast<std::size_t>(i)] >= fall ? from[first + i] * factor : T(0);
    }
  });
  return y;
}

}  // namespace

Tensor dropout(Tensor x, float p) {
  if (!(p >= 0 && p < 1)) throw Error(fmt::format("dropout: p is {}; expected 0 or more, below 1", p));
  Tape* tape = Tape::current();
  if (!tape || p == 0) return x;
  const Draw draw{tape->seed(), tape->next_stream(), p};
  return by_precision("dropout", x, [&]<class T>(T) {
    Tensor y = drop<T>(x, draw);
    tape->record(y, {x}, [=](Tape& t, const Tensor& dy) { t.add(x, drop<T>(dy, draw)); });
    return y;
  });
}

}  // namespace fovea
