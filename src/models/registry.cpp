// From a folder to a model: its config.json says of which family it is. A new family is one row of the table below.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "io/embedded.hpp"
#include "io/json.hpp"
#include "io/quote.hpp"
#include "models/bert.hpp"
#include "models/marian.hpp"
#include "models/recurrent.hpp"

namespace fovea::models {
namespace {

/// A family reads, or reads and writes.
struct Family {
  const char* model_type;
  std::unique_ptr<Encoder> (*encoder)(const std::filesystem::path& folder, const nlohmann::json& config);
  std::unique_ptr<EncoderDecoder> (*encoder_decoder)(const std::filesystem::path& folder, const nlohmann::json& config);
};

constexpr Family kFamilies[] = {
    {"bert", load_bert, nullptr},
    {"marian", nullptr, load_marian},
    {"bart", nullptr, load_marian},
    {"fovea_recurrent", nullptr, load_recurrent},
};

struct Found {
  nlohmann::json config;
  const Family* family;
};

Found family_of(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  if (!io::is_folder(folder)) {
    throw Error(fmt::format("{}: no such folder; expected a model in Hugging Face layout (config.json, model.safetensors, tokenizer.json)",
                            folder.string()));
  }
  if (!io::is_there(file)) {
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
  return {config, &*family};
}

}  // namespace

std::vector<std::string> families() {
  std::vector<std::string> names;
  std::ranges::transform(kFamilies, std::back_inserter(names), &Family::model_type);
  return names;
}

bool is_encoder_decoder(const std::filesystem::path& folder) { return family_of(folder).family->encoder_decoder != nullptr; }

std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& folder) {
  const auto [config, family] = family_of(folder);
  return family->encoder ? family->encoder(folder, config) : encoder_half(family->encoder_decoder(folder, config));
}

std::unique_ptr<EncoderDecoder> load_encoder_decoder(const std::filesystem::path& folder) {
  const auto [config, family] = family_of(folder);
  if (family->encoder_decoder) return family->encoder_decoder(folder, config);
  std::vector<std::string> writers;
  for (const Family& f : kFamilies)
    if (f.encoder_decoder) writers.emplace_back(f.model_type);
  throw Error(fmt::format("{}: model_type \"{}\" only reads; to write a text takes an encoder–decoder ({})",
                          (folder / "config.json").string(), family->model_type, fmt::join(writers, ", ")));
}

}  // namespace fovea::models
