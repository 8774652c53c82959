// expect: deleted function
// expect: bias
#include "common.hpp"

const Tensor values(DType::F32, {1, 1, 8, 8});
#ifdef MISUSE
Attention a = attend(q, k, v, bias(Tensor(DType::F32, {1, 1, 8, 8})));
#else
Attention a = attend(q, k, v, bias(values));
#endif
