"""Attention on small tensors, in float64, by PyTorch: what attention_golden_test.cpp holds Fovea to.

Every case is computed by a plain formula (gradients by autograd) and then again by whichever published implementation can say
the same thing: PyTorch's scaled_dot_product_attention and FlexAttention, the eager attention of transformers' gpt-oss for sinks.
They must agree before anything is written. Masks are spelled out here element by element, not taken from Fovea.

    python attention_goldens.py --out tests/golden/data      writes attention.safetensors
"""
import json
import math
import types
import warnings

import numpy as np
import torch
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward as gpt_oss_attention

from common import output_folder, write

INF = math.inf
BR, TL = "bottom-right", "top-left"


def case(name, batch, queries, keys, heads, kv_heads, head_dim, value_dim, *, mask=None, score=(), dtype="F32", **rest):
    """One problem. mask: an expression (see `sees`); score: what is applied to the logits, in this order.

    rest: scale; sinks (bool); bias and grid (the four broadcast flags of their shape, with bias_hides or rows hidden);
    q_lengths, kv_lengths; q_ends, kv_ends (packed); gain (multiplies q: large scores); free_slopes (no powers of two).
    """
    return dict(name=name, batch=batch, queries=queries, keys=keys, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
                value_dim=value_dim, mask=mask, score=list(score), dtype=dtype, **rest)


def causal(align=BR): return dict(kind="causal", align=align)
def window(left, right, align=BR): return dict(kind="window", left=left, right=right, align=align)
def prefix(length, align=BR): return dict(kind="prefix", length=length, align=align)
def chunked(size, align=BR): return dict(kind="chunked", size=size, align=align)
def documents(*ends, align=BR): return dict(kind="documents", ends=list(ends), align=align)
def both(*parts): return dict(kind="all", parts=list(parts))
def either(*parts): return dict(kind="any", parts=list(parts))
def no(part): return dict(kind="except", parts=[part])
GRID = dict(kind="grid")  # the boolean tensor `<case>.grid`

CAP5, CAP30, CAP50 = (dict(kind="softcap", cap=c) for c in (5.0, 30.0, 50.0))
BIAS = dict(kind="bias")
def alibi(align=BR): return dict(kind="alibi", align=align)


#         name                          B  S    K    H  KV D    Dv
CASES = [
    case("full",                        2, 5,   7,   3, 3, 8,   8),
    case("one",                         1, 1,   1,   1, 1, 1,   1),
    case("primes",                      1, 13,  17,  3, 3, 7,   5),
    case("no_keys",                     1, 3,   0,   2, 2, 4,   3),
    case("decode_grouped",              1, 1,   129, 6, 2, 3,   2,  dtype="BF16"),
    case("grouped",                     2, 5,   9,   6, 2, 8,   4),
    case("multi_query",                 1, 6,   7,   5, 1, 9,   11, dtype="F16"),
    case("wide_head",                   1, 3,   5,   1, 1, 160, 2),
    case("wide_value",                  1, 3,   5,   1, 1, 2,   130),
    case("scale",                       1, 5,   6,   2, 2, 8,   8, scale=0.3, dtype="BF16"),
    case("scale_negative",              1, 5,   6,   2, 1, 4,   3, scale=-0.25),
    case("scale_zero",                  1, 4,   6,   2, 2, 4,   3, scale=0.0, dtype="BF16"),
    case("huge_scores",                 1, 6,   9,   2, 2, 8,   8, gain=6000.0),
    case("huge_scores_half",            1, 6,   9,   2, 2, 4,   3, gain=4096.0, dtype="BF16"),

    case("causal_square",               1, 9,   9,   2, 2, 4,   3, mask=causal(), dtype="BF16"),
    case("causal_bottom_right",         1, 5,   12,  2, 2, 4,   3, mask=causal()),
    case("causal_bottom_right_empty",   1, 11,  4,   2, 1, 8,   6, mask=causal()),
    case("causal_top_left",             1, 5,   12,  2, 2, 4,   3, mask=causal(TL), dtype="BF16"),
    case("causal_top_left_tall",        1, 11,  4,   2, 2, 4,   3, mask=causal(TL)),
    case("causal_on_key",               1, 4,   13,  2, 2, 4,   3, mask=causal(5)),

    case("window_both",                 1, 13,  13,  2, 2, 4,   3, mask=window(3, 2), dtype="F16"),
    case("window_left",                 1, 7,   19,  2, 2, 4,   3, mask=window(4, 0)),
    case("window_unbounded_left",       1, 7,   11,  2, 2, 4,   3, mask=window(-1, 3)),
    case("window_unbounded_right",      1, 7,   11,  2, 2, 4,   3, mask=window(2, -1)),
    case("window_self",                 1, 7,   7,   2, 2, 4,   3, mask=window(0, 0), dtype="BF16"),
    case("window_top_left",             1, 6,   11,  2, 2, 4,   3, mask=window(1, 1, TL)),
    case("window_empty_rows",           1, 12,  5,   2, 2, 4,   3, mask=window(2, 1)),

    case("grid_shared",                 2, 6,   7,   2, 2, 4,   3, mask=GRID, grid=[0, 0, 1, 1], dtype="BF16"),
    case("grid_padding",                3, 4,   9,   2, 2, 4,   3, mask=GRID, grid=[1, 0, 0, 1]),
    case("grid_rows",                   1, 7,   5,   3, 3, 4,   3, mask=GRID, grid=[0, 1, 1, 0]),
    case("grid_each",                   2, 6,   7,   4, 2, 4,   3, mask=GRID, grid=[1, 1, 1, 1], dtype="F16"),

    case("bias_each",                   2, 5,   6,   2, 2, 4,   3, score=[BIAS], bias=[1, 1, 1, 1]),
    case("bias_keys",                   2, 5,   6,   2, 2, 4,   3, score=[BIAS], bias=[0, 0, 0, 1], dtype="BF16"),
    case("bias_head_hides",             1, 7,   8,   3, 1, 4,   3, score=[BIAS], bias=[0, 1, 1, 1], bias_hides=True),
    case("softcap",                     1, 6,   9,   2, 2, 8,   8, score=[CAP30], dtype="BF16"),
    case("softcap_saturated",           1, 6,   9,   2, 2, 4,   3, score=[CAP50], gain=100.0),
    case("softcap_then_bias",           1, 6,   7,   4, 2, 4,   3, score=[CAP5, BIAS], bias=[0, 1, 1, 1], gain=3.0),
    case("bias_then_softcap",           1, 6,   7,   4, 2, 4,   3, score=[BIAS, CAP5], bias=[0, 1, 1, 1], gain=3.0),
    case("alibi",                       1, 6,   11,  4, 4, 8,   8, score=[alibi()], dtype="BF16"),
    case("alibi_causal_six_heads",      1, 9,   9,   6, 2, 4,   3, score=[alibi()], mask=causal()),
    case("alibi_top_left_softcap",      1, 5,   8,   3, 3, 4,   3, score=[alibi(TL), CAP5], mask=window(4, 1, TL)),

    case("sinks",                       1, 5,   7,   4, 2, 8,   8, sinks=True, dtype="BF16"),
    case("sinks_window",                1, 9,   9,   4, 1, 4,   3, sinks=True, mask=window(3, 0)),
    case("sinks_empty_rows",            1, 8,   3,   2, 2, 4,   3, sinks=True, mask=causal()),
    case("sinks_everything",            2, 6,   7,   4, 2, 8,   5, sinks=True, mask=both(causal(), GRID), grid=[1, 0, 0, 1],
         score=[CAP5, BIAS], bias=[0, 1, 1, 1], scale=0.5),

    case("prefix",                      1, 8,   8,   2, 2, 4,   3, mask=prefix(3), dtype="BF16"),
    case("chunked_causal",              1, 11,  13,  2, 2, 4,   3, mask=both(chunked(4), causal())),
    case("documents_causal",            1, 13,  13,  2, 2, 4,   3, mask=both(documents(4, 5, 11), causal())),
    case("window_or_every_third",       1, 10,  10,  2, 2, 4,   3, mask=both(either(window(2, 0), GRID), causal()),
         grid=[0, 0, 0, 1], dtype="BF16"),
    case("except_window",               1, 9,   9,   2, 2, 4,   3, mask=no(window(1, 1))),

    case("lengths_keys",                3, 5,   8,   2, 2, 4,   4, kv_lengths=[8, 3, 0]),
    case("lengths_causal",              3, 9,   12,  4, 2, 5,   6, q_lengths=[9, 1, 4], kv_lengths=[12, 7, 4], mask=causal(),
         dtype="BF16"),
    case("lengths_window_alibi",        2, 7,   7,   2, 2, 4,   3, q_lengths=[5, 7], kv_lengths=[7, 2], mask=window(2, 1),
         score=[alibi()], free_slopes=True),
    case("packed",                      1, 17,  17,  4, 2, 4,   3, q_ends=[5, 6, 17], kv_ends=[5, 6, 17], dtype="BF16"),
    case("packed_causal_cross",         1, 12,  19,  2, 2, 8,   6, q_ends=[5, 6, 12], kv_ends=[7, 7, 19], mask=causal()),

    case("tiles_full",                  1, 70,  131, 1, 1, 4,   3, dtype="BF16"),
    case("tiles_causal",                1, 131, 131, 2, 1, 3,   2, mask=causal()),
    case("tiles_window_softcap",        1, 67,  193, 2, 1, 3,   2, mask=window(65, 3), score=[CAP5], gain=3.0),
    case("tiles_grid_sinks",            1, 66,  129, 2, 2, 4,   3, mask=GRID, grid=[0, 1, 0, 1], sinks=True, dtype="F16"),
]


# ------------------------------------------------------------------------------------------------------------ what is seen

def sees(m, i, j, queries, keys, grid):
    """Whether query i sees key j, the definition in words turned into one line each. grid: [queries, keys] or None."""
    kind = m["kind"]
    if kind == "all": return all(sees(p, i, j, queries, keys, grid) for p in m["parts"])
    if kind == "any": return any(sees(p, i, j, queries, keys, grid) for p in m["parts"])
    if kind == "except": return not sees(m["parts"][0], i, j, queries, keys, grid)
    if kind == "grid": return bool(grid[i, j])
    place = place_of(m["align"], i, queries, keys)
    if kind == "causal": return j <= place
    if kind == "window":  # FlashAttention: left keys before the place, right after it, −1 unbounded
        return (m["left"] < 0 or j >= place - m["left"]) and (m["right"] < 0 or j <= place + m["right"])
    if kind == "prefix": return j < m["length"] or j <= place
    if kind == "chunked": return place // m["size"] == j // m["size"]
    if kind == "documents":
        return sum(e <= place for e in m["ends"]) == sum(e <= j for e in m["ends"])
    raise ValueError(kind)


def place_of(align, i, queries, keys):
    """The key that query i stands on."""
    return i + (keys - queries if align == BR else 0 if align == TL else align)


def alibi_term(slopes, align, queries, keys):
    """−slope · |distance|, [heads, queries, keys]."""
    place = torch.tensor([place_of(align, i, queries, keys) for i in range(queries)], dtype=torch.float64)
    distance = (place[:, None] - torch.arange(keys, dtype=torch.float64)[None, :]).abs()
    return -slopes[:, None, None] * distance


def alibi_slopes(heads):
    """The slopes that Bloom uses, read off its ALiBi tensor at position 1."""
    return build_alibi_tensor(torch.ones(1, 2), heads, torch.float32).reshape(heads, 2)[:, 1].contiguous()


# ----------------------------------------------------------------------------------------------------------- the inputs

def round_to(x, dtype):
    """Values that the case's dtype holds exactly; the 16-bit ones hold in both 16-bit formats, so that each can be run."""
    if dtype != "F32": x = x.to(torch.float16)
    if dtype == "BF16": x = torch.where(x.abs() < 2.0 ** -14, torch.zeros_like(x), x).to(torch.bfloat16)
    return x


def inputs_of(c, seed):
    rng = np.random.RandomState(seed)
    def normal(*shape): return torch.from_numpy(rng.standard_normal(shape)).to(torch.float32)
    b, s, k, h, kv = (c[n] for n in ("batch", "queries", "keys", "heads", "kv_heads"))
    t = {"q": normal(b, s, h, c["head_dim"]) * c.get("gain", 1.0), "k": normal(b, k, kv, c["head_dim"]),
         "v": normal(b, k, kv, c["value_dim"])}
    t = {n: round_to(x, c["dtype"]) for n, x in t.items()}
    t["dout"] = normal(b, s, h, c["value_dim"])
    full = (b, h, s, k)
    if "grid" in c:
        shape = [n if on else 1 for n, on in zip(full, c["grid"])]
        t["grid"] = torch.from_numpy(rng.uniform(size=shape) < 0.6)
        if c["name"] == "window_or_every_third": t["grid"] = (torch.arange(k) % 3 == 0).reshape(1, 1, 1, k)
        if c["name"] == "grid_each": t["grid"][1, 2] = False  # a head, and a row of another, that see nothing
        if c["name"] == "grid_each": t["grid"][0, 0, 3] = False
    if "bias" in c:
        t["bias"] = normal(*[n if on else 1 for n, on in zip(full, c["bias"])])
        if c.get("bias_hides"):
            t["bias"][..., 0, 2:5] = -INF
            t["bias"][:, 1, 4] = -INF
    if any(p["kind"] == "alibi" for p in c["score"]): t["slopes"] = normal(h).abs() if c.get("free_slopes") else alibi_slopes(h)
    if c.get("sinks"): t["sinks"] = normal(h) + 1
    # What lies beyond a length must not matter, whatever it is.
    for row, n in enumerate(c.get("kv_lengths", [])): t["k"][row, n:], t["v"][row, n:] = math.nan, INF
    for row, n in enumerate(c.get("q_lengths", [])): t["q"][row, n:] = math.nan
    return t


# ------------------------------------------------------------------------------------------------------- the plain formula

def attend(c, q, k, v, visible, parts, sinks):
    """q [heads, queries, dim], k and v [kv_heads, keys, dim], visible [heads, queries, keys] → out, weights, lse."""
    group = c["heads"] // c["kv_heads"]
    k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    s = (q @ k.transpose(-1, -2)) * scale_of(c)
    for p, term in parts:
        s = torch.tanh(s / p["cap"]) * p["cap"] if p["kind"] == "softcap" else s + term
    visible = visible & (s > -INF)
    s = torch.where(visible, s, 0.0)
    extra = sinks[:, None, None].expand(*s.shape[:2], 1)  # −inf when there are none
    every = torch.cat([torch.where(visible, s.detach(), -INF), extra.detach()], -1)
    top = every.amax(-1, keepdim=True).clamp(min=-1e300)
    e = torch.where(visible, torch.exp(s - top), 0.0)
    total = e.sum(-1, keepdim=True) + torch.exp(extra - top)
    weights = e / torch.where(total == 0, 1.0, total)
    return weights @ v, weights, torch.logsumexp(every, -1)


def scale_of(c): return c.get("scale", 1 / math.sqrt(c["head_dim"]))


def rows_of(c):
    """Each sequence: its batch row, and where its queries and keys begin and end."""
    if "q_ends" in c:
        begins = zip([0] + c["q_ends"], c["q_ends"], [0] + c["kv_ends"], c["kv_ends"])
        return [(0, *r) for r in begins]
    q, k = c.get("q_lengths", [c["queries"]] * c["batch"]), c.get("kv_lengths", [c["keys"]] * c["batch"])
    return [(b, 0, q[b], 0, k[b]) for b in range(c["batch"])]


def solve(c, t):
    """The expected values of a case, and its gradients."""
    packed = "q_ends" in c
    leaf = {n: t[n].double().requires_grad_() for n in ("q", "k", "v", "bias", "sinks") if n in t}
    b, s, k, h = c["batch"], c["queries"], c["keys"], c["heads"]
    out = torch.zeros(b, s, h, c["value_dim"], dtype=torch.float64)
    lse = torch.full((b, h, s), -INF, dtype=torch.float64)
    weights = torch.zeros(b, h, s, k, dtype=torch.float64)
    loss = torch.zeros((), dtype=torch.float64)
    for row, q0, q1, k0, k1 in rows_of(c):
        n, m = q1 - q0, k1 - k0
        def cut(x): return x.expand(b, h, s, k)[row, :, :n, :m]
        grid = cut(t["grid"]) if "grid" in t else [None] * h
        visible = torch.ones(h, n, m, dtype=torch.bool)
        if c["mask"]:
            visible = torch.tensor([[[sees(c["mask"], i, j, n, m, grid[head]) for j in range(m)] for i in range(n)]
                                    for head in range(h)], dtype=torch.bool).reshape(h, n, m)
        parts = [(p, cut(leaf["bias"]) if p["kind"] == "bias" else
                  alibi_term(t["slopes"].double(), p["align"], n, m) if p["kind"] == "alibi" else None) for p in c["score"]]
        sinks = leaf.get("sinks", torch.full((h,), -INF, dtype=torch.float64))
        q, key, v = (leaf[name][row, a:z].transpose(0, 1) for name, a, z in (("q", q0, q1), ("k", k0, k1), ("v", k0, k1)))
        o, w, l = attend(c, q, key, v, visible, parts, sinks)
        confirm(c, q, key, v, visible, parts, leaf.get("sinks"), o, l, t["dout"][row, q0:q1].double().transpose(0, 1))
        loss = loss + (o * t["dout"][row, q0:q1].double().transpose(0, 1)).sum()
        out[row, q0:q1], lse[row, :, q0:q1] = o.detach().transpose(0, 1), l.detach()
        if not packed: weights[row, :, :n, :m] = w.detach()
    expected = {"out": out, "lse": lse}
    if not packed:
        if weights.numel() <= 1200: expected["weights"] = weights
        loss.backward()
        for n in leaf: expected["d" + {"sinks": "sink"}.get(n, n)] = leaf[n].grad
    return expected


# ------------------------------------------------------------------------------- the same by others' implementations

AGREED = {"scaled_dot_product_attention": 0, "flex_attention": 0, "gpt_oss": 0}


def confirm(c, q, k, v, visible, parts, sinks, out, lse, dout):
    """Holds the plain formula to every published implementation that can express the sequence."""
    if v.shape[1] == 0: return
    q, k, v, out = (x.detach() for x in (q, k, v, out))
    parts = [(p, None if term is None else term.detach()) for p, term in parts]
    size = 1 + ((q @ k.repeat_interleave(c["heads"] // c["kv_heads"], 0).transpose(-1, -2)) * scale_of(c)).abs().max().item()
    # A score of magnitude s is known to s·ε; its exponential moves by as much.
    def same(who, mine, theirs):
        error = (mine - theirs).abs().max().item()
        if not error <= 1e-14 * size * 10: raise SystemExit(f"{c['name']}: {who} differs from the plain formula by {error:.2e}")
        AGREED[who] += 1

    additive = not any(p["kind"] == "softcap" for p, _ in parts)
    hidden = torch.zeros(visible.shape, dtype=torch.float64).masked_fill(~visible, -INF)
    bias = sum((term for _, term in parts), hidden) if additive else hidden
    if additive and sinks is None:
        a = [x[None].clone().requires_grad_() for x in (q, k, v)]
        theirs = scaled_dot_product_attention(*a, attn_mask=bias[None], scale=scale_of(c), enable_gqa=True)
        same("scaled_dot_product_attention", out, theirs[0])
        b = [x.clone().requires_grad_() for x in (q, k, v)]
        mine = attend(c, *b, visible, parts, torch.full((c["heads"],), -INF, dtype=torch.float64))[0]
        for x, y in zip(torch.autograd.grad(mine, b, dout), torch.autograd.grad(theirs, a, dout[None])):
            same("scaled_dot_product_attention", x / size, y[0] / size)
    if sinks is None:
        def score(s, _, head, i, j):
            for p, term in parts:
                s = torch.tanh(s / p["cap"]) * p["cap"] if p["kind"] == "softcap" else s + term[head, i, j]
            return torch.where(visible[head, i, j], s, -INF)
        theirs, their_lse = flex_attention(q[None], k[None], v[None], score_mod=score, scale=scale_of(c), enable_gqa=True,
                                           return_lse=True)
        same("flex_attention", out, theirs[0])
        finite = lse > -INF
        same("flex_attention", lse.detach()[finite], their_lse[0][finite])
    elif additive:
        module = types.SimpleNamespace(num_key_value_groups=c["heads"] // c["kv_heads"], sinks=sinks.detach(), training=False)
        theirs, _ = gpt_oss_attention(module, q[None], k[None], v[None], bias[None], scale_of(c))
        same("gpt_oss", out, theirs[0].transpose(0, 1))


def main():
    warnings.filterwarnings("ignore")  # flex_attention says that it is slow without torch.compile, and that return_lse will go
    torch.compiler.set_stance("force_eager")
    tensors = {}
    for seed, c in enumerate(CASES):
        t = inputs_of(c, 1000 + seed)
        tensors |= {f"{c['name']}.{n}": x for n, x in (t | solve(c, t)).items()}
    for heads in (1, 2, 3, 4, 6, 8, 12, 20): tensors[f"alibi_slopes.{heads}"] = alibi_slopes(heads)
    write(output_folder() / "attention.safetensors", tensors, cases=json.dumps(CASES, separators=(",", ":")))
    print(f"{len(CASES)} cases; agreed with", ", ".join(f"{who} {n}×" for who, n in AGREED.items()))


if __name__ == "__main__":
    main()
