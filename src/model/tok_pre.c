/* The pre-tokenizers' matchers and the table of families.
 *
 * Each matcher looks at the start of a span and says how many bytes to take and whether they are a
 * match or part of a gap. A matcher that must look far ahead takes what it looked at, so no byte is
 * looked at more than a few times. Invalid UTF-8 counts as one symbol (U+FFFD) a byte. */
#include "model/tok_pre.h"
#include <string.h>

typedef struct span {
    const char *p, *end;
} span;

typedef enum contr_kind { CONTR_NONE, CONTR_LOWER, CONTR_ANY } contr_kind;

struct tok_pre_rule {
    size_t (*match)(const tok_pre_rule *r, span s, bool *hit);
    unsigned word;      /* classes of a word's letters */
    unsigned run;       /* classes of a run (matchers of one class) */
    unsigned not_lead;  /* classes that cannot stand in front of a word */
    unsigned digits;    /* longest number, 0 = any */
    contr_kind contr;   /* 's 't 're ... as words of their own */
    contr_kind suffix;  /* ... or at the end of a word */
    const char *tail;   /* characters a punctuation run swallows behind it */
    bool split_han;     /* Han runs stand alone */
    bool no_crlf_punct; /* a punctuation run has no CR or LF */
};

typedef struct chr {
    uint32_t c;
    unsigned cls; /* 0 at the end of the span */
    size_t n;     /* bytes */
} chr;

static chr chr_at(const char *p, const char *end) {
    if (p >= end) return (chr){0};
    unsigned char b = (unsigned char)*p;
    if (b < 128) return (chr){b, tok_class(b), 1};
    size_t left = (size_t)(end - p), pos = 0;
    uint32_t c = str_utf8_next((str){p, left < 4 ? left : 4}, &pos);
    return (chr){c, tok_class(c), pos};
}

/* End of the run of characters of these classes, at most `max` of them (0 = any number). */
static const char *run_end(const char *p, const char *end, unsigned classes, size_t max) {
    for (size_t n = 0; p < end && (max == 0 || n < max); n++) {
        chr c = chr_at(p, end);
        if (!(c.cls & classes)) break;
        p += c.n;
    }
    return p;
}

static const char *skip_chars(const char *p, const char *end, const char *set) {
    while (p < end && *p && strchr(set, *p)) p++;
    return p;
}

/* Bytes of 's 't 're 've 'm 'll 'd at p, or 0. In any case U+017F also counts as an s. */
static size_t contraction(const char *p, const char *end, contr_kind kind) {
    if (kind == CONTR_NONE || end - p < 2 || *p != '\'') return 0;
    unsigned char a = (unsigned char)p[1], b = end - p > 2 ? (unsigned char)p[2] : 0;
    if (kind == CONTR_ANY) {
        if (a == 0xc5 && b == 0xbf) return 3;
        if (a >= 'A' && a <= 'Z') a = (unsigned char)(a | 32);
        if (b >= 'A' && b <= 'Z') b = (unsigned char)(b | 32);
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
}

/* \s*[\r\n]+ when `newlines`, then \s+(?!\S), then \s+. */
static size_t match_white(span s, bool newlines) {
    const char *p = s.p, *last = s.p, *after_newline = NULL;
    while (p < s.end) {
        chr c = chr_at(p, s.end);
        if (!(c.cls & CLS_WS)) break;
        last = p;
        p += c.n;
        if (c.cls & CLS_CRLF) after_newline = p;
    }
    if (newlines && after_newline) return (size_t)(after_newline - s.p);
    if (p < s.end && last > s.p) p = last;
    return (size_t)(p - s.p);
}

/* ?[^\s\p{L}\p{N}]+ and its tail; 0 = no match. */
static size_t match_punct(const tok_pre_rule *r, span s) {
    const char *p = s.p < s.end && *s.p == ' ' ? s.p + 1 : s.p;
    unsigned classes = CLS_MARK | CLS_PUNCT | CLS_SYMBOL | CLS_OTHER;
    const char *q = run_end(p, s.end, classes & ~(r->word & ~CLS_L), 0);
    if (q == p) return 0;
    if (r->tail) q = skip_chars(q, s.end, r->tail);
    return (size_t)(q - s.p);
}

/* GPT-2: contraction; ?L+; ?N+; ?(other)+; white space. */
static size_t match_gpt2(const tok_pre_rule *r, span s, bool *hit) {
    *hit = true;
    size_t n = contraction(s.p, s.end, r->contr);
    if (n) return n;
    const char *p = *s.p == ' ' ? s.p + 1 : s.p;
    chr c = chr_at(p, s.end);
    unsigned other = CLS_MARK | CLS_PUNCT | CLS_SYMBOL | CLS_OTHER;
    unsigned classes = c.cls & CLS_L ? CLS_L : c.cls & CLS_NUMBER ? CLS_NUMBER : other;
    if (c.cls & classes) return (size_t)(run_end(p, s.end, classes, 0) - s.p);
    return match_white(s, false);
}

/* The llama3 and qwen2 patterns: contraction; lead and word; number; punctuation; white space. */
static size_t match_words(const tok_pre_rule *r, span s, bool *hit) {
    *hit = true;
    size_t n = contraction(s.p, s.end, r->contr);
    if (n) return n;
    chr c = chr_at(s.p, s.end);
    const char *p = s.p;
    if (!(c.cls & (CLS_CRLF | r->not_lead)) && !(c.cls & r->word)) p += c.n;
    const char *q = run_end(p, s.end, r->word, 0);
    if (q > p) return (size_t)(q - s.p);
    if (c.cls & CLS_NUMBER && r->digits)
        return (size_t)(run_end(s.p, s.end, CLS_NUMBER, r->digits) - s.p);
    n = match_punct(r, s);
    if (n) return n;
    return c.cls & CLS_WS ? match_white(s, true) : (*hit = false, c.n);
}

/* Classes of a cased word: `upper` part then `lower` part; other letters and marks are in both. */
#define CASE_UP (CLS_UPPER | CLS_LETTER | CLS_MARK)
#define CASE_LOW (CLS_LOWER | CLS_LETTER | CLS_MARK)

static bool in_word(const tok_pre_rule *r, chr c, unsigned classes) {
    return c.cls & classes && !(r->split_han && tok_is_han(c.c));
}

/* [up]*[low]+ from p: returns the end of the match, or p. Sets *ret_up_end to the end of [up]*. */
static const char *match_up_low(const tok_pre_rule *r, const char *p, span s,
                                const char **ret_up_end) {
    const char *q = p, *both_end = p;
    chr c = chr_at(q, s.end);
    for (; in_word(r, c, CASE_UP); c = chr_at(q, s.end)) {
        q += c.n;
        if (c.cls & CASE_LOW) both_end = q;
    }
    *ret_up_end = q;
    if (!in_word(r, c, CASE_LOW)) return both_end;
    for (; in_word(r, c, CASE_LOW); c = chr_at(q, s.end)) q += c.n;
    return q;
}

static const char *match_cased_word(const tok_pre_rule *r, span s, chr first) {
    const char *up[2], *start[2] = {s.p, s.p};
    bool lead = !(first.cls & (CLS_CRLF | CLS_L | CLS_NUMBER));
    if (lead) start[0] += first.n;
    for (int i = 0; i < 2; i++) {
        const char *end = match_up_low(r, start[i], s, &up[i]);
        if (end > start[i]) return end;
        if (!lead) up[1] = up[0];
        if (!lead) break;
    }
    /* No lower-case part: [up]+[low]*, and [low]* is empty. */
    for (int i = 0; i < 2; i++)
        if (up[i] > start[i]) return up[i];
    return s.p;
}

/* The tekken and gpt-4o patterns: words end where lower case turns into upper case. */
static size_t match_cased(const tok_pre_rule *r, span s, bool *hit) {
    *hit = true;
    chr c = chr_at(s.p, s.end);
    if (r->split_han && tok_is_han(c.c)) {
        const char *q = s.p;
        for (; c.n && tok_is_han(c.c); c = chr_at(q, s.end)) q += c.n;
        return (size_t)(q - s.p);
    }
    const char *q = match_cased_word(r, s, c);
    if (q > s.p) return (size_t)(q - s.p) + contraction(q, s.end, r->suffix);
    if (c.cls & CLS_NUMBER) return (size_t)(run_end(s.p, s.end, CLS_NUMBER, r->digits) - s.p);
    size_t n = match_punct(r, s);
    if (n) return n;
    return c.cls & CLS_WS ? match_white(s, true) : (*hit = false, c.n);
}

static bool is_ascii_punct(uint32_t c) {
    return c > 32 && c < 127 && tok_class(c) & (CLS_PUNCT | CLS_SYMBOL);
}

static bool is_ascii_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* deepseek-v3's third stage. */
static size_t match_deepseek3(const tok_pre_rule *r, span s, bool *hit) {
    *hit = true;
    chr c = chr_at(s.p, s.end);
    const char *p = s.p + c.n, *q = p;
    if (is_ascii_punct(c.c)) {
        while (q < s.end && is_ascii_letter(*q)) q++;
        if (q > p) return (size_t)(q - s.p);
    }
    unsigned word = CLS_L | CLS_MARK;
    if (c.cls & (CLS_CRLF | CLS_L | CLS_PUNCT | CLS_SYMBOL)) p = s.p;
    q = run_end(p, s.end, word, 0);
    if (q == p && c.cls & CLS_MARK) q = run_end(p = s.p, s.end, word, 0);
    if (q > p) return (size_t)(q - s.p);
    p = *s.p == ' ' ? s.p + 1 : s.p;
    q = run_end(p, s.end, CLS_PUNCT | CLS_SYMBOL, 0);
    if (q > p) return (size_t)(skip_chars(q, s.end, r->tail) - s.p);
    return c.cls & CLS_WS ? match_white(s, true) : (*hit = false, c.n);
}

/* A run of r->run, at most r->digits long. */
static size_t match_run(const tok_pre_rule *r, span s, bool *hit) {
    const char *q = run_end(s.p, s.end, r->run, r->digits);
    *hit = q > s.p;
    return *hit ? (size_t)(q - s.p) : chr_at(s.p, s.end).n;
}

/* \s?[run]+ */
static size_t match_space_run(const tok_pre_rule *r, span s, bool *hit) {
    chr c = chr_at(s.p, s.end);
    const char *p = c.cls & CLS_WS ? s.p + c.n : s.p;
    const char *q = run_end(p, s.end, r->run, 0);
    *hit = q > p;
    return *hit ? (size_t)(q - s.p) : c.n;
}

/* [\p{P}$+<=>^~|]+ and, for falcon, the backtick: ASCII symbols but for that one. */
static size_t match_punct_ascii(const tok_pre_rule *r, span s, bool *hit) {
    const char *q = s.p;
    for (chr c = chr_at(q, s.end); c.n; c = chr_at(q, s.end)) {
        if (!(c.cls & CLS_PUNCT) && !(c.c < 128 && c.cls & CLS_SYMBOL && c.c != '`') &&
            !(c.c == '`' && r->tail))
            break;
        q += c.n;
    }
    *hit = q > s.p;
    return *hit ? (size_t)(q - s.p) : chr_at(s.p, s.end).n;
}

/* [0-9][0-9][0-9] */
static size_t match_triple(const tok_pre_rule *r, span s, bool *hit) {
    (void)r;
    size_t n = 0;
    while (n < 3 && s.p + n < s.end && s.p[n] >= '0' && s.p[n] <= '9') n++;
    *hit = n == 3;
    return *hit ? 3 : chr_at(s.p, s.end).n;
}

/* Han with Hangul (deepseek-llm, -coder) or with kana (deepseek-v3, r->split_han). */
static size_t match_cjk(const tok_pre_rule *r, span s, bool *hit) {
    const char *q = s.p;
    for (chr c = chr_at(q, s.end); c.n; c = chr_at(q, s.end)) {
        bool in = c.c >= 0x4e00 && c.c <= 0x9fa5;
        if (r->split_han)
            in = in || (c.c >= 0x3040 && c.c <= 0x30ff);
        else
            in = in || (c.c >= 0x800 && c.c < 0x4e00) || (c.c >= 0xac00 && c.c <= 0xd7ff);
        if (!in) break;
        q += c.n;
    }
    *hit = q > s.p;
    return *hit ? (size_t)(q - s.p) : chr_at(s.p, s.end).n;
}

/* deepseek-llm: \s?[!-/:-~ full-width and general punctuation]+ */
static size_t match_wide_punct(const tok_pre_rule *r, span s, bool *hit) {
    (void)r;
    chr first = chr_at(s.p, s.end);
    const char *p = s.p, *q = first.cls & CLS_WS ? s.p + first.n : s.p;
    for (;;) {
        const char *start = q;
        for (chr c = chr_at(q, s.end); c.n; c = chr_at(q, s.end)) {
            bool in = (c.c >= '!' && c.c <= '/') || (c.c >= ':' && c.c <= '~') ||
                      (c.c >= 0xff01 && c.c <= 0xff0f) || (c.c >= 0xff1a && c.c <= 0xff5e) ||
                      (c.c >= 0x2018 && c.c <= 0x201f) || (c.c >= 0x3000 && c.c <= 0x3002);
            if (!in) break;
            q += c.n;
        }
        *hit = q > start;
        if (*hit) return (size_t)(q - p);
        if (start == p) return first.n;
        q = p; /* U+3000 is white space and in the list: try again without \s? */
    }
}

/* \s+$ */
static size_t match_white_end(const tok_pre_rule *r, span s, bool *hit) {
    (void)r;
    const char *q = run_end(s.p, s.end, CLS_WS, 0);
    *hit = q > s.p && q == s.end;
    return q > s.p ? (size_t)(q - s.p) : chr_at(s.p, s.end).n;
}

/* bloom: ?[^ white space, brackets and listed punctuation]+ */
static size_t match_bloom(const tok_pre_rule *r, span s, bool *hit) {
    (void)r;
    static const uint32_t out[] = {'(',    ')',    '|',    '.',    ',',    '!',    '?',
                                   0x2026, 0x3002, 0xff0c, 0x3001, 0x0964, 0x06d4, 0x060c};
    const char *p = *s.p == ' ' ? s.p + 1 : s.p, *q = p;
    for (chr c = chr_at(q, s.end); c.n && !(c.cls & CLS_WS); c = chr_at(q, s.end)) {
        bool stop = false;
        for (size_t i = 0; i < COUNT_OF(out); i++) stop = stop || c.c == out[i];
        if (stop) break;
        q += c.n;
    }
    *hit = q > p;
    return *hit ? (size_t)(q - s.p) : chr_at(s.p, s.end).n;
}

/* gemma4: [^\n]+|\n+ */
static size_t match_lines(const tok_pre_rule *r, span s, bool *hit) {
    (void)r;
    *hit = true;
    const char *q = s.p;
    if (*q == '\n') {
        while (q < s.end && *q == '\n') q++;
        return (size_t)(q - s.p);
    }
    q = memchr(s.p, '\n', (size_t)(s.end - s.p));
    return (size_t)((q ? q : s.end) - s.p);
}

#define L_AND_N (CLS_L | CLS_NUMBER)
static const tok_pre_rule gpt2 = {.match = match_gpt2, .contr = CONTR_LOWER};
static const tok_pre_rule llama3 = {.match = match_words,
                                    .word = CLS_L,
                                    .not_lead = L_AND_N,
                                    .digits = 3,
                                    .contr = CONTR_ANY,
                                    .tail = "\r\n"};
static const tok_pre_rule qwen2 = {.match = match_words,
                                   .word = CLS_L,
                                   .not_lead = L_AND_N,
                                   .digits = 1,
                                   .contr = CONTR_ANY,
                                   .tail = "\r\n"};
static const tok_pre_rule seed_coder = {
    .match = match_words, .word = CLS_L, .not_lead = L_AND_N, .digits = 1, .contr = CONTR_ANY};
static const tok_pre_rule qwen35 = {.match = match_words,
                                    .word = CLS_L | CLS_MARK,
                                    .not_lead = L_AND_N,
                                    .digits = 1,
                                    .contr = CONTR_ANY,
                                    .tail = "\r\n"};
static const tok_pre_rule tekken = {.match = match_cased, .digits = 1, .tail = "\r\n/"};
static const tok_pre_rule gpt4o = {
    .match = match_cased, .digits = 3, .suffix = CONTR_ANY, .tail = "\r\n/"};
static const tok_pre_rule kimi = {
    .match = match_cased, .digits = 3, .suffix = CONTR_ANY, .tail = "\r\n", .split_han = true};
static const tok_pre_rule number1 = {.match = match_run, .run = CLS_NUMBER, .digits = 1};
static const tok_pre_rule number3 = {.match = match_run, .run = CLS_NUMBER, .digits = 3};
static const tok_pre_rule numbers = {.match = match_run, .run = CLS_NUMBER};
static const tok_pre_rule crlf1 = {.match = match_run, .run = CLS_CRLF, .digits = 1};
static const tok_pre_rule triple = {.match = match_triple};
static const tok_pre_rule punct_run = {.match = match_punct_ascii};
static const tok_pre_rule punct_run_tick = {.match = match_punct_ascii, .tail = "`"};
static const tok_pre_rule cased_run = {.match = match_space_run, .run = CLS_UPPER | CLS_LOWER};
static const tok_pre_rule letter_run = {.match = match_space_run, .run = CLS_L};
static const tok_pre_rule any_punct_run = {.match = match_space_run, .run = CLS_PUNCT};
static const tok_pre_rule wide_punct = {.match = match_wide_punct};
static const tok_pre_rule white_end = {.match = match_white_end};
static const tok_pre_rule cjk = {.match = match_cjk};
static const tok_pre_rule cjk_kana = {.match = match_cjk, .split_han = true};
static const tok_pre_rule deepseek3 = {.match = match_deepseek3, .tail = "\r\n"};
static const tok_pre_rule bloom = {.match = match_bloom};
static const tok_pre_rule lines = {.match = match_lines};

#define FAMILY(name, ...) static const tok_pre_family name = {__VA_ARGS__}
FAMILY(f_llama3, .stages = {&llama3}, .ignore_merges = true, .add_bos = true);
FAMILY(f_llama3_plain, .stages = {&llama3});
FAMILY(f_qwen2, .stages = {&qwen2});
FAMILY(f_seed_coder, .stages = {&seed_coder});
FAMILY(f_qwen35, .stages = {&qwen35});
FAMILY(f_gpt2, .stages = {&gpt2});
FAMILY(f_digits, .stages = {&number1, &gpt2});
FAMILY(f_falcon, .stages = {&punct_run_tick, &gpt2, &triple});
FAMILY(f_default, .stages = {&punct_run, &gpt2, &numbers, &triple});
FAMILY(f_deepseek_llm, .stages = {&crlf1, &cased_run, &wide_punct, &white_end, &cjk, &numbers});
FAMILY(f_deepseek_coder, .stages = {&crlf1, &letter_run, &any_punct_run, &cjk, &number1});
FAMILY(f_deepseek3, .stages = {&number3, &cjk_kana, &deepseek3});
FAMILY(f_tekken, .stages = {&tekken}, .ignore_merges = true, .add_bos = true);
FAMILY(f_gpt4o, .stages = {&gpt4o});
FAMILY(f_kimi, .stages = {&kimi});
FAMILY(f_bloom, .stages = {&bloom});
FAMILY(f_viking, .stages = {&bloom, &number1});
FAMILY(f_gemma4, .stages = {&lines}, .raw = true);

static const struct {
    const char *names; /* separated by spaces */
    const tok_pre_family *family;
} families[] = {
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", &f_llama3},
    {"dbrx smaug-bpe glm4 chatglm-bpe", &f_llama3_plain},
    {"qwen2 deepseek-r1-qwen stablelm2 hunyuan megrez kormo solar-open grok-2 bailingmoe",
     &f_qwen2},
    {"seed-coder", &f_seed_coder},
    {"qwen35", &f_qwen35},
    {"gpt-2 phi-2 mpt olmo jais jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code "
     "roberta-bpe gigachat exaone4 trillion granite-docling modern-bert mellum",
     &f_gpt2},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b", &f_digits},
    {"falcon", &f_falcon},
    {"default", &f_default},
    {"deepseek-llm", &f_deepseek_llm},
    {"deepseek-coder", &f_deepseek_coder},
    {"deepseek-v3 hunyuan-dense joyai-llm", &f_deepseek3},
    {"tekken", &f_tekken},
    {"gpt-4o llama4 kanana2 minimax-m2", &f_gpt4o},
    {"kimi-k2", &f_kimi},
    {"bloom poro-chat gpt3-finnish", &f_bloom},
    {"viking", &f_viking},
    {"gemma4", &f_gemma4},
};

err_code tok_pre_get(str pre, const tok_pre_family **ret, err *e) {
    if (pre.len == 0) pre = STR("default");
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        str rest = str_from(families[i].names);
        while (rest.len) {
            if (!str_eq(str_cut(&rest, ' '), pre)) continue;
            *ret = families[i].family;
            return ERR_OK;
        }
    }
    FAIL(e, UNSUPPORTED,
         "the vocabulary's tokenizer.ggml.pre is '" STR_FMT "', which is not known: text would be "
         "split wrongly; use a newer hob, or a GGUF file whose tokenizer.ggml.pre names a known "
         "family (such as llama-bpe, qwen2, gpt-2)",
         STR_ARG(str_sub(pre, 0, 100)));
}

typedef struct splitter {
    const tok_pre_family *f;
    tok_pre_emit *emit;
    void *ctx;
} splitter;

/* Recursion is as deep as a family has stages. */
static void split_stage(const splitter *sp, size_t stage, span s) {
    if (s.p == s.end) return;
    const tok_pre_rule *r = stage < TOK_PRE_STAGES ? sp->f->stages[stage] : NULL;
    if (!r) {
        sp->emit(sp->ctx, (str){s.p, (size_t)(s.end - s.p)});
        return;
    }
    const char *gap = s.p;
    while (s.p < s.end) {
        bool hit = false;
        size_t n = r->match(r, s, &hit);
        if (hit) {
            split_stage(sp, stage + 1, (span){gap, s.p});
            split_stage(sp, stage + 1, (span){s.p, s.p + n});
            gap = s.p + n;
        }
        s.p += n;
    }
    split_stage(sp, stage + 1, (span){gap, s.end});
}

void tok_pre_split(const tok_pre_family *f, str text, tok_pre_emit *emit, void *ctx) {
    splitter sp = {f, emit, ctx};
    if (text.len) split_stage(&sp, 0, (span){text.ptr, text.ptr + text.len});
}
