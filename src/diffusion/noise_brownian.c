/* The Brownian path of noise.h: a virtual dyadic tree, walked from the root for each query.
 *
 * Nothing is kept between queries but scratch: a query needs at most two root-to-leaf walks, and
 * the nodes on them are made again from their seeds. Level d of `levels` holds the increment of the
 * node of depth d on the current walk. Times are doubles rounded to 6 decimals exactly as decimal
 * printing rounds, because the seeds' tree depends on where middles fall. Threads: see noise.h. */
#include "base/mem.h"
#include "diffusion/noise.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_WORDS = 24, DEPTH_MAX = 56, KEY_WORDS_MAX = 4 };

struct noise_brownian {
    arena *a;
    uint64_t seed;
    double t_min, t_max;
    size_t n;
    float *levels[DEPTH_MAX]; /* each [n], made when first reached */
    float *z;                 /* [n] */
    float *sum;               /* [n], the query's result so far */
};

typedef struct node {
    double start, end;
    uint64_t key;
    uint32_t depth;
} node;

typedef struct hash {
    uint32_t value, mult;
} hash;

static uint32_t hash_next(hash *h, uint32_t x) {
    x ^= h->value;
    h->value *= h->mult;
    x *= h->value;
    return x ^ (x >> 16);
}

static uint32_t mix(uint32_t x, uint32_t y) {
    uint32_t r = 0xca01f9ddu * x - 0x4973f715u * y;
    return r ^ (r >> 16);
}

void noise_seed_words(uint64_t entropy, const uint32_t *key, size_t n_key, uint32_t *ret,
                      size_t n_out) {
    uint32_t pool[POOL_WORDS];
    uint32_t words[2] = {(uint32_t)entropy, (uint32_t)(entropy >> 32)};
    hash h = {0x43b0d7e5u, 0x931e8875u};
    for (size_t i = 0; i < POOL_WORDS; i++) pool[i] = hash_next(&h, i < 2 ? words[i] : 0);
    for (size_t src = 0; src < POOL_WORDS; src++)
        for (size_t dst = 0; dst < POOL_WORDS; dst++)
            if (src != dst) pool[dst] = mix(pool[dst], hash_next(&h, pool[src]));
    for (size_t i = 0; i < n_key; i++)
        for (size_t dst = 0; dst < POOL_WORDS; dst++)
            pool[dst] = mix(pool[dst], hash_next(&h, key[i]));
    hash out = {0x8b51f9ddu, 0x58f38dedu};
    for (size_t i = 0; i < n_out; i++) ret[i] = hash_next(&out, pool[i % POOL_WORDS]);
}

/* To 6 decimals, correctly rounded from the exact binary value. */
static double round6(double t) {
    char text[64];
    snprintf(text, sizeof text, "%.6f", t);
    return strtod(text, NULL);
}

static float *level(noise_brownian *b, uint32_t depth) {
    assert(depth < DEPTH_MAX);
    if (b->levels[depth] == NULL) b->levels[depth] = ARENA_ARRAY(b->a, float, b->n);
    return b->levels[depth];
}

err_code noise_brownian_create(arena *a, uint64_t seed, const double range[2], size_t n,
                               noise_brownian **ret, err *e) {
    double t_min = range[0], t_max = range[1];
    if (!(t_min >= 0 && t_max < 1e9 && round6(t_min) < round6(t_max)))
        FAIL(e, INVALID, "noise: a Brownian path from %g to %g is empty or out of range", t_min,
             t_max);
    noise_brownian *b = ARENA_NEW(a, noise_brownian);
    *b = (noise_brownian){.a = a, .seed = seed, .n = n};
    b->t_min = round6(t_min);
    b->t_max = round6(t_max);
    b->z = ARENA_ARRAY(a, float, n);
    b->sum = ARENA_ARRAY(a, float, n);
    *ret = b;
    return ERR_OK;
}

static void draw(float *dst, size_t n, uint32_t seed) {
    noise_rng r;
    noise_rng_seed(&r, seed);
    noise_rng_normal(&r, dst, n);
}

/* z [n] of the bridge that splits `at`. */
static void draw_bridge(noise_brownian *b, const node *at) {
    /* The key is split into little-endian words as numpy splits large integers. */
    uint32_t key[3], n_key = 0, seed;
    key[n_key++] = (uint32_t)at->key;
    if (at->key >> 32) key[n_key++] = (uint32_t)(at->key >> 32);
    key[n_key++] = at->depth;
    noise_seed_words(b->seed, key, n_key, &seed, 1);
    draw(b->z, b->n, seed);
}

/* Child `right` of `at`: its place in the tree into *ret, its increment into its level. */
static void descend(noise_brownian *b, const node *at, bool right, node *ret) {
    double mid = round6(0.5 * (at->start + at->end));
    double width = at->end - at->start, left_w = mid - at->start, right_w = at->end - mid;
    float share = (float)(left_w / width), spread = (float)sqrt(left_w * right_w / width);
    const float *parent = level(b, at->depth);
    float *child = level(b, at->depth + 1);
    draw_bridge(b, at);
    for (size_t i = 0; i < b->n; i++) {
        float w = parent[i] * share + spread * b->z[i];
        child[i] = right ? parent[i] - w : w;
    }
    *ret = (node){right ? mid : at->start, right ? at->end : mid, 2 * at->key + (right ? 1 : 0),
                  at->depth + 1};
}

/* Adds the increment over [ta, tb], which lies within the node, to b->sum. Recursion is bounded by
 * the grid of 1e-6: an interval of one grid step has no point inside. */
static void collect(noise_brownian *b, const node *at, double ta, double tb) {
    if (!(ta < tb)) return;
    if (ta <= at->start && tb >= at->end) {
        const float *w = level(b, at->depth);
        for (size_t i = 0; i < b->n; i++) b->sum[i] += w[i];
        return;
    }
    double mid = round6(0.5 * (at->start + at->end));
    node child;
    if (ta < mid) {
        descend(b, at, false, &child);
        collect(b, &child, ta, tb < mid ? tb : mid);
    }
    if (tb > mid) {
        descend(b, at, true, &child);
        collect(b, &child, ta > mid ? ta : mid, tb);
    }
}

static double clamp_time(const noise_brownian *b, double t) {
    t = round6(t);
    return t < b->t_min ? b->t_min : t > b->t_max ? b->t_max : t;
}

void noise_brownian_increment(noise_brownian *b, double ta, double tb, float *dst) {
    bool flip = ta > tb;
    double lo = clamp_time(b, flip ? tb : ta), hi = clamp_time(b, flip ? ta : tb);
    memset(b->sum, 0, b->n * sizeof *b->sum);
    if (lo < hi) {
        uint32_t seed;
        noise_seed_words(b->seed, NULL, 0, &seed, 1);
        float *root = level(b, 0), scale = (float)sqrt(b->t_max - b->t_min);
        draw(root, b->n, seed);
        for (size_t i = 0; i < b->n; i++) root[i] *= scale;
        collect(b, &(node){b->t_min, b->t_max, 0, 0}, lo, hi);
    }
    for (size_t i = 0; i < b->n; i++) dst[i] = flip ? -b->sum[i] : b->sum[i];
}

void noise_brownian_unit(noise_brownian *b, double from, double to, float *dst) {
    noise_brownian_increment(b, from, to, dst);
    double width = fabs(to - from);
    if (!(width > 0)) return;
    float scale = (float)(1 / sqrt(width));
    for (size_t i = 0; i < b->n; i++) dst[i] *= scale;
}
