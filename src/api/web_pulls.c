/* A list of pulls, each a task; ended ones stay for a while to be seen. */
#include "api/web_pulls.h"
#include "api/tasks.h"
#include "api/web_events.h"
#include "api/web_handlers.h"
#include "base/clock.h"
#include "base/limits.h"
#include "registry/registry.h"
#include <pthread.h>
#include <string.h>

enum { LAYERS = 64, TELL_MS = 200, KEPT = 32, AT_ONCE = 8 };

typedef struct pull {
    struct pull *next;
    web *w;
    char id[40], user_id[40];
    char model[LIMIT_NAME_BYTES + 1], status[160], digest[80];
    char *error;
    struct {
        char digest[80];
        uint64_t done, total;
    } layers[LAYERS];
    size_t n_layers;
    bool done, cancelled;
    int64_t told_ms;
} pull;

struct web_pulls {
    pthread_mutex_t lock;
    pull *list;
    size_t n;
    bool stop;
};

struct web_pulls *web_pulls_create(void) {
    struct web_pulls *p = NEW(struct web_pulls);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void web_pulls_stop(struct web_pulls *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_mutex_unlock(&p->lock);
}

static void pull_destroy(pull *x) {
    mem_free(x->error);
    mem_free(x);
}

void web_pulls_destroy(struct web_pulls **pp) {
    if (!pp || !*pp) return;
    for (pull *x = (*pp)->list, *next; x; x = next) {
        next = x->next;
        pull_destroy(x);
    }
    pthread_mutex_destroy(&(*pp)->lock);
    mem_free(*pp);
    *pp = NULL;
}

static void copy(char *to, size_t n_max, str s) {
    size_t n = s.len < n_max - 1 ? s.len : n_max - 1;
    if (n) memcpy(to, s.ptr, n);
    to[n] = '\0';
}

/* Locked. */
static json_t *pull_json(const pull *x) {
    uint64_t done = 0, total = 0;
    for (size_t i = 0; i < x->n_layers; i++) {
        done += x->layers[i].done;
        total += x->layers[i].total;
    }
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(str_from(x->id)));
    json_object_set_new(o, "model", comfy_str(str_from(x->model)));
    json_object_set_new(o, "status", comfy_str(str_from(x->status)));
    json_object_set_new(o, "completed", json_integer((json_int_t)done));
    json_object_set_new(o, "total", json_integer((json_int_t)total));
    json_object_set_new(o, "percent",
                        json_integer(total ? (json_int_t)((double)done * 100 / (double)total) : 0));
    json_object_set_new(o, "done", json_boolean(x->done));
    json_object_set_new(o, "error", x->error ? comfy_str(str_from(x->error)) : json_null());
    return o;
}

/* Locked. */
static void tell(pull *x) {
    x->told_ms = clock_mono_ns() / NS_PER_MS;
    web_hub_user(x->w->hub, str_from(x->user_id), "pull", pull_json(x));
}

static bool on_line(void *arg, const char *status, str digest, uint64_t done, uint64_t total) {
    pull *x = arg;
    struct web_pulls *p = x->w->pulls;
    pthread_mutex_lock(&p->lock);
    bool fresh = strcmp(x->status, status) != 0;
    copy(x->status, sizeof x->status, str_from(status));
    size_t i = 0;
    while (digest.len && i < x->n_layers && !str_eq(str_from(x->layers[i].digest), digest)) i++;
    if (digest.len && total && i < LAYERS) {
        if (i == x->n_layers)
            copy(x->layers[x->n_layers++].digest, sizeof x->layers[0].digest, digest);
        x->layers[i].done = done;
        x->layers[i].total = total;
    }
    if (fresh || clock_mono_ns() / NS_PER_MS - x->told_ms >= TELL_MS) tell(x);
    bool go_on = !x->cancelled && !p->stop;
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

static void run(void *arg) {
    pull *x = arg;
    web *w = x->w;
    err e = {0};
    registry_report lines = {on_line, x};
    err_code code = registry_pull(w->chat->registry, str_from(x->model), false, &lines, &e);
    pthread_mutex_lock(&w->pulls->lock);
    x->done = true;
    if (code && x->cancelled)
        copy(x->status, sizeof x->status, STR("cancelled"));
    else
        copy(x->status, sizeof x->status, code ? STR("failed") : STR("success"));
    if (code && !x->cancelled) x->error = mem_dup(e.msg, strlen(e.msg) + 1);
    tell(x);
    web_hub_user(w->hub, str_from(x->user_id), "models", json_object());
    pthread_mutex_unlock(&w->pulls->lock);
}

/* Locked. The oldest ended ones make room. */
static void forget_old(struct web_pulls *p) {
    for (size_t i = 0; p->n >= KEPT && i < KEPT; i++) {
        pull **at = &p->list, **oldest = NULL;
        for (; *at; at = &(*at)->next)
            if ((*at)->done) oldest = at;
        if (!oldest) return;
        pull *x = *oldest;
        *oldest = x->next;
        pull_destroy(x);
        p->n--;
    }
}

/* ---- routes ---- */

void web_pulls_list(http_request *r, void *ctx) {
    web *w = ctx;
    json_t *out = json_array();
    pthread_mutex_lock(&w->pulls->lock);
    for (pull *x = w->pulls->list; x; x = x->next)
        if (str_eq(str_from(x->user_id), web_user_id(r))) json_array_append_new(out, pull_json(x));
    pthread_mutex_unlock(&w->pulls->lock);
    web_reply(r, out);
}

void web_pull_add(http_request *r, void *ctx) {
    web *w = ctx;
    struct web_pulls *p = w->pulls;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    str model = {0};
    store_name parsed;
    if (!body || !web_text(r, body, "model", LIMIT_NAME_BYTES, &model)) return;
    if (!store_name_parse(a, model, &parsed)) {
        web_fail(r, 400, "\"" STR_FMT "\" is not the name of a model", STR_ARG(model));
        return;
    }
    size_t n_live = 0;
    pthread_mutex_lock(&p->lock);
    for (pull *x = p->list; x; x = x->next) n_live += !x->done;
    if (n_live >= AT_ONCE || p->stop) {
        pthread_mutex_unlock(&p->lock);
        web_fail(r, 429, "%d models are being pulled already", AT_ONCE);
        return;
    }
    forget_old(p);
    pull *x = NEW(pull);
    x->w = w;
    copy(x->id, sizeof x->id, comfy_uuid(a));
    copy(x->user_id, sizeof x->user_id, web_user_id(r));
    copy(x->model, sizeof x->model, model);
    copy(x->status, sizeof x->status, STR("starting"));
    x->next = p->list;
    p->list = x;
    p->n++;
    tell(x);
    json_t *o = pull_json(x);
    pthread_mutex_unlock(&p->lock);
    tasks_run(w->chat->tasks, run, x);
    web_reply(r, o);
}

void web_pull_delete(http_request *r, void *ctx) {
    web *w = ctx;
    str id = http_request_param(r, "pull");
    bool found = false;
    pthread_mutex_lock(&w->pulls->lock);
    for (pull *x = w->pulls->list; x; x = x->next) {
        if (!str_eq(str_from(x->id), id) || !str_eq(str_from(x->user_id), web_user_id(r))) continue;
        x->cancelled = true;
        found = true;
    }
    pthread_mutex_unlock(&w->pulls->lock);
    if (found)
        web_reply(r, json_true());
    else
        web_fail(r, 404, "there is no such pull");
}
