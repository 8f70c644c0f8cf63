/* Prompts to vectors. */
#include "diffusion/prompt.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "diffusion/clip_tok.h"
#include <string.h>

enum { CHUNK = 77, TEXT = CHUNK - 2, SPLIT_FROM = 8, DEPTH_MAX = 1000 };

/* ---- weights ---- */

typedef VEC(prompt_part) parts;

/* Escaped parentheses stand for themselves through the parsing as these bytes. */
#define MARK_OPEN '\1'
#define MARK_CLOSE '\2'

static str escape(arena *a, str text) {
    buf b = {0};
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i], next = i + 1 < text.len ? text.ptr[i + 1] : '\0';
        if (c == '\\' && (next == '(' || next == ')')) {
            buf_put_char(&b, next == '(' ? MARK_OPEN : MARK_CLOSE);
            i++;
        } else {
            buf_put_char(&b, c);
        }
    }
    str s = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return s;
}

static str unescape(arena *a, str text) {
    char *p = str_cstr(a, text);
    for (size_t i = 0; i < text.len; i++)
        p[i] = p[i] == MARK_OPEN ? '(' : p[i] == MARK_CLOSE ? ')' : p[i];
    return (str){p, text.len};
}

static void add_part(arena *a, parts *list, str text, double weight) {
    if (text.len) VEC_PUSH(*list, (prompt_part){unescape(a, text), weight});
}

/* A number as Python reads it: blanks around it, underscores between digits. */
static bool weight_value(arena *a, str text, double *ret) {
    str s = str_trim(text);
    char *p = str_cstr(a, s);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        bool between = i > 0 && i + 1 < s.len && s.ptr[i - 1] >= '0' && s.ptr[i - 1] <= '9' &&
                       s.ptr[i + 1] >= '0' && s.ptr[i + 1] <= '9';
        if (s.ptr[i] != '_' || !between) p[n++] = s.ptr[i];
    }
    return str_to_f64((str){p, n}, ret);
}

static void parse_level(arena *a, parts *list, str s, double weight, int depth);

/* A stretch without parentheses around it, or a whole group with them. */
static void parse_item(arena *a, parts *list, str s, double weight, int depth) {
    if (s.len < 2 || s.ptr[0] != '(' || s.ptr[s.len - 1] != ')' || depth >= DEPTH_MAX) {
        add_part(a, list, s, weight);
        return;
    }
    str inner = str_sub(s, 1, s.len - 1);
    double given;
    ptrdiff_t colon = str_rfind_char(inner, ':');
    weight *= 1.1;
    if (colon > 0 && weight_value(a, str_sub(inner, (size_t)colon + 1, inner.len), &given)) {
        weight = given;
        inner = str_sub(inner, 0, (size_t)colon);
    }
    parse_level(a, list, inner, weight, depth + 1);
}

static void parse_level(arena *a, parts *list, str s, double weight, int depth) {
    int64_t nesting = 0;
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '(' && nesting++ == 0) {
            parse_item(a, list, str_sub(s, from, i), weight, depth);
            from = i;
        }
        if (s.ptr[i] == ')' && --nesting == 0) {
            parse_item(a, list, str_sub(s, from, i + 1), weight, depth);
            from = i + 1;
        }
    }
    parse_item(a, list, str_sub(s, from, s.len), weight, depth);
}

prompt_part *prompt_parse(arena *a, str text, size_t *ret_n) {
    parts list = {0};
    parse_level(a, &list, escape(a, text), 1.0, 0);
    prompt_part *p = arena_dup(a, list.items, list.len * sizeof *p);
    *ret_n = list.len;
    VEC_FINISH(list);
    return p;
}

/* ---- tokens ---- */

/* A place in a chunk: a token, or a row of a learned embedding. */
typedef struct place {
    int32_t id;
    const float *row;
    double weight;
} place;
typedef VEC(place) places;

typedef struct reader {
    const prompt_encoder *enc;
    arena *a;
    places all;  /* whole chunks */
    int32_t eos; /* place of the end in the first chunk, -1 = not yet */
    size_t fill; /* of the open chunk, its start token included */
} reader;

static void open_chunk(reader *r) {
    VEC_PUSH(r->all, (place){CLIP_TOK_START, NULL, 1});
    r->fill = 1;
}

static void close_chunk(reader *r) {
    if (r->eos < 0) r->eos = (int32_t)r->fill;
    VEC_PUSH(r->all, (place){CLIP_TOK_END, NULL, 1});
    for (r->fill++; r->fill < CHUNK; r->fill++) VEC_PUSH(r->all, (place){r->enc->pad, NULL, 1});
    r->fill = 0;
}

/* Tokens of one weight: kept together when they are few, else cut where the chunk ends. */
static void put_group(reader *r, const place *items, size_t n) {
    bool is_large = n >= SPLIT_FROM;
    while (n > 0) {
        size_t room = CHUNK - 1 - r->fill;
        if (n > room && !is_large) {
            close_chunk(r);
            open_chunk(r);
            room = TEXT;
        }
        size_t take = n < room ? n : room;
        for (size_t i = 0; i < take; i++) VEC_PUSH(r->all, items[i]);
        r->fill += take;
        items += take;
        n -= take;
        if (n == 0) break;
        close_chunk(r);
        open_chunk(r);
    }
}

static void put_text(reader *r, str text, double weight) {
    clip_ids ids = {0};
    places list = {0};
    clip_tok_encode(text, &ids);
    for (size_t i = 0; i < ids.len; i++) VEC_PUSH(list, (place){ids.items[i], NULL, weight});
    put_group(r, list.items, list.len);
    VEC_FINISH(ids);
    VEC_FINISH(list);
}

/* The rows of an embedding's file for this encoder; NULL when there are none that fit. */
static const float *embedding_rows(reader *r, str path, size_t *ret_n) {
    diff_file *f;
    const float *rows = NULL;
    int64_t width = clip_text_get_info(r->enc->clip)->width;
    if (diff_file_open(str_cstr(r->a, path), &f, NULL)) return NULL;
    const safetensors_tensor *t = diff_file_named(f, r->enc->embed_key);
    for (size_t i = 0; !t && i < diff_file_n_tensors(f); i++) {
        const safetensors_tensor *one = diff_file_at(f, i);
        if (one->ne[0] == width && !diff_file_named(f, "clip_g")) t = one;
    }
    if (t && t->ne[0] == width && t->n_dims <= 2 && t->ne[1] <= TEXT * 8 &&
        dtype_get_info(t->type)->supported) {
        float *mem = arena_calloc(r->a, (size_t)(t->ne[0] * t->ne[1]), sizeof *mem);
        dequant_row(t->type, t->data, mem, t->ne[0] * t->ne[1]);
        *ret_n = (size_t)t->ne[1];
        rows = mem;
    }
    diff_file_unref(&f);
    return rows;
}

/* The embedding of a word, unknown ones left out. Returns how many bytes of the word are its name:
 * commas around it are not, and what they leave over at the end is text again. */
static size_t put_embedding(reader *r, str word, double weight) {
    str path, name = word;
    size_t n = 0;
    const float *rows = NULL;
    const prompt_embeddings *emb = r->enc->embeddings;
    bool found = emb && emb->path(emb->ctx, name, r->a, &path);
    if (!found) {
        while (name.len && name.ptr[name.len - 1] == ',') name.len--;
        while (name.len && name.ptr[0] == ',') name = str_sub(name, 1, name.len);
        found = name.len && emb && emb->path(emb->ctx, name, r->a, &path);
    }
    if (found) rows = embedding_rows(r, path, &n);
    places list = {0};
    int64_t width = clip_text_get_info(r->enc->clip)->width;
    for (size_t i = 0; rows && i < n; i++)
        VEC_PUSH(list, (place){0, rows + (int64_t)i * width, weight});
    put_group(r, list.items, list.len);
    VEC_FINISH(list);
    return name.len;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* A part's text, cut at embedding:name where that begins a word. */
static void put_part(reader *r, const prompt_part *p) {
    static const str MARK = {"embedding:", 10};
    str s = p->text;
    size_t from = 0;
    for (size_t i = 0; i + MARK.len < s.len; i++) {
        bool begins = i == 0 || is_blank(s.ptr[i - 1]);
        if (!begins || !str_starts(str_sub(s, i, s.len), MARK)) continue;
        if (i > from) put_text(r, str_sub(s, from, i), p->weight);
        size_t end = i + MARK.len;
        while (end < s.len && !is_blank(s.ptr[end]) && s.ptr[end] != '<' && s.ptr[end] != '[')
            end++;
        from = i + MARK.len;
        from += put_embedding(r, str_sub(s, from, end), p->weight);
        i = end;
    }
    if (from < s.len) put_text(r, str_sub(s, from, s.len), p->weight);
}

static void read_places(reader *r, str text) {
    size_t n;
    prompt_part *p = prompt_parse(r->a, text, &n);
    open_chunk(r);
    for (size_t i = 0; i < n; i++) put_part(r, &p[i]);
    close_chunk(r);
}

int32_t prompt_chunks(const prompt_encoder *enc, str text) {
    reader r = {.enc = enc, .a = arena_create(0), .eos = -1};
    read_places(&r, text);
    int32_t n = (int32_t)(r.all.len / CHUNK);
    VEC_FINISH(r.all);
    arena_destroy(&r.a);
    return n;
}

/* ---- vectors ---- */

/* Where a chunk's results go. */
typedef struct chunk_out {
    float *hidden, *pooled;
} chunk_out;

static err_code encode_chunk(const prompt_encoder *enc, const place *p, int32_t eos,
                             const diff_gate *gate, chunk_out out, err *e) {
    size_t width = (size_t)clip_text_get_info(enc->clip)->width;
    float *rows = mem_calloc(CHUNK * width, sizeof *rows);
    err_code code = ERR_OK;
    for (size_t i = 0; i < CHUNK && code == ERR_OK; i++) {
        const float *row = p[i].row ? p[i].row : clip_text_row(enc->clip, p[i].id);
        if (row)
            memcpy(rows + i * width, row, width * sizeof *rows);
        else
            code = err_set(e, ERR_FORMAT, "the text encoder has no token %d", p[i].id);
    }
    int32_t n_layers = clip_text_get_info(enc->clip)->n_layers;
    clip_text_input in = {.rows = rows,
                          .eos = eos,
                          .layer = -enc->layer > n_layers ? 0 : enc->layer,
                          .final_norm = enc->final_norm};
    if (code == ERR_OK) code = clip_text_eval(enc->clip, &in, gate, out.hidden, out.pooled, e);
    mem_free(rows);
    return code;
}

/* v = (v - empty) w + empty, token by token. */
static void apply_weights(float *v, const float *empty, const place *p, size_t n_chunks,
                          size_t width) {
    for (size_t i = 0; i < n_chunks * CHUNK; i++) {
        float w = (float)p[i].weight;
        if (!(w < 1.0f) && !(w > 1.0f)) continue;
        float *row = v + i * width;
        const float *base = empty + i % CHUNK * width;
        for (size_t k = 0; k < width; k++) row[k] = (row[k] - base[k]) * w + base[k];
    }
}

static bool any_weight(const places *p) {
    for (size_t i = 0; i < p->len; i++)
        if (p->items[i].weight < 1 || p->items[i].weight > 1) return true;
    return false;
}

static err_code encode_all(reader *r, const diff_gate *gate, prompt_result *ret, err *e) {
    const clip_text_info *f = clip_text_get_info(r->enc->clip);
    size_t n = r->all.len / CHUNK, width = (size_t)f->width;
    float *unused = mem_calloc((size_t)f->pooled_dim, sizeof *unused);
    err_code code = ERR_OK;
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        code = encode_chunk(r->enc, r->all.items + i * CHUNK, i ? CHUNK - 1 : r->eos, gate,
                            (chunk_out){ret->vectors + i * CHUNK * width, i ? unused : ret->pooled},
                            e);
    if (code == ERR_OK && any_weight(&r->all)) {
        place empty[CHUNK];
        for (size_t i = 0; i < CHUNK; i++)
            empty[i] = (place){i == 0   ? CLIP_TOK_START
                               : i == 1 ? CLIP_TOK_END
                                        : r->enc->pad,
                               NULL, 1};
        float *base = mem_calloc(CHUNK * width, sizeof *base);
        code = encode_chunk(r->enc, empty, 1, gate, (chunk_out){base, unused}, e);
        if (code == ERR_OK) apply_weights(ret->vectors, base, r->all.items, n, width);
        mem_free(base);
    }
    mem_free(unused);
    return code;
}

err_code prompt_encode(const prompt_encoder *enc, str text, int32_t min_chunks,
                       const diff_gate *gate, prompt_result *ret, err *e) {
    const clip_text_info *f = clip_text_get_info(enc->clip);
    if (f->n_tokens != CHUNK)
        FAIL(e, UNSUPPORTED, "a text encoder of %d positions; %d are expected", f->n_tokens, CHUNK);
    if (text.len > LIMIT_IMAGE_PROMPT_BYTES)
        FAIL(e, LIMIT, "the prompt has %zu bytes; at most %u are possible", text.len,
             LIMIT_IMAGE_PROMPT_BYTES);
    reader r = {.enc = enc, .a = arena_create(0), .eos = -1};
    read_places(&r, text);
    while (r.all.len / CHUNK < (size_t)min_chunks) {
        open_chunk(&r);
        close_chunk(&r);
    }
    *ret = (prompt_result){.n_tokens = (int32_t)r.all.len,
                           .width = f->width,
                           .pooled_dim = f->pooled_dim,
                           .vectors = mem_calloc(r.all.len, (size_t)f->width * sizeof(float)),
                           .pooled = mem_calloc((size_t)f->pooled_dim, sizeof(float))};
    err_code code = encode_all(&r, gate, ret, e);
    if (code) prompt_result_finish(ret);
    VEC_FINISH(r.all);
    arena_destroy(&r.a);
    return code;
}

void prompt_result_finish(prompt_result *r) {
    mem_free(r->vectors);
    mem_free(r->pooled);
    *r = (prompt_result){0};
}
