#!/usr/bin/env python3
"""Prompt and decode speed of ik_llama.cpp through its Python wheel's C interface.

usage: ik.py MODEL THREADS REPEATS [PROMPT_TOKENS DECODE_TOKENS]      prints one JSON object
Runs in the virtual environment that holds `ik-llama-cpp-python`. The same work as bench/llm.c: a prompt
of random tokens in one go, then tokens one by one, each REPEATS times; medians.
"""
import ctypes
import json
import random
import statistics
import sys
import time

from ik_llama_cpp import _ctypes_api as api


def main():
    path, n_threads, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    n_prompt, n_decode = (int(sys.argv[4]), int(sys.argv[5])) if len(sys.argv) > 5 else (512, 128)
    api.llama_backend_init()
    model = api.llama_model_load_from_file(path.encode(), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.n_ctx = 2048
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = n_threads
    if hasattr(params, "flash_attn"):
        params.flash_attn = True
    ctx = api.llama_init_from_model(model, params)
    rng = random.Random(1)

    def decode(ids):
        array = (ctypes.c_int32 * len(ids))(*ids)
        batch = api.llama_batch(n_tokens=len(ids), token=array, all_pos_0=decode.pos, all_pos_1=1)
        if api.llama_decode(ctx, batch):
            sys.exit("llama_decode failed")
        decode.pos += len(ids)

    def timed(fn):
        times = []
        for i in range(repeats + 1):
            api.llama_kv_cache_clear(ctx)
            decode.pos = 0
            start = time.perf_counter()
            fn()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    prompt = [rng.randrange(100, 40000) for _ in range(n_prompt)]
    tokens = [rng.randrange(100, 40000) for _ in range(n_decode)]
    pp = n_prompt / timed(lambda: decode(prompt))
    tg = n_decode / timed(lambda: [decode([t]) for t in tokens])
    print(json.dumps({"prompt_tokens_per_s": pp, "decode_tokens_per_s": tg}))


main()
