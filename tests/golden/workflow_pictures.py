#!/usr/bin/env python3
"""Makes tests/golden/workflow_pictures.jsonl: what ComfyUI draws from workflow_cases.py, every sixth pixel.

usage: tests/golden/workflow_pictures.py URL MODELS > tests/golden/workflow_pictures.jsonl
URL is that of a ComfyUI (0.3.64) with everything in float32, on the CPU, whose sizes of the SD1 networks were
set to those of the demo checkpoint; MODELS its models directory, with the checkpoint. Needs Pillow.
"""
import base64
import io
import json
import sys
import time
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

from PIL import Image

from workflow_cases import CASES, NAME, PICTURE, write_files

STEP = 6


def ask(url, data=None, kind="application/json"):
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": kind}), timeout=600) as r:
        return r.read()


def upload(url):
    mark = uuid.uuid4().hex
    body = (f'--{mark}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n--{mark}\r\nContent-Disposition: form-data; '
            f'name="image"; filename="{NAME}.png"\r\nContent-Type: image/png\r\n\r\n').encode() + PICTURE + f"\r\n--{mark}--\r\n".encode()
    ask(url + "/upload/image", body, f"multipart/form-data; boundary={mark}")


def draw(url, graph):
    job = json.loads(ask(url + "/prompt", json.dumps({"prompt": graph}).encode()))["prompt_id"]
    while True:
        history = json.loads(ask(f"{url}/history/{job}"))
        if job in history:
            break
        time.sleep(0.05)
    if history[job]["status"]["status_str"] != "success":
        raise SystemExit(history[job]["status"]["messages"][-1])
    for output in history[job]["outputs"].values():
        for image in output.get("images", []):
            yield ask(url + "/view?" + urllib.parse.urlencode(image))


def main(url, models):
    write_files(Path(models))
    upload(url)
    for name, graph in CASES.items():
        pictures = []
        for data in draw(url, graph):
            image = Image.open(io.BytesIO(data)).convert("RGB")
            px = bytes(v for y in range(0, image.height, STEP) for x in range(0, image.width, STEP) for v in image.getpixel((x, y)))
            pictures.append({"size": [image.width, image.height], "pixels": base64.b64encode(px).decode()})
        print(json.dumps({"name": name, "pictures": pictures}))


main(*sys.argv[1:])
