#!/usr/bin/env python3
"""Makes the small models of tests/golden/models/ and what transformers computes with them.

usage: tests/golden/models.py [NAME ...]          needs torch and transformers (made with 2.15 and 5.24)

One model of each family, a few odd-sized layers of random weights. The same weights go into a transformers model
and, named and laid out as converters do, into NAME.gguf; NAME.bin gets what transformers answers in f32:
i32 count of texts, i32 width of a row, per text i32 length and its token ids, then f32 rows: logits after every
token of the one text of a generating model, one pooled vector for each text of an embedding model.
Weights are small integers over a power of two: exact in every type, and git packs them well.
"""
import os
import struct
import sys
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import torch  # noqa: E402
import transformers as tf  # noqa: E402
from gguf_writer import ARRAY, BOOL, F32, I32, STR, TYPE_F32, U32, key, write  # noqa: E402

OUT = ROOT / "tests" / "golden" / "models"
V, T = 89, 45  # vocabulary; tokens: more than a KV page of 32, more than any window


def fill(model, seed):
    """Random weights: norms near 1, biases small, matrices so that activations keep their size."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            ints = torch.randint(-31, 32, p.shape, generator=g).float()
            if p.dim() == 1 and "norm" in name.lower() and name.endswith("weight"):
                p.copy_(ints / 128 + (0 if "gemma" in type(model).__name__.lower() else 1))
            elif p.dim() == 1:
                p.copy_(ints / 256)
            elif "embed" in name:
                p.copy_(ints / 32)
            else:
                p.copy_(ints / 2 ** round(torch.tensor(18.0 * p.shape[-1] ** 0.5).log2().item()))
    return model.float().eval()


def interleave(w, n_head):
    """Rows of a q or k matrix from rotation of halves to rotation of pairs, as llama's converters do."""
    return w.reshape(n_head, 2, w.shape[0] // n_head // 2, -1).transpose(1, 2).reshape(w.shape)


class File:
    """Collects a GGUF. `arch`: general.architecture, the prefix of keys."""

    def __init__(self, arch, weights):
        self.arch, self.weights = arch, weights
        self.keys = [key("general.architecture", STR, arch), key("general.name", STR, "random weights")]
        self.tensors = []

    def put(self, name, kind, value):
        self.keys.append(key(f"{self.arch}.{name}", kind, value))

    def tensor(self, name, w):
        w = w.detach().float().contiguous()
        self.tensors.append((name, tuple(w.shape), TYPE_F32, w.numpy().tobytes()))

    def move(self, name, source, change=lambda w: w):
        """The weight `source` of the model as tensor `name`, if the model has it."""
        if source in self.weights:
            self.tensor(name, change(self.weights[source]))

    def tokenizer_spm(self):
        tokens = ["<unk>", "<s>", "</s>"] + [f"\u2581t{i}" for i in range(3, V)]
        self.keys += [key("tokenizer.ggml.model", STR, "llama"),
                      key("tokenizer.ggml.tokens", ARRAY, (STR, tokens)),
                      key("tokenizer.ggml.scores", ARRAY, (F32, [-float(i) for i in range(V)])),
                      key("tokenizer.ggml.token_type", ARRAY, (I32, [2, 3, 3] + [1] * (V - 3)))]

    def tokenizer_wpm(self):
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"\u2581t{i}" for i in range(5, V)]
        self.keys += [key("tokenizer.ggml.model", STR, "bert"),
                      key("tokenizer.ggml.tokens", ARRAY, (STR, tokens)),
                      key("tokenizer.ggml.token_type", ARRAY, (I32, [3, 2, 3, 3, 3] + [1] * (V - 5)))]
        for name, i in (("bos", 2), ("eos", 3), ("seperator", 3), ("padding", 0), ("unknown", 1), ("mask", 4)):
            self.keys.append(key(f"tokenizer.ggml.{name}_token_id", U32, i))

    def write(self, name):
        write(OUT / f"{name}.gguf", self.keys, self.tensors)


def common_keys(f, c, head_dim):
    f.put("block_count", U32, c.num_hidden_layers)
    f.put("context_length", U32, c.max_position_embeddings)
    f.put("embedding_length", U32, c.hidden_size)
    f.put("feed_forward_length", U32, c.intermediate_size)
    f.put("attention.head_count", U32, c.num_attention_heads)
    f.put("attention.head_count_kv", U32, getattr(c, "num_key_value_heads", c.num_attention_heads))
    if head_dim * c.num_attention_heads != c.hidden_size:
        f.put("attention.key_length", U32, head_dim)
        f.put("attention.value_length", U32, head_dim)


def decoder(name, arch, config, model_class, head_dim, more=lambda f, c: None, pairs=False, plus_one=False):
    """Writes a generating model: tensors under the names all decoders share, then `more`."""
    c = config
    plain = dict(attn_implementation="eager", experts_implementation="eager")
    model = fill(model_class._from_config(c, **plain), sum(map(ord, name)))
    w = model.state_dict()
    f = File(arch, w)
    common_keys(f, c, head_dim)
    f.put("attention.layer_norm_rms_epsilon", F32, c.rms_norm_eps)
    f.tokenizer_spm()
    norm = (lambda t: t + 1) if plus_one else (lambda t: t)
    f.move("token_embd.weight", "model.embed_tokens.weight")
    f.move("output_norm.weight", "model.norm.weight", norm)
    if not c.tie_word_embeddings:
        f.move("output.weight", "lm_head.weight")
    n_kv = c.num_key_value_heads
    for i in range(c.num_hidden_layers):
        a, b, m = f"model.layers.{i}.", f"blk.{i}.", f"model.layers.{i}.mlp."
        four_norms = a + "pre_feedforward_layernorm.weight" in w
        f.move(b + "attn_norm.weight", a + "input_layernorm.weight", norm)
        f.move(b + ("post_attention_norm.weight" if four_norms else "ffn_norm.weight"),
               a + "post_attention_layernorm.weight", norm)
        f.move(b + "ffn_norm.weight", a + "pre_feedforward_layernorm.weight", norm)
        f.move(b + "post_ffw_norm.weight", a + "post_feedforward_layernorm.weight", norm)
        for part, n_head in (("q", c.num_attention_heads), ("k", n_kv), ("v", 0)):
            turn = (lambda t, n=n_head: interleave(t, n)) if pairs and n_head else (lambda t: t)
            f.move(f"{b}attn_{part}.weight", f"{a}self_attn.{part}_proj.weight", turn)
            f.move(f"{b}attn_{part}.bias", f"{a}self_attn.{part}_proj.bias")
            f.move(f"{b}attn_{part}_norm.weight", f"{a}self_attn.{part}_norm.weight", norm)
        f.move(b + "attn_qkv.weight", a + "self_attn.qkv_proj.weight")
        f.move(b + "attn_output.weight", a + "self_attn.o_proj.weight")
        f.move(b + "ffn_up.weight", m + "gate_up_proj.weight")
        for part in ("gate", "up", "down"):
            f.move(f"{b}ffn_{part}.weight", f"{m}{part}_proj.weight")
            f.move(f"{b}ffn_{part}_shexp.weight", f"{m}shared_expert.{part}_proj.weight")
        f.move(b + "ffn_gate_inp_shexp.weight", m + "shared_expert_gate.weight", lambda t: t.reshape(-1))
        f.move(b + "ffn_gate_inp.weight", m + "gate.weight")
        half = lambda k: (lambda t: t[:, k * t.shape[1] // 2:(k + 1) * t.shape[1] // 2])  # noqa: E731
        f.move(b + "ffn_gate_exps.weight", m + "experts.gate_up_proj", half(0))
        f.move(b + "ffn_up_exps.weight", m + "experts.gate_up_proj", half(1))
        f.move(b + "ffn_down_exps.weight", m + "experts.down_proj")
    more(f, c)
    f.write(name)
    ids = torch.randint(3, V, (1, T), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        logits = model(ids).logits[0]
    best = logits.topk(2).values
    save(name, ids.tolist(), logits)
    print(f"{name}: {(OUT / (name + '.gguf')).stat().st_size:,} bytes, logits of size "
          f"{logits.std():.2f}, closest two {float((best[:, 0] - best[:, 1]).min()):.4f} apart")


def save(name, texts, rows):
    with open(OUT / f"{name}.bin", "wb") as f:
        f.write(struct.pack("<2i", len(texts), rows.shape[1]))
        for ids in texts:
            f.write(struct.pack(f"<{len(ids) + 1}i", len(ids), *ids))
        f.write(rows.detach().float().contiguous().numpy().tobytes())


def base(c, theta):
    """The part of rope_parameters that every family has."""
    return dict(rope_theta=theta, rope_type="default", **c)


SMALL = dict(vocab_size=V, num_hidden_layers=3, max_position_embeddings=256, rms_norm_eps=1e-5,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)


def rope_freqs(f, p, head_dim):
    """Llama 3's divisors, which files carry as a tensor (the formula of the Llama 3.1 release)."""
    freq = p["rope_theta"] ** -(torch.arange(0, head_dim, 2).double() / head_dim)
    wave = 2 * torch.pi / freq
    orig, low, high, factor = (p[k] for k in ("original_max_position_embeddings", "low_freq_factor",
                                               "high_freq_factor", "factor"))
    smooth = (orig / wave - low) / (high - low)
    middle = 1 / ((1 - smooth) / factor + smooth)
    div = torch.where(wave < orig / high, torch.ones_like(wave),
                      torch.where(wave > orig / low, torch.full_like(wave, factor), middle))
    f.tensor("rope_freqs.weight", div)


def llama():
    c = tf.LlamaConfig(hidden_size=42, intermediate_size=61, num_attention_heads=3, num_key_value_heads=1,
                       rope_parameters=base({}, 10000.0), tie_word_embeddings=False, **SMALL)
    decoder("llama", "llama", c, tf.LlamaForCausalLM, 14, lambda f, c: f.put("rope.dimension_count", U32, 14),
            pairs=True)


def llama3():
    p = dict(rope_theta=500000.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=32)
    c = tf.LlamaConfig(hidden_size=48, intermediate_size=53, num_attention_heads=4, num_key_value_heads=2,
                       rope_parameters=p, tie_word_embeddings=True, attention_bias=False, **SMALL)

    def more(f, c):
        f.put("rope.freq_base", F32, 500000.0)
        rope_freqs(f, p, 12)
    decoder("llama3", "llama", c, tf.LlamaForCausalLM, 12, more, pairs=True)


def mistral():
    c = tf.MistralConfig(hidden_size=40, intermediate_size=47, num_attention_heads=2, num_key_value_heads=1,
                         head_dim=14, sliding_window=None, rope_parameters=base({}, 1e6),
                         tie_word_embeddings=False, **SMALL)
    decoder("mistral", "llama", c, tf.MistralForCausalLM, 14, lambda f, c: f.put("rope.freq_base", F32, 1e6),
            pairs=True)


def mixtral():
    c = tf.MixtralConfig(hidden_size=40, intermediate_size=29, num_attention_heads=4, num_key_value_heads=2,
                         num_local_experts=5, num_experts_per_tok=2, rope_parameters=base({}, 1e6),
                         tie_word_embeddings=False, **SMALL)

    def more(f, c):
        f.put("rope.freq_base", F32, 1e6)
        f.put("expert_count", U32, 5)
        f.put("expert_used_count", U32, 2)
    decoder("mixtral", "llama", c, tf.MixtralForCausalLM, 10, more, pairs=True)


def qwen2():
    c = tf.Qwen2Config(hidden_size=42, intermediate_size=51, num_attention_heads=3, num_key_value_heads=1,
                       rope_parameters=base({}, 1e6), tie_word_embeddings=True, **SMALL)
    decoder("qwen2", "qwen2", c, tf.Qwen2ForCausalLM, 14, lambda f, c: f.put("rope.freq_base", F32, 1e6))


def qwen2moe():
    c = tf.Qwen2MoeConfig(hidden_size=36, intermediate_size=45, num_attention_heads=3, num_key_value_heads=3,
                          num_experts=5, num_experts_per_tok=2, moe_intermediate_size=17,
                          shared_expert_intermediate_size=23, rope_parameters=base({}, 1e4),
                          tie_word_embeddings=False, **SMALL)

    def more(f, c):
        f.put("expert_count", U32, 5)
        f.put("expert_used_count", U32, 2)
        f.put("expert_feed_forward_length", U32, 17)
        f.put("expert_shared_feed_forward_length", U32, 23)
    decoder("qwen2moe", "qwen2moe", c, tf.Qwen2MoeForCausalLM, 12, more)


def qwen3():
    c = tf.Qwen3Config(hidden_size=44, intermediate_size=57, num_attention_heads=3, num_key_value_heads=1,
                       head_dim=18, rope_parameters=base({}, 1e6), tie_word_embeddings=True, **SMALL)
    decoder("qwen3", "qwen3", c, tf.Qwen3ForCausalLM, 18, lambda f, c: f.put("rope.freq_base", F32, 1e6))


def qwen3moe():
    c = tf.Qwen3MoeConfig(hidden_size=40, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
                          head_dim=12, num_experts=7, num_experts_per_tok=3, moe_intermediate_size=19,
                          norm_topk_prob=True, decoder_sparse_step=1, rope_parameters=base({}, 1e6),
                          tie_word_embeddings=False, **SMALL)

    def more(f, c):
        f.put("rope.freq_base", F32, 1e6)
        f.put("expert_count", U32, 7)
        f.put("expert_used_count", U32, 3)
        f.put("expert_feed_forward_length", U32, 19)
    decoder("qwen3moe", "qwen3moe", c, tf.Qwen3MoeForCausalLM, 12, more)


def gemma2():
    c = tf.Gemma2Config(hidden_size=44, intermediate_size=53, num_attention_heads=4, num_key_value_heads=2,
                        head_dim=12, query_pre_attn_scalar=12, sliding_window=11, attn_logit_softcapping=5.0,
                        final_logit_softcapping=3.0, rope_parameters=base({}, 1e4), **SMALL)

    def more(f, c):
        f.put("attention.sliding_window", U32, 11)
        f.put("attn_logit_softcapping", F32, 5.0)
        f.put("final_logit_softcapping", F32, 3.0)
    decoder("gemma2", "gemma2", c, tf.Gemma2ForCausalLM, 12, more, plus_one=True)


def gemma3():
    small = dict(SMALL, num_hidden_layers=7)
    rope = {"full_attention": dict(rope_theta=1e6, rope_type="linear", factor=8.0),
            "sliding_attention": dict(rope_theta=1e4, rope_type="default")}
    c = tf.Gemma3TextConfig(hidden_size=39, intermediate_size=43, num_attention_heads=3, num_key_value_heads=1,
                            head_dim=14, query_pre_attn_scalar=14, sliding_window=9, rope_parameters=rope, **small)

    def more(f, c):
        f.put("attention.sliding_window", U32, 9)
        f.put("rope.freq_base", F32, 1e6)
        f.put("rope.scaling.type", STR, "linear")
        f.put("rope.scaling.factor", F32, 8.0)
    decoder("gemma3", "gemma3", c, tf.Gemma3ForCausalLM, 14, more, plus_one=True)


def phi3(name="phi3", long=None):
    """`long`: the original context of longrope; T tokens are beyond it or not."""
    rope = base({"partial_rotary_factor": 1.0}, 1e4)
    if long:
        factors = {"long_factor": [1.0 + 0.7 * i for i in range(6)], "short_factor": [1.0 + 0.1 * i for i in range(6)]}
        rope = dict(rope_theta=1e4, rope_type="longrope", partial_rotary_factor=1.0,
                    original_max_position_embeddings=long, **factors)
    c = tf.Phi3Config(hidden_size=36, intermediate_size=47, num_attention_heads=3, num_key_value_heads=3,
                      sliding_window=None if long else 13, rope_parameters=rope,
                      original_max_position_embeddings=long or 256, tie_word_embeddings=False, **SMALL)

    def more(f, c):
        f.put("rope.dimension_count", U32, 12)
        if not long:
            f.put("attention.sliding_window", U32, 13)
            return
        f.put("rope.scaling.original_context_length", U32, long)
        scale = 256 / long
        f.put("rope.scaling.attn_factor", F32, (1 + torch.tensor(scale).log() / torch.tensor(float(long)).log()).sqrt())
        f.tensor("rope_factors_long.weight", torch.tensor(factors["long_factor"]))
        f.tensor("rope_factors_short.weight", torch.tensor(factors["short_factor"]))
    decoder(name, "phi3", c, tf.Phi3ForCausalLM, 12, more)


def phi3_long():
    phi3("phi3_long", 32)


def phi3_short():
    phi3("phi3_short", 64)


TEXTS = [[2, 17, 30, 8, 61, 3], [2, 44, 3], [2] + [5 + 7 * i % 80 for i in range(37)] + [3]]


def encoder(name, arch, c, model, layer_names, more, pool):
    model = fill(model, sum(map(ord, name)))
    w = model.state_dict()
    f = File(arch, w)
    common_keys(f, c, c.hidden_size // c.num_attention_heads)
    f.put("attention.layer_norm_epsilon", F32, c.layer_norm_eps)
    f.put("attention.causal", BOOL, False)
    f.put("pooling_type", U32, pool)
    f.tokenizer_wpm()
    f.move("token_embd.weight", "embeddings.word_embeddings.weight")
    f.move("token_types.weight", "embeddings.token_type_embeddings.weight")
    f.move("position_embd.weight", "embeddings.position_embeddings.weight")
    for part in ("weight", "bias"):
        f.move(f"token_embd_norm.{part}", f"embeddings.LayerNorm.{part}")
        for i in range(c.num_hidden_layers):
            for ours, theirs in layer_names.items():
                f.move(f"blk.{i}.{ours}.{part}", theirs.format(i) + "." + part)
    more(f, c)
    f.write(name)
    rows = []
    with torch.no_grad():
        for ids in TEXTS:
            hidden = model(torch.tensor([ids])).last_hidden_state[0]
            rows.append(hidden.mean(0) if pool == 1 else hidden[0])
    save(name, TEXTS, torch.stack(rows))
    print(f"{name}: {(OUT / (name + '.gguf')).stat().st_size:,} bytes")


def bert():
    c = tf.BertConfig(hidden_size=42, intermediate_size=55, num_attention_heads=3, num_hidden_layers=3,
                      vocab_size=V, max_position_embeddings=64)
    e = "encoder.layer.{}."
    names = {"attn_q": e + "attention.self.query", "attn_k": e + "attention.self.key",
             "attn_v": e + "attention.self.value", "attn_output": e + "attention.output.dense",
             "attn_output_norm": e + "attention.output.LayerNorm", "ffn_up": e + "intermediate.dense",
             "ffn_down": e + "output.dense", "layer_output_norm": e + "output.LayerNorm"}
    for name, pool in (("bert", 1), ("bert_cls", 2)):
        model = tf.BertModel._from_config(c, attn_implementation="eager")
        encoder(name, "bert", c, model, names, lambda f, c: None, pool)


def nomic_bert():
    c = tf.NomicBertConfig(hidden_size=36, head_dim=12, intermediate_size=47, num_attention_heads=3,
                           num_hidden_layers=3, vocab_size=V, max_position_embeddings=64,
                           rope_parameters=base({}, 1000.0))
    e = "layers.{}."
    names = {"attn_output": e + "self_attn.o_proj", "attn_output_norm": e + "post_attention_layernorm",
             "ffn_gate": e + "mlp.gate_proj", "ffn_up": e + "mlp.up_proj", "ffn_down": e + "mlp.down_proj",
             "layer_output_norm": e + "post_mlp_layernorm"}

    def more(f, c):
        f.put("rope.freq_base", F32, 1000.0)
        for i in range(c.num_hidden_layers):
            parts = [f.weights[f"layers.{i}.self_attn.{p}_proj.weight"] for p in "qkv"]
            f.tensor(f"blk.{i}.attn_qkv.weight", torch.cat(parts))
    model = tf.NomicBertModel._from_config(c, attn_implementation="eager")
    encoder("nomic_bert", "nomic-bert", c, model, names, more, 1)


ALL = [llama, llama3, mistral, mixtral, qwen2, qwen2moe, qwen3, qwen3moe, gemma2, gemma3, phi3, phi3_long,
       phi3_short, bert, nomic_bert]


def main():
    OUT.mkdir(exist_ok=True)
    for one in ALL:
        if len(sys.argv) == 1 or one.__name__ in sys.argv[1:]:
            one()


if __name__ == "__main__":
    main()
