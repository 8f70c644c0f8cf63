/* xoshiro256** with splitmix64 seeding, and system entropy. */
#include "base/rng.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t splitmix(uint64_t *x) {
    uint64_t z = *x += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t rotl(uint64_t x, int k) {
    return x << k | x >> (64 - k);
}

void rng_init(rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) r->s[i] = splitmix(&seed);
}

uint64_t rng_u64(rng *r) {
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
    s[2] ^= t, s[3] = rotl(s[3], 45);
    return result;
}

double rng_f64(rng *r) {
    return (double)(rng_u64(r) >> 11) * 0x1.0p-53;
}

float rng_normal(rng *r) {
    double u = 1.0 - rng_f64(r), v = rng_f64(r);
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

uint64_t rng_below(rng *r, uint64_t n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do x = rng_u64(r);
    while (x >= limit);
    return x % n;
}

void rng_entropy(void *dst, size_t n_bytes) {
    char *p = dst;
    while (n_bytes) {
        ssize_t got = getrandom(p, n_bytes, 0);
        if (got < 0) {
            fprintf(stderr, "hob: getrandom failed\n");
            abort();
        }
        p += got;
        n_bytes -= (size_t)got;
    }
}
