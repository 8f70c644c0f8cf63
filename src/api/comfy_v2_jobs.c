/* Submitting, reading and cancelling jobs through API v2. */
#include "api/comfy_owner.h"
#include "api/comfy_prompt.h"
#include "api/comfy_queue.h"
#include "api/comfy_v2.h"
#include <string.h>

static const char *const BODY_KEYS[] = {"workflow", "extra_data"};
static const char *const EXTRA_KEYS[] = {"api_key_comfy_org"};

/* The first key that does not belong; NULL when all do. */
static const char *stray_key(const json_t *object, const char *const *known, size_t n_known) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v) {
        size_t i = 0;
        while (i < n_known && strcmp(known[i], key) != 0) i++;
        if (i == n_known) return key;
    }
    return NULL;
}

/* The workflow of a well-formed body; NULL: answered. */
static json_t *take_workflow(http_request *r, const json_t *body) {
    const json_t *extra = json_object_get(body, "extra_data");
    json_t *workflow = json_object_get(body, "workflow");
    const char *stray = stray_key(body, BODY_KEYS, COUNT_OF(BODY_KEYS));
    if (!stray && extra) stray = stray_key(extra, EXTRA_KEYS, COUNT_OF(EXTRA_KEYS));
    if (stray) {
        comfy_v2_error(r, 422, "invalid_request", "a field is not accepted here",
                       json_pack("{s:s}", "field", stray));
    } else if (!json_is_object(workflow)) {
        comfy_v2_error(r, 422, "invalid_workflow", "workflow must be an object", NULL);
    } else if (comfy_is_ui_workflow(workflow)) {
        comfy_v2_error(r, 422, "workflow_format_ui",
                       "this is a saved workflow; export it in API format", NULL);
    } else {
        return workflow;
    }
    return NULL;
}

static void reply_refused(http_request *r, const comfy_check *k) {
    str message = comfy_text(json_object_get(k->error, "message"));
    json_t *details = json_pack("{s:O, s:O}", "error", k->error, "node_errors", k->node_errors);
    comfy_v2_error(r, 422, "invalid_workflow", message.len ? message.ptr : "invalid workflow",
                   details);
}

/* The request's key, told apart from another user's equal one; empty when there is none. */
static str key_of(http_request *r) {
    return comfy_own_client(http_request_arena(r), comfy_owner(r),
                            http_request_header(r, "Idempotency-Key"));
}

static void submit(http_request *r, comfy *c, const comfy_check *k, str id) {
    arena *a = http_request_arena(r);
    err e;
    json_t *extra = json_pack("{s:I}", "create_time", (json_int_t)comfy_now_ms());
    image_job job = {.id = id, .number = (double)comfy_queue_next_number(c->queue)};
    err_code code = comfy_prompt_enqueue(c, &(comfy_prompt){k, extra, comfy_owner(r)}, &job, a, &e);
    json_decref(extra);
    if (code) {
        str key = key_of(r);
        if (key.len) image_keys_release(c->db, key, NULL);
        if (code == ERR_BUSY) http_reply_header(r, "Retry-After", "30");
        comfy_v2_error(r, code == ERR_BUSY ? 429 : 500,
                       code == ERR_BUSY ? "queue_full" : "upstream_error", e.msg, NULL);
        return;
    }
    comfy_reply(r, 201, comfy_v2_job(c, &job, a));
}

/* Claims the request's key for the job; false: answered. */
static bool claim_key(http_request *r, comfy *c, str job_id) {
    str key = key_of(r);
    err e;
    if (key.len == 0) return true;
    if (key.len > 300) {
        comfy_v2_error(r, 422, "invalid_request", "Idempotency-Key is too long", NULL);
        return false;
    }
    err_code code = image_keys_claim(c->db, key, job_id, comfy_now_ms(), &e);
    if (code == ERR_BUSY)
        comfy_v2_error(r, 422, "idempotency_key_reuse", e.msg, NULL);
    else if (code)
        comfy_v2_error(r, 500, "upstream_error", e.msg, NULL);
    return code == ERR_OK;
}

void comfy_v2_job_post(http_request *r, void *ctx) {
    comfy *c = ctx;
    arena *a = http_request_arena(r);
    err e;
    str missing, id = comfy_uuid(a);
    const json_t *body = comfy_body(r, &e);
    if (!json_is_object(body)) {
        comfy_v2_error(r, 422, "invalid_request", body ? "the body must be an object" : e.msg,
                       NULL);
        return;
    }
    json_t *workflow = take_workflow(r, body);
    if (!workflow) return;
    if (!comfy_v2_resolve_assets(r, c, workflow, &missing)) {
        comfy_v2_error(r, 422, "missing_asset", "the workflow names an asset that is not here",
                       json_pack("{s:o}", "asset", comfy_str(missing)));
        return;
    }
    comfy_check check = comfy_engine_check(c, workflow, NULL);
    if (check.error)
        reply_refused(r, &check);
    else if (claim_key(r, c, id))
        submit(r, c, &check, id);
    comfy_check_finish(&check);
}

/* The job of the path; false: answered 404. */
static bool find_job(http_request *r, comfy *c, image_job *ret) {
    err e;
    if (!comfy_find_own(c, r, http_request_param(r, "id"), ret, &e)) return true;
    comfy_v2_error(r, 404, "not_found", "there is no such job", NULL);
    return false;
}

void comfy_v2_job_get(http_request *r, void *ctx) {
    image_job j;
    if (find_job(r, ctx, &j)) comfy_reply(r, 200, comfy_v2_job(ctx, &j, http_request_arena(r)));
}

void comfy_v2_job_workflow(http_request *r, void *ctx) {
    image_job j;
    if (!find_job(r, ctx, &j)) return;
    comfy_reply(r, 200,
                json_pack("{s:o, s:s}", "workflow", comfy_json_read(j.graph, json_object()),
                          "format", "api"));
}

void comfy_v2_job_cancel(http_request *r, void *ctx) {
    comfy *c = ctx;
    image_job j;
    err e;
    bool any;
    if (!find_job(r, c, &j)) return;
    if (comfy_queue_cancel(c->queue, j.id, &any, &e))
        comfy_v2_error(r, 500, "upstream_error", e.msg, NULL);
    else if (find_job(r, c, &j))
        comfy_reply(r, 200, comfy_v2_job(c, &j, http_request_arena(r)));
}
