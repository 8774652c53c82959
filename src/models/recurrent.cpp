#include "models/recurrent.hpp"

#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/json.hpp"
#include "io/quote.hpp"
#include "models/checkpoint.hpp"
#include "models/common.hpp"
#include "models/time_first.hpp"
#include "ops/additive_attention.hpp"
#include "ops/dropout.hpp"
#include "ops/embedding.hpp"
#include "ops/join.hpp"

namespace fovea::models {

RecurrentConfig recurrent_config(const nlohmann::json& config, const std::filesystem::path& file) {
  const auto size = [&](const char* key) { return io::required<int>(config, key, file, {1, 1 << 30}); };
  RecurrentConfig c;
  const auto names = io::optional_or<std::vector<std::string>>(config, "architectures", {}, file);
  c.architecture = names.empty() ? "" : names.front();
  c.vocabulary = size("vocab_size");
  c.width = size("hidden_size");
  c.positions = size("max_position_embeddings");
  const auto attention = io::required<std::string>(config, "attention", file);
  if (attention != "additive" && attention != "none")
    throw Error(
        fmt::format("{}: attention is {}; expected \"additive\" or \"none\"", file.string(), io::in_quotes(attention)));
  c.attention = attention == "additive";
  const auto token = [&](const char* key, int otherwise) {
    return io::optional_or<int>(config, key, otherwise, file, {0, c.vocabulary - 1});
  };
  c.pad = token("pad_token_id", 0);
  c.end = token("eos_token_id", std::min(1, c.vocabulary - 1));
  c.start = token("decoder_start_token_id", c.pad);
  c.dropout = io::optional_or<float>(config, "dropout", 0.0f, file, {0, 1});
  if (c.width % 2 != 0)
    throw Error(fmt::format("{}: hidden_size is {}; expected an even number, half of it for each direction",
                            file.string(), c.width));
  return c;
}

std::unique_ptr<EncoderDecoder> load_recurrent(const std::filesystem::path& folder, const nlohmann::json& config) {
  const RecurrentConfig checked = recurrent_config(config, folder / "config.json");
  const Checkpoint checkpoint(folder);
  return std::make_unique<Recurrent>(checked, nn::Weights(checkpoint));
}

Recurrent::Recurrent(const RecurrentConfig& config, const nn::Weights& weights)
    : config_(config), purpose_(weights.purpose()) {
  const std::int64_t width = config_.width, gates = 3 * width;
  const nn::Weights decoder = weights / "decoder", attention = weights / "attention", out = weights / "readout";
  words_ = {weights / "words", config_.vocabulary, width};
  encoder_ = {weights / "encoder", width, width / 2};
  initial_ = {weights / "initial", width, width};
  if (config_.attention) {
    query_ = {attention / "query", width, width, nn::Bias::None};
    key_ = {attention / "key", width, width};
    direction_ = attention.f32("direction", {width});
  }
  from_word_ = {decoder / "word", width, gates};
  from_context_ = {decoder / "context", width, gates, nn::Bias::None};
  state_weight_ = (decoder / "state").f32("weight", {gates, width});
  state_bias_ = (decoder / "state").f32("bias", {gates});
  from_state_ = {state_weight_, state_bias_, purpose_};
  state_out_ = {out / "state", width, width};
  context_weight_ = (out / "context").f32("weight", {width, width});
  context_out_ = {context_weight_, {}, purpose_};
  word_out_ = {out / "word", width, width, nn::Bias::None};
  output_bias_ = (weights / "output").f32("bias", {config_.vocabulary});
  const bool additive = config_.attention;
  summary_ = {.family = "fovea_recurrent",
              .architecture = config_.architecture,
              .layers = 1,
              .heads = additive,
              .kv_heads = additive,
              .head_dim = additive ? config_.width : 0,
              .width = config_.width,
              .feed_forward = 0,
              .positions = config_.positions,
              .vocabulary = config_.vocabulary,
              .parameters = 0,
              .decoder_layers = 1,
              .self_attention = false,
              .weights_dtype = {},
              .warnings = {}};
  describe_weights(summary_, weights, [](std::string_view) { return false; });
}

// ------------------------------------------------------------------------------------------------------------- reading

void Recurrent::check(std::span<const Sequence> sequences) const {
  check_lengths(sequences, config_.positions);
  for (std::size_t i = 0; i < sequences.size(); ++i)
    words_.check(sequences[i].ids, fmt::format("sequence {}: token id", i));
}

Tensor Recurrent::embed(std::span<const int> ids) const { return dropout(words_(ids), config_.dropout); }

Result Recurrent::encode(std::span<const Sequence> sources, const Pass& pass) const {
  check(sources);
  const Ends ends = ends_of(sources);
  Result result{.ends = *ends, .hidden = {}, .layers = {}, .hidden_states = {}};
  const std::int64_t width = config_.width;
  const std::optional<Tensor> start = start_of(pass, 1, ends->empty() ? 0 : ends->back(), width);
  Tensor x = start ? *start : embed(packed_ids(sources));  // [tokens, width]
  if (pass.record_hidden) result.hidden_states.resize(2);
  if (pass.record_hidden && pass.first_layer == 0) result.hidden_states[0] = x;
  if (pass.first_layer == 0) {
    const TimeFirst padded(*ends);
    x = encoder_(embedding(x, padded.rows).reshape({padded.time, padded.batch, width}), padded.lengths);
    x = embedding(x.reshape({std::int64_t{padded.time} * padded.batch, width}), padded.packed);
  }
  if (pass.record_hidden) result.hidden_states[1] = x;
  result.hidden = x;
  return result;
}

/// [sources, width]: where the way forward ended, beside where the way back ended.
Tensor Recurrent::last_states(const Result& sources) const {
  std::vector<int> halves;  // of rows [tokens · 2, width / 2]
  for (int begin = 0; const int end : sources.ends) {
    halves.push_back(2 * (end - 1)), halves.push_back(2 * begin + 1);
    begin = end;
  }
  const std::int64_t half = config_.width / 2;
  return embedding(sources.hidden.reshape({2 * sources.hidden.shape()[0], half}), halves)
      .reshape({std::ssize(sources.ends), config_.width});
}

// ------------------------------------------------------------------------------------------------------------- writing

Recurrent::Memory Recurrent::memory(const Result& sources, const std::function<void(Tensor&)>& edit) const {
  Memory m;
  m.fixed = last_states(sources);
  const TimeFirst padded(sources.ends);
  m.lengths = padded.lengths;
  if (!config_.attention) return m;
  Tensor values = sources.hidden;  // [source tokens, width]
  if (edit) {
    values = values.clone().reshape({1, values.shape()[0], 1, config_.width});
    edit(values);
    values = values.reshape(sources.hidden.shape());
  }
  const Shape time_first{padded.time, padded.batch, config_.width};
  m.keys = embedding(key_(sources.hidden), padded.rows).reshape(time_first);
  m.values = embedding(values, padded.rows).reshape(time_first);
  return m;
}

/// from_word [rows, 3 · width], state [rows, width]: s_{i−1}; hidden [rows, source time] or empty.
Recurrent::Stepped Recurrent::step(const Step& parts, const Memory& memory, const Tensor& from_word,
                                   const Tensor& state, std::span<const std::uint8_t> hidden) const {
  const std::int64_t rows = state.shape()[0], width = config_.width;
  Stepped s;
  s.context = memory.fixed;
  if (config_.attention) {
    const Tensor query = parts.query(state).reshape({1, rows, width});
    AdditiveAttention a = attend_additive(query, memory.keys, direction_, memory.values, memory.lengths, hidden);
    s.context = a.out.reshape({rows, width});
    s.weights = a.weights;
  }
  s.state = gru_cell(add(parts.from_context(s.context), from_word), parts.from_state(state), state);
  return s;
}

/// [rows, width] three times → [rows, width], which meets the word vectors.
Tensor Recurrent::readout(const Tensor& state, const Tensor& context, const Tensor& word) const {
  const Tensor sum = add(add(state_out_(state), context_out_(context)), word_out_(word));
  return dropout(activate(sum, Activation::Tanh), config_.dropout);
}

namespace {

/// [rows, source time] at one step: which keys a mask hides from each target.
std::vector<std::uint8_t> hidden_at(const AnyMask& mask, int step, const TimeFirst& targets, const TimeFirst& sources) {
  std::vector<std::uint8_t> hidden(static_cast<std::size_t>(targets.batch) * static_cast<std::size_t>(sources.time));
  for (int b = 0; b < targets.batch; ++b) {
    const int queries = targets.lengths[static_cast<std::size_t>(b)],
              keys = sources.lengths[static_cast<std::size_t>(b)];
    for (int j = 0; step < queries && j < keys; ++j)
      hidden[static_cast<std::size_t>(b * sources.time + j)] = !mask(Site{b, 0, step, j, queries, keys});
  }
  return hidden;
}

/// Adds ln A to a logit of 0, so that the softmax is A again.
struct GivenWeights {
  Tensor logs;  // F32 [batch, queries, keys]
  template <class V>
  V operator()(V s, const Site& at) const {
    const Shape& shape = logs.shape();
    return s + logs.data<float>()[(at.batch * shape[1] + at.query) * shape[2] + at.key];
  }
};

/// Additive attention as looking knows attention. Its weights, once they are known, are those of a product attention
/// with queries of zero and ln A as a score; its values are the annotations.
LayerRecord record(const std::vector<Tensor>& weights, const Tensor& annotations, const Ends& ends,
                   const Ends& key_ends, const Tensor& output_weight, const AnyMask& mask) {
  constexpr float kLeast = 1e-37f;  // of a key that is hidden; nothing takes its place in a row's sum
  const std::int64_t steps = std::ssize(weights), batch = std::ssize(*ends), keys = weights.front().shape()[2];
  Tensor logs(DType::F32, {batch, steps, keys});
  for (std::int64_t t = 0; t < steps; ++t)
    for (std::int64_t b = 0; b < batch; ++b)
      for (std::int64_t j = 0; j < keys; ++j)
        logs.data<float>()[(b * steps + t) * keys + j] =
            std::log(std::max(weights[static_cast<std::size_t>(t)].data<float>()[b * keys + j], kLeast));
  LayerRecord r{"cross",
                0,
                Tensor(DType::F32, {1, ends->back(), 1, 1}),
                Tensor(DType::F32, {1, key_ends->back(), 1, 1}),
                annotations.reshape({1, key_ends->back(), 1, annotations.shape()[1]}),
                {},
                output_weight.view(),
                ends,
                key_ends};
  r.attention = attend(r.q, r.k, r.v, AttentionSpec(mask, score(GivenWeights{logs}), packed(*ends, *key_ends)));
  return r;
}

}  // namespace

/// All steps of targets whose words are known: from_word [time · batch, 3 · width].
Recurrent::Steps Recurrent::all_steps(const Memory& memory, const Tensor& from_word, const TimeFirst& targets,
                                      const std::function<std::vector<std::uint8_t>(int step)>& hidden) const {
  const Tensor initial = activate(initial_(memory.fixed), Activation::Tanh);  // [batch, width]
  const auto rows_at = [&](int t) {
    std::vector<int> rows(static_cast<std::size_t>(targets.batch));
    std::iota(rows.begin(), rows.end(), t * targets.batch);
    return rows;
  };
  if (!config_.attention) {  // nothing but the state changes from step to step, so one operator does them all
    std::vector<int> sequence_of(static_cast<std::size_t>(from_word.shape()[0]));
    for (std::size_t i = 0; i < sequence_of.size(); ++i) sequence_of[i] = static_cast<int>(i) % targets.batch;
    const Tensor from_input = add(embedding(from_context_(memory.fixed), sequence_of), from_word);
    const Tensor states = gru_sequence(from_input.reshape({targets.time, targets.batch, from_word.shape()[1]}),
                                       state_weight_, state_bias_, initial, targets.lengths, Direction::Forward);
    return {states.reshape({from_word.shape()[0], config_.width}), embedding(memory.fixed, sequence_of), {}};
  }
  const Step parts = step_parts();
  std::vector<Tensor> states, contexts;
  Steps all;
  for (int t = 0; t < targets.time; ++t) {
    const Stepped s = step(parts, memory, embedding(from_word, rows_at(t)), t == 0 ? initial : states.back(),
                           hidden ? hidden(t) : std::vector<std::uint8_t>());
    states.push_back(s.state), contexts.push_back(s.context), all.weights.push_back(s.weights);
  }
  all.states = join_rows(states), all.contexts = join_rows(contexts);
  return all;
}

Result Recurrent::decode(const Result& sources, std::span<const Sequence> targets, const DecoderPass& pass) const {
  check(targets);
  if (sources.ends.size() != targets.size())
    throw Error(
        fmt::format("decode: {} sources and {} targets; expected as many", sources.ends.size(), targets.size()));
  if (pass.cross_heads)
    throw Error(
        "decode: additive attention has one head, whose outcome goes into the next state and is not edited; "
        "cut edges or change values instead");
  const Ends ends = ends_of(targets), source_ends = std::make_shared<const std::vector<int>>(sources.ends);
  Result result{.ends = *ends, .hidden = {}, .layers = {}, .hidden_states = {}};
  const std::optional<Tensor> start = start_of(pass, 1, ends->empty() ? 0 : ends->back(), config_.width);
  const Tensor words = start ? *start : embed(packed_ids(targets));  // [tokens, width]
  result.hidden = words;
  if (pass.first_layer == 0 && !ends->empty()) {
    const TimeFirst padded(*ends), source(sources.ends);
    Tensor values = sources.hidden;
    std::function<void(Tensor&)> edit;
    if (pass.cross_values) edit = [&](Tensor& v) { pass.cross_values(0, v), values = v.reshape(values.shape()); };
    std::function<std::vector<std::uint8_t>(int)> hidden;
    const AnyMask mask = pass.cross_mask ? pass.cross_mask(0) : AnyMask();
    if (pass.cross_mask) hidden = [&](int step) { return hidden_at(mask, step, padded, source); };
    const Steps s = all_steps(memory(sources, edit), from_word_(embedding(words, padded.rows)), padded, hidden);
    result.hidden = readout(embedding(s.states, padded.packed), embedding(s.contexts, padded.packed), words);
    if (pass.record_attention && config_.attention)
      result.layers.push_back(record(s.weights, values, ends, source_ends, context_weight_, mask));
  }
  if (pass.record_hidden) result.hidden_states = {pass.first_layer == 0 ? words : Tensor(), result.hidden};
  return result;
}

Tensor Recurrent::vocabulary_logits(const Tensor& hidden) const {
  std::call_once(once_, [&] { output_ = {words_.table(), output_bias_, purpose_}; });
  return output_(hidden);
}

}  // namespace fovea::models
