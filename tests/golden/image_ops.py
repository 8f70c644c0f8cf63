#!/usr/bin/env python3
"""Makes tests/golden/image_ops.txt: resizing and filters as PyTorch, Pillow and kornia compute them.

usage: tests/golden/image_ops.py > tests/golden/image_ops.txt
Needs torch, numpy, pillow < 13 (13 changed the order of its passes) and kornia 0.7.
Each case is a line `kind args...` and a line of the result's float32 bits in hexadecimal. Inputs come from
ramp(), which tests/unit/image_ops.c has too.
"""
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import kornia
from kornia.color import rgb_to_ycbcr, ycbcr_to_rgb
from kornia.filters import canny
import kornia.morphology as morph


def ramp(n, seed, low=0.0, high=1.0):
    """Numbers in [low, high) from a linear congruential generator."""
    out, x = np.empty(n, np.float32), seed
    for i in range(n):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = np.float32(x >> 8) / np.float32(1 << 24)
    return out * np.float32(high - low) + np.float32(low)


def smooth(n, y, x, c, seed):
    """A picture with structure: noise resized to four times its sides."""
    small = torch.from_numpy(ramp(n * c * y * x, seed).reshape(n, c, y, x))
    return F.interpolate(small, scale_factor=4, mode="bilinear")


def put(head, t):
    print(head)
    print("".join(f"{v:08x}" for v in np.ascontiguousarray(t, np.float32).view(np.uint32).ravel()))


def lanczos(nhwc, y, x):
    out = []
    for im in nhwc.numpy():
        u8 = np.clip(255.0 * im, 0, 255).astype(np.uint8)
        if u8.shape[-1] == 1:
            u8 = u8[..., 0]
        r = np.array(Image.fromarray(u8).resize((x, y), resample=Image.Resampling.LANCZOS))
        out.append(r.reshape(y, x, -1).astype(np.float32) / 255.0)
    return np.stack(out)


def slerp(a, b, r):
    """[N, C] vectors between a and b, after the usual formula with linear lengths."""
    la, lb = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    ua, ub = torch.nan_to_num(a / la), torch.nan_to_num(b / lb)
    dot = (ua * ub).sum(-1, keepdim=True)
    om = torch.acos(dot)
    out = (torch.sin((1 - r) * om) * ua + torch.sin(r * om) * ub) / torch.sin(om) * (la * (1 - r) + lb * r)
    out = torch.where(dot > 1 - 1e-5, a, out)
    return torch.where(dot < 1e-5 - 1, a * (1 - r) + b * r, out)


def bislerp_x(t, x):
    """[N, C, Y, X] along x."""
    n = t.shape[-1]
    def coords(v):
        return F.interpolate(v.reshape(1, 1, 1, -1), size=(1, x), mode="bilinear").ravel()
    first = torch.arange(n, dtype=torch.float32)
    second = first + 1
    second[-1] -= 1
    a = coords(first)
    ia, ib, r = a.long(), coords(second).long(), a - a.floor()
    moved = t.movedim(1, -1)
    return slerp(moved[..., ia, :], moved[..., ib, :], r[:, None]).movedim(-1, 1)


def resizes():
    names = ["nearest-exact", "bilinear", "area", "bicubic"]
    shapes = [(1, 5, 7, 3, 9, 4), (2, 6, 4, 1, 3, 11), (1, 8, 8, 4, 13, 16), (1, 1, 5, 3, 4, 2)]
    for i, (n, y, x, c, ny, nx) in enumerate(shapes):
        t = torch.from_numpy(ramp(n * y * x * c, 7 + i).reshape(n, y, x, c))
        for name in names:
            r = F.interpolate(t.movedim(-1, 1), size=(ny, nx), mode=name).movedim(1, -1)
            put(f"resize {name} 0 {n} {y} {x} {c} {ny} {nx} {7 + i}", r)
        put(f"resize lanczos 0 {n} {y} {x} {c} {ny} {nx} {7 + i}", lanczos(t, ny, nx))
    for i, (n, y, x, c, ny, nx) in enumerate([(1, 12, 9, 3, 5, 4), (1, 9, 12, 4, 4, 5), (1, 6, 6, 4, 9, 9)]):
        t = torch.from_numpy(ramp(n * y * x * c, 20 + i).reshape(n, y, x, c))
        put(f"resize lanczos 0 {n} {y} {x} {c} {ny} {nx} {20 + i}", lanczos(t, ny, nx))
    for i, (n, c, y, x, ny, nx) in enumerate([(1, 4, 6, 5, 9, 8), (2, 3, 8, 8, 5, 12), (1, 4, 4, 4, 8, 8)]):
        t = torch.from_numpy(ramp(n * y * x * c, 40 + i, -2, 2).reshape(n, c, y, x))
        r = bislerp_x(bislerp_x(t, nx).movedim(-1, -2), ny).movedim(-1, -2)
        put(f"resize bislerp 1 {n} {y} {x} {c} {ny} {nx} {40 + i}", r)


def gauss2d(radius, sigma):
    t = torch.linspace(-1, 1, 2 * radius + 1)
    yy, xx = torch.meshgrid(t, t, indexing="ij")
    g = torch.exp(-(xx * xx + yy * yy) / (2.0 * sigma * sigma))
    return g / g.sum()


def filters():
    for i, (n, y, x, c, r, s) in enumerate([(1, 9, 12, 3, 1, 1.0), (2, 12, 8, 4, 5, 0.3), (1, 16, 16, 3, 7, 3.0)]):
        t = torch.from_numpy(ramp(n * y * x * c, 60 + i).reshape(n, y, x, c)).movedim(-1, 1)
        padded = F.pad(t, (r, r, r, r), "reflect")
        k = gauss2d(r, s)
        blur = F.conv2d(padded, k.repeat(c, 1, 1).unsqueeze(1), groups=c)
        put(f"blur {n} {y} {x} {c} {r} {s} 0 {60 + i}", blur.movedim(1, -1))
        alpha = 0.7
        k = k * -(alpha * 10)
        k[r, r] = k[r, r] - k.sum() + 1.0
        sharp = F.conv2d(padded, k.repeat(c, 1, 1).unsqueeze(1), groups=c)
        put(f"sharpen {n} {y} {x} {c} {r} {s} {alpha} {60 + i}", sharp.movedim(1, -1))
    ops = [morph.erosion, morph.dilation, morph.opening, morph.closing, morph.gradient, morph.bottom_hat, morph.top_hat]
    for side in (3, 4, 9):
        t = torch.from_numpy(ramp(2 * 7 * 6 * 3, 80).reshape(2, 7, 6, 3))
        for kind, op in enumerate(ops):
            r = op(t.movedim(-1, 1), torch.ones(side, side)).movedim(1, -1)
            put(f"morphology 2 7 6 3 {side} {kind} 80", r)
    t = torch.from_numpy(ramp(3 * 5 * 3, 90, -0.2, 1.2).reshape(1, 3, 5, 3))
    put("ycbcr 15 90", rgb_to_ycbcr(t.movedim(-1, 1)).movedim(1, -1))
    put("rgb 15 90", ycbcr_to_rgb(t.movedim(-1, 1)).movedim(1, -1))
    for i, (y, x, c, low, high) in enumerate([(9, 8, 3, 0.3, 0.6), (7, 10, 3, 0.1, 0.2), (8, 8, 1, 0.4, 0.8)]):
        t = smooth(1, y, x, c, 100 + i)
        edges = canny(t, low, high)[1]
        assert 0.02 < edges.mean() < 0.9
        put(f"canny {4 * y} {4 * x} {c} {low} {high} {100 + i}", edges[:, 0])


if __name__ == "__main__":
    resizes()
    filters()
