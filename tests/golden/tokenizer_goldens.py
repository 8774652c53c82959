"""A small WordPiece tokenizer.json, written here by hand, and what Hugging Face's tokenizers make of odd texts with it.

    python tokenizer_goldens.py --out FOLDER

Writes FOLDER/tokenizer/tokenizer.json and FOLDER/tokenizer/encodings.json. Offsets are counted in bytes of UTF-8.
"""
import json
import unicodedata

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from common import output_folder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """
the bank by river was flooded a an of to in it is play ##ing ##ed ##er ##s un ##aff ##able na ##ive cafe resume fur stra ##ße
tokyo 2 20 ##24 ##26 5 ##0 € % . , ! ? ' " - – … ( ) / 漢 字 東 京 日 本 한국 ##어 🙂 ##🙂 👩 ##🔬 مرحبا ##ا при ##вет ¿ co ##operate x ##x don t e i
""".split()
# Their ids follow the vocabulary's: one that takes the space before it, one that only matches whole words.
ADDED = [("<lens>", dict(lstrip=True, normalized=False)), ("fovea", dict(single_word=True, normalized=True))]

TEXTS = [
    "The bank by the river was flooded",
    "  the   bank\tby\nthe river  ",
    "",
    " ",
    "unaffable playing players",
    "Café naïve résumé",
    "Cafe\u0301 re\u0301sume\u0301 nai\u0308ve",            # accents as characters of their own
    "CAFÉ STRASSE straße Straße",
    "the 漢字 of 東京, tokyo日本",
    "한국어 한국",
    "the 🙂 bank🙂 👩‍🔬",                                 # the last: three code points, one of them a joiner
    "привет مرحبا",
    "5% of 20€ is 2024/2026 … – (an \"e\" in it)",
    "don't… ¿coöperate?",
    "the [MASK] was flooded [SEP] by [CLS]",
    "[mask] [MASK][MASK]",
    "the   <lens> bank <LENS> fovea Fovea foveas x-fovea",
    "zero\u200bwidth \u00adsoft\u00a0hyphen",
    "nul \0 and \x07 bell \ufffd and \ufeff bom",
    "x" * 100 + " " + "x" * 101,                          # at and beyond max_input_chars_per_word
    "the river " * 20,                                    # far beyond the truncation section
    "ﬁ ｆｕｌｌ Ⅷ ² İ ı ǅ",
    "a\r\nan\u2028of\u3000to",
]
PAIRS = [
    ("The bank by the river", "was flooded"),
    ("Café 漢字", "🙂 naïve résumé"),
    ("", "the bank"),
    ("the river " * 10, "an [MASK] bank " * 10),
]


def definition():
    words = SPECIAL + [unicodedata.normalize("NFD", w) for w in WORDS]  # as the normalizer leaves texts: jamo for 한국
    assert len(set(words)) == len(words)
    token = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    added = [dict(token, id=i, content=t, special=True) for i, t in enumerate(SPECIAL)]
    added += [dict(token, id=len(words) + i, content=t, **how) for i, (t, how) in enumerate(ADDED)]

    def special(name): return {"SpecialToken": {"id": name, "type_id": 0}}
    def sequence(name, kind): return {"Sequence": {"id": name, "type_id": kind}}
    return {
        "version": "1.0",
        # Both of these must have no effect.
        "truncation": {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                    "pad_token": "[PAD]"},
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]"), sequence("A", 0), special("[SEP]")],
            "pair": [special("[CLS]"), sequence("A", 0), special("[SEP]"), sequence("B", 1),
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {t: {"id": t, "ids": [words.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": {t: i for i, t in enumerate(words)}},
    }


def golden(tokenizer, text, pair, special):
    e = tokenizer.encode(text, pair, add_special_tokens=special)
    inputs = [None if s is None else (text, pair)[s] for s in e.sequence_ids]
    offsets = [[0, 0] if t is None else [len(t[:at].encode()) for at in span] for t, span in zip(inputs, e.offsets)]
    return dict(text=text, pair=pair, special=special, ids=e.ids, types=e.type_ids, offsets=offsets, added=e.special_tokens_mask,
                pieces=e.tokens, decoded=tokenizer.decode(e.ids), decoded_whole=tokenizer.decode(e.ids, skip_special_tokens=False))


def main():
    folder = output_folder() / "tokenizer"
    folder.mkdir(exist_ok=True)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(definition(), ensure_ascii=False, separators=(",", ":")) + "\n")

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    cases = [golden(tokenizer, t, None, s) for t in TEXTS for s in (True, False)]
    cases += [golden(tokenizer, *pair, s) for pair in PAIRS for s in (True, False)]
    # That the two sections are without effect is transformers' doing.
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(path))
    for c in cases:
        assert theirs(c["text"], c["pair"], add_special_tokens=c["special"])["input_ids"] == c["ids"], c["text"]

    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (folder / "encodings.json").write_text(f"[\n{lines}\n]\n")
    for p in sorted(folder.iterdir()): print(f"tokenizer/{p.name}: {p.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
