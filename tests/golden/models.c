/* Every family against transformers: a small model of random weights (models.py) run as one prompt,
 * in chunks, and token by token; logits within 1e-3 of the row's size and the same likeliest token.
 * Embedding models: several texts in one step. The same for some with an adapter over them
 * (adapters.py). */
#include "llm/kv.h"
#include "llm/model.h"
#include "model/convert/convert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIR_MODELS "tests/golden/models/"
#define DIR_CONVERT "tests/golden/convert/"
#define DIR_ADAPTERS "tests/golden/adapters/"
enum { TEXTS_MAX = 4, TOKENS_MAX = 64, PAGES_MAX = 8 };
static const double LIMIT_RELATIVE = 1e-3;

/* What models.py wrote: texts of token ids, and the rows that are wanted. */
typedef struct wanted {
    int32_t n_texts, width;
    int32_t n_tok[TEXTS_MAX];
    int32_t ids[TEXTS_MAX][TOKENS_MAX];
    int32_t n_rows;
    float *rows; /* [n_rows, width] */
} wanted;

static dev *cpu;
static bool from_safetensors; /* the same model as it was published, converted */
static bool adapted;          /* with the adapter of its name */

static int setup(void **state) {
    (void)state;
    err e;
    return dev_cpu_create(&(dev_cpu_params){.n_threads = 2}, &cpu, &e);
}

static int teardown(void **state) {
    (void)state;
    dev_destroy(&cpu);
    return 0;
}

static void read_i32(FILE *f, int32_t *ret, size_t n) {
    assert_int_equal(fread(ret, sizeof *ret, n, f), n);
}

static void wanted_read(const char *name, bool embeds, wanted *w) {
    char path[200];
    snprintf(path, sizeof path, "%s%s.bin", adapted ? DIR_ADAPTERS : DIR_MODELS, name);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s; run from the root of the tree", path);
    read_i32(f, &w->n_texts, 1);
    read_i32(f, &w->width, 1);
    assert_in_range(w->n_texts, 1, TEXTS_MAX);
    for (int32_t i = 0; i < w->n_texts; i++) {
        read_i32(f, &w->n_tok[i], 1);
        assert_in_range(w->n_tok[i], 1, TOKENS_MAX);
        read_i32(f, w->ids[i], (size_t)w->n_tok[i]);
    }
    w->n_rows = embeds ? w->n_texts : w->n_tok[0];
    size_t n = (size_t)w->n_rows * (size_t)w->width;
    w->rows = malloc(n * sizeof(float));
    assert_int_equal(fread(w->rows, sizeof(float), n, f), n);
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
}

static int32_t best(const float *row, int32_t n) {
    int32_t at = 0;
    for (int32_t i = 1; i < n; i++)
        if (row[i] > row[at]) at = i;
    return at;
}

/* Largest difference as a part of the wanted row's largest value. */
static double difference(const float *got, const float *want, int32_t n) {
    double most = 0, size = 1e-30;
    for (int32_t i = 0; i < n; i++) {
        if (!isfinite(got[i])) return HUGE_VAL;
        most = fmax(most, fabs((double)got[i] - (double)want[i]));
        size = fmax(size, fabs((double)want[i]));
    }
    return most / size;
}

static void check_row(const char *how, const wanted *w, int32_t row, const float *got) {
    const float *want = w->rows + (size_t)row * (size_t)w->width;
    double d = difference(got, want, w->width);
    if (!(d <= LIMIT_RELATIVE)) fail_msg("%s: row %d differs by %g", how, row, d);
    if (best(got, w->width) != best(want, w->width))
        fail_msg("%s: row %d: token %d is likeliest, %d is wanted", how, row, best(got, w->width),
                 best(want, w->width));
}

/* The directory of convert.py to a file that the caller removes. */
static void convert(const char *name, char path[200]) {
    static const char *const FILES[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json", "1_Pooling/config.json"};
    char paths[COUNT_OF(FILES)][200];
    convert_file files[COUNT_OF(FILES)];
    size_t n = 0;
    err e = {0};
    for (size_t i = 0; i < COUNT_OF(FILES); i++) {
        snprintf(paths[n], sizeof paths[n], DIR_CONVERT "%s/%s", name, FILES[i]);
        FILE *f = fopen(paths[n], "rb");
        if (!f) continue;
        fclose(f);
        files[n] = (convert_file){str_from(FILES[i]), paths[n]};
        n++;
    }
    snprintf(path, 200, "/tmp/hob-convert-%d-%s.gguf", (int)getpid(), name);
    if (convert_safetensors(files, n, path, NULL, &e) != ERR_OK) fail_msg("%s: %s", name, e.msg);
}

/* The adapter of that name for the model: a GGUF, or what PEFT saved, converted. True: the caller
 * removes it. */
static bool find_adapter(const char *name, const char *model, char path[200]) {
    char config[200], tensors[200];
    err e = {0};
    snprintf(path, 200, DIR_ADAPTERS "%s.gguf", name);
    if (access(path, R_OK) == 0) return false;
    snprintf(path, 200, "/tmp/hob-adapter-%d-%s.gguf", (int)getpid(), name);
    snprintf(config, sizeof config, DIR_ADAPTERS "%s/adapter_config.json", name);
    snprintf(tensors, sizeof tensors, DIR_ADAPTERS "%s/adapter_model.safetensors", name);
    const convert_file files[] = {{STR("adapter_config.json"), config},
                                  {STR("adapter_model.safetensors"), tensors}};
    if (convert_adapter(files, 2, model, path, NULL, &e)) fail_msg("%s: %s", name, e.msg);
    return true;
}

static llm_model *load(const char *name) {
    char path[200], adapter[200];
    err e = {0};
    llm_model *m = NULL;
    snprintf(path, sizeof path, DIR_MODELS "%s.gguf", name);
    bool adapter_made = adapted && find_adapter(name, path, adapter);
    if (from_safetensors) convert(name, path);
    err_code code = llm_model_load(cpu, path, adapted ? adapter : NULL, &m, &e);
    if (from_safetensors) remove(path);
    if (adapter_made) remove(adapter);
    if (code != ERR_OK) fail_msg("%s: %s", path, e.msg);
    return m;
}

/* Computes ids[from, from + n) of the sequence and checks the logits of each. */
static void check_chunk(llm_model *m, llm_kv *kv, llm_kv_seq *seq, const wanted *w, int32_t from,
                        int32_t n) {
    int32_t pos[TOKENS_MAX], rows[TOKENS_MAX];
    err e = {0};
    float *logits = malloc((size_t)n * (size_t)w->width * sizeof *logits);
    for (int32_t i = 0; i < n; i++) {
        pos[i] = from + i;
        rows[i] = i;
    }
    assert_int_equal(llm_kv_seq_append(seq, w->ids[0] + from, n, &e), ERR_OK);
    dev_seq ds = {.n_tok = n, .kv_len = from + n, .pages = llm_kv_seq_pages(seq)};
    dev_step s = {.n_tokens = n,
                  .n_out_rows = n,
                  .n_seqs = 1,
                  .inputs = {w->ids[0] + from, pos, rows, NULL},
                  .outputs = {[DEV_OUTPUT_LOGITS] = logits},
                  .seqs = &ds,
                  .kv_shape = llm_kv_get_shape(kv),
                  .kv_pool = llm_kv_pool(kv)};
    if (llm_model_step(m, &s, NULL, &e) != ERR_OK) fail_msg("%s", e.msg);
    llm_kv_seq_commit(seq);
    char how[60];
    snprintf(how, sizeof how, "tokens %d to %d at once", from, from + n - 1);
    for (int32_t i = 0; i < n; i++)
        check_row(how, w, from + i, logits + (size_t)i * (size_t)w->width);
    free(logits);
}

static void check_decoder(const char *name, int32_t n_ctx) {
    static const int32_t chunks[] = {TOKENS_MAX, 7, 1};
    wanted w;
    err e = {0};
    wanted_read(name, false, &w);
    llm_model *m = load(name);
    const llm_model_info *info = llm_model_get_info(m);
    assert_int_equal(info->n_vocab, w.width);
    llm_model_set_ctx(m, n_ctx);
    for (size_t c = 0; c < COUNT_OF(chunks); c++) {
        llm_kv *kv = NULL;
        int32_t cached, n = w.n_tok[0];
        if (llm_kv_create(cpu, &info->kv_shape, PAGES_MAX, &kv, &e) != ERR_OK)
            fail_msg("%s", e.msg);
        llm_kv_seq *seq = llm_kv_seq_create(kv, w.ids[0], n, &cached);
        for (int32_t at = 0; at < n; at += chunks[c])
            check_chunk(m, kv, seq, &w, at, n - at < chunks[c] ? n - at : chunks[c]);
        llm_kv_seq_destroy(&seq);
        llm_kv_destroy(&kv);
    }
    llm_model_destroy(&m);
    free(w.rows);
}

static void check_encoder(const char *name) {
    wanted w;
    wanted_read(name, true, &w);
    llm_model *m = load(name);
    assert_true(llm_model_get_info(m)->can_embed);
    static int32_t ids[TEXTS_MAX * TOKENS_MAX], pos[TEXTS_MAX * TOKENS_MAX],
        types[TEXTS_MAX * TOKENS_MAX];
    dev_seq seqs[TEXTS_MAX];
    int32_t n = 0;
    for (int32_t t = 0; t < w.n_texts; t++) {
        seqs[t] = (dev_seq){.first_tok = n, .n_tok = w.n_tok[t], .kv_len = w.n_tok[t]};
        for (int32_t i = 0; i < w.n_tok[t]; i++, n++) {
            ids[n] = w.ids[t][i];
            pos[n] = i;
        }
    }
    float *vecs = malloc((size_t)w.n_texts * (size_t)w.width * sizeof *vecs);
    dev_step s = {.n_tokens = n,
                  .n_seqs = w.n_texts,
                  .inputs = {ids, pos, NULL, types},
                  .outputs = {[DEV_OUTPUT_EMBED] = vecs},
                  .seqs = seqs};
    err e = {0};
    if (llm_model_step(m, &s, NULL, &e) != ERR_OK) fail_msg("%s", e.msg);
    for (int32_t t = 0; t < w.n_texts; t++)
        check_row("texts together", &w, t, vecs + (size_t)t * (size_t)w.width);
    free(vecs);
    llm_model_destroy(&m);
    free(w.rows);
}

enum { CTX = 256 };

#define DECODER(name)                                                                              \
    static void name(void **state) {                                                               \
        (void)state;                                                                               \
        check_decoder(#name, CTX);                                                                 \
    }
#define ENCODER(name)                                                                              \
    static void name(void **state) {                                                               \
        (void)state;                                                                               \
        check_encoder(#name);                                                                      \
    }

DECODER(llama)
DECODER(llama3)
DECODER(mistral)
DECODER(mixtral)
DECODER(qwen2)
DECODER(qwen2moe)
DECODER(qwen3)
DECODER(qwen3moe)
DECODER(gemma2)
DECODER(gemma3)
DECODER(phi3)
DECODER(phi3_long)
ENCODER(bert)
ENCODER(bert_cls)
ENCODER(nomic_bert)

/* A context within the trained one takes the short divisors. */
static void phi3_short(void **state) {
    (void)state;
    check_decoder("phi3_short", 64);
}

#define CONVERTED(name, call)                                                                      \
    static void name##_converted(void **state) {                                                   \
        (void)state;                                                                               \
        from_safetensors = true;                                                                   \
        call;                                                                                      \
        from_safetensors = false;                                                                  \
    }
CONVERTED(llama, check_decoder("llama", CTX))
CONVERTED(llama3, check_decoder("llama3", CTX))
CONVERTED(mixtral, check_decoder("mixtral", CTX))
CONVERTED(qwen2, check_decoder("qwen2", CTX))
CONVERTED(qwen2moe, check_decoder("qwen2moe", CTX))
CONVERTED(qwen3, check_decoder("qwen3", CTX))
CONVERTED(qwen3moe, check_decoder("qwen3moe", CTX))
CONVERTED(gemma2, check_decoder("gemma2", CTX))
CONVERTED(gemma3, check_decoder("gemma3", CTX))
CONVERTED(phi3, check_decoder("phi3", CTX))
CONVERTED(phi3_long, check_decoder("phi3_long", CTX))
CONVERTED(bert, check_encoder("bert"))

#define ADAPTED(name)                                                                              \
    static void name##_adapted(void **state) {                                                     \
        (void)state;                                                                               \
        adapted = true;                                                                            \
        check_decoder(#name, CTX);                                                                 \
        adapted = false;                                                                           \
    }
ADAPTED(llama)
ADAPTED(qwen2)
ADAPTED(qwen3)
ADAPTED(gemma2)
ADAPTED(phi3)
ADAPTED(llama3)
ADAPTED(mixtral)

#define TEST_CONVERTED(name) cmocka_unit_test_setup(name##_converted, before)
#define TEST_ADAPTED(name) cmocka_unit_test_setup(name##_adapted, before)
/* A test that failed leaves the switches. */
static int before(void **state) {
    (void)state;
    from_safetensors = adapted = false;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama),      cmocka_unit_test(llama3),   cmocka_unit_test(mistral),
        cmocka_unit_test(mixtral),    cmocka_unit_test(qwen2),    cmocka_unit_test(qwen2moe),
        cmocka_unit_test(qwen3),      cmocka_unit_test(qwen3moe), cmocka_unit_test(gemma2),
        cmocka_unit_test(gemma3),     cmocka_unit_test(phi3),     cmocka_unit_test(phi3_long),
        cmocka_unit_test(phi3_short), cmocka_unit_test(bert),     cmocka_unit_test(bert_cls),
        cmocka_unit_test(nomic_bert), TEST_CONVERTED(llama),      TEST_CONVERTED(llama3),
        TEST_CONVERTED(mixtral),      TEST_CONVERTED(qwen2),      TEST_CONVERTED(qwen2moe),
        TEST_CONVERTED(qwen3),        TEST_CONVERTED(qwen3moe),   TEST_CONVERTED(gemma2),
        TEST_CONVERTED(gemma3),       TEST_CONVERTED(phi3),       TEST_CONVERTED(phi3_long),
        TEST_CONVERTED(bert),         TEST_ADAPTED(llama),        TEST_ADAPTED(qwen2),
        TEST_ADAPTED(qwen3),          TEST_ADAPTED(gemma2),       TEST_ADAPTED(phi3),
        TEST_ADAPTED(llama3),         TEST_ADAPTED(mixtral),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
