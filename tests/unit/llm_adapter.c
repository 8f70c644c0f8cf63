/* Adapters that do not fit: each is refused by name, and the model is not loaded. What comes out
 * with those that fit is checked by tests/golden/models.c. */
#include "base/limits.h"
#include "llm/model.h"
#include "model/gguf_write.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL "tests/golden/models/llama.gguf"     /* D 42, F 61, q [42, 42], k [42, 14] */
#define MIXTURE "tests/golden/models/mixtral.gguf" /* D 40, F 29, 5 experts */
#define TEXTS "tests/golden/models/bert.gguf"

static dev *cpu;
static char file[100];

static int setup(void **state) {
    (void)state;
    err e;
    snprintf(file, sizeof file, "/tmp/hob-adapter-%d.gguf", (int)getpid());
    return dev_cpu_create(&(dev_cpu_params){.n_threads = 1}, &cpu, &e);
}

static int teardown(void **state) {
    (void)state;
    remove(file);
    dev_destroy(&cpu);
    return 0;
}

/* An adapter of up to two tensors; a name of NULL ends the list. */
typedef struct sketch {
    const char *model, *type, *kind, *arch;
    float alpha;
    bool no_alpha, invoked;
    struct {
        const char *name;
        int64_t ne[3];
    } t[3];
    err_code code; /* wanted */
    const char *says[3];
} sketch;

static void sketch_write(const sketch *s) {
    gguf_writer *w;
    err e;
    float *zeros = calloc(1 << 20, sizeof *zeros);
    if (gguf_writer_create(file, 32, &w, &e)) fail_msg("%s", e.msg);
    gguf_writer_put_str(w, "general.architecture", str_from(s->arch ? s->arch : "llama"));
    gguf_writer_put_str(w, "general.type", str_from(s->type ? s->type : "adapter"));
    gguf_writer_put_str(w, "adapter.type", str_from(s->kind ? s->kind : "lora"));
    if (!s->no_alpha) gguf_writer_put_f32(w, "adapter.lora.alpha", s->alpha);
    if (s->invoked) gguf_writer_put_u32(w, "adapter.alora.invocation_tokens", 7);
    for (int i = 0; i < 3 && s->t[i].name; i++) {
        int64_t ne[4] = {s->t[i].ne[0], s->t[i].ne[1], s->t[i].ne[2] ? s->t[i].ne[2] : 1, 1};
        gguf_writer_put_tensor(w, str_from(s->t[i].name), DTYPE_F32, s->t[i].ne[2] ? 3 : 2, ne);
    }
    assert_int_equal(gguf_writer_begin(w, &e), ERR_OK);
    for (int i = 0; i < 3 && s->t[i].name; i++) {
        int64_t n = s->t[i].ne[0] * s->t[i].ne[1] * (s->t[i].ne[2] ? s->t[i].ne[2] : 1);
        assert_int_equal(gguf_writer_put_data(w, zeros, (size_t)n * sizeof *zeros, &e), ERR_OK);
    }
    assert_int_equal(gguf_writer_commit(w, &e), ERR_OK);
    gguf_writer_destroy(&w);
    free(zeros);
}

#define Q "blk.0.attn_q.weight"

static const sketch FITS[] = {
    {.t = {{Q ".lora_a", {42, 4}}, {Q ".lora_b", {4, 42}}}},
    {.t = {{Q ".lora_b", {1, 42}}, {Q ".lora_a", {42, 1}}}, .alpha = -2},
    {.t = {{Q ".lora_a", {42, LIMIT_ADAPTER_RANK}}, {Q ".lora_b", {LIMIT_ADAPTER_RANK, 42}}}},
    {.t = {{"output.weight.lora_a", {42, 4}}, {"output.weight.lora_b", {4, 89}}}},
    {.model = MIXTURE,
     .t = {{"blk.2.ffn_up_exps.weight.lora_a", {40, 2, 5}},
           {"blk.2.ffn_up_exps.weight.lora_b", {2, 29, 5}}}},
    {.model = TEXTS,
     .arch = "bert",
     .t = {{"blk.1.ffn_up.weight.lora_a", {42, 2}}, {"blk.1.ffn_up.weight.lora_b", {2, 55}}}},
};

static const sketch BAD[] = {
    {.type = "model", .code = ERR_FORMAT, .says = {"general.type", "\"model\"", "adapter"}},
    {.kind = "ia3", .code = ERR_FORMAT, .says = {"adapter.type", "\"ia3\"", "lora"}},
    {.arch = "gemma2", .code = ERR_FORMAT, .says = {"\"gemma2\"", "\"llama\""}},
    {.no_alpha = true, .code = ERR_NOT_FOUND, .says = {"adapter.lora.alpha"}},
    {.alpha = 1e30f, .code = ERR_LIMIT, .says = {"adapter.lora.alpha", "1e+30"}},
    {.invoked = true, .code = ERR_UNSUPPORTED, .says = {"adapter.alora.invocation_tokens"}},
    {.code = ERR_FORMAT, .says = {"no tensors"}},
    {.t = {{Q, {42, 42}}}, .code = ERR_FORMAT, .says = {Q, "no part"}},
    {.t = {{Q ".lora_a", {42, 4}}}, .code = ERR_NOT_FOUND, .says = {Q ".lora_b"}},
    {.t = {{Q ".lora_b", {4, 42}}}, .code = ERR_NOT_FOUND, .says = {Q ".lora_a"}},
    {.t = {{".lora_a", {42, 4}}, {".lora_b", {4, 42}}}, .code = ERR_FORMAT, .says = {"not have"}},
    {.t = {{"lora_a", {42, 4}}}, .code = ERR_FORMAT, .says = {"no part"}},
    {.t = {{Q ".lora_a", {43, 4}}, {Q ".lora_b", {4, 42}}},
     .code = ERR_FORMAT,
     .says = {Q, "[42, 42]", "[43, 4]"}},
    {.t = {{Q ".lora_a", {42, 4}}, {Q ".lora_b", {4, 14}}},
     .code = ERR_FORMAT,
     .says = {Q, "[42, 42]", "[4, 14]"}},
    {.t = {{Q ".lora_a", {42, 4}}, {Q ".lora_b", {5, 42}}},
     .code = ERR_FORMAT,
     .says = {Q, "[42, 4]", "[5, 42]"}},
    {.t = {{Q ".lora_a", {42, 4, 2}}, {Q ".lora_b", {4, 42, 2}}}, .code = ERR_FORMAT, .says = {Q}},
    {.t = {{Q ".lora_a", {42, 1025}}, {Q ".lora_b", {1025, 42}}},
     .code = ERR_LIMIT,
     .says = {Q, "1025", "1024"}},
    {.t = {{"blk.3.attn_q.weight.lora_a", {42, 4}}, {"blk.3.attn_q.weight.lora_b", {4, 42}}},
     .code = ERR_FORMAT,
     .says = {"blk.3.attn_q.weight", "does not have"}},
    {.t = {{"blk.-1.attn_q.weight.lora_a", {42, 4}}}, .code = ERR_FORMAT, .says = {"blk.-1."}},
    {.t = {{"blk.0.ffn_gate_inp.weight.lora_a", {42, 4}}},
     .code = ERR_FORMAT,
     .says = {"blk.0.ffn_gate_inp.weight", "does not have"}},
    {.t = {{"blk.0.attn_norm.weight.lora_a", {42, 4}}},
     .code = ERR_UNSUPPORTED,
     .says = {"blk.0.attn_norm.weight", "only matrices"}},
    {.t = {{"token_embd.weight.lora_a", {4, 89}}, {"token_embd.weight.lora_b", {4, 42}}},
     .code = ERR_UNSUPPORTED,
     .says = {"token_embd.weight", "merge"}},
    {.model = MIXTURE,
     .t = {{"blk.2.ffn_up_exps.weight.lora_a", {40, 2, 4}},
           {"blk.2.ffn_up_exps.weight.lora_b", {2, 29, 4}}},
     .code = ERR_FORMAT,
     .says = {"blk.2.ffn_up_exps.weight", "[40, 29, 5]", "[40, 2, 4]"}},
    {.model = TEXTS,
     .arch = "bert",
     .t = {{"position_embd.weight.lora_a", {4, 64}}},
     .code = ERR_UNSUPPORTED,
     .says = {"position_embd.weight"}},
};

static err_code inspect(const sketch *s, llm_model **m, err *e) {
    sketch_write(s);
    return llm_model_inspect(cpu, s->model ? s->model : MODEL, file, m, e);
}

static void fits(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(FITS); i++) {
        llm_model *m = NULL, *base = NULL;
        uint64_t with, without;
        err e;
        const char *path = FITS[i].model ? FITS[i].model : MODEL;
        if (inspect(&FITS[i], &m, &e)) fail_msg("%zu: %s", i, e.msg);
        assert_int_equal(llm_model_inspect(cpu, path, NULL, &base, &e), ERR_OK);
        assert_int_equal(llm_model_step_bytes(m, 16, &with, &e), ERR_OK);
        assert_int_equal(llm_model_step_bytes(base, 16, &without, &e), ERR_OK);
        assert_true(with >= without); /* the plan holds what lies between A and B */
        assert_true(llm_model_get_info(m)->weight_bytes > llm_model_get_info(base)->weight_bytes);
        llm_model_destroy(&m);
        llm_model_destroy(&base);
    }
}

static void does_not_fit(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(BAD); i++) {
        llm_model *m = NULL;
        err e = {0};
        assert_int_equal(inspect(&BAD[i], &m, &e), BAD[i].code);
        assert_null(m);
        for (int k = 0; k < 3 && BAD[i].says[k]; k++)
            if (!strstr(e.msg, BAD[i].says[k]))
                fail_msg("%zu: \"%s\" does not say \"%s\"", i, e.msg, BAD[i].says[k]);
    }
}

static void no_adapter(void **state) {
    (void)state;
    llm_model *m = NULL;
    err e = {0};
    assert_int_equal(llm_model_inspect(cpu, MODEL, "/nonexistent.gguf", &m, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "/nonexistent.gguf"));
    assert_int_equal(llm_model_inspect(cpu, MODEL, MODEL, &m, &e), ERR_FORMAT);
    assert_int_equal(llm_model_load(cpu, MODEL, "tests/golden/models.py", &m, &e), ERR_FORMAT);
    assert_null(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits),
        cmocka_unit_test(does_not_fit),
        cmocka_unit_test(no_adapter),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
