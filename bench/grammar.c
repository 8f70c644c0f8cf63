/* What a grammar costs per token: usage: build/bench/grammar MODEL.gguf
 *
 * A worst case: for every token the whole vocabulary is masked (in generation most tokens are drawn
 * first and only asked for), then one that may come is taken at random and accepted. Times of each
 * grammar from cold, in milliseconds a token, as rows of a Markdown table. */
#include "base/clock.h"
#include "base/rng.h"
#include "base/value_json.h"
#include "llm/constrain.h"
#include "model/gguf.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 400, ANSWERS = 40 };

static const struct {
    const char *name, *schema;
} CASES[] = {
    {"any JSON object", NULL},
    {"a person: strings, bounds, enum, reference, date",
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":40},\"age\":"
     "{\"type\":\"integer\",\"minimum\":0,\"maximum\":120},\"born\":{\"type\":\"string\","
     "\"format\":"
     "\"date\"},\"mail\":{\"type\":\"string\",\"format\":\"email\"},\"tags\":{\"type\":\"array\","
     "\"items\":{\"enum\":[\"a\",\"b\",\"c\"]},\"maxItems\":9},\"friend\":{\"anyOf\":[{\"$ref\":\"#"
     "\"},"
     "{\"type\":\"null\"}]}},\"required\":[\"name\",\"age\",\"born\",\"mail\",\"tags\",\"friend\"]"
     "}"},
    {"a list of free strings",
     "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":20}"},
    {"patterns", "{\"type\":\"array\",\"minItems\":20,\"items\":{\"type\":\"string\",\"pattern\":"
                 "\"^([a-z]+|[A-Z][0-9]{2,5})(-\\\\w{1,12})*$\"}}"},
    {"numbers",
     "{\"type\":\"array\",\"minItems\":30,\"items\":{\"type\":\"number\",\"minimum\":-5.5,"
     "\"maximum\":12345.75}}"},
};

typedef struct figures {
    double sum, worst;
    int64_t n;
} figures;

static double ms_since(int64_t from) {
    return (double)(clock_mono_ns() - from) / 1e6;
}

/* One that may come, or -1. */
static int32_t pick(rng *random, const float *logits, int32_t n) {
    int32_t from = (int32_t)rng_below(random, (uint64_t)n);
    for (int32_t i = 0; i < n; i++)
        if (isfinite(logits[(from + i) % n])) return (from + i) % n;
    return -1;
}

static void run_answer(llm_constraint *c, float *logits, int32_t n, rng *random, figures *f) {
    for (int k = 0; k < TOKENS && !llm_constraint_is_over(c); k++) {
        for (int32_t i = 0; i < n; i++) logits[i] = 0;
        int64_t from = clock_mono_ns();
        llm_constraint_mask(c, logits, n);
        double ms = ms_since(from);
        int32_t id = pick(random, logits, n);
        if (id < 0) return;
        from = clock_mono_ns();
        bool ok = llm_constraint_accept(c, id, NULL) == ERR_OK;
        ms += ms_since(from);
        f->sum += ms;
        f->n++;
        if (ms > f->worst) f->worst = ms;
        if (!ok) return;
    }
}

static void run_case(size_t i, const tok *t, const grammar_vocab *v) {
    arena *a = arena_create(0);
    value *schema = NULL;
    grammar *g = NULL;
    figures f = {0};
    rng random;
    rng_init(&random, i + 1);
    int32_t n = (int32_t)tok_vocab_count(t);
    if (CASES[i].schema) value_json_read(a, str_from(CASES[i].schema), &schema, NULL);
    int64_t from = clock_mono_ns();
    err e = {0};
    if (schema ? grammar_from_schema(schema, &g, &e) : grammar_from_json(&g, &e)) {
        fprintf(stderr, "%s: %s\n", CASES[i].name, e.msg);
        exit(1);
    }
    double compile = ms_since(from);
    llm_constraint *c = llm_constraint_create(&g, v, t);
    float *logits = NEW_ARRAY(float, (size_t)n);
    for (int k = 0; k < ANSWERS; k++) {
        llm_constraint_reset(c);
        run_answer(c, logits, n, &random, &f);
    }
    printf("| %s | %.2f | %.3f | %.2f |\n", CASES[i].name, compile, f.sum / (double)f.n, f.worst);
    mem_free(logits);
    llm_constraint_destroy(&c);
    arena_destroy(&a);
}

int main(int argc, char **argv) {
    gguf *file = NULL;
    tok *t = NULL;
    err e = {0};
    if (argc != 2 || gguf_open(argv[1], &file, &e) || tok_create_from_gguf(file, &t, &e)) {
        fprintf(stderr, "%s\n", argc != 2 ? "usage: grammar MODEL.gguf" : e.msg);
        return 1;
    }
    int64_t from = clock_mono_ns();
    grammar_vocab *v = llm_constraint_vocab(t);
    printf("Vocabulary of %zu tokens: trie made once in %.0f ms, %.1f MB.\n\n", tok_vocab_count(t),
           ms_since(from), (double)grammar_vocab_bytes(v) / 1e6);
    printf("| grammar | compile, ms | mean a token, ms | worst token, ms |\n|---|---|---|---|\n");
    for (size_t i = 0; i < COUNT_OF(CASES); i++) run_case(i, t, v);
    grammar_vocab_destroy(&v);
    tok_destroy(&t);
    gguf_destroy(&file);
    return 0;
}
