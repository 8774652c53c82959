// What a model wrote of a text, and the pass in which it did, as it was and without some of its attention.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <fovea/model.hpp>

#include "look/model_parts.hpp"
#include "look/removal.hpp"
#include "runtime/generation.hpp"

namespace fovea::look {

/// Step i read inputs[i] and what came before, and chose tokens[i].
struct Writing {
  std::string text;
  std::vector<Token> tokens;  // the one that ends the text too
  std::vector<Token> inputs;  // the start token, then `tokens` but the last
  runtime::Generation how;
  models::Result result;  // the decoder's pass over `inputs`, with hidden states and attention
};

/// Tokens as a model reads them.
models::Sequence sequence_of(std::span<const Token> tokens);

/// Writes as the folder says, then reads what was written once more, as it was written. `read`: the pass over `source`.
/// `check` hears how many tokens were written, before the pass over them is recorded, and throws where that is too
/// many.
using CheckWritten = std::function<void(std::int64_t)>;
Writing write(const ModelParts& model, const models::Sequence& source, const models::Result& read,
              const CheckWritten& check = {});

/// The same of a text that someone else wrote. Error for words that the vocabulary lacks.
Writing as_written(const ModelParts& model, std::string_view text, const models::Result& read,
                   const CheckWritten& check = {});

/// A text and what is written of it, as ids, with the passes over both and their hidden states.
struct Passage {
  models::Sequence source, target;
  const models::Result &read, &written;
  std::span<const models::LayerRecord> layers = {};  // attention of both; empty: not kept, and passes are run whole
};

/// Passes of a batch that lack something: the encoder's too, where it does (else empty), and the decoder's.
struct Rerun {
  models::Result read, written;
  /// One sequence's final vectors in both: what writing it anew begins with.
  struct Hidden {
    Tensor read, written;  // [source tokens, width] or empty, [steps, width]
  };
  Hidden of(std::size_t sequence) const;
};

/// The decoder's pass over as many copies of a passage as there are variants, each of which lacks what its variant says
/// of this kind of attention: from the lowest layer on that the first of them touches, and none touches a lower one.
/// `steps`: those of each copy that will be read, what others hold is not said; empty: all.
Rerun decode_without(const models::EncoderDecoder& model, const Passage& passage, const std::string& kind,
                     const Extent& of, std::span<const Variant* const> variants, std::span<const Range> steps = {});

/// What the model writes when all that it does lacks what the variant says. Steps keep their numbers: what is removed
/// from the step that wrote a word is removed from whatever is written in its place. `reread`: the passes without it
/// over what was written before; every step that writes the same goes by them.
std::string rewritten(const ModelParts& model, const models::Sequence& source, const Writing& before,
                      const std::string& kind, const Extent& of, const Variant& variant, const Rerun::Hidden& reread);

}  // namespace fovea::look
