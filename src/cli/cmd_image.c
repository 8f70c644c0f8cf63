/* `hob image`: a picture from a prompt, through the picture API's /api/generate. */
#include "cli/commands.h"
#include "os/file.h"
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct wish {
    const char *out, *image;
    json_t *body, *options;
    buf prompt;
} wish;

typedef struct progress {
    bool shows; /* standard error is a terminal */
    json_t *last;
} progress;

static bool on_line(const json_t *line, void *arg) {
    progress *p = arg;
    long long done = json_integer_value(json_object_get(line, "completed"));
    long long total = json_integer_value(json_object_get(line, "total"));
    if (json_is_true(json_object_get(line, "done"))) {
        json_decref(p->last);
        p->last = json_incref((json_t *)(uintptr_t)line);
    } else if (p->shows && total > 0) {
        fprintf(stderr, "\rstep %lld/%lld ", done, total);
    }
    return !cli_interrupted(false);
}

static bool set_number(json_t *o, const char *key, const char *text, bool whole) {
    double v;
    if (!str_to_f64(str_from(text), &v) || v < 0 || v > 1e15 || (whole && v > floor(v)))
        return false;
    json_object_set_new(o, key, whole ? json_integer((json_int_t)v) : json_real(v));
    return true;
}

static bool set_size(json_t *body, const char *text) {
    str rest = str_from(text), width = str_cut(&rest, 'x');
    int64_t w, h;
    if (!str_to_i64(width, &w) || !str_to_i64(rest, &h) || w <= 0 || h <= 0) return false;
    json_object_set_new(body, "width", json_integer(w));
    json_object_set_new(body, "height", json_integer(h));
    return true;
}

/* The flag at a->at; false: unknown, or its value makes no sense. */
static bool take_flag(wish *w, cli_args *a) {
    static const struct {
        const char *name, *key;
        char kind; /* i whole number, f number, t text */
        bool top;  /* of the body itself, else of its options */
    } flags[] = {
        {"model", "model", 't', true},
        {"steps", "steps", 'i', true},
        {"cfg", "cfg", 'f', false},
        {"seed", "seed", 'i', false},
        {"negative", "negative_prompt", 't', false},
        {"sampler", "sampler", 't', false},
        {"scheduler", "scheduler", 't', false},
        {"batch", "batch", 'i', false},
        {"strength", "strength", 'f', false},
        {"step-cache", "step_cache", 'f', false},
    };
    const char *v;
    if (cli_flag(a, "output", &w->out)) return true;
    if (cli_flag(a, "image", &w->image)) return true;
    if (cli_flag(a, "size", &v)) return set_size(w->body, v);
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if (!cli_flag(a, flags[i].name, &v)) continue;
        json_t *o = flags[i].top ? w->body : w->options;
        if (flags[i].kind != 't') return set_number(o, flags[i].key, v, flags[i].kind == 'i');
        return json_object_set_new(o, flags[i].key, json_string(v)) == 0;
    }
    return false;
}

static bool parse(wish *w, int argc, char **argv) {
    cli_args a = {argc, argv, 1};
    for (; a.at < argc; a.at++) {
        if (argv[a.at][0] == '-' && argv[a.at][1]) {
            if (!take_flag(w, &a)) return false;
            continue;
        }
        if (w->prompt.len) buf_put_char(&w->prompt, ' ');
        buf_put_str(&w->prompt, str_from(argv[a.at]));
    }
    return w->prompt.len > 0;
}

static err_code add_image(wish *w, err *e) {
    buf b = {0};
    if (!w->image) return ERR_OK;
    TRY(file_read(w->image, 100u << 20, &b, e));
    char *text = mem_alloc(b.len / 3 * 4 + 5);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)b.ptr, (int)b.len);
    json_object_set_new(w->body, "images", json_pack("[s]", text));
    mem_free(text);
    buf_finish(&b);
    return ERR_OK;
}

/* FILE for the first picture, FILE-2.png for the second. */
static err_code write_picture(const char *out, size_t i, const char *base64, err *e) {
    str path = str_from(out);
    ptrdiff_t dot = str_rfind_char(path, '.');
    size_t stem = dot > 0 && str_find_char(str_sub(path, (size_t)dot, path.len), '/') < 0
                      ? (size_t)dot
                      : path.len;
    size_t n_text = strlen(base64);
    arena *a = arena_create(0);
    unsigned char *png = mem_alloc(n_text + 4);
    int n = EVP_DecodeBlock(png, (const unsigned char *)base64, (int)n_text);
    for (size_t k = n_text; n > 0 && k > 0 && base64[k - 1] == '='; k--) n--;
    const char *name =
        i == 0 ? out : str_fmt(a, "%.*s-%zu%s", (int)stem, out, i + 1, out + stem).ptr;
    err_code code = n > 0 ? file_write_atomic(name, png, (size_t)n, e)
                          : err_set(e, ERR_FORMAT, "the server's picture is not base64");
    if (!code) printf("%s\n", name);
    mem_free(png);
    arena_destroy(&a);
    return code;
}

static err_code write_all(const wish *w, const json_t *answer, err *e) {
    const json_t *images = json_object_get(answer, "images");
    const char *one = json_string_value(json_object_get(answer, "image"));
    const char *out = w->out ? w->out : "image.png";
    if (!one) FAIL(e, FORMAT, "the server sent no picture");
    if (!images) return write_picture(out, 0, one, e);
    for (size_t i = 0; i < json_array_size(images); i++)
        TRY(write_picture(out, i, json_string_value(json_array_get(images, i)), e));
    return ERR_OK;
}

int cmd_image(cli_context *c, int argc, char **argv) {
    wish w = {.body = json_object(), .options = json_object()};
    progress p = {.shows = isatty(STDERR_FILENO) == 1};
    err e;
    err_code code = ERR_OK;
    bool ok = parse(&w, argc, argv);
    if (ok) {
        cli_client *client = cli_client_create(c->env->image_url, c->env->key);
        cli_interrupt_watch();
        json_object_set_new(w.body, "prompt", json_stringn(w.prompt.ptr, w.prompt.len));
        json_object_set(w.body, "options", w.options);
        code = add_image(&w, &e);
        if (!code) code = cli_client_stream(client, "/api/generate", w.body, on_line, &p, &e);
        if (p.shows) fprintf(stderr, "\r              \r");
        if (!code) code = write_all(&w, p.last, &e);
        cli_client_destroy(&client);
    }
    json_decref(w.body);
    json_decref(w.options);
    json_decref(p.last);
    buf_finish(&w.prompt);
    return !ok ? cli_usage("image") : code ? cli_fail(&e) : 0;
}
