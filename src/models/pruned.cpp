#include "models/pruned.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include <fmt/format.h>

#include <fovea/tensor.hpp>

#include "io/json.hpp"
#include "io/output_file.hpp"
#include "io/quote.hpp"
#include "io/safetensors.hpp"
#include "io/safetensors_writer.hpp"
#include "models/config.hpp"

namespace fovea::models {
namespace {

namespace fs = std::filesystem;

/// Heads by the numbers that they had before any was pruned: pruned_heads counts so.
std::vector<int> first_numbers(const nlohmann::json& config, int layer, int heads) {
  std::vector<int> left;
  const auto map = config.find("pruned_heads");
  const std::string key = std::to_string(layer);
  const bool some = map != config.end() && map->is_object() && map->contains(key);
  for (int h = 0; h < heads; ++h)
    if (!some || std::ranges::find(map->at(key), nlohmann::json(h)) == map->at(key).end()) left.push_back(h);
  return left;
}

/// `t` [rows] or [rows, columns] without those runs of `dim` rows (or columns) that are among `heads`.
Tensor without_heads(const Tensor& t, const std::set<int>& heads, std::int64_t dim, bool columns) {
  const std::int64_t rows = t.shape()[0], width = t.shape().rank() == 2 ? t.shape()[1] : 1, bytes = size_of(t.dtype());
  const std::int64_t gone = dim * std::ssize(heads);
  Shape shape = t.shape();
  shape[columns ? 1 : 0] -= gone;
  Tensor cut(t.dtype(), shape);
  const auto* from = static_cast<const std::byte*>(t.raw());
  auto* to = static_cast<std::byte*>(cut.raw());
  const std::int64_t run = columns ? dim * bytes : dim * width * bytes;  // of one head in one row, or in all
  for (std::int64_t r = 0; r < (columns ? rows : 1); ++r)
    for (std::int64_t h = 0; h < (columns ? width : rows) / dim; ++h, from += run)
      if (!heads.contains(static_cast<int>(h))) to = std::copy_n(from, run, to);
  return cut;
}

/// The layer that a tensor of an attention belongs to, and whether heads are its columns; no layer for all others.
struct Place {
  int layer = -1;
  bool columns = false;
};
Place place_of(const std::string& name, int layers) {
  const std::size_t at = name.find("encoder.layer.");
  if (at == name.npos) return {};
  for (int layer = 0; layer < layers; ++layer) {
    const std::string scope = fmt::format("encoder.layer.{}.attention.", layer);
    if (name.compare(at, scope.size(), scope) != 0) continue;
    const std::string rest = name.substr(at + scope.size());
    for (const char* part : {"self.query.", "self.key.", "self.value."})
      if (rest.starts_with(part)) return {layer, false};
    if (rest == "output.dense.weight") return {layer, true};
  }
  return {};
}

/// Texts beside the weights, and folders with whatever they hold; weights in other formats would not be pruned.
void copy_rest(const fs::path& folder, const fs::path& out) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const fs::path name = entry.path().filename();
    const std::string kind = name.extension().string();
    const bool text = kind == ".json" || kind == ".txt" || kind == ".model";
    const bool replaced = name == "config.json" || name.string().ends_with(".index.json");
    const bool pooling = entry.is_directory() && fs::exists(entry.path() / "config.json");
    if (!((entry.is_regular_file() && text && !replaced) || pooling)) continue;
    std::error_code error;
    fs::copy(entry.path(), out / name, fs::copy_options::overwrite_existing | fs::copy_options::recursive, error);
    if (error)
      throw Error(fmt::format("{}: cannot be copied to {} ({})", entry.path().string(), out.string(), error.message()));
  }
}

}  // namespace

void check_prunable(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  const auto type = io::required<std::string>(io::read_json(file), "model_type", file);
  if (type == "bert") return;
  throw Error(fmt::format(
      "{}: model_type {}: its format has one number of heads for all layers, so a folder without some heads cannot be "
      "written (BERT's can); leave out -o to see the curve alone",
      file.string(), io::in_quotes(type)));
}

void write_pruned(const fs::path& folder, const std::map<int, std::set<int>>& heads, const fs::path& out) {
  check_prunable(folder);
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(io::read_json(folder / "config.json").dump());
  const nlohmann::json plain = io::read_json(folder / "config.json");
  const BertConfig checked = bert_config(plain, folder / "config.json");
  std::error_code error;
  if (fs::equivalent(folder, out, error))
    throw Error(fmt::format("{}: is the model itself; give another folder to write the pruned one to", out.string()));
  for (const auto& [layer, gone] : heads) {
    const std::vector<int> numbers = first_numbers(plain, layer, checked.heads);
    if (std::ssize(gone) >= std::ssize(numbers))
      throw Error(fmt::format("layer {} would have no head left; each layer keeps at least one", layer));
    for (const int h : gone)
      config["pruned_heads"][std::to_string(layer)].push_back(numbers.at(static_cast<std::size_t>(h)));
  }
  fs::create_directories(out, error);
  if (!fs::is_directory(out))
    throw Error(fmt::format("{}: cannot be made a folder ({}); give another with -o", out.string(), error.message()));

  const io::SafeTensors source(folder);
  std::vector<Tensor> kept;  // the memory that `named` views
  std::vector<io::NamedTensor> named;
  kept.reserve(source.tensors().size());
  for (const std::string& name : source.names()) {
    const Place place = place_of(name, checked.layers);
    Tensor t = source.tensor(name);
    if (const auto found = heads.find(place.layer); found != heads.end())
      t = without_heads(t, found->second, checked.width / checked.heads, place.columns);
    named.push_back({name, kept.emplace_back(std::move(t)).view()});
  }
  copy_rest(folder, out);
  io::write_file(out / "config.json", config.dump(2) + "\n");
  io::write_safetensors(out / "model.safetensors", named, {{"format", "pt"}});
}

}  // namespace fovea::models
