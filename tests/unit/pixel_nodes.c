/* Picture, mask and latent nodes against PyTorch, Pillow, scipy and kornia
 * (tests/golden/pixel_nodes.py), one line a run; and what they refuse. */
#include "node_rig.h"

#include "flow/nodes/pixels.h"
#include "os/file.h"

static arena *mem;

/* ---- making inputs */

static void ramp(float *px, size_t n, const value *recipe) {
    uint32_t x = (uint32_t)rig_number(rig_get(recipe, "seed"));
    float low = (float)rig_number(rig_get(recipe, "low"));
    float high = (float)rig_number(rig_get(recipe, "high"));
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        px[i] = (float)(x >> 8) / (float)(1 << 24) * (high - low) + low;
    }
}

static size_t dim(const value *block, size_t i) {
    return (size_t)rig_number(rig_get(block, "shape")->as.list.items[i]);
}

static flow_mask *make_mask(const value *v) {
    flow_mask *m;
    err e = {0};
    assert_int_equal(px_mask_new(dim(v, 0), dim(v, 1), dim(v, 2), &m, &e), ERR_OK);
    ramp(m->px, px_mask_len(m), v);
    return m;
}

static flow_value *make_latent(const value *v) {
    flow_latent *l;
    err e = {0};
    assert_int_equal(px_latent_new(dim(v, 0), dim(v, 1), dim(v, 2), dim(v, 3), &l, &e), ERR_OK);
    ramp(l->px, px_latent_len(l), v);
    const value *mask = rig_get(v, "mask"), *index = rig_get(v, "batch_index");
    if (mask) l->mask = make_mask(mask);
    if (index) {
        l->batch_index = NEW_ARRAY(int64_t, l->n);
        for (size_t i = 0; i < l->n; i++)
            l->batch_index[i] = (int64_t)rig_number(index->as.list.items[i]);
    }
    return px_latent_value(l);
}

static flow_value *make_image(const value *v) {
    flow_image *im;
    err e = {0};
    assert_int_equal(px_image_new(dim(v, 0), dim(v, 1), dim(v, 2), dim(v, 3), &im, &e), ERR_OK);
    ramp(im->px, px_image_len(im), v);
    return px_image_value(im);
}

static void put_inputs(rig_node *c, const value *inputs);

/* The first output of another node. */
static flow_value *make_by_node(const value *v) {
    rig_node c;
    err e = {0};
    rig_open(&c, str_cstr(mem, rig_get(v, "run")->as.text));
    put_inputs(&c, rig_get(v, "inputs"));
    assert_int_equal(rig_run(&c, &e), ERR_OK);
    flow_value *out = flow_value_ref(c.out[0]);
    rig_close(&c);
    return out;
}

static flow_value *make(const value *v) {
    if (v->kind == VALUE_INT) return flow_value_int(v->as.integer);
    if (v->kind == VALUE_FLOAT) return flow_value_float(v->as.number);
    if (v->kind == VALUE_BOOL) return flow_value_bool(v->as.boolean);
    if (v->kind == VALUE_STR) return flow_value_text(v->as.text);
    if (rig_get(v, "run")) return make_by_node(v);
    const value *list = rig_get(v, "list"), *type = rig_get(v, "type");
    if (list) {
        flow_value *out = flow_value_list();
        for (size_t i = 0; i < list->as.list.len; i++)
            flow_value_push(out, make(list->as.list.items[i]));
        return out;
    }
    if (str_eq(type->as.text, STR("IMAGE"))) return make_image(v);
    if (str_eq(type->as.text, STR("LATENT"))) return make_latent(v);
    flow_mask *m = make_mask(v);
    return flow_value_object("MASK", m, flow_mask_destroy, 0);
}

static void put_inputs(rig_node *c, const value *inputs) {
    for (size_t i = 0; i < inputs->as.map.len; i++)
        rig_put(c, str_cstr(mem, inputs->as.map.pairs[i].key), make(inputs->as.map.pairs[i].val));
}

/* ---- comparing outputs */

static const char *where; /* the line being run */

static unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void same_values(const float *got, const size_t *shape, size_t n_dims, const value *want) {
    const value *dims = rig_get(want, "shape");
    size_t n = 1;
    if (dims->as.list.len != n_dims) fail_msg("%s: %zu dimensions", where, n_dims);
    for (size_t i = 0; i < n_dims; i++) {
        if (dim(want, i) != shape[i])
            fail_msg("%s: dimension %zu is %zu, not %zu", where, i, shape[i], dim(want, i));
        n *= shape[i];
    }
    str hex = rig_get(want, "bits")->as.text;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        float v;
        for (size_t k = 0; k < 8; k++) bits = bits << 4 | hex_digit(hex.ptr[i * 8 + k]);
        memcpy(&v, &bits, 4);
        if (!(fabsf(v - got[i]) <= 2e-5f * (1 + fabsf(v))))
            fail_msg("%s: value %zu is %g, not %g", where, i, (double)got[i], (double)v);
    }
}

static void same_latent(const flow_latent *l, const value *want) {
    same_values(l->px, (size_t[]){l->n, l->c, l->y, l->x}, 4, want);
    const value *mask = rig_get(want, "mask"), *index = rig_get(want, "batch_index");
    if ((l->mask != NULL) != (mask != NULL) || (l->batch_index != NULL) != (index != NULL))
        fail_msg("%s: mask or batch index missing or too many", where);
    if (mask) same_values(l->mask->px, (size_t[]){l->mask->n, l->mask->y, l->mask->x}, 3, mask);
    for (size_t i = 0; index && i < l->n; i++)
        if (l->batch_index[i] != (int64_t)rig_number(index->as.list.items[i]))
            fail_msg("%s: batch index %zu is %d", where, i, (int)l->batch_index[i]);
}

static void same(const flow_value *got, const value *want) {
    if (!got) fail_msg("%s: an output is missing", where);
    const value *list = rig_get(want, "list");
    if (list) {
        assert_int_equal(flow_value_len(got), list->as.list.len);
        for (size_t i = 0; i < list->as.list.len; i++)
            same(flow_value_at(got, i), list->as.list.items[i]);
        return;
    }
    const char *type = str_cstr(mem, rig_get(want, "type")->as.text);
    void *p = flow_value_as_object(got, type);
    if (strcmp(type, "INT") == 0) {
        assert_int_equal(flow_value_as_int(got), (int64_t)rig_number(rig_get(want, "value")));
    } else if (!p) {
        fail_msg("%s: an output is not %s", where, type);
    } else if (strcmp(type, "IMAGE") == 0) {
        const flow_image *im = p;
        same_values(im->px, (size_t[]){im->n, im->y, im->x, im->c}, 4, want);
    } else if (strcmp(type, "MASK") == 0) {
        const flow_mask *m = p;
        same_values(m->px, (size_t[]){m->n, m->y, m->x}, 3, want);
    } else {
        same_latent(p, want);
    }
}

static void run_line(const value *line) {
    rig_node c;
    err e = {0};
    const value *outputs = rig_get(line, "outputs");
    where = str_cstr(mem, str_fmt(mem, "%.*s %.300s", STR_ARG(rig_get(line, "class")->as.text),
                                  rig_text(mem, rig_get(line, "inputs"))));
    rig_open(&c, str_cstr(mem, rig_get(line, "class")->as.text));
    put_inputs(&c, rig_get(line, "inputs"));
    if (rig_run(&c, &e) != ERR_OK) fail_msg("%s: %s", where, e.msg);
    assert_int_equal(outputs->as.list.len, flow_def_outputs(c.c.def));
    for (size_t i = 0; i < outputs->as.list.len; i++) same(c.out[i], outputs->as.list.items[i]);
    rig_close(&c);
}

static void test_golden(void **state) {
    (void)state;
    value *lines = rig_lines(mem, "tests/golden/pixel_nodes.jsonl");
    for (size_t i = 0; i < lines->as.list.len; i++) run_line(lines->as.list.items[i]);
    assert_true(lines->as.list.len > 150);
}

/* ---- what is refused */

static void refuses(const char *class_name, const char *inputs, err_code want, const char *says) {
    rig_node c;
    err e = {0};
    rig_open(&c, class_name);
    put_inputs(&c, rig_parse(mem, inputs));
    err_code code = rig_run(&c, &e);
    if (code != want || !strstr(e.msg, says))
        fail_msg("%s %s: %s \"%s\"", class_name, inputs, err_name(code), e.msg);
    rig_close(&c);
}

#define IMAGE(n, y, x, c)                                                                          \
    "{\"type\":\"IMAGE\",\"shape\":[" #n "," #y "," #x "," #c "],\"seed\":1,\"low\":0,\"high\":1}"
#define LATENT(n, c, y, x)                                                                         \
    "{\"type\":\"LATENT\",\"shape\":[" #n "," #c "," #y "," #x "],\"seed\":1,\"low\":0,\"high\":"  \
    "1}"
#define MASK(n, y, x)                                                                              \
    "{\"type\":\"MASK\",\"shape\":[" #n "," #y "," #x "],\"seed\":1,\"low\":0,\"high\":1}"

static void test_refused(void **state) {
    (void)state;
    refuses("EmptyImage", "{\"width\":16384,\"height\":16384,\"batch_size\":4096,\"color\":0}",
            ERR_LIMIT, "16384");
    refuses("EmptyLatentImage", "{\"width\":16384,\"height\":16384,\"batch_size\":4096}", ERR_LIMIT,
            "2048");
    refuses("ImageScaleBy",
            "{\"image\":" IMAGE(1, 2, 2, 3) ",\"upscale_method\":\"area\",\"scale_by\":0.01}",
            ERR_INVALID, "at least 1");
    refuses("RepeatImageBatch",
            "{\"image\":" IMAGE(2, 64, 64, 3) ",\"amount\":4611686018427387904}", ERR_LIMIT,
            "cannot be made");
    refuses("ImageBlur", "{\"image\":" IMAGE(1, 4, 9, 3) ",\"blur_radius\":4,\"sigma\":1.0}",
            ERR_INVALID, "radius");
    refuses("ImageToMask", "{\"image\":" IMAGE(1, 4, 9, 3) ",\"channel\":\"alpha\"}", ERR_INVALID,
            "alpha");
    refuses("LatentAdd",
            "{\"samples1\":" LATENT(1, 4, 2, 2) ",\"samples2\":" LATENT(1, 16, 2, 2) "}",
            ERR_INVALID, "channels");
    refuses("CropMask", "{\"mask\":" MASK(1, 4, 4) ",\"x\":4,\"y\":0,\"width\":1,\"height\":1}",
            ERR_INVALID, "outside");
    refuses("ImageInvert", "{\"image\":" MASK(1, 4, 4) "}", ERR_INVALID, "IMAGE");
    refuses("ImageInvert", "{}", ERR_INVALID, "image");
    refuses("RebatchImages",
            "{\"images\":{\"list\":[" IMAGE(1, 2, 2, 3) "," IMAGE(
                1, 3, 2, 3) "]},\"batch_size\":{\"list\":[2]}}",
            ERR_INVALID, "one batch");
}

/* Sizes only: the pixels are those of any Lanczos resize. */
static void test_kontext_scale(void **state) {
    (void)state;
    static const size_t want[][4] = {
        {8, 8, 1024, 1024}, {9, 16, 1392, 752}, {16, 9, 752, 1392}, {1, 40, 1568, 672}};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        rig_node c;
        err e = {0};
        flow_image *im;
        rig_open(&c, "FluxKontextImageScale");
        assert_int_equal(px_image_new(1, want[i][0], want[i][1], 3, &im, &e), ERR_OK);
        for (size_t k = 0; k < px_image_len(im); k++) im->px[k] = 0.5f;
        rig_put(&c, "image", px_image_value(im));
        assert_int_equal(rig_run(&c, &e), ERR_OK);
        const flow_image *out = flow_value_as_object(c.out[0], "IMAGE");
        assert_int_equal(out->x, want[i][2]);
        assert_int_equal(out->y, want[i][3]);
        rig_close(&c);
    }
}

static void test_interrupted(void **state) {
    (void)state;
    rig_node c;
    err e = {0};
    rig_open(&c, "GrowMask");
    put_inputs(
        &c, rig_parse(mem, "{\"mask\":" MASK(1, 8, 8) ",\"expand\":100,\"tapered_corners\":true}"));
    c.interrupted = true;
    assert_int_equal(rig_run(&c, &e), ERR_CANCELLED);
    rig_close(&c);
}

int main(void) {
    mem = arena_create(0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_kontext_scale),
        cmocka_unit_test(test_interrupted),
    };
    int failed = cmocka_run_group_tests_name("pixel_nodes", tests, NULL, NULL);
    arena_destroy(&mem);
    return failed;
}
