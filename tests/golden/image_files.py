#!/usr/bin/env python3
"""Makes the small pictures of tests/fuzz/corpus/image/ with Pillow, and tests/golden/image_files.txt with what
Pillow reads from them.

usage: tests/golden/image_files.py      (from the repository's root; needs pillow with libwebp, and numpy)
Each picture is a line `name frames height width alpha depth` and a line of its values, RGBA, in hexadecimal
(2 digits each, 4 when depth is 16).
"""
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

CORPUS = Path("tests/fuzz/corpus/image")
lines = []


def picture(h, w, c, seed=0):
    """Smooth colours with some noise, so that lossy formats stay close."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    base = np.stack([x * 255 / w, y * 255 / h, (x + y) * 255 / (w + h), 255 - x * 200 / w], -1)[..., :c]
    return np.clip(base + rng.integers(-8, 8, base.shape), 0, 255).astype(np.uint8)


def expect(name, depth=8, values=None, alpha=None):
    im = Image.open(CORPUS / name)
    if alpha is None:
        alpha = "A" in im.getbands() or "transparency" in im.info
    if values is None:
        frames = []
        for i in range(getattr(im, "n_frames", 1)):
            im.seek(i)
            frames.append(np.array(ImageOps.exif_transpose(im).convert("RGBA")))
        values = np.stack(frames)
    n, h, w, _ = values.shape
    lines.append(f"{name} {n} {h} {w} {int(alpha)} {depth}")
    lines.append("".join(f"{v:0{depth // 4}x}" for v in values.ravel()))


def save(name, im, **kw):
    im.save(CORPUS / name, **kw)
    expect(name)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_raw(name, w, h, depth, colour, rows, interlaced=False, extra=b""):
    """PNGs that Pillow does not write: depths and chunks of choice."""
    raw = b"".join(b"\0" + r for r in rows)
    ihdr = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced))
    (CORPUS / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + extra +
                                chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def pngs():
    save("rgb.png", Image.fromarray(picture(5, 7, 3)))
    save("rgba.png", Image.fromarray(picture(4, 3, 4), "RGBA"))
    save("grey.png", Image.fromarray(picture(4, 6, 1)[..., 0]))
    save("la.png", Image.fromarray(picture(4, 6, 4)[..., 2:].copy(), "LA"))
    save("bits.png", Image.fromarray(picture(9, 11, 1)[..., 0] > 100))
    save("palette.png", Image.fromarray(picture(6, 8, 3)).quantize(7))
    save("palette-clear.png", Image.fromarray(picture(6, 8, 3)).quantize(7), transparency=2)
    save("rgb-clear.png", Image.fromarray(picture(3, 3, 3)), transparency=tuple(int(v) for v in picture(3, 3, 3)[1, 1]))
    v = np.random.default_rng(1).integers(0, 65536, (3, 4, 3), dtype=np.uint16)
    png_raw("rgb16.png", 4, 3, 16, 2, [r.astype(">u2").tobytes() for r in v])
    full = np.concatenate([v, np.full((3, 4, 1), 65535, np.uint16)], -1)
    expect("rgb16.png", 16, full[None], alpha=False)
    v = np.random.default_rng(2).integers(0, 65536, (2, 5, 1), dtype=np.uint16)
    png_raw("grey16.png", 5, 2, 16, 0, [r.astype(">u2").tobytes() for r in v])
    full = np.concatenate([v, v, v, np.full((2, 5, 1), 65535, np.uint16)], -1)
    expect("grey16.png", 16, full[None], alpha=False)
    # 2x2 interlaced: passes of 1x1, then (1,0), then row 1
    p = picture(2, 2, 3)
    png_raw("interlaced.png", 2, 2, 8, 2, [p[0, :1].tobytes(), p[0, 1:].tobytes(), p[1].tobytes()], True)
    expect("interlaced.png")
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", '{"3": {"class_type": "KSampler"}}')
    info.add_text("packed", "many words " * 20, zip=True)
    info.add_itxt("workflow", "\u00e4\u4e2d\U0001f34e", "", "")
    info.add_itxt("itxt-packed", "\u00fc" * 300, "de", "Schl\u00fcssel", zip=True)
    save("text.png", Image.fromarray(picture(2, 2, 3)), pnginfo=info)


def jpegs():
    save("rgb.jpg", Image.fromarray(picture(17, 21, 3)), quality=95)
    save("progressive.jpg", Image.fromarray(picture(16, 16, 3)), quality=90, progressive=True)
    save("grey.jpg", Image.fromarray(picture(8, 9, 1)[..., 0]))
    save("cmyk.jpg", Image.fromarray(picture(8, 9, 4), "CMYK"), quality=95)
    for o in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = o
        save(f"turned{o}.jpg", Image.fromarray(picture(8, 16, 3)), quality=95, exif=exif)


def others():
    save("lossy.webp", Image.fromarray(picture(17, 21, 3)), quality=90)
    save("lossless.webp", Image.fromarray(picture(5, 7, 4), "RGBA"), lossless=True, exact=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("turned.webp", Image.fromarray(picture(5, 7, 3)), lossless=True, exif=exif)
    frames = [Image.fromarray(picture(6, 8, 3, s)) for s in range(3)]
    save("moving.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True, duration=40)
    save("moving.gif", frames[0].quantize(16), save_all=True, append_images=[f.quantize(16) for f in frames[1:]])
    save("still.gif", Image.fromarray(picture(20, 30, 3)).quantize(64), interlace=1)
    save("clear.gif", Image.fromarray(picture(6, 8, 3)).quantize(7), transparency=2)
    save("rgb.bmp", Image.fromarray(picture(5, 7, 3)))
    save("palette.bmp", Image.fromarray(picture(5, 7, 3)).quantize(9))


if __name__ == "__main__":
    CORPUS.mkdir(parents=True, exist_ok=True)
    pngs()
    jpegs()
    others()
    Path("tests/golden/image_files.txt").write_text("\n".join(lines) + "\n")
