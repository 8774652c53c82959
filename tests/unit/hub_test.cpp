// Where a model is looked for: a folder, then the hub cache under each variable that moves it, and nowhere else.
#include "io/hub.hpp"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include <gtest/gtest.h>

#include "io/json.hpp"
#include "support/scratch.hpp"

namespace fovea::io {
namespace {

namespace fs = std::filesystem;
using testing::has;
using testing::message_of;
using testing::Scratch;

/// Sets the variables of the hub's client for the duration of a test; those that are not named are absent.
class Environment {
 public:
  explicit Environment(std::map<std::string, std::string> set) {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      const char* old = std::getenv(name);
      old_.emplace_back(name, old ? std::optional<std::string>(old) : std::nullopt);
      if (set.contains(name))
        ::setenv(name, set[name].c_str(), 1);
      else
        ::unsetenv(name);
    }
  }
  Environment(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : old_) {
      if (value)
        ::setenv(name.c_str(), value->c_str(), 1);
      else
        ::unsetenv(name.c_str());
    }
  }

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> old_;
};

std::string refusal(const std::string& model) {
  return message_of([&] { resolve_model(model); });
}

/// A cache as the hub's client makes it.
fs::path add_model(const Scratch& scratch, const fs::path& cache, const std::string& folder,
                   const std::string& commit = "0a1b2c") {
  scratch.write(cache / folder / "refs" / "main", commit);
  scratch.write(cache / folder / "blobs" / "ff00", R"({"model_type":"bert"})");
  fs::create_directories(scratch / cache / folder / "snapshots" / commit);
  fs::create_symlink("../../blobs/ff00", scratch / cache / folder / "snapshots" / commit / "config.json");
  return scratch / cache / folder / "snapshots" / commit;
}

TEST(Hub, AFolderIsTakenAsItIs) {
  const Scratch scratch;
  EXPECT_EQ(resolve_model(scratch.path().string()), scratch.path());
  EXPECT_TRUE(has(refusal(scratch.write("w.safetensors", "").string()), "is a file; expected a model's folder"));
}

TEST(Hub, VariablesInTheirOrder) {
  const auto at = [](std::map<std::string, std::string> set) {
    const Environment environment(std::move(set));
    return hub_cache().string();
  };
  EXPECT_EQ(at({{"HF_HUB_CACHE", "/a"}, {"HF_HOME", "/b"}, {"XDG_CACHE_HOME", "/c"}, {"HOME", "/d"}}), "/a");
  EXPECT_EQ(at({{"HF_HOME", "/b"}, {"XDG_CACHE_HOME", "/c"}, {"HOME", "/d"}}), "/b/hub");
  EXPECT_EQ(at({{"XDG_CACHE_HOME", "/c"}, {"HOME", "/d"}}), "/c/huggingface/hub");
  EXPECT_EQ(at({{"HOME", "/d"}}), "/d/.cache/huggingface/hub");
  EXPECT_EQ(at({{"HF_HUB_CACHE", ""}, {"HF_HOME", "~/b"}, {"HOME", "/d"}}), "/d/b/hub");
  EXPECT_EQ(at({}), "");
}

TEST(Hub, FindsTheSnapshotOfMain) {
  const Scratch scratch;
  const fs::path named = add_model(scratch, "hub", "models--org--name"),
                 bare = add_model(scratch, "hub", "models--gpt2", "77");
  const Environment environment({{"HF_HOME", scratch.path().string()}});
  EXPECT_EQ(resolve_model("org/name"), named);
  EXPECT_EQ(resolve_model("gpt2"), bare);
  EXPECT_EQ(read_json(resolve_model("org/name") / "config.json")["model_type"], "bert");  // through its link
  scratch.write("hub/models--org--name/refs/main", "0a1b2c\n");
  EXPECT_EQ(resolve_model("org/name"), named);
}

TEST(Hub, SaysWhatWasLookedForAndWhere) {
  const Scratch scratch;
  const Environment environment({{"HF_HUB_CACHE", scratch.path().string()}});
  EXPECT_TRUE(has(refusal("org/absent"),
                  "\"org/absent\": no such folder, and not in the hub cache, where " + scratch.path().string() +
                      "/models--org--absent/refs/main would say its version; nothing is downloaded"));
  scratch.write("models--org--name/refs/main", "0a1b2c");
  EXPECT_TRUE(has(refusal("org/name"), "no folder " + scratch.path().string() + "/models--org--name/snapshots/0a1b2c"));
  scratch.write("models--org--name/refs/main", "../../../etc");
  EXPECT_TRUE(has(refusal("org/name"), "refs/main: holds \"../../../etc\"; expected the name of a snapshot"));
  scratch.write("models--org--name/refs/main", "");
  EXPECT_TRUE(has(refusal("org/name"), "refs/main: holds \"\"; expected the name of a snapshot"));
  scratch.write("models--org--name/refs/main", std::string(5000, 'a'));
  EXPECT_TRUE(has(refusal("org/name"), "has 5000 bytes; expected at most 1024"));
  const Environment none({});
  EXPECT_TRUE(has(refusal("org/name"), "no hub cache: none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is set"));
}

TEST(Hub, NamesLeadNowhereElse) {
  const Scratch scratch;
  add_model(scratch, "cache", "models--org--name");
  const Environment environment({{"HF_HUB_CACHE", (scratch / "cache").string()}});
  for (const std::string& model : std::vector<std::string>{
           "../name", "org/..", "org/../name", "/org/name", "org/name/", "org//name", "", "org/na me", "org/\nname",
           "./absent", "org/name/refs", ".hidden/name", "org/a..b", std::string(5000, 'a')}) {
    EXPECT_TRUE(has(refusal(model), "no such folder, and no org/name that the hub cache could hold"))
        << model << ": " << refusal(model);
    EXPECT_FALSE(has(refusal(model), "\n"));
  }
}

}  // namespace
}  // namespace fovea::io
