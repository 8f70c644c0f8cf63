/* From logits to a token: penalties, truncation, temperature, draw.
 *
 * Order (as Ollama's runner applies it): biases, penalties over the last repeat_last_n tokens,
 * top-k, typical, top-p, min-p, temperature, draw. Temperature 0 is greedy: the largest logit,
 * lowest id on ties. Under a constraint a token is drawn first and asked for afterwards; only when
 * it may not come, all others that may not are struck out and it is drawn again. With a seed the
 * draws are reproducible. Never sorts the whole vocabulary: a bounded selection first. Owner: one
 * sampler per request. Threads: one. */
#pragma once
#include "base/err.h"
#include "base/limits.h"
#include "base/rng.h"
#include <stdbool.h>

/* Added to a token's logit; -100 and below: never drawn. */
typedef struct llm_bias {
    int32_t id; /* ids outside the vocabulary are passed over */
    float add;
} llm_bias;

typedef struct llm_sample_params {
    float temperature;       /* 0 = greedy */
    int32_t top_k;           /* <= 0 = off */
    float top_p;             /* >= 1 = off */
    float min_p;             /* <= 0 = off */
    float typical_p;         /* >= 1 = off */
    int32_t repeat_last_n;   /* 0 = off, -1 = whole context */
    float repeat_penalty;    /* 1 = off */
    float presence_penalty;  /* 0 = off */
    float frequency_penalty; /* 0 = off */
    int64_t seed;            /* < 0 = random */
    const llm_bias *bias;    /* [n_bias], read as long as the sampler lives */
    size_t n_bias;
} llm_sample_params;

typedef struct llm_sampler llm_sampler;
struct llm_constraint; /* llm/constrain.h */

typedef struct llm_logprob {
    int32_t id;
    float logprob; /* natural, of the untempered softmax */
} llm_logprob;

llm_sampler *llm_sampler_create(const llm_sample_params *p, int32_t n_vocab);
void llm_sampler_destroy(llm_sampler **s);
void llm_sampler_accept(llm_sampler *s,
                        int32_t id); /* prompt and generated tokens, for penalties */

/* From now on only tokens that c allows are drawn; c outlives the sampler. */
void llm_sampler_constrain(llm_sampler *s, struct llm_constraint *c);

typedef struct llm_sampled {
    int32_t id;
    float logprob;                       /* the token's own; set when n_top >= 0 */
    llm_logprob top[LIMIT_TOP_LOGPROBS]; /* best first, [n_top] */
} llm_sampled;

/* Draws a token; logits [V] is scratch afterwards. n_top: how many of the best to report (0 to
 * LIMIT_TOP_LOGPROBS, at most V), -1: no log-probabilities at all, which saves a pass. They are of
 * the logits as they came, before penalties. ERR_DEVICE when the logits hold NaN or nothing but
 * infinities. */
err_code llm_sampler_draw(llm_sampler *s, float *logits, int n_top, llm_sampled *ret, err *e);
