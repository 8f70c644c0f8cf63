/* One line an event on standard error; a single write, so lines never mix. */
#include "base/log.h"
#include "base/buf.h"
#include "base/clock.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

static _Atomic int max_level = LOG_INFO;

void log_set_level(log_level level) {
    atomic_store(&max_level, (int)level);
}

void log_line(log_level level, const char *fmt, ...) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if ((int)level > atomic_load(&max_level)) return;
    char now[CLOCK_TEXT_BYTES];
    buf b = {0};
    buf_putf(&b, "%s %s ", clock_rfc3339_local(now, clock_wall_ns() / NS_PER_MS * NS_PER_MS),
             names[level]);
    va_list args;
    va_start(args, fmt);
    buf_vputf(&b, fmt, args);
    va_end(args);
    for (size_t i = 0; i < b.len; i++)
        if (b.ptr[i] == '\n' || b.ptr[i] == '\r') b.ptr[i] = ' '; /* one event, one line */
    buf_put_char(&b, '\n');
    ssize_t ignored = write(STDERR_FILENO, b.ptr, b.len);
    (void)ignored;
    buf_finish(&b);
}
