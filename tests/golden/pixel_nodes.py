#!/usr/bin/env python3
"""Makes tests/golden/pixel_nodes.jsonl: what the picture, mask and latent nodes give, in PyTorch.

usage: tests/golden/pixel_nodes.py > tests/golden/pixel_nodes.jsonl
Needs what image_ops.py needs, and scipy. Each line is one run: {"class", "inputs", "outputs"}. A block at an
input is {"type", "shape", "seed", "low", "high"} (numbers from ramp(), as the test makes them); at an output
{"type", "shape", "bits"} with the float32 bits in hexadecimal. A latent may have a "mask" and a "batch_index".
"""
import json
import math

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
from PIL import Image

from image_ops import bislerp_x, gauss2d, lanczos, ramp
import kornia

seeds = iter(range(1, 100000))


class Block:
    """A block of numbers with its recipe."""

    def __init__(self, kind, *shape, low=0.0, high=1.0, mask=None, index=None):
        self.kind, self.mask, self.index = kind, mask, index
        self.recipe = dict(type=kind, shape=shape, seed=next(seeds), low=low, high=high)
        n = math.prod(shape)
        self.t = torch.from_numpy(ramp(n, self.recipe["seed"], low, high).reshape(shape))

    def json(self):
        out = dict(self.recipe)
        if self.mask is not None:
            out["mask"] = self.mask.json()
        if self.index is not None:
            out["batch_index"] = self.index
        return out


def image(*shape, **kw):
    return Block("IMAGE", *shape, **kw)


def mask(*shape, **kw):
    return Block("MASK", *shape, **kw)


def latent(*shape, **kw):
    return Block("LATENT", *shape, low=-2.0, high=2.0, **kw)


def bits(t):
    return "".join(f"{v:08x}" for v in np.ascontiguousarray(t, np.float32).view(np.uint32).ravel())


def out(kind, t, mask=None, index=None):
    d = dict(type=kind, shape=list(t.shape), bits=bits(t))
    if mask is not None:
        d["mask"] = dict(shape=list(mask.shape), bits=bits(mask))
    if index is not None:
        d["batch_index"] = index
    return d


def put(name, outputs, **inputs):
    def plain(v):
        if isinstance(v, Block):
            return v.json()
        return dict(list=[plain(i) for i in v]) if isinstance(v, list) else v
    print(json.dumps({"class": name, "inputs": {k: plain(v) for k, v in inputs.items()}, "outputs": outputs}))


def common_upscale(t, width, height, method, crop):
    """[N, C, Y, X]"""
    if crop == "center":
        h, w = t.shape[-2:]
        old, new = w / h, width / height
        x = round((w - w * (new / old)) / 2) if old > new else 0
        y = round((h - h * (old / new)) / 2) if old < new else 0
        t = t[..., y:h - y, x:w - x]
    if method == "bislerp":
        return bislerp_x(bislerp_x(t, width).movedim(-1, -2), height).movedim(-1, -2)
    if method == "lanczos":
        return torch.from_numpy(lanczos(t.movedim(1, -1), height, width)).movedim(-1, 1)
    return F.interpolate(t, size=(height, width), mode=method)


def up(nhwc, width, height, method, crop="disabled"):
    return common_upscale(nhwc.movedim(-1, 1), width, height, method, crop).movedim(1, -1)


def repeat_to(t, n):
    return t.repeat([math.ceil(n / t.shape[0])] + [1] * (t.dim() - 1))[:n] if t.shape[0] < n else t[:n]


# ---- pictures: sizes

def scaling():
    for method in ("nearest-exact", "bilinear", "area", "bicubic", "lanczos"):
        for w, h, crop in ((9, 5, "disabled"), (6, 6, "center"), (0, 4, "disabled"), (11, 0, "center")):
            a = image(1, 7, 8, 3)
            rw = w or max(1, round(8 * h / 7))
            rh = h or max(1, round(7 * w / 8))
            put("ImageScale", [out("IMAGE", up(a.t, rw, rh, method, crop))], image=a, upscale_method=method,
                width=w, height=h, crop=crop)
    a = image(1, 5, 5, 3)
    put("ImageScale", [out("IMAGE", a.t)], image=a, upscale_method="area", width=0, height=0, crop="center")
    for by in (0.5, 1.7):
        a = image(2, 5, 7, 4)
        put("ImageScaleBy", [out("IMAGE", up(a.t, round(7 * by), round(5 * by), "bicubic"))], image=a,
            upscale_method="bicubic", scale_by=by)
    a = image(1, 40, 60, 3)
    by = math.sqrt(0.0004 * 1024 * 1024 / (40 * 60))
    put("ImageScaleToTotalPixels", [out("IMAGE", up(a.t, round(60 * by), round(40 * by), "area"))], image=a,
        upscale_method="area", megapixels=0.0004)
    for h, w in ((6, 9), (9, 6), (5, 5)):
        a = image(1, h, w, 3)
        tw = round(w / h * 12) if h > w else 12
        th = round(h / w * 12) if w > h else 12
        put("ImageScaleToMaxDimension", [out("IMAGE", up(a.t, tw, th, "bilinear"))], image=a,
            upscale_method="bilinear", largest_size=12)
    for color in ("white", "black"):
        a = image(1, 6, 9, 3)
        s = min(10 / 9, 12 / 6)
        nw, nh = int(9 * s), int(6 * s)
        r = torch.full((1, 12, 10, 3), 1.0 if color == "white" else 0.0)
        y, x = (12 - nh) // 2, (10 - nw) // 2
        r[:, y:y + nh, x:x + nw] = up(a.t, nw, nh, "area")
        put("ResizeAndPadImage", [out("IMAGE", r)], image=a, target_width=10, target_height=12,
            padding_color=color, interpolation="area")


def shapes():
    for x, y, w, h in ((2, 1, 3, 2), (6, 4, 100, 100), (100, 100, 5, 5)):
        a = image(2, 5, 7, 3)
        cx, cy = min(x, 6), min(y, 4)
        put("ImageCrop", [out("IMAGE", a.t[:, cy:cy + h, cx:cx + w])], image=a, width=w, height=h, x=x, y=y)
    for k, name in enumerate(("none", "90 degrees", "180 degrees", "270 degrees")):
        a = image(2, 3, 5, 3)
        put("ImageRotate", [out("IMAGE", torch.rot90(a.t, k=k, dims=[2, 1]))], image=a, rotation=name)
        b = latent(2, 4, 3, 5)
        put("LatentRotate", [out("LATENT", torch.rot90(b.t, k=k, dims=[3, 2]))], samples=b, rotation=name)
    for dim, name in ((1, "x-axis: vertically"), (2, "y-axis: horizontally")):
        a = image(2, 3, 5, 3)
        put("ImageFlip", [out("IMAGE", torch.flip(a.t, dims=[dim]))], image=a, flip_method=name)
        b = latent(2, 4, 3, 5)
        put("LatentFlip", [out("LATENT", torch.flip(b.t, dims=[dim + 1]))], samples=b, flip_method=name)
    for l, t, r, b, f in ((8, 0, 8, 16, 3), (0, 8, 0, 0, 40), (0, 0, 0, 8, 2)):
        a = image(2, 9, 11, 3)
        big = torch.ones(2, 9 + t + b, 11 + l + r, 3) * 0.5
        big[:, t:t + 9, l:l + 11] = a.t
        m, inner = torch.ones(9 + t + b, 11 + l + r), torch.zeros(9, 11)
        if f > 0 and f * 2 < 9 and f * 2 < 11:
            for i in range(9):
                for j in range(11):
                    d = min(i if t else 9, 9 - i if b else 9, j if l else 11, 11 - j if r else 11)
                    if d < f:
                        inner[i, j] = ((f - d) / f) ** 2
        m[t:t + 9, l:l + 11] = inner
        put("ImagePadForOutpaint", [out("IMAGE", big), out("MASK", m[None])], image=a, left=l, top=t, right=r,
            bottom=b, feathering=f)
    a = image(3, 4, 6, 3)
    put("GetImageSize", [dict(type="INT", value=v) for v in (6, 4, 3)], image=a)


# ---- pictures: batches

def batches():
    for other in ((2, 5, 6, 3), (1, 7, 9, 3), (1, 5, 6, 4)):
        a, b = image(1, 5, 6, 3), image(*other)
        ta, tb = a.t, b.t
        if tb.shape[-1] > 3:
            ta = F.pad(ta, (0, 1), value=1.0)
        if ta.shape[1:] != tb.shape[1:]:
            tb = up(tb, 6, 5, "bilinear", "center")
        put("ImageBatch", [out("IMAGE", torch.cat((ta, tb)))], image1=a, image2=b)
    a = image(2, 3, 4, 3)
    put("RepeatImageBatch", [out("IMAGE", a.t.repeat(3, 1, 1, 1))], image=a, amount=3)
    for index, n in ((1, 1), (1, 9), (7, 2)):
        a = image(4, 2, 3, 3)
        i = min(3, index)
        put("ImageFromBatch", [out("IMAGE", a.t[i:i + min(4 - i, n)])], image=a, batch_index=index, length=n)
    a, b = image(3, 2, 3, 3), image(2, 2, 3, 3)
    every = torch.cat((a.t, b.t))
    put("RebatchImages", [dict(list=[out("IMAGE", every[i:i + 2]) for i in (0, 2, 4)])], images=[a, b], batch_size=[2])
    put("EmptyImage", [out("IMAGE", (torch.tensor([0x12, 0x80, 0xff]) / 255).expand(2, 3, 4, 3))], width=4,
        height=3, batch_size=2, color=0x1280FF)


def stitching():
    colors = dict(white=(1., 1., 1.), black=(0., 0., 0.), red=(1., 0., 0.), green=(0., 1., 0.), blue=(0., 0., 1.))
    for direction, match, gap, color, sa, sb in (
            ("right", True, 0, "white", (1, 6, 5, 3), (1, 9, 7, 3)), ("down", True, 3, "red", (2, 6, 5, 3), (1, 9, 7, 3)),
            ("left", False, 4, "white", (1, 6, 5, 3), (1, 9, 7, 4)), ("up", False, 0, "blue", (1, 6, 9, 4), (1, 9, 6, 3))):
        a, b = image(*sa), image(*sb)
        ta, tb = a.t, b.t
        n = max(len(ta), len(tb))
        ta, tb = (torch.cat((t, t[-1:].repeat(n - len(t), 1, 1, 1))) for t in (ta, tb))
        beside = direction in ("left", "right")
        if match:
            aspect = tb.shape[2] / tb.shape[1]
            w, h = (int(ta.shape[1] * aspect), ta.shape[1]) if beside else (ta.shape[2], int(ta.shape[2] / aspect))
            tb = up(tb, w, h, "lanczos")
        else:
            pad = 1.0 if color == "white" else 0.0
            dim = 1 if beside else 2
            longest = max(ta.shape[dim], tb.shape[dim])
            def fill(t):
                more = longest - t.shape[dim]
                p = (0, 0, 0, 0, more // 2, more - more // 2) if beside else (0, 0, more // 2, more - more // 2)
                return F.pad(t, p, value=pad)
            ta, tb = fill(ta), fill(tb)
        c = max(ta.shape[-1], tb.shape[-1])
        ta, tb = (torch.cat((t, torch.ones(*t.shape[:-1], c - t.shape[-1])), -1) for t in (ta, tb))
        parts = [ta, tb] if direction in ("right", "down") else [tb, ta]
        if gap:
            gap_px = gap + gap % 2
            shape = (n, ta.shape[1], gap_px, c) if beside else (n, gap_px, ta.shape[2], c)
            strip = torch.ones(shape)
            strip[..., :3] = torch.tensor(colors[color])
            parts.insert(1, strip)
        put("ImageStitch", [out("IMAGE", torch.cat(parts, 2 if beside else 1))], image1=a, image2=b,
            direction=direction, match_image_size=match, spacing_width=gap, spacing_color=color)
    a = image(1, 2, 2, 3)
    put("ImageStitch", [out("IMAGE", a.t)], image1=a, direction="up", match_image_size=True, spacing_width=4,
        spacing_color="red")


# ---- one over another

def composite(dst, src, x, y, m, unit, stretch):
    """[N, C, Y, X]"""
    dst = dst.clone()
    if stretch:
        src = F.interpolate(src, size=dst.shape[-2:], mode="bilinear")
    src = repeat_to(src, len(dst))
    left, top = x // unit, y // unit
    if m is None:
        m = torch.ones_like(src)
    else:
        m = F.interpolate(m.reshape(-1, 1, *m.shape[-2:]), size=src.shape[-2:], mode="bilinear")
        m = repeat_to(m, len(src))
    vw, vh = max(0, dst.shape[-1] - left), max(0, dst.shape[-2] - top)
    part = dst[..., top:top + src.shape[-2], left:left + src.shape[-1]]
    m, src = m[..., :vh, :vw], src[..., :vh, :vw]
    dst[..., top:top + src.shape[-2], left:left + src.shape[-1]] = m * src + (1 - m) * part
    return dst


def compositing():
    for x, y, stretch, ms in ((2, 1, False, (1, 3, 3)), (4, 3, False, None), (0, 0, True, (2, 5, 4)), (1, 0, False, (1, 9, 9))):
        a, b = image(2, 6, 7, 3), image(1, 4, 5, 3)
        m = mask(*ms) if ms else None
        r = composite(a.t.movedim(-1, 1), b.t.movedim(-1, 1), x, y, m.t if m else None, 1, stretch).movedim(1, -1)
        extra = dict(mask=m) if m else {}
        put("ImageCompositeMasked", [out("IMAGE", r)], destination=a, source=b, x=x, y=y, resize_source=stretch, **extra)
        c, d = latent(2, 4, 6, 7), latent(1, 4, 4, 5)
        r = composite(c.t, d.t, x * 8 + 3, y * 8, m.t if m else None, 8, stretch)
        put("LatentCompositeMasked", [out("LATENT", r)], destination=c, source=d, x=x * 8 + 3, y=y * 8,
            resize_source=stretch, **extra)
    a, b = image(1, 4, 4, 4), image(1, 2, 2, 3)
    r = composite(a.t.movedim(-1, 1), F.pad(b.t, (0, 1), value=1.0).movedim(-1, 1), 1, 1, None, 1, False)
    put("ImageCompositeMasked", [out("IMAGE", r.movedim(1, -1))], destination=a, source=b, x=1, y=1, resize_source=False)


def blending():
    def g(x):
        return torch.where(x <= 0.25, ((16 * x - 12) * x + 4) * x, torch.sqrt(x))
    modes = dict(normal=lambda a, b: b, multiply=lambda a, b: a * b, screen=lambda a, b: 1 - (1 - a) * (1 - b),
                 overlay=lambda a, b: torch.where(a <= 0.5, 2 * a * b, 1 - 2 * (1 - a) * (1 - b)),
                 soft_light=lambda a, b: torch.where(b <= 0.5, a - (1 - 2 * b) * a * (1 - a), a + (2 * b - 1) * (g(a) - a)),
                 difference=lambda a, b: a - b)
    for i, (mode, f) in enumerate(modes.items()):
        a, b = image(2, 5, 6, 3), image(1 if i % 2 else 2, *((7, 9) if i > 3 else (5, 6)), 3)
        tb = up(b.t, 6, 5, "bicubic", "center") if i > 3 else b.t
        r = torch.clamp(a.t * (1 - 0.3) + f(a.t, tb) * 0.3, 0, 1)
        put("ImageBlend", [out("IMAGE", r)], image1=a, image2=b, blend_factor=0.3, blend_mode=mode)


def porter_duff():
    one = {
        "ADD": lambda s, d, a, b: (torch.clamp(s + d, 0, 1), torch.clamp(a + b, 0, 1)),
        "CLEAR": lambda s, d, a, b: (s * 0, a * 0),
        "DARKEN": lambda s, d, a, b: ((1 - b) * s + (1 - a) * d + torch.min(s, d), a + b - a * b),
        "DST": lambda s, d, a, b: (d, b),
        "DST_ATOP": lambda s, d, a, b: (a * d + (1 - b) * s, a),
        "DST_IN": lambda s, d, a, b: (d * a, a * b),
        "DST_OUT": lambda s, d, a, b: ((1 - a) * d, (1 - a) * b),
        "DST_OVER": lambda s, d, a, b: (d + (1 - b) * s, b + (1 - b) * a),
        "LIGHTEN": lambda s, d, a, b: ((1 - b) * s + (1 - a) * d + torch.max(s, d), a + b - a * b),
        "MULTIPLY": lambda s, d, a, b: (s * d, a * b),
        "OVERLAY": lambda s, d, a, b: (torch.where(2 * d < b, 2 * s * d, a * b - 2 * (b - s) * (a - d)), a + b - a * b),
        "SCREEN": lambda s, d, a, b: (s + d - s * d, a + b - a * b),
        "SRC": lambda s, d, a, b: (s, a),
        "SRC_ATOP": lambda s, d, a, b: (b * s + (1 - a) * d, b),
        "SRC_IN": lambda s, d, a, b: (s * b, a * b),
        "SRC_OUT": lambda s, d, a, b: ((1 - b) * s, (1 - b) * a),
        "SRC_OVER": lambda s, d, a, b: (s + (1 - a) * d, a + (1 - a) * b),
        "XOR": lambda s, d, a, b: ((1 - b) * s + (1 - a) * d, (1 - b) * a + (1 - a) * b),
    }
    for i, (mode, f) in enumerate(one.items()):
        size = (6, 5) if i % 3 == 0 else (4, 5)
        s, sa, d, da = image(1, *size, 3), mask(1, *size), image(1, 4, 5, 3), mask(1, 4, 5)
        ts, tsa = s.t, sa.t
        if size != (4, 5):
            ts = up(ts, 5, 4, "bicubic", "center")
            tsa = up(tsa[..., None], 5, 4, "bicubic", "center")[..., 0]
        a, b = 1 - tsa[..., None], 1 - da.t[..., None]
        im, al = f(ts * a, d.t * b, a, b)
        im = torch.clamp(torch.where(al > 1e-5, im / al, torch.zeros_like(im)), 0, 1)
        put("PorterDuffImageComposite", [out("IMAGE", im), out("MASK", 1 - al[..., 0])], source=s, source_alpha=sa,
            destination=d, destination_alpha=da, mode=mode)


def alpha():
    a, m = image(2, 4, 5, 3), mask(1, 3, 3)
    al = 1 - F.interpolate(m.t[:, None], size=(4, 5), mode="bilinear")[:, 0]
    put("JoinImageWithAlpha", [out("IMAGE", torch.cat((a.t, repeat_to(al, 2)[..., None]), -1))], image=a, alpha=m)
    a = image(2, 3, 4, 4)
    put("SplitImageWithAlpha", [out("IMAGE", a.t[..., :3]), out("MASK", 1 - a.t[..., 3])], image=a)
    a = image(1, 3, 4, 3)
    put("SplitImageWithAlpha", [out("IMAGE", a.t), out("MASK", torch.zeros(1, 3, 4))], image=a)


# ---- filters

def filters():
    a = image(2, 3, 4, 4)
    put("ImageInvert", [out("IMAGE", 1 - a.t)], image=a)
    for r, s in ((1, 1.0), (4, 0.4)):
        a = image(2, 9, 10, 3)
        p = F.pad(a.t.movedim(-1, 1), (r, r, r, r), "reflect")
        k = gauss2d(r, s)
        put("ImageBlur", [out("IMAGE", F.conv2d(p, k.repeat(3, 1, 1)[:, None], groups=3).movedim(1, -1))], image=a,
            blur_radius=r, sigma=s)
        k = k * -(0.6 * 10)
        k[r, r] = k[r, r] - k.sum() + 1.0
        t = F.conv2d(p, k.repeat(3, 1, 1)[:, None], groups=3).movedim(1, -1)
        put("ImageSharpen", [out("IMAGE", torch.clamp(t, 0, 1))], image=a, sharpen_radius=r, sigma=s, alpha=0.6)
    for dither in ("none", "floyd-steinberg", "bayer-2", "bayer-4", "bayer-8", "bayer-16"):
        a = image(2, 9, 11, 3)
        put("ImageQuantize", [out("IMAGE", torch.stack([quantized(t, 6, dither) for t in a.t]))], image=a, colors=6,
            dither=dither)
    a = image(1, 6, 6, 3)
    g = torch.manual_seed(77)
    noise = torch.randn(a.t.size(), generator=g)
    put("ImageAddNoise", [out("IMAGE", torch.clip(a.t + 0.3 * noise, 0, 1))], image=a, seed=77, strength=0.3)
    a = image(2, 3, 4, 3)
    y = kornia.color.rgb_to_ycbcr(a.t.movedim(-1, 1)).movedim(1, -1)
    put("ImageRGBToYUV", [out("IMAGE", y[..., i:i + 1].expand_as(a.t)) for i in range(3)], image=a)
    p = [image(1, 3, 4, 3) for _ in range(3)]
    t = torch.cat([b.t.mean(-1, keepdim=True) for b in p], -1)
    r = kornia.color.ycbcr_to_rgb(t.movedim(-1, 1)).movedim(1, -1)
    put("ImageYUVToRGB", [out("IMAGE", r)], Y=p[0], U=p[1], V=p[2])
    a = image(2, 12, 14, 3)
    e = kornia.filters.canny(a.t.movedim(-1, 1), 0.4, 0.8)[1]
    put("Canny", [out("IMAGE", e.repeat(1, 3, 1, 1).movedim(1, -1))], image=a, low_threshold=0.4, high_threshold=0.8)
    m = kornia.morphology
    for name, f in dict(erode=m.erosion, dilate=m.dilation, open=m.opening, close=m.closing, gradient=m.gradient,
                        bottom_hat=m.bottom_hat, top_hat=m.top_hat).items():
        a = image(1, 6, 7, 3)
        put("Morphology", [out("IMAGE", f(a.t.movedim(-1, 1), torch.ones(3, 3)).movedim(1, -1))], image=a,
            operation=name, kernel_size=3)


def bayer_matrix(n):
    if n == 0:
        return np.zeros((1, 1), np.float32)
    q, m = 4 ** n, bayer_matrix(n - 1) * 4 ** n
    return np.block([[m - 1.5, m + 0.5], [m + 1.5, m - 0.5]]) / q


def quantized(t, colors, dither):
    im = Image.fromarray((t * 255).to(torch.uint8).numpy())
    pal = im.quantize(colors=colors)
    if dither == "none":
        q = im.quantize(colors=colors, palette=pal, dither=Image.Dither.NONE)
    elif dither == "floyd-steinberg":
        q = im.quantize(colors=colors, palette=pal, dither=Image.Dither.FLOYDSTEINBERG)
    else:
        order = int(dither.split("-")[1])
        spread = 2 * 256 / (len(pal.getpalette()) // 3)
        m = spread * bayer_matrix(int(math.log2(order))) + 0.5
        v = np.array(im).astype(np.float32)
        h, w = v.shape[:2]
        m = np.tile(m, (h // order + 1, w // order + 1))[:h, :w, None].astype(np.float32)
        v = np.clip(v + m, 0, 255).astype(np.uint8)
        q = Image.fromarray(v).quantize(palette=pal, dither=Image.Dither.NONE)
    return torch.from_numpy(np.array(q.convert("RGB")).astype(np.float32) / 255)


# ---- masks

def masks():
    m = mask(2, 3, 4)
    put("MaskToImage", [out("IMAGE", m.t[..., None].expand(-1, -1, -1, 3))], mask=m)
    for i, name in enumerate(("red", "green", "blue", "alpha")):
        a = image(2, 3, 4, 4)
        put("ImageToMask", [out("MASK", a.t[..., i])], image=a, channel=name)
    a = image(1, 4, 4, 3)
    u = (a.t * 255).round().int()
    color = int(u[0, 1, 2, 0]) << 16 | int(u[0, 1, 2, 1]) << 8 | int(u[0, 1, 2, 2])
    hit = ((u[..., 0] << 16 | u[..., 1] << 8 | u[..., 2]) == color).float()
    put("ImageColorToMask", [out("MASK", hit)], image=a, color=color)
    put("SolidMask", [out("MASK", torch.full((1, 3, 5), 0.25))], value=0.25, width=5, height=3)
    m = mask(2, 3, 4)
    put("InvertMask", [out("MASK", 1 - m.t)], mask=m)
    m = mask(2, 6, 7)
    put("CropMask", [out("MASK", m.t[:, 2:5, 3:12])], mask=m, x=3, y=2, width=9, height=3)
    for op in ("multiply", "add", "subtract", "and", "or", "xor"):
        a, b = mask(2, 5, 6), mask(1, 4, 4)
        r = a.t.clone()
        d, s = r[:, 2:5, 3:6], b.t[:, :3, :3]
        ra, rb = d.round().bool(), s.round().bool()
        r[:, 2:5, 3:6] = {"multiply": d * s, "add": d + s, "subtract": d - s, "and": (ra & rb).float(),
                          "or": (ra | rb).float(), "xor": (ra ^ rb).float()}[op]
        put("MaskComposite", [out("MASK", torch.clamp(r, 0, 1))], destination=a, source=b, x=3, y=2, operation=op)
    for l, t, r, b in ((2, 0, 3, 0), (0, 3, 0, 2), (99, 99, 99, 99)):
        m = mask(2, 5, 6)
        o = m.t.clone()
        for i in range(min(l, 6)):
            o[:, :, i] *= (i + 1.0) / min(l, 6)
        for i in range(min(r, 6)):
            o[:, :, -i] *= (i + 1) / min(r, 6)
        for i in range(min(t, 5)):
            o[:, i, :] *= (i + 1) / min(t, 5)
        for i in range(min(b, 5)):
            o[:, -i, :] *= (i + 1) / min(b, 5)
        put("FeatherMask", [out("MASK", o)], mask=m, left=l, top=t, right=r, bottom=b)
    for expand, tapered in ((2, True), (1, False), (-1, True), (-3, False), (0, True)):
        m = mask(2, 7, 8)
        c = 0 if tapered else 1
        k = np.array([[c, 1, c], [1, 1, 1], [c, 1, c]])
        f = scipy.ndimage.grey_erosion if expand < 0 else scipy.ndimage.grey_dilation
        rows = []
        for one in m.t.numpy():
            for _ in range(abs(expand)):
                one = f(one, footprint=k)
            rows.append(one)
        put("GrowMask", [out("MASK", np.stack(rows))], mask=m, expand=expand, tapered_corners=tapered)
    m = mask(2, 3, 4)
    put("ThresholdMask", [out("MASK", (m.t > 0.4).float())], mask=m, value=0.4)


# ---- latents

def latents():
    put("EmptyLatentImage", [out("LATENT", torch.zeros(2, 4, 8, 12))], width=100, height=64, batch_size=2)
    put("EmptySD3LatentImage", [out("LATENT", torch.zeros(1, 16, 8, 12))], width=96, height=64, batch_size=1)
    put("EmptyHunyuanImageLatent", [out("LATENT", torch.zeros(1, 64, 2, 3))], width=96, height=64, batch_size=1)
    put("EmptyChromaRadianceLatentImage", [out("LATENT", torch.zeros(1, 3, 16, 32))], width=32, height=16, batch_size=1)
    put("StableCascade_EmptyLatentImage", [out("LATENT", torch.zeros(1, 16, 6, 8)), out("LATENT", torch.zeros(1, 4, 64, 90))],
        width=360, height=256, compression=42, batch_size=1)
    for method in ("nearest-exact", "bilinear", "area", "bicubic", "bislerp"):
        a = latent(1, 4, 9, 10)
        put("LatentUpscale", [out("LATENT", common_upscale(a.t, 12, 14, method, "center"))], samples=a,
            upscale_method=method, width=96, height=112, crop="center")
        a = latent(1, 4, 8, 8)
        put("LatentUpscaleBy", [out("LATENT", common_upscale(a.t, 12, 12, method, "disabled"))], samples=a,
            upscale_method=method, scale_by=1.5)
    a = latent(1, 4, 9, 12, mask=mask(1, 5, 5), index=[7])
    put("LatentUpscale", [out("LATENT", common_upscale(a.t, 20, 15, "bilinear", "disabled"), a.mask.t, [7])], samples=a,
        upscale_method="bilinear", width=160, height=0, crop="disabled")
    for x, y, f in ((16, 8, 0), (24, 0, 16), (0, 40, 8), (32, 32, 24)):
        a, b = latent(2, 4, 9, 10), latent(2, 4, 5, 6)
        r, fx, fy, ff = a.t.clone(), x // 8, y // 8, f // 8
        s = b.t[:, :, :9 - fy, :10 - fx]
        m = torch.ones_like(s)
        for t in range(ff):
            if fy:
                m[:, :, t:1 + t, :] *= (1.0 / ff) * (t + 1)
            if fy + s.shape[2] < 9:
                m[:, :, s.shape[2] - 1 - t:s.shape[2] - t, :] *= (1.0 / ff) * (t + 1)
            if fx:
                m[:, :, :, t:1 + t] *= (1.0 / ff) * (t + 1)
            if fx + s.shape[3] < 10:
                m[:, :, :, s.shape[3] - 1 - t:s.shape[3] - t] *= (1.0 / ff) * (t + 1)
        part = r[:, :, fy:fy + s.shape[2], fx:fx + s.shape[3]]
        r[:, :, fy:fy + s.shape[2], fx:fx + s.shape[3]] = s * m + part * (1 - m)
        put("LatentComposite", [out("LATENT", r)], samples_to=a, samples_from=b, x=x, y=y, feather=f)
    a = latent(2, 4, 12, 14)
    put("LatentCrop", [out("LATENT", a.t[:, :, 4:13, 2:10])], samples=a, width=64, height=72, x=16, y=80)
    for dim in ("x", "-x", "y", "-y", "t", "-t"):
        a, b = latent(2, 4, 3, 5), latent(1, 4, 3, 5)
        tb = repeat_to(b.t, 2)
        i = dict(x=-1, y=-2, t=-3)[dim[-1]]
        put("LatentConcat", [out("LATENT", torch.cat((tb, a.t) if dim[0] == "-" else (a.t, tb), i))], samples1=a,
            samples2=b, dim=dim)
    for dim, index, amount in (("x", 2, 2), ("y", -2, 9), ("t", 1, 2), ("x", 99, 1)):
        a = latent(2, 4, 3, 5)
        d = dict(x=3, y=2, t=1)[dim]
        n = a.t.shape[d]
        i = min(index, n - 1) if index >= 0 else max(index, -n)
        amount_fit = min(n - i, amount) if index >= 0 else min(-i, amount)
        put("LatentCut", [out("LATENT", torch.narrow(a.t, d, i, amount_fit))], samples=a, dim=dim, index=index, amount=amount)


def latent_batches():
    a = latent(4, 4, 2, 3, mask=mask(2, 4, 4))
    put("LatentFromBatch", [out("LATENT", a.t[1:3], a.mask.t.repeat(2, 1, 1)[1:3], [1, 2])], samples=a, batch_index=1, length=2)
    a = latent(3, 4, 2, 3, mask=mask(1, 4, 4), index=[5, 9, 2])
    put("LatentFromBatch", [out("LATENT", a.t[2:3], a.mask.t, [2])], samples=a, batch_index=9, length=5)
    a = latent(2, 4, 2, 3, mask=mask(2, 4, 4), index=[3, 6])
    put("RepeatLatentBatch", [out("LATENT", a.t.repeat(3, 1, 1, 1), a.mask.t.repeat(3, 1, 1), [3, 6, 7, 10, 11, 14])],
        samples=a, amount=3)
    a, b = latent(2, 4, 4, 5), latent(1, 4, 6, 6, index=[8])
    put("LatentBatch", [out("LATENT", torch.cat((a.t, common_upscale(b.t, 5, 4, "bilinear", "center"))), index=[0, 1, 8])],
        samples1=a, samples2=b)
    a, b, c = latent(3, 4, 2, 2), latent(1, 4, 2, 2, mask=mask(1, 16, 16)), latent(1, 4, 3, 2)
    rows = torch.cat((a.t, b.t))
    ones = torch.ones(1, 16, 16)
    put("RebatchLatents", [dict(list=[out("LATENT", rows[:2], index=[0, 1]),
                                      out("LATENT", rows[2:], torch.cat((ones, b.mask.t)), [2, 3]),
                                      out("LATENT", c.t, index=[4])])], latents=[a, b, c], batch_size=[2])
    a = latent(3, 4, 2, 2, index=[4, 5, 6])
    put("LatentBatchSeedBehavior", [out("LATENT", a.t, index=[4, 4, 4])], samples=a, seed_behavior="fixed")
    a = latent(2, 4, 2, 2, index=[4, 5])
    put("LatentBatchSeedBehavior", [out("LATENT", a.t)], samples=a, seed_behavior="random")
    a, m = latent(2, 4, 2, 2, mask=mask(1, 3, 3)), mask(1, 16, 16)
    put("SetLatentNoiseMask", [out("LATENT", a.t, m.t)], samples=a, mask=m)


def latent_mixing():
    for other in ((2, 4, 4, 5), (1, 4, 6, 6)):
        a, b = latent(2, 4, 4, 5), latent(*other)
        t = b.t if b.t.shape[2:] == a.t.shape[2:] else common_upscale(b.t, 5, 4, "bilinear", "center")
        t = repeat_to(t, 2)
        put("LatentAdd", [out("LATENT", a.t + t)], samples1=a, samples2=b)
        put("LatentSubtract", [out("LATENT", a.t - t)], samples1=a, samples2=b)
        u = b.t if b.t.shape[2:] == a.t.shape[2:] else common_upscale(b.t, 5, 4, "bicubic", "center")
        put("LatentBlend", [out("LATENT", a.t * 0.3 + u * (1 - 0.3))], samples1=a, samples2=b, blend_factor=0.3)
    a = latent(2, 4, 3, 3)
    put("LatentMultiply", [out("LATENT", a.t * -1.5)], samples=a, multiplier=-1.5)
    a, b = latent(1, 4, 3, 5), latent(1, 4, 3, 5)
    m1, m2 = torch.linalg.vector_norm(a.t, dim=1), torch.linalg.vector_norm(b.t, dim=1)
    t = torch.nan_to_num(a.t / m1) * 0.7 + torch.nan_to_num(b.t / m2) * (1.0 - 0.7)
    st = torch.nan_to_num(t / torch.linalg.vector_norm(t, dim=1))
    put("LatentInterpolate", [out("LATENT", st * (m1 * 0.7 + m2 * (1.0 - 0.7)))], samples1=a, samples2=b, ratio=0.7)
    a = latent(2, 4, 5, 6)
    n = (torch.linalg.vector_norm(a.t, dim=1) + 1e-10)[:, None]
    unit = a.t / n
    top = (torch.std(n, dim=(1, 2, 3), keepdim=True) * 5 + torch.mean(n, dim=(1, 2, 3), keepdim=True)) * 0.8
    n = n * (1.0 / top)
    put("LatentApplyOperation", [out("LATENT", unit * (n / (n + 1.0) * top))], samples=a,
        operation={"run": "LatentOperationTonemapReinhard", "inputs": {"multiplier": 0.8}})
    a = latent(2, 4, 8, 9)
    n = (torch.linalg.vector_norm(a.t, dim=1) + 1e-6)[:, None]
    k = gauss2d(3, 0.9) * (0.2 * -10)
    k[3, 3] = k[3, 3] - k.sum() + 1.0
    p = F.pad(a.t / n, (3, 3, 3, 3), "reflect")
    put("LatentApplyOperation", [out("LATENT", n * F.conv2d(p, k.repeat(4, 1, 1)[:, None], groups=4))], samples=a,
        operation={"run": "LatentOperationSharpen", "inputs": {"sharpen_radius": 3, "sigma": 0.9, "alpha": 0.2}})


if __name__ == "__main__":
    for part in (scaling, shapes, batches, stitching, compositing, blending, porter_duff, alpha, filters, masks, latents,
                 latent_batches, latent_mixing):
        part()
