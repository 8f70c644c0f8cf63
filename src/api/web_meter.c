/* Samples of the engine's counters; rates are differences over the last seconds. */
#include "api/web_meter.h"
#include "api/comfy_queue.h"
#include "api/web_events.h"
#include "api/web_handlers.h"
#include "api/web_run.h"
#include "base/clock.h"
#include "base/log.h"
#include "os/file.h"
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLES = 6, SWEEP_TICKS = 600 };

typedef struct sample {
    int64_t at_ns, device_ns, class_ns[4];
    int64_t n_tokens, n_prompt_tokens, n_steps;
} sample;

struct web_meter {
    web *w;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool has_thread, stop;
    sample ring[SAMPLES];
    size_t n;
};

static sample take_sample(web *w) {
    engine_stats s;
    engine_get_stats(w->chat->eng, &s);
    sample x = {.at_ns = clock_mono_ns(),
                .device_ns = s.device_ns,
                .n_tokens = s.n_tokens,
                .n_prompt_tokens = s.n_prompt_tokens,
                .n_steps = w->pictures ? w->pictures->n_steps : 0};
    for (size_t i = 0; i < 4; i++) x.class_ns[i] = s.class_ns[i];
    return x;
}

static int64_t rss_bytes(void) {
    buf b = {0};
    int64_t pages = 0;
    if (!file_read("/proc/self/statm", 4096, &b, NULL)) {
        str text = buf_str(&b);
        str_cut(&text, ' ');
        str_to_i64(str_cut(&text, ' '), &pages);
    }
    buf_finish(&b);
    return pages * sysconf(_SC_PAGESIZE);
}

static json_t *memory_json(const engine_stats *s) {
    json_t *o = json_object();
    uint64_t used = s->weight_bytes + s->kv_bytes + s->plan_bytes + s->staging_bytes;
    json_object_set_new(o, "budget", json_integer((json_int_t)s->budget_bytes));
    json_object_set_new(o, "used", json_integer((json_int_t)used));
    json_object_set_new(o, "weights", json_integer((json_int_t)s->weight_bytes));
    json_object_set_new(o, "kv", json_integer((json_int_t)s->kv_bytes));
    json_object_set_new(o, "plan", json_integer((json_int_t)s->plan_bytes));
    json_object_set_new(o, "staging", json_integer((json_int_t)s->staging_bytes));
    json_object_set_new(o, "rss", json_integer(rss_bytes()));
    return o;
}

static const char *kind_of(web *w, arena *a, const engine_model *m) {
    engine_file_info f;
    if (!str_ends(m->path, STR(".safetensors")) &&
        !engine_file_read(w->chat->eng, m->path, ENGINE_FILE_SHORT, a, &f, NULL))
        return f.can_generate ? "chat" : f.can_embed ? "embedding" : "image";
    return "image";
}

static json_t *models_json(web *w, arena *a) {
    size_t n;
    const engine_resident *list = engine_residents(w->chat->eng, a, &n);
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++) {
        bool forever = list[i].expires_wall_ns == CLOCK_FOREVER;
        json_t *o = json_object();
        json_object_set_new(o, "name", comfy_str(list[i].model.name));
        json_object_set_new(o, "kind", json_string(kind_of(w, a, &list[i].model)));
        json_object_set_new(o, "size", json_integer((json_int_t)list[i].size_bytes));
        json_object_set_new(o, "device_bytes", json_integer((json_int_t)list[i].device_bytes));
        json_object_set_new(o, "n_ctx", json_integer(list[i].n_ctx));
        json_object_set_new(o, "running", json_integer(list[i].n_running));
        json_object_set_new(o, "pinned", json_boolean(forever));
        json_object_set_new(o, "expires_at",
                            forever ? json_null()
                                    : json_integer(list[i].expires_wall_ns / NS_PER_S));
        json_array_append_new(out, o);
    }
    return out;
}

static double per_second(int64_t delta, int64_t ns) {
    return ns > 0 ? (double)delta * 1e9 / (double)ns : 0;
}

static json_t *machine_json(struct web_meter *m, arena *a) {
    static const char *const classes[] = {"chat", "embed", "image", "background"};
    web *w = m->w;
    engine_stats s;
    engine_get_stats(w->chat->eng, &s);
    sample now = take_sample(w), then = now;
    pthread_mutex_lock(&m->lock);
    if (m->n) then = m->ring[m->n < SAMPLES ? 0 : m->n % SAMPLES];
    pthread_mutex_unlock(&m->lock);
    int64_t ns = now.at_ns - then.at_ns, all = 0;
    for (size_t i = 0; i < 4; i++) all += now.class_ns[i] - then.class_ns[i];
    json_t *o = json_object(), *shares = json_object(), *queue = json_object();
    json_t *speed = json_object(), *totals = json_object(), *device = json_object();
    for (size_t i = 0; i < 4; i++)
        json_object_set_new(
            shares, classes[i],
            json_real(all > 0 ? (double)(now.class_ns[i] - then.class_ns[i]) / (double)all : 0));
    double busy = per_second(now.device_ns - then.device_ns, ns) / 1e9;
    json_object_set_new(queue, "running", json_integer(s.n_running));
    json_object_set_new(queue, "waiting", json_integer(s.n_waiting));
    json_object_set_new(queue, "max", json_integer(s.max_queue));
    json_object_set_new(queue, "pictures",
                        json_integer(w->pictures ? comfy_queue_remaining(w->pictures->queue) : 0));
    json_object_set_new(speed, "tokens_per_s",
                        json_real(per_second(now.n_tokens - then.n_tokens, ns)));
    json_object_set_new(speed, "prompt_tokens_per_s",
                        json_real(per_second(now.n_prompt_tokens - then.n_prompt_tokens, ns)));
    json_object_set_new(speed, "steps_per_s",
                        json_real(per_second(now.n_steps - then.n_steps, ns)));
    json_object_set_new(totals, "tokens", json_integer(now.n_tokens));
    json_object_set_new(totals, "prompt_tokens", json_integer(now.n_prompt_tokens));
    json_object_set_new(totals, "steps", json_integer(now.n_steps));
    json_object_set_new(totals, "pictures",
                        json_integer(w->pictures ? w->pictures->n_pictures : 0));
    json_object_set_new(device, "name", json_string("CPU"));
    json_object_set_new(device, "threads",
                        json_integer(s.n_threads ? s.n_threads : sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(o, "at_ms", json_integer(comfy_now_ms()));
    json_object_set_new(o, "uptime_s", json_integer((clock_mono_ns() - w->start_ns) / NS_PER_S));
    json_object_set_new(o, "memory", memory_json(&s));
    json_object_set_new(o, "models", models_json(w, a));
    json_object_set_new(o, "queue", queue);
    json_object_set_new(o, "shares", shares);
    json_object_set_new(o, "busy", json_real(busy > 1 ? 1 : busy));
    json_object_set_new(o, "speed", speed);
    json_object_set_new(o, "totals", totals);
    json_object_set_new(o, "device", device);
    json_object_set_new(o, "version", json_string(w->chat->version));
    return o;
}

/* Once a second. */
static void tick(struct web_meter *m) {
    sample s = take_sample(m->w);
    pthread_mutex_lock(&m->lock);
    m->ring[m->n++ % SAMPLES] = s;
    pthread_mutex_unlock(&m->lock);
    web_hub_sweep(m->w->hub);
    if (m->n % SWEEP_TICKS == 0) grants_expire(m->w->db, comfy_now_ms(), NULL);
    web_run_picture_places(m->w);
    if (!web_hub_machine_wanted(m->w->hub)) return;
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    web_hub_machine(m->w->hub, machine_json(m, a));
}

static void *meter_main(void *arg) {
    struct web_meter *m = arg;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_mutex_lock(&m->lock);
        if (!m->stop) pthread_cond_timedwait(&m->wake, &m->lock, &until);
        bool stop = m->stop;
        pthread_mutex_unlock(&m->lock);
        if (stop) return NULL;
        tick(m);
    }
}

struct web_meter *web_meter_create(web *w) {
    struct web_meter *m = NEW(struct web_meter);
    m->w = w;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    return m;
}

void web_meter_start(struct web_meter *m) {
    m->has_thread = pthread_create(&m->thread, NULL, meter_main, m) == 0;
}

void web_meter_stop(struct web_meter *m) {
    if (!m) return;
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    if (m->has_thread) pthread_join(m->thread, NULL);
    m->has_thread = false;
}

void web_meter_destroy(struct web_meter **pm) {
    if (!pm || !*pm) return;
    web_meter_stop(*pm);
    pthread_cond_destroy(&(*pm)->wake);
    pthread_mutex_destroy(&(*pm)->lock);
    mem_free(*pm);
    *pm = NULL;
}

/* ---- routes ---- */

void web_machine_get(http_request *r, void *ctx) {
    web *w = ctx;
    web_reply(r, machine_json(w->meter, http_request_arena(r)));
}

void web_machine_events(http_request *r, void *ctx) {
    web_hub_listen(ctx, r, &(web_listen){.machine = true});
}

void web_logs(http_request *r, void *ctx) {
    (void)ctx;
    size_t n;
    log_record *list = log_recent(http_request_arena(r), &n);
    json_t *lines = json_array();
    int64_t after = 0;
    str_to_i64(http_request_query(r, "after"), &after);
    if (n && after > 0 && (uint64_t)after > list[n - 1].n) after = 0; /* of a server before */
    for (size_t i = 0; i < n; i++) {
        if (after > 0 && list[i].n <= (uint64_t)after) continue;
        str text = str_trim(list[i].text);
        str level = str_cut(&text, ' ');
        json_array_append_new(lines, json_pack("{s:I, s:I, s:o, s:o}", "n", (json_int_t)list[i].n,
                                               "at", (json_int_t)(list[i].wall_ns / NS_PER_S),
                                               "level", comfy_str(level), "text", comfy_str(text)));
    }
    web_reply(r, json_pack("{s:o}", "lines", lines));
}
