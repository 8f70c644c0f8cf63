"""Every node class the server offers runs at least once, in a workflow made from its own description.

The catalogue lists exactly the classes that run. For each, required inputs are filled with defaults (small
sizes, few steps) or linked to a node that makes their type, and an output node is put behind it. A class that
is added to the tables is in this test by itself; one that cannot be filled this way has a line in SPECIAL.
"""
import json
import math
import struct
import unittest

from tests.api.pictures import CHECKPOINT, DEMO, PictureServer, make_png, needs_checkpoint

# Values for inputs by name, where defaults are large or need something that is there.
BY_NAME = {"width": 64, "height": 64, "target_width": 64, "target_height": 64, "crop_w": 0, "crop_h": 0, "steps": 2,
           "end_at_step": 2, "megapixels": 0.01, "largest_size": 64, "sigma_max": 14.6, "sigma_min": 0.03,
           "filename_prefix": "every/node", "tile_size": 64, "overlap": 0, "grow_mask_by": 2, "x": 0, "y": 0,
           "resolution": 64, "text": "a red apple", "clip_l": "a red apple", "clip_g": "a red apple", "string": "abc",
           "regex_pattern": "b"}
# Inputs of single classes. {} means: defaults will do.
SPECIAL = {
    "LoadImageOutput": {"image": "seen_00001_.png [output]"},
    "LoadImage": {"image": "picture.png"},
    "LoadImageMask": {"image": "picture.png"},
    "LoadLatent": {"latent": "small.latent"},
    "StableCascade_EmptyLatentImage": {"width": 256, "height": 256},
    "ImageCrop": {"width": 16, "height": 16},
    "CropMask": {"width": 16, "height": 16},
    "LatentOperationSharpen": {"sharpen_radius": 2},
}
# Classes that answer an error on this checkpoint, and a word of the message: they were reached all the same.
REFUSES = {
    "DualCLIPLoader": "two text encoders",  # there is one CLIP-L and no other encoder
    "DualCLIPLoaderGGUF": "two text encoders",
    "HobGenerateText": "language model",  # none was imported
}
# A node that makes a value of each type: (class, inputs, output slot); "@TYPE" is a link to another maker.
MAKERS = {
    "MODEL": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, 0),
    "CLIP": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, 1),
    "VAE": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, 2),
    "CONDITIONING": ("CLIPTextEncode", {"text": "a red apple", "clip": "@CLIP"}, 0),
    "IMAGE": ("LoadImage", {"image": "picture.png"}, 0),
    "MASK": ("SolidMask", {"value": 1.0, "width": 64, "height": 64}, 0),
    "LATENT": ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 1}, 0),
    "SIGMAS": ("KarrasScheduler", {"steps": 2, "sigma_max": 14.6, "sigma_min": 0.03, "rho": 7.0}, 0),
    "SAMPLER": ("KSamplerSelect", {"sampler_name": "euler"}, 0),
    "GUIDER": ("BasicGuider", {"model": "@MODEL", "conditioning": "@CONDITIONING"}, 0),
    "NOISE": ("RandomNoise", {"noise_seed": 1}, 0),
    "LATENT_OPERATION": ("LatentOperationTonemapReinhard", {"multiplier": 1.0}, 0),
    "*": ("SolidMask", {"value": 1.0, "width": 64, "height": 64}, 0),
    "STRING": ("PrimitiveString", {"value": "abc"}, 0),
    "INT": ("PrimitiveInt", {"value": 1}, 0),
    "FLOAT": ("PrimitiveFloat", {"value": 0.5}, 0),
    "BOOLEAN": ("PrimitiveBoolean", {"value": True}, 0),
}
SINKS = {"IMAGE": ("PreviewImage", "images"), "MASK": ("MaskPreview", "mask"), "LATENT": ("SaveLatent", "samples")}


class Graph:
    """A workflow under construction; equal makers are one node."""

    def __init__(self):
        self.nodes, self.made = {}, {}

    def add(self, class_type, inputs):
        node_id = str(len(self.nodes) + 1)
        self.nodes[node_id] = {"class_type": class_type, "inputs": inputs}
        return node_id

    def link(self, kind):
        """A link to a value of the type; unions take their first member."""
        for one in kind.split(","):
            if one not in MAKERS:
                continue
            class_type, inputs, slot = MAKERS[one]
            if class_type not in self.made:
                self.made[class_type] = self.add(class_type, {k: self.link(v[1:]) if str(v).startswith("@") else v
                                                              for k, v in inputs.items()})
            return [self.made[class_type], slot]
        raise KeyError(f"no maker of {kind}")


def literal(name, spec, special):
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    if name in special:
        return special[name]
    if isinstance(kind, list) or kind == "COMBO":
        choices = kind if isinstance(kind, list) else options.get("options", [])
        if options.get("default") in choices:
            return options["default"]
        if not choices:
            raise KeyError(f"nothing to choose for {name}")
        return choices[0]
    if name in BY_NAME and not (
            kind in ("INT", "FLOAT") and BY_NAME[name] > options.get("max", math.inf)):
        return BY_NAME[name]
    return options.get("default", {"STRING": "", "INT": 1, "FLOAT": 1.0, "BOOLEAN": False}[kind])


def workflow(name, info):
    """The class with everything it needs above and an output node below; (graph, id of the class's node)."""
    graph, inputs, special = Graph(), {}, SPECIAL.get(name, {})
    for group in ("required", "optional"):
        for key, spec in info["input"].get(group, {}).items():
            kind, options = spec[0], spec[1] if len(spec) > 1 else {}
            plain = isinstance(kind, list) or kind in ("COMBO", "INT", "FLOAT", "STRING", "BOOLEAN")
            if plain and not options.get("forceInput"):
                inputs[key] = literal(key, spec, special)
            elif group == "required" or kind.split(",")[0] in MAKERS:
                inputs[key] = graph.link(kind)
    node = graph.add(name, inputs)
    if not info["output_node"]:
        kind = info["output"][0]
        sink, key = SINKS.get(kind, ("PreviewAny", "source"))
        graph.add(sink, {key: [node, 0], **({"filename_prefix": "every/sink"} if sink == "SaveLatent" else {})})
    return graph.nodes, node


def write_safetensors(path, tensors, metadata=None):
    """{name: (dtype, shape, bytes)}"""
    head, at, body = {"__metadata__": metadata} if metadata else {}, 0, b""
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
        body += data
    text = json.dumps(head).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def read_safetensors(path):
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + n])
    head.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in head.items()}


def make_files(base):
    """The demo checkpoint in parts, a LoRA, a latent, a picture: what loaders choose from."""
    whole = read_safetensors(DEMO / CHECKPOINT)

    def part(folder, prefix):
        write_safetensors(base / "models" / folder / "part.safetensors",
                          {k[len(prefix):]: v for k, v in whole.items() if k.startswith(prefix)})
    part("vae", "first_stage_model.")
    part("diffusion_models", "model.diffusion_model.")
    part("text_encoders", "cond_stage_model.transformer.")
    down = struct.pack("<128f", *[0.01] * 128)
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    write_safetensors(base / "models" / "loras" / "small.safetensors", {
        name + ".lora_down.weight": ("F32", [2, 64], down), name + ".lora_up.weight": ("F32", [64, 2], down),
        name + ".alpha": ("F32", [], struct.pack("<f", 2.0))})
    write_safetensors(base / "input" / "small.latent", {
        "latent_format_version_0": ("F32", [0], b""),
        "latent_tensor": ("F32", [1, 4, 8, 8], struct.pack("<256f", *[0.1] * 256))})
    (base / "models" / "configs").mkdir(parents=True, exist_ok=True)
    (base / "models" / "configs" / "v1-inference.yaml").write_text("model: {}\n")
    (base / "input" / "picture.png").write_bytes(make_png(64, 64, alpha=True))
    (base / "output").mkdir(exist_ok=True)
    (base / "output" / "seen_00001_.png").write_bytes(make_png(8, 8))


@needs_checkpoint
class EveryNode(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PictureServer()
        (cls.server.base / "input").mkdir(parents=True, exist_ok=True)
        make_files(cls.server.base)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def run_class(self, name, info):
        """None when it ran, else what went wrong."""
        try:
            graph, node = workflow(name, info)
        except KeyError as e:
            return f"no workflow: {e}"
        status, answer = self.server.call("/prompt", {"prompt": graph})
        if status != 200:
            return f"refused: {json.dumps(answer)[:300]}"
        entry = self.server.wait(answer["prompt_id"])
        if entry["status"]["status_str"] == "success":
            return None
        errors = [m[1] for m in entry["status"]["messages"] if m[0] == "execution_error"]
        wrong = errors[0] if errors else {}
        if name in REFUSES and wrong.get("node_type") == name and REFUSES[name] in wrong.get("exception_message", ""):
            return None
        return f"{wrong.get('node_type')}: {wrong.get('exception_message')}"

    def test_every_class(self):
        _, catalogue = self.server.call("/object_info")
        self.assertGreaterEqual(len(catalogue), 80)
        failed = {}
        for name, info in catalogue.items():
            wrong = self.run_class(name, info)
            if wrong:
                failed[name] = wrong
        self.assertEqual(self.server.call("/system_stats")[0], 200)
        text = "".join(f"\n  {name}: {wrong}" for name, wrong in failed.items())
        self.assertFalse(failed, f"{len(failed)} of {len(catalogue)} classes:{text}")


if __name__ == "__main__":
    unittest.main()
