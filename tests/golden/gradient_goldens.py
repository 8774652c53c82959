"""Operators and their gradients by PyTorch's autograd in float64: what gradient_golden_test.cpp holds Fovea to.

Every case calls PyTorch's own operator or module; only additive attention, which PyTorch lacks, is spelled out. Inputs are
multiples of 2⁻¹⁰, so that they are exact in f32 too.

    python gradient_goldens.py --out tests/golden/data      writes gradients.safetensors
"""
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common import output_folder, write

IDS, TARGETS, CLASSES = [2, 0, 2, 5, 2, 1], [1, -1, 0, 34, 8], 35
LENGTHS = [5, 2, 3]


def causal_attention(q, k, v):
    """[batch, time, heads, dim], one KV head for two query heads."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)


def encoder_layer(x, *parameters):
    """A post-norm layer of PyTorch, two heads. The parameters come in the module's own order."""
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation="gelu", batch_first=True, dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    return torch.func.functional_call(layer, dict(zip(names, parameters)), (x,))


def module(made, parameters, *inputs):
    return torch.func.functional_call(made.double(), dict(zip([n for n, _ in made.named_parameters()], parameters)), inputs)


def lstm_cell(x, hidden, memory, *parameters):
    return torch.cat(module(nn.LSTMCell(7, 5), parameters, x, (hidden, memory)), 1)


def gru_cell(x, state, *parameters): return module(nn.GRUCell(7, 5), parameters, x, state)


def bidirectional_gru(x, *parameters):
    """x [time, batch, in], padded; states [time, batch, 2 · width], zeros beyond each length."""
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    out, _ = module(nn.GRU(7, 4, bidirectional=True), parameters, packed)
    return pad_packed_sequence(out)[0]


def additive_attention(query, key, direction, value):
    """Bahdanau et al. 2014: time first; every sequence sees as many keys as it is long."""
    score = torch.tanh(query[:, None] + key[None]) @ direction  # [queries, keys, batch]
    beyond = torch.arange(key.shape[0])[:, None] >= torch.tensor(LENGTHS)  # [keys, batch]
    return torch.einsum("qkb,kbv->qbv", score.masked_fill(beyond, -torch.inf).softmax(1), value)


def gru_parameters(inputs, width): return [(3 * width, inputs), (3 * width, width), (3 * width,), (3 * width,)]


CASES = {
    "relu": (F.relu, [(3, 19)]),
    "gelu": (F.gelu, [(3, 19)]),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), [(3, 19)]),
    "gelu_quick": (lambda x: x * torch.sigmoid(1.702 * x), [(3, 19)]),
    "silu": (F.silu, [(3, 19)]),
    "tanh": (torch.tanh, [(3, 19)]),
    "sigmoid": (torch.sigmoid, [(3, 19)]),
    "linear": (F.linear, [(5, 7), (3, 7), (3,)]),
    "layer_norm": (lambda x, g, b: F.layer_norm(x, x.shape[-1:], g, b, 1e-5), [(5, 37), (37,), (37,)]),
    "rms_norm": (lambda x, g: F.rms_norm(x, x.shape[-1:], g, 1e-5), [(5, 37), (37,)]),
    "softmax": (lambda x: F.softmax(x, -1), [(4, 35)]),
    "log_softmax": (lambda x: F.log_softmax(x, -1), [(4, 35)]),
    "embedding": (lambda t: F.embedding(torch.tensor(IDS), t), [(6, 5)]),
    "cross_entropy": (lambda x: F.cross_entropy(x, torch.tensor(TARGETS), ignore_index=-1)[None], [(5, CLASSES)]),
    "cross_entropy_smooth": (lambda x: F.cross_entropy(x, torch.tensor(TARGETS), ignore_index=-1, label_smoothing=0.125)[None],
                             [(5, CLASSES)]),
    "attention_causal": (causal_attention, [(2, 6, 2, 8), (2, 6, 1, 8), (2, 6, 1, 5)]),
    "encoder_layer": (encoder_layer, [(1, 9, 8), (24, 8), (24,), (8, 8), (8,), (12, 8), (12,), (8, 12), (8,), (8,), (8,), (8,), (8,)]),
    "gru_cell": (gru_cell, [(3, 7), (3, 5)] + gru_parameters(7, 5)),
    "lstm_cell": (lstm_cell, [(3, 7), (3, 5), (3, 5), (20, 7), (20, 5), (20,), (20,)]),
    "bidirectional_gru": (bidirectional_gru, [(5, 3, 7)] + 2 * gru_parameters(7, 4)),
    "additive_attention": (additive_attention, [(2, 3, 19), (5, 3, 19), (19,), (5, 3, 6)]),
}


def main():
    torch.manual_seed(20)
    tensors = {}
    def numbers(shape): return torch.randint(-1024, 1025, shape).double() / 1024
    for name, (f, shapes) in CASES.items():
        inputs = [numbers(shape).requires_grad_() for shape in shapes]
        out = f(*inputs)
        dout = numbers(out.shape)
        gradients = torch.autograd.grad(out, inputs, dout)
        tensors |= {f"{name}.in{i}": x.float() for i, x in enumerate(inputs)}
        tensors |= {f"{name}.d{i}": x for i, x in enumerate(gradients)}
        tensors |= {f"{name}.out": out, f"{name}.dout": dout.float()}
    write(output_folder() / "gradients.safetensors", tensors)
    print(len(CASES), "operators")


if __name__ == "__main__":
    main()
