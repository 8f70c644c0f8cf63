/* The objects of API v2 and the streams of a job's events. */
#include "api/comfy_v2.h"
#include "api/comfy_files.h"
#include "api/comfy_owner.h"
#include "api/comfy_queue.h"
#include "base/clock.h"
#include "http/json.h"
#include "http/stream.h"
#include "store/blake3.h"
#include "store/image_assets.h"
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

typedef struct watcher {
    struct watcher *next;
    http_stream *out;
    char job_id[40];
    comfy_pass pass;
    int64_t progress_ns; /* when the last progress went out */
    bool over;
} watcher;

struct comfy_v2 {
    pthread_mutex_t lock;
    watcher *list;
    bool closed;
    int64_t alive_ns;
    buf preview; /* the last preview event of the running job, and whose it is */
    char preview_job[40];
};

/* Locked: drops watchers that are over or gone. */
static void sweep(comfy_v2 *v) {
    for (watcher **at = &v->list; *at;) {
        watcher *w = *at;
        if (!w->over && !http_stream_gone(w->out)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        http_stream_destroy(&w->out);
        mem_free(w);
    }
}

comfy_v2 *comfy_v2_create(void) {
    comfy_v2 *v = NEW(comfy_v2);
    pthread_mutex_init(&v->lock, NULL);
    return v;
}

void comfy_v2_drop(comfy_v2 *v, str user_id, str grant_id, bool others) {
    pthread_mutex_lock(&v->lock);
    for (watcher *w = v->list; w; w = w->next)
        w->over |= comfy_pass_is(&w->pass, user_id, grant_id, others);
    sweep(v);
    pthread_mutex_unlock(&v->lock);
}

void comfy_v2_close(comfy_v2 *v) {
    pthread_mutex_lock(&v->lock);
    v->closed = true;
    for (watcher *w = v->list; w; w = w->next) w->over = true;
    sweep(v);
    pthread_mutex_unlock(&v->lock);
}

void comfy_v2_destroy(comfy_v2 **pv) {
    if (!pv || !*pv) return;
    comfy_v2_close(*pv);
    buf_finish(&(*pv)->preview);
    pthread_mutex_destroy(&(*pv)->lock);
    mem_free(*pv);
    *pv = NULL;
}

void comfy_v2_error(http_request *r, int status, const char *code, const char *message,
                    json_t *details) {
    json_t *error = json_pack("{s:s, s:s}", "code", code, "message", message);
    if (details) json_object_set_new(error, "details", details);
    comfy_reply(r, status, json_pack("{s:o}", "error", error));
}

/* ---- objects ---- */

static const char *state_name(comfy *c, const image_job *j) {
    switch (j->state) {
    case IMAGE_JOB_QUEUED:
        return "queued";
    case IMAGE_JOB_RUNNING:
        return comfy_queue_interrupting(c->queue, j->id) ? "canceling" : "running";
    case IMAGE_JOB_DONE:
        return "succeeded";
    case IMAGE_JOB_FAILED:
        return "failed";
    case IMAGE_JOB_CANCELLED:
        break;
    }
    return "canceled";
}

static json_t *time_text(int64_t ms) {
    char text[CLOCK_TEXT_BYTES];
    return ms ? json_string(clock_rfc3339_utc(text, ms * NS_PER_MS)) : json_null();
}

static json_t *place_in_queue(comfy *c, const image_job *j, arena *a) {
    image_jobs_query q = {.states = IMAGE_JOBS_WAITING, .limit = -1};
    image_jobs_page page;
    if (j->state != IMAGE_JOB_QUEUED || image_jobs_list(c->db, &q, a, &page, NULL))
        return json_null();
    for (size_t i = 0; i < page.n; i++)
        if (str_eq(page.jobs[i].id, j->id)) return json_integer((json_int_t)i);
    return json_null();
}

static json_t *output_object(const image_asset *x, str node) {
    const char *slash = strchr(x->content_type.ptr, '/');
    size_t n = slash ? (size_t)(slash - x->content_type.ptr) : 0;
    str kind = str_sub(x->content_type, 0, n);
    bool known = str_eq(kind, STR("image")) || str_eq(kind, STR("video")) ||
                 str_eq(kind, STR("audio")) || str_eq(kind, STR("text"));
    json_t *o = json_object();
    json_object_set_new(o, "node_id", comfy_str(node));
    json_object_set_new(o, "name", comfy_str(x->name));
    json_object_set_new(o, "type", known ? comfy_str(kind) : json_string("file"));
    json_object_set_new(o, "content_type", comfy_str(x->content_type));
    json_object_set_new(o, "size_bytes", json_integer((json_int_t)x->n_bytes));
    json_object_set_new(o, "id", comfy_str(x->id));
    json_object_set_new(o, "hash", comfy_str(x->hash));
    json_object_set_new(o, "url", json_sprintf("/api/v2/assets/%s/content", x->id.ptr));
    json_object_set_new(o, "url_expires_at", json_null());
    json_object_set_new(o, "job_id", comfy_str(x->job_id));
    return o;
}

/* The asset of a result file, made when it is not known yet. */
static bool asset_of(comfy *c, str job_id, const json_t *item, arena *a, image_asset *ret) {
    char hash[BLAKE3_TEXT_BYTES];
    struct stat st;
    str path;
    if (!json_is_object(item) || !comfy_ui_path(c, item, a, &path)) return false;
    if (!image_assets_by_path(c->db, path, a, ret, NULL) && str_eq(ret->job_id, job_id))
        return true;
    if (stat(path.ptr, &st) || blake3_file(path.ptr, hash, NULL)) return false;
    image_job j = {0};
    image_jobs_find(c->db, job_id, a, &j, NULL);
    str name = comfy_text(json_object_get(item, "filename")),
        sub = comfy_text(json_object_get(item, "subfolder")),
        type = comfy_text(json_object_get(item, "type"));
    *ret = (image_asset){
        .id = comfy_uuid(a),
        .hash = str_dup(a, str_from(hash)),
        .n_bytes = (uint64_t)st.st_size,
        .content_type = str_from(comfy_mime(name)),
        .name = name,
        .path = path,
        .reference = str_fmt(a, STR_FMT "%s" STR_FMT " [" STR_FMT "]", STR_ARG(sub),
                             sub.len ? "/" : "", STR_ARG(name), STR_ARG(type)),
        .job_id = job_id,
        .created_ms = comfy_now_ms(),
        .owner = j.owner,
    };
    return image_assets_insert(c->db, ret, NULL) == ERR_OK;
}

json_t *comfy_v2_outputs_of(comfy *c, str job_id, str node, const json_t *ui) {
    json_t *out = json_array(), *list, *item;
    const char *key;
    size_t i;
    arena *a = arena_create(0);
    json_object_foreach((json_t *)(uintptr_t)ui, key, list) {
        json_array_foreach(list, i, item) {
            image_asset x;
            if (asset_of(c, job_id, item, a, &x))
                json_array_append_new(out, output_object(&x, node));
        }
    }
    arena_destroy(&a);
    return out;
}

static json_t *all_outputs(comfy *c, const image_job *j) {
    json_t *all = comfy_json_read(j->outputs, json_object()), *out = json_array(), *ui;
    const char *node;
    json_object_foreach(all, node, ui) {
        json_t *some = comfy_v2_outputs_of(c, j->id, str_from(node), ui);
        json_array_extend(out, some);
        json_decref(some);
    }
    json_decref(all);
    return out;
}

static json_t *error_object(const image_job *j) {
    json_t *messages = comfy_json_read(j->messages, json_array()), *m, *out = NULL;
    size_t i;
    json_array_foreach(messages, i, m) {
        const json_t *d = json_array_get(m, 1);
        if (!str_eq(comfy_text(json_array_get(m, 0)), STR("execution_error"))) continue;
        out =
            json_pack("{s:s, s:O?, s:O?, s:O?}", "code", "execution_error", "message",
                      json_object_get(d, "exception_message"), "node_id",
                      json_object_get(d, "node_id"), "class_type", json_object_get(d, "node_type"));
    }
    json_decref(messages);
    return out ? out : json_null();
}

json_t *comfy_v2_job(comfy *c, const image_job *j, arena *a) {
    json_t *o = json_object(), *urls = json_object();
    json_t *progress = comfy_queue_progress(c->queue, j->id);
    const char *id = str_cstr(a, j->id);
    json_object_set_new(urls, "self", json_sprintf("/api/v2/jobs/%s", id));
    json_object_set_new(urls, "events", json_sprintf("/api/v2/jobs/%s/events", id));
    json_object_set_new(urls, "cancel", json_sprintf("/api/v2/jobs/%s/cancel", id));
    json_object_set_new(o, "id", json_string(id));
    json_object_set_new(o, "status", json_string(state_name(c, j)));
    json_object_set_new(o, "created_at", time_text(j->created_ms));
    json_object_set_new(o, "started_at", time_text(j->started_ms));
    json_object_set_new(o, "completed_at", time_text(j->ended_ms));
    json_object_set_new(o, "expires_at", json_null());
    json_object_set_new(o, "queue_position", place_in_queue(c, j, a));
    json_object_set_new(o, "progress", progress ? progress : json_null());
    json_object_set_new(o, "outputs", all_outputs(c, j));
    json_object_set_new(o, "error", j->state == IMAGE_JOB_FAILED ? error_object(j) : json_null());
    json_object_set_new(o, "urls", urls);
    return o;
}

/* ---- streams ---- */

static void put_event(buf *b, const char *type, const json_t *data) {
    buf_putf(b, "event: %s\ndata: ", type);
    json_write_plain(b, data);
    buf_put_str(b, STR("\n\n"));
}

/* Writes an event to the job's watchers. */
static void tell(comfy_v2 *v, str job_id, str bytes, bool last) {
    pthread_mutex_lock(&v->lock);
    for (watcher *w = v->list; w; w = w->next) {
        if (!str_eq(str_from(w->job_id), job_id)) continue;
        http_stream_write(w->out, bytes);
        w->over |= last;
    }
    sweep(v);
    pthread_mutex_unlock(&v->lock);
}

static bool ended(const image_job *j) {
    return j->state > IMAGE_JOB_RUNNING;
}

void comfy_v2_status(comfy *c, const image_job *job) {
    buf b = {0};
    json_t *d = json_pack("{s:s}", "status", state_name(c, job));
    put_event(&b, "status", d);
    tell(c->v2, job->id, buf_str(&b), ended(job));
    pthread_mutex_lock(&c->v2->lock);
    buf_clear(&c->v2->preview);
    pthread_mutex_unlock(&c->v2->lock);
    json_decref(d);
    buf_finish(&b);
}

void comfy_v2_progress(comfy *c, str job_id, json_t *progress) {
    comfy_v2 *v = c->v2;
    buf b = {0};
    int64_t now = clock_mono_ns();
    put_event(&b, "progress", progress);
    pthread_mutex_lock(&v->lock);
    for (watcher *w = v->list; w; w = w->next) {
        if (!str_eq(str_from(w->job_id), job_id) || now - w->progress_ns < NS_PER_S / 2) continue;
        w->progress_ns = now;
        http_stream_write(w->out, buf_str(&b));
    }
    pthread_mutex_unlock(&v->lock);
    json_decref(progress);
    buf_finish(&b);
}

void comfy_v2_preview(comfy *c, str job_id, str node, str picture, const char *mime) {
    comfy_v2 *v = c->v2;
    buf b = {0};
    char *base64 = mem_alloc(picture.len / 3 * 4 + 5);
    EVP_EncodeBlock((unsigned char *)base64, (const unsigned char *)picture.ptr, (int)picture.len);
    json_t *d = json_pack("{s:o, s:s, s:s}", "node_id", comfy_str(node), "content_type", mime,
                          "data_base64", base64);
    put_event(&b, "preview", d);
    tell(v, job_id, buf_str(&b), false);
    pthread_mutex_lock(&v->lock);
    buf_clear(&v->preview);
    buf_put_str(&v->preview, buf_str(&b));
    size_t n = job_id.len < sizeof v->preview_job - 1 ? job_id.len : sizeof v->preview_job - 1;
    memcpy(v->preview_job, job_id.ptr, n);
    v->preview_job[n] = '\0';
    pthread_mutex_unlock(&v->lock);
    json_decref(d);
    mem_free(base64);
    buf_finish(&b);
}

void comfy_v2_output(comfy *c, str job_id, str node, const json_t *ui) {
    json_t *outputs = comfy_v2_outputs_of(c, job_id, node, ui), *one;
    size_t i;
    json_array_foreach(outputs, i, one) {
        buf b = {0};
        put_event(&b, "output", one);
        tell(c->v2, job_id, buf_str(&b), false);
        buf_finish(&b);
    }
    json_decref(outputs);
}

void comfy_v2_keep_alive(comfy *c) {
    comfy_v2 *v = c->v2;
    int64_t now = clock_mono_ns();
    int64_t wall_ms = comfy_now_ms();
    pthread_mutex_lock(&v->lock);
    bool ping = now - v->alive_ns > 10 * NS_PER_S;
    if (ping) v->alive_ns = now;
    for (watcher *w = v->list; w; w = w->next) {
        w->over |= comfy_pass_over(&w->pass, wall_ms);
        if (ping && !w->over) http_stream_write(w->out, STR(": alive\n\n"));
    }
    sweep(v);
    pthread_mutex_unlock(&v->lock);
}

/* The job is read again under the lock: its end is either seen here or told to the watcher. */
void comfy_v2_job_events(http_request *r, void *ctx) {
    comfy *c = ctx;
    comfy_v2 *v = c->v2;
    arena *a = http_request_arena(r);
    image_job j;
    if (comfy_find_own(c, r, http_request_param(r, "id"), &j, NULL)) {
        comfy_v2_error(r, 404, "not_found", "there is no such job", NULL);
        return;
    }
    json_t *progress = comfy_queue_progress(c->queue, j.id), *status;
    buf b = {0};
    watcher *w = NEW(watcher);
    memcpy(w->job_id, j.id.ptr, j.id.len < sizeof w->job_id ? j.id.len : sizeof w->job_id - 1);
    w->pass = comfy_pass_of(r);
    w->out = http_stream_create(r, "text/event-stream; charset=utf-8", NULL, NULL);
    pthread_mutex_lock(&v->lock);
    image_jobs_find(c->db, j.id, a, &j, NULL);
    status = json_pack("{s:s}", "status", state_name(c, &j));
    put_event(&b, "status", status);
    if (progress) put_event(&b, "progress", progress);
    if (v->preview.len && strcmp(v->preview_job, w->job_id) == 0)
        buf_put_str(&b, buf_str(&v->preview));
    http_stream_write(w->out, buf_str(&b));
    w->over = v->closed || ended(&j);
    w->next = v->list;
    v->list = w;
    sweep(v);
    pthread_mutex_unlock(&v->lock);
    json_decref(status);
    json_decref(progress);
    buf_finish(&b);
}
