/* Pictures from files of the input (or output) folder. */
#include "base/limits.h"
#include "flow/env.h"
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include "image/image.h"
#include "os/file.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { NO_ALPHA_SIDE = 64 }; /* the empty mask of a picture without alpha */

/* The file an input names, in the folder its row names. */
static err_code find_file(flow_call *c, const char *input, str *ret_path, err *e) {
    const flow_env *env = flow_call_env(c);
    const flow_input *row = flow_def_input(flow_call_def(c), str_from(input));
    str name;
    TRY(flow_in_text(c, input, &name, e));
    if (!env || !env->folders || !env->folders->path) FAIL(e, NOT_FOUND, "there are no folders");
    const flow_folders *f = env->folders;
    /* "name [output]" is looked up from "input", which knows the other folders */
    const char *folder = str_ends(name, STR("]")) ? "input" : row->files;
    if (flow_may_read(f, name) && f->path(f->ctx, folder, name, flow_call_arena(c), ret_path))
        return ERR_OK;
    FAIL(e, NOT_FOUND, "%s: there is no file \"" STR_FMT "\"", input, STR_ARG(name));
}

err_code image_load_changed(flow_call *c, err *e) {
    str path;
    buf b = {0};
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n_sum = 0;
    if (find_file(c, "image", &path, e) != ERR_OK) return ERR_OK; /* run will say so */
    err_code code = file_read(path.ptr, LIMIT_IMAGE_FILE_BYTES, &b, e);
    if (code == ERR_OK && EVP_Digest(b.ptr, b.len, sum, &n_sum, EVP_sha256(), NULL))
        flow_call_fingerprint(c, (str){(const char *)sum, n_sum});
    buf_finish(&b);
    return ERR_OK;
}

static err_code decode_input(flow_call *c, image *ret, err *e) {
    str path, name;
    CLEANUP(buf_finish) buf b = {0};
    TRY(flow_in_text(c, "image", &name, e));
    TRY(find_file(c, "image", &path, e));
    TRY(file_read(path.ptr, LIMIT_IMAGE_FILE_BYTES, &b, e));
    err_code code = image_decode(b.ptr, b.len, ret, e);
    if (code != ERR_OK) err_wrap(e, "\"" STR_FMT "\"", STR_ARG(name));
    return code;
}

/* 1 - alpha of every frame, or empty masks. */
static err_code mask_of(const image *im, flow_mask **ret, err *e) {
    size_t y = im->alpha ? im->height : NO_ALPHA_SIDE, x = im->alpha ? im->width : NO_ALPHA_SIDE;
    TRY(px_mask_new(im->n_frames, y, x, ret, e));
    for (size_t i = 0; i < px_mask_len(*ret); i++)
        (*ret)->px[i] = im->alpha ? 1.0f - im->alpha[i] : 0.0f;
    return ERR_OK;
}

err_code image_load_run(flow_call *c, err *e) {
    CLEANUP(image_finish) image im = {0};
    CLEANUP(px_mask_drop) flow_mask *mask = NULL;
    TRY(decode_input(c, &im, e));
    TRY(mask_of(&im, &mask, e));
    flow_image *out = NEW(flow_image);
    *out = (flow_image){.n = im.n_frames, .y = im.height, .x = im.width, .c = 3};
    out->px = TAKE(im.rgb);
    px_out_image(c, 0, out);
    px_out_mask(c, 1, TAKE(mask));
    return ERR_OK;
}

err_code image_load_mask_run(flow_call *c, err *e) {
    CLEANUP(image_finish) image im = {0};
    str channel;
    flow_mask *out;
    TRY(flow_in_text(c, "channel", &channel, e));
    TRY(decode_input(c, &im, e));
    TRY(px_mask_new(1, im.height, im.width, &out, e));
    bool alpha = str_eq(channel, STR("alpha"));
    size_t k = str_eq(channel, STR("green")) ? 1 : str_eq(channel, STR("blue")) ? 2 : 0;
    for (size_t i = 0; i < px_mask_len(out); i++) {
        if (!alpha)
            out->px[i] = im.rgb[i * 3 + k];
        else
            out->px[i] = im.alpha ? 1.0f - im.alpha[i] : 0.0f;
    }
    px_out_mask(c, 0, out);
    return ERR_OK;
}
