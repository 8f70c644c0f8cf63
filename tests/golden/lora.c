/* LoRA files over a network and a text encoder, against numpy's sums; the names of layers against
 * diffusers' (lora.py made both); merged models; files that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "diffusion/lora.h"
#include "diffusion/merge.h"
#include "diffusion/names.h"
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define DIR_LORA "tests/golden/lora/"
#define NET "model.diffusion_model."
#define TEXT "cond_stage_model.transformer."

static dev *cpu;
static diff_file *base, *want;
static diff_model *model;
static diff_clip *clip;

static void must(err_code code, const err *e) {
    if (code) fail_msg("%s", e->msg);
}

static int setup(void **state) {
    err e;
    (void)state;
    must(dev_cpu_create(&(dev_cpu_params){.n_threads = 1}, &cpu, &e), &e);
    must(diff_file_open(DIR_LORA "base.safetensors", &base, &e), &e);
    must(diff_file_open(DIR_LORA "want.safetensors", &want, &e), &e);
    model = NEW(diff_model);
    atomic_init(&model->refs, 1);
    model->mem = arena_create(0);
    must(unet_create(cpu, diff_weights_create(base, NET), &model->net, &e), &e);
    must(sigmas_model_create(model->mem, &(sigmas_params){.kind = SIGMAS_EPS}, &model->sigmas, &e),
         &e);
    clip = NEW(diff_clip);
    atomic_init(&clip->refs, 1);
    must(clip_text_create(cpu, diff_weights_create(base, TEXT), &clip->l, &e), &e);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    diff_model_unref(&model);
    diff_clip_unref(&clip);
    diff_file_unref(&base);
    diff_file_unref(&want);
    dev_destroy(&cpu);
    return 0;
}

/* Every tensor of w: as wanted below "file/", else as it was. Returns how many were changed. */
static size_t compare(const diff_weights *w, const char *file, const char *prefix) {
    const safetensors_tensor *t;
    str name;
    size_t n = 0;
    for (size_t i = 0; (t = diff_weights_at(w, i, &name)); i++) {
        char text[256], at[256];
        if (!name.len) continue;
        snprintf(text, sizeof text, STR_FMT, STR_ARG(name));
        snprintf(at, sizeof at, "%s/%s", file, prefix);
        const safetensors_tensor *x = diff_file_find(want, at, text);
        float *v = diff_weights_read(w, text);
        assert_non_null(v);
        n += x != NULL;
        for (int64_t k = 0; k < t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; k++) {
            float y;
            memcpy(&y, (const char *)(x ? x : t)->data + k * 4, 4);
            if (!(fabsf(v[k] - y) <= 1e-5f * (1 + fabsf(y))))
                fail_msg("%s: %s[%d] is %g, not %g", file, text, (int)k, (double)v[k], (double)y);
        }
        mem_free(v);
    }
    return n;
}

static void check_file(const char *file, size_t n_net, size_t n_text) {
    err e;
    char path[128];
    lora *l;
    diff_model *m;
    diff_clip *k;
    snprintf(path, sizeof path, DIR_LORA "%s.safetensors", file);
    must(lora_open(path, &l, &e), &e);
    must(diff_model_with_lora(model, l, 0.75, &m, &e), &e);
    assert_int_equal(compare(diff_net_weights(unet_net(m->net)), file, NET), n_net);
    must(diff_clip_with_lora(clip, l, 0.75, &k, &e), &e);
    assert_int_equal(compare(diff_net_weights(clip_text_net(k->l)), file, TEXT), n_text);
    lora_unref(&l);
    diff_model_unref(&m);
    diff_clip_unref(&k);
    /* the model below is as it was */
    assert_int_equal(compare(diff_net_weights(unet_net(model->net)), "none", NET), 0);
}

static void test_sums(void **state) {
    (void)state;
    check_file("kohya", 2, 1);
    check_file("diffusers", 2, 0);
    check_file("peft", 1, 1);
    check_file("tucker", 1, 0);
    check_file("loha", 2, 0);
    check_file("lokr", 2, 1);
    check_file("dora", 2, 1);
    check_file("diff", 3, 0);
    check_file("foreign", 0, 0);
}

static void test_refused(void **state) {
    (void)state;
    err e;
    lora *l;
    assert_int_equal(lora_open(DIR_LORA "oft.safetensors", &l, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "OFT"));
    assert_int_equal(lora_open("a/file.pt", &l, &e), ERR_UNSUPPORTED);
}

static void test_names(void **state) {
    (void)state;
    char ours[320], theirs[320], made[320];
    size_t n = 0;
    FILE *f = fopen(DIR_LORA "names.txt", "r");
    assert_non_null(f);
    for (; fscanf(f, "%319s %319s", ours, theirs) == 2; n++) {
        assert_true(names_unet_layer(str_from(ours), 1, made, sizeof made));
        assert_string_equal(made, theirs);
    }
    fclose(f);
    assert_true(n > 200);
    assert_false(names_unet_layer(STR("input_blocks.x"), 2, made, sizeof made));
}

/* Two layers: a LoRA, then half of it and half of the model. */
static void test_merge(void **state) {
    (void)state;
    err e;
    lora *l;
    diff_model *m, *half, *blocks;
    const char *name = "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight";
    must(lora_open(DIR_LORA "kohya.safetensors", &l, &e), &e);
    must(diff_model_with_lora(model, l, 0.75, &m, &e), &e);
    must(diff_merge_model(model, m, &(diff_mix){"", 0.25, 0.75}, 1, &half, &e), &e);
    must(diff_merge_model(model, m, (diff_mix[]){{"input", 1, 0}, {"input_blocks.1.", 0, 1}}, 2,
                          &blocks, &e),
         &e);
    float *a = diff_weights_read(diff_net_weights(unet_net(model->net)), name),
          *b = diff_weights_read(diff_net_weights(unet_net(m->net)), name),
          *c = diff_weights_read(diff_net_weights(unet_net(half->net)), name),
          *d = diff_weights_read(diff_net_weights(unet_net(blocks->net)), name);
    for (size_t i = 0; i < 64; i++) {
        assert_true(fabsf(a[i] * 0.25f + b[i] * 0.75f - c[i]) < 1e-5f);
        assert_true(fabsf(b[i] - d[i]) < 1e-6f);
    }
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    lora_unref(&l);
    diff_model_unref(&m);
    diff_model_unref(&half);
    diff_model_unref(&blocks);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_names), cmocka_unit_test(test_merge)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
