"""What transformers' eager Marian and BART write, and how sure they are of it, when attention is taken out of them: writing_golden_test.cpp.

The models are those of marian_goldens.py, which must have written them to the same folder before. Edges of the encoder, of the decoder or
between them are masked by −∞ before the softmax, values zeroed behind the value projection, in chosen layers and heads; by hooks, so that
the attention itself stays transformers' own. What was written is read again with the edges gone, and written anew by generate(), which
without caches reads whole prefixes through the same hooks. Everything in float64.

    python writing_goldens.py --out tests/golden/data      reads marian_*/ and bart_*/, writes writing.json
"""
import contextlib
import json

import numpy as np
import torch
import transformers
from transformers import PreTrainedTokenizerFast

from common import output_folder

ASKED = [("marian_small", "MarianMTModel", "the old bank by the river"), ("marian_odd", "MarianMTModel", "money is in the dark house ."),
         ("bart_small", "BartForConditionalGeneration", "was the water in the light of the river ?")]
PAD, EOS, EVERY_QUERY = 0, 1, -1


class Asked:
    """One model with one text, what it wrote, and both without some of its attention."""

    def __init__(self, folder, kind, text):
        self.model = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
        if kind.startswith("Marian"):  # sinusoids from the formula, not rounded through the checkpoint's dtype
            for half in (self.model.model.encoder, self.model.model.decoder):
                half.embed_positions.weight.data = half.embed_positions.create_weight().double()
        self.words = PreTrainedTokenizerFast.from_pretrained(folder)
        self.ids = torch.tensor([self.words(text)["input_ids"]])
        encoder, decoder = self.model.model.encoder.layers, self.model.model.decoder.layers
        self.blocks = dict(encoder=[l.self_attn for l in encoder], decoder=[l.self_attn for l in decoder],
                           cross=[l.encoder_attn for l in decoder])
        self.target = self.write("encoder", [])
        self.text = self.words.decode(self.target, skip_special_tokens=True)
        self.before = self.run("encoder", [])

    @contextlib.contextmanager
    def without(self, kind, removed):
        """The model lacks removed: [layer, head, query, key], or the value of a key where the query is −1."""
        with contextlib.ExitStack() as stack:
            for i, block in enumerate(self.blocks[kind]):
                here = [(h, q, k) for l, h, q, k in removed if l == i]

                def hide(module, args, kwargs, here=here):
                    x = args[0] if args else kwargs["hidden_states"]
                    memory = kwargs.get("key_value_states")
                    queries, keys = x.shape[1], (x if memory is None else memory).shape[1]
                    mask = torch.zeros(1, module.num_heads, queries, keys, dtype=torch.float64)
                    for h, q, k in here:
                        if 0 <= q < queries and k < keys: mask[0, h, q, k] = -torch.inf
                    given = kwargs.get("attention_mask")
                    return args, kwargs | {"attention_mask": mask if given is None else mask + given}

                def zero(module, args, out, here=here, heads=block.num_heads):
                    out = out.clone()
                    for h, q, k in here:
                        if q == EVERY_QUERY and k < out.shape[1]: out.view(*out.shape[:2], heads, -1)[:, k, h] = 0
                    return out

                stack.callback(block.register_forward_pre_hook(hide, with_kwargs=True).remove)
                stack.callback(block.v_proj.register_forward_hook(zero).remove)
            yield

    @torch.no_grad()
    def write(self, kind, removed):
        """Without the start token; up to the end."""
        with self.without(kind, removed):
            out = self.model.generate(self.ids, attention_mask=torch.ones_like(self.ids), use_cache=False)[0].tolist()[1:]
        return out[: out.index(EOS) + 1] if EOS in out else out

    @torch.no_grad()
    def run(self, kind, removed):
        """Reads what was written, as it was written."""
        values = {name: [] for name in self.blocks}
        with self.without(kind, removed), contextlib.ExitStack() as stack:
            for name, blocks in self.blocks.items():
                for block in blocks:
                    hook = block.v_proj.register_forward_hook(lambda m, a, out, name=name: values[name].append(out[0].clone()))
                    stack.callback(hook.remove)
            out = self.model(input_ids=self.ids, decoder_input_ids=torch.tensor([[PAD] + self.target[:-1]]), output_attentions=True,
                             use_cache=False, return_dict=True)
        attention = dict(encoder=out.encoder_attentions, decoder=out.decoder_attentions, cross=out.cross_attentions)
        return dict(logits=out.logits[0], values=values, attention={name: [a[0] for a in found] for name, found in attention.items()})

    def measure(self, kind, removed, target=None, against=None):
        """target: a step; without one, all of them."""
        steps = range(len(self.target)) if target is None else [target]
        p, runs = [], (self.before, self.run(kind, removed))
        logits = [run["logits"][list(steps)] for run in runs]
        said, right = [x.log_softmax(-1) for x in logits], torch.tensor([self.target[s] for s in steps])[:, None]
        moved = dict(logit_effect=(logits[0] - logits[1]).gather(1, right).sum().item(),
                     log_probability_effect=(said[0] - said[1]).gather(1, right).sum().item(),
                     kl=torch.nn.functional.kl_div(said[1], said[0], log_target=True, reduction="sum").item())
        for run in runs:
            said = run["logits"].log_softmax(-1)
            p.append(sum((said[s, self.target[s]] - (0 if against is None else said[s, against])).item() for s in steps))
        return dict(metric="log_probability" if against is None else "log_odds", before=p[0], after=p[1],
                    output=[self.text, self.words.decode(self.write(kind, removed), skip_special_tokens=True)], **moved)

    def tiers(self, kind, removed):
        """Weight, local effect and norm-weighted: of each layer and query, over its heads; then the mean."""
        places, weights, local, carried = {}, [], [], []
        queries = len(self.ids[0] if kind == "encoder" else self.target)
        for l, h, q, k in removed:
            for query in [q] if q != EVERY_QUERY else range(queries): places.setdefault((l, query), []).append((h, k))
        values_only = removed[0][2] == EVERY_QUERY
        for (l, q), cut in places.items():
            block = self.blocks[kind][l]
            v = self.before["values"][kind][l]
            v = v.view(len(v), block.num_heads, -1)
            change, gone = torch.zeros(v.shape[1:], dtype=torch.float64), torch.zeros(v.shape[1:], dtype=torch.float64)
            for h in {h for h, _ in cut}:
                keys = [k for head, k in cut if head == h]
                a = self.before["attention"][kind][l][h, q]
                rest = a.clone()
                rest[keys] = 0
                gone[h] = (a - rest) @ v[:, h]
                change[h] = (rest if values_only else rest / rest.sum()) @ v[:, h] - a @ v[:, h]
                weights += a[keys].tolist()
            w = block.out_proj.weight.detach()
            local.append((w @ change.flatten()).norm().item())
            carried.append((w @ gone.flatten()).norm().item())
        return dict(weight=np.mean(weights), local_effect=np.mean(local), norm_weighted=np.mean(carried))


def some(rng, n):
    """A random part of range(n), never none."""
    return sorted(rng.choice(n, rng.randint(1, n + 1), replace=False).tolist())


def visible(kind, asked):
    """Pairs of query and key of a kind, leaving each query a key."""
    tokens, steps = len(asked.ids[0]), len(asked.target)
    if kind == "decoder": return [(q, k) for q in range(2, steps) for k in range(q)]
    return [(q, k) for q in range(tokens if kind == "encoder" else steps) for k in range(tokens - 1)]


def questions(rng, asked):
    """As fovea measure puts them: edges or values of one kind, in layers × heads."""
    for i in range(18):
        kind = ("encoder", "decoder", "cross")[i % 3]
        layers, heads = len(asked.blocks[kind]), asked.blocks[kind][0].num_heads
        query = dict(kind=kind, layers=some(rng, layers) if i % 2 else list(range(layers)), heads=some(rng, heads) if i % 4 > 1 else list(range(heads)))
        pairs = visible(kind, asked)
        if i % 5 == 4:
            query["values"] = pairs[rng.randint(len(pairs))][1]
            edges = [(EVERY_QUERY, query["values"])]
        else:
            query["cuts"] = edges = [pairs[p] for p in rng.choice(len(pairs), min(len(pairs), rng.randint(1, 4)), replace=False)]
        target = against = None
        if i % 4 != 3:
            query["target"] = target = int(rng.randint(len(asked.target) - 1))
            if i % 4 != 2: against = int(rng.randint(3, len(asked.words)))
            if against is not None: query["against"] = asked.words.convert_ids_to_tokens(against)
        removed = [(l, h, q, k) for l in query["layers"] for h in query["heads"] for q, k in edges]
        yield query | dict(expected=asked.measure(kind, removed, target, against) | asked.tiers(kind, removed))


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    out, found = output_folder(), {}
    for seed, (name, kind, text) in enumerate(ASKED):
        asked = Asked(out / name, kind, text)
        found[name] = dict(text=text, target=asked.target, questions=list(questions(np.random.RandomState(8000 + seed), asked)))
    path = out / "writing.json"
    path.write_text(json.dumps(found) + "\n")
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
