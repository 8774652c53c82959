#include "models/pooling.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "io/embedded.hpp"
#include "io/json.hpp"
#include "io/quote.hpp"
#include "models/checkpoint.hpp"
#include "nn/linear.hpp"
#include "ops/pointwise.hpp"

namespace fovea::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Named {
  Reduce reduce;
  const char *flag, *mode, *shown;  // its key in older configs, its name in newer ones
};
constexpr Named kReductions[] = {
    {Reduce::Cls, "pooling_mode_cls_token", "cls", "first token"},
    {Reduce::Max, "pooling_mode_max_tokens", "max", "maximum over tokens"},
    {Reduce::Mean, "pooling_mode_mean_tokens", "mean", "mean over tokens"},
    {Reduce::MeanSqrtLength, "pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", "sum over tokens / sqrt of their number"},
    {Reduce::WeightedMean, "pooling_mode_weightedmean_tokens", "weightedmean", "mean over tokens weighted by position"},
    {Reduce::LastToken, "pooling_mode_lasttoken", "lasttoken", "last token"},
};

/// to [width] = one reduction of rows [n, width]. Sums in double: a mean over 512 tokens costs nothing beside the model.
void reduce_rows(Reduce how, const float* rows, std::int64_t n, std::int64_t width, float* to) {
  if (how == Reduce::Cls || how == Reduce::LastToken) {
    std::copy_n(rows + (how == Reduce::Cls ? 0 : (n - 1) * width), width, to);
    return;
  }
  const double count = static_cast<double>(n);
  const double divisor = how == Reduce::Mean ? count : how == Reduce::MeanSqrtLength ? std::sqrt(count) : count * (count + 1) / 2;
  for (std::int64_t c = 0; c < width; ++c) {
    double sum = 0;
    float most = -std::numeric_limits<float>::infinity();
    for (std::int64_t i = 0; i < n; ++i) {
      const float x = rows[i * width + c];
      sum += (how == Reduce::WeightedMean ? static_cast<double>(i + 1) : 1.0) * static_cast<double>(x);
      if (x > most || std::isnan(x)) most = x;  // a NaN stays
    }
    to[c] = how == Reduce::Max ? most : static_cast<float>(sum / divisor);
  }
}

/// Rows divided by their Euclidean length, or by 1e-12 where that is longer (as torch.nn.functional.normalize).
Tensor normalised(Tensor x) {
  const std::int64_t width = x.shape()[1];
  for (std::int64_t r = 0; r < x.shape()[0]; ++r) {
    float* row = x.data<float>() + r * width;
    double squares = 0;
    for (std::int64_t c = 0; c < width; ++c) squares += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    const double length = std::max(std::sqrt(squares), 1e-12);
    for (std::int64_t c = 0; c < width; ++c) row[c] = static_cast<float>(static_cast<double>(row[c]) / length);
  }
  return x;
}

/// What a class path ends with: "torch.nn.modules.activation.Tanh" → "Tanh".
std::string_view last_part(std::string_view path) {
  const auto dot = path.rfind('.');
  return dot == path.npos ? path : path.substr(dot + 1);
}

Activation torch_activation(const std::string& path, const fs::path& file) {
  struct Torch { std::string_view name; Activation activation; };
  static constexpr Torch kKnown[] = {{"Identity", Activation::Identity}, {"Tanh", Activation::Tanh},       {"ReLU", Activation::Relu},
                                     {"GELU", Activation::Gelu},         {"Sigmoid", Activation::Sigmoid}, {"SiLU", Activation::Silu}};
  const auto known = std::ranges::find(kKnown, last_part(path), &Torch::name);
  if (known != std::end(kKnown)) return known->activation;
  throw Error(fmt::format("{}: activation_function {} is not supported; known are Identity, Tanh, ReLU, GELU, Sigmoid, SiLU", file.string(),
                          io::in_quotes(path)));
}

/// The folder of a module: below the model's, whatever modules.json would like.
fs::path module_folder(const fs::path& folder, const std::string& path, const fs::path& file) {
  const bool plain = path.find_first_of("/\\") == path.npos && path != "." && path != ".." && path.find('\0') == path.npos;
  if (!plain) throw Error(fmt::format("{}: path {} is no plain folder name; expected one like \"1_Pooling\"", file.string(), io::in_quotes(path)));
  return folder / path;
}

std::vector<std::string> chosen_modes(const json& config, const fs::path& file) {
  const auto mode = config.find("pooling_mode");
  if (mode != config.end() && mode->is_string()) return {mode->get<std::string>()};
  if (mode != config.end() && !mode->is_null()) return io::required<std::vector<std::string>>(config, "pooling_mode", file);
  std::vector<std::string> modes;
  for (const Named& n : kReductions)
    if (io::optional_or<bool>(config, n.flag, false, file)) modes.emplace_back(n.mode);
  return modes;
}

}  // namespace

Pooling Pooling::load(const fs::path& folder, int width) {
  Pooling pooling;
  const fs::path file = folder / "modules.json";
  if (!io::is_there(file)) {
    pooling.reductions_ = {Reduce::Mean};
    pooling.width_ = width;
    pooling.description_ = "mean over tokens (the folder has no modules.json)";
    return pooling;
  }
  const json modules = io::read_json(file);
  if (!modules.is_array()) throw Error(fmt::format("{}: is a JSON {}; expected a list of modules", file.string(), modules.type_name()));
  for (const json& module : modules) {
    if (!module.is_object()) throw Error(fmt::format("{}: a module is a JSON {}; expected an object", file.string(), module.type_name()));
    const auto type = io::required<std::string>(module, "type", file), path = io::required<std::string>(module, "path", file);
    pooling.read_module(module_folder(folder, path, file), last_part(type), width);
  }
  if (pooling.reductions_.empty()) throw Error(fmt::format("{}: has no Pooling module; expected one", file.string()));
  pooling.description_ += " (modules.json)";
  return pooling;
}

void Pooling::read_module(const fs::path& folder, std::string_view type, int hidden_width) {
  if (type == "Transformer" || type == "Dropout") return;  // the model itself; nothing at all outside of training
  if (type == "Pooling" && reductions_.empty()) return read_pooling(folder, hidden_width);
  const bool follows = !reductions_.empty();
  if (type == "Dense" && follows) return read_dense(folder);
  if (type == "Normalize" && follows) {
    steps_.emplace_back(normalised);
    description_ += ", then normalised";
    return;
  }
  throw Error(fmt::format("{}: module {} is not supported here; expected Transformer, Pooling, then any of Dense, Normalize, Dropout",
                          (folder.parent_path() / "modules.json").string(), io::in_quotes(type)));
}

void Pooling::read_pooling(const fs::path& folder, int width) {
  const fs::path file = folder / "config.json";
  const json config = io::read_json(file);
  for (const char* key : {"word_embedding_dimension", "embedding_dimension"}) {
    const int told = io::optional_or<int>(config, key, width, file);
    if (told != width) throw Error(fmt::format("{}: {} is {} and the model's hidden_size is {}; expected the same", file.string(), key, told, width));
  }
  const std::vector<std::string> modes = chosen_modes(config, file);
  for (const std::string& mode : modes) {
    if (std::ranges::none_of(kReductions, [&](const Named& n) { return mode == n.mode; }))
      throw Error(fmt::format("{}: pooling mode {} is not supported; known are cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken",
                              file.string(), io::in_quotes(mode)));
  }
  for (const Named& n : kReductions) {  // concatenated in this order, whatever order they were named in
    if (std::ranges::find(modes, n.mode) == modes.end()) continue;
    reductions_.push_back(n.reduce);
    description_ += (description_.empty() ? "" : " | ") + std::string(n.shown);
  }
  if (reductions_.empty()) throw Error(fmt::format("{}: chooses no pooling mode; expected at least one pooling_mode_… to be true", file.string()));
  width_ = width * static_cast<int>(reductions_.size());
}

void Pooling::read_dense(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  const json config = io::read_json(file);
  const int in = io::required<int>(config, "in_features", file), out = io::required<int>(config, "out_features", file, {1, 1 << 30});
  if (in != width_) throw Error(fmt::format("{}: in_features is {} and the vector that comes in has {}; expected the same", file.string(), in, width_));
  const auto name = io::optional_or<std::string>(config, "activation_function", "torch.nn.modules.activation.Tanh", file);
  const Activation activation = torch_activation(name, file);
  const nn::Bias bias = io::optional_or<bool>(config, "bias", true, file) ? nn::Bias::Present : nn::Bias::None;
  const Checkpoint checkpoint(folder);
  const nn::Linear dense(nn::Weights(checkpoint) / "linear", in, out, bias);
  steps_.emplace_back([dense, activation](const Tensor& x) { return activate(dense(x), activation); });  // [sequences, out]
  width_ = out;
  description_ += fmt::format(", then Dense to {} ({})", out, last_part(name));
}

Tensor Pooling::operator()(const Result& result) const {
  const std::int64_t width = result.hidden.shape()[1], reductions = std::ssize(reductions_);
  Tensor x(DType::F32, {std::ssize(result.ends), reductions * width});
  float* to = x.data<float>();
  int begin = 0;
  for (const int end : result.ends) {
    for (const Reduce how : reductions_) {
      reduce_rows(how, result.hidden.data<float>() + begin * width, end - begin, width, to);
      to += width;
    }
    begin = end;
  }
  for (const auto& step : steps_) x = step(std::move(x));
  return x;
}

}  // namespace fovea::models
