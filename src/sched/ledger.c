/* The memory ledger: see ledger.h. The sum of all kinds never exceeds the budget; arithmetic cannot
 * wrap because every addition is checked against what is free first. */
#include "sched/ledger.h"
#include <assert.h>

void sched_ledger_init(sched_ledger *l, uint64_t budget_bytes) {
    *l = (sched_ledger){.budget_bytes = budget_bytes};
}

uint64_t sched_ledger_reserved(const sched_ledger *l) {
    uint64_t sum = 0;
    for (int i = 0; i < SCHED_KIND_COUNT; i++) sum += l->reserved_bytes[i];
    return sum;
}

uint64_t sched_ledger_free(const sched_ledger *l) {
    return l->budget_bytes - sched_ledger_reserved(l);
}

const char *sched_kind_name(sched_kind kind) {
    static const char *const names[SCHED_KIND_COUNT] = {"weights", "kv", "plan", "staging"};
    return (unsigned)kind < SCHED_KIND_COUNT ? names[kind] : "unknown";
}

err_code sched_ledger_reserve(sched_ledger *l, sched_kind kind, uint64_t n_bytes, err *e) {
    assert((unsigned)kind < SCHED_KIND_COUNT);
    uint64_t free_bytes = sched_ledger_free(l);
    if (n_bytes > free_bytes)
        FAIL(e, DEVICE_NOMEM, "%s needs %.1f MiB, but %.1f of %.1f MiB are free",
             sched_kind_name(kind), (double)n_bytes / 1048576.0, (double)free_bytes / 1048576.0,
             (double)l->budget_bytes / 1048576.0);
    l->reserved_bytes[kind] += n_bytes;
    uint64_t sum = sched_ledger_reserved(l);
    if (sum > l->peak_bytes) l->peak_bytes = sum;
    return ERR_OK;
}

void sched_ledger_release(sched_ledger *l, sched_kind kind, uint64_t n_bytes) {
    assert((unsigned)kind < SCHED_KIND_COUNT);
    assert(n_bytes <= l->reserved_bytes[kind]);
    l->reserved_bytes[kind] -= n_bytes;
}
