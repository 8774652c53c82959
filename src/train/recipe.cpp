#include "train/recipe.hpp"

#include <algorithm>
#include <initializer_list>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "io/json.hpp"
#include "io/quote.hpp"

namespace fovea::train {
namespace tables {
extern const std::string_view demo_recipe;
}
namespace {

using nlohmann::json;

/// One object of a recipe: typed reading of its keys, and a complaint about those that nobody knows.
class Section {
 public:
  Section(const json& recipe, const char* name, const std::filesystem::path& file,
          std::initializer_list<std::string_view> known)
      : file_(file) {
    if (*name == '\0')
      values_ = recipe;
    else if (recipe.contains(name))
      values_ = recipe.at(name);
    else
      values_ = json::object();
    if (!values_.is_object())
      throw Error(fmt::format("{}: {} is a JSON {}; expected an object", file.string(), *name ? name : "the recipe",
                              values_.type_name()));
    for (const auto& [key, value] : values_.items())
      if (std::ranges::find(known, key) == known.end())
        throw Error(fmt::format("{}: {} is no key of {}; known are {}", file.string(), io::in_quotes(key),
                                *name ? name : "a recipe", fmt::join(known, ", ")));
  }
  bool has(const char* key) const { return values_.contains(key); }
  template <class T>
  void read(const char* key, T& value, io::Range<T> range) const {
    value = io::optional_or<T>(values_, key, value, file_, range);
  }
  std::string text(const char* key) const { return io::required<std::string>(values_, key, file_); }
  std::string text_or(const char* key, const char* otherwise) const {
    return io::optional_or<std::string>(values_, key, otherwise, file_);
  }
  void read_seed(std::uint64_t& seed) const {
    seed = static_cast<std::uint64_t>(
        io::optional_or<std::int64_t>(values_, "seed", static_cast<std::int64_t>(seed), file_, {0}));
  }

 private:
  const std::filesystem::path& file_;
  json values_;
};

void read_data(const json& recipe, const std::filesystem::path& file, Recipe& r) {
  const Section data(
      recipe, "data", file,
      {"language", "pairs", "seed", "longest", "held_out", "source", "target", "tokenizer", "vocabulary"});
  data.read("pairs", r.pairs, {1, 10'000'000});
  data.read_seed(r.data_seed);
  data.read("longest", r.longest, {0, 1 << 20});
  data.read("held_out", r.held_out, {0, 1'000'000});
  if (data.has("source") || data.has("target") || data.has("tokenizer") || data.has("vocabulary")) {
    const auto path = [&](const char* key) { return file.parent_path() / data.text(key); };
    r.files = TextFiles{path("source"), path("target"), data.has("tokenizer") ? path("tokenizer") : ""};
    if (data.has("tokenizer") && data.has("vocabulary"))
      throw Error(fmt::format(
          "{}: \"vocabulary\" is of a tokenizer that is learnt, and \"tokenizer\" names one; give one of them",
          file.string()));
    data.read("vocabulary", r.files->vocabulary, {4, 1 << 20});
  } else if (const std::string language = data.text_or("language", "demo"); language != "demo") {
    throw Error(fmt::format("{}: language is {}; expected \"demo\", or source and target, which name files",
                            file.string(), io::in_quotes(language)));
  }
}

constexpr int kMost = 1 << 16;

void read_marian(const json& recipe, const std::filesystem::path& file, MarianSizes& m) {
  const Section model(
      recipe, "model", file,
      {"family", "width", "feed_forward", "heads", "encoder_layers", "decoder_layers", "positions", "dropout"});
  model.read("width", m.width, {2, kMost});
  model.read("feed_forward", m.feed_forward, {1, kMost});
  model.read("heads", m.heads, {1, kMost});
  model.read("encoder_layers", m.encoder_layers, {1, 1000});
  model.read("decoder_layers", m.decoder_layers, {1, 1000});
  model.read("positions", m.positions, {2, 1 << 20});
  model.read("dropout", m.dropout, {0, 0.99});
  if (m.width % m.heads != 0)
    throw Error(
        fmt::format("{}: width is {} and heads is {}; expected a multiple of it", file.string(), m.width, m.heads));
}

void read_recurrent(const json& recipe, const std::filesystem::path& file, RecurrentSizes& m) {
  const Section model(recipe, "model", file, {"family", "attention", "width", "positions", "dropout"});
  const std::string attention = model.text_or("attention", "additive");
  if (attention != "additive" && attention != "none")
    throw Error(
        fmt::format("{}: attention is {}; expected \"additive\" or \"none\"", file.string(), io::in_quotes(attention)));
  m.attention = attention == "additive";
  model.read("width", m.width, {2, kMost});
  model.read("positions", m.positions, {2, 1 << 20});
  model.read("dropout", m.dropout, {0, 0.99});
  if (m.width % 2 != 0)
    throw Error(
        fmt::format("{}: width is {}; expected an even number, half of it for each direction", file.string(), m.width));
}

void read_model(const json& recipe, const std::filesystem::path& file, Recipe& r) {
  const auto model = recipe.find("model");
  const bool named = model != recipe.end() && model->is_object() && model->contains("family");
  const std::string family = named ? io::required<std::string>(*model, "family", file) : "marian";
  if (family == "recurrent") return read_recurrent(recipe, file, r.recurrent.emplace());
  if (family == "marian") return read_marian(recipe, file, r.model);
  throw Error(
      fmt::format("{}: family is {}; expected \"marian\" or \"recurrent\"", file.string(), io::in_quotes(family)));
}

Fall fall_of(const std::string& name, const std::filesystem::path& file) {
  if (name == "linear") return Fall::Linear;
  if (name == "cosine") return Fall::Cosine;
  if (name == "inverse_root") return Fall::InverseRoot;
  throw Error(fmt::format("{}: schedule is {}; expected \"linear\", \"cosine\" or \"inverse_root\"", file.string(),
                          io::in_quotes(name)));
}

Products products_of(const std::string& name, const std::filesystem::path& file) {
  if (name == "f32") return Products::F32;
  if (name == "bf16") return Products::Bf16;
  throw Error(fmt::format("{}: products is {}; expected \"f32\" or \"bf16\"", file.string(), io::in_quotes(name)));
}

void read_training(const json& recipe, const std::filesystem::path& file, Recipe& r) {
  const Section t(recipe, "training", file,
                  {"seed",
                   "steps",
                   "tokens_per_batch",
                   "accumulate",
                   "learning_rate",
                   "schedule",
                   "warmup",
                   "hold",
                   "beta1",
                   "beta2",
                   "eps",
                   "weight_decay",
                   "clip",
                   "label_smoothing",
                   "shift",
                   "shift_chance",
                   "products",
                   "report_every",
                   "checkpoint_every",
                   "evaluate_every"});
  constexpr std::int64_t kMost = 1'000'000'000;
  t.read_seed(r.seed);
  r.step.seed = r.seed;
  t.read("steps", r.schedule.steps, {1, kMost});
  t.read("tokens_per_batch", r.tokens_per_batch, {2, 1 << 24});
  t.read("accumulate", r.step.accumulate, {1, 10'000});
  t.read("learning_rate", r.schedule.peak, {0, 10});
  r.schedule.fall = fall_of(t.text_or("schedule", "linear"), file);
  t.read("warmup", r.schedule.warmup, {0, kMost});
  t.read("hold", r.schedule.hold, {0, 0.999});
  t.read("beta1", r.optimiser.beta1, {0, 0.999999});
  t.read("beta2", r.optimiser.beta2, {0, 0.999999});
  t.read("eps", r.optimiser.eps, {0, 1});
  t.read("weight_decay", r.optimiser.weight_decay, {0, 10});
  t.read("clip", r.step.clip, {0, 1e9});
  t.read("label_smoothing", r.step.label_smoothing, {0, 0.99f});
  t.read("shift", r.step.shift, {0, 1 << 20});
  t.read("shift_chance", r.step.shift_chance, {0, 1});
  r.step.products = products_of(t.text_or("products", "f32"), file);
  t.read("report_every", r.report_every, {1, kMost});
  t.read("checkpoint_every", r.checkpoint_every, {1, kMost});
  t.read("evaluate_every", r.evaluate_every, {0, kMost});
  if (r.evaluate_every > 0 && r.held_out == 0)
    throw Error(fmt::format("{}: evaluate_every is {} and nothing is held out; give data a \"held_out\" of 100 or so",
                            file.string(), r.evaluate_every));
}

}  // namespace

Recipe recipe_of(const json& recipe, const std::filesystem::path& file) {
  const Section all(recipe, "", file, {"data", "model", "training"});
  Recipe r;
  read_data(recipe, file, r);
  read_model(recipe, file, r);
  read_training(recipe, file, r);
  return r;
}

Recipe read_recipe(const std::filesystem::path& file) { return recipe_of(io::read_json(file), file); }
std::string_view demo_recipe_text() { return tables::demo_recipe; }

}  // namespace fovea::train
