/* POST /v1/audio/transcriptions: read and checked as it should be, then refused, since no model
 * that hears can be run yet. */
#include "api/openai.h"
#include "base/buf.h"
#include "http/multipart.h"

enum { FORM_BYTES_MAX = 25 << 20, NAME_BYTES_MAX = 1024 };

typedef struct audio_form {
    bool in_model, in_file, has_file;
    buf model;
    size_t n_file_bytes;
} audio_form;

static bool on_part(void *ctx, const multipart_head *h) {
    audio_form *f = ctx;
    f->in_model = str_eq(h->name, STR("model"));
    f->in_file = str_eq(h->name, STR("file")) && h->has_file;
    if (f->in_file) f->has_file = true;
    return true;
}

static bool on_data(void *ctx, const void *bytes, size_t n_bytes) {
    audio_form *f = ctx;
    if (f->in_file) f->n_file_bytes += n_bytes;
    if (f->in_model && f->model.len + n_bytes <= NAME_BYTES_MAX) buf_put(&f->model, bytes, n_bytes);
    return true;
}

static bool on_end(void *ctx) {
    (void)ctx;
    return true;
}

static err_code read_form(http_request *r, str boundary, audio_form *f, err *e) {
    static const multipart_events events = {on_part, on_data, on_end};
    str raw = http_request_body(r);
    if (raw.len > FORM_BYTES_MAX)
        FAIL(e, LIMIT, "the form has %zu bytes; at most 25 MB are possible", raw.len);
    multipart *m = multipart_create(boundary, &events, f);
    bool whole = multipart_put(m, raw.ptr, raw.len) && multipart_complete(m);
    multipart_destroy(&m);
    if (!whole) FAIL(e, INVALID, "failed to parse multipart form: it is not complete");
    if (f->model.len == 0) FAIL(e, INVALID, "model is required");
    if (!f->has_file) FAIL(e, INVALID, "file is required: http: no such file");
    if (f->n_file_bytes == 0) FAIL(e, INVALID, "audio file is empty");
    return ERR_OK;
}

void openai_transcriptions(http_request *r, void *ctx) {
    err e;
    api_model m;
    str boundary;
    audio_form f = {0};
    arena *mem = http_request_arena(r);
    if (!multipart_boundary(http_request_header(r, "Content-Type"), mem, &boundary))
        openai_reply_error(r, 400,
                           "failed to parse multipart form: request Content-Type isn't "
                           "multipart/form-data");
    else if (read_form(r, boundary, &f, &e))
        openai_reply_err(r, &e);
    else if (openai_find_model(ctx, r, buf_str(&f.model), &m))
        openai_reply_error(r, 501,
                           "transcription is not possible yet: there is no model here that hears");
    buf_finish(&f.model);
}
