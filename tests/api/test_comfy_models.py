"""Model files of other kinds than a checkpoint: TAESD, GGUF; work that is too large; autoencoders by bands."""
import json
import random
import struct
import sys
import time
import unittest
import zlib
from pathlib import Path

from tests.api import model_variants
from tests.api.harness import DEMO
from tests.api.pictures import CHECKPOINT, PictureServer, needs_checkpoint, png_chunks, png_size, text_to_image
from tests.api.test_comfy_nodes import lora, parts, safetensors

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import gguf_writer  # noqa: E402

Q8_0 = 8


def pixels(png):
    """The bytes of an 8-bit RGB PNG, its rows' filters undone."""
    width, height = png_size(png)
    raw = zlib.decompress(b"".join(data for kind, data in png_chunks(png) if kind == "IDAT"))
    stride, out, above = 3 * width, bytearray(), bytes(3 * width)
    for y in range(height):
        kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            a, b = row[i - 3] if i >= 3 else 0, above[i]
            c = above[i - 3] if i >= 3 else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            row[i] = (row[i] + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
        out += row
        above = row
    return bytes(out)


def difference(a, b):
    """Mean and largest difference of two pictures."""
    assert len(a) == len(b), (len(a), len(b))
    all_of = [abs(x - y) for x, y in zip(a, b)]
    return sum(all_of) / len(all_of), max(all_of)


def floats(tensor):
    dtype, _, data = tensor
    return struct.unpack(f"<{len(data) // 4}f", data) if dtype == "F32" else struct.unpack(f"<{len(data) // 2}e", data)


def quantised(values):
    """Q8_0: blocks of 32 with one half as their scale."""
    out = []
    for at in range(0, len(values), 32):
        block = values[at:at + 32]
        scale = max(map(abs, block)) / 127
        out.append(struct.pack("<e", scale))
        inverse = 1 / scale if scale else 0
        out.append(bytes(round(v * inverse) & 255 for v in block))
    return b"".join(out)


def write_gguf(path, prefix):
    """The demo's network as people keep them: matrices quantised, kernels as they are, one of them flattened."""
    tensors, keys = [], [gguf_writer.key("general.architecture", gguf_writer.STR, "sd1")]
    flattened = False
    for name, tensor in sorted(parts(DEMO / CHECKPOINT, "model.diffusion_model.").items()):
        dtype, shape, data = tensor
        kind = gguf_writer.TYPE_F32 if dtype == "F32" else gguf_writer.TYPE_F16
        if len(shape) == 2 and shape[1] % 32 == 0:
            tensors.append((prefix + name, shape, Q8_0, quantised(floats(tensor))))
        elif len(shape) == 4 and not flattened and len(floats(tensor)) % 256 == 0 and shape[3] > 1:
            flattened = True
            values = floats(tensor)
            keys.append(gguf_writer.key(f"comfy.gguf.orig_shape.{prefix}{name}", gguf_writer.ARRAY,
                                        (gguf_writer.I32, shape)))
            tensors.append((prefix + name, [len(values) // 256, 256], Q8_0, quantised(values)))
        else:
            tensors.append((prefix + name, shape, kind, data))
    gguf_writer.write(path, keys, tensors)


def tiny(is_decoder, z=4, width=8):
    """Half of a TAESD with random weights, by its own numbers."""
    rng, out = random.Random(is_decoder), {}

    def conv(name, c_out, c_in, k=3, bias=True):
        scale = (1.5 / (c_in * k * k)) ** 0.5
        out[name + ".weight"] = ("F32", [c_out, c_in, k, k], struct.pack(
            f"<{c_out * c_in * k * k}f", *(rng.gauss(0, scale) for _ in range(c_out * c_in * k * k))))
        if bias:
            out[name + ".bias"] = ("F32", [c_out], struct.pack(f"<{c_out}f", *(rng.gauss(0, 0.1) for _ in range(c_out))))

    def block(i):
        for k in (0, 2, 4):
            conv(f"{i}.conv.{k}", width, width)
    if is_decoder:
        conv("1", width, z)
        for first in (3, 8, 13):
            for i in range(first, first + 3):
                block(i)
            conv(str(first + 4), width, width, bias=False)
        block(18)
        conv("19", 3, width)
    else:
        conv("0", width, 3)
        block(1)
        for first in (2, 6, 10):
            conv(str(first), width, width, bias=False)
            for i in range(first + 1, first + 4):
                block(i)
        conv("14", z, width)
    return out


@needs_checkpoint
class ModelFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PictureServer()
        cls.models = cls.server.base / "models"
        for folder in ("vae", "vae_approx", "diffusion_models", "checkpoints", "loras"):
            (cls.models / folder).mkdir(parents=True, exist_ok=True)
        for half in ("decoder", "encoder"):
            (cls.models / f"vae_approx/taesd_{half}.safetensors").write_bytes(safetensors(tiny(half == "decoder")))
        both = {f"taesd_{half}.{name}": t for half in ("decoder", "encoder")
                for name, t in tiny(half == "decoder").items()}
        (cls.models / "vae/both.safetensors").write_bytes(safetensors(both))
        (cls.models / "loras/one.safetensors").write_bytes(safetensors(lora(DEMO / CHECKPOINT)))
        write_gguf(cls.models / "diffusion_models/emoji-Q8_0.gguf", "")
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def run_graph(self, graph, timeout=120):
        return self.server.wait(self.server.queue(graph), timeout)

    def error_of(self, graph):
        entry = self.run_graph(graph)
        self.assertEqual(entry["status"]["status_str"], "error")
        return entry["status"]["messages"][-1][1]

    def picture(self, graph, node="9"):
        entry = self.run_graph(graph)
        self.assertEqual(entry["status"]["status_str"], "success", entry["status"])
        image = entry["outputs"][node]["images"][0]
        status, _, data = self.server.request(
            "GET", f"/view?filename={image['filename']}&type={image['type']}&subfolder={image['subfolder']}")
        self.assertEqual(status, 200)
        return pixels(data)

    # ---- TAESD ----

    def test_taesd_is_offered_and_works_both_ways(self):
        menu = self.server.call("/object_info/VAELoader")[1]["VAELoader"]["input"]["required"]["vae_name"][0]
        self.assertEqual((menu[0], menu[-2:]), ("both.safetensors", ["taesd", "pixel_space"]))
        seen = {}
        for name in ("taesd", "both.safetensors"):
            graph = text_to_image(steps=2, width=64, height=64)
            graph["10"] = {"class_type": "VAELoader", "inputs": {"vae_name": name}}
            graph["11"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["8", 0], "vae": ["10", 0]}}
            graph["12"] = {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["10", 0]}}
            graph["9"]["inputs"]["images"] = ["12", 0]
            seen[name] = self.picture(graph)
        self.assertEqual(seen["taesd"], seen["both.safetensors"])

    def test_taesd_previews(self):
        sizes = {}
        for method in ("latent2rgb", "taesd"):
            with self.server.socket() as ws:
                graph = text_to_image(seed=7, steps=3, width=64, height=96)
                graph["9"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
                prompt_id = self.server.queue(graph, client_id=ws.client_id, extra_data={"preview_method": method})
                frames = [m for m in ws.until(prompt_id) if isinstance(m, bytes)]
            self.assertGreaterEqual(len(frames), 2, method)
            self.assertEqual(frames[0][8:10], b"\xff\xd8", method)
            sizes[method] = [len(f) for f in frames]
            self.server.call("/free", {"free_memory": True})
        self.assertNotEqual(sizes["latent2rgb"], sizes["taesd"])

    def test_pixel_space_keeps_the_picture(self):
        graph = text_to_image(steps=1, width=64, height=64)
        graph["10"] = {"class_type": "VAELoader", "inputs": {"vae_name": "pixel_space"}}
        graph["11"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["8", 0], "vae": ["10", 0]}}
        graph["12"] = {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["10", 0]}}
        before = self.picture(graph)
        graph["9"]["inputs"]["images"] = ["12", 0]
        self.assertLessEqual(difference(before, self.picture(graph))[1], 1)

    # ---- GGUF ----

    def test_a_quantised_network_draws_the_same_picture(self):
        graph = text_to_image(seed=3, steps=4)
        plain = self.picture(graph)
        for loader in ("UNETLoader", "UnetLoaderGGUF"):
            more = {"weight_dtype": "default"} if loader == "UNETLoader" else {}
            graph["20"] = {"class_type": loader, "inputs": {"unet_name": "emoji-Q8_0.gguf", **more}}
            graph["3"]["inputs"]["model"] = ["20", 0]
            mean, _ = difference(plain, self.picture(graph))
            self.assertGreater(mean, 0, "another network")
            self.assertLess(mean, 3, loader)

    def test_damaged_files_are_refused_by_name(self):
        good = (self.models / "diffusion_models/emoji-Q8_0.gguf").read_bytes()
        bad_shape = good.replace(b"comfy.gguf.orig_shape.", b"comfy.gguf.orig_shape.", 1)
        at = bad_shape.index(b"comfy.gguf.orig_shape.")
        n = struct.unpack("<Q", bad_shape[at - 8:at])[0]
        first = at + n + 4 + 4 + 8  # key, type, items' type, count
        bad_shape = bad_shape[:first] + struct.pack("<i", 1 << 30) + bad_shape[first + 4:]
        tiny_nan = {n: (t, s, b"\xff" * len(d)) for n, (t, s, d) in tiny(True).items()}
        cases = {"diffusion_models/cut.gguf": good[:len(good) // 2], "diffusion_models/head.gguf": good[:100],
                 "diffusion_models/shape.gguf": bad_shape, "diffusion_models/empty.gguf": b"",
                 "vae/half.safetensors": safetensors({"1.weight": ("F32", [1], bytes(4))}),
                 "vae/nan.safetensors": safetensors({f"taesd_decoder.{n}": t for n, t in tiny_nan.items()})}
        for name, data in cases.items():
            (self.models / name).write_bytes(data)
        try:
            for name in cases:
                graph = text_to_image(steps=1, width=64, height=64)
                folder, file = name.split("/")
                if folder == "vae":
                    graph["20"] = {"class_type": "VAELoader", "inputs": {"vae_name": file}}
                    graph["8"]["inputs"]["vae"] = ["20", 0]
                else:
                    graph["20"] = {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": file}}
                    graph["3"]["inputs"]["model"] = ["20", 0]
                error = self.error_of(graph)
                if "nan" in name:
                    self.assertIn("not numbers", error["exception_message"])
                    self.assertEqual(error["node_type"], "VAEDecode")
                else:
                    self.assertIn(file, error["exception_message"])
        finally:
            for name in cases:
                (self.models / name).unlink()

    # ---- work ----

    def test_work_without_an_end_is_refused_before_it_begins(self):
        begun = time.monotonic()
        error = self.error_of(text_to_image(steps=20, width=16384, height=16384))
        self.assertRegex(error["exception_message"], r"KSampler \(node 3\).*16384x16384 pixels.*limit.*smaller")
        self.assertEqual((error["node_id"], error["node_type"]), ("3", "KSampler"))
        error = self.error_of(text_to_image(steps=20, width=512, height=512, batch=4096))
        self.assertRegex(error["exception_message"], r"4096 pictures of 512x512 pixels.*batch_size")
        error = self.error_of(text_to_image(steps=10000, width=2048, height=2048))
        self.assertRegex(error["exception_message"], r"10000 steps.*fewer steps")
        self.assertLess(time.monotonic() - begun, 60)

    def test_a_large_latent_is_refused_by_the_decoder(self):
        graph = text_to_image(steps=1, width=16384, height=16384)
        graph["8"]["inputs"]["samples"] = ["5", 0]
        error = self.error_of(graph)
        self.assertRegex(error["exception_message"], r"VAEDecode \(node 8\): decoding a picture of 16384x16384 pixels")

    def test_models_of_workflows_are_among_the_resident(self):
        self.picture(text_to_image(steps=1, width=64, height=64))
        url, self.server.url = self.server.url, self.server.chat_url
        try:
            rows = {m["name"]: m for m in self.server.call("/api/ps")[1]["models"]}
        finally:
            self.server.url = url
        row = rows[CHECKPOINT]
        self.assertGreater(row["size"], (DEMO / CHECKPOINT).stat().st_size / 2)
        self.assertEqual((len(row["digest"]), row["size_vram"]), (64, 0))
        self.assertRegex(row["expires_at"], r"^2\d{3}-")

    # ---- bands ----

    def test_tiled_nodes_give_what_whole_ones_give(self):
        graph = text_to_image(seed=5, steps=2, width=192, height=320)
        whole = self.picture(graph)
        graph["8"]["class_type"] = "VAEDecodeTiled"
        graph["8"]["inputs"].update(tile_size=64, overlap=0, temporal_size=64, temporal_overlap=8)
        self.assertLessEqual(difference(whole, self.picture(graph))[1], 1)
        graph = text_to_image(seed=5, steps=2, width=192, height=320)
        graph["11"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["8", 0], "vae": ["4", 2]}}
        graph["12"] = {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["4", 2]}}
        graph["9"]["inputs"]["images"] = ["12", 0]
        whole = self.picture(graph)
        graph["11"]["class_type"] = "VAEEncodeTiled"
        graph["11"]["inputs"].update(tile_size=64, overlap=0, temporal_size=64, temporal_overlap=8)
        self.assertLessEqual(difference(whole, self.picture(graph))[1], 1)

    def test_a_picture_that_does_not_fit_whole_is_decoded_by_bands(self):
        graph = text_to_image(seed=5, steps=1, width=384, height=384)
        whole = self.picture(graph)
        with PictureServer(env={"HOB_MEMORY": "100M"}) as small:
            entry = small.wait(small.queue(graph))
            self.assertEqual(entry["status"]["status_str"], "success", entry["status"]["messages"][-1])
            name = entry["outputs"]["9"]["images"][0]["filename"]
            got = pixels(small.request("GET", f"/view?filename={name}&type=output&subfolder=")[2])
            self.assertLessEqual(difference(whole, got)[1], 1)
            large = text_to_image(steps=1, width=1024, height=1024)
            large["8"]["inputs"]["samples"] = ["5", 0]
            error = small.wait(small.queue(large))["status"]["messages"][-1][1]
            self.assertRegex(error["exception_message"], r"VAEDecode \(node 8\): decoding a picture of 1024x1024 pixels "
                                                         r"needs .* GiB .* smaller width")

    # ---- saving ----

    def saved(self, path):
        """What a loader calls the file, and the file's path."""
        files = sorted((self.server.base / "output" / path).parent.glob(Path(path).name + "_*"))
        self.assertEqual(len(files), 1, files)
        return files[0].name, files[0]

    def test_a_saved_checkpoint_is_the_same(self):
        graph = text_to_image(seed=9, steps=2, width=64, height=64)
        graph["30"] = {"class_type": "CheckpointSave", "inputs": {
            "model": ["4", 0], "clip": ["4", 1], "vae": ["4", 2], "filename_prefix": "checkpoints/whole"}}
        whole = self.picture(graph)
        name, path = self.saved("checkpoints/whole")
        was, got = parts(DEMO / CHECKPOINT, "", True), parts(path, "", True)
        for key, tensor in got.items():
            self.assertEqual(tensor, was[key], key)
        self.assertTrue(all(key in got for key in was if key.startswith(("model.", "cond_stage_model.", "first_stage"))))
        head = path.read_bytes()
        self.assertIn(b"modelspec.predict_key", head[:struct.unpack("<Q", head[:8])[0]])
        del graph["30"]
        graph["4"]["inputs"]["ckpt_name"] = name
        self.assertEqual(whole, self.picture(graph))

    def test_patched_parts_are_saved_with_their_patches(self):
        graph = text_to_image(seed=9, steps=2, width=64, height=64)
        graph["31"] = {"class_type": "LoraLoader", "inputs": {
            "model": ["4", 0], "clip": ["4", 1], "lora_name": "one.safetensors", "strength_model": 40.0,
            "strength_clip": 40.0}}
        graph["3"]["inputs"]["model"], graph["6"]["inputs"]["clip"] = ["31", 0], ["31", 1]
        graph["7"]["inputs"]["clip"] = ["31", 1]
        for node, name, inputs in (("32", "ModelSave", {"model": ["31", 0], "filename_prefix": "diffusion_models/m"}),
                                   ("33", "CLIPSave", {"clip": ["31", 1], "filename_prefix": "clip/c"}),
                                   ("34", "VAESave", {"vae": ["4", 2], "filename_prefix": "vae/v"})):
            graph[node] = {"class_type": name, "inputs": inputs}
        patched = self.picture(graph)
        plain = text_to_image(seed=9, steps=2, width=64, height=64)
        self.assertGreater(difference(patched, self.picture(plain))[0], 0.5, "the patch does something")
        for node in ("31", "32", "33", "34"):
            del graph[node]
        graph["40"] = {"class_type": "UNETLoader", "inputs": {
            "unet_name": self.saved("diffusion_models/m")[0], "weight_dtype": "default"}}
        graph["41"] = {"class_type": "CLIPLoader", "inputs": {
            "clip_name": self.saved("clip/c_clip_l")[0], "type": "stable_diffusion"}}
        graph["42"] = {"class_type": "VAELoader", "inputs": {"vae_name": self.saved("vae/v")[0]}}
        graph["3"]["inputs"]["model"] = ["40", 0]
        graph["6"]["inputs"]["clip"] = graph["7"]["inputs"]["clip"] = ["41", 0]
        graph["8"]["inputs"]["vae"] = ["42", 0]
        self.assertLess(difference(patched, self.picture(graph))[0], 1)

    def test_a_difference_of_models_is_saved_as_an_adapter(self):
        """The adapter taken out of the difference draws what the one drew that made it."""
        def over(graph, name, strength):
            graph["31"] = {"class_type": "LoraLoader", "inputs": {
                "model": ["4", 0], "clip": ["4", 1], "lora_name": name, "strength_model": strength, "strength_clip": strength}}
            graph["3"]["inputs"]["model"] = ["31", 0]
            graph["6"]["inputs"]["clip"] = graph["7"]["inputs"]["clip"] = ["31", 1]
            return graph

        base = dict(seed=9, steps=2, width=64, height=64)
        graph = over(text_to_image(**base), "one.safetensors", 40.0)
        graph["32"] = {"class_type": "ModelMergeSubtract", "inputs": {"model1": ["31", 0], "model2": ["4", 0], "multiplier": 1.0}}
        graph["33"] = {"class_type": "CLIPMergeSubtract", "inputs": {"clip1": ["31", 1], "clip2": ["4", 1], "multiplier": 1.0}}
        for node, kind, biases in (("34", "standard", False), ("35", "full_diff", True)):
            graph[node] = {"class_type": "LoraSave", "inputs": {
                "model_diff": ["32", 0], "text_encoder_diff": ["33", 0], "rank": 8, "lora_type": kind, "bias_diff": biases,
                "filename_prefix": f"loras/out_{kind}"}}
        wanted, plain = self.picture(graph), self.picture(text_to_image(**base))
        far = difference(wanted, plain)[0]
        for kind, close in (("standard", 0.2), ("full_diff", 0.02)):
            name, path = self.saved(f"loras/out_{kind}")
            got = self.picture(over(text_to_image(**base), name, 1.0))
            self.assertLess(difference(wanted, got)[0], max(1, far * close), kind)
            head = path.read_bytes()
            head = json.loads(head[8:8 + struct.unpack("<Q", head[:8])[0]])
            stem = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q."
            shapes = {k[len(stem):]: v["shape"] for k, v in head.items() if k.startswith(stem)}
            self.assertEqual(shapes, {"lora_up.weight": [64, 8], "lora_down.weight": [8, 64]} if kind == "standard"
                             else {"diff": [64, 64]})
            self.assertEqual(any(k.endswith(".diff_b") for k in head), kind == "full_diff")
        empty = {"1": {"class_type": "LoraSave", "inputs": {
            "rank": 8, "lora_type": "standard", "bias_diff": True, "filename_prefix": "loras/none"}}}
        self.assertEqual(self.server.wait(self.server.queue(empty))["status"]["status_str"], "success")
        self.assertFalse(list((self.server.base / "output" / "loras").glob("none*")))

    def test_saving_where_there_is_no_room(self):
        folder = self.server.base / "output" / "full"
        folder.mkdir()
        (folder / "inside").symlink_to("/proc/self/nothing")
        graph = text_to_image(steps=1, width=64, height=64)
        graph["30"] = {"class_type": "VAESave", "inputs": {"vae": ["4", 2], "filename_prefix": "full/inside/v"}}
        error = self.error_of(graph)
        self.assertEqual(error["node_type"], "VAESave")
        self.assertIn("full/inside", error["exception_message"])
        error = self.error_of(dict(graph, **{"30": {"class_type": "VAESave", "inputs": {
            "vae": ["4", 2], "filename_prefix": "../../v"}}}))
        self.assertIn("leaves the output folder", error["exception_message"])
        self.assertEqual([p for p in (self.server.base / "output").rglob("*.tmp*")], [])


@needs_checkpoint
class Variants(unittest.TestCase):
    """Inpainting and editing networks, and every kind of adapter, beside what ComfyUI draws with them."""

    @classmethod
    def setUpClass(cls):
        cls.server = PictureServer()
        model_variants.write_all(cls.server.base)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def test_pictures(self):
        golden = Path(__file__).resolve().parents[1] / "golden" / "variants"
        out = self.server.base / "drawn"
        model_variants.draw_all(self.server.url, out)
        drawn = {path.name: pixels(path.read_bytes()) for path in out.glob("*.png")}
        self.assertEqual(set(drawn), {f"{name}.png" for name in model_variants.workflows()})
        faults = {}
        for path in golden.glob("*.png"):
            mean, most = difference(drawn[path.name], pixels(path.read_bytes()))
            if mean > 0.5 or most > 4:
                faults[path.name] = (mean, most)
        self.assertEqual(faults, {})
        self.assertGreaterEqual(len(list(golden.glob("*.png"))), 14)
        self.assertGreater(difference(drawn["edit.png"], drawn["edit-plain.png"])[0], 1, "the picture counts")


if __name__ == "__main__":
    unittest.main()
