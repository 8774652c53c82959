#include "kernels/registry.hpp"

#include <fmt/format.h>

#include <fovea/error.hpp>

namespace fovea {

const std::vector<ForwardKernel>& forward_kernels() {
  static const std::vector<ForwardKernel> list = {
      {"flash_avx512", "fused tiles, f32 products on AVX-512", Isa::Avx512, &kAvx512Table},
      {"flash_avx2", "fused tiles, f32 products on AVX2 + FMA", Isa::Avx2, &kAvx2Table},
      {"flash_scalar", "fused tiles, f32 products without an instruction set of their own", Isa::Scalar, &kScalarTable},
      {"reference", "float64, row by row: the specification", Isa::Scalar, nullptr},
  };
  return list;
}

std::string ForwardKernel::refuses(const Problem& p) const {
  if (!table) return {};
  if (p.q.dtype == DType::F64) return "computes in f32, and F64 inputs ask for more";
  if (p.out.dtype == DType::F64) return "accumulates in f32, and an F64 output asks for more";
  if (!cpu_has(isa)) return fmt::format("this CPU lacks {}", name_of(isa));
  if (isa > active_isa()) return fmt::format("FOVEA_ISA={} forbids {}", name_of(active_isa()), name_of(isa));
  return {};
}

const ForwardKernel& choose_kernel(const Problem& p, const std::string& name) {
  std::string names;
  for (const ForwardKernel& k : forward_kernels()) {
    if (!name.empty() && name != k.name) {
      names += (names.empty() ? "" : ", ") + std::string(k.name);
      continue;
    }
    const std::string reason = k.refuses(p);
    if (reason.empty()) return k;
    if (!name.empty()) throw Error(fmt::format("kernel {} refuses this problem: {}", name, reason));
  }
  throw Error(fmt::format("unknown kernel '{}'; there are {}", name, names));
}

const KernelTable& active_table() {
  switch (active_isa()) {
    case Isa::Avx512:
      return kAvx512Table;
    case Isa::Avx2:
      return kAvx2Table;
    case Isa::Scalar:
      break;
  }
  return kScalarTable;
}

}  // namespace fovea
