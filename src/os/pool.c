/* The pool: one atomic ticket word says which phase is on and which chunk is next.
 *
 * ticket = phase number (24 bits) | chunks of the phase (20) | next chunk (20). Claiming is one
 * fetch_add; a claim is good iff next < chunks. A thread that holds a good claim keeps its phase
 * alive (`n_done` cannot reach the number of chunks), so it may read the job; a thread without one
 * may not. `epoch` counts published phases and is the word that idle threads sleep on. */
#include "os/pool.h"
#include "base/clock.h"
#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CACHE_LINE = 64, CHUNK_BITS = 20, CHUNK_MASK = (1 << CHUNK_BITS) - 1, SPIN_ROUNDS = 32 };

typedef struct pool_thread {
    pool *p;
    int32_t index;
    pthread_t id;
} pool_thread;

struct pool {
    _Alignas(CACHE_LINE) _Atomic uint64_t ticket;
    _Alignas(CACHE_LINE) _Atomic uint32_t n_done;
    _Alignas(CACHE_LINE) _Atomic uint32_t epoch;
    _Atomic int32_t n_sleeping;
    _Atomic bool stop;
    _Atomic bool busy; /* a job runs */
    pool_job job;      /* written while no chunk can be claimed */
    uint64_t phase;    /* of whoever publishes */
    int64_t spin_ns;
    int32_t n_threads;
    pool_thread threads[];
};

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_while(pool *p, uint32_t epoch) {
    atomic_fetch_add(&p->n_sleeping, 1);
    if (atomic_load(&p->epoch) == epoch)
        syscall(SYS_futex, &p->epoch, FUTEX_WAIT_PRIVATE, epoch, NULL, NULL, 0);
    atomic_fetch_sub(&p->n_sleeping, 1);
}

static void advance_epoch(pool *p) {
    atomic_fetch_add(&p->epoch, 1);
    if (atomic_load(&p->n_sleeping) > 0)
        syscall(SYS_futex, &p->epoch, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Starts a phase of n chunks, or ends the job with n = 0. */
static void publish(pool *p, int32_t n) {
    assert(n >= 0 && n <= POOL_CHUNKS_MAX);
    p->phase++;
    atomic_store_explicit(&p->n_done, 0, memory_order_relaxed);
    uint64_t ticket = p->phase << (2 * CHUNK_BITS) | (uint64_t)n << CHUNK_BITS;
    atomic_store_explicit(&p->ticket, ticket, memory_order_release);
    if (n == 0) atomic_store(&p->busy, false); /* from here on the next job may be published */
    advance_epoch(p);
}

static bool has_chunk(uint64_t ticket) {
    return (ticket & CHUNK_MASK) < (ticket >> CHUNK_BITS & CHUNK_MASK);
}

/* Claims and runs chunks until there are none to claim. */
static void work(pool *p, int32_t thread) {
    while (has_chunk(atomic_load_explicit(&p->ticket, memory_order_relaxed))) {
        uint64_t t = atomic_fetch_add_explicit(&p->ticket, 1, memory_order_acquire);
        if (!has_chunk(t)) continue;
        p->job.run_chunk(p->job.arg, thread, (int32_t)(t & CHUNK_MASK));
        uint32_t n_chunks = (uint32_t)(t >> CHUNK_BITS & CHUNK_MASK);
        if (atomic_fetch_add_explicit(&p->n_done, 1, memory_order_acq_rel) + 1 == n_chunks)
            publish(p, p->job.next_phase(p->job.arg, thread));
    }
}

/* Waits until the epoch moves on; spins first. */
static void wait_for_epoch(pool *p, uint32_t epoch) {
    int64_t until = clock_mono_ns() + p->spin_ns;
    do {
        for (int i = 0; i < SPIN_ROUNDS; i++) {
            if (atomic_load_explicit(&p->epoch, memory_order_acquire) != epoch) return;
            pause_cpu();
        }
    } while (clock_mono_ns() < until);
    sleep_while(p, epoch);
}

static void *thread_main(void *arg) {
    pool_thread *t = arg;
    pool *p = t->p;
    for (;;) {
        uint32_t epoch = atomic_load(&p->epoch);
        if (atomic_load(&p->stop)) return NULL;
        work(p, t->index);
        wait_for_epoch(p, epoch);
    }
}

pool *pool_create(int32_t n_threads, int64_t spin_ns) {
    assert(n_threads >= 1 && n_threads <= POOL_THREADS_MAX);
    size_t n_bytes = sizeof(pool) + (size_t)n_threads * sizeof(pool_thread);
    n_bytes = (n_bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    pool *p = aligned_alloc(CACHE_LINE, n_bytes);
    if (!p) abort();
    memset(p, 0, n_bytes);
    p->spin_ns = spin_ns;
    p->n_threads = 1;
    for (int32_t i = 1; i < n_threads; i++) {
        pool_thread *t = &p->threads[i];
        *t = (pool_thread){.p = p, .index = i};
        if (pthread_create(&t->id, NULL, thread_main, t) != 0) break;
        p->n_threads++;
    }
    return p;
}

void pool_destroy(pool **at) {
    if (!at || !*at) return;
    pool *p = *at;
    assert(!atomic_load(&p->busy));
    atomic_store(&p->stop, true);
    advance_epoch(p);
    for (int32_t i = 1; i < p->n_threads; i++) pthread_join(p->threads[i].id, NULL);
    free(p);
    *at = NULL;
}

int32_t pool_n_threads(const pool *p) {
    return p->n_threads;
}

static void run_alone(const pool_job *job) {
    for (int32_t n; (n = job->next_phase(job->arg, 0)) > 0;)
        for (int32_t i = 0; i < n; i++) job->run_chunk(job->arg, 0, i);
}

void pool_run(pool *p, const pool_job *job) {
    if (p->n_threads == 1) {
        run_alone(job);
        return;
    }
    int32_t n = job->next_phase(job->arg, 0);
    if (n == 0) return;
    p->job = *job;
    atomic_store(&p->busy, true);
    publish(p, n);
    for (;;) {
        uint32_t epoch = atomic_load(&p->epoch);
        work(p, 0);
        if (!atomic_load_explicit(&p->busy, memory_order_acquire)) return;
        int64_t from = job->waited ? clock_mono_ns() : 0;
        wait_for_epoch(p, epoch);
        if (job->waited) job->waited(job->arg, 0, clock_mono_ns() - from);
    }
}
