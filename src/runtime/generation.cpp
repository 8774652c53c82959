#include "runtime/generation.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "io/embedded.hpp"
#include "io/json.hpp"

namespace fovea::runtime {
namespace {

using io::optional_or;
using nlohmann::json;

/// What generate() would mind and this search doesn't, each with the values that change nothing.
void refuse_others(const json& config, const std::filesystem::path& file) {
  struct Other {
    const char* key;
    std::vector<json> neutral;
  };
  static const Other kOthers[] = {{"do_sample", {false}},
                                  {"repetition_penalty", {1.0, 1}},
                                  {"encoder_repetition_penalty", {1.0, 1}},
                                  {"encoder_no_repeat_ngram_size", {0}},
                                  {"num_beam_groups", {1}},
                                  {"diversity_penalty", {0.0, 0}},
                                  {"penalty_alpha", {0.0, 0}},
                                  {"sequence_bias", {}},
                                  {"suppress_tokens", {json::array()}},
                                  {"begin_suppress_tokens", {json::array()}},
                                  {"exponential_decay_length_penalty", {}},
                                  {"guidance_scale", {1.0, 1}}};
  for (const Other& other : kOthers) {
    const auto found = config.find(other.key);
    if (found == config.end() || found->is_null() || std::ranges::count(other.neutral, *found)) continue;
    throw Error(
        fmt::format("{}: {} is {}, which this search doesn't know; expected it to be absent (greedy or beam search)",
                    file.string(), other.key, found->dump()));
  }
}

std::vector<int> one_or_more(const json& config, const char* key, int otherwise, const std::filesystem::path& file,
                             int vocabulary) {
  const auto found = config.find(key);
  std::vector<int> ids = found != config.end() && found->is_array()
                             ? io::required<std::vector<int>>(config, key, file)
                             : std::vector<int>{optional_or<int>(config, key, otherwise, file)};
  for (const int id : ids)
    if (id < 0 || id >= vocabulary)
      throw Error(fmt::format("{}: {} is {}; expected token ids from 0 to {}", file.string(), key, id, vocabulary - 1));
  return ids;
}

std::vector<std::vector<int>> runs_of_tokens(const json& config, const std::filesystem::path& file, int vocabulary) {
  const auto found = config.find("bad_words_ids");
  if (found == config.end() || found->is_null()) return {};
  std::vector<std::vector<int>> runs;
  const auto fail = [&] {
    throw Error(fmt::format("{}: bad_words_ids holds {}; expected lists of token ids from 0 to {}", file.string(),
                            found->dump(), vocabulary - 1));
  };
  if (!found->is_array()) fail();
  for (const json& run : *found) {
    if (!run.is_array() || run.empty()) fail();
    runs.emplace_back();
    for (const json& id : run) {
      if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= vocabulary) fail();
      runs.back().push_back(id.get<int>());
    }
  }
  return runs;
}

EarlyStop early_stop_of(const json& config, const std::filesystem::path& file) {
  const auto found = config.find("early_stopping");
  if (found == config.end() || found->is_null() || *found == false) return EarlyStop::Heuristic;
  if (*found == true) return EarlyStop::Full;
  if (*found == "never") return EarlyStop::Never;
  throw Error(fmt::format("{}: early_stopping is {}; expected true, false or \"never\"", file.string(), found->dump()));
}

}  // namespace

Generation generation_of(const std::filesystem::path& folder, const models::TargetTokens& tokens,
                         const models::Summary& model) {
  const std::filesystem::path own = folder / "generation_config.json",
                              file = io::is_there(own) ? own : folder / "config.json";
  const json config = io::read_json(file);
  if (!config.is_object())
    throw Error(fmt::format("{}: is a JSON {}; expected an object", file.string(), config.type_name()));
  refuse_others(config, file);
  const auto optional_token = [&](const char* key) -> std::optional<int> {
    if (const auto found = config.find(key); found == config.end() || found->is_null()) return std::nullopt;
    return one_or_more(config, key, 0, file, model.vocabulary).front();
  };
  constexpr int kMostBeams = 1000;
  Generation g;
  g.beams = optional_or<int>(config, "num_beams", 1, file, {1, kMostBeams});
  g.results = optional_or<int>(config, "num_return_sequences", 1, file, {1, g.beams});
  g.length_penalty = optional_or<double>(config, "length_penalty", 1.0, file);
  g.early_stop = early_stop_of(config, file);
  // A text of max_length tokens is computed from all but its last one, so it takes as many positions less one.
  const int longest = model.positions + 1;
  g.max_length = std::min(optional_or<int>(config, "max_length", longest, file, {2, 1 << 30}), longest);
  if (const int more = optional_or<int>(config, "max_new_tokens", 0, file, {0, 1 << 30}); more > 0)
    g.max_length = std::min(more, longest - 1) + 1;
  g.min_length = optional_or<int>(config, "min_length", 0, file, {0, 1 << 30});
  g.no_repeat = optional_or<int>(config, "no_repeat_ngram_size", 0, file, {0, 1 << 30});
  g.start = one_or_more(config, "decoder_start_token_id", tokens.start, file, model.vocabulary).front();
  g.ends = one_or_more(config, "eos_token_id", tokens.end, file, model.vocabulary);
  g.never = runs_of_tokens(config, file, model.vocabulary);
  g.forced_begin = optional_token("forced_bos_token_id");
  g.forced_end = optional_token("forced_eos_token_id");
  return g;
}

}  // namespace fovea::runtime
