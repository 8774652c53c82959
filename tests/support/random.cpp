#include "support/random.hpp"

#include <cmath>
#include <cstdlib>
#include <numbers>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace fovea::testing {

double Rng::normal() {  // Box and Muller 1958
  return std::sqrt(-2 * std::log(1 - unit(word()))) * std::cos(2 * std::numbers::pi * unit(word()));
}

std::vector<int> Rng::permutation(int n) {
  std::vector<int> order(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    const int j = in(0, i);
    order[static_cast<std::size_t>(i)] = order[static_cast<std::size_t>(j)];
    order[static_cast<std::size_t>(j)] = i;
  }
  return order;
}

int scaled(int count) {
  const char* percent = std::getenv("FOVEA_TEST_CASES");
  const double scale = percent ? std::atof(percent) / 100 : 1.0;
  return std::max(1, static_cast<int>(count * scale));
}

static int running = 0;
int case_number() { return running; }

void for_cases(int count, const std::function<void(Rng&)>& body) {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string name = fmt::format("{}.{}", info->test_suite_name(), info->name());
  std::uint64_t stream = 0xcbf29ce484222325u;  // FNV-1a of the name: tests don't share their cases
  for (const char c : name) stream = (stream ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  const char* only = std::getenv("FOVEA_TEST_SEED");
  const int cases = only ? 1 : scaled(count);
  Rng seeds(stream);
  for (int i = 0; i < cases; ++i) {
    const std::uint64_t seed = only ? std::strtoull(only, nullptr, 10) : seeds.word();
    SCOPED_TRACE(fmt::format("case {} of {}; to run it alone: FOVEA_TEST_SEED={} with --gtest_filter={}", i + 1, cases,
                             seed, name));
    Rng rng(seed);
    running = i;
    body(rng);
    if (::testing::Test::HasFailure()) break;
  }
  running = 0;
}

int odd_size(Rng& rng, int most) {
  static const std::vector<int> kSizes = {1,  1,  2,  2,  3,  5,   7,   8,   11,  13,  15, 16, 17,
                                          19, 23, 31, 32, 33, 37,  47,  48,  49,  61,  63, 64, 65,
                                          67, 79, 80, 97, 96, 101, 112, 127, 128, 129, 131};
  for (;;) {
    const int n = rng.chance(0.75) ? rng.pick(kSizes) : rng.in(1, 200);
    if (n <= most) return n;
  }
}

}  // namespace fovea::testing
