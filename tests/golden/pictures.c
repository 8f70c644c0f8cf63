/* Pictures of the demo checkpoint beside those that ComfyUI drew (pictures/sampler-NAME.png, in
 * float32): positive "a purple zebra on a hill", negative "a sun", 128x128, seed 7, 6 steps, cfg 5,
 * scheduler normal. The mean difference may be at most 1 of 255; computed in bf16, 4 of 255.
 * Needs the demo checkpoint in HOB_DEMO_DIR; skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "diffusion/arch/vae.h"
#include "diffusion/clip_tok.h"
#include "diffusion/guide.h"
#include "diffusion/noise.h"
#include "diffusion/prompt.h"
#include "image/image.h"
#include "os/file.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sanitizers make a picture take seconds: every fifteenth is enough for them. */
#ifdef __SANITIZE_ADDRESS__
enum { EVERY = 15 };
#else
enum { EVERY = 1 };
#endif

enum { SIDE = 128, CELLS = SIDE / 8, LATENT = 4 * CELLS * CELLS };

typedef struct demo {
    dev *d;
    bool bf16;
    diff_file *file;
    unet *net;
    vae *vae;
    clip_text *clip;
    diff_model *model;
    diff_conds *positive, *negative;
} demo;

static void must(err_code code, const err *e) {
    if (code) fail_msg("%s", e->msg);
}

static diff_conds *encode(demo *k, const char *text) {
    err e;
    prompt_result r;
    prompt_encoder enc = {
        .clip = k->clip, .pad = CLIP_TOK_END, .final_norm = true, .embed_key = "clip_l"};
    must(prompt_encode(&enc, str_from(text), 1, NULL, &r, &e), &e);
    diff_conds *l = diff_conds_new(1);
    diff_cond *c = l->items[0] = diff_cond_new();
    size_t n = (size_t)r.n_tokens * (size_t)r.width;
    c->vectors = diff_floats_new(n);
    memcpy(c->vectors->v, r.vectors, n * sizeof(float));
    c->n_tokens = r.n_tokens;
    c->dim = r.width;
    prompt_result_finish(&r);
    return l;
}

static int open_demo(void **state, bool bf16) {
    err e;
    char path[4096];
    const char *dir = getenv("HOB_DEMO_DIR");
    snprintf(path, sizeof path, "%s/emoji-sd.safetensors", dir ? dir : "");
    diff_file *file;
    if (diff_file_open(path, &file, &e)) {
        *state = NULL;
        return 0;
    }
    demo *k = NEW(demo);
    must(dev_cpu_create(&(dev_cpu_params){.n_threads = 2, .bf16 = bf16}, &k->d, &e), &e);
    k->bf16 = bf16;
    k->file = file;
    must(unet_create(k->d, diff_weights_create(k->file, "model.diffusion_model."), &k->net, &e),
         &e);
    must(vae_create(k->d, diff_weights_create(k->file, "first_stage_model."), &k->vae, &e), &e);
    must(clip_text_create(k->d, diff_weights_create(k->file, "cond_stage_model.transformer."),
                          &k->clip, &e),
         &e);
    diff_model *m = k->model = NEW(diff_model);
    m->refs = 1;
    m->net = unet_ref(k->net);
    m->mem = arena_create(0);
    must(sigmas_model_create(m->mem, &(sigmas_params){.kind = SIGMAS_EPS}, &m->sigmas, &e), &e);
    m->latent_scale = 0.18215;
    m->latent_channels = 4;
    k->positive = encode(k, "a purple zebra on a hill");
    k->negative = encode(k, "a sun");
    *state = k;
    return 0;
}

static int open_f32(void **state) {
    return open_demo(state, false);
}

static int open_bf16(void **state) {
    return open_demo(state, true);
}

static int close_demo(void **state) {
    demo *k = *state;
    if (!k) return 0;
    diff_conds_destroy(k->positive);
    diff_conds_destroy(k->negative);
    diff_model_unref(&k->model);
    unet_unref(&k->net);
    vae_unref(&k->vae);
    clip_text_unref(&k->clip);
    diff_file_unref(&k->file);
    dev_destroy(&k->d);
    mem_free(k);
    return 0;
}

static void draw_steps(demo *k, const char *sampler, int n_steps, diff_sample_stats *stats,
                       float *ret_px) {
    err e;
    float noise[LATENT], zero[LATENT] = {0}, out[LATENT];
    arena *a = arena_create(0);
    diff_guide guide = {
        .model = k->model, .positive = k->positive, .negative = k->negative, .cfg = 5};
    diff_sample_job job = {.guide = &guide,
                           .sampler = sampler,
                           .seed = 7,
                           .noise = noise,
                           .latent = {zero, 1, 4, CELLS, CELLS, NULL, 0},
                           .stats = stats};
    must(noise_start(7, &(noise_batch){1, LATENT, NULL}, noise, &e), &e);
    sigmas_job sj = {.scheduler = "normal",
                     .n_steps = n_steps,
                     .denoise = 1,
                     .last_step = -1,
                     .discard_penultimate = sampler_discards_penultimate(sampler)};
    must(sigmas_job_schedule(a, k->model->sigmas, &sj, &job.schedule, &e), &e);
    must(diff_sample(&job, out, NULL, &e), &e);
    must(vae_decode(k->vae, out, (int32_t[3]){1, CELLS, CELLS}, NULL, ret_px, &e), &e);
    arena_destroy(&a);
}

static void draw(demo *k, const char *sampler, float *ret_px) {
    draw_steps(k, sampler, 6, NULL, ret_px);
}

static double difference(const float *px, const image *im) {
    double sum = 0;
    for (size_t i = 0; i < (size_t)SIDE * SIDE * 3; i++) {
        double v = fmin(1, fmax(0, ((double)px[i] + 1) / 2));
        sum += fabs(floor(v * 255) - rint((double)im->rgb[i] * 255));
    }
    return sum / ((double)SIDE * SIDE * 3);
}

/* Steady samplers, and those that make most of a small difference. */
static bool is_tried_in_bf16(const char *name) {
    static const char *const NAMES[] = {"dpmpp_3m_sde",    "euler",  "dpm_fast", "dpmpp_2m",
                                        "euler_ancestral", "uni_pc", "ddim",     "sa_solver"};
    for (size_t i = 0; i < COUNT_OF(NAMES) && (EVERY == 1 || i < 3); i++)
        if (strcmp(name, NAMES[i]) == 0) return true;
    return false;
}

static void test_pictures(void **state) {
    demo *k = *state;
    const char *dir = getenv("HOB_PICTURES") ? getenv("HOB_PICTURES") : "tests/golden/pictures";
    struct dirent *entry;
    int n = 0, n_bad = 0, n_seen = 0;
    if (!k) skip();
    DIR *d = opendir(dir);
    assert_non_null(d);
    while ((entry = readdir(d))) {
        char name[64], path[4096];
        if (sscanf(entry->d_name, "sampler-%60[^.].png", name) != 1) continue;
        if (k->bf16 ? !is_tried_in_bf16(name) : n_seen++ % EVERY) continue;
        file_map map;
        image im;
        err e;
        float *px = mem_calloc((size_t)SIDE * SIDE * 3, sizeof *px);
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        must(file_map_open(path, &map, &e), &e);
        must(image_decode(map.ptr, map.len, &im, &e), &e);
        draw(k, name, px);
        double diff = difference(px, &im);
        print_message("%-32s %.3f\n", name, diff);
        n++;
        n_bad += !(diff <= (k->bf16 ? 4 : 1));
        if (k->bf16) assert_true(diff > 0.02); /* it is another precision */
        image_finish(&im);
        file_map_close(&map);
        mem_free(px);
    }
    closedir(d);
    assert_true(n >= 3);
    assert_int_equal(n_bad, 0);
}

/* What step caching saves of twenty steps, and how far the picture moves. */
static void test_step_cache(void **state) {
    demo *k = *state;
    static const struct {
        step_cache_kind kind;
        double threshold;
    } TRIES[] = {{STEP_CACHE_OFF, 0},
                 {STEP_CACHE_EASY, 0},
                 {STEP_CACHE_EASY, 0.1},
                 {STEP_CACHE_EASY, 0.2},
                 {STEP_CACHE_LAZY, 0.2}};
    enum { N = SIDE * SIDE * 3 };
    if (!k) skip();
    float *plain = mem_calloc(N, sizeof *plain), *px = mem_calloc(N, sizeof *px);
    int64_t saved_before = 0;
    for (size_t i = 0; i < COUNT_OF(TRIES); i++) {
        diff_sample_stats n = {0};
        double moved = 0;
        k->model->cache = (step_cache_params){TRIES[i].kind, TRIES[i].threshold, 0.15, 0.95};
        draw_steps(k, "euler", 20, &n, i ? px : plain);
        for (int p = 0; p < N && i; p++)
            moved += fabs(fmin(1, fmax(-1, (double)px[p])) - fmin(1, fmax(-1, (double)plain[p]))) *
                     255 / 2 / N;
        print_message("cache %d at %.1f: %d evaluations saved, %d computed, moved by %.2f of 255\n",
                      (int)TRIES[i].kind, TRIES[i].threshold, (int)n.n_saved, (int)n.n_computed,
                      moved);
        assert_int_equal(n.n_saved + n.n_computed, 40);
        if (TRIES[i].threshold > 0)
            assert_true(n.n_saved >= 8 && n.n_saved <= 28 && moved > 0 && moved < 12);
        else
            assert_true(n.n_saved == 0 && !(moved > 0));
        if (TRIES[i].kind == STEP_CACHE_EASY) assert_true(n.n_saved >= saved_before);
        saved_before = n.n_saved;
    }
    k->model->cache = (step_cache_params){0};
    mem_free(plain);
    mem_free(px);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pictures),
                                       cmocka_unit_test(test_step_cache)};
    const struct CMUnitTest bf16_tests[] = {cmocka_unit_test(test_pictures)};
    return cmocka_run_group_tests_name("f32", tests, open_f32, close_demo) +
           cmocka_run_group_tests_name("bf16", bf16_tests, open_bf16, close_demo);
}
