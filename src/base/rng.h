/* Random numbers for sampling and tests: xoshiro256** seeded by splitmix64 (Blackman and
 * Vigna, 2018). Reproducible; not for secrets. Threads: one at a time per rng. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct rng {
    uint64_t s[4];
} rng;

void rng_init(rng *r, uint64_t seed);
uint64_t rng_u64(rng *r);
double rng_f64(rng *r);                      /* [0, 1), 53 bits */
float rng_normal(rng *r);                    /* mean 0, deviation 1 */
uint64_t rng_below(rng *r, uint64_t n);      /* [0, n), n > 0, unbiased */
void rng_entropy(void *dst, size_t n_bytes); /* from the system; good for secrets */
