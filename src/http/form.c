/* Parts become fields and temporary files. */
#include "http/form.h"
#include "base/limits.h"
#include "base/vec.h"
#include "http/multipart.h"
#include "http/request.h"
#include "os/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct form {
    http_form pub; /* first: handlers see this */
    arena *arena;
    multipart *parser;
    const char *dir;
    uint64_t n_bytes, n_bytes_max;
    int fd; /* of the file that is arriving, else -1 */
    buf text;
    VEC(http_form_field) fields;
    VEC(http_form_file) files;
} form;

__attribute__((format(printf, 3, 4))) static bool fail(form *f, err_code code, const char *fmt,
                                                       ...) {
    va_list args;
    va_start(args, fmt);
    f->pub.problem.code = code;
    vsnprintf(f->pub.problem.msg, sizeof f->pub.problem.msg, fmt, args);
    va_end(args);
    return false;
}

static bool on_part(void *ctx, const multipart_head *h) {
    form *f = ctx;
    if (!h->has_file) {
        VEC_PUSH(f->fields, (http_form_field){.name = str_dup(f->arena, h->name)});
        buf_clear(&f->text);
        return true;
    }
    char *path = str_cstr(f->arena, str_fmt(f->arena, "%s/.upload-XXXXXX", f->dir));
    f->fd = mkostemp(path, O_CLOEXEC);
    if (f->fd < 0) return fail(f, ERR_IO, "cannot write to %s: %s", f->dir, strerror(errno));
    fchmod(f->fd, 0644);
    VEC_PUSH(f->files, (http_form_file){.name = str_dup(f->arena, h->name),
                                        .filename = str_dup(f->arena, h->filename),
                                        .content_type = str_dup(f->arena, h->content_type),
                                        .path = path});
    return true;
}

static bool on_data(void *ctx, const void *bytes, size_t n_bytes) {
    form *f = ctx;
    f->n_bytes += n_bytes;
    if (f->n_bytes > f->n_bytes_max)
        return fail(f, ERR_LIMIT, "the upload is larger than %llu bytes",
                    (unsigned long long)f->n_bytes_max);
    if (f->fd < 0) {
        if (f->text.len + n_bytes > LIMIT_FORM_TEXT_BYTES)
            return fail(f, ERR_LIMIT, "a field of the form is longer than %u bytes",
                        LIMIT_FORM_TEXT_BYTES);
        buf_put(&f->text, bytes, n_bytes);
        return true;
    }
    const char *p = bytes;
    VEC_LAST(f->files).n_bytes += n_bytes;
    while (n_bytes) {
        ssize_t k = write(f->fd, p, n_bytes);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return fail(f, ERR_IO, "cannot store the upload: %s", strerror(errno));
        p += k;
        n_bytes -= (size_t)k;
    }
    return true;
}

static bool on_end(void *ctx) {
    form *f = ctx;
    if (f->fd < 0) {
        VEC_LAST(f->fields).text = str_dup(f->arena, buf_str(&f->text));
        return true;
    }
    int bad = fsync(f->fd) | close(f->fd);
    f->fd = -1;
    return bad ? fail(f, ERR_IO, "cannot store the upload: %s", strerror(errno)) : true;
}

static void *begin(http_request *r, void *ctx) {
    (void)ctx;
    static const multipart_events events = {on_part, on_data, on_end};
    const http_mount *c = &r->mount;
    form *f = NEW(form);
    f->arena = arena_create(0);
    f->fd = -1;
    f->dir = c->upload_dir;
    f->n_bytes_max = c->upload_bytes_max;
    str boundary;
    str type = http_request_header(r, "Content-Type");
    if (!f->dir)
        fail(f, ERR_UNSUPPORTED, "this server takes no uploads");
    else if (multipart_boundary(type, f->arena, &boundary))
        f->parser = multipart_create(boundary, &events, f);
    else
        fail(f, ERR_FORMAT, "the body must be multipart/form-data");
    return f;
}

static bool piece(void *sink, const void *bytes, size_t n_bytes) {
    form *f = sink;
    if (f->pub.problem.code || !f->parser) return false;
    if (multipart_put(f->parser, bytes, n_bytes)) {
        f->pub.fields = f->fields.items, f->pub.n_fields = f->fields.len;
        f->pub.files = f->files.items, f->pub.n_files = f->files.len;
        if (multipart_complete(f->parser)) multipart_destroy(&f->parser);
        return f->parser != NULL;
    }
    if (!f->pub.problem.code) fail(f, ERR_FORMAT, "the body is not a well-formed form");
    return false;
}

void http_form_destroy(http_form **pf) {
    if (!pf || !*pf) return;
    form *f = (form *)(void *)*pf;
    *pf = NULL;
    multipart_destroy(&f->parser);
    if (f->fd >= 0) close(f->fd);
    for (size_t i = 0; i < f->files.len; i++)
        if (f->files.items[i].path) unlink(f->files.items[i].path);
    VEC_FINISH(f->fields);
    VEC_FINISH(f->files);
    buf_finish(&f->text);
    arena_destroy(&f->arena);
    mem_free(f);
}

static void abandon(void *sink) {
    http_form *f = sink;
    http_form_destroy(&f);
}

const http_sink http_form_sink = {begin, piece, abandon};

http_form *http_request_form(http_request *r) {
    form *f = r->sink;
    if (f->parser && !f->pub.problem.code) fail(f, ERR_FORMAT, "the form is not complete");
    return &f->pub;
}

str http_form_text(const http_form *f, const char *name) {
    for (size_t i = 0; i < f->n_fields; i++)
        if (str_eq(f->fields[i].name, str_from(name))) return f->fields[i].text;
    return (str){0};
}

http_form_file *http_form_file_of(http_form *f, const char *name) {
    for (size_t i = 0; i < f->n_files; i++)
        if (f->files[i].path && str_eq(f->files[i].name, str_from(name))) return &f->files[i];
    return NULL;
}

err_code http_form_take(http_form_file *file, const char *path, err *e) {
    if (rename(file->path, path)) FAIL(e, IO, "cannot store %s: %s", path, strerror(errno));
    file->path = NULL;
    return ERR_OK;
}
