#!/usr/bin/env python3
"""Makes minilm.json: what sentence-transformers' all-MiniLM-L6-v2 says about some texts.

usage: tests/golden/minilm.py DIRECTORY      (the model's files; needs torch and transformers)

As the model's card has it: token vectors of the last layer, mean over the text's tokens, length 1; at most 512 tokens.
"""
import json
import os
import sys
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch  # noqa: E402
from transformers import BertModel, BertTokenizerFast  # noqa: E402

TEXTS = [
    "hello world",
    "A kitten naps on the couch.",
    "Ünïcödé: naïve café, 東京 2024 — ½ price!",
    "def main():\n    return 0\t# ok",
    "word " * 700,
    "x",
]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tokenizer, model = BertTokenizerFast.from_pretrained(sys.argv[1]), BertModel.from_pretrained(sys.argv[1]).eval()
    out = []
    for text in TEXTS:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=512)
        with torch.no_grad():
            vec = model(**tokens).last_hidden_state[0].mean(0)
        vec = vec / vec.norm()
        out.append(json.dumps({"text": text, "n_tokens": tokens["input_ids"].shape[1],
                               "vec": [round(float(v), 6) for v in vec]}, ensure_ascii=False))
    (Path(__file__).parent / "minilm.json").write_text("[\n" + ",\n".join(out) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
