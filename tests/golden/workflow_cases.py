"""Workflows whose pictures ComfyUI drew (workflow_pictures.jsonl), and the files that they need.

CASES: {name: graph in API form}, all over the demo checkpoint. write_files(models) makes an adapter and an
embedding below a models directory; PICTURE is to be uploaded as "workflow.png" (128x120, with a hole in alpha).
"""
import json
import math
import struct
import zlib

NAME = "workflow"


def png(width, height, pixel):
    """An RGBA PNG of pixel(x, y)."""
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width)) for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pixel(x, y):
    hole = 30 <= x < 90 and 40 <= y < 100
    return (x * 2 % 256, y * 2 % 256, (x * y // 32 + (x // 16 + y // 16) % 2 * 60) % 256, 0 if hole else 255)


PICTURE = png(128, 120, pixel)


def safetensors(tensors):
    """{name: (shape, floats)} as a file's bytes."""
    head, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data


def wave(n, step, size):
    return [size * math.sin(i * step + 0.3) for i in range(n)]


def adapter():
    t = {}
    for i, (layer, width) in enumerate((("down_blocks_0_attentions_0", 64), ("down_blocks_1_attentions_0", 128),
                                        ("up_blocks_2_attentions_1", 64))):
        for k, to in enumerate(("to_q", "to_v")):
            key = f"lora_unet_{layer}_transformer_blocks_0_attn1_{to}"
            t[key + ".lora_down.weight"] = ([4, width], wave(4 * width, 1.7 + i + k, 0.3))
            t[key + ".lora_up.weight"] = ([width, 4], wave(4 * width, 2.3 + i * k, 0.3))
            t[key + ".alpha"] = ([], [2.0])
    for layer in range(4):
        key = f"lora_te_text_model_encoder_layers_{layer}_mlp_fc1"
        t[key + ".lora_down.weight"] = ([2, 128], wave(256, 1.1 + layer, 0.1))
        t[key + ".lora_up.weight"] = ([512, 2], wave(1024, 0.7 + layer, 0.1))
    return safetensors(t)


def write_files(models):
    for folder, data in (("loras", adapter()), ("embeddings/words", safetensors({"emb_params": ([3, 128], wave(384, 1.9, 0.03))}))):
        (models / folder).mkdir(parents=True, exist_ok=True)
        (models / folder / f"{NAME}.safetensors").write_bytes(data)


class Graph:
    """A text-to-image graph in the making; links are (node, slot)."""

    def __init__(self, positive="a purple zebra on a hill", negative="a sun", batch=1, height=128):
        self.nodes = {}
        self.model, self.clip, self.vae = [(self("CheckpointLoaderSimple", ckpt_name="emoji-sd.safetensors")[0], k) for k in range(3)]
        self.positive, self.negative = self.text(positive), self.text(negative)
        self.latent = self("EmptyLatentImage", width=128, height=height, batch_size=batch)

    def __call__(self, class_type, **inputs):
        key = str(len(self.nodes) + 1)
        self.nodes[key] = {"class_type": class_type, "inputs": {k: list(v) if isinstance(v, tuple) else v for k, v in inputs.items()}}
        return key, 0

    def text(self, words):
        return self("CLIPTextEncode", clip=self.clip, text=words)

    def picture(self, slot=0):
        return self("LoadImage", image=f"{NAME}.png")[0], slot

    def encoded(self):
        return self("VAEEncode", pixels=self.picture(), vae=self.vae)

    def sigmas(self, scheduler="normal", steps=5, denoise=1.0):
        return self("BasicScheduler", model=self.model, scheduler=scheduler, steps=steps, denoise=denoise)

    def sampled(self, **given):
        return self("KSampler", **{**dict(model=self.model, seed=7, steps=4, cfg=5.0, sampler_name="euler", scheduler="normal", denoise=1.0,
                                         positive=self.positive, negative=self.negative, latent_image=self.latent), **given})

    def advanced(self, **given):
        return self("KSamplerAdvanced", **{**dict(model=self.model, add_noise="enable", noise_seed=7, steps=8, cfg=5.0, sampler_name="euler",
                                                 scheduler="normal", positive=self.positive, negative=self.negative,
                                                 latent_image=self.latent, start_at_step=0, end_at_step=10000,
                                                 return_with_leftover_noise="disable"), **given})

    def custom(self, sampler, sigmas, **given):
        if isinstance(sampler, str):
            sampler = self("KSamplerSelect", sampler_name=sampler)
        return self("SamplerCustom", **{**dict(model=self.model, add_noise=True, noise_seed=7, cfg=5.0, positive=self.positive,
                                              negative=self.negative, sampler=sampler, sigmas=sigmas, latent_image=self.latent), **given})

    def drawn(self, latent):
        return self.saved(self("VAEDecode", samples=latent, vae=self.vae))

    def saved(self, image):
        self("SaveImage", images=image, filename_prefix=NAME)
        return self.nodes


CASES = {}


def case(name, make, **given):
    g = Graph(**given)
    CASES[name] = g.drawn(make(g))


# schedules, strength, seeds
for s in ("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "linear_quadratic", "kl_optimal"):
    case(f"scheduler {s}", lambda g: g.sampled(scheduler=s, sampler_name="dpmpp_2m"))
case("image to image", lambda g: g.sampled(latent_image=g.encoded(), denoise=0.6, sampler_name="euler_ancestral", seed=2**63 + 5))
case("two stages", lambda g: g.advanced(sampler_name="sa_solver", start_at_step=4, add_noise="disable", latent_image=g.advanced(
    sampler_name="sa_solver", end_at_step=4, return_with_leftover_noise="enable")))
case("batch seeds", lambda g: g.sampled(latent_image=g("LatentFromBatch", samples=g.latent, batch_index=1, length=2)), batch=3)
case("back to noise", lambda g: g.custom("dpm_2", g.sigmas(), add_noise=False, cfg=2.0, latent_image=g.custom(
    "dpm_2", g("FlipSigmas", sigmas=g.sigmas()), add_noise=False, cfg=1.0, latent_image=g.encoded())))
for name, more in (("KarrasScheduler", dict(sigma_max=10.0, sigma_min=0.1, rho=5.0)), ("PolyexponentialScheduler", dict(sigma_max=14.6, sigma_min=0.03, rho=2.0)),
                   ("LaplaceScheduler", dict(sigma_max=10.0, sigma_min=0.1, mu=0.5, beta=0.8)), ("VPScheduler", dict(beta_d=12.0, beta_min=0.3, eps_s=0.01)),
                   ("AlignYourStepsScheduler", dict(model_type="SD1", denoise=0.6))):
    case(name, lambda g: g.custom("dpmpp_2m_sde", g(name, steps=5, **more)))

# samplers with settings of their own
for name, more in (("SamplerEulerAncestral", dict(eta=0.5, s_noise=1.1)), ("SamplerEulerAncestralCFGPP", dict(eta=0.6, s_noise=1.05)),
                   ("SamplerEulerCFGpp", dict(version="alternative")), ("SamplerLMS", dict(order=2)), ("SamplerDPMPP_2S_Ancestral", dict(eta=0.4, s_noise=1.2)),
                   ("SamplerDPMPP_SDE", dict(eta=0.7, s_noise=1.1, r=0.6, noise_device="cpu")),
                   ("SamplerDPMPP_2M_SDE", dict(solver_type="heun", eta=0.3, s_noise=1.05, noise_device="cpu")),
                   ("SamplerDPMPP_3M_SDE", dict(eta=0.5, s_noise=1.1, noise_device="cpu")),
                   ("SamplerDPMAdaptative", dict(order=3, rtol=0.05, atol=0.0078, h_init=0.05, pcoeff=0.1, icoeff=0.9, dcoeff=0.05, accept_safety=0.7, eta=0.5, s_noise=1.1)),
                   ("SamplerER_SDE", dict(solver_type="Reverse-time SDE", max_stage=2, eta=0.8, s_noise=1.0))):
    case(name, lambda g: g.custom(g(name, **more), g.sigmas()))
case("SamplerSASolver", lambda g: g.custom(g("SamplerSASolver", model=g.model, eta=0.5, sde_start_percent=0.0, sde_end_percent=1.0, s_noise=1.1,
                                             predictor_order=2, corrector_order=2, use_pece=True, simple_order_2=True), g.sigmas()))

# text
for i, words in enumerate(("(apple:1.3) and a ((red) (cat:0.7)) \\(x\\)", "a red apple " * 30 + "(green tree:1.6)", "(apple:1_0.5)", "red embedding:workflow, apple")):
    case(f"text {i}", lambda g: g.sampled(steps=3), positive=words)
for layer in (-2, -24):
    def skipped(g):
        g.clip = g("CLIPSetLastLayer", clip=g.clip, stop_at_clip_layer=layer)
        return g.sampled(positive=g.text("a (red:1.4) apple"))
    case(f"clip layer {layer}", skipped)

# conditioning
def combined(g, changed):
    return g("ConditioningCombine", conditioning_1=changed, conditioning_2=g.text("a green tree"))


case("area", lambda g: g.sampled(positive=combined(g, g("ConditioningSetArea", conditioning=g.positive, width=96, height=72, x=16, y=40, strength=1.3))))
case("area in percent", lambda g: g.sampled(positive=combined(g, g("ConditioningSetAreaPercentage", conditioning=g.positive, width=0.33, height=0.77, x=0.11, y=0.2, strength=0.7))))
for where in ("default", "mask bounds"):
    case(f"mask {where}", lambda g: g.sampled(positive=combined(g, g("ConditioningSetMask", conditioning=g.positive, mask=g.picture(1), strength=0.9, set_cond_area=where))))
case("range of steps", lambda g: g.sampled(positive=combined(g, g("ConditioningSetTimestepRange", conditioning=g.positive, start=0.2, end=0.7))))

# inpainting
case("inpaint", lambda g: g.sampled(latent_image=g("VAEEncodeForInpaint", pixels=g.picture(), vae=g.vae, mask=g.picture(1), grow_mask_by=6)))
case("noise mask", lambda g: g.sampled(sampler_name="ddim", denoise=0.8, latent_image=g("SetLatentNoiseMask", samples=g.encoded(), mask=g.picture(1))))
case("differential", lambda g: g.sampled(model=g("DifferentialDiffusion", model=g.model, strength=0.5), latent_image=g(
    "SetLatentNoiseMask", samples=g.encoded(), mask=g("FeatherMask", mask=g.picture(1), left=60, top=60, right=60, bottom=60))))

# models
def adapted(g):
    lora = g("LoraLoader", model=g.model, clip=g.clip, lora_name=f"{NAME}.safetensors", strength_model=0.8, strength_clip=-0.6)
    g.clip = (lora[0], 1)
    return g.sampled(model=lora, positive=g.text("a red (apple:1.2)"))


case("adapter", adapted)
for sampling in ("v_prediction", "eps"):
    case(f"EDM {sampling}", lambda g: g.sampled(model=g("ModelSamplingContinuousEDM", model=g.model, sampling=sampling, sigma_max=120.0, sigma_min=0.002)))
for name, more in (("RescaleCFG", dict(multiplier=0.7)), ("TCFG", {}), ("APG", dict(eta=0.3, norm_threshold=2.5, momentum=-0.5)), ("CFGZeroStar", {}), ("CFGNorm", dict(strength=0.8)),
                   ("Mahiro", {}), ("PerturbedAttentionGuidance", dict(scale=3.0)), ("FreeU", dict(b1=1.1, b2=1.2, s1=0.9, s2=0.2)), ("FreeU_V2", dict(b1=0.5, b2=0.7, s1=2.0, s2=3.0))):
    case(name, lambda g: g.sampled(model=g(name, model=g.model, **more)), batch=2, height=104)
case("PerpNeg", lambda g: g.sampled(model=g("PerpNeg", model=g.model, empty_conditioning=g.text(""), neg_scale=2.5)))
case("operation", lambda g: g.sampled(model=g("LatentApplyOperationCFG", model=g.model, operation=g("LatentOperationTonemapReinhard", multiplier=0.7))))
for kind, sampler in (("BasicGuider", "euler_cfg_pp"), ("nested", "euler_cfg_pp"), ("PerpNegGuider", "euler")):
    def guided(g):
        if kind == "BasicGuider":
            guider = g(kind, model=g.model, conditioning=g.positive)
        elif kind == "nested":
            guider = g("DualCFGGuider", model=g.model, cond1=g.positive, cond2=g.text("a red apple"), negative=g.negative, cfg_conds=5.0, cfg_cond2_negative=3.0, style=kind)
        else:
            guider = g(kind, model=g.model, positive=g.positive, negative=g.negative, empty_conditioning=g.text(""), cfg=5.0, neg_scale=1.5)
        return g("SamplerCustomAdvanced", noise=g("RandomNoise", noise_seed=2**40), guider=guider, sampler=g("KSamplerSelect", sampler_name=sampler), sigmas=g.sigmas(), latent_image=g.latent)
    case(f"guider {kind}", guided)

# changes to the network
for i, (more, given) in enumerate(((dict(tile_size=32, swap_size=1, max_depth=1, scale_depth=False), dict(height=96)),
                                   (dict(tile_size=40, swap_size=2, max_depth=2, scale_depth=True), dict(batch=2, height=192)))):
    case(f"HyperTile {i}", lambda g: g.sampled(model=g("HyperTile", model=g.model, **more)), **given)
for i, (ratio, given) in enumerate(((0.3, {}), (0.9, dict(batch=2, height=104)))):
    case(f"TomePatchModel {i}", lambda g: g.sampled(model=g("TomePatchModel", model=g.model, ratio=ratio), sampler_name="euler_ancestral"), **given)
for i, (more, given) in enumerate(((dict(block_number=2, downscale_factor=2.0, end_percent=0.5, downscale_after_skip=True, downscale_method="bicubic", upscale_method="bislerp"), {}),
                                   (dict(block_number=1, downscale_factor=1.6, end_percent=1.0, downscale_after_skip=False, downscale_method="area", upscale_method="nearest-exact"), dict(batch=2, height=104)),
                                   (dict(block_number=4, downscale_factor=0.7, end_percent=0.7, downscale_after_skip=True, downscale_method="bilinear", upscale_method="bicubic"), {}))):
    case(f"PatchModelAddDownscale {i}", lambda g: g.sampled(model=g("PatchModelAddDownscale", model=g.model, start_percent=0.0, **more)), **given)
for i, (more, given) in enumerate(((dict(scale=0.5, blur_sigma=2.0), {}), (dict(scale=-1.5, blur_sigma=0.7), dict(batch=2, height=96)))):
    case(f"SelfAttentionGuidance {i}", lambda g: g.sampled(model=g("SelfAttentionGuidance", model=g.model, **more)), **given)
for i, (more, given) in enumerate(((dict(scale_low=0.8, scale_high=1.25, freq_cutoff=20), {}), (dict(scale_low=1.3, scale_high=0.5, freq_cutoff=3), dict(batch=2, height=104)))):
    case(f"FreSca {i}", lambda g: g.sampled(model=g("FreSca", model=g.model, **more)), **given)
weights = dict(q=1.2, k=0.9, v=1.1, out=0.8)
for name in ("UNetSelfAttentionMultiply", "UNetCrossAttentionMultiply"):
    case(name, lambda g: g.sampled(model=g(name, model=g.model, **weights)))


def multiplied(g):
    g.clip = g("CLIPAttentionMultiply", clip=g.clip, **weights)
    return g.sampled(positive=g.text("a (red:1.4) apple"))


case("CLIPAttentionMultiply", multiplied)
for name in ("VideoLinearCFGGuidance", "VideoTriangleCFGGuidance"):
    case(name, lambda g: g.sampled(model=g(name, model=g.model, min_cfg=1.5)), batch=3)
