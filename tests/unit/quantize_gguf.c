/* Whole-model quantising: which tensor gets which type, keys, values, refusals, cancelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/gguf_write.h"
#include "model/quantize.h"
#include "os/file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64], in_path[96], out_path[96];

#define OK(call) assert_int_equal(call, ERR_OK)

static int setup(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hob-quantize-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(in_path, sizeof in_path, "%s/in.gguf", dir);
    snprintf(out_path, sizeof out_path, "%s/out.gguf", dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(in_path);
    unlink(out_path);
    return rmdir(dir);
}

enum { N_LAYERS = 8, WIDTH = 256 };

typedef struct spec {
    char name[48];
    dtype type;
    uint32_t n_dims;
    int64_t ne[4];
} spec;

static size_t model_specs(spec *out, int64_t width, bool tied, dtype type) {
    size_t n = 0;
    out[n++] = (spec){"token_embd.weight", type, 2, {width, 6, 1, 1}};
    if (!tied) out[n++] = (spec){"output.weight", type, 2, {width, 6, 1, 1}};
    out[n++] = (spec){"output_norm.weight", DTYPE_F32, 1, {width, 1, 1, 1}};
    for (int i = 0; i < N_LAYERS; i++) {
        static const char *const KINDS[] = {"attn_q", "attn_v", "ffn_down", "attn_norm"};
        for (int k = 0; k < 4; k++) {
            spec *s = &out[n++];
            *s = (spec){
                "", k == 3 ? DTYPE_F32 : type, k == 3 ? 1 : 2, {width, k == 3 ? 1 : 4, 1, 1}};
            snprintf(s->name, sizeof s->name, "blk.%d.%s.weight", i, KINDS[k]);
        }
    }
    out[n++] = (spec){"blk.0.ffn_gate_inp.weight", DTYPE_F32, 2, {width, 4, 1, 1}};
    out[n++] = (spec){"blk.0.ffn_up_exps.weight", type, 3, {width, 2, 3, 1}};
    out[n++] = (spec){"blk.0.attn_q.bias", DTYPE_F32, 1, {width, 1, 1, 1}};
    return n;
}

static void write_model(int64_t width, bool tied, dtype type) {
    spec specs[80];
    err e = {0};
    gguf_writer *w = NULL;
    size_t n = model_specs(specs, width, tied, type);
    OK(gguf_writer_create(in_path, 64, &w, &e));
    gguf_writer_put_str(w, "general.architecture", STR("llama"));
    gguf_writer_put_u32(w, "general.file_type", 1);
    gguf_writer_put_u32(w, "llama.block_count", N_LAYERS);
    for (size_t i = 0; i < n; i++)
        gguf_writer_put_tensor(w, str_from(specs[i].name), specs[i].type, specs[i].n_dims,
                               specs[i].ne);
    OK(gguf_writer_begin(w, &e));
    for (size_t i = 0; i < n; i++) {
        int64_t elems = specs[i].ne[0] * specs[i].ne[1] * specs[i].ne[2];
        uint64_t bytes = 0;
        assert_true(dtype_row_bytes(specs[i].type, elems, &bytes));
        float *x = NEW_ARRAY(float, (size_t)elems);
        uint8_t *packed = mem_zalloc((size_t)bytes);
        for (int64_t k = 0; k < elems; k++) x[k] = sinf((float)k * 0.37f + (float)i);
        if (quantize_can(specs[i].type)) quantize_row(specs[i].type, x, packed, elems);
        OK(gguf_writer_put_data(w, packed, (size_t)bytes, &e));
        mem_free(x);
        mem_free(packed);
    }
    OK(gguf_writer_commit(w, &e));
    gguf_writer_destroy(&w);
}

static gguf *quantized(const char *target) {
    err e = {0};
    gguf *g = NULL;
    if (quantize_gguf(in_path, out_path, target, NULL, &e)) fail_msg("%s: %s", target, e.msg);
    OK(gguf_open(out_path, &g, &e));
    return g;
}

static void expect_type(const gguf *g, const char *name, dtype want) {
    const gguf_tensor *t = gguf_find_tensor(g, name);
    assert_non_null(t);
    if (t->type != want) fail_msg("%s is %s, not %s", name, dtype_name(t->type), dtype_name(want));
}

static void check_values(const gguf *g, double max_error) {
    err e = {0};
    gguf *was = NULL;
    OK(gguf_open(in_path, &was, &e));
    assert_int_equal(gguf_n_tensors(g), gguf_n_tensors(was));
    for (size_t i = 0; i < gguf_n_tensors(was); i++) {
        const gguf_tensor *a = gguf_tensor_at(was, i), *b = gguf_tensor_at(g, i);
        assert_true(str_eq(a->name, b->name) && a->n_dims == b->n_dims);
        assert_memory_equal(a->ne, b->ne, sizeof a->ne);
        int64_t n = a->ne[0] * a->ne[1] * a->ne[2];
        float *x = NEW_ARRAY(float, (size_t)n), *y = NEW_ARRAY(float, (size_t)n);
        dequant_row(a->type, a->data, x, n);
        dequant_row(b->type, b->data, y, n);
        double sum = 0, diff = 0;
        for (int64_t k = 0; k < n; k++) {
            sum += (double)x[k] * (double)x[k];
            diff += (double)(x[k] - y[k]) * (double)(x[k] - y[k]);
        }
        assert_true(sqrt(diff / sum) <= max_error);
        mem_free(x);
        mem_free(y);
    }
    gguf_destroy(&was);
}

static void test_q4_k_m(void **state) {
    (void)state;
    write_model(WIDTH, false, DTYPE_F16);
    gguf *g = quantized("q4_k_m");
    expect_type(g, "token_embd.weight", DTYPE_Q4_K);
    expect_type(g, "output.weight", DTYPE_Q6_K);
    expect_type(g, "output_norm.weight", DTYPE_F32);
    expect_type(g, "blk.0.attn_norm.weight", DTYPE_F32);
    expect_type(g, "blk.0.ffn_gate_inp.weight", DTYPE_F32);
    expect_type(g, "blk.0.ffn_up_exps.weight", DTYPE_Q4_K);
    expect_type(g, "blk.0.attn_q.bias", DTYPE_F32);
    /* first eighth, last eighth and every third between */
    static const bool MORE[N_LAYERS] = {1, 0, 0, 1, 0, 0, 1, 1};
    for (int i = 0; i < N_LAYERS; i++) {
        char name[48];
        snprintf(name, sizeof name, "blk.%d.attn_v.weight", i);
        expect_type(g, name, MORE[i] ? DTYPE_Q6_K : DTYPE_Q4_K);
        snprintf(name, sizeof name, "blk.%d.ffn_down.weight", i);
        expect_type(g, name, MORE[i] ? DTYPE_Q6_K : DTYPE_Q4_K);
        snprintf(name, sizeof name, "blk.%d.attn_q.weight", i);
        expect_type(g, name, DTYPE_Q4_K);
    }
    assert_int_equal(gguf_opt_u64(g, "general.file_type", 0), 15);
    assert_int_equal(gguf_opt_u64(g, "general.quantization_version", 0), 2);
    assert_int_equal(gguf_opt_u64(g, "llama.block_count", 0), N_LAYERS);
    check_values(g, 0.12);
    gguf_destroy(&g);
}

static void test_targets(void **state) {
    (void)state;
    static const struct {
        const char *target;
        dtype type, out;
        int file_type;
        double max_error;
    } ALL[] = {
        {"F32", DTYPE_F32, DTYPE_F32, 0, 0},          {"f16", DTYPE_F16, DTYPE_F16, 1, 1e-3},
        {"BF16", DTYPE_BF16, DTYPE_BF16, 32, 5e-3},   {"q4_0", DTYPE_Q4_0, DTYPE_Q6_K, 2, 0.12},
        {"Q4_1", DTYPE_Q4_1, DTYPE_Q6_K, 3, 0.12},    {"Q5_0", DTYPE_Q5_0, DTYPE_Q6_K, 8, 0.06},
        {"Q5_1", DTYPE_Q5_1, DTYPE_Q6_K, 9, 0.06},    {"Q8_0", DTYPE_Q8_0, DTYPE_Q8_0, 7, 0.01},
        {"Q4_K_S", DTYPE_Q4_K, DTYPE_Q6_K, 14, 0.12}, {"Q4_K", DTYPE_Q4_K, DTYPE_Q6_K, 15, 0.12},
        {"Q5_K_S", DTYPE_Q5_K, DTYPE_Q6_K, 16, 0.06}, {"Q5_k_m", DTYPE_Q5_K, DTYPE_Q6_K, 17, 0.06},
        {"Q6_K", DTYPE_Q6_K, DTYPE_Q6_K, 18, 0.03}};
    write_model(WIDTH, true, DTYPE_BF16);
    for (size_t i = 0; i < COUNT_OF(ALL); i++) {
        gguf *g = quantized(ALL[i].target);
        expect_type(g, "token_embd.weight", ALL[i].out); /* it is the output matrix too */
        expect_type(g, "blk.1.attn_q.weight", ALL[i].type);
        expect_type(g, "blk.1.attn_norm.weight", DTYPE_F32);
        assert_int_equal(gguf_opt_u64(g, "general.file_type", 99), ALL[i].file_type);
        check_values(g, ALL[i].max_error);
        gguf_destroy(&g);
    }
}

static void test_odd_widths(void **state) {
    (void)state;
    write_model(96, false, DTYPE_F32);
    gguf *g = quantized("Q4_K_M");
    expect_type(g, "blk.1.attn_q.weight", DTYPE_Q5_0);
    expect_type(g, "blk.0.attn_v.weight", DTYPE_Q8_0);
    expect_type(g, "output.weight", DTYPE_Q8_0);
    check_values(g, 0.06);
    gguf_destroy(&g);
    g = quantized("Q5_K_S");
    expect_type(g, "blk.1.attn_q.weight", DTYPE_Q5_1);
    gguf_destroy(&g);
    write_model(50, false, DTYPE_F32);
    g = quantized("Q4_0");
    expect_type(g, "blk.1.attn_q.weight", DTYPE_F16);
    gguf_destroy(&g);
}

static void test_refusals(void **state) {
    (void)state;
    err e = {0};
    write_model(WIDTH, false, DTYPE_F16);
    unlink(out_path);
    assert_int_equal(quantize_gguf(in_path, out_path, "Q9_Z", NULL, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "unsupported quantization type Q9_Z - supported types are"));
    assert_int_equal(quantize_gguf("/nonexistent.gguf", out_path, "Q8_0", NULL, &e), ERR_NOT_FOUND);
    write_model(WIDTH, false, DTYPE_Q8_0);
    assert_int_equal(quantize_gguf(in_path, out_path, "Q4_0", NULL, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "only supported for F16, BF16 and F32 models"));
    assert_false(file_exists(out_path));
}

typedef struct counted {
    int n_calls, stop_at;
    uint64_t done, total;
} counted;

static bool count(void *arg, uint64_t done, uint64_t total) {
    counted *c = arg;
    assert_true(done >= c->done && done <= total);
    c->done = done;
    c->total = total;
    return ++c->n_calls != c->stop_at;
}

static void test_progress(void **state) {
    (void)state;
    err e = {0};
    counted c = {0};
    quantize_progress p = {count, &c};
    write_model(WIDTH, false, DTYPE_F16);
    OK(quantize_gguf(in_path, out_path, "Q8_0", &p, &e));
    assert_true(c.n_calls > 30 && c.done == c.total && c.total > 0);
    unlink(out_path);
    c = (counted){.stop_at = 5};
    assert_int_equal(quantize_gguf(in_path, out_path, "Q8_0", &p, &e), ERR_CANCELLED);
    assert_int_equal(c.n_calls, 5);
    assert_false(file_exists(out_path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_q4_k_m), cmocka_unit_test(test_targets),
        cmocka_unit_test(test_odd_widths), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_progress)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
