/* The program's log: one line an event on standard error, "time level message".
 * Only sched, http, api, cli and main log; library layers return errors. Threads: any. */
#pragma once
#include "base/str.h"

typedef enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } log_level;

void log_set_level(log_level max_level); /* default LOG_INFO */
void log_line(log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* The last lines (at most 300), oldest first, in `a`. */
typedef struct log_record {
    str when; /* RFC 3339, local */
    str text; /* "level message" with its line end */
    int64_t wall_ns;
    uint64_t n; /* which line since the start, from 1 */
} log_record;
log_record *log_recent(arena *a, size_t *ret_n);
