// parallel_for: each index once, whatever the number of threads; exceptions come back; limits are enforced.
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <fovea/error.hpp>
#include <fovea/threads.hpp>

namespace fovea {
namespace {

/// Leaves the number of threads as it found it.
struct Threads : ::testing::Test {
  int before = threads();
  void TearDown() override { set_threads(before); }
};

TEST_F(Threads, EveryIndexRunsExactlyOnce) {
  for (const int count : {1, 2, 3, 7, 16})
    for (const int n : {0, 1, 2, 3, 63, 64, 65, 1000}) {
      set_threads(count);
      EXPECT_EQ(threads(), count);
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
      parallel_for(n, [&](std::int64_t i) { ++visits[static_cast<std::size_t>(i)]; });
      for (const auto& v : visits) ASSERT_EQ(v.load(), 1) << count << " threads, " << n << " indices";
    }
}

TEST_F(Threads, OneThreadMeansTheCallersOwnInOrder) {
  set_threads(1);
  std::vector<std::int64_t> order;
  std::set<std::thread::id> ids;
  parallel_for(50, [&](std::int64_t i) {
    order.push_back(i);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(ids, std::set{std::this_thread::get_id()});
}

TEST_F(Threads, NoMoreRunAtOnceThanWereAskedFor) {
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    std::atomic<int> running{0}, most{0};
    parallel_for(200, [&](std::int64_t) {
      const int now = ++running;
      int seen = most.load();
      while (now > seen && !most.compare_exchange_weak(seen, now)) {}
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      --running;
    });
    EXPECT_LE(most.load(), count);
  }
}

// More than the machine has cores is what was asked for, so it is what runs: the others must get to run for the first
// to end.
TEST_F(Threads, MoreThanTheMachineHasDoRunTogether) {
  const int count = threads() + 3;
  set_threads(count);
  std::atomic<int> arrived{0};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  parallel_for(count, [&](std::int64_t) {
    ++arrived;
    while (arrived.load() < count && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  });
  EXPECT_LT(std::chrono::steady_clock::now(), deadline) << "they ran one after another";
}

TEST_F(Threads, TheFirstExceptionIsRethrownAndTheNextLoopWorks) {
  for (const int count : {1, 4}) {
    set_threads(count);
    EXPECT_THROW(parallel_for(100,
                              [](std::int64_t i) {
                                if (i == 37) throw Error("index 37");
                              }),
                 Error);
    std::atomic<int> done{0};
    parallel_for(100, [&](std::int64_t) { ++done; });
    EXPECT_EQ(done.load(), 100);
  }
}

TEST_F(Threads, LoopsNest) {
  set_threads(3);
  std::atomic<int> done{0};
  parallel_for(7, [&](std::int64_t) { parallel_for(11, [&](std::int64_t) { ++done; }); });
  EXPECT_EQ(done.load(), 77);
}

TEST_F(Threads, SeveralCallersAtOnce) {
  set_threads(2);
  std::atomic<int> done{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int k = 0; k < 20; ++k) parallel_for(13, [&](std::int64_t) { ++done; });
    });
  for (auto& c : callers) c.join();
  EXPECT_EQ(done.load(), 4 * 20 * 13);
}

TEST_F(Threads, TheCountIsChecked) {
  for (const int bad : {0, -1, 1025}) {
    try {
      set_threads(bad);
      FAIL() << bad << " was accepted";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(std::to_string(bad)), std::string::npos);
      EXPECT_NE(std::string(e.what()).find("1024"), std::string::npos);
    }
  }
  EXPECT_EQ(threads(), before);
}

}  // namespace
}  // namespace fovea
