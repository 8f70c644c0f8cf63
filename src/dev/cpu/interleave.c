/* Putting a matrix into the order its kernels read fastest, with all threads: one phase of the
 * pool, whose chunks are runs of tiles. */
#include "dev/cpu/cpu.h"

/* Of source bytes a chunk. */
enum { CHUNK_BYTES = 256 << 10 };

typedef struct interleave_job {
    dtype type;
    const char *src;
    char *dst;
    int64_t k, n_tiles, per_chunk;
    int64_t tile_bytes, stride;
    bool begun;
} interleave_job;

static int32_t next_phase(void *arg, int32_t thread) {
    interleave_job *j = arg;
    (void)thread;
    if (j->begun) return 0;
    j->begun = true;
    return (int32_t)cpu_div_up(j->n_tiles, j->per_chunk);
}

static void run_chunk(void *arg, int32_t thread, int32_t chunk) {
    const interleave_job *j = arg;
    int64_t end = cpu_min((chunk + 1) * j->per_chunk, j->n_tiles);
    (void)thread;
    for (int64_t i = chunk * j->per_chunk; i < end; i++)
        kern_interleave(j->type, j->src + i * j->tile_bytes, j->stride, j->k,
                        j->dst + i * j->tile_bytes);
}

/* The plain C kernels gain nothing from it. */
bool cpu_can_interleave(const dev *base, dtype type, int64_t k, int64_t n_rows) {
    const cpu_dev *d = (const cpu_dev *)base;
    return d->level > KERN_LEVEL_REF && n_rows % KERN_TILE_ROWS == 0 &&
           kern_can_interleave(type, k);
}

void cpu_interleave(dev *base, dtype type, const void *src, int64_t k, int64_t n_rows, void *dst) {
    cpu_dev *d = (cpu_dev *)base;
    uint64_t row = 0;
    dtype_row_bytes(type, k, &row);
    interleave_job j = {.type = type,
                        .src = src,
                        .dst = dst,
                        .k = k,
                        .n_tiles = n_rows / KERN_TILE_ROWS,
                        .tile_bytes = (int64_t)row * KERN_TILE_ROWS,
                        .stride = (int64_t)row};
    j.per_chunk = cpu_max(1, CHUNK_BYTES / j.tile_bytes);
    while (cpu_div_up(j.n_tiles, j.per_chunk) > POOL_CHUNKS_MAX) j.per_chunk *= 2;
    pthread_mutex_lock(&d->run_mu);
    pool_run(d->pool, &(pool_job){.run_chunk = run_chunk, .next_phase = next_phase, .arg = &j});
    pthread_mutex_unlock(&d->run_mu);
}
