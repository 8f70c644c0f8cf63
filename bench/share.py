#!/usr/bin/env python3
"""Measures what a picture does to a chat on the same device: gaps between tokens, alone and while pictures are made.

usage: bench/share.py [--side 128] [--steps 20]     with the demo models unpacked; stop other work first
"""
import argparse
import json
import statistics
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.api.pictures import PictureServer, text_to_image  # noqa: E402

MODEL = "smollm2:135m"


def chat(server, n):
    """Seconds between tokens."""
    body = {"model": MODEL, "prompt": "Counting on from 1: 1, 2, 3, 4, 5,", "raw": True,
            "options": {"num_predict": n, "temperature": 0, "seed": 1}}
    req = urllib.request.Request(server.chat_url + "/api/generate", json.dumps(body).encode())
    gaps, last = [], None
    with urllib.request.urlopen(req) as reply:
        for _ in reply:
            now = time.perf_counter()
            if last:
                gaps.append(now - last)
            last = now
    return gaps


def row(name, gaps):
    gaps = sorted(gaps)
    p99 = gaps[min(len(gaps) - 1, int(len(gaps) * 0.99))]
    print(f"| {name} | {len(gaps)} | {statistics.median(gaps) * 1e3:.1f} | {p99 * 1e3:.1f} | {gaps[-1] * 1e3:.1f} |")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--side", type=int, default=128)
    args.add_argument("--steps", type=int, default=20)
    args = args.parse_args()
    server = PictureServer()
    with server:
        server.create(MODEL)
        chat(server, 50)
        alone = [g for _ in range(5) for g in chat(server, 200)]
        done, pictures = threading.Event(), [0]

        def draw():
            while not done.is_set():
                server.wait(server.queue(text_to_image(seed=pictures[0], steps=args.steps, width=args.side,
                                                       height=args.side, output="PreviewImage")), 600)
                pictures[0] += 1

        thread = threading.Thread(target=draw)
        thread.start()
        time.sleep(0.5)
        beside = [g for _ in range(5) for g in chat(server, 200)]
        done.set()
        thread.join()
    print("| gaps between tokens | n | p50 ms | p99 ms | longest ms |\n|---|---|---|---|---|")
    row("chat alone", alone)
    row(f"while {pictures[0]} pictures of {args.side} x {args.side} are made", beside)


if __name__ == "__main__":
    main()
