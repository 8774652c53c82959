#include "kernels/probe.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "core/stopwatch.hpp"
#include "kernels/registry.hpp"

namespace fovea {
namespace {

double seconds_of(const auto& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}

thread_local volatile double sink;  // keeps the probes' results alive; some are asked by threads at once

/// The better of two runs, in GFLOP/s.
double best_rate(float (*spin)(std::int64_t) noexcept, int flops_per_round, std::int64_t rounds) {
  double best = 0;
  for (int i = 0; i < 2; ++i) {
    const double s = seconds_of([&] { sink = static_cast<double>(spin(rounds)); });
    best = std::max(best, static_cast<double>(rounds) * flops_per_round / s * 1e-9);
  }
  return best;
}

/// Over 10 to 20 ms, in GFLOP/s: the clock that longer work meets too, not its best moment.
double sustained_rate(float (*spin)(std::int64_t) noexcept, int flops_per_round) {
  for (std::int64_t rounds = 1000;; rounds *= 2) {
    const double s = seconds_of([&] { sink = static_cast<double>(spin(rounds)); });
    if (s > 0.01) return static_cast<double>(rounds) * flops_per_round / s * 1e-9;
  }
}

/// How much faster products of bf16 are than those of f32: in turn, some 50 µs each, so that both meet the same clocks.
double ratio_to_fma(const Bf16Table& bf16, std::int64_t rounds) {
  double products = 0, fma = 0;
  for (int i = 0; i < 5; ++i) {
    products = std::max(products, best_rate(bf16.spin, bf16.flops_per_round, rounds));
    fma = std::max(fma, best_rate(kAvx512Table.spin_fma, kAvx512Table.fma_flops_per_round, 10'000));
  }
  return products / fma;
}

/// Whether lines come faster that are asked for into L2 than into L1, from memory: 256 KB that caches were told to let
/// go. No where they can't be told.
bool lines_come_faster_into_l2() {
#ifdef __x86_64__
  struct alignas(64) Line {
    float x[16];
  };
  constexpr int kLines = 4096;
  constexpr double kFaster = 1.5;  // Zen 4: 2 to 4
  const std::vector<Line> lines(kLines);
  const auto seconds = [&](bool into_l2) {
    for (const Line& line : lines) __builtin_ia32_clflush(&line);
    __builtin_ia32_mfence();
    return seconds_of(
        [&] { sink = static_cast<double>(active_table().read_asking(lines[0].x, kLines * 16, into_l2)); });
  };
  double into_l1 = 1;
  for (int i = 0; i < 3; ++i) into_l1 = std::min(into_l1, seconds(false));
  // Zen 4 that asked for many lines into L1 (decoding 268 MB is enough) lets those into L2 fall for up to 100 rounds.
  for (int i = 0; i < 100; ++i)
    if (seconds(true) * kFaster < into_l1) return true;
#endif
  return false;
}

}  // namespace

double probe_fma_gflops(Isa isa) {
  const KernelTable& t = table_of(isa);
  return sustained_rate(t.spin_fma, t.fma_flops_per_round);
}

double probe_bf16_gflops(Isa isa) {
  const Bf16Table& t = isa == Isa::Amx ? kAmxTable : kAvx512Bf16Table;
  return sustained_rate(t.spin, t.flops_per_round);
}

bool bf16_pairs_pay() {
  static const bool pay = ratio_to_fma(kAvx512Bf16Table, 10'000) > 1.2;
  return pay;
}

bool split_products_pay() {
  static const bool pay = ratio_to_fma(kAmxTable, 1'000) > 6 * 1.5;
  return pay;
}

bool asking_into_l2_pays(std::int64_t bytes) {
  constexpr int kTries = 3;
  constexpr std::int64_t kWorthwhile = 64 << 20;
  static std::atomic<std::int64_t> read = 0;
  static std::atomic<bool> pays = false;
  static std::atomic<int> refused = 0;
  if (read < kWorthwhile && (read += bytes) < kWorthwhile) return false;
  if (pays || refused >= kTries) return pays;
  if (lines_come_faster_into_l2())
    pays = true;
  else
    ++refused;
  return pays;
}

double probe_read_gbps(Isa isa, std::span<const MemoryRun> runs) {
  constexpr std::int64_t kUnit = 512, kNear = 4096;  // bytes that read_alone takes at a time, and that L1 has anyway
  alignas(64) static constexpr float kZeros[kNear / 4] = {};
  std::vector<MemoryRun> whole;
  std::int64_t bytes = 0;
  for (const MemoryRun& run : runs)
    if (run.bytes >= kUnit) bytes += whole.emplace_back(MemoryRun{run.at, run.bytes / kUnit * kUnit}).bytes;
  if (whole.empty()) bytes = whole.emplace_back(MemoryRun{kZeros, kNear}).bytes;
  const auto pass = [&] {
    for (const MemoryRun& run : whole)
      sink = static_cast<double>(table_of(isa).read_alone(static_cast<const float*>(run.at), run.bytes / 4));
  };
  pass();  // what caches can hold of it, they hold
  const std::int64_t passes = std::clamp<std::int64_t>((std::int64_t{256} << 20) / bytes, 2, 65536);
  const double s = seconds_of([&] {
    for (std::int64_t i = 0; i < passes; ++i) pass();
  });
  return static_cast<double>(bytes * passes) / s * 1e-9;
}

}  // namespace fovea
