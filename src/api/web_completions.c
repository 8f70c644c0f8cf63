/* The plain OpenAI routes, with what is the user's own: presets as models, and Open WebUI's
 * `files`, whose passages for the last question go in front. */
#include "api/web_handlers.h"
#include "api/web_knowledge.h"
#include "api/web_models.h"
#include "base/limits.h"
#include "http/json.h"

/* In front of all, or at the end of the system message that is there already. */
static void add_system(json_t *body, str text, arena *a) {
    json_t *messages = json_object_get(body, "messages"), *first = json_array_get(messages, 0);
    if (text.len == 0 || !json_is_array(messages)) return;
    str had = comfy_text(json_object_get(first, "content"));
    if (str_eq(comfy_text(json_object_get(first, "role")), STR("system")) && had.len)
        text = str_fmt(a, STR_FMT "\n\n" STR_FMT, STR_ARG(had), STR_ARG(text));
    else
        json_array_insert_new(messages, 0, first = json_pack("{s:s}", "role", "system"));
    json_object_set_new(first, "content", comfy_str(text));
}

/* A preset's name becomes its base model, its system prompt a message, its parameters defaults. */
static bool unfold_preset(web *w, http_request *r, json_t *body) {
    web_model m;
    str name = comfy_text(json_object_get(body, "model"));
    if (name.len == 0 || web_model_find(w, web_user_id(r), name, http_request_arena(r), &m, NULL))
        return false;
    bool preset = m.preset != NULL;
    if (preset) {
        static const char *const same[] = {"temperature",       "top_p",           "seed", "stop",
                                           "frequency_penalty", "presence_penalty"};
        json_object_set_new(body, "model", comfy_str(m.base.stored.display));
        for (size_t i = 0; i < COUNT_OF(same); i++) {
            json_t *v = json_object_get(m.params, same[i]);
            if (v && !json_object_get(body, same[i])) json_object_set(body, same[i], v);
        }
        add_system(body, comfy_text(json_object_get(m.params, "system")), http_request_arena(r));
    }
    web_model_finish(&m);
    return preset;
}

/* The text of the last message that a user wrote: a string, or the first part that has one. */
static str question_of(const json_t *body) {
    const json_t *messages = json_object_get(body, "messages");
    for (size_t i = json_array_size(messages); i-- > 0;) {
        const json_t *m = json_array_get(messages, i), *content = json_object_get(m, "content"), *p;
        size_t k;
        if (!str_eq(comfy_text(json_object_get(m, "role")), STR("user"))) continue;
        json_array_foreach((json_t *)(uintptr_t)content, k, p) {
            str text = comfy_text(json_object_get(p, "text"));
            if (text.len) return text;
        }
        return comfy_text(content);
    }
    return STR("");
}

static err_code draw_on_files(web *w, http_request *r, json_t *body, bool *changed, err *e) {
    arena *a = http_request_arena(r);
    json_t *files = json_object_get(body, "files"), *ids = json_array(), *f;
    size_t i;
    web_found found;
    comfy_defer_json(a, ids);
    json_array_foreach(files, i, f) {
        str id = comfy_text(json_object_get(f, "id"));
        if (id.len && i < LIMIT_WEB_ATTACHED) json_array_append_new(ids, comfy_str(id));
    }
    web_search s = {.user_id = web_user_id(r),
                    .ids = ids,
                    .query = question_of(body),
                    .k = web_site_number(w, "RAG_TOP_K", 4)};
    if (json_array_size(ids) == 0 || s.query.len == 0) return ERR_OK;
    if (!web_may(web_asker(r), "web"))
        FAIL(e, INVALID, "this key is not for files: it needs the scope \"web\"");
    TRY(web_knowledge_search(w, &s, a, &found, e));
    comfy_defer_json(a, found.sources);
    add_system(body, web_passages_text(found.sources, a), a);
    *changed = true;
    return ERR_OK;
}

void web_completions(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    json_t *body = NULL;
    err e;
    if (!json_parse(http_request_body(r), &body, NULL)) { /* else the handler says why */
        comfy_defer_json(a, body);
        bool changed = unfold_preset(w, r, body);
        if (draw_on_files(w, r, body, &changed, &e)) {
            web_fail_err(r, &e);
            return;
        }
        if (changed) http_request_set_body(r, comfy_json_text(a, body));
    }
    openai_chat(r, w->chat);
}

void web_embeddings(http_request *r, void *ctx) {
    web *w = ctx;
    openai_embeddings(r, w->chat);
}

void web_openai_models(http_request *r, void *ctx) {
    web *w = ctx;
    openai_models(r, w->chat);
}
