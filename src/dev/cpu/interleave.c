/* Putting a matrix into the order its kernels read fastest. */
#include "dev/cpu/cpu.h"

/* The plain C kernels gain nothing from it. */
bool cpu_can_interleave(const dev *base, dtype type, int64_t k, int64_t n_rows) {
    const cpu_dev *d = (const cpu_dev *)base;
    return d->level > KERN_LEVEL_REF && n_rows % KERN_TILE_ROWS == 0 &&
           kern_can_interleave(type, k);
}

void cpu_interleave(dev *base, dtype type, const void *src, int64_t k, int64_t n_rows, void *dst) {
    (void)base;
    uint64_t row = 0;
    dtype_row_bytes(type, k, &row);
    const int64_t tile = (int64_t)row * KERN_TILE_ROWS;
    for (int64_t i = 0; i < n_rows / KERN_TILE_ROWS; i++)
        kern_interleave(type, (const char *)src + i * tile, (int64_t)row, k,
                        (char *)dst + i * tile);
}
