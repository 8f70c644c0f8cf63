/* Large memory and what the machine has of it.
 *
 * Weights, KV pages and plan arenas are allocated here, straight from the system: failure is an
 * error value that the ledger can act upon, zeroed pages cost nothing until touched, and freeing
 * gives them back at once. Everything small goes through base/mem.h. Threads: any. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct os_mem {
    void *ptr;         /* page-aligned and zeroed; 2 MiB-aligned when huge pages were asked for */
    uint64_t n_bytes;  /* as asked for; 0 and ptr NULL when empty */
    uint64_t n_mapped; /* bytes held from the system */
    void *base;        /* of the mapping */
} os_mem;

enum {
    OS_MEM_HUGE = 1,  /* ask for transparent huge pages: fewer TLB misses in big sweeps */
    OS_MEM_TOUCH = 2, /* fault every page now, so that using it later cannot fail or stall */
};

/* Allocates n_bytes (0 gives an empty block). NOMEM with both numbers when the system refuses, or
 * when TOUCH is asked for and it is more than the available bytes. */
err_code os_mem_alloc(uint64_t n_bytes, unsigned flags, os_mem *ret, err *e);
void os_mem_free(os_mem *m); /* leaves it empty; an empty one is allowed */

/* Tells the system that the pages of a range may go; they read as zero afterwards. Rounded inwards
 * to pages. */
void os_mem_discard(const os_mem *m, uint64_t offset, uint64_t n_bytes);

typedef struct os_mem_info {
    uint64_t total_bytes;     /* RAM, or the limit of our control group when that is less */
    uint64_t available_bytes; /* what could be allocated without swapping; the same bound */
    uint64_t rss_bytes;       /* resident pages of this process */
} os_mem_info;

/* Zero fields where the system does not say. Reads /proc: microseconds, not for inner loops. */
os_mem_info os_mem_query(void);
