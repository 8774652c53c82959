// expect: score: write the functor for any value (auto), not for float alone: its slope is found by running it on Dual
#include "common.hpp"

#ifdef MISUSE
Attention a = attend(q, k, v, score([](float s, Site at) { return s - 0.1f * static_cast<float>(at.query - at.key); }));
#else
Attention a = attend(q, k, v, score([](auto s, Site at) { return s - 0.1f * static_cast<float>(at.query - at.key); }));
#endif
