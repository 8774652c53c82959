// expect: attend: q, k and v are [batch, time, heads, head_dim]: rank 4
#include "common.hpp"

#ifdef MISUSE
const View keys(numbers, {8, 2, 16});
#else
const View keys(numbers, {1, 8, 2, 16});
#endif
Attention a = attend(q, keys, v);
