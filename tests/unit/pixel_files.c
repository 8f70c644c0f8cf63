/* Nodes that read and write files: names, counters, metadata, animations, latents, and what must
 * not happen: leaving the folder, half-written files, pictures from nothing. */
#include "node_rig.h"

#include "flow/nodes/pixels.h"
#include "flow/nodes/saved.h"
#include "image/image.h"
#include "os/file.h"
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static arena *mem;
static char base[] = "/tmp/hob-pixel-XXXXXX";

static str below(const char *name) {
    return str_fmt(mem, "%s/%s", base, name);
}

/* "name [output]" looks into output; everything else into input. */
static bool find_path(void *ctx, const char *folder, str name, arena *a, str *ret_path) {
    (void)ctx;
    str tag = STR(" [output]");
    bool output = strcmp(folder, "output") == 0;
    if (str_ends(name, tag)) {
        output = true;
        name = str_sub(name, 0, name.len - tag.len);
    }
    *ret_path = str_fmt(a, "%s/%s/" STR_FMT, base, output ? "output" : "input", STR_ARG(name));
    return file_exists(ret_path->ptr);
}

static flow_folders folders = {.path = find_path};

static void open_node(rig_node *c, const char *class_name) {
    rig_open(c, class_name);
    c->env.folders = &folders;
    value *prompt =
        rig_parse(mem, "{\"3\":{\"class_type\":\"KSampler\",\"inputs\":{\"seed\":42,"
                       "\"cfg\":7.5,\"on\":true,\"model\":[\"4\",0],\"name\":\"a/b: \\u00fc\"},"
                       "\"_meta\":{\"title\":\"Draw\"}}}");
    value *extra =
        rig_parse(mem, "{\"workflow\":{\"nodes\":[1,2.5,null,\"\\u4e2d\\ud83c\\udf4e\"]}}");
    if (!flow_def_input(c->c.def, STR("prompt"))) return;
    rig_put(c, "prompt", flow_value_data(prompt));
    rig_put(c, "extra_pnginfo", flow_value_data(extra));
}

static flow_value *picture(size_t n, size_t y, size_t x, size_t c, float v) {
    flow_image *im;
    err e = {0};
    assert_int_equal(px_image_new(n, y, x, c, &im, &e), ERR_OK);
    for (size_t i = 0; i < px_image_len(im); i++) im->px[i] = v + 0.01f * (float)(i % 7);
    return px_image_value(im);
}

static size_t count_files(str dir) {
    DIR *d = opendir(dir.ptr);
    size_t n = 0;
    if (!d) return 0;
    for (struct dirent *entry; (entry = readdir(d));) n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

static const char *ui_text(const rig_node *c, const char *key, size_t i, const char *field) {
    const value *list = rig_get(c->c.ui, key);
    assert_true(list && i < list->as.list.len);
    return str_cstr(mem, rig_get(list->as.list.items[i], field)->as.text);
}

static void run_ok(rig_node *c) {
    err e = {0};
    if (rig_run(c, &e) != ERR_OK) fail_msg("%s: %s", c->c.def->name, e.msg);
}

static void save(rig_node *c, const char *prefix, flow_value *im) {
    open_node(c, "SaveImage");
    rig_put(c, "images", im);
    rig_put(c, "filename_prefix", flow_value_text(str_from(prefix)));
}

static void test_save(void **state) {
    (void)state;
    rig_node c;
    save(&c, "set/a", picture(2, 3, 4, 3, 0.5f));
    run_ok(&c);
    assert_string_equal(ui_text(&c, "images", 0, "filename"), "a_00001_.png");
    assert_string_equal(ui_text(&c, "images", 1, "filename"), "a_00002_.png");
    assert_string_equal(ui_text(&c, "images", 1, "subfolder"), "set");
    assert_string_equal(ui_text(&c, "images", 1, "type"), "output");
    buf b = {0};
    err e = {0};
    assert_int_equal(file_read(below("output/set/a_00002_.png").ptr, 1 << 20, &b, &e), ERR_OK);
    image im = {0};
    assert_int_equal(image_decode(b.ptr, b.len, &im, &e), ERR_OK);
    assert_int_equal((int)(im.rgb[1] * 255 + 0.5f), (int)(255 * 0.52f)); /* cut, not rounded */
    image_finish(&im);
    value *text = image_png_text(b.ptr, b.len, mem);
    str prompt = rig_get(text, "prompt")->as.text, workflow = rig_get(text, "workflow")->as.text;
    assert_true(
        str_starts(prompt, STR("{\"3\": {\"class_type\": \"KSampler\", \"inputs\": {\"seed\": 42, "
                               "\"cfg\": 7.5, \"on\": true, \"model\": [\"4\", 0]")));
    assert_true(str_eq(workflow, STR("{\"nodes\": [1, 2.5, null, \"\\u4e2d\\ud83c\\udf4e\"]}")));
    buf_finish(&b);
    rig_close(&c);

    save(&c, "set/a", picture(1, 3, 4, 4, 0.2f)); /* numbers go on */
    c.env.no_metadata = true;
    run_ok(&c);
    assert_string_equal(ui_text(&c, "images", 0, "filename"), "a_00003_.png");
    assert_int_equal(file_read(below("output/set/a_00003_.png").ptr, 1 << 20, &b, &e), ERR_OK);
    assert_int_equal(image_png_text(b.ptr, b.len, mem)->as.map.len, 0);
    buf_finish(&b);
    rig_close(&c);
    save(&c, "n%batch_num%", picture(2, 2, 2, 1, 0.2f));
    run_ok(&c);
    assert_string_equal(ui_text(&c, "images", 1, "filename"), "n1_00002_.png");
    rig_close(&c);
}

static void expands(const char *prefix, const char *want) {
    struct tm t = {
        .tm_year = 126, .tm_mon = 2, .tm_mday = 5, .tm_hour = 7, .tm_min = 8, .tm_sec = 9};
    rig_node c;
    open_node(&c, "SaveImage");
    saved_pattern p = {flow_in_data(&c.c, "prompt"), &t, {640, 480}};
    str got = saved_expand(str_from(prefix), &p, mem);
    if (!str_eq(got, str_from(want))) fail_msg("%s gives " STR_FMT, prefix, STR_ARG(got));
    rig_close(&c);
}

static void test_patterns(void **state) {
    (void)state;
    expands("a", "a");
    expands("%date:yyyy-MM-dd%/x", "2026-03-05/x");
    expands("%date:yy.M.d h:mm:ss%", "26.3.5 7:08:09");
    expands("%date:yyy%", "yyy");
    expands("%width%x%height%", "640x480");
    expands("%year%%month%%day%-%hour%%minute%%second%", "20260305-070809");
    expands("%KSampler.seed%_%Draw.cfg%_%3.on%", "42_7.5_true");
    expands("%KSampler.name%", "a_b_ \xc3\xbc");
    expands("%KSampler.model%%KSampler.none%%No.seed%", "%KSampler.model%%KSampler.none%%No.seed%");
    expands("100%", "100%");
    expands("%%", "%%");
    expands("50% of %width%", "50% of 640");
}

static void refused(flow_value *im, const char *prefix, err_code want) {
    rig_node c;
    err e = {0};
    save(&c, prefix, im);
    assert_int_equal(rig_run(&c, &e), want);
    assert_null(c.c.ui);
    rig_close(&c);
}

static void test_save_refused(void **state) {
    (void)state;
    static const char *const leaving[] = {"../x", "/etc/x", "a/../../x", "a/b/../../../x", ".."};
    for (size_t i = 0; i < COUNT_OF(leaving); i++)
        refused(picture(1, 2, 2, 3, 0), leaving[i], ERR_INVALID);
    refused(picture(1, 2, 2, 3, NAN), "nan/x", ERR_INVALID);
    assert_int_equal(count_files(below("output/nan")), 0);
    /* a file stands where the folder should be */
    err e = {0};
    assert_int_equal(file_write_atomic(below("output/taken").ptr, "x", 1, &e), ERR_OK);
    refused(picture(1, 2, 2, 3, 0), "taken/x", ERR_IO);
    rig_node c;
    save(&c, "a/../b/./x", picture(1, 2, 2, 3, 0)); /* stays inside */
    run_ok(&c);
    assert_string_equal(ui_text(&c, "images", 0, "subfolder"), "b");
    rig_close(&c);
}

/* No room for a whole file: an error, and nothing is left. */
static void test_disk_full(void **state) {
    (void)state;
    struct rlimit old, none = {0};
    getrlimit(RLIMIT_FSIZE, &old);
    none.rlim_max = old.rlim_max;
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    rig_node c;
    err e = {0};
    save(&c, "full/x", picture(1, 64, 64, 3, 0));
    setrlimit(RLIMIT_FSIZE, &none);
    err_code code = rig_run(&c, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, before);
    assert_int_equal(code, ERR_IO);
    assert_non_null(strstr(e.msg, "x_00001_.png"));
    rig_close(&c);
    DIR *d = opendir(below("output/full").ptr);
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.' || entry->d_name[1] > '.') fail_msg("left: %s", entry->d_name);
    closedir(d);
}

static void test_previews(void **state) {
    (void)state;
    rig_node c;
    open_node(&c, "PreviewImage");
    rig_put(&c, "images", picture(1, 2, 2, 3, 0));
    run_ok(&c);
    assert_string_equal(ui_text(&c, "images", 0, "type"), "temp");
    assert_true(str_starts(str_from(ui_text(&c, "images", 0, "filename")), STR("ComfyUI_temp_")));
    rig_close(&c);
    open_node(&c, "MaskPreview");
    flow_mask *m;
    err e = {0};
    assert_int_equal(px_mask_new(2, 3, 4, &m, &e), ERR_OK);
    for (size_t i = 0; i < 24; i++) m->px[i] = 0.5f;
    rig_put(&c, "mask", flow_value_object("MASK", m, flow_mask_destroy, 0));
    run_ok(&c);
    assert_int_equal(rig_get(c.c.ui, "images")->as.list.len, 2);
    rig_close(&c);
    assert_int_equal(count_files(below("temp")), 3);
    open_node(&c, "SaveImageWebsocket");
    rig_put(&c, "images", picture(3, 2, 2, 3, 0));
    run_ok(&c);
    assert_int_equal(c.n_previews, 3);
    assert_int_equal(image_sniff(c.preview.ptr, c.preview.len), IMAGE_PNG);
    rig_close(&c);
}

static void animate(const char *class_name, const char *file) {
    rig_node c;
    err e = {0};
    open_node(&c, class_name);
    rig_put(&c, "images", picture(3, 4, 5, 3, 0.1f));
    rig_put(&c, "filename_prefix", flow_value_text(STR("moving")));
    rig_put(&c, "fps", flow_value_float(6.0));
    if (strstr(class_name, "PNG"))
        rig_put(&c, "compress_level", flow_value_int(4));
    else {
        rig_put(&c, "lossless", flow_value_bool(true));
        rig_put(&c, "quality", flow_value_int(80));
        rig_put(&c, "method", flow_value_text(STR("fastest")));
    }
    run_ok(&c);
    assert_true(rig_get(c.c.ui, "animated")->as.list.items[0]->as.boolean);
    assert_string_equal(ui_text(&c, "images", 0, "filename"), file);
    buf b = {0};
    image im = {0};
    assert_int_equal(file_read(below(str_fmt(mem, "output/%s", file).ptr).ptr, 1 << 20, &b, &e),
                     ERR_OK);
    assert_int_equal(image_decode(b.ptr, b.len, &im, &e), ERR_OK);
    assert_int_equal(im.n_frames, strstr(class_name, "PNG") ? 1 : 3);
    assert_true(str_find(buf_str(&b), STR("KSampler")) > 0);
    image_finish(&im);
    buf_finish(&b);
    rig_close(&c);
}

static void test_animations(void **state) {
    (void)state;
    animate("SaveAnimatedPNG", "moving_00001_.png");
    animate("SaveAnimatedWEBP", "moving_00002_.webp"); /* numbers count other endings too */
}

/* ---- loading */

static void copy_in(const char *name) {
    buf b = {0};
    err e = {0};
    str from = str_fmt(mem, "tests/fuzz/corpus/image/%s", name);
    assert_int_equal(file_read(from.ptr, 1 << 20, &b, &e), ERR_OK);
    str to = below(str_fmt(mem, "input/%s", name).ptr);
    assert_int_equal(file_write_atomic(to.ptr, b.ptr, b.len, &e), ERR_OK);
    buf_finish(&b);
}

static const flow_image *load(rig_node *c, const char *class_name, const char *file,
                              const flow_mask **ret_mask) {
    open_node(c, class_name);
    rig_put(c, "image", flow_value_text(str_from(file)));
    run_ok(c);
    *ret_mask = flow_value_as_object(c->out[1], "MASK");
    return flow_value_as_object(c->out[0], "IMAGE");
}

static void test_load(void **state) {
    (void)state;
    rig_node c;
    const flow_mask *mask;
    copy_in("rgba.png");
    copy_in("moving.gif");
    copy_in("rgb.jpg");
    const flow_image *im = load(&c, "LoadImage", "rgba.png", &mask);
    assert_int_equal(im->c, 3);
    assert_int_equal(im->y, 4);
    assert_int_equal(mask->y, 4);
    assert_int_equal(mask->x, 3);
    rig_close(&c);
    im = load(&c, "LoadImage", "moving.gif", &mask);
    assert_int_equal(im->n, 3);
    assert_int_equal(mask->n, 3);
    rig_close(&c);
    im = load(&c, "LoadImage", "rgb.jpg", &mask);
    assert_int_equal(im->n, 1);
    assert_int_equal(mask->y, 64);
    assert_true(mask->px[5] <= 0);
    rig_close(&c);
    load(&c, "LoadImage", "set/a_00001_.png [output]", &mask);
    rig_close(&c);
    load(&c, "LoadImageOutput", "set/a_00001_.png", &mask);
    rig_close(&c);
}

static float load_mask(const char *file, const char *channel) {
    rig_node c;
    open_node(&c, "LoadImageMask");
    rig_put(&c, "image", flow_value_text(str_from(file)));
    rig_put(&c, "channel", flow_value_text(str_from(channel)));
    run_ok(&c);
    const flow_mask *m = flow_value_as_object(c.out[0], "MASK");
    float v = m->px[1];
    rig_close(&c);
    return v;
}

static void test_load_mask(void **state) {
    (void)state;
    rig_node c;
    const flow_mask *mask;
    const flow_image *im = load(&c, "LoadImage", "rgba.png", &mask);
    assert_true(fabsf(load_mask("rgba.png", "alpha") - mask->px[1]) < 1e-6f);
    assert_true(fabsf(load_mask("rgba.png", "red") - im->px[3]) < 1e-6f);
    assert_true(fabsf(load_mask("rgba.png", "blue") - im->px[5]) < 1e-6f);
    assert_true(load_mask("rgb.jpg", "alpha") <= 0);
    rig_close(&c);
}

static void load_refused(const char *file, err_code want) {
    rig_node c;
    err e = {0};
    open_node(&c, "LoadImage");
    rig_put(&c, "image", flow_value_text(str_from(file)));
    assert_int_equal(rig_run(&c, &e), want);
    assert_non_null(strstr(e.msg, file)); /* says which */
    rig_close(&c);
}

static void test_load_refused(void **state) {
    (void)state;
    err e = {0};
    load_refused("none.png", ERR_NOT_FOUND);
    assert_int_equal(file_write_atomic(below("input/text.png").ptr, "hello", 5, &e), ERR_OK);
    load_refused("text.png", ERR_UNSUPPORTED);
    buf b = {0};
    assert_int_equal(file_read(below("input/rgb.jpg").ptr, 1 << 20, &b, &e), ERR_OK);
    assert_int_equal(file_write_atomic(below("input/cut.jpg").ptr, b.ptr, b.len / 2, &e), ERR_OK);
    load_refused("cut.jpg", ERR_FORMAT);
    buf_finish(&b);
}

static str fingerprint(const char *class_name, const char *input, const char *file) {
    rig_node c;
    err e = {0};
    open_node(&c, class_name);
    rig_put(&c, input, flow_value_text(str_from(file)));
    assert_int_equal(c.c.def->changed(&c.c, &e), ERR_OK);
    str out = str_dup(mem, buf_str(&c.c.fingerprint));
    rig_close(&c);
    return out;
}

static void test_changed(void **state) {
    (void)state;
    str first = fingerprint("LoadImage", "image", "rgba.png");
    assert_int_equal(first.len, 32);
    assert_true(str_eq(first, fingerprint("LoadImage", "image", "rgba.png")));
    assert_false(str_eq(first, fingerprint("LoadImage", "image", "rgb.jpg")));
    assert_int_equal(fingerprint("LoadImage", "image", "none.png").len, 0);
}

/* ---- latents */

static flow_latent *load_latent(rig_node *c, const char *file) {
    open_node(c, "LoadLatent");
    rig_put(c, "latent", flow_value_text(str_from(file)));
    run_ok(c);
    return flow_value_as_object(c->out[0], "LATENT");
}

static void test_latents(void **state) {
    (void)state;
    rig_node c, d;
    err e = {0};
    flow_latent *l;
    assert_int_equal(px_latent_new(2, 4, 3, 5, &l, &e), ERR_OK);
    for (size_t i = 0; i < 120; i++) l->px[i] = (float)i * 0.25f - 3;
    open_node(&c, "SaveLatent");
    rig_put(&c, "samples", px_latent_value(l));
    rig_put(&c, "filename_prefix", flow_value_text(STR("latents/x")));
    run_ok(&c);
    assert_string_equal(ui_text(&c, "latents", 0, "filename"), "x_00001_.latent");
    buf b = {0};
    assert_int_equal(file_read(below("output/latents/x_00001_.latent").ptr, 1 << 20, &b, &e),
                     ERR_OK);
    assert_int_equal(file_write_atomic(below("input/x.latent").ptr, b.ptr, b.len, &e), ERR_OK);
    flow_latent *got = load_latent(&d, "x.latent");
    assert_int_equal(got->n, 2);
    assert_int_equal(got->x, 5);
    assert_memory_equal(got->px, l->px, 120 * sizeof(float));
    rig_close(&d);
    assert_int_equal(fingerprint("LoadLatent", "latent", "none").len, 0);
    assert_true(fingerprint("LoadLatent", "latent", "x.latent").len > 0);
    /* without the marker the numbers are in the VAE's scale */
    ptrdiff_t at = str_find(buf_str(&b), STR("latent_format_version_0"));
    assert_true(at > 0);
    b.ptr[at] = 'L';
    assert_int_equal(file_write_atomic(below("input/old.latent").ptr, b.ptr, b.len, &e), ERR_OK);
    got = load_latent(&d, "old.latent");
    assert_true(fabsf(got->px[119] - l->px[119] / 0.18215f) < 1e-3f);
    rig_close(&d);
    buf_finish(&b);
    rig_close(&c);
    open_node(&d, "LoadLatent");
    rig_put(&d, "latent", flow_value_text(STR("rgba.png")));
    assert_int_not_equal(rig_run(&d, &e), ERR_OK);
    rig_close(&d);
}

static void remove_tree(const char *path) {
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        str below_it = str_fmt(mem, "%s/%s", path, entry->d_name);
        if (unlink(below_it.ptr) != 0) remove_tree(below_it.ptr);
    }
    if (d) closedir(d);
    rmdir(path);
}

int main(void) {
    mem = arena_create(0);
    err e = {0};
    if (!mkdtemp(base)) return 1;
    folders.output = below("output");
    folders.input = below("input");
    folders.temp = below("temp");
    if (file_mkdirs(folders.output.ptr, &e) || file_mkdirs(folders.input.ptr, &e)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_save),         cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_save_refused), cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_previews),     cmocka_unit_test(test_animations),
        cmocka_unit_test(test_load),         cmocka_unit_test(test_load_mask),
        cmocka_unit_test(test_load_refused), cmocka_unit_test(test_changed),
        cmocka_unit_test(test_latents),
    };
    int failed = cmocka_run_group_tests_name("pixel_files", tests, NULL, NULL);
    remove_tree(base);
    arena_destroy(&mem);
    return failed;
}
