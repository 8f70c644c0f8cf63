#!/usr/bin/env python3
"""Makes tests/golden/schedule_nodes.jsonl: schedules from numbers alone, in float64 numpy.

usage: tests/golden/schedule_nodes.py > tests/golden/schedule_nodes.jsonl
Each line: {"class", "inputs", "outputs"}; a list at an input named sigmas and every output is a schedule.
"""
import json
import math

import numpy as np

ORDER = ["14.614641", "5.5", "2.0", "0.7", "0.1", "0"]
SIGMAS = [float(v) for v in ORDER]
AYS = {"SD1": [14.615, 6.475, 3.864, 2.695, 1.884, 1.394, .964, .652, .398, .152, .029],
       "SDXL": [14.615, 6.318, 3.768, 2.181, 1.341, .862, .555, .380, .233, .111, .029]}


def put(name, *outputs, **inputs):
    print(json.dumps({"class": name, "inputs": inputs, "outputs": [[float(v) for v in o] for o in outputs]}))


lo, hi, n = 0.03, 14.6, 7
ramp = np.linspace(0, 1, n)
for rho in (7.0, 3.0):
    v = (hi ** (1 / rho) + ramp * (lo ** (1 / rho) - hi ** (1 / rho))) ** rho
    put("KarrasScheduler", [*v, 0], steps=n, sigma_max=hi, sigma_min=lo, rho=rho)
put("ExponentialScheduler", [*np.exp(np.linspace(math.log(hi), math.log(lo), n)), 0], steps=n, sigma_max=hi, sigma_min=lo)
for rho in (1.0, 2.5):
    v = np.exp(np.linspace(1, 0, n) ** rho * (math.log(hi) - math.log(lo)) + math.log(lo))
    put("PolyexponentialScheduler", [*v, 0], steps=n, sigma_max=hi, sigma_min=lo, rho=rho)
x = np.linspace(0, 1, n)
v = np.exp(0.2 - 0.5 * np.sign(0.5 - x) * np.log(1 - 2 * np.abs(0.5 - x) + 1e-5)).clip(lo, hi)
put("LaplaceScheduler", list(v), steps=n, sigma_max=hi, sigma_min=lo, mu=0.2, beta=0.5)
t = np.linspace(1, 0.001, n)
put("VPScheduler", [*np.sqrt(np.exp(19.9 * t ** 2 / 2 + 0.1 * t) - 1), 0], steps=n, beta_d=19.9, beta_min=0.1, eps_s=0.001)
for model, steps, denoise in (("SD1", 10, 1.0), ("SDXL", 10, 0.5), ("SD1", 15, 1.0), ("SDXL", 4, 0.6), ("SD1", 10, 0.0)):
    table = AYS[model]
    if steps != 10:
        table = np.exp(np.interp(np.linspace(0, 1, steps + 1), np.linspace(0, 1, 11), np.log(table)))
    keep = round(steps * denoise) if denoise < 1 else steps
    out = [*table[steps - keep:steps], 0] if denoise > 0 else []
    put("AlignYourStepsScheduler", out, model_type=model, steps=steps, denoise=denoise)
for step in (0, 2, 5, 99):
    put("SplitSigmas", SIGMAS[:step + 1], SIGMAS[step:], sigmas=SIGMAS, step=step)
for denoise in (1.0, 0.5, 0.3, 0.0):
    low = round((len(SIGMAS) - 1) * denoise)
    put("SplitSigmasDenoise", SIGMAS[:-low] if low else [], SIGMAS[-(low + 1):], sigmas=SIGMAS, denoise=denoise)
put("FlipSigmas", [0.0001, *SIGMAS[::-1][1:]], sigmas=SIGMAS)
put("FlipSigmas", [], sigmas=[])
put("SetFirstSigma", [136.0, *SIGMAS[1:]], sigmas=SIGMAS, sigma=136.0)
shape = {"linear": lambda x: x, "cosine": lambda x: math.sin(x * math.pi / 2), "sine": lambda x: 1 - math.cos(x * math.pi / 2)}
for spacing, start, end in (("linear", -1.0, 0.5), ("cosine", 6.0, 0.05), ("sine", -1.0, 12.0)):
    out = []
    for a, b in zip(SIGMAS, SIGMAS[1:]):
        out.append(a)
        if end <= a <= (start if start >= 0 else math.inf):
            out += [shape[spacing](k / 3) * (b - a) + a for k in (1, 2)]
    put("ExtendIntermediateSigmas", [*out, SIGMAS[-1]], sigmas=SIGMAS, steps=3, start_at_sigma=start, end_at_sigma=end,
        spacing=spacing)
