/* Progress of pull, push and create on the terminal: one line for each thing, redrawn in place.
 *
 *   pulling 4f659a1e86d7:  45% ▕███████           ▏ 1.2 GB/4.7 GB   11 MB/s   4m28s
 *
 * Where standard error is no terminal each status is printed once, without figures. Threads: one.
 */
#pragma once
#include "base/buf.h"
#include "cli/client.h"

typedef struct progress {
    buf status; /* of the line that is being drawn */
    bool live;  /* standard error is a terminal */
    bool drawn;
    int64_t began_ns, drawn_ns; /* monotonic: of this line */
    int64_t first, last;        /* bytes when it began, and now */
    double rate;                /* bytes a second, smoothed */
    int64_t rated_ns, rated;    /* where the rate was last taken */
} progress;

void progress_init(progress *p);
void progress_show(progress *p, const char *status, int64_t done, int64_t total);
/* Takes one line of the server's stream. As cli_line_fn: arg is the progress. */
bool progress_line(const json_t *line, void *arg);
void progress_finish(progress *p); /* ends the line */
