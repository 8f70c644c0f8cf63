#!/usr/bin/env python3
"""Makes the LoRA adapters of tests/golden/adapters/ for models of models.py, and what comes out with them.

usage: tests/golden/adapters.py          needs torch, transformers and peft (made with 2.15, 5.24 and 0.21)

PEFT: NAME/ is what peft saves for its own adapted model; NAME.bin holds that model's logits, as models.py writes them.
MERGED: NAME.gguf is an adapter written by hand, for what peft has no plain form of; the logits are those of the model
with the changes added to its weights. Values are small integers over a power of two, as in models.py.
"""
import copy
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import models  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402
from gguf_writer import F32, STR, TYPE_F16, TYPE_F32, key, write  # noqa: E402

OUT = Path(__file__).resolve().parent / "adapters"
LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PEFT = {
    "llama": (dict(r=4, lora_alpha=10, target_modules=LLAMA + ["lm_head"]), torch.bfloat16),
    "qwen2": (dict(r=5, lora_alpha=3, use_rslora=True, target_modules=LLAMA), torch.float16),
    "qwen3": (dict(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"]), torch.float32),
    "gemma2": (dict(r=3, lora_alpha=6, rank_pattern={"down_proj": 7}, target_modules=LLAMA), torch.float32),
    "phi3": (dict(r=2, lora_alpha=4, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
             torch.float32),
}


def whole(g, *shape):
    return torch.randint(-15, 16, shape, generator=g).float()


def with_peft(model, name, g):
    config, kind = PEFT[name]
    model = peft.get_peft_model(model, peft.LoraConfig(**config)).float().eval()
    with torch.no_grad():
        for n, p in sorted(model.named_parameters()):
            if ".lora_" in n:
                p.copy_(whole(g, *p.shape) / 64)
    wanted = {n: p.clone() for n, p in model.state_dict().items() if ".lora_" in n}
    shutil.rmtree(OUT / name, ignore_errors=True)
    saved = copy.deepcopy(model).to(kind)  # which rounds the rotation too: not what is computed with
    saved.save_pretrained(OUT / name)
    for n, p in saved.state_dict().items():
        assert n not in wanted or torch.equal(p.float(), wanted[n]), n
    (OUT / name / "README.md").unlink(missing_ok=True)
    return model


class Adapter:
    """Changes a model's weights and keeps how, under the names of the GGUF."""

    def __init__(self, arch, alpha, g):
        self.alpha, self.g, self.tensors = alpha, g, []
        self.keys = [key("general.architecture", STR, arch), key("general.type", STR, "adapter"),
                     key("adapter.type", STR, "lora"), key("adapter.lora.alpha", F32, alpha)]

    def change(self, name, w, rank, turn=lambda t: t, kind=TYPE_F32):
        """w [.., N, K] of the model, in place; turn: what the converter does to its rows."""
        *e, n, k = w.shape
        a, b = whole(self.g, *e, rank, k) / 64, whole(self.g, *e, n, rank) / 64
        w += (self.alpha / rank if self.alpha else 1) * b @ a
        raw = (lambda t: t.contiguous().numpy().tobytes()) if kind == TYPE_F32 \
            else (lambda t: t.contiguous().half().numpy().tobytes())
        self.tensors += [(name + ".lora_a", tuple(a.shape), kind, raw(a)),
                         (name + ".lora_b", tuple(b.shape), kind, raw(turn(b)))]

    def write(self, name):
        write(OUT / f"{name}.gguf", self.keys, self.tensors)


def merged_llama3(model, g):
    """Every matrix of a model whose head is the embedding: the head alone changes. Widths of whole tiles."""
    f, c = Adapter("llama", 8.0, g), model.config
    names = dict(q="self_attn.q_proj", k="self_attn.k_proj", v="self_attn.v_proj", output="self_attn.o_proj")
    for i, layer in enumerate(model.model.layers):
        for ours, theirs in names.items():
            heads = dict(q=c.num_attention_heads, k=c.num_key_value_heads).get(ours)
            f.change(f"blk.{i}.attn_{ours}.weight", layer.get_submodule(theirs).weight, 16, kind=TYPE_F16,
                     turn=(lambda t, n=heads: models.interleave(t, n)) if heads else lambda t: t)
        for part in ("gate", "up", "down"):
            f.change(f"blk.{i}.ffn_{part}.weight", layer.get_submodule(f"mlp.{part}_proj").weight, 32)
    head = torch.nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
    model.lm_head.weight = head
    f.change("output.weight", head, 8)
    return f


def merged_mixtral(model, g):
    """Experts and what chooses them; no alpha."""
    f = Adapter("llama", 0.0, g)
    for i, layer in enumerate(model.model.layers):
        half = layer.mlp.experts.gate_up_proj.shape[1] // 2
        f.change(f"blk.{i}.ffn_gate_inp.weight", layer.mlp.gate.weight, 3)
        f.change(f"blk.{i}.ffn_gate_exps.weight", layer.mlp.experts.gate_up_proj[:, :half], 4)
        f.change(f"blk.{i}.ffn_up_exps.weight", layer.mlp.experts.gate_up_proj[:, half:], 4)
        f.change(f"blk.{i}.ffn_down_exps.weight", layer.mlp.experts.down_proj, 2)
    return f


MERGED = {"llama3": merged_llama3, "mixtral": merged_mixtral}


def make(name):
    plain, g = models.fill, torch.Generator().manual_seed(sum(map(ord, name)) + 1)

    def fill(model, seed):
        model = plain(model, seed)
        if name in PEFT:
            return with_peft(model, name, g)
        with torch.no_grad():
            MERGED[name](model, g).write(name)
        return model
    out, models.fill, models.OUT = models.OUT, fill, OUT
    models.File.write = lambda *_: None
    try:
        {f.__name__: f for f in models.ALL}[name]()
    except FileNotFoundError:  # the last line of decoder looks at the model that was not written
        pass
    models.fill, models.OUT = plain, out


def logits(path):
    raw = bytearray(path.read_bytes())
    return torch.frombuffer(raw[8 + 4 * (1 + models.T):], dtype=torch.float32)


def main():
    OUT.mkdir(exist_ok=True)
    for name in [*PEFT, *MERGED]:
        make(name)
        change = (logits(OUT / f"{name}.bin") - logits(models.OUT / f"{name}.bin")).abs().mean()
        print(f"{name}: logits changed by {change:.3f}")
        assert change > 0.05


if __name__ == "__main__":
    main()
