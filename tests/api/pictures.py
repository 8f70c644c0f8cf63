"""A hob server with its picture API, and the pattern every ComfyUI client copies: HTTP and one WebSocket."""
import base64
import json
import os
import shutil
import socket
import struct
import time
import unittest
import uuid
from pathlib import Path

from tests.api.harness import DEMO, Server, free_port

CHECKPOINT = "emoji-sd.safetensors"


class PictureServer(Server):
    """self.url is the picture API; the chat API is at self.chat_url. `checkpoints`: names the demo
    checkpoint is found under."""

    def __init__(self, checkpoints=(CHECKPOINT,), env=None, home=None):
        super().__init__(models=(), env=env, home=home)
        self.chat_url, self.image_port = self.url, free_port()
        self.base = self.home / "comfy"
        folder = self.base / "models" / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for name in checkpoints:
            if not (folder / name).exists() and (DEMO / CHECKPOINT).exists():
                os.symlink(DEMO / CHECKPOINT, folder / name)

    @property
    def env(self):
        return dict(super().env, HOB_IMAGE_HOST=f"127.0.0.1:{self.image_port}",
                    HOB_IMAGE_DIR=str(self.base), **self.extra)

    def start(self):
        self.url = self.chat_url
        super().start()
        self.url = f"http://127.0.0.1:{self.image_port}"
        return self

    def restart(self, sig):
        self.stop(sig)
        self.start()

    def socket(self, client_id=None, flags=None):
        return Socket(self.image_port, client_id, flags)

    def upload(self, path, fields, files):
        """POSTs a form; files: {field: (filename, bytes)}."""
        boundary = uuid.uuid4().hex
        body = b""
        for name, text in fields.items():
            body += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
                     f'{text}\r\n').encode()
        for name, (filename, data) in files.items():
            body += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
                     "Content-Type: application/octet-stream\r\n\r\n").encode() + data + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        status, headers, data = self.request("POST", path, raw=body, headers={
            "Content-Type": f"multipart/form-data; boundary={boundary}"})
        return status, json.loads(data) if data[:1] in b"{[" and data else data

    def queue(self, graph, **more):
        status, answer = self.call("/prompt", {"prompt": graph, **more})
        if status != 200:
            raise AssertionError(f"{status}: {answer}")
        return answer["prompt_id"]

    def wait(self, prompt_id, timeout=120):
        """The job's history entry, when it has ended."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            _, history = self.call(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(0.05)
        raise AssertionError(f"job {prompt_id} did not end: {self.log_text()}")


class Socket:
    """A WebSocket client in a few lines: text frames become JSON, binary ones bytes."""

    def __init__(self, port, client_id=None, flags=None):
        self.client_id = client_id or uuid.uuid4().hex
        self.connection = socket.create_connection(("127.0.0.1", port), 60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.connection.sendall((f"GET /ws?clientId={self.client_id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                                 "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                 f"Sec-WebSocket-Key: {key}\r\n\r\n").encode())
        self.file = self.connection.makefile("rb")
        if b"101" not in self.file.readline():
            raise AssertionError("no upgrade")
        while self.file.readline() != b"\r\n":
            pass
        if flags is not None:
            self.send({"type": "feature_flags", "data": flags})

    def send(self, message):
        data = json.dumps(message).encode()
        head = bytes([0x81]) + (bytes([0x80 | len(data)]) if len(data) < 126
                                else bytes([0x80 | 126]) + struct.pack(">H", len(data)))
        self.connection.sendall(head + b"\0\0\0\0" + data)

    def next(self, timeout=60):
        """The next message; None at the end of the connection."""
        self.connection.settimeout(timeout)
        while True:
            head = self.file.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                return None
            n = head[1] & 127
            if n == 126:
                n = struct.unpack(">H", self.file.read(2))[0]
            elif n == 127:
                n = struct.unpack(">Q", self.file.read(8))[0]
            data = self.file.read(n)
            if head[0] & 15 == 1:
                return json.loads(data)
            if head[0] & 15 == 2:
                return data

    def until(self, prompt_id, timeout=120):
        """Every message up to the `executing` null of the prompt."""
        messages, end = [], time.monotonic() + timeout
        while time.monotonic() < end:
            message = self.next(timeout)
            if message is None:
                raise AssertionError(f"the connection ended after {messages[-3:]}")
            messages.append(message)
            if isinstance(message, dict) and message["type"] == "executing" \
                    and message["data"]["node"] is None and message["data"]["prompt_id"] == prompt_id:
                return messages
        raise AssertionError(f"no end after {messages[-3:]}")

    def close(self):
        self.file.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def text_to_image(seed=1, steps=2, width=128, height=128, prefix="test", batch=1, checkpoint=CHECKPOINT,
                  output="SaveImage", text="a red apple", cfg=5.0):
    """The workflow of every tutorial."""
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": height, "batch_size": batch}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": {
            "seed": seed, "steps": steps, "cfg": cfg, "sampler_name": "euler", "scheduler": "normal",
            "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["5", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": output, "inputs": {"images": ["8", 0],
              **({"filename_prefix": prefix} if output == "SaveImage" else {})}},
    }


def png_chunks(data):
    """[(type, bytes)] of a PNG; checks its signature."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:8]
    out, at = [], 8
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        out.append((kind.decode(), data[at + 8:at + 8 + n]))
        at += 12 + n
    return out


def png_size(data):
    return struct.unpack(">II", png_chunks(data)[0][1][:8])


def make_png(width=8, height=8, alpha=False):
    """A small PNG of one colour, half transparent if alpha."""
    import zlib
    channels, colour = (4, b"\xc8\x32\x14\x80") if alpha else (3, b"\xc8\x32\x14")

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = (b"\0" + colour * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6 if alpha else 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")) if channels else b""


def needs_checkpoint(test):
    return unittest.skipUnless((DEMO / CHECKPOINT).exists(), "the demo checkpoint is missing")(test)


__all__ = ["CHECKPOINT", "PictureServer", "Path", "Socket", "make_png", "needs_checkpoint", "png_chunks",
           "png_size", "shutil", "text_to_image"]
