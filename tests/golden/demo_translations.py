"""Whether transformers reads demo/model as it is and writes what Fovea writes.

    python demo_translations.py FOVEA DEMO-MODEL SENTENCES     SENTENCES: what `fovea train demo --write-sentences` wrote
"""
import json
import pathlib
import subprocess
import sys

import torch
from transformers import AutoTokenizer, MarianMTModel

EACH = 40  # of every set


def texts_in(folder):
    for file in sorted(pathlib.Path(folder).glob("*.jsonl")):
        if file.name == "train.jsonl": continue
        for line in file.read_text().splitlines()[:EACH]: yield json.loads(line)["text"]


def by_transformers(folder, texts):
    torch.set_num_threads(1)  # matrices this small leave a second thread to wait
    model = MarianMTModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in texts:  # one by one: padding is not what is asked about
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad(): written = model.generate(ids, num_beams=1, do_sample=False)
        yield tokenizer.decode(written[0], skip_special_tokens=True)


def main(fovea, folder, sentences):
    texts = list(texts_in(sentences))
    mine = subprocess.run([fovea, "translate", "-", "--model", folder], input="\n".join(texts), capture_output=True, text=True, check=True)
    mine = mine.stdout.splitlines()
    if len(mine) != len(texts): sys.exit(f"{len(texts)} sentences and {len(mine)} translations")
    different = [(t, a, b) for t, a, b in zip(texts, mine, by_transformers(folder, texts)) if a != b]
    for text, a, b in different[:10]: print(f"{text}\n  Fovea         {a}\n  transformers  {b}")
    if different or len(texts) < 200: sys.exit(f"{len(different)} of {len(texts)} translations differ")
    print(f"transformers writes the same {len(texts)} translations from the same folder")


if __name__ == "__main__": main(*sys.argv[1:])
