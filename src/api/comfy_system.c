/* What the server is and has, and the routes a front end asks for that have nothing to give. */
#include "api/comfy.h"
#include "api/comfy_queue.h"
#include "base/limits.h"
#include "base/log.h"
#include "os/file.h"
#include <string.h>

/* A line of /proc/meminfo in bytes; 0 when it is not there. */
static json_int_t meminfo(const char *key) {
    buf b = {0};
    json_int_t bytes = 0;
    if (!file_read("/proc/meminfo", 1 << 16, &b, NULL)) {
        for (str rest = buf_str(&b); rest.len;) {
            str line = str_cut(&rest, '\n');
            str name = str_cut(&line, ':');
            int64_t kib;
            line = str_trim(line);
            if (str_eq(name, str_from(key)) && str_to_i64(str_cut(&line, ' '), &kib))
                bytes = kib << 10;
        }
    }
    buf_finish(&b);
    return bytes;
}

void comfy_system_stats(http_request *r, void *ctx) {
    comfy *c = ctx;
    json_int_t total = meminfo("MemTotal"), avail = meminfo("MemAvailable");
    json_t *system = json_object();
    json_object_set_new(system, "os", json_string("linux"));
    json_object_set_new(system, "ram_total", json_integer(total));
    json_object_set_new(system, "ram_free", json_integer(avail));
    json_object_set_new(system, "comfyui_version", json_string(c->version));
    json_object_set_new(system, "required_frontend_version", json_string("1.27.10"));
    json_object_set_new(system, "installed_templates_version", json_null());
    json_object_set_new(system, "required_templates_version", json_null());
    json_object_set_new(system, "comfy_package_versions", json_array());
    json_object_set_new(system, "python_version", json_string("none (hob)"));
    json_object_set_new(system, "pytorch_version", json_string("none (hob)"));
    json_object_set_new(system, "embedded_python", json_false());
    json_object_set_new(system, "deploy_environment", json_string("local"));
    json_object_set_new(system, "argv", json_pack("[s,s]", "hob", "serve"));
    engine_stats stats;
    engine_get_stats(c->eng, &stats);
    uint64_t used = stats.weight_bytes + stats.kv_bytes + stats.plan_bytes + stats.staging_bytes;
    uint64_t budget = stats.budget_bytes, left = used < budget ? budget - used : 0;
    json_t *device = json_pack("{s:s, s:s, s:n}", "name", "cpu", "type", "cpu", "index");
    json_object_set_new(device, "vram_total", json_integer((json_int_t)budget));
    json_object_set_new(device, "vram_free", json_integer((json_int_t)left));
    json_object_set_new(device, "torch_vram_total", json_integer((json_int_t)budget));
    json_object_set_new(device, "torch_vram_free", json_integer((json_int_t)left));
    comfy_reply(r, 200, json_pack("{s:o, s:[o]}", "system", system, "devices", device));
}

json_t *comfy_feature_flags(void) {
    return json_pack("{s:b, s:b, s:I, s:b, s:b}", "supports_preview_metadata", 1,
                     "supports_model_type_tags", 0, "max_upload_size",
                     (json_int_t)LIMIT_UPLOAD_BYTES, "node_replacements", 0, "assets", 0);
}

void comfy_features(http_request *r, void *ctx) {
    (void)ctx;
    comfy_reply(r, 200, comfy_feature_flags());
}

/* ---- the front end's files, where somebody has put some ---- */

/* Scripts and lists change with the front end; pictures of it do not. */
static void set_cache(http_request *r, str path) {
    static const char *const fresh[] = {".js", ".css", ".html", ".json"};
    for (size_t i = 0; i < COUNT_OF(fresh); i++)
        if (str_ends(path, str_from(fresh[i]))) {
            http_reply_header(r, "Cache-Control", "no-store");
            return;
        }
    if (strncmp(comfy_mime(path), "image/", 6) == 0)
        http_reply_header(r, "Cache-Control", "max-age=86400");
}

static bool reply_web(http_request *r, const comfy *c, str path) {
    str file;
    if (!c->web_dir || !path_inside(http_request_arena(r), str_from(c->web_dir), path, &file) ||
        !file_exists(file.ptr))
        return false;
    set_cache(r, path);
    return http_reply_file(r, file.ptr, comfy_mime(path));
}

void comfy_root(http_request *r, void *ctx) {
    static const char page[] =
        "<!doctype html><meta charset=utf-8><title>hob pictures</title>"
        "<p>This is hob's picture API. Point a ComfyUI client at this address, or try "
        "<code>hob image \"a red apple\" -o apple.png</code>.";
    if (reply_web(r, ctx, STR("index.html"))) return;
    http_reply_header(r, "Cache-Control", "no-store");
    http_reply(r, 200, "text/html; charset=utf-8", str_from(page));
}

/* The scripts below extensions/ of the front end. */
void comfy_extensions(http_request *r, void *ctx) {
    comfy *c = ctx;
    arena *a = http_request_arena(r);
    json_t *list = json_array();
    size_t n = 0;
    folder_file *files = NULL;
    if (c->web_dir) files = dir_list(str_fmt(a, "%s/extensions", c->web_dir), true, a, &n);
    for (size_t i = 0; i < n; i++)
        if (str_ends(files[i].name, STR(".js")))
            json_array_append_new(list, json_sprintf("/extensions/%s", files[i].name.ptr));
    comfy_reply(r, 200, list);
}

void comfy_static_file(http_request *r, void *ctx) {
    arena *a = http_request_arena(r);
    str path = http_request_path(r);
    if (str_starts(path, STR("/api/"))) path = str_sub(path, 4, path.len);
    path = http_decode_path(a, str_sub(path, 1, path.len));
    if (!reply_web(r, ctx, path)) comfy_reply_empty(r, 404);
}

void comfy_empty_object(http_request *r, void *ctx) {
    (void)ctx;
    comfy_reply(r, 200, json_object());
}

/* ---- the log ---- */

static json_t *log_entries(arena *a) {
    json_t *list = json_array();
    size_t n;
    const log_record *lines = log_recent(a, &n);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:o, s:o}", "t", comfy_str(lines[i].when), "m",
                                              comfy_str(lines[i].text)));
    return list;
}

void comfy_logs(http_request *r, void *ctx) {
    (void)ctx;
    buf b = {0};
    size_t i;
    json_t *entry, *list = log_entries(http_request_arena(r));
    json_array_foreach(list, i, entry) {
        buf_put_str(&b, comfy_text(json_object_get(entry, "t")));
        buf_put_str(&b, STR(" - "));
        buf_put_str(&b, comfy_text(json_object_get(entry, "m")));
    }
    comfy_reply(r, 200, comfy_str(buf_str(&b)));
    json_decref(list);
    buf_finish(&b);
}

void comfy_logs_raw(http_request *r, void *ctx) {
    (void)ctx;
    comfy_reply(r, 200,
                json_pack("{s:o, s:{s:i, s:i}}", "entries", log_entries(http_request_arena(r)),
                          "size", "cols", 100, "rows", 24));
}

/* The log is read, not pushed: the bundled panel that subscribes asks /raw first. */
void comfy_logs_subscribe(http_request *r, void *ctx) {
    (void)ctx;
    comfy_reply_empty(r, 200);
}

void comfy_assets_off(http_request *r, void *ctx) {
    (void)ctx;
    comfy_reply(r, 503,
                json_pack("{s:{s:s, s:s, s:{}}}", "error", "code", "SERVICE_DISABLED", "message",
                          "The assets of the classic API are off; API v2 has /api/v2/assets",
                          "details"));
}
