#!/usr/bin/env python3
"""Makes the tokenizer vectors with independent implementations (tokenizers, sentencepiece).

usage: tok_vectors.py OUT_DIR [--smollm2 GGUF] [--gemma3 GGUF] [--minilm VOCAB_TXT]

Writes tok_corpus.txt (one text a line, hex), tok_splits.txt (family, then byte lengths of the words of each
text), tok_bpe.txt / tok_spm.txt / tok_ugm.txt (small trained vocabularies with the ids of each text), and
for the real models tok_smollm2.txt, tok_gemma3.txt, tok_minilm.txt (ids only; the vocabulary is the model's).
The split patterns are those the models publish in their tokenizer.json.
"""
import argparse
import io
import random
import struct
from pathlib import Path

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CONTR = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
UP, LOW = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
LEAD = r"[^\r\n\p{L}\p{N}]?"
KUP, KLOW = f"[{UP}&&[^\\p{{Han}}]]", f"[{LOW}&&[^\\p{{Han}}]]"
# The letters of deepseek-llm's list are the cased ones.
CASED = r"\p{Lu}\p{Ll}\p{Lt}"
WIDE = r"!-/:-~！-／：-～‘-‟　-。"
CJK = r"[一-龥ࠀ-一가-퟿]+"
FAMILIES = {
    "llama-bpe": [CONTR + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "qwen2": [CONTR + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "qwen35": [CONTR + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "seed-coder": [CONTR + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "falcon": [r"[\p{P}$+<=>^~|`]+", GPT2, r"[0-9][0-9][0-9]"],
    "default": [r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    "deepseek-llm": [r"[\r\n]", rf"\s?[{CASED}]+", rf"\s?[{WIDE}]+", r"\s+$", CJK, r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
                    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
                    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "tekken": [rf"{LEAD}[{UP}]*[{LOW}]+|{LEAD}[{UP}]+[{LOW}]*|\p{{N}}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "gpt-4o": [rf"{LEAD}[{UP}]*[{LOW}]+{CONTR}?|{LEAD}[{UP}]+[{LOW}]*{CONTR}?|\p{{N}}{{1,3}}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "kimi-k2": [rf"[\p{{Han}}]+|{LEAD}{KUP}*{KLOW}+{CONTR}?|{LEAD}{KUP}+{KLOW}*{CONTR}?|\p{{N}}{{1,3}}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "bloom": [r" ?[^(\s|[.,!?…。，、।۔،])]+"],
    "viking": [r" ?[^(\s|[.,!?…。，、।۔،])]+", r"\p{N}"],
    "gemma4": [r"[^\n]+|\n+"],
}

NASTY = [
    "", " ", "  ", "   ", "\t", "\t\t x", "\n", "\r\n\r\n", "a\r\n\r\n  b", " \n \n ", "x \n", "x\n\n\n\ny", "\r\r\n",
    "Hello, world!", "Hello  world   !", " leading", "trailing  ", "a b c d", "don't I'll we've they're it's I'm he'd",
    "DON'T I'LL WE'VE THEY'RE IT'S I'M HE'D", "'sunny 'Tis 'LLama 'Re", "it'ſ it'S", "''''s", "'", "a'b'c'd", "x's's's",
    "😀", "👨‍👩‍👧‍👦 family", "🏳️‍🌈!!", "e\u0301te\u0301 cafe\u0301", "\u0301\u0302\u0303", " \u0301a", "a\u0301\u0301\u0301b", "n\u0303 N\u0303",
    "你好，世界。", "日本語のテキストです。カタカナ・ひらがな", "한국어 텍스트 가각힣", "\u1100\u1161\u11a8 \u1112\u1161\u11ab", "中文English混合123字",
    "مرحبا بالعالم، كيف حالك؟", "שלום עולם", "हिन्दी में पाठ।", "ภาษาไทยไม่มีช่องว่าง", "Ελληνικά ΚΕΦΑΛΑΙΑ ς", "Привет, Мир! ПРИВЕТ",
    "1", "12", "123", "1234", "12345678901", "1 22 333 4444", "3.14159", "x1y22z333", "٠١٢٣٤٥", "½ ² Ⅷ 〇〡〢", "１２３４", "0x1F 1e-10 1,000,000",
    "\x00", "a\x00b", "\x01\x02\x1f\x7f", "\x0b\x0c", "\x85 \x1c", "\ufffd", "\ufffd\ufffd x", "\U000e0001\U000e0041", "\U0003fffd\U0010fffd", "\ue000\uf8ff",
    "\u00a0", "a\u00a0b\u00a0\u00a0c", "\u2003\u2009 \u3000x", "\u2028\u2029", "\u3000\u3000", "\u3000。", " \u3000a", "\u200b\u200d\ufeff", "a\u1680b\u180e",
    "a" * 300, "A" * 150 + "b" * 150, "ab" * 120, " " * 130 + "x", "\n" * 70, "-" * 90, "x" + " " * 64, "1" * 100, "=" * 33 + "\n" + "=" * 5,
    "<|im_start|>user\nhi<|im_end|>", "</s><s>[INST] <<SYS>>", "<start_of_turn>user<end_of_turn>", "<0x41><0xFF>", "[CLS] [SEP] [UNK] [MASK]", "<|endoftext|>",
    "camelCaseIdentifier HTTPServerError XMLHttpRequest iOS", "ABCdefGHIjkl", "ǅabc ǈ", "ʰʷ ª º", "ƻǀʔ", "ßẞ ﬁ ﬀ", "İstanbul ıI", "Ⓐⓑ",
    "#include <stdio.h>\nint main(void) {\n\treturn 0; // ok\n}\n", "def f(x):\n    return x**2  # sq\n\n\nclass A:\n        pass",
    '{"key": [1, 2.5e3, null, true], "s": "a\\nb"}', "SELECT * FROM t WHERE a>=10 AND b<>'x';", "https://example.com/a/b?c=d&e=f#g//", "a/b//c///\n\n", "!!!\n\n??? \r\n...",
    "$100 €200 £3 ¥4 50%", "a+b=c <= >= ^ ~ | `code` ```", "x_y__z-w", "«quoted» “smart” ‘single’ — – …", "。。。！！？", "（全角）［］", "…… .. .,!?", "।۔،",
    " .", " !a", " 1", "  1", " a1", "\n a", "\t a", "\u00a0a", ".a", "..a", "-a-", "a\n", "\na", " \t\n\r ",
    "The quick brown fox jumps over the lazy dog. " * 2, "Naïve façade coöperate résumé", "Zürich Ñandú Åse Ø",
    "mixed Ру́сский 漢字kana かな e\u0308 ﷺ ☃️ ℵ ∑∫ ⅓", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𠀀𠀁 🄰", "々〆ヶ ㍿ ㈱", "⺀⺁ 㐀 豈", "Ꭰꭰ Ა ა Ⴀ ⴀ",
]
POOL = list("abcXYZ  \n\r\t'sStTlLd0129.,!?-/$<>=|`(") + ["é", "\u0301", "ß", "你", "カ", "か", "한", "ʰ", "ª", "ǅ", "２", "½", "　", "\u00a0", "，", "。", "😀", "\u200d", "ſ", "Ж", "ж", "〇", "€", "…"]


def corpus():
    rng = random.Random(20260)
    return NASTY + ["".join(rng.choice(POOL) for _ in range(rng.randint(2, 40))) for _ in range(160)]


def hexed(text):
    return text.encode().hex() or "-"


def splits(patterns, text):
    pieces = [text]
    for p in patterns:
        pre = pre_tokenizers.Split(Regex(p), "isolated")
        pieces = [w for piece in pieces if piece for w, _ in pre.pre_tokenize_str(piece)]
    return [len(w.encode()) for w in pieces if w]


def write_splits(out, texts):
    with open(out / "tok_splits.txt", "w") as f:
        for name, patterns in FAMILIES.items():
            for text in texts:
                f.write(f"{name} " + (",".join(map(str, splits(patterns, text))) or "-") + "\n")


def ids_text(ids):
    return ",".join(map(str, ids)) or "-"


def write_vectors(path, texts, encode, header=()):
    with open(path, "w") as f:
        f.writelines(line + "\n" for line in header)
        for text in texts:
            f.write("v " + ids_text(encode(text)) + "\n")


def bpe(vocab, merges, patterns, ignore_merges=False):
    tok = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore_merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return tok


def small_bpe(out, texts):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=900, min_frequency=1, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tok.train_from_iterator([t for t in texts if len(t) < 120], trainer)
    import json
    model = json.loads(tok.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(m) for m in model["merges"]]
    lines = ["kind bpe"] + [f"t 1 0 {hexed(t)}" for t, _ in sorted(vocab.items(), key=lambda kv: kv[1])]
    lines += ["m " + hexed(" ".join(m)) for m in merges]
    with open(out / "tok_bpe.txt", "w") as f:
        f.writelines(line + "\n" for line in lines)
        for name in ("gpt-2", "llama-bpe", "qwen2", "smollm", "deepseek-v3", "tekken", "gpt-4o"):
            t = bpe(vocab, merges, FAMILIES[name], name in ("llama-bpe", "tekken"))
            f.write(f"pre {name}\n")
            for text in texts:
                f.write("v " + ids_text(t.encode(text, add_special_tokens=False).ids) + "\n")


def train_spm(texts, **kw):
    data = io.BytesIO()
    lines = [t for t in texts if t.strip() and "\0" not in t and len(t) < 120] * 3
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=data, minloglevel=2,
                                   num_threads=1, **kw)
    proto = pb.ModelProto()
    proto.ParseFromString(data.getvalue())
    return proto, data.getvalue()


def write_spm(path, kind, proto, raw, texts):
    sp = spm.SentencePieceProcessor(model_proto=raw)
    lines = [f"kind {kind}", f"space_prefix {int(proto.normalizer_spec.add_dummy_prefix)}",
             f"extra_spaces {int(proto.normalizer_spec.remove_extra_whitespaces)}",
             f"unk {proto.trainer_spec.unk_id}"]
    if kind == "ugm":
        lines.append(f"charsmap {proto.normalizer_spec.precompiled_charsmap.hex() or '-'}")
    types = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6}
    lines += [f"t {types[p.type]} {struct.pack('<f', p.score).hex()} {hexed(p.piece)}" for p in proto.pieces]
    write_vectors(path, texts, sp.encode, lines)


def real_smollm2(path, out, texts):
    from gguf import GGUFReader
    f = GGUFReader(path).fields
    tokens, types = f["tokenizer.ggml.tokens"].contents(), f["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in f["tokenizer.ggml.merges"].contents()]
    tok = bpe({t: i for i, t in enumerate(tokens)}, merges, FAMILIES["smollm"])
    write_vectors(out / "tok_smollm2.txt", texts, lambda t: tok.encode(t, add_special_tokens=False).ids)
    tok.add_special_tokens([AddedToken(t, normalized=False) for t, y in zip(tokens, types) if y == 3])
    with open(out / "tok_smollm2.txt", "a") as g:
        for text in texts:
            g.write("s " + ids_text(tok.encode(text, add_special_tokens=False).ids) + "\n")


def raw_strings(field):
    return [bytes(field.parts[i]).decode() for i in field.data]


def real_gemma3(path, out, texts):
    """The vocabulary as a SentencePiece model; user-defined runs of spaces go back to U+2581."""
    from gguf import GGUFReader
    f = GGUFReader(path).fields
    tokens, types = raw_strings(f["tokenizer.ggml.tokens"]), f["tokenizer.ggml.token_type"].contents()
    scores = f["tokenizer.ggml.scores"].contents()
    proto = pb.ModelProto()
    for t, y, s in zip(tokens, types, scores):
        proto.pieces.add(piece=t.replace(" ", "▁") if y == 4 else t, type=y, score=s)
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.vocab_size = len(tokens)
    proto.trainer_spec.pad_id, proto.trainer_spec.eos_id, proto.trainer_spec.bos_id, proto.trainer_spec.unk_id = 0, 1, 2, 3
    n = proto.normalizer_spec
    n.name, n.add_dummy_prefix, n.remove_extra_whitespaces, n.escape_whitespaces = "identity", False, False, True
    sp = spm.SentencePieceProcessor(model_proto=proto.SerializeToString())
    write_vectors(out / "tok_gemma3.txt", texts, sp.encode)


def real_minilm(path, out, texts):
    vocab = {t: i for i, t in enumerate(Path(path).read_text(encoding="utf-8").split("\n")) if t}
    tok = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    write_vectors(out / "tok_minilm.txt", texts, lambda t: tok.encode(t, add_special_tokens=False).ids)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out", type=Path)
    for name in ("smollm2", "gemma3", "minilm"):
        ap.add_argument("--" + name)
    args = ap.parse_args()
    texts = corpus()
    (args.out / "tok_corpus.txt").write_text("".join(hexed(t) + "\n" for t in texts))
    write_splits(args.out, texts)
    small_bpe(args.out, texts)
    common = dict(character_coverage=1.0, bos_id=1, eos_id=2, unk_id=0, hard_vocab_limit=False)
    proto, raw = train_spm(texts, model_type="bpe", vocab_size=900, byte_fallback=True,
                           normalization_rule_name="identity", remove_extra_whitespaces=False, **common)
    write_spm(args.out / "tok_spm.txt", "spm", proto, raw, texts)
    rules = args.out / "rules.tmp"  # a small normaliser: the built-in ones are 300 KB
    pairs = [("\u00a0", " "), ("\u3000", " "), ("\t", " "), ("\n", " "), ("\r", " "), ("ﬁ", "fi"), ("ﬀ", "ff"), ("½", "1/2"),
             ("e\u0301", "é"), ("２", "2"), ("１", "1"), ("３", "3"), ("４", "4"), ("㍿", "株式会社"), ("\u200b", ""), ("\u0001", ""),
             ("…", "..."), ("，", ","), ("ﷺ", "صلى الله عليه وسلم"), ("\ufffd", " "), ("Ⅷ", "VIII"), ("\u2003", " ")]
    rules.write_text("".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n"
                             for a, b in pairs))
    proto, raw = train_spm(texts, model_type="unigram", vocab_size=700, normalization_rule_tsv=str(rules), **common)
    rules.unlink()
    write_spm(args.out / "tok_ugm.txt", "ugm", proto, raw, texts)
    if args.smollm2:
        real_smollm2(args.smollm2, args.out, texts)
    if args.gemma3:
        real_gemma3(args.gemma3, args.out, texts)
    if args.minilm:
        real_minilm(args.minilm, args.out, texts)


if __name__ == "__main__":
    main()
