// Two bodies of one parallel loop that write the same variable. A thread sanitizer must say so.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include <fovea/threads.hpp>

int main() {
  fovea::set_threads(2);
  volatile int shared = 0;
  std::atomic<int> inside{0};
  fovea::parallel_for(2, [&](std::int64_t i) {
    // Waits (relaxed: this orders nothing) until the other body runs too, on another thread, or long enough that it won't.
    inside.fetch_add(1, std::memory_order_relaxed);
    for (int ms = 0; inside.load(std::memory_order_relaxed) < 2 && ms < 5000; ++ms)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (int n = 0; n < 1000; ++n) shared = static_cast<int>(i) + n;  // a single pair of writes can slip through
  });
  std::printf("%d\n", shared);
}
