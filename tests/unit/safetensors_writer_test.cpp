// Writing safetensors: what is written is read back the same, and a file appears whole or not at all.
#include "io/safetensors_writer.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/output_file.hpp"
#include "io/safetensors.hpp"
#include "support/scratch.hpp"

namespace fovea::io {
namespace {

namespace fs = std::filesystem;
using testing::bytes_of;
using testing::has;
using testing::message_of;
using testing::Scratch;

/// A tensor whose bytes are 0, 1, 2, … (of a BOOL 0, 1, 0, …).
Tensor counting(DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  auto* bytes = static_cast<unsigned char*>(t.raw());
  for (std::int64_t i = 0; i < t.bytes(); ++i) bytes[i] = static_cast<unsigned char>(dtype == DType::Bool ? i % 2 : i);
  return t;
}
bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.bytes())) == 0;
}

constexpr DType kAll[] = {DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64, DType::I32, DType::I16,
                          DType::I8,  DType::U64, DType::U32,  DType::U16, DType::U8,  DType::Bool};

TEST(Writing, EveryDtypeAndShapeComesBack) {
  const Scratch scratch;
  const std::vector<Shape> shapes = {{}, {1}, {3}, {2, 3, 5}, {0}, {4, 0, 2}, {1, 1, 1, 1, 1, 1, 1, 7}};
  std::vector<Tensor> tensors;
  std::vector<NamedTensor> named;
  for (const DType dtype : kAll)
    for (const Shape& shape : shapes) tensors.push_back(counting(dtype, shape));
  for (const Tensor& t : tensors)
    named.push_back({fmt::format("{} {}", name_of(t.dtype()), t.shape().str()), t.view()});
  named.push_back({"\"é😀\"\n", tensors[2].view()});
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"né", "\"\\\t"}};
  write_safetensors(scratch / "w.safetensors", named, metadata);

  const SafeTensors file(scratch / "w.safetensors");
  EXPECT_EQ(file.metadata(), metadata);
  EXPECT_EQ(file.names().size(), named.size());
  for (std::size_t i = 0; i < tensors.size(); ++i)
    EXPECT_TRUE(same_bytes(file.tensor(named[i].name), tensors[i])) << named[i].name;
  EXPECT_TRUE(same_bytes(file.tensor("\"é😀\"\n"), tensors[2]));
  for (const TensorInfo& t : file.tensors())
    EXPECT_EQ(t.begin % size_of(*t.dtype), 0) << t.name;  // as a mapping reader wants it
}

TEST(Writing, NoTensorsAtAll) {
  const Scratch scratch;
  write_safetensors(scratch / "w", {});
  EXPECT_EQ(bytes_of(scratch / "w"), std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
}

TEST(Writing, StridesAreResolved) {
  const Scratch scratch;
  std::vector<std::int32_t> data(600'000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::int32_t>(i);
  const auto view = [&](Shape shape, Shape strides, std::int64_t offset = 0) {
    return TensorView(DType::I32, data.data() + offset, shape, strides);
  };
  const std::vector<NamedTensor> named = {
      {"transposed", view({3, 2}, {1, 3})},   {"broadcast", view({2, 3}, {0, 1})},
      {"backwards", view({4}, {-1}, 3)},      {"padded rows", view({5, 3, 2}, {100, 10, 1})},
      {"one", view({1, 1}, {77, 55}, 9)},     {"long rows", view({2, 100'000}, {300'000, 1})},
      {"column", view({300'000, 1}, {2, 1})}, {"scalar", view({}, {}, 42)},
      {"nothing", view({0, 5}, {5, 1})},
  };
  write_safetensors(scratch / "w", named);
  const SafeTensors file(scratch / "w");
  for (const auto& [name, t] : named) {
    const Tensor got = file.tensor(name);
    ASSERT_TRUE(got.shape() == t.shape) << name;
    for (std::int64_t i = 0; i < got.elements(); ++i) {
      std::int64_t at = 0;
      for (int d = t.shape.rank() - 1, rest = static_cast<int>(i); d >= 0;
           rest = rest / static_cast<int>(t.shape[d]), --d) {
        at += rest % t.shape[d] * t.strides[d];
      }
      ASSERT_EQ(got.values<std::int32_t>()[static_cast<std::size_t>(i)], static_cast<const std::int32_t*>(t.data)[at])
          << name << " " << i;
    }
  }
}

TEST(Writing, TheOrderOfCallsDoesNotShow) {
  const Scratch scratch;
  const Tensor a = counting(DType::F32, {4, 3}), b = counting(DType::F64, {2}), c = counting(DType::U8, {5});
  write_safetensors(scratch / "one", std::vector<NamedTensor>{{"a", a.view()}, {"b", b.view()}, {"c", c.view()}},
                    {{"x", "y"}});
  {
    SafeTensorsWriter writer(scratch / "two",
                             {{"c", DType::U8, {5}}, {"a", DType::F32, {4, 3}}, {"b", DType::F64, {2}}}, {{"x", "y"}});
    const auto* rows = a.data<float>();
    writer.append("a", TensorView(DType::F32, rows, {1, 3}));
    writer.append("c", c);
    writer.append("a", TensorView(DType::F32, rows + 3, {3}));
    writer.append("b", TensorView(DType::F64, b.data<double>(), {1}));
    writer.append("a", TensorView(DType::F32, rows + 6, {1, 2, 3}));
    writer.append("b", TensorView(DType::F64, b.data<double>() + 1, {1}));
    EXPECT_FALSE(fs::exists(scratch / "two"));
    writer.finish();
  }
  EXPECT_EQ(bytes_of(scratch / "one"), bytes_of(scratch / "two"));
  EXPECT_EQ(scratch.files().size(), 2u);
}

TEST(Writing, MisuseIsRefused) {
  const Scratch scratch;
  const fs::path path = scratch.write("w", "old");
  const Tensor row(DType::F32, {3});
  const auto writer = [&] { return SafeTensorsWriter(path, {{"a", DType::F32, {2, 3}}, {"s", DType::F32, {}}}); };
  const auto says = [&](auto call, const std::string& expected) {
    const std::string message = message_of(call);
    EXPECT_TRUE(has(message, expected)) << message;
  };
  says([&] { writer().append("b", row); }, "tensor \"b\" was not declared");
  says([&] { writer().append("a", Tensor(DType::F16, {3}).view()); },
       "tensor \"a\" is F32 [2, 3]; a piece F16 [3] was given to it");
  says([&] { writer().append("a", Tensor(DType::F32, {2}).view()); }, "a piece F32 [2] was given to it");
  says([&] { writer().append("a", Tensor(DType::F32, {}).view()); }, "a piece F32 [] was given to it");
  says([&] { writer().append("s", Tensor(DType::F32, {1}).view()); },
       "tensor \"s\" is F32 []; a piece F32 [1] was given to it");
  says(
      [&] {
        writer().append("a", Tensor(DType::F32, {3, 3}).view());
      },
      "tensor \"a\" [2, 3] lacks 6 elements; a piece F32 [3, 3]");
  says(
      [&] {
        auto w = writer();
        w.append("a", row), w.finish();
      },
      "tensor \"a\" [2, 3] is not complete: 12 bytes of 24 were given");
  says(
      [&] {
        SafeTensorsWriter(path, {{"a", DType::F32, {1}}, {"a", DType::F64, {1}}});
      },
      "the name \"a\" was given to two tensors");
  says(
      [&] {
        SafeTensorsWriter(path, {{"__metadata__", DType::F32, {1}}});
      },
      "the name \"__metadata__\" is the format's own");
  says([&] { SafeTensorsWriter(path, {{"\xff", DType::F32, {1}}}); }, "not valid UTF-8");
  says([&] { SafeTensorsWriter(path, {{"a", DType::F32, {1}}}, {{"k", "\xff"}}); }, "not valid UTF-8");
  says([&] { SafeTensorsWriter(path, {{"a", DType::F64, {std::int64_t{1} << 60}}}); }, "more than 2^63 bytes");
  EXPECT_EQ(bytes_of(path), "old");
  EXPECT_EQ(scratch.files(), std::vector<std::string>{"w"});
}

// -------------------------------------------------------------------------------------------------------------
// OutputFile

TEST(Output, ReplacesAtTheEndAndKeepsTheMode) {
  const Scratch scratch;
  const fs::path path = scratch.write("report.html", "old");
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  {
    OutputFile file(path);
    file.write(0, std::as_bytes(std::span("new", 3)));
    EXPECT_EQ(bytes_of(path), "old");
    EXPECT_EQ(scratch.files().size(), 1u);  // on Linux file systems in use: no name before commit()
    file.commit();
  }
  EXPECT_EQ(bytes_of(path), "new");
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
  EXPECT_EQ(scratch.files().size(), 1u);
}

TEST(Output, IsNotWrittenWhereItCannotBe) {
  const Scratch scratch;
  EXPECT_TRUE(has(message_of([&] { OutputFile file(scratch / "absent" / "w"); }),
                  "cannot be created: No such file or directory"));
  EXPECT_TRUE(has(message_of([&] { OutputFile file(scratch.path()); }), "it is there and is no regular file"));
  EXPECT_TRUE(has(message_of([] { OutputFile file("/dev/full"); }), "it is there and is no regular file"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST(Output, ALinkIsWrittenThrough) {
  const Scratch scratch;
  scratch.write("there/file", "old");
  fs::create_symlink("there/file", scratch / "link");
  write_file(scratch / "link", "new");
  EXPECT_TRUE(fs::is_symlink(scratch / "link"));
  EXPECT_EQ(bytes_of(scratch / "there" / "file"), "new");
}

TEST(Output, NothingIsLeftOfAnAbandonedFile) {
  const Scratch scratch;
  { OutputFile file(scratch / "w"); }
  EXPECT_TRUE(scratch.files().empty());
}

/// Runs `job` in a process that may write no file beyond `limit` bytes, as on a full disk, and returns the message of
/// its Error.
std::string on_a_full_disk(rlim_t limit, const std::function<void()>& job) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small { limit, limit };
    ::setrlimit(RLIMIT_FSIZE, &small);
    const std::string message = message_of(job);
    ::_exit(::write(ends[1], message.data(), message.size()) == std::ssize(message) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string message(4096, '\0');
  message.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(ends[0], message.data(), message.size()), 0)));
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return message;
}

TEST(Output, AFullDiskLeavesTheOldFile) {
  const Scratch scratch;
  const fs::path path = scratch.write("w.safetensors", "old");
  const Tensor large(DType::F32, {1000, 1000});

  // The writer knows its size, and fails before any work.
  std::string message = on_a_full_disk(1 << 20, [&] {
    SafeTensorsWriter writer(path, {{"a", DType::F32, {1000, 1000}}});
  });
  EXPECT_TRUE(
      has(message, "w.safetensors: cannot take 4000080 bytes: File too large; what was there before is untouched"))
      << message;
  // Without that knowledge it fails in the middle.
  message = on_a_full_disk(1 << 20, [&] {
    OutputFile file(path);
    for (int i = 0; i < 4; ++i) file.write(i << 19, std::span(static_cast<const std::byte*>(large.raw()), 1 << 19));
    file.commit();
  });
  EXPECT_TRUE(has(message, "w.safetensors: cannot be written: File too large; what was there before is untouched"))
      << message;
  EXPECT_EQ(bytes_of(path), "old");
  EXPECT_EQ(scratch.files(), std::vector<std::string>{"w.safetensors"});
}

TEST(Output, AKilledProgramLeavesTheOldFile) {
  const Scratch scratch;
  const fs::path path = scratch.write("w.safetensors", "old");
  const pid_t child = ::fork();
  if (child == 0) {
    OutputFile file(path);
    file.write(0, std::as_bytes(std::span("new", 3)));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(bytes_of(path), "old");
  EXPECT_EQ(scratch.files(), std::vector<std::string>{"w.safetensors"});
}

}  // namespace
}  // namespace fovea::io
