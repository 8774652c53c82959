#include "kernels/probe.hpp"

#include <algorithm>
#include <vector>

#include "core/stopwatch.hpp"
#include "kernels/table.hpp"

namespace fovea {
namespace {

double seconds_of(const auto& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}

volatile double sink;  // keeps the probes' results alive

}  // namespace

double probe_fma_gflops(Isa isa) {
  const KernelTable& t = isa == Isa::Avx512 ? kAvx512Table : isa == Isa::Avx2 ? kAvx2Table : kScalarTable;
  constexpr std::int64_t kRounds = 2'000'000;
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const double s = seconds_of([&] { sink = static_cast<double>(t.spin_fma(kRounds)); });
    best = std::max(best, static_cast<double>(kRounds) * t.fma_flops_per_round / s * 1e-9);
  }
  return best;
}

double probe_read_gbps(std::int64_t bytes) {
  const auto words = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 4096) / 8);
  std::vector<std::uint64_t> memory(words, 1);
  const int repeats =
      static_cast<int>(std::clamp<std::int64_t>((std::int64_t{64} << 20) / std::max<std::int64_t>(bytes, 1), 1, 4096));
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const double s = seconds_of([&] {
      std::uint64_t lanes[8] = {};
      for (int r = 0; r < repeats; ++r)
        for (std::size_t j = 0; j + 8 <= words; j += 8)
          for (std::size_t k = 0; k < 8; ++k) lanes[k] ^= memory[j + k];
      std::uint64_t all = 0;
      for (const std::uint64_t lane : lanes) all ^= lane;
      sink = static_cast<double>(all);
    });
    best = std::max(best, static_cast<double>(words) * 8 * repeats / s * 1e-9);
  }
  return best;
}

}  // namespace fovea
