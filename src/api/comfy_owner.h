/* Whose a picture job is, when accounts are asked for: on the web listener, and on the picture
 * listener where it wants keys. Everything of a user lies in folders that bear their id, and their
 * jobs and sockets are told apart by it. Without an account nothing is kept apart. Threads: any. */
#pragma once
#include "api/comfy.h"
#include "store/image_jobs.h"

str comfy_owner(const http_request *r); /* a user's id; empty without an account */
/* The session or key that a stream was opened with, and which ends it. */
typedef struct comfy_pass {
    char user_id[40], grant_id[40]; /* empty without an account */
    int64_t expires_ms;             /* wall clock; 0 = never */
} comfy_pass;
comfy_pass comfy_pass_of(const http_request *r);
/* Opened with this session or key, or (others) with another one of the user's. */
bool comfy_pass_is(const comfy_pass *p, str user_id, str grant_id, bool others);
bool comfy_pass_over(const comfy_pass *p, int64_t now_ms);
/* The job, if the asker may see it; NOT_FOUND. */
err_code comfy_find_own(comfy *c, http_request *r, str id, image_job *ret, err *e);
/* What a client calls itself, told apart from another user's client of the same name. */
str comfy_own_client(arena *a, str owner, str client_id);
/* Whether a folder of output or input is the owner's, or nobody's for an administrator. */
bool comfy_own_folder(const http_request *r, str subfolder);
str comfy_folder_of(arena *a, str owner, str subfolder); /* the owner's folder, or one in it */
/* A graph's files go into the owner's folder; false when it names another user's. */
bool comfy_own_graph(json_t *graph, str owner);
