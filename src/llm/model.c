/* Loading a model and running its steps.
 *
 * Place in the path: the engine's step loop calls llm_model_step, which picks the program of the
 * token bucket (building graph and plan at first use) and runs it on the device.
 * Threads: see model.h. Invariants: hyper-parameters and weights never change after loading; a
 * program borrows weight memory from the mapping and from `mem`, so programs end first. */
#include "llm/model.h"
#include "base/limits.h"
#include "llm/adapter.h"
#include "llm/arch/arch.h"
#include "llm/settle.h"
#include "model/chat.h"
#include <string.h>

/* Live lengths may be anything up to the plan's, so few sizes are enough: one for decoding, one for
 * chunks of prompts, one for long ones; beyond that whole texts of embedding models. */
static const int32_t buckets[] = {16, 256, LLM_MODEL_STEP_TOKENS, 2048, LIMIT_STEP_TOKENS};
enum { N_BUCKETS = COUNT_OF(buckets), N_BUCKETS_CAUSAL = 3 };

typedef struct model_program {
    dev_program *program;
    int32_t n_phases;
    uint64_t arena_bytes;
} model_program;

struct llm_model {
    dev *d;
    arena *mem;
    llm_settler *settler; /* moves the matrices; NULL when they stay in the file */
    gguf *file;
    gguf *adapter; /* NULL: none */
    const llm_arch *arch;
    llm_hparams hp;
    llm_weights w;
    llm_model_info info;
    tok *tokenizer;
    chat_template *chat;
    bool long_ctx;
    model_program programs[N_BUCKETS]; /* program NULL: not built */
    int last_bucket;                   /* of the step before */
};

/* ---- loading ---- */

static void fill_info(llm_model *m) {
    const llm_hparams *hp = &m->hp;
    m->info = (llm_model_info){
        .arch = gguf_arch(m->file),
        .n_layers = hp->n_layers,
        .n_embd = hp->n_embd,
        .n_vocab = hp->n_vocab,
        .ctx_train = hp->ctx_train,
        .can_embed = m->arch->embeds,
        .causal = hp->causal,
        .pool = hp->pool,
        .weight_bytes = gguf_tensor_bytes(m->file),
    };
    if (m->arch->embeds) return;
    m->info.kv_shape = (dev_kv_shape){
        .n_layers = hp->n_layers,
        .n_head_kv = hp->n_head_kv,
        .head_dim_k = hp->head_dim_k,
        .head_dim_v = hp->head_dim_v,
        .page_tokens = DEV_KV_PAGE_TOKENS,
        .type = DTYPE_F16,
    };
}

static err_code bind_model(llm_model *m, err *e) {
    const gguf *g = m->file;
    const gguf_tensor *embd;
    if (gguf_arch(g).len == 0)
        FAIL(e, FORMAT, "the file names no model architecture (general.architecture)");
    TRY(llm_arch_find(gguf_arch(g), &m->arch, e));
    if (m->arch->defaults) m->arch->defaults(str_cstr(m->mem, gguf_arch(g)), &m->hp);
    TRY(llm_hparams_read(g, &m->hp, e));
    if (m->arch->adjust) TRY(m->arch->adjust(g, &m->hp, e));
    TRY(gguf_get_tensor(g, "token_embd.weight", &embd, e));
    if (embd->ne[1] < 1 || embd->ne[1] > (int64_t)LIMIT_VOCAB)
        FAIL(e, LIMIT, "token_embd.weight has %lld rows", (long long)embd->ne[1]);
    m->hp.n_vocab = (int32_t)embd->ne[1];
    TRY(llm_weights_bind(g, &m->hp, &m->arch->tensors, m->mem, &m->w, e));
    TRY(tok_create_from_gguf(g, &m->tokenizer, e));
    if (tok_vocab_count(m->tokenizer) > (size_t)m->hp.n_vocab)
        FAIL(e, FORMAT, "the tokenizer has %zu tokens, the embedding %d rows",
             tok_vocab_count(m->tokenizer), m->hp.n_vocab);
    fill_info(m);
    const tok *t = m->tokenizer;
    TRY(chat_create(gguf_opt_str(g, "tokenizer.chat_template", STR("")),
                    tok_text(t, tok_role_id(t, TOK_BOS)), tok_text(t, tok_role_id(t, TOK_EOS)),
                    &m->chat, e));
    gguf_release(g);
    return ERR_OK;
}

/* Takes over the opened file, also on failure. */
static err_code model_create(dev *d, gguf *file, llm_model **ret, err *e) {
    llm_model *m = NEW(llm_model);
    m->d = d;
    m->mem = arena_create(0);
    m->file = file;
    err_code code = bind_model(m, e);
    if (code != ERR_OK) {
        llm_model_destroy(&m);
        return code;
    }
    *ret = m;
    return ERR_OK;
}

static err_code adapt(llm_model *m, const char *path, err *e) {
    TRY(gguf_open(path, &m->adapter, e));
    const llm_adapter_target to = {m->info.arch, &m->hp, &m->arch->tensors, &m->w};
    TRY(llm_adapter_bind(m->adapter, &to, m->mem, e));
    m->info.weight_bytes += gguf_tensor_bytes(m->adapter);
    return ERR_OK;
}

err_code llm_model_inspect(dev *d, const char *path, const char *adapter, llm_model **ret, err *e) {
    gguf *file;
    llm_model *m;
    TRY(gguf_open(path, &file, e));
    TRY(model_create(d, file, &m, e));
    err_code code = adapter ? adapt(m, adapter, e) : ERR_OK;
    if (code)
        llm_model_destroy(&m);
    else
        *ret = m;
    return code;
}

/* The model will be used: its matrices are read now, and moved while the first steps run. */
static void settle(llm_model *m) {
    gguf_prefetch(m->file);
    if (m->adapter) gguf_prefetch(m->adapter);
    m->settler = llm_settler_start(m->d, &m->hp, &m->w);
}

static void settled(llm_model *m) {
    if (!llm_settler_take(m->settler, &m->w)) return;
    llm_model_drop_programs(m); /* they hold the old places */
    gguf_release(m->file);
    if (m->adapter) gguf_release(m->adapter);
}

err_code llm_model_load(dev *d, const char *path, const char *adapter, llm_model **ret, err *e) {
    TRY(llm_model_inspect(d, path, adapter, ret, e));
    settle(*ret);
    return ERR_OK;
}

err_code llm_model_load_mem(dev *d, const void *bytes, uint64_t n_bytes, llm_model **ret, err *e) {
    gguf *file;
    TRY(gguf_open_mem(bytes, n_bytes, &file, e));
    TRY(model_create(d, file, ret, e));
    settle(*ret);
    return ERR_OK;
}

void llm_model_destroy(llm_model **m) {
    if (!m || !*m) return;
    llm_model_drop_programs(*m);
    chat_destroy(&(*m)->chat);
    tok_destroy(&(*m)->tokenizer);
    llm_settler_destroy(&(*m)->settler);
    arena_destroy(&(*m)->mem);
    gguf_destroy(&(*m)->file);
    gguf_destroy(&(*m)->adapter);
    mem_free(*m);
    *m = NULL;
}

const llm_model_info *llm_model_get_info(const llm_model *m) {
    return &m->info;
}
const tok *llm_model_tok(const llm_model *m) {
    return m->tokenizer;
}
const chat_template *llm_model_chat(const llm_model *m) {
    return m->chat;
}
const gguf *llm_model_gguf(const llm_model *m) {
    return m->file;
}

bool llm_model_set_ctx(llm_model *m, int32_t n_ctx) {
    bool is_long = m->hp.rope_scaling == LLM_ROPE_LONG && n_ctx > m->hp.rope.ctx_orig;
    if (is_long == m->long_ctx) return false;
    m->long_ctx = is_long;
    llm_model_drop_programs(m);
    return true;
}

/* ---- programs ---- */

static int32_t min_i32(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static err_code bucket_for(const llm_model *m, int32_t n_tokens, int *ret, err *e) {
    int n = m->arch->embeds ? N_BUCKETS : N_BUCKETS_CAUSAL;
    if (n_tokens < 1 || n_tokens > buckets[n - 1])
        FAIL(e, INVALID, "a step of %d tokens; this model takes 1 to %d", n_tokens, buckets[n - 1]);
    int i = 0;
    while (buckets[i] < n_tokens) i++;
    *ret = i;
    return ERR_OK;
}

static err_code program_build(llm_model *m, int32_t n_tokens, model_program *ret, err *e) {
    int32_t rows = min_i32(n_tokens, LIMIT_PARALLEL);
    graph_params params = {.max_tokens = n_tokens, .max_out_rows = rows, .max_seqs = rows};
    CLEANUP(graph_destroy) graph *g = graph_create(&params);
    llm_build b = {
        .g = g, .hp = &m->hp, .w = &m->w, .embeds = m->arch->embeds, .long_ctx = m->long_ctx};
    m->arch->build(&b);
    dev_program_spec spec;
    TRY(graph_plan(g, &spec, e));
    TRY(dev_compile(m->d, &spec, &ret->program, e));
    ret->n_phases = spec.n_phases;
    ret->arena_bytes = spec.arena_bytes;
    return ERR_OK;
}

static err_code program_get(llm_model *m, int bucket, const model_program **ret, err *e) {
    model_program *p = &m->programs[bucket];
    if (!p->program) TRY(program_build(m, buckets[bucket], p, e));
    *ret = p;
    return ERR_OK;
}

err_code llm_model_step_bytes(llm_model *m, int32_t max_tokens, uint64_t *ret_bytes, err *e) {
    int last;
    uint64_t sum = 0;
    TRY(bucket_for(m, max_tokens, &last, e));
    for (int i = 0; i <= last; i++) {
        const model_program *p;
        TRY(program_get(m, i, &p, e));
        sum += p->arena_bytes;
    }
    *ret_bytes = sum;
    return ERR_OK;
}

void llm_model_drop_programs(llm_model *m) {
    for (int i = 0; i < N_BUCKETS; i++) {
        dev_program_destroy(&m->programs[i].program);
        m->programs[i] = (model_program){0};
    }
    m->last_bucket = 0;
}

err_code llm_model_step(llm_model *m, const dev_step *step, dev_cancel *cancel, err *e) {
    int bucket;
    const model_program *p;
    settled(m);
    TRY(bucket_for(m, step->n_tokens, &bucket, e));
    if (!m->arch->embeds &&
        (!step->kv_shape || memcmp(step->kv_shape, &m->info.kv_shape, sizeof *step->kv_shape)))
        FAIL(e, INVALID, "the KV pool was made for another model");
    TRY(program_get(m, bucket, &p, e));
    if (m->last_bucket > bucket) dev_program_rest(m->programs[m->last_bucket].program);
    m->last_bucket = bucket;
    TRY(dev_run(p->program, step, 0, p->n_phases, cancel, e));
    TRY(gguf_check(m->file, e));
    return m->adapter ? gguf_check(m->adapter, e) : ERR_OK;
}
