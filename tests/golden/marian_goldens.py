"""Three small encoder–decoders with random weights, in genuine Hugging Face folders, and what transformers makes of them: marian_golden_test.cpp.

Two Marians and a BART, which differ in all that folders of this kind may differ in: sizes (odd ones, other heads in the decoder), activation,
dtype as stored, sinusoidal or learned positions, a norm over the embedding, scaled embeddings, a bias on the logits. Each is saved, loaded again
by transformers, and run in float64 with eager attention: `expected.safetensors` beside the model holds hidden states and attentions of both
halves, logits of targets that are given, and (in its metadata) the texts that generate() finds under a dozen configurations, with scores.

    python marian_goldens.py --out tests/golden/data      writes marian_*/ and bart_*/
"""
import json
import math
import shutil

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BartConfig, GenerationConfig, MarianConfig, PreTrainedTokenizerFast

from common import output_folder, write

WORDS = """the a of by and to in is was on bank river money flooded water old tree light dark house le la un une de et dans est sur banque
rivière argent eau vieux arbre lumière sombre maison . , ?""".split()
PAD, EOS, UNK = 0, 1, 2
VOCABULARY = ["<pad>", "</s>", "<unk>"] + WORDS
POSITIONS = 24
SOURCES, TARGETS = [9, 1, POSITIONS, 13, 5], [6, POSITIONS, 2, 11, 1]

SMALL = dict(vocab_size=len(VOCABULARY), max_position_embeddings=POSITIONS, pad_token_id=PAD, eos_token_id=EOS, bos_token_id=None,
             decoder_start_token_id=PAD, forced_eos_token_id=None, dropout=0.1)
FOLDERS = {
    "marian_small": dict(
        kind="Marian", dtype=torch.float32, generation=dict(num_beams=1, bad_words_ids=[[PAD]], no_repeat_ngram_size=1, max_length=20),
        config=dict(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
                    decoder_ffn_dim=40, activation_function="relu", scale_embedding=True)),
    "marian_odd": dict(  # width 30: encoder heads of 6, decoder heads of 5
        kind="Marian", dtype=torch.bfloat16, generation=dict(num_beams=3, bad_words_ids=[[PAD], [7, 9]], length_penalty=0.6,
                                                            no_repeat_ngram_size=2),
        config=dict(d_model=30, encoder_layers=3, decoder_layers=1, encoder_attention_heads=5, decoder_attention_heads=6, encoder_ffn_dim=37,
                    decoder_ffn_dim=41, activation_function="swish", scale_embedding=False)),
    "bart_small": dict(
        kind="Bart", dtype=torch.float16,
        generation=dict(num_beams=4, no_repeat_ngram_size=3, early_stopping=True, forced_eos_token_id=EOS, forced_bos_token_id=5),
        config=dict(d_model=28, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=7, encoder_ffn_dim=32,
                    decoder_ffn_dim=56, activation_function="gelu", scale_embedding=False)),
}
RUNS = [  # beside the folder's own
    dict(num_beams=1), dict(num_beams=1, max_length=6, forced_eos_token_id=EOS), dict(num_beams=1, min_length=9),
    dict(num_beams=1, no_repeat_ngram_size=1), dict(num_beams=1, no_repeat_ngram_size=0), dict(num_beams=2), dict(num_beams=4, num_return_sequences=4),
    dict(num_beams=4, length_penalty=2.0, num_return_sequences=2), dict(num_beams=4, length_penalty=0.0), dict(num_beams=3, length_penalty=-1.0),
    dict(num_beams=4, early_stopping=True, num_return_sequences=3), dict(num_beams=4, early_stopping="never", length_penalty=1.5),
    dict(num_beams=3, max_length=5, num_return_sequences=3), dict(num_beams=5, max_length=8, forced_eos_token_id=EOS),
    dict(num_beams=3, bad_words_ids=[[PAD], [4], [6, 8], [11, 12, 13]]), dict(num_beams=2, eos_token_id=[EOS, 10], min_length=4),
]


def randomise(model, rng, dtype):
    """Weights large enough that attention has peaks and no bias is idle; every number is one that `dtype` holds."""
    for name, p in sorted(model.named_parameters()):
        if "embed_positions" in name and not p.requires_grad: continue  # Marian's sinusoids
        x = rng.standard_normal(tuple(p.shape))
        if "layer_norm.weight" in name or "layernorm_embedding.weight" in name: x = 1 + 0.2 * x
        elif name.endswith("bias"): x = 0.2 * x
        elif "shared" in name or "embed" in name: x = 0.5 * x
        else: x = x * (2.0 if "q_proj" in name or "k_proj" in name else 1.0) / math.sqrt(p.shape[1])
        p.data.copy_(torch.from_numpy(x).to(dtype))
    bias = 0.3 * rng.standard_normal(tuple(model.final_logits_bias.shape))
    bias[0, EOS] = 1.5  # some texts end, others reach max_length
    model.final_logits_bias.copy_(torch.from_numpy(bias).to(dtype))
    return model.to(dtype)


def tokenizer():
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=POSITIONS)


def batch(rng, lengths, first):
    """Random sequences, padded: ids, mask [sequences, longest]. `first`: what each begins with."""
    ids = torch.full((len(lengths), max(lengths)), PAD, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, n in enumerate(lengths):
        ids[row, :n] = torch.from_numpy(rng.randint(3, len(VOCABULARY), n))
        if first is not None: ids[row, 0] = first
        mask[row, :n] = 1
    return ids, mask


@torch.no_grad()
def expected(model, sources, targets):
    """Everything that a pass shows, real tokens only, packed one sequence after another."""
    (ids, mask), (written, written_mask) = sources, targets
    out = model(input_ids=ids, attention_mask=mask, decoder_input_ids=written, decoder_attention_mask=written_mask, use_cache=False,
                output_hidden_states=True, output_attentions=True, return_dict=True)
    real, real_written = mask.bool(), written_mask.bool()
    t = {"sources": ids[real].int(), "source_lengths": mask.sum(1).int(), "targets": written[real_written].int(),
         "target_lengths": written_mask.sum(1).int(), "logits": out.logits[real_written].float()}
    for layer, h in enumerate(out.encoder_hidden_states): t[f"encoder.hidden.{layer}"] = h[real].float()
    for layer, h in enumerate(out.decoder_hidden_states): t[f"decoder.hidden.{layer}"] = h[real_written].float()
    for row, (n, m) in enumerate(zip(SOURCES, TARGETS)):  # [heads, queries, keys]
        for layer, a in enumerate(out.encoder_attentions): t[f"encoder.{layer}.{row}"] = a[row, :, :n, :n].float()
        for layer, a in enumerate(out.decoder_attentions): t[f"decoder.{layer}.{row}"] = a[row, :, :m, :m].float()
        for layer, a in enumerate(out.cross_attentions): t[f"cross.{layer}.{row}"] = a[row, :, :m, :n].float()
    return t


def stripped(ids, ends=EOS):
    """Up to the first end: what follows is filling."""
    ids, ends = ids.tolist(), ends if isinstance(ends, list) else [ends]
    return ids[: next((i + 1 for i, x in enumerate(ids) if x in ends and i > 0), len(ids))]


@torch.no_grad()
def generated(model, sources):
    """One source at a time, so that no padding has a say: what generate() returns, best first, with scores where it has them."""
    base = dict(decoder_start_token_id=PAD, eos_token_id=EOS, pad_token_id=PAD, bad_words_ids=[[PAD]], max_length=18,
                no_repeat_ngram_size=2)  # what random weights write repeats itself otherwise
    runs = []
    for run in [None] + RUNS:
        how = model.generation_config if run is None else GenerationConfig(**base | run)
        if run is not None: model.generation_config = GenerationConfig()  # generate() would fill in from it what is not said
        results = []
        for ids, mask in zip(*sources):
            ids = ids[: mask.sum()][None]
            out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=how, return_dict_in_generate=True,
                                 output_scores=True)
            scores = out.sequences_scores.tolist() if "sequences_scores" in out else [None]
            results.append([dict(ids=stripped(s, how.eos_token_id), score=score) for s, score in zip(out.sequences, scores)])
        runs.append(dict(config=None if run is None else base | run, results=results))
    return runs


@torch.no_grad()
def from_text(model, words):
    text = "the old bank by the river was flooded ."
    given = words(text, return_tensors="pt")
    out = model.generate(input_ids=given["input_ids"], attention_mask=given["attention_mask"])[0]
    return dict(text=text, ids=stripped(out), translation=words.decode(out, skip_special_tokens=True))


def make(folder, seed, kind, dtype, generation, config):
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.RandomState(seed)
    config_class = MarianConfig if kind == "Marian" else BartConfig
    model_class = transformers.MarianMTModel if kind == "Marian" else transformers.BartForConditionalGeneration
    made = randomise(model_class(config_class(**SMALL | config)).eval(), rng, dtype)
    made.generation_config = GenerationConfig(
        **dict(decoder_start_token_id=PAD, eos_token_id=EOS, pad_token_id=PAD, max_length=POSITIONS) | generation)
    made.save_pretrained(folder)
    words = tokenizer()
    words.save_pretrained(folder)
    model, info = model_class.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
    if info["missing_keys"]: raise SystemExit(f"{folder.name}: transformers did not find {sorted(info['missing_keys'])}")
    model.eval()
    if kind == "Marian":  # sinusoids in f64 from the formula, not rounded through the checkpoint's dtype
        for half in (model.model.encoder, model.model.decoder): half.embed_positions.weight.data = half.embed_positions.create_weight().double()
    sources, targets = batch(rng, SOURCES, None), batch(rng, TARGETS, PAD)
    t = expected(model, sources, targets)
    text = from_text(model, words)
    write(folder / "expected.safetensors", t, text=json.dumps(text), generated=json.dumps(generated(model, sources)))


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    out = output_folder()
    for seed, (name, what) in enumerate(FOLDERS.items()): make(out / name, 3000 + seed, **what)


if __name__ == "__main__":
    main()
