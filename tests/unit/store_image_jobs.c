/* store/image_jobs, image_assets, db: the queue's order, the history, restarts, full disks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "store/image_assets.h"
#include "store/image_jobs.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], path[128];
static db *d;
static arena *a;

static int setup(void **state) {
    (void)state;
    err e;
    snprintf(dir, sizeof dir, "/tmp/hob-jobs-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/below/hob.db", dir);
    assert_int_equal(db_open(path, &d, &e), ERR_OK);
    assert_int_equal(image_jobs_migrate(d, &e), ERR_OK);
    assert_int_equal(image_assets_migrate(d, &e), ERR_OK);
    a = arena_create(0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[200];
    db_close(&d);
    arena_destroy(&a);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static image_job job(const char *id, double number) {
    return (image_job){.id = str_from(id),
                       .number = number,
                       .graph = STR("{\"1\":{}}"),
                       .extra = STR("{}"),
                       .targets = STR("[]"),
                       .workflow_id = STR("w"),
                       .created_ms = 5};
}

static void insert(const char *id, double number) {
    err e = {0};
    image_job j = job(id, number);
    if (image_jobs_insert(d, &j, &e)) fail_msg("%s", e.msg);
    assert_true(j.seq > 0);
}

static void end(const char *id, image_job_state state) {
    image_job j = job(id, 0);
    j.state = state;
    j.ended_ms = 9;
    j.outputs = STR("{\"9\":{}}");
    j.messages = STR("[]");
    j.meta = STR("{}");
    assert_int_equal(image_jobs_finish(d, &j, NULL), ERR_OK);
}

static const char *ids(image_jobs_query q) {
    image_jobs_page page;
    buf b = {0};
    assert_int_equal(image_jobs_list(d, &q, a, &page, NULL), ERR_OK);
    for (size_t i = 0; i < page.n; i++) buf_putf(&b, STR_FMT " ", STR_ARG(page.jobs[i].id));
    buf_putf(&b, "/%d", (int)page.total);
    str s = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return s.ptr;
}

#define TURN(...) ids((image_jobs_query){.states = IMAGE_JOBS_LIVE, .limit = -1, __VA_ARGS__})

static void test_order(void **state) {
    (void)state;
    insert("b", 2);
    insert("c", 2);
    insert("a", 1);
    insert("front", -4);
    insert("late", 2.5);
    assert_string_equal(TURN(.order = IMAGE_JOBS_BY_TURN), "front a b c late /5");
    assert_int_equal(image_jobs_set_running(d, STR("c"), 7, NULL), ERR_OK);
    assert_string_equal(TURN(.order = IMAGE_JOBS_BY_TURN), "c front a b late /5");
    assert_string_equal(
        ids((image_jobs_query){.states = IMAGE_JOBS_WAITING, .limit = 1, .offset = 1}), "a /4");
    assert_int_equal(image_jobs_set_running(d, STR("c"), 7, NULL), ERR_NOT_FOUND);
    assert_string_equal(TURN(.workflow_id = STR("other")), "/0");
    assert_string_equal(TURN(.order = IMAGE_JOBS_BY_CREATED, .desc = true), "late front a c b /5");
}

static void test_history(void **state) {
    (void)state;
    image_job j;
    bool any;
    insert("a", 1);
    insert("b", 2);
    insert("c", 3);
    end("b", IMAGE_JOB_DONE);
    end("a", IMAGE_JOB_FAILED);
    image_jobs_query ended = {.states = IMAGE_JOBS_ENDED, .order = IMAGE_JOBS_BY_END, .limit = -1};
    assert_string_equal(ids(ended), "b a /2");
    assert_int_equal(image_jobs_find(d, STR("b"), a, &j, NULL), ERR_OK);
    assert_int_equal(j.state, IMAGE_JOB_DONE);
    assert_true(str_eq(j.outputs, STR("{\"9\":{}}")));
    assert_true(str_eq(j.graph, STR("{\"1\":{}}")));
    assert_int_equal(image_jobs_find(d, STR("x"), a, &j, NULL), ERR_NOT_FOUND);
    /* an id may be used again once its job has ended, not before */
    image_job again = job("c", 1);
    assert_int_equal(image_jobs_insert(d, &again, NULL), ERR_INVALID);
    insert("b", 9);
    assert_string_equal(ids(ended), "a /1");
    /* only what is in the states is deleted */
    assert_int_equal(image_jobs_delete(d, STR("b"), IMAGE_JOBS_ENDED, &any, NULL), ERR_OK);
    assert_false(any);
    assert_int_equal(image_jobs_delete(d, (str){0}, IMAGE_JOBS_ENDED, &any, NULL), ERR_OK);
    assert_true(any);
    assert_string_equal(TURN(.order = IMAGE_JOBS_BY_TURN), "c b /2");
    /* a job that has ended does not end again */
    image_job cancel = job("c", 0);
    cancel.state = IMAGE_JOB_CANCELLED;
    assert_int_equal(image_jobs_cancel_waiting(d, &cancel, &any, NULL), ERR_OK);
    assert_true(any);
    assert_int_equal(image_jobs_cancel_waiting(d, &cancel, &any, NULL), ERR_OK);
    assert_false(any);
}

/* Another process is killed in the middle of writing; what was answered is there. */
static void test_kill(void **state) {
    (void)state;
    int pipe_fds[2];
    char id[16] = "";
    db_close(&d);
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        if (db_open(path, &d, NULL) || image_jobs_migrate(d, NULL)) _exit(1);
        for (int i = 0;; i++) {
            snprintf(id, sizeof id, "job%05d", i);
            image_job j = job(id, i);
            if (image_jobs_insert(d, &j, NULL)) _exit(1);
            if (i == 0) image_jobs_set_running(d, j.id, 1, NULL);
            if (write(pipe_fds[1], id, sizeof id) != sizeof id) _exit(1);
        }
    }
    for (int i = 0; i < 20; i++) assert_int_equal(read(pipe_fds[0], id, sizeof id), sizeof id);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(pipe_fds[1]);
    ssize_t n;
    while ((n = read(pipe_fds[0], id, sizeof id)) == sizeof id) {
    }
    close(pipe_fds[0]);
    assert_int_equal(db_open(path, &d, NULL), ERR_OK);
    assert_int_equal(image_jobs_migrate(d, NULL), ERR_OK);
    image_job j;
    assert_int_equal(image_jobs_find(d, str_from(id), a, &j, NULL), ERR_OK);
    assert_int_equal(image_jobs_find(d, STR("job00000"), a, &j, NULL), ERR_OK);
    assert_int_equal(j.state, IMAGE_JOB_QUEUED); /* it starts again */
    assert_int_equal(j.started_ms, 0);
}

static void *insert_some(void *arg) {
    char id[16];
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "t%d-%d", (int)(intptr_t)arg, i);
        image_job j = job(id, i);
        if (image_jobs_insert(d, &j, NULL)) return arg;
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t t[4];
    void *bad;
    int64_t n;
    for (intptr_t i = 0; i < 4; i++) pthread_create(&t[i], NULL, insert_some, (void *)(i + 1));
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    assert_int_equal(image_jobs_count(d, IMAGE_JOBS_LIVE, &n, NULL), ERR_OK);
    assert_int_equal(n, 80);
}

static err_code shrink(sqlite3 *conn, void *arg, err *e) {
    (void)arg, (void)e;
    return sqlite3_exec(conn, "PRAGMA max_page_count = 30", NULL, NULL, NULL) ? ERR_IO : ERR_OK;
}

static void test_full_disk(void **state) {
    (void)state;
    err e = {0};
    err_code code = ERR_OK;
    int64_t n = 0;
    int stored = 0;
    assert_int_equal(db_read(d, shrink, NULL, NULL), ERR_OK);
    assert_int_equal(db_write(d, shrink, NULL, NULL), ERR_OK);
    for (int i = 0; i < 1000 && !code; i++) {
        char id[16];
        snprintf(id, sizeof id, "f%d", i);
        image_job j = job(id, i);
        char *big = calloc(1, 4001);
        memset(big, 'x', 4000);
        j.extra = str_from(big);
        code = image_jobs_insert(d, &j, &e);
        if (!code) stored++;
        free(big);
    }
    assert_int_equal(code, ERR_IO);
    assert_non_null(strstr(e.msg, "full"));
    assert_int_equal(image_jobs_count(d, IMAGE_JOBS_LIVE, &n, NULL), ERR_OK);
    assert_int_equal(n, stored); /* nothing half-written */
}

static void test_newer_database(void **state) {
    (void)state;
    static const char *const steps[] = {"CREATE TABLE x(y)", "CREATE TABLE z(y)"};
    err e;
    assert_int_equal(db_migrate(d, "test", steps, 1, &e), ERR_OK);
    assert_int_equal(db_migrate(d, "test", steps, 2, &e), ERR_OK);
    assert_int_equal(db_migrate(d, "test", steps, 2, &e), ERR_OK);
    assert_int_equal(db_migrate(d, "test", steps, 1, &e), ERR_UNSUPPORTED);
}

static void test_keys(void **state) {
    (void)state;
    int64_t now = 1000;
    assert_int_equal(image_keys_claim(d, STR("k"), STR("a"), now, NULL), ERR_OK);
    assert_int_equal(image_keys_claim(d, STR("k"), STR("b"), now, NULL), ERR_BUSY);
    assert_int_equal(image_keys_release(d, STR("k"), NULL), ERR_OK);
    assert_int_equal(image_keys_claim(d, STR("k"), STR("b"), now, NULL), ERR_OK);
    now += LIMIT_IDEMPOTENCY_MS + 1;
    assert_int_equal(image_keys_claim(d, STR("k"), STR("c"), now, NULL), ERR_OK);
}

static void test_assets(void **state) {
    (void)state;
    image_asset x = {.id = STR("1"),
                     .hash = STR("blake3:a"),
                     .n_bytes = 3,
                     .content_type = STR("image/png"),
                     .name = STR("x.png"),
                     .path = STR("/p/x"),
                     .reference = STR("v2/x"),
                     .created_ms = 1,
                     .owner = STR("ann")};
    image_asset got;
    bool last;
    assert_int_equal(image_assets_insert(d, &x, NULL), ERR_OK);
    x.id = STR("2");
    x.created_ms = 2;
    x.expires_ms = 3; /* long ago */
    assert_int_equal(image_assets_insert(d, &x, NULL), ERR_OK);
    assert_int_equal(image_assets_find(d, STR("ann"), STR("1"), a, &got, NULL), ERR_OK);
    assert_int_equal(got.n_bytes, 3);
    assert_int_equal(image_assets_find(d, STR(""), STR("2"), a, &got, NULL), ERR_NOT_FOUND);
    assert_int_equal(image_assets_find(d, STR("bob"), STR("1"), a, &got, NULL), ERR_NOT_FOUND);
    assert_int_equal(image_assets_by_hash(d, STR("bob"), STR("blake3:a"), a, &got, NULL),
                     ERR_NOT_FOUND);
    assert_int_equal(image_assets_by_hash(d, STR(""), STR("blake3:a"), a, &got, NULL), ERR_OK);
    assert_true(str_eq(got.id, STR("1")));
    assert_int_equal(image_assets_by_path(d, STR("/p/y"), a, &got, NULL), ERR_NOT_FOUND);
    assert_int_equal(image_assets_delete(d, STR("1"), &last, NULL), ERR_OK);
    assert_false(last);
    assert_int_equal(image_assets_delete(d, STR("2"), &last, NULL), ERR_OK);
    assert_true(last);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_order),     T(test_history),        T(test_kill), T(test_threads),
        T(test_full_disk), T(test_newer_database), T(test_keys), T(test_assets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
