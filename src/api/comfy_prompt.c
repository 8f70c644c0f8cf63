/* Queueing prompts and reading results: /prompt, /queue, /history, /interrupt, /free. */
#include "api/comfy_prompt.h"
#include "api/comfy.h"
#include "api/comfy_engine.h"
#include "api/comfy_owner.h"
#include "api/comfy_queue.h"
#include "base/limits.h"
#include <math.h>
#include <stdlib.h>

/* {"error": {type, message, details, extra_info}, "node_errors": {}} */
static void refuse(http_request *r, const char *type, const char *message, str details) {
    json_t *error =
        json_pack("{s:s, s:s, s:o, s:{}}", "type", type, "message", message, "details",
                  details.ptr ? comfy_str(details) : json_string(message), "extra_info");
    comfy_reply(r, 400, json_pack("{s:o, s:{}}", "error", error, "node_errors"));
}

bool comfy_is_ui_workflow(const json_t *prompt) {
    return json_is_array(json_object_get(prompt, "nodes")) &&
           (json_object_get(prompt, "links") || json_object_get(prompt, "version") ||
            json_object_get(prompt, "last_node_id"));
}

/* What is stored and returned: without secrets, with who and when. */
static json_t *extra_data(http_request *r, const json_t *body) {
    const json_t *given = json_object_get(body, "extra_data");
    json_t *extra = json_is_object(given) ? json_copy((json_t *)(uintptr_t)given) : json_object();
    json_object_del(extra, "auth_token_comfy_org");
    json_object_del(extra, "api_key_comfy_org");
    const json_t *client = json_object_get(body, "client_id");
    if (client && !json_is_null(client))
        json_object_set(extra, "client_id", (json_t *)(uintptr_t)client);
    str source = http_request_header(r, "Comfy-Usage-Source");
    if (source.len) json_object_set_new(extra, "comfy_usage_source", comfy_str(source));
    json_object_set_new(extra, "create_time", json_integer(comfy_now_ms()));
    comfy_defer_json(http_request_arena(r), extra);
    return extra;
}

static double take_number(comfy *c, const json_t *body) {
    const json_t *given = json_object_get(body, "number");
    double number;
    if (json_is_number(given)) return json_number_value(given);
    if (json_is_string(given) && str_to_f64(comfy_text(given), &number)) return number;
    number = (double)comfy_queue_next_number(c->queue);
    return json_is_true(json_object_get(body, "front")) ? -number : number;
}

/* The client's id for the prompt, or a new one; false when it is not one. */
static bool take_id(http_request *r, const json_t *body, str *ret_id) {
    const json_t *given = json_object_get(body, "prompt_id");
    if (!given || json_is_null(given)) {
        *ret_id = comfy_uuid(http_request_arena(r));
        return true;
    }
    *ret_id = comfy_text(given);
    return comfy_is_uuid(*ret_id);
}

static str workflow_id(const json_t *extra) {
    const json_t *png = json_object_get(extra, "extra_pnginfo");
    return comfy_text(json_object_get(json_object_get(png, "workflow"), "id"));
}

json_t *comfy_number(double v) {
    bool whole = fabs(v) < 1e15 && !(floor(v) < v) && !(floor(v) > v);
    return whole ? json_integer((json_int_t)v) : json_real(v);
}

err_code comfy_prompt_enqueue(comfy *c, const comfy_prompt *p, image_job *job, arena *a, err *e) {
    if (!comfy_own_graph(p->check->graph, p->owner))
        FAIL(e, UNSUPPORTED, "the workflow names a file of another user");
    job->owner = p->owner;
    job->graph = comfy_json_text(a, p->check->graph);
    job->extra = comfy_json_text(a, p->extra);
    job->targets = comfy_json_text(a, p->check->targets);
    job->workflow_id = workflow_id(p->extra);
    job->client_id =
        comfy_own_client(a, p->owner, comfy_text(json_object_get(p->extra, "client_id")));
    return comfy_queue_submit(c->queue, job, e);
}

/* Checks and queues a graph; answers. */
static void submit(http_request *r, comfy *c, image_job *job, const comfy_prompt *p) {
    err e;
    err_code code = comfy_prompt_enqueue(c, p, job, http_request_arena(r), &e);
    if (code == ERR_INVALID) {
        refuse(r, "invalid_prompt_id", "prompt_id is in use", str_from(e.msg));
    } else if (code) {
        json_t *error = json_pack("{s:s, s:s, s:o, s:{}}", "type", "queue_error", "message",
                                  "The prompt could not be queued", "details",
                                  comfy_str(str_from(e.msg)), "extra_info");
        comfy_reply(r,
                    code == ERR_BUSY          ? 429
                    : code == ERR_UNSUPPORTED ? 400
                                              : 500,
                    json_pack("{s:o, s:{}}", "error", error, "node_errors"));
    } else {
        comfy_reply(r, 200,
                    json_pack("{s:o, s:o, s:O}", "prompt_id", comfy_str(job->id), "number",
                              comfy_number(job->number), "node_errors", p->check->node_errors));
    }
}

/* The graph of a request, converted when it is a saved workflow; NULL: answered. */
static const json_t *take_graph(http_request *r, comfy *c, const json_t *body, json_t *extra) {
    const json_t *prompt = json_object_get(body, "prompt");
    err e;
    if (!comfy_is_ui_workflow(prompt)) return prompt;
    json_t *graph = comfy_engine_convert(c, prompt, &e);
    if (!graph) {
        refuse(r, "invalid_prompt", "The workflow could not be converted", str_from(e.msg));
        return NULL;
    }
    comfy_defer_json(http_request_arena(r), graph);
    json_t *png = json_object_get(extra, "extra_pnginfo");
    if (!json_is_object(png)) {
        png = json_object();
        json_object_set_new(extra, "extra_pnginfo", png);
    }
    if (!json_object_get(png, "workflow"))
        json_object_set(png, "workflow", (json_t *)(uintptr_t)prompt);
    return graph;
}

void comfy_prompt_post(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    image_job job = {0};
    const json_t *body = comfy_body(r, &e);
    if (!body) {
        refuse(r, "invalid_json", "The body is not JSON", str_from(e.msg));
        return;
    }
    job.number = take_number(c, body);
    if (!json_object_get(body, "prompt")) {
        refuse(r, "no_prompt", "No prompt provided", (str){0});
        return;
    }
    if (!take_id(r, body, &job.id)) {
        refuse(r, "invalid_prompt_id", "prompt_id must be a lower-case UUID", STR(""));
        return;
    }
    json_t *extra = extra_data(r, body);
    const json_t *graph = take_graph(r, c, body, extra);
    if (!graph) return;
    comfy_check check =
        comfy_engine_check(c, graph, json_object_get(body, "partial_execution_targets"));
    if (check.error)
        comfy_reply(
            r, 400,
            json_pack("{s:O, s:O}", "error", check.error, "node_errors", check.node_errors));
    else
        submit(r, c, &job, &(comfy_prompt){&check, extra, comfy_owner(r)});
    comfy_check_finish(&check);
}

void comfy_prompt_get(http_request *r, void *ctx) {
    comfy *c = ctx;
    comfy_reply(r, 200,
                json_pack("{s:{s:I}}", "exec_info", "queue_remaining",
                          (json_int_t)comfy_queue_remaining(c->queue)));
}

/* ---- queue ---- */

json_t *comfy_queue_item(const image_job *j) {
    json_t *item = json_array();
    json_array_append_new(item, comfy_number(j->number));
    json_array_append_new(item, comfy_str(j->id));
    json_array_append_new(item, comfy_json_read(j->graph, json_object()));
    json_array_append_new(item, comfy_json_read(j->extra, json_object()));
    json_array_append_new(item, comfy_json_read(j->targets, json_array()));
    return item;
}

void comfy_queue_get(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    image_jobs_query q = {.states = IMAGE_JOBS_LIVE,
                          .order = IMAGE_JOBS_BY_TURN,
                          .owner = comfy_owner(r),
                          .limit = -1};
    image_jobs_page page;
    if (image_jobs_list(c->db, &q, http_request_arena(r), &page, &e)) {
        comfy_reply_err(r, &e);
        return;
    }
    json_t *running = json_array(), *pending = json_array();
    for (size_t i = 0; i < page.n; i++)
        json_array_append_new(page.jobs[i].state == IMAGE_JOB_RUNNING ? running : pending,
                              comfy_queue_item(&page.jobs[i]));
    comfy_reply(r, 200,
                json_pack("{s:o, s:o}", "queue_running", running, "queue_pending", pending));
}

/* The ids of the asker's jobs in these states, or one that was named, if it is theirs. */
static json_t *own_ids(comfy *c, http_request *r, unsigned states, const json_t *body) {
    arena *a = http_request_arena(r);
    image_jobs_query q = {.states = states, .owner = comfy_owner(r), .limit = -1};
    image_jobs_page page = {0};
    image_job j;
    size_t i;
    json_t *ids = json_array(), *id;
    comfy_defer_json(a, ids);
    if (json_is_true(json_object_get(body, "clear"))) image_jobs_list(c->db, &q, a, &page, NULL);
    for (i = 0; i < page.n; i++) json_array_append_new(ids, comfy_str(page.jobs[i].id));
    json_array_foreach(json_object_get(body, "delete"), i, id) {
        if (json_string_length(id) && !comfy_find_own(c, r, comfy_text(id), &j, NULL))
            json_array_append(ids, id);
    }
    return ids;
}

void comfy_queue_post(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    err_code code = ERR_OK;
    size_t i;
    json_t *id;
    const json_t *body = comfy_body(r, &e);
    if (!body) {
        comfy_reply_err(r, &e);
        return;
    }
    bool all = comfy_owner(r).len == 0 && json_is_true(json_object_get(body, "clear"));
    if (all) code = comfy_queue_remove(c->queue, (str){0}, NULL, &e);
    json_t *ids = all ? NULL : own_ids(c, r, IMAGE_JOBS_WAITING, body);
    json_array_foreach(ids, i, id) {
        if (!code) code = comfy_queue_remove(c->queue, comfy_text(id), NULL, &e);
    }
    if (code)
        comfy_reply_err(r, &e);
    else
        comfy_reply_empty(r, 200);
}

/* ---- history ---- */

json_t *comfy_history_entry(const image_job *j) {
    json_t *status = json_object();
    bool live = j->state == IMAGE_JOB_QUEUED || j->state == IMAGE_JOB_RUNNING;
    const char *text = live ? (j->state == IMAGE_JOB_QUEUED ? "pending" : "running")
                            : (j->state == IMAGE_JOB_DONE ? "success" : "error");
    json_object_set_new(status, "status_str", json_string(text));
    json_object_set_new(status, "completed", json_boolean(j->state == IMAGE_JOB_DONE));
    json_object_set_new(status, "messages", comfy_json_read(j->messages, json_array()));
    json_t *entry = json_object();
    json_object_set_new(entry, "prompt", comfy_queue_item(j));
    json_object_set_new(entry, "outputs", comfy_json_read(j->outputs, json_object()));
    json_object_set_new(entry, "status", status);
    json_object_set_new(entry, "meta", comfy_json_read(j->meta, json_object()));
    return entry;
}

/* A whole number of the query; fallback when absent or malformed. */
static int64_t query_i64(http_request *r, const char *name, int64_t fallback) {
    int64_t v;
    return str_to_i64(http_request_query(r, name), &v) ? v : fallback;
}

void comfy_history_all(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    int64_t max_items = query_i64(r, "max_items", -1), offset = query_i64(r, "offset", -1), n;
    image_jobs_query q = {
        .states = IMAGE_JOBS_ENDED, .order = IMAGE_JOBS_BY_END, .owner = comfy_owner(r)};
    image_jobs_page page;
    err_code code = image_jobs_list(c->db, &q, http_request_arena(r), &page, &e); /* none yet */
    n = code ? 0 : page.total;
    q.limit = max_items < 0 ? -1 : max_items;
    q.offset = offset >= 0 ? offset : max_items >= 0 && max_items < n ? n - max_items : 0;
    if (!code) code = image_jobs_list(c->db, &q, http_request_arena(r), &page, &e);
    if (code) {
        comfy_reply_err(r, &e);
        return;
    }
    json_t *out = json_object();
    for (size_t i = 0; i < page.n; i++)
        json_object_set_new(out, page.jobs[i].id.ptr, comfy_history_entry(&page.jobs[i]));
    comfy_reply(r, 200, out);
}

/* With ?state=true a client learns what upstream's {} hides: an unknown id is 404, a job that
 * waits or runs has an entry whose status_str is "pending" or "running". */
void comfy_history_one(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    image_job j;
    bool wants_state = comfy_flag(http_request_query(r, "state"), false);
    err_code code = comfy_find_own(c, r, http_request_param(r, "id"), &j, &e);
    json_t *out = json_object();
    if (!code && (wants_state || j.state > IMAGE_JOB_RUNNING))
        json_object_set_new(out, j.id.ptr, comfy_history_entry(&j));
    comfy_reply(r, code == ERR_NOT_FOUND && wants_state ? 404 : 200, out);
}

void comfy_history_post(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    err_code code = ERR_OK;
    size_t i;
    json_t *id;
    const json_t *body = comfy_body(r, &e);
    if (!body) {
        comfy_reply_err(r, &e);
        return;
    }
    bool all = comfy_owner(r).len == 0 && json_is_true(json_object_get(body, "clear"));
    if (all) code = image_jobs_delete(c->db, (str){0}, IMAGE_JOBS_ENDED, NULL, &e);
    json_t *ids = all ? NULL : own_ids(c, r, IMAGE_JOBS_ENDED, body);
    json_array_foreach(ids, i, id) {
        if (!code) code = image_jobs_delete(c->db, comfy_text(id), IMAGE_JOBS_ENDED, NULL, &e);
    }
    if (code)
        comfy_reply_err(r, &e);
    else
        comfy_reply_empty(r, 200);
}

/* ---- interrupt, free ---- */

void comfy_interrupt(http_request *r, void *ctx) {
    comfy *c = ctx;
    const json_t *body = comfy_body(r, NULL); /* optional */
    str id = comfy_text(json_object_get(body, "prompt_id"));
    image_jobs_query q = {.states = 1u << IMAGE_JOB_RUNNING, .owner = comfy_owner(r), .limit = 1};
    image_jobs_page page = {0};
    image_job j;
    if (q.owner.len && id.len == 0) {
        image_jobs_list(c->db, &q, http_request_arena(r), &page, NULL);
        if (page.n) id = page.jobs[0].id;
    }
    if (q.owner.len == 0 || (id.len && !comfy_find_own(c, r, id, &j, NULL)))
        comfy_queue_interrupt(c->queue, id);
    comfy_reply_empty(r, 200);
}

void comfy_free(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    const json_t *body = comfy_body(r, &e);
    if (!body) {
        comfy_reply_err(r, &e);
        return;
    }
    bool cache = json_is_true(json_object_get(body, "free_memory"));
    bool models = cache || json_is_true(json_object_get(body, "unload_models"));
    if (models) engine_flow_free(c->eng, models, cache);
    comfy_reply_empty(r, 200);
}
