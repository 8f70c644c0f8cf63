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
    VEC(int32_t) leaves; /* ids that may come first and leave the grammar */
    int32_t n_blank;     /* so many blanks may still come */
    bool begun, left;
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
    VEC_FINISH(c->leaves);
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

void llm_constraint_allow_leave(llm_constraint *c, int32_t id) {
    VEC_PUSH(c->leaves, id);
}

static bool may_leave(const llm_constraint *c, int32_t id) {
    for (size_t i = 0; !c->begun && i < c->leaves.len; i++)
        if (c->leaves.items[i] == id) return true;
    return false;
}

void llm_constraint_reset(llm_constraint *c) {
    c->begun = c->left = false;
    grammar_reset(c->g);
}

bool llm_constraint_allows(llm_constraint *c, int32_t id) {
    if (c->left || may_leave(c, id)) return true;
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

/* The logits of `ids`, for putting back. */
static void save(const float *logits, const int32_t *ids, size_t n, float *to) {
    for (size_t i = 0; i < n; i++) to[i] = logits[ids[i]];
}

void llm_constraint_mask(llm_constraint *c, float *logits, int32_t n) {
    if (c->left) return;
    const uint64_t *bits = grammar_mask(c->g, c->v);
    float *kept = NEW_ARRAY(float, c->stops.len + 1);
    float *blank = NEW_ARRAY(float, c->blanks.len + 1);
    float *leave = NEW_ARRAY(float, c->leaves.len + 1);
    save(logits, c->stops.items, c->stops.len, kept);
    save(logits, c->blanks.items, c->blanks.len, blank);
    save(logits, c->leaves.items, c->leaves.len, leave);
    keep_only(bits, logits, n < c->n_vocab ? n : c->n_vocab);
    for (int32_t i = c->n_vocab; i < n; i++) logits[i] = -INFINITY;
    for (size_t i = 0; c->n_blank > 0 && i < c->blanks.len; i++)
        logits[c->blanks.items[i]] = blank[i];
    bool may_end = grammar_may_end(c->g);
    for (size_t i = 0; i < c->stops.len; i++)
        logits[c->stops.items[i]] = may_end ? kept[i] : -INFINITY;
    for (size_t i = 0; !c->begun && i < c->leaves.len; i++) logits[c->leaves.items[i]] = leave[i];
    mem_free(kept);
    mem_free(blank);
    mem_free(leave);
}

err_code llm_constraint_accept(llm_constraint *c, int32_t id, err *e) {
    if (may_leave(c, id)) c->left = true;
    if (c->left || tok_is_stop(c->t, id)) return ERR_OK;
    if (c->n_blank > 0 && is_blank(tok_piece(c->t, id, false))) {
        c->n_blank--;
        return ERR_OK;
    }
    c->n_blank = 0;
    c->begun = true;
    return grammar_accept(c->g, tok_piece(c->t, id, false), e);
}

bool llm_constraint_is_over(llm_constraint *c) {
    return !c->left && grammar_must_end(c->g);
}
