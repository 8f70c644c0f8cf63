/* The asker's id in jobs, folders and clients' names. */
#include "api/comfy_owner.h"
#include "api/web.h"
#include <stdio.h>

enum { ID_BYTES = 36 };

str comfy_owner(const http_request *r) {
    return web_user_id(r);
}

comfy_pass comfy_pass_of(const http_request *r) {
    const web_who *who = web_asker(r);
    comfy_pass p = {0};
    if (!who) return p;
    snprintf(p.user_id, sizeof p.user_id, STR_FMT, STR_ARG(who->user.id));
    snprintf(p.grant_id, sizeof p.grant_id, STR_FMT, STR_ARG(who->grant.id));
    p.expires_ms = who->grant.expires_ms;
    return p;
}

bool comfy_pass_is(const comfy_pass *p, str user_id, str grant_id, bool others) {
    return str_eq(str_from(p->user_id), user_id) &&
           str_eq(str_from(p->grant_id), grant_id) != others;
}

bool comfy_pass_over(const comfy_pass *p, int64_t now_ms) {
    return p->expires_ms && now_ms >= p->expires_ms;
}

err_code comfy_find_own(comfy *c, http_request *r, str id, image_job *ret, err *e) {
    str owner = comfy_owner(r);
    image_job j;
    TRY(image_jobs_find(c->db, id, http_request_arena(r), &j, e));
    bool nobodys = j.owner.len == 0 && owner.len && web_asker(r)->is_admin;
    if (owner.len && !nobodys && !str_eq(owner, j.owner))
        FAIL(e, NOT_FOUND, "there is no job " STR_FMT, STR_ARG(id));
    *ret = j;
    return ERR_OK;
}

str comfy_own_client(arena *a, str owner, str client_id) {
    if (owner.len == 0 || client_id.len == 0) return client_id;
    return str_fmt(a, STR_FMT ":" STR_FMT, STR_ARG(owner), STR_ARG(client_id));
}

static bool below(str path, str dir) {
    return str_starts(path, dir) && (path.len == dir.len || path.ptr[dir.len] == '/');
}

/* The path begins with a user's id. */
static bool is_somebodys(str path) {
    return path.len >= ID_BYTES && comfy_is_uuid(str_sub(path, 0, ID_BYTES)) &&
           (path.len == ID_BYTES || path.ptr[ID_BYTES] == '/');
}

bool comfy_own_folder(const http_request *r, str subfolder) {
    str owner = comfy_owner(r);
    while (subfolder.len && subfolder.ptr[0] == '/')
        subfolder = str_sub(subfolder, 1, subfolder.len);
    if (owner.len == 0 || below(subfolder, owner)) return true;
    return web_asker(r)->is_admin && !is_somebodys(subfolder);
}

str comfy_folder_of(arena *a, str owner, str subfolder) {
    if (owner.len == 0 || below(subfolder, owner)) return subfolder;
    return subfolder.len ? str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(owner), STR_ARG(subfolder))
                         : owner;
}

/* A prefix of saved files, or a name of one. */
static bool own_input(json_t *inputs, const char *key, str owner) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    str text = comfy_text(json_object_get(inputs, key));
    while (text.len && (text.ptr[0] == '/' || str_starts(text, STR("./"))))
        text = str_sub(text, text.ptr[0] == '/' ? 1 : 2, text.len);
    if (is_somebodys(text) && !below(text, owner)) return false;
    if (str_eq(str_from(key), STR("filename_prefix")))
        json_object_set_new(inputs, key, comfy_str(comfy_folder_of(a, owner, text)));
    return true;
}

bool comfy_own_graph(json_t *graph, str owner) {
    const char *id, *key;
    json_t *node, *v;
    void *next;
    if (owner.len == 0) return true;
    json_object_foreach(graph, id, node) {
        json_t *inputs = json_object_get(node, "inputs");
        json_object_foreach_safe(inputs, next, key, v) {
            if (json_is_string(v) && !own_input(inputs, key, owner)) return false;
        }
    }
    return true;
}
