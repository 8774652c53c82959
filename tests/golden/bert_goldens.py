"""Four small BERTs with random weights, in genuine Hugging Face folders, and what transformers makes of them: bert_golden_test.cpp.

The folders differ in all that a checkpoint of this family may differ in: size (odd ones too), activation, dtype as stored, one file or
shards, with the `bert.` prefix or without, heads, layer norms named as today or as in the first BERT release. Each is saved, loaded
again by transformers, and run in float64 with eager attention; `expected.safetensors` beside the model holds the results, rounded
once to float32.

    python bert_goldens.py --out tests/golden/data      writes bert_*/
"""
import json
import math
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertTokenizer

from common import output_folder, write

WORDS = """the a of by and to in is was on bank river money flooded water old tree light dark house sees keys query value near far
red green blue one two three four small large runs sleeps every never what where why he she it they not with from then now""".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = SPECIAL + list(".,?!'-") + [c for c in LETTERS if c != "a"] + ["##" + c for c in LETTERS] + WORDS
POSITIONS = 24
LENGTHS = [9, 1, POSITIONS, 13]

SMALL = dict(vocab_size=len(VOCABULARY), max_position_embeddings=POSITIONS)
FOLDERS = {
    "bert_base": dict(
        made_by="BertModel", read_by="BertModel", dtype=torch.float32,
        config=dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, hidden_act="gelu")),
    "bert_masked_lm": dict(
        made_by="BertForMaskedLM", read_by="BertForMaskedLM", dtype=torch.bfloat16,
        config=dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=6, intermediate_size=90, hidden_act="gelu_new",
                    layer_norm_eps=1e-5)),
    "bert_classifier": dict(  # primes: width 35 in 5 heads of 7, feed-forward 53
        made_by="BertForSequenceClassification", read_by="BertForSequenceClassification", dtype=torch.float32, shards="56KB",
        config=dict(hidden_size=35, num_hidden_layers=2, num_attention_heads=5, intermediate_size=53, hidden_act="relu",
                    type_vocab_size=3, id2label={0: "near", 1: "far", 2: "elsewhere"},
                    label2id={"near": 0, "far": 1, "elsewhere": 2})),
    "bert_first_names": dict(  # as bert-base-uncased is stored: both pretraining heads, gamma and beta, a decoder of its own, a buffer
        made_by="BertForPreTraining", read_by="BertForMaskedLM", dtype=torch.float16, first_names=True,
        config=dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=36, hidden_act="gelu")),
}


def randomise(model, rng, dtype):
    """Weights large enough that attention has peaks and no bias is idle; every number is one that `dtype` holds."""
    for name, p in sorted(model.named_parameters()):
        x = rng.standard_normal(tuple(p.shape))
        if "LayerNorm.weight" in name: x = 1 + 0.2 * x
        elif name.endswith("bias"): x = 0.2 * x
        elif "embeddings" in name: x = 0.5 * x
        else: x = x * (2.0 if ".query" in name or ".key" in name else 1.0) / math.sqrt(p.shape[1])
        p.data.copy_(torch.from_numpy(x).to(dtype))
    return model.to(dtype)


def with_first_names(folder):
    """Rewrites model.safetensors as the first BERT release was converted."""
    path = folder / "model.safetensors"
    tensors = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x
               for n, x in load_file(path).items()}
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    tensors["bert.embeddings.position_ids"] = torch.arange(POSITIONS)[None]
    save_file(tensors, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def batch(rng, config):
    """Sequences of different lengths with token types in runs, padded: ids, types, mask [sequences, longest]."""
    ids = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, n in enumerate(LENGTHS):
        ids[row, :n] = torch.from_numpy(rng.randint(5, config.vocab_size, n))
        types[row, :n] = torch.arange(n) * config.type_vocab_size // n
        mask[row, :n] = 1
    return ids, types, mask


@torch.no_grad()
def expected(model, ids, types, mask):
    """Everything that the forward pass shows, real tokens only, packed one sequence after another."""
    real = mask.bool()
    out = model(input_ids=ids, token_type_ids=types, attention_mask=mask, output_hidden_states=True, output_attentions=True,
                return_dict=True)
    t = {"ids": ids[real].int(), "types": types[real].int(), "lengths": mask.sum(1).int()}
    for layer, h in enumerate(out.hidden_states): t[f"hidden.{layer}"] = h[real].float()
    for layer, a in enumerate(out.attentions):
        for row, n in enumerate(LENGTHS): t[f"attention.{layer}.{row}"] = a[row, :, :n, :n].float()  # [heads, n, n]
    base = getattr(model, "bert", model)
    if base.pooler is not None: t["pooled"] = base.pooler(out.hidden_states[-1]).float()
    if "logits" in out:
        per_token = out.logits.dim() == 3
        t["vocabulary_logits" if per_token else "class_logits"] = (out.logits[real] if per_token else out.logits).float()
    return t


@torch.no_grad()
def from_text(model, words):
    """What the model says of a text, for the heads it has."""
    if type(model).__name__ == "BertForMaskedLM":
        text = "the old [MASK] by the river is [MASK]."
        given = words(text, return_tensors="pt")
        p = model(**given).logits.softmax(-1)[given["input_ids"] == words.mask_token_id]  # [masks, vocabulary]
        top = [[dict(id=i, token=VOCABULARY[i], probability=row[i].item()) for i in row.topk(5).indices.tolist()] for row in p]
        return dict(fill=dict(text=text, top=top))
    if type(model).__name__ == "BertForSequenceClassification":
        text, pair = "Where is the money?", "in the old bank"
        def labels(*texts):
            p = model(**words(*texts, return_tensors="pt")).logits.softmax(-1)[0]
            return [dict(name=model.config.id2label[i], probability=p[i].item()) for i in p.argsort(descending=True).tolist()]
        return dict(classify=dict(text=text, pair=pair, alone=labels(text), both=labels(text, pair)))
    return {}


def make(folder, seed, made_by, read_by, dtype, config, shards="1GB", first_names=False):
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.RandomState(seed)
    made = getattr(transformers, made_by)(BertConfig(**SMALL | config)).eval()
    randomise(made, rng, dtype).save_pretrained(folder, max_shard_size=shards)
    if first_names: with_first_names(folder)
    words = BertTokenizer(vocab={w: i for i, w in enumerate(VOCABULARY)})
    words.save_pretrained(folder)
    model, info = getattr(transformers, read_by).from_pretrained(folder, dtype=torch.float64, attn_implementation="eager",
                                                                 output_loading_info=True)
    if info["missing_keys"]: raise SystemExit(f"{folder.name}: transformers did not find {sorted(info['missing_keys'])}")
    model.eval()
    given = batch(rng, model.config)
    t = expected(model, *given)
    if first_names:  # the masked-LM class has no pooler; the plain model reads the one that is stored
        plain = transformers.BertModel.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
        t["pooled"] = expected(plain, *given)["pooled"]
    write(folder / "expected.safetensors", t, text=json.dumps(from_text(model, words)))


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    out = output_folder()
    for seed, (name, what) in enumerate(FOLDERS.items()): make(out / name, 2000 + seed, **what)


if __name__ == "__main__":
    main()
