"""Hugging Face as a registry, single files into the picture folders, and `hob run` of a model that is not here yet."""
import hashlib
import json
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.api.harness import DEMO, HOB, MODELS, Server, free_port, needs
from tests.api.registry import Registry, digest
from tests.api.test_registry_pull import MB, noise


def safetensors(n, seed=3):
    header = json.dumps({"a": {"dtype": "U8", "shape": [n], "data_offsets": [0, n]}}).encode()
    return struct.pack("<Q", len(header)) + header + noise(n, seed)


class Files(unittest.TestCase):
    TOKEN = "hf_secret"

    def setUp(self):
        self.hf = self.enterContext(Registry())
        self.storage = self.enterContext(Registry())
        self.port = free_port()
        env = {"HF_ENDPOINT": self.hf.url, "HF_TOKEN": self.TOKEN, "HOB_REGISTRIES": self.storage.host,
               "HOB_IMAGE_HOST": f"127.0.0.1:{self.port}", "HOB_NET_STALL": "2"}
        self.server = self.enterContext(Server(models=(), env=env))
        self.models = self.server.home / "comfy" / "models"

    def publish(self, path, data, tell=True):
        """A large file as the site has it: its address tells size and hash and redirects to a storage."""
        headers = {"X_Linked_Size": str(len(data)), "X_Linked_ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        self.hf.files[f"/{path}"] = (f"{self.storage.url}/{path}?signature=abc", headers if tell else {})
        self.storage.files[f"/{path}"] = data

    def pull(self, model, kind="checkpoint"):
        return self.server.lines("/api/pull", {"model": model, "as": kind})

    def test_a_checkpoint(self):
        data = safetensors(9 * MB)
        self.publish("stabilityai/sdxl/resolve/main/sd_xl_base_1.0.safetensors", data)
        lines = self.pull("hf.co/stabilityai/sdxl/sd_xl_base_1.0.safetensors")
        self.assertEqual(lines[-1], {"status": "success"})
        self.assertEqual(lines[-2], {"status": "pulling sd_xl_base_1.0.safetensors", "digest": digest(data),
                                     "total": len(data), "completed": len(data)})
        here = self.models / "checkpoints"
        self.assertEqual((here / "sd_xl_base_1.0.safetensors").read_bytes(), data)
        self.assertEqual([p.name for p in here.iterdir()], ["sd_xl_base_1.0.safetensors"])
        self.assertGreater(len(self.storage.requests), 1, "ranges")
        self.assertTrue(all(h.get("Authorization") == f"Bearer {self.TOKEN}" for _, _, h in self.hf.requests))
        self.assertTrue(all("Authorization" not in h for _, _, h in self.storage.requests))
        n = len(self.storage.requests)
        self.assertEqual(self.pull("hf.co/stabilityai/sdxl/sd_xl_base_1.0.safetensors")[-1], {"status": "success"})
        self.assertEqual(len(self.storage.requests), n, "it was there")

    def test_other_kinds_and_spellings(self):
        for kind, folder in (("lora", "loras"), ("vae", "vae"), ("diffusion_model", "diffusion_models"),
                             ("clip", "text_encoders"), ("controlnet", "controlnet"), ("loras", "loras")):
            data = safetensors(1000, len(kind))
            self.publish(f"u/r/resolve/v1/sub dir/{kind}.safetensors".replace(" ", "%20"), data)
            lines = self.pull(f"https://huggingface.co/u/r/blob/v1/sub dir/{kind}.safetensors?download=true", kind)
            self.assertEqual(lines[-1], {"status": "success"}, lines)
            self.assertEqual((self.models / folder / f"{kind}.safetensors").read_bytes(), data)

    def test_a_mirror_that_tells_nothing(self):
        data = safetensors(3000)
        self.hf.files["/u/r/resolve/main/x.safetensors"] = data
        self.assertEqual(self.pull("hf.co/u/r/x.safetensors")[-1], {"status": "success"})
        self.hf.files["/u/r/resolve/main/y.safetensors"] = b"<html>please log in</html>"
        self.assertIn("is no safetensors file", self.pull("hf.co/u/r/y.safetensors")[-1]["error"])
        self.assertEqual([p.name for p in (self.models / "checkpoints").iterdir()], ["x.safetensors"])

    def test_wrong_bytes_are_not_kept(self):
        data = safetensors(3000)
        self.publish("u/r/resolve/main/x.safetensors", data)
        self.storage.files["/u/r/resolve/main/x.safetensors"] = data[:-1] + b"!"
        self.assertIn("digest mismatch", self.pull("hf.co/u/r/x.safetensors")[-1]["error"])
        self.assertEqual(list((self.models / "checkpoints").iterdir()), [])

    def test_refusals(self):
        for model, kind, text in (("hf.co/u/r/x.ckpt", "checkpoint", "can hold programs"),
                                  ("hf.co/u/r", "checkpoint", "names no file"),
                                  ("hf.co/u/r/../../x.safetensors", "checkpoint", "names no file"),
                                  ("example.com/u/r/x.safetensors", "checkpoint", "names no file"),
                                  ("hf.co/u/r/x.safetensors", "checkpoint", "there is no x.safetensors")):
            self.assertIn(text, self.pull(model, kind)[-1]["error"])
        status, answer = self.server.call("/api/pull", {"model": "hf.co/u/r/x.safetensors", "as": "custom_nodes"})
        self.assertEqual(status, 400)
        self.assertIn("is not known", answer["error"])
        self.hf.status = {"/gated/": 403}
        self.assertIn("accept its licence", self.pull("hf.co/gated/r/x.safetensors")[-1]["error"])

    def test_the_command(self):
        self.publish("u/r/resolve/main/style.safetensors", safetensors(1000))
        done = subprocess.run([HOB, "pull", "hf.co/u/r/style.safetensors", "--as", "lora"], env=self.server.env,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.models / "loras" / "style.safetensors").exists())

    def test_a_model_of_hugging_face(self):
        manifest = self.hf.store("bartowski/Llama-3.2-1B-GGUF", [("model", noise(1000))], tag="Q4_K_M")
        lines = self.server.lines("/api/pull", {"model": "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M"})
        self.assertEqual(lines[-1], {"status": "success"}, lines)
        stored = self.server.home / "models/manifests/hf.co/bartowski/Llama-3.2-1B-GGUF/Q4_K_M"
        self.assertEqual(stored.read_bytes(), manifest)
        self.assertEqual(self.server.call("/api/tags")[1]["models"][0]["name"], "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M")
        self.assertEqual(self.server.lines("/api/pull", {"model": "hf.co/bartowski/none"})[-1],
                         {"error": "pull model manifest: file does not exist"})


    def test_a_split_model_of_hugging_face(self):
        from tests.api.test_create_files import GOLDEN, split
        refusal = json.dumps({"error": "The specified tag is a sharded GGUF. Ollama does not support this yet."}).encode()
        self.hf.refuse["/v2/u/big/manifests/Q4_K_M"] = (400, refusal)
        with tempfile.TemporaryDirectory() as d:
            split(GOLDEN / "qwen3.gguf", Path(d), 3)
            tree = [{"type": "file", "path": "README.md", "size": 3}]
            for part in sorted(Path(d).iterdir(), reverse=True):
                data = part.read_bytes()
                name = "Q4_K_M/" + part.name.replace("m-", "big-Q4_K_M-")
                self.publish(f"u/big/resolve/main/{name}", data)
                tree.append({"type": "file", "path": name, "size": len(data),
                             "lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}})
        self.hf.reply["/api/models/u/big/tree/main"] = json.dumps(tree).encode()
        lines = self.server.lines("/api/pull", {"model": "hf.co/u/big:Q4_K_M"})
        self.assertEqual(lines[-1], {"status": "success"}, lines)
        self.assertEqual(self.server.call("/api/tags")[1]["models"][0]["name"], "hf.co/u/big:Q4_K_M")
        self.assertEqual(self.server.call("/api/show", {"model": "hf.co/u/big:Q4_K_M"})[1]["details"]["family"], "qwen3")
        for tree, text in (([], "0 of 0 parts"), ({}, "0 of 0 parts"), (tree[:3], "2 of 3 parts"),
                           ([{"path": "../x-Q4_K_M-00001-of-00001.gguf", "lfs": {"oid": "0" * 64, "size": 1}}], "0 of 0")):
            self.hf.reply["/api/models/u/big/tree/main"] = json.dumps(tree).encode()
            self.assertIn(text, self.server.lines("/api/pull", {"model": "hf.co/u/big:Q4_K_M"})[-1]["error"])


class TokenFile(unittest.TestCase):
    def test_the_token_of_a_file(self):
        with Registry() as hf, Server(models=(), env={"HF_ENDPOINT": hf.url}) as server:
            server.stop()
            path = server.home / "token"
            path.write_text("hf_from_file\n")
            server.extra["HF_TOKEN_PATH"] = str(path)
            server.start()
            server.lines("/api/pull", {"model": "hf.co/u/r"})
            self.assertEqual(hf.requests[0][2]["Authorization"], "Bearer hf_from_file")


@needs("smollm2:135m")
class Run(unittest.TestCase):
    def test_run_pulls_what_is_not_here(self):
        with Registry() as registry, Server(models=(), env={"HOB_REGISTRIES": "127.0.0.1"}) as server:
            weights = (DEMO / MODELS["smollm2:135m"]).read_bytes()
            registry.store("library/smol", [("model", weights), ("params", b'{"temperature": 0, "num_predict": 4}')])
            done = subprocess.run([HOB, "run", f"{registry.host}/library/smol", "Say hello.", "--insecure"],
                                  env=server.env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout.strip())
            self.assertIn("pulling manifest", done.stderr)


if __name__ == "__main__":
    unittest.main()
