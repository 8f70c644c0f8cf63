/* Resizing and filters against PyTorch, Pillow and kornia (tests/golden/image_ops.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "image/filter.h"
#include "os/file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGS = 12 };

typedef struct golden {
    char kind[32], name[32]; /* "resize", "bilinear" */
    double arg[MAX_ARGS];
    int n_args;
    float *want;
    size_t n_want;
} golden;

static float *ramp(size_t n, uint32_t seed, float low, float high) {
    float *v = mem_alloc(n * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = (float)(seed >> 8) / (float)(1 << 24) * (high - low) + low;
    }
    return v;
}

static unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void read_values(str hex, golden *g) {
    g->n_want = hex.len / 8;
    g->want = mem_alloc(g->n_want * sizeof(float));
    for (size_t i = 0; i < g->n_want; i++) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 8; k++) bits = bits << 4 | hex_digit(hex.ptr[i * 8 + k]);
        memcpy(&g->want[i], &bits, 4);
    }
}

static void read_head(str line, golden *g) {
    str kind = str_cut(&line, ' ');
    snprintf(g->kind, sizeof g->kind, STR_FMT, STR_ARG(kind));
    while (line.len) {
        str word = str_cut(&line, ' ');
        double v;
        if (str_to_f64(word, &v))
            g->arg[g->n_args++] = v;
        else
            snprintf(g->name, sizeof g->name, STR_FMT, STR_ARG(word));
    }
}

/* The same numbers up to rounding; `share` of them may differ more (edges at a threshold). */
static void compare(const golden *g, const float *got, size_t n, double tolerance, double share) {
    assert_int_equal(n, g->n_want);
    size_t bad = 0;
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)g->want[i]);
        if (!(d <= worst)) worst = d;
        if (!(d <= tolerance)) bad++;
    }
    if ((double)bad > share * (double)n)
        fail_msg("%s %s: %zu of %zu values differ, at most by %g", g->kind, g->name, bad, n, worst);
}

static void case_resize(const golden *g) {
    const double *a = g->arg;
    resize_dims d = {(size_t)a[1], (size_t)a[2], (size_t)a[3], (size_t)a[4], a[0] > 0};
    size_t y = (size_t)a[5], x = (size_t)a[6], n = d.n * y * x * d.c;
    resize_method method;
    assert_true(resize_method_by_name(g->name, strlen(g->name), &method));
    float low = method == RESIZE_BISLERP ? -2 : 0, high = method == RESIZE_BISLERP ? 2 : 1;
    float *src = ramp(resize_len(&d), (uint32_t)a[7], low, high);
    float *dst = mem_alloc(n * sizeof *dst);
    err e = {0};
    assert_int_equal(resize(src, &d, (resize_target){method, y, x}, dst, &e), ERR_OK);
    bool exact = method == RESIZE_NEAREST || method == RESIZE_LANCZOS;
    compare(g, dst, n, exact ? 0 : 2e-5, 0);
    mem_free(src);
    mem_free(dst);
}

static void case_gauss(const golden *g) {
    const double *a = g->arg;
    resize_dims d = {(size_t)a[0], (size_t)a[1], (size_t)a[2], (size_t)a[3], false};
    size_t n = resize_len(&d);
    float *src = ramp(n, (uint32_t)a[7], 0, 1), *dst = mem_alloc(n * sizeof *dst);
    filter_sharpen_params p = {(size_t)a[4], a[5], a[6]};
    err e = {0};
    bool sharpen = strcmp(g->kind, "sharpen") == 0;
    if (sharpen)
        assert_int_equal(filter_sharpen(src, &d, &p, dst, &e), ERR_OK);
    else
        assert_int_equal(filter_blur(src, &d, p.radius, p.sigma, dst, &e), ERR_OK);
    compare(g, dst, n, 1e-5, 0);
    mem_free(src);
    mem_free(dst);
}

static void case_morphology(const golden *g) {
    const double *a = g->arg;
    resize_dims d = {(size_t)a[0], (size_t)a[1], (size_t)a[2], (size_t)a[3], false};
    size_t n = resize_len(&d);
    float *src = ramp(n, (uint32_t)a[6], 0, 1), *dst = mem_alloc(n * sizeof *dst);
    err e = {0};
    filter_morphology_kind kind = (filter_morphology_kind)a[5];
    assert_int_equal(filter_morphology(src, &d, kind, (size_t)a[4], dst, &e), ERR_OK);
    compare(g, dst, n, 0, 0);
    mem_free(src);
    mem_free(dst);
}

static void case_colour(const golden *g) {
    size_t n = (size_t)g->arg[0];
    float *px = ramp(n * 3, (uint32_t)g->arg[1], -0.2f, 1.2f);
    if (strcmp(g->kind, "rgb") == 0)
        filter_ycbcr_to_rgb(px, n);
    else
        filter_rgb_to_ycbcr(px, n);
    compare(g, px, n * 3, 1e-6, 0);
    mem_free(px);
}

static void case_canny(const golden *g) {
    const double *a = g->arg;
    size_t y = (size_t)a[0], x = (size_t)a[1], c = (size_t)a[2];
    resize_dims small = {1, y / 4, x / 4, c, true};
    float *noise = ramp(resize_len(&small), (uint32_t)a[5], 0, 1);
    float *planar = mem_alloc(y * x * c * sizeof(float)),
          *px = mem_alloc(y * x * c * sizeof(float));
    resize_dims d = {1, y, x, c, false};
    float *edges = mem_alloc(y * x * sizeof(float));
    err e = {0};
    assert_int_equal(resize(noise, &small, (resize_target){RESIZE_BILINEAR, y, x}, planar, &e),
                     ERR_OK);
    for (size_t i = 0; i < y * x; i++)
        for (size_t k = 0; k < c; k++) px[i * c + k] = planar[k * y * x + i];
    assert_int_equal(filter_canny(px, &d, (double[]){a[3], a[4]}, edges, &e), ERR_OK);
    compare(g, edges, y * x, 1e-6, 0.005);
    mem_free(noise);
    mem_free(planar);
    mem_free(px);
    mem_free(edges);
}

static void run_case(const golden *g) {
    if (strcmp(g->kind, "resize") == 0)
        case_resize(g);
    else if (strcmp(g->kind, "blur") == 0 || strcmp(g->kind, "sharpen") == 0)
        case_gauss(g);
    else if (strcmp(g->kind, "morphology") == 0)
        case_morphology(g);
    else if (strcmp(g->kind, "canny") == 0)
        case_canny(g);
    else
        case_colour(g);
}

static void test_golden(void **state) {
    (void)state;
    buf b = {0};
    err e = {0};
    if (file_read("tests/golden/image_ops.txt", 8 << 20, &b, &e) != ERR_OK) fail_msg("%s", e.msg);
    size_t n = 0;
    for (str rest = buf_str(&b); rest.len; n++) {
        golden g = {0};
        read_head(str_cut(&rest, '\n'), &g);
        read_values(str_cut(&rest, '\n'), &g);
        run_case(&g);
        mem_free(g.want);
    }
    assert_true(n >= 55);
    buf_finish(&b);
}

static void test_crop_center(void **state) {
    (void)state;
    resize_rect r = resize_crop_center(100, 200, 50, 50);
    assert_int_equal(r.x, 50);
    assert_int_equal(r.width, 100);
    assert_int_equal(r.height, 100);
    r = resize_crop_center(101, 64, 64, 64); /* 18.5 rounds to even: 18 */
    assert_int_equal(r.y, 18);
    assert_int_equal(r.height, 65);
    r = resize_crop_center(1, 1000, 1000, 1);
    assert_true(r.width >= 1 && r.height == 1);
    float px[6] = {0, 1, 2, 3, 4, 5}, cut[2];
    resize_dims d = {1, 2, 3, 1, false};
    resize_cut(px, &d, (resize_rect){1, 0, 1, 2}, cut);
    assert_true(cut[0] > 0.9f && cut[0] < 1.1f && cut[1] > 3.9f && cut[1] < 4.1f);
}

static void test_refused(void **state) {
    (void)state;
    float src[12] = {0}, dst[12];
    resize_dims d = {1, 3, 4, 1, false}, flat = {1, 2, 6, 1, false};
    err e = {0};
    assert_int_equal(filter_blur(src, &d, 3, 1.0, dst, &e), ERR_INVALID);
    assert_int_equal(filter_canny(src, &flat, (double[]){0.1, 0.2}, dst, &e), ERR_INVALID);
    resize_method m;
    assert_false(resize_method_by_name("cubic", 5, &m));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_crop_center),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("image_ops", tests, NULL, NULL);
}
