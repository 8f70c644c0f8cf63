/* The front of every device: argument checks, then the device's table. */
#include "dev/dev.h"
#include "dev/dev_impl.h"
#include <assert.h>
#include <string.h>

static const char *const op_names[DEV_OP_COUNT] = {
    [DEV_OP_GET_ROWS] = "get_rows",
    [DEV_OP_TAKE_ROWS] = "take_rows",
    [DEV_OP_QUANTIZE] = "quantize",
    [DEV_OP_MATMUL] = "matmul",
    [DEV_OP_MATMUL_ID] = "matmul_id",
    [DEV_OP_RMS_NORM] = "rms_norm",
    [DEV_OP_LAYER_NORM] = "layer_norm",
    [DEV_OP_ADD] = "add",
    [DEV_OP_MUL] = "mul",
    [DEV_OP_SCALE] = "scale",
    [DEV_OP_SOFTCAP] = "softcap",
    [DEV_OP_ACT] = "act",
    [DEV_OP_GLU] = "glu",
    [DEV_OP_ROPE] = "rope",
    [DEV_OP_KV_STORE] = "kv_store",
    [DEV_OP_ATTENTION] = "attention",
    [DEV_OP_ATTENTION_FULL] = "attention_full",
    [DEV_OP_SOFTMAX] = "softmax",
    [DEV_OP_TOP_K] = "top_k",
    [DEV_OP_MOE_WEIGHTS] = "moe_weights",
    [DEV_OP_MOE_SUM] = "moe_sum",
    [DEV_OP_POOL] = "pool",
    [DEV_OP_L2_NORM] = "l2_norm",
    [DEV_OP_CONV2D] = "conv2d",
    [DEV_OP_GROUP_SUMS] = "group_sums",
    [DEV_OP_GROUP_NORM] = "group_norm",
    [DEV_OP_UPSAMPLE2X] = "upsample2x",
    [DEV_OP_CONCAT] = "concat",
    [DEV_OP_FREEU] = "freeu",
    [DEV_OP_SDPA] = "sdpa",
    [DEV_OP_SDPA_MASS] = "sdpa_mass",
    [DEV_OP_RESIZE] = "resize",
    [DEV_OP_TILES] = "tiles",
    [DEV_OP_TOKEN_BEST] = "token_best",
    [DEV_OP_TOKEN_MATCH] = "token_match",
    [DEV_OP_TOKEN_MERGE] = "token_merge",
    [DEV_OP_TOKEN_SPREAD] = "token_spread",
};

const char *dev_op_name(dev_op op) {
    return op < DEV_OP_COUNT ? op_names[op] : "view";
}

uint64_t dev_kv_page_bytes(const dev_kv_shape *s) {
    return (uint64_t)s->n_layers * (uint64_t)s->n_head_kv * (uint64_t)s->page_tokens *
           (uint64_t)(s->head_dim_k + s->head_dim_v) * sizeof(uint16_t);
}

void dev_destroy(dev **d) {
    if (!d || !*d) return;
    (*d)->table->destroy(*d);
    *d = NULL;
}

void dev_get_info(const dev *d, dev_info *ret) {
    d->table->get_info(d, ret);
}

err_code dev_alloc(dev *d, uint64_t n_bytes, dev_buffer *ret, err *e) {
    if (n_bytes == 0) FAIL(e, INVALID, "device allocation of 0 bytes");
    return d->table->alloc(d, n_bytes, false, ret, e);
}

err_code dev_reserve(dev *d, uint64_t n_bytes, dev_buffer *ret, err *e) {
    if (n_bytes == 0) FAIL(e, INVALID, "device allocation of 0 bytes");
    return d->table->alloc(d, n_bytes, true, ret, e);
}

void dev_free(dev *d, dev_buffer *b) {
    if (!b || !b->ptr) return;
    d->table->free(d, b);
    *b = (dev_buffer){0};
}

bool dev_can_interleave(const dev *d, dtype type, int64_t k, int64_t n_rows) {
    return k > 0 && n_rows > 0 && d->table->can_interleave(d, type, k, n_rows);
}

void dev_interleave(dev *d, dtype type, const void *src, int64_t k, int64_t n_rows, void *dst) {
    assert(dev_can_interleave(d, type, k, n_rows));
    d->table->interleave(d, type, src, k, n_rows, dst);
}

err_code dev_compile(dev *d, const dev_program_spec *spec, dev_program **ret, err *e) {
    if (spec->n_nodes < 1 || spec->n_phases < 1 || spec->max_tokens < 1 || spec->max_out_rows < 1 ||
        spec->max_seqs < 1)
        FAIL(e, INVALID, "empty device program");
    for (int32_t i = 0; i < spec->n_nodes; i++) {
        const dev_node *n = &spec->nodes[i];
        int32_t before = i ? spec->nodes[i - 1].phase : 0;
        if ((unsigned)n->op >= DEV_OP_COUNT || n->phase < before || n->phase >= spec->n_phases)
            FAIL(e, INVALID, "device program: node %d has operation %d in phase %d", i, (int)n->op,
                 n->phase);
    }
    return d->table->compile(d, spec, ret, e);
}

void dev_program_destroy(dev_program **p) {
    if (!p || !*p) return;
    (*p)->table->program_destroy(*p);
    *p = NULL;
}

void dev_program_rest(dev_program *p) {
    p->table->program_rest(p);
}

static err_code check_ids(const dev_program *p, const dev_step *s, int slot, err *e) {
    const int32_t *ids = s->inputs[slot];
    int32_t n = slot == DEV_INPUT_OUT_ROWS ? s->n_out_rows : s->n_tokens;
    if (!p->uses_input[slot]) return ERR_OK;
    if (!ids && slot == DEV_INPUT_TYPES) return ERR_OK; /* all of type 0 */
    if (!ids && n > 0) FAIL(e, INVALID, "step without its input %d", slot);
    int32_t limit = slot == DEV_INPUT_OUT_ROWS ? s->n_tokens : p->id_limit[slot];
    for (int32_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= limit)
            FAIL(e, INVALID, "step input %d: value %d at %d is not in [0, %d)", slot, ids[i], i,
                 limit);
    return ERR_OK;
}

static err_code check_seqs(const dev_program *p, const dev_step *s, err *e) {
    int32_t at = 0;
    for (int32_t i = 0; i < s->n_seqs; i++) {
        const dev_seq *q = &s->seqs[i];
        if (q->first_tok != at || q->n_tok < 0 || q->n_tok > s->n_tokens - at)
            FAIL(e, INVALID, "step sequence %d does not start where the one before ends", i);
        if (p->uses_kv && (q->kv_len < q->n_tok || (q->n_tok > 0 && !q->pages)))
            FAIL(e, INVALID, "step sequence %d: %d tokens in pages, %d of them new", i, q->kv_len,
                 q->n_tok);
        at += q->n_tok;
    }
    if (s->n_seqs > 0 && at != s->n_tokens)
        FAIL(e, INVALID, "step sequences cover %d of %d tokens", at, s->n_tokens);
    return ERR_OK;
}

static bool kv_shape_is_sane(const dev_kv_shape *k) {
    return k && k->page_tokens == DEV_KV_PAGE_TOKENS && k->type == DTYPE_F16 && k->n_layers >= 1 &&
           k->n_head_kv >= 1 && k->head_dim_k >= 1 && k->head_dim_v >= 1;
}

err_code dev_run(dev_program *p, const dev_step *step, int32_t phase_from, int32_t phase_to,
                 dev_cancel *cancel, err *e) {
    if (phase_from < 0 || phase_to < phase_from || phase_to > p->n_phases)
        FAIL(e, INVALID, "step phases [%d, %d) of %d", phase_from, phase_to, p->n_phases);
    if (step->n_tokens < 0 || step->n_tokens > p->max_tokens || step->n_out_rows < 0 ||
        step->n_out_rows > p->max_out_rows || step->n_seqs < 0 || step->n_seqs > p->max_seqs)
        FAIL(e, INVALID, "step of %d tokens, %d rows, %d sequences; planned %d, %d, %d",
             step->n_tokens, step->n_out_rows, step->n_seqs, p->max_tokens, p->max_out_rows,
             p->max_seqs);
    for (int slot = 0; slot < DEV_INPUT_COUNT; slot++) TRY(check_ids(p, step, slot, e));
    for (int slot = 0; slot < DEV_DATA_COUNT; slot++)
        if (p->uses_data[slot] && !step->data[slot])
            FAIL(e, INVALID, "step without its data %d", slot);
    TRY(check_seqs(p, step, e));
    if (p->uses_kv && step->n_tokens > 0 &&
        (!kv_shape_is_sane(step->kv_shape) || !step->kv_pool || step->n_seqs == 0))
        FAIL(e, INVALID, "step without KV pages");
    return p->table->run(p, step, phase_from, phase_to, cancel, e);
}

void dev_profile_enable(dev *d, bool on) {
    d->table->profile_enable(d, on);
}
void dev_profile_get(const dev *d, dev_profile *ret) {
    d->table->profile_get(d, ret);
}
