// Sharded checkpoints: the index, its shards, and every way in which the two may not agree.
#include <filesystem>
#include <sys/stat.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/safetensors.hpp"
#include "support/malformed.hpp"
#include "support/scratch.hpp"

namespace fovea::io {
namespace {

namespace fs = std::filesystem;
using testing::entry;
using testing::has;
using testing::message_of;
using testing::safetensors_file;
using testing::Scratch;

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kFirst = "model-00001-of-00002.safetensors";
constexpr const char* kSecond = "model-00002-of-00002.safetensors";

/// A shard of U8 tensors of one element each: the first byte of the tensor's name.
std::string shard(const std::vector<std::string>& names) {
  std::string json = "{", data;
  for (std::size_t i = 0; i < names.size(); ++i) {
    json += (i ? "," : "") + entry(names[i], "U8", "[1]", fmt::format("[{},{}]", i, i + 1));
    data += names[i][0];
  }
  return safetensors_file(json + "}") + data;
}

struct Folder : Scratch {
  Folder() {
    write(kFirst, shard({"a", "c"}));
    write(kSecond, shard({"b"}));
    index(fmt::format(R"({{"a":"{0}","b":"{1}","c":"{0}"}})", kFirst, kSecond));
  }
  void index(const std::string& map) const {
    write(kIndex, R"({"metadata":{"total_size":3,"more":[[1],{}]},"weight_map":)" + map + "}");
  }
  std::string refusal() const {
    return message_of([&] { SafeTensors file(path()); });
  }
};

TEST(Shards, AreOneCheckpoint) {
  const Folder folder;
  const SafeTensors file(folder.path());
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(file.where(), (folder / kIndex).string());
  for (const std::string& name : file.names()) EXPECT_EQ(file.tensor(name).values<std::uint8_t>()[0], name[0]);
  EXPECT_EQ(file.file(file.info("b")), (folder / kSecond).string());
}

TEST(Shards, AWholeFileComesFirst) {
  const Folder folder;
  folder.write("model.safetensors", shard({"w"}));
  EXPECT_EQ(SafeTensors(folder.path()).names(), std::vector<std::string>{"w"});
}

TEST(Shards, ThatAreMissing) {
  const Folder folder;
  fs::remove(folder / kSecond);
  EXPECT_TRUE(has(folder.refusal(), "model-00002-of-00002.safetensors: cannot be opened: there is no such file"))
      << folder.refusal();
}

TEST(Shards, ThatTheIndexDoesNotName) {
  const Folder folder;
  folder.write("consolidated.safetensors", shard({"z"}));          // some publishers ship a second form
  folder.write("model-00001-of-00003.safetensors", shard({"a"}));  // another series, left from an older upload
  folder.write("model-00001-of-00002.fp16.safetensors", shard({"a"}));
  EXPECT_EQ(folder.refusal(), "no error");
  folder.write("model-00003-of-00002.safetensors", shard({"d"}));
  EXPECT_TRUE(has(folder.refusal(), "does not name the shard \"model-00003-of-00002.safetensors\""))
      << folder.refusal();
}

TEST(Shards, TensorsMustBeThoseOfTheIndex) {
  const Folder folder;
  folder.write(kSecond, shard({"x"}));
  EXPECT_TRUE(
      has(folder.refusal(), "tensor \"b\" should be in \"model-00002-of-00002.safetensors\", and is in no shard"));
  folder.write(kSecond, shard({"b", "x"}));
  EXPECT_TRUE(has(folder.refusal(), "tensor \"x\" of \"model-00002-of-00002.safetensors\" is not in the index"));
  folder.write(kSecond, shard({"b", "a0"}));  // in the middle of the list
  EXPECT_TRUE(has(folder.refusal(), "tensor \"a0\" of \"model-00002-of-00002.safetensors\" is not in the index"));
  folder.write(kSecond, shard({"b", "a"}));
  EXPECT_TRUE(has(folder.refusal(), "tensor \"a\" lies in both \"model-0000")) << folder.refusal();
  folder.write(kFirst, shard({"a"}));
  folder.write(kSecond, shard({"b", "c"}));
  EXPECT_TRUE(has(folder.refusal(),
                  "tensor \"c\" should be in \"model-00001-of-00002.safetensors\", and is in \"model-00002-of"));
}

TEST(Shards, NamesAreFileNamesOfTheFolder) {
  const Folder folder;
  const auto named = [&](const std::string& name) {
    folder.index(R"({"a":")" + name + "\"}");
    return folder.refusal();
  };
  const Scratch outside;
  outside.write("w.safetensors", shard({"a"}));
  for (const std::string& name :
       {std::string("../w.safetensors"), (outside / "w.safetensors").string(), std::string(".."), std::string("."),
        std::string(""), std::string("a/b"), std::string("a\\u0000b")}) {
    EXPECT_TRUE(has(named(name), "is not plain; expected a name without folders")) << name << ": " << named(name);
  }
  fs::create_symlink(outside / "w.safetensors", folder / "link");
  EXPECT_TRUE(has(named("link"), "is a link to " + (outside / "w.safetensors").string() + ", out of "))
      << named("link");
  fs::create_symlink("/dev/zero", folder / "zero");
  EXPECT_TRUE(has(named("zero"), "is a link to /dev/zero, out of "));
  fs::create_symlink(kFirst, folder / "inside");
  folder.index(R"({"a":"inside","c":"inside"})");
  fs::remove(folder / kSecond);
  EXPECT_EQ(folder.refusal(), "no error");
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(has(named("fifo"), "is a FIFO; expected a regular file"));
  fs::create_directory(folder / "sub");
  EXPECT_TRUE(has(named("sub"), "is a folder; expected a regular file"));
  EXPECT_TRUE(has(named("a\\nb"), "a\\x0ab: cannot be opened: there is no such file")) << named("a\\nb");
}

TEST(Shards, AMalformedShardIsNamed) {
  const Folder folder;
  folder.write(kSecond, "");
  EXPECT_EQ(folder.refusal(), (folder / kSecond).string() + ": is empty; expected a safetensors file");
}

TEST(Shards, OfASnapshotLinkToItsBlobs) {
  const Scratch cache;
  const fs::path repository = "models--org--name", snapshot = repository / "snapshots" / "0123abcd";
  cache.write(repository / "blobs" / "first", shard({"a"}));
  cache.write(snapshot / kIndex, R"({"weight_map":{"a":"one.safetensors"}})");
  const auto refusal = [&] { return message_of([&] { SafeTensors file(cache / snapshot); }); };
  fs::create_symlink("../../blobs/first", cache / snapshot / "one.safetensors");
  EXPECT_EQ(refusal(), "no error");

  fs::remove(cache / snapshot / "one.safetensors");
  cache.write("models--org--other/blobs/first", shard({"a"}));
  fs::create_symlink("../../../models--org--other/blobs/first", cache / snapshot / "one.safetensors");
  EXPECT_TRUE(has(refusal(), "models--org--other/blobs/first, out of ")) << refusal();

  // The same links, in a folder that is no snapshot.
  fs::rename(cache / repository, cache / "models");
  fs::remove(cache / "models" / "snapshots" / "0123abcd" / "one.safetensors");
  fs::create_symlink("../../blobs/first", cache / "models" / "snapshots" / "0123abcd" / "one.safetensors");
  EXPECT_TRUE(has(message_of([&] { SafeTensors file(cache / "models" / "snapshots" / "0123abcd"); }), "out of "));
}

TEST(Shards, MalformedIndices) {
  const Folder folder;
  const auto refused = [&](const std::string& text) {
    folder.write(kIndex, text);
    return folder.refusal();
  };
  EXPECT_TRUE(has(refused(""), "index.json: byte 1: not valid JSON"));
  EXPECT_TRUE(has(refused("[]"), "the index must be a JSON object"));
  EXPECT_TRUE(has(refused("{}"), "\"weight_map\" is missing"));
  EXPECT_TRUE(has(refused(R"({"weight_map":[]})"), "\"weight_map\" is a list; expected an object"));
  EXPECT_TRUE(has(refused(R"({"weight_map":"x"})"), "\"weight_map\" is a string; expected an object"));
  EXPECT_TRUE(
      has(refused(R"({"weight_map":{"a":1}})"), "\"weight_map\" holds a number for \"a\"; expected a file name"));
  EXPECT_TRUE(has(refused(R"({"weight_map":{"a":{}}})"), "\"weight_map\" holds an object for \"a\""));
  EXPECT_TRUE(has(refused(R"({"weight_map":{"a":"x","a":"y"}})"), "the key \"a\" stands twice in \"weight_map\""));
  EXPECT_TRUE(has(refused(R"({"metadata":)" + std::string(100'000, '[')), "nested deeper than 64 levels"));
  std::string many = R"({"weight_map":{"x":"s")";
  for (int i = 0; i < 300'000; ++i) many += fmt::format(R"(,"{}":"s")", i);
  EXPECT_TRUE(has(refused(many + "}}"), "\"weight_map\" lists more than 300000 tensors"));
}

}  // namespace
}  // namespace fovea::io
