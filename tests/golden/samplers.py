"""Values for tests/unit/samplers_values.c: every sampler on a small denoiser, in float64.

Needs numpy, scipy, torch, torchsde and k-diffusion (whose own samplers are used where it has them).
The rest is written from the papers' and the reference's formulas, in their direct form: weights by
numeric quadrature where the C code uses closed forms. Run: python samplers.py > samplers.h
"""
import importlib.util, os, sys, types, warnings
import numpy as np
import torch
from scipy.integrate import quad

warnings.simplefilter("ignore")
N, SEED = 20, 11
GAMMA = np.linspace(0.3, 1.2, N)
START = np.sin(np.arange(N) * 1.7 + 0.5)
PICK = [0, 1, 7, 13, 19]
EPS = [14.6, 7.1, 3.2, 1.4, 0.6, 0.2, 0.0]
EPS_OPEN = EPS[:-1] + [0.05]
FLOW = [1.0, 0.93, 0.8, 0.6, 0.35, 0.12, 0.0]
log, exp, sqrt, expm1 = np.log, np.exp, np.sqrt, np.expm1


def model(x, s, mean=0.4):
    v = GAMMA**2
    return (mean * s**2 + v * x) / (v + s**2) + 0.05 * np.tanh(x / (1 + s))


def uncond(x, s):
    return model(x, s, -0.3)


class Noise:
    def __init__(self):
        self.g = torch.Generator().manual_seed(SEED)

    def __call__(self, a=0, b=0):
        return torch.randn(1, N, generator=self.g).double().numpy()[0]


def load_k_diffusion():
    base = os.path.join(os.path.dirname(importlib.util.find_spec("torchsde").origin), "..", "k_diffusion")
    pkg = types.ModuleType("k_diffusion"); pkg.__path__ = [base]; sys.modules["k_diffusion"] = pkg
    pkg.utils = types.ModuleType("k_diffusion.utils"); sys.modules["k_diffusion.utils"] = pkg.utils
    pkg.utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", os.path.join(base, "sampling.py"))
    mod = importlib.util.module_from_spec(spec); sys.modules["k_diffusion.sampling"] = mod
    spec.loader.exec_module(mod)
    return mod


class Brownian:
    """Float32 tree by torchsde, at float32 times."""
    def __init__(self, sig):
        import torchsde
        pos = [np.float32(s) for s in sig if s > 0]
        self.t = torchsde.BrownianTree(t0=float(min(pos)), w0=torch.zeros(1, N), t1=float(max(pos)), entropy=SEED)

    def __call__(self, a, b):
        a, b = float(np.float32(a)), float(np.float32(b))
        w = self.t(min(a, b), max(a, b)).double().numpy()[0]
        return w * (1 if b > a else -1) / sqrt(abs(b - a))


class P:
    """The schedule with its lambda and alpha."""
    def __init__(self, sig, flow):
        self.s = np.array([np.float32(v) for v in sig], dtype=np.float64)
        self.flow = flow
        self.n = len(sig) - 1
        self.x = START * (self.s[0] if not flow else 1.0)
        self.brown = Brownian(sig) if not flow or True else None

    def pct(self, p):
        if self.flow: return 1 - p
        b = np.linspace(sqrt(.00085), sqrt(.012), 1000) ** 2
        ab = np.cumprod(1 - b); t = np.log(sqrt((1 - ab) / ab).astype(np.float32))
        return float(exp(np.interp((1 - p) * 999, np.arange(1000), t)))

    def offset(self):
        if self.flow and self.s[0] >= 1: self.s[0] = 1 - 1e-4

    def lam(self, s): return log((1 - s) / s) if self.flow else -log(s)
    def al(self, s): return 1 - s if self.flow else 1.0
    def unlam(self, l): return 1 / (1 + exp(l)) if self.flow else exp(-l)


def anc(s, t, eta=1.0):
    up = min(t, eta * sqrt(t**2 * (s**2 - t**2) / s**2))
    return sqrt(t**2 - up**2), up


def steps(p): return [(i, p.s[i], p.s[i + 1]) for i in range(p.n)]


def euler_cfg_pp(p, eta):
    x, N_ = p.x, Noise()
    for i, s, t in steps(p):
        D, U = model(x, s), uncond(x, s)
        if t == 0: return D
        down, up = anc(s, t, eta)
        x = D + down * (x - U) / s
        if eta: x = x + up * N_()
    return x


def heunpp2(p):
    x, s0 = p.x, p.s[0]
    for i, s, t in steps(p):
        d = (x - model(x, s)) / s
        if i == p.n - 1: x = x + d * (t - s); continue
        x2 = x + d * (t - s); d2 = (x2 - model(x2, t)) / t
        if i == p.n - 2:
            w2 = t / (2 * s0); x = x + (t - s) * ((1 - w2) * d + w2 * d2)
        else:
            u = p.s[i + 2]; x3 = x2 + d2 * (u - t); d3 = (x3 - model(x3, u)) / u
            w2, w3 = t / (3 * s0), u / (3 * s0)
            x = x + (t - s) * ((1 - w2 - w3) * d + w2 * d2 + w3 * d3)
    return x


def dpmpp_2s_cfg_pp(p):
    x, N_ = p.x, Noise()
    for i, s, t in steps(p):
        D, U = model(x, s), uncond(x, s)
        down, up = anc(s, t)
        if down == 0: return D
        mid = sqrt(s * down)
        x2 = mid / s * (x + D - U) + (1 - mid / s) * D
        D2, U2 = model(x2, mid), uncond(x2, mid)
        x = down / s * (x + D - U2) + (1 - down / s) * D2 + up * N_()
    return x


def dpmpp_2m_cfg_pp(p):
    x, old = p.x, None
    for i, s, t in steps(p):
        D, U = model(x, s), uncond(x, s)
        if t == 0: return D
        h = log(s / t); mix = -exp(-h) * U
        if old is not None: mix = mix - expm1(-h) / (2 * (log(p.s[i - 1] / s) / h)) * (D - old)
        x = D + mix + exp(-h) * x; old = U
    return x


def ddpm(p):
    x, N_ = p.x, Noise()
    for i, s, t in steps(p):
        e = (x - model(x, s)) / s; ab, abn = 1 / (s**2 + 1), 1 / (t**2 + 1); a = ab / abn
        mu = sqrt(1 / a) * (x / sqrt(1 + s**2) - (1 - a) * e / sqrt(1 - ab))
        if t > 0: mu = mu + sqrt((1 - a) * (1 - abn) / (1 - ab)) * N_()
        x = mu * sqrt(1 + t**2)
    return x


def lcm(p):
    x, N_ = p.x, Noise()
    for i, s, t in steps(p):
        x = model(x, s)
        if t > 0: x = (t * N_() + (1 - t) * x) if p.flow else x + t * N_()
    return x


def multistep(p, weights):
    x, hist = p.x, []
    for i, s, t in steps(p):
        D = model(x, s)
        if t == 0: return D
        hist = [(x - D) / s] + hist[:3]
        x = x + sum(w * d for w, d in zip(weights(p, i), hist))
    return x


def lagrange(at, j): return lambda u: np.prod([(u - at[k]) / (at[j] - at[k]) for k in range(len(at)) if k != j])


def w_lms(p, i):
    at = [p.s[i - k] for k in range(min(i + 1, 4))]
    return [quad(lagrange(at, j), p.s[i], p.s[i + 1], epsrel=1e-10)[0] for j in range(len(at))]


def w_ipndm(p, i):
    t = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]][min(i, 3)]
    return [(p.s[i + 1] - p.s[i]) * v for v in t]


def w_ipndm_v(p, i):
    o = min(i + 1, 4); h = p.s[i + 1] - p.s[i]
    hs = [p.s[i - k] - p.s[i - k - 1] for k in range(o - 1)]
    w = np.zeros(4); w[0] = 1
    if o > 1: r = h / hs[0]; w[:2] += np.array([r / 2, -r / 2])
    if o > 2:
        a = 0.5 - h**2 / (6 * hs[0] * (hs[0] + hs[1])); c = hs[0] / hs[1]
        w[:3] += a * np.array([1, -1 - c, c])
    if o > 3:
        h1, h2, h3 = hs
        b = (1 - h / (3 * (h + h1))) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))
        b *= h * (h + h1) * (h + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3))
        q = h1 * (h1 + h2) / (h2 * (h2 + h3)); c = h1 / h2
        w += b * np.array([1, -1 - c - q, c + q * (1 + h2 / h3), -q * c])
    return list(h * w[:o])


def w_deis(p, i):
    lo, hi, e = log(.002**2 + 1), log(80.**2 + 1), 1e-3
    bd = 2 * (lo / e - hi) / (e - 1); bm = hi - bd / 2
    tau = lambda s: (sqrt(bm**2 + 2 * bd * log(s**2 + 1)) - bm) / bd
    o = min(i + 1, 3)
    if o == 1: return [p.s[i + 1] - p.s[i]]
    at = [tau(p.s[i - k]) for k in range(o)]; T = np.linspace(at[0], tau(p.s[i + 1]), 10000)
    la = -0.5 * T**2 * bd - T * bm
    f = -0.5 * (-T * bd - bm) / sqrt(exp(la) * (1 - exp(la)))
    dt = (T[-1] - T[0]) / 10000
    return [sum(f * np.array([lagrange(at, j)(u) for u in T])) * dt for j in range(o)]


def res(p, eta, pp):
    x, N_, old, old_down = p.x, Noise(), None, None
    for i, s, t in steps(p):
        D = model(x, s); U = uncond(x, s) if pp else D
        down, up = anc(s, t, eta)
        if down == 0: x = D
        elif old is None: x = D + down * (x - U) / s
        else:
            h = log(s / down); c2 = (-log(p.s[i - 1]) + log(old_down)) / h
            f1 = lambda z: expm1(z) / z
            f2 = lambda z: (f1(z) - 1) / z
            b2 = f2(-h) / c2; b1 = f1(-h) - b2
            if pp: x = x + D - U
            x = exp(-h) * x + h * (b1 * U + b2 * old)
        if eta and t > 0: x = x + up * N_()
        old, old_down = U, down
    return x


def gradient(p, pp):
    x, old = p.x, None
    for i, s, t in steps(p):
        D = model(x, s)
        if t == 0: return D
        d = (x - (uncond(x, s) if pp else D)) / s
        x = D + d * t
        if old is not None: x = x + (d - old) * (t - s)
        old = d
    return x


def er_sde(p):
    p.offset(); x, N_, Dold, dold = p.x, Noise(), None, None
    f = lambda z: z * (exp(z**.3) + 10)
    L = [s / p.al(s) for s in p.s]
    for i, s, t in steps(p):
        D = model(x, s)
        if t == 0: return D
        a, b, r = L[i], L[i + 1], f(L[i + 1]) / f(L[i])
        x = p.al(t) / p.al(s) * r * x + p.al(t) * (1 - r) * D
        if i >= 1:
            pos = b + np.arange(200) * (a - b) / 200
            d = (D - Dold) / (a - L[i - 1])
            x = x + p.al(t) * (b - a + sum(1 / f(pos)) * (a - b) / 200 * f(b)) * d
            if i >= 2:
                u = (d - dold) / ((a - L[i - 2]) / 2)
                x = x + p.al(t) * ((b - a)**2 / 2 + sum((pos - a) / f(pos)) * (a - b) / 200 * f(b)) * u
            dold = d
        x = x + p.al(t) * N_() * sqrt(max(b**2 - a**2 * r**2, 0)); Dold = D
    return x


def seeds(p, nodes, eta, phi2form):
    """Exponential Runge-Kutta with the given inner nodes and noise carried from node to node."""
    p.offset(); x, N_ = p.x, Noise()
    f2 = lambda z: (expm1(z) - z) / z
    for i, s, t in steps(p):
        D = model(x, s)
        if t == 0: return D
        ls = p.lam(s); h = p.lam(t) - ls; H = h * (1 + eta)
        w, last, at, ev = 0, 0., s, [D]
        for k, c in enumerate(list(nodes) + [1.0]):
            final = k == len(nodes)
            to = t if c == 1.0 else p.unlam(ls + c * h)
            if final:
                if phi2form: b = f2(-H) / nodes[-1]; tot = (expm1(-H) - b) * D + b * ev[-1]
                else: tot = expm1(-H) * (D + (ev[-1] - D) / (2 * nodes[0]))
            elif k == 0: tot = expm1(-c * H) * D
            else: b = c / nodes[0] * f2(-c * H); tot = (expm1(-c * H) - b) * D + b * ev[-1]
            if eta: w = w * exp((last - c) * h * eta) + sqrt(-expm1(2 * (last - c) * h * eta)) * N_()
            y = to / s * exp(-c * h * eta) * x - p.al(to) * tot + to * w
            last, at = c, to
            if not final: ev.append(model(y, to))
        x = y
    return x


def sa_solver(p, pece):
    p.offset(); N_ = Noise(); n = p.n; lam = [p.lam(s) if s > 0 else np.inf for s in p.s]
    start, end = p.pct(.2), p.pct(.8)
    xp, x, hist, tau, nz, h = p.x, p.x, [], 0, 0, 0

    def coeffs(order, i, a, b, tau):
        at = [lam[i - j] for j in range(order)]; M = 1 + tau**2
        return [quad(lambda l: M * exp(-M * (b - l)) * lagrange(at, j)(l), a, b, epsrel=1e-11)[0] for j in range(order)]

    for i, s, t in steps(p):
        hist = [model(xp, s)] + hist[:3]
        po = min(3, i + 1); co = 0 if i == 0 or (t == 0 and not pece) else min(4, i + 1)
        if p.s[-1] == 0: po = min(po, n - 1 - i); co = min(co, n - i)
        if co == 0: x = xp
        else:
            c = coeffs(co, i, lam[i - 1], lam[i], tau)
            x = s / p.s[i - 1] * exp(-tau**2 * h) * x + p.al(s) * sum(a * d for a, d in zip(c, hist)) + nz
            if pece: hist[0] = model(x, s)
        if t == 0: return hist[0]
        tau = 1 if end <= t <= start else 0; h = lam[i + 1] - lam[i]
        c = coeffs(po, i, lam[i], lam[i + 1], tau)
        xp = t / s * exp(-tau**2 * h) * x + p.al(t) * sum(a * d for a, d in zip(c, hist))
        nz = N_() * t * sqrt(-expm1(-2 * h)) if tau else 0
        xp = xp + nz
    return x


def uni_pc(p, kind):
    sg = p.s.copy(); sg[-1] = sg[-1] or .001; n = p.n
    al = lambda s: 1 / sqrt(s**2 + 1)
    std = lambda s: s * al(s)
    f = lambda v, s: model(v / al(s), s)
    x = p.x * al(sg[0]); ms, ts = [f(x, sg[0])], [sg[0]]; omax = min(3, n - 1)
    for i in range(1, n + 1):
        o = min(omax, i, n + 1 - i); s, t = ts[-1], sg[i]; h = log(s / t); hh = -h
        B = hh if kind == 1 else expm1(hh)
        rk = [log(s / ts[-1 - k]) / h for k in range(1, o)]; Ds = [(ms[-1 - k] - ms[-1]) / rk[k - 1] for k in range(1, o)]
        rs = np.array(rk + [1.]); phi, fac, b = expm1(hh) / hh - 1, 1, []
        for k in range(1, o + 1):
            b.append(phi * fac / B); fac *= k + 1; phi = phi / hh - 1 / fac
        R = np.array([rs**k for k in range(o)]); b = np.array(b)
        base = std(t) / std(s) * x - al(t) * expm1(hh) * ms[-1]
        rp = [.5] if o == 2 else ([] if o == 1 else np.linalg.solve(R[:-1, :-1], b[:-1]))
        pred = base - al(t) * B * sum((r * d for r, d in zip(rp, Ds)), 0 * x)
        if i == n: x = pred; break
        m = f(pred, t); rc = [.5] if o == 1 else np.linalg.solve(R, b)
        x = base - al(t) * B * (sum((r * d for r, d in zip(rc, Ds)), 0 * x) + rc[-1] * (m - ms[-1]))
        ms.append(m); ts.append(t)
    return x / al(sg[-1])


def flow_ancestral(p, kind):
    x, N_ = p.x, Noise()
    for i, s, t in steps(p):
        D = model(x, s)
        if t == 0: return D
        down = t * (1 + (t / s - 1)); ren = sqrt(t**2 - down**2 * (1 - t)**2 / (1 - down)**2)
        if kind == "euler": x = down / s * x + (1 - down / s) * D
        elif kind == "dpm_2":
            mid = sqrt(s * down); d = (x - D) / s; x2 = x + d * (mid - s)
            x = x + (x2 - model(x2, mid)) / mid * (down - s)
        else:
            mid = .9999 if s == 1 else p.unlam((p.lam(s) + p.lam(down)) / 2)
            x2 = mid / s * x + (1 - mid / s) * D; x = down / s * x + (1 - down / s) * model(x2, mid)
        x = (1 - t) / (1 - down) * x + ren * N_()
    return x


def sde_2m(p, heun=False, third=False):
    br = p.brown; p.offset(); x, h1, h2, D1, D2 = p.x, 0, 0, None, None
    for i, s, t in steps(p):
        D = model(x, s)
        if t == 0: return D
        h = p.lam(t) - p.lam(s); H = 2 * h
        y = t / s * exp(-h) * x + p.al(t) * (1 - exp(-H)) * D
        if third and i > 1:
            r0, r1 = h1 / h, h2 / h; a, b = (D - D1) / r0, (D1 - D2) / r1
            e1, e2 = a + (a - b) * r0 / (r0 + r1), (a - b) / (r0 + r1)
            f2 = expm1(-H) / H + 1; y = y + p.al(t) * (f2 * e1 - (f2 / H - .5) * e2)
        elif i > 0:
            c = expm1(-H) / H + 1 if third else ((1 - exp(-H)) / -H + 1 if heun else .5 * (1 - exp(-H)))
            y = y + p.al(t) * c * (D - D1) / (h1 / h)
        x = y + br(s, t) * t * sqrt(1 - exp(-2 * h)); D2, D1, h2, h1 = D1, D, h1, h
    return x


def sde_single(p):
    br = p.brown; p.offset(); x = p.x
    for i, s, t in steps(p):
        D = model(x, s)
        if t == 0: return D
        mid = p.unlam((p.lam(s) + p.lam(t)) / 2)
        def go(to, est):
            d, u = anc(exp(-p.lam(s)), exp(-p.lam(to))); k = d / exp(-p.lam(s))
            return p.al(to) / p.al(s) * k * x + p.al(to) * (1 - k) * est + p.al(to) * br(s, to) * u
        x = go(t, model(go(mid, D), mid))
    return x


def common(sig, flow):
    p = lambda: P(sig, flow)
    rows = {
        "lcm": lambda: lcm(p()), "er_sde": lambda: er_sde(p()), "seeds_2": lambda: seeds(p(), [.5], 1, False),
        "seeds_3": lambda: seeds(p(), [1 / 3, 2 / 3], 1, True), "exp_heun_2_x0": lambda: seeds(p(), [1.0], 0, True),
        "sa_solver": lambda: sa_solver(p(), False), "sa_solver_pece": lambda: sa_solver(p(), True),
        "dpmpp_2m_sde": lambda: sde_2m(p()), "dpmpp_2m_sde_heun": lambda: sde_2m(p(), heun=True),
        "dpmpp_3m_sde": lambda: sde_2m(p(), third=True), "dpmpp_sde": lambda: sde_single(p()),
        "lms": lambda: multistep(p(), w_lms), "ipndm": lambda: multistep(p(), w_ipndm),
        "ipndm_v": lambda: multistep(p(), w_ipndm_v), "deis": lambda: multistep(p(), w_deis),
        "heunpp2": lambda: heunpp2(p()), "gradient_estimation": lambda: gradient(p(), False),
        "gradient_estimation_cfg_pp": lambda: gradient(p(), True),
    }
    if flow:
        for k, v in (("euler_ancestral", "euler"), ("dpm_2_ancestral", "dpm_2"), ("dpmpp_2s_ancestral", "2s")):
            rows[k] = lambda v=v: flow_ancestral(p(), v)
    return rows


def eps_rows(sig):
    p = lambda: P(sig, False)
    return {
        "euler_cfg_pp": lambda: euler_cfg_pp(p(), 0), "euler_ancestral_cfg_pp": lambda: euler_cfg_pp(p(), 1),
        "dpmpp_2s_ancestral_cfg_pp": lambda: dpmpp_2s_cfg_pp(p()), "dpmpp_2m_cfg_pp": lambda: dpmpp_2m_cfg_pp(p()),
        "ddpm": lambda: ddpm(p()), "res_multistep": lambda: res(p(), 0, False),
        "res_multistep_cfg_pp": lambda: res(p(), 0, True), "res_multistep_ancestral": lambda: res(p(), 1, False),
        "res_multistep_ancestral_cfg_pp": lambda: res(p(), 1, True), "uni_pc": lambda: uni_pc(p(), 1),
        "uni_pc_bh2": lambda: uni_pc(p(), 2),
    }


def peer_rows():
    S = load_k_diffusion(); sig = torch.tensor(EPS); x = torch.tensor(START).float().view(1, N) * sig[0]
    net = lambda v, s, **k: torch.tensor(model(v.double().numpy(), s.double().view(-1, 1).numpy())).float()
    def ns():
        n = Noise()
        return lambda a, b: torch.tensor(n()).float().view(1, N)
    br = lambda: S.BrownianTreeNoiseSampler(x, sig[sig > 0].min(), sig.max(), seed=SEED)
    k = dict(disable=True); lo, hi = sig[-2].item(), sig[0].item()
    return {
        "euler": lambda: S.sample_euler(net, x, sig, **k), "heun": lambda: S.sample_heun(net, x, sig, **k),
        "euler_ancestral": lambda: S.sample_euler_ancestral(net, x, sig, noise_sampler=ns(), **k),
        "dpm_2": lambda: S.sample_dpm_2(net, x, sig, **k),
        "dpm_2_ancestral": lambda: S.sample_dpm_2_ancestral(net, x, sig, noise_sampler=ns(), **k),
        "dpm_fast": lambda: S.sample_dpm_fast(net, x, lo, hi, 6, **k),
        "dpm_adaptive": lambda: S.sample_dpm_adaptive(net, x, lo, hi, **k),
        "dpmpp_2s_ancestral": lambda: S.sample_dpmpp_2s_ancestral(net, x, sig, noise_sampler=ns(), **k),
        "dpmpp_2m": lambda: S.sample_dpmpp_2m(net, x, sig, **k),
        "dpmpp_sde": lambda: S.sample_dpmpp_sde(net, x, sig, noise_sampler=br(), **k),
        "dpmpp_2m_sde": lambda: S.sample_dpmpp_2m_sde(net, x, sig, noise_sampler=br(), **k),
        "dpmpp_2m_sde_heun": lambda: S.sample_dpmpp_2m_sde(net, x, sig, noise_sampler=br(), solver_type="heun", **k),
        "dpmpp_3m_sde": lambda: S.sample_dpmpp_3m_sde(net, x, sig, noise_sampler=br(), **k),
    }


def show(name, kind, rows):
    print("static const samplers_row %s[] = {" % name)
    for key, f in rows.items():
        v = np.array(f()).reshape(-1)[PICK]
        print('    {"%s",\n     {%s}},' % (key, ", ".join("%.6f" % a for a in v)))
    print("};")


if __name__ == "__main__":
    print("/* Made by samplers.py: elements 0, 1, 7, 13 and 19 of 20 after sampling. */")
    print("typedef struct samplers_row {\n    const char *name;\n    double want[5];\n} samplers_row;")
    show("rows_peer", 0, peer_rows())
    show("rows_eps", 0, {**common(EPS, False), **eps_rows(EPS)})
    show("rows_open", 0, {**common(EPS_OPEN, False), **eps_rows(EPS_OPEN)})
    show("rows_flow", 1, common(FLOW, True))
