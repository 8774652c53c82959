// The kernels that exist, best first, and which of them a problem takes.
#pragma once
#include <fovea/cpu.hpp>
#include <string>
#include <vector>

#include "kernels/table.hpp"

namespace fovea {

struct ForwardKernel {
  const char* name;          // "flash_avx512"
  const char* what;          // one line for people
  Isa isa;                   // what the machine must have
  const KernelTable* table;  // null: the float64 reference
  /// Why this kernel does not take the problem on this machine; empty when it does. Throws Error when FOVEA_ISA is
  /// wrong.
  std::string refuses(const Problem& p) const;
};

/// In order of preference; the last one, the reference, takes everything.
const std::vector<ForwardKernel>& forward_kernels();
/// The first that accepts, or the one of that name. Error when the name is unknown (with the names) or refuses (with
/// the reason).
const ForwardKernel& choose_kernel(const Problem& p, const std::string& name = {});
/// Dense kernels of the active instruction set.
const KernelTable& active_table();

}  // namespace fovea
