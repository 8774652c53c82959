// From a folder to a model: its config.json says which family reads it. A new family is one row of the table below.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "io/json.hpp"
#include "io/quote.hpp"
#include "models/bert.hpp"

namespace fovea::models {
namespace {

struct Family {
  const char* model_type;
  std::unique_ptr<Encoder> (*load)(const std::filesystem::path& folder, const nlohmann::json& config);
};

constexpr Family kFamilies[] = {
    {"bert", load_bert},
};

}  // namespace

std::vector<std::string> families() {
  std::vector<std::string> names;
  std::ranges::transform(kFamilies, std::back_inserter(names), &Family::model_type);
  return names;
}

std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    throw Error(fmt::format("{}: no such folder; expected a model in Hugging Face layout (config.json, model.safetensors, tokenizer.json)",
                            folder.string()));
  }
  if (!std::filesystem::exists(file, error)) {
    throw Error(fmt::format("{}: there is no config.json in this folder; expected a model in Hugging Face layout", folder.string()));
  }
  const nlohmann::json config = io::read_json(file);
  if (!config.is_object()) throw Error(fmt::format("{}: is a JSON {}; expected an object", file.string(), config.type_name()));
  const auto type = io::required<std::string>(config, "model_type", file);
  const auto family = std::ranges::find(kFamilies, type, [](const Family& f) { return std::string(f.model_type); });
  if (family == std::end(kFamilies)) {
    throw Error(fmt::format("{}: model_type {} is not supported; known families: {}", file.string(), io::in_quotes(type),
                            fmt::join(families(), ", ")));
  }
  return family->load(folder, config);
}

}  // namespace fovea::models
