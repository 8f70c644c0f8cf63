/* Requests on threads of their own. See slow.h. */
#include "api/slow.h"
#include "api/tasks.h"
#include "http/stream.h"

static void run(void *arg) {
    slow *s = arg;
    s->fn(s);
    http_stream_destroy(&s->out);
    arena_destroy(&s->mem);
    mem_free(s);
}

void slow_start(api *a, http_request *r, void (*fn)(slow *s)) {
    slow *s = NEW(slow);
    s->a = a;
    s->fn = fn;
    s->mem = arena_create(0);
    s->body = str_dup(s->mem, http_request_body(r));
    s->out = http_stream_create(r, "application/json; charset=utf-8", NULL, NULL);
    tasks_run(a->tasks, run, s);
}

void slow_reply(slow *s, int status, json_t *body) {
    http_stream_reply_json(s->out, status, body);
    json_decref(body);
}
