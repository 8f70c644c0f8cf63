"""The official Python client of the chat API, unchanged, against a real server."""
import unittest

from tests.api.harness import MODELS, Server, needs

try:
    import ollama
except ImportError:
    ollama = None

GREEDY = {"temperature": 0, "num_predict": 12}


@unittest.skipIf(ollama is None, "the ollama package is not installed")
@needs("smollm2:135m", "all-minilm")
class OllamaClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(models=("smollm2:135m", "all-minilm"))
        cls.server.__enter__()
        cls.client = ollama.Client(host=cls.server.url)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_generate_answers_sensibly(self):
        answer = self.client.generate("smollm2:135m", "The capital of France is", raw=True, options=GREEDY)
        self.assertIn("Paris", answer.response)
        self.assertTrue(answer.done)
        self.assertEqual(answer.eval_count, 12)
        self.assertEqual(answer.done_reason, "length")

    def test_stream_is_the_whole_answer_in_pieces(self):
        whole = self.client.chat("smollm2:135m", [{"role": "user", "content": "Say hello."}], options=GREEDY)
        parts = list(self.client.chat("smollm2:135m", [{"role": "user", "content": "Say hello."}],
                                      options=GREEDY, stream=True))
        self.assertGreater(len(parts), 3)
        self.assertEqual("".join(p.message.content for p in parts), whole.message.content)
        self.assertTrue(parts[-1].done)
        self.assertFalse(any(p.done for p in parts[:-1]))

    def test_conversation_is_remembered_through_messages(self):
        messages = [{"role": "user", "content": "Repeat after me: the password is BLUEBIRD."}]
        answer = self.client.chat("smollm2:135m", messages, options={"temperature": 0, "num_predict": 30})
        self.assertIn("BLUEBIRD", answer.message.content)
        messages += [answer.message, {"role": "user", "content": "Repeat the password again."}]
        answer = self.client.chat("smollm2:135m", messages, options={"temperature": 0, "num_predict": 30})
        self.assertIn("BLUEBIRD", answer.message.content)

    def test_seed_reproduces_and_differs(self):
        def ask(seed):
            return self.client.generate("smollm2:135m", "Tell me a story.",
                                        options={"temperature": 1.5, "seed": seed, "num_predict": 24}).response
        self.assertEqual(ask(7), ask(7))
        self.assertNotEqual(ask(7), ask(8))

    def test_stop_string_ends_the_answer(self):
        answer = self.client.generate("smollm2:135m", "Count: one two three", raw=True,
                                      options={"temperature": 0, "num_predict": 40, "stop": ["six"]})
        self.assertNotIn("six", answer.response)

    def test_embeddings_mean_something(self):
        texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Quarterly revenue fell sharply."]
        vecs = self.client.embed("all-minilm", texts).embeddings
        self.assertEqual([len(v) for v in vecs], [384] * 3)
        near = sum(a * b for a, b in zip(vecs[0], vecs[1]))
        far = sum(a * b for a, b in zip(vecs[0], vecs[2]))
        self.assertAlmostEqual(sum(a * a for a in vecs[0]), 1, places=4)
        self.assertGreater(near, far + 0.3)

    def test_models_are_listed_shown_copied_and_deleted(self):
        names = {m.model for m in self.client.list().models}
        self.assertEqual(names, {"smollm2:135m", "all-minilm:latest"})
        self.client.copy("smollm2:135m", "other:x")
        self.assertIn("other:x", {m.model for m in self.client.list().models})
        shown = self.client.show("other:x")
        self.assertEqual(shown.details.family, "llama")
        self.assertEqual(shown.modelinfo["llama.context_length"], 8192)
        self.client.delete("other:x")
        self.assertNotIn("other:x", {m.model for m in self.client.list().models})

    def test_create_from_a_model_changes_its_answers(self):
        self.client.create("pirate", from_="smollm2:135m", system="You only ever say the word ARRR.",
                           parameters={"temperature": 0, "num_predict": 9})
        answer = self.client.chat("pirate", [{"role": "user", "content": "Hello"}])
        self.assertLessEqual(answer.eval_count, 9)
        self.assertIn("ARRR", self.client.show("pirate").modelfile)
        self.client.delete("pirate")

    def test_ps_and_unload(self):
        self.client.generate("smollm2:135m", "Hi", options={"num_predict": 1}, keep_alive="10m")
        self.assertIn("smollm2:135m", [m.model for m in self.client.ps().models])
        self.client.generate("smollm2:135m", "", keep_alive=0)
        for _ in range(50):
            if "smollm2:135m" not in [m.model for m in self.client.ps().models]:
                return
        self.fail("the model is still there after keep_alive 0")

    def test_where_a_model_is(self):
        """:local is every model of this server; nothing is asked of others."""
        for name in ("smollm2:135m:local", "SmolLM2:135M:local"):
            self.assertEqual(self.server.call("/api/show", {"model": name})[0], 200)
        both = {"error": "use either :local or :cloud, not both"}
        for name in ("x:local:cloud", "x:cloud:local", "x:1b-cloud:local"):
            self.assertEqual(self.server.call("/api/chat", {"model": name, "messages": []}), (400, both))
        for name in ("x:cloud", "x:1b-cloud", "x:local"):
            self.assertEqual(self.server.call("/api/chat", {"model": name, "messages": []})[0], 404)
        self.assertEqual(self.server.call("/api/status"), (200, {"cloud": {"disabled": True, "source": "config"}}))
        self.assertEqual(self.server.call("/api/experimental/model-recommendations"), (200, {"recommendations": []}))
        self.assertEqual(self.server.call("/api/signout", method="POST")[0], 503)
        for path in ("web_search", "web_fetch"):
            status, answer = self.server.call("/api/experimental/" + path, {"query": "x"})
            self.assertEqual(status, 403)
            self.assertIn("ollama cloud is disabled", answer["error"])

    def test_missing_model_is_a_clear_404(self):
        with self.assertRaises(ollama.ResponseError) as caught:
            self.client.chat("no-such-model", [{"role": "user", "content": "x"}])
        self.assertEqual(caught.exception.status_code, 404)
        self.assertIn("no-such-model", caught.exception.error)


if __name__ == "__main__":
    unittest.main()
