/* /api/v1/files: taking, giving, reading. */
#include "api/web_files.h"
#include "api/tasks.h"
#include "api/web_decode.h"
#include "api/web_events.h"
#include "api/web_handlers.h"
#include "api/web_knowledge.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/vec.h"
#include "engine/picture.h"
#include "http/form.h"
#include "os/file.h"
#include "os/process.h"
#include <openssl/evp.h>
#include <string.h>

enum { SNIFF_BYTES = 4096, EMBED_BATCH = 32 };

/* ---- shapes ---- */

bool web_file_is_image(const file_row *f) {
    static const char *const types[] = {"image/png", "image/jpeg", "image/webp", "image/gif"};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (str_eq(f->mime, str_from(types[i]))) return true;
    return false;
}

json_t *web_file_short(const file_row *f) {
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(f->id));
    json_object_set_new(o, "name", comfy_str(f->name));
    json_object_set_new(o, "mime", comfy_str(f->mime));
    json_object_set_new(o, "size", json_integer(f->n_bytes));
    json_object_set_new(o, "kind", json_string(web_file_is_image(f) ? "image" : "document"));
    return o;
}

bool web_file_listed(const json_t *list, str id) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(comfy_text(json_object_get(json_array_get(list, i), "id")), id)) return true;
    return false;
}

json_t *web_file_json(const file_row *f) {
    json_t *o = web_file_short(f), *meta = json_object();
    json_object_set_new(meta, "name", comfy_str(f->name));
    json_object_set_new(meta, "content_type", comfy_str(f->mime));
    json_object_set_new(meta, "size", json_integer(f->n_bytes));
    json_object_set_new(o, "user_id", comfy_str(f->user_id));
    json_object_set_new(o, "filename", comfy_str(f->name));
    json_object_set_new(o, "hash", comfy_str(f->hash));
    json_object_set_new(o, "state", comfy_str(f->state));
    json_object_set_new(o, "error", f->error.len ? comfy_str(f->error) : json_null());
    json_object_set_new(o, "n_chunks", json_integer(f->n_chunks));
    json_object_set_new(o, "created_at", web_seconds(f->created_ms));
    json_object_set_new(o, "meta", meta);
    return o;
}

str web_file_path(const web *w, arena *a, str id) {
    return str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(w->files_dir), STR_ARG(id));
}

/* ---- what it is ---- */

str web_file_sniff(web *w, str bytes, str name) {
    const char *ext = "";
    err e;
    bool pdf = str_starts(bytes, STR("%PDF-"));
    if (pdf) return STR("application/pdf");
    if (!engine_picture_check(w->chat->eng, bytes, &ext, &e)) {
        if (strcmp(ext, ".png") == 0) return STR("image/png");
        if (strcmp(ext, ".jpg") == 0 || strcmp(ext, ".jpeg") == 0) return STR("image/jpeg");
        if (strcmp(ext, ".webp") == 0) return STR("image/webp");
        if (strcmp(ext, ".gif") == 0) return STR("image/gif");
    }
    if (!web_decode_is_text(str_sub(bytes, 0, SNIFF_BYTES))) return STR("application/octet-stream");
    bool markdown = str_ends(name, STR(".md")) || str_ends(name, STR(".markdown"));
    return markdown ? STR("text/markdown") : STR("text/plain");
}

static bool is_text(str mime) {
    return str_starts(mime, STR("text/"));
}

static str hex_hash(arena *a, str bytes) {
    unsigned char hash[32];
    unsigned n = 0;
    buf b = {0};
    EVP_Digest(bytes.ptr, bytes.len, hash, &n, EVP_sha256(), NULL);
    for (unsigned i = 0; i < n; i++) buf_putf(&b, "%02x", hash[i]);
    str s = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return s;
}

/* Signs that turn the direction of text round: "aU+202E gpj.exe" would show as a picture. */
static bool turns_text(uint32_t c) {
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* A name to show: the last part, printable. */
static str clean_name(arena *a, str name) {
    ptrdiff_t slash = str_rfind_char(name, '/'), back = str_rfind_char(name, '\\');
    name = str_sub(name, (size_t)((slash > back ? slash : back) + 1), name.len);
    buf b = {0};
    for (size_t pos = 0; pos < name.len && b.len < LIMIT_WEB_TEXT_BYTES - 4;) {
        uint32_t c = str_utf8_next(name, &pos);
        if (c >= ' ' && c != 127 && !turns_text(c)) buf_put_utf8(&b, c);
    }
    bool dots = str_eq(buf_str(&b), STR(".")) || str_eq(buf_str(&b), STR(".."));
    str s = b.len && !dots ? str_dup(a, buf_str(&b)) : STR("file");
    buf_finish(&b);
    return s;
}

/* ---- reading ---- */

typedef struct reading {
    web *w;
    arena *a;
    file_row f;
    str embedder, note; /* what made the vectors; why there are none */
} reading;

static err_code read_pdf(const char *path, buf *out, err *e) {
    const char *const argv[] = {"pdftotext", "-q", "-enc", "UTF-8", path, "-", NULL};
    process_spec s = {.argv = argv,
                      .cpu_s = 30,
                      .wall_s = 60,
                      .memory_bytes = 1ull << 30,
                      .output_bytes = LIMIT_WEB_DOCUMENT_BYTES};
    err_code code = process_run(&s, out, e);
    if (code == ERR_NOT_FOUND)
        err_set(e, code, "PDF files need the program pdftotext (Debian: poppler-utils)");
    if (!code && str_trim(buf_str(out)).len == 0)
        FAIL(e, INVALID, "the PDF holds no text: scanned pages cannot be read");
    return code;
}

static err_code read_text(reading *x, str *ret, err *e) {
    str path = web_file_path(x->w, x->a, x->f.id);
    buf raw = {0}, clean = {0};
    err_code code;
    if (is_text(x->f.mime))
        code = file_read(path.ptr, LIMIT_WEB_DOCUMENT_BYTES, &raw, e);
    else if (str_eq(x->f.mime, STR("application/pdf")))
        code = read_pdf(path.ptr, &raw, e);
    else
        code = err_set(e, ERR_UNSUPPORTED,
                       "texts, code, Markdown and PDF can be read, this file is none of them");
    if (!code) web_decode_text(buf_str(&raw), &clean);
    if (!code) *ret = str_dup(x->a, buf_str(&clean));
    buf_finish(&raw);
    buf_finish(&clean);
    return code;
}

static bool stopping(void *arg) {
    web *w = arg;
    return w->stopping;
}

/* Vectors for all passages, some at a time; without the model there are none, and *ret_note says
 * so. */
static err_code add_vectors(reading *x, const str *texts, chunk *list, size_t n, err *e) {
    for (size_t i = 0; i < n; i += EMBED_BATCH) {
        size_t k = n - i < EMBED_BATCH ? n - i : EMBED_BATCH;
        web_vectors v;
        web_embed_spec s = {.texts = texts + i,
                            .n = k,
                            .user_id = x->f.user_id,
                            .background = true,
                            .stop = stopping,
                            .stop_arg = x->w};
        err_code code = web_embed(x->w, &s, x->a, &v, e);
        if (code == ERR_NOT_FOUND || (!code && i && !str_eq(v.model, x->embedder))) {
            /* not here, or another one since the last batch: by words until a search sees it */
            for (size_t m = 0; m < i; m++) list[m].vec = NULL, list[m].n_vec = 0;
            x->note = code ? str_dup(x->a, str_from(e->msg)) : STR("");
            x->embedder = STR("");
            return ERR_OK;
        }
        if (code) return code;
        x->embedder = v.model;
        for (size_t m = 0; m < k; m++) {
            list[i + m].vec = v.items + m * v.dim;
            list[i + m].n_vec = v.dim;
        }
    }
    return ERR_OK;
}

static err_code index_text(reading *x, str text, err *e) {
    size_t n;
    int64_t size = web_site_number(x->w, "CHUNK_SIZE", 1000);
    int64_t overlap = web_site_number(x->w, "CHUNK_OVERLAP", 100);
    str *texts = web_chunks(text, (size_t)size, (size_t)overlap, x->a, &n);
    if (n > LIMIT_WEB_CHUNKS)
        FAIL(e, LIMIT, "the text has %zu passages; at most %d are taken", n, LIMIT_WEB_CHUNKS);
    chunk *list = ARENA_ARRAY(x->a, chunk, n + 1);
    for (size_t i = 0; i < n; i++) list[i] = (chunk){.index = (int64_t)i, .text = texts[i]};
    TRY(add_vectors(x, texts, list, n, e));
    return chunks_put(x->w->db, &(chunk_source){x->f.id, x->embedder}, list, n, e);
}

static void tell(web *w, str user_id, str id) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    file_row f;
    if (!files_find(w->db, user_id, id, a, &f, NULL))
        web_hub_user(w->hub, user_id, "file", web_file_json(&f));
}

static void process(void *arg) {
    reading *x = arg;
    str text;
    err e;
    err_code code = read_text(x, &text, &e);
    if (!code) code = files_set_text(x->w->db, x->f.id, text, &e);
    if (!code) code = index_text(x, text, &e);
    if (code != ERR_CANCELLED) { /* else it goes on at the next start */
        if (code) log_warn("%s cannot be read: %s", x->f.id.ptr, e.msg);
        files_set_state(x->w->db, x->f.id, code ? STR("failed") : STR("completed"),
                        code ? str_from(e.msg) : x->note, NULL);
        tell(x->w, x->f.user_id, x->f.id);
    }
    arena *a = x->a;
    arena_destroy(&a);
}

static void start_reading(web *w, const file_row *f) {
    arena *a = arena_create(0);
    reading *x = ARENA_NEW(a, reading);
    *x = (reading){.w = w, .a = a, .embedder = STR(""), .note = STR("")};
    x->f = (file_row){.id = str_dup(a, f->id),
                      .user_id = str_dup(a, f->user_id),
                      .name = str_dup(a, f->name),
                      .mime = str_dup(a, f->mime)};
    tasks_run(w->chat->tasks, process, x);
}

void web_files_recover(web *w) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    file_row *list;
    size_t n = 0;
    files_pending(w->db, a, &list, &n, NULL);
    for (size_t i = 0; i < n; i++) start_reading(w, &list[i]);
}

size_t web_files_reindex(web *w, const chunk_scope *scope, str embedder) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    file_list stale = {0};
    size_t n_started = 0;
    bool mine;
    files_stale(w->db, scope, embedder, a, &stale, NULL);
    for (size_t i = 0; i < stale.n; i++) {
        const file_row *f = &stale.items[i];
        if (files_begin(w->db, f->id, &mine, NULL) || !mine) continue; /* under way already */
        start_reading(w, f);
        n_started++;
    }
    return n_started;
}

void web_files_forget(web *w, str user_id) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    file_row *list;
    size_t n = 0;
    files_list(w->db, user_id, a, &list, &n, NULL);
    for (size_t i = 0; i < n; i++) file_remove(web_file_path(w, a, list[i].id).ptr, NULL);
}

/* ---- routes ---- */

err_code web_file_keep(web *w, file_row *f, str bytes, arena *a, err *e) {
    f->id = comfy_uuid(a);
    f->name = clean_name(a, f->name);
    f->hash = hex_hash(a, bytes);
    f->state = STR("completed");
    f->n_bytes = (int64_t)bytes.len;
    f->created_ms = comfy_now_ms();
    TRY(file_write_atomic(web_file_path(w, a, f->id).ptr, bytes.ptr, bytes.len, e));
    err_code code = files_add(w->db, f, e);
    if (code) file_remove(web_file_path(w, a, f->id).ptr, NULL);
    return code;
}

bool web_file_same(web *w, file_row *f, str bytes, arena *a) {
    f->hash = hex_hash(a, bytes);
    return !files_find_same(w->db, f, a, f, NULL);
}

static void take_upload(web *w, http_request *r, http_form_file *up) {
    arena *a = http_request_arena(r);
    buf bytes = {0};
    err e;
    file_row f = {.id = comfy_uuid(a),
                  .user_id = web_user_id(r),
                  .name = clean_name(a, up->filename),
                  .n_bytes = (int64_t)up->n_bytes,
                  .created_ms = comfy_now_ms()};
    err_code code = file_read(up->path, LIMIT_UPLOAD_BYTES, &bytes, &e);
    if (!code) {
        f.mime = web_file_sniff(w, buf_str(&bytes), f.name);
        f.hash = hex_hash(a, buf_str(&bytes));
        bool reads = comfy_flag(http_request_query(r, "process"), true) && !web_file_is_image(&f);
        f.state = reads ? STR("pending") : STR("completed");
        code = http_form_take(up, web_file_path(w, a, f.id).ptr, &e);
    }
    buf_finish(&bytes);
    if (!code) code = files_add(w->db, &f, &e);
    if (code) {
        file_remove(web_file_path(w, a, f.id).ptr, NULL);
        web_fail_err(r, &e);
        return;
    }
    json_t *o = web_file_json(&f);
    if (str_eq(f.state, STR("pending"))) start_reading(w, &f);
    web_reply(r, o);
}

void web_file_post(http_request *r, void *ctx) {
    http_form *form = http_request_form(r);
    http_form_file *up = form ? http_form_file_of(form, "file") : NULL;
    if (form && form->problem.code)
        web_fail(r, form->problem.code == ERR_LIMIT ? 413 : err_http_status(form->problem.code),
                 "%s", form->problem.msg);
    else if (!up)
        web_fail(r, 400, "the form has no file in its field \"file\"");
    else if (up->n_bytes == 0)
        web_fail(r, 400, "the file is empty");
    else
        take_upload(ctx, r, up);
    http_form_destroy(&form);
}

void web_files_list(http_request *r, void *ctx) {
    web *w = ctx;
    file_row *list;
    size_t n;
    err e;
    if (files_list(w->db, web_user_id(r), http_request_arena(r), &list, &n, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(out, web_file_json(&list[i]));
    web_reply(r, out);
}

static bool take(web *w, http_request *r, file_row *ret) {
    err e;
    if (!files_find(w->db, web_user_id(r), http_request_param(r, "file"), http_request_arena(r),
                    ret, &e))
        return true;
    web_fail_err(r, &e);
    return false;
}

void web_file_get(http_request *r, void *ctx) {
    file_row f;
    if (take(ctx, r, &f)) web_reply(r, web_file_json(&f));
}

void web_file_send(web *w, http_request *r, const file_row *f) {
    arena *a = http_request_arena(r);
    bool image = web_file_is_image(f);
    buf name = {0};
    for (size_t i = 0; i < f->name.len; i++) {
        unsigned char c = (unsigned char)f->name.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '-' || c == '_';
        buf_putf(&name, plain ? "%c" : "%%%02X", c);
    }
    http_reply_header(r, "Content-Disposition",
                      str_fmt(a, "%s; filename*=UTF-8''" STR_FMT, image ? "inline" : "attachment",
                              STR_ARG(buf_str(&name)))
                          .ptr);
    buf_finish(&name);
    http_reply_header(r, "Content-Security-Policy", "default-src 'none'; sandbox");
    const char *type = image || is_text(f->mime) || str_eq(f->mime, STR("application/pdf"))
                           ? f->mime.ptr
                           : "application/octet-stream";
    if (!http_reply_file(r, web_file_path(w, a, f->id).ptr, type))
        web_fail(r, 404, "the file's bytes are gone");
}

void web_file_content(http_request *r, void *ctx) {
    file_row f;
    if (take(ctx, r, &f)) web_file_send(ctx, r, &f);
}

void web_file_text(http_request *r, void *ctx) {
    file_row f;
    if (take(ctx, r, &f)) web_reply(r, json_pack("{s:o}", "content", comfy_str(f.text)));
}

void web_file_status(http_request *r, void *ctx) {
    file_row f;
    if (!take(ctx, r, &f)) return;
    json_t *o = json_object();
    json_object_set_new(o, "status", comfy_str(f.state));
    json_object_set_new(o, "error", f.error.len ? comfy_str(f.error) : json_null());
    web_reply(r, o);
}

void web_file_delete(http_request *r, void *ctx) {
    web *w = ctx;
    file_row f;
    bool any;
    err e;
    if (!take(w, r, &f)) return;
    if (files_delete(w->db, f.user_id, f.id, &any, &e)) {
        web_fail_err(r, &e);
        return;
    }
    file_remove(web_file_path(w, http_request_arena(r), f.id).ptr, NULL);
    web_reply(r, json_true());
}
