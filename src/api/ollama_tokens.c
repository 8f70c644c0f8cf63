/* POST /api/tokenize and /api/detokenize: a model's own tokens, without loading it.
 *
 * {"model", "content"} -> {"model", "tokens", "count", "total_duration"} and back. `messages` (with
 * tools and think) instead of content goes through the chat template: what a chat will read. */
#include "api/dialect.h"
#include "api/fields.h"
#include "api/slow.h"
#include "base/clock.h"
#include "base/limits.h"
#include "engine/report.h"
#include "http/json.h"

static json_t *native_error(const char *message) {
    return json_pack("{s:o}", "error", dialect_text(str_from(message)));
}

static err_code find_model(slow *s, const json_t *body, api_model *ret, err *e) {
    str name = {0};
    TRY(field_model(body, &name, e));
    if (name.len == 0) FAIL(e, INVALID, "model is required");
    err_code code = api_model_find(s->a, name, s->mem, ret, e);
    if (code == ERR_NOT_FOUND) FAIL(e, NOT_FOUND, "model '" STR_FMT "' not found", STR_ARG(name));
    return code;
}

static void reply_err(slow *s, const err *e) {
    slow_reply(s, err_http_status(e->code), native_error(e->msg));
}

/* ---- tokenize ---- */

/* `content`; "text" and "prompt" are what other servers call it. */
static err_code read_content(const json_t *body, engine_prompt *p, err *e) {
    TRY(field_str(body, "prompt", &p->text, e));
    TRY(field_str(body, "text", &p->text, e));
    TRY(field_str(body, "content", &p->text, e));
    bool any = field_get(body, "content") || field_get(body, "text") || field_get(body, "prompt");
    if (!any) FAIL(e, INVALID, "content is required: the text, or messages instead");
    return ERR_OK;
}

static err_code read_messages(const json_t *body, const api_model *m, arena *mem, engine_prompt *p,
                              err *e) {
    const json_t *messages = NULL, *tools = NULL;
    value *list;
    TRY(field_array(body, "messages", &messages, e));
    TRY(field_array(body, "tools", &tools, e));
    TRY(dialect_take_tools(m, tools, mem, p, e));
    TRY(request_think(body, m, p, e));
    TRY(request_messages(m, messages, mem, &list, e));
    p->kind = ENGINE_PROMPT_MESSAGES;
    p->messages = list;
    p->template_text = m->template_text;
    return ERR_OK;
}

static json_t *ids_array(const engine_tokens *t) {
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++) json_array_append_new(list, json_integer(t->ids[i]));
    return list;
}

static json_t *pieces_array(const engine_tokens *t) {
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++) json_array_append_new(list, dialect_text(t->pieces[i]));
    return list;
}

static err_code tokenize(slow *s, json_t **ret, err *e) {
    int64_t from = clock_mono_ns();
    json_t *body = NULL;
    api_model m;
    engine_prompt p = {.kind = ENGINE_PROMPT_RAW};
    engine_tokens got;
    bool add = false, special = true, pieces = false;
    TRY(api_read_body(s->body, s->mem, &body, e));
    TRY(find_model(s, body, &m, e));
    TRY(field_bool(body, "add_special", &add, e));
    TRY(field_bool(body, "parse_special", &special, e));
    TRY(field_bool(body, "with_pieces", &pieces, e));
    bool chat = field_get(body, "messages") != NULL;
    if (chat)
        TRY(read_messages(body, &m, s->mem, &p, e));
    else
        TRY(read_content(body, &p, e));
    unsigned flags =
        (add || chat ? ENGINE_TOKENIZE_ADD : 0) | (special ? ENGINE_TOKENIZE_SPECIAL : 0);
    TRY(engine_tokenize(m.engine.path, &p, flags, s->mem, &got, e));
    *ret = json_pack("{s:o, s:o, s:I}", "model", dialect_text(m.stored.display), "tokens",
                     ids_array(&got), "count", (json_int_t)got.n);
    if (pieces) json_object_set_new(*ret, "pieces", pieces_array(&got));
    json_object_set_new(*ret, "total_duration", json_integer(clock_mono_ns() - from));
    return ERR_OK;
}

static void run_tokenize(slow *s) {
    json_t *answer;
    err e;
    if (tokenize(s, &answer, &e))
        reply_err(s, &e);
    else
        slow_reply(s, 200, answer);
}

void ollama_tokenize(http_request *r, void *ctx) {
    slow_start(ctx, r, run_tokenize);
}

/* ---- detokenize ---- */

static err_code read_ids(const json_t *body, arena *mem, engine_tokens *ret, err *e) {
    const json_t *list = NULL, *v;
    size_t i;
    TRY(field_array(body, "tokens", &list, e));
    if (!list) FAIL(e, INVALID, "tokens is required: a list of numbers");
    int32_t *ids = ARENA_ARRAY(mem, int32_t, json_array_size(list) + 1);
    json_array_foreach(list, i, v) {
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            FAIL(e, INVALID, "tokens[%zu] is not a token", i);
        ids[i] = (int32_t)json_integer_value(v);
    }
    *ret = (engine_tokens){.ids = ids, .n = json_array_size(list)};
    return ERR_OK;
}

static err_code detokenize(slow *s, json_t **ret, err *e) {
    int64_t from = clock_mono_ns();
    json_t *body = NULL;
    api_model m;
    engine_tokens in;
    bool special = true;
    str text;
    TRY(api_read_body(s->body, s->mem, &body, e));
    TRY(find_model(s, body, &m, e));
    TRY(field_bool(body, "special", &special, e));
    TRY(read_ids(body, s->mem, &in, e));
    TRY(engine_detokenize(m.engine.path, &in, special, s->mem, &text, e));
    *ret = json_pack("{s:o, s:o, s:I}", "model", dialect_text(m.stored.display), "content",
                     dialect_text(text), "total_duration", (json_int_t)(clock_mono_ns() - from));
    return ERR_OK;
}

static void run_detokenize(slow *s) {
    json_t *answer;
    err e;
    if (detokenize(s, &answer, &e))
        reply_err(s, &e);
    else
        slow_reply(s, 200, answer);
}

void ollama_detokenize(http_request *r, void *ctx) {
    slow_start(ctx, r, run_detokenize);
}
