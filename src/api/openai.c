/* The OpenAI dialect: what its routes share, /v1/embeddings and /v1/models. */
#include "api/openai.h"
#include "api/embedding.h"
#include "api/fields.h"
#include "base/clock.h"
#include "http/json.h"
#include <openssl/evp.h>

static json_t *text(str s) {
    value v = {.kind = VALUE_STR, .as.text = s};
    return json_from_value(&v);
}

/* ---- errors ---- */

json_t *openai_error(int status, const char *message) {
    const char *type = status == 400   ? "invalid_request_error"
                       : status == 404 ? "not_found_error"
                                       : "api_error";
    return json_pack("{s:{s:s, s:s, s:n, s:n}}", "error", "message", message, "type", type, "param",
                     "code");
}

void openai_reply_error(http_request *r, int status, const char *message) {
    json_t *body = openai_error(status, message);
    http_reply_json(r, status, body);
    json_decref(body);
}

void openai_reply_err(http_request *r, const err *e) {
    openai_reply_error(r, err_http_status(e->code), e->msg);
}

bool openai_find_model(api *a, http_request *r, str name, api_model *ret) {
    err e;
    if (name.len == 0) {
        openai_reply_error(r, 400, "model is required");
        return false;
    }
    err_code code = api_model_find(a, name, http_request_arena(r), ret, &e);
    if (code == ERR_OK) return true;
    if (code == ERR_NOT_FOUND)
        err_set(&e, ERR_NOT_FOUND, "model '" STR_FMT "' not found", STR_ARG(name));
    openai_reply_err(r, &e);
    return false;
}

const json_t *openai_body(http_request *r) {
    json_t *body;
    err e;
    if (!api_read_body(http_request_body(r), http_request_arena(r), &body, &e)) return body;
    openai_reply_error(r, 400, e.msg);
    return NULL;
}

static err_code read_effort(str effort, const api_model *m, engine_prompt *ret, err *e) {
    static const struct {
        const char *effort, *level;
    } LEVELS[] = {{"none", NULL},   {"minimal", "low"}, {"low", "low"},   {"medium", "medium"},
                  {"high", "high"}, {"max", "max"},     {"xhigh", "max"}, {"ultra", "max"}};
    for (size_t i = 0; i < COUNT_OF(LEVELS); i++) {
        if (!str_eq(effort, str_from(LEVELS[i].effort))) continue;
        json_t *as_native = LEVELS[i].level ? json_pack("{s:s}", "think", LEVELS[i].level)
                                            : json_pack("{s:b}", "think", 0);
        err_code code = request_think(as_native, m, ret, e);
        json_decref(as_native);
        ret->think_level = str_from(LEVELS[i].level);
        return code;
    }
    FAIL(e, INVALID,
         "invalid reasoning value: '" STR_FMT
         "' (must be \"high\", \"medium\", \"low\", \"max\", or \"none\")",
         STR_ARG(effort));
}

err_code openai_reasoning(const json_t *body, const api_model *m, engine_prompt *ret, err *e) {
    const json_t *reasoning = NULL;
    str effort = {0};
    TRY(field_object(body, "reasoning", &reasoning, e));
    if (reasoning) TRY(field_str(reasoning, "effort", &effort, e));
    TRY(field_str(body, "reasoning_effort", &effort, e));
    if (effort.len == 0) return request_think(body, m, ret, e);
    return read_effort(effort, m, ret, e);
}

/* ---- /v1/embeddings ---- */

static json_t *base64_text(const float *vec, size_t n) {
    size_t n_bytes = n * sizeof(float);
    unsigned char *out = mem_alloc((n_bytes + 2) / 3 * 4 + 1);
    EVP_EncodeBlock(out, (const unsigned char *)vec, (int)n_bytes);
    json_t *s = json_string((const char *)out);
    mem_free(out);
    return s;
}

static json_t *embeddings_answer(const embedding_answer *v) {
    json_t *data = json_array();
    for (size_t i = 0; i < v->n; i++) {
        const float *vec = v->vecs + i * v->n_vec;
        json_array_append_new(
            data, json_pack("{s:s, s:o, s:I}", "object", "embedding", "embedding",
                            v->base64 ? base64_text(vec, v->n_vec) : embedding_array(vec, v->n_vec),
                            "index", (json_int_t)i));
    }
    return json_pack("{s:s, s:o, s:o, s:{s:I, s:I}}", "object", "list", "data", data, "model",
                     text(v->model), "usage", "prompt_tokens", (json_int_t)v->n_prompt_tokens,
                     "total_tokens", (json_int_t)v->n_prompt_tokens);
}

static const embedding_dialect EMBEDDINGS = {embeddings_answer, openai_error};

static err_code read_embeddings(const json_t *body, const api_model *m, arena *mem,
                                engine_job_spec *spec, bool *ret_base64, err *e) {
    const json_t *input = field_get(body, "input");
    str encoding = STR("float");
    int64_t dimensions = 0;
    TRY(request_job(m, NULL, mem, spec, e));
    TRY(field_str(body, "encoding_format", &encoding, e));
    *ret_base64 = str_eq_nocase(encoding, STR("base64"));
    if (!*ret_base64 && !str_eq_nocase(encoding, STR("float")))
        FAIL(e, INVALID,
             "Invalid value for 'encoding_format' = " STR_FMT
             ". Supported values: ['float', 'base64'].",
             STR_ARG(encoding));
    if (!input || (json_is_array(input) && json_array_size(input) == 0))
        FAIL(e, INVALID, "invalid input");
    TRY(field_i64(body, "dimensions", &dimensions, e));
    spec->kind = ENGINE_JOB_EMBED;
    spec->embed_truncate = spec->embed_normalize = true;
    spec->embed_dimensions = dimensions > 0 && dimensions < INT32_MAX ? (int32_t)dimensions : 0;
    return embedding_inputs_or_ids(input, mem, spec, e);
}

void openai_embeddings(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = openai_body(r);
    engine_job_spec spec;
    api_model m;
    str name = {0};
    bool base64;
    err e;
    if (!body) return;
    if (field_str(body, "model", &name, &e)) {
        openai_reply_err(r, &e);
        return;
    }
    if (!openai_find_model(a, r, name, &m)) return;
    if (read_embeddings(body, &m, http_request_arena(r), &spec, &base64, &e))
        openai_reply_err(r, &e);
    else
        embedding_start(a, r, &EMBEDDINGS, name, base64, &spec);
}

/* ---- /v1/models ---- */

static json_t *model_object(const store_model *m, arena *mem) {
    return json_pack("{s:o, s:s, s:I, s:o}", "id", text(store_name_display(mem, &m->name)),
                     "object", "model", "created", (json_int_t)(m->modified_ns / NS_PER_S),
                     "owned_by", text(m->name.space));
}

/* Anthropic's clients ask on the same path and say who they are. */
static bool is_anthropic(const http_request *r) {
    return http_request_header(r, "anthropic-version").len > 0;
}

static json_t *anthropic_model(const store_model *m, arena *mem) {
    json_t *name = text(store_name_display(mem, &m->name));
    char created[CLOCK_TEXT_BYTES];
    clock_rfc3339_utc(created, m->modified_ns);
    return json_pack("{s:s, s:O, s:o, s:s}", "type", "model", "id", name, "display_name", name,
                     "created_at", created);
}

static json_t *anthropic_models(const store_model *list, size_t n, arena *mem) {
    json_t *data = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(data, anthropic_model(&list[i], mem));
    json_t *first = json_object_get(json_array_get(data, 0), "id");
    json_t *last = json_object_get(json_array_get(data, n - 1), "id");
    return json_pack("{s:o, s:b, s:O?, s:O?}", "data", data, "has_more", 0, "first_id", first,
                     "last_id", last);
}

void openai_models(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    store_model *list;
    size_t n;
    err e;
    if (store_list(a->store, mem, &list, &n, &e)) {
        openai_reply_err(r, &e);
        return;
    }
    if (is_anthropic(r)) {
        api_reply_json(r, anthropic_models(list, n, mem));
        return;
    }
    json_t *data = n ? json_array() : json_null();
    for (size_t i = 0; i < n; i++) json_array_append_new(data, model_object(&list[i], mem));
    api_reply_json(r, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

void openai_model(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    str name = http_request_param(r, "model");
    store_name parsed;
    store_model m;
    err e;
    if (store_find(a->store, name, mem, &m, &e) == ERR_OK) {
        api_reply_json(r, is_anthropic(r) ? anthropic_model(&m, mem) : model_object(&m, mem));
        return;
    }
    if (e.code == ERR_NOT_FOUND && store_name_parse(mem, name, &parsed))
        err_set(&e, ERR_NOT_FOUND, "model '" STR_FMT "' not found",
                STR_ARG(store_name_display(mem, &parsed)));
    openai_reply_err(r, &e);
}
