/* See guard.h. The handler looks through the table without a lock: a slot's end is written before
 * its begin, and cleared after it. */
#include "os/guard.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct slot {
    _Atomic uintptr_t begin, end; /* begin 0: free */
    atomic_bool broken;
} slot;

static slot slots[GUARD_MAPS_MAX];
static atomic_int n_used; /* slots that were ever taken */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t page_bytes;

/* Zeros from the page of `at` to the end of its mapping. */
static bool patch(uintptr_t at) {
    int n = atomic_load(&n_used);
    for (int i = 0; i < n; i++) {
        uintptr_t begin = atomic_load(&slots[i].begin), end = atomic_load(&slots[i].end);
        if (!begin || at < begin || at >= end) continue;
        uintptr_t page = at - at % page_bytes;
        atomic_store(&slots[i].broken, true);
        return mmap((void *)page, end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                    -1, 0) != MAP_FAILED;
    }
    return false;
}

static void on_fault(int sig, siginfo_t *info, void *context) {
    (void)context;
    int saved = errno;
    if (!patch((uintptr_t)info->si_addr)) signal(sig, SIG_DFL); /* and again, to die of it */
    errno = saved;
}

static void install(void) {
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGBUS, &sa, NULL);
}

/* The slot of a mapping, or, for 0, the first free one; NULL: none. */
static slot *slot_at(uintptr_t begin) {
    int n = begin ? atomic_load(&n_used) : GUARD_MAPS_MAX;
    for (int i = 0; i < n; i++)
        if (atomic_load(&slots[i].begin) == begin) return &slots[i];
    return NULL;
}

void guard_add(const void *ptr, uint64_t n_bytes) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    pthread_mutex_lock(&mu);
    slot *s = slot_at(0);
    if (s) {
        atomic_store(&s->broken, false);
        atomic_store(&s->end, (uintptr_t)ptr + (uintptr_t)n_bytes);
        atomic_store(&s->begin, (uintptr_t)ptr);
        if (s - slots >= atomic_load(&n_used)) atomic_store(&n_used, (int)(s - slots) + 1);
    }
    pthread_mutex_unlock(&mu);
}

void guard_remove(const void *ptr) {
    pthread_mutex_lock(&mu);
    slot *s = ptr ? slot_at((uintptr_t)ptr) : NULL;
    if (s) atomic_store(&s->begin, 0);
    pthread_mutex_unlock(&mu);
}

bool guard_is_broken(const void *ptr) {
    pthread_mutex_lock(&mu);
    slot *s = ptr ? slot_at((uintptr_t)ptr) : NULL;
    bool broken = s && atomic_load(&s->broken);
    pthread_mutex_unlock(&mu);
    return broken;
}
