#include "kernels/registry.hpp"

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "kernels/probe.hpp"

namespace fovea {

namespace {

/// All of `base`, with the passes of `bf16` in place of its own.
KernelTable with_bf16(const KernelTable& base, const Bf16Table& bf16) {
  KernelTable all = base;
  all.plan = bf16.plan, all.forward = bf16.forward;
  all.plan_backward = bf16.plan_backward, all.backward = bf16.backward;
  return all;
}

/// All of `base`, and products of f32 numbers in parts of bf16 in its forward pass.
KernelTable with_split(const KernelTable& base, const Bf16Table& bf16) {
  KernelTable all = base;
  all.plan = bf16.plan_split, all.forward = bf16.forward_split;
  return all;
}

/// The façade that emulations stand beside.
const KernelTable& emulation_base() { return cpu_has(Isa::Avx512) ? kAvx512Table : kScalarTable; }
const Bf16Table& emulation_of(Isa isa) {
  if (isa == Isa::Amx) return cpu_has(Isa::Avx512) ? kTilesOnAvx512Table : kTilesOnScalarTable;
  return cpu_has(Isa::Avx512) ? kPairsOnAvx512Table : kPairsOnScalarTable;
}

}  // namespace

const std::vector<ForwardKernel>& forward_kernels() {
  static const KernelTable amx = with_bf16(kAvx512Table, kAmxTable), pairs = with_bf16(kAvx512Table, kAvx512Bf16Table),
                           emulated_amx = with_bf16(emulation_base(), emulation_of(Isa::Amx)),
                           emulated_pairs = with_bf16(emulation_base(), emulation_of(Isa::Avx512Bf16)),
                           split = with_split(kAvx512Table, kAmxTable),
                           emulated_split = with_split(emulation_base(), emulation_of(Isa::Amx));
  using K = ForwardKernel;
  static const std::vector<ForwardKernel> list = {
      {"flash_amx", "fused tiles, bf16 products on AMX", Isa::Amx, &amx, K::Bf16Products},
      {"flash_avx512bf16", "fused tiles, bf16 dot products on AVX-512", Isa::Avx512Bf16, &pairs, K::Bf16Products},
      {"flash_amx_f32", "fused tiles, f32 products as six of bf16 on AMX", Isa::Amx, &split, K::SplitProducts},
      {"flash_avx512", "fused tiles, f32 products on AVX-512", Isa::Avx512, &kAvx512Table},
      {"flash_avx2", "fused tiles, f32 products on AVX2 + FMA", Isa::Avx2, &kAvx2Table},
      {"flash_scalar", "fused tiles, f32 products in plain C++", Isa::Scalar, &kScalarTable},
      {"flash_amx_emulated", "flash_amx, its bf16 products in C++", Isa::Amx, &emulated_amx, K::Bf16Products, true},
      {"flash_avx512bf16_emulated", "flash_avx512bf16, its bf16 products in C++", Isa::Avx512Bf16, &emulated_pairs,
       K::Bf16Products, true},
      {"flash_amx_f32_emulated", "flash_amx_f32, its bf16 products in C++", Isa::Amx, &emulated_split, K::SplitProducts,
       true},
      {"reference", "float64, row by row: the specification", Isa::Scalar, nullptr},
  };
  return list;
}

std::string ForwardKernel::refuses(const Problem& p) const {
  if (!table) return {};
  if (p.q.dtype == DType::F64) return "computes in f32, and F64 inputs ask for more";
  if (p.out.dtype == DType::F64) return "accumulates in f32, and an F64 output asks for more";
  if (kind == Bf16Products && p.q.dtype != DType::BF16)
    return fmt::format("multiplies bf16 numbers, and the inputs are {}", name_of(p.q.dtype));
  if (kind == Bf16Products && p.out.dtype != DType::BF16)
    return fmt::format("rounds weights to bf16, and an {} output asks for more", name_of(p.out.dtype));
  if (emulated) return {};
  if (!cpu_has(isa)) return fmt::format("this CPU lacks {}", name_of(isa));
  if (isa > active_isa()) return fmt::format("FOVEA_ISA={} forbids {}", name_of(active_isa()), name_of(isa));
  if (isa == Isa::Avx512Bf16 && !bf16_pairs_pay())
    return "dot products of bf16 pairs are no faster here than widening to f32 (probed)";
  if (kind == SplitProducts && !split_products_pay())
    return "six products of bf16 on AMX are no faster here than one of f32 (probed)";
  return {};
}

const ForwardKernel& choose_kernel(const Problem& p, const std::string& name) {
  const std::optional<Isa> emulated = name.empty() ? emulated_isa() : std::nullopt;
  if (emulated)
    for (const ForwardKernel& k : forward_kernels())
      if (k.emulated && k.isa == *emulated && k.refuses(p).empty()) return k;
  std::string names;
  for (const ForwardKernel& k : forward_kernels()) {
    if (!name.empty() && name != k.name) {
      names += (names.empty() ? "" : ", ") + std::string(k.name);
      continue;
    }
    if (name.empty() && k.emulated) continue;  // asked for, or not at all
    const std::string reason = k.refuses(p);
    if (reason.empty()) return k;
    if (!name.empty()) throw Error(fmt::format("kernel {} refuses this problem: {}", name, reason));
  }
  throw Error(fmt::format("unknown kernel '{}'; there are {}", name, names));
}

const KernelTable& table_of(Isa isa) {
  switch (isa) {
    case Isa::Amx:
    case Isa::Avx512Bf16:
    case Isa::Avx512:
      return kAvx512Table;
    case Isa::Avx2:
      return kAvx2Table;
    case Isa::Scalar:
      break;
  }
  return kScalarTable;
}

const KernelTable& active_table() { return table_of(active_isa()); }

Bf16Products active_bf16_products() {
  if (const std::optional<Isa> emulated = emulated_isa()) return {&emulation_of(*emulated), *emulated, true};
  const Isa most = active_isa();
  if (most >= Isa::Amx) return {&kAmxTable, Isa::Amx};
  if (most >= Isa::Avx512Bf16 && bf16_pairs_pay()) return {&kAvx512Bf16Table, Isa::Avx512Bf16};
  return {};
}

}  // namespace fovea
