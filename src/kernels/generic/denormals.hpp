// Flush-to-zero around a kernel, per thread: a denormal product costs ~100 cycles, and nothing of it survives the final
// rounding.
#pragma once
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace fovea::FOVEA_ISA {

class FlushDenormals {
#if defined(__SSE__)
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8000u); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
 public:
  FlushDenormals(const FlushDenormals&) = delete;
#if !defined(__SSE__)
  FlushDenormals() = default;
#endif
};

}  // namespace fovea::FOVEA_ISA
