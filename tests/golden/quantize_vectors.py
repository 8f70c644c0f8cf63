#!/usr/bin/env python3
"""Blocks of the 32-element types as the `gguf` package quantises them; writes quantize_blocks.h.

The input needs no file: see fill() here and in tests/unit/quantize.c. Needs numpy and gguf.
"""
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

N = 256


def fill():
    """A linear congruence, 24 bits to [-1, 1); every third block is scaled, one is all zero."""
    state, x = 12345, np.zeros(N, np.float32)
    for i in range(N):
        state = (state * 1664525 + 1013904223) % 2**32
        v = np.float32((state >> 8) - 8388608) / np.float32(8388608)
        block = i // 32
        x[i] = 0 if block == 4 else v * np.float32(16) if block % 3 == 0 else v
    return x


def main():
    x = fill()
    with open(Path(__file__).with_name("quantize_blocks.h"), "w") as f:
        f.write("/* Written by quantize_vectors.py: what the gguf package makes of fill(). */\n#pragma once\n")
        for t in (T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0):
            data = quants.quantize(x, t).tobytes()
            f.write(f"\nstatic const unsigned char GOLDEN_{t.name}[] = {{\n")
            for i in range(0, len(data), 16):
                f.write("    " + ", ".join(f"0x{b:02x}" for b in data[i:i + 16]) + ",\n")
            f.write("};\n")


main()
