/* Attachments of imported and copied messages (web_attach.h). */
#include "api/web_attach.h"
#include "api/web_files.h"
#include "base/limits.h"
#include <sodium.h>

/* The bytes of "data:...;base64,..."; empty when it is none or too long. */
static bool read_data_url(str url, buf *ret) {
    ptrdiff_t comma = str_find_char(str_sub(url, 0, 200), ',');
    if (!str_starts(url, STR("data:")) || comma < 0) return false;
    if (!str_ends(str_sub(url, 0, (size_t)comma), STR(";base64"))) return false;
    str text = str_sub(url, (size_t)comma + 1, url.len);
    size_t n = 0;
    if (text.len == 0 || text.len / 4 * 3 > LIMIT_UPLOAD_BYTES) return false;
    buf_reserve(ret, text.len);
    if (sodium_base642bin((unsigned char *)ret->ptr, text.len, text.ptr, text.len, " \r\n\t", &n,
                          NULL, sodium_base64_VARIANT_ORIGINAL))
        return false;
    ret->len = n;
    return n > 0;
}

static json_t *keep_data(const web_attach *at, str url, str name, arena *a) {
    CLEANUP(buf_finish) buf bytes = {0};
    file_row f = {.user_id = at->user_id, .name = name.len ? name : STR("picture")};
    if (!at->stores || !read_data_url(url, &bytes)) return NULL;
    f.mime = web_file_sniff(at->w, buf_str(&bytes), f.name);
    if (!web_file_is_image(&f)) return NULL;
    if (!web_file_same(at->w, &f, buf_str(&bytes), a) &&
        web_file_keep(at->w, &f, buf_str(&bytes), a, NULL))
        return NULL;
    return web_file_short(&f);
}

static json_t *known(const web_attach *at, str id, arena *a) {
    file_row f;
    if (!comfy_is_uuid(id) || files_find(at->w->db, at->user_id, id, a, &f, NULL)) return NULL;
    return web_file_short(&f);
}

/* {"id"}, {"file": {"id"}}, {"url": data, "name"} */
static json_t *one_file(const web_attach *at, const json_t *v, arena *a) {
    str id = comfy_text(json_object_get(v, "id")), name = comfy_text(json_object_get(v, "name"));
    if (id.len == 0) id = comfy_text(json_object_get(json_object_get(v, "file"), "id"));
    json_t *o = known(at, id, a);
    return o ? o : keep_data(at, comfy_text(json_object_get(v, "url")), name, a);
}

static void add(json_t *list, json_t *o) {
    if (o && !web_file_listed(list, comfy_text(json_object_get(o, "id"))) &&
        json_array_size(list) < LIMIT_WEB_ATTACHED)
        json_array_append_new(list, o);
    else
        json_decref(o);
}

/* A picture as this server wrote it: its files that are still there, at their own address. */
static str read_picture(const web_attach *at, const json_t *from, arena *a) {
    const json_t *inputs = json_object_get(from, "inputs"), *f;
    json_t *o = json_object(), *files = json_array();
    size_t i;
    json_array_foreach(json_object_get(from, "files"), i, f) {
        json_t *one =
            i < LIMIT_WEB_ATTACHED ? known(at, comfy_text(json_object_get(f, "id")), a) : NULL;
        if (!one) continue;
        str id = comfy_text(json_object_get(one, "id"));
        str url = str_fmt(a, "/api/v1/files/" STR_FMT "/content", STR_ARG(id));
        json_object_set_new(one, "url", comfy_str(url));
        json_object_set(one, "width", json_object_get(f, "width"));
        json_object_set(one, "height", json_object_get(f, "height"));
        add(files, one);
    }
    const json_t *job = json_object_get(from, "prompt_id");
    if (comfy_is_uuid(comfy_text(job))) json_object_set(o, "prompt_id", (json_t *)(uintptr_t)job);
    json_object_set_new(o, "workflow_id", json_string("default"));
    if (json_is_object(inputs)) json_object_set(o, "inputs", (json_t *)(uintptr_t)inputs);
    json_object_set_new(o, "files", files);
    json_object_set_new(o, "error", json_null());
    str text = json_array_size(files) ? comfy_json_text(a, o) : STR("");
    json_decref(o);
    return text.len <= LIMIT_WEB_JSON_BYTES ? text : STR("");
}

void web_attach_read(const web_attach *at, const json_t *from, arena *a, message *m) {
    json_t *list = json_array(), *v;
    size_t i;
    json_array_foreach(json_object_get(from, "files"), i, v) {
        if (i < LIMIT_WEB_ATTACHED) add(list, one_file(at, v, a));
    }
    const json_t *parts = json_object_get(from, "content");
    for (i = 0; json_is_array(parts) && i < json_array_size(parts); i++) {
        const json_t *url = json_object_get(json_array_get(parts, i), "image_url");
        if (json_is_object(url)) url = json_object_get(url, "url");
        if (json_is_string(url) && json_array_size(list) < LIMIT_WEB_ATTACHED)
            add(list, keep_data(at, comfy_text(url), STR(""), a));
    }
    if (json_array_size(list)) m->files = comfy_json_text(a, list);
    if (str_eq(m->role, STR("assistant")))
        m->picture = read_picture(at, json_object_get(from, "picture"), a);
    json_decref(list);
}
