// The kernels that exist, best first, and which of them a problem takes.
#pragma once
#include <string>
#include <vector>

#include <fovea/cpu.hpp>

#include "kernels/table.hpp"

namespace fovea {

struct ForwardKernel {
  const char* name;          // "flash_avx512"
  const char* what;          // one line for people
  Isa isa;                   // what the machine must have
  const KernelTable* table;  // null: the float64 reference
  /// Of what numbers products are made: of f32, of f32 in three parts of bf16, or of bf16.
  enum Kind { F32Products, SplitProducts, Bf16Products } kind = F32Products;
  bool emulated = false;  // its instructions are written in C++: taken where FOVEA_ISA or the caller asks for it
  /// Whether weights meet values rounded to bf16: then out is off by up to 2^-8 of Σ weight·|value| beside the bound.
  bool rounds_weights() const { return kind == Bf16Products; }
  /// Whether the backward pass, too, rounds weights and their gradients to bf16, where dout is bf16 as well.
  bool rounds_gradients() const { return rounds_weights(); }
  /// Why this kernel does not take the problem on this machine; empty when it does. Throws Error when FOVEA_ISA is
  /// wrong.
  std::string refuses(const Problem& p) const;
};

/// In order of preference; the last one, the reference, takes everything.
const std::vector<ForwardKernel>& forward_kernels();
/// The first that accepts, or the one of that name. Error when the name is unknown (with the names) or refuses (with
/// the reason).
const ForwardKernel& choose_kernel(const Problem& p, const std::string& name = {});
/// Dense kernels of an instruction set, of the active one.
const KernelTable& table_of(Isa isa);
const KernelTable& active_table();

/// Products of bf16 numbers for linear layers: the best that the machine and FOVEA_ISA allow. No table: none, or none
/// that beats widening to f32.
struct Bf16Products {
  const Bf16Table* table = nullptr;
  Isa isa = Isa::Scalar;
  bool emulated = false;
};
Bf16Products active_bf16_products();

}  // namespace fovea
