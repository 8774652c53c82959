//! A tokenizer for somebody's own texts: byte-pair encoding (Sennrich, Haddow & Birch 2016) within words and marks of punctuation.

use tokenizers::models::bpe::{BpeTrainer, BPE};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerBuilder};

/// In the order of their ids, as encoder–decoders of the Marian family have them.
const SPECIAL: [&str; 3] = ["<pad>", "</s>", "<unk>"];

/// tokenizer.json of at most `vocabulary` tokens for these lines. The same lines give the same file.
pub fn train(lines: &str, vocabulary: usize) -> Result<String, String> {
    let said = |e: tokenizers::Error| e.to_string();
    // Punctuation after spaces: a mark keeps to the word before it, so that texts come back as they were.
    let spaces = Metaspace::new('▁', PrependScheme::Always, true);
    let marks = Punctuation::new(SplitDelimiterBehavior::Isolated);
    let ending = TemplateProcessing::builder()
        .try_single("$A </s>")
        .and_then(|b| b.try_pair("$A $B </s>"))
        .map_err(|e| e.to_string())?
        .special_tokens(vec![("</s>", 1)])
        .build()
        .map_err(|e| e.to_string())?;
    let mut tokenizer = TokenizerBuilder::<BPE, NFC, Sequence, TemplateProcessing, Metaspace>::new()
        .with_model(BPE::builder().unk_token(SPECIAL[2].into()).build().map_err(said)?)
        .with_normalizer(Some(NFC))
        .with_pre_tokenizer(Some(Sequence::new(vec![spaces.clone().into(), marks.into()])))
        .with_post_processor(Some(ending))
        .with_decoder(Some(spaces))
        .build()
        .map_err(said)?;
    let special = SPECIAL.map(|token| AddedToken::from(token.to_string(), true)).to_vec();
    let mut trainer = BpeTrainer::builder().show_progress(false).vocab_size(vocabulary).special_tokens(special).build();
    tokenizer.train(&mut trainer, lines.lines()).map_err(said)?;
    let size = tokenizer.get_vocab_size(true);
    if size > vocabulary {
        return Err(format!("a vocabulary of {vocabulary} has no room: the texts have {} different characters", size - SPECIAL.len()));
    }
    tokenizer.to_string(true).map_err(said)
}
