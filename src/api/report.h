/* Long work that answers with lines of progress: pull, push, create.
 *
 * A line is {"status", "digest"?, "total"?, "completed"?}; the last one is "success" or {"error"}.
 * With `stream` false only the end is answered, with its own status. The work runs on a thread of
 * tasks.h. Owner: whoever made it, until report_start; then the task. */
#pragma once
#include "api/api.h"

typedef struct report report;

/* `work` does it and calls report_line (false: the client is gone, stop); `drop` frees its arg. */
typedef struct report_job {
    err_code (*work)(report *r, void *arg, err *e);
    void (*drop)(void *arg);
    void *arg;
    int error_status; /* of every error when not streaming; 0 = by its code */
} report_job;

/* Answers r later: from here on the job owns its arg. */
void report_start(api *a, http_request *r, bool stream, const report_job *job);

/* report_line as registry_report and create_report have it: arg is the report. */
bool report_line(void *arg, const char *status, str digest, uint64_t done, uint64_t total);
