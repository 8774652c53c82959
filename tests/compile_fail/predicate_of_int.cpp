// expect: mask
// expect: constraints not satisfied
#include "common.hpp"

#ifdef MISUSE
Attention a = attend(q, k, v, mask([](Site s) { return s.query - s.key; }));
#else
Attention a = attend(q, k, v, mask([](Site s) { return s.query - s.key > 0; }));
#endif
