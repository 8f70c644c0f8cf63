/* Row-wise operations: each output row depends on one row of each input.
 *
 * A chunk is a run of rows of about CHUNK_ELEMS elements. Where the output is ACT8 or BF16 the row
 * is formed in the thread's scratch and quantised or rounded from there. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <assert.h>
#include <string.h>

enum { CHUNK_ELEMS = 16384 };

typedef struct rows_job {
    cpu_run *r;
    const cpu_node *n;
    const kern_vec *vec;
    int64_t from, to; /* rows */
    char *in[3];      /* bases */
    char *out;
    float *scratch; /* one row, when the output is not F32 */
} rows_job;

static int64_t rows_per_chunk(const dev_tensor *out) {
    return cpu_max(1, CHUNK_ELEMS / out->ne[0]);
}

static int32_t rows_n_chunks(const cpu_run *r, const cpu_node *n) {
    return (int32_t)cpu_div_up(cpu_rows(r, n->n.out), rows_per_chunk(n->n.out));
}

static rows_job rows_open(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    int64_t per = rows_per_chunk(n->n.out);
    rows_job j = {.r = r, .n = n, .vec = r->p->d->vec, .from = chunk * per};
    j.to = cpu_min(j.from + per, cpu_rows(r, n->n.out));
    for (int k = 0; k < 3; k++)
        if (n->n.in[k]) j.in[k] = cpu_base(r, n->n.in[k]);
    j.out = cpu_base(r, n->n.out);
    j.scratch = cpu_scratch(r, thread);
    return j;
}

static const float *in_row(const rows_job *j, int k, int64_t row) {
    return (const float *)cpu_row(j->n->n.in[k], j->in[k], row);
}

/* Input 1, which may be one row for all. */
static const float *in_row_or_vector(const rows_job *j, int k, int64_t row) {
    return j->n->n.in[k]->n_dims == 1 ? (const float *)j->in[k] : in_row(j, k, row);
}

/* Where to form output row `row`; row_done takes it from there. */
static float *out_row(const rows_job *j, int64_t row) {
    if (j->n->n.out->type != DTYPE_F32) return j->scratch;
    return (float *)cpu_row(j->n->n.out, j->out, row);
}

static void row_done(const rows_job *j, int64_t row) {
    const dev_tensor *t = j->n->n.out;
    char *to = cpu_row(t, j->out, row);
    if (t->type == DTYPE_ACT8)
        j->r->p->d->mat->act8(to, j->scratch, t->ne[0]);
    else if (t->type == DTYPE_BF16)
        j->r->p->d->gemm->round_bf16((uint16_t *)(void *)to, j->scratch, t->ne[0], 1);
}

#define ROWS(name, ...)                                                                            \
    static void name(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {               \
        rows_job j = rows_open(r, n, chunk, thread);                                               \
        const int64_t ne0 = n->n.out->ne[0];                                                       \
        for (int64_t row = j.from; row < j.to; row++) {                                            \
            float *out = out_row(&j, row);                                                         \
            __VA_ARGS__;                                                                           \
            row_done(&j, row);                                                                     \
        }                                                                                          \
    }

ROWS(rms_norm_run,
     j.vec->rms_norm(out, in_row(&j, 0, row), (const float *)j.in[1], ne0, n->n.params.norm.eps))
ROWS(layer_norm_run, j.vec->layer_norm(out, in_row(&j, 0, row), (const float *)j.in[1],
                                       (const float *)j.in[2], ne0, n->n.params.norm.eps))
ROWS(add_run, j.vec->add(out, in_row(&j, 0, row), in_row_or_vector(&j, 1, row), ne0))
ROWS(mul_run, j.vec->mul(out, in_row(&j, 0, row), in_row_or_vector(&j, 1, row), ne0))
ROWS(scale_run, j.vec->scale(out, in_row(&j, 0, row), ne0, n->n.params.f.scale, n->n.params.f.bias))
ROWS(softcap_run, j.vec->softcap(out, in_row(&j, 0, row), ne0, n->n.params.f.scale))
ROWS(act_run, j.vec->act(out, in_row(&j, 0, row), ne0, (kern_act)n->n.params.act.act))
ROWS(softmax_run, j.vec->softmax(out, in_row(&j, 0, row), ne0))
ROWS(l2_norm_run, j.vec->l2_norm(out, in_row(&j, 0, row), ne0))

static void glu_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    rows_job j = rows_open(r, n, chunk, thread);
    int64_t ne0 = n->n.out->ne[0];
    for (int64_t row = j.from; row < j.to; row++) {
        const float *gate = in_row(&j, 0, row);
        const float *up = n->n.in[1] ? in_row(&j, 1, row) : gate + ne0;
        j.vec->glu(out_row(&j, row), gate, up, ne0, (kern_act)n->n.params.act.act);
        row_done(&j, row);
    }
}

static void quantize_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    rows_job j = rows_open(r, n, chunk, thread);
    for (int64_t row = j.from; row < j.to; row++)
        r->p->d->mat->act8(cpu_row(n->n.out, j.out, row), in_row(&j, 0, row), n->n.out->ne[0]);
}

static void rope_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    rows_job j = rows_open(r, n, chunk, thread);
    const cpu_rope_table *t = &r->p->rope[n->rope_table];
    int64_t ne0 = n->n.out->ne[0], heads = n->n.out->ne[1], n_rot = t->params.n_rot;
    for (int64_t row = j.from; row < j.to; row++) {
        const float *cos_sin = t->values + row / heads * n_rot;
        float *out = out_row(&j, row);
        if (n->n.params.rope.neox)
            j.vec->rope_neox(out, in_row(&j, 0, row), cos_sin, n_rot, ne0);
        else
            j.vec->rope_norm(out, in_row(&j, 0, row), cos_sin, n_rot, ne0);
    }
}

static void interleaved_row(const dev_tensor *w, const char *tiles, int64_t row, float *out) {
    enum { ELEMS = 256 };
    char plain[ELEMS * sizeof(float)];
    int64_t in_tile = row % KERN_TILE_ROWS, block = kern_interleave_block(w->type), k = w->ne[0];
    const char *tile = tiles + (row - in_tile) * w->stride[1];
    for (int64_t at = 0; at < k; at += ELEMS) {
        int64_t n = cpu_min(ELEMS, k - at);
        kern_deinterleave(w->type, tile, (int)in_tile, at / block, n / block, plain);
        dequant_row(w->type, plain, out + at, n);
    }
}

static void get_rows_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    rows_job j = rows_open(r, n, chunk, thread);
    const dev_tensor *w = n->n.in[0];
    const int32_t *ids = (const int32_t *)(const void *)j.in[1];
    float scale = n->n.params.f.scale;
    for (int64_t row = j.from; row < j.to; row++) {
        float *out = out_row(&j, row);
        int64_t id = ids ? ids[row] : 0; /* no token types: all are type 0 */
        if (w->interleaved)
            interleaved_row(w, j.in[0], id, out);
        else
            dequant_row(w->type, j.in[0] + id * w->stride[1], out, w->ne[0]);
        if (scale != 1.0f && scale != 0.0f) j.vec->scale(out, out, w->ne[0], scale, 0);
    }
}

static void take_rows_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    rows_job j = rows_open(r, n, chunk, thread);
    const int32_t *rows = (const int32_t *)(const void *)j.in[1];
    for (int64_t row = j.from; row < j.to; row++)
        memcpy(out_row(&j, row), in_row(&j, 0, rows[row]), (size_t)n->n.out->ne[0] * sizeof(float));
}

/* ---- the table of all operations ---- */

const cpu_op cpu_ops[DEV_OP_COUNT] = {
#define ROW_OP(run, ns)                                                                            \
    { rows_n_chunks, run, ns, NULL, NULL, NULL }
    [DEV_OP_GET_ROWS] = ROW_OP(get_rows_run, 0.5f),
    [DEV_OP_TAKE_ROWS] = ROW_OP(take_rows_run, 0.2f),
    [DEV_OP_QUANTIZE] = ROW_OP(quantize_run, 0.3f),
    [DEV_OP_RMS_NORM] = ROW_OP(rms_norm_run, 0.4f),
    [DEV_OP_LAYER_NORM] = ROW_OP(layer_norm_run, 0.5f),
    [DEV_OP_ADD] = ROW_OP(add_run, 0.2f),
    [DEV_OP_MUL] = ROW_OP(mul_run, 0.2f),
    [DEV_OP_SCALE] = ROW_OP(scale_run, 0.2f),
    [DEV_OP_SOFTCAP] = ROW_OP(softcap_run, 1.0f),
    [DEV_OP_ACT] = ROW_OP(act_run, 1.0f),
    [DEV_OP_GLU] = ROW_OP(glu_run, 1.0f),
    [DEV_OP_ROPE] = ROW_OP(rope_run, 0.3f),
    [DEV_OP_SOFTMAX] = ROW_OP(softmax_run, 1.0f),
    [DEV_OP_L2_NORM] = ROW_OP(l2_norm_run, 0.3f),
#undef ROW_OP
    [DEV_OP_MATMUL] = CPU_OP_OWN(matmul),
    [DEV_OP_MATMUL_ID] = CPU_OP_OWN(matmul_id),
    [DEV_OP_KV_STORE] = CPU_OP_OWN(kv_store),
    [DEV_OP_ATTENTION] = CPU_OP_OWN(attention),
    [DEV_OP_ATTENTION_FULL] = CPU_OP_OWN(attention_full),
    [DEV_OP_TOP_K] = CPU_OP_OWN(top_k),
    [DEV_OP_MOE_WEIGHTS] = CPU_OP_OWN(moe_weights),
    [DEV_OP_MOE_SUM] = CPU_OP_OWN(moe_sum),
    [DEV_OP_POOL] = CPU_OP_OWN(pool),
    [DEV_OP_CONV2D] = CPU_OP_PREPARED(conv2d),
    [DEV_OP_GROUP_SUMS] = CPU_OP_OWN(group_sums),
    [DEV_OP_GROUP_NORM] = CPU_OP_OWN(group_norm),
    [DEV_OP_UPSAMPLE2X] = CPU_OP_OWN(upsample2x),
    [DEV_OP_CONCAT] = CPU_OP_OWN(concat),
    [DEV_OP_FREEU] = CPU_OP_OWN(freeu),
    [DEV_OP_SDPA] = CPU_OP_PREPARED(sdpa),
    [DEV_OP_SDPA_MASS] = CPU_OP_OWN(sdpa_mass),
    [DEV_OP_RESIZE] = CPU_OP_OWN(resize),
    [DEV_OP_TILES] = CPU_OP_OWN(tiles),
    [DEV_OP_TOKEN_BEST] = CPU_OP_OWN(token_best),
    [DEV_OP_TOKEN_MATCH] = CPU_OP_OWN(token_match),
    [DEV_OP_TOKEN_MERGE] = CPU_OP_OWN(token_merge),
    [DEV_OP_TOKEN_SPREAD] = CPU_OP_OWN(token_spread),
};
