#include <cstdlib>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <fmt/format.h>

#include <fovea/cpu.hpp>
#include <fovea/error.hpp>

namespace fovea {
namespace {

constexpr Isa kAll[] = {Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx};
constexpr Isa kEmulated[] = {Isa::Avx512Bf16, Isa::Amx};

struct Features {
  bool avx2 = false, avx512 = false, avx512bf16 = false, amx = false;
};

#if defined(__x86_64__)
/// clang 14's __builtin_cpu_supports does not know this bit; that its registers are saved is AVX's to say.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
/// AMX-TILE and AMX-BF16, whose registers (8 KB a thread) the system saves only for a process that asks.
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kBf16) == 0 || (d & kTile) == 0) return false;
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// __builtin_cpu_supports also asks the operating system (XGETBV), so a bit that it reports can be used.
Features detect() {
  Features f;
#if defined(__x86_64__)
  __builtin_cpu_init();
  f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  f.avx512bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
  f.amx = f.avx512bf16 && has_amx();
#endif
  return f;
}
const Features& features() {
  static const Features f = detect();
  return f;
}

std::string emulation_of(Isa isa) { return std::string(name_of(isa)) + "-emulated"; }

}  // namespace

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::Scalar:
      return "scalar";
    case Isa::Avx2:
      return "avx2";
    case Isa::Avx512:
      return "avx512";
    case Isa::Avx512Bf16:
      return "avx512bf16";
    case Isa::Amx:
      return "amx";
  }
  return "?";
}

bool cpu_has(Isa isa) {
  switch (isa) {
    case Isa::Scalar:
      return true;
    case Isa::Avx2:
      return features().avx2;
    case Isa::Avx512:
      return features().avx512;
    case Isa::Avx512Bf16:
      return features().avx512bf16;
    case Isa::Amx:
      return features().amx;
  }
  return false;
}

std::vector<Isa> usable_isas() {
  std::vector<Isa> list;
  for (const Isa isa : kAll)
    if (cpu_has(isa)) list.push_back(isa);
  return list;
}

std::optional<Isa> emulated_isa() {
  const char* wanted = std::getenv("FOVEA_ISA");
  for (const Isa isa : kEmulated)
    if (wanted && emulation_of(isa) == wanted) return isa;
  return std::nullopt;
}

std::vector<std::string> isa_settings() {
  std::vector<std::string> list;
  for (const Isa isa : usable_isas()) list.emplace_back(name_of(isa));
  for (const Isa isa : kEmulated) list.push_back(emulation_of(isa));
  return list;
}

Isa active_isa() {
  static const Isa best = usable_isas().back();
  const char* wanted = std::getenv("FOVEA_ISA");
  if (!wanted || !*wanted || emulated_isa()) return best;
  for (const Isa isa : kAll) {
    if (name_of(isa) != wanted) continue;
    if (!cpu_has(isa)) throw Error(fmt::format("FOVEA_ISA={}: this CPU lacks it; it has {}", wanted, name_of(best)));
    return isa;
  }
  throw Error(fmt::format(
      "FOVEA_ISA={}: unknown instruction set; use scalar, avx2, avx512, avx512bf16 or amx, or unset it", wanted));
}

std::string cpu_features() {
  std::string list;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto add = [&list](bool has, const char* name) {
    if (has) list += (list.empty() ? "" : " ") + std::string(name);
  };
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(has_f16c(), "f16c");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512dq"), "avx512dq");
  add(__builtin_cpu_supports("avx512vl"), "avx512vl");
  add(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
  add(__builtin_cpu_supports("avx512bf16"), "avx512bf16");
  add(cpu_has(Isa::Amx), "amx");
#endif
  return list;
}

}  // namespace fovea
