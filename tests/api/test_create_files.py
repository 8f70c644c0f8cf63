"""`hob create` from what people have on disk: safetensors directories, split GGUFs, Modelfiles of every kind."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.api.harness import DEMO, HOB, MODELS, ROOT, Server, needs

sys.path.insert(0, str(ROOT / "tools"))
import gguf_writer as gg  # noqa: E402

CONVERT = ROOT / "tests" / "golden" / "convert"
GOLDEN = ROOT / "tests" / "golden" / "models"


def read_gguf(path):
    """(keys as raw bytes by name, tensors as (name, shape, type, bytes)) of a small GGUF."""
    data = path.read_bytes()
    at = 24
    n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def text():
        nonlocal at
        n, = struct.unpack_from("<Q", data, at)
        at += 8 + n
        return data[at - n:at].decode()

    def skip(kind):
        nonlocal at
        if kind == 8:
            text()
        elif kind == 9:
            inner, n = struct.unpack_from("<IQ", data, at)
            at += 12
            for _ in range(n):
                skip(inner)
        else:
            at += sizes[kind]
    keys, infos = [], []
    for _ in range(n_keys):
        start = at
        name = text()
        kind, = struct.unpack_from("<I", data, at)
        at += 4
        skip(kind)
        keys.append((name, data[start:at]))
    for _ in range(n_tensors):
        name = text()
        n_dims, = struct.unpack_from("<I", data, at)
        ne = struct.unpack_from(f"<{n_dims}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * n_dims)
        at += 16 + 8 * n_dims
        infos.append((name, ne, kind, offset))
    base = (at + 31) // 32 * 32
    ends = sorted([i[3] for i in infos] + [len(data) - base])
    return keys, [(n, ne, k, data[base + o:base + ends[ends.index(o) + 1]]) for n, ne, k, o in infos]


def write_gguf(path, keys, tensors):
    """keys: raw; tensors: (name, ne, type, bytes)."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys)
    offset = 0
    for name, ne, kind, data in tensors:
        out += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(ne))
        out += struct.pack(f"<{len(ne)}Q", *ne) + struct.pack("<IQ", kind, offset)
        offset += (len(data) + 31) // 32 * 32
    out += bytes(-len(out) % 32)
    for *_, data in tensors:
        out += data + bytes(-len(data) % 32)
    path.write_bytes(out)


def split(source, directory, n):
    """A GGUF as n parts, the way gguf-split names and marks them."""
    keys, tensors = read_gguf(source)
    for i in range(n):
        own = [gg.key("split.no", gg.U32, i), gg.key("split.count", gg.U32, n),
               gg.key("split.tensors.count", gg.I32, len(tensors))]
        part = tensors[i * len(tensors) // n:(i + 1) * len(tensors) // n]
        write_gguf(directory / f"m-{i + 1:05}-of-{n:05}.gguf", ([k for _, k in keys] if i == 0 else []) + own, part)


class Creating(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(models=())
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def setUp(self):
        self.dir = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def hob(self, *args, stdin=None, status=0):
        done = subprocess.run([HOB, *args], env=self.server.env, capture_output=True, text=True, input=stdin)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout + done.stderr

    def create(self, name, modelfile, *more, status=0):
        path = self.dir / "Modelfile"
        path.write_text(modelfile)
        return self.hob("create", name, "-f", str(path), *more, status=status)

    def show(self, name):
        status, answer = self.server.call("/api/show", {"model": name})
        self.assertEqual(status, 200, answer)
        return answer

    def test_every_family_from_a_directory(self):
        for source in sorted(CONVERT.iterdir()):
            said = self.create("family", f"FROM {source}\n")
            self.assertIn("converting model", said)
            answer = self.show("family")
            self.assertEqual(answer["details"]["format"], "gguf", source.name)
            self.assertEqual(answer["details"]["quantization_level"], "F16" if "tok_" in source.name else "BF16")
            if source.name == "qwen3":
                self.assertEqual(answer["template"], "{{ messages[0]['content'] }}")
                options = {"num_predict": 4, "temperature": 0}
                status, told = self.server.call("/api/generate", {"model": "family", "prompt": "t5 t6", "stream": False,
                                                                  "options": options})
                self.assertEqual((status, told["done"]), (200, True))
            if source.name == "bert":
                self.assertEqual(answer["capabilities"], ["embedding"])
                self.assertEqual(len(self.server.call("/api/embed", {"model": "family", "input": "t5"})[1]["embeddings"]), 1)

    def test_quantised_on_the_way(self):
        said = self.create("q", f"FROM {CONVERT / 'qwen2'}\n", "--quantize", "q8_0")
        self.assertIn("quantizing BF16 model to q8_0", said)
        self.assertEqual(self.show("q")["details"]["quantization_level"], "Q8_0")
        self.assertEqual(len([p for p in (self.server.home / "models/blobs").iterdir() if "hob-" in p.name]), 0)

    def test_tensors_in_several_files(self):
        whole = (CONVERT / "llama" / "model.safetensors").read_bytes()
        n, = struct.unpack_from("<Q", whole)
        header = json.loads(whole[8:8 + n])
        header.pop("__metadata__", None)
        names = list(header)
        target = self.dir / "m"
        shutil.copytree(CONVERT / "llama", target)
        (target / "model.safetensors").unlink()
        index = {}
        for i, part in enumerate([names[::2], names[1::2]], 1):
            own, data = {}, b""
            for name in part:
                a, b = header[name]["data_offsets"]
                own[name] = {**header[name], "data_offsets": [len(data), len(data) + b - a]}
                data += whole[8 + n + a:8 + n + b]
                index[name] = f"model-{i:05}-of-00002.safetensors"
            text = json.dumps(own).encode()
            (target / f"model-{i:05}-of-00002.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
        (target / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
        self.create("split", f"FROM {target}\n")
        self.create("whole", f"FROM {CONVERT / 'llama'}\n")
        weights = [t for t in self.show("split")["tensors"]]
        self.assertEqual(sorted(t["name"] for t in weights), sorted(t["name"] for t in self.show("whole")["tensors"]))
        (target / "model-00002-of-00002.safetensors").unlink()
        said = self.create("lost", f"FROM {target}\n", status=1)
        self.assertRegex(said, "is missing: is model-00002-of-00002.safetensors there")

    def test_a_split_gguf(self):
        split(GOLDEN / "qwen3.gguf", self.dir, 3)
        self.create("three", f"FROM {self.dir}/m-00001-of-00003.gguf\n")
        self.create("one", f"FROM {GOLDEN}/qwen3.gguf\n")
        self.assertEqual(self.show("three")["tensors"], self.show("one")["tensors"])
        answers = [self.server.call("/api/generate", {"model": m, "prompt": "t9 t8", "stream": False, "raw": True,
                                                      "options": {"num_predict": 8, "temperature": 0}})[1]["response"]
                   for m in ("three", "one")]
        self.assertEqual(*answers)
        (self.dir / "m-00002-of-00003.gguf").unlink()
        self.assertIn("m-00002-of-00003.gguf", self.create("lost", f"FROM {self.dir}/m-00001-of-00003.gguf\n", status=1))

    def test_a_directory_with_a_gguf(self):
        shutil.copy(GOLDEN / "llama.gguf", self.dir / "x.gguf")
        (self.dir / "readme.json").write_text("{}")
        self.create("dir", "FROM .\n")
        self.assertEqual(self.show("dir")["details"]["family"], "llama")

    def test_all_of_a_modelfile(self):
        text = (f"# made by hand\nFROM {GOLDEN}/llama.gguf\nPARAMETER temperature 0.25\nPARAMETER stop \"<a>\"\n"
                'PARAMETER stop """<b>"""\nTEMPLATE """{{ .System }}\n{{ .Prompt }}"""\nSYSTEM "two\nlines"\n'
                "LICENSE MIT\nLICENSE \"\"\"and\nmore\"\"\"\nMESSAGE user hi\nMESSAGE assistant \"\"\"ho\n\"\"\"\n"
                "REQUIRES 0.14.0\n")
        self.create("full", text)
        answer = self.show("full")
        self.assertEqual(answer["system"], "two\nlines")
        self.assertEqual(answer["template"], "{{ .System }}\n{{ .Prompt }}")
        self.assertEqual(answer["license"], "MIT\nand\nmore")
        self.assertEqual([m["content"] for m in answer["messages"]], ["hi", "ho\n"])
        self.assertEqual(answer["parameters"].count("stop"), 2)
        self.assertIn(f'{"stop":30} "<a>"\n', answer["parameters"])
        self.assertEqual(answer["requires"], "0.14.0")
        again = self.hob("show", "full", "--modelfile")
        for line in ("REQUIRES 0.14.0", "MESSAGE user hi"):
            self.assertIn(line, again)
        self.create("second", again)
        second = self.show("second")
        for key in ("system", "template", "license", "messages", "parameters", "requires"):
            self.assertEqual(second[key], answer[key], key)

    def test_a_renderer_and_a_parser_by_name(self):
        self.create("named", f"FROM {GOLDEN}/llama.gguf\nRENDERER qwen3-coder\nPARSER qwen3-coder\n")
        answer = self.show("named")
        self.assertEqual((answer["renderer"], answer["parser"]), ("qwen3-coder", "qwen3-coder"))
        again = self.hob("show", "named", "--modelfile")
        self.assertIn("\nRENDERER qwen3-coder\nPARSER qwen3-coder\n", again)

    def test_a_renderer_that_is_not_built_in(self):
        self.create("other", f"FROM {GOLDEN}/llama.gguf\nRENDERER laguna\nPARSER laguna\n")
        self.assertEqual(self.show("other")["renderer"], "laguna")
        ask = {"model": "other", "messages": [{"role": "user", "content": "t5"}], "stream": False,
               "options": {"num_predict": 1}}
        status, answer = self.server.call("/api/chat", ask)
        self.assertEqual(status, 400, answer)
        self.assertIn('the renderer "laguna" is not built in', answer["error"])
        raw = {"model": "other", "prompt": "t5", "raw": True, "stream": False, "options": {"num_predict": 1}}
        self.assertEqual(self.server.call("/api/generate", raw)[0], 200)
        self.create("mended", "FROM other\nTEMPLATE {{ .Prompt }}\n")
        ask["model"] = "mended"
        self.assertEqual(self.server.call("/api/chat", ask)[0], 200)

    def test_a_file_used_in_place(self):
        source = self.dir / "m.gguf"
        shutil.copy(GOLDEN / "qwen2.gguf", source)
        self.create("place", f"FROM {source}\n", "--in-place")
        blobs = self.server.home / "models/blobs"
        link = [p for p in blobs.iterdir() if p.is_symlink()]
        self.assertEqual([p.resolve() for p in link], [source.resolve()])
        ask = {"model": "place", "prompt": "t5", "stream": False, "options": {"num_predict": 2}}
        self.assertEqual(self.server.call("/api/generate", ask)[0], 200)
        self.server.call("/api/generate", {"model": "place", "keep_alive": 0})
        later = link[0].lstat().st_mtime + 10
        os.utime(source, (later, later))
        self.assertIn("has changed", self.server.call("/api/generate", ask)[1]["error"])
        for _ in range(2):
            os.utime(source)  # now: after the link was made
            self.assertIn("has changed", self.server.call("/api/generate", ask)[1]["error"])
            self.create("place", f"FROM {source}\n", "--in-place")
            self.assertEqual(self.server.call("/api/generate", ask)[0], 200)
            self.server.call("/api/generate", {"model": "place", "keep_alive": 0})
        source.unlink()
        status, answer = self.server.call("/api/generate", ask)
        self.assertIn("is gone", answer["error"])
        self.hob("rm", "place")
        self.assertEqual([p for p in blobs.iterdir() if p.is_symlink()], [])

    def test_in_place_is_refused_where_it_is_not_allowed(self):
        digest = "sha256:" + "0" * 64
        def error(path, digest=digest):
            body = {"model": "x", "files": {"m.gguf": digest}, "in_place": {digest: path}}
            return self.server.lines("/api/create", body)[-1]["error"]
        self.assertIn("digest mismatch", error(str(GOLDEN / "qwen2.gguf")))
        self.assertIn("absolute", error("m.gguf"))
        with Server(models=(), env={"HOB_IN_PLACE": f"/nowhere:{self.dir}"}) as server:
            body = {"model": "x", "files": {"m.gguf": digest}, "in_place": {digest: "/etc/passwd"}}
            self.assertIn("may not be used in place", server.call("/api/create", body)[1]["error"])
            (self.dir / "link").symlink_to("/etc/passwd")
            body["in_place"] = {digest: str(self.dir / "link")}
            self.assertIn("may not be used in place", server.call("/api/create", body)[1]["error"])

    def test_refusals_name_the_line_or_the_thing(self):
        here = f"FROM {GOLDEN}/llama.gguf\n"
        for text, wanted in ((here + "ADAPTER ./lora.gguf\n", r"\(line 2\): no such file"),
                             (here + "DRAFT x\n", r"\(line 2\): draft models"),
                             (here + "PARAMETER temperature hot\n", r"\(line 2\): temperature must be a number"),
                             ("FROM ./none.gguf\n", r"\(line 1\): no such file"),
                             (here + "REQUIRES x\n", r"\(line 2\): REQUIRES")):
            self.assertRegex(self.create("bad", text, status=1), wanted)
        (self.dir / "lora.gguf").write_bytes((GOLDEN / "qwen2.gguf").read_bytes())
        self.assertIn('general.type is "", not "adapter"', self.create("bad", here + "ADAPTER lora.gguf\n", status=1))

    def test_messages_that_no_chat_can_take(self):
        for messages, wanted in ((["x"], "messages[0] must be an object, not string"), ({}, "messages"),
                                 ([{"role": "user", "content": "a"}, {"role": "user", "content": 5}], "content"),
                                 ([{"content": "x"}], "messages[0] has no role"), ([{"role": 1}], "role"),
                                 ([{"role": "assistant", "tool_calls": "x"}], "tool_calls")):
            body = {"model": "bad", "files": {"m.gguf": "sha256:" + "0" * 64}, "messages": messages}
            status, answer = self.server.call("/api/create", body)
            self.assertEqual(status, 400, answer)
            self.assertIn(wanted, answer["error"])

    def test_parameters_of_a_wrong_type(self):
        for parameters, wanted in (({"temperature": "hot"}, 'option "temperature" must be of type float32'),
                                   ({"seed": 1, "num_ctx": "big"}, 'option "num_ctx" must be of type integer'),
                                   ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
                                   ({"stop": ["a", 5]}, 'option "stop" must be of type array of strings'),
                                   ({"top_k": [40]}, 'option "top_k" must be of type integer'),
                                   ([], "parameters")):
            body = {"model": "bad", "files": {"m.gguf": "sha256:" + "0" * 64}, "parameters": parameters}
            status, answer = self.server.call("/api/create", body)
            self.assertEqual(status, 400, answer)
            self.assertIn(wanted, answer["error"])

    def change(self, source="llama", **config):
        target = self.dir / "changed"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(CONVERT / source, target)
        path = target / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        return target

    def test_what_cannot_be_converted(self):
        cases = [(dict(model_type="mamba"), "models of type \"mamba\" cannot be converted"),
                 (dict(model_type=7), "models of type"), (dict(num_hidden_layers=0), "num_hidden_layers"),
                 (dict(num_hidden_layers=2**40), "num_hidden_layers"), (dict(num_hidden_layers=1), "has no place"),
                 (dict(num_attention_heads=-1), "num_attention_heads"), (dict(num_attention_heads=5), "rows for 5 heads"),
                 (dict(hidden_size=0), "hidden_size"), (dict(hidden_act="relu"), "activation \"relu\""),
                 (dict(quantization_config={"quant_method": "gptq"}), "quantized already"),
                 (dict(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4}), "rotation \"dynamic\""),
                 (dict(intermediate_size="x"), "intermediate_size"), (dict(max_position_embeddings=-5), "max_position"),
                 (dict(rms_norm_eps=-1), "rms_norm_eps")]
        for config, wanted in cases:
            said = self.create("bad", f"FROM {self.change(**config)}\n", status=1)
            self.assertIn(wanted, said, config)
        target = self.change()
        for name, content, wanted in (("config.json", "[", "config.json"), ("config.json", "[]", "not an object"),
                                      ("tokenizer.json", "{}", "vocabularies of type"),
                                      ("tokenizer.json", '{"model": {"type": "Unigram", "vocab": []}}', "Unigram"),
                                      ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": 999999}}}', "number 999999"),
                                      ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": "b"}}}', "without a number")):
            kept = (target / name).read_bytes()
            (target / name).write_text(content)
            self.assertIn(wanted, self.create("bad", f"FROM {target}\n", status=1), (name, content))
            (target / name).write_bytes(kept)
        for name in ("config.json", "tokenizer.json"):
            (target / name).rename(self.dir / "away")
            self.assertIn(f"{name} is missing", self.create("bad", f"FROM {target}\n", status=1))
            (self.dir / "away").rename(target / name)
        weights = target / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        self.assertIn("model.safetensors", self.create("bad", f"FROM {target}\n", status=1))
        names = [m["name"] for m in self.server.call("/api/tags")[1]["models"]]
        self.assertNotIn("bad:latest", names)
        self.assertEqual([p for p in (self.server.home / "models/blobs").iterdir() if "hob-" in p.name], [])

    def test_two_models_and_strange_names(self):
        blob = self.server.home / "models/blobs"
        self.create("one", f"FROM {GOLDEN}/llama.gguf\n")
        digest = next(p.name for p in blob.iterdir() if p.stat().st_size == (GOLDEN / "llama.gguf").stat().st_size)
        def lines(files):
            return self.server.lines("/api/create", {"model": "x", "files": files})[-1]["error"]
        self.assertIn("two files of one kind", lines({"a.gguf": digest, "b.gguf": digest}))
        self.assertIn("is missing", lines({"a-00001-of-00002.gguf": digest, "b-00001-of-00002.gguf": digest}))
        for bad in ("../a.gguf", "/a.gguf", "", "a\\b.gguf", "x" * 5000):
            self.assertEqual(self.server.call("/api/create", {"model": "x", "files": {bad: digest}}),
                             (400, {"error": "file path must be relative"}))
        many = {f"{i}.gguf": digest for i in range(5000)}
        self.assertIn("at most", self.server.call("/api/create", {"model": "x", "files": many})[1]["error"])


@needs("smollm2:135m")
class RealTokenizer(unittest.TestCase):
    """A base that is not here is pulled; one that is nowhere is an error in the stream."""

    def test_from_a_name_that_is_nowhere(self):
        with Server(models=(), env={"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}) as server:
            lines = server.lines("/api/create", {"model": "x", "from": "nope"})
            self.assertEqual(lines[0], {"status": "pulling manifest"})
            self.assertIn("pull model manifest: Get ", lines[1]["error"])
        self.assertTrue(DEMO / MODELS["smollm2:135m"])


if __name__ == "__main__":
    unittest.main()
