/* Answers in the making: the server owns a generation, whoever looks.
 *
 * A run belongs to an assistant's message that is in the database already. One thread moves the
 * engine's events to the chat's channel, several tokens together; another appends what was said to
 * the database, at most 300 ms later, and stores the end before it is told. Pictures are runs too:
 * their events come from the picture queue. Lock order: runs, then the hub. Threads: any. */
#pragma once
#include "api/web_chats.h"

err_code web_runs_create(web *w, struct web_runs **ret, err *e); /* recovers what was cut off */
/* What runs is interrupted: its text is kept. */
void web_runs_stop(struct web_runs *rs);
void web_runs_destroy(struct web_runs **rs);

typedef struct web_run_spec {
    str user_id, chat_id;
    const message *answer; /* as stored; with a text when it is to be continued */
    bool continues;
    const json_t *params;    /* options, "think", "keep_alive", "system"; NULL = none */
    const json_t *knowledge; /* list of ids, checked; NULL = none */
    str instruction;         /* said at the end of the system prompt; may be empty */
} web_run_spec;

/* BUSY: LIMIT_WEB_RUNS of the chat or LIMIT_WEB_USER_RUNS of the user. */
err_code web_run_start(web *w, const web_run_spec *s, err *e);
/* A picture whose job (of the message's id) is watched by the caller, who then feeds the run. */
err_code web_run_picture(web *w, const web_run_spec *s, err *e);
void web_run_picture_step(web *w, str message_id, int64_t done, int64_t total);
void web_run_picture_preview(web *w, str message_id, str bytes, const char *mime);
/* Tells pictures that wait which place they have now; about once a second. */
void web_run_picture_places(web *w);
/* `picture` NULL: unchanged. */
void web_run_picture_end(web *w, str message_id, const char *state, str error, str picture);

bool web_run_may(web *w, str user_id, str chat_id); /* there is room for one more */
/* True when it was running; the end is told as usual. Empty message: all of the chat's. */
bool web_run_cancel(web *w, str chat_id, str message_id);
bool web_run_is_live(web *w, str message_id);
/* Stops all of a chat's (or a user's) and forgets them: their rows are about to go. */
void web_run_forget(web *w, str user_id, str chat_id);

/* The chat's running messages as they are now, in `a`, together with the position of the hub that
 * they correspond to. */
typedef struct web_live {
    message *list;
    size_t n;
    str position;
} web_live;
void web_run_live(web *w, str chat_id, arena *a, web_live *ret);

/* A title from the first exchange, in the background. */
void web_run_title(web *w, str user_id, str chat_id, bool asked);
