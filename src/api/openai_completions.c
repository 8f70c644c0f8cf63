/* POST /v1/completions: a prompt instead of messages, otherwise as chat.
 *
 * The prompt goes through the model's template as a user's message, as Ollama has it. A list of
 * prompts has `n` answers to each, in order; lists of tokens are refused. `n` and
 * `logprobs` are answered in OpenAI's own shape; echo and best_of are ignored, as Ollama does. */
#include "api/dialect.h"
#include "api/fields.h"
#include "api/generation.h"
#include "api/openai.h"
#include "base/limits.h"
#include <string.h>

static const char *finish_reason(const generation_output *o) {
    if (o->done.reason == ENGINE_DONE_LOAD) return "load";
    return o->done.reason == ENGINE_DONE_LENGTH ? "length" : "stop";
}

static json_t *usage_object(generation_usage u) {
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)u.n_prompt,
                     "completion_tokens", (json_int_t)u.n_eval, "total_tokens",
                     (json_int_t)(u.n_prompt + u.n_eval));
}

/* From a list of tokens as chat has it to the four lists of this route. *offset: characters of the
 * answer before the first of them. */
static json_t *logprobs_object(const json_t *list, size_t *offset) {
    json_t *tokens = json_array(), *values = json_array(), *tops = json_array(),
           *offsets = json_array();
    size_t i, k;
    const json_t *p, *alternative;
    json_array_foreach(list, i, p) {
        json_t *token = json_object_get(p, "token"), *top = json_object();
        json_array_append(tokens, token);
        json_array_append(values, json_object_get(p, "logprob"));
        json_array_foreach(json_object_get(p, "top_logprobs"), k, alternative)
            json_object_set(top, json_string_value(json_object_get(alternative, "token")),
                            json_object_get(alternative, "logprob"));
        json_array_append_new(tops, top);
        json_array_append_new(offsets, json_integer((json_int_t)*offset));
        str text = {json_string_value(token), json_string_length(token)};
        for (size_t pos = 0; pos < text.len; ++*offset) str_utf8_next(text, &pos);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", values,
                     "top_logprobs", tops, "text_offset", offsets);
}

static json_t *choice_object(str text, size_t index, const char *reason) {
    return json_pack("{s:o, s:I, s:s?}", "text", dialect_text(text), "index", (json_int_t)index,
                     "finish_reason", reason);
}

static json_t *chunk_object(const generation *g, json_t *choices, const generation_usage *u) {
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:o, s:o, s:s}", "id", g->id, "object", "text_completion",
                  "created", (json_int_t)g->created_s, "choices", choices, "model",
                  dialect_text(g->model), "system_fingerprint", "fp_ollama");
    if (u) json_object_set_new(o, "usage", usage_object(*u));
    return o;
}

static const generation_usage *no_usage(const generation *g) {
    static const generation_usage none;
    return g->include_usage ? &none : NULL;
}

/* Characters before the text at hand, which `content` holds already. */
static size_t offset_before(const generation_output *o, str piece) {
    size_t n = 0;
    str before = {o->content.ptr, o->content.len - piece.len};
    for (size_t pos = 0; pos < before.len; n++) str_utf8_next(before, &pos);
    return n;
}

static void on_piece(generation *g, generation_output *o, const generation_piece *p,
                     json_t *objects) {
    if (p->kind != PIECE_CONTENT) return;
    json_t *choice = choice_object(p->text, o->index, NULL);
    size_t offset = p->logprobs ? offset_before(o, p->text) : 0;
    if (p->logprobs) json_object_set_new(choice, "logprobs", logprobs_object(p->logprobs, &offset));
    json_array_append_new(objects, chunk_object(g, json_pack("[o]", choice), no_usage(g)));
}

static void on_finish(generation *g, generation_output *o, json_t *objects) {
    json_t *choice = choice_object(STR(""), o->index, finish_reason(o));
    json_array_append_new(objects, chunk_object(g, json_pack("[o]", choice), no_usage(g)));
    if (!g->include_usage || !generation_is_done(g)) return;
    generation_usage u = generation_get_usage(g);
    json_array_append_new(objects, chunk_object(g, json_array(), &u));
}

static json_t *whole(const generation *g) {
    json_t *choices = json_array();
    for (size_t i = 0; i < g->n_out; i++) {
        const generation_output *o = &g->out[i];
        size_t offset = 0;
        json_t *choice = choice_object(buf_str(&o->content), i, finish_reason(o));
        if (o->logprobs)
            json_object_set_new(choice, "logprobs", logprobs_object(o->logprobs, &offset));
        json_array_append_new(choices, choice);
    }
    return json_pack("{s:s, s:s, s:I, s:o, s:s, s:o, s:o}", "id", g->id, "object",
                     "text_completion", "created", (json_int_t)g->created_s, "model",
                     dialect_text(g->model), "system_fingerprint", "fp_ollama", "choices", choices,
                     "usage", usage_object(generation_get_usage(g)));
}

static const dialect COMPLETIONS = {.sse = true,
                                    .closes_done = true,
                                    .piece = on_piece,
                                    .finish = on_finish,
                                    .whole = whole,
                                    .error = openai_error};

/* logprobs is a number here: so many alternatives; 0 still gives those that were chosen. */
static err_code read_logprobs(const json_t *body, engine_job_spec *job, err *e) {
    int64_t n = 0;
    if (!field_get(body, "logprobs") || json_is_false(field_get(body, "logprobs"))) return ERR_OK;
    TRY(field_i64(body, "logprobs", &n, e));
    if (n < 0 || n > LIMIT_TOP_LOGPROBS)
        FAIL(e, INVALID, "logprobs must be between 0 and %d", LIMIT_TOP_LOGPROBS);
    job->logprobs = true;
    job->top_logprobs = (int32_t)n;
    return ERR_OK;
}

static err_code read_prompt(const json_t *body, str prompt, api_model *m, arena *mem,
                            engine_job_spec *job, err *e) {
    str suffix = {0};
    value *messages;
    TRY(field_str(body, "suffix", &suffix, e));
    if (suffix.len && !m->file.has_insert)
        FAIL(e, INVALID, STR_FMT " does not support insert",
             STR_ARG(store_name_full(mem, &m->stored.name)));
    TRY(request_messages(m, NULL, mem, &messages, e));
    value_push(mem, messages, request_message(mem, STR("user"), prompt));
    job->prompt.kind = ENGINE_PROMPT_MESSAGES;
    job->prompt.messages = messages;
    job->prompt.text = prompt;
    job->prompt.suffix = suffix;
    if (prompt.len == 0) job->kind = ENGINE_JOB_LOAD;
    return ERR_OK;
}

static err_code read_completion(const json_t *body, api_model *m, arena *mem, generation *g,
                                engine_job_spec *job, err *e) {
    const json_t *stream_options = NULL;
    int64_t n = 1;
    TRY(request_job(m, NULL, mem, job, e));
    TRY(openai_sampling(body, mem, &m->options, e));
    request_set_options(job, &m->options);
    TRY(read_logprobs(body, job, e));
    TRY(field_bool(body, "stream", &g->stream, e));
    TRY(field_object(body, "stream_options", &stream_options, e));
    if (stream_options) TRY(field_bool(stream_options, "include_usage", &g->include_usage, e));
    TRY(field_keep_alive(body, &job->keep_alive_set, &job->keep_alive_ns, e));
    TRY(field_i64(body, "n", &n, e));
    if (n < 1 || n > LIMIT_CHOICES)
        FAIL(e, INVALID, "n is %lld; it must be between 1 and %d", (long long)n, LIMIT_CHOICES);
    g->n_out = (size_t)n;
    return request_grammar(body, &job->format, e);
}

/* One request's prompts and the job of each; in the arena. */
typedef struct job_list {
    str *prompts;
    engine_tokens *ids; /* of a prompt that is none of text; else of length 0 */
    engine_job_spec *jobs;
    size_t n;
} job_list;

/* prompt[i] */
static err_code read_one(const json_t *v, size_t i, arena *mem, job_list *to, err *e) {
    char name[40];
    snprintf(name, sizeof name, "prompt[%zu]", i);
    if (json_is_array(v)) return request_ids(v, name, mem, &to->ids[i], e);
    if (!json_is_string(v))
        FAIL(e, INVALID, "%s must be a text or a list of tokens, not %s", name, json_type_name(v));
    to->prompts[i] = (str){json_string_value(v), json_string_length(v)};
    if (to->prompts[i].len == 0) FAIL(e, INVALID, "%s is empty", name);
    return ERR_OK;
}

/* `prompt`: a text or a list of tokens, or a list of such that say something. */
static err_code read_prompts(const json_t *body, arena *mem, job_list *ret, err *e) {
    const json_t *v = field_get(body, "prompt");
    bool tokens = json_is_integer(json_array_get(v, 0));
    size_t n = json_is_array(v) && !tokens ? json_array_size(v) : 1;
    if (n == 0 || n > LIMIT_CHOICES)
        FAIL(e, INVALID, "prompt is a list of %zu; 1 to %d are possible", n, LIMIT_CHOICES);
    *ret = (job_list){ARENA_ARRAY(mem, str, n), ARENA_ARRAY(mem, engine_tokens, n),
                      ARENA_ARRAY(mem, engine_job_spec, n), n};
    if (tokens) return request_ids(v, "prompt", mem, &ret->ids[0], e);
    if (!json_is_array(v)) return field_str(body, "prompt", &ret->prompts[0], e);
    for (size_t i = 0; i < n; i++) TRY(read_one(json_array_get(v, i), i, mem, ret, e));
    return ERR_OK;
}

/* Tokens go to the model as they are, without a template. */
static err_code read_tokens(const json_t *body, const engine_tokens *ids, engine_job_spec *job,
                            err *e) {
    str suffix = {0};
    TRY(field_str(body, "suffix", &suffix, e));
    if (suffix.len) FAIL(e, INVALID, "suffix: it goes with a prompt of text, not of tokens");
    job->prompt.kind = ENGINE_PROMPT_RAW;
    job->prompt.context = ids->ids;
    job->prompt.n_context = ids->n;
    return ERR_OK;
}

/* A job for each prompt, which differ in nothing else. */
static err_code read_jobs(const json_t *body, api_model *m, arena *mem, generation *g, job_list *l,
                          err *e) {
    TRY(read_completion(body, m, mem, g, &l->jobs[0], e));
    for (size_t i = 1; i < l->n; i++) l->jobs[i] = l->jobs[0];
    for (size_t i = 0; i < l->n; i++)
        TRY(l->ids[i].n ? read_tokens(body, &l->ids[i], &l->jobs[i], e)
                        : read_prompt(body, l->prompts[i], m, mem, &l->jobs[i], e));
    if (l->jobs[0].kind == ENGINE_JOB_LOAD) g->n_out = 1;
    if (g->n_out * l->n > LIMIT_CHOICES)
        FAIL(e, INVALID, "n is %zu for each of %zu prompts; %d answers are possible in all",
             g->n_out, l->n, LIMIT_CHOICES);
    return ERR_OK;
}

void openai_completions(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = openai_body(r);
    generation g = {.d = &COMPLETIONS, .content_type = "text/event-stream"};
    arena *mem = http_request_arena(r);
    api_model m;
    job_list list = {0};
    err e;
    if (!body) return;
    if (field_str(body, "model", &g.model, &e) || read_prompts(body, mem, &list, &e)) {
        openai_reply_err(r, &e);
        return;
    }
    if (!openai_find_model(a, r, g.model, &m)) return;
    if (!api_model_can(&m, "completion"))
        err_set(&e, ERR_INVALID, "\"" STR_FMT "\" does not support generate", STR_ARG(g.model));
    else if (read_jobs(body, &m, mem, &g, &list, &e) == ERR_OK) {
        dialect_id(g.id, sizeof g.id, "cmpl-", 10, 9);
        generation_start_each(a, r, &g, list.jobs, list.n);
        return;
    }
    openai_reply_err(r, &e);
}
