/* The torch-compatible CPU generator and starting noise.
 *
 * Order of draws is what makes seeds portable: every change here moves pictures. Long draws work in
 * float32 like the original's kernels (its vectorised log and sincos differ from libm's in the
 * last bit); short ones in double. Threads: see noise.h. */
#include "diffusion/noise.h"

#include "base/mem.h"
#include <assert.h>
#include <math.h>
#include <string.h>

enum { MT_N = 624, MT_M = 397, BLOCK = 16 };
static const double two_pi = 6.283185307179586476925286766559;

void noise_rng_seed(noise_rng *r, uint64_t seed) {
    r->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < MT_N; i++) {
        uint32_t prev = r->state[i - 1];
        r->state[i] = 1812433253u * (prev ^ (prev >> 30)) + i;
    }
    r->n_used = MT_N;
    r->has_cached = false;
    r->cached = 0;
}

static void twist(uint32_t *s) {
    for (uint32_t i = 0; i < MT_N; i++) {
        uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % MT_N] & 0x7fffffffu);
        s[i] = s[(i + MT_M) % MT_N] ^ (y >> 1) ^ ((y & 1) ? 0x9908b0dfu : 0);
    }
}

uint32_t noise_rng_u32(noise_rng *r) {
    if (r->n_used >= MT_N) {
        twist(r->state);
        r->n_used = 0;
    }
    uint32_t y = r->state[r->n_used++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

void noise_rng_uniform(noise_rng *r, float *dst, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = (float)(noise_rng_u32(r) & 0xffffffu) * (1.0f / 16777216.0f);
}

static double uniform53(noise_rng *r) {
    uint64_t hi = noise_rng_u32(r), lo = noise_rng_u32(r);
    return (double)((hi << 32 | lo) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

static double normal_short(noise_rng *r) {
    if (r->has_cached) {
        r->has_cached = false;
        return r->cached;
    }
    double u1 = uniform53(r), u2 = uniform53(r);
    double radius = sqrt(-2 * log1p(-u2)), angle = two_pi * u1;
    r->cached = radius * sin(angle);
    r->has_cached = true;
    return radius * cos(angle);
}

/* d [16]: uniforms in, normals out. */
static void box_muller_block(float *d) {
    for (int j = 0; j < BLOCK / 2; j++) {
        float radius = sqrtf(-2.0f * logf(1.0f - d[j]));
        float angle = (float)two_pi * d[j + BLOCK / 2];
        d[j] = radius * cosf(angle);
        d[j + BLOCK / 2] = radius * sinf(angle);
    }
}

void noise_rng_normal(noise_rng *r, float *dst, size_t n) {
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++) dst[i] = (float)normal_short(r);
        return;
    }
    noise_rng_uniform(r, dst, n);
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK) box_muller_block(dst + i);
    if (n % BLOCK != 0) {
        noise_rng_uniform(r, dst + n - BLOCK, BLOCK);
        box_muller_block(dst + n - BLOCK);
    }
}

err_code noise_start(uint64_t seed, const noise_batch *shape, float *dst, err *e) {
    noise_rng r;
    noise_rng_seed(&r, seed);
    size_t n_batch = shape->n_batch, row = shape->row_floats;
    if (shape->index == NULL) {
        noise_rng_normal(&r, dst, n_batch * row);
        return ERR_OK;
    }
    int32_t last = -1;
    for (size_t b = 0; b < n_batch; b++) {
        int32_t k = shape->index[b];
        if (k < 0 || k >= NOISE_INDEX_MAX)
            FAIL(e, INVALID, "noise: batch index %d is not in 0..%d", (int)k, NOISE_INDEX_MAX - 1);
        if (k > last) last = k;
    }
    CLEANUP(mem_free_at) float *draw = mem_calloc(row > 0 ? row : 1, sizeof *draw);
    for (int32_t k = 0; k <= last; k++) {
        noise_rng_normal(&r, draw, row);
        for (size_t b = 0; b < n_batch; b++)
            if (shape->index[b] == k) memcpy(dst + b * row, draw, row * sizeof *dst);
    }
    return ERR_OK;
}
