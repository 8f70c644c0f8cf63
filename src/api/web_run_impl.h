/* Inside web_run.c and web_prompt.c: a run and the list of them. Everything but the threads' own
 * wake-up is under `lock`. */
#pragma once
#include "api/web_run.h"
#include "base/vec.h"
#include "engine/engine.h"
#include <pthread.h>

typedef struct web_run {
    struct web_run *next;
    struct web_runs *rs;
    char id[40], chat_id[40], user_id[40], parent_id[40]; /* id: of the message */
    arena *mem;
    str model, instruction;
    json_t *params, *knowledge, *sources, *usage;
    int64_t created_ms;
    bool continues;
    bool preparing; /* a task still holds it */
    bool cancelled, forgotten, over;
    bool cancel_picture;
    const char *state; /* a literal */
    const char *end;   /* a literal, once it is known how it ends */
    char *error, *picture;
    int64_t n_done, n_total;
    engine_stream *events;
    buf content, thinking;
    size_t sent_content, sent_thinking, saved_content, saved_thinking;
    int64_t first_ns, think_ns, thinking_ms, rate_ms, n_tokens;
} web_run;

struct web_runs {
    web *w;
    pthread_mutex_t lock;
    web_run *list;
    pthread_cond_t save; /* with lock: something is over, or the first one came */
    bool stop;
    bool cancel_pictures;
    pthread_mutex_t bell;
    pthread_cond_t wake; /* with bell: events may have come */
    bool rung, quit;
    pthread_t streamer, saver;
    int n_threads;
};

void web_run_ring(void *rs);
void web_run_set_state(struct web_runs *rs, web_run *r, const char *state, int64_t done,
                       int64_t total);                          /* locked */
void web_run_message(const web_run *r, arena *a, message *ret); /* locked */

/* web_prompt.c: gathers what the model is to read and hands it to the engine. A task. */
void web_run_prepare(void *run);
