// expect: attend: one mask; compose masks with & and |
#include "common.hpp"

#ifdef MISUSE
Attention a = attend(q, k, v, causal(), window(4));
#else
Attention a = attend(q, k, v, causal() & window(4));
#endif
