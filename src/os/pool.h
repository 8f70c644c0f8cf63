/* A pool of threads that runs chains of phases, each cut into chunks.
 *
 * pool_run hands out the chunks of the first phase to whichever thread is free; whoever finishes
 * the last chunk of a phase asks the job for the next one. A thread that the system has taken off
 * its core while it holds no chunk holds up nobody: there is no barrier that all must reach. A
 * thread without work spins for spin_ns, then sleeps until there is a new phase, so that a busy
 * neighbour gets the core. The caller of pool_run is thread 0 and works too; with n_threads = 1
 * there is no other. Threads: one pool_run at a time; create and destroy from the same thread. */
#pragma once
#include <stdint.h>

typedef struct pool pool;

enum { POOL_CHUNKS_MAX = 1 << 19, POOL_THREADS_MAX = 256 };

typedef struct pool_job {
    /* Runs one chunk of the current phase; `thread` is in [0, n_threads). */
    void (*run_chunk)(void *arg, int32_t thread, int32_t chunk);
    /* Called by one thread at a time, when all chunks of the phase before are done (and at first):
     * the number of chunks of the next phase, at most POOL_CHUNKS_MAX; 0 ends the job. Everything
     * written before is visible to it, and what it writes is visible to the chunks. */
    int32_t (*next_phase)(void *arg, int32_t thread);
    /* May be NULL: told how long `thread` waited for work inside the job. */
    void (*waited)(void *arg, int32_t thread, int64_t ns);
    void *arg;
} pool_job;

/* n_threads in [1, POOL_THREADS_MAX]. If the system refuses threads the pool has fewer. */
pool *pool_create(int32_t n_threads, int64_t spin_ns);
void pool_destroy(pool **p); /* not while a job runs */
int32_t pool_n_threads(const pool *p);

/* Returns when the job has ended; everything its chunks wrote is visible to the caller. */
void pool_run(pool *p, const pool_job *job);
