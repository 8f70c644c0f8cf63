"""Every node class that /object_info shows runs once against the real binary, each in a small workflow
made from its own description: links come from a producer of the type, values are the defaults."""
import json
import struct
import unittest

from tests.api.harness import DEMO, MODELS
from tests.api.pictures import CHECKPOINT, PictureServer, make_png, needs_checkpoint, text_to_image

# A producer for each type: class, output slot, its inputs.
PRODUCERS = {
    "MODEL": ("CheckpointLoaderSimple", 0, {}),
    "CLIP": ("CheckpointLoaderSimple", 1, {}),
    "VAE": ("CheckpointLoaderSimple", 2, {}),
    "CONDITIONING": ("CLIPTextEncode", 0, {"text": "a red apple"}),
    "LATENT": ("EmptyLatentImage", 0, {"width": 64, "height": 64}),
    "IMAGE": ("EmptyImage", 0, {"width": 64, "height": 64, "color": 0x804020}),
    "MASK": ("SolidMask", 0, {"width": 64, "height": 64, "value": 0.5}),
    "SIGMAS": ("KarrasScheduler", 0, {"steps": 2}),
    "SAMPLER": ("KSamplerSelect", 0, {}),
    "GUIDER": ("CFGGuider", 0, {}),
    "NOISE": ("RandomNoise", 0, {}),
    "LATENT_OPERATION": ("LatentOperationSharpen", 0, {"sharpen_radius": 2}),
}
# Values of inputs where the default is slow, or is none that runs.
VALUES = {"width": 64, "height": 64, "steps": 2, "tile_size": 64, "temporal_size": 64, "overlap": 16}
SPECIAL = {
    "EmptyLatentImage": {"batch_size": 2},
    "CLIPLoader": {"type": "stable_diffusion"},
    "CLIPTextEncodeSDXL": {"text_g": "a", "text_l": "a"},
    "DualCLIPLoader": {"type": "sdxl"},
    "ImageCrop": {"width": 32, "height": 32, "x": 8, "y": 8},
    "CropMask": {"width": 32, "height": 32, "x": 8, "y": 8},
    "LoadImageOutput": {"image": "one.png [output]"},
    "HobGenerateText": {"model": "smollm2:135m", "prompt": "An apple is", "max_tokens": 4},
    "StringSubstring": {"string": "abcdef", "start": 1, "end": 3},
    "ComfyNumberConvert": {"value": "12"},
    "ComfySwitchNode": {"switch": True, "on_true": "a", "on_false": "b"},
    "ComfyNotNode": {"value": True},
    "PreviewAny": {"source": "a"},
    "RegexExtract": {"string": "abc", "regex_pattern": "b"},
    "RegexMatch": {"string": "abc", "regex_pattern": "b"},
    "RegexReplace": {"string": "abc", "regex_pattern": "b", "replace": "x"},
}
# Classes for parts that the demo checkpoint does not have: the message each must fail with.
REFUSED = {"DualCLIPLoader": "two text encoders of one kind", "DualCLIPLoaderGGUF": "two text encoders of one kind"}


def safetensors(tensors):
    """The bytes of a file with {name: (dtype, shape, bytes)}."""
    head, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values())


def parts(path, prefix, keep=False):
    """The tensors of a checkpoint whose names begin with prefix, without it unless keep."""
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + n])
    head.pop("__metadata__", None)
    out = {}
    for name, t in head.items():
        if name.startswith(prefix):
            a, b = t["data_offsets"]
            out[name if keep else name[len(prefix):]] = (t["dtype"], t["shape"], data[8 + n + a:8 + n + b])
    return out


def lora(checkpoint):
    """A LoRA of rank 1 in kohya's names for one projection of each network."""
    out = {}
    for prefix, names in (("model.diffusion_model.", "lora_unet_"), ("cond_stage_model.transformer.", "lora_te_")):
        name, (_, shape, _) = next((n, t) for n, t in sorted(parts(checkpoint, prefix).items())
                                   if n.endswith(("attn1.to_q.weight", "self_attn.q_proj.weight")))
        key = names + unet_name(name[:-len(".weight")]).replace(".", "_")
        for part, size in (("lora_down", [1, shape[1]]), ("lora_up", [shape[0], 1])):
            out[f"{key}.{part}.weight"] = ("F32", size, struct.pack("<f", 0.1) * (size[0] * size[1]))
        out[f"{key}.alpha"] = ("F32", [], struct.pack("<f", 1.0))
    return out


def unet_name(name):
    """kohya names the blocks as diffusers does; the last part of the middle block has one place in both."""
    return name.replace("middle_block.1", "mid_block.attentions.0")


class Graph:
    """A workflow for one class; producers are shared."""

    def __init__(self, info):
        self.info, self.nodes, self.made = info, {}, {}

    def add(self, name, values):
        inputs = {}
        required = self.info[name]["input"].get("required", {})
        for key, spec in required.items():
            inputs[key] = values[key] if key in values else self.value(key, spec)
        for key in values:
            inputs.setdefault(key, values[key])
        self.nodes[str(len(self.nodes) + 1)] = {"class_type": name, "inputs": inputs}
        return str(len(self.nodes))

    def value(self, key, spec):
        kind, more = spec[0], spec[1] if len(spec) > 1 else {}
        if isinstance(kind, list) or kind == "COMBO":
            choices = kind if isinstance(kind, list) else more.get("options", [])
            return more.get("default", choices[0] if choices else "")
        if kind in ("INT", "FLOAT"):
            wanted = VALUES.get(key, more.get("default", 0))
            return min(max(wanted, more.get("min", wanted)), more.get("max", wanted))
        if kind == "BOOLEAN":
            return more.get("default", False)
        if kind == "STRING":
            return more.get("default", "") or "text"
        return self.link(kind.split(",")[0])

    def link(self, kind):
        name, slot, values = PRODUCERS[kind]
        if name not in self.made:
            self.made[name] = self.add(name, values)
        return [self.made[name], slot]


def workflow(info, name):
    """The class with all its outputs shown."""
    graph = Graph(info)
    node = graph.add(name, SPECIAL.get(name, {}))
    if not info[name]["output_node"]:
        for slot, kind in enumerate(info[name]["output"]):
            if kind == "IMAGE":
                graph.add("PreviewImage", {"images": [node, slot]})
            elif kind == "MASK":
                graph.add("MaskPreview", {"mask": [node, slot]})
            elif kind == "LATENT":
                graph.add("SaveLatent", {"samples": [node, slot]})
            else:
                graph.add("PreviewAny", {"source": [node, slot]})
    return graph.nodes


@needs_checkpoint
@unittest.skipUnless((DEMO / MODELS["smollm2:135m"]).exists(), "the demo model is missing")
class Nodes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PictureServer()
        base = cls.server.base
        for folder in ("models/vae", "models/diffusion_models", "models/text_encoders", "models/loras",
                       "models/configs", "output", "input"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        demo = DEMO / CHECKPOINT
        for folder, prefix, keep in (("vae", "first_stage_model.", False),
                                     ("diffusion_models", "model.diffusion_model.", False),
                                     ("text_encoders", "cond_stage_model.transformer.", False)):
            (base / "models" / folder / "part.safetensors").write_bytes(safetensors(parts(demo, prefix, keep)))
        (base / "models/loras/one.safetensors").write_bytes(safetensors(lora(demo)))
        (base / "models/configs/v1-inference.yaml").write_text("model: {}\n")
        for folder in ("input", "output"):
            (base / folder / "one.png").write_bytes(make_png(64, 64, alpha=True))
        latent = {"latent_tensor": ("F32", [1, 4, 8, 8], bytes(4 * 4 * 8 * 8)),
                  "latent_format_version_0": ("F32", [0], b"")}
        (base / "input" / "one.latent").write_bytes(safetensors(latent))
        cls.server.start()
        url, cls.server.url = cls.server.url, cls.server.chat_url
        cls.server.create("smollm2:135m")
        cls.server.url = url

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def test_every_class(self):
        info = self.server.call("/object_info")[1]
        self.assertGreaterEqual(len(info), 80)
        jobs, faults = {}, {}
        for name in sorted(info):
            status, answer = self.server.call("/prompt", {"prompt": workflow(info, name)})
            if status == 200:
                jobs[name] = answer["prompt_id"]
            else:
                faults[name] = json.dumps(answer)[:600]
        for name, prompt_id in jobs.items():
            entry = self.server.wait(prompt_id, 300)
            if entry["status"]["status_str"] != "success":
                last = entry["status"]["messages"][-1][1]
                faults[name] = f"{last['node_type']}: {last['exception_message']}"
        for name, message in REFUSED.items():
            self.assertIn(message, faults.pop(name, ""), name)
        self.assertEqual(faults, {}, "\n".join(f"{k}: {v}" for k, v in faults.items()))

    def test_seeds(self):
        for seed, status in ((2**64 - 1, 200), (str(2**64 - 1), 200), (2**64, 400), (str(2**64), 400), (-1, 400)):
            with self.subTest(seed=seed):
                got, answer = self.server.call("/prompt", {"prompt": text_to_image(seed=seed, steps=1)})
                self.assertEqual(got, status, answer)
                if status == 400:
                    self.assertIn(answer["node_errors"]["3"]["errors"][0]["type"],
                                  ("value_bigger_than_max", "value_smaller_than_min"))
                else:
                    self.assertEqual(self.server.wait(answer["prompt_id"])["status"]["status_str"], "success")

    def test_ten_thousand_nodes(self):
        graph = {str(k): {"class_type": "ImageInvert", "inputs": {"image": [str(k - 1), 0]}} for k in range(1, 9998)}
        graph["0"] = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
        graph["end"] = {"class_type": "PreviewImage", "inputs": {"images": ["9997", 0]}}
        self.assertEqual(self.server.wait(self.server.queue(graph))["status"]["status_str"], "success")
