/* Step caching: evaluations of the network that are guessed instead of computed.
 *
 * EasyCache: from one evaluation to the next the network's output changes about in proportion to
 * its input. The factor is measured on the evaluations that are made; while the change that it
 * predicts, summed up since the last of them, stays below a threshold, output - input is taken over
 * from there. LazyCache does the same with the guided estimate in place of each conditioning's
 * output. Rules as of ComfyUI's nodes: changes are means over every eighth cell of the latent, of
 * conditionings for the whole of it. (Theirs adds the differences of all conditionings that it
 * computes together to each of them, which no rule of the method asks for; here each has its own.)
 * Method: Zhou et al., "Less is Enough: Training-Free Video Diffusion Acceleration via
 * Runtime-Adaptive Caching", 2025. Owner: an arena. Threads: one. */
#pragma once
#include "base/arena.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum step_cache_kind { STEP_CACHE_OFF, STEP_CACHE_EASY, STEP_CACHE_LAZY } step_cache_kind;

typedef struct step_cache_params {
    step_cache_kind kind;
    double threshold;  /* of the summed relative change; 0 skips nothing */
    double start, end; /* of the way from noise to picture; outside everything is computed */
} step_cache_params;

typedef struct step_cache step_cache;

typedef struct step_cache_shape {
    int64_t n, c, y, x; /* of the latent */
    double sigma_start, sigma_end;
} step_cache_shape;

step_cache *step_cache_create(arena *a, const step_cache_params *p, const step_cache_shape *s);

/* Opens one evaluation of x [n,c,y,x], which the network sees times `scale`. True: it is skipped.
 */
bool step_cache_begin(step_cache *s, const float *x, double scale, double sigma);
/* What is computed in it, by `key`: x [n][x_stride] and out [n][len], of which x's first len belong
 * together. apply fills out and says true where the evaluation is skipped and something is known
 * of the key; else out is computed and handed to keep. */
bool step_cache_apply(const step_cache *s, const void *key, const float *x, int64_t x_stride,
                      int64_t len, float *out);
void step_cache_keep(step_cache *s, const void *key, const float *x, int64_t x_stride, int64_t len,
                     const float *out);
void step_cache_end(step_cache *s);
