// Two bodies of one parallel loop that write the same variable. A thread sanitizer must say so.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include <fovea/threads.hpp>

int main() {
  fovea::set_threads(2);
  volatile int shared = 0;
  std::atomic<int> written{0};
  fovea::parallel_for(2, [&](std::int64_t i) {
    // In rounds: neither writes again before the other has, so that on a busy machine too each meets fresh marks of the other.
    // Relaxed: the count orders nothing. It is waited for as long as the other may need to start, and no longer.
    for (int round = 1; round <= 20; ++round) {
      shared = static_cast<int>(i) + round;
      written.fetch_add(1, std::memory_order_relaxed);
      for (int ms = 0; written.load(std::memory_order_relaxed) < 2 * round && ms < 5000; ++ms)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  std::printf("%d\n", shared);
}
