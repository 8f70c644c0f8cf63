/* Small random networks of each picture family against diffusers and transformers (diffusion.py):
 * one UNet evaluation each for SD1, its inpainting form, SD2 and SDXL; CLIP-L and OpenCLIP hidden
 * layers and pooled vectors; VAE and TAESD both ways. Relative error at most 1e-3. And LoRA: a pair
 * by every name it may have gives the weights that adding the product by hand gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "diffusion/checkpoint.h"
#include "diffusion/lora.h"
#include "golden/diffusion.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the same weights as the script's ---- */

static uint64_t fnv(const char *s) {
    uint64_t h = 0xCBF29CE484222325u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001B3u;
    return h;
}

static float uniform(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (float)((double)(z >> 40) / (1 << 23) - 1);
}

static bool is_norm_weight(const char *n) {
    const char *end = strrchr(n, '.');
    if (strcmp(end, ".weight") != 0) return false;
    bool in_norm = strstr(n, "norm") || strstr(n, "ln_") || strstr(n, "out.0.weight");
    return in_norm || strstr(n, "layers.0.weight");
}

static int64_t elems(const golden_tensor *t) {
    int64_t n = 1;
    for (int d = 0; d < t->n_dims; d++) n *= t->shape[d];
    return n;
}

static void put_values(buf *b, const golden_tensor *t) {
    int64_t n = elems(t);
    uint64_t seed = fnv(t->name);
    float scale = t->n_dims == 1 ? 0.1f : n == 0 ? 0 : (float)sqrt(3.0 / (double)(n / t->shape[0]));
    float add = t->n_dims == 1 && is_norm_weight(t->name) ? 1.0f : 0.0f;
    for (int64_t i = 0; i < n; i++) {
        float v = uniform(seed, (uint64_t)i) * scale + add;
        buf_put(b, &v, sizeof v);
    }
}

/* How a TAESD's layers are called in the file: as the list has them; as diffusers does; the plain
 * numbers of a file with one half. */
typedef enum naming { AS_LISTED, AS_DIFFUSERS, ONLY_DECODER, ONLY_ENCODER } naming;
static naming names_are;

/* False: not part of the file. */
static bool stored_name(const char *name, char ret[256]) {
    int i;
    char half[16], rest[128];
    snprintf(ret, 256, "%s", name);
    if (names_are == AS_LISTED) return true;
    assert_int_equal(sscanf(name, "taesd_%15[a-z].%d.%127s", half, &i, rest), 3);
    bool is_decoder = strcmp(half, "decoder") == 0;
    if (names_are == AS_DIFFUSERS)
        snprintf(ret, 256, "%s.layers.%d.%s", half, i - is_decoder, rest);
    else
        snprintf(ret, 256, "%d.%s", i, rest);
    return names_are == AS_DIFFUSERS || is_decoder == (names_are == ONLY_DECODER);
}

/* A safetensors file of the list; the caller removes it. */
static void write_file(const golden_tensor *list, size_t n, char path[64]) {
    buf head = {0}, body = {0};
    buf_put_char(&head, '{');
    for (size_t i = 0; i < n; i++) {
        size_t from = body.len;
        char name[256];
        if (!stored_name(list[i].name, name)) continue;
        put_values(&body, &list[i]);
        buf_putf(&head, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", from ? "," : "", name);
        for (int d = 0; d < list[i].n_dims; d++)
            buf_putf(&head, "%s%lld", d ? "," : "", (long long)list[i].shape[d]);
        buf_putf(&head, "],\"data_offsets\":[%zu,%zu]}", from, body.len);
    }
    buf_put_char(&head, '}');
    strcpy(path, "/tmp/hob-golden-XXXXXX.safetensors");
    int fd = mkstemps(path, 12);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "wb");
    uint64_t len = head.len;
    assert_int_equal(fwrite(&len, 8, 1, f), 1);
    assert_int_equal(fwrite(head.ptr, 1, head.len, f), head.len);
    assert_int_equal(fwrite(body.ptr, 1, body.len, f), body.len);
    fclose(f);
    buf_finish(&head);
    buf_finish(&body);
}

typedef struct bench {
    dev *d;
    diff_file *file;
} bench;

static void must(err_code code, const err *e) {
    if (code) fail_msg("%s", e->msg);
}

static void open_bench(bench *b, const golden_tensor *list, size_t n) {
    err e;
    char path[64];
    write_file(list, n, path);
    must(dev_cpu_create(&(dev_cpu_params){.n_threads = 2}, &b->d, &e), &e);
    must(diff_file_open(path, &b->file, &e), &e);
    unlink(path);
}

static void close_bench(bench *b) {
    diff_file_unref(&b->file);
    dev_destroy(&b->d);
}

static float *data(const char *name, int64_t n) {
    float *v = mem_calloc((size_t)n, sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = uniform(fnv(name), (uint64_t)i);
    return v;
}

static void check(const char *what, const float *got, const golden_values *want) {
    double num = 0, den = 0;
    for (int i = 0; i < want->n; i++) {
        double d = (double)got[i * want->step] - (double)want->v[i];
        num += d * d;
        den += (double)want->v[i] * (double)want->v[i];
    }
    double error = sqrt(num / den);
    print_message("%-20s %.2g\n", what, error);
    if (!(error <= 1e-3)) fail_msg("%s: relative error %g", what, error);
}

/* ---- UNets ---- */

typedef struct unet_case {
    const char *name;
    const golden_tensor *list;
    size_t n;
    int in_channels, context, adm;
    const golden_values *want;
} unet_case;

/* The vector beside the timestep as the script gives it: pooled text, then six sizes. */
static float *adm_of(const unet_case *k) {
    static const double IDS[] = {64, 48, 0, 8, 64, 48};
    if (!k->adm) return NULL;
    char name[64];
    snprintf(name, sizeof name, "%s.pooled", k->name);
    float *pooled = data(name, 2 * 32), *v = mem_calloc(2 * (size_t)k->adm, sizeof *v);
    for (int b = 0; b < 2; b++) {
        memcpy(v + b * k->adm, pooled + b * 32, 32 * sizeof *v);
        for (int i = 0; i < 6; i++) unet_sinusoids(IDS[i], 256, v + b * k->adm + 32 + i * 256);
    }
    mem_free(pooled);
    return v;
}

static void check_unet(const unet_case *k) {
    bench b;
    err e;
    unet *u;
    char name[64];
    open_bench(&b, k->list, k->n);
    must(unet_create(b.d, diff_weights_create(b.file, "model.diffusion_model."), &u, &e), &e);
    snprintf(name, sizeof name, "%s.x", k->name);
    float *x = data(name, 2 * k->in_channels * 60), *adm = adm_of(k);
    snprintf(name, sizeof name, "%s.context", k->name);
    float *context = data(name, 2 * 7 * k->context), out[2 * 4 * 60];
    unet_input in = {.x = x,
                     .n = 2,
                     .y = 6,
                     .x_len = 10,
                     .time = (float[]){17, 801},
                     .context = context,
                     .n_context = 7,
                     .adm = adm};
    must(unet_eval(u, &in, NULL, out, &e), &e);
    check(k->name, out, k->want);
    mem_free(x);
    mem_free(adm);
    mem_free(context);
    unet_unref(&u);
    close_bench(&b);
}

static void test_unets(void **state) {
    (void)state;
    const unet_case cases[] = {
        {"sd1", sd1_tensors, COUNT_OF(sd1_tensors), 4, 48, 0, &sd1_out},
        {"sd1_inpaint", sd1_inpaint_tensors, COUNT_OF(sd1_inpaint_tensors), 9, 48, 0,
         &sd1_inpaint_out},
        {"sd2", sd2_tensors, COUNT_OF(sd2_tensors), 4, 1024, 0, &sd2_out},
        {"sdxl", sdxl_tensors, COUNT_OF(sdxl_tensors), 4, 2048, 32 + 6 * 256, &sdxl_out},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) check_unet(&cases[i]);
}

/* ---- text encoders ---- */

static void run_clip(clip_text *c, int32_t layer, bool norm, float *hidden, float *pooled) {
    err e;
    float *rows = mem_calloc(77 * 128, sizeof *rows);
    for (int i = 0; i < 77; i++) {
        int32_t id = i == 0 ? 998 : i < 20 ? (7 * i) % 900 : 999;
        const float *row = clip_text_row(c, id);
        assert_non_null(row);
        memcpy(rows + i * 128, row, 128 * sizeof *rows);
    }
    clip_text_input in = {.rows = rows, .eos = 20, .layer = layer, .final_norm = norm};
    must(clip_text_eval(c, &in, NULL, hidden, pooled, &e), &e);
    mem_free(rows);
}

static void test_clip(void **state) {
    (void)state;
    bench b;
    err e;
    clip_text *c;
    float hidden[77 * 128], pooled[128];
    open_bench(&b, clip_l_tensors, COUNT_OF(clip_l_tensors));
    must(
        clip_text_create(b.d, diff_weights_create(b.file, "cond_stage_model.transformer."), &c, &e),
        &e);
    run_clip(c, 0, true, hidden, pooled);
    check("clip_l last", hidden, &clip_l_last);
    run_clip(c, -2, true, hidden, pooled);
    check("clip_l second", hidden, &clip_l_second);
    run_clip(c, -2, false, hidden, pooled);
    check("clip_l second raw", hidden, &clip_l_second_raw);
    clip_text_unref(&c);
    close_bench(&b);
}

static void test_open_clip(void **state) {
    (void)state;
    bench b;
    err e;
    clip_text *c;
    float hidden[77 * 128], pooled[128];
    open_bench(&b, clip_g_tensors, COUNT_OF(clip_g_tensors));
    must(clip_text_create(b.d, diff_weights_create(b.file, "conditioner.embedders.1.model."), &c,
                          &e),
         &e);
    run_clip(c, 0, true, hidden, pooled);
    check("clip_g last", hidden, &clip_g_last);
    check("clip_g pooled", pooled, &clip_g_pooled);
    run_clip(c, -2, false, hidden, pooled);
    check("clip_g second raw", hidden, &clip_g_second_raw);
    clip_text_unref(&c);
    close_bench(&b);
}

/* ---- VAE ---- */

static void test_vae(void **state) {
    (void)state;
    bench b;
    err e;
    vae *v;
    open_bench(&b, vae_tensors, COUNT_OF(vae_tensors));
    must(vae_create(b.d, diff_weights_create(b.file, "first_stage_model."), &v, &e), &e);
    assert_int_equal(vae_get_info(v)->factor, 2);
    float *z = data("vae.z", 4 * 15), *px = data("vae.px", 3 * 120), out[10 * 6 * 3],
          planes[3 * 60];
    must(vae_decode(v, z, (int32_t[3]){1, 5, 3}, NULL, out, &e), &e);
    diff_to_nchw(out, planes, 1, 3, 60);
    check("vae decoded", planes, &vae_decoded);
    float nhwc[120 * 3], latent[4 * 30];
    diff_to_nhwc(px, nhwc, 1, 3, 120);
    must(vae_encode(v, nhwc, (int32_t[3]){1, 12, 10}, NULL, latent, &e), &e);
    check("vae encoded", latent, &vae_encoded);
    mem_free(z);
    mem_free(px);
    vae_unref(&v);
    close_bench(&b);
}

static double worst(const float *a, const float *b, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* By bands as in one piece, whatever the bands' height; two pictures. */
static void test_bands(void **state) {
    (void)state;
    enum { Y = 43, X = 5, N = 2 };
    bench b;
    err e;
    vae *v;
    diff_cost cost;
    open_bench(&b, vae_tensors, COUNT_OF(vae_tensors));
    must(vae_create(b.d, diff_weights_create(b.file, "first_stage_model."), &v, &e), &e);
    int64_t n_z = N * 4 * Y * X, n_px = N * 3 * 4 * Y * X;
    float *z = data("bands.z", n_z), *z2 = mem_calloc((size_t)n_z, sizeof *z2);
    float *px = mem_calloc((size_t)n_px, sizeof *px), *px2 = mem_calloc((size_t)n_px, sizeof *px);
    for (int32_t rows = 0; rows < 40; rows += 13) {
        vae_bands how = {true, {N, Y, X}, rows};
        must(vae_decode(v, z, how.nyx, NULL, px, &e), &e);
        must(vae_band_cost(v, &how, &cost, &e), &e);
        assert_true(cost.plan > 0 && cost.flops > 0);
        must(vae_band_run(v, &how, z, NULL, px2, &e), &e);
        print_message("decoded by bands of %d: %.2g\n", rows, worst(px, px2, n_px));
        assert_true(worst(px, px2, n_px) < 1e-4);
        how = (vae_bands){false, {N, 2 * Y, 2 * X}, rows};
        must(vae_encode(v, px, how.nyx, NULL, z2, &e), &e);
        must(vae_band_cost(v, &how, &cost, &e), &e);
        float *z3 = mem_calloc((size_t)n_z, sizeof *z3);
        must(vae_band_run(v, &how, px, NULL, z3, &e), &e);
        print_message("encoded by bands of %d: %.2g\n", rows, worst(z2, z3, n_z));
        assert_true(worst(z2, z3, n_z) < 1e-4);
        mem_free(z3);
    }
    vae_bands odd = {false, {1, 7, 10}, 0};
    assert_int_equal(vae_band_run(v, &odd, px, NULL, z2, &e), ERR_INVALID);
    mem_free(z);
    mem_free(z2);
    mem_free(px);
    mem_free(px2);
    vae_unref(&v);
    close_bench(&b);
}

/* ---- TAESD ---- */

static void check_tiny(vae *v, double scale) {
    err e;
    assert_non_null(v);
    assert_int_equal(vae_get_info(v)->factor, 4);
    assert_int_equal(vae_get_info(v)->z_channels, 4);
    float *z = data("tiny.z", 4 * 15), *px = data("tiny.px", 3 * 240);
    float *out = mem_calloc(20 * 12 * 3, sizeof *out), *planes = mem_calloc(720, sizeof *planes);
    for (int i = 0; i < 60; i++) z[i] *= (float)(4 / scale);
    must(vae_decode(v, z, (int32_t[3]){1, 5, 3}, NULL, out, &e), &e);
    diff_to_nchw(out, planes, 1, 3, 240);
    check("tiny decoded", planes, &tiny_decoded);
    if (vae_get_info(v)->can_encode) {
        diff_to_nhwc(px, out, 1, 3, 240);
        must(vae_encode(v, out, (int32_t[3]){1, 12, 20}, NULL, planes, &e), &e);
        for (int i = 0; i < 60; i++) planes[i] *= (float)scale;
        check("tiny encoded", planes, &tiny_encoded);
    }
    mem_free(z);
    mem_free(px);
    mem_free(out);
    mem_free(planes);
}

static void test_tiny(void **state) {
    (void)state;
    err e;
    dev *d;
    vae *v;
    char path[4][64];
    must(dev_cpu_create(&(dev_cpu_params){.n_threads = 1}, &d, &e), &e);
    for (int i = 0; i < 4; i++) {
        names_are = (naming)i;
        write_file(tiny_tensors, COUNT_OF(tiny_tensors), path[i]);
    }
    names_are = AS_LISTED;
    for (int i = 0; i < 2; i++) {
        must(diff_vae_open(d, path[i], &v, &e), &e);
        check_tiny(v, DIFF_SCALE_SD);
        vae_unref(&v);
    }
    must(diff_tiny_open(d, path[ONLY_DECODER], path[ONLY_ENCODER], DIFF_SCALE_SDXL, &v, &e), &e);
    check_tiny(v, DIFF_SCALE_SDXL);
    vae_unref(&v);
    must(diff_tiny_open(d, path[ONLY_DECODER], NULL, 1, &v, &e), &e);
    assert_false(vae_get_info(v)->can_encode);
    check_tiny(v, 1);
    vae_unref(&v);
    assert_int_equal(diff_tiny_open(d, path[ONLY_ENCODER], NULL, 1, &v, &e), ERR_FORMAT);
    assert_int_equal(diff_tiny_open(d, path[ONLY_DECODER], path[ONLY_DECODER], 1, &v, &e),
                     ERR_FORMAT);
    for (int i = 0; i < 4; i++) unlink(path[i]);
    dev_destroy(&d);
}

/* ---- LoRA ---- */

static void check_lora(const char *stem, const char *up_end, const char *down_end,
                       const char *target) {
    char up[160], down[160], path[64];
    err e;
    lora *l;
    snprintf(up, sizeof up, "%s%s", stem, up_end);
    snprintf(down, sizeof down, "%s%s", stem, down_end);
    const golden_tensor pair[] = {{down, 2, {3, 64}}, {up, 2, {64, 3}}};
    write_file(pair, 2, path);
    must(lora_open(path, &l, &e), &e);
    unlink(path);
    bench b;
    open_bench(&b, sd1_tensors, COUNT_OF(sd1_tensors));
    diff_weights *w = diff_weights_create(b.file, "model.diffusion_model.");
    if (lora_n_touched(l, LORA_UNET, w) != 1)
        fail_msg("%s fits %zu tensors", up, lora_n_touched(l, LORA_UNET, w));
    diff_patch p = lora_patch(l, LORA_UNET, w, 0.5);
    diff_weights *over = diff_weights_patched(w, &p);
    const float *before = diff_floats(w, target), *after = diff_floats(over, target);
    uint64_t su = fnv(up), sd = fnv(down);
    float ku = (float)sqrt(3.0 / 3), kd = (float)sqrt(3.0 / 64);
    for (uint64_t i = 0; i < 64 * 64; i++) {
        double sum = 0;
        for (uint64_t r = 0; r < 3; r++)
            sum += (double)(uniform(su, i / 64 * 3 + r) * ku) *
                   (double)(uniform(sd, r * 64 + i % 64) * kd);
        assert_true(fabs((double)after[i] - (double)before[i] - 0.5 * sum) < 1e-5);
    }
    diff_weights_unref(&over);
    diff_weights_unref(&w);
    lora_unref(&l);
    close_bench(&b);
}

static void test_lora(void **state) {
    (void)state;
    const char *target = "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight";
    check_lora("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", ".lora_up.weight",
               ".lora_down.weight", target);
    check_lora("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
               ".lora_up.weight", ".lora_down.weight", target);
    check_lora("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", ".lora_B.weight",
               ".lora_A.weight", target);
    check_lora("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q",
               ".lora.up.weight", ".lora.down.weight", target);
}

static void test_refusals(void **state) {
    (void)state;
    char path[64];
    err e;
    lora *l;
    diff_file *f;
    const golden_tensor oft[] = {{"lora_unet_x.oft_blocks", 2, {4, 4}}};
    write_file(oft, 1, path);
    assert_int_equal(lora_open(path, &l, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "OFT"));
    assert_int_equal(diff_file_open("model.ckpt", &f, &e), ERR_UNSUPPORTED);
    dev *d;
    diff_parts p;
    must(dev_cpu_create(&(dev_cpu_params){.n_threads = 1}, &d, &e), &e);
    assert_int_equal(diff_checkpoint_open(d, path, &p, &e), ERR_FORMAT);
    unlink(path);
    dev_destroy(&d);
}

/* A checkpoint with tensors missing or misshapen: an error that names one, at the latest when the
 * plan is made. */
static void test_damaged(void **state) {
    (void)state;
    int n_refused = 0, n = 0;
    for (size_t drop = 0; drop < COUNT_OF(sd1_tensors); drop += 7) {
        golden_tensor list[COUNT_OF(sd1_tensors)];
        memcpy(list, sd1_tensors, sizeof list);
        char name[160];
        snprintf(name, sizeof name, "%sx", list[drop].name);
        if (drop % 2)
            list[drop].name = name;
        else if (list[drop].n_dims > 1)
            list[drop].shape[1]++;
        else
            list[drop].shape[0]++;
        bench b;
        err e = {0};
        unet *u = NULL;
        open_bench(&b, list, COUNT_OF(list));
        diff_cost cost;
        unet_input in = {.n = 1, .y = 4, .x_len = 4, .n_context = 7};
        err_code code =
            unet_create(b.d, diff_weights_create(b.file, "model.diffusion_model."), &u, &e);
        if (code == ERR_OK) {
            diff_shape s = unet_shape(u, &in);
            code = diff_net_cost(unet_net(u), &s, &cost, &e);
        }
        n++;
        n_refused += code == ERR_FORMAT || code == ERR_INVALID;
        if (u) unet_unref(&u);
        close_bench(&b);
    }
    assert_true(n_refused > n * 3 / 4); /* some names, such as a bias, may be missing */
}

/* ---- mangled files ---- */

/* Some tensors away, or of other shapes: nothing, one, more, fewer dimensions. */
static size_t mangle(const golden_tensor *list, size_t n, uint64_t seed, golden_tensor *ret) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        golden_tensor t = list[i];
        uint64_t r = (uint64_t)(uniform(seed, i) * 4096 + 4096);
        int d = (int)(r >> 4) % t.n_dims;
        if (r % 64 == 0) continue;
        if (r % 64 == 1) t.shape[d] = 0;
        if (r % 64 == 2) t.shape[d] = 1;
        if (r % 64 == 3) t.shape[d]++;
        if (r % 64 == 4) t.shape[d] *= 2;
        if (r % 64 == 5 && t.n_dims > 1) t.n_dims--;
        ret[kept++] = t;
    }
    return kept;
}

static void use_vae(vae *v) {
    err e;
    diff_cost cost;
    float z[4 * 64] = {0}, px[3 * 32 * 32 * 4] = {0};
    const vae_info *f = vae_get_info(v);
    if (f->z_channels > 4 || f->factor > 4) return;
    for (int bands = 0; bands < 2; bands++)
        for (int decode = 0; decode < 2; decode++) {
            int32_t side = decode ? 8 : 8 * f->factor;
            vae_bands b = {decode, {1, side, side}, 8};
            err_code code = bands    ? vae_band_cost(v, &b, &cost, &e)
                            : decode ? vae_decode_cost(v, b.nyx + 1, &cost, &e)
                                     : vae_encode_cost(v, b.nyx + 1, &cost, &e);
            if (code) continue;
            if (bands)
                vae_band_run(v, &b, decode ? z : px, NULL, decode ? px : z, &e);
            else if (decode)
                vae_decode(v, z, b.nyx, NULL, px, &e);
            else
                vae_encode(v, px, b.nyx, NULL, z, &e);
        }
}

static void use_network(dev *d, diff_file *file) {
    err e;
    unet *u;
    clip_text *c;
    float x[4 * 16] = {0}, context[7 * 64] = {0}, out[4 * 16], time[1] = {3};
    if (unet_create(d, diff_weights_create(file, "model.diffusion_model."), &u, &e) == ERR_OK) {
        const unet_info *f = unet_get_info(u);
        unet_input in = {
            .x = x, .n = 1, .y = 4, .x_len = 4, .time = time, .context = context, .n_context = 7};
        if (f->in_channels <= 4 && f->out_channels <= 4 && f->context_dim <= 64 && !f->adm_dim)
            unet_eval(u, &in, NULL, out, &e);
        unet_unref(&u);
    }
    diff_weights *w = diff_weights_create(file, "cond_stage_model.transformer.");
    if (clip_text_create(d, w, &c, &e) == ERR_OK) {
        const clip_text_info *f = clip_text_get_info(c);
        size_t n = (size_t)f->n_tokens * (size_t)f->width;
        float *rows = mem_calloc(n, sizeof *rows), *hidden = mem_calloc(n, sizeof *hidden);
        float *pooled = mem_calloc((size_t)f->pooled_dim, sizeof *pooled);
        clip_text_input in = {.rows = rows, .eos = 2};
        clip_text_row(c, 3);
        clip_text_eval(c, &in, NULL, hidden, pooled, &e);
        mem_free(rows);
        mem_free(hidden);
        mem_free(pooled);
        clip_text_unref(&c);
    }
}

static void test_mangled(void **state) {
    (void)state;
    static const struct {
        const golden_tensor *list;
        size_t n;
    } FILES[] = {{sd1_tensors, COUNT_OF(sd1_tensors)},
                 {clip_l_tensors, COUNT_OF(clip_l_tensors)},
                 {vae_tensors, COUNT_OF(vae_tensors)},
                 {tiny_tensors, COUNT_OF(tiny_tensors)}};
    golden_tensor list[COUNT_OF(sd1_tensors) + COUNT_OF(vae_tensors)];
    for (uint64_t seed = 0; seed < 24; seed++) {
        bench b;
        err e;
        vae *v;
        diff_parts p;
        size_t k = seed % COUNT_OF(FILES);
        open_bench(&b, list, mangle(FILES[k].list, FILES[k].n, seed * 77, list));
        if (k < 2) use_network(b.d, b.file);
        char path[80];
        snprintf(path, sizeof path, STR_FMT, STR_ARG(diff_file_path(b.file)));
        write_file(list, mangle(FILES[k].list, FILES[k].n, seed * 77, list), path);
        if (diff_vae_open(b.d, path, &v, &e) == ERR_OK) {
            use_vae(v);
            vae_unref(&v);
        }
        if (diff_checkpoint_open(b.d, path, &p, &e) == ERR_OK) diff_parts_finish(&p);
        unlink(path);
        close_bench(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unets),     cmocka_unit_test(test_clip),
        cmocka_unit_test(test_open_clip), cmocka_unit_test(test_vae),
        cmocka_unit_test(test_bands),     cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_lora),      cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_damaged),   cmocka_unit_test(test_mangled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
