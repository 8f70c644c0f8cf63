/* The service's life, and small things that every handler needs. */
#include "api/comfy.h"
#include "api/comfy_engine.h"
#include "api/comfy_hub.h"
#include "api/comfy_queue.h"
#include "api/comfy_v2.h"
#include "api/comfy_watch.h"
#include "base/clock.h"
#include "base/rng.h"
#include "http/json.h"
#include "store/image_assets.h"
#include <string.h>

static const char VERSION[] = "0.33.0"; /* of ComfyUI's API */

err_code comfy_create(const comfy_config *cfg, comfy **ret, err *e) {
    comfy *c = NEW(comfy);
    c->eng = cfg->eng;
    c->dirs = cfg->dirs;
    c->version = VERSION;
    c->preview_method = cfg->preview_method ? cfg->preview_method : "none";
    c->web_dir = cfg->web_dir && *cfg->web_dir ? cfg->web_dir : NULL;
    comfy_engine_set_folders(c, cfg->no_metadata);
    c->hub = comfy_hub_create();
    c->v2 = comfy_v2_create();
    c->watches = comfy_watches_create();
    c->db = cfg->db;
    err_code code = image_assets_migrate(c->db, e);
    if (!code) code = comfy_queue_create(c, &c->queue, e);
    if (code) {
        comfy_destroy(&c);
        return code;
    }
    comfy_queue_start(c->queue);
    *ret = c;
    return ERR_OK;
}

void comfy_stop(comfy *c) {
    if (!c) return;
    comfy_queue_stop(c->queue);
    comfy_watches_close(c->watches);
    comfy_v2_close(c->v2);
}

void comfy_destroy(comfy **pc) {
    if (!pc || !*pc) return;
    comfy *c = *pc;
    comfy_queue_destroy(&c->queue);
    comfy_watches_destroy(&c->watches);
    comfy_v2_destroy(&c->v2);
    comfy_hub_destroy(&c->hub);
    mem_free(c);
    *pc = NULL;
}

void comfy_reply(http_request *r, int status, json_t *body) {
    buf b = {0};
    json_write_plain(&b, body);
    http_reply(r, status, "application/json; charset=utf-8", buf_str(&b));
    buf_finish(&b);
    json_decref(body);
}

void comfy_reply_empty(http_request *r, int status) {
    http_reply(r, status, NULL, (str){0});
}

void comfy_reply_err(http_request *r, const err *e) {
    comfy_reply(r, err_http_status(e->code),
                json_pack("{s:o}", "error", comfy_str(str_from(e->msg))));
}

static void drop_json(void *arg) {
    json_decref(arg);
}

void comfy_defer_json(arena *a, json_t *v) {
    arena_defer(a, drop_json, v);
}

json_t *comfy_body(http_request *r, err *e) {
    json_t *v = NULL;
    str text = http_request_body(r);
    if (str_trim(text).len == 0) {
        err_set(e, ERR_FORMAT, "the request has no body");
        return NULL;
    }
    if (json_parse_plain(text, &v, e)) return NULL;
    comfy_defer_json(http_request_arena(r), v);
    return v;
}

str comfy_json_text(arena *a, const json_t *v) {
    buf b = {0};
    json_write_plain(&b, v);
    str s = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return s;
}

json_t *comfy_json_read(str text, json_t *fallback) {
    json_t *v = NULL;
    if (text.len == 0 || json_parse_plain(text, &v, NULL)) return fallback;
    json_decref(fallback);
    return v;
}

json_t *comfy_str(str s) {
    value note = {.kind = VALUE_STR, .as.text = s};
    return json_from_value(&note);
}

str comfy_text(const json_t *v) {
    if (!json_is_string(v)) return (str){0};
    return (str){json_string_value(v), json_string_length(v)};
}

str comfy_uuid(arena *a) {
    unsigned char b[16];
    rng_entropy(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
    buf out = {0};
    for (size_t i = 0; i < sizeof b; i++)
        buf_putf(&out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
    str s = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return s;
}

bool comfy_is_uuid(str s) {
    if (s.len != 36) return false;
    for (size_t i = 0; i < s.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.ptr[i] != '-' : !strchr("0123456789abcdef", s.ptr[i]) || !s.ptr[i])
            return false;
    }
    return true;
}

int64_t comfy_now_ms(void) {
    return clock_wall_ns() / NS_PER_MS;
}

bool comfy_flag(str query, bool fallback) {
    static const char *const yes[] = {"true", "1", "yes", "on"};
    if (query.len == 0) return fallback;
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        if (str_eq_nocase(query, str_from(yes[i]))) return true;
    return false;
}

const char *comfy_mime(str name) {
    static const char *const table[][2] = {
        {".png", "image/png"},         {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},       {".webp", "image/webp"},
        {".gif", "image/gif"},         {".avif", "image/avif"},
        {".bmp", "image/bmp"},         {".svg", "image/svg+xml"},
        {".mp4", "video/mp4"},         {".webm", "video/webm"},
        {".mp3", "audio/mpeg"},        {".wav", "audio/x-wav"},
        {".flac", "audio/flac"},       {".ogg", "audio/ogg"},
        {".json", "application/json"}, {".txt", "text/plain"},
        {".html", "text/html"},        {".htm", "text/html"},
        {".xml", "text/xml"},          {".js", "text/javascript"},
        {".css", "text/css"},          {".glb", "model/gltf-binary"},
        {".md", "text/markdown"},      {".xhtml", "application/xhtml+xml"},
    };
    ptrdiff_t dot = str_rfind_char(name, '.');
    str ext = dot < 0 ? (str){0} : str_sub(name, (size_t)dot, name.len);
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq_nocase(ext, str_from(table[i][0]))) return table[i][1];
    return "application/octet-stream";
}
