// Parallel loops on oneTBB. Work is cut by the problem's size alone, so results never depend on the number of threads.
#pragma once
#include <cstdint>
#include <functional>

namespace fovea {

int threads();            ///< how many threads parallel loops use; at first what the machine (or its cgroup) offers
void set_threads(int n);  ///< throws Error unless 1 ≤ n ≤ 1024
/// Calls body(i) once for each i in [0, n), in any order, from up to threads() threads. The first exception is rethrown
/// here.
void parallel_for(std::int64_t n, const std::function<void(std::int64_t)>& body);

}  // namespace fovea
