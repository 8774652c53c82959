// expect: attend: one score; compose scores with |
#include "common.hpp"

#ifdef MISUSE
Attention a = attend(q, k, v, softcap(50), alibi({0.5f, 0.25f}));
#else
Attention a = attend(q, k, v, softcap(50) | alibi({0.5f, 0.25f}));
#endif
