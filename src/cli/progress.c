/* Drawing progress lines. The rate is smoothed over some seconds; the time left follows from it. */
#include "cli/progress.h"
#include "base/clock.h"
#include "cli/format.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_MIN = 8, BAR_MAX = 40 };
static const double SMOOTH_S = 4;

void progress_init(progress *p) {
    *p = (progress){.live = isatty(STDERR_FILENO) != 0};
}

static void end_line(progress *p) {
    if (p->drawn) fputc('\n', stderr);
    p->drawn = false;
}

static void put_bar(buf *out, int64_t done, int64_t total, int width) {
    int full = total > 0 ? (int)((double)done / (double)total * width + 0.5) : 0;
    buf_put_str(out, STR("▕"));
    for (int i = 0; i < width; i++) buf_put_str(out, i < full ? STR("█") : STR(" "));
    buf_put_str(out, STR("▏"));
}

static void put_left(buf *out, double s) {
    if (s >= 3600)
        buf_putf(out, "%dh%02dm", (int)(s / 3600), (int)(s / 60) % 60);
    else if (s >= 60)
        buf_putf(out, "%dm%02ds", (int)(s / 60), (int)s % 60);
    else
        buf_putf(out, "%ds", (int)(s + 0.5));
}

static void take_rate(progress *p, int64_t now, int64_t done) {
    double dt = (double)(now - p->rated_ns) / 1e9;
    if (dt < 0.25) return;
    double rate = (double)(done - p->rated) / dt, part = dt / SMOOTH_S;
    if (part > 1 || p->rate == 0) part = 1;
    p->rate += (rate - p->rate) * part;
    p->rated = done;
    p->rated_ns = now;
}

static void draw(progress *p, int64_t done, int64_t total, bool whole) {
    buf tail = {0}, line = {0};
    int64_t now = clock_mono_ns();
    double s = (double)(now - p->began_ns) / 1e9;
    double rate = whole && s > 0 ? (double)(done - p->first) / s : p->rate;
    buf_put_char(&tail, ' ');
    format_bytes(&tail, done);
    buf_put_char(&tail, '/');
    format_bytes(&tail, total);
    if (rate > 0) {
        buf_put_str(&tail, STR("   "));
        format_bytes(&tail, (int64_t)rate);
        buf_put_str(&tail, STR("/s"));
        if (!whole) {
            buf_put_str(&tail, STR("   "));
            put_left(&tail, (double)(total - done) / rate);
        }
    }
    buf_putf(&line, STR_FMT ": %3d%% ", STR_ARG(buf_str(&p->status)),
             total ? (int)((double)done * 100 / (double)total) : 100);
    int room = (int)format_terminal_width() - (int)line.len - (int)tail.len - 12;
    if (room >= BAR_MIN) put_bar(&line, done, total, room < BAR_MAX ? room : BAR_MAX);
    fprintf(stderr, "\r%.*s%.*s\033[K", STR_ARG(buf_str(&line)), STR_ARG(buf_str(&tail)));
    fflush(stderr);
    p->drawn = true;
    p->drawn_ns = now;
    buf_finish(&tail);
    buf_finish(&line);
}

static void begin_line(progress *p, const char *status, int64_t done) {
    end_line(p);
    buf_clear(&p->status);
    buf_put_str(&p->status, str_from(status));
    p->began_ns = p->rated_ns = clock_mono_ns();
    p->first = p->rated = done;
    p->rate = 0;
    if (!p->live) fprintf(stderr, "%s\n", status);
}

void progress_show(progress *p, const char *status, int64_t done, int64_t total) {
    if (!str_eq(buf_str(&p->status), str_from(status))) begin_line(p, status, done);
    p->last = done;
    if (!p->live) return;
    int64_t now = clock_mono_ns();
    take_rate(p, now, done);
    bool whole = total > 0 && done >= total;
    if (total > 0 && (whole || !p->drawn || now - p->drawn_ns > 80 * NS_PER_MS)) {
        draw(p, done, total, whole);
    } else if (total <= 0 && !p->drawn) {
        fprintf(stderr, "%s", status);
        fflush(stderr);
        p->drawn = true;
    }
}

bool progress_line(const json_t *line, void *arg) {
    const char *status = json_string_value(json_object_get(line, "status"));
    if (status)
        progress_show(arg, status, json_integer_value(json_object_get(line, "completed")),
                      json_integer_value(json_object_get(line, "total")));
    return true;
}

void progress_finish(progress *p) {
    end_line(p);
    buf_finish(&p->status);
}
