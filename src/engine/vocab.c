/* Texts and tokens of a model that is not loaded. See report.h.
 *
 * A vocabulary costs some 100 ms to make and megabytes to keep, so the last few are shared: by
 * path, size and time of change, counted by their users. */
#include "engine/vocab.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "engine/report.h"
#include "model/gguf.h"
#include <pthread.h>
#include <sys/stat.h>

enum { CACHE_ENTRIES = 4 };

typedef struct vocab {
    gguf *file;
    tok *t;
    chat_template *chat;
    char *path;
    int64_t n_bytes, changed_ns;
    int n_users; /* the cache is one */
} vocab;

static struct {
    pthread_mutex_t mu;
    vocab *entries[CACHE_ENTRIES]; /* most recently used first */
} cache = {.mu = PTHREAD_MUTEX_INITIALIZER};

/* ---- what loaded models do as well ---- */

err_code vocab_render(const chat_template *c, const engine_prompt *p, const value *messages,
                      arena *a, engine_segments *ret, err *e) {
    static const int THINK[] = {
        [ENGINE_THINK_DEFAULT] = -1, [ENGINE_THINK_OFF] = 0, [ENGINE_THINK_ON] = 1};
    chat_input in = {.messages = messages,
                     .tools = p->tools,
                     .add_generation_prompt = !p->continue_last,
                     .continue_last = p->continue_last,
                     .think = THINK[p->think],
                     .think_level = p->think_level,
                     .override_template = p->template_text,
                     .suffix = p->suffix,
                     .now_unix = clock_wall_ns() / NS_PER_S};
    return chat_render(c, &in, a, &ret->items, &ret->n, e);
}

/* A template may have written the first token itself: once is enough. */
err_code vocab_encode(const tok *t, engine_segments segs, bool add_special, tok_ids *ret, err *e) {
    size_t from = ret->len;
    TRY(tok_encode_segments(t, segs.items, segs.n, add_special ? TOK_ADD_SPECIAL : 0, ret, e));
    int32_t bos = tok_role_id(t, TOK_BOS);
    if (add_special && tok_adds_bos(t) && ret->len >= from + 2 && ret->items[from] == bos &&
        ret->items[from + 1] == bos)
        VEC_REMOVE_AT(*ret, from);
    return ERR_OK;
}

/* ---- the cache ---- */

static void vocab_destroy(vocab *v) {
    chat_destroy(&v->chat);
    tok_destroy(&v->t);
    gguf_destroy(&v->file);
    mem_free(v->path);
    mem_free(v);
}

/* Called with the lock. */
static void unref(vocab *v) {
    if (v && --v->n_users == 0) vocab_destroy(v);
}

static void let_go(vocab *v) {
    pthread_mutex_lock(&cache.mu);
    unref(v);
    pthread_mutex_unlock(&cache.mu);
}

static err_code vocab_create(const char *path, const struct stat *st, vocab **ret, err *e) {
    vocab *v = NEW(vocab);
    str p = str_from(path);
    v->path = mem_dup(p.ptr, p.len + 1);
    v->n_bytes = st->st_size;
    v->changed_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    v->n_users = 1;
    err_code code = gguf_open(path, &v->file, e);
    if (code == ERR_OK) code = tok_create_from_gguf(v->file, &v->t, e);
    if (code == ERR_OK)
        code = chat_create(gguf_opt_str(v->file, "tokenizer.chat_template", STR("")),
                           tok_text(v->t, tok_role_id(v->t, TOK_BOS)),
                           tok_text(v->t, tok_role_id(v->t, TOK_EOS)), &v->chat, e);
    if (code)
        vocab_destroy(v);
    else
        *ret = v;
    return code;
}

/* Called with the lock: puts v first; the last one makes room. */
static void put_first(vocab *v) {
    size_t at = 0;
    while (at < CACHE_ENTRIES - 1 && cache.entries[at] && cache.entries[at] != v) at++;
    if (cache.entries[at] != v) {
        unref(cache.entries[at]);
        v->n_users++;
    }
    for (; at > 0; at--) cache.entries[at] = cache.entries[at - 1];
    cache.entries[0] = v;
}

static vocab *find(const char *path, const struct stat *st) {
    int64_t changed = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    for (size_t i = 0; i < CACHE_ENTRIES; i++) {
        vocab *v = cache.entries[i];
        if (!v || v->n_bytes != st->st_size || v->changed_ns != changed ||
            !str_eq(str_from(v->path), str_from(path)))
            continue;
        put_first(v);
        v->n_users++;
        return v;
    }
    return NULL;
}

/* To be let go of. */
static err_code vocab_get(str path, arena *a, vocab **ret, err *e) {
    struct stat st;
    char *cpath = str_cstr(a, path);
    if (path.len == 0) FAIL(e, INVALID, "the model has no weights here");
    if (stat(cpath, &st) != 0) FAIL(e, NOT_FOUND, "%s: no such file", cpath);
    pthread_mutex_lock(&cache.mu);
    vocab *v = find(cpath, &st);
    pthread_mutex_unlock(&cache.mu);
    if (!v) {
        TRY(vocab_create(cpath, &st, &v, e));
        pthread_mutex_lock(&cache.mu);
        put_first(v);
        pthread_mutex_unlock(&cache.mu);
    }
    *ret = v;
    return ERR_OK;
}

/* ---- the interface ---- */

static err_code encode_prompt(const vocab *v, const engine_prompt *p, unsigned flags, arena *a,
                              engine_tokens *ret, err *e) {
    tok_segment whole = {p->text, (flags & ENGINE_TOKENIZE_SPECIAL) != 0};
    engine_segments segs = {&whole, 1};
    tok_ids ids = {0};
    buf all = {0};
    if (p->kind == ENGINE_PROMPT_MESSAGES) TRY(vocab_render(v->chat, p, p->messages, a, &segs, e));
    for (size_t i = 0; i < segs.n; i++) buf_put_str(&all, segs.items[i].text);
    err_code code = ERR_OK;
    if (all.len > LIMIT_PROMPT_BYTES)
        code = err_set(e, ERR_LIMIT, "a text of %zu bytes; at most %u are possible", all.len,
                       LIMIT_PROMPT_BYTES);
    if (code == ERR_OK)
        code = vocab_encode(v->t, segs, (flags & ENGINE_TOKENIZE_ADD) != 0, &ids, e);
    if (code == ERR_OK) {
        str *pieces = ARENA_ARRAY(a, str, ids.len + 1);
        for (size_t i = 0; i < ids.len; i++)
            pieces[i] = str_dup(a, tok_piece(v->t, ids.items[i], true));
        size_t n_bytes = ids.len * sizeof *ids.items;
        *ret = (engine_tokens){.ids = ids.len ? arena_dup(a, ids.items, n_bytes) : NULL,
                               .pieces = pieces,
                               .n = ids.len,
                               .rendered = str_dup(a, buf_str(&all))};
    }
    buf_finish(&all);
    VEC_FINISH(ids);
    return code;
}

err_code engine_tokenize(str path, const engine_prompt *p, unsigned flags, arena *a,
                         engine_tokens *ret, err *e) {
    vocab *v;
    TRY(vocab_get(path, a, &v, e));
    err_code code = encode_prompt(v, p, flags, a, ret, e);
    let_go(v);
    return code;
}

static err_code check_ids(const vocab *v, const engine_tokens *in, err *e) {
    for (size_t i = 0; i < in->n; i++)
        if (in->ids[i] < 0 || (size_t)in->ids[i] >= tok_vocab_count(v->t))
            FAIL(e, INVALID, "tokens[%zu] is %d; the vocabulary has %zu tokens", i, in->ids[i],
                 tok_vocab_count(v->t));
    return ERR_OK;
}

err_code engine_detokenize(str path, const engine_tokens *in, bool special, arena *a, str *ret,
                           err *e) {
    vocab *v;
    TRY(vocab_get(path, a, &v, e));
    err_code code = check_ids(v, in, e);
    if (code == ERR_OK) {
        buf text = {0};
        tok_decode(v->t, in->ids, in->n, special, &text);
        *ret = str_dup(a, buf_str(&text));
        buf_finish(&text);
    }
    let_go(v);
    return code;
}
