/* One line an event on standard error; a single write, so lines never mix. */
#include "base/log.h"
#include "base/buf.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static _Atomic int max_level = LOG_INFO;

void log_set_level(log_level level) {
    atomic_store(&max_level, (int)level);
}

/* The last lines, for whoever asks later. */
enum { KEPT = 300 };
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char *line;
    int64_t wall_ns;
} kept[KEPT];
static size_t n_kept; /* ever */

static void keep(const buf *line, int64_t wall_ns) {
    char *copy = mem_alloc(line->len + 1);
    memcpy(copy, line->ptr, line->len);
    copy[line->len] = '\0';
    pthread_mutex_lock(&kept_lock);
    size_t slot = n_kept++ % KEPT;
    mem_free(kept[slot].line);
    kept[slot].line = copy;
    kept[slot].wall_ns = wall_ns;
    pthread_mutex_unlock(&kept_lock);
}

log_record *log_recent(arena *a, size_t *ret_n) {
    pthread_mutex_lock(&kept_lock);
    size_t n = n_kept < KEPT ? n_kept : KEPT;
    log_record *list = ARENA_ARRAY(a, log_record, n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t at = n_kept - n + i;
        str line = str_dup(a, str_from(kept[at % KEPT].line));
        list[i].when = str_cut(&line, ' ');
        list[i].text = line;
        list[i].wall_ns = kept[at % KEPT].wall_ns;
        list[i].n = at + 1;
    }
    pthread_mutex_unlock(&kept_lock);
    *ret_n = n;
    return list;
}

void log_line(log_level level, const char *fmt, ...) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if ((int)level > atomic_load(&max_level)) return;
    char now[CLOCK_TEXT_BYTES];
    int64_t wall_ns = clock_wall_ns();
    buf b = {0};
    buf_putf(&b, "%s %s ", clock_rfc3339_local(now, wall_ns / NS_PER_MS * NS_PER_MS), names[level]);
    va_list args;
    va_start(args, fmt);
    buf_vputf(&b, fmt, args);
    va_end(args);
    for (size_t i = 0; i < b.len; i++)
        if (b.ptr[i] == '\n' || b.ptr[i] == '\r') b.ptr[i] = ' '; /* one event, one line */
    buf_put_char(&b, '\n');
    keep(&b, wall_ns);
    ssize_t ignored = write(STDERR_FILENO, b.ptr, b.len);
    (void)ignored;
    buf_finish(&b);
}
