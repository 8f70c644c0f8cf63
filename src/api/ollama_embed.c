/* POST /api/embed and the older /api/embeddings. */
#include "api/embedding.h"
#include "api/fields.h"
#include "api/generation.h"
#include "api/request.h"

static json_t *text(str s) {
    return json_stringn(s.ptr ? s.ptr : "", s.len);
}

static json_t *embed_answer(const embedding_answer *v) {
    json_t *o = json_object(), *list = json_array();
    for (size_t i = 0; i < v->n; i++)
        json_array_append_new(list, embedding_array(v->vecs + i * v->n_vec, v->n_vec));
    json_object_set_new(o, "model", text(v->model));
    json_object_set_new(o, "embeddings", list);
    if (v->total_ns) json_object_set_new(o, "total_duration", json_integer(v->total_ns));
    if (v->load_ns) json_object_set_new(o, "load_duration", json_integer(v->load_ns));
    if (v->n_prompt_tokens)
        json_object_set_new(o, "prompt_eval_count", json_integer(v->n_prompt_tokens));
    return o;
}

/* Numbers as 64-bit floats, not normalised: what this route always did. */
static json_t *embeddings_answer(const embedding_answer *v) {
    json_t *list = json_array();
    for (size_t i = 0; i < v->n * v->n_vec; i++)
        json_array_append_new(list, json_real((double)v->vecs[i]));
    return json_pack("{s:o}", "embedding", list);
}

static const embedding_dialect EMBED = {embed_answer, generation_native_error};
static const embedding_dialect EMBEDDINGS = {embeddings_answer, generation_native_error};

/* The older of the two routes says that a name is missing. */
static bool find_model(api *a, http_request *r, str name, bool old, api_model *ret) {
    err e;
    err_code code = ERR_NOT_FOUND;
    if (name.len > 0) code = api_model_find(a, name, http_request_arena(r), ret, &e);
    if (code == ERR_OK) return true;
    if (name.len == 0 && old)
        api_reply_error(r, 400, "model is required");
    else if (name.len == 0)
        api_reply_error(r, 404, "model '' not found");
    else if (code == ERR_NOT_FOUND)
        api_reply_error(r, 404, "model \"" STR_FMT "\" not found, try pulling it first",
                        STR_ARG(name));
    else
        api_reply_err(r, &e);
    return false;
}

/* Model, options, keep_alive: what both routes read; `old`: /api/embeddings. False: answered. */
static bool read_common(api *a, http_request *r, const json_t *body, bool old, str *ret_name,
                        engine_job_spec *spec) {
    const json_t *options_object = NULL;
    api_model m;
    err e;
    if (field_model(body, ret_name, &e) || field_object(body, "options", &options_object, &e)) {
        api_reply_err(r, &e);
        return false;
    }
    if (!find_model(a, r, *ret_name, old, &m)) return false;
    if (request_job(&m, options_object, http_request_arena(r), spec, &e) ||
        field_keep_alive(body, &spec->keep_alive_set, &spec->keep_alive_ns, &e)) {
        request_reply_err(r, &e);
        return false;
    }
    spec->kind = ENGINE_JOB_EMBED;
    spec->embed_truncate = true;
    return true;
}

static err_code embed_fields(const json_t *body, arena *mem, engine_job_spec *spec, err *e) {
    const json_t *input = field_get(body, "input");
    int64_t dimensions = 0;
    TRY(field_bool(body, "truncate", &spec->embed_truncate, e));
    TRY(field_i64(body, "dimensions", &dimensions, e));
    spec->embed_normalize = true;
    spec->embed_dimensions = dimensions > 0 && dimensions < INT32_MAX ? (int32_t)dimensions : 0;
    if (!input || (json_is_string(input) && json_string_length(input) == 0)) return ERR_OK;
    return embedding_inputs(input, mem, spec, e);
}

void ollama_embed(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = api_body(r);
    engine_job_spec spec;
    str name = {0};
    err e;
    if (!body || !read_common(a, r, body, false, &name, &spec)) return;
    if (embed_fields(body, http_request_arena(r), &spec, &e)) {
        api_reply_err(r, &e);
    } else if (spec.n_inputs == 0) {
        embedding_answer none = {.model = name};
        api_reply_json(r, embed_answer(&none));
    } else {
        embedding_start(a, r, &EMBED, name, false, &spec);
    }
}

void ollama_embeddings(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = api_body(r);
    engine_job_spec spec;
    str name = {0}, prompt = {0};
    err e;
    if (!body || !read_common(a, r, body, true, &name, &spec)) return;
    if (field_str(body, "prompt", &prompt, &e)) {
        api_reply_err(r, &e);
    } else if (prompt.len == 0) {
        embedding_answer none = {0};
        api_reply_json(r, embeddings_answer(&none));
    } else {
        spec.inputs = &prompt;
        spec.n_inputs = 1;
        embedding_start(a, r, &EMBEDDINGS, name, false, &spec);
    }
}
