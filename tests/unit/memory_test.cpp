// Attention over 65,536 keys: the score matrix would take 16 GB, the process stays within inputs + outputs + 64 MB.
#include <cmath>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <fovea/attention.hpp>
#include <fovea/threads.hpp>

#include "support/random.hpp"
#include "support/sanitized.hpp"

namespace fovea {
namespace {

constexpr std::int64_t kKeys = 65536, kDim = 64;

/// The peak resident memory of this process in bytes.
std::int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

// Run in a process of its own by the test below, so that nothing else counts towards its peak.
TEST(Memory, DISABLED_Child) {
  const char* rows = std::getenv("FOVEA_MEMORY_QUERIES");
  ASSERT_NE(rows, nullptr);
  const std::int64_t queries = std::atoll(rows);
  Tensor q(DType::F32, {1, queries, 1, kDim}), k(DType::F32, {1, kKeys, 1, kDim}), v(DType::F32, {1, kKeys, 1, kDim});
  testing::Rng rng(1);
  for (Tensor* t : {&q, &k, &v})
    for (float& x : t->values<float>()) x = static_cast<float>(rng.uniform(-1, 1));
  const Attention a = attend(q, k, v, causal());
  const std::int64_t tensors = q.bytes() + k.bytes() + v.bytes() + a.out.bytes() + a.lse.bytes();
  // The last row sees every key: what it rebuilds must be what was computed, or nothing was.
  EXPECT_LT(a.max_abs_error({.query = static_cast<int>(queries) - 1}), 1e-5);
  EXPECT_GT(a.lse.values<float>().back(), std::log(60000.f));
  const std::int64_t extra = peak_bytes() - tensors;
  RecordProperty("extra_megabytes", static_cast<int>(extra >> 20));
  EXPECT_LT(extra, std::int64_t{64} << 20)
      << "peak " << (peak_bytes() >> 20) << " MB, of which tensors " << (tensors >> 20) << " MB";
}

TEST(Memory, OfAttentionAt65536KeysIsLinear) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers keep a shadow of all memory";
  // All 65,536 queries; a build or machine that asks for fewer cases gets the last rows, which see all keys.
  const std::string queries = std::to_string(std::min<std::int64_t>(kKeys, std::max(1024, testing::scaled(65536))));
  char program[4096] = {};
  ASSERT_GT(readlink("/proc/self/exe", program, sizeof program - 1), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    setenv("FOVEA_MEMORY_QUERIES", queries.c_str(), 1);
    unsetenv("GTEST_TOTAL_SHARDS");
    execl(program, program, "--gtest_also_run_disabled_tests", "--gtest_filter=Memory.DISABLED_Child", nullptr);
    _exit(127);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "see the child's output above";
}

}  // namespace
}  // namespace fovea
