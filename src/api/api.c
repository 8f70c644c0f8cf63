/* The table of routes and the few things every handler does. */
#include "api/api.h"
#include "api/dialect.h"
#include "http/json.h"
#include <stdarg.h>

static const http_route ROUTES[] = {
    {"GET", "/", ollama_root, NULL},
    {"HEAD", "/", ollama_root, NULL},
    {"GET", "/healthz", ollama_health, NULL},
    {"HEAD", "/api/version", ollama_version, NULL},
    {"GET", "/api/version", ollama_version, NULL},
    {"HEAD", "/api/tags", ollama_tags, NULL},
    {"GET", "/api/tags", ollama_tags, NULL},
    {"GET", "/api/ps", ollama_ps, NULL},
    {"POST", "/api/show", ollama_show, NULL},
    {"POST", "/api/copy", ollama_copy, NULL},
    {"DELETE", "/api/delete", ollama_delete, NULL},
    {"POST", "/api/create", ollama_create, NULL},
    {"POST", "/api/pull", ollama_pull, NULL},
    {"POST", "/api/push", ollama_push, NULL},
    {"HEAD", "/api/blobs/:digest", ollama_blob_head, NULL},
    {"POST", "/api/blobs/:digest", ollama_blob_post, &ollama_blob_sink},
    {"POST", "/api/generate", ollama_generate, NULL},
    {"POST", "/api/chat", ollama_chat, NULL},
    {"POST", "/api/embed", ollama_embed, NULL},
    {"POST", "/api/embeddings", ollama_embeddings, NULL},
    {"POST", "/api/tokenize", ollama_tokenize, NULL},
    {"POST", "/api/detokenize", ollama_detokenize, NULL},
    {"GET", "/api/queue", ollama_queue, NULL},
    {"POST", "/api/estimate", ollama_estimate, NULL},
    {"POST", "/api/pin", ollama_pin, NULL},
    {"POST", "/api/unload", ollama_unload, NULL},
    {"GET", "/api/status", ollama_status, NULL},
    {"POST", "/api/me", ollama_me, NULL},
    {"POST", "/api/signout", ollama_me, NULL},
    {"GET", "/api/experimental/model-recommendations", ollama_recommendations, NULL},
    {"POST", "/api/experimental/web_search", ollama_web, NULL},
    {"POST", "/api/experimental/web_fetch", ollama_web, NULL},
    {"GET", "/v1/models", openai_models, NULL},
    {"GET", "/v1/models/:model", openai_model, NULL},
    {"POST", "/v1/chat/completions", openai_chat, NULL},
    {"POST", "/v1/completions", openai_completions, NULL},
    {"POST", "/v1/responses", openai_responses, NULL},
    {"POST", "/v1/embeddings", openai_embeddings, NULL},
    {"POST", "/v1/messages", anthropic_messages, NULL},
    {"POST", "/v1/messages/count_tokens", anthropic_count_tokens, NULL},
    {"POST", "/v1/audio/transcriptions", openai_transcriptions, NULL},
    {"POST", "/v1/images/generations", openai_image_generations, NULL},
    {"POST", "/v1/images/edits", openai_image_edits, NULL},
};

const http_route *api_chat_routes(size_t *ret_n) {
    *ret_n = COUNT_OF(ROUTES);
    return ROUTES;
}

err_code api_read_body(str text, arena *mem, json_t **ret, err *e) {
    if (str_trim(text).len == 0) FAIL(e, INVALID, "missing request body");
    TRY(json_parse(text, ret, e));
    dialect_defer(mem, *ret);
    if (!json_is_object(*ret)) FAIL(e, INVALID, "the request body must be a JSON object");
    return ERR_OK;
}

const json_t *api_body(http_request *r) {
    json_t *body;
    err e;
    if (!api_read_body(http_request_body(r), http_request_arena(r), &body, &e)) return body;
    api_reply_err(r, &e);
    return NULL;
}

void api_reply_json(http_request *r, json_t *body) {
    http_reply_json(r, 200, body);
    json_decref(body);
}

void api_reply_error(http_request *r, int status, const char *fmt, ...) {
    buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vputf(&text, fmt, args);
    va_end(args);
    value note = {.kind = VALUE_STR, .as.text = buf_str(&text)};
    json_t *body = json_object();
    json_object_set_new(body, "error", json_from_value(&note));
    http_reply_json(r, status, body);
    json_decref(body);
    buf_finish(&text);
}

void api_reply_err(http_request *r, const err *e) {
    api_reply_error(r, err_http_status(e->code), "%s", e->msg);
}
