#!/usr/bin/env python3
"""Makes the safetensors directories of tests/golden/convert/: what `hob create` converts.

usage: tests/golden/convert.py          needs torch, transformers and tokenizers (made with 2.15, 5.24 and 0.22)

MODELS: the models of models.py as transformers saves them (bfloat16, which holds their weights exactly), with a
tokenizer.json, so that the converted file must give the logits that models.py wrote. TOKENIZERS: tiny models with
tokenizers trained on tok_corpus.txt; expect.json holds the library's ids for some texts.
"""
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import models  # noqa: E402
import torch  # noqa: E402
import transformers as tf  # noqa: E402
from tokenizers import (AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors,  # noqa: E402
                        trainers)
from tokenizers import models as tm  # noqa: E402

OUT = Path(__file__).resolve().parent / "convert"
MODELS = ["llama", "llama3", "mixtral", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma2", "gemma3", "phi3", "phi3_long",
          "bert"]
TEXTS = ["Hello, world!", " two  spaces\tand\n\nlines 12345", "it's We'LL", "naïve café 東京 🙂", "a" * 40, "",
         "<|im_start|>user\nhi<|im_end|>", "The quick brown fox jumps over the lazy dog."]


def spm_json(n):
    """A sentencepiece-like vocabulary of n whole words."""
    vocab = {t: i for i, t in enumerate(["<unk>", "<s>", "</s>"] + [f"\u2581t{i}" for i in range(3, n)])}
    t = Tokenizer(tm.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in ("<unk>", "<s>", "</s>")])
    return t


def wordpiece_json(n):
    vocab = {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"t{i}" for i in range(5, n)])}
    t = Tokenizer(tm.WordPiece(vocab, unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return t


def save_model(name):
    target = OUT / name
    shutil.rmtree(target, ignore_errors=True)
    plain = models.fill

    def fill(model, seed):
        model = plain(model, seed)
        kept = {k: v.clone() for k, v in model.state_dict().items()}
        model.to(torch.bfloat16).save_pretrained(target)
        for k, v in model.state_dict().items():
            assert torch.equal(v.float(), kept[k].float()), (name, k)
        return model.float()
    models.fill, models.File.write, models.save = fill, lambda *_: None, lambda *_: None
    maker = {f.__name__: f for f in models.ALL}[name]
    if name == "bert":
        models.encoder = (lambda real: lambda n, *a: real(n, *a) if n == "bert" else None)(ENCODER)
    models.fill = fill
    models.File.write = lambda *_: None
    try:
        maker()
    except FileNotFoundError:  # the last line of decoder looks at the file that was not written
        pass
    models.fill = plain
    (wordpiece_json if name == "bert" else spm_json)(models.V).save(str(target / "tokenizer.json"))
    if name == "bert":
        (target / "1_Pooling").mkdir()
        (target / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}\n')
    else:
        (target / "tokenizer_config.json").write_text(json.dumps(
            {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
             "chat_template": "{{ messages[0]['content'] }}"}) + "\n")
    for extra in ("generation_config.json",):
        (target / extra).unlink(missing_ok=True)


ENCODER = models.encoder
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def byte_level(regex):
    from tokenizers import Regex
    t = Tokenizer(tm.BPE())
    if regex == "smollm":
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    elif regex:
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    else:
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=460, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=["<|endoftext|>"], show_progress=False)
    t.train([str(OUT.parent / "tok_corpus.txt")], trainer)
    t.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return t, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def spm_bpe():
    """As transformers converts a sentencepiece BPE model with byte fallback (llama 2, mistral, gemma)."""
    t = Tokenizer(tm.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=620, special_tokens=special, show_progress=False, limit_alphabet=90)
    t.train([str(OUT.parent / "tok_corpus.txt")], trainer)
    o = json.loads(t.to_str())
    o["added_tokens"] = [a for a in o["added_tokens"] if not a["content"].startswith("<0x")]
    t = Tokenizer.from_str(json.dumps(o))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}


def wordpiece():
    t = Tokenizer(tm.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    t.train([str(OUT.parent / "tok_corpus.txt")], trainer)
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t, {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]",
               "mask_token": "[MASK]"}


TOKENIZERS = {"tok_gpt2": lambda: byte_level(None), "tok_llama3": lambda: byte_level(LLAMA3),
              "tok_qwen2": lambda: byte_level(QWEN2), "tok_smollm": lambda: byte_level("smollm"),
              "tok_spm": spm_bpe, "tok_wordpiece": wordpiece}


def save_tokenizer(name):
    target = OUT / name
    shutil.rmtree(target, ignore_errors=True)
    t, config = TOKENIZERS[name]()
    n = t.get_vocab_size()
    small = dict(vocab_size=n + 3, hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16,
                 max_position_embeddings=64)
    if name == "tok_wordpiece":
        model = tf.BertModel(tf.BertConfig(**small))
    elif name == "tok_qwen2":
        model = tf.Qwen2ForCausalLM(tf.Qwen2Config(num_key_value_heads=1, tie_word_embeddings=True, **small))
    else:
        model = tf.LlamaForCausalLM(tf.LlamaConfig(num_key_value_heads=1, tie_word_embeddings=True, **small))
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    model.half().save_pretrained(target)
    (target / "generation_config.json").unlink(missing_ok=True)
    t.save(str(target / "tokenizer.json"))
    o = json.loads((target / "tokenizer.json").read_text())
    (target / "tokenizer.json").write_text(json.dumps(o, ensure_ascii=False) + "\n")
    (target / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    ids = [t.encode(x).ids for x in TEXTS]
    (target / "expect.json").write_text(json.dumps([{"text": x, "ids": i} for x, i in zip(TEXTS, ids)],
                                                   ensure_ascii=True) + "\n")
    print(name, n, "tokens")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for one in sys.argv[1:] or [*MODELS, *TOKENIZERS]:
        (save_tokenizer if one in TOKENIZERS else save_model)(one)
