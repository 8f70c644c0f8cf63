/* What a grammar costs per token: usage: build/bench/grammar MODEL.gguf
 *
 * In generation a token is drawn first and only asked for; the whole vocabulary is masked when that
 * one may not come. Two figures for each grammar, from cold: one token in four has to be masked (a
 * model that keeps to the form badly), and every token has to be. The token that comes is any of
 * those that may, at random. Milliseconds of processor time a token, so that what else the machine
 * does counts little, as rows of a Markdown table. */
#include "base/rng.h"
#include "base/value_json.h"
#include "llm/constrain.h"
#include "model/gguf.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TOKENS = 400, ANSWERS = 40 };

static const struct {
    const char *name, *schema; /* a list: functions, whose calls are in words */
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
    {"long bounded strings", "{\"type\":\"array\",\"minItems\":9,\"items\":{\"type\":\"string\","
                             "\"minLength\":20,\"maxLength\":2000}}"},
    {"a pattern anywhere in a text", "{\"type\":\"array\",\"minItems\":20,\"items\":{\"type\":"
                                     "\"string\",\"pattern\":\"b+c|[^@]+@[^@]{2}\"}}"},
    {"letters of some languages",
     "{\"type\":\"array\",\"minItems\":20,\"items\":{\"type\":"
     "\"string\",\"pattern\":\"^[a-zA-Z\u00e0-\u00ff\u0400-\u04ff '-]+$\"}}"},
    {"a map of names to numbers, two keys fixed",
     "{\"type\":\"object\",\"properties\":{\"total\":{\"type\":\"integer\"},\"unit\":{\"const\":"
     "\"kg\"}},\"required\":[\"total\",\"unit\"],\"additionalProperties\":{\"type\":\"number\"}}"},
    {"calls of two tools, in qwen3-coder's words",
     "[{\"name\":\"write\",\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":{\"type\":"
     "\"string\",\"maxLength\":80},\"text\":{\"type\":\"string\"},\"mode\":{\"enum\":[\"a\",\"w\"]}"
     ","
     "\"line\":{\"type\":\"integer\",\"minimum\":1}},\"required\":[\"path\",\"text\"]}},"
     "{\"name\":\"run\",\"parameters\":{\"type\":\"object\",\"properties\":{\"words\":{\"type\":"
     "\"array\",\"items\":{\"type\":\"string\"}}},\"required\":[\"words\"]}}]"},
};

typedef struct figures {
    double sum, worst;
    int64_t n;
    rng random;
} figures;

static double ms_since(clock_t from) {
    return (double)(clock() - from) * 1e3 / CLOCKS_PER_SEC;
}

/* One that may come, or -1. */
static int32_t pick(rng *random, const float *logits, int32_t n) {
    int32_t from = (int32_t)rng_below(random, (uint64_t)n);
    for (int32_t i = 0; i < n; i++)
        if (isfinite(logits[(from + i) % n])) return (from + i) % n;
    return -1;
}

/* One that may come, found by asking; -1 after many tries. */
static int32_t pick_by_asking(llm_constraint *c, int32_t n, rng *random) {
    for (int i = 0; i < 20000; i++) {
        int32_t id = (int32_t)rng_below(random, (uint64_t)n);
        if (llm_constraint_allows(c, id)) return id;
    }
    return -1;
}

/* Every masks_every-th token is masked; that and asking and accepting count. */
static void run_answer(llm_constraint *c, float *logits, int32_t n, int masks_every, figures *f) {
    rng *random = &f->random;
    for (int k = 0; k < TOKENS && !llm_constraint_is_over(c); k++) {
        int32_t id = k % masks_every ? pick_by_asking(c, n, random) : -1;
        double ms = 0;
        if (id < 0) {
            for (int32_t i = 0; i < n; i++) logits[i] = 0;
            clock_t from = clock();
            llm_constraint_mask(c, logits, n);
            ms = ms_since(from);
            id = pick(random, logits, n);
            if (id < 0) return;
        }
        clock_t from = clock();
        bool ok = llm_constraint_allows(c, id) && llm_constraint_accept(c, id, NULL) == ERR_OK;
        ms += ms_since(from);
        f->sum += ms;
        f->n++;
        if (ms > f->worst) f->worst = ms;
        if (!ok) return;
    }
}

static err_code compile(const value *schema, grammar **ret, err *e) {
    if (!schema) return grammar_from_json(ret, e);
    if (schema->kind != VALUE_LIST) return grammar_from_schema(schema, ret, e);
    reply_spec spec = {.format = "qwen3-coder"};
    reply *r = reply_create(&spec);
    err_code code = grammar_from_calls(reply_form(r), schema, ret, e);
    reply_destroy(&r);
    return code;
}

static figures run_answers(size_t i, const tok *t, const grammar_vocab *v, int masks_every) {
    arena *a = arena_create(0);
    value *schema = NULL;
    grammar *g = NULL;
    figures f = {0};
    err e = {0};
    rng_init(&f.random, i + 1);
    int32_t n = (int32_t)tok_vocab_count(t);
    if (CASES[i].schema) value_json_read(a, str_from(CASES[i].schema), &schema, NULL);
    if (compile(schema, &g, &e)) {
        fprintf(stderr, "%s: %s\n", CASES[i].name, e.msg);
        exit(1);
    }
    llm_constraint *c = llm_constraint_create(&g, v, t);
    float *logits = NEW_ARRAY(float, (size_t)n);
    for (int k = 0; k < ANSWERS; k++) {
        llm_constraint_reset(c);
        run_answer(c, logits, n, masks_every, &f);
    }
    mem_free(logits);
    llm_constraint_destroy(&c);
    arena_destroy(&a);
    return f;
}

static void run_case(size_t i, const tok *t, const grammar_vocab *v) {
    figures drawn = run_answers(i, t, v, 4), masked = run_answers(i, t, v, 1);
    printf("| %s | %.3f | %.3f | %.1f |\n", CASES[i].name, drawn.sum / (double)drawn.n,
           masked.sum / (double)masked.n, masked.worst);
}

int main(int argc, char **argv) {
    gguf *file = NULL;
    tok *t = NULL;
    err e = {0};
    if (argc != 2 || gguf_open(argv[1], &file, &e) || tok_create_from_gguf(file, &t, &e)) {
        fprintf(stderr, "%s\n", argc != 2 ? "usage: grammar MODEL.gguf" : e.msg);
        return 1;
    }
    clock_t from = clock();
    grammar_vocab *v = llm_constraint_vocab(t);
    printf("Vocabulary of %zu tokens: trie made once in %.0f ms, %.1f MB.\n\n", tok_vocab_count(t),
           ms_since(from), (double)grammar_vocab_bytes(v) / 1e6);
    printf("| grammar | one in four masked, ms | every one masked, ms | worst token, ms "
           "|\n|---|---|---|---|\n");
    for (size_t i = 0; i < COUNT_OF(CASES); i++) run_case(i, t, v);
    grammar_vocab_destroy(&v);
    tok_destroy(&t);
    gguf_destroy(&file);
    return 0;
}
