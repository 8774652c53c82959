// load("…"): a model from a Hugging Face folder. model("text"): a run that can be looked into.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fovea/look.hpp>
#include <fovea/tensor.hpp>

namespace fovea {

namespace models {
struct LayerRecord;
struct Result;
struct Summary;
}  // namespace models
namespace look {
struct ModelParts;
struct Original;
struct Writing;
}  // namespace look

/// A token of a text. begin and end are byte offsets into it; 0, 0 for what the tokenizer added ([CLS], …).
struct Token {
  int index = 0, id = 0;
  std::string text;
  int begin = 0, end = 0;
  bool special = false;
};

/// The source token that a written one looked at most at the step that chose it, and how much: the mean over the heads
/// of the last decoder layer's attention to the source. Tokens that the tokenizer added are no candidates, unless there
/// is nothing else.
struct Aligned {
  int source = 0;  // index into the source's tokens
  double weight = 0;
};

/// One forward pass over one text, with what is needed to rebuild any attention weight of it: O(tokens) memory per
/// layer. Of a model that writes, also what it wrote and the pass in which it did.
///
/// Kinds of attention: "encoder", where queries and keys are the text's tokens; "decoder", where query i is the step
/// that wrote target_tokens()[i] and key j what step j had read, target_inputs()[j]; "cross", from such a step to the
/// text's tokens. An empty kind is the model's self-attention over the text.
class Run {
 public:
  std::string text;
  std::vector<Token> tokens;
  const models::Summary& model() const;
  const std::vector<models::LayerRecord>& layers() const;
  /// [layers + 1] of F32 [tokens, width]; 0 is the embedding. Of "decoder": of the steps. Error for "cross", which has
  /// none.
  const std::vector<Tensor>& hidden(const std::string& kind = {}) const;

  bool writes() const { return writing_ != nullptr; }
  /// What the model wrote, as Model::translate does; empty where it only reads.
  const std::string& target_text() const;
  const std::vector<Token>& target_tokens() const;  // begin and end are offsets into target_text()
  /// What each step read: the start token, then target_tokens() but the last.
  const std::vector<Token>& target_inputs() const;
  /// What each written token looked at; empty where the model only reads.
  std::vector<Aligned> alignment() const;
  /// The tokens that queries and keys of a kind stand for. Error when the model has no such attention.
  const std::vector<Token>& queries(const std::string& kind) const;
  const std::vector<Token>& keys(const std::string& kind) const;

  /// Positions of the tokens that a selector means: an index ("5"), a word ("bank"), its k-th occurrence ("bank#2"). A
  /// word may be several tokens. Error names the words that are there; an ambiguous word is one too, with the spellings
  /// to choose from.
  std::vector<int> find(std::string_view selector) const;
  /// The same among a kind's queries or keys: of "cross", the first are words that were written.
  std::vector<int> find_query(std::string_view selector, const std::string& kind) const;
  std::vector<int> find_key(std::string_view selector, const std::string& kind) const;

  /// Statistics of every head, layer by layer; see look.hpp. Worked out at the first call and kept.
  const std::vector<HeadStatistics>& heads() const;
  /// I_h = |Σ_i o_i · do_i| of every head: how much of the model's answer (or of `target`, see MeasureQuery) stands or
  /// falls with what it puts out, to first order (Michel et al. 2019, arXiv 1905.10650). Error where the model answers
  /// with vectors alone, which have no slope.
  std::vector<HeadScore> importance(const std::string& target = {}, const std::string& against = {}) const;
  /// The strongest links of a token (or of all), over the chosen layers and heads, largest weight first.
  std::vector<Link> links(const LinkQuery& query) const;
  /// Removes edges or a token's values, runs the model again from the lowest layer that they touch, and says what that
  /// did, beside what removing random sets of equal weight does. Error when nothing would be left to a query.
  Effect measure(const MeasureQuery& query) const;
  /// The same for each of these links alone, in one batch. Where a link is all that its query sees, nothing can be
  /// measured: before, after and effect are NaN, and there are no draws.
  std::vector<Effect> measure(std::span<const Link> links, int draws = 20, std::uint64_t seed = 0) const;
  /// Searches for few pairs of positions (in the chosen layers and heads) without which `target` is no longer likelier
  /// than `against`: greedily, up to `most` of them, then without those that turn out not to be needed. `query` says no
  /// cuts of its own. Error when the model prefers `against` anyway.
  Flip flip(const MeasureQuery& query, int most = 4) const;
  /// Measures every pair, or every single edge, without a control. Error when that would be more than about 8 million
  /// tokens to run, with the number.
  Survey survey(const SurveyQuery& query) const;
  /// max |Σ A·v − o| over every row of every head: how far the weights shown are from the output that the kernels
  /// produced.
  double max_abs_error(const std::string& kind = {}) const;  // empty: of every kind

 private:
  friend class Model;
  struct Heads;
  Run(std::shared_ptr<const look::ModelParts> model, std::shared_ptr<const models::Result> result,
      std::shared_ptr<const look::Writing> writing);
  look::Original original(const std::string& kind) const;
  std::shared_ptr<const look::ModelParts> model_;
  std::shared_ptr<const models::Result> result_;  // attention of every kind, hidden states of the text
  std::shared_ptr<const look::Writing> writing_;  // null: the model only reads
  std::shared_ptr<Heads> heads_;
};

struct Guess {
  std::string text;
  int id = 0;
  double probability = 0;
};
struct Label {
  std::string name;
  double probability = 0;
};

/// How a text is written; what is not set is as the folder's generation_config.json says.
struct TranslateOptions {
  int beams = 0;       // 1: greedy
  int max_length = 0;  // of the translation in tokens, its start and its end included
  bool truncate = false;
  bool align = false;  // say which source token each written one looked at
};

struct Translation {
  std::string text;
  std::vector<Token> tokens;  // of the source
  std::vector<Token>
      target_tokens;  // what was written, the token that ends it too; begin and end are offsets into `text`
  std::vector<Aligned> alignment;  // with `align`: one for each target token
  double score =
      0;  // mean log-probability of what was written (its sum over length^length_penalty, as the folder says)
  bool whole = true;  // false: max_length was reached before the end
  int cut = 0;        // tokens of the source left out by `truncate`
};

class Model {
 public:
  const models::Summary& summary() const;
  /// What a run over a text of so many tokens keeps; of a model that writes, beside a translation of `written` tokens.
  Recording recording(int tokens, int written = 0) const;
  /// From now on, runs that would keep more are refused before they are made, with the number of tokens that fits. 0:
  /// no limit, as at first.
  void limit_recording(std::int64_t bytes) { recording_limit_ = bytes; }
  /// Tokenizes and runs. Error when the text is longer than the model's positions, with both counts; with `truncate` it
  /// is cut and *cut receives the number of tokens left out. A model that writes also writes, and refuses what
  /// translate() refuses.
  Run operator()(std::string_view text, bool truncate = false, int* cut = nullptr) const;
  /// A run of a model that writes, with this translation in the place of its own: each step reads what stands before it
  /// there, whatever the model would have written. Error as above, and for a model that only reads.
  Run forced(std::string_view text, std::string_view translation) const;
  /// How far each head is an induction head: over texts of random tokens, each a block said twice, the mean weight from
  /// a token of the second block to what followed it in the first (Olsson et al. 2022, arXiv 2209.11895). Of the
  /// encoder, and of a decoder that reads the blocks.
  std::vector<HeadScore> induction() const;
  /// One vector per text, F32 [texts, width], pooled and normalised as the folder's modules.json says (mean pooling
  /// where it is silent). Too long a text as above; *cut receives the tokens left out of all texts together.
  Tensor embed(std::span<const std::string> texts, bool truncate = false, int* cut = nullptr) const;
  /// The `top` likeliest tokens at each [MASK] of the text, in the order of the text.
  std::vector<std::vector<Guess>> fill(std::string_view text, int top = 5) const;
  /// Labels of a text (or of a pair), most probable first: they sum to 1, or stand each for itself where config.json
  /// says multi_label_classification. For `regression` the number is the model's own output, no probability.
  std::vector<Label> classify(std::string_view text, std::string_view pair = {}) const;
  /// Whether it writes texts: translate() is for such models, and run() reads with their encoder.
  bool writes() const;
  /// The text as the model writes it. Error when a word is not in its vocabulary, naming it and words near it: nothing
  /// is dropped.
  Translation translate(std::string_view text, const TranslateOptions& options = {}) const;
  /// The same of many, batched.
  std::vector<Translation> translate(std::span<const std::string> texts, const TranslateOptions& options = {}) const;

 private:
  friend Model load(const std::string&);
  explicit Model(std::shared_ptr<const look::ModelParts> parts);
  Run run(std::string_view text, const std::string_view* translation, bool truncate, int* cut) const;
  std::shared_ptr<const look::ModelParts> parts_;
  std::int64_t recording_limit_ = 0;
};

/// A folder in Hugging Face layout, an org/name in the local hub cache, or "demo": the translator that is part of the
/// library. Nothing is downloaded.
Model load(const std::string& model);

}  // namespace fovea
