#!/usr/bin/env python3
"""Converts sentence-transformers' all-MiniLM-L6-v2 to a GGUF of the `bert` family.

usage: tools/minilm-to-gguf.py DIRECTORY OUTPUT.gguf

DIRECTORY holds config.json, vocab.txt and model.safetensors. Matrices become F16, everything else F32; the
vocabulary is written as GGUF has it: U+2581 before pieces that start a word, nothing before the others. Needs the
standard library only.
"""
import json
import struct
import sys
from pathlib import Path

import gguf_writer
from gguf_writer import ARRAY, BOOL, F32, I32, STR, TYPE_F16, TYPE_F32, U32, key

NAMES = {  # after "encoder.layer.N."
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}
GLOBALS = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}


def gguf_name(name):
    """GGUF's name for a tensor, or None for what inference does not need."""
    name = name.removeprefix("bert.")
    if name in GLOBALS:
        return GLOBALS[name]
    parts = name.split(".")
    if parts[:2] != ["encoder", "layer"]:
        return None  # the pooler and position ids
    module, leaf = ".".join(parts[3:-1]), parts[-1]
    return f"blk.{parts[2]}.{NAMES[module]}.{leaf}"


def read_safetensors(path):
    """{name: (shape, f32 bytes)}"""
    data = path.read_bytes()
    n_header = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + n_header])
    out = {}
    for name, info in header.items():
        if name == "__metadata__" or gguf_name(name) is None:
            continue
        if info["dtype"] != "F32":
            sys.exit(f"minilm-to-gguf: {name} is {info['dtype']}, expected F32")
        first, last = info["data_offsets"]
        out[name] = info["shape"], data[8 + n_header + first:8 + n_header + last]
    return out


def to_f16(raw):
    n = len(raw) // 4
    return struct.pack(f"<{n}e", *struct.unpack(f"<{n}f", raw))


def keys_of(config, vocab):
    tokens = [v.removeprefix("##") if v.startswith("##") else v if v.startswith("[") and v.endswith("]")
              and v[1:-1].isupper() else "\u2581" + v for v in vocab]
    ids = {v: i for i, v in enumerate(vocab)}
    types = [3 if v in ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]") else 1 for v in vocab]
    types[ids["[UNK]"]] = 2
    return [
        key("general.architecture", STR, "bert"),
        key("general.type", STR, "model"),
        key("general.name", STR, "all-MiniLM-L6-v2"),
        key("general.organization", STR, "sentence-transformers"),
        key("general.size_label", STR, "23M"),
        key("bert.block_count", U32, config["num_hidden_layers"]),
        key("bert.context_length", U32, config["max_position_embeddings"]),
        key("bert.embedding_length", U32, config["hidden_size"]),
        key("bert.feed_forward_length", U32, config["intermediate_size"]),
        key("bert.attention.head_count", U32, config["num_attention_heads"]),
        key("bert.attention.layer_norm_epsilon", F32, config["layer_norm_eps"]),
        key("bert.attention.causal", BOOL, False),
        key("bert.pooling_type", U32, 1),
        key("general.file_type", U32, 1),
        key("general.quantization_version", U32, 2),
        key("tokenizer.ggml.model", STR, "bert"),
        key("tokenizer.ggml.pre", STR, "bert"),
        key("tokenizer.ggml.add_bos_token", BOOL, True),
        key("tokenizer.ggml.add_eos_token", BOOL, True),
        key("tokenizer.ggml.add_sep_token", BOOL, False),
        key("tokenizer.ggml.normalizer.lowercase", BOOL, True),
        key("tokenizer.ggml.token_type_count", U32, config["type_vocab_size"]),
        key("tokenizer.ggml.tokens", ARRAY, (STR, tokens)),
        key("tokenizer.ggml.token_type", ARRAY, (I32, types)),
        key("tokenizer.ggml.bos_token_id", U32, ids["[CLS]"]),
        key("tokenizer.ggml.eos_token_id", U32, ids["[SEP]"]),
        key("tokenizer.ggml.seperator_token_id", U32, ids["[SEP]"]),
        key("tokenizer.ggml.padding_token_id", U32, ids["[PAD]"]),
        key("tokenizer.ggml.mask_token_id", U32, ids["[MASK]"]),
        key("tokenizer.ggml.unknown_token_id", U32, ids["[UNK]"]),
    ]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    config = json.loads((source / "config.json").read_text())
    vocab = (source / "vocab.txt").read_text(encoding="utf-8").split("\n")
    vocab = vocab[:config["vocab_size"]]
    keys = keys_of(config, vocab)
    tensors = []
    for name, (shape, raw) in sorted(read_safetensors(source / "model.safetensors").items(),
                                     key=lambda item: gguf_name(item[0])):
        new = gguf_name(name)
        half = len(shape) == 2 and new not in ("position_embd.weight", "token_types.weight")
        tensors.append((new, shape, TYPE_F16 if half else TYPE_F32, to_f16(raw) if half else raw))
    partial = target.with_name(target.name + ".partial")
    gguf_writer.write(partial, keys, tensors)
    partial.replace(target)


if __name__ == "__main__":
    main()
