"""Two hundred steps of training in PyTorch: training_golden_test.cpp.

A small Marian of transformers learns to write random words backwards, with torch.optim.AdamW, clipping of the gradient, and a rate that rises and
falls. `training.safetensors` holds the weights before the first step, the texts of every step, and in its metadata the loss and the gradient's norm
at each: what a learner has to go through that starts from the same weights and reads the same batches. Float64.

    python training_goldens.py --out tests/golden/data      writes training.safetensors
"""
import json

import numpy as np
import torch
import transformers
from transformers import MarianConfig

from common import output_folder, write

STEPS, BATCH, VOCABULARY, POSITIONS, WIDTH, HIDDEN = 200, 4, 20, 12, 16, 32
PAD, EOS = 0, 1
PEAK, WARMUP, HOLD, DECAY, CLIP, SMOOTHING = 4e-3, 20, 0.3, 0.02, 1.0, 0.05


def new_model(rng):
    """Weights of the size that training starts from; every number is one that f32 holds."""
    model = transformers.MarianMTModel(MarianConfig(
        vocab_size=VOCABULARY, d_model=WIDTH, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=HIDDEN, decoder_ffn_dim=HIDDEN, activation_function="relu", max_position_embeddings=POSITIONS, dropout=0.0,
        attention_dropout=0.0, activation_dropout=0.0, scale_embedding=True, pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD,
        forced_eos_token_id=None, attn_implementation="eager")).double()
    for half in (model.model.encoder, model.model.decoder):
        half.embed_tokens.padding_idx = None  # the start token is the pad token, and its vector is learnt too
        # Sinusoids, in f64 from the formula.
        half.embed_positions.weight.data = half.embed_positions.create_weight().double()
        half.embed_positions.weight.requires_grad_(False)
    start = {"final_logits_bias": torch.zeros(1, VOCABULARY)}
    for name, p in sorted(model.named_parameters()):
        if not p.requires_grad: continue
        x = rng.standard_normal(tuple(p.shape)) * 0.6 / WIDTH**0.5
        if "layer_norm.weight" in name: x = 1 + 0.2 * x
        start[name] = torch.from_numpy(x.astype(np.float32))
        p.data.copy_(start[name])
    return model.train(), start


def padded(rows):
    ids = torch.full((len(rows), max(map(len, rows))), PAD)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows): ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
    return ids, mask


def rate_of(step):
    """A line up over WARMUP steps, PEAK, and from HOLD of all steps on a line down to nothing."""
    return PEAK * min(1, (step + 1) / WARMUP) * min(1, (1 - step / STEPS) / (1 - HOLD))


def train(model, sources, targets):
    learnt = [p for p in model.parameters() if p.requires_grad]
    groups = [dict(params=[p for p in learnt if (p.dim() > 1) == matrices], weight_decay=DECAY * matrices) for matrices in (True, False)]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-9)
    losses, norms = [], []
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        (ids, mask), (expected, real) = padded(sources[batch]), padded(targets[batch])
        written, _ = padded([[PAD] + t[:-1] for t in targets[batch]])
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=written, decoder_attention_mask=real, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[real.bool()], expected[real.bool()], label_smoothing=SMOOTHING)
        for group in optimiser.param_groups: group["lr"] = rate_of(step)
        optimiser.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(learnt, CLIP).item())
        losses.append(loss.item())
        optimiser.step()
    return losses, norms


def main():
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    rng = np.random.RandomState(4000)
    model, start = new_model(rng)
    sources = [rng.randint(3, VOCABULARY, rng.randint(1, POSITIONS - 1)).tolist() for _ in range(STEPS * BATCH)]
    targets = [s[::-1] + [EOS] for s in sources]
    sources = [s + [EOS] for s in sources]
    losses, norms = train(model, sources, targets)
    tensors = {f"start.{name}": x for name, x in start.items()}
    tensors["sources"] = torch.tensor([x for row in sources for x in row], dtype=torch.uint8)  # each ends with EOS; targets are these turned
    write(output_folder() / "training.safetensors", tensors, losses=json.dumps(losses), norms=json.dumps(norms))


if __name__ == "__main__":
    main()
