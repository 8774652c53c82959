"""Two small recurrent encoder–decoders with random weights, as PyTorch computes them: recurrent_golden_test.cpp.

One with additive attention (Bahdanau et al. 2014), one without. The recurrences are torch.nn.GRU and torch.nn.GRUCell; what PyTorch lacks, the
additive attention and what predicts a word, is spelled out below from the papers' formulas, one sentence at a time and without padding. Float64.
`expected.safetensors` beside each model holds annotations, every attention weight, logits, and the text that greedy choice writes.

    python recurrent_goldens.py --out tests/golden/data      writes recurrent_additive/ and recurrent_none/
"""
import json
import shutil

import numpy as np
import torch
from safetensors.torch import save_file

from common import output_folder, write

VOCABULARY, WIDTH, POSITIONS, LONGEST = 29, 18, 24, 16
SOURCES, TARGETS = [9, 1, 14, 5], [6, 11, 2, 1]


class Model(torch.nn.Module):
    def __init__(self, attention):
        super().__init__()
        linear = lambda out, bias: torch.nn.Linear(WIDTH, out, bias)
        self.attention = attention
        self.words = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.encoder = torch.nn.GRU(WIDTH, WIDTH // 2, bidirectional=True)
        self.initial = linear(WIDTH, True)
        if attention: self.query, self.key, self.direction = linear(WIDTH, False), linear(WIDTH, True), torch.nn.Parameter(torch.zeros(WIDTH))
        self.cell = torch.nn.GRUCell(2 * WIDTH, WIDTH)  # of [word, context]
        self.out = torch.nn.Linear(3 * WIDTH, WIDTH)  # of [state, context, word]
        self.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))

    def read(self, ids):
        annotations, last = self.encoder(self.words(ids))  # [tokens, width], [2, width / 2]
        return annotations, last.reshape(WIDTH)

    def step(self, word, state, annotations, fixed):
        weights, context = None, fixed
        if self.attention:
            weights = torch.softmax(torch.tanh(self.query(state) + self.key(annotations)) @ self.direction, 0)
            context = weights @ annotations
        y = self.words(word)
        state = self.cell(torch.cat([y, context])[None], state[None])[0]
        hidden = torch.tanh(self.out(torch.cat([state, context, y])))
        return state, weights, self.words.weight @ hidden + self.bias

    def tensors(self):
        """By the names of the folder: what the cell and the output join are parts of their own there."""
        word, context = self.cell.weight_ih.split(WIDTH, 1)
        of_state, of_context, of_word = self.out.weight.split(WIDTH, 1)
        t = {"words.weight": self.words.weight, "initial.weight": self.initial.weight, "initial.bias": self.initial.bias,
             "decoder.word.weight": word, "decoder.word.bias": self.cell.bias_ih, "decoder.context.weight": context,
             "decoder.state.weight": self.cell.weight_hh, "decoder.state.bias": self.cell.bias_hh, "readout.state.weight": of_state,
             "readout.state.bias": self.out.bias, "readout.context.weight": of_context, "readout.word.weight": of_word, "output.bias": self.bias}
        t |= {f"encoder.{name}": p for name, p in self.encoder.named_parameters()}
        if self.attention:
            t |= {"attention.query.weight": self.query.weight, "attention.key.weight": self.key.weight,
                  "attention.key.bias": self.key.bias, "attention.direction": self.direction}
        return t


def randomise(model, rng):
    """Weights large enough that attention has peaks; every number is one that f32 holds."""
    for name, p in sorted(model.named_parameters()):
        scale = 1.5 if name == "direction" else 0.2 if "bias" in name else 0.45
        p.data = torch.from_numpy((scale * rng.standard_normal(tuple(p.shape))).astype(np.float32)).double()
    model.bias.data[1] += 1  # some texts end
    return model


def greedy(model, ids):
    annotations, fixed = model.read(ids)
    state, text = torch.tanh(model.initial(fixed)), [0]
    while text[-1] != 1 and len(text) < LONGEST:
        state, _, logits = model.step(torch.tensor(text[-1]), state, annotations, fixed)
        logits[0] = -torch.inf  # the pad token is never written
        text.append(logits.argmax().item())
    return text


@torch.no_grad()
def make(folder, seed, attention):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rng = np.random.RandomState(seed)
    model = randomise(Model(attention).double(), rng)
    (folder / "config.json").write_text(json.dumps(dict(
        architectures=["FoveaRecurrent"], model_type="fovea_recurrent", is_encoder_decoder=True, attention="additive" if attention else "none",
        vocab_size=VOCABULARY, hidden_size=WIDTH, max_position_embeddings=POSITIONS, dropout=0.1, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0), indent=2) + "\n")
    save_file({n: x.float().contiguous().clone() for n, x in model.tensors().items()}, folder / "model.safetensors", {"format": "pt"})
    sources = [torch.from_numpy(rng.randint(2, VOCABULARY, n)) for n in SOURCES]
    targets = [torch.from_numpy(np.concatenate([[0], rng.randint(2, VOCABULARY, n - 1)])) for n in TARGETS]
    t = {"sources": torch.cat(sources).int(), "source_lengths": torch.tensor(SOURCES, dtype=torch.int32),
         "targets": torch.cat(targets).int(), "target_lengths": torch.tensor(TARGETS, dtype=torch.int32)}
    annotations, logits = [], []
    for i, (source, target) in enumerate(zip(sources, targets)):
        seen, fixed = model.read(source)
        annotations.append(seen)
        state, rows = torch.tanh(model.initial(fixed)), []
        for word in target:
            state, weights, out = model.step(word, state, seen, fixed)
            logits.append(out)
            if attention: rows.append(weights)
        if attention: t[f"cross.{i}"] = torch.stack(rows).float()  # [queries, keys]
    t["annotations"], t["logits"] = torch.cat(annotations).float(), torch.stack(logits).float()
    write(folder / "expected.safetensors", t, written=json.dumps([greedy(model, s) for s in sources]))


def main():
    out = output_folder()
    make(out / "recurrent_additive", 5000, True)
    make(out / "recurrent_none", 5001, False)


if __name__ == "__main__":
    main()
