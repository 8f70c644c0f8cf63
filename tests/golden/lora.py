#!/usr/bin/env python3
"""Makes tests/golden/lora/: a few tensors of a network, LoRA files over them, and the sums, by numpy.

usage: tests/golden/lora.py [CHECKPOINT]          needs numpy and safetensors; with a checkpoint in the
original layout also diffusers, whose names of its layers go to names.txt ("original <tab> diffusers").

base.safetensors   tensors of a network and of one text encoder
NAME.safetensors   adapters: kohya, diffusers, peft, tucker, loha, lokr, dora, diff; oft is refused
want.safetensors   "NAME/tensor" after strength 0.75
"""
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

OUT = Path(__file__).resolve().parent / "lora"
RNG = np.random.default_rng(3)
STRENGTH = np.float32(0.75)
NET = "model.diffusion_model."
TEXT = "cond_stage_model.transformer.text_model."
TO_Q = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
TO_OUT = "input_blocks.1.1.transformer_blocks.0.attn1.to_out.0"
CONV = "output_blocks.1.0.in_layers.2"
Q_PROJ = "encoder.layers.0.self_attn.q_proj"


def some(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def main():
    OUT.mkdir(exist_ok=True)
    base = {NET + "input_blocks.0.0.weight": some(8, 4, 3, 3), NET + "out.2.weight": some(4, 8, 3, 3),
            NET + "input_blocks.1.0.in_layers.0.weight": some(8), NET + "input_blocks.2.0.op.weight": some(8, 8, 3, 3),
            NET + TO_Q + ".weight": some(8, 8), NET + TO_OUT + ".weight": some(8, 8), NET + TO_OUT + ".bias": some(8),
            NET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": some(8, 12),
            NET + CONV + ".weight": some(6, 8, 3, 3),
            TEXT + "embeddings.token_embedding.weight": some(5, 6),
            TEXT + "embeddings.position_embedding.weight": some(77, 6),
            TEXT + "encoder.layers.0.layer_norm1.weight": some(6), TEXT + Q_PROJ + ".weight": some(6, 6)}
    files, want = {}, {}

    def add(name, tensor, key, up, down, alpha=None, mid=None, ends=(".lora_up.weight", ".lora_down.weight")):
        f = files.setdefault(name, {})
        f[key + ends[0]], f[key + ends[1]] = up, down
        rank = down.shape[0]
        if alpha is not None:
            f[key + ".alpha"] = np.array(alpha, np.float32)
        if mid is not None:
            f[key + ".lora_mid.weight"] = mid
            down = np.einsum("rixy,orkl->oikl", down, mid)
        w = base[tensor]
        delta = (up.reshape(up.shape[0], -1).astype(np.float64) @ down.reshape(down.shape[0], -1)).reshape(w.shape)
        scale = float(STRENGTH) * (alpha / rank if alpha is not None else 1)
        want[f"{name}/{tensor}"] = (w + scale * delta).astype(np.float32)

    add("kohya", NET + TO_Q + ".weight", "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        some(8, 3), some(3, 8), alpha=1.5)
    add("kohya", NET + CONV + ".weight", "lora_unet_up_blocks_0_resnets_1_conv1", some(6, 2, 1, 1),
        some(2, 8, 3, 3), alpha=2)
    add("kohya", TEXT + Q_PROJ + ".weight", "lora_te_text_model_encoder_layers_0_self_attn_q_proj", some(6, 2), some(2, 6),
        alpha=1)
    add("tucker", NET + CONV + ".weight", "lora_unet_output_blocks_1_0_in_layers_2", some(6, 2, 1, 1), some(3, 8, 1, 1),
        alpha=2, mid=some(2, 3, 3, 3))
    diffusers = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1."
    add("diffusers", NET + TO_Q + ".weight", diffusers + "processor.to_q", some(8, 2), some(2, 8),
        ends=("_lora.up.weight", "_lora.down.weight"))
    add("diffusers", NET + TO_OUT + ".weight", diffusers + "processor.to_out", some(8, 2), some(2, 8),
        ends=("_lora.up.weight", "_lora.down.weight"))
    add("peft", NET + TO_OUT + ".weight", diffusers + "to_out.0", some(8, 2), some(2, 8),
        ends=(".lora_B.weight", ".lora_A.weight"))
    add("peft", TEXT + Q_PROJ + ".weight", "text_encoder.text_model." + Q_PROJ, some(6, 2), some(2, 6),
        ends=(".lora_B.weight", ".lora_A.weight"))
    def put(name, tensor, key, tensors, delta, alpha_over=None):
        """W + strength * scale * delta, all in float64."""
        f = files.setdefault(name, {})
        f.update({f"{key}.{k}": v for k, v in tensors.items()})
        scale = 1.0
        if alpha_over is not None:
            f[key + ".alpha"] = np.array(1.5, np.float32)
            scale = 1.5 / alpha_over
        w = base[tensor]
        want[f"{name}/{tensor}"] = (w + float(STRENGTH) * scale * delta.reshape(w.shape)).astype(np.float32)

    q_key, conv_key = f"lora_unet_{TO_Q.replace('.', '_')}", "lora_unet_output_blocks_1_0_in_layers_2"
    flat = {f"hada_w{i}_{s}": some(8, 2) if s == "a" else some(2, 8) for i in (1, 2) for s in "ab"}
    put("loha", NET + TO_Q + ".weight", q_key, flat,
        (flat["hada_w1_a"].astype(float) @ flat["hada_w1_b"]) * (flat["hada_w2_a"].astype(float) @ flat["hada_w2_b"]), 2)
    core = {f"hada_w{i}_a": some(2, 6) for i in (1, 2)} | {f"hada_w{i}_b": some(2, 8) for i in (1, 2)} \
        | {f"hada_t{i}": some(2, 2, 3, 3) for i in (1, 2)}
    halves = [np.einsum("ijkl,jr,ip->prkl", core[f"hada_t{i}"].astype(float), core[f"hada_w{i}_b"],
                        core[f"hada_w{i}_a"]) for i in (1, 2)]
    put("loha", NET + CONV + ".weight", conv_key, core, halves[0] * halves[1], 2)
    whole = {"lokr_w1": some(2, 4), "lokr_w2_a": some(4, 1), "lokr_w2_b": some(1, 2)}
    put("lokr", NET + TO_Q + ".weight", q_key, whole,
        np.kron(whole["lokr_w1"].astype(float), whole["lokr_w2_a"].astype(float) @ whole["lokr_w2_b"]), 1)
    conv = {"lokr_w1_a": some(2, 1), "lokr_w1_b": some(1, 2), "lokr_w2_a": some(2, 3), "lokr_w2_b": some(2, 4),
            "lokr_t2": some(2, 2, 3, 3)}
    w1 = conv["lokr_w1_a"].astype(float) @ conv["lokr_w1_b"]
    w2 = np.einsum("ijkl,jr,ip->prkl", conv["lokr_t2"].astype(float), conv["lokr_w2_b"], conv["lokr_w2_a"])
    put("lokr", NET + CONV + ".weight", conv_key, conv, np.kron(w1[:, :, None, None], w2), 2)
    plain = {"lokr_w1": some(3, 2), "lokr_w2": some(2, 3)}
    put("lokr", TEXT + Q_PROJ + ".weight", "lora_te_text_model_encoder_layers_0_self_attn_q_proj", plain,
        np.kron(plain["lokr_w1"].astype(float), plain["lokr_w2"]))
    diff = some(8, 8)
    put("diff", NET + TO_OUT + ".weight", "diffusion_model." + TO_OUT, {"diff": diff}, diff.astype(float))
    diff = some(8)
    put("diff", NET + TO_OUT + ".bias", "diffusion_model." + TO_OUT, {"diff_b": diff}, diff.astype(float))
    diff = some(8)
    put("diff", NET + "input_blocks.1.0.in_layers.0.weight", "diffusion_model.input_blocks.1.0.in_layers.0",
        {"w_norm": diff}, diff.astype(float))

    def dora(name, tensor, key, by_output, ends):
        w = base[tensor].astype(float)
        up, down = some(w.shape[0], 2), some(2, w.size // w.shape[0])
        m = abs(some(w.shape[0] if by_output else w.shape[1])) + np.float32(0.5)
        v = w + 1.5 / 2 * (up.astype(float) @ down).reshape(w.shape)
        axes = tuple(i for i in range(w.ndim) if i != (0 if by_output else 1))
        shape = [-1 if i not in axes else 1 for i in range(w.ndim)]
        length = np.sqrt(((w if by_output else v) ** 2).sum(axes, keepdims=True))  # as ComfyUI has it
        v = v * m.reshape(shape) / (length + np.finfo(np.float32).eps)
        if len(base[tensor].shape) == 4:
            up, down = up[:, :, None, None], down.reshape((2,) + base[tensor].shape[1:])
        files.setdefault(name, {}).update({key + ends[0]: up, key + ends[1]: down, key + ends[2]: m.reshape(shape),
                                           key + ".alpha": np.array(1.5, np.float32)})
        want[f"{name}/{tensor}"] = (w + float(STRENGTH) * (v - w)).astype(np.float32)

    kohya = (".lora_up.weight", ".lora_down.weight", ".dora_scale")
    dora("dora", NET + TO_Q + ".weight", q_key, True, kohya)
    dora("dora", NET + CONV + ".weight", conv_key, False, kohya)
    dora("dora", TEXT + Q_PROJ + ".weight", "text_encoder.text_model." + Q_PROJ, True,
         (".lora_B.weight", ".lora_A.weight", ".lora_magnitude_vector"))
    files["oft"] = {q_key + ".oft_blocks": some(2, 4, 4)}
    # of another model: tensors of wrong shapes change nothing
    files["foreign"] = {q_key + ".lora_up.weight": some(9, 2), q_key + ".lora_down.weight": some(2, 8),
                        conv_key + ".hada_w1_a": some(6, 2), conv_key + ".hada_w1_b": some(3, 72),
                        conv_key + ".hada_w2_a": some(6, 2), conv_key + ".hada_w2_b": some(2, 72),
                        "diffusion_model." + TO_OUT + ".lokr_w1": some(3, 3),
                        "diffusion_model." + TO_OUT + ".lokr_w2": some(3, 3),
                        "diffusion_model." + TO_OUT + ".diff_b": some(7)}
    for name, tensors in {"base": base, "want": want, **files}.items():
        save_file(tensors, OUT / f"{name}.safetensors")


def names(path):
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
    import torch
    sd = {k[len(NET):]: v for k, v in load_file(path).items() if k.startswith(NET)}
    marked = {k: torch.full((1,), float(i)) for i, k in enumerate(sd)}
    levels = len({k for k in sd if k.endswith(".0.op.weight")}) + 1
    res = min(int(k.split(".")[1]) for k in sd if k.endswith(".0.op.weight")) - 1
    config = {"layers_per_block": res, "class_embed_type": None, "addition_embed_type": None,
              "down_block_types": [""] * levels, "up_block_types": [""] * levels}
    made = convert_ldm_unet_checkpoint({NET + k: v for k, v in marked.items()}, config)
    keys = list(sd)
    rows = sorted((keys[int(v.item())], k) for k, v in made.items() if k.endswith(".weight"))
    (OUT / "names.txt").write_text("".join(f"{a[:-7]}\t{b[:-7]}\n" for a, b in rows))


main()
if len(sys.argv) > 1:
    names(sys.argv[1])
