// expect: deleted function
#include "common.hpp"

Tensor made() { return Tensor(DType::F32, {1, 8, 2, 16}); }
const Tensor kept = made();
#ifdef MISUSE
const TensorView view = made();
#else
const TensorView view = kept;
#endif
