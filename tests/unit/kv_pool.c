/* Paged KV: prefixes, copies on write, exhaustion, and 10,000 random operations against a naive
 * model that writes what each token's page slot must hold and reads it back through page tables. */
#include "base/rng.h"
#include "base/vec.h"
#include "llm/kv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { PT = LLM_KV_PAGE_TOKENS };

static const dev_kv_shape shape = {.n_layers = 1,
                                   .n_head_kv = 1,
                                   .head_dim_k = 1,
                                   .head_dim_v = 1,
                                   .page_tokens = PT,
                                   .type = DTYPE_F16};

static dev *cpu;

static int setup(void **state) {
    (void)state;
    err e;
    dev_cpu_params p = {.n_threads = 1};
    return dev_cpu_create(&p, &cpu, &e);
}

static int teardown(void **state) {
    (void)state;
    dev_destroy(&cpu);
    return 0;
}

static llm_kv *pool(int32_t n_pages) {
    llm_kv *kv = NULL;
    err e;
    assert_int_equal(llm_kv_create(cpu, &shape, n_pages, &kv, &e), ERR_OK);
    return kv;
}

/* What computing token i of a sequence writes: a number that depends on all tokens up to it. */
static uint16_t mark(const int32_t *ids, int32_t i) {
    uint32_t h = 2166136261u;
    for (int32_t j = 0; j <= i; j++) h = (h ^ (uint32_t)ids[j]) * 16777619u;
    return (uint16_t)(h >> 16);
}

static uint16_t *slot(llm_kv *kv, const llm_kv_seq *s, int32_t i) {
    uint64_t words = dev_kv_page_bytes(&shape) / sizeof(uint16_t);
    return (uint16_t *)llm_kv_pool(kv) + words * (uint64_t)llm_kv_seq_pages(s)[i / PT] + i % PT;
}

static void compute(llm_kv *kv, const llm_kv_seq *s, const int32_t *ids, int32_t from, int32_t to) {
    for (int32_t i = from; i < to; i++) *slot(kv, s, i) = mark(ids, i);
}

static void check_contents(llm_kv *kv, const llm_kv_seq *s, const int32_t *ids, int32_t n) {
    assert_true(llm_kv_seq_len(s) >= n);
    for (int32_t i = 0; i < n; i++) assert_int_equal(*slot(kv, s, i), mark(ids, i));
}

static void must_append(llm_kv_seq *s, const int32_t *ids, int32_t n) {
    err e = {0};
    if (llm_kv_seq_append(s, ids, n, &e) != ERR_OK) fail_msg("append: %s", e.msg);
}

static void fill_ids(int32_t *ids, int32_t n, int32_t first) {
    for (int32_t i = 0; i < n; i++) ids[i] = first + i;
}

/* Creates, computes and commits a whole sequence. */
static llm_kv_seq *whole(llm_kv *kv, const int32_t *ids, int32_t n, int32_t *ret_cached) {
    llm_kv_seq *s = llm_kv_seq_create(kv, ids, n, ret_cached);
    check_contents(kv, s, ids, *ret_cached);
    must_append(s, ids + *ret_cached, n - *ret_cached);
    compute(kv, s, ids, *ret_cached, n);
    llm_kv_seq_commit(s);
    return s;
}

static void test_prefix_is_found(void **state) {
    (void)state;
    llm_kv *kv = pool(16);
    int32_t ids[100], other[100], cached;
    fill_ids(ids, 100, 1);
    llm_kv_seq *a = whole(kv, ids, 100, &cached);
    assert_int_equal(cached, 0);
    assert_int_equal(llm_kv_pages_free(kv), 12);

    /* While `a` runs: full pages only; its last, unfinished page is its own. */
    memcpy(other, ids, sizeof ids);
    other[70] = 9999;
    llm_kv_seq *b = whole(kv, other, 100, &cached);
    assert_int_equal(cached, 70); /* two whole pages and 6 tokens of the third */
    assert_int_equal(llm_kv_pages_free(kv), 10);
    check_contents(kv, a, ids, 100);
    assert_ptr_not_equal(slot(kv, a, 64), slot(kv, b, 64));
    assert_ptr_equal(slot(kv, a, 63), slot(kv, b, 63));

    /* The same prompt again: all but its last token. */
    llm_kv_seq_destroy(&a);
    llm_kv_seq_destroy(&b);
    assert_int_equal(llm_kv_pages_free(kv), 16);
    a = whole(kv, ids, 100, &cached);
    assert_int_equal(cached, 99);
    llm_kv_seq_destroy(&a);
    b = llm_kv_seq_create(kv, ids, 1, &cached);
    assert_int_equal(cached, 0);
    llm_kv_seq_destroy(&b);
    b = llm_kv_seq_create(kv, NULL, 0, &cached);
    assert_int_equal(cached, 0);
    llm_kv_seq_destroy(&b);
    llm_kv_drop_cache(kv);
    assert_int_equal(llm_kv_pages_cached(kv), 0);
    b = llm_kv_seq_create(kv, ids, 100, &cached);
    assert_int_equal(cached, 0);
    llm_kv_seq_destroy(&b);
    llm_kv_destroy(&kv);
    assert_null(kv);
    llm_kv_destroy(&kv);
}

static void test_twins_share(void **state) {
    (void)state;
    llm_kv *kv = pool(8);
    int32_t ids[64], cached;
    fill_ids(ids, 64, 5);
    llm_kv_seq *a = llm_kv_seq_create(kv, ids, 64, &cached);
    llm_kv_seq *b = llm_kv_seq_create(kv, ids, 64, &cached);
    must_append(a, ids, 64);
    must_append(b, ids, 64);
    assert_int_equal(llm_kv_pages_free(kv), 4);
    compute(kv, a, ids, 0, 64);
    compute(kv, b, ids, 0, 64);
    llm_kv_seq_commit(a);
    llm_kv_seq_commit(b); /* finds a's pages and gives its own back */
    assert_int_equal(llm_kv_pages_free(kv), 6);
    check_contents(kv, b, ids, 64);
    llm_kv_seq_destroy(&a);
    check_contents(kv, b, ids, 64);
    llm_kv_seq_destroy(&b);
    assert_int_equal(llm_kv_pages_cached(kv), 2);
    llm_kv_destroy(&kv);
}

static void test_truncate_then_diverge(void **state) {
    (void)state;
    llm_kv *kv = pool(8);
    int32_t ids[80], cached, extra[3] = {700, 701, 702};
    fill_ids(ids, 80, 1);
    llm_kv_seq *a = whole(kv, ids, 80, &cached);
    llm_kv_seq *b = whole(kv, ids, 80, &cached);
    assert_int_equal(cached, 64); /* a's third page is not full */
    /* Into the middle of a shared page: the page is copied before it is written. */
    llm_kv_seq_truncate(b, 40);
    must_append(b, extra, 3);
    int32_t mixed[43];
    memcpy(mixed, ids, sizeof mixed);
    memcpy(mixed + 40, extra, sizeof extra);
    compute(kv, b, mixed, 40, 43);
    check_contents(kv, b, mixed, 43);
    check_contents(kv, a, ids, 80);
    /* Uncommitted tokens are forgotten when the sequence ends. */
    llm_kv_seq_destroy(&b);
    b = llm_kv_seq_create(kv, mixed, 43, &cached);
    assert_int_equal(cached, 40);
    llm_kv_seq_destroy(&b);
    llm_kv_seq_truncate(a, 0);
    assert_int_equal(llm_kv_seq_len(a), 0);
    assert_int_equal(llm_kv_pages_free(kv), 8);
    llm_kv_seq_destroy(&a);
    llm_kv_destroy(&kv);
}

static void test_exhaustion(void **state) {
    (void)state;
    llm_kv *kv = pool(4);
    int32_t ids[200], cached;
    err e;
    fill_ids(ids, 200, 1);
    llm_kv_seq *a = whole(kv, ids, 96, &cached);
    llm_kv_seq *b = llm_kv_seq_create(kv, ids + 100, 64, &cached);
    assert_int_equal(llm_kv_seq_append(b, ids + 100, 64, &e), ERR_DEVICE_NOMEM);
    assert_non_null(strstr(e.msg, "2 KV pages and 1 of 4"));
    assert_int_equal(llm_kv_seq_len(b), 0);
    assert_int_equal(llm_kv_pages_free(kv), 1);
    must_append(b, ids + 100, 32);
    assert_int_equal(llm_kv_seq_append(b, ids, 1, &e), ERR_DEVICE_NOMEM);
    llm_kv_seq_truncate(b, 31); /* still room in its page */
    must_append(b, ids, 1);
    /* a's pages become cache and are evicted, leaf first, when b grows. */
    llm_kv_seq_destroy(&a);
    assert_int_equal(llm_kv_pages_cached(kv), 3);
    must_append(b, ids, 40);
    a = llm_kv_seq_create(kv, ids, 96, &cached);
    assert_int_equal(cached, 32);
    llm_kv_seq_destroy(&a);
    llm_kv_seq_destroy(&b);
    llm_kv_destroy(&kv);
}

static void test_copy_needs_a_page(void **state) {
    (void)state;
    llm_kv *kv = pool(2);
    int32_t ids[64], cached;
    err e;
    fill_ids(ids, 64, 1);
    llm_kv_seq *a = whole(kv, ids, 64, &cached);
    llm_kv_seq *b = llm_kv_seq_create(kv, ids, 64, &cached);
    assert_int_equal(cached, 63);
    assert_int_equal(llm_kv_seq_append(b, ids + 63, 1, &e), ERR_DEVICE_NOMEM);
    assert_int_equal(llm_kv_seq_len(b), 63);
    check_contents(kv, b, ids, 63);
    llm_kv_seq_destroy(&b);
    llm_kv_seq_destroy(&a);
    llm_kv_destroy(&kv);
}

static void test_bad_shapes(void **state) {
    (void)state;
    llm_kv *kv = NULL;
    err e;
    dev_kv_shape s = shape;
    s.page_tokens = 16;
    assert_int_equal(llm_kv_create(cpu, &s, 4, &kv, &e), ERR_INVALID);
    assert_int_equal(llm_kv_create(cpu, &shape, 0, &kv, &e), ERR_INVALID);
    assert_int_equal(llm_kv_create(cpu, &shape, INT32_MAX, &kv, &e), ERR_LIMIT);
    assert_null(kv);
}

/* ---- random operations ---- */

enum { N_SEQS = 8, MAX_LEN = 400, N_PAGES = 40, N_OPS = 10000 };

typedef struct model_seq {
    llm_kv_seq *s;
    int32_t ids[MAX_LEN];
    int32_t len, done;
} model_seq;

static int32_t below(rng *r, int32_t n) {
    return (int32_t)(rng_u64(r) % (uint64_t)n);
}

/* Few distinct tokens at few positions, so that prefixes are often shared. */
static int32_t random_id(rng *r, int32_t i) {
    return i % 24 == 5 || i > 200 ? below(r, 3) : i;
}

static void op_create(llm_kv *kv, model_seq *q, rng *r) {
    int32_t n = 1 + below(r, 150), cached;
    for (int32_t i = 0; i < n; i++) q->ids[i] = random_id(r, i);
    q->s = llm_kv_seq_create(kv, q->ids, n, &cached);
    assert_true(cached >= 0 && cached < n);
    q->len = q->done = cached;
    check_contents(kv, q->s, q->ids, cached);
}

static void op_append(llm_kv *kv, model_seq *q, rng *r) {
    int32_t n = 1 + below(r, below(r, 4) ? 3 : 100);
    if (n > MAX_LEN - q->len) n = MAX_LEN - q->len;
    int32_t free_before = llm_kv_pages_free(kv);
    int32_t fresh[MAX_LEN];
    err e;
    for (int32_t i = 0; i < n; i++) fresh[i] = random_id(r, q->len + i);
    err_code code = llm_kv_seq_append(q->s, fresh, n, &e);
    if (code != ERR_OK) {
        assert_int_equal(code, ERR_DEVICE_NOMEM);
        assert_int_equal(llm_kv_pages_free(kv), free_before);
        assert_int_equal(llm_kv_seq_len(q->s), q->len);
        return;
    }
    memcpy(q->ids + q->len, fresh, (size_t)n * sizeof *fresh);
    compute(kv, q->s, q->ids, q->done, q->len + n);
    q->len += n;
    if (below(r, 8)) {
        llm_kv_seq_commit(q->s);
        q->done = q->len;
    } else { /* a failed step */
        llm_kv_seq_truncate(q->s, q->done);
        q->len = q->done;
    }
}

static void check_all(llm_kv *kv, model_seq *seqs) {
    int32_t refs[N_PAGES] = {0}, used = 0;
    for (int i = 0; i < N_SEQS; i++) {
        if (!seqs[i].s) continue;
        assert_int_equal(llm_kv_seq_len(seqs[i].s), seqs[i].len);
        check_contents(kv, seqs[i].s, seqs[i].ids, seqs[i].done);
        for (int32_t p = 0; p < (seqs[i].len + PT - 1) / PT; p++) {
            int32_t page = llm_kv_seq_pages(seqs[i].s)[p];
            assert_true(page >= 0 && page < N_PAGES);
            if (refs[page]++ == 0) used++;
        }
    }
    assert_int_equal(llm_kv_pages_free(kv), N_PAGES - used);
}

static void test_random_operations(void **state) {
    (void)state;
    llm_kv *kv = pool(N_PAGES);
    static model_seq seqs[N_SEQS];
    rng r;
    int64_t n_cached = 0;
    rng_init(&r, 20);
    for (int op = 0; op < N_OPS; op++) {
        model_seq *q = &seqs[below(&r, N_SEQS)];
        int32_t what = below(&r, 20);
        if (!q->s) {
            op_create(kv, q, &r);
            n_cached += q->done;
        } else if (what < 15) {
            op_append(kv, q, &r);
        } else if (what < 17) {
            q->len = below(&r, q->len + 1);
            if (q->done > q->len) q->done = q->len;
            llm_kv_seq_truncate(q->s, q->len);
        } else {
            llm_kv_seq_destroy(&q->s);
            q->len = q->done = 0;
        }
        if (op % 1000 == 999) llm_kv_drop_cache(kv);
        check_all(kv, seqs);
    }
    assert_true(n_cached > 10000); /* the test met shared prefixes */
    for (int i = 0; i < N_SEQS; i++) llm_kv_seq_destroy(&seqs[i].s);
    assert_int_equal(llm_kv_pages_free(kv), N_PAGES);
    llm_kv_drop_cache(kv);
    assert_int_equal(llm_kv_pages_free(kv), N_PAGES);
    assert_int_equal(llm_kv_pages_cached(kv), 0);
    llm_kv_destroy(&kv);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefix_is_found),       cmocka_unit_test(test_twins_share),
        cmocka_unit_test(test_truncate_then_diverge), cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_copy_needs_a_page),     cmocka_unit_test(test_bad_shapes),
        cmocka_unit_test(test_random_operations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
