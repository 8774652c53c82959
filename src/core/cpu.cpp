#include <cstdlib>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <fmt/format.h>

#include <fovea/cpu.hpp>
#include <fovea/error.hpp>

namespace fovea {
namespace {

constexpr Isa kAll[] = {Isa::Scalar, Isa::Avx2, Isa::Avx512};

struct Features {
  bool avx2 = false, avx512 = false;
};

#if defined(__x86_64__)
/// clang 14's __builtin_cpu_supports does not know this bit; that its registers are saved is AVX's to say.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
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
#endif
  return f;
}
const Features& features() {
  static const Features f = detect();
  return f;
}

}  // namespace

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::Scalar:
      return "scalar";
    case Isa::Avx2:
      return "avx2";
    case Isa::Avx512:
      return "avx512";
  }
  return "?";
}

bool cpu_has(Isa isa) {
  return isa == Isa::Scalar || (isa == Isa::Avx2 && features().avx2) || (isa == Isa::Avx512 && features().avx512);
}

std::vector<Isa> usable_isas() {
  std::vector<Isa> list;
  for (const Isa isa : kAll)
    if (cpu_has(isa)) list.push_back(isa);
  return list;
}

Isa active_isa() {
  static const Isa best = usable_isas().back();
  const char* wanted = std::getenv("FOVEA_ISA");
  if (!wanted || !*wanted) return best;
  for (const Isa isa : kAll) {
    if (name_of(isa) != wanted) continue;
    if (!cpu_has(isa)) throw Error(fmt::format("FOVEA_ISA={}: this CPU lacks it; it has {}", wanted, name_of(best)));
    return isa;
  }
  throw Error(fmt::format("FOVEA_ISA={}: unknown instruction set; use scalar, avx2 or avx512, or unset it", wanted));
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
#endif
  return list;
}

}  // namespace fovea
