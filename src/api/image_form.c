/* A form that was collected like any body, read part by part. */
#include "api/image_form.h"
#include "base/buf.h"
#include "http/multipart.h"
#include <openssl/evp.h>
#include <string.h>

typedef struct form {
    json_t *body;
    char name[64];
    bool is_file;
    buf bytes;
} form;

static bool on_part(void *ctx, const multipart_head *h) {
    form *f = ctx;
    str name = h->name;
    if (str_ends(name, STR("[]"))) name.len -= 2;
    if (name.len >= sizeof f->name) name.len = 0;
    memcpy(f->name, name.ptr ? name.ptr : "", name.len);
    f->name[name.len] = '\0';
    f->is_file = h->has_file;
    buf_clear(&f->bytes);
    return true;
}

static bool on_data(void *ctx, const void *bytes, size_t n_bytes) {
    buf_put(&((form *)ctx)->bytes, bytes, n_bytes);
    return true;
}

static json_t *base64(const buf *b) {
    char *text = mem_alloc(b->len / 3 * 4 + 5);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)(b->ptr ? b->ptr : ""),
                    (int)b->len);
    json_t *v = json_string(text);
    mem_free(text);
    return v;
}

static bool is_number(const char *name) {
    return strcmp(name, "n") == 0 || strcmp(name, "seed") == 0 || strcmp(name, "strength") == 0;
}

static bool on_end(void *ctx) {
    form *f = ctx;
    double number;
    str text = buf_str(&f->bytes);
    if (json_object_get(f->body, f->name)) return true; /* the first of several counts */
    if (f->is_file)
        json_object_set_new(f->body, f->name, base64(&f->bytes));
    else if (is_number(f->name) && str_to_f64(text, &number))
        json_object_set_new(f->body, f->name, json_real(number));
    else
        json_object_set_new(f->body, f->name, comfy_str(text));
    return true;
}

json_t *image_form_body(http_request *r, err *e) {
    static const multipart_events events = {on_part, on_data, on_end};
    arena *a = http_request_arena(r);
    str boundary, raw = http_request_body(r);
    if (!multipart_boundary(http_request_header(r, "Content-Type"), a, &boundary))
        return comfy_body(r, e);
    form f = {.body = json_object()};
    comfy_defer_json(a, f.body);
    multipart *m = multipart_create(boundary, &events, &f);
    bool whole = multipart_put(m, raw.ptr, raw.len) && multipart_complete(m);
    multipart_destroy(&m);
    buf_finish(&f.bytes);
    if (whole) return f.body;
    err_set(e, ERR_FORMAT, "the body is not a well-formed form");
    return NULL;
}
