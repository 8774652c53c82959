// fovea study learning: pictures of a Transformer while it learns what "it" is.
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/json.hpp"
#include "io/output_file.hpp"
#include "study.hpp"
#include "table.hpp"
#include "train/film.hpp"

namespace fovea::cli {
namespace {

constexpr const char* kFilmFile = "film.json";
constexpr int kSentences = 128;
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();  // the loss before the first report

Json to_json(const train::Frame& f) {
  return {{"step", f.step},
          {"loss", f.loss},
          {"pronouns", f.pronouns},
          {"effect", f.effect},
          {"textbook", {{"weight", f.weight}, {"strongest", f.strongest}, {"effect", f.textbook_effect}}}};
}

/// What an earlier run filmed up to this step.
std::vector<train::Frame> frames_in(const std::filesystem::path& file, std::int64_t until) {
  std::vector<train::Frame> frames;
  if (!std::filesystem::exists(file)) return frames;
  const nlohmann::json film = io::read_json(file);
  try {
    for (const nlohmann::json& f : film.at("frames")) {
      const nlohmann::json& textbook = f.at("textbook");
      frames.push_back({f.at("step"), f.at("loss").is_null() ? kUnknown : f.at("loss").get<double>(), f.at("pronouns"),
                        f.at("effect"), textbook.at("effect"), textbook.at("weight"), textbook.at("strongest")});
      if (frames.back().step > until) return frames.pop_back(), frames;
    }
  } catch (const nlohmann::json::exception&) {
    throw Error(fmt::format("{}: is no film of this study; start anew in another folder (--models)", file.string()));
  }
  return frames;
}

Json film_json(const std::vector<train::Frame>& frames) {
  Json all = Json::array();
  for (const train::Frame& f : frames) all.push_back(to_json(f));
  return {{"study", "learning"}, {"frames", std::move(all)}};
}

Chart chart_of(const std::vector<train::Frame>& frames) {
  Series pronouns{.name = "pronouns right", .points = {}},
      weight{.name = "largest weight of it → animal", .points = {}},
      effect{.name = "effect of it → its noun", .points = {}, .on_right = true};
  for (const train::Frame& f : frames) {
    const auto step = static_cast<double>(f.step);
    pronouns.points.emplace_back(step, 100 * f.pronouns);
    weight.points.emplace_back(step, 100 * f.strongest);
    effect.points.emplace_back(step, f.effect);
  }
  return {.title = "Attention is learnt: what \"it\" is",
          .x_label = "training steps",
          .y_label = "%",
          .right_label = "fall of log-odds without the edge, nats",
          .series = {pronouns, weight, effect},
          .y_range = {{0, 100}}};
}

void print_frames(const std::vector<train::Frame>& frames) {
  Table table({{"step", true},
               {"loss", true},
               {"pronouns %", true},
               {"effect", true},
               {"it → animal: mean", true},
               {"largest", true},
               {"effect", true}});
  const std::size_t stride = std::max<std::size_t>(1, frames.size() / 16);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (i % stride != 0 && i + 1 != frames.size()) continue;
    const train::Frame& f = frames[i];
    table.row({std::to_string(f.step), std::isnan(f.loss) ? "–" : fmt::format("{:.3f}", f.loss),
               fmt::format("{:.1f}", 100 * f.pronouns), fmt::format("{:+.2f}", f.effect),
               fmt::format("{:.3f}", f.weight), fmt::format("{:.3f}", f.strongest),
               fmt::format("{:+.2f}", f.textbook_effect)});
  }
  table.print();
  fmt::print("\n");
}

}  // namespace

void study_learning(const StudyOptions& o) {
  Json json = Json::parse(train::demo_recipe_text());
  json["training"]["steps"] = o.steps ? *o.steps : o.quick ? 2000 : json["training"]["steps"].get<int>();
  if (o.seed) json["training"]["seed"] = *o.seed;
  const nlohmann::json recipe = nlohmann::json::parse(json.dump());
  const std::int64_t every = o.every.value_or(100);
  const std::filesystem::path folder = o.place(), file = folder / kFilmFile;
  const train::Film film(o.sentences.value_or(kSentences));
  std::optional<std::vector<train::Frame>> frames;
  const Learnt learnt = learn("Transformer", train::recipe_of(recipe, "demo"), recipe.dump(), folder,
                              [&](const train::Training& training, const train::Progress& progress) {
                                if (!frames) frames = frames_in(file, training.step() - 1);
                                if (training.step() % every != 0 && training.step() != 1) return;
                                train::Frame frame = film.picture(training.model());
                                frame.step = training.step(), frame.loss = progress.step > 0 ? progress.loss : kUnknown;
                                frames->push_back(frame);
                                io::write_file(file, film_json(*frames).dump(1) + "\n");
                              });
  if (!learnt.now) frames = frames_in(file, 1 << 30);
  if (frames->empty())
    throw Error(
        fmt::format("{}: holds a model and no film of it; start anew in another folder "
                    "(--models)",
                    folder.string()));
  if (o.common.json)
    print_json(film_json(*frames));
  else
    print_frames(*frames);
  show_charts(o, std::array{chart_of(*frames)});
}

}  // namespace fovea::cli
