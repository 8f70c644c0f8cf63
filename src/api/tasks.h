/* Work that takes longer than a request may hold an HTTP thread: a thread of its own for each.
 *
 * api_tasks_wait, at shutdown, returns when the last one has ended. Threads: any. */
#pragma once

typedef struct tasks tasks;

tasks *tasks_create(void);
void tasks_destroy(tasks **t); /* waits for all */
/* Runs fn(arg) on a new thread, or on this one when no thread can be had. */
void tasks_run(tasks *t, void (*fn)(void *arg), void *arg);
