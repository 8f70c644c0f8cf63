/* Latents to and from .latent files: safetensors with `latent_tensor` and an empty marker tensor;
 * files without the marker are of the old kind, which kept them in the VAE's scale. */
#include "base/checked.h"
#include "flow/env.h"
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include "flow/nodes/saved.h"
#include "kern/dtype.h"
#include "model/safetensors.h"
#include <string.h>
#include <sys/stat.h>

#define MARKER "latent_format_version_0"
static const float OLD_SCALE = (float)(1.0 / 0.18215);

static void put_header(buf *b, const flow_latent *l, const value *text) {
    buf_put_str(b, STR("{"));
    if (text && text->as.map.len) {
        buf_put_str(b, STR("\"__metadata__\": "));
        saved_json(b, text);
        buf_put_str(b, STR(", "));
    }
    buf_putf(b, "\"" MARKER "\": {\"dtype\": \"F32\", \"shape\": [0], \"data_offsets\": [0, 0]}");
    buf_putf(b,
             ", \"latent_tensor\": {\"dtype\": \"F32\", \"shape\": [%zu, %zu, %zu, %zu], "
             "\"data_offsets\": [0, %zu]}}",
             l->n, l->c, l->y, l->x, px_latent_len(l) * sizeof(float));
    while (b->len % 8) buf_put_char(b, ' ');
}

err_code latent_save_run(flow_call *c, err *e) {
    const flow_latent *in;
    str prefix;
    saved_place p;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(flow_in_text(c, "filename_prefix", &prefix, e));
    TRY(saved_open(c, prefix, (saved_size){0, 0}, &p, e));
    CLEANUP(buf_finish) buf header = {0};
    CLEANUP(buf_finish) buf file = {0};
    put_header(&header, in, saved_metadata(c));
    uint64_t n = header.len;
    buf_put(&file, &n, sizeof n); /* little-endian, as the machine */
    buf_put_str(&file, buf_str(&header));
    buf_put(&file, in->px, px_latent_len(in) * sizeof(float));
    saved_file f = {.bytes = &file, .ext = ".latent", .key = "latents"};
    return saved_write(c, &p, &f, e);
}

static err_code find_latent(flow_call *c, str *ret_path, err *e) {
    const flow_env *env = flow_call_env(c);
    str name;
    TRY(flow_in_text(c, "latent", &name, e));
    const flow_folders *f = env ? env->folders : NULL;
    arena *a = flow_call_arena(c);
    if (f && f->path && flow_may_read(f, name) &&
        (f->path(f->ctx, "input_latents", name, a, ret_path) ||
         f->path(f->ctx, "input", name, a, ret_path)))
        return ERR_OK;
    FAIL(e, NOT_FOUND, "latent: there is no file \"" STR_FMT "\"", STR_ARG(name));
}

static err_code read_latent(const safetensors *s, flow_latent **ret, err *e) {
    const safetensors_tensor *t = safetensors_find(s, "latent_tensor");
    if (!t) FAIL(e, FORMAT, "the file has no latent_tensor");
    if (t->n_dims != 4 || !dtype_get_info(t->type)->supported)
        FAIL(e, UNSUPPORTED, "latent_tensor has %u dimensions of %s; 4 of numbers are needed",
             t->n_dims, dtype_name(t->type));
    TRY(px_latent_new((size_t)t->ne[3], (size_t)t->ne[2], (size_t)t->ne[1], (size_t)t->ne[0], ret,
                      e));
    size_t n = px_latent_len(*ret);
    dequant_row(t->type, t->data, (*ret)->px, (int64_t)n);
    if (!safetensors_find(s, MARKER))
        for (size_t i = 0; i < n; i++) (*ret)->px[i] *= OLD_SCALE;
    return ERR_OK;
}

err_code latent_load_run(flow_call *c, err *e) {
    str path;
    safetensors *s = NULL;
    flow_latent *out = NULL;
    TRY(find_latent(c, &path, e));
    TRY(safetensors_open(path.ptr, &s, e));
    err_code code = read_latent(s, &out, e);
    safetensors_destroy(&s);
    if (code != ERR_OK) return code;
    px_out_latent(c, 0, out);
    return ERR_OK;
}

/* The file's length and time stand for its bytes. */
err_code latent_load_changed(flow_call *c, err *e) {
    str path;
    struct stat st;
    if (find_latent(c, &path, e) != ERR_OK || stat(path.ptr, &st) != 0) return ERR_OK;
    flow_call_fingerprint(c, str_fmt(flow_call_arena(c), "%lld %lld.%09ld", (long long)st.st_size,
                                     (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec));
    return ERR_OK;
}
