/* Whole models: a GGUF of floats to a quantised GGUF.
 *
 * Sits behind `hob create --quantize`. Tensors are copied in file order; a matrix gets the type of
 * the mix, everything else stays as it is. Mixes, as the names promise:
 *   Q4_K_S  Q4_K; Q5_K for attn_v of the first four layers and ffn_down of the first eighth
 *   Q4_K_M  Q4_K; Q6_K for attn_v and ffn_down of the first and last eighth of the layers and every
 *           third between; Q5_K for a fused attn_qkv
 *   Q5_K_S  Q5_K          Q5_K_M  Q5_K; Q6_K where Q4_K_M has it, and for attn_qkv
 *   others  the named type everywhere
 * The output matrix (the token embedding when it doubles as one) is at least Q6_K in K mixes and
 * Q8_0 in the 4- and 5-bit ones for odd widths. Rows that K blocks do not divide fall back to
 * 32-element types (Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0), then to F16.
 * Memory: a group of rows, not the model. Threads: the calling one. */
#include "model/quantize.h"

#include "base/mem.h"
#include "model/gguf_write.h"
#include "os/mem.h"

enum { GROUP_ELEMS = 1 << 20, QUANTIZATION_VERSION = 2 };

typedef struct mix {
    const char *name;
    dtype type;
    uint32_t file_type;
} mix;

static const mix MIXES[] = {
    {"F32", DTYPE_F32, 0},      {"F16", DTYPE_F16, 1},    {"BF16", DTYPE_BF16, 32},
    {"Q4_0", DTYPE_Q4_0, 2},    {"Q4_1", DTYPE_Q4_1, 3},  {"Q5_0", DTYPE_Q5_0, 8},
    {"Q5_1", DTYPE_Q5_1, 9},    {"Q8_0", DTYPE_Q8_0, 7},  {"Q4_K_S", DTYPE_Q4_K, 14},
    {"Q4_K_M", DTYPE_Q4_K, 15}, {"Q4_K", DTYPE_Q4_K, 15}, {"Q5_K_S", DTYPE_Q5_K, 16},
    {"Q5_K_M", DTYPE_Q5_K, 17}, {"Q5_K", DTYPE_Q5_K, 17}, {"Q6_K", DTYPE_Q6_K, 18},
};
enum { FILE_Q4_K_S = 14, FILE_Q4_K_M = 15, FILE_Q5_K_M = 17 };

typedef struct plan {
    const mix *mix;
    int64_t n_layers;
    bool tied; /* no output.weight: the token embedding is the output matrix */
} plan;

static bool is_float(dtype t) {
    return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16;
}

/* ---- Which type a tensor gets. ---- */

/* Small or delicate matrices whose rounding costs more than their bytes. */
static bool is_kept(str name) {
    static const char *const PARTS[] = {"_norm",       "ffn_gate_inp", "position_embd",
                                        "token_types", "attn_rel_b",   "ssm_conv1d",
                                        "rope_",       "altup",        "per_layer_model_proj"};
    for (size_t i = 0; i < COUNT_OF(PARTS); i++)
        if (str_find(name, str_from(PARTS[i])) >= 0) return true;
    return !str_ends(name, STR(".weight"));
}

/* The number behind "blk.", or -1. */
static int64_t layer_of(str name) {
    int64_t layer;
    str rest = name;
    if (!str_eq(str_cut(&rest, '.'), STR("blk"))) return -1;
    return str_to_i64(str_cut(&rest, '.'), &layer) ? layer : -1;
}

static bool gets_more_bits(int64_t layer, int64_t n_layers) {
    int64_t eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

/* The K mixes: what the rule of the file type says beyond its base type. */
static dtype mixed_type(const plan *p, str name) {
    int64_t layer = layer_of(name);
    uint32_t file = p->mix->file_type;
    bool is_v = str_find(name, STR(".attn_v.")) >= 0,
         is_down = str_find(name, STR(".ffn_down")) >= 0;
    bool is_m = file == FILE_Q4_K_M || file == FILE_Q5_K_M;
    if (is_m && str_find(name, STR(".attn_qkv.")) >= 0)
        return file == FILE_Q4_K_M ? DTYPE_Q5_K : DTYPE_Q6_K;
    if (layer < 0 || !(is_v || is_down)) return p->mix->type;
    if (is_m && gets_more_bits(layer, p->n_layers)) return DTYPE_Q6_K;
    if (file == FILE_Q4_K_S && layer < (is_v ? 4 : p->n_layers / 8)) return DTYPE_Q5_K;
    return p->mix->type;
}

static dtype fitting_type(dtype t, int64_t ne0) {
    if (ne0 % dtype_get_info(t)->elems == 0) return t;
    if (ne0 % 32 != 0) return DTYPE_F16;
    return t == DTYPE_Q4_K ? DTYPE_Q5_0 : t == DTYPE_Q5_K ? DTYPE_Q5_1 : DTYPE_Q8_0;
}

static dtype choose_type(const plan *p, const gguf_tensor *t) {
    dtype base = p->mix->type;
    if (!is_float(t->type)) return t->type;
    if (base == DTYPE_F32) return DTYPE_F32;
    if (t->n_dims < 2 || t->ne[1] < 2 || t->ne[0] < 32 || is_kept(t->name)) return t->type;
    if (is_float(base)) return base;
    bool is_out = str_eq(t->name, STR("output.weight")) ||
                  (p->tied && str_eq(t->name, STR("token_embd.weight")));
    if (is_out && base != DTYPE_Q8_0) {
        base = t->ne[0] % DTYPE_QK_K == 0 ? DTYPE_Q6_K : DTYPE_Q8_0;
    } else if (!is_out && dtype_get_info(base)->elems == DTYPE_QK_K) {
        base = mixed_type(p, t->name);
    }
    return fitting_type(base, t->ne[0]);
}

/* ---- Writing. ---- */

static bool is_rewritten(str key) {
    return str_eq(key, STR("general.file_type")) ||
           str_eq(key, STR("general.quantization_version")) || str_starts(key, STR("split."));
}

static void describe(gguf_writer *w, const gguf *g, const plan *p) {
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        if (!is_rewritten(gguf_key_at(g, i)->name)) gguf_writer_put_key(w, gguf_key_at(g, i));
    gguf_writer_put_u32(w, "general.file_type", p->mix->file_type);
    if (!is_float(p->mix->type))
        gguf_writer_put_u32(w, "general.quantization_version", QUANTIZATION_VERSION);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        gguf_writer_put_tensor(w, t->name, choose_type(p, t), t->n_dims ? t->n_dims : 1, t->ne);
    }
}

static int64_t n_rows_of(const gguf_tensor *t) {
    return t->ne[1] * t->ne[2] * t->ne[3];
}

static int64_t group_rows(const gguf_tensor *t) {
    int64_t fit = t->ne[0] >= GROUP_ELEMS ? 1 : GROUP_ELEMS / t->ne[0], n = n_rows_of(t);
    return fit < n ? fit : n;
}

static err_code write_converted(gguf_writer *w, const gguf_tensor *t, dtype to, err *e) {
    uint64_t in_row, out_row;
    int64_t step = group_rows(t), n_rows = n_rows_of(t);
    if (!dtype_row_bytes(t->type, t->ne[0], &in_row) || !dtype_row_bytes(to, t->ne[0], &out_row))
        FAIL(e, INTERNAL, "tensor " STR_FMT ": no row size", STR_ARG(t->name));
    uint64_t f32_bytes = (uint64_t)step * (uint64_t)t->ne[0] * sizeof(float);
    os_mem mem = {0};
    TRY(os_mem_alloc(f32_bytes + (uint64_t)step * out_row, 0, &mem, e));
    float *x = mem.ptr;
    uint8_t *out = (uint8_t *)mem.ptr + f32_bytes;
    err_code code = ERR_OK;
    for (int64_t row = 0; row < n_rows && code == ERR_OK; row += step) {
        int64_t n = n_rows - row < step ? n_rows - row : step;
        dequant_row(t->type, (const uint8_t *)t->data + (uint64_t)row * in_row, x, n * t->ne[0]);
        quantize_row(to, x, out, n * t->ne[0]);
        code = gguf_writer_put_data(w, out, (size_t)((uint64_t)n * out_row), e);
    }
    os_mem_free(&mem);
    return code;
}

static err_code write_data(gguf_writer *w, const gguf *g, const plan *p,
                           const quantize_progress *progress, err *e) {
    uint64_t n_done = 0, n_total = gguf_tensor_bytes(g);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        dtype to = choose_type(p, t);
        if (to == t->type) {
            TRY(gguf_writer_put_data(w, t->data, (size_t)t->n_bytes, e));
        } else {
            TRY(write_converted(w, t, to, e));
        }
        n_done += t->n_bytes;
        if (progress && progress->fn && !progress->fn(progress->arg, n_done, n_total))
            FAIL(e, CANCELLED, "quantization was cancelled");
    }
    return ERR_OK;
}

/* ---- The whole. ---- */

static err_code find_mix(const char *target, const mix **ret, err *e) {
    for (size_t i = 0; i < COUNT_OF(MIXES); i++)
        if (str_eq_nocase(str_from(target), str_from(MIXES[i].name))) {
            *ret = &MIXES[i];
            return ERR_OK;
        }
    FAIL(e, INVALID,
         "unsupported quantization type %s - supported types are F32, F16, BF16, Q4_0, Q4_1, Q5_0, "
         "Q5_1, Q8_0, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K",
         target);
}

static err_code make_plan(const gguf *g, const mix *m, plan *p, err *e) {
    *p = (plan){.mix = m, .tied = !gguf_find_tensor(g, "output.weight")};
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        if (dtype_get_info(t->type)->quantised)
            FAIL(e, INVALID, "quantization is only supported for F16, BF16 and F32 models");
        int64_t layer = layer_of(t->name);
        if (layer >= p->n_layers && layer < INT32_MAX) p->n_layers = layer + 1;
    }
    return ERR_OK;
}

static err_code write_model(const gguf *g, const plan *p, const char *path_out,
                            const quantize_progress *progress, err *e) {
    CLEANUP(gguf_writer_destroy) gguf_writer *w = NULL;
    TRY(gguf_writer_create(path_out, 32, &w, e));
    describe(w, g, p);
    TRY(gguf_writer_begin(w, e));
    TRY(write_data(w, g, p, progress, e));
    return gguf_writer_commit(w, e);
}

err_code quantize_gguf(const char *path_in, const char *path_out, const char *target,
                       const quantize_progress *progress, err *e) {
    const mix *m = NULL;
    TRY(find_mix(target, &m, e));
    CLEANUP(gguf_destroy) gguf *g = NULL;
    TRY(gguf_open(path_in, &g, e));
    plan p;
    TRY(make_plan(g, m, &p, e));
    return write_model(g, &p, path_out, progress, e);
}
