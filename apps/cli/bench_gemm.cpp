// fovea bench gemm: the product of a linear layer, its weights packed once as layers keep them; x and y are f32, and x
// is rounded in the time that is taken where the weights are bf16.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/threads.hpp>

#include "bench.hpp"
#include "kernels/registry.hpp"
#include "ops/panels.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

/// What multiplies, as its own name and as the ceiling above it.
struct Multiplier {
  std::string kernel;
  Ceiling ceiling;
};
Multiplier multiplier_of(DType dtype) {
  const Bf16Products by = dtype == DType::BF16 ? active_bf16_products() : Bf16Products();
  if (!by.table) return {fmt::format("linear_{}", name_of(table_isa())), fma_ceiling()};
  if (by.emulated) return {fmt::format("linear_{}_emulated", name_of(by.isa)), fma_ceiling()};
  return {fmt::format("linear_{}", name_of(by.isa)), bf16_ceiling(by.isa)};
}

}  // namespace

void bench_gemm(const ShapeFlags::Layer& n, bool json) {
  const auto rows = static_cast<double>(n.rows), in = static_cast<double>(n.in), out = static_cast<double>(n.out);
  refuse_beyond_memory("x, the weight, packed too, and the output", 4 * (rows * in + 2 * in * out + rows * out));
  note("filling x and the weight …");
  const Tensor x = random_tensor(DType::F32, {n.rows, n.in}, 1), weight = random_tensor(DType::F32, {n.out, n.in}, 2),
               bias = random_tensor(DType::F32, {n.out}, 3);
  const Panels panels =
      pack_turned(weight.data<float>(), n.out, n.in, n.dtype == DType::BF16 ? Products::Bf16 : Products::F32);
  const auto layer = [&] {
    Tensor y = Tensor::unset(DType::F32, {n.rows, n.out});
    multiply(x.data<float>(), n.rows, panels, bias.data<float>(), y.data<float>());
  };
  const auto [kernel, ceiling] = multiplier_of(n.dtype);
  const std::int64_t weights = n.in * n.out * size_of(panels.data.dtype());
  note("timing the product, and this machine's ceilings beside it …");
  Ceiling ceilings[] = {ceiling, read_ceiling({&panels.data})};
  const Seconds seconds = time_runs(layer, ceilings);
  const Ceiling &products = ceilings[0], &reads = ceilings[1];
  const double flops = 2 * rows * in * out, gflops = flops / seconds.median * 1e-9,
               read_gbps = static_cast<double>(weights) / seconds.median * 1e-9;
  // Few rows read each weight for little work: then reading is the limit.
  const double fraction = std::max(gflops / products.reached, read_gbps / reads.reached);
  if (json)
    return print_json({{"kernel", kernel},
                       {"shape", {{"rows", n.rows}, {"in", n.in}, {"out", n.out}}},
                       {"dtype", name_of(n.dtype)},
                       {"seconds", {{"min", seconds.min}, {"median", seconds.median}}},
                       {"gflops", gflops},
                       {"ceiling", {{"gflops", products.reached}, {"what", products.what}}},
                       {"fraction", fraction},
                       {"read_gbps", read_gbps},
                       {"ceiling_gbps", reads.reached},
                       {"peak_rss_bytes", seconds.peak_rss}});
  say(fmt::format("gemm       x [{}, {}] · weight [{}, {}] packed, and a bias · {}, {} · {} threads", n.rows, n.in,
                  n.out, n.in, name_of(n.dtype), kernel, threads()),
      11);
  say(fmt::format("time       {} at best, {} median of {} runs", seconds_text(seconds.min),
                  seconds_text(seconds.median), seconds.runs),
      11);
  say(fmt::format("speed      {:.1f} GFLOP/s; the ceiling is {:.1f} ({})", gflops, products.reached, products.what),
      11);
  say(fmt::format("reading    {:.1f} GB/s of weights; the ceiling is {:.1f} ({})", read_gbps, reads.reached,
                  reads.what),
      11);
  fmt::print("           {} {:.1f}% of what limits it\n", paint(Ink::Accent, bar(fraction, 30)), 100 * fraction);
  say(fmt::format("memory     {} at most", bytes_text(static_cast<double>(seconds.peak_rss))), 11);
}

}  // namespace fovea::cli
