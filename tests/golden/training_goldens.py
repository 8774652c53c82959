"""Fifty steps of training in PyTorch: a small Marian of transformers, torch.optim.AdamW, clipping, warm-up and fall: training_golden_test.cpp.

`training.safetensors` holds the weights before the first step, the texts of every step, and in its metadata the loss and the gradient's norm at
each: what a learner must go through when it starts from the same weights and reads the same batches. Computed in float64.

    python training_goldens.py --out tests/golden/data      writes training.safetensors
"""
import json

import numpy as np
import torch
import transformers
from transformers import MarianConfig

from common import output_folder, write

STEPS, BATCH, VOCABULARY, POSITIONS, WIDTH = 50, 6, 20, 16, 24
PAD, EOS = 0, 1
PEAK, WARMUP, HOLD, DECAY, CLIP, SMOOTHING = 4e-3, 8, 0.3, 0.02, 1.0, 0.05


def new_model(rng):
    config = MarianConfig(
        vocab_size=VOCABULARY, d_model=WIDTH, encoder_layers=2, decoder_layers=1, encoder_attention_heads=3, decoder_attention_heads=3,
        encoder_ffn_dim=40, decoder_ffn_dim=40, activation_function="relu", max_position_embeddings=POSITIONS, dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, scale_embedding=True, pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD, forced_eos_token_id=None,
        attn_implementation="eager")
    model = transformers.MarianMTModel(config).double()
    start = {}
    for name, p in sorted(model.named_parameters()):
        if "embed_positions" in name:
            p.requires_grad_(False)
            continue
        x = rng.standard_normal(tuple(p.shape)) * 0.6 / WIDTH**0.5
        if "layer_norm.weight" in name: x = 1 + x
        start[name] = torch.from_numpy(x.astype(np.float32))
        p.data.copy_(start[name])
    for half in (model.model.encoder, model.model.decoder): half.embed_positions.weight.data = half.embed_positions.create_weight().double()
    start["final_logits_bias"] = torch.zeros(1, VOCABULARY)
    return model.train(), start


def texts(rng):
    """Random words, and the same backwards; of any length."""
    sources = [rng.randint(3, VOCABULARY, rng.randint(1, POSITIONS)).tolist() for _ in range(STEPS * BATCH)]
    return [s + [EOS] for s in sources], [s[::-1] + [EOS] for s in sources]


def padded(rows):
    ids = torch.full((len(rows), max(map(len, rows))), PAD)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows): ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
    return ids, mask


def rate_of(step):
    """Warm-up in a line, then PEAK, then from HOLD of the steps on in a line to nothing."""
    return PEAK * min(1, (step + 1) / WARMUP) * min(1, (STEPS - step) / (STEPS * (1 - HOLD)))


def train(model, sources, targets):
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW([dict(params=[p for p in learnt if p.dim() > 1], weight_decay=DECAY),
                                   dict(params=[p for p in learnt if p.dim() == 1], weight_decay=0.0)], betas=(0.9, 0.98), eps=1e-9)
    losses, norms = [], []
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        (ids, mask), (expected, real) = padded(sources[batch]), padded(targets[batch])
        written, _ = padded([[PAD] + t[:-1] for t in targets[batch]])
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=written, decoder_attention_mask=real, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[real.bool()], expected[real.bool()], label_smoothing=SMOOTHING)
        optimiser.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(learnt, CLIP).item())
        losses.append(loss.item())
        for group in optimiser.param_groups: group["lr"] = rate_of(step)
        optimiser.step()
    return losses, norms


def main():
    transformers.logging.set_verbosity_error()
    rng = np.random.RandomState(4000)
    model, start = new_model(rng)
    sources, targets = texts(rng)
    losses, norms = train(model, sources, targets)
    tensors = {f"start.{name}": x for name, x in start.items()}
    for name, rows in (("sources", sources), ("targets", targets)):
        tensors[name] = torch.tensor([x for row in rows for x in row], dtype=torch.int32)
        tensors[f"{name}.lengths"] = torch.tensor([len(row) for row in rows], dtype=torch.int32)
    end = {f"end.{n}": p.detach().float() for n, p in model.named_parameters() if p.requires_grad and ("shared" in n or "fc1" in n)}
    write(output_folder() / "training.safetensors", tensors | end, losses=json.dumps(losses), norms=json.dumps(norms))


if __name__ == "__main__":
    main()
