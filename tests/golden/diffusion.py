"""Makes diffusion.h: what diffusers and transformers compute with small random networks of each family.

usage: python tests/golden/diffusion.py > tests/golden/diffusion.h        (torch, diffusers, transformers)
Weights are a function of a tensor's name and an element's index (see `values`), so that the C test makes the
same networks from the list of names and shapes alone. Names are those of the original checkpoints.
"""
import re

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

torch.set_grad_enabled(False)
M64 = (1 << 64) - 1


def fnv(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) & M64
    return h


def uniform(seed, n):
    """n floats in [-1, 1): splitmix64 over seed + i."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1).astype(np.float32)


def values(name, shape):
    n = int(np.prod(shape))
    u = uniform(fnv(name), n)
    if len(shape) == 1:
        u = u * np.float32(0.1) + np.float32(1.0 if re.search(r"norm.*weight|ln_.*weight|layers\.0\.weight$|out\.0\.weight", name) else 0)
    else:
        fan_in = n // shape[0]
        u = u * np.float32(np.sqrt(3.0 / fan_in))
    return u.reshape(shape)


# ---- names: diffusers to the original layout ----

RES = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
       "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
FIXED = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
         "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
         "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}


def unet_name(name, n_res, n_levels):
    stem, end = name.rsplit(".", 1)
    if stem in FIXED:
        return f"{FIXED[stem]}.{end}"
    m = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    if m:
        side, level, kind, i, rest = m.group(1), int(m.group(2)), m.group(3), int(m.group(4)), m.group(5)
        if side == "down":
            at = 1 + level * (n_res + 1) + (n_res if kind == "downsamplers" else i)
            if kind == "downsamplers":
                return f"input_blocks.{at}.0.op.{end}"
            block = f"input_blocks.{at}"
        else:
            at = level * (n_res + 1) + (n_res if kind == "upsamplers" else i)
            if kind == "upsamplers":
                return None, at, f"conv.{end}"
            block = f"output_blocks.{at}"
    else:
        m = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name)
        kind, i, rest = m.groups()
        block = f"middle_block.{1 if kind == 'attentions' else 2 * int(i)}"
        if kind == "attentions":
            return f"{block}.{rest}"
    if kind == "attentions":
        return f"{block}.1.{rest}"
    part, tail = rest.rsplit(".", 1)
    text = f"{block}.0.{RES[part]}.{tail}"
    return text if not block.startswith("middle") else f"{block}.{RES[part]}.{tail}"


def map_unet(net, n_res):
    keys = list(net.state_dict())
    levels = 1 + max(int(re.match(r"down_blocks\.(\d+)", k).group(1)) for k in keys if k.startswith("down_"))
    with_attention = {int(m.group(1)) * (n_res + 1) + int(m.group(2))
                      for k in keys if (m := re.match(r"up_blocks\.(\d+)\.attentions\.(\d+)", k))}
    out = {}
    for k in keys:
        to = unet_name(k, n_res, levels)
        if isinstance(to, tuple):
            to = f"output_blocks.{to[1]}.{2 if to[1] in with_attention else 1}.{to[2]}"
        out[k] = to
    return out


def vae_name(name, n_levels):
    name = name.replace("quant_conv", "quant_conv")
    m = re.match(r"(encoder|decoder)\.(.*)", name)
    if not m:
        return name
    side, rest = m.groups()
    rest = rest.replace("conv_norm_out", "norm_out")
    rest = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", rest)
    rest = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", rest)
    rest = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda k: f"up.{n_levels - 1 - int(k.group(1))}.block.{k.group(2)}", rest)
    rest = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda k: f"up.{n_levels - 1 - int(k.group(1))}.upsample", rest)
    rest = re.sub(r"mid_block\.resnets\.(\d+)", lambda k: f"mid.block_{int(k.group(1)) + 1}", rest)
    rest = rest.replace("mid_block.attentions.0.group_norm", "mid.attn_1.norm")
    for a, b in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
        rest = rest.replace(f"mid_block.attentions.0.{a}", f"mid.attn_1.{b}")
    return f"{side}.{rest.replace('conv_shortcut', 'nin_shortcut')}"


def load(net, names, prefix, shapes_of=lambda name, shape: shape):
    """Fills the network with values of the original names; returns the list for the C test."""
    listed, state = [], {}
    for k, v in net.state_dict().items():
        to = names.get(k)
        if to is None:
            state[k] = v
            continue
        shape = shapes_of(to, tuple(v.shape))
        state[k] = torch.from_numpy(values(prefix + to, shape)).reshape(v.shape)
        listed.append((prefix + to, shape))
    net.load_state_dict(state)
    return listed


def data(name, shape):
    return torch.from_numpy(uniform(fnv(name), int(np.prod(shape))).reshape(shape))


# ---- output ----

def c_list(name, listed):
    print(f"static const golden_tensor {name}_tensors[] = {{")
    for n, shape in sorted(listed):
        print(f'    {{"{n}", {len(shape)}, {{{", ".join(map(str, shape))}}}}},')
    print("};")


def c_values(name, t):
    flat = t.reshape(-1).numpy()
    step = max(1, len(flat) // 48)
    picked = flat[::step][:48]
    print(f"static const golden_values {name} = {{{step}, {len(picked)}, {{")
    for i in range(0, len(picked), 6):
        print("    " + ", ".join(f"{v:.8g}f" if "." in f"{v:.8g}" or "e" in f"{v:.8g}" else f"{v:.8g}.0f"
                                 for v in picked[i:i + 6]) + ",")
    print("}};")


def unet(name, context, **config):
    net = UNet2DConditionModel(sample_size=8, in_channels=config.pop("in_channels", 4), out_channels=4,
                               layers_per_block=1, block_out_channels=(64, 128), cross_attention_dim=context,
                               down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                               up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **config).eval()
    c_list(name, load(net, map_unet(net, 1), "model.diffusion_model."))
    x, ctx = data(name + ".x", (2, net.config.in_channels, 6, 10)), data(name + ".context", (2, 7, context))
    more = {}
    if net.config.addition_embed_type == "text_time":
        more["added_cond_kwargs"] = {"text_embeds": data(name + ".pooled", (2, 32)),
                                     "time_ids": torch.tensor([[64., 48, 0, 8, 64, 48]] * 2)}
    out = net(x, torch.tensor([17, 801]), ctx, **more).sample
    c_values(name + "_out", out)


def clip(name, config, projected):
    net = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()
    keys = {k: k for k in net.state_dict() if "position_ids" not in k}
    if projected:
        return open_clip(name, net)
    if not any(k.startswith("text_model.") for k in keys):
        keys = {k: "text_model." + k for k in keys}
    c_list(name, load(net, keys, "cond_stage_model.transformer."))
    run_clip(name, net)


def run_clip(name, net):
    ids = torch.tensor([[998] + [(7 * i) % 900 for i in range(1, 20)] + [999] * 57])
    out = net(ids, output_hidden_states=True)
    final = (net.text_model if hasattr(net, "text_model") else net).final_layer_norm
    c_values(name + "_last", out.last_hidden_state)
    c_values(name + "_second", final(out.hidden_states[-2]))
    c_values(name + "_second_raw", out.hidden_states[-2])
    if hasattr(out, "text_embeds"):
        c_values(name + "_pooled", net.text_projection(final(out.hidden_states[-1])[:, 20]))


def open_clip(name, net):
    """OpenCLIP's names: q, k and v in one tensor, the projection turned round."""
    prefix = "conditioner.embedders.1.model."
    D = net.config.hidden_size
    state, listed = {}, []
    for k, v in net.state_dict().items():
        k2 = k.replace("text_model.", "")
        if "position_ids" in k:
            state[k] = v
            continue
        if k2 == "text_projection.weight":
            w = values(prefix + "text_projection", (D, v.shape[0]))
            state[k] = torch.from_numpy(w).T.contiguous()
            listed.append((prefix + "text_projection", (D, v.shape[0])))
            continue
        m = re.match(r"encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)", k2)
        if m:
            end = "in_proj_" + m.group(3)
            full = f"{prefix}transformer.resblocks.{m.group(1)}.attn.{end}"
            shape = (3 * D, D) if m.group(3) == "weight" else (3 * D,)
            i = "qkv".index(m.group(2))
            state[k] = torch.from_numpy(values(full, shape)[i * D:(i + 1) * D].copy())
            if i == 0:
                listed.append((full, shape))
            continue
        to = {"embeddings.token_embedding.weight": "token_embedding.weight",
              "embeddings.position_embedding.weight": "positional_embedding"}.get(k2, k2)
        to = re.sub(r"encoder\.layers\.(\d+)\.", r"transformer.resblocks.\1.", to)
        for a, b in (("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                     ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("final_layer_norm", "ln_final")):
            to = to.replace(a, b)
        state[k] = torch.from_numpy(values(prefix + to, tuple(v.shape)))
        listed.append((prefix + to, tuple(v.shape)))
    net.load_state_dict(state)
    c_list(name, listed)
    run_clip(name, net)


def vae():
    net = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                        block_out_channels=(32, 64), layers_per_block=1, latent_channels=4).eval()
    names = {k: vae_name(k, 2) for k in net.state_dict()}
    conv = lambda to, shape: shape + (1, 1) if "attn_1" in to and to.endswith("weight") and len(shape) == 2 else shape
    c_list("vae", load(net, names, "first_stage_model.", conv))
    c_values("vae_decoded", net.decode(data("vae.z", (1, 4, 5, 3))).sample)
    c_values("vae_encoded", net.encode(data("vae.px", (1, 3, 12, 10))).latent_dist.mean)


def tiny_name(name):
    """TAESD's own numbers: its decoder begins with a clamp."""
    m = re.match(r"(encoder|decoder)\.layers\.(\d+)\.(.*)", name)
    return f"taesd_{m.group(1)}.{int(m.group(2)) + (m.group(1) == 'decoder')}.{m.group(3)}"


def tiny():
    net = AutoencoderTiny(encoder_block_out_channels=(24, 24, 24), decoder_block_out_channels=(24, 24, 24),
                          num_encoder_blocks=(1, 2, 1), num_decoder_blocks=(2, 1, 1)).eval()
    c_list("tiny", load(net, {k: tiny_name(k) for k in net.state_dict()}, ""))
    c_values("tiny_decoded", net.decode(4 * data("tiny.z", (1, 4, 5, 3))).sample)
    c_values("tiny_encoded", net.encode(data("tiny.px", (1, 3, 12, 20))).latents)


def main():
    print("/* Made by diffusion.py: small random networks and what the reference libraries compute with them. */")
    print("typedef struct golden_tensor {\n    const char *name;\n    int n_dims;\n    int64_t shape[4];\n} golden_tensor;")
    print("typedef struct golden_values {\n    int64_t step; /* every step-th element */\n    int n;\n    float v[48];\n} golden_values;")
    unet("sd1", 48, attention_head_dim=8)
    unet("sd1_inpaint", 48, attention_head_dim=8, in_channels=9)
    unet("sd2", 1024, attention_head_dim=(1, 2), use_linear_projection=True)
    unet("sdxl", 2048, attention_head_dim=(1, 2), use_linear_projection=True, transformer_layers_per_block=(2, 1),
         addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=32 + 6 * 256)
    clip("clip_l", CLIPTextConfig(vocab_size=1000, hidden_size=128, intermediate_size=200, num_hidden_layers=3,
                                  num_attention_heads=2, hidden_act="quick_gelu", bos_token_id=998, eos_token_id=999), False)
    clip("clip_g", CLIPTextConfig(vocab_size=1000, hidden_size=128, intermediate_size=256, num_hidden_layers=3,
                                  num_attention_heads=2, hidden_act="gelu", projection_dim=96, bos_token_id=998,
                                  eos_token_id=999), True)
    vae()
    tiny()


main()
