// expect: deleted function
// expect: visible
#include "common.hpp"

const Tensor grid(DType::Bool, {1, 1, 8, 8});
#ifdef MISUSE
Attention a = attend(q, k, v, visible(Tensor(DType::Bool, {1, 1, 8, 8})));
#else
Attention a = attend(q, k, v, visible(grid));
#endif
