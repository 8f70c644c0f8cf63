"""Writes GGUF files, for the tools and golden scripts that need one.

Standard library only. Layout: header, keys, tensor infos, padding, tensor data, each tensor at a multiple of 32.
"""
import struct

ALIGNMENT = 32
U32, I32, F32, BOOL, STR, ARRAY = 4, 5, 6, 7, 8, 9  # GGUF's value types
TYPE_F32, TYPE_F16 = 0, 1  # of tensors


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, value):
    """One key. `value` of an ARRAY is (item type, items)."""
    plain = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}
    out = text(name) + struct.pack("<I", kind)
    if kind in plain:
        return out + struct.pack(plain[kind], value)
    if kind == STR:
        return out + text(value)
    item, items = value
    codes = {U32: "I", I32: "i", F32: "f", BOOL: "?"}
    body = b"".join(text(v) for v in items) if item == STR \
        else struct.pack(f"<{len(items)}{codes[item]}", *items)
    return out + struct.pack("<IQ", item, len(items)) + body


def padding(n):
    return b"\0" * (-n % ALIGNMENT)


def write(path, keys, tensors):
    """keys: results of key(). tensors: (name, shape with the fastest dimension last, type, bytes)."""
    infos, blobs, offset = [], [], 0
    for name, shape, kind, raw in tensors:
        infos.append(text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
                     + struct.pack("<IQ", kind, offset))
        blobs.append(raw + padding(len(raw)))
        offset += len(blobs[-1])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(keys)) + b"".join(keys) + b"".join(infos)
    with open(path, "wb") as f:
        f.write(head + padding(len(head)))
        for blob in blobs:
            f.write(blob)
