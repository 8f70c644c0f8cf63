"""A chat and a picture on one device: both go on, a workflow may ask the language model, and an interrupt ends
the picture only. Order is compared, never time."""
import json
import threading
import unittest
import urllib.request

from tests.api.harness import DEMO, needs
from tests.api.pictures import CHECKPOINT, PictureServer, text_to_image


def workflow(steps, seed=1):
    return text_to_image(seed=seed, steps=steps, output="PreviewImage")


@needs("smollm2:135m")
@unittest.skipUnless((DEMO / CHECKPOINT).exists(), "the demo checkpoint is not unpacked")
class SharedDevice(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PictureServer()
        cls.server.__enter__()
        cls.server.models = ("smollm2:135m",)
        cls.server.create("smollm2:135m")
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def chat(self, n, on_token):
        body = {"model": "smollm2:135m", "prompt": "Once upon a time", "raw": True,
                "options": {"num_predict": n, "seed": 1, "temperature": 0, "num_ctx": 2048}}
        req = urllib.request.Request(self.server.chat_url + "/api/generate", json.dumps(body).encode())
        with urllib.request.urlopen(req, timeout=120) as reply:
            for line in reply:
                on_token(json.loads(line))

    def messages(self, ws):
        """JSON messages up to the one that says that the prompt has ended."""
        while True:
            message = ws.next(timeout=120)
            self.assertIsNotNone(message)
            if isinstance(message, bytes):
                continue
            yield message
            if message["type"] == "executing" and message["data"]["node"] is None:
                return

    def test_both_go_on(self):
        log, lock, done = [], threading.Lock(), threading.Event()

        def note(what):
            with lock:
                log.append(what)

        def talk():
            while not done.is_set():
                self.chat(40, lambda _: note("token"))

        ws = self.server.socket("both")
        thread = threading.Thread(target=talk)
        thread.start()
        try:
            self.server.queue(workflow(30), client_id="both")
            for message in self.messages(ws):
                if message["type"] == "progress":
                    note("step")
        finally:
            done.set()
            thread.join()
        first, last = log.index("step"), len(log) - 1 - log[::-1].index("step")
        between = log[first:last]
        self.assertEqual(log.count("step"), 30)
        self.assertGreaterEqual(between.count("token"), 10, "the chat stood still while a picture was made")
        changes = sum(1 for a, b in zip(between, between[1:]) if a != b)
        self.assertGreaterEqual(changes, 8, "chat and picture did not take turns")
        ws.close()

    def test_prompt_expansion(self):
        graph = {
            "1": {"class_type": "HobGenerateText", "inputs": {
                "model": "smollm2:135m", "prompt": "a picture of an apple", "system": "Answer shortly.",
                "seed": 7, "max_tokens": 12, "temperature": 0.0}},
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
        }
        ws = self.server.socket("text")
        self.server.queue(graph, client_id="text")
        text = None
        for message in self.messages(ws):
            if message["type"] == "executed":
                text = message["data"]["output"]["text"][0]
        self.assertTrue(text)
        ws.close()

    def test_interrupt_leaves_the_chat(self):
        ws = self.server.socket("stop")
        tokens = []
        thread = threading.Thread(target=lambda: self.chat(60, tokens.append))
        self.server.queue(workflow(5000, seed=99), client_id="stop")
        thread.start()
        kinds = []
        for message in self.messages(ws):
            kinds.append(message["type"])
            if message["type"] == "progress" and kinds.count("progress") == 3:
                self.server.request("POST", "/interrupt", {})
        thread.join()
        self.assertIn("execution_interrupted", kinds)
        self.assertTrue(tokens[-1]["done"])
        ws.close()


if __name__ == "__main__":
    unittest.main()
