// Reading safetensors: every malformed file has its own error, at once and in little memory; every well-formed one its
// tensors.
#include "io/safetensors.hpp"

#include <cmath>
#include <csignal>
#include <limits>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/safetensors_header.hpp"
#include "support/malformed.hpp"
#include "support/sanitized.hpp"
#include "support/scratch.hpp"

namespace fovea::io {
namespace {

namespace fs = std::filesystem;
using testing::entry;
using testing::has;
using testing::Malformed;
using testing::message_of;
using testing::one_tensor;
using testing::safetensors_file;
using testing::Scratch;

std::string refusal(const fs::path& path) {
  return message_of([&] { SafeTensors file(path); });
}

// --------------------------------------------------------------------------------------------------------------
// malformed

TEST(Malformed, EachHasItsOwnError) {
  const Scratch scratch;
  const std::vector<Malformed> cases = testing::malformed_files();
  for (const Malformed& c : cases) {
    const std::string message = refusal(scratch.write(c.name, c.bytes));
    EXPECT_TRUE(has(message, c.expected)) << c.name << ": " << message;
    EXPECT_TRUE(message.starts_with((scratch / c.name).string() + ": ")) << message;
    EXPECT_FALSE(has(message, "\n")) << message;
    EXPECT_LT(message.size(), 400u) << message;
    for (const Malformed& other : cases) {
      EXPECT_TRUE(other.name == c.name || !has(message, other.expected))
          << c.name << " reads like " << other.name << ": " << message;
    }
  }
}

TEST(Malformed, InMemoryAsInAFile) {
  for (const Malformed& c : testing::malformed_files()) {
    const std::string message = message_of([&] { read_safetensors_header(c.bytes, "w.safetensors"); });
    EXPECT_TRUE(has(message, c.expected)) << c.name << ": " << message;
  }
  for (const Malformed& c : testing::odd_files()) {
    EXPECT_EQ(message_of([&] { read_safetensors_header(c.bytes, "w"); }), "no error") << c.name;
  }
}

/// What opening a file costs, measured in a process of its own.
struct Cost {
  std::string message;
  double seconds = 0;      // of processor time: the machine may be busy
  std::int64_t bytes = 0;  // of memory, beyond what the process had before
};

Cost cost_of_opening(const fs::path& path) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);  // a parser that hangs is killed, and the test fails
    ::malloc_trim(0);
    std::int64_t before = 0;
    if (std::FILE* statm = std::fopen("/proc/self/statm", "r")) {
      long total = 0, resident = 0;
      if (std::fscanf(statm, "%ld %ld", &total, &resident) == 2) before = resident * ::sysconf(_SC_PAGESIZE);
      std::fclose(statm);
    }
    const std::string message = refusal(path);
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    const std::string report = fmt::format("{} {} {}", seconds(usage.ru_utime) + seconds(usage.ru_stime),
                                           std::int64_t{usage.ru_maxrss} * 1024 - before, message);
    ::_exit(::write(ends[1], report.data(), report.size()) == std::ssize(report) ? 0 : 1);
  }
  ::close(ends[1]);
  char report[4096] = {};
  const ssize_t got = ::read(ends[0], report, sizeof report - 1);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  Cost cost;
  int at = 0;
  long bytes = 0;
  if (got <= 0 || std::sscanf(report, "%lf %ld %n", &cost.seconds, &bytes, &at) != 2) {
    cost.message = fmt::format("the process ended with status {}", status);
    return cost;
  }
  cost.bytes = bytes;
  cost.message = report + at;
  return cost;
}

void expect_cheap(const std::string& name, const fs::path& path, const std::string& expected) {
  const Cost cost = cost_of_opening(path);
  EXPECT_TRUE(has(cost.message, expected)) << name << ": " << cost.message;
  // Time is reported, not asserted.
  if (cost.seconds > 0.02)
    std::printf("%s: %.0f ms, %.1f MB\n", name.c_str(), cost.seconds * 1e3, static_cast<double>(cost.bytes) / 1e6);
  EXPECT_TRUE(testing::kSanitized || cost.bytes < 64 << 20) << name << " took " << cost.bytes << " bytes";
}

TEST(Malformed, NoneCostsMuchMemory) {
  const Scratch scratch;
  for (const Malformed& c : testing::malformed_files())
    expect_cheap(c.name, scratch.write("w.safetensors", c.bytes), c.expected);
}

TEST(Malformed, AMillionEntries) {
  const Scratch scratch;
  fs::path path;
  {
    const std::string bytes = testing::million_entries();
    path = scratch.write("w.safetensors", bytes);
  }
  expect_cheap("a million entries", path, "the header lists more than 50000 tensors");
}

TEST(Malformed, OtherLargeHeaders) {
  const Scratch scratch;
  expect_cheap("a name of 90 MB", scratch.write("a", safetensors_file("{\"" + std::string(90'000'000, 'n') + "\":1}")),
               "a single token or blank is longer than 4194304 bytes");
  expect_cheap("90 MB of spaces", scratch.write("b", safetensors_file("{" + std::string(90'000'000, ' ') + "}")),
               "a single token or blank is longer than 4194304 bytes");
  expect_cheap("a million dimensions",
               scratch.write("c", one_tensor("F32", "[1" + testing::repeated(",1", 999'999) + "]", "[0,4]", 4)),
               "holds more than 8 numbers");
  std::string json = "{\"__metadata__\":{\"a\":\"b\"";
  for (int i = 0; i < 1'000'000; ++i) json += fmt::format(",\"{}\":\"\"", i);
  expect_cheap("a million metadata", scratch.write("d", safetensors_file(json + "}}")),
               "\"__metadata__\" has more than");
}

// -------------------------------------------------------------------------------------------------------------
// well-formed

template <class T>
std::string raw(std::initializer_list<T> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T)};  // NOLINT: bytes of a file
}

TEST(SafeTensors, ReadsOneFile) {
  const Scratch scratch;
  const std::string json = "{" + entry("b", "F32", "[2,1]", "[1,9]") + "," + entry("a", "BOOL", "[1]", "[0,1]") + "," +
                           entry("s", "I64", "[]", "[9,17]") + R"(,"__metadata__":{"format":"pt"}})";
  const SafeTensors file(scratch.write(
      "w.safetensors", safetensors_file(json) + raw<char>({1}) + raw<float>({1.5f, -2}) + raw<std::int64_t>({-7})));
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b", "s"}));
  EXPECT_TRUE(file.contains("b"));
  EXPECT_FALSE(file.contains("c"));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.info("b").dtype, DType::F32);
  EXPECT_EQ(file.info("b").shape, (Shape{2, 1}));
  EXPECT_EQ(file.file(file.info("b")), (scratch / "w.safetensors").string());

  const Tensor b = file.tensor("b");  // at byte 1 of the data: no float lies there, so this is a copy
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.raw()) % 64, 0u);
  EXPECT_EQ(b.values<float>()[0], 1.5f);
  EXPECT_EQ(b.values<float>()[1], -2.f);
  EXPECT_EQ(file.tensor("a").values<bool>()[0], true);
  EXPECT_EQ(file.tensor("s").shape().rank(), 0);
  EXPECT_EQ(file.tensor("s").values<std::int64_t>()[0], -7);
  EXPECT_TRUE(has(message_of([&] { file.tensor("c"); }), "there is no tensor \"c\"; it holds 3: \"a\", \"b\", \"s\""));
}

TEST(SafeTensors, ReadsWhatLooksOdd) {
  const Scratch scratch;
  for (const Malformed& c : testing::odd_files()) {
    const SafeTensors file(scratch.write(c.name, c.bytes));
    for (const TensorInfo& info : file.tensors()) {
      if (!info.dtype) continue;
      const Tensor t = file.tensor(info.name);
      EXPECT_EQ(t.bytes(), info.end - info.begin) << c.name;
      EXPECT_NE(t.raw(), nullptr);
    }
  }
}

TEST(SafeTensors, NaNAndInfinityAreRead) {
  const Scratch scratch;
  const float inf = std::numeric_limits<float>::infinity();
  const SafeTensors file(scratch.write(
      "w", safetensors_file("{" + entry("w", "F32", "[3]", "[0,12]") + "}") + raw<float>({std::nanf(""), inf, -inf})));
  const Tensor w = file.tensor("w");
  EXPECT_TRUE(std::isnan(w.values<float>()[0]));
  EXPECT_EQ(w.values<float>()[1], inf);
  EXPECT_EQ(w.values<float>()[2], -inf);
}

TEST(SafeTensors, ForeignDtypesOpenAndAreNotRead) {
  const Scratch scratch;
  const std::string json = "{" + entry("a", "F8_E4M3", "[4]", "[0,4]") + "," + entry("b", "U8", "[2]", "[4,6]") + "," +
                           entry("c", "F4", "[2,2]", "[6,8]") + "," + entry("d", "C64", "[1]", "[8,16]") + "}";
  const SafeTensors file(scratch.write("w", safetensors_file(json, 16)));
  EXPECT_EQ(file.tensor("b").elements(), 2);
  EXPECT_FALSE(file.info("a").dtype);
  EXPECT_EQ(file.info("a").stored_as, "F8_E4M3");
  EXPECT_TRUE(has(message_of([&] { file.tensor("a"); }), "tensor \"a\" is stored as F8_E4M3; expected a dtype"));
  EXPECT_TRUE(has(message_of([&] { file.tensor("c"); }), "tensor \"c\" is stored as F4; expected a dtype"));
  EXPECT_TRUE(has(message_of([&] { file.tensor("d"); }), "tensor \"d\" is stored as C64; expected a dtype"));
}

TEST(SafeTensors, ABoolIsZeroOrOne) {
  const Scratch scratch;
  const SafeTensors file(
      scratch.write("w", safetensors_file("{" + entry("w", "BOOL", "[3]", "[0,3]") + "}") + raw<char>({0, 1, 2})));
  EXPECT_TRUE(
      has(message_of([&] { file.tensor("w"); }), "tensor \"w\": element 2 of a BOOL is byte 2; expected 0 or 1"));
}

// ------------------------------------------------------------------------------------------------------- files that
// change

TEST(SafeTensors, CutShortAfterItWasOpened) {
  const Scratch scratch;
  const fs::path path = scratch.write("w.safetensors", one_tensor("F32", "[100000]", "[0,400000]", 400000));
  const SafeTensors file(path);
  EXPECT_EQ(file.tensor("w").elements(), 100000);
  fs::resize_file(path, 4096);
  EXPECT_TRUE(has(message_of([&] { file.tensor("w"); }), "w.safetensors: was cut short: it had "))
      << message_of([&] { file.tensor("w"); });
  fs::resize_file(path, 0);
  EXPECT_TRUE(has(message_of([&] { file.tensor("w"); }), "w.safetensors: was cut short"));
}

TEST(SafeTensors, TensorsOutliveTheFile) {
  const Scratch scratch;
  const fs::path path =
      scratch.write("w.safetensors", safetensors_file("{" + entry("w", "F32", "[1]", "[0,4]") + "}") + raw<float>({3}));
  const Tensor w = SafeTensors(path).tensor("w");
  fs::resize_file(path, 0);
  EXPECT_EQ(w.values<float>()[0], 3.f);
}

TEST(SafeTensors, OnlyRegularFiles) {
  const Scratch scratch;
  ASSERT_EQ(::mkfifo((scratch / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(has(refusal(scratch / "fifo"), "is a FIFO; expected a regular file"));
  EXPECT_TRUE(has(refusal("/dev/zero"), "is a device; expected a regular file"));
  EXPECT_TRUE(has(refusal(scratch / "absent"), "there is no such file"));
  EXPECT_TRUE(has(refusal(std::string(5000, 'a')), "File name too long"));
  fs::create_directory(scratch / "folder-of-links");
  fs::create_symlink("../blobs/absent", scratch / "folder-of-links" / "model.safetensors");
  EXPECT_TRUE(has(refusal(scratch / "folder-of-links"),
                  "model.safetensors: cannot be opened: it is a link to a file that is not there"));
  fs::create_symlink("loop", scratch / "loop");
  EXPECT_TRUE(has(refusal(scratch / "loop"), "Too many levels of symbolic links"));
  fs::create_directory(scratch / "folder");
  EXPECT_TRUE(
      has(refusal(scratch / "folder"), "holds no weights; expected model.safetensors or model.safetensors.index.json"));
}

TEST(SafeTensors, PicklesAreRefusedWithTheReason) {
  const Scratch scratch;
  scratch.write("folder/pytorch_model.bin", "PK");
  EXPECT_TRUE(
      has(refusal(scratch / "folder"), "the weights are in \"pytorch_model.bin\", a pickle, which can run any code"));
  EXPECT_TRUE(has(refusal(scratch / "folder" / "pytorch_model.bin"), "is a pickle, which can run any code"));
  EXPECT_TRUE(has(refusal(scratch.write("model.pt", "PK")), "is a pickle"));
  scratch.write("folder/model.safetensors", safetensors_file("{}"));
  EXPECT_EQ(refusal(scratch / "folder"), "no error");  // a pickle beside it does no harm
}

}  // namespace
}  // namespace fovea::io
