// expect: no matching
// expect: set
#include "common.hpp"

#ifdef MISUSE
Attention a = attend(q, k, v, 0.125);
#else
Attention a = attend(q, k, v, scale(0.125));
#endif
