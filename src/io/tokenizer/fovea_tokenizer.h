/* The C interface between Fovea and Hugging Face's tokenizers (Rust). Used by src/io/tokenizer.cpp alone.
 *
 * Functions that can fail return a FoveaText: data is null on success, else it holds the reason in one line (UTF-8, no NUL at
 * its end), which fovea_text_free releases. Nothing unwinds or aborts across this line, except when memory runs out.
 * A tokenizer is immutable: any number of threads may use it at once. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct FoveaTokenizer FoveaTokenizer;

typedef struct FoveaText {
  char* data;
  size_t size;
} FoveaText;

typedef struct FoveaEncoding {
  size_t size;
  const uint32_t* ids;      /* [size] */
  const uint32_t* types;    /* [size] */
  const size_t* offsets;    /* [size, 2]: begin, end in bytes of the text (or of the pair); 0, 0 for what was added */
  const uint8_t* special;   /* [size]: 1 where the tokenizer added the token */
  const char* pieces;       /* all pieces, one after the other */
  const size_t* piece_ends; /* [size]: where each one ends */
  void* owner;              /* for fovea_encoding_free */
} FoveaEncoding;

/* `json` is the content of a tokenizer.json; its truncation and padding sections are ignored. */
FoveaText fovea_tokenizer_create(const char* json, size_t size, FoveaTokenizer** tokenizer);
void fovea_tokenizer_free(FoveaTokenizer* tokenizer);
/* `json`: a tokenizer.json of at most `vocabulary` tokens, learnt from `lines`, texts with a newline after each. Tokens 0 to 2 are
 * <pad>, </s> (at the end of each text) and <unk>. */
FoveaText fovea_tokenizer_train(const char* lines, size_t size, size_t vocabulary, FoveaText* json);

/* A null `pair` is none. `special`: add what the model expects around a text ([CLS] … [SEP]). */
FoveaText fovea_tokenizer_encode(const FoveaTokenizer* tokenizer, const char* text, size_t text_size, const char* pair,
                                 size_t pair_size, int special, FoveaEncoding* encoding);
void fovea_encoding_free(FoveaEncoding* encoding);

/* An id without a token is an error. `skip_special` leaves special tokens out of the text. */
FoveaText fovea_tokenizer_decode(const FoveaTokenizer* tokenizer, const uint32_t* ids, size_t size, int skip_special,
                                 FoveaText* text);

/* -1: no such token. */
int64_t fovea_tokenizer_id_of(const FoveaTokenizer* tokenizer, const char* piece, size_t size);
/* An id without a token is an error. */
FoveaText fovea_tokenizer_piece_of(const FoveaTokenizer* tokenizer, uint32_t id, FoveaText* piece);
/* Tokens, added ones included. */
size_t fovea_tokenizer_size(const FoveaTokenizer* tokenizer);
/* The largest id of any token; -1 for an empty vocabulary. */
int64_t fovea_tokenizer_largest_id(const FoveaTokenizer* tokenizer);

void fovea_text_free(FoveaText text);

#ifdef __cplusplus
}
#endif
