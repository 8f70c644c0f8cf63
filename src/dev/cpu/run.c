/* Running a step: phases through the pool.
 *
 * A phase with much work is cut into chunks for all threads. Runs of phases with little (norms,
 * rope, quantisation of a single token) are done by the one thread that asks for the next phase,
 * so a decode step has about five hand-overs per layer. Only live rows are computed. */
#include "base/clock.h"
#include "dev/cpu/cpu.h"
#include <assert.h>
#include <string.h>

/* Below this estimate a phase is not worth waking other threads for. */
enum { SERIAL_NS = 6000 };

static double node_ns(const cpu_run *r, const cpu_node *n) {
    double units =
        n->op->units ? n->op->units(r, n) : (double)(n->n.out->ne[0] * cpu_rows(r, n->n.out));
    return units * (double)n->op->ns_per_unit;
}

static bool writes_nothing(const cpu_run *r, const dev_node *n) {
    return n->out && n->out->place == DEV_PLACE_OUTPUT && !r->step->outputs[n->out->slot];
}

/* Of a shared-out node's chunks, those of this part. */
static int32_t take_part(cpu_node *n, int32_t all) {
    if (n->n.n_parts <= 1) return all;
    n->chunk_from = (int32_t)((int64_t)all * n->n.part / n->n.n_parts);
    return (int32_t)((int64_t)all * (n->n.part + 1) / n->n.n_parts) - n->chunk_from;
}

/* Sets up the chunks of phase `ph`; returns their number and the estimated time of one thread. */
static int32_t open_phase(cpu_run *r, const cpu_phase *ph, double *ret_ns) {
    int64_t total = 0;
    *ret_ns = 0;
    r->first = ph->first;
    r->n_nodes = ph->n;
    for (int32_t i = 0; i < ph->n; i++) {
        cpu_node *n = &r->p->nodes[ph->first + i];
        if (!writes_nothing(r, &n->n)) {
            int32_t chunks = take_part(n, n->op->n_chunks(r, n));
            total += chunks;
            if (chunks > 0) *ret_ns += node_ns(r, n);
        }
        assert(total <= POOL_CHUNKS_MAX);
        r->chunk_end[i] = (int32_t)total;
    }
    return (int32_t)total;
}

static void run_node_chunk(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    chunk += n->chunk_from;
    if (!r->p->d->profile_on) {
        n->op->run_chunk(r, n, chunk, thread);
        return;
    }
    dev_profile *prof = &r->p->d->profile[thread];
    int64_t from = clock_mono_ns();
    n->op->run_chunk(r, n, chunk, thread);
    prof->op_ns[n->n.op] += clock_mono_ns() - from;
    if (chunk == 0) prof->op_count[n->n.op]++;
}

static void run_chunk(void *arg, int32_t thread, int32_t chunk) {
    cpu_run *r = arg;
    if (cpu_is_cancelled(r)) return;
    if (r->in_rope_phase) {
        int64_t from = r->p->d->profile_on ? clock_mono_ns() : 0;
        cpu_rope_run_chunk(r, chunk);
        if (r->p->d->profile_on) r->p->d->profile[thread].rope_table_ns += clock_mono_ns() - from;
        return;
    }
    int32_t i = 0;
    while (chunk >= r->chunk_end[i]) i++;
    run_node_chunk(r, &r->p->nodes[r->first + i], chunk - (i ? r->chunk_end[i - 1] : 0), thread);
}

static int32_t rope_phase(cpu_run *r, double *ret_ns) {
    r->in_rope_phase = true;
    *ret_ns = cpu_rope_ns(r);
    return cpu_rope_n_chunks(r);
}

static int32_t next_phase(void *arg, int32_t thread) {
    cpu_run *r = arg;
    for (;;) {
        if (cpu_is_cancelled(r)) {
            r->cancelled = true;
            return 0;
        }
        double ns;
        int32_t n;
        r->in_rope_phase = false;
        if (!r->rope_done) {
            r->rope_done = true;
            n = rope_phase(r, &ns);
        } else if (r->phase < r->phase_to) {
            n = open_phase(r, &r->p->phases[r->phase++], &ns);
        } else {
            return 0;
        }
        dev_profile *prof = &r->p->d->profile[thread];
        if (ns > SERIAL_NS && n > 1 && r->p->d->n_threads > 1) {
            if (r->p->d->profile_on) prof->n_parallel++;
            return n;
        }
        if (r->p->d->profile_on) prof->n_serial++;
        for (int32_t i = 0; i < n; i++) run_chunk(r, thread, i);
    }
}

static void waited(void *arg, int32_t thread, int64_t ns) {
    cpu_run *r = arg;
    r->p->d->profile[thread].wait_ns += ns;
}

err_code cpu_run_step(dev_program *base, const dev_step *step, int32_t phase_from, int32_t phase_to,
                      dev_cancel *cancel, err *e) {
    cpu_program *p = (cpu_program *)base;
    cpu_run r = {.p = p,
                 .step = step,
                 .cancel = cancel,
                 .phase = phase_from,
                 .phase_to = phase_to,
                 .rope_done = phase_from > 0 || p->n_rope == 0,
                 .chunk_end = p->chunk_end};
    bool profile_on = p->d->profile_on;
    int64_t from = profile_on ? clock_mono_ns() : 0;
    pool_job job = {.run_chunk = run_chunk,
                    .next_phase = next_phase,
                    .waited = profile_on ? waited : NULL,
                    .arg = &r};
    pthread_mutex_lock(&p->d->run_mu);
    pool_run(p->d->pool, &job);
    pthread_mutex_unlock(&p->d->run_mu);
    if (profile_on) p->d->profile[0].run_ns += clock_mono_ns() - from;
    if (r.cancelled || cpu_is_cancelled(&r)) FAIL(e, CANCELLED, "the step was cancelled");
    return ERR_OK;
}
