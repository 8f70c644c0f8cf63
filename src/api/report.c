/* Progress lines. */
#include "api/report.h"
#include "api/tasks.h"
#include "base/clock.h"
#include "http/json.h"
#include "http/stream.h"
#include <stdatomic.h>
#include <string.h>

struct report {
    report_job job;
    http_stream *out;
    bool stream;
    atomic_bool gone;
};

static void write_line(report *r, json_t *line) {
    buf b = {0};
    json_write(&b, line);
    buf_put_char(&b, '\n');
    http_stream_write(r->out, buf_str(&b));
    buf_finish(&b);
    json_decref(line);
}

bool report_line(void *arg, const char *status, str digest, uint64_t done, uint64_t total) {
    report *r = arg;
    if (!r->stream) return !atomic_load(&r->gone);
    json_t *line = json_object();
    json_object_set_new(line, "status", json_string(status));
    if (digest.len) json_object_set_new(line, "digest", json_stringn(digest.ptr, digest.len));
    if (total) json_object_set_new(line, "total", json_integer((json_int_t)total));
    if (total && done) json_object_set_new(line, "completed", json_integer((json_int_t)done));
    write_line(r, line);
    return !atomic_load(&r->gone);
}

static void on_gone(void *arg) {
    atomic_store(&((report *)arg)->gone, true);
}

static json_t *error_object(const err *e) {
    value note = {.kind = VALUE_STR, .as.text = str_from(e->msg)};
    json_t *o = json_object();
    json_object_set_new(o, "error", json_from_value(&note));
    return o;
}

static void run(void *arg) {
    report *r = arg;
    err e = {0};
    err_code code = r->job.work(r, r->job.arg, &e);
    if (r->stream) {
        if (code) write_line(r, error_object(&e));
        http_stream_end(r->out);
    } else {
        json_t *answer = code ? error_object(&e) : json_pack("{s:s}", "status", "success");
        int status = r->job.error_status ? r->job.error_status : err_http_status(code);
        http_stream_reply_json(r->out, code ? status : 200, answer);
        json_decref(answer);
    }
    http_stream_destroy(&r->out);
    r->job.drop(r->job.arg);
    mem_free(r);
}

void report_start(api *a, http_request *request, bool stream, const report_job *job) {
    report *r = NEW(report);
    r->job = *job;
    r->stream = stream;
    r->out = http_stream_create(request, "application/x-ndjson", on_gone, r);
    tasks_run(a->tasks, run, r);
}
