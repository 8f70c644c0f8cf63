/* /api/jobs: queue and history as one list, as newer front ends want it. */
#include "api/comfy.h"
#include "api/comfy_owner.h"
#include "api/comfy_prompt.h"
#include "api/comfy_queue.h"
#include <string.h>

static const char *const STATES[] = {"pending", "in_progress", "completed", "failed", "cancelled"};

static void set_time(json_t *o, const char *name, int64_t ms) {
    if (ms) json_object_set_new(o, name, json_integer(ms));
}

/* ---- outputs: how many, and the one to show ---- */

static bool is_media_key(const char *key) {
    static const char *const keys[] = {"images", "video", "videos", "audio", "gifs", "3d", "text"};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

static const char *media_type(const char *key, const json_t *item) {
    const char *mime = comfy_mime(comfy_text(json_object_get(item, "filename")));
    if (strcmp(key, "text") == 0) return "text";
    if (strcmp(key, "3d") == 0 || strncmp(mime, "model/", 6) == 0) return "3d";
    if (strncmp(mime, "video/", 6) == 0 || strcmp(key, "gifs") == 0) return "video";
    if (strncmp(mime, "audio/", 6) == 0) return "audio";
    if (strncmp(mime, "image/", 6) == 0) return "images";
    return is_media_key(key) ? key : NULL;
}

typedef struct tally {
    size_t n_outputs, n_previewable;
    json_t *best; /* the item to show */
    int rank;     /* of it: 3 media of type output, 2 other media, 1 saved text, 0 raw text */
} tally;

static void weigh(tally *t, str node, const char *key, json_t *item) {
    const char *type = media_type(key, item);
    t->n_outputs++;
    if (!type) return;
    t->n_previewable++;
    bool file = json_is_object(item), text = strcmp(type, "text") == 0;
    bool saved = str_eq(comfy_text(json_object_get(item, "type")), STR("output"));
    int rank = text ? file : saved ? 3 : 2;
    if (t->best && rank <= t->rank) return;
    json_decref(t->best);
    t->rank = rank;
    t->best = file ? json_copy(item) : json_object();
    if (!file) {
        str whole = comfy_text(item);
        json_object_set_new(t->best, "content", comfy_str(str_sub(whole, 0, 1024)));
    }
    json_object_set_new(t->best, "nodeId", comfy_str(node));
    json_object_set_new(t->best, "mediaType", json_string(type));
}

static tally tally_outputs(const json_t *outputs) {
    tally t = {0};
    const char *node, *key;
    json_t *ui, *list, *item;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)outputs, node, ui) {
        json_object_foreach(ui, key, list) {
            if (strcmp(key, "animated") == 0) continue;
            json_array_foreach(list, i, item) weigh(&t, str_from(node), key, item);
        }
    }
    return t;
}

static const json_t *message_data(const json_t *messages, const char *type) {
    size_t i;
    json_t *m;
    json_array_foreach((json_t *)(uintptr_t)messages, i, m) {
        if (str_eq(comfy_text(json_array_get(m, 0)), str_from(type))) return json_array_get(m, 1);
    }
    return NULL;
}

static json_t *job_object(const image_job *j) {
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(j->id));
    json_object_set_new(o, "status", json_string(STATES[j->state]));
    json_object_set_new(o, "priority", comfy_number(j->number));
    set_time(o, "create_time", j->created_ms);
    set_time(o, "execution_start_time", j->started_ms);
    set_time(o, "execution_end_time", j->ended_ms);
    if (j->state > IMAGE_JOB_RUNNING) {
        json_t *messages = comfy_json_read(j->messages, json_array());
        json_t *outputs = comfy_json_read(j->outputs, json_object());
        const json_t *error = message_data(messages, "execution_error");
        if (error) json_object_set(o, "execution_error", (json_t *)(uintptr_t)error);
        tally t = tally_outputs(outputs);
        json_object_set_new(o, "outputs_count", json_integer((json_int_t)t.n_outputs));
        json_object_set_new(o, "previewable_outputs_count",
                            json_integer((json_int_t)t.n_previewable));
        if (t.best) json_object_set_new(o, "preview_output", t.best);
        json_decref(messages);
        json_decref(outputs);
    }
    if (j->workflow_id.len) json_object_set_new(o, "workflow_id", comfy_str(j->workflow_id));
    return o;
}

/* ---- list ---- */

static void reply_bad(http_request *r, const char *message) {
    comfy_reply(r, 400, json_pack("{s:s}", "error", message));
}

static bool parse_states(str list, unsigned *ret) {
    *ret = list.len ? 0 : IMAGE_JOBS_LIVE | IMAGE_JOBS_ENDED;
    while (list.len) {
        str one = str_trim(str_cut(&list, ','));
        size_t i = 0;
        while (i < COUNT_OF(STATES) && !str_eq(one, str_from(STATES[i]))) i++;
        if (i == COUNT_OF(STATES)) return false;
        *ret |= 1u << i;
    }
    return true;
}

/* The query's values; NULL, or what is wrong with them. */
static const char *parse_list(http_request *r, image_jobs_query *q) {
    str limit = http_request_query(r, "limit"), offset = http_request_query(r, "offset");
    str by = http_request_query(r, "sort_by"), order = http_request_query(r, "sort_order");
    q->limit = -1;
    q->owner = comfy_owner(r);
    q->order = IMAGE_JOBS_BY_CREATED;
    q->workflow_id = http_request_query(r, "workflow_id");
    q->desc = !str_eq(order, STR("asc"));
    if (!parse_states(http_request_query(r, "status"), &q->states))
        return "status must be of pending, in_progress, completed, failed, cancelled";
    if (str_eq(by, STR("execution_duration")))
        q->order = IMAGE_JOBS_BY_DURATION;
    else if (by.len && !str_eq(by, STR("created_at")))
        return "sort_by must be created_at or execution_duration";
    if (order.len && q->desc && !str_eq(order, STR("desc")))
        return "sort_order must be asc or desc";
    if (limit.len && (!str_to_i64(limit, &q->limit) || q->limit <= 0))
        return "limit must be a positive integer";
    if (offset.len && !str_to_i64(offset, &q->offset)) return "offset must be an integer";
    if (q->offset < 0) q->offset = 0;
    return NULL;
}

void comfy_jobs_list(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    image_jobs_query q = {0};
    image_jobs_page page;
    const char *bad = parse_list(r, &q);
    if (bad) {
        reply_bad(r, bad);
        return;
    }
    if (image_jobs_list(c->db, &q, http_request_arena(r), &page, &e)) {
        comfy_reply_err(r, &e);
        return;
    }
    json_t *jobs = json_array();
    for (size_t i = 0; i < page.n; i++) json_array_append_new(jobs, job_object(&page.jobs[i]));
    json_t *pagination = json_object();
    json_object_set_new(pagination, "offset", json_integer(q.offset));
    json_object_set_new(pagination, "limit", q.limit < 0 ? json_null() : json_integer(q.limit));
    json_object_set_new(pagination, "total", json_integer(page.total));
    json_object_set_new(pagination, "has_more",
                        json_boolean(q.offset + (int64_t)page.n < page.total));
    comfy_reply(r, 200, json_pack("{s:o, s:o}", "jobs", jobs, "pagination", pagination));
}

void comfy_jobs_one(http_request *r, void *ctx) {
    comfy *c = ctx;
    image_job j;
    err e;
    if (comfy_find_own(c, r, http_request_param(r, "id"), &j, &e)) {
        comfy_reply(r, 404, json_pack("{s:s}", "error", "Job not found"));
        return;
    }
    json_t *o = job_object(&j), *entry = comfy_history_entry(&j);
    json_object_set(o, "outputs", json_object_get(entry, "outputs"));
    json_object_set(o, "execution_status", json_object_get(entry, "status"));
    json_object_set_new(o, "workflow",
                        json_pack("{s:o, s:o}", "prompt", comfy_json_read(j.graph, json_object()),
                                  "extra_data", comfy_json_read(j.extra, json_object())));
    json_decref(entry);
    comfy_reply(r, 200, o);
}

/* ---- cancel ---- */

void comfy_jobs_cancel_one(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    bool any;
    str id = http_request_param(r, "id");
    if (!comfy_is_uuid(id))
        reply_bad(r, "job id must be a UUID");
    else if (comfy_owner(r).len && comfy_find_own(c, r, id, &(image_job){0}, &e))
        comfy_reply(r, 200, json_pack("{s:b}", "cancelled", 0));
    else if (comfy_queue_cancel(c->queue, id, &any, &e))
        comfy_reply_err(r, &e);
    else
        comfy_reply(r, 200, json_pack("{s:b}", "cancelled", any));
}

void comfy_jobs_cancel(http_request *r, void *ctx) {
    comfy *c = ctx;
    err e;
    size_t i;
    json_t *id;
    bool any = false, one;
    const json_t *body = comfy_body(r, &e), *ids = json_object_get(body, "job_ids");
    if (!json_is_array(ids)) {
        reply_bad(r, "job_ids must be a list");
        return;
    }
    json_array_foreach((json_t *)(uintptr_t)ids, i, id) {
        if (comfy_is_uuid(comfy_text(id))) continue;
        reply_bad(r, "job_ids must be UUIDs");
        return;
    }
    json_array_foreach((json_t *)(uintptr_t)ids, i, id) {
        if (comfy_owner(r).len && comfy_find_own(c, r, comfy_text(id), &(image_job){0}, NULL))
            continue;
        if (comfy_queue_cancel(c->queue, comfy_text(id), &one, &e)) {
            comfy_reply_err(r, &e);
            return;
        }
        any |= one;
    }
    comfy_reply(r, 200, json_pack("{s:b}", "cancelled", any));
}
