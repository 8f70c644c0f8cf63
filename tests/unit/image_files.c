/* Reading and writing pictures: values as Pillow reads them (tests/golden/image_files.py), round
 * trips, texts, and files that are cut, damaged or larger than they may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "image/image.h"
#include "os/file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != ERR_OK) fail_msg("%s", e.msg);                                               \
    } while (0)

static err e;

static buf corpus(str name) {
    char path[256];
    snprintf(path, sizeof path, "tests/fuzz/corpus/image/" STR_FMT, STR_ARG(name));
    buf b = {0};
    OK(file_read(path, 1 << 20, &b, &e));
    return b;
}

static unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static double hex_value(str hex, size_t i, size_t digits) {
    unsigned v = 0;
    for (size_t k = 0; k < digits; k++) v = v << 4 | hex_digit(hex.ptr[i * digits + k]);
    return (double)v / (digits == 4 ? 65535.0 : 255.0);
}

static double next_number(str *line) {
    double v = 0;
    assert_true(str_to_f64(str_cut(line, ' '), &v));
    return v;
}

static void check_file(str head, str hex) {
    str name = str_cut(&head, ' ');
    double frames = next_number(&head), h = next_number(&head), w = next_number(&head);
    bool alpha = next_number(&head) > 0;
    size_t digits = (size_t)next_number(&head) / 4;
    buf b = corpus(name);
    image im = {0};
    OK(image_decode(b.ptr, b.len, &im, &e));
    assert_int_equal(im.width, w);
    assert_int_equal(im.height, h);
    assert_int_equal(im.n_frames, frames);
    if (!str_ends(name, STR(".gif"))) assert_int_equal(im.alpha != NULL, alpha);
    bool lossy = str_ends(name, STR(".jpg")) || str_eq(name, STR("lossy.webp"));
    double tolerance = lossy ? 2.5 / 255 : 1e-6;
    size_t n = (size_t)(frames * h * w);
    for (size_t i = 0; i < n * 4; i++) {
        double want = hex_value(hex, i, digits), got = 1;
        if (i % 4 < 3)
            got = (double)im.rgb[i / 4 * 3 + i % 4];
        else if (im.alpha)
            got = (double)im.alpha[i / 4];
        if (im.alpha && im.alpha[i / 4] <= 0 && i % 4 < 3) continue; /* colour of what is clear */
        if (fabs(want - got) > tolerance)
            fail_msg(STR_FMT ": value %zu is %g, not %g", STR_ARG(name), i, got * 255, want * 255);
    }
    uint32_t sw, sh;
    OK(image_size(b.ptr, b.len, &sw, &sh, &e));
    assert_true((sw == im.width && sh == im.height) || (sw == im.height && sh == im.width));
    image_finish(&im);
    buf_finish(&b);
}

static void test_as_pillow(void **state) {
    (void)state;
    buf b = {0};
    OK(file_read("tests/golden/image_files.txt", 8 << 20, &b, &e));
    size_t n = 0;
    for (str rest = buf_str(&b); rest.len; n++) {
        str head = str_cut(&rest, '\n');
        check_file(head, str_cut(&rest, '\n'));
    }
    assert_true(n >= 30);
    buf_finish(&b);
}

static uint8_t *noise(size_t n) {
    uint8_t *px = mem_alloc(n);
    uint32_t x = 9;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        px[i] = (uint8_t)(x >> 24);
    }
    return px;
}

/* The decoded picture has these bytes up to `tolerance` steps. */
static void same_bytes(const buf *b, const image_bytes *px, size_t frame, double tolerance) {
    image im = {0};
    OK(image_decode(b->ptr, b->len, &im, &e));
    assert_int_equal(im.width, px->width);
    assert_int_equal(im.height, px->height);
    assert_true(frame < im.n_frames);
    size_t n = (size_t)px->width * px->height;
    const uint8_t *p = px->px;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < px->channels; c++) {
            size_t at = frame * n + i;
            double got = (double)(c == 3 ? im.alpha[at] : im.rgb[at * 3 + c]) * 255;
            if (fabs(got - p[i * px->channels + c]) > tolerance)
                fail_msg("pixel %zu is %g, not %d", i, got, p[i * px->channels + c]);
        }
    image_finish(&im);
}

static void test_round_trips(void **state) {
    (void)state;
    uint8_t *px = noise(13 * 9 * 4);
    for (uint32_t channels = 3; channels <= 4; channels++) {
        image_bytes p = {.px = px, .width = 13, .height = 9, .channels = channels};
        buf b = {0};
        OK(image_encode_png(&p, 4, NULL, &b, &e));
        assert_int_equal(image_sniff(b.ptr, b.len), IMAGE_PNG);
        same_bytes(&b, &p, 0, 1e-3);
        buf_clear(&b);
        OK(image_encode_webp(&p, 100, true, &b, &e));
        if (channels == 3) same_bytes(&b, &p, 0, 1e-3);
        buf_finish(&b);
    }
    mem_free(px);
}

static void test_lossy(void **state) {
    (void)state;
    uint8_t px[32 * 32 * 3];
    for (size_t i = 0; i < sizeof px; i++) px[i] = (uint8_t)(i / 3 % 32 * 4 + i / 96 * 3);
    image_bytes p = {.px = px, .width = 32, .height = 32, .channels = 3};
    buf b = {0};
    OK(image_encode_jpeg(&p, 95, &b, &e));
    assert_int_equal(image_sniff(b.ptr, b.len), IMAGE_JPEG);
    same_bytes(&b, &p, 0, 6);
    size_t fine = b.len;
    buf_clear(&b);
    OK(image_encode_jpeg(&p, 20, &b, &e));
    assert_true(b.len < fine);
    buf_clear(&b);
    OK(image_encode_webp(&p, 95, false, &b, &e));
    same_bytes(&b, &p, 0, 6);
    buf_finish(&b);
}

static void test_deep(void **state) {
    (void)state;
    uint16_t px[6] = {0, 1, 256, 65535, 12345, 30000};
    image_bytes p = {.px = px, .width = 2, .height = 1, .channels = 3, .deep = true};
    buf b = {0};
    OK(image_encode_png(&p, 4, NULL, &b, &e));
    image im = {0};
    OK(image_decode(b.ptr, b.len, &im, &e));
    for (size_t i = 0; i < 6; i++) assert_true(fabs((double)im.rgb[i] * 65535 - px[i]) < 0.01);
    image_finish(&im);
    buf_finish(&b);
}

static void text_is(const value *map, const char *key, str want) {
    const value *v = value_get(map, str_from(key));
    if (!v || !str_eq(v->as.text, want)) fail_msg("text %s is missing or another", key);
}

static void test_texts(void **state) {
    (void)state;
    arena *a = arena_create(0);
    buf b = corpus(STR("text.png"));
    value *got = image_png_text(b.ptr, b.len, a);
    text_is(got, "prompt", STR("{\"3\": {\"class_type\": \"KSampler\"}}"));
    text_is(got, "workflow", STR("\xc3\xa4\xe4\xb8\xad\xf0\x9f\x8d\x8e"));
    assert_int_equal(value_get(got, STR("packed"))->as.text.len, 220);
    assert_int_equal(value_get(got, STR("itxt-packed"))->as.text.len, 600);
    buf_finish(&b);

    value *text = value_map(a);
    value_set(a, text, STR("prompt"), value_str(a, STR("{\"1\":{}}")));
    value_set(a, text, STR("workflow"), value_str(a, STR("\xc3\xbc")));
    value_set(a, text, STR(""), value_str(a, STR("a key of no length")));
    uint8_t px[3] = {1, 2, 3};
    image_bytes p = {.px = px, .width = 1, .height = 1, .channels = 3};
    OK(image_encode_png(&p, 4, text, &b, &e));
    got = image_png_text(b.ptr, b.len, a);
    assert_int_equal(got->as.map.len, 2);
    text_is(got, "prompt", STR("{\"1\":{}}"));
    text_is(got, "workflow", STR("\xc3\xbc"));
    for (size_t n = 0; n < b.len; n++) image_png_text(b.ptr, n, a); /* cut anywhere */
    buf_finish(&b);
    arena_destroy(&a);
}

static image_animation animation(arena *a, image_bytes *frames, uint8_t *px) {
    for (size_t i = 0; i < 3; i++)
        frames[i] = (image_bytes){.px = px + i * 60, .width = 5, .height = 4, .channels = 3};
    value *text = value_map(a);
    value_set(a, text, STR("prompt"), value_str(a, STR("{}")));
    value_set(a, text, STR("workflow"), value_str(a, STR("{\"nodes\": []}")));
    return (image_animation){.frames = frames,
                             .n_frames = 3,
                             .frame_ms = 100,
                             .level = 4,
                             .quality = 80,
                             .method = 4,
                             .lossless = true,
                             .text = text};
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void test_animations(void **state) {
    (void)state;
    arena *a = arena_create(0);
    uint8_t *px = noise(180);
    image_bytes frames[3];
    image_animation an = animation(a, frames, px);
    buf b = {0};
    OK(image_encode_webp_animation(&an, &b, &e));
    for (size_t i = 0; i < 3; i++) same_bytes(&b, &frames[i], i, 1e-3);
    str all = buf_str(&b);
    assert_true(str_find(all, STR("prompt:{}")) > 0);
    assert_true(str_find(all, STR("workflow:{\"nodes\"")) > 0);
    buf_clear(&b);

    OK(image_encode_apng(&an, &b, &e));
    same_bytes(&b, &frames[0], 0, 1e-3); /* a plain reader sees the first frame */
    char order[64] = "";
    uint32_t sequence = 0;
    const uint8_t *p = (const uint8_t *)b.ptr;
    for (size_t at = 8; at < b.len; at += 12 + be32(p + at)) {
        size_t n = be32(p + at);
        assert_int_equal(crc32(0, p + at + 4, (uInt)n + 4), be32(p + at + 8 + n));
        strncat(order, (const char *)p + at + 4, 1);
        if (memcmp(p + at + 4, "fcTL", 4) == 0 || memcmp(p + at + 4, "fdAT", 4) == 0) {
            assert_int_equal(be32(p + at + 8), sequence);
            sequence++;
        }
    }
    assert_string_equal(order, "IafIffffccI");
    buf_finish(&b);
    mem_free(px);
    arena_destroy(&a);
}

/* Every cut of a file is an error, but for the last bytes, which may be only padding. */
static void test_cut(void **state) {
    (void)state;
    static const char *const names[] = {"rgba.png",   "interlaced.png", "progressive.jpg",
                                        "lossy.webp", "moving.webp",    "moving.gif",
                                        "palette.bmp"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        buf b = corpus(str_from(names[i]));
        for (size_t n = 0; n < b.len; n++) {
            uint8_t *exact = mem_dup(b.ptr, n ? n : 1); /* so that reading behind is seen */
            image im = {0};
            err_code code = image_decode(exact, n, &im, &e);
            if (code == ERR_OK && n < b.len - 2)
                fail_msg("%s cut to %zu of %zu", names[i], n, b.len);
            image_finish(&im);
            mem_free(exact);
        }
        buf_finish(&b);
    }
}

static void test_flipped_bits(void **state) {
    (void)state;
    static const char *const names[] = {"rgb16.png", "palette-clear.png", "turned5.jpg",
                                        "lossless.webp", "still.gif"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        buf b = corpus(str_from(names[i]));
        for (size_t n = 0; n < b.len; n++) {
            b.ptr[n] = (char)(b.ptr[n] ^ (1 << n % 8));
            image im = {0};
            image_decode(b.ptr, b.len, &im, &e); /* any answer, no fault */
            image_finish(&im);
            b.ptr[n] = (char)(b.ptr[n] ^ (1 << n % 8));
        }
        buf_finish(&b);
    }
}

static void put_be32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Few bytes that claim many pixels. */
static void test_bombs(void **state) {
    (void)state;
    buf b = corpus(STR("rgb.png"));
    uint8_t *p = (uint8_t *)b.ptr;
    static const uint32_t sides[][2] = {{16384, 16384}, {16385, 1}, {1, 1u << 30}, {0, 5}};
    for (size_t i = 0; i < COUNT_OF(sides); i++) {
        put_be32(p + 16, sides[i][0]);
        put_be32(p + 20, sides[i][1]);
        put_be32(p + 29, (uint32_t)crc32(0, p + 12, 17));
        image im = {0};
        assert_int_not_equal(image_decode(b.ptr, b.len, &im, &e), ERR_OK);
        assert_null(im.rgb);
    }
    buf_finish(&b);
    b = corpus(STR("rgb.bmp"));
    memcpy(b.ptr + 18, "\xff\xff\xff\x7f\xff\xff\xff\x7f", 8);
    image im = {0};
    assert_int_equal(image_decode(b.ptr, b.len, &im, &e), ERR_LIMIT);
    buf_finish(&b);
    b = corpus(STR("still.gif"));
    memcpy(b.ptr + 6, "\xff\xff\xff\xff", 4);
    assert_int_equal(image_decode(b.ptr, b.len, &im, &e), ERR_LIMIT);
    buf_finish(&b);
    assert_int_equal(image_decode("GGUF....................", 24, &im, &e), ERR_UNSUPPORTED);
}

static void test_bytes(void **state) {
    (void)state;
    float v[] = {0.0f, 1.0f, 0.5f, -3.0f, 7.0f, NAN, 0.9999f, INFINITY};
    uint8_t got[8], want[] = {0, 255, 127, 0, 255, 0, 254, 255};
    image_to_u8(v, 8, got);
    assert_memory_equal(got, want, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_pillow), cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_lossy),     cmocka_unit_test(test_deep),
        cmocka_unit_test(test_texts),     cmocka_unit_test(test_animations),
        cmocka_unit_test(test_cut),       cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_bombs),     cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests_name("image_files", tests, NULL, NULL);
}
