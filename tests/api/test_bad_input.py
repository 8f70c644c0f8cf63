"""What a careless or hostile client sends: every answer is a clear refusal or a defined result, and the server lives."""
import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import unittest
from pathlib import Path

from tests.api.harness import DEMO, HOB, MODELS, Server, needs

MODEL = "smollm2:135m"
GOLDEN = Path(__file__).resolve().parent.parent / "golden"
INTEGERS = ("num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch", "num_gpu", "main_gpu",
            "num_thread", "draft_num_predict")
FLOATS = ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty")
EXTREMES = (0, -1, -2147483648, 2147483647, -2**63, 2**63 - 1, 2**70, 1e300, -1e300, 1e-300, 0.5)


class Running(unittest.TestCase):
    MODELS = (MODEL,)

    @classmethod
    def setUpClass(cls):
        cls.server = Server(models=cls.MODELS)
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def generate(self, options=None, **more):
        body = {"model": MODEL, "prompt": "Hi", "stream": False, "options": {"num_predict": 1, **(options or {})},
                **more}
        return self.server.call("/api/generate", body)

    def tearDown(self):
        self.assertEqual(self.server.call("/api/version")[0], 200, "the server is well")


@needs(MODEL)
class Options(Running):
    def test_extreme_numbers(self):
        for name in INTEGERS + FLOATS:
            for value in EXTREMES:
                if name == "num_predict" and (value < 0 or value > 1000):
                    continue
                status, answer = self.generate({name: value})
                self.assertIn(status, (200, 400), (name, value, answer))

    def test_wrong_types_name_the_option_and_its_type(self):
        for name in INTEGERS + FLOATS + ("stop", "use_mmap"):
            status, answer = self.generate({name: {"a": 1}})
            self.assertEqual(status, 500, name)
            self.assertRegex(answer["error"], rf'^option "{name}" must be of type ')

    def test_num_predict_0_reads_the_prompt_and_ends(self):
        status, answer = self.generate({"num_predict": 0})
        self.assertEqual((status, answer["response"], answer["done_reason"]), (200, "", "length"))
        self.assertGreater(answer["prompt_eval_count"], 0)
        self.assertNotIn("eval_count", answer)

    def test_num_ctx_beyond_the_model_is_the_models(self):
        self.assertEqual(self.generate({"num_ctx": 1 << 24})[0], 200)
        loaded = self.server.call("/api/ps")[1]["models"][0]
        self.assertLessEqual(loaded["context_length"], 8192)

    def test_stop_strings(self):
        many = [f"never said {i}" for i in range(1000)]
        self.assertEqual(self.generate({"stop": many})[0], 200)
        self.assertEqual(self.generate({"stop": many + ["x"]})[0], 400)
        self.assertEqual(self.generate({"stop": ["x" * 100000]})[0], 400)
        self.assertEqual(self.generate({"stop": ""})[0], 200)
        whole = self.generate({"temperature": 0, "num_predict": 20})[1]["response"]
        cut = self.generate({"temperature": 0, "num_predict": 20, "stop": [whole[6:10]]})[1]
        self.assertEqual((cut["response"], cut["done_reason"]), (whole[:whole.index(whole[6:10])], "stop"))

    def test_seeds_reproduce(self):
        def ask(**options):
            return self.generate({"num_predict": 12, "temperature": 1.5, **options})[1]["response"]
        self.assertEqual(ask(seed=42), ask(seed=42))
        self.assertEqual(len({ask(seed=s) for s in range(4)}), 4)
        self.assertGreater(len({ask(seed=-1) for _ in range(4)}), 1, "-1 is another seed each time")

    def test_keep_alive(self):
        for value, status in ((-1, 200), ("-1m", 200), ("10m", 200), ("1h30m", 200), (1.5, 200), ("250ms", 200), (0, 200),
                              ("-1", 400), ("5 minutes", 400), ("x", 400), ([], 400), ({}, 400), (True, 400),
                              (1e300, 200), (-1e300, 200)):
            self.assertEqual(self.generate(keep_alive=value)[0], status, value)
        self.generate(keep_alive=-1)
        self.assertGreater(int(self.server.call("/api/ps")[1]["models"][0]["expires_at"][:4]), 2200)

    def test_embeddings_of_a_chat_model(self):
        status, answer = self.server.call("/api/embed", {"model": MODEL, "input": "x"})
        self.assertEqual(status, 400)
        self.assertIn("does not support embeddings", answer["error"])


@needs(MODEL)
class Bodies(Running):
    def post(self, raw, path="/api/generate"):
        status, _, data = self.server.request("POST", path, raw=raw)
        return status, data

    def test_malformed_json(self):
        for raw in (b"{", b"[]", b"5", b"null", b'"x"', b'{"model":', b"\xff" * 1000,
                    b'{"a":' * 100000, b"[" * 1000000, b'{"model":"\xff"', b"{'model':'x'}"):
            for path in ("/api/generate", "/api/chat", "/api/embed", "/api/create", "/api/show", "/api/copy",
                         "/v1/chat/completions", "/v1/embeddings"):
                status, data = self.post(raw, path)
                self.assertEqual(status, 400, (path, raw[:20], data[:100]))
                self.assertTrue(json.loads(data)["error"])

    def test_no_body(self):
        for path in ("/api/generate", "/api/chat", "/api/tokenize", "/api/estimate", "/v1/chat/completions",
                     "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"):
            for raw in (b"", b" \n"):
                status, data = self.post(raw, path)
                error = json.loads(data)["error"]
                self.assertEqual((status, error if isinstance(error, str) else error["message"]),
                                 (400, "missing request body"), path)

    def test_a_compressed_body(self):
        plain = json.dumps({"model": MODEL, "input": "x", "max_output_tokens": 1}).encode()
        zipped = gzip.compress(plain)
        packed = subprocess.run(["zstd", "-q", "-c"], input=plain, stdout=subprocess.PIPE, check=True).stdout
        zeros = b'{"model": "' + bytes([32]) * (21 << 20)
        bomb = subprocess.run(["zstd", "-q", "-c"], input=zeros, stdout=subprocess.PIPE, check=True).stdout
        for coding, raw, wanted, words in (
                ("identity", plain, 200, b"output"), ("gzip", zipped, 200, b"output"), ("zstd", packed, 200, b"output"),
                ("ZSTD", packed, 200, b"output"), ("gzip", zipped + zipped, 400, b"behind"),
                ("br", packed, 415, b'\\"br\\"'), ("zstd, gzip", packed, 415, b"zstd, gzip or none"),
                ("zstd", plain, 400, b"not valid zstd"), ("gzip", plain, 400, b"not valid gzip"),
                ("zstd", packed[:-3], 400, b"ends too early"), ("gzip", zipped[:-9], 400, b"ends too early"),
                ("zstd", bomb, 413, b"20971520"), ("gzip", gzip.compress(zeros), 413, b"20971520")):
            status, _, data = self.server.request("POST", "/v1/responses", raw=raw, headers={"Content-Encoding": coding})
            self.assertEqual(status, wanted, (coding, data))
            self.assertIn(words, data, coding)

    def test_a_missing_name_and_what_is_500(self):
        for path, body, wanted in (
                ("embed", {"input": "x"}, (404, "model '' not found")),
                ("embeddings", {"prompt": "x"}, (400, "model is required")),
                ("embed", {"model": MODEL, "input": "x", "options": {"num_ctx": "x"}},
                 (500, 'option "num_ctx" must be of type integer')),
                ("generate", {"model": MODEL, "prompt": "x", "template": "{{ .Prompt"},
                 (500, "template error: template: :1: unclosed action"))):
            status, answer = self.server.call("/api/" + path, body)
            self.assertEqual((status, answer["error"]), wanted)

    def test_text_that_is_no_unicode(self):
        for prompt in (b"\xff\xfe", b"\\ud800", b"\\udc00x", b"a\\u0000b", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"):
            raw = b'{"model":"smollm2:135m","stream":false,"options":{"num_predict":2},"prompt":"' + prompt + b'"}'
            status, data = self.post(raw)
            self.assertIn(status, (200, 400), prompt)
            json.loads(data.decode("utf-8"))

    def test_ten_megabytes(self):
        text = "word " * 2_000_000
        body = {"model": MODEL, "prompt": text, "stream": False, "options": {"num_predict": 1, "num_ctx": 256}}
        status, answer = self.server.call("/api/generate", body)
        self.assertEqual(status, 200, answer)
        self.assertLessEqual(answer["prompt_eval_count"], 256)
        status, answer = self.server.call("/api/generate", {**body, "truncate": False})
        self.assertEqual((status, answer["error"]), (400, "the input length exceeds the context length"))

    def test_a_hundred_thousand_messages(self):
        messages = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"m{i}"} for i in range(99999)]
        body = {"model": MODEL, "messages": messages, "stream": False, "options": {"num_predict": 1, "num_ctx": 256}}
        status, answer = self.server.call("/api/chat", body)
        self.assertEqual(status, 200, answer)
        self.assertLessEqual(answer["prompt_eval_count"], 256)
        status, answer = self.server.call("/api/chat", {**body, "messages": messages + messages})
        self.assertEqual(status, 400)
        self.assertIn("100000", answer["error"])

    def test_odd_messages(self):
        def chat(messages, **more):
            return self.server.call("/api/chat", {"model": MODEL, "messages": messages, "stream": False,
                                                  "options": {"num_predict": 1}, **more})[0]
        for messages in ([{}], [{"role": "user"}], [{"content": "x"}], [{"role": "king", "content": "x"}],
                         [{"role": "USER", "content": "x", "extra": [1, {}]}],
                         [{"role": "tool", "content": "x", "tool_name": "y"}]):
            self.assertEqual(chat(messages), 200, messages)
        for messages in (5, "x", {}, [5], [None], [[]], [{"role": 5}], [{"role": "user", "content": 5}],
                         [{"role": "user", "content": "x", "images": "x"}],
                         [{"role": "user", "content": "x", "images": ["not base64!"]}]):
            self.assertEqual(chat(messages), 400, messages)
        for more in ({"tools": 5}, {"think": 5}, {"think": "very"}, {"logprobs": "yes"}, {"top_logprobs": 21},
                     {"top_logprobs": -1}, {"stream": "no"}, {"truncate": 1}, {"options": []}):
            self.assertEqual(chat([{"role": "user", "content": "x"}], **more), 400, more)


@needs(MODEL)
class Connections(Running):
    def open(self, n_predict):
        body = json.dumps({"model": MODEL, "prompt": "Tell me a story", "options": {"num_predict": n_predict}}).encode()
        s = socket.create_connection(("127.0.0.1", self.server.port))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return s

    def test_a_slow_reader_stops_nobody(self):
        slow = self.open(400)
        self.assertEqual(self.generate({"num_predict": 8})[0], 200)
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            piece = slow.recv(700)
            self.assertTrue(piece)
            data += piece
        self.assertIn(b'"done":true', data)
        slow.close()

    def test_half_requests_and_resets(self):
        for raw in (b"", b"GET", b"GET / HTTP/1.1\r\n", b"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
                    b"\x16\x03\x01\x02\x00\x01", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n"):
            s = socket.create_connection(("127.0.0.1", self.server.port))
            try:
                s.sendall(raw)
            except OSError:
                pass
            s.close()
        for _ in range(30):
            self.open(1000).close()

    def test_sixty_four_at_once(self):
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(self.generate({"num_predict": 3})[0]))
                   for _ in range(64)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(statuses, [200] * 64)

    def test_the_server_stops_in_the_middle_of_answers(self):
        with Server() as server:
            self_server, self.__class__.server = self.server, server
            try:
                streams = [self.open(100000) for _ in range(3)]
                for s in streams:
                    s.recv(100)
            finally:
                self.__class__.server = self_server
            self.assertEqual(server.stop(), 0)
            for s in streams:
                s.close()


@needs(*MODELS)
class Store(Running):
    MODELS = tuple(MODELS)

    def test_a_damaged_manifest(self):
        path = self.server.home / "models/manifests/registry.ollama.ai/library/damaged/latest"
        path.parent.mkdir()
        digest = "sha256:" + "0" * 64
        layer = {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": -1}
        for text in (b"{", bytes(range(256)), b"[]", json.dumps({"config": {"digest": "x"}, "layers": []}).encode(),
                     json.dumps({"config": {"digest": digest, "size": 1}, "layers": [layer]}).encode()):
            path.write_bytes(text)
            for route, body in (("show", {}), ("generate", {"prompt": "x"}), ("embed", {"input": "x"})):
                status, answer = self.server.call("/api/" + route, {"model": "damaged", **body})
                self.assertEqual(status, 400, answer)
                self.assertIn('"damaged" cannot be read; pull or create it again', answer["error"])
            self.assertNotIn("damaged", json.dumps(self.server.call("/api/tags")[1]))
        self.assertEqual(self.server.request("DELETE", "/api/delete", {"model": "damaged"})[0], 200)
        self.assertFalse(path.exists())

    def test_create_with_quantize(self):
        """Embedding vectors survive 8 bits; already quantised models are refused."""
        status, answer = self.server.call("/api/create", {"model": "small", "from": "all-minilm", "quantize": "q8_0",
                                                          "stream": False})
        self.assertEqual((status, answer), (200, {"status": "success"}))
        shown = self.server.call("/api/show", {"model": "small"})[1]
        self.assertEqual(shown["details"]["quantization_level"], "Q8_0")
        sizes = {m["name"]: m["size"] for m in self.server.call("/api/tags")[1]["models"]}
        self.assertLess(sizes["small:latest"], 0.6 * sizes["all-minilm:latest"])
        vecs = [self.server.call("/api/embed", {"model": m, "input": "hello world"})[1]["embeddings"][0]
                for m in ("all-minilm", "small")]
        self.assertGreater(sum(a * b for a, b in zip(*vecs)), 0.995)
        status, answer = self.server.call("/api/create", {"model": "x", "from": MODEL, "quantize": "q4_0",
                                                          "stream": False})
        self.assertEqual(status, 400)
        self.assertIn("quantization is only supported for F16, BF16 and F32 models", answer["error"])
        status, _ = self.server.call("/api/create", {"model": "x", "from": "all-minilm", "quantize": "q99",
                                                     "stream": False})
        self.assertEqual(status, 400)

    def test_embeddings_are_those_of_sentence_transformers(self):
        for one in json.loads((GOLDEN / "minilm.json").read_text(encoding="utf-8")):
            status, answer = self.server.call("/api/embed", {"model": "all-minilm", "input": one["text"]})
            self.assertEqual(status, 200, answer)
            self.assertEqual(answer["prompt_eval_count"], one["n_tokens"], one["text"][:40])
            same = sum(a * b for a, b in zip(answer["embeddings"][0], one["vec"]))
            self.assertGreater(same, 0.9999, one["text"][:40])

    def test_names_cannot_leave_the_store(self):
        for name in ("../../etc/passwd", "/etc/passwd", "a/b/c/d/e", "x:../y", "x\0y", "a" * 500, ".", "..", "-x", "x:"):
            for path, body in (("/api/create", {"model": name, "from": MODEL}), ("/api/copy", {"source": MODEL,
                                                                                          "destination": name})):
                status, answer = self.server.call(path, {**body, "stream": False})
                self.assertEqual(status, 400, (path, name, answer))
        for digest in ("sha256:../../x", "sha256:" + "0" * 63, "md5:" + "0" * 64, "sha256-" + "G" * 64):
            self.assertIn(self.server.request("HEAD", f"/api/blobs/{digest}")[0], (400, 404))
            self.assertIn(self.server.request("POST", f"/api/blobs/{digest}", raw=b"x")[0], (400, 404))

    def test_damaged_files_are_refused(self):
        good = (DEMO / MODELS["all-minilm"]).read_bytes()[:200_000]
        for data in (b"", b"GGUF", good, good[:1000] + b"\xff" * 1000, b"PK\x03\x04" + bytes(1000)):
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            if self.server.request("POST", f"/api/blobs/{digest}", raw=data)[0] not in (200, 201):
                continue
            status, answer = self.server.call("/api/create", {"model": "bad", "files": {"m.gguf": digest},
                                                              "stream": False})
            self.assertEqual(status, 400, (data[:10], answer))
        self.assertNotIn("bad:latest", [m["name"] for m in self.server.call("/api/tags")[1]["models"]])

    def test_a_store_is_read_in_place(self):
        """The same layout: another server on this store sees its models and runs them."""
        models = self.server.home / "models"
        other = Server(models=())
        env = dict(other.env, OLLAMA_MODELS=str(models))
        with open(other.home / "server.log", "ab") as log:
            process = subprocess.Popen([HOB, "serve"], env=env, stdout=log, stderr=log)
            try:
                for _ in range(200):
                    try:
                        socket.create_connection(("127.0.0.1", other.port)).close()
                        break
                    except OSError:
                        time.sleep(0.05)
                names = {m["name"] for m in other.call("/api/tags")[1]["models"]}
                self.assertLessEqual({MODEL, "gemma3:270m", "all-minilm:latest"}, names)
                status, answer = other.call("/api/generate", {"model": "gemma3:270m", "prompt": "Hi", "raw": True,
                                                              "stream": False, "options": {"num_predict": 2}})
                self.assertEqual(status, 200, answer)
            finally:
                process.terminate()
                process.wait(30)


@needs(MODEL)
class Killed(unittest.TestCase):
    def test_kill_9_during_an_upload_leaves_a_working_store(self):
        data = os.urandom(1 << 20) * 40
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        server = Server()
        server.__enter__()
        try:
            s = socket.create_connection(("127.0.0.1", server.port))
            s.sendall(b"POST /api/blobs/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
                      % (digest.encode(), len(data)) + data[:len(data) // 2])
            time.sleep(0.1)
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(20)
            server.log.close()
            s.close()
            server.start()
            self.assertEqual(server.request("HEAD", f"/api/blobs/{digest}")[0], 404)
            self.assertEqual(server.request("POST", f"/api/blobs/{digest}", raw=data)[0], 201)
            self.assertEqual(server.request("HEAD", f"/api/blobs/{digest}")[0], 200)
            self.assertEqual(server.call("/api/show", {"model": MODEL})[0], 200)
        finally:
            server.__exit__()


if __name__ == "__main__":
    unittest.main()
