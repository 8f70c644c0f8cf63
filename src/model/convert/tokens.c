/* The tokenizer: tokenizer.json (or tokenizer.model, or vocab.txt) to tokenizer.ggml.* keys.
 *
 * Byte-level BPE keeps its merges and names the family of its split pattern, which must be one that
 * model/tok_pre.c knows. SentencePiece's BPE keeps its scores; where only the merges were
 * published, a piece's score is the rank of the merge that makes it, which orders them alike. */
#include "base/limits.h"
#include "base/map.h"
#include "model/convert/convert_impl.h"
#include "model/tok.h"
#include "os/file.h"
#include <string.h>

enum { PIECES_FILE_MAX = 64 << 20, TEMPLATE_BYTES_MAX = 1 << 20 };
#define SPACE_MARK "\xe2\x96\x81"

typedef struct tokens {
    convert_job *j;
    json_t *file;   /* tokenizer.json, or NULL */
    json_t *config; /* tokenizer_config.json, or NULL */
    json_t *model;  /* of `file`; borrowed */
    size_t n;
    str *texts;
    int32_t *types;
    float *scores;
    map ids; /* text -> id */
    str kind, pre;
    bool prefix_space;
} tokens;

static str text_of(const json_t *v) {
    return (str){json_string_value(v), json_string_length(v)};
}

static err_code set_token(tokens *t, str text, int64_t id, int32_t type, err *e) {
    if (id < 0 || (size_t)id >= t->n)
        FAIL(e, FORMAT, "tokenizer.json: token " STR_FMT " has number %lld of %zu",
             STR_ARG(str_sub(text, 0, 60)), (long long)id, t->n);
    if (text.len > LIMIT_TOKEN_BYTES)
        FAIL(e, LIMIT, "tokenizer.json: token %lld has %zu bytes", (long long)id, text.len);
    t->texts[id] = str_dup(t->j->mem, text);
    t->types[id] = type;
    map_put(&t->ids, text, id);
    return ERR_OK;
}

static int64_t find(const tokens *t, str text) {
    int64_t id;
    return text.len && map_get(&t->ids, text, &id) ? id : -1;
}

/* ---- which kind ---- */

static bool mentions(const json_t *v, const char *type, int depth) {
    const char *k;
    json_t *x;
    size_t i;
    if (depth > 8) return false;
    if (json_is_array(v)) {
        json_array_foreach(v, i, x) if (mentions(x, type, depth + 1)) return true;
        return false;
    }
    if (str_eq(convert_text(v, "type"), str_from(type))) return true;
    json_object_foreach((json_t *)(uintptr_t)v, k, x) if ((json_is_object(x) || json_is_array(x)) &&
                                                          mentions(x, type, depth + 1)) return true;
    return false;
}

#define ANY_CASE "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TAIL_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define CASED_1                                                                                    \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
#define CASED_2                                                                                    \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"

static const struct {
    const char *pattern, *pre;
} PATTERNS[] = {
    {ANY_CASE "|" WORD "\\p{N}{1,3}|" TAIL, "llama-bpe"},
    {ANY_CASE "|" WORD "\\p{N}|" TAIL, "qwen2"},
    {ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
              "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     "qwen35"},
    {CASED_1 "|" CASED_2 "|\\p{N}|" TAIL_SLASH, "tekken"},
    {CASED_1 ANY_CASE "?|" CASED_2 ANY_CASE "?|\\p{N}{1,3}|" TAIL_SLASH, "gpt-4o"},
};

/* Spellings of "in any case" that mean the same. */
static const char *const CASE_SPELLINGS[] = {
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    "'(?i:[sdmt]|ll|ve|re)",
};

static str canonical(arena *a, str pattern) {
    buf out = {0};
    for (size_t i = 0; i < pattern.len;) {
        str rest = str_sub(pattern, i, pattern.len);
        size_t n = 0;
        for (size_t k = 0; k < COUNT_OF(CASE_SPELLINGS) && !n; k++)
            if (str_starts(rest, str_from(CASE_SPELLINGS[k]))) n = strlen(CASE_SPELLINGS[k]);
        if (n)
            buf_put_str(&out, STR(ANY_CASE));
        else
            buf_put_char(&out, *rest.ptr);
        i += n ? n : 1;
    }
    str s = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return s;
}

static const json_t *find_split(const json_t *v) {
    const json_t *list = json_object_get(v, "pretokenizers");
    const json_t *x;
    size_t i;
    if (str_eq(convert_text(v, "type"), STR("Split"))) return v;
    json_array_foreach(list, i, x) if (str_eq(convert_text(x, "type"), STR("Split"))) return x;
    return NULL;
}

static err_code find_pre(tokens *t, err *e) {
    const json_t *pre = json_object_get(t->file, "pre_tokenizer");
    const json_t *split = find_split(pre);
    if (!split) {
        t->pre = mentions(pre, "Digits", 0) ? STR("smollm") : STR("gpt-2");
        return ERR_OK;
    }
    str pattern = text_of(json_object_get(json_object_get(split, "pattern"), "Regex"));
    str plain = canonical(t->j->mem, pattern);
    for (size_t i = 0; i < COUNT_OF(PATTERNS); i++)
        if (str_eq(plain, str_from(PATTERNS[i].pattern))) t->pre = str_from(PATTERNS[i].pre);
    if (t->pre.len == 0)
        FAIL(e, UNSUPPORTED,
             "tokenizer.json: text is split by a pattern that is not known, and would be split "
             "wrongly: " STR_FMT,
             STR_ARG(str_sub(pattern, 0, 400)));
    bool ignore = json_is_true(json_object_get(t->model, "ignore_merges"));
    if (str_eq(t->pre, STR("llama-bpe")) && !ignore) t->pre = STR("dbrx"); /* merges all the way */
    return ERR_OK;
}

static err_code find_kind(tokens *t, err *e) {
    str type = convert_text(t->model, "type");
    bool bytes = json_is_true(json_object_get(t->model, "byte_fallback"));
    const json_t *norm = json_object_get(t->file, "normalizer");
    const json_t *pre = json_object_get(t->file, "pre_tokenizer");
    if (str_eq(type, STR("WordPiece"))) {
        t->kind = STR("bert");
        t->pre = STR("bert");
        return ERR_OK;
    }
    bool typed = type.len > 0 || json_object_get(t->model, "merges"); /* old files name none */
    if (!typed || (type.len && !str_eq(type, STR("BPE"))))
        FAIL(e, UNSUPPORTED, "tokenizer.json: vocabularies of type \"" STR_FMT "\" are not known",
             STR_ARG(str_sub(type, 0, 60)));
    if (!bytes && mentions(pre, "ByteLevel", 0)) {
        t->kind = STR("gpt2");
        return find_pre(t, e);
    }
    t->kind = STR("llama");
    t->pre = STR("default");
    str scheme = convert_text(pre, "prepend_scheme");
    t->prefix_space = mentions(norm, "Prepend", 0) ||
                      (mentions(pre, "Metaspace", 0) && !str_eq(scheme, STR("never")));
    return ERR_OK;
}

/* ---- reading ---- */

static err_code read_vocab(tokens *t, err *e) {
    const char *text;
    json_t *id;
    json_object_foreach(json_object_get(t->model, "vocab"), text, id) {
        str s = str_from(text);
        bool byte = str_eq(t->kind, STR("llama")) && s.len == 6 && str_starts(s, STR("<0x"));
        if (!json_is_integer(id)) FAIL(e, FORMAT, "tokenizer.json: a token without a number");
        TRY(set_token(t, s, json_integer_value(id), byte ? TOK_TYPE_BYTE : TOK_TYPE_NORMAL, e));
    }
    str unk = convert_text(t->model, "unk_token");
    if (find(t, unk) >= 0) t->types[find(t, unk)] = TOK_TYPE_UNKNOWN;
    return ERR_OK;
}

static err_code read_added(tokens *t, err *e) {
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(t->file, "added_tokens"), i, one) {
        int64_t id = json_integer_value(json_object_get(one, "id"));
        str text = text_of(json_object_get(one, "content"));
        bool special = json_is_true(json_object_get(one, "special"));
        if (id < 0 || (size_t)id >= t->n || text.len == 0) continue; /* no weights for it */
        bool unknown = t->types[id] == TOK_TYPE_UNKNOWN;
        TRY(set_token(t, text, id,
                      unknown   ? TOK_TYPE_UNKNOWN
                      : special ? TOK_TYPE_CONTROL
                                : TOK_TYPE_USER,
                      e));
    }
    return ERR_OK;
}

/* "left right" of the i-th merge, which is a string or a pair. */
static str merge_text(arena *a, const json_t *m) {
    if (json_is_string(m)) return text_of(m);
    str l = text_of(json_array_get(m, 0)), r = text_of(json_array_get(m, 1));
    return str_fmt(a, STR_FMT " " STR_FMT, STR_ARG(l), STR_ARG(r));
}

static void score_by_merges(tokens *t) {
    const json_t *merges = json_object_get(t->model, "merges"), *m;
    arena *a = arena_create(0);
    size_t i;
    for (size_t k = 0; k < t->n; k++) t->scores[k] = -1e6f - (float)k;
    json_array_foreach(merges, i, m) {
        str right = merge_text(a, m);
        str left = str_cut(&right, ' ');
        int64_t id = find(t, str_fmt(a, STR_FMT STR_FMT, STR_ARG(left), STR_ARG(right)));
        if (id >= 0 && t->scores[id] <= -1e6f) t->scores[id] = -(float)(i + 1);
        if (i % 1024 == 0) arena_reset(a);
    }
    arena_destroy(&a);
}

/* ---- tokenizer.model: SentencePiece's protocol buffer ---- */

static bool varint(str *s, uint64_t *ret) {
    uint64_t v = 0;
    for (unsigned shift = 0; s->len && shift < 64; shift += 7) {
        unsigned char b = (unsigned char)*s->ptr;
        *s = str_sub(*s, 1, s->len);
        v |= (uint64_t)(b & 127) << shift;
        if (!(b & 128)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

/* One field: its number, and its value as a number or as bytes. */
static bool field(str *s, uint64_t *ret_no, uint64_t *ret_v, str *ret_bytes) {
    uint64_t tag, n;
    *ret_bytes = (str){0};
    *ret_v = 0;
    if (!varint(s, &tag)) return false;
    *ret_no = tag >> 3;
    switch (tag & 7) {
    case 0:
        return varint(s, ret_v);
    case 2:
        if (!varint(s, &n) || n > s->len) return false;
        break;
    case 1:
        n = 8;
        break;
    case 5:
        n = 4;
        break;
    default:
        return false;
    }
    if (n > s->len) return false;
    *ret_bytes = str_sub(*s, 0, (size_t)n);
    *s = str_sub(*s, (size_t)n, s->len);
    return true;
}

static err_code read_piece(tokens *t, str s, int64_t id, err *e) {
    uint64_t no, v, type = TOK_TYPE_NORMAL;
    str bytes, text = {0};
    float score = 0;
    while (s.len) {
        if (!field(&s, &no, &v, &bytes)) FAIL(e, FORMAT, "tokenizer.model is damaged");
        if (no == 1) text = bytes;
        if (no == 2 && bytes.len == 4) memcpy(&score, bytes.ptr, 4);
        if (no == 3) type = v;
    }
    if (type < TOK_TYPE_NORMAL || type > TOK_TYPE_BYTE) type = TOK_TYPE_NORMAL;
    if ((size_t)id >= t->n) return ERR_OK;
    TRY(set_token(t, text, id, (int32_t)type, e));
    t->scores[id] = score;
    return ERR_OK;
}

static err_code read_pieces(tokens *t, const char *path, err *e) {
    buf file = {0};
    uint64_t no, v;
    int64_t id = 0;
    str bytes;
    TRY(file_read(path, PIECES_FILE_MAX, &file, e));
    err_code code = ERR_OK;
    for (str s = buf_str(&file); s.len && code == ERR_OK;) {
        if (!field(&s, &no, &v, &bytes))
            code = err_set(e, ERR_FORMAT, "tokenizer.model is damaged");
        else if (no == 1)
            code = read_piece(t, bytes, id++, e);
    }
    buf_finish(&file);
    if (code == ERR_OK && id == 0) FAIL(e, FORMAT, "tokenizer.model holds no pieces");
    return code;
}

/* ---- BERT ---- */

static err_code read_vocab_txt(tokens *t, const char *path, err *e) {
    buf file = {0};
    int64_t id = 0;
    TRY(file_read(path, PIECES_FILE_MAX, &file, e));
    err_code code = ERR_OK;
    for (str rest = buf_str(&file); rest.len && code == ERR_OK && (size_t)id < t->n; id++) {
        str line = str_cut(&rest, '\n');
        if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
        code = set_token(t, line, id, TOK_TYPE_NORMAL, e);
    }
    buf_finish(&file);
    t->kind = t->pre = STR("bert");
    return code;
}

/* "##ing" is a piece inside a word, others begin one; [CLS] and its like stay. */
static void mark_words(tokens *t) {
    static const char *const SPECIAL[] = {"[PAD]", "[CLS]", "[SEP]", "[MASK]"};
    for (size_t i = 0; i < t->n; i++) {
        str s = t->texts[i];
        for (size_t k = 0; k < COUNT_OF(SPECIAL); k++)
            if (str_eq(s, str_from(SPECIAL[k]))) t->types[i] = TOK_TYPE_CONTROL;
        if (str_eq(s, STR("[UNK]"))) t->types[i] = TOK_TYPE_UNKNOWN;
        if (str_starts(s, STR("##")))
            t->texts[i] = str_sub(s, 2, s.len);
        else if (!(s.len > 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']'))
            t->texts[i] = str_fmt(t->j->mem, SPACE_MARK STR_FMT, STR_ARG(s));
    }
}

/* ---- writing ---- */

/* The text of a role: "bos_token": "<s>" or {"content": "<s>"}. */
static str role_text(const tokens *t, const char *name) {
    const json_t *v = json_object_get(t->config, name);
    return text_of(json_is_object(v) ? json_object_get(v, "content") : v);
}

static int64_t role_id(const tokens *t, const char *token, const char *id_key) {
    int64_t id = find(t, role_text(t, token));
    const json_t *v = json_object_get(t->j->text, id_key);
    if (!v) v = json_object_get(t->j->config, id_key);
    if (json_is_array(v)) v = json_array_get(v, 0);
    if (id < 0 && json_is_integer(v)) id = json_integer_value(v);
    return id >= 0 && (size_t)id < t->n ? id : -1;
}

/* Another end of a turn, which generation_config.json or config.json lists. */
static int64_t other_end(const tokens *t, int64_t eos, err *e) {
    json_t *gen = NULL;
    int64_t id = -1;
    size_t i;
    const json_t *one;
    if (convert_json(t->j, "generation_config.json", &gen, e)) return -1;
    const json_t *list = json_object_get(gen, "eos_token_id");
    if (!json_is_array(list)) list = json_object_get(t->j->text, "eos_token_id");
    json_array_foreach(list, i, one) {
        int64_t v = json_integer_value(one);
        if (json_is_integer(one) && v != eos && v >= 0 && (size_t)v < t->n) id = v;
    }
    json_decref(gen);
    return id;
}

static void put_id(gguf_writer *w, const char *key, int64_t id) {
    if (id >= 0) gguf_writer_put_u32(w, key, (uint32_t)id);
}

static void put_roles(const tokens *t, gguf_writer *w) {
    bool bert = str_eq(t->kind, STR("bert"));
    err ignored;
    int64_t cls = role_id(t, "cls_token", "cls_token_id");
    int64_t sep = role_id(t, "sep_token", "sep_token_id");
    if (bert && cls < 0) cls = find(t, STR("[CLS]"));
    if (bert && sep < 0) sep = find(t, STR("[SEP]"));
    int64_t eos = bert ? sep : role_id(t, "eos_token", "eos_token_id");
    put_id(w, "tokenizer.ggml.bos_token_id", bert ? cls : role_id(t, "bos_token", "bos_token_id"));
    put_id(w, "tokenizer.ggml.eos_token_id", eos);
    if (!bert) put_id(w, "tokenizer.ggml.eot_token_id", other_end(t, eos, &ignored));
    put_id(w, "tokenizer.ggml.unknown_token_id",
           bert ? find(t, STR("[UNK]")) : role_id(t, "unk_token", "unk_token_id"));
    put_id(w, "tokenizer.ggml.padding_token_id",
           bert ? find(t, STR("[PAD]")) : role_id(t, "pad_token", "pad_token_id"));
    if (!bert) return;
    put_id(w, "tokenizer.ggml.seperator_token_id", sep); /* so spelled in the files */
    put_id(w, "tokenizer.ggml.cls_token_id", cls);
    put_id(w, "tokenizer.ggml.mask_token_id", find(t, STR("[MASK]")));
}

/* Does every text begin with the first token? As the post-processor says it, or the config. */
static bool adds_bos(const tokens *t) {
    const json_t *flag = json_object_get(t->config, "add_bos_token");
    if (json_is_boolean(flag)) return json_is_true(flag);
    const json_t *post = json_object_get(t->file, "post_processor");
    const json_t *list = json_object_get(post, "processors"), *one;
    size_t i;
    if (!post) return str_eq(t->kind, STR("llama"));
    json_array_foreach(
        list, i, one) if (str_eq(convert_text(one, "type"), STR("TemplateProcessing"))) post = one;
    const json_t *first = json_array_get(json_object_get(post, "single"), 0);
    return json_object_get(first, "SpecialToken") != NULL;
}

static void put_merges(const tokens *t, gguf_writer *w) {
    const json_t *merges = json_object_get(t->model, "merges");
    size_t n = json_array_size(merges);
    str *list = NEW_ARRAY(str, n + 1);
    for (size_t i = 0; i < n; i++) list[i] = merge_text(t->j->mem, json_array_get(merges, i));
    gguf_writer_put_str_array(w, "tokenizer.ggml.merges", list, n);
    mem_free(list);
}

static err_code put_template(const tokens *t, gguf_writer *w, err *e) {
    const char *path = convert_find_file(t->j, "chat_template.jinja");
    buf text = {0};
    json_t *own = NULL;
    if (path) {
        TRY(file_read(path, TEMPLATE_BYTES_MAX, &text, e));
        gguf_writer_put_str(w, "tokenizer.chat_template", buf_str(&text));
        buf_finish(&text);
        return ERR_OK;
    }
    const json_t *v = json_object_get(t->config, "chat_template"), *one;
    size_t i;
    if (!v) {
        TRY(convert_json(t->j, "chat_template.json", &own, e));
        v = json_object_get(own, "chat_template");
    }
    json_array_foreach(v, i, one) if (str_eq(convert_text(one, "name"), STR("default"))) v =
        json_object_get(one, "template");
    str s = text_of(v);
    if (s.len && s.len <= TEMPLATE_BYTES_MAX) gguf_writer_put_str(w, "tokenizer.chat_template", s);
    json_decref(own);
    return ERR_OK;
}

static err_code put_all(tokens *t, gguf_writer *w, err *e) {
    bool bpe = str_eq(t->kind, STR("gpt2")), bert = str_eq(t->kind, STR("bert"));
    gguf_writer_put_str(w, "tokenizer.ggml.model", t->kind);
    gguf_writer_put_str(w, "tokenizer.ggml.pre", t->pre);
    gguf_writer_put_str_array(w, "tokenizer.ggml.tokens", t->texts, t->n);
    if (!bpe && !bert) gguf_writer_put_array(w, "tokenizer.ggml.scores", GGUF_F32, t->scores, t->n);
    gguf_writer_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, t->types, t->n);
    if (bpe) put_merges(t, w);
    put_roles(t, w);
    gguf_writer_put_bool(w, "tokenizer.ggml.add_bos_token", bert || adds_bos(t));
    gguf_writer_put_bool(w, "tokenizer.ggml.add_eos_token", bert);
    if (bert) gguf_writer_put_bool(w, "tokenizer.ggml.add_sep_token", false);
    if (!bpe && !bert) gguf_writer_put_bool(w, "tokenizer.ggml.add_space_prefix", t->prefix_space);
    if (bert) gguf_writer_put_u32(w, "tokenizer.ggml.token_type_count", 2);
    return put_template(t, w, e);
}

static err_code read_all(tokens *t, err *e) {
    const char *pieces = convert_find_file(t->j, "tokenizer.model");
    const char *words = convert_find_file(t->j, "vocab.txt");
    TRY(convert_json(t->j, "tokenizer.json", &t->file, e));
    TRY(convert_json(t->j, "tokenizer_config.json", &t->config, e));
    t->model = json_object_get(t->file, "model");
    if (!t->file && words && t->j->family->style == CONVERT_BERT)
        return read_vocab_txt(t, words, e);
    if (t->file) TRY(find_kind(t, e));
    bool spm = !t->file || str_eq(t->kind, STR("llama"));
    if (!t->file && !pieces)
        FAIL(e, NOT_FOUND, "tokenizer.json is missing beside the safetensors files");
    if (!t->file) {
        t->kind = STR("llama");
        t->pre = STR("default");
        t->prefix_space = !t->j->family->plus_one;
    }
    if (spm && pieces) {
        TRY(read_pieces(t, pieces, e));
    } else {
        TRY(read_vocab(t, e));
        if (spm) score_by_merges(t);
    }
    return read_added(t, e);
}

static err_code make(tokens *t, gguf_writer *w, err *e) {
    t->n = (size_t)t->j->n_vocab;
    t->texts = ARENA_ARRAY(t->j->mem, str, t->n);
    t->types = ARENA_ARRAY(t->j->mem, int32_t, t->n);
    t->scores = ARENA_ARRAY(t->j->mem, float, t->n);
    TRY(read_all(t, e));
    for (size_t i = 0; i < t->n; i++) {
        if (t->texts[i].ptr && t->types[i]) continue;
        t->texts[i] = str_fmt(t->j->mem, "[PAD%zu]", i);
        t->types[i] = TOK_TYPE_UNUSED;
    }
    if (str_eq(t->kind, STR("bert"))) mark_words(t);
    return put_all(t, w, e);
}

err_code convert_put_tokenizer(convert_job *j, gguf_writer *w, err *e) {
    tokens t = {.j = j};
    err_code code = make(&t, w, e);
    json_decref(t.file);
    json_decref(t.config);
    map_finish(&t.ids);
    return code;
}
