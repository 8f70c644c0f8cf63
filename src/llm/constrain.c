/* Tokens under a grammar. */
#include "llm/constrain.h"
#include <math.h>

struct llm_constraint {
    grammar *g;
    const grammar_vocab *v;
    const tok *t;
    int32_t n_vocab;
    VEC(int32_t) stops;  /* ids that end a generation */
    VEC(int32_t) blanks; /* ids of line breaks, while n_blank > 0 */
    int32_t n_blank;     /* so many of them may still come */
};

grammar_vocab *llm_constraint_vocab(const tok *t) {
    size_t n = tok_vocab_count(t);
    str *pieces = NEW_ARRAY(str, n);
    for (size_t i = 0; i < n; i++) pieces[i] = tok_piece(t, (int32_t)i, false);
    grammar_vocab *v = grammar_vocab_create(pieces, (int32_t)n);
    mem_free(pieces);
    return v;
}

llm_constraint *llm_constraint_create(grammar **g, const grammar_vocab *v, const tok *t) {
    llm_constraint *c = NEW(llm_constraint);
    c->g = TAKE(*g);
    c->v = v;
    c->t = t;
    c->n_vocab = (int32_t)tok_vocab_count(t);
    for (int32_t i = 0; i < c->n_vocab; i++)
        if (tok_is_stop(t, i)) VEC_PUSH(c->stops, i);
    return c;
}

void llm_constraint_destroy(llm_constraint **cp) {
    llm_constraint *c = cp ? *cp : NULL;
    if (!c) return;
    grammar_destroy(&c->g);
    VEC_FINISH(c->stops);
    VEC_FINISH(c->blanks);
    mem_free(c);
    *cp = NULL;
}

static bool is_blank(str s) {
    size_t n = 0;
    while (n < s.len && s.ptr[n] == '\n') n++;
    return s.len > 0 && n == s.len;
}

void llm_constraint_allow_blank(llm_constraint *c, int32_t n) {
    for (int32_t i = 0; i < c->n_vocab && c->blanks.len == 0 && n > 0; i++)
        if (is_blank(tok_piece(c->t, i, false))) VEC_PUSH(c->blanks, i);
    c->n_blank = n;
}

void llm_constraint_reset(llm_constraint *c) {
    grammar_reset(c->g);
}

bool llm_constraint_allows(llm_constraint *c, int32_t id) {
    if (c->n_blank > 0 && is_blank(tok_piece(c->t, id, false))) return true;
    if (tok_is_stop(c->t, id)) return grammar_may_end(c->g);
    str piece = tok_piece(c->t, id, false);
    return piece.len > 0 && grammar_allows(c->g, piece);
}

/* Without branches: which tokens may come is as good as random. */
static void keep_eight(uint32_t bits, float *logits) {
    static const uint32_t BIT[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    for (int i = 0; i < 8; i++) logits[i] = bits & BIT[i] ? logits[i] : -INFINITY;
}

static void keep_only(const uint64_t *bits, float *logits, int32_t n) {
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) keep_eight((uint32_t)(bits[i / 64] >> i % 64 & 0xFF), logits + i);
    for (; i < n; i++)
        if (!(bits[i / 64] >> i % 64 & 1)) logits[i] = -INFINITY;
}

void llm_constraint_mask(llm_constraint *c, float *logits, int32_t n) {
    const uint64_t *bits = grammar_mask(c->g, c->v);
    VEC(float) kept = {0};
    VEC(float) blank = {0};
    for (size_t i = 0; i < c->blanks.len; i++) VEC_PUSH(blank, logits[c->blanks.items[i]]);
    for (size_t i = 0; i < c->stops.len; i++) VEC_PUSH(kept, logits[c->stops.items[i]]);
    keep_only(bits, logits, n < c->n_vocab ? n : c->n_vocab);
    for (int32_t i = c->n_vocab; i < n; i++) logits[i] = -INFINITY;
    for (size_t i = 0; c->n_blank > 0 && i < c->blanks.len; i++)
        logits[c->blanks.items[i]] = blank.items[i];
    bool may_end = grammar_may_end(c->g);
    for (size_t i = 0; i < c->stops.len; i++)
        logits[c->stops.items[i]] = may_end ? kept.items[i] : -INFINITY;
    VEC_FINISH(kept);
    VEC_FINISH(blank);
}

err_code llm_constraint_accept(llm_constraint *c, int32_t id, err *e) {
    if (tok_is_stop(c->t, id)) return ERR_OK;
    if (c->n_blank > 0 && is_blank(tok_piece(c->t, id, false))) {
        c->n_blank--;
        return ERR_OK;
    }
    c->n_blank = 0;
    return grammar_accept(c->g, tok_piece(c->t, id, false), e);
}

bool llm_constraint_is_over(llm_constraint *c) {
    return grammar_must_end(c->g);
}
