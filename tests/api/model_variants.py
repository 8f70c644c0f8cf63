"""Variants of the demo checkpoint, and workflows over them, whose pictures ComfyUI has drawn too.

usage: python -m tests.api.model_variants write BASE          puts the files below BASE/models
       python -m tests.api.model_variants draw URL OUT        sends every workflow, saves OUT/NAME.png
The pictures in tests/golden/variants/ are ComfyUI's, on the CPU in f32. Weights are functions of their names."""
import json
import random
import struct
import sys
import time
import urllib.request
from pathlib import Path

from tests.api.harness import DEMO
from tests.api.pictures import CHECKPOINT, text_to_image
from tests.api.test_comfy_nodes import parts, safetensors

NET, TEXT = "model.diffusion_model.", "cond_stage_model.transformer."


def some(name, *shape, scale=1.0):
    """A tensor of normal numbers that depend on the name alone."""
    rng, n = random.Random(name), 1
    for d in shape:
        n *= d
    return "F32", list(shape), struct.pack(f"<{n}f", *(rng.gauss(0, scale) for _ in range(n)))


def widened(n_more):
    """The demo checkpoint with n_more channels beside the latent."""
    tensors = parts(DEMO / CHECKPOINT, "", True)
    name = NET + "input_blocks.0.0.weight"
    dtype, shape, data = tensors[name]
    out, n_in, kh, kw = shape
    item = len(data) // (out * n_in * kh * kw)
    code = "f" if dtype == "F32" else "e"
    rows, row = [], n_in * kh * kw * item
    for o in range(out):
        rng = random.Random(f"{n_more} {o}")
        more = (rng.gauss(0, 0.05) for _ in range(n_more * kh * kw))
        rows.append(data[o * row:(o + 1) * row] + struct.pack(f"<{n_more * kh * kw}{code}", *more))
    tensors[name] = (dtype, [out, n_in + n_more, kh, kw], b"".join(rows))
    return tensors


def layers():
    """(matrix, kernel) of the network and the encoder's matrix: names and shapes."""
    net = {k: t[1] for k, t in parts(DEMO / CHECKPOINT, NET).items()}
    text = {k: t[1] for k, t in parts(DEMO / CHECKPOINT, TEXT).items()}
    matrix = min(k for k in net if k.endswith("attn1.to_q.weight"))
    kernel = min(k for k in net if k.startswith("output_blocks.") and k.endswith("in_layers.2.weight"))
    encoder = min(k for k in text if k.endswith("self_attn.q_proj.weight"))
    return (matrix, net[matrix]), (kernel, net[kernel]), (encoder, text[encoder])


def adapters():
    """{name: tensors} of adapter files."""
    (matrix, (mo, mi)), (kernel, (ko, ki, kh, kw)), (encoder, (eo, ei)) = layers()
    m, k, e = (prefix + name[:-7].replace(".", "_") for prefix, name in
               (("lora_unet_", matrix), ("lora_unet_", kernel), ("lora_te_", encoder)))
    alpha = "F32", [], struct.pack("<f", 2.0)

    def f(key, *shape, scale=0.3):
        return key, some(key, *shape, scale=scale)
    loha = dict([f(m + ".hada_w1_a", mo, 2), f(m + ".hada_w1_b", 2, mi), f(m + ".hada_w2_a", mo, 2),
                 f(m + ".hada_w2_b", 2, mi), f(k + ".hada_w1_a", 2, ko), f(k + ".hada_w1_b", 2, ki),
                 f(k + ".hada_w2_a", 2, ko), f(k + ".hada_w2_b", 2, ki), f(k + ".hada_t1", 2, 2, kh, kw),
                 f(k + ".hada_t2", 2, 2, kh, kw)])
    lokr = dict([f(m + ".lokr_w1", 2, 4, scale=0.2), f(m + ".lokr_w2_a", mo // 2, 2), f(m + ".lokr_w2_b", 2, mi // 4),
                 f(k + ".lokr_w1", 4, 2, scale=0.1), f(k + ".lokr_w2", ko // 4, ki // 2, kh, kw, scale=0.2),
                 f(e + ".lokr_w1_a", 2, 1), f(e + ".lokr_w1_b", 1, 2), f(e + ".lokr_w2", eo // 2, ei // 2, scale=0.1)])
    tucker = dict([f(k + ".lora_up.weight", ko, 3, 1, 1), f(k + ".lora_mid.weight", 3, 3, kh, kw),
                   f(k + ".lora_down.weight", 3, ki, 1, 1)])
    dora = dict([f(m + ".lora_up.weight", mo, 2), f(m + ".lora_down.weight", 2, mi),
                 f(m + ".dora_scale", mo, 1, scale=1.0), f(k + ".lora_up.weight", ko, 2, 1, 1),
                 f(k + ".lora_down.weight", 2, ki, kh, kw, scale=0.1), f(k + ".dora_scale", 1, ki, 1, 1, scale=1.0)])
    diff = dict([f("diffusion_model." + matrix[:-7] + ".diff", mo, mi, scale=0.1),
                 f("diffusion_model." + kernel[:-7] + ".diff_b", ko, scale=0.5)])
    for file, stems in ((loha, (m, k)), (lokr, (m, e)), (tucker, (k,)), (dora, (m, k))):
        for stem in stems:
            file[stem + ".alpha"] = alpha
    return {"loha": loha, "lokr": lokr, "tucker": tucker, "dora": dora, "diff": diff}


def write_all(base):
    for folder in ("checkpoints", "loras"):
        (base / "models" / folder).mkdir(parents=True, exist_ok=True)
    checkpoint = base / "models/checkpoints" / CHECKPOINT
    if not checkpoint.exists():  # else it may be a link to the demo's own file, which others use
        checkpoint.write_bytes((DEMO / CHECKPOINT).read_bytes())
    (base / "models/checkpoints/inpaint.safetensors").write_bytes(safetensors(widened(5)))
    (base / "models/checkpoints/edit.safetensors").write_bytes(safetensors(widened(4)))  # ComfyUI does not know it
    for name, tensors in adapters().items():
        (base / f"models/loras/{name}.safetensors").write_bytes(safetensors(tensors))


def graph_of(checkpoint=CHECKPOINT, **more):
    return text_to_image(seed=11, steps=4, width=64, height=96, checkpoint=checkpoint, **more)


def source(graph):
    """A picture made of the demo checkpoint, its latent, and a mask over its right half."""
    graph["50"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 96, "batch_size": 1,
                                                         "color": 0xC04020}}
    graph["51"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["50", 0], "vae": ["4", 2]}}
    graph["52"] = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 64, "height": 96}}
    graph["53"] = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 30, "height": 96}}
    graph["54"] = {"class_type": "MaskComposite", "inputs": {"destination": ["52", 0], "source": ["53", 0], "x": 34,
                                                            "y": 0, "operation": "add"}}
    return graph


def workflows():
    """{name: graph}"""
    out = {"inpaint-plain": graph_of("inpaint.safetensors"), "edit-plain": graph_of("edit.safetensors")}
    g = out["inpaint-masked"] = source(graph_of("inpaint.safetensors"))
    g["55"] = {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["51", 0], "mask": ["54", 0]}}
    g["3"]["inputs"]["latent_image"] = ["55", 0]
    for name, noise_mask in (("inpaint-conditioned", False), ("inpaint-both", True)):
        g = out[name] = source(graph_of("inpaint.safetensors"))
        g["56"] = {"class_type": "InpaintModelConditioning", "inputs": {
            "positive": ["6", 0], "negative": ["7", 0], "vae": ["4", 2], "pixels": ["50", 0], "mask": ["54", 0],
            "noise_mask": noise_mask}}
        g["3"]["inputs"].update(positive=["56", 0], negative=["56", 1], latent_image=["56", 2])
    g = out["edit"] = source(graph_of("edit.safetensors"))
    g["57"] = {"class_type": "InstructPixToPixConditioning", "inputs": {
        "positive": ["6", 0], "negative": ["7", 0], "vae": ["4", 2], "pixels": ["50", 0]}}
    g["3"]["inputs"].update(positive=["57", 0], negative=["57", 1], latent_image=["57", 2])
    for name in adapters():
        for strength in (1.0, 0.6):
            g = out[f"{name}-{strength}"] = graph_of()
            g["58"] = {"class_type": "LoraLoader", "inputs": {
                "model": ["4", 0], "clip": ["4", 1], "lora_name": f"{name}.safetensors", "strength_model": strength,
                "strength_clip": strength}}
            g["3"]["inputs"]["model"] = ["58", 0]
            g["6"]["inputs"]["clip"] = g["7"]["inputs"]["clip"] = ["58", 1]
    return out


def ask(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"})) as answer:
        return answer.read()


def draw_all(url, out):
    out.mkdir(parents=True, exist_ok=True)
    for name, graph in workflows().items():
        job = json.loads(ask(url + "/prompt", {"prompt": graph}))["prompt_id"]
        while job not in (history := json.loads(ask(f"{url}/history/{job}"))):
            time.sleep(0.1)
        if history[job]["status"]["status_str"] != "success":
            print(name, history[job]["status"]["messages"][-1])
            continue
        image = history[job]["outputs"]["9"]["images"][0]
        (out / f"{name}.png").write_bytes(ask(f"{url}/view?filename={image['filename']}&type=output&subfolder="))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write_all(Path(sys.argv[2]))
    else:
        draw_all(sys.argv[2], Path(sys.argv[3]))
