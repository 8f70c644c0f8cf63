/* From logits to a token: penalties, truncation, temperature, draw.
 *
 * Order (as Ollama's runner applies it): penalties over the last repeat_last_n tokens, top-k,
 * typical, top-p, min-p, temperature, draw. Temperature 0 is greedy: the largest logit, lowest id
 * on ties. With a seed the draws are reproducible. Never sorts the whole vocabulary: a bounded
 * selection first. Owner: one sampler per request. Threads: one. */
#pragma once
#include "base/err.h"
#include "base/rng.h"
#include <stdbool.h>

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
} llm_sample_params;

typedef struct llm_sampler llm_sampler;

typedef struct llm_logprob {
    int32_t id;
    float logprob; /* natural, of the untempered softmax */
} llm_logprob;

llm_sampler *llm_sampler_create(const llm_sample_params *p, int32_t n_vocab);
void llm_sampler_destroy(llm_sampler **s);
void llm_sampler_accept(llm_sampler *s,
                        int32_t id); /* prompt and generated tokens, for penalties */

/* logits [V] is scratch afterwards. n_top: how many of the best to report (0 to 20, at most V) in
 * ret_top, best first; *ret_logprob is the chosen token's (both from the logits as they came,
 * before penalties). ret_logprob may be NULL when nobody wants to know: that saves a pass.
 * ERR_DEVICE when the logits hold NaN or nothing but infinities. */
err_code llm_sampler_draw(llm_sampler *s, float *logits, int n_top, int32_t *ret_id,
                          float *ret_logprob, llm_logprob *ret_top, err *e);
