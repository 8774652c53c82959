#include "kernels/probe.hpp"

#include <algorithm>
#include <memory>

#include "core/allocate.hpp"
#include "core/stopwatch.hpp"
#include "kernels/registry.hpp"

namespace fovea {
namespace {

double seconds_of(const auto& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}

volatile double sink;  // keeps the probes' results alive

/// The best of `runs` runs, in GFLOP/s.
double best_rate(float (*spin)(std::int64_t) noexcept, int flops_per_round, std::int64_t rounds, int runs) {
  double best = 0;
  for (int i = 0; i < runs; ++i) {
    const double s = seconds_of([&] { sink = static_cast<double>(spin(rounds)); });
    best = std::max(best, static_cast<double>(rounds) * flops_per_round / s * 1e-9);
  }
  return best;
}

}  // namespace

double probe_fma_gflops(Isa isa) {
  const KernelTable& t = table_of(isa);
  return best_rate(t.spin_fma, t.fma_flops_per_round, 2'000'000, 8);
}

double probe_bf16_gflops(Isa isa) {
  const Bf16Table& t = isa == Isa::Amx ? kAmxTable : kAvx512Bf16Table;
  return best_rate(t.spin, t.flops_per_round, 1'000'000, 8);
}

bool bf16_pairs_pay() {
  static const bool pay = [] {
    double pairs = 0, fma = 0;
    for (int i = 0; i < 5; ++i) {  // in turn, some 50 µs each, so that both meet the same clocks
      pairs = std::max(pairs, best_rate(kAvx512Bf16Table.spin, kAvx512Bf16Table.flops_per_round, 10'000, 2));
      fma = std::max(fma, best_rate(kAvx512Table.spin_fma, kAvx512Table.fma_flops_per_round, 10'000, 2));
    }
    return pairs > 1.2 * fma;
  }();
  return pay;
}

double probe_read_gbps(std::int64_t bytes) {
  const auto words = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 4096) / 8);
  const std::shared_ptr<void> block = allocate(words * 8);  // as tensors lie, on huge pages where they do
  auto* memory = static_cast<std::uint64_t*>(block.get());
  std::fill_n(memory, words, 1);
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
