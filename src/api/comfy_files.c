/* /view, /upload/image, /upload/mask: files of the output, input and temp directories. */
#include "api/comfy_files.h"
#include "api/comfy_owner.h"
#include "base/limits.h"
#include "engine/picture.h"
#include "http/form.h"
#include "http/json.h"
#include "os/file.h"
#include "store/image_assets.h"
#include <stdlib.h>
#include <string.h>

bool comfy_dir(const comfy *c, str type, str *ret_dir) {
    if (type.len == 0 || str_eq(type, STR("output")))
        *ret_dir = c->dirs->output;
    else if (str_eq(type, STR("input")))
        *ret_dir = c->dirs->input;
    else if (str_eq(type, STR("temp")))
        *ret_dir = c->dirs->temp;
    else
        return false;
    return true;
}

str comfy_annotation(str *name, str fallback) {
    static const char *const notes[] = {" [output]", " [input]", " [temp]"};
    for (size_t i = 0; i < COUNT_OF(notes); i++) {
        str note = str_from(notes[i]);
        if (!str_ends(*name, note)) continue;
        name->len -= note.len;
        return str_sub(note, 2, note.len - 1);
    }
    return fallback;
}

bool comfy_file_path(arena *a, str dir, str subfolder, str name, str *ret_path) {
    while (subfolder.len && subfolder.ptr[subfolder.len - 1] == '/') subfolder.len--;
    if (str_find_char(name, '/') >= 0) return false;
    if (subfolder.len && !path_inside(a, dir, subfolder, &dir)) return false;
    return path_inside(a, dir, name, ret_path);
}

bool comfy_ui_path(const comfy *c, const json_t *item, arena *a, str *ret_path) {
    str dir;
    return comfy_dir(c, comfy_text(json_object_get(item, "type")), &dir) &&
           comfy_file_path(a, dir, comfy_text(json_object_get(item, "subfolder")),
                           comfy_text(json_object_get(item, "filename")), ret_path);
}

/* ---- view ---- */

/* A type that would run in the browser goes out as a plain download. */
static bool is_active(const char *mime) {
    static const char *const active[] = {"text/html", "text/javascript", "text/css", "text/xml"};
    for (size_t i = 0; i < COUNT_OF(active); i++)
        if (strcmp(mime, active[i]) == 0) return true;
    return strstr(mime, "+xml") != NULL;
}

static void reply_file(http_request *r, str path, str name) {
    arena *a = http_request_arena(r);
    const char *mime = comfy_mime(name);
    bool inline_svg = strcmp(mime, "image/svg+xml") == 0 &&
                      str_eq(http_request_header(r, "Sec-Fetch-Dest"), STR("image"));
    const char *attachment = "";
    if (inline_svg) {
        http_reply_header(r, "Vary", "Sec-Fetch-Dest");
        http_reply_header(r, "Cache-Control", "no-store");
    } else if (is_active(mime)) {
        mime = "application/octet-stream";
        attachment = "attachment; ";
        http_reply_header(r, "X-Content-Type-Options", "nosniff");
    }
    http_reply_header(r, "Content-Disposition",
                      str_fmt(a, "%sfilename=\"" STR_FMT "\"", attachment, STR_ARG(name)).ptr);
    if (!inline_svg && strncmp(mime, "image/", 6) == 0)
        http_reply_header(r, "Cache-Control", "max-age=86400");
    if (!http_reply_file(r, path.ptr, mime)) comfy_reply_empty(r, 404);
}

/* preview=webp;90 */
static engine_picture_form preview_form(str preview, str channel) {
    engine_picture_form f = {.format = ENGINE_PICTURE_WEBP, .quality = 90};
    int64_t quality;
    str format = str_cut(&preview, ';');
    if (str_to_i64(str_trim(preview), &quality) && quality >= 0 && quality <= 100)
        f.quality = (int)quality;
    if (str_eq(format, STR("jpeg")) && (channel.len == 0 || str_eq(channel, STR("rgb"))))
        f.format = ENGINE_PICTURE_JPEG;
    return f;
}

static void reply_converted(http_request *r, comfy *c, str path, str name) {
    str preview = http_request_query(r, "preview"), channel = http_request_query(r, "channel");
    engine_picture_form form = {.format = ENGINE_PICTURE_PNG};
    if (preview.len) form = preview_form(preview, channel);
    if (str_eq(channel, STR("rgb"))) form.channel = ENGINE_PICTURE_RGB;
    if (str_eq(channel, STR("a"))) form.channel = ENGINE_PICTURE_ALPHA;
    buf out = {0};
    err e;
    const char *mime = form.format == ENGINE_PICTURE_PNG    ? "image/png"
                       : form.format == ENGINE_PICTURE_WEBP ? "image/webp"
                                                            : "image/jpeg";
    err_code code = engine_picture_convert(c->eng, path.ptr, &form, &out, &e);
    if (code) {
        comfy_reply_err(r, &e);
    } else {
        http_reply_header(
            r, "Content-Disposition",
            str_fmt(http_request_arena(r), "filename=\"" STR_FMT "\"", STR_ARG(name)).ptr);
        http_reply(r, 200, mime, buf_str(&out));
    }
    buf_finish(&out);
}

/* The file a /view names; false: answered. */
static bool find_viewed(http_request *r, comfy *c, str *ret_name, str *ret_path) {
    arena *a = http_request_arena(r);
    str name = http_request_query(r, "filename"), dir;
    str type = comfy_annotation(&name, http_request_query(r, "type"));
    if (str_starts(name, STR("blake3:"))) {
        image_asset asset;
        bool found = !image_assets_by_hash(c->db, comfy_owner(r), name, a, &asset, NULL);
        if (!found) comfy_reply_empty(r, 404);
        if (!found) return false;
        *ret_name = asset.name;
        *ret_path = asset.path;
        return true;
    }
    if (name.len == 0) {
        comfy_reply_empty(r, name.ptr ? 400 : 404);
        return false;
    }
    bool bad = name.ptr[0] == '/' || str_find(name, STR("..")) >= 0 || !comfy_dir(c, type, &dir);
    str subfolder = http_request_query(r, "subfolder");
    /* a filename may carry its own folders */
    ptrdiff_t slash = str_rfind_char(name, '/');
    if (!bad && slash >= 0) {
        str inner = str_sub(name, 0, (size_t)slash);
        subfolder = subfolder.len
                        ? str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(subfolder), STR_ARG(inner))
                        : inner;
        name = str_sub(name, (size_t)slash + 1, name.len);
    }
    if (!bad && !comfy_own_folder(r, subfolder)) {
        comfy_reply_empty(r, 404);
        return false;
    }
    if (bad || !comfy_file_path(a, dir, subfolder, name, ret_path)) {
        comfy_reply_empty(r, bad ? 400 : 403);
        return false;
    }
    *ret_name = name;
    return true;
}

void comfy_view(http_request *r, void *ctx) {
    comfy *c = ctx;
    str name, path;
    if (!find_viewed(r, c, &name, &path)) return;
    str channel = http_request_query(r, "channel");
    bool convert = http_request_query(r, "preview").len || str_eq(channel, STR("rgb")) ||
                   str_eq(channel, STR("a"));
    if (!file_exists(path.ptr))
        comfy_reply_empty(r, 404);
    else if (convert && strncmp(comfy_mime(name), "image/", 6) == 0)
        reply_converted(r, c, path, name);
    else
        reply_file(r, path, name);
}

/* ---- uploads ---- */

static bool same_content(const char *a, const char *b) {
    file_map x, y;
    if (file_map_open(a, &x, NULL)) return false;
    bool same = !file_map_open(b, &y, NULL);
    if (same) {
        same = x.len == y.len && (x.len == 0 || memcmp(x.ptr, y.ptr, x.len) == 0);
        file_map_close(&y);
    }
    file_map_close(&x);
    return same;
}

/* Picks the name: as given, or "stem (1).ext" when another content has it. True: the content is
 * there already. */
static bool pick_name(arena *a, str dir, const char *uploaded, str *name, str *ret_path) {
    ptrdiff_t dot = str_rfind_char(*name, '.');
    str stem = dot > 0 ? str_sub(*name, 0, (size_t)dot) : *name;
    str ext = dot > 0 ? str_sub(*name, (size_t)dot, name->len) : STR("");
    for (int i = 1; file_exists(ret_path->ptr); i++) {
        if (same_content(ret_path->ptr, uploaded)) return true;
        *name = str_fmt(a, STR_FMT " (%d)" STR_FMT, STR_ARG(stem), i, STR_ARG(ext));
        *ret_path = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(*name));
    }
    return false;
}

typedef struct upload {
    str type, subfolder, name, dir, path;
    http_form_file *file;
} upload;

/* Where the form's file goes; false: it is no good (400). */
static bool plan_upload(comfy *c, http_request *r, http_form *f, upload *u) {
    arena *a = http_request_arena(r);
    u->file = http_form_file_of(f, "image");
    u->type = http_form_text(f, "type");
    if (u->type.len == 0) u->type = STR("input");
    u->subfolder = http_form_text(f, "subfolder");
    while (u->subfolder.len && u->subfolder.ptr[u->subfolder.len - 1] == '/') u->subfolder.len--;
    u->subfolder = comfy_folder_of(a, comfy_owner(r), u->subfolder);
    if (!u->file || u->file->filename.len == 0 || !comfy_dir(c, u->type, &u->dir)) return false;
    u->name = u->file->filename;
    ptrdiff_t slash = str_rfind_char(u->name, '/');
    if (slash >= 0 && str_find(u->name, STR("..")) >= 0) return false;
    if (slash >= 0) u->name = str_sub(u->name, (size_t)slash + 1, u->name.len);
    if (u->name.len == 0 || u->name.ptr[0] == '.' || u->name.len > 200) return false;
    if (u->subfolder.len && !path_inside(a, u->dir, u->subfolder, &u->dir)) return false;
    return path_inside(a, u->dir, u->name, &u->path);
}

static void reply_stored(http_request *r, const upload *u) {
    comfy_reply(r, 200,
                json_pack("{s:o, s:o, s:o}", "name", comfy_str(u->name), "subfolder",
                          comfy_str(u->subfolder), "type", comfy_str(u->type)));
}

/* The form, checked; NULL: answered. */
static http_form *take_form(http_request *r) {
    http_form *f = http_request_form(r);
    if (!f->problem.code) return f;
    int status = f->problem.code == ERR_LIMIT ? 413 : f->problem.code == ERR_IO ? 500 : 400;
    comfy_reply(r, status, json_pack("{s:s}", "error", f->problem.msg));
    http_form_destroy(&f);
    return NULL;
}

static err_code keep_file(arena *a, const http_form *f, upload *u, err *e) {
    str over = http_form_text(f, "overwrite");
    TRY(file_mkdirs(str_cstr(a, u->dir), e));
    if (!str_eq(over, STR("true")) && !str_eq(over, STR("1")) &&
        pick_name(a, u->dir, u->file->path, &u->name, &u->path))
        return ERR_OK;
    return http_form_take(u->file, u->path.ptr, e);
}

void comfy_upload_image(http_request *r, void *ctx) {
    upload u = {0};
    err e;
    http_form *f = take_form(r);
    if (!f) return;
    if (!plan_upload(ctx, r, f, &u))
        comfy_reply_empty(r, 400);
    else if (keep_file(http_request_arena(r), f, &u, &e))
        comfy_reply_err(r, &e);
    else
        reply_stored(r, &u);
    http_form_destroy(&f);
}

/* The picture that a mask belongs to: 200, or the status to refuse with. */
static int find_original(comfy *c, http_request *r, str ref_text, str *ret_path) {
    arena *a = http_request_arena(r);
    json_t *ref;
    str dir;
    if (json_parse(ref_text, &ref, NULL)) return 400;
    comfy_defer_json(a, ref);
    str name = comfy_text(json_object_get(ref, "filename"));
    str type = comfy_annotation(&name, comfy_text(json_object_get(ref, "type")));
    if (name.len == 0 || name.ptr[0] == '/' || str_find(name, STR("..")) >= 0) return 400;
    if (!comfy_dir(c, type, &dir)) return 400;
    str subfolder = comfy_text(json_object_get(ref, "subfolder"));
    if (!comfy_own_folder(r, subfolder)) return 404;
    if (!comfy_file_path(a, dir, subfolder, name, ret_path)) return 403;
    return file_exists(ret_path->ptr) ? 200 : 404;
}

static void store_mask(http_request *r, comfy *c, http_form *f, upload *u) {
    arena *a = http_request_arena(r);
    str original;
    err e;
    buf png = {0};
    int status = find_original(c, r, http_form_text(f, "original_ref"), &original);
    if (status != 200) {
        comfy_reply_empty(r, status);
        return;
    }
    err_code code = engine_picture_with_alpha(c->eng, original.ptr, u->file->path, &png, &e);
    if (!code) code = file_write_atomic(u->file->path, png.ptr, png.len, &e);
    if (!code) code = keep_file(a, f, u, &e);
    buf_finish(&png);
    if (code)
        comfy_reply_err(r, &e);
    else
        reply_stored(r, u);
}

void comfy_upload_mask(http_request *r, void *ctx) {
    upload u = {0};
    http_form *f = take_form(r);
    if (!f) return;
    if (plan_upload(ctx, r, f, &u))
        store_mask(r, ctx, f, &u);
    else
        comfy_reply_empty(r, 400);
    http_form_destroy(&f);
}

/* ---- listing ---- */

static int newest_first(const void *a, const void *b) {
    const folder_file *x = a, *y = b;
    return x->modified_s < y->modified_s ? 1 : x->modified_s > y->modified_s ? -1 : 0;
}

void comfy_internal_files(http_request *r, void *ctx) {
    comfy *c = ctx;
    arena *a = http_request_arena(r);
    str type = http_request_param(r, "type"), dir;
    size_t n;
    if (type.len == 0 || !comfy_dir(c, type, &dir)) {
        comfy_reply(r, 400, json_pack("{s:s}", "error", "Invalid directory type"));
        return;
    }
    folder_file *files = dir_list(dir, false, a, &n);
    if (n) qsort(files, n, sizeof *files, newest_first);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        str path = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(files[i].name));
        if (dir_exists(path)) continue;
        str name = str_eq(type, STR("input")) ? files[i].name
                                              : str_fmt(a, STR_FMT " [" STR_FMT "]",
                                                        STR_ARG(files[i].name), STR_ARG(type));
        json_array_append_new(list, comfy_str(name));
    }
    comfy_reply(r, 200, list);
}
