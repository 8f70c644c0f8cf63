/* From a chat's messages to a job of the engine: presets, system prompt, attached files, passages
 * of collections. Runs as a task, because looking for passages asks the embedding model. */
#include "api/fields.h"
#include "api/request.h"
#include "api/web_events.h"
#include "api/web_files.h"
#include "api/web_knowledge.h"
#include "api/web_models.h"
#include "api/web_run_impl.h"
#include "base/limits.h"
#include "http/json.h"
#include <string.h>

typedef struct draft {
    web *w;
    web_run *r;
    arena *a;
    str user_id, chat_id, parent_id;
    json_t *params;   /* preset's, chat's, request's */
    json_t *messages; /* for the model */
    json_t *ids;      /* collections and large files to look into */
    json_t *sources;
    str system;
    str question; /* the last user message */
    web_model model;
} draft;

static void drop(void *json) {
    json_decref(json);
}

static json_t *kept(draft *d, json_t *v) {
    arena_defer(d->a, drop, v);
    return v;
}

static bool asked_to_stop(draft *d) {
    pthread_mutex_lock(&d->r->rs->lock);
    bool yes = d->r->cancelled || d->r->rs->stop;
    pthread_mutex_unlock(&d->r->rs->lock);
    return yes;
}

static bool stop_check(void *arg) {
    return asked_to_stop(arg);
}

static void append(draft *d, str *text, str more) {
    if (more.len == 0) return;
    *text = str_fmt(d->a, "%s%s%s", text->len ? text->ptr : "", text->len ? "\n\n" : "", more.ptr);
}

/* Documents: short ones whole in front of the message, long ones are looked into. */
static err_code add_files(draft *d, const message *m, bool last, buf *text, err *e) {
    json_t *list = kept(d, comfy_json_read(m->files, json_array())), *f;
    size_t i;
    json_array_foreach(list, i, f) {
        file_row row;
        str id = comfy_text(json_object_get(f, "id"));
        if (files_find(d->w->db, d->user_id, id, d->a, &row, NULL)) continue;
        if (web_file_is_image(&row)) {
            if (last)
                FAIL(e, UNSUPPORTED,
                     "the model " STR_FMT " cannot read images: remove " STR_FMT
                     ", or ask for a picture made from it",
                     STR_ARG(d->model.name), STR_ARG(row.name));
            continue;
        }
        if (row.text.len == 0) {
            if (last && str_eq(row.state, STR("failed")))
                FAIL(e, INVALID, STR_FMT " could not be read: " STR_FMT, STR_ARG(row.name),
                     STR_ARG(row.error));
            continue;
        }
        if (row.text.len <= LIMIT_WEB_INLINE_BYTES)
            buf_putf(text, "<file name=\"" STR_FMT "\">\n" STR_FMT "\n</file>\n\n",
                     STR_ARG(row.name), STR_ARG(row.text));
        else
            json_array_append_new(d->ids, comfy_str(id));
    }
    return ERR_OK;
}

static err_code add_message(draft *d, const message *m, bool last, err *e) {
    bool by_user = str_eq(m->role, STR("user"));
    if (m->picture.len || (!by_user && m->content.len == 0)) return ERR_OK;
    buf text = {0};
    err_code code = by_user ? add_files(d, m, last, &text, e) : ERR_OK;
    buf_put_str(&text, m->content);
    json_t *o = json_object();
    json_object_set_new(o, "role", comfy_str(m->role));
    json_object_set_new(o, "content", comfy_str(buf_str(&text)));
    json_array_append_new(d->messages, o);
    buf_finish(&text);
    if (by_user) d->question = m->content;
    return code;
}

static err_code add_path(draft *d, err *e) {
    message_list path;
    str leaf = d->r->continues ? str_from(d->r->id) : d->parent_id;
    if (leaf.len == 0) FAIL(e, INVALID, "there is no message to answer");
    TRY(messages_path(d->w->db, d->chat_id, leaf, d->a, &path, e));
    for (size_t i = 0; i < path.n; i++) TRY(add_message(d, &path.items[i], i + 1 == path.n, e));
    if (json_array_size(d->messages) == 0) FAIL(e, INVALID, "there is no message to answer");
    return ERR_OK;
}

/* Passages for the question go into the system prompt, numbered for citing. */
static err_code add_passages(draft *d, err *e) {
    if (json_array_size(d->ids) == 0) return ERR_OK;
    web_search s = {.user_id = d->user_id,
                    .ids = d->ids,
                    .query = d->question,
                    .k = web_site_number(d->w, "RAG_TOP_K", 4),
                    .stop = stop_check,
                    .stop_arg = d};
    web_found found;
    TRY(web_knowledge_search(d->w, &s, d->a, &found, e));
    d->sources = kept(d, found.sources);
    append(d, &d->system, web_passages_text(found.sources, d->a));
    return ERR_OK;
}

static void add_ids(draft *d, const json_t *list) {
    size_t i;
    json_t *id;
    json_array_foreach(list, i, id) json_array_append(d->ids, id);
}

/* Preset under chat under request. */
static err_code gather(draft *d, err *e) {
    chat c;
    TRY(chats_find(d->w->db, d->user_id, d->chat_id, d->a, &c, e));
    TRY(web_model_find(d->w, d->user_id, d->r->model, d->a, &d->model, e));
    d->params = kept(d, json_object());
    d->messages = kept(d, json_array());
    d->ids = kept(d, json_array());
    const json_t *preset = d->model.params;
    if (preset) web_merge(d->params, preset);
    web_merge(d->params, kept(d, comfy_json_read(c.params, json_object())));
    if (d->r->params) web_merge(d->params, d->r->params);
    str own = comfy_text(json_object_get(d->params, "system"));
    d->system = c.system.len ? c.system : own;
    append(d, &d->system, d->r->instruction);
    add_ids(d, d->r->knowledge);
    add_ids(d, d->model.knowledge);
    TRY(add_path(d, e));
    TRY(add_passages(d, e));
    if (d->system.len) {
        json_t *o = json_object();
        json_object_set_new(o, "role", json_string("system"));
        json_object_set_new(o, "content", comfy_str(d->system));
        json_array_insert_new(d->messages, 0, o);
    }
    return ERR_OK;
}

static err_code make_job(draft *d, engine_job_spec *job, err *e) {
    const api_model *m = &d->model.base;
    value *list;
    TRY(request_job(m, d->params, d->a, job, e));
    if (api_model_can(m, "thinking")) TRY(request_think(d->params, m, &job->prompt, e));
    TRY(request_format(d->params, d->a, &job->format, e));
    TRY(field_keep_alive(d->params, &job->keep_alive_set, &job->keep_alive_ns, e));
    TRY(request_messages(m, d->messages, d->a, &list, e));
    job->prompt.kind = ENGINE_PROMPT_MESSAGES;
    job->prompt.messages = list;
    job->prompt.continue_last = d->r->continues;
    job->user = d->user_id;
    return ERR_OK;
}

static void show_sources(draft *d) {
    if (!json_array_size(d->sources)) return;
    json_decref(d->r->sources);
    d->r->sources = json_deep_copy(d->sources);
    json_t *o = json_object();
    json_object_set_new(o, "message_id", comfy_str(str_from(d->r->id)));
    json_object_set(o, "sources", d->sources);
    web_hub_chat(d->w->hub, d->chat_id, "sources", o);
}

/* Hands the job over, unless somebody stopped it meanwhile. */
static err_code submit(draft *d, const engine_job_spec *job, err *e) {
    struct web_runs *rs = d->r->rs;
    engine_stream *events;
    TRY(engine_submit(d->w->chat->eng, job, web_run_ring, rs, &events, e));
    pthread_mutex_lock(&rs->lock);
    d->r->events = events;
    show_sources(d);
    if (d->r->cancelled || rs->stop) engine_stream_cancel(events);
    d->r->preparing = false;
    pthread_mutex_unlock(&rs->lock);
    web_run_ring(rs);
    return ERR_OK;
}

/* Nothing was handed over: the run ends here. */
static void give_up(web_run *r, const err *e) {
    struct web_runs *rs = r->rs;
    pthread_mutex_lock(&rs->lock);
    r->end = r->cancelled ? "stopped" : rs->stop ? "interrupted" : "failed";
    if (!r->cancelled && !rs->stop) r->error = mem_dup(e->msg, strlen(e->msg) + 1);
    r->over = true;
    r->preparing = false;
    pthread_cond_signal(&rs->save);
    pthread_mutex_unlock(&rs->lock);
}

void web_run_prepare(void *run) {
    web_run *r = run;
    arena *a = arena_create(0);
    err e = {0};
    draft d = {.w = r->rs->w,
               .r = r,
               .a = a,
               .user_id = str_dup(a, str_from(r->user_id)),
               .chat_id = str_dup(a, str_from(r->chat_id)),
               .parent_id = str_dup(a, str_from(r->parent_id))};
    engine_job_spec job = {0};
    err_code code = gather(&d, &e);
    if (!code) code = make_job(&d, &job, &e);
    if (!code && asked_to_stop(&d)) code = ERR_CANCELLED;
    if (!code) code = submit(&d, &job, &e);
    if (code) give_up(r, &e);
    web_model_finish(&d.model);
    arena_destroy(&a);
}
