//! What a tokenizer.json must satisfy before the tokenizers crate may build from it. The crate takes a repeated token or id as an
//! overwrite, and gives an added token another id than the file says: each would be a wrong answer without a word.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokenizers::Tokenizer;

/// Longest token of a vocabulary, in bytes. Published ones stay under some hundreds (runs of spaces); Unigram's and BPE's work per
/// byte of text grows with it.
const LONGEST_TOKEN: usize = 4096;
/// Ids are int in the library.
const LARGEST_ID: u64 = i32::MAX as u64;
/// What the crate reads; for any other it has only "did not match any variant".
const MODELS: [&str; 4] = ["BPE", "Unigram", "WordLevel", "WordPiece"];

#[derive(Deserialize)]
pub struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u64,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>, // left out by old files
    vocab: Vocabulary,
}

/// A map from token to id, or (Unigram) a list of tokens whose places are their ids.
struct Vocabulary {
    largest: Option<u64>,
}

impl File {
    /// The file's own word: well-formed JSON whose tokens are unique, of sane length, with ids that are unique and fit an int.
    pub fn parse(json: &[u8]) -> Result<File, String> {
        let file: File = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if let Some(kind) = file.model.kind.as_deref().filter(|kind| !MODELS.contains(kind)) {
            return Err(format!("model type {} is not known; expected one of {}", show(kind), MODELS.join(", ")));
        }
        let mut seen = HashMap::new();
        for AddedToken { id, content } in &file.added_tokens {
            check_token(content, *id)?;
            if let Some(other) = seen.insert(*id, content) {
                return Err(format!("added tokens {} and {} both have id {id}", show(other), show(content)));
            }
        }
        Ok(file)
    }

    pub fn largest_id(&self) -> Option<u64> {
        self.added_tokens.iter().map(|t| t.id).max().max(self.model.vocab.largest)
    }

    /// What was built agrees with the file: added tokens have the ids it gives them, and what is put around a text is in the
    /// vocabulary.
    pub fn agrees_with(&self, tokenizer: &Tokenizer) -> Result<(), String> {
        for AddedToken { id, content } in self.added_tokens.iter().filter(|t| !t.content.is_empty()) {
            let found = tokenizer.token_to_id(content);
            if found.map(u64::from) != Some(*id) {
                let found = found.map_or("none".to_string(), |id| id.to_string());
                return Err(format!("added token {} has id {id}, but the vocabulary's order gives it {found}", show(content)));
            }
        }
        let around = tokenizer.post_process(Default::default(), Some(Default::default()), true).map_err(|e| e.to_string())?;
        match around.get_ids().iter().position(|id| tokenizer.id_to_token(*id).is_none()) {
            Some(at) => Err(format!(
                "the post-processor adds {} with id {}, which is not in the vocabulary",
                show(&around.get_tokens()[at]),
                around.get_ids()[at]
            )),
            None => Ok(()),
        }
    }
}

fn check_token(token: &str, id: u64) -> Result<(), String> {
    if token.len() > LONGEST_TOKEN {
        return Err(format!("token {} is {} bytes long, at most {LONGEST_TOKEN} are accepted", show(token), token.len()));
    }
    if id > LARGEST_ID {
        return Err(format!("token {} has id {id}, at most {LARGEST_ID} is accepted", show(token)));
    }
    Ok(())
}

/// A token as it may stand in a message: quoted, control characters escaped, and short.
fn show(token: &str) -> String {
    let start: String = token.chars().take(40).collect();
    if start.len() < token.len() { format!("{start:?}…") } else { format!("{start:?}") }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(VocabularyVisitor)
    }
}

struct VocabularyVisitor;

impl<'de> Visitor<'de> for VocabularyVisitor {
    type Value = Vocabulary;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a map from token to id, or a list of [token, score]")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
        let mut ids: HashMap<String, u64> = HashMap::new();
        while let Some((token, id)) = map.next_entry::<String, u64>()? {
            check_token(&token, id).map_err(A::Error::custom)?;
            let text = show(&token);
            if ids.insert(token, id).is_some() {
                return Err(A::Error::custom(format!("token {text} stands twice in the vocabulary")));
            }
        }
        let mut by_id: Vec<(u64, &str)> = ids.iter().map(|(token, id)| (*id, token.as_str())).collect();
        by_id.sort_unstable();
        match by_id.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(A::Error::custom(format!(
                "tokens {} and {} both have id {}",
                show(pair[0].1),
                show(pair[1].1),
                pair[0].0
            ))),
            None => Ok(Vocabulary { largest: by_id.last().map(|last| last.0) }),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
        let mut count = 0;
        while let Some((token, _score)) = list.next_element::<(String, IgnoredAny)>()? {
            check_token(&token, count).map_err(A::Error::custom)?;
            count += 1;
        }
        Ok(Vocabulary { largest: count.checked_sub(1) })
    }
}
