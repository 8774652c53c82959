// Lines of memory that are asked for some way ahead of their use, at the pace at which memory gives them up.
//
// A core that runs ahead of memory asks for more lines than can be on their way; some are dropped, and are waited for
// when they are read (Zen 5, 1,024 lines: as fast as they can be asked for 38%, at 52 GB/s 5%, at 37 none). So a line
// is asked for once an earlier one has come. Into which cache is the machine's affair: L1 of Zen 4 has room for so few
// on their way that memory gives up half of what it can (decoding 12 GB/s; asked for into L2 21); on Zen 5 it has
// enough, and lines that come by way of L2 were slower by a third. read_asking() is what is timed to find out
// (probe.hpp).
#pragma once
#include <cstddef>

namespace fovea::FOVEA_ISA {

/// 0, but not before what lies at x (8 bytes) has come from memory.
inline std::ptrdiff_t once_there(const void* x) {
#ifdef __x86_64__
  using Word [[gnu::aligned(1), gnu::may_alias]] = std::ptrdiff_t;
  std::ptrdiff_t zero;
  asm("mov %1, %0\n\tand $0, %0" : "=r"(zero) : "m"(*static_cast<const Word*>(x)) : "cc");
  return zero;
#else
  return 0;
#endif
}

/// Asks for the line at x, once that at `earlier` is there.
[[gnu::always_inline]] inline void ask_for(const char* x, const void* earlier, bool into_l2) {
  const char* line = x + once_there(earlier);
  if (into_l2)
    __builtin_prefetch(line, 0, 2);
  else
    __builtin_prefetch(line, 0, 3);
}

/// x, but if so asked seven cycles later, the time between lines at 34 GB/s and 3.7 GHz, and the line at `again` asked
/// for. Who asks for a line after each such step has a clock: Zen 4, from memory, 4 rows of queries in bf16, heads
/// apart, a loop by itself: with 0, 3 or 5 cycles 21 GB/s, with 6, 7 or 8 25, with 9 23 (reads alone 31). Even so some
/// lines seem not to come: hence `again`, which is read soon.
[[gnu::always_inline]] inline std::ptrdiff_t a_line_later(std::ptrdiff_t x, bool paced, const char* again) {
#ifdef __x86_64__
  asm("test %b1, %b1\n\tjz 0f\n\timul $1, %0, %0\n\timul $1, %0, %0\n\tlea (%0), %0\n\tprefetcht1 %2\n0:"
      : "+r"(x)
      : "q"(paced), "m"(*again)
      : "cc");
#endif
  return x;
}

/// x [n] added up, a line at a time, each once in an order that no prefetcher of the machine's own foresees (triangular
/// numbers); beside each line that is read the 128th after it is asked for. n is a power of two of lines.
inline float read_asking(const float* x, std::int64_t n, bool into_l2) noexcept {
  constexpr int kAhead = 128, kFloats = 64 / sizeof(float);
  const std::int64_t lines = n / kFloats;
  const auto line = [&](std::int64_t j) { return x + (j * (j + 1) / 2 & (lines - 1)) * kFloats; };
  Vec sum = 0.0f;
  for (std::int64_t j = 0; j < lines; ++j) {
    ask_for(reinterpret_cast<const char*>(line(j + kAhead)), line(j), into_l2);
#pragma GCC unroll 16
    for (int i = 0; i < kFloats; i += kLanes) sum = sum + load(line(j) + i);
  }
  return reduce_add(sum);
}

}  // namespace fovea::FOVEA_ISA
