#include <fmt/format.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <fovea/error.hpp>
#include <fovea/threads.hpp>

namespace fovea {
namespace {
std::atomic<int> wanted{0};  // 0: as many as the machine offers
}

int threads() {
  const int n = wanted.load();
  return n > 0 ? n : oneapi::tbb::info::default_concurrency();
}

void set_threads(int n) {
  if (n < 1 || n > 1024) throw Error(fmt::format("threads: {} is not between 1 and 1024", n));
  wanted = n;
}

void parallel_for(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  const int count = threads();
  if (n <= 1 || count == 1) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  // One task per index: bodies are whole tiles of work, so stealing single ones balances ragged (causal) loops.
  oneapi::tbb::task_arena arena(count);
  arena.execute([&] {
    oneapi::tbb::parallel_for(
        oneapi::tbb::blocked_range<std::int64_t>(0, n, 1),
        [&](const auto& range) {
          for (auto i = range.begin(); i != range.end(); ++i) body(i);
        },
        oneapi::tbb::simple_partitioner{});
  });
}

}  // namespace fovea
