"""`ADAPTER`: a model with a LoRA over it answers as one with the change in its weights."""
import hashlib
import json
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from tests.api.harness import DEMO, HOB, MODELS, ROOT, Server, needs
from tests.api.test_create_files import read_gguf, write_gguf

sys.path.insert(0, str(ROOT / "tools"))
import gguf_writer as gg  # noqa: E402

GOLDEN = ROOT / "tests" / "golden" / "models"
PEFT = ROOT / "tests" / "golden" / "adapters"
MODEL = "smollm2:135m"
Q4_1 = 3
D, HEADS, RANK, ALPHA = 576, 9, 2, 24.0
CHANGED = ["blk.3.attn_q.weight", "blk.10.attn_output.weight", "blk.20.attn_output.weight"]
THEIRS = {"attn_q": "q_proj", "attn_output": "o_proj"}


def rows_of_q4_1(data, k):
    """A matrix of Q4_1 as lists of floats."""
    out = []
    for at in range(0, len(data), 20):
        d, m = struct.unpack_from("<2e", data, at)
        q = data[at + 4:at + 20]
        out += [d * (b & 15) + m for b in q] + [d * (b >> 4) + m for b in q]
    return [out[i:i + k] for i in range(0, len(out), k)]


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def flat(rows):
    return [v for row in rows for v in row]


def make_pairs():
    """name -> (A [rank, D], B [D, rank])"""
    r = random.Random(7)
    def rows(n, k):
        return [[r.randint(-8, 8) / 32 for _ in range(k)] for _ in range(n)]
    return {name: (rows(RANK, D), rows(D, RANK)) for name in CHANGED}


def adapter_keys(arch="llama"):
    return [gg.key("general.architecture", gg.STR, arch), gg.key("general.type", gg.STR, "adapter"),
            gg.key("adapter.type", gg.STR, "lora"), gg.key("adapter.lora.alpha", gg.F32, ALPHA)]


def write_adapter(path, pairs, keys=None):
    tensors = []
    for name, (a, b) in pairs.items():
        tensors += [(name + ".lora_a", (len(a[0]), len(a)), 0, floats(flat(a))),
                    (name + ".lora_b", (len(b[0]), len(b)), 0, floats(flat(b)))]
    write_gguf(path, keys or adapter_keys(), tensors)


def write_merged(path, source, pairs):
    """The model with the change in its weights, which are no longer quantised then."""
    keys, tensors = read_gguf(source)
    for i, (name, ne, kind, data) in enumerate(tensors):
        if name not in pairs:
            continue
        assert kind == Q4_1 and ne == (D, D), (name, kind, ne)
        a, b = pairs[name]
        w = rows_of_q4_1(data[:D * D // 32 * 20], D)
        for row, by in zip(w, b):
            f0, f1 = (ALPHA / RANK * v for v in by)
            row[:] = [v + f0 * x + f1 * y for v, x, y in zip(row, a[0], a[1])]
        tensors[i] = (name, ne, 0, floats(flat(w)))
    write_gguf(path, [k for _, k in keys], tensors)


def hub_row(r):
    """Where a published model has row r of q: halves of a head, not pairs."""
    d = D // HEADS
    head, at = divmod(r, d)
    return head * d + at % 2 * (d // 2) + at // 2


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, shape, raw in tensors:
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_peft(directory, pairs, **config):
    directory.mkdir(exist_ok=True)
    tensors = []
    for name, (a, b) in pairs.items():
        _, layer, part, _ = name.split(".")
        if part == "attn_q":
            turned = [None] * D
            for r, row in enumerate(b):
                turned[hub_row(r)] = row
            b = turned
        head = f"base_model.model.model.layers.{layer}.self_attn.{THEIRS[part]}"
        tensors += [(head + ".lora_A.weight", [RANK, D], floats(flat(a))),
                    (head + ".lora_B.weight", [D, RANK], floats(flat(b)))]
    write_safetensors(directory / "adapter_model.safetensors", tensors)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", **config}
    (directory / "adapter_config.json").write_text(json.dumps(config))


class Base(unittest.TestCase):
    models = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(models=cls.models)
        cls.server.__enter__()
        cls.dir = Path(tempfile.mkdtemp(prefix="hob-adapters-"))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)
        cls.server.__exit__()

    def hob(self, *args, stdin=None, status=0):
        done = subprocess.run([HOB, *args], env=self.server.env, capture_output=True, text=True, input=stdin)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def create(self, name, modelfile, *more, status=0):
        return self.hob("create", name, "-f", "-", *more, stdin=modelfile, status=status)

    def show(self, name):
        status, answer = self.server.call("/api/show", {"model": name})
        self.assertEqual(status, 200, answer)
        return answer

    def layers(self, name):
        path = self.server.home / "models/manifests/registry.ollama.ai/library" / name / "latest"
        return {x["mediaType"].rsplit(".", 1)[1]: x["digest"] for x in json.loads(path.read_text())["layers"]}

    def blob(self, path):
        """Uploads a file; its digest."""
        data = path.read_bytes()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.assertIn(self.server.request("POST", f"/api/blobs/{digest}", raw=data)[0], (200, 201))
        return digest

    def left_over(self):
        return [p.name for p in (self.server.home / "models/blobs").iterdir() if "hob-" in p.name]


@needs(MODEL)
class Answers(Base):
    models = (MODEL,)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pairs = make_pairs()
        write_adapter(cls.dir / "lora.gguf", cls.pairs)
        write_merged(cls.dir / "merged.gguf", DEMO / MODELS[MODEL], cls.pairs)
        for name, text in (("adapted", f"FROM {MODEL}\nADAPTER {cls.dir}/lora.gguf\n"),
                           ("merged", f"FROM {cls.dir}/merged.gguf\n")):
            done = subprocess.run([HOB, "create", name, "-f", "-"], env=cls.server.env, input=text, text=True,
                                  capture_output=True)
            assert done.returncode == 0, done.stderr

    def chances(self, model, n=1):
        """token -> log probability, after some words."""
        ask = {"model": model, "prompt": "The capital of France is", "raw": True, "stream": False, "logprobs": True,
               "top_logprobs": 20, "options": {"num_predict": n, "temperature": 0, "seed": 1}}
        status, answer = self.server.call("/api/generate", ask)
        self.assertEqual(status, 200, answer)
        return [{t["token"]: t["logprob"] for t in one["top_logprobs"]} for one in answer["logprobs"]]

    def test_as_if_merged(self):
        merged = self.chances("merged")[0]
        def apart(model):
            own = self.chances(model)[0]
            both = own.keys() & merged.keys()
            self.assertGreater(len(both), 5, (model, own, merged))
            return sum(abs(own[t] - merged[t]) for t in both) / len(both)
        self.assertGreater(apart(MODEL), 0.8)
        self.assertLess(apart("adapted"), apart(MODEL) / 5)  # activations are rounded to bytes before quantised weights

    def test_base_and_adapted_are_two_models(self):
        before, adapted = self.chances(MODEL, 8), self.chances("adapted", 8)
        self.assertNotEqual(before, adapted)
        self.assertEqual(self.chances(MODEL, 8), before)
        self.assertEqual(self.chances("adapted", 8), adapted)
        sizes = {m["name"]: m["size"] for m in self.server.call("/api/ps")[1]["models"]}
        own = sum(len(flat(a)) + len(flat(b)) for a, b in self.pairs.values()) * 4
        self.assertGreaterEqual(sizes["adapted:latest"], sizes[MODEL] + own)
        self.server.call("/api/generate", {"model": MODEL, "keep_alive": 0})
        for _ in range(200):  # a model leaves when its last step is over
            names = [m["name"] for m in self.server.call("/api/ps")[1]["models"]]
            if MODEL not in names:
                break
            time.sleep(0.05)
        self.assertIn("adapted:latest", names)
        self.assertNotIn(MODEL, names)

    def test_a_second_name_shares_the_model(self):
        self.hob("cp", "adapted", "other")
        self.assertEqual(self.chances("other"), self.chances("adapted"))
        names = [m["name"] for m in self.server.call("/api/ps")[1]["models"]]
        self.assertEqual(len({"adapted:latest", "other:latest"} & set(names)), 1, names)
        self.hob("rm", "other")

    def test_what_peft_saves(self):
        write_peft(self.dir / "peft", self.pairs)
        said = self.create("peft", f"FROM {MODEL}\nADAPTER {self.dir}/peft\n")
        self.assertIn("converting adapter", said)
        self.assertEqual(self.chances("peft", 4), self.chances("adapted", 4))
        self.create("file", f"FROM {MODEL}\nADAPTER {self.dir}/peft/adapter_model.safetensors\n")
        self.assertEqual(self.layers("file"), self.layers("peft"))
        self.assertEqual(self.left_over(), [])

    def test_show_and_derive(self):
        digest = self.blob(self.dir / "lora.gguf")
        self.assertEqual(self.layers("adapted")["adapter"], digest)
        text = self.show("adapted")["modelfile"]
        line, = [x for x in text.splitlines() if x.startswith("ADAPTER ")]
        self.assertTrue(line.endswith(digest.replace(":", "-")), line)
        self.assertNotIn("ADAPTER", self.show(MODEL)["modelfile"])
        self.create("again", text)
        self.assertEqual(self.layers("again")["adapter"], digest)
        self.create("derived", "FROM adapted\nPARAMETER temperature 0.5\nSYSTEM be brief\n")
        self.assertEqual(self.layers("derived")["adapter"], digest)
        self.assertEqual(self.chances("derived"), self.chances("adapted"))
        said = self.create("twice", f"FROM adapted\nADAPTER {self.dir}/lora.gguf\n", status=1)
        self.assertIn('only one adapter is currently supported: "adapted" has one already', said)

    def test_through_the_api(self):
        ask = {"model": "api", "from": MODEL, "adapters": {"lora.gguf": self.blob(self.dir / "lora.gguf")}}
        said = [x["status"] for x in self.server.lines("/api/create", ask)]
        self.assertEqual((said[-1], "parsing GGUF" in said), ("success", True))
        self.assertEqual(self.chances("api"), self.chances("adapted"))
        ask["adapters"]["second.gguf"] = ask["adapters"]["lora.gguf"]
        self.assertIn("only one adapter is currently supported: 2 were given",
                      self.server.lines("/api/create", ask)[-1]["error"])
        ask["adapters"] = {"../lora.gguf": ask["adapters"]["lora.gguf"]}
        self.assertEqual(self.server.call("/api/create", ask), (400, {"error": "file path must be relative"}))
        ask["adapters"] = {"lora.gguf": "sha256:" + "0" * 64}
        self.assertIn("is not here: upload it first", self.server.lines("/api/create", ask)[-1]["error"])
        ask["adapters"] = {"lora.gguf": "x"}
        self.assertEqual(self.server.call("/api/create", ask), (400, {"error": "invalid digest format"}))
        ask = {"model": "api", "adapters": {"lora.gguf": self.blob(self.dir / "lora.gguf")}}
        self.assertEqual(self.server.call("/api/create", ask)[1], {"error": "neither 'from' or 'files' was specified"})


class Refusals(Base):
    def refused(self, adapter, wanted, base="llama"):
        said = self.create("bad", f"FROM {GOLDEN}/{base}.gguf\nADAPTER {adapter}\n", status=1)
        self.assertIn(wanted, said)
        self.assertNotIn("bad:latest", [m["name"] for m in self.server.call("/api/tags")[1]["models"]])
        self.assertEqual(self.left_over(), [])

    def test_a_gguf_that_does_not_fit(self):
        path = self.dir / "lora.gguf"
        def one(name, rank, k, n):
            return {name: ([[0.0] * k] * rank, [[0.0] * rank] * n)}
        write_adapter(path, one("blk.0.attn_q.weight", 2, 42, 42), adapter_keys("qwen2"))
        self.refused(path, 'architecture "qwen2", this one is "llama"')
        write_adapter(path, one("blk.0.attn_q.weight", 2, 42, 40))
        self.refused(path, "tensor blk.0.attn_q.weight of the model has shape [42, 42]; "
                           "the adapter's lora_a [42, 2] and lora_b [2, 40] do not fit it")
        write_adapter(path, one("blk.9.attn_q.weight", 2, 42, 42))
        self.refused(path, "blk.9.attn_q.weight, which the model does not have")
        write_adapter(path, one("blk.0.attn_q.weight", 2000, 42, 42))
        self.refused(path, "blk.0.attn_q.weight with rank 2000, at most 1024")
        shutil.copy(GOLDEN / "llama.gguf", path)
        self.refused(path, 'general.type is "", not "adapter"')
        path.write_bytes(b"ggla" + bytes(100))
        self.refused(path, "supplied file was not in GGUF format")
        write_adapter(path, one("blk.0.attn_q.weight", 2, 42, 42))
        path.write_bytes(path.read_bytes()[:300])
        self.refused(path, "blk.0.attn_q.weight")
        path.unlink()
        self.refused(path, "(line 2): no such file")

    def test_an_adapter_is_no_model(self):
        write_adapter(self.dir / "alone.gguf", {"blk.0.attn_q.weight": ([[0.0] * 42], [[0.0]] * 42)})
        said = self.create("bad", f"FROM {self.dir}/alone.gguf\n", status=1)
        self.assertIn("alone.gguf is an adapter: name it in an ADAPTER line", said)

    def test_a_second_line(self):
        write_adapter(self.dir / "a.gguf", {})
        line = f"ADAPTER {self.dir}/a.gguf\n"
        said = self.create("bad", f"FROM {GOLDEN}/llama.gguf\n" + 2 * line, status=1)
        self.assertIn("(line 3): only one adapter is currently supported", said)

    def test_a_directory_that_cannot_be_converted(self):
        source = self.dir / "peft"
        shutil.copytree(PEFT / "llama", source)
        path = source / "adapter_config.json"
        kept = json.loads(path.read_text())
        self.create("good", f"FROM {GOLDEN}/llama.gguf\nADAPTER {source}\n")
        for change, wanted in ((dict(peft_type="IA3"), 'of the kind "IA3"'), (dict(use_dora=True), "use_dora is not"),
                               (dict(alpha_pattern={"q": 2}), "alpha_pattern is not"), (dict(r=0), "r must be"),
                               (dict(r=10**9), "r must be between 1 and 1024"), (dict(r="x"), "r must be"),
                               (dict(r=8), "of rank 4: 8 is expected"), (dict(lora_alpha=0), "lora_alpha"),
                               (dict(lora_alpha=1e300), "lora_alpha"), (dict(lora_alpha=None), "lora_alpha"),
                               (dict(use_rslora=True, rank_pattern={"q": 2}), "use_rslora with rank_pattern")):
            path.write_text(json.dumps({**kept, **change}))
            self.refused(source, wanted)
        mlx = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": {"rank": 4, "scale": 20.0}}
        path.write_text(json.dumps(mlx))
        self.refused(source, "as MLX saves them are not supported, only PEFT's: fuse it into its model (mlx_lm.fuse)")
        path.write_text("[")
        self.refused(source, "adapter_config.json")
        path.write_text(json.dumps(kept))
        self.refused(source, "has shape [51, 42]; the adapter's lora_a [61, 4]", base="qwen2")
        self.refused(source, "cannot be converted: use one in GGUF form", base="nomic_bert")
        def tensors(*names):
            write_safetensors(source / "adapter_model.safetensors", [(n, [4, 42], bytes(4 * 42 * 4)) for n in names])
        head = "base_model.model.model.layers.0.self_attn.q_proj."
        for names, wanted in (([], "no tensors"), (["lm_head.weight"], "lm_head.weight is neither lora_A nor lora_B"),
                              ([head + "lora_magnitude_vector"], "is neither"),
                              ([head + "lora_A.weight"], "attn_q.weight.lora_b"),
                              ([head.replace("0", "7") + "lora_A.weight"], "changes nothing that a llama model of 3 layers has"),
                              ([head + "lora_A.weight", head + "lora_A.default.weight"], "two tensors want to be"),
                              ([head.replace("self_attn.q", "mlp.experts.1.up") + "lora_A.weight"],
                               "changes a single expert: that is not supported; merge the adapter"),
                              (["base_model.model.model.embed_tokens.lora_embedding_A"], "is neither"),
                              (["base_model.model.model.embed_tokens.lora_A.weight"], "token_embd.weight: only matrices")):
            tensors(*names)
            self.refused(source, wanted)
        path.unlink()
        self.refused(source, "adapter_config.json is missing")
        self.refused(source / "adapter_model.safetensors", "adapter_config.json")


if __name__ == "__main__":
    unittest.main()
