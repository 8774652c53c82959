// expect: attend: q, k and v must have one dtype; convert with Tensor::to
#include "common.hpp"

#ifdef MISUSE
const View keys(halves, {1, 8, 2, 16});
#else
const View keys(numbers, {1, 8, 2, 16});
#endif
Attention a = attend(q, keys, v);
