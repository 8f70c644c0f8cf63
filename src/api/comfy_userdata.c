/* /userdata: the user's files, workflows above all. */
#include "api/comfy_user.h"
#include "base/limits.h"
#include "os/file.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void reply_plain(http_request *r, int status, const char *text) {
    http_reply(r, status, "text/plain; charset=utf-8", str_from(text));
}

/* A file of the user's by a parameter of the path; false: answered 403. */
static bool user_path(http_request *r, comfy *c, str name, str *ret_path) {
    arena *a = http_request_arena(r);
    if (path_inside(a, comfy_user_dir(c, r), name, ret_path)) return true;
    comfy_reply_empty(r, 403);
    return false;
}

static json_t *full_info(str name, str path) {
    struct stat st;
    if (stat(path.ptr, &st)) memset(&st, 0, sizeof st);
    return json_pack("{s:o, s:I, s:I, s:I}", "path", comfy_str(name), "size",
                     (json_int_t)st.st_size, "modified",
                     (json_int_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000, "created",
                     (json_int_t)st.st_ctim.tv_sec * 1000 + st.st_ctim.tv_nsec / 1000000);
}

/* [path, part, part, ...] */
static json_t *split(str name) {
    json_t *list = json_array();
    json_array_append_new(list, comfy_str(name));
    for (str rest = name; rest.len;) json_array_append_new(list, comfy_str(str_cut(&rest, '/')));
    return list;
}

void comfy_userdata_list(http_request *r, void *ctx) {
    arena *a = http_request_arena(r);
    str dir = http_request_query(r, "dir"), path;
    size_t n;
    while (dir.len && dir.ptr[dir.len - 1] == '/') dir.len--;
    if (dir.len == 0) {
        reply_plain(r, 400, "Directory not provided");
        return;
    }
    if (!user_path(r, ctx, dir, &path)) return;
    if (!dir_exists(path)) {
        reply_plain(r, 404, "Directory not found");
        return;
    }
    bool recurse = comfy_flag(http_request_query(r, "recurse"), false);
    bool info = comfy_flag(http_request_query(r, "full_info"), false);
    bool parts = comfy_flag(http_request_query(r, "split"), false);
    folder_file *files = dir_list(path, recurse, a, &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        str file = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(path), STR_ARG(files[i].name));
        if (dir_exists(file)) continue;
        json_array_append_new(list, info    ? full_info(files[i].name, file)
                                    : parts ? split(files[i].name)
                                            : comfy_str(files[i].name));
    }
    comfy_reply(r, 200, list);
}

void comfy_userdata_v2(http_request *r, void *ctx) {
    arena *a = http_request_arena(r);
    comfy *c = ctx;
    str sub = http_request_query(r, "path"), path = comfy_user_dir(c, r);
    size_t n;
    while (sub.len && sub.ptr[sub.len - 1] == '/') sub.len--;
    if (sub.len && !user_path(r, c, sub, &path)) return;
    if (!dir_exists(path)) {
        comfy_reply(r, 404, json_pack("{s:s}", "error", "Path not found"));
        return;
    }
    folder_file *files = dir_list(path, false, a, &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        str file = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(path), STR_ARG(files[i].name));
        str name = sub.len ? str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(sub), STR_ARG(files[i].name))
                           : files[i].name;
        bool is_dir = dir_exists(file);
        json_t *o = json_pack("{s:o, s:o, s:s}", "name", comfy_str(files[i].name), "path",
                              comfy_str(name), "type", is_dir ? "directory" : "file");
        if (!is_dir) {
            json_object_set_new(o, "size", json_integer((json_int_t)files[i].n_bytes));
            json_object_set_new(o, "modified", json_real(files[i].modified_s));
        }
        json_array_append_new(list, o);
    }
    comfy_reply(r, 200, list);
}

void comfy_userdata_get(http_request *r, void *ctx) {
    str name = http_request_param(r, "file"), path;
    if (!user_path(r, ctx, name, &path)) return;
    ptrdiff_t slash = str_rfind_char(name, '/');
    str last = slash < 0 ? name : str_sub(name, (size_t)slash + 1, name.len);
    bool style = str_eq(name, STR("user.css"));
    if (!style)
        http_reply_header(
            r, "Content-Disposition",
            str_fmt(http_request_arena(r), "attachment; filename=\"" STR_FMT "\"", STR_ARG(last))
                .ptr);
    http_reply_header(r, "X-Content-Type-Options", "nosniff");
    if (!http_reply_file(r, path.ptr, comfy_mime(name))) comfy_reply_empty(r, 404);
}

static void reply_stored(http_request *r, str name, str path) {
    bool info = comfy_flag(http_request_query(r, "full_info"), false);
    comfy_reply(r, 200, info ? full_info(name, path) : comfy_str(name));
}

static err_code make_parent(arena *a, str path, err *e) {
    return file_mkdirs(str_cstr(a, str_sub(path, 0, (size_t)str_rfind_char(path, '/'))), e);
}

void comfy_userdata_post(http_request *r, void *ctx) {
    str name = http_request_param(r, "file"), path, body = http_request_body(r);
    err e;
    if (!user_path(r, ctx, name, &path)) return;
    if (!comfy_flag(http_request_query(r, "overwrite"), true) && file_exists(path.ptr)) {
        reply_plain(r, 409, "File already exists");
        return;
    }
    err_code code = make_parent(http_request_arena(r), path, &e);
    if (!code) code = file_write_atomic(path.ptr, body.ptr, body.len, &e);
    if (code)
        comfy_reply_err(r, &e);
    else
        reply_stored(r, name, path);
}

void comfy_userdata_delete(http_request *r, void *ctx) {
    str path;
    err e;
    if (!user_path(r, ctx, http_request_param(r, "file"), &path)) return;
    err_code code = file_remove(path.ptr, &e);
    if (code == ERR_NOT_FOUND)
        comfy_reply_empty(r, 404);
    else if (code)
        comfy_reply_err(r, &e);
    else
        comfy_reply_empty(r, 204);
}

void comfy_userdata_move(http_request *r, void *ctx) {
    str from, to, name = http_request_param(r, "to");
    err e;
    if (!user_path(r, ctx, http_request_param(r, "file"), &from)) return;
    if (!user_path(r, ctx, name, &to)) return;
    if (!file_exists(from.ptr)) {
        comfy_reply_empty(r, 404);
        return;
    }
    if (!comfy_flag(http_request_query(r, "overwrite"), true) && file_exists(to.ptr)) {
        reply_plain(r, 409, "File already exists");
        return;
    }
    err_code code = make_parent(http_request_arena(r), to, &e);
    if (!code && rename(from.ptr, to.ptr))
        code = err_set(&e, ERR_IO, "cannot move the file: %s", strerror(errno));
    if (code)
        comfy_reply_err(r, &e);
    else
        reply_stored(r, name, to);
}
