#!/usr/bin/env python3
"""Makes greedy.json: what llama.cpp continues ten prompts with, on both demo models.

usage: tests/golden/greedy.py LLAMA_SERVER DEMO_DIRECTORY

LLAMA_SERVER is llama.cpp's own server, built from the source inside llama-cpp-python (made with 0.3.36). Each prompt
is sent as text, without a template, temperature 0; kept are the prompt's token ids, the 40 tokens that follow, and
for each of them by how much (in log-probability) it beat the second: what decides whether a difference is a tie.
"""
import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

N_TOKENS = 40
MODELS = ["smollm2-135m", "gemma3-270m"]
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n    ",
    "Water boils at 100 degrees Celsius because",
    "In 1969, the first humans",
    "A list of seven fruits: apple, banana,",
    "Le petit chat noir dort sur",
    "Q: What is 12 times 12?\nA:",
    "The three laws of thermodynamics state that",
    "Dear Sir or Madam,\n\nI am writing to",
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read())


def wait(url):
    for _ in range(600):
        try:
            urllib.request.urlopen(url + "/health", timeout=1).read()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("greedy: llama-server did not answer")


def continuations(server, model):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([server, "-m", str(model), "--port", str(port), "-c", "1024", "-t", "2", "-np", "1"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(url)
        out = []
        for prompt in PROMPTS:
            ids = post(url + "/tokenize", {"content": prompt, "add_special": True, "parse_special": False})["tokens"]
            answer = post(url + "/completion", {
                "prompt": ids, "n_predict": N_TOKENS, "temperature": 0, "cache_prompt": False, "n_probs": 2,
                "return_tokens": True, "ignore_eos": False})
            steps = answer["completion_probabilities"]
            leads = [round(s["top_logprobs"][0]["logprob"] - s["top_logprobs"][1]["logprob"], 4) for s in steps]
            out.append({"prompt": prompt, "prompt_ids": ids, "ids": [s["id"] for s in steps], "leads": leads})
        return out
    finally:
        process.terminate()
        process.wait()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    lines = []
    for model in MODELS:
        for one in continuations(sys.argv[1], Path(sys.argv[2]) / f"{model}.gguf"):
            lines.append(json.dumps({"model": model, **one}))
    (Path(__file__).parent / "greedy.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
