/* Noise for diffusion sampling, reproducible across programs and machines.
 *
 * Three layers: a generator that repeats PyTorch's CPU generator number for number, the starting
 * noise of a batch drawn from it, and a Brownian path that is a pure function of (seed, interval),
 * for samplers of stochastic differential equations. Everything is float32 and made on the host,
 * so a seed means the same picture on every device. Owner: the caller holds the structs.
 * Threads: one at a time per object; nothing is shared. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* MT19937 (Matsumoto and Nishimura, 1998) seeded as torch.manual_seed does: with the low 32 bits
 * only. `cached` is the sine half of the last Box-Muller pair of the short path. */
typedef struct noise_rng {
    uint32_t state[624];
    uint32_t n_used; /* words of `state` handed out since the last twist */
    bool has_cached;
    double cached;
} noise_rng;

void noise_rng_seed(noise_rng *r, uint64_t seed);
uint32_t noise_rng_u32(noise_rng *r);

/* torch.rand(n): dst [n] f32 in [0, 1), 24 bits each. */
void noise_rng_uniform(noise_rng *r, float *dst, size_t n);

/* torch.randn(n) of a contiguous float32 tensor: dst [n] f32, mean 0, deviation 1. From 16 values
 * on, blocks of 16 uniforms become 8 Box-Muller pairs (cosines first, then sines) and a ragged end
 * redraws the last 16 values; below 16, each pair is made in double and its second half is kept for
 * the next call, even over longer draws in between. */
void noise_rng_normal(noise_rng *r, float *dst, size_t n);

/* Starting noise: dst [n_batch, row_floats] f32 for `seed`. Without indices (NULL) it is one draw
 * of the whole tensor. With indices [n_batch], row i is the index[i]-th row-sized draw of the seed,
 * so that a part of a batch can be made again alone; equal indices give equal rows. Fails with
 * ERR_INVALID for an index that is negative or at least NOISE_INDEX_MAX. */
#define NOISE_INDEX_MAX 65536
typedef struct noise_batch {
    size_t n_batch, row_floats;
    const int32_t *index;
} noise_batch;
err_code noise_start(uint64_t seed, const noise_batch *shape, float *dst, err *e);

/* A Brownian path W over [t_min, t_max] with n independent components: a virtual binary tree whose
 * every node is split at its middle by a Brownian bridge seeded from (seed, place in the tree), so
 * that any increment can be asked for, in any order and again, with the same result. Agrees with
 * torchsde's BrownianTree (Li et al., 2020, "Scalable Gradients for Stochastic Differential
 * Equations"; times on a grid of 1e-6) and uses numpy's SeedSequence hash for the seeds. */
typedef struct noise_brownian noise_brownian;

/* Allocated in `a`: [n] f32 per level, up to about 30 levels, as they are first reached.
 * 0 <= t_min < t_max, both finite and below 1e9, or ERR_INVALID. */
err_code noise_brownian_create(arena *a, uint64_t seed, const double range[2], size_t n,
                               noise_brownian **ret, err *e);

/* dst [n] f32 = W(tb) - W(ta). Times outside the path's range are moved to its nearest end; ta
 * above tb gives the negated increment; equal times give zeros. */
void noise_brownian_increment(noise_brownian *b, double ta, double tb, float *dst);

/* The increment over [from, to] scaled to deviation 1, with the sign of the direction: what a
 * sampler that steps from sigma `from` to sigma `to` adds. */
void noise_brownian_unit(noise_brownian *b, double from, double to, float *dst);

/* numpy.random.SeedSequence(entropy, spawn_key=key, pool_size=24).generate_state(n_out): n_key
 * words of key (0 = none). Exposed for its test vectors. O'Neill, "Developing a seed_seq
 * alternative". */
void noise_seed_words(uint64_t entropy, const uint32_t *key, size_t n_key, uint32_t *ret,
                      size_t n_out);
