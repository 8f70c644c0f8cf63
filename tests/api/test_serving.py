"""What serving promises: batching changes no answer, prompts are reused, cancelled work ends, memory is planned."""
import json
import os
import signal
import socket
import threading
import time
import unittest

from tests.api.harness import Server, needs

MODEL = "smollm2:135m"
PROMPTS = ["The capital of France is", "Once upon a time", "def fibonacci(n):", "Water boils at",
           "My favourite colour is", "The three laws of robotics", "In 1969, humans", "A list of fruit: apple,"]


def generate(server, prompt, n=16, **more):
    options = {"temperature": 0, "num_predict": n, **more.pop("options", {})}
    status, answer = server.call("/api/generate", {"model": MODEL, "prompt": prompt, "raw": True, "stream": False,
                                                   "options": options, **more})
    assert status == 200, answer
    return answer


@needs(MODEL)
class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_greedy_answers_are_the_same_alone_and_together(self):
        alone = [generate(self.server, p)["response"] for p in PROMPTS]
        together = [None] * len(PROMPTS)

        def ask(i):
            together[i] = generate(self.server, PROMPTS[i])["response"]
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(PROMPTS))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(alone, together)

    def test_a_prompt_in_chunks_and_from_the_cache_answers_the_same(self):
        prompt = "A short history of the world. " * 60  # several chunks
        first = generate(self.server, prompt, 8)
        again = [generate(self.server, prompt, 8) for _ in range(3)]
        for one in again:
            self.assertEqual(first["response"], one["response"])
        self.assertLess(min(one["prompt_eval_duration"] for one in again), first["prompt_eval_duration"] / 3,
                        "later the prompt is found computed")
        again = again[0]
        self.assertEqual(first["prompt_eval_count"], again["prompt_eval_count"])

    def test_a_client_that_leaves_stops_its_work(self):
        body = json.dumps({"model": MODEL, "prompt": "Tell me everything.", "options": {"num_predict": 100000,
                                                                                         "temperature": 1}}).encode()
        s = socket.create_connection(("127.0.0.1", self.server.port))
        s.sendall(b"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body) + body)
        s.recv(2000)
        s.close()
        start = time.monotonic()
        self.server.call("/api/generate", {"model": MODEL, "keep_alive": 0})  # leaves when nothing runs
        while self.server.call("/api/ps")[1]["models"]:
            self.assertLess(time.monotonic() - start, 20, "the answer nobody reads is still being made")
            time.sleep(0.05)

    def test_a_long_answer_shifts_its_context_or_ends(self):
        options, prompt = {"num_ctx": 64}, "la la la la la la la la la la la la la la la"
        shifted = generate(self.server, prompt, 80, options=options)
        self.assertGreater(shifted["prompt_eval_count"] + shifted["eval_count"], 70)
        ended = generate(self.server, prompt, 120, options=options, shift=False)
        self.assertEqual(ended["done_reason"], "length")
        self.assertLess(ended["eval_count"], 64)

    def test_long_conversations_lose_their_oldest_messages(self):
        messages = [{"role": "system", "content": "You are kind."}]
        for i in range(30):
            messages += [{"role": "user", "content": f"Question {i}: what is {i} plus {i}?"},
                         {"role": "assistant", "content": f"It is {2 * i}."}]
        messages.append({"role": "user", "content": "And the last one: say BYE."})
        body = {"model": MODEL, "messages": messages, "stream": False, "_debug_render_only": True,
                "options": {"num_ctx": 256}}
        status, _ = self.server.call("/api/chat", {**body, "truncate": False, "_debug_render_only": False})
        self.assertEqual(status, 400)
        status, answer = self.server.call("/api/chat", {**body, "_debug_render_only": False,
                                                        "options": {"num_ctx": 256, "num_predict": 1}})
        self.assertEqual(status, 200, answer)
        self.assertLess(answer["prompt_eval_count"], 256)

    def test_user_text_never_becomes_a_control_token(self):
        def tokens(text):
            status, a = self.server.call("/api/chat", {"model": MODEL, "stream": False, "options": {"num_predict": 1},
                                                       "messages": [{"role": "user", "content": text}]})
            self.assertEqual(status, 200, a)
            return a["prompt_eval_count"]
        plain = tokens("")
        self.assertGreater(tokens("<|im_end|>"), plain + 3, "it is spelled out, not one control token")

    def test_logprobs_are_those_of_the_text(self):
        a = generate(self.server, "The capital of France is", 4, logprobs=True, top_logprobs=3)
        self.assertEqual("".join(p["token"] for p in a["logprobs"]), a["response"])
        for p in a["logprobs"]:
            self.assertEqual(p["token"], p["top_logprobs"][0]["token"], "greedy takes the likeliest")
            self.assertLessEqual(p["logprob"], 0)


@needs(MODEL)
class Limits(unittest.TestCase):
    def test_a_full_queue_answers_503(self):
        with Server(env={"OLLAMA_MAX_QUEUE": "1", "OLLAMA_NUM_PARALLEL": "1"}) as server:
            statuses = []

            def ask():
                statuses.append(server.call("/api/generate", {
                    "model": MODEL, "prompt": "Tell me a story", "stream": False, "options": {"num_predict": 40}})[0])
            threads = [threading.Thread(target=ask) for _ in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertIn(503, statuses)
            self.assertIn(200, statuses)

    def test_a_model_leaves_after_its_keep_alive(self):
        with Server(env={"OLLAMA_KEEP_ALIVE": "300ms"}) as server:
            generate(server, "Hi", 1)
            self.assertEqual(len(server.call("/api/ps")[1]["models"]), 1)
            time.sleep(1.5)
            self.assertEqual(server.call("/api/ps")[1]["models"], [])

    def test_what_can_never_fit_is_refused_with_the_reason(self):
        with Server(env={"HOB_MEMORY": "64M"}) as server:
            status, answer = server.call("/api/generate", {"model": MODEL, "prompt": "Hi", "stream": False})
            self.assertGreaterEqual(status, 500)
            self.assertRegex(answer["error"], r"\d")

    def test_kill_9_during_a_create_leaves_a_working_store(self):
        server = Server()
        server.__enter__()
        try:
            before = server.call("/api/tags")[1]
            threading.Timer(0.05, lambda: os.kill(server.process.pid, signal.SIGKILL)).start()
            for i in range(200):
                try:
                    server.call("/api/create", {"model": f"m{i}", "from": MODEL, "system": "x" * 100000 + str(i),
                                                "stream": False})
                except OSError:
                    break
            server.process.wait(20)
            server.log.close()
            server.start()
            listed = [m["name"] for m in server.call("/api/tags")[1]["models"]]
            self.assertIn(before["models"][0]["name"], listed)
            for name in listed:
                status, answer = server.call("/api/show", {"model": name})
                self.assertEqual(status, 200, answer)
            generate(server, "Hi", 2)
        finally:
            server.__exit__()


if __name__ == "__main__":
    unittest.main()
