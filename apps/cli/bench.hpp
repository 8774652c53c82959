// What bench's subjects share: timing, and the ceilings of this machine probed in the same run.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <fovea/cpu.hpp>
#include <fovea/tensor.hpp>

#include "attention_flags.hpp"
#include "command.hpp"

namespace fovea::cli {

/// What this machine reaches at most of one kind of work.
struct Ceiling {
  std::string what;                         // to show
  std::function<double(int thread)> probe;  // GFLOP/s or GB/s of one thread while all others do the same
  double reached = 0;                       // all threads' together, the median of its probes
};
/// f32 FMA, in the widest vectors that FOVEA_ISA allows.
Ceiling fma_ceiling();
/// Reading the memory of these tensors, shared out among all threads.
Ceiling read_ceiling(std::vector<const Tensor*> tensors);
/// Products of bf16 pairs on AMX or AVX512-BF16.
Ceiling bf16_ceiling(Isa isa);
/// Products of f32 numbers by six of bf16 on AMX.
Ceiling split_ceiling();

struct Seconds {
  double min = 0, median = 0;
  int runs = 0;
  std::int64_t peak_rss = 0;  // bytes that the process has had after its first run
};
/// Runs the work once to warm up, then at least 3 times and for about a second. Ceilings are probed before, after, and
/// after every tenth of a second: a clock that falls, or a neighbour who comes, meets both. Speeds and ceilings are by
/// medians of both.
Seconds time_runs(const std::function<void()>& work, std::span<Ceiling> ceilings = {});

double median(std::vector<double> x);

/// Normal numbers, the same for the same seed.
Tensor random_tensor(DType dtype, const Shape& shape, unsigned seed);

/// The instruction set of the f32 kernels: the active one, or what stands below its bf16 products.
Isa table_isa();
/// Error when so many bytes are more than the machine has.
void refuse_beyond_memory(const char* what, double bytes);

/// x [rows, in] times a weight [out, in].
void bench_gemm(const ShapeFlags::Layer& layer, bool json);
void bench_model(const std::string& model, int tokens, bool json);
void bench_look(const ShapeFlags::Problem& shape, bool json);

}  // namespace fovea::cli
