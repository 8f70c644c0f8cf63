/* Pictures of a latent on its way: by the small decoder, or as colours of its channels. */
#include "flow/exec.h"
#include "flow/nodes/model_runs.h"
#include "image/image.h"
#include <math.h>
#include <string.h>

enum { PREVIEW_PX = 512, PREVIEW_QUALITY = 95 };

/* ---- finding and opening ---- */

static bool is_readable(str name) {
    return str_ends(name, STR(".safetensors")) || str_ends(name, STR(".sft")) ||
           str_ends(name, STR(".gguf"));
}

char *preview_find(flow_call *c, const char *stem) {
    const flow_folders *f = md_env(c)->folders;
    arena *a = flow_call_arena(c);
    value *list = value_list(a);
    const value *best = NULL;
    str path;
    if (!f || !f->files || !f->path) return NULL;
    f->files(f->ctx, "vae_approx", a, list);
    for (size_t i = 0; i < list->as.list.len; i++) {
        const value *v = list->as.list.items[i];
        if (!str_starts(v->as.text, str_from(stem))) continue;
        if (!best || (is_readable(v->as.text) && !is_readable(best->as.text))) best = v;
    }
    if (!best || !f->path(f->ctx, "vae_approx", best->as.text, a, &path)) return NULL;
    return str_cstr(a, path);
}

void preview_open(flow_watch *w) {
    flow_env *env = md_env(w->c);
    bool xl = w->model->preview == 2;
    const int32_t yx[2] = {w->y, w->x};
    flow_work work = {"previewing", 1, (size_t)w->y * 8, (size_t)w->x * 8, 0, NULL};
    if (env->preview != FLOW_PREVIEW_TAESD) return;
    err why; /* without it there are still the colours */
    char *path = preview_find(w->c, xl ? "taesdxl_decoder" : "taesd_decoder");
    vae *v;
    if (!path || diff_tiny_open(env->d, path, NULL, w->model->latent_scale, &v, &why)) return;
    work.net = vae_decoder(v);
    if (vae_get_info(v)->z_channels != w->model->latent_channels ||
        vae_decode_cost(v, yx, &w->held, &why) || work_begin(w->c, &work, &w->held, &why)) {
        vae_unref(&v);
        return;
    }
    w->tiny = v;
}

void preview_close(flow_watch *w) {
    if (!w->tiny) return;
    vae_unref(&w->tiny);
    work_end(w->c, &w->held);
}

/* ---- showing ---- */

static void send_jpeg(const flow_watch *w, uint8_t *px, size_t Y, size_t X) {
    buf out = {0};
    image_bytes im = {.px = px, .width = (uint32_t)X, .height = (uint32_t)Y, .channels = 3};
    if (image_encode_jpeg(&im, PREVIEW_QUALITY, &out, NULL) == ERR_OK)
        flow_preview(w->c, &(flow_picture){buf_str(&out), "image/jpeg"});
    buf_finish(&out);
}

static uint8_t to_byte(float v) { /* of -1 .. 1 */
    v = (v + 1) / 2 * 255;
    return (uint8_t)(v < 0 || isnan(v) ? 0 : v > 255 ? 255 : v);
}

/* Sides of a picture of y, x that fills PREVIEW_PX each way at most. */
static void fit(size_t y, size_t x, resize_target *to) {
    size_t longest = x > y ? x : y;
    *to = (resize_target){.y = (y * PREVIEW_PX + longest / 2) / longest,
                          .x = (x * PREVIEW_PX + longest / 2) / longest,
                          .method = RESIZE_BILINEAR};
    if (to->y < 1) to->y = 1;
    if (to->x < 1) to->x = 1;
}

static bool show_tiny(const flow_watch *w, const float *x0) {
    size_t f = (size_t)vae_get_info(w->tiny)->factor, Y = (size_t)w->y * f, X = (size_t)w->x * f;
    const int32_t nyx[3] = {1, w->y, w->x};
    const resize_dims from = {.n = 1, .y = Y, .x = X, .c = 3};
    resize_target to;
    err why;
    fit(Y, X, &to);
    float *big = NEW_ARRAY(float, Y *X * 3), *small = NEW_ARRAY(float, to.y *to.x * 3);
    bool ok = !vae_decode(w->tiny, x0, nyx, &md_env(w->c)->gate, big, &why) &&
              !px_upscale(big, &from, to, false, small, &why);
    if (ok) {
        uint8_t *px = mem_alloc(to.y * to.x * 3);
        for (size_t i = 0; i < to.y * to.x * 3; i++) px[i] = to_byte(small[i]);
        send_jpeg(w, px, to.y, to.x);
        mem_free(px);
    }
    mem_free(big);
    mem_free(small);
    return ok;
}

/* Colours of a latent's channels, in the network's units (fitted by their users; facts). */
typedef struct colours {
    float factor[4][3], bias[3];
} colours;
static const colours SD1_COLOURS = {{{0.3512f, 0.2297f, 0.3227f},
                                     {0.3250f, 0.4974f, 0.2350f},
                                     {-0.2829f, 0.1762f, 0.2721f},
                                     {-0.2120f, -0.2616f, -0.7177f}},
                                    {0, 0, 0}};
static const colours SDXL_COLOURS = {{{0.3651f, 0.4232f, 0.4341f},
                                      {-0.2533f, -0.0042f, 0.1068f},
                                      {0.1076f, 0.1111f, -0.0362f},
                                      {-0.3165f, -0.2492f, -0.2188f}},
                                     {0.1084f, -0.0175f, -0.0011f}};

/* Whole cells enlarged. */
static void show_colours(const flow_watch *w, const float *x0) {
    const colours *k = w->model->preview == 2 ? &SDXL_COLOURS : &SD1_COLOURS;
    int32_t longest = w->x > w->y ? w->x : w->y, zoom = PREVIEW_PX / longest;
    if (zoom < 1) zoom = 1;
    size_t X = (size_t)(w->x * zoom), Y = (size_t)(w->y * zoom),
           cells = (size_t)w->y * (size_t)w->x;
    uint8_t *px = mem_alloc(X * Y * 3);
    float scale = (float)w->model->latent_scale;
    for (size_t i = 0; i < X * Y; i++) {
        size_t at = i / X / (size_t)zoom * (size_t)w->x + i % X / (size_t)zoom;
        for (size_t c = 0; c < 3; c++) {
            float v = k->bias[c];
            for (size_t n = 0; n < 4; n++) v += x0[n * cells + at] * scale * k->factor[n][c];
            px[i * 3 + c] = to_byte(v);
        }
    }
    send_jpeg(w, px, Y, X);
    mem_free(px);
}

void preview_show(const flow_watch *w, const float *x0) {
    if (md_env(w->c)->preview == FLOW_PREVIEW_NONE || w->model->latent_channels != 4) return;
    if (w->tiny && show_tiny(w, x0)) return;
    show_colours(w, x0);
}
