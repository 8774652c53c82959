// fovea bench look: what looking costs beside the pass that is looked at, in one run.
#include <algorithm>
#include <chrono>
#include <ctime>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>
#include <fovea/threads.hpp>
#include <fovea/trace.hpp>

#include "attention_flags.hpp"
#include "bench.hpp"
#include "look/choice.hpp"
#include "look/demo_model.hpp"
#include "look/links.hpp"
#include "look/measure.hpp"
#include "look/writing.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

struct LookWork {
  std::string name, what;
  std::function<void()> run;
  std::vector<double> seconds = {};  // of each round
};

/// With one thread the process's own clock: neighbours do not count.
double seconds_now() {
  if (threads() == 1) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// All of them in turn, so that what else the machine does meets each alike.
void time_in_turn(std::vector<LookWork>& all, int rounds) {
  for (int round = 0; round <= rounds; ++round)
    for (LookWork& w : all) {
      const double start = seconds_now();
      w.run();
      if (round > 0) w.seconds.push_back(seconds_now() - start);  // round 0 warms up
    }
}

/// The median over rounds of what one took of what the first took in the same round.
double ratio_to(const LookWork& first, const LookWork& w) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < w.seconds.size(); ++i) ratios.push_back(w.seconds[i] / first.seconds[i]);
  return median(std::move(ratios));
}

Json report_in_turn(const std::vector<LookWork>& all, bool json) {
  Json list = Json::array();
  Table table(
      {{"", false, false, Ink::Accent}, {"seconds", true}, {"of plain", true, false, Ink::Bold}, {"what it is"}});
  for (const LookWork& w : all) {
    const double ratio = ratio_to(all.front(), w), seconds = median(w.seconds);
    list.push_back({{"name", w.name}, {"what", w.what}, {"seconds", seconds}, {"ratio", ratio}});
    table.row({w.name, seconds_text(seconds), fmt::format("{:.2f}×", ratio), w.what});
  }
  if (!json) table.print(), fmt::print("\n");
  return list;
}

// ---------------------------------------------------------------------------------------------------------- statistics

Json bench_statistics(const ShapeFlags::Problem& shape, int rounds, bool json) {
  const Tensor q = random_tensor(DType::F32, shape.q(), 1), k = random_tensor(DType::F32, shape.k(), 2),
               v = random_tensor(DType::F32, shape.v(), 3);
  const auto with = [&](auto... parts) {
    return [&, parts...] { attend(q.view(), k.view(), v.view(), AttentionSpec(parts...)); };
  };
  const auto traced = [&](bool rows) {
    return [&, rows] {
      const Attention a = attend(q.view(), k.view(), v.view(), AttentionSpec());
      for (int b = 0; b < shape.batch; ++b)
        for (int h = 0; h < shape.heads; ++h)
          trace(a, {.batch = b, .head = h, .queries = {0, shape.queries}, .rows = rows, .received = true});
    };
  };
  const auto written = [&] {
    const Attention a = attend(q.view(), k.view(), v.view(), AttentionSpec());
    constexpr int kBand = 64;
    for (int h = 0; h < shape.heads; ++h)
      parallel_for((shape.queries + kBand - 1) / kBand, [&](std::int64_t i) {
        const int begin = static_cast<int>(i) * kBand;
        a.weights(0, h, {begin, std::min(begin + kBand, shape.queries)});
      });
  };
  const std::int64_t width = std::int64_t{shape.heads} * shape.head_dim;
  const Tensor output_weight = random_tensor(DType::F32, {width, width}, 4);
  const auto linked = [&](bool all_keys) {
    return [&, all_keys] {
      models::LayerRecord layer;
      layer.q = q, layer.k = k, layer.v = v, layer.output_weight = output_weight.view();
      layer.attention = attend(q.view(), k.view(), v.view(), AttentionSpec());
      look::Field field{{&layer}, look::all_below(shape.heads), look::all_below(shape.queries), {}};
      // Where special tokens stand.
      if (!all_keys) field.left_out.resize(static_cast<std::size_t>(shape.keys));
      if (!all_keys) field.left_out.front() = field.left_out.back() = true;
      look::strongest_links(field, 0, 20);
    };
  };
  note(fmt::format("timing statistics of {} × {} …", q.shape().str(), k.shape().str()));
  std::vector<LookWork> all{
      {"plain", "out, LSE and greatest score", with()},
      {"statistics", "+ entropy, distance, first key of each row, in the same pass", with(statistics())},
      {"top-8", "+ those and the 8 greatest weights of each row, exactly", with(statistics(8))},
      {"column mass", "+ a second pass over the scores: what each key received", traced(false)},
      {"all of look", "+ a second pass: every statistic, the columns, and the proof", traced(true)},
      {"written down", "+ every weight of every row, a band at a time", written}};
  if (shape.batch == 1) {
    all.push_back({"strongest", "+ the 20 strongest links of all heads, exactly", linked(true)});
    all.push_back({"words alone", "+ those that leave the first and the last key out", linked(false)});
  }
  time_in_turn(all, rounds);
  return report_in_turn(all, json);
}

// ----------------------------------------------------------------------------------------------------------- on demand

Json bench_on_demand(bool json) {
  constexpr int kKeys = 131'072, kTile = 256, kDim = 64;
  note(fmt::format("timing a row and a tile of {} keys …", kKeys));
  const Tensor q = random_tensor(DType::F32, {1, kTile, 1, kDim}, 4),
               k = random_tensor(DType::F32, {1, kKeys, 1, kDim}, 5),
               v = random_tensor(DType::F32, {1, kKeys, 1, kDim}, 6);
  const Attention a = attend(q.view(), k.view(), v.view(), AttentionSpec());
  const Seconds row = time_runs([&] { a.weights({0, 0, kTile - 1}); });
  const Seconds tile = time_runs([&] { a.weights(0, 0, {0, kTile}, {kKeys / 2, kKeys / 2 + kTile}); });
  if (!json)
    say(fmt::format("{} keys: a row in {}, a tile of {} × {} in {}", kKeys, seconds_text(row.min), kTile, kTile,
                    seconds_text(tile.min)),
        0);
  if (!json) fmt::print("\n");
  return {{"keys", kKeys}, {"row_seconds", row.min}, {"tile_seconds", tile.min}};
}

// -------------------------------------------------------------------------------------------------------------- effect

/// A cut and its draws, drawn and rerun: what measuring costs without what else is shown of a cut.
class Reruns {
 public:
  Reruns(const look::ModelParts& model, const Run& run, const MeasureQuery& query)
      : model_(model),
        run_(run),
        read_{{static_cast<int>(run.tokens.size())}, {}, run.layers(), run.hidden("encoder")} {
    read_.hidden = read_.hidden_states.back();
    writing_.text = run.target_text(), writing_.tokens = run.target_tokens(), writing_.inputs = run.target_inputs();
    writing_.result.ends = {static_cast<int>(writing_.tokens.size())};
    writing_.result.hidden_states = run.hidden("decoder");
    writing_.result.hidden = writing_.result.hidden_states.back();
    metric_ = look::choose_metric(original(query.kind), query.target, query.against);
    cut_ = look::cut_of(original(query.kind), run.text, query);
    kind_ = query.kind, draws_ = query.draws;
  }
  void operator()() const {
    const look::Original run = original(kind_);
    constexpr std::size_t kCut = 0;
    look::rerun(run, *metric_, look::beside_draws(run, *metric_, cut_, draws_, 0), {},
                {{&kCut, 1}, [](std::size_t, const look::Rerun&, std::size_t) {}});
  }

 private:
  look::Original original(const std::string& kind) const {
    return {model_, read_, run_.tokens, look::records_of_kind(read_.layers, kind), &writing_};
  }
  const look::ModelParts& model_;
  const Run& run_;
  models::Result read_;
  look::Writing writing_;
  std::unique_ptr<look::Metric> metric_;
  look::Variant cut_;
  std::string kind_;
  int draws_ = 0;
};

Json bench_effect(int rounds, bool json) {
  const std::string text = "The animal didn't cross the street because it was too tired.";
  note("timing a measured effect …");
  const look::ModelParts model(look::demo_folder());
  const Run run = load("demo")(text);
  const models::Sequence source = look::sequence_of(run.tokens), target = look::sequence_of(run.target_inputs());
  const Reruns encoder(model, run, {.from = "animal", .to = "tired", .target = "il", .against = "elle"}),
      cross(model, run, {.from = "il", .to = "it", .kind = "cross", .target = "il", .against = "elle"}),
      decoder(model, run, {.from = "fatigué", .to = "il", .kind = "decoder", .target = "fatigué"});
  std::vector<LookWork> all{
      {"plain pass", "the sentence read, its translation read as it was written, every word's logits",
       [&] {
         model.writer->vocabulary_logits(model.writer->decode(model.writer->encode({&source, 1}), {&target, 1}).hidden);
       }},
      {"1 + 20, encoder", "animal:tired and 20 draws: drawn and rerun", [&] { encoder(); }},
      {"1 + 20, cross", "il:it of the attention to the source, as above", [&] { cross(); }},
      {"1 + 20, decoder", "fatigué:il of the decoder's own, as above", [&] { decoder(); }},
      {"encoder", "measure animal:tired, 20 draws, the text written anew",
       [&] { run.measure({.from = "animal", .to = "tired", .target = "il", .against = "elle"}); }},
      {"cross", "measure il:it in the decoder's attention to the source",
       [&] { run.measure({.from = "il", .to = "it", .kind = "cross", .target = "il", .against = "elle"}); }},
      {"decoder", "measure fatigué:il in the decoder's own attention",
       [&] { run.measure({.from = "fatigué", .to = "il", .kind = "decoder", .target = "fatigué"}); }}};
  time_in_turn(all, 10 * rounds);
  return report_in_turn(all, json);
}

}  // namespace

void bench_look(const ShapeFlags::Problem& shape, bool json) {
  refuse_beyond_memory(
      "q, k, v and the output",
      4.0 * static_cast<double>(2 * shape.q().elements() + shape.k().elements() + shape.v().elements()));
  constexpr int rounds = 7;
  if (!json)
    say(fmt::format("q {} · k {} · F32, {} threads", shape.q().str(), shape.k().str(), threads()), 0), fmt::print("\n");
  Json all{{"shape",
            {{"heads", shape.heads}, {"queries", shape.queries}, {"keys", shape.keys}, {"head_dim", shape.head_dim}}},
           {"threads", threads()}};
  all["statistics"] = bench_statistics(shape, rounds, json);
  all["on_demand"] = bench_on_demand(json);
  all["effect"] = bench_effect(rounds, json);
  if (json) print_json(all);
}

}  // namespace fovea::cli
