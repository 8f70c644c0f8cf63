/* Workflows through the engine: events in order, caching over jobs, cancelling, the ledger shared
 * with models, turns on the device. The language model behind it is invented. */
#include "flow_rig.h"

#include "base/clock.h"
#include "engine/flow.h"
#include <pthread.h>
#include <stdatomic.h>

static arena *mem;

/* ---- a backend with one model of some bytes that says "abc" ---- */

typedef struct fake {
    atomic_int n_loaded;
    atomic_int n_steps;
    uint64_t weight_bytes;
    int64_t step_ns;
    atomic_bool in_step;
    atomic_int n_collisions; /* steps while a slice ran, and the other way round */
} fake;

static void fake_destroy(void *ctx) {
    (void)ctx;
}

static uint64_t fake_memory(void *ctx) {
    (void)ctx;
    return 4000;
}

static err_code fake_file_bytes(void *ctx, const engine_model *m, uint64_t *ret, err *e) {
    (void)m, (void)e;
    *ret = ((fake *)ctx)->weight_bytes;
    return ERR_OK;
}

static err_code fake_load(void *ctx, const engine_model *m, void **ret, err *e) {
    (void)m, (void)e;
    atomic_fetch_add(&((fake *)ctx)->n_loaded, 1);
    *ret = ctx;
    return ERR_OK;
}

static void fake_unload(void *model) {
    atomic_fetch_sub(&((fake *)model)->n_loaded, 1);
}

static void fake_facts(void *model, engine_facts *ret) {
    *ret = (engine_facts){.n_vocab = 4,
                          .n_embd = 1,
                          .ctx_train = 4096,
                          .can_generate = true,
                          .weight_bytes = ((fake *)model)->weight_bytes};
}

static err_code fake_step_bytes(void *model, int32_t n, uint64_t *ret, err *e) {
    (void)model, (void)n, (void)e;
    *ret = 0;
    return ERR_OK;
}

static void *fake_seq_create(void *model, const int32_t *ids, int32_t n, int32_t *ret_n) {
    (void)ids, (void)n;
    *ret_n = 0;
    return model;
}

static void fake_seq_destroy(void *seq) {
    (void)seq;
}

static err_code fake_append(void *seq, const int32_t *ids, int32_t n, err *e) {
    (void)seq, (void)ids, (void)n, (void)e;
    return ERR_OK;
}

static void fake_commit(void *seq) {
    (void)seq;
}

static void fake_truncate(void *seq, int32_t n) {
    (void)seq, (void)n;
}

static void spend(int64_t ns) {
    int64_t until = clock_mono_ns() + ns;
    while (clock_mono_ns() < until) sched_yield();
}

static err_code fake_step(void *model, const engine_batch *b, dev_cancel *cancel, err *e) {
    fake *f = model;
    (void)cancel, (void)e;
    if (atomic_exchange(&f->in_step, true)) atomic_fetch_add(&f->n_collisions, 1);
    spend(f->step_ns);
    size_t row = 0;
    for (int32_t i = 0; i < b->n_seqs; i++) {
        if (!b->seqs[i].want_row) continue;
        for (int k = 0; k < 4; k++) b->logits[row * 4 + (size_t)k] = k == 1 ? 10 : 0;
        row++;
    }
    atomic_fetch_add(&f->n_steps, 1);
    atomic_store(&f->in_step, false);
    return ERR_OK;
}

static err_code fake_render(void *model, const engine_prompt *p, const value *messages, arena *a,
                            engine_segments *ret, err *e) {
    (void)model, (void)p, (void)messages, (void)e;
    tok_segment *s = ARENA_NEW(a, tok_segment);
    s->text = STR("x");
    *ret = (engine_segments){s, 1};
    return ERR_OK;
}

static err_code fake_encode(void *model, engine_segments segs, bool add, tok_ids *ret, err *e) {
    (void)model, (void)segs, (void)add, (void)e;
    VEC_PUSH(*ret, 0);
    return ERR_OK;
}

static str fake_piece(void *model, int32_t id) {
    (void)model;
    return id == 1 ? STR("a") : STR("?");
}

static str fake_mark(void *model, int32_t id) {
    (void)model, (void)id;
    return (str){0};
}

static str fake_source(void *model) {
    (void)model;
    return (str){0};
}

static bool fake_is_stop(void *model, int32_t id) {
    (void)model;
    return id == 3;
}

static int32_t fake_first(void *model) {
    (void)model;
    return 0;
}

static engine *engine_make(fake *f, int64_t keep_alive_ns) {
    engine_backend b = {.ctx = f,
                        .destroy = fake_destroy,
                        .memory = fake_memory,
                        .file_bytes = fake_file_bytes,
                        .load = fake_load,
                        .unload = fake_unload,
                        .facts = fake_facts,
                        .step_bytes = fake_step_bytes,
                        .seq_create = fake_seq_create,
                        .seq_destroy = fake_seq_destroy,
                        .seq_append = fake_append,
                        .seq_commit = fake_commit,
                        .seq_truncate = fake_truncate,
                        .step = fake_step,
                        .render = fake_render,
                        .encode = fake_encode,
                        .piece = fake_piece,
                        .mark = fake_mark,
                        .chat_source = fake_source,
                        .is_stop = fake_is_stop,
                        .first_id = fake_first};
    engine_config c = {.budget_bytes = 2000, .keep_alive_ns = keep_alive_ns};
    engine *eng;
    err e;
    assert_int_equal(engine_create_with(&c, &b, &eng, &e), ERR_OK);
    return eng;
}

/* ---- workflows ---- */

static engine_stream *submit(engine *eng, const char *json) {
    engine_flow_spec spec = {.id = STR("job"), .graph = rig_parse(mem, json)};
    engine_stream *s;
    err e;
    if (engine_flow_submit(eng, &spec, NULL, NULL, &s, &e)) fail_msg("%s", e.msg);
    return s;
}

/* The events of a stream to its end, as text. */
static const char *log_of(engine_stream *s) {
    static const char *const names[] = {[ENGINE_EVENT_NODES_CACHED] = "cached",
                                        [ENGINE_EVENT_NODE_START] = "start",
                                        [ENGINE_EVENT_NODE_PROGRESS] = "progress",
                                        [ENGINE_EVENT_NODE_PREVIEW] = "preview",
                                        [ENGINE_EVENT_NODE_OUTPUT] = "output",
                                        [ENGINE_EVENT_DONE] = "done",
                                        [ENGINE_EVENT_ERROR] = "error"};
    buf log = {0};
    engine_event ev;
    for (bool last = false; !last;) {
        if (!engine_stream_wait(s, 20 * NS_PER_S, &ev)) fail_msg("nothing comes any more");
        last = ev.kind == ENGINE_EVENT_DONE || ev.kind == ENGINE_EVENT_ERROR;
        if (ev.kind == ENGINE_EVENT_QUEUED) continue;
        buf_putf(&log, "%s%s", log.len ? " " : "", names[ev.kind]);
        if (ev.node.len) buf_putf(&log, " " STR_FMT, STR_ARG(ev.node));
        for (size_t i = 0; i < ev.n_ids; i++) buf_putf(&log, "," STR_FMT, STR_ARG(ev.ids[i]));
        if (ev.ui) buf_putf(&log, " %s", rig_text(mem, ev.ui));
        if (ev.kind == ENGINE_EVENT_ERROR)
            buf_putf(&log, " %s " STR_FMT ": %s", err_name(ev.error.code), STR_ARG(ev.class_type),
                     ev.error.msg);
    }
    engine_stream_destroy(&s);
    const char *ret = str_cstr(mem, buf_str(&log));
    buf_finish(&log);
    return ret;
}

#define SHOW_TEXT(text)                                                                            \
    "{\"1\":{\"class_type\":\"PrimitiveString\",\"inputs\":{\"value\":\"" text "\"}},"             \
    "\"2\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"1\",0]}}}"

static void test_events(void **state) {
    (void)state;
    fake f = {.weight_bytes = 1000};
    engine *eng = engine_make(&f, CLOCK_FOREVER);
    assert_string_equal(log_of(submit(eng, SHOW_TEXT("x"))),
                        "cached start 1 start 2 output 2 {\"text\":[\"x\"]} done");
    assert_string_equal(log_of(submit(eng, SHOW_TEXT("x"))),
                        "cached,1,2 output 2 {\"text\":[\"x\"]} done");
    engine_flow_free(eng, true, true);
    assert_string_equal(log_of(submit(eng, SHOW_TEXT("x"))),
                        "cached start 1 start 2 output 2 {\"text\":[\"x\"]} done");
    const char *failed =
        log_of(submit(eng, "{\"1\":{\"class_type\":\"RegexReplace\",\"inputs\":{\"string\":\"x\","
                           "\"regex_pattern\":\"(\",\"replace\":\"y\"}},\"2\":{\"class_type\":"
                           "\"PreviewAny\",\"inputs\":{"
                           "\"source\":[\"1\",0]}}}"));
    assert_true(strstr(failed, "cached start 1 error 1 invalid RegexReplace: ") == failed);
    engine_flow_spec bad = {.id = STR("job"), .graph = rig_parse(mem, "{}")};
    engine_stream *s;
    err e;
    assert_int_equal(engine_flow_submit(eng, &bad, NULL, NULL, &s, &e), ERR_INVALID);
    engine_destroy(&eng);
}

/* Jobs wait for each other; what waits can be cancelled; shutting down answers all. */
static void test_queue(void **state) {
    (void)state;
    fake f = {.weight_bytes = 1000};
    engine *eng = engine_make(&f, CLOCK_FOREVER);
    engine_stream *s[20];
    for (size_t i = 0; i < COUNT_OF(s); i++)
        s[i] = submit(eng, i % 2 ? SHOW_TEXT("x") : SHOW_TEXT("y"));
    engine_stream_cancel(s[19]);
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        const char *log = log_of(s[i]);
        if (i < 19) assert_non_null(strstr(log, "done"));
    }
    for (size_t i = 0; i < COUNT_OF(s); i++) s[i] = submit(eng, SHOW_TEXT("x"));
    for (size_t i = 1; i < COUNT_OF(s); i += 2) engine_stream_destroy(&s[i]);
    engine_destroy(&eng);
    for (size_t i = 0; i < COUNT_OF(s); i += 2) {
        const char *log = log_of(s[i]);
        assert_true(strstr(log, "done") || strstr(log, "cancelled"));
    }
}

/* A workflow asks a language model through the same scheduler. */
static void test_generate(void **state) {
    (void)state;
    fake f = {.weight_bytes = 1000};
    engine *eng = engine_make(&f, CLOCK_FOREVER);
    const char *asks =
        "{\"1\":{\"class_type\":\"HobGenerateText\",\"inputs\":{\"model\":\"m\",\"prompt\":\"p\","
        "\"system\":\"s\",\"seed\":1,\"max_tokens\":3,\"temperature\":0}},"
        "\"2\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"1\",0]}}}";
    assert_non_null(strstr(log_of(submit(eng, asks)), "error 1 not_found HobGenerateText"));
    engine_job_spec load = {.kind = ENGINE_JOB_LOAD,
                            .model = {.path = STR("/m"), .name = STR("m")}};
    engine_stream *s;
    err e;
    assert_int_equal(engine_submit(eng, &load, NULL, NULL, &s, &e), ERR_OK);
    engine_event ev;
    while (engine_stream_wait(s, 10 * NS_PER_S, &ev) && ev.kind != ENGINE_EVENT_DONE)
        assert_int_not_equal(ev.kind, ENGINE_EVENT_ERROR);
    engine_stream_destroy(&s);
    assert_string_equal(log_of(submit(eng, asks)),
                        "cached start 1 start 2 output 2 {\"text\":[\"aaa\"]} done");
    engine_destroy(&eng);
}

/* ---- turns and memory, from a thread that stands for the workflow's ---- */

/* The workflow thread is idle in these tests: they run its half of a job themselves. */
typedef struct rig_job {
    engine *eng;
    engine_flow *f;
    flow_job job;
    engine_stream *reader;
} rig_job;

static void rig_job_begin(rig_job *r, engine *eng) {
    err e;
    *r = (rig_job){.eng = eng, .f = eng->flow};
    r->job.stream = r->reader = stream_create(&eng->bell, NULL, NULL);
    pthread_mutex_lock(&eng->mu);
    r->f->running = &r->job;
    pthread_mutex_unlock(&eng->mu);
    if (flow_begin(r->f, &e)) fail_msg("%s", e.msg);
}

static void rig_job_end(rig_job *r) {
    flow_end(r->f);
    pthread_mutex_lock(&r->eng->mu);
    r->f->running = NULL;
    pthread_mutex_unlock(&r->eng->mu);
    stream_release(&r->job.stream);
    engine_stream_destroy(&r->reader);
}

static engine_stream *chat(engine *eng, int32_t n_predict) {
    engine_job_spec spec = {.kind = ENGINE_JOB_GENERATE,
                            .model = {.path = STR("/m"), .name = STR("m")},
                            .prompt = {.kind = ENGINE_PROMPT_RAW, .text = STR("x"), .shift = true},
                            .n_predict = n_predict};
    engine_stream *s;
    err e;
    if (engine_submit(eng, &spec, NULL, NULL, &s, &e)) fail_msg("%s", e.msg);
    return s;
}

static bool chat_is_over(engine_stream *s, size_t *n_text) {
    engine_event ev;
    while (engine_stream_next(s, &ev)) {
        if (ev.kind == ENGINE_EVENT_ERROR) fail_msg("%s", ev.error.msg);
        if (ev.kind == ENGINE_EVENT_TEXT) *n_text += ev.text.len;
        if (ev.kind == ENGINE_EVENT_DONE) return true;
    }
    return false;
}

/* A chat streams on while a picture computes in slices, and neither runs at the same time. */
static void test_turns(void **state) {
    (void)state;
    fake f = {.weight_bytes = 1000, .step_ns = NS_PER_MS / 5};
    engine *eng = engine_make(&f, CLOCK_FOREVER);
    rig_job r;
    err e;
    size_t n_text = 0, n_between = 0;
    engine_stream *s = chat(eng, 2000);
    rig_job_begin(&r, eng);
    bool over = false;
    int n_slices = 0;
    for (int last = -1; n_slices < 100000 && !over; n_slices++) {
        assert_int_equal(flow_pause(r.f, &e), ERR_OK);
        if (atomic_exchange(&f.in_step, true)) atomic_fetch_add(&f.n_collisions, 1);
        spend(NS_PER_MS / 2);
        atomic_store(&f.in_step, false);
        int now = atomic_load(&f.n_steps);
        if (last >= 0 && now > last) n_between++;
        last = now;
        over = chat_is_over(s, &n_text);
    }
    flow_give_back(r.f);
    while (!over) over = chat_is_over(s, &n_text);
    assert_int_equal(n_text, 2000);
    assert_int_equal(atomic_load(&f.n_collisions), 0);
    assert_true(n_between >= 5); /* steps came between slices, again and again */
    assert_true(n_slices >= 5);
    rig_job_end(&r);
    engine_stream_destroy(&s);
    engine_destroy(&eng);
}

static uint64_t reserved(engine *eng) {
    engine_stats st;
    engine_get_stats(eng, &st);
    return st.weight_bytes;
}

/* Until the ledger holds n bytes; the engine's thread gets there by itself. */
static void wait_reserved(engine *eng, uint64_t n) {
    for (int i = 0; i < 2000 && reserved(eng) != n; i++) {
        struct timespec ms = {0, 1000000};
        nanosleep(&ms, NULL);
    }
    assert_int_equal(reserved(eng), n);
}

static void chat_through(engine *eng) {
    size_t n_text = 0;
    engine_stream *s = chat(eng, 1);
    engine_event ev;
    do {
        if (!engine_stream_wait(s, 20 * NS_PER_S, &ev)) fail_msg("the chat hangs");
        if (ev.kind == ENGINE_EVENT_ERROR) fail_msg("%s", ev.error.msg);
        if (ev.kind == ENGINE_EVENT_TEXT) n_text += ev.text.len;
    } while (ev.kind != ENGINE_EVENT_DONE);
    assert_int_equal(n_text, 1);
    engine_stream_destroy(&s);
}

static void test_memory(void **state) {
    (void)state;
    fake f = {.weight_bytes = 1200};
    engine *eng = engine_make(&f, CLOCK_FOREVER);
    rig_job r;
    err e;
    chat_through(eng);
    assert_int_equal(atomic_load(&f.n_loaded), 1);
    rig_job_begin(&r, eng);
    assert_int_equal(flow_reserve(r.f, 3000, STR("model.safetensors"), &e),
                     ERR_DEVICE_NOMEM); /* never fits */
    assert_int_equal(flow_reserve(r.f, 500, STR("model.safetensors"), &e),
                     ERR_OK); /* beside the model */
    assert_int_equal(reserved(eng), 1700);
    assert_int_equal(flow_reserve(r.f, 700, STR("model.safetensors"), &e),
                     ERR_OK); /* the idle model goes */
    assert_int_equal(atomic_load(&f.n_loaded), 0);
    assert_int_equal(reserved(eng), 1200);
    flow_release(r.f, 700);
    assert_int_equal(reserved(eng), 1200); /* the cached model still holds it */
    assert_int_equal(flow_reserve(r.f, 700, STR("model.safetensors"), &e),
                     ERR_OK); /* the same again */
    assert_int_equal(reserved(eng), 1200);
    flow_release(r.f, 700);
    rig_job_end(&r);
    assert_int_equal(reserved(eng), 1200); /* kept for the next picture */
    engine_flow_free(eng, true, false);
    wait_reserved(eng, 500); /* what nobody released stays with its owner */
    chat_through(eng);       /* fits beside it */
    assert_int_equal(reserved(eng), 1700);
    rig_job_begin(&r, eng);
    assert_int_equal(flow_reserve(r.f, 1400, STR("model.safetensors"), &e), ERR_OK);
    assert_int_equal(atomic_load(&f.n_loaded), 0);
    flow_release(r.f, 1400);
    rig_job_end(&r);
    chat_through(eng); /* no picture runs: image models make room */
    assert_int_equal(atomic_load(&f.n_loaded), 1);
    assert_true(reserved(eng) <= 2000);
    engine_destroy(&eng);
}

/* Interrupted in the middle of waiting for a turn or for memory. */
static void test_interrupted(void **state) {
    (void)state;
    fake f = {.weight_bytes = 1000};
    engine *eng = engine_make(&f, CLOCK_FOREVER);
    rig_job r;
    err e;
    rig_job_begin(&r, eng);
    assert_int_equal(flow_pause(r.f, &e), ERR_OK);
    engine_stream_cancel(r.reader);
    assert_int_equal(flow_pause(r.f, &e), ERR_CANCELLED);
    assert_int_equal(flow_reserve(r.f, 10, STR("model.safetensors"), &e), ERR_CANCELLED);
    rig_job_end(&r);
    wait_reserved(eng, 0);
    assert_string_equal(log_of(submit(eng, SHOW_TEXT("x"))),
                        "cached start 1 start 2 output 2 {\"text\":[\"x\"]} done");
    engine_destroy(&eng);
}

static void test_keep_alive(void **state) {
    (void)state;
    fake f = {.weight_bytes = 1000};
    engine *eng = engine_make(&f, 0);
    rig_job r;
    err e;
    rig_job_begin(&r, eng);
    assert_int_equal(flow_reserve(r.f, 500, STR("model.safetensors"), &e), ERR_OK);
    assert_int_equal(reserved(eng), 500);
    rig_job_end(&r);
    wait_reserved(eng, 0);
    engine_destroy(&eng);
}

static int setup(void **state) {
    (void)state;
    mem = arena_create(0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_destroy(&mem);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),     cmocka_unit_test(test_queue),
        cmocka_unit_test(test_generate),   cmocka_unit_test(test_turns),
        cmocka_unit_test(test_memory),     cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_keep_alive),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
