/* The list of runs and its two threads: see web_run.h. */
#include "api/web_run.h"
#include "api/tasks.h"
#include "api/web_events.h"
#include "api/web_picture.h"
#include "api/web_run_impl.h"
#include "api/web_title.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/json.h"
#include "store/image_jobs.h"
#include <string.h>

enum { TICK_MS = 35, SAVE_MS = 250, RATE_MS = 500 };

static int64_t now_ms(void) {
    return clock_mono_ns() / NS_PER_MS;
}

/* ---- what is said ---- */

static json_t *about(const web_run *r) {
    json_t *o = json_object();
    json_object_set_new(o, "message_id", comfy_str(str_from(r->id)));
    return o;
}

static void tell(struct web_runs *rs, const web_run *r, const char *event, json_t *data) {
    web_hub_chat(rs->w->hub, str_from(r->chat_id), event, data);
}

void web_run_set_state(struct web_runs *rs, web_run *r, const char *state, int64_t done,
                       int64_t total) {
    bool same = strcmp(r->state, state) == 0;
    if (same && r->n_done == done && r->n_total == total) return;
    r->state = state;
    r->n_done = done;
    r->n_total = total;
    json_t *o = about(r);
    json_object_set_new(o, "state", json_string(state));
    json_object_set_new(o, "done", json_integer(done));
    json_object_set_new(o, "total", json_integer(total));
    if (total > 0 && strcmp(state, "queued") != 0)
        json_object_set_new(o, "percent",
                            json_integer((json_int_t)((double)done * 100 / (double)total)));
    tell(rs, r, "state", o);
}

/* Text that was not sent yet, whole characters only. */
static void send_delta(struct web_runs *rs, web_run *r, buf *text, size_t *sent, const char *key) {
    str fresh = {text->ptr + *sent, text->len - *sent};
    fresh.len -= str_utf8_partial(fresh);
    if (fresh.len == 0) return;
    json_t *o = about(r);
    json_object_set_new(o, key, comfy_str(fresh));
    *sent += fresh.len;
    tell(rs, r, "delta", o);
}

static void send_rate(struct web_runs *rs, web_run *r, int64_t now) {
    if (r->n_tokens < 2 || now - r->rate_ms < RATE_MS) return;
    double seconds = (double)(clock_mono_ns() - r->first_ns) / 1e9;
    r->rate_ms = now;
    json_t *o = about(r);
    json_object_set_new(o, "tokens", json_integer(r->n_tokens));
    json_object_set_new(o, "tokens_per_s",
                        json_real(seconds > 0 ? (double)(r->n_tokens - 1) / seconds : 0));
    tell(rs, r, "rate", o);
}

static void flush(struct web_runs *rs, web_run *r, int64_t now) {
    send_delta(rs, r, &r->thinking, &r->sent_thinking, "thinking");
    send_delta(rs, r, &r->content, &r->sent_content, "text");
    send_rate(rs, r, now);
}

/* ---- the engine's events ---- */

static void set_error(web_run *r, const char *state, const char *text) {
    r->end = state;
    mem_free(r->error);
    r->error = mem_dup(text, strlen(text) + 1);
}

static void set_usage(web_run *r, const engine_event *ev) {
    json_t *u = json_object();
    double seconds = (double)ev->eval_ns / 1e9;
    json_object_set_new(u, "prompt_tokens", json_integer(ev->n_prompt_tokens));
    json_object_set_new(u, "cached_tokens", json_integer(ev->n_cached_tokens));
    json_object_set_new(u, "completion_tokens", json_integer(ev->n_eval_tokens));
    json_object_set_new(u, "load_ms", json_integer(ev->load_ns / NS_PER_MS));
    json_object_set_new(u, "prompt_ms", json_integer(ev->prompt_ns / NS_PER_MS));
    json_object_set_new(u, "eval_ms", json_integer(ev->eval_ns / NS_PER_MS));
    json_object_set_new(u, "total_ms", json_integer(ev->total_ns / NS_PER_MS));
    json_object_set_new(u, "tokens_per_s",
                        json_real(seconds > 0 ? (double)ev->n_eval_tokens / seconds : 0));
    json_object_set_new(u, "reason",
                        json_string(ev->reason == ENGINE_DONE_LENGTH ? "length" : "stop"));
    json_decref(r->usage);
    r->usage = u;
}

static void take_text(struct web_runs *rs, web_run *r, const engine_event *ev) {
    bool thinks = ev->channel == ENGINE_CHANNEL_THINKING;
    if (r->first_ns == 0) r->first_ns = clock_mono_ns();
    if (thinks && r->think_ns == 0) r->think_ns = clock_mono_ns();
    if (!thinks && r->think_ns && !r->thinking_ms)
        r->thinking_ms = (clock_mono_ns() - r->think_ns) / NS_PER_MS;
    if (ev->n_eval_tokens > r->n_tokens) r->n_tokens = ev->n_eval_tokens;
    web_run_set_state(rs, r, thinks ? "thinking" : "writing", 0, 0);
    buf_put_str(thinks ? &r->thinking : &r->content, ev->text);
    if (r->content.len + r->thinking.len > LIMIT_WEB_ANSWER_BYTES) {
        set_error(r, "failed", "the answer is too long");
        engine_stream_cancel(r->events);
    }
}

static void take_event(struct web_runs *rs, web_run *r, const engine_event *ev) {
    switch ((int)ev->kind) {
    case ENGINE_EVENT_QUEUED:
        web_run_set_state(rs, r, "queued", ev->n_done, ev->n_total);
        break;
    case ENGINE_EVENT_LOADING:
        web_run_set_state(rs, r, "loading", ev->n_done, ev->n_total);
        break;
    case ENGINE_EVENT_PROMPT:
        web_run_set_state(rs, r, "reading", ev->n_done, ev->n_total);
        break;
    case ENGINE_EVENT_TEXT:
        take_text(rs, r, ev);
        break;
    case ENGINE_EVENT_DONE:
        set_usage(r, ev);
        if (!r->end) r->end = "done";
        break;
    case ENGINE_EVENT_ERROR:
        if (r->end) break;
        if (ev->error.code == ERR_CANCELLED)
            r->end = r->cancelled ? "stopped" : "interrupted";
        else
            set_error(r, "failed", ev->error.msg);
        break;
    default:
        break;
    }
}

/* Locked. */
static void drain(struct web_runs *rs, web_run *r) {
    engine_event ev;
    while (r->events && !r->over && engine_stream_next(r->events, &ev)) {
        take_event(rs, r, &ev);
        r->over = ev.kind == ENGINE_EVENT_DONE || ev.kind == ENGINE_EVENT_ERROR;
    }
    flush(rs, r, now_ms());
    if (r->over) pthread_cond_signal(&rs->save);
}

void web_run_ring(void *arg) {
    struct web_runs *rs = arg;
    pthread_mutex_lock(&rs->bell);
    rs->rung = true;
    pthread_cond_signal(&rs->wake);
    pthread_mutex_unlock(&rs->bell);
}

static void *stream_main(void *arg) {
    struct web_runs *rs = arg;
    for (;;) {
        pthread_mutex_lock(&rs->bell);
        while (!rs->rung && !rs->quit) pthread_cond_wait(&rs->wake, &rs->bell);
        bool quit = rs->quit;
        rs->rung = false;
        pthread_mutex_unlock(&rs->bell);
        if (quit) return NULL;
        pthread_mutex_lock(&rs->lock);
        for (web_run *r = rs->list; r; r = r->next) drain(rs, r);
        pthread_mutex_unlock(&rs->lock);
        struct timespec pause = {0, TICK_MS * 1000000l};
        nanosleep(&pause, NULL); /* what comes meanwhile is sent together */
    }
}

/* ---- the database ---- */

/* Locked. The message as it is now, in `a`. */
void web_run_message(const web_run *r, arena *a, message *ret) {
    *ret = (message){.id = str_dup(a, str_from(r->id)),
                     .chat_id = str_dup(a, str_from(r->chat_id)),
                     .parent_id = str_dup(a, str_from(r->parent_id)),
                     .role = STR("assistant"),
                     .content = str_dup(a, buf_str(&r->content)),
                     .thinking = str_dup(a, buf_str(&r->thinking)),
                     .model = str_dup(a, r->model),
                     .state = str_from(r->end && r->over ? r->end : r->state),
                     .error = r->error ? str_dup(a, str_from(r->error)) : STR(""),
                     .sources = r->sources ? comfy_json_text(a, r->sources) : STR(""),
                     .usage = r->usage ? comfy_json_text(a, r->usage) : STR(""),
                     .picture = r->picture ? str_dup(a, str_from(r->picture)) : STR(""),
                     .created_ms = r->created_ms};
    if (r->thinking_ms)
        ret->extra = str_fmt(a, "{\"thinking_ms\":%lld}", (long long)r->thinking_ms);
    else if (!r->over && strcmp(r->state, "queued") == 0)
        ret->extra = str_fmt(a, "{\"place\":%lld}", (long long)r->n_done);
}

/* What was said since the last time of all that still run. */
static void save_pieces(struct web_runs *rs) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    VEC(message_piece) list = {0};
    pthread_mutex_lock(&rs->lock);
    for (web_run *r = rs->list; r; r = r->next) {
        bool fresh = r->content.len > r->saved_content || r->thinking.len > r->saved_thinking;
        if (r->over || r->forgotten || r->picture || !fresh) continue;
        str content = str_sub(buf_str(&r->content), r->saved_content, r->content.len);
        str thinking = str_sub(buf_str(&r->thinking), r->saved_thinking, r->thinking.len);
        VEC_PUSH(list, (message_piece){.id = str_dup(a, str_from(r->id)),
                                       .content = str_dup(a, content),
                                       .thinking = str_dup(a, thinking),
                                       .state = str_from(r->state)});
        r->saved_content = r->content.len;
        r->saved_thinking = r->thinking.len;
    }
    pthread_mutex_unlock(&rs->lock);
    err e;
    if (list.len && messages_append(rs->w->db, list.items, list.len, &e))
        log_error("answers cannot be stored: %s", e.msg);
    VEC_FINISH(list);
}

static void run_destroy(web_run *r) {
    engine_stream_destroy(&r->events);
    buf_finish(&r->content);
    buf_finish(&r->thinking);
    json_decref(r->usage);
    json_decref(r->sources);
    json_decref(r->params);
    json_decref(r->knowledge);
    mem_free(r->error);
    mem_free(r->picture);
    arena_destroy(&r->mem);
    mem_free(r);
}

/* Locked. The first run that is over and that nobody prepares any more. */
static web_run *over(struct web_runs *rs) {
    for (web_run *r = rs->list; r; r = r->next)
        if (r->over && !r->preparing) return r;
    return NULL;
}

/* Stores the end, then tells it. */
static void finalize(struct web_runs *rs, web_run *r) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    message m, old;
    err e;
    web *w = rs->w;
    str user_id = str_dup(a, str_from(r->user_id)), chat_id = str_dup(a, str_from(r->chat_id));
    pthread_mutex_lock(&rs->lock);
    web_run_message(r, a, &m);
    bool forgotten = r->forgotten, wants_title = r->end && strcmp(r->end, "done") == 0;
    pthread_mutex_unlock(&rs->lock);
    bool there = !forgotten && !messages_find(w->db, chat_id, m.id, a, &old, NULL);
    if (there) {
        m.files = old.files;
        if (m.extra.len == 0) m.extra = old.extra;
        if (messages_update(w->db, &m, &e)) log_error("an answer cannot be stored: %s", e.msg);
        chats_touch(w->db, &(chat){.id = chat_id, .updated_ms = comfy_now_ms()}, NULL);
    }
    pthread_mutex_lock(&rs->lock);
    if (there) tell(rs, r, "end", web_message_json(&m));
    for (web_run **at = &rs->list; *at; at = &(*at)->next)
        if (*at == r) {
            *at = r->next;
            break;
        }
    pthread_mutex_unlock(&rs->lock);
    run_destroy(r);
    if (!there) return;
    web_chat_changed(w, user_id, chat_id);
    if (wants_title && m.picture.len == 0) web_run_title(w, user_id, chat_id, false);
}

static void *save_main(void *arg) {
    struct web_runs *rs = arg;
    for (;;) {
        pthread_mutex_lock(&rs->lock);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        int64_t ns = until.tv_nsec + SAVE_MS * NS_PER_MS;
        until.tv_sec += ns / NS_PER_S;
        until.tv_nsec = ns % NS_PER_S;
        if (!over(rs) && !rs->stop && rs->list)
            pthread_cond_timedwait(&rs->save, &rs->lock, &until);
        while (!rs->list && !rs->stop) pthread_cond_wait(&rs->save, &rs->lock);
        bool quit = rs->stop && !rs->list;
        web_run *done = over(rs);
        pthread_mutex_unlock(&rs->lock);
        if (quit) return NULL;
        if (done)
            finalize(rs, done);
        else
            save_pieces(rs);
    }
}

/* ---- starting and stopping ---- */

static void copy_id(char to[40], str id) {
    size_t n = id.len < 39 ? id.len : 39;
    if (n) memcpy(to, id.ptr, n);
    to[n] = '\0';
}

/* Locked. */
static bool room(struct web_runs *rs, str user_id, str chat_id) {
    int in_chat = 0, of_user = 0;
    for (web_run *r = rs->list; r; r = r->next) {
        in_chat += str_eq(str_from(r->chat_id), chat_id);
        of_user += str_eq(str_from(r->user_id), user_id);
    }
    return !rs->stop && in_chat < LIMIT_WEB_RUNS && of_user < LIMIT_WEB_USER_RUNS;
}

bool web_run_may(web *w, str user_id, str chat_id) {
    pthread_mutex_lock(&w->runs->lock);
    bool yes = room(w->runs, user_id, chat_id);
    pthread_mutex_unlock(&w->runs->lock);
    return yes;
}

static web_run *run_create(const web_run_spec *s) {
    web_run *r = NEW(web_run);
    const message *m = s->answer;
    copy_id(r->id, m->id);
    copy_id(r->chat_id, s->chat_id);
    copy_id(r->user_id, s->user_id);
    copy_id(r->parent_id, m->parent_id);
    r->mem = arena_create(0);
    r->model = str_dup(r->mem, m->model);
    r->instruction = str_dup(r->mem, s->instruction);
    r->created_ms = m->created_ms;
    r->continues = s->continues;
    r->state = "queued";
    buf_put_str(&r->content, m->content);
    buf_put_str(&r->thinking, m->thinking);
    r->sent_content = r->saved_content = m->content.len;
    r->sent_thinking = r->saved_thinking = m->thinking.len;
    if (m->picture.len) r->picture = mem_dup(m->picture.ptr, m->picture.len + 1);
    if (s->params) r->params = json_deep_copy(s->params);
    if (s->knowledge) r->knowledge = json_deep_copy(s->knowledge);
    if (m->sources.len) r->sources = comfy_json_read(m->sources, json_array());
    return r;
}

/* NULL: no room. */
static web_run *add(struct web_runs *rs, const web_run_spec *s) {
    web_run *r = NULL;
    pthread_mutex_lock(&rs->lock);
    if (room(rs, s->user_id, s->chat_id)) {
        r = run_create(s);
        r->preparing = !r->picture;
        r->next = rs->list;
        rs->list = r;
        pthread_cond_signal(&rs->save);
    }
    pthread_mutex_unlock(&rs->lock);
    return r;
}

/* Locked. */
static web_run *find(struct web_runs *rs, str message_id) {
    web_run *r = rs->list;
    while (r && !str_eq(str_from(r->id), message_id)) r = r->next;
    return r;
}

static const char BUSY_TEXT[] = "too many answers are being made: wait for one, or stop it";

err_code web_run_start(web *w, const web_run_spec *s, err *e) {
    web_run *r = add(w->runs, s);
    if (!r) FAIL(e, BUSY, "%s", BUSY_TEXT);
    r->rs = w->runs;
    tasks_run(w->chat->tasks, web_run_prepare, r);
    return ERR_OK;
}

err_code web_run_picture(web *w, const web_run_spec *s, err *e) {
    if (!add(w->runs, s)) FAIL(e, BUSY, "%s", BUSY_TEXT);
    return ERR_OK;
}

void web_run_picture_step(web *w, str message_id, int64_t done, int64_t total) {
    struct web_runs *rs = w->runs;
    pthread_mutex_lock(&rs->lock);
    web_run *r = find(rs, message_id);
    if (r && !r->over) {
        r->state = "writing";
        json_t *o = about(r);
        json_object_set_new(o, "state", json_string("running"));
        json_object_set_new(o, "value", json_integer(done));
        json_object_set_new(o, "max", json_integer(total));
        json_object_set_new(o, "percent", json_integer(total > 0 ? done * 100 / total : 0));
        tell(rs, r, "picture", o);
    }
    pthread_mutex_unlock(&rs->lock);
}

static bool waits(const web_run *r) {
    return r->picture && !r->over && strcmp(r->state, "queued") == 0;
}

void web_run_picture_places(web *w) {
    struct web_runs *rs = w->runs;
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    image_turns turns;
    bool any = false;
    pthread_mutex_lock(&rs->lock);
    for (web_run *r = rs->list; r && !any; r = r->next) any = waits(r);
    pthread_mutex_unlock(&rs->lock);
    if (!any || image_jobs_turns(w->db, a, &turns, NULL)) return;
    pthread_mutex_lock(&rs->lock);
    for (size_t i = 0; i < turns.n; i++) {
        web_run *r = find(rs, turns.ids[i]);
        if (!r || !waits(r) || (r->n_total && r->n_done == (int64_t)i)) continue;
        r->n_done = (int64_t)i;
        r->n_total = (int64_t)turns.n;
        json_t *o = about(r);
        json_object_set_new(o, "state", json_string("queued"));
        json_object_set_new(o, "place", json_integer((json_int_t)i));
        tell(rs, r, "picture", o);
    }
    pthread_mutex_unlock(&rs->lock);
}

void web_run_picture_preview(web *w, str message_id, str bytes, const char *mime) {
    struct web_runs *rs = w->runs;
    pthread_mutex_lock(&rs->lock);
    web_run *r = find(rs, message_id);
    if (r && !r->over) {
        json_t *o = about(r);
        json_object_set_new(o, "mime", json_string(mime));
        json_object_set_new(o, "data", web_base64(bytes));
        tell(rs, r, "preview", o);
    }
    pthread_mutex_unlock(&rs->lock);
}

void web_run_picture_end(web *w, str message_id, const char *state, str error, str picture) {
    struct web_runs *rs = w->runs;
    pthread_mutex_lock(&rs->lock);
    web_run *r = find(rs, message_id);
    if (r && !r->over) {
        r->end = state;
        mem_free(r->error);
        r->error = error.len ? mem_dup(str_cstr(r->mem, error), error.len + 1) : NULL;
        if (picture.ptr) {
            mem_free(r->picture);
            r->picture = mem_dup(str_cstr(r->mem, picture), picture.len + 1);
        }
        r->over = true;
        pthread_cond_signal(&rs->save);
    }
    pthread_mutex_unlock(&rs->lock);
}

/* Locked. */
static void cancel(struct web_runs *rs, web_run *r) {
    r->cancelled = true;
    if (r->picture) {
        r->cancel_picture = true;
        rs->cancel_pictures = true;
    }
    if (r->events) engine_stream_cancel(r->events);
}

/* Cancels the jobs of pictures, without our lock. */
static void cancel_pictures(struct web_runs *rs) {
    for (;;) {
        char id[40] = "";
        pthread_mutex_lock(&rs->lock);
        for (web_run *r = rs->list; r && !id[0]; r = r->next)
            if (r->cancel_picture) {
                r->cancel_picture = false;
                memcpy(id, r->id, sizeof id);
            }
        pthread_mutex_unlock(&rs->lock);
        if (!id[0]) return;
        web_picture_cancel(rs->w, str_from(id));
    }
}

bool web_run_cancel(web *w, str chat_id, str message_id) {
    struct web_runs *rs = w->runs;
    bool any = false;
    pthread_mutex_lock(&rs->lock);
    for (web_run *r = rs->list; r; r = r->next) {
        if (!str_eq(str_from(r->chat_id), chat_id)) continue;
        if (message_id.len && !str_eq(str_from(r->id), message_id)) continue;
        cancel(rs, r);
        any = true;
    }
    pthread_mutex_unlock(&rs->lock);
    if (any) cancel_pictures(rs);
    return any;
}

bool web_run_is_live(web *w, str message_id) {
    pthread_mutex_lock(&w->runs->lock);
    bool yes = find(w->runs, message_id) != NULL;
    pthread_mutex_unlock(&w->runs->lock);
    return yes;
}

void web_run_forget(web *w, str user_id, str chat_id) {
    struct web_runs *rs = w->runs;
    pthread_mutex_lock(&rs->lock);
    for (web_run *r = rs->list; r; r = r->next) {
        if (!str_eq(str_from(r->user_id), user_id)) continue;
        if (chat_id.len && !str_eq(str_from(r->chat_id), chat_id)) continue;
        r->forgotten = true;
        cancel(rs, r);
    }
    pthread_mutex_unlock(&rs->lock);
    cancel_pictures(rs);
}

void web_run_live(web *w, str chat_id, arena *a, web_live *ret) {
    struct web_runs *rs = w->runs;
    VEC(message) list = {0};
    pthread_mutex_lock(&rs->lock);
    for (web_run *r = rs->list; r; r = r->next) {
        if (!str_eq(str_from(r->chat_id), chat_id) || r->forgotten) continue;
        flush(rs, r, 0);
        message m;
        web_run_message(r, a, &m);
        if (r->over) m.state = str_from(r->state); /* the end is told by its event */
        VEC_PUSH(list, m);
    }
    ret->position = web_hub_position(w->hub, a);
    pthread_mutex_unlock(&rs->lock);
    ret->n = list.len;
    ret->list = list.len ? arena_dup(a, list.items, list.len * sizeof *list.items) : NULL;
    VEC_FINISH(list);
}

/* ---- life ---- */

err_code web_runs_create(web *w, struct web_runs **ret, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    message *pictures;
    size_t n;
    TRY(messages_recover(w->db, a, &pictures, &n, e));
    struct web_runs *rs = NEW(struct web_runs);
    rs->w = w;
    pthread_mutex_init(&rs->lock, NULL);
    pthread_mutex_init(&rs->bell, NULL);
    pthread_cond_init(&rs->wake, NULL);
    pthread_cond_init(&rs->save, NULL);
    *ret = rs;
    if (pthread_create(&rs->streamer, NULL, stream_main, rs))
        FAIL(e, INTERNAL, "cannot start the thread of the chats");
    rs->n_threads = 1;
    if (pthread_create(&rs->saver, NULL, save_main, rs))
        FAIL(e, INTERNAL, "cannot start the thread of the chats");
    rs->n_threads = 2;
    for (size_t i = 0; i < n; i++) web_picture_recover(w, &pictures[i]);
    return ERR_OK;
}

/* Locked. Everything ends now; a picture's job stays in its queue and goes on at the next start. */
static void interrupt(web_run *r) {
    if (r->picture) r->forgotten = true;
    if (r->events)
        engine_stream_cancel(r->events);
    else if (!r->preparing)
        r->over = true;
    if (!r->end) r->end = "interrupted";
}

void web_runs_stop(struct web_runs *rs) {
    if (!rs || rs->n_threads == 0) return;
    pthread_mutex_lock(&rs->lock);
    rs->stop = true;
    for (web_run *r = rs->list; r; r = r->next) interrupt(r);
    pthread_cond_signal(&rs->save);
    pthread_mutex_unlock(&rs->lock);
    web_run_ring(rs);
    if (rs->n_threads == 2) pthread_join(rs->saver, NULL); /* ends when the list is empty */
    pthread_mutex_lock(&rs->bell);
    rs->quit = true;
    pthread_cond_signal(&rs->wake);
    pthread_mutex_unlock(&rs->bell);
    pthread_join(rs->streamer, NULL);
    rs->n_threads = 0;
}

void web_runs_destroy(struct web_runs **prs) {
    if (!prs || !*prs) return;
    struct web_runs *rs = *prs;
    web_runs_stop(rs);
    while (rs->list) {
        web_run *r = rs->list;
        rs->list = r->next;
        run_destroy(r);
    }
    pthread_cond_destroy(&rs->wake);
    pthread_cond_destroy(&rs->save);
    pthread_mutex_destroy(&rs->lock);
    pthread_mutex_destroy(&rs->bell);
    mem_free(rs);
    *prs = NULL;
}
