//! fovea_tokenizer.h, implemented. Every entry goes through `guarded`, so that neither an error nor a panic of the tokenizers crate
//! leaves it as anything but a line of text.

mod check;
mod train;

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_void;
use std::os::raw::{c_char, c_int};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;
use std::{ptr, slice, str};

use tokenizers::models::ModelWrapper;
use tokenizers::{EncodeInput, Encoding, Tokenizer};

/// WordPiece tries every end of a word for every start, and hashes what is between: time grows with the cube of a word's length.
/// Files say beyond which length a word is unknown (100, usually); where one allows more than this, such words are refused.
const LONGEST_WORD: usize = 1000;

/// The patterns of byte-level BPE backtrack over runs of spaces, `\s+(?!\S)`. fancy-regex gives up near a million steps, and the crate
/// then takes the rest of the text as one unsplit word, silently other tokens than Oniguruma gives. Such runs are refused.
const LONGEST_RUN_OF_SPACES: usize = 500_000;

pub struct FoveaTokenizer {
    tokenizer: Tokenizer,
    largest_id: i64,
}

#[repr(C)]
pub struct FoveaText {
    data: *mut c_char,
    size: usize,
}

#[repr(C)]
pub struct FoveaEncoding {
    size: usize,
    ids: *const u32,
    types: *const u32,
    offsets: *const [usize; 2],
    special: *const u8,
    pieces: *const c_char,
    piece_ends: *const usize,
    owner: *mut c_void,
}

/// What a FoveaEncoding points into.
struct Owner {
    ids: Vec<u32>,
    types: Vec<u32>,
    offsets: Vec<[usize; 2]>,
    special: Vec<u8>,
    pieces: String,
    piece_ends: Vec<usize>,
}

impl From<String> for FoveaText {
    fn from(text: String) -> Self {
        let size = text.len();
        FoveaText { data: Box::into_raw(text.into_bytes().into_boxed_slice()).cast(), size }
    }
}

const DONE: FoveaText = FoveaText { data: ptr::null_mut(), size: 0 };

thread_local!(static GUARDED: Cell<bool> = const { Cell::new(false) });
static QUIET: Once = Once::new();

/// Runs `body`; what it panics with becomes its error, and is not printed as well.
fn guarded<T>(body: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    QUIET.call_once(|| {
        let outer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.with(Cell::get) {
                outer(info)
            }
        }));
    });
    GUARDED.with(|guarded| guarded.set(true));
    let result = catch_unwind(AssertUnwindSafe(body));
    GUARDED.with(|guarded| guarded.set(false));
    result.unwrap_or_else(|panic| Err(format!("the tokenizers library gave up: {}", message_of(panic.as_ref()))))
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

/// The status that an entry returns.
fn status(result: Result<(), String>) -> FoveaText {
    match result {
        Ok(()) => DONE,
        // One line, whatever a library put into its message; never empty, since null means success.
        Err(reason) => FoveaText::from(reason.replace(['\n', '\r', '\0'], " ")),
    }
}

unsafe fn bytes<'a>(data: *const c_char, size: usize) -> &'a [u8] {
    if size == 0 { &[] } else { slice::from_raw_parts(data.cast(), size) }
}

unsafe fn utf8<'a>(what: &str, data: *const c_char, size: usize) -> Result<&'a str, String> {
    str::from_utf8(bytes(data, size)).map_err(|e| format!("{what} is not UTF-8: byte {} is wrong", e.valid_up_to()))
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_create(json: *const c_char, size: usize, out: *mut *mut FoveaTokenizer) -> FoveaText {
    status(guarded(|| {
        let json = bytes(json, size);
        let file = check::File::parse(json)?;
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| e.to_string())?;
        // A folder's own truncation and padding would cut and pad without a word.
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        tokenizer.with_padding(None);
        file.agrees_with(&tokenizer)?;
        let largest_id = file.largest_id().map_or(-1, |id| id as i64);
        *out = Box::into_raw(Box::new(FoveaTokenizer { tokenizer, largest_id }));
        Ok(())
    }))
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_train(lines: *const c_char, size: usize, vocabulary: usize, out: *mut FoveaText) -> FoveaText {
    status(guarded(|| {
        *out = train::train(utf8("the text", lines, size)?, vocabulary)?.into();
        Ok(())
    }))
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_free(tokenizer: *mut FoveaTokenizer) {
    if !tokenizer.is_null() {
        let _ = guarded(|| Ok(drop(Box::from_raw(tokenizer))));
    }
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_encode(
    tokenizer: *const FoveaTokenizer,
    text: *const c_char,
    text_size: usize,
    pair: *const c_char,
    pair_size: usize,
    special: c_int,
    out: *mut FoveaEncoding,
) -> FoveaText {
    status(guarded(|| {
        let tokenizer = &(*tokenizer).tokenizer;
        let text = utf8("the text", text, text_size)?;
        check_words(tokenizer, text)?;
        let input: EncodeInput = if pair.is_null() {
            text.into()
        } else {
            let pair = utf8("the second text", pair, pair_size)?;
            check_words(tokenizer, pair)?;
            (text, pair).into()
        };
        let encoding = tokenizer.encode(input, special != 0).map_err(|e| e.to_string())?;
        *out = flatten(&encoding);
        Ok(())
    }))
}

fn check_words(tokenizer: &Tokenizer, text: &str) -> Result<(), String> {
    let model = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => model,
        ModelWrapper::BPE(_) => return check_spaces(text),
        _ => return Ok(()),
    };
    if model.max_input_chars_per_word <= LONGEST_WORD || text.len() <= LONGEST_WORD {
        return Ok(());
    }
    let longest = match tokenizer.get_pre_tokenizer() {
        Some(_) => text.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0),
        None => text.chars().count(),
    };
    if longest > LONGEST_WORD {
        return Err(format!(
            "a word of {longest} characters: at most {LONGEST_WORD} where max_input_chars_per_word, here {}, does not limit it",
            model.max_input_chars_per_word
        ));
    }
    Ok(())
}

fn check_spaces(text: &str) -> Result<(), String> {
    if text.len() <= LONGEST_RUN_OF_SPACES {
        return Ok(());
    }
    let longest = text.split(|c: char| !c.is_whitespace()).map(|run| run.chars().count()).max().unwrap_or(0);
    if longest > LONGEST_RUN_OF_SPACES {
        return Err(format!("a run of {longest} spaces: at most {LONGEST_RUN_OF_SPACES} can be split; shorten it"));
    }
    Ok(())
}

fn flatten(encoding: &Encoding) -> FoveaEncoding {
    let mut owner = Box::new(Owner {
        ids: encoding.get_ids().to_vec(),
        types: encoding.get_type_ids().to_vec(),
        offsets: encoding.get_offsets().iter().map(|(begin, end)| [*begin, *end]).collect(),
        special: encoding.get_special_tokens_mask().iter().map(|mask| u8::from(*mask != 0)).collect(),
        pieces: String::new(),
        piece_ends: Vec::with_capacity(encoding.len()),
    });
    for piece in encoding.get_tokens() {
        owner.pieces.push_str(piece);
        let end = owner.pieces.len();
        owner.piece_ends.push(end);
    }
    FoveaEncoding {
        size: owner.ids.len(),
        ids: owner.ids.as_ptr(),
        types: owner.types.as_ptr(),
        offsets: owner.offsets.as_ptr(),
        special: owner.special.as_ptr(),
        pieces: owner.pieces.as_ptr().cast(),
        piece_ends: owner.piece_ends.as_ptr(),
        owner: Box::into_raw(owner).cast(),
    }
}

#[no_mangle]
pub unsafe extern "C" fn fovea_encoding_free(encoding: *mut FoveaEncoding) {
    let owner = std::mem::replace(&mut (*encoding).owner, ptr::null_mut());
    if !owner.is_null() {
        drop(Box::from_raw(owner.cast::<Owner>()));
    }
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_decode(
    tokenizer: *const FoveaTokenizer,
    ids: *const u32,
    size: usize,
    skip_special: c_int,
    out: *mut FoveaText,
) -> FoveaText {
    status(guarded(|| {
        let tokenizer = &(*tokenizer).tokenizer;
        let ids = if size == 0 { &[] } else { slice::from_raw_parts(ids, size) };
        // The crate leaves unknown ids out without a word.
        if let Some(id) = ids.iter().find(|id| tokenizer.id_to_token(**id).is_none()) {
            return Err(format!("id {id} is no token of the vocabulary"));
        }
        *out = tokenizer.decode(ids, skip_special != 0).map_err(|e| e.to_string())?.into();
        Ok(())
    }))
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_id_of(tokenizer: *const FoveaTokenizer, piece: *const c_char, size: usize) -> i64 {
    let id = guarded(|| Ok((*tokenizer).tokenizer.token_to_id(utf8("the token", piece, size)?)));
    id.ok().flatten().map_or(-1, i64::from)
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_piece_of(tokenizer: *const FoveaTokenizer, id: u32, out: *mut FoveaText) -> FoveaText {
    status(guarded(|| {
        let piece = (*tokenizer).tokenizer.id_to_token(id).ok_or(format!("id {id} is no token of the vocabulary"))?;
        *out = piece.into();
        Ok(())
    }))
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_size(tokenizer: *const FoveaTokenizer) -> usize {
    guarded(|| Ok((*tokenizer).tokenizer.get_vocab_size(true))).unwrap_or(0)
}

#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_largest_id(tokenizer: *const FoveaTokenizer) -> i64 {
    (*tokenizer).largest_id
}

#[no_mangle]
pub unsafe extern "C" fn fovea_text_free(text: FoveaText) {
    if !text.data.is_null() {
        drop(Box::from_raw(ptr::slice_from_raw_parts_mut(text.data.cast::<u8>(), text.size)));
    }
}
