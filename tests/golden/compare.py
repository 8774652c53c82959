"""Compares goldens: two folders of them, or what Fovea exported against what transformers computed.

    python compare.py goldens COMMITTED REGENERATED     every file of both, within what another machine's rounding may do
    python compare.py export EXPECTED EXPORTED          attention within 2e-6, hidden states within 2e-5
"""
import json
import pathlib
import sys

import torch
from safetensors import safe_open

# Relative to the tensor's largest element: sums in another order, another library's exp.
AGAIN = {torch.float64: 1e-9, torch.float32: 1e-6}
EXPORT = {"attention": 2e-6, "hidden": 2e-5}


def load(path):
    with safe_open(path, "pt") as f: return {n: f.get_tensor(n) for n in f.keys()}, f.metadata() or {}


def distance(a, b):
    """max |a − b|, infinite where one is a number and the other is not."""
    a, b = a.double(), b.double()
    same = (a == b) | (a.isnan() & b.isnan())
    gap = torch.where(same, 0.0, (a - b).abs())
    return torch.where(gap.isnan(), torch.inf, gap).max().item() if gap.numel() else 0.0


def compare_tensors(name, mine, theirs):
    """What differs between two safetensors files, line by line."""
    (a, meta_a), (b, meta_b) = load(mine), load(theirs)
    if a.keys() != b.keys(): yield f"{name}: tensors {sorted(a.keys() ^ b.keys())} are in one only"
    for n in sorted(a.keys() & b.keys()):
        if a[n].dtype != b[n].dtype or a[n].shape != b[n].shape:
            yield f"{name}: {n} is {a[n].dtype} {list(a[n].shape)}, regenerated {b[n].dtype} {list(b[n].shape)}"
            continue
        finite = a[n].double()[a[n].double().isfinite()]
        allowed = AGAIN.get(a[n].dtype, 0) * max(1, finite.abs().max().item() if finite.numel() else 0)
        if not distance(a[n], b[n]) <= allowed: yield f"{name}: {n} is off by {distance(a[n], b[n]):.3g}, allowed {allowed:.3g}"
    if not close(plain(meta_a), plain(meta_b)): yield f"{name}: the metadata differ"


def plain(metadata): return {k: json.loads(v) if v[:1] in "[{" else v for k, v in metadata.items()}


def close(a, b):
    """Equal JSON, numbers with a fraction within 1e-9; the version that wrote a config doesn't count."""
    if isinstance(a, dict) and isinstance(b, dict):
        return all(k == "transformers_version" or (k in a and k in b and close(a[k], b[k])) for k in a.keys() | b.keys())
    if isinstance(a, list) and isinstance(b, list): return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float): return abs(a - b) <= 1e-9 * max(1, abs(a))
    return a == b


def goldens(committed, regenerated):
    committed, regenerated = pathlib.Path(committed), pathlib.Path(regenerated)
    files = [{p.relative_to(f) for p in f.rglob("*") if p.is_file()} for f in (committed, regenerated)]
    wrong = [f"{p} is in one of {committed} and {regenerated} only" for p in sorted(files[0] ^ files[1])]
    for p in sorted(files[0] & files[1]):
        if p.suffix == ".safetensors": wrong += compare_tensors(p, committed / p, regenerated / p)
        elif not close(*(json.loads((f / p).read_text()) for f in (committed, regenerated))): wrong.append(f"{p} differs")
    return wrong, f"{len(files[0] & files[1])} files are as committed"


def export(expected, exported):
    (want, _), (got, _) = load(expected), load(exported)
    worst, wrong, weights = dict.fromkeys(EXPORT, 0.0), [], 0
    single = max(x.item() for n, x in want.items() if n.startswith("single."))
    for n, x in want.items():
        kind = n.split(".")[0]
        if kind not in EXPORT: continue
        if n not in got or got[n].shape != x.shape:
            wrong.append(f"{n}: exported {list(got[n].shape) if n in got else 'not at all'}, expected {list(x.shape)}")
            continue
        gap = distance(x, got[n])
        worst[kind] = max(worst[kind], gap)
        if kind == "attention": weights += x.numel()
        if not gap <= EXPORT[kind]: wrong.append(f"{n} is off by {gap:.3g}, allowed {EXPORT[kind]:.3g}")
    return wrong, (f"{weights:,} weights within {worst['attention']:.1e} (transformers in float32: {single:.1e}), "
                   f"hidden states within {worst['hidden']:.1e}")


def main():
    wrong, right = {"goldens": goldens, "export": export}[sys.argv[1]](*sys.argv[2:])
    print("\n".join(wrong) if wrong else right)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
