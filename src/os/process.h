/* Other programs, confined: fixed arguments, no shell, an empty environment, limits on processor
 * time, memory and output, no network where the system allows to take it away. Threads: any. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

typedef struct process_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked for in /usr/bin and /bin */
    int cpu_s, wall_s;
    uint64_t memory_bytes; /* address space */
    size_t output_bytes;   /* more of standard output is cut off */
} process_spec;

/* Runs it and appends its standard output to *out. NOT_FOUND: there is no such program; LIMIT: it
 * took too long; INVALID: it failed, with the end of what it wrote to standard error. */
err_code process_run(const process_spec *s, buf *out, err *e);
