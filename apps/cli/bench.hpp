// What bench's subjects share: timing, and the ceilings of this machine probed in the same run.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include <fovea/cpu.hpp>
#include <fovea/tensor.hpp>

#include "attention_flags.hpp"
#include "command.hpp"

namespace fovea::cli {

struct Seconds {
  double min = 0, median = 0;
  int runs = 0;
};
/// Runs the work once to warm up, then at least 3 times and for about a second.
Seconds time_runs(const std::function<void()>& work);

/// Normal numbers, the same for the same seed.
Tensor random_tensor(DType dtype, const Shape& shape, unsigned seed);

/// f32 FMA of all threads at once, GFLOP/s, and what to call it.
double fma_ceiling(Isa isa);
std::string fma_ceiling_text();
/// The instruction set of the f32 kernels: the active one, or what stands below its bf16 products.
Isa table_isa();
/// Reading `bytes`, shared out among all threads at once, GB/s.
double read_ceiling(std::int64_t bytes);
/// The most memory this process has had, so far.
std::int64_t peak_rss_bytes();

/// x [rows, in] times a weight [out, in].
struct GemmSizes {
  std::int64_t rows = 1024, in = 1024, out = 1024;
};
void bench_gemm(const GemmSizes& sizes, bool json);
void bench_model(const std::string& model, int tokens, bool json);
void bench_look(const ShapeFlags::Problem& shape, bool json);

}  // namespace fovea::cli
