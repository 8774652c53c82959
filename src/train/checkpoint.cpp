#include "train/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/output_file.hpp"
#include "io/quote.hpp"
#include "io/safetensors.hpp"
#include "io/safetensors_writer.hpp"
#include "train/new_model.hpp"

namespace fovea::train {
namespace {

constexpr const char *kStateFile = "training.safetensors", *kModelFile = "model.safetensors";

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!std::filesystem::is_directory(folder))
    throw Error(
        fmt::format("{}: cannot be made a folder ({}); give another with -o", folder.string(), error.message()));
}

void write_json(const std::filesystem::path& path, const nlohmann::ordered_json& json) {
  io::write_file(path, json.dump(2) + "\n");
}

/// Tensors of one kind out of a state's file: "first.model.shared.weight" → "model.shared.weight".
NamedTensors tensors_below(const io::SafeTensors& file, const std::string& scope) {
  NamedTensors tensors;
  for (const std::string& name : file.names())
    if (name.starts_with(scope)) tensors.emplace(name.substr(scope.size()), file.tensor(name));
  return tensors;
}

/// " (training.steps was 100 and is 200)"; empty when the texts are no JSON.
std::string first_difference(const std::string& was, const std::string& is) {
  const auto then = nlohmann::json::parse(was, nullptr, false), now = nlohmann::json::parse(is, nullptr, false);
  if (then.is_discarded() || now.is_discarded()) return "";
  const nlohmann::json changes = nlohmann::json::diff(then, now);
  if (changes.empty()) return "";
  const nlohmann::json::json_pointer at(changes[0].at("path").get<std::string>());
  std::string key = at.to_string().substr(at.empty() ? 0 : 1);
  std::ranges::replace(key, '/', '.');
  const auto value = [&](const nlohmann::json& recipe) {
    return recipe.contains(at)
               ? io::escaped(recipe.at(at).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
               : "not set";
  };
  return fmt::format(" ({} was {} and is {})", io::escaped(key), value(then), value(now));
}

/// What is left to somebody whose state of training can't be read: nobody else has it.
std::string instead_of_state(const std::filesystem::path& folder) {
  const std::filesystem::path model = folder / kModelFile;
  try {
    const io::SafeTensors whole(model);
    return fmt::format(
        "training cannot go on from it; {} beside it is whole, and what was learnt is there: use it, or train "
        "anew (fovea train … --fresh)",
        model.filename().string());
  } catch (const Error&) { return "training cannot go on from it: train anew (fovea train … --fresh)"; }
}

/// The state's file; what is wrong with it is told without advice for files that others made.
io::SafeTensors open_state(const std::filesystem::path& folder) {
  try {
    return io::SafeTensors(folder / kStateFile);
  } catch (const Error& error) {
    const std::string_view what = error.what();
    throw Error(fmt::format("{}; {}", what.substr(0, what.find(": fetch or make it again")), instead_of_state(folder)));
  }
}

}  // namespace

void write_model(const std::filesystem::path& folder, const Recipe& recipe, const std::string& tokenizer_json,
                 const NamedTensors& parameters, const NamedTensors& buffers, DType dtype) {
  make_folder(folder);
  std::vector<Tensor> converted;  // keeps the memory that `named` views
  std::vector<io::NamedTensor> named;
  converted.reserve(parameters.size() + buffers.size());
  for (const NamedTensors* kind : {&parameters, &buffers})
    for (const auto& [name, tensor] : *kind) named.push_back({name, converted.emplace_back(tensor.to(dtype)).view()});
  nlohmann::ordered_json config = config_json(recipe);
  config["dtype"] = dtype == DType::F16 ? "float16" : dtype == DType::BF16 ? "bfloat16" : "float32";
  // The weights come last: while the old ones are there, a folder that is read in between is of one piece but for texts
  // that never change.
  write_json(folder / "config.json", config);
  write_json(folder / "generation_config.json", generation_json(recipe));
  write_json(folder / "tokenizer_config.json", {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                                {"pad_token", "<pad>"},
                                                {"eos_token", "</s>"},
                                                {"unk_token", "<unk>"},
                                                {"model_max_length", recipe.positions()}});
  io::write_file(folder / "tokenizer.json", tokenizer_json);
  io::write_safetensors(folder / kModelFile, named, {{"format", "pt"}});
}

void write_state(const std::filesystem::path& folder, const State& state, const std::string& recipe) {
  make_folder(folder);
  std::vector<io::NamedTensor> named;
  const auto all_of = [&](const char* scope, const NamedTensors& tensors) {
    for (const auto& [name, tensor] : tensors) named.push_back({scope + name, tensor.view()});
  };
  all_of("parameter.", state.parameters), all_of("first.", state.first), all_of("second.", state.second);
  io::write_safetensors(folder / kStateFile, named, {{"step", std::to_string(state.step)}, {"recipe", recipe}});
}

void check_writable(const std::filesystem::path& folder) {
  make_folder(folder);
  const io::OutputFile probe(folder / kStateFile);  // is never committed, so leaves nothing
}

bool has_state(const std::filesystem::path& folder) { return std::filesystem::exists(folder / kStateFile); }
bool has_model(const std::filesystem::path& folder) { return std::filesystem::exists(folder / kModelFile); }

void remove_state(const std::filesystem::path& folder) {
  std::error_code error;  // a folder that keeps it is still a model
  std::filesystem::remove(folder / kStateFile, error);
}

State read_state(const std::filesystem::path& folder, const std::string& recipe) {
  const std::filesystem::path path = folder / kStateFile;
  const io::SafeTensors file = open_state(folder);
  const auto& metadata = file.metadata();
  const auto step = metadata.find("step"), from = metadata.find("recipe");
  if (step == metadata.end() || from == metadata.end())
    throw Error(fmt::format("{}: holds no state of training (no step, no recipe); start anew in another folder",
                            path.string()));
  if (from->second != recipe)
    throw Error(
        fmt::format("{}: was made by another recipe than this{}; resume with that one, or start anew in another folder",
                    path.string(), first_difference(from->second, recipe)));
  State state;
  const std::string& digits = step->second;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), state.step);
  if (error != std::errc() || end != digits.data() + digits.size() || state.step < 0)
    throw Error(fmt::format("{}: step is \"{}\"; expected a whole number", path.string(), digits));
  state.parameters = tensors_below(file, "parameter.");
  state.first = tensors_below(file, "first.");
  state.second = tensors_below(file, "second.");
  return state;
}

}  // namespace fovea::train
