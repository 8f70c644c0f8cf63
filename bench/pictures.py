#!/usr/bin/env python3
"""Measures picture networks of Stable Diffusion 1.5's dimensions beside PyTorch and OpenVINO.

usage: bench/pictures.py [--write] [--threads N] [--rounds N] [unet|vae ...]
  --write: also puts the table into bench/PICTURES.md
One UNet evaluation (latent 64x64, one picture, 77 tokens) and one VAE decode to 512x512, random weights.
Peers come from PyPI into a virtual environment below $HOB_CACHE/peers (default ~/.cache/hob/peers), outside
the tree; the first run installs them and converts the networks for OpenVINO (several minutes, 11 GB). Every
round runs each program once, one after the other, on the same cores; figures are the least of the rounds.
Stop other work first: what counts is the ratio.
"""
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("HOB_CACHE")
             or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hob")
VENV = CACHE / "peers" / "pictures"
PYTHON = VENV / "bin" / "python"


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


THREADS = option("--threads", min(2, os.cpu_count() or 1))
ROUNDS = option("--rounds", 3)
REPEATS = 3


# --- inside a peer's process -----------------------------------------------------------------------

def torch_network(network):
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    class Unet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)

        def forward(self, x, t, context):
            return self.net(x, t, context, return_dict=False)[0]

    class Vae(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2,
                                     down_block_types=("DownEncoderBlock2D",) * 4,
                                     up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4)
            self.net.encoder = None

        def forward(self, x):
            return self.net.decode(x, return_dict=False)[0]

    torch.manual_seed(1)
    x = torch.randn(1, 4, 64, 64)
    if network == "unet":
        return Unet().eval(), (x, torch.tensor([500.0]), torch.randn(1, 77, 768))
    return Vae().eval(), (x,)


def best_of(call):
    wall, cpu = [], []
    for _ in range(REPEATS + 1):
        c, w = time.process_time(), time.monotonic()
        call()
        wall.append(time.monotonic() - w)
        cpu.append(time.process_time() - c)
    return min(wall[1:]), min(cpu[1:])


def peer_torch(network, precision):
    import torch
    torch.set_num_threads(THREADS)
    model, inputs = torch_network(network)
    if precision == "bf16":
        model = model.to(torch.bfloat16)
        inputs = tuple(i.to(torch.bfloat16) for i in inputs)
    with torch.inference_mode():
        return best_of(lambda: model(*inputs))


def peer_openvino(network, precision):
    import openvino as ov
    core = ov.Core()
    path = VENV / f"{network}.xml"
    if not path.exists():
        import torch
        model, inputs = torch_network(network)
        with torch.inference_mode():
            ov.save_model(ov.convert_model(model, example_input=inputs,
                                           input=[list(i.shape) for i in inputs]), path,
                          compress_to_fp16=False)
        return None
    compiled = core.compile_model(path, "CPU", {
        "INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"})
    import numpy as np
    rng = np.random.default_rng(1)
    inputs = [rng.standard_normal(i.shape).astype(np.float32) for i in
              (p.get_partial_shape().to_shape() and np.empty(p.get_partial_shape().to_shape())
               for p in compiled.inputs)]
    request = compiled.create_infer_request()
    return best_of(lambda: request.infer(inputs))


def peer(name, network, precision):
    import resource
    result = {"torch": peer_torch, "openvino": peer_openvino}[name](network, precision)
    if result:
        print(json.dumps({"seconds": result[0], "cpu_seconds": result[1],
                          "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))


# --- the comparison --------------------------------------------------------------------------------

def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def prepare():
    if not PYTHON.exists():
        say("installing the peers (once)")
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip = [PYTHON, "-m", "pip", "install", "-q"]
        # PyPI's torch does not load without the 3 GB of CUDA it depends on, though nothing here uses them.
        subprocess.run(pip + ["torch", "openvino", "diffusers", "transformers", "numpy"], check=True)


def measure(program, network, precision):
    if program == "hob":
        command = [ROOT / "build/bench/pictures", network, str(THREADS), "1", str(REPEATS), precision]
    else:
        command = [PYTHON, __file__, "--peer", program, network, precision, "--threads", str(THREADS)]
    out = subprocess.run([str(c) for c in command], check=True, text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, env=dict(os.environ, OMP_NUM_THREADS=str(THREADS)))
    return json.loads(out.stdout) if out.stdout.strip() else None


def has_bf16():
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def cpu_name():
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        return f"{names[0].split(':', 1)[1].strip()}, {len(names)} cores"
    except (OSError, IndexError):
        return "an unnamed CPU"


def about():
    return (f"{datetime.date.today()}, {cpu_name()}, {THREADS} threads, the least of {REPEATS} runs in each of {ROUNDS} "
            f"round{'s' if ROUNDS > 1 else ''}. A convolution counts as if done directly, so Winograd's can pass 1, "
            "and products of bfloat16 pairs are twice as fast as those of f32. hob's weights are f16, or bfloat16 "
            "packed once; PyTorch holds f32 for a moment before it converts to bf16.")


def table(networks):
    lines = ["| network | precision | program | s | processor s | against torch | peak memory, MB |",
             "|---|---|---|---|---|---|---|"]
    shares = []
    for network in networks:
        for precision in ["f32", "bf16"] if has_bf16() else ["f32"]:
            best = {}
            for _ in range(ROUNDS):
                for program in ["hob", "openvino", "torch"]:
                    say(f"{network} {precision} {program}")
                    r = measure(program, network, precision)
                    if r and (program not in best or r["seconds"] < best[program]["seconds"]):
                        best[program] = r
            for program, r in best.items():
                lines.append(f"| {network} | {precision} | {program} | {r['seconds']:.2f} | {r['cpu_seconds']:.2f}"
                             f" | {best['torch']['seconds'] / r['seconds']:.2f} | {r['max_rss_mb']:.0f} |")
            hob = best["hob"]
            shares.append(f"\n{network} in {precision}: {hob['gflop']:.0f} GFLOP; one core's f32 peak is "
                          f"{hob['peak_gflops_per_core']:.0f} GFLOP/s.\n")
            shares.append("| operation | ms, all threads | share of the time | GFLOP | share of f32 peak |\n"
                          "|---|---|---|---|---|")
            spent = sum(v["ms"] for v in hob["operations"].values())
            shares += [f"| {k} | {v['ms']:.0f} | {v['ms'] / spent:.2f} | {v['gflop']:.1f} | {v['of_peak']:.2f} |"
                       for k, v in hob["operations"].items() if v["ms"] >= 1]
    return "\n".join(lines + shares)


def main():
    if "--peer" in sys.argv:
        at = sys.argv.index("--peer")
        peer(*sys.argv[at + 1:at + 4])
        return
    prepare()
    networks = [a for a in sys.argv[1:] if a in ("unet", "vae")] or ["unet", "vae"]
    for network in networks:
        if not (VENV / f"{network}.xml").exists():
            say(f"converting {network} for OpenVINO (once)")
            measure("openvino", network, "f32")
    text = table(networks)
    print(text)
    if "--write" in sys.argv:
        day = datetime.date.today().isoformat()
        path = ROOT / "bench/PICTURES.md"
        head, _, tail = path.read_text().partition("<!-- table -->\n")
        path.write_text(f"{head}<!-- table -->\n{about()}\n\n{text}\n<!-- end -->{tail.split('<!-- end -->')[-1]}")


if __name__ == "__main__":
    main()
