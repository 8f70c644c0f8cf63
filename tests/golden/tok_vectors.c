/* Tokenizers against vectors made by tokenizers and sentencepiece (tok_vectors.py).
 * The real vocabularies come from the demo models in $HOB_DEMO_DIR; without it those tests are
 * skipped. Run from the root of the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "model/tok.h"
#include "model/tok_pre.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIR_GOLDEN "tests/golden/"

static str read_file(arena *a, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s; run from the root of the tree", path);
    buf b = {0};
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;) buf_put(&b, chunk, n);
    fclose(f);
    str s = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return s;
}

static int digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static str unhex(arena *a, str h) {
    if (str_eq(h, STR("-"))) return (str){0};
    char *p = arena_alloc(a, h.len / 2 + 1);
    for (size_t i = 0; i + 1 < h.len; i += 2)
        p[i / 2] = (char)(digit(h.ptr[i]) * 16 + digit(h.ptr[i + 1]));
    p[h.len / 2] = '\0';
    return (str){p, h.len / 2};
}

static int64_t number(str s) {
    int64_t v = 0;
    assert_true(str_to_i64(s, &v));
    return v;
}

typedef VEC(str) strs;

static strs corpus(arena *a) {
    strs v = {0};
    str all = read_file(a, DIR_GOLDEN "tok_corpus.txt");
    while (all.len) VEC_PUSH(v, unhex(a, str_cut(&all, '\n')));
    assert_true(v.len > 200);
    return v;
}

typedef struct vectors {
    arena *a;
    strs texts, tokens, merges, lines; /* lines: "v ids", "s ids", "pre name" */
    VEC(float) scores;
    VEC(int32_t) types;
    int32_t roles[TOK_ROLE_COUNT];
    tok_vocab_spec spec;
} vectors;

static void read_line(vectors *v, str line) {
    str rest = line, key = str_cut(&rest, ' ');
    if (str_eq(key, STR("t"))) {
        VEC_PUSH(v->types, (int32_t)number(str_cut(&rest, ' ')));
        str score = str_cut(&rest, ' ');
        float f = 0;
        if (score.len == 8) memcpy(&f, unhex(v->a, score).ptr, 4);
        VEC_PUSH(v->scores, f);
        VEC_PUSH(v->tokens, unhex(v->a, rest));
    } else if (str_eq(key, STR("m"))) {
        VEC_PUSH(v->merges, unhex(v->a, rest));
    } else if (str_eq(key, STR("kind"))) {
        v->spec.kind = str_eq(rest, STR("bpe"))   ? TOK_BPE
                       : str_eq(rest, STR("spm")) ? TOK_SPM
                                                  : TOK_UGM;
    } else if (str_eq(key, STR("space_prefix"))) {
        v->spec.add_space_prefix = number(rest) ? TOK_YES : TOK_NO;
    } else if (str_eq(key, STR("extra_spaces"))) {
        v->spec.remove_extra_spaces = number(rest) ? TOK_YES : TOK_NO;
    } else if (str_eq(key, STR("unk"))) {
        v->roles[TOK_UNK] = (int32_t)number(rest);
    } else if (str_eq(key, STR("charsmap"))) {
        v->spec.charsmap = unhex(v->a, rest);
    } else {
        VEC_PUSH(v->lines, line);
    }
}

static void vectors_read(vectors *v, const char *path) {
    *v = (vectors){.a = arena_create(0)};
    memset(v->roles, 0xff, sizeof v->roles);
    v->texts = corpus(v->a);
    str all = read_file(v->a, path);
    while (all.len) read_line(v, str_cut(&all, '\n'));
    v->spec.n_tokens = v->tokens.len;
    v->spec.tokens = v->tokens.items;
    v->spec.scores = v->scores.items;
    v->spec.types = v->types.items;
    v->spec.n_merges = v->merges.len;
    v->spec.merges = v->merges.items;
    v->spec.role_id = v->roles;
}

static void vectors_finish(vectors *v) {
    VEC_FINISH(v->texts);
    VEC_FINISH(v->tokens);
    VEC_FINISH(v->merges);
    VEC_FINISH(v->lines);
    VEC_FINISH(v->scores);
    VEC_FINISH(v->types);
    arena_destroy(&v->a);
}

static void print_ids(const char *name, const int32_t *ids, size_t n) {
    print_message("  %s", name);
    for (size_t i = 0; i < n; i++) print_message(" %d", ids[i]);
    print_message("\n");
}

/* Compares one text; prints and returns false on a difference. */
static bool check_text(const tok *t, str text, str want, unsigned flags) {
    tok_ids got = {0}, exp = {0};
    err e;
    assert_int_equal(tok_encode(t, text, flags, &got, &e), ERR_OK);
    if (!str_eq(want, STR("-")))
        while (want.len) VEC_PUSH(exp, (int32_t)number(str_cut(&want, ',')));
    bool same = got.len == exp.len &&
                (got.len == 0 || memcmp(got.items, exp.items, got.len * sizeof(int32_t)) == 0);
    if (!same) {
        print_message("differs: '" STR_FMT "'\n", STR_ARG(text));
        print_ids("want", exp.items, exp.len);
        print_ids("got ", got.items, got.len);
    }
    VEC_FINISH(got);
    VEC_FINISH(exp);
    return same;
}

/* Runs the vector lines against *t (NULL: made from the spec, again for each `pre`). */
static void run_vectors(vectors *v, const tok *real) {
    CLEANUP(tok_destroy) tok *made = NULL;
    size_t at = 0, n_bad = 0, n_checked = 0;
    for (size_t i = 0; i < v->lines.len; i++) {
        str rest = v->lines.items[i], key = str_cut(&rest, ' ');
        err e = {0};
        if (str_eq(key, STR("pre"))) {
            tok_destroy(&made);
            v->spec.pre = rest;
            at = 0;
            continue;
        }
        if (!real && !made && tok_create(&v->spec, &made, &e) != ERR_OK) fail_msg("%s", e.msg);
        if (at == v->texts.len) at = 0;
        unsigned flags = str_eq(key, STR("s")) ? TOK_PARSE_SPECIAL : 0;
        n_bad += !check_text(real ? real : made, v->texts.items[at++], rest, flags);
        n_checked++;
    }
    assert_int_equal(n_bad, 0);
    assert_true(n_checked >= v->texts.len);
}

static void split_collect(void *ctx, str word) {
    buf *b = ctx;
    buf_putf(b, b->len ? ",%zu" : "%zu", word.len);
}

static void splits_follow_the_published_patterns(void **state) {
    (void)state;
    arena *a = arena_create(0);
    strs texts = corpus(a);
    str all = read_file(a, DIR_GOLDEN "tok_splits.txt");
    size_t at = 0, n_bad = 0, n = 0;
    for (; all.len; n++, at = (at + 1) % texts.len) {
        str want = str_cut(&all, '\n'), name = str_cut(&want, ' ');
        const tok_pre_family *f = NULL;
        err e;
        assert_int_equal(tok_pre_get(name, &f, &e), ERR_OK);
        buf got = {0};
        tok_pre_split(f, texts.items[at], split_collect, &got);
        if (got.len == 0) buf_put_str(&got, STR("-"));
        if (!str_eq(buf_str(&got), want) && n_bad++ < 40)
            print_message(STR_FMT ": '" STR_FMT "'\n  want " STR_FMT "\n  got  " STR_FMT "\n",
                          STR_ARG(name), STR_ARG(texts.items[at]), STR_ARG(want),
                          STR_ARG(buf_str(&got)));
        buf_finish(&got);
    }
    assert_int_equal(n_bad, 0);
    assert_int_equal(n, 18 * texts.len);
    VEC_FINISH(texts);
    arena_destroy(&a);
}

static void check_file(const char *path) {
    vectors v;
    vectors_read(&v, path);
    run_vectors(&v, NULL);
    vectors_finish(&v);
}

static void byte_bpe_matches_tokenizers(void **state) {
    (void)state;
    check_file(DIR_GOLDEN "tok_bpe.txt");
}

static void spm_matches_sentencepiece(void **state) {
    (void)state;
    check_file(DIR_GOLDEN "tok_spm.txt");
}

static void ugm_matches_sentencepiece(void **state) {
    (void)state;
    check_file(DIR_GOLDEN "tok_ugm.txt");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_follow_the_published_patterns),
        cmocka_unit_test(byte_bpe_matches_tokenizers),
        cmocka_unit_test(spm_matches_sentencepiece),
        cmocka_unit_test(ugm_matches_sentencepiece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
