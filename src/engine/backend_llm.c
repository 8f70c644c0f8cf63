/* Language models behind the engine's backend table: llm/ on a CPU device.
 *
 * step is the place where the engine's batch becomes a device step: token ids, positions, wanted
 * rows and page tables side by side. Threads: see backend.h. */
#include "base/limits.h"
#include "engine/vocab.h"
#include "llm/kv.h"
#include "llm/model.h"
#include "os/file.h"
#include "os/mem.h"
#include <pthread.h>

typedef struct llm_backend {
    dev *d;
} llm_backend;

typedef struct resident {
    llm_backend *owner;
    llm_model *m;
    llm_kv *kv; /* NULL until kv_open, and for embedding models */
    pthread_mutex_t mu;
    grammar_vocab *vocab; /* made when a format is first asked for; under mu */
} resident;

static void backend_destroy(void *ctx) {
    llm_backend *b = ctx;
    dev_destroy(&b->d);
    mem_free(b);
}

static uint64_t backend_memory(void *ctx) {
    (void)ctx;
    return os_mem_query().total_bytes;
}

static dev *backend_device(void *ctx) {
    return ((llm_backend *)ctx)->d;
}

static err_code backend_file_bytes(void *ctx, const engine_model *m, uint64_t *ret, err *e) {
    (void)ctx;
    CLEANUP(arena_destroy) arena *a = arena_create(512);
    uint64_t n_model, n_adapter = 0;
    TRY(file_length(str_cstr(a, m->path), &n_model, e));
    if (m->adapter.len) TRY(file_length(str_cstr(a, m->adapter), &n_adapter, e));
    *ret = n_model + n_adapter;
    return ERR_OK;
}

typedef err_code load_fn(dev *d, const char *path, const char *adapter, llm_model **ret, err *e);

static err_code load_with(load_fn *fn, llm_backend *b, const engine_model *m, void **ret_model,
                          err *e) {
    resident *r = NEW(resident);
    r->owner = b;
    pthread_mutex_init(&r->mu, NULL);
    arena *a = arena_create(512);
    char *adapter = m->adapter.len ? str_cstr(a, m->adapter) : NULL;
    err_code code = fn(b->d, str_cstr(a, m->path), adapter, &r->m, e);
    arena_destroy(&a);
    if (code) {
        mem_free(r);
        return code;
    }
    *ret_model = r;
    return ERR_OK;
}

static err_code backend_load(void *ctx, const engine_model *m, void **ret_model, err *e) {
    return load_with(llm_model_load, ctx, m, ret_model, e);
}

static err_code backend_inspect(void *ctx, const engine_model *m, void **ret_model, err *e) {
    return load_with(llm_model_inspect, ctx, m, ret_model, e);
}

static void backend_unload(void *model) {
    resident *r = model;
    llm_kv_destroy(&r->kv);
    grammar_vocab_destroy(&r->vocab);
    llm_model_destroy(&r->m);
    pthread_mutex_destroy(&r->mu);
    mem_free(r);
}

static void backend_facts(void *model, engine_facts *ret) {
    const resident *r = model;
    const llm_model_info *info = llm_model_get_info(r->m);
    *ret = (engine_facts){
        .n_vocab = info->n_vocab,
        .n_embd = info->n_embd,
        .ctx_train = info->ctx_train,
        .can_generate = !info->can_embed,
        .can_embed = info->can_embed,
        .weight_bytes = info->weight_bytes,
        .page_bytes = info->can_embed ? 0 : dev_kv_page_bytes(&info->kv_shape),
        .page_tokens = LLM_KV_PAGE_TOKENS,
    };
}

static err_code backend_step_bytes(void *model, int32_t max_tokens, uint64_t *ret, err *e) {
    return llm_model_step_bytes(((resident *)model)->m, max_tokens, ret, e);
}

/* ---- KV ---- */

static err_code backend_kv_open(void *model, int32_t max_pages, err *e) {
    resident *r = model;
    return llm_kv_create(r->owner->d, &llm_model_get_info(r->m)->kv_shape, max_pages, &r->kv, e);
}
static void backend_kv_limit(void *model, int32_t n_pages) {
    llm_kv_set_limit(((resident *)model)->kv, n_pages);
}
static void *backend_seq_create(void *model, const int32_t *ids, int32_t n, int32_t *ret_n_cached) {
    return llm_kv_seq_create(((resident *)model)->kv, ids, n, ret_n_cached);
}
static void backend_seq_destroy(void *seq) {
    llm_kv_seq *s = seq;
    llm_kv_seq_destroy(&s);
}
static err_code backend_seq_append(void *seq, const int32_t *ids, int32_t n, err *e) {
    return llm_kv_seq_append(seq, ids, n, e);
}
static void backend_seq_commit(void *seq) {
    llm_kv_seq_commit(seq);
}
static void backend_seq_truncate(void *seq, int32_t n) {
    llm_kv_seq_truncate(seq, n);
}

/* ---- a step ---- */

typedef struct flat_step {
    int32_t ids[LIMIT_STEP_TOKENS], pos[LIMIT_STEP_TOKENS], rows[LIMIT_PARALLEL];
    dev_seq seqs[LIMIT_PARALLEL];
    dev_step step;
} flat_step;

static err_code flatten(const resident *r, const engine_batch *b, flat_step *f, err *e) {
    dev_step *s = &f->step;
    for (int32_t i = 0; i < b->n_seqs; i++) {
        const engine_batch_seq *q = &b->seqs[i];
        if (q->n_ids < 1 || q->n_ids > LIMIT_STEP_TOKENS - s->n_tokens || i >= LIMIT_PARALLEL)
            FAIL(e, INTERNAL, "a step of too many tokens or sequences");
        f->seqs[i] = (dev_seq){.first_tok = s->n_tokens,
                               .n_tok = q->n_ids,
                               .kv_len = q->pos + q->n_ids,
                               .pages = q->seq ? llm_kv_seq_pages(q->seq) : NULL};
        for (int32_t t = 0; t < q->n_ids; t++) {
            f->ids[s->n_tokens] = q->ids[t];
            f->pos[s->n_tokens++] = q->pos + t;
        }
        if (q->want_row) f->rows[s->n_out_rows++] = s->n_tokens - 1;
    }
    s->n_seqs = b->n_seqs;
    s->seqs = f->seqs;
    s->inputs[DEV_INPUT_TOKENS] = f->ids;
    s->inputs[DEV_INPUT_POS] = f->pos;
    s->inputs[DEV_INPUT_OUT_ROWS] = f->rows;
    s->outputs[DEV_OUTPUT_LOGITS] = b->logits;
    s->outputs[DEV_OUTPUT_EMBED] = b->embed;
    if (r->kv) {
        s->kv_shape = llm_kv_get_shape(r->kv);
        s->kv_pool = llm_kv_pool(r->kv);
    }
    return ERR_OK;
}

static err_code backend_step(void *model, const engine_batch *b, dev_cancel *cancel, err *e) {
    resident *r = model;
    flat_step *f = mem_alloc(sizeof *f); /* tables of the largest step */
    f->step = (dev_step){0};
    err_code code = flatten(r, b, f, e);
    if (code == ERR_OK) code = llm_model_step(r->m, &f->step, cancel, e);
    mem_free(f);
    return code;
}

/* ---- text ---- */

static err_code backend_render(void *model, const engine_prompt *p, const value *messages, arena *a,
                               engine_segments *ret, err *e) {
    return vocab_render(llm_model_chat(((resident *)model)->m), p, messages, a, ret, e);
}

static err_code backend_encode(void *model, engine_segments segs, bool add_special, tok_ids *ret,
                               err *e) {
    return vocab_encode(llm_model_tok(((resident *)model)->m), segs, add_special, ret, e);
}

static str backend_piece(void *model, int32_t id) {
    return tok_piece(llm_model_tok(((resident *)model)->m), id, false);
}

static str backend_mark(void *model, int32_t id) {
    const tok *t = llm_model_tok(((resident *)model)->m);
    return tok_piece(t, id, false).len ? (str){0} : tok_piece(t, id, true);
}

static str backend_chat_source(void *model) {
    return chat_source(llm_model_chat(((resident *)model)->m));
}

static llm_constraint *backend_constrain(void *model, grammar **g) {
    resident *r = model;
    const tok *t = llm_model_tok(r->m);
    pthread_mutex_lock(&r->mu);
    if (!r->vocab) r->vocab = llm_constraint_vocab(t);
    pthread_mutex_unlock(&r->mu);
    return llm_constraint_create(g, r->vocab, t);
}

static bool backend_is_stop(void *model, int32_t id) {
    return tok_is_stop(llm_model_tok(((resident *)model)->m), id);
}

static int32_t backend_first_id(void *model) {
    const tok *t = llm_model_tok(((resident *)model)->m);
    int32_t bos = tok_role_id(t, TOK_BOS);
    return bos >= 0 ? bos : tok_role_id(t, TOK_EOS);
}

err_code engine_backend_llm(const dev_cpu_params *p, engine_backend *ret, err *e) {
    llm_backend *b = NEW(llm_backend);
    err_code code = dev_cpu_create(p, &b->d, e);
    if (code) {
        mem_free(b);
        return code;
    }
    *ret = (engine_backend){
        .ctx = b,
        .destroy = backend_destroy,
        .memory = backend_memory,
        .device = backend_device,
        .file_bytes = backend_file_bytes,
        .load = backend_load,
        .inspect = backend_inspect,
        .unload = backend_unload,
        .facts = backend_facts,
        .step_bytes = backend_step_bytes,
        .kv_open = backend_kv_open,
        .kv_limit = backend_kv_limit,
        .seq_create = backend_seq_create,
        .seq_destroy = backend_seq_destroy,
        .seq_append = backend_seq_append,
        .seq_commit = backend_seq_commit,
        .seq_truncate = backend_seq_truncate,
        .step = backend_step,
        .render = backend_render,
        .encode = backend_encode,
        .piece = backend_piece,
        .mark = backend_mark,
        .chat_source = backend_chat_source,
        .is_stop = backend_is_stop,
        .constrain = backend_constrain,
        .first_id = backend_first_id,
    };
    return ERR_OK;
}
