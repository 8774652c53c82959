#include "io/shard_index.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <span>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "io/input_file.hpp"
#include "io/json_parser.hpp"
#include "io/quote.hpp"

namespace fovea::io {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxIndexBytes = 64 << 20;

/// Takes weight_map and lets everything else pass.
class IndexVisitor : public JsonVisitor {
 public:
  explicit IndexVisitor(std::size_t limit) : limit_(limit) {}
  std::vector<std::pair<std::string, std::size_t>> map;    // tensor and the number of its shard
  std::map<std::string, std::size_t, std::less<>> shards;  // numbered as they come
  bool found = false;

  void null() override { other("null"); }
  void boolean(bool) override { other("a truth value"); }
  void integer(std::int64_t) override { other("a number"); }
  void real(double, const std::string&) override { other("a number"); }
  void string(std::string& value) override {
    if (!in_map()) return other("a string");
    if (map.size() == limit_)
      throw Error(fmt::format("\"weight_map\" lists more than {} tensors, the most that are read", limit_));
    map.emplace_back(std::move(key_), shards.try_emplace(value, shards.size()).first->second);
  }
  void key(std::string& name) override {
    if (depth_ == 1) section_ = name;
    key_ = std::move(name);
  }
  void open_object() override {
    if (depth_ == 1 && section_ == "weight_map")
      found = true;
    else
      other("an object");
    ++depth_;
  }
  void close_object() override { --depth_; }
  void open_list() override {
    if (depth_ == 0) throw Error("the index must be a JSON object");
    other("a list");
    ++depth_;
  }
  void close_list() override { --depth_; }

 private:
  bool in_map() const { return depth_ == 2 && section_ == "weight_map"; }
  void other(std::string_view what) const {
    if (in_map())
      throw Error(fmt::format("\"weight_map\" holds {} for {}; expected a file name", what, in_quotes(key_)));
    if (depth_ == 1 && section_ == "weight_map")
      throw Error(fmt::format("\"weight_map\" is {}; expected an object", what));
  }

  std::size_t limit_;
  int depth_ = 0;
  std::string section_, key_;
};

/// Of "model-00002-of-00003.safetensors": "model" and "00003". Empty for other names.
std::pair<std::string, std::string> series_of(std::string_view name) {
  constexpr std::string_view kEnding = ".safetensors", kDigits = "0123456789";
  if (!name.ends_with(kEnding)) return {};
  name.remove_suffix(kEnding.size());
  const auto of = name.rfind("-of-");
  if (of == name.npos) return {};
  const std::string_view total = name.substr(of + 4), rest = name.substr(0, of);
  const auto dash = rest.rfind('-');
  if (dash == rest.npos) return {};
  const std::string_view number = rest.substr(dash + 1);
  const auto digits = [&](std::string_view s) { return !s.empty() && s.find_first_not_of(kDigits) == s.npos; };
  if (!digits(total) || !digits(number)) return {};
  return {std::string(rest.substr(0, dash)), std::string(total)};
}

void check_folder(const ShardIndex& index, const fs::path& folder) {
  std::set<std::pair<std::string, std::string>> series;
  for (const std::string& shard : index.shards) {
    if (const auto known = series_of(shard); !known.second.empty()) series.insert(known);
  }
  for (const std::string& name : names_in(folder)) {
    if (!series.contains(series_of(name)) || std::binary_search(index.shards.begin(), index.shards.end(), name)) {
      continue;
    }
    throw Error(fmt::format(
        "{}: does not name the shard {} that lies beside it; index and shards do not belong together: fetch both again",
        index.where, in_quotes(name)));
  }
}

}  // namespace

ShardIndex read_shard_index(const fs::path& folder, const std::string& name, std::size_t limit) {
  const InputFile file = InputFile::open(folder / name);
  if (file.size() > kMaxIndexBytes) {
    throw Error(
        fmt::format("{}: has {} bytes; expected at most {} in an index", file.name(), file.size(), kMaxIndexBytes));
  }
  IndexVisitor visitor(limit);
  const auto read = [&](std::int64_t offset, std::span<std::byte> out) { file.read(offset, out); };
  parse_json({.name = file.name(), .piece = pieces(read, 0, file.size())}, visitor);
  if (!visitor.found)
    throw Error(fmt::format("{}: \"weight_map\" is missing; expected an object from tensors to files", file.name()));

  ShardIndex index{.where = file.name(), .shards = {}, .map = std::move(visitor.map)};
  std::vector<std::size_t> place(visitor.shards.size());  // of each shard as it came, in the sorted list
  for (const auto& [shard, number] : visitor.shards) {
    place[number] = index.shards.size();
    index.shards.push_back(shard);
  }
  for (auto& [tensor, shard] : index.map) shard = place[shard];
  std::sort(index.map.begin(), index.map.end());
  return index;
}

void check_shards(const ShardIndex& index, const std::vector<TensorInfo>& tensors, const fs::path& folder) {
  const auto fail = [&](const std::string& tensor, const std::string& what) {
    throw Error(fmt::format("{}: tensor {} {}; index and shards do not belong together: fetch both again", index.where,
                            in_quotes(tensor), what));
  };
  const auto shard = [&](std::size_t i) { return in_quotes(index.shards[i]); };
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i - 1].name != tensors[i].name) continue;
    fail(tensors[i].name,
         fmt::format("lies in both {} and {}; expected in one", shard(tensors[i - 1].file), shard(tensors[i].file)));
  }
  auto stored = tensors.begin();
  for (const auto& [name, place] : index.map) {
    if (stored != tensors.end() && stored->name < name) break;
    if (stored == tensors.end() || stored->name != name)
      fail(name, fmt::format("should be in {}, and is in no shard", shard(place)));
    if (stored->file != place)
      fail(name, fmt::format("should be in {}, and is in {}", shard(place), shard(stored->file)));
    ++stored;
  }
  if (stored != tensors.end()) fail(stored->name, fmt::format("of {} is not in the index", shard(stored->file)));
  check_folder(index, folder);
}

}  // namespace fovea::io
