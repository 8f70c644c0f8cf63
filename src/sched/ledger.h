/* The memory ledger: every byte on a device is reserved here before it is used.
 *
 * Pure bookkeeping: no clock, no thread, no allocation. The scheduler owns one per device and
 * calls it under its own lock; `reserved` and `peak` may be read by whoever holds that lock. */
#pragma once
#include "base/err.h"
#include <stdint.h>

typedef enum sched_kind {
    SCHED_WEIGHTS, /* bytes of mapped or uploaded model files */
    SCHED_KV,      /* pages of key and value caches, cached prefixes included */
    SCHED_PLAN,    /* step arenas and logits */
    SCHED_STAGING, /* buffers of uploads */
    SCHED_KIND_COUNT
} sched_kind;

typedef struct sched_ledger {
    uint64_t budget_bytes;
    uint64_t reserved_bytes[SCHED_KIND_COUNT];
    uint64_t peak_bytes; /* largest sum ever reserved */
} sched_ledger;

void sched_ledger_init(sched_ledger *l, uint64_t budget_bytes);
uint64_t sched_ledger_reserved(const sched_ledger *l); /* sum over all kinds */
uint64_t sched_ledger_free(const sched_ledger *l);

/* Takes n_bytes of the budget; ERR_DEVICE_NOMEM (nothing changes) names what is missing. */
err_code sched_ledger_reserve(sched_ledger *l, sched_kind kind, uint64_t n_bytes, err *e);
/* Gives back what was reserved; more than that is a programmer's error. */
void sched_ledger_release(sched_ledger *l, sched_kind kind, uint64_t n_bytes);
const char *sched_kind_name(sched_kind kind); /* "weights" ... never NULL */
