// The main of test programs, whether of one file or of all of a kind: GoogleTest's, and --file=NAME, which runs the
// tests of NAME.cpp alone. So the tests of a file have a process to themselves, as those need that read how much memory
// it took.
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace {

/// Adds to GoogleTest's filter that nothing outside `file` is run. Returns how many tests are in it.
int keep_only(std::string_view file) {
  std::string others;
  int kept = 0;
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const ::testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const ::testing::TestInfo& test = *suite.GetTestInfo(j);
      if (std::filesystem::path(test.file()).stem() == file)
        ++kept;
      else
        (others += ':') += std::string(suite.name()) + '.' + test.name();
    }
  }
  std::string filter = GTEST_FLAG_GET(filter);
  if (!others.empty() && filter.find('-') == filter.npos) others.front() = '-';
  GTEST_FLAG_SET(filter, filter + others);
  return kept;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  constexpr std::string_view kFile = "--file=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with(kFile) && keep_only(argument.substr(kFile.size())) > 0) continue;
    std::fprintf(stderr, "%s: no such test file; expected --file=NAME, the name of a *_test.cpp without its ending\n",
                 argv[i]);
    return 2;
  }
  return RUN_ALL_TESTS();
}
