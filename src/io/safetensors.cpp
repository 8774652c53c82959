#include "io/safetensors.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>
#include <system_error>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "io/embedded.hpp"
#include "io/quote.hpp"
#include "io/shard_index.hpp"

namespace fovea::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool is_pickle(const fs::path& path) {
  constexpr std::array<std::string_view, 6> kEndings{".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"};
  return std::find(kEndings.begin(), kEndings.end(), path.extension().string()) != kEndings.end();
}

[[noreturn]] void refuse_pickle(const fs::path& where, const std::string& what) {
  throw Error(fmt::format(
      "{}: {} a pickle, which can run any code when it is loaded and is not read; expected safetensors: fetch or save "
      "the model in that form",
      where.string(), what));
}

[[noreturn]] void refuse_folder(const fs::path& folder) {
  for (const std::string& name : names_in(folder)) {
    if (is_pickle(name)) refuse_pickle(folder, fmt::format("the weights are in {},", in_quotes(name)));
  }
  throw Error(fmt::format("{}: holds no weights; expected {} or {} in this folder", folder.string(), kWhole, kIndex));
}

/// Also true of a link to nothing, as a broken download leaves it: opening that says what is wrong.
bool is_named(const fs::path& path) {
  std::error_code error;
  return embedded_file(path) || fs::exists(fs::symlink_status(path, error));
}

void require_truth_values(const std::string& file, const std::string& name, std::span<const std::byte> bytes) {
  const auto bad = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; });
  if (bad == bytes.end()) return;
  throw Error(fmt::format("{}: tensor {}: element {} of a BOOL is byte {}; expected 0 or 1", file, in_quotes(name),
                          bad - bytes.begin(), std::to_integer<int>(*bad)));
}

}  // namespace

SafeTensors::SafeTensors(const fs::path& path) : where_(path.string()) {
  if (!is_folder(path)) {  // what cannot be reached is told by opening it
    if (is_pickle(path)) refuse_pickle(path, "is");
    add(InputFile::open(path));
    sort();
  } else if (is_named(path / kWhole)) {
    where_ = (path / kWhole).string();
    add(InputFile::open(path / kWhole));
    sort();
  } else if (is_named(path / kIndex)) {
    open_shards(path);
  } else {
    refuse_folder(path);
  }
}

void SafeTensors::add(InputFile file) {
  SafeTensorsHeader header = read_safetensors_header(file);
  if (tensors_.size() + header.tensors.size() > kMaxTensors) {
    throw Error(
        fmt::format("{}: the checkpoint has more than {} tensors, the most that are read", where_, kMaxTensors));
  }
  for (TensorInfo& tensor : header.tensors) tensor.file = files_.size();
  std::move(header.tensors.begin(), header.tensors.end(), std::back_inserter(tensors_));
  metadata_.merge(header.metadata);
  files_.push_back(std::move(file));
}

void SafeTensors::open_shards(const fs::path& folder) {
  const ShardIndex index = read_shard_index(folder, kIndex, kMaxTensors);
  where_ = index.where;
  for (const std::string& shard : index.shards) add(InputFile::open_inside(folder, shard));
  sort();
  check_shards(index, tensors_, folder);
}

void SafeTensors::sort() {
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
}

const TensorInfo* SafeTensors::find(std::string_view name) const {
  const auto at = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                   [](const TensorInfo& t, std::string_view wanted) { return t.name < wanted; });
  return at == tensors_.end() || at->name != name ? nullptr : &*at;
}

std::vector<std::string> SafeTensors::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const TensorInfo& tensor : tensors_) names.push_back(tensor.name);
  return names;
}

bool SafeTensors::contains(std::string_view name) const { return find(name) != nullptr; }

const TensorInfo& SafeTensors::info(std::string_view name) const {
  if (const TensorInfo* found = find(name)) return *found;
  constexpr std::size_t kShown = 3;
  std::vector<std::string> some;
  for (std::size_t i = 0; i < std::min(kShown, tensors_.size()); ++i) some.push_back(in_quotes(tensors_[i].name));
  throw Error(fmt::format("{}: there is no tensor {}; it holds {}: {}{}", where_, in_quotes(name), tensors_.size(),
                          fmt::join(some, ", "), tensors_.size() > kShown ? ", …" : ""));
}

Tensor SafeTensors::tensor(std::string_view name) const {
  const TensorInfo& found = info(name);
  const InputFile& source = files_[found.file];
  if (!found.dtype) {
    throw Error(fmt::format(
        "{}: tensor {} is stored as {}; expected a dtype that can be computed with: convert it to F32, F16 or BF16",
        source.name(), in_quotes(name), found.stored_as));
  }
  Tensor tensor(*found.dtype, found.shape);
  const std::span bytes(static_cast<std::byte*>(tensor.raw()), static_cast<std::size_t>(tensor.bytes()));
  source.read(found.begin, bytes);
  if (*found.dtype == DType::Bool) require_truth_values(source.name(), found.name, bytes);
  return tensor;
}

}  // namespace fovea::io
