"""Pictures of whole workflows beside those that ComfyUI drew (tests/golden/workflow_pictures.py)."""
import base64
import json
import struct
import sys
import unittest
import urllib.parse
import zlib
from pathlib import Path

from tests.api.harness import SANITIZED
from tests.api.pictures import PictureServer, needs_checkpoint

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN))
from workflow_cases import CASES, NAME, PICTURE, write_files  # noqa: E402

STEP = 6
PART = 3 if SANITIZED else 1  # each of so many cases is drawn


def unfilter(kind, row, above, n):
    out = bytearray(row)
    for i in range(len(out)):
        a, b, c = out[i - n] if i >= n else 0, above[i], above[i - n] if i >= n else 0
        if kind == 1:
            out[i] = (out[i] + a) & 255
        elif kind == 2:
            out[i] = (out[i] + b) & 255
        elif kind == 3:
            out[i] = (out[i] + (a + b) // 2) & 255
        elif kind == 4:
            p = a + b - c
            out[i] = (out[i] + min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]) & 255
    return out


def read_png(data):
    """(width, height, rows of RGB bytes) of an 8-bit RGB PNG."""
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 2)
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    raw, rows, above = zlib.decompress(packed), [], bytes(width * 3)
    for y in range(height):
        line = raw[y * (width * 3 + 1):(y + 1) * (width * 3 + 1)]
        above = unfilter(line[0], line[1:], above, 3)
        rows.append(above)
    return width, height, rows


@needs_checkpoint
class WorkflowPictures(unittest.TestCase):
    def drawn(self, server, graph):
        entry = server.wait(server.queue(graph))
        self.assertEqual(entry["status"]["status_str"], "success", entry["status"])
        for output in entry["outputs"].values():
            for image in output.get("images", []):
                _, _, data = server.request("GET", "/view?" + urllib.parse.urlencode(image))
                yield read_png(data)

    def test_pictures(self):
        with open(GOLDEN / "workflow_pictures.jsonl", encoding="utf-8") as f:
            wanted = {line["name"]: line["pictures"] for line in map(json.loads, f)}
        self.assertEqual(list(wanted), list(CASES))
        with PictureServer() as server:
            write_files(server.base / "models")
            server.upload("/upload/image", {}, {"image": (f"{NAME}.png", PICTURE)})
            for name, graph in list(CASES.items())[::PART]:
                with self.subTest(name):
                    got = list(self.drawn(server, graph))
                    self.assertEqual([list(p[:2]) for p in got], [p["size"] for p in wanted[name]])
                    for (width, height, rows), want in zip(got, wanted[name]):
                        px = [v for y in range(0, height, STEP) for x in range(0, width, STEP) for v in rows[y][x * 3:x * 3 + 3]]
                        ref = base64.b64decode(want["pixels"])
                        self.assertLessEqual(sum(abs(a - b) for a, b in zip(px, ref)) / len(ref), 0.5)


if __name__ == "__main__":
    unittest.main()
