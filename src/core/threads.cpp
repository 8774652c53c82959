#include <atomic>
#include <map>
#include <mutex>
#include <optional>

#include <fmt/format.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <fovea/error.hpp>
#include <fovea/threads.hpp>

namespace fovea {
namespace {

std::atomic<int> wanted{0};  // 0: as many as the machine offers

/// What oneTBB promises, said again where a thread sanitizer sees it (Debian's library is built without): all that the
/// caller wrote comes before every body, all that bodies wrote comes before the caller goes on. Among themselves they
/// stay unordered.
class Order {
 public:
  Order() { begun_.store(true, std::memory_order_release); }
  ~Order() { static_cast<void>(ended_.load(std::memory_order_acquire)); }
  struct Body {
    Order& order;
    explicit Body(Order& o) : order(o) { static_cast<void>(o.begun_.load(std::memory_order_acquire)); }
    ~Body() { order.ended_.fetch_add(1, std::memory_order_release); }
  };

 private:
  std::atomic<bool> begun_{false};
  std::atomic<std::int64_t> ended_{0};
};

/// Arenas are kept: a new one costs more than a small loop, and its workers would have to find it first. Each thread has its own: in a
/// shared one that is full, oneTBB hands the caller's loop to somebody else, which a thread sanitizer takes for a race.
oneapi::tbb::task_arena& arena_of(int threads) {
  thread_local std::map<int, oneapi::tbb::task_arena> arenas;
  return arenas.try_emplace(threads, threads).first->second;
}

}  // namespace

int threads() {
  const int n = wanted.load();
  return n > 0 ? n : oneapi::tbb::info::default_concurrency();
}

void set_threads(int n) {
  if (n < 1 || n > 1024) throw Error(fmt::format("threads: {} is not between 1 and 1024", n));
  wanted = n;
  // oneTBB keeps to the machine's own number of threads, and warns on stderr, unless more are allowed explicitly.
  using oneapi::tbb::global_control;
  static std::mutex mutex;
  static std::optional<global_control> allowed;
  const std::lock_guard lock(mutex);
  allowed.reset();
  if (n > oneapi::tbb::info::default_concurrency())
    allowed.emplace(global_control::max_allowed_parallelism, static_cast<std::size_t>(n));
}

void parallel_for(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  const int count = threads();
  if (n <= 1 || count == 1) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  // One task per index: bodies are whole tiles of work, so stealing single ones balances ragged (causal) loops.
  Order order;
  arena_of(count).execute([&] {
    oneapi::tbb::parallel_for(
        oneapi::tbb::blocked_range<std::int64_t>(0, n, 1),
        [&](const auto& range) {
          const Order::Body here(order);
          for (auto i = range.begin(); i != range.end(); ++i) body(i);
        },
        oneapi::tbb::simple_partitioner{});
  });
}

}  // namespace fovea
