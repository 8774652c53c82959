// The demo model's tokenizer, as a Hugging Face tokenizer.json.
#pragma once
#include <string>

namespace fovea::demo {

/// Words, not pieces of words: the demo shows what words attend to. Ids are the Vocabulary's numbers. "didn't", "l'"
/// and "chauve-souris" are one token each; a typographic apostrophe counts as a straight one; </s> is added at the end;
/// decoding joins French as it is written ("l'animal n'a pas", no space before a full stop).
std::string tokenizer_json();

}  // namespace fovea::demo
