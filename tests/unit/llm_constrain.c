/* llm/constrain: which tokens pass a grammar, and control tokens that leave it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/constrain.h"
#include <math.h>

enum { ID_A, ID_B, ID_AB, ID_LINE, ID_MARK, ID_OTHER, ID_END, N_IDS };

typedef struct fixture {
    tok *t;
    grammar_vocab *v;
    llm_constraint *c;
} fixture;

/* A vocabulary of four texts and three control tokens, held to a+b. */
static fixture open_fixture(void) {
    const str texts[N_IDS] = {STR("a"),      STR("b"),       STR("ab"),  STR("\xC4\x8A"),
                              STR("[CALL]"), STR("[OTHER]"), STR("</s>")};
    const int32_t types[N_IDS] = {TOK_TYPE_NORMAL, TOK_TYPE_NORMAL,  TOK_TYPE_NORMAL,
                                  TOK_TYPE_NORMAL, TOK_TYPE_CONTROL, TOK_TYPE_CONTROL,
                                  TOK_TYPE_CONTROL};
    int32_t roles[TOK_ROLE_COUNT];
    for (int i = 0; i < TOK_ROLE_COUNT; i++) roles[i] = i == TOK_EOS ? ID_END : -1;
    const str merge = STR("a b");
    tok_vocab_spec spec = {.kind = TOK_BPE,
                           .n_tokens = N_IDS,
                           .tokens = texts,
                           .types = types,
                           .n_merges = 1,
                           .merges = &merge,
                           .role_id = roles};
    fixture f = {0};
    grammar *g = NULL;
    err e = {0};
    if (tok_create(&spec, &f.t, &e)) fail_msg("%s", e.msg);
    assert_int_equal(grammar_from_regex(STR("a+b"), &g, &e), ERR_OK);
    f.v = llm_constraint_vocab(f.t);
    f.c = llm_constraint_create(&g, f.v, f.t);
    return f;
}

static void close_fixture(fixture *f) {
    llm_constraint_destroy(&f->c);
    grammar_vocab_destroy(&f->v);
    tok_destroy(&f->t);
}

/* `want`: one character for each id, x = it may come; asked one by one and by mask. */
static void check_next(const fixture *f, const char *want) {
    float logits[N_IDS];
    for (int i = 0; i < N_IDS; i++) logits[i] = 1 + (float)i;
    llm_constraint_mask(f->c, logits, N_IDS);
    for (int32_t i = 0; i < N_IDS; i++) {
        bool may = want[i] == 'x';
        if (llm_constraint_allows(f->c, i) != may) fail_msg("%s: id %d", want, i);
        if (may ? logits[i] < 1 || logits[i] > 1 + (float)i : !isinf(logits[i]))
            fail_msg("%s: mask of id %d", want, i);
    }
}

static void take(const fixture *f, int32_t id) {
    err e = {0};
    if (llm_constraint_accept(f->c, id, &e)) fail_msg("id %d: %s", id, e.msg);
}

static void test_held(void **state) {
    (void)state;
    fixture f = open_fixture();
    err e = {0};
    check_next(&f, "x.x....");
    take(&f, ID_A);
    check_next(&f, "xxx....");
    assert_int_equal(llm_constraint_accept(f.c, ID_LINE, &e), ERR_INVALID);
    take(&f, ID_AB);
    assert_true(llm_constraint_is_over(f.c));
    check_next(&f, "......x");
    close_fixture(&f);
}

static void test_leaving(void **state) {
    (void)state;
    fixture f = open_fixture();
    llm_constraint_allow_blank(f.c, 2);
    llm_constraint_allow_leave(f.c, ID_MARK);
    check_next(&f, "x.xxx..");
    take(&f, ID_LINE); /* blanks are not the beginning */
    check_next(&f, "x.xxx..");
    take(&f, ID_A);
    check_next(&f, "xxx....");
    llm_constraint_reset(f.c);
    take(&f, ID_MARK);
    check_next(&f, "xxxxxxx");
    take(&f, ID_B);
    take(&f, ID_OTHER);
    check_next(&f, "xxxxxxx");
    assert_false(llm_constraint_is_over(f.c));
    llm_constraint_reset(f.c);
    check_next(&f, "x.x.x..");
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_held), cmocka_unit_test(test_leaving)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
