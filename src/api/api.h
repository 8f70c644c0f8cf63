/* The HTTP surfaces: what every handler shares, and the one table of routes.
 *
 * A handler parses its request, resolves the model in the store, fills an engine job and answers:
 * the only place where wire formats and structs meet. Files: one per surface (ollama_*.c,
 * openai.c). Threads: handlers run on HTTP threads at the same time; what is here is read-only
 * after start. */
#pragma once
#include "engine/engine.h"
#include "http/http.h"
#include "store/store.h"

struct comfy;
struct pump;
struct registry;
struct tasks;

typedef struct api {
    engine *eng;
    store *store;
    struct pump *pump;
    struct tasks *tasks;
    struct registry *registry;
    struct comfy *pictures; /* NULL: switched off */
    const char *in_place;   /* directories whose files models may use in place, colon list; "*" */
    const char *version;
} api;

/* The chat API's routes (ctx is an api *); *ret_n of them. */
const http_route *api_chat_routes(size_t *ret_n);

/* Parses the request's body as an object. On failure it has answered 400 and returns NULL; the
 * object is freed with the request. */
const json_t *api_body(http_request *r);
/* The same of a text, for dialects with errors of their own; the object ends with the arena. */
err_code api_read_body(str text, arena *mem, json_t **ret, err *e);

/* {"error": text} with a status, and the same for an err. */
void api_reply_error(http_request *r, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void api_reply_err(http_request *r, const err *e);

/* 200 with this object; takes the reference. */
void api_reply_json(http_request *r, json_t *body);

/* Handlers, by file. */
void ollama_root(http_request *r, void *ctx);
void ollama_version(http_request *r, void *ctx);
void ollama_health(http_request *r, void *ctx);
void ollama_tags(http_request *r, void *ctx);
void ollama_ps(http_request *r, void *ctx);
void ollama_show(http_request *r, void *ctx);
void ollama_copy(http_request *r, void *ctx);
void ollama_delete(http_request *r, void *ctx);
void ollama_create(http_request *r, void *ctx);
void ollama_pull(http_request *r, void *ctx);
void ollama_push(http_request *r, void *ctx);
void ollama_blob_head(http_request *r, void *ctx);
void ollama_blob_post(http_request *r, void *ctx);
extern const http_sink ollama_blob_sink;
void ollama_generate(http_request *r, void *ctx);
void ollama_chat(http_request *r, void *ctx);
void ollama_embed(http_request *r, void *ctx);
void ollama_embeddings(http_request *r, void *ctx);
void openai_models(http_request *r, void *ctx);
void openai_model(http_request *r, void *ctx);
void openai_chat(http_request *r, void *ctx);
void openai_completions(http_request *r, void *ctx);
void openai_responses(http_request *r, void *ctx);
void openai_embeddings(http_request *r, void *ctx);
void openai_transcriptions(http_request *r, void *ctx);
void anthropic_messages(http_request *r, void *ctx);
void anthropic_count_tokens(http_request *r, void *ctx);
void ollama_tokenize(http_request *r, void *ctx);
void ollama_detokenize(http_request *r, void *ctx);
void ollama_queue(http_request *r, void *ctx);
void ollama_estimate(http_request *r, void *ctx);
void ollama_pin(http_request *r, void *ctx);
void ollama_unload(http_request *r, void *ctx);
void ollama_me(http_request *r, void *ctx);
void ollama_status(http_request *r, void *ctx);
void ollama_recommendations(http_request *r, void *ctx);
void ollama_web(http_request *r, void *ctx);
void openai_image_generations(http_request *r, void *ctx);
void openai_image_edits(http_request *r, void *ctx);
