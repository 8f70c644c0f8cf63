/* Cutting large nodes of pictures into chunks.
 *
 * The planner shares such a node out over several phases, and each ends when its last chunk does:
 * two threads with three equal chunks are as slow as with four. But every chunk packs its rows, and
 * the kernels of its panels, for itself, so many small chunks cost more than few large ones. The
 * estimate below weighs both; how a node is cut does not change results. */
#include "dev/cpu/cpu.h"

enum { ROUNDS_MAX = 8 }; /* chunks for each thread and phase that are worth trying */

/* Of all rounds of a phase's chunks, a tenth of a chunk is lost to threads that are not alike. */
#define LOST 0.1

static double cost(const cpu_cut_params *p, const cpu_cut *c) {
    double panels = (double)cpu_div_up(c->panels, c->runs), rows = (double)c->block;
    double chunk = panels * (rows + p->panel_cost) + rows * p->row_cost;
    int64_t in_phase = cpu_div_up(cpu_cut_chunks(c), p->n_parts);
    return (double)p->n_parts * ((double)cpu_div_up(in_phase, p->n_threads) + LOST) * chunk;
}

static cpu_cut with_blocks(const cpu_cut_params *p, int64_t runs, int64_t blocks) {
    cpu_cut c = {.n = p->n, .times = p->times, .panels = p->panels, .runs = runs};
    c.block = cpu_div_up(cpu_div_up(c.n, blocks), p->unit) * p->unit;
    c.blocks = cpu_div_up(c.n, c.block);
    return c;
}

cpu_cut cpu_cut_find(const cpu_cut_params *p) {
    int64_t most = cpu_max(p->unit, p->most / p->unit * p->unit);
    int64_t fewest = cpu_div_up(p->n, most), n_parts = cpu_max(1, p->n_parts);
    cpu_cut_params q = *p;
    q.n_parts = n_parts;
    cpu_cut best = with_blocks(&q, 1, fewest);
    double least = cost(&q, &best);
    for (int64_t runs = 1; runs <= p->panels;) {
        for (int64_t m = 0; m <= ROUNDS_MAX; m++) {
            int64_t blocks = cpu_div_up(m * p->n_threads * n_parts, runs * p->times);
            if (m > 0 && blocks <= fewest && blocks > 0) continue;
            cpu_cut c = with_blocks(&q, runs, cpu_min(p->n, cpu_max(fewest, blocks)));
            double now = cost(&q, &c);
            if (now < least) best = c, least = now;
        }
        int64_t size = cpu_div_up(p->panels, runs); /* of a run; next, fewer panels */
        runs = size > 1 ? cpu_max(runs + 1, cpu_div_up(p->panels, size - 1)) : p->panels + 1;
    }
    return best;
}
