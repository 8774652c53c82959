// Ceilings, measured where and when a benchmark runs: shared machines change their clocks from minute to minute.
#pragma once
#include <cstdint>
#include <fovea/cpu.hpp>

namespace fovea {

/// f32 FMA on registers, one thread, GFLOP/s: the best of several short runs.
double probe_fma_gflops(Isa isa);
/// Reading `bytes` over and over, one thread, GB/s: the best of several passes.
double probe_read_gbps(std::int64_t bytes);

}  // namespace fovea
