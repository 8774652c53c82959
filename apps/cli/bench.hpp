// What bench's subjects share: timing, and the ceilings of this machine probed in the same run.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include <fovea/cpu.hpp>

#include "attention_flags.hpp"
#include "command.hpp"

namespace fovea::cli {

struct Seconds {
  double min = 0, median = 0;
  int runs = 0;
};
/// Runs the work once to warm up, then at least 3 times and for about a second.
Seconds time_runs(const std::function<void()>& work);

/// f32 FMA of all threads at once, GFLOP/s.
double fma_ceiling(Isa isa);
/// Reading `bytes`, shared out among all threads at once, GB/s.
double read_ceiling(std::int64_t bytes);
/// The most memory this process has had, so far.
std::int64_t peak_rss_bytes();

void bench_model(const std::string& model, int tokens, bool json);
void bench_look(const ShapeFlags::Problem& shape, bool json);

}  // namespace fovea::cli
