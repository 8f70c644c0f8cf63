/* Prompt, decode and batch speed of the engine's forward pass, without HTTP.
 *
 * usage: llm MODEL THREADS REPEATS [PROMPT_TOKENS DECODE_TOKENS]      prints one JSON object
 * The work llama-bench does: a prompt of random tokens in one go (logits of the last one only),
 * then tokens one by one; medians over REPEATS after one warm-up, then each once more with the
 * device's profile on: shares of the threads' time by operation. bench/run compares it with the
 * peers. */
#include "base/clock.h"
#include "base/rng.h"
#include "llm/kv.h"
#include "llm/model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    llm_model *model;
    llm_kv *kv;
    float *logits;
    int32_t ids[4096];
} bench;

static void die(const err *e) {
    fprintf(stderr, "llm: %s\n", e->msg);
    exit(1);
}

/* Computes ids[from, from + n) of one sequence; logits of the last token. */
static void step(bench *b, llm_kv_seq *seq, int32_t from, int32_t n) {
    err e;
    static int32_t pos[4096];
    for (int32_t i = 0; i < n; i++) pos[i] = from + i;
    if (llm_kv_seq_append(seq, b->ids + from, n, &e)) die(&e);
    int32_t last = n - 1;
    dev_seq ds = {.first_tok = 0, .n_tok = n, .kv_len = from + n, .pages = llm_kv_seq_pages(seq)};
    dev_step s = {
        .n_tokens = n,
        .n_out_rows = 1,
        .n_seqs = 1,
        .inputs = {[DEV_INPUT_TOKENS] = b->ids + from,
                   [DEV_INPUT_POS] = pos,
                   [DEV_INPUT_OUT_ROWS] = &last},
        .outputs = {[DEV_OUTPUT_LOGITS] = b->logits},
        .seqs = &ds,
        .kv_shape = llm_kv_get_shape(b->kv),
        .kv_pool = llm_kv_pool(b->kv),
    };
    if (llm_model_step(b->model, &s, NULL, &e)) die(&e);
    llm_kv_seq_commit(seq);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of computing n tokens, `chunk` a step, in a fresh sequence each time. */
static double time_tokens(bench *b, int32_t n, int32_t chunk, int repeats) {
    double times[64];
    for (int r = -1; r < repeats; r++) {
        int32_t cached;
        rng random;
        rng_init(&random, (uint64_t)(r + 2) * 7919 + (uint64_t)chunk); /* no prefix in common */
        for (int32_t i = 0; i < n; i++) b->ids[i] = (int32_t)rng_below(&random, 40000) + 100;
        llm_kv_seq *seq = llm_kv_seq_create(b->kv, b->ids, 1, &cached);
        int64_t start = clock_mono_ns();
        for (int32_t i = 0; i < n; i += chunk) step(b, seq, i, chunk);
        if (r >= 0) times[r] = (double)(clock_mono_ns() - start) / 1e9;
        llm_kv_seq_destroy(&seq);
    }
    qsort(times, (size_t)repeats, sizeof *times, compare);
    return times[repeats / 2];
}

/* "name": {"op": share of all threads' time, ..} of computing n tokens; what is left is `other`. */
static void print_profile(bench *b, dev *d, const char *name, int32_t n, int32_t chunk) {
    dev_info info;
    dev_profile p;
    dev_get_info(d, &info);
    dev_profile_enable(d, true);
    time_tokens(b, n, chunk, 1);
    dev_profile_get(d, &p);
    dev_profile_enable(d, false);
    double all = (double)p.run_ns * info.n_threads, left = 1;
    printf(", \"%s\": {", name);
    for (int op = 0; op < DEV_OP_COUNT; op++) {
        double share = (double)p.op_ns[op] / all;
        left -= share;
        if (share >= 0.002) printf("\"%s\": %.3f, ", dev_op_name((dev_op)op), share);
    }
    printf("\"other\": %.3f, \"parallel_phases\": %lld, \"serial_phases\": %lld}", left,
           (long long)p.n_parallel, (long long)p.n_serial);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: llm MODEL THREADS REPEATS [PROMPT_TOKENS DECODE_TOKENS]\n");
        return 1;
    }
    err e;
    int repeats = atoi(argv[3]);
    if (repeats < 1 || repeats > 64) return 1;
    int32_t n_prompt = argc > 5 ? atoi(argv[4]) : 512, n_decode = argc > 5 ? atoi(argv[5]) : 128;
    dev *d;
    bench b = {0};
    if (dev_cpu_create(&(dev_cpu_params){.n_threads = atoi(argv[2])}, &d, &e)) die(&e);
    int64_t start = clock_mono_ns();
    if (llm_model_load(d, argv[1], NULL, &b.model, &e)) die(&e);
    double load_s = (double)(clock_mono_ns() - start) / 1e9;
    const llm_model_info *info = llm_model_get_info(b.model);
    if (llm_kv_create(d, &info->kv_shape, 256, &b.kv, &e)) die(&e);
    b.logits = malloc((size_t)info->n_vocab * sizeof(float));
    double pp = (double)n_prompt / time_tokens(&b, n_prompt, n_prompt, repeats);
    double tg = (double)n_decode / time_tokens(&b, n_decode, 1, repeats);
    printf("{\"load_s\": %.4f, \"prompt_tokens_per_s\": %.2f, \"decode_tokens_per_s\": %.2f, "
           "\"weight_bytes\": %llu, \"kv_page_bytes\": %llu",
           load_s, pp, tg, (unsigned long long)info->weight_bytes,
           (unsigned long long)dev_kv_page_bytes(&info->kv_shape));
    print_profile(&b, d, "prompt_profile", n_prompt, n_prompt);
    print_profile(&b, d, "decode_profile", n_decode, 1);
    printf("}\n");
    free(b.logits);
    llm_kv_destroy(&b.kv);
    llm_model_destroy(&b.model);
    dev_destroy(&d);
    return 0;
}
