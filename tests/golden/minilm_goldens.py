"""The real MiniLM (all-MiniLM-L6-v2) by transformers' eager BertModel in float64: what minilm_golden_test.cpp holds Fovea to.

Ten sentences with every attention weight, and a text of 256 tokens of which chosen query rows and tokens are kept (in full it is
19 MB; `oracles.sh` compares all of it, from the file that --full writes). Results are rounded once, to float32.

    python minilm_goldens.py --model FOLDER --out tests/golden/data      writes minilm.safetensors
    python minilm_goldens.py --model FOLDER --full FILE                  writes everything about the long text, and prints the text
"""
import argparse
import json
import pathlib

import torch
from transformers import AutoTokenizer, BertModel

from common import write

SENTENCES = [
    "The bank by the river was flooded",
    "No.",
    "Café déjà vu, señor?",
    "In 1969, 600,000 people watched; 12.5% slept.",
    "colorless green ideas sleep furiously",
    "She didn't say he'd lied.",
    "東京 means “eastern capital”.",
    "The key to the cabinets is lost.",
    "antidisestablishmentarianism",
    "e = mc² — 🙂 ok",
]

LONG_TOKENS = 256  # [CLS] and [SEP] included
LONG_TEXT = """
The lighthouse keeper climbed the hundred and ninety-nine steps every evening, counting them under his breath, because once, in
the winter of 1911, he had reached the top and found two hundred. He had told nobody but the gull that nested on the rail. Below
him the harbour lay like a spilled drawer of silver: herring boats, a customs cutter, the ferry that always arrived late and left
early. When the lamp was lit its beam went round the bay, over the church, over the cannery, over the window of the schoolteacher
who was writing, as she did each night, to a brother who had stopped answering. "The light passed just now," she wrote, "so it
must be a quarter past six." It was twenty past; the keeper had stopped to rest. A fog came in from the north-west, not quickly,
and took the cutter first, then the boats, then the steps. He could hear the bell buoy but not see it. Somewhere a horn answered:
three short, one long, which meant that a pilot was wanted, or that a boy had been left alone in a wheelhouse. The keeper turned
the crank, trimmed the wick, and began to count aloud, so that whoever was out there might have at least a number to steer by.
In the morning the fog lifted. On the rail, where the gull should have been,
"""
LONG_ROWS = [0, 63, 64, 255]        # query rows whose weights are kept, on either side of tiles
LONG_TOKENS_KEPT = [0, 64, 127, 255]  # tokens whose hidden states are kept


def long_text(words):
    """As many whole words of LONG_TEXT as make LONG_TOKENS tokens."""
    parts = LONG_TEXT.split()
    for n in range(len(parts), 0, -1):
        text = " ".join(parts[:n])
        if len(words(text)["input_ids"]) <= LONG_TOKENS: break
    if len(words(text)["input_ids"]) != LONG_TOKENS: raise SystemExit(f"the text has {len(words(text)['input_ids'])} tokens")
    return text


@torch.no_grad()
def run(model, words, text):
    """ids [tokens], hidden [layers + 1, tokens, width], attention [layers, heads, tokens, tokens], embedding [width], in float64."""
    given = words(text, return_tensors="pt")
    out = model(**given, output_hidden_states=True, output_attentions=True)
    mean = out.last_hidden_state[0].mean(0)  # one text: no padding to leave out
    return (given["input_ids"][0].int(), torch.cat(out.hidden_states), torch.cat(out.attentions), mean / mean.norm())


def kept(n): return [n // 2]  # tokens of a sentence whose hidden states are kept; the weights come from those of all


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--full", type=pathlib.Path)
    args = parser.parse_args()
    words = AutoTokenizer.from_pretrained(args.model)
    model = BertModel.from_pretrained(args.model, dtype=torch.float64, attn_implementation="eager").eval()
    text = long_text(words)
    ids, hidden, attention, embedding = run(model, words, text)
    if args.full:
        t = {"ids": ids, "embedding": embedding.float()}
        t |= {f"attention.encoder.{l}": a.float() for l, a in enumerate(attention)}
        t |= {f"hidden.encoder.{l}": h.float() for l, h in enumerate(hidden)}
        single = BertModel.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager").eval()
        for l, a in enumerate(run(single, words, text)[2]):  # how far float32 itself is, in transformers' own hands
            t[f"single.attention.encoder.{l}"] = (a - attention[l]).abs().max().float()
        write(args.full, t)
        print(text)
    if not args.out: return
    t = {"long.ids": ids, "long.embedding": embedding.float(), "long.rows": torch.tensor(LONG_ROWS).int(),
         "long.attention": attention[:, :, LONG_ROWS].float(),  # [layers, heads, rows, keys]
         "long.tokens": torch.tensor(LONG_TOKENS_KEPT).int(), "long.hidden": hidden[:, LONG_TOKENS_KEPT].float()}
    for i, sentence in enumerate(SENTENCES):
        ids, hidden, attention, embedding = run(model, words, sentence)
        some = kept(len(ids))
        t |= {f"{i}.ids": ids, f"{i}.embedding": embedding.float(), f"{i}.attention": attention.float(),
              f"{i}.tokens": torch.tensor(some).int(), f"{i}.hidden": hidden[:, some].float()}
    write(args.out / "minilm.safetensors", t, sentences=json.dumps(SENTENCES, ensure_ascii=False), long=text)


if __name__ == "__main__":
    main()
