"""What transformers' eager BERT does when attention is taken out of it: measure_golden_test.cpp.

The models are those of bert_goldens.py, which must have written them to the same folder before. Edges are masked by −∞ before the
softmax, in chosen layers and heads, values zeroed behind the value projection; both by hooks, so that the attention itself stays
transformers' own. Everything in float64.

    python measure_goldens.py --out tests/golden/data      reads bert_*/, writes measure.json
"""
import contextlib
import json

import numpy as np
import torch
import transformers
from transformers import BertTokenizer

from common import output_folder

ASKED = [  # folder, class, text; one that answers with vectors, one with a word, one with a label
    ("bert_base", "BertModel", "The bank by the river was flooded."),
    ("bert_masked_lm", "BertForMaskedLM", "the old [MASK] by the river is dark."),
    ("bert_classifier", "BertForSequenceClassification", "Where is the money? in the old bank"),
]
EVERY_QUERY = -1


@contextlib.contextmanager
def without(base, removed):
    """The model lacks removed: [layer, head, query, key], or the value of a key where the query is −1."""
    handles = []
    for i, layer in enumerate(base.encoder.layer):
        here = [(h, q, k) for l, h, q, k in removed if l == i]
        attention, heads = layer.attention.self, base.config.num_attention_heads

        def hide(module, args, kwargs, here=here, heads=heads):
            tokens = args[0].shape[1]
            mask = torch.zeros(1, heads, tokens, tokens, dtype=torch.float64)
            for h, q, k in here:
                if q != EVERY_QUERY: mask[0, h, q, k] = -torch.inf
            return args[:1], kwargs | {"attention_mask": mask}

        def zero(module, args, out, here=here, heads=heads):
            out = out.clone()
            for h, q, k in here:
                if q == EVERY_QUERY: out.view(*out.shape[:2], heads, -1)[0, k, h] = 0
            return out

        handles += [attention.register_forward_pre_hook(hide, with_kwargs=True), attention.value.register_forward_hook(zero)]
    try: yield
    finally:
        for handle in handles: handle.remove()


class Asked:
    """One model with one text: its answers with and without some of its attention."""

    def __init__(self, folder, kind, text):
        load = dict(dtype=torch.float64, attn_implementation="eager")
        self.model = getattr(transformers, kind).from_pretrained(folder, **load).eval()
        self.base = getattr(self.model, "bert", self.model)
        words = BertTokenizer.from_pretrained(folder)
        self.words, self.given = words, words(text, return_tensors="pt")
        ids = self.given["input_ids"][0]
        self.tokens = len(ids)
        self.mask = (ids == words.mask_token_id).nonzero().flatten().tolist()
        self.before = self.run([])

    @torch.no_grad()
    def run(self, removed):
        values = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(without(self.base, removed))
            for layer in self.base.encoder.layer:
                hook = layer.attention.self.value.register_forward_hook(lambda m, a, out: values.append(out[0].clone()))
                stack.callback(hook.remove)
            out = self.model(**self.given, output_hidden_states=True, output_attentions=True, return_dict=True)
        return dict(hidden=out.hidden_states[-1][0], attention=[a[0] for a in out.attentions], values=values,
                    logits=out.get("logits"))

    def logits(self, run):
        return run["logits"][0, self.mask[0]] if self.mask else run["logits"][0]

    def names(self):
        return self.words.convert_ids_to_tokens(range(len(self.words))) if self.mask else list(self.model.config.id2label.values())

    def measure(self, removed, queries, target="", against=""):
        after = self.run(removed)
        if self.before["logits"] is None:
            cosine = torch.nn.functional.cosine_similarity(self.before["hidden"][queries], after["hidden"][queries], dim=-1)
            return dict(metric="cosine_distance", before=1.0, after=cosine.mean().item())
        x = [self.logits(r) for r in (self.before, after)]
        p = [logits.log_softmax(-1) for logits in x]
        names = self.names()
        answer = names.index(target) if target else p[0].argmax().item()
        moved = dict(logit_effect=(x[0] - x[1])[answer].item(), log_probability_effect=(p[0] - p[1])[answer].item(),
                     kl=torch.nn.functional.kl_div(p[1], p[0], log_target=True, reduction="sum").item())
        if against: p = [x - x[names.index(against)] for x in p]
        return dict(metric="log_odds" if against else "log_probability", before=p[0][answer].item(), after=p[1][answer].item(),
                    output=[names[logits.argmax()] for logits in x], **moved)

    def tiers(self, removed):
        """Weight, local effect and norm-weighted: of each layer and query, over its heads; then the mean."""
        places, weights, local, carried = {}, [], [], []
        for l, h, q, k in removed:
            for query in [q] if q != EVERY_QUERY else range(self.tokens): places.setdefault((l, query), []).append((h, k))
        values_only = removed[0][2] == EVERY_QUERY
        for (l, q), cut in places.items():
            w = self.base.encoder.layer[l].attention.output.dense.weight.detach()  # [width, width]
            v = self.before["values"][l].view(self.tokens, self.base.config.num_attention_heads, -1)
            change, gone = torch.zeros(v.shape[1:], dtype=torch.float64), torch.zeros(v.shape[1:], dtype=torch.float64)
            for h in {h for h, _ in cut}:
                keys = [k for head, k in cut if head == h]
                a = self.before["attention"][l][h, q]
                rest = a.clone()
                rest[keys] = 0
                gone[h] = (a - rest) @ v[:, h]
                change[h] = (rest if values_only else rest / rest.sum()) @ v[:, h] - a @ v[:, h]
                weights += a[keys].tolist()
            local.append((w @ change.flatten()).norm().item())
            carried.append((w @ gone.flatten()).norm().item())
        return dict(weight=np.mean(weights), local_effect=np.mean(local), norm_weighted=np.mean(carried))


def some(rng, n):
    """A random part of range(n), never none."""
    return sorted(rng.choice(n, rng.randint(1, n + 1), replace=False).tolist())


def questions(rng, asked):
    """As fovea measure puts them: edges or values, in layers × heads."""
    layers, heads = asked.base.config.num_hidden_layers, asked.base.config.num_attention_heads
    for i in range(16):
        query = dict(layers=some(rng, layers) if i % 3 else list(range(layers)), heads=some(rng, heads) if i % 2 else list(range(heads)))
        if i % 4 == 3:
            query["values"], edges = int(rng.randint(asked.tokens)), []
            edges, queries = [(EVERY_QUERY, query["values"])], list(range(asked.tokens))
        else:
            pairs = rng.choice(asked.tokens ** 2, rng.randint(1, 4), replace=False).tolist()
            edges = [(p // asked.tokens, p % asked.tokens) for p in pairs]
            query["cuts"], queries = edges, sorted({q for q, _ in edges})
        if asked.before["logits"] is not None and i % 5 == 4:
            query["target"], query["against"] = ("bank", "money") if asked.mask else ("far", "near")
        removed = [(l, h, q, k) for l in query["layers"] for h in query["heads"] for q, k in edges]
        said = asked.measure(removed, queries, query.get("target", ""), query.get("against", ""))
        yield query | dict(expected=said | asked.tiers(removed))


def scattered(rng, asked):
    """As the control draws them: single edges and values anywhere."""
    layers, heads = asked.base.config.num_hidden_layers, asked.base.config.num_attention_heads
    for _ in range(12):
        removed = [[int(rng.randint(n)) for n in (layers, heads, asked.tokens, asked.tokens)] for _ in range(rng.randint(1, 12))]
        for r in removed[::5]: r[2] = EVERY_QUERY
        queries = some(rng, asked.tokens)
        yield dict(removed=removed, queries=queries, after=asked.measure(removed, queries)["after"])


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    out, found = output_folder(), {}
    for seed, (name, kind, text) in enumerate(ASKED):
        asked, rng = Asked(out / name, kind, text), np.random.RandomState(7000 + seed)
        found[name] = dict(text=text, tokens=asked.tokens, questions=list(questions(rng, asked)), scattered=list(scattered(rng, asked)))
    path = out / "measure.json"
    path.write_text(json.dumps(found) + "\n")
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
