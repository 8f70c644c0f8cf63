/* The picture API (ComfyUI's classic API, API v2), second of the HTTP surfaces.
 *
 * One `comfy` for the process: folders, the database, the queue thread (comfy_queue.h) and the
 * clients' sockets (comfy_hub.h). Handlers are in comfy_*.c, one file per group of routes; their
 * ctx is a comfy *. Lock order: queue, hub, then a socket's own. Threads: handlers run on HTTP
 * threads at the same time; what is here is read-only after start. */
#pragma once
#include "api/api.h"
#include "store/db.h"
#include "store/folders.h"

struct comfy_hub;
struct comfy_queue;
struct comfy_v2;
struct comfy_watches;

typedef struct comfy {
    engine *eng;
    db *db;
    folders *dirs;
    struct comfy_hub *hub;
    struct comfy_queue *queue;
    struct comfy_v2 *v2;
    struct comfy_watches *watches;
    const char *version;        /* of ComfyUI's API that clients may expect */
    const char *preview_method; /* where a prompt does not say: "none", "latent2rgb", "taesd" */
    const char *web_dir;        /* a front end's files, or NULL */
    _Atomic int64_t n_steps;    /* of samplers, since the start */
    _Atomic int64_t n_pictures; /* saved ones, since the start */
} comfy;

typedef struct comfy_config {
    engine *eng;
    db *db;                     /* borrowed */
    folders *dirs;              /* borrowed: the engine uses them too, and ends later */
    const char *preview_method; /* NULL = none */
    const char *web_dir;        /* a directory with a front end's files; NULL = none */
    bool no_metadata;           /* pictures are saved without their workflow */
} comfy_config;

err_code comfy_create(const comfy_config *c, comfy **ret, err *e);
/* Ends the running job (it stays in the database and starts again) and answers who waits; before
 * the HTTP servers end. NULL allowed. */
void comfy_stop(comfy *c);
/* After the HTTP servers ended, before the engine does. */
void comfy_destroy(comfy **c);

const http_route *comfy_routes(size_t *ret_n); /* answer below "/api" too */

/* ---- what handlers share ---- */

/* Answers with JSON as ComfyUI writes it; takes the reference. */
void comfy_reply(http_request *r, int status, json_t *body);
void comfy_reply_empty(http_request *r, int status);
void comfy_reply_err(http_request *r, const err *e); /* {"error": text} with the code's status */
/* The body as JSON: NULL when it is absent or malformed (then *e says why). Freed with the
 * request. */
json_t *comfy_body(http_request *r, err *e);
void comfy_defer_json(arena *a, json_t *v);
/* Compact text of a JSON value, in the arena. */
str comfy_json_text(arena *a, const json_t *v);
/* A text from the database; NULL text or a broken one gives `fallback`, whose reference is taken.
 */
json_t *comfy_json_read(str text, json_t *fallback);
json_t *comfy_str(str s);        /* JSON string; bytes that are not UTF-8 become U+FFFD */
str comfy_text(const json_t *v); /* of a string; else empty */
/* A new random UUID (version 4), lower-case, and whether a text is one in that form. */
str comfy_uuid(arena *a);
bool comfy_is_uuid(str s);
int64_t comfy_now_ms(void);
bool comfy_flag(str query, bool fallback); /* "true", "1", "yes", "on" */
/* A media type by file name; "application/octet-stream" when unknown. */
const char *comfy_mime(str name);

/* Handlers, by file. */
#define COMFY_HANDLER(name) void name(http_request *r, void *ctx)
COMFY_HANDLER(comfy_prompt_post); /* comfy_prompt.c */
COMFY_HANDLER(comfy_prompt_get);
COMFY_HANDLER(comfy_queue_get);
COMFY_HANDLER(comfy_queue_post);
COMFY_HANDLER(comfy_history_all);
COMFY_HANDLER(comfy_history_one);
COMFY_HANDLER(comfy_history_post);
COMFY_HANDLER(comfy_interrupt);
COMFY_HANDLER(comfy_free);
COMFY_HANDLER(comfy_ws);        /* comfy_hub.c */
COMFY_HANDLER(comfy_jobs_list); /* comfy_jobs.c */
COMFY_HANDLER(comfy_jobs_one);
COMFY_HANDLER(comfy_jobs_cancel_one);
COMFY_HANDLER(comfy_jobs_cancel);
COMFY_HANDLER(comfy_object_info); /* comfy_models.c */
COMFY_HANDLER(comfy_object_info_one);
COMFY_HANDLER(comfy_embeddings);
COMFY_HANDLER(comfy_models);
COMFY_HANDLER(comfy_models_of);
COMFY_HANDLER(comfy_experiment_models);
COMFY_HANDLER(comfy_experiment_models_of);
COMFY_HANDLER(comfy_model_preview);
COMFY_HANDLER(comfy_view_metadata);
COMFY_HANDLER(comfy_folder_paths);
COMFY_HANDLER(comfy_view); /* comfy_files.c */
COMFY_HANDLER(comfy_upload_image);
COMFY_HANDLER(comfy_upload_mask);
COMFY_HANDLER(comfy_internal_files);
COMFY_HANDLER(comfy_system_stats); /* comfy_system.c */
COMFY_HANDLER(comfy_features);
COMFY_HANDLER(comfy_root);
COMFY_HANDLER(comfy_extensions);
COMFY_HANDLER(comfy_empty_object);
COMFY_HANDLER(comfy_static_file);
COMFY_HANDLER(comfy_logs);
COMFY_HANDLER(comfy_logs_raw);
COMFY_HANDLER(comfy_logs_subscribe);
COMFY_HANDLER(comfy_assets_off);
COMFY_HANDLER(comfy_users_get); /* comfy_user.c */
COMFY_HANDLER(comfy_users_post);
COMFY_HANDLER(comfy_settings_get);
COMFY_HANDLER(comfy_settings_post);
COMFY_HANDLER(comfy_setting_get);
COMFY_HANDLER(comfy_setting_post);
COMFY_HANDLER(comfy_userdata_list); /* comfy_userdata.c */
COMFY_HANDLER(comfy_userdata_v2);
COMFY_HANDLER(comfy_userdata_get);
COMFY_HANDLER(comfy_userdata_post);
COMFY_HANDLER(comfy_userdata_delete);
COMFY_HANDLER(comfy_userdata_move);
COMFY_HANDLER(comfy_v2_asset_post); /* comfy_v2_assets.c */
COMFY_HANDLER(comfy_v2_asset_from_hash);
COMFY_HANDLER(comfy_v2_asset_by_hash);
COMFY_HANDLER(comfy_v2_asset_get);
COMFY_HANDLER(comfy_v2_asset_delete);
COMFY_HANDLER(comfy_v2_asset_content);
COMFY_HANDLER(comfy_v2_job_post); /* comfy_v2_jobs.c */
COMFY_HANDLER(comfy_v2_job_get);
COMFY_HANDLER(comfy_v2_job_workflow);
COMFY_HANDLER(comfy_v2_job_events);
COMFY_HANDLER(comfy_v2_job_cancel);
