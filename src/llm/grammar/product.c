/* What two regular languages have in common, or the one without the other.
 *
 * Both are walked together as deterministic automata, pair of states by pair; what cannot reach an
 * end is cut off, so that nothing is ever allowed that leads nowhere. */
#include "base/limits.h"
#include "llm/grammar/match.h"
#include <string.h>

typedef struct pair {
    int32_t x, y; /* y may be GRAMMAR_DEAD where the second language is taken away */
} pair;

typedef struct product {
    grammar *x, *y;
    bool without, full;
    VEC(pair) pairs;
    uint32_t *slots; /* [SLOTS] hash table of pair number + 1 */
    VEC(grammar_edge) edges;
    VEC(uint32_t) first; /* of each pair's edges */
} product;

enum { SLOTS = 4 * LIMIT_GRAMMAR_PRODUCT };

static int32_t pair_number(product *p, pair at) {
    uint64_t h = ((uint64_t)(uint32_t)at.x << 32 | (uint32_t)at.y) * 0x9E3779B97F4A7C15u;
    size_t k = (size_t)(h >> 32) % SLOTS;
    for (; p->slots[k]; k = (k + 1) % SLOTS) {
        const pair *q = &p->pairs.items[p->slots[k] - 1];
        if (q->x == at.x && q->y == at.y) return (int32_t)p->slots[k] - 1;
    }
    if (p->pairs.len >= LIMIT_GRAMMAR_PRODUCT) {
        p->full = true;
        return -1;
    }
    VEC_PUSH(p->pairs, at);
    p->slots[k] = (uint32_t)p->pairs.len;
    return (int32_t)p->pairs.len - 1;
}

static void add_edges(product *p, pair from) {
    size_t begin = p->edges.len;
    VEC_PUSH(p->first, (uint32_t)begin);
    for (int c = 0, last; c < 256 && !p->full; c = last + 1) {
        uint8_t lx = p->x->class_last[c], ly = p->y->class_last[c];
        last = lx < ly ? lx : ly;
        pair to = {grammar_step(p->x, from.x, (uint8_t)c),
                   from.y < 0 ? GRAMMAR_DEAD : grammar_step(p->y, from.y, (uint8_t)c)};
        p->full = p->full || to.x == GRAMMAR_FULL || to.y == GRAMMAR_FULL;
        if (to.x < 0 || (to.y < 0 && !p->without)) continue;
        int32_t n = pair_number(p, to);
        grammar_edge *before = p->edges.len > begin ? &VEC_LAST(p->edges) : NULL;
        if (before && before->to == n && before->hi + 1 == c)
            before->hi = (uint8_t)last;
        else
            VEC_PUSH(p->edges, (grammar_edge){(uint8_t)c, (uint8_t)last, n});
    }
}

static bool may_end(const grammar *g, int32_t state) {
    return state >= 0 && g->states.items[state].may_end;
}

static bool accepts(const product *p, pair at) {
    return may_end(p->x, at.x) && may_end(p->y, at.y) != p->without;
}

/* Marks the pairs that lead to an end. */
static void find_alive(const product *p, bool *alive) {
    size_t n = p->pairs.len, n_edges = p->edges.len;
    uint32_t *first = NEW_ARRAY(uint32_t, n + 2), *from = NEW_ARRAY(uint32_t, n_edges + 1);
    VEC(uint32_t) todo = {0};
    for (size_t i = 0; i < n_edges; i++) first[p->edges.items[i].to + 2]++;
    for (size_t i = 2; i < n + 2; i++) first[i] += first[i - 1];
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = p->first.items[i]; k < p->first.items[i + 1]; k++)
            from[first[p->edges.items[k].to + 1]++] = (uint32_t)i;
    for (size_t i = 0; i < n; i++) {
        alive[i] = accepts(p, p->pairs.items[i]);
        if (alive[i]) VEC_PUSH(todo, (uint32_t)i);
    }
    while (todo.len > 0) {
        uint32_t at = VEC_POP(todo);
        for (uint32_t k = first[at]; k < first[at + 1]; k++) {
            if (alive[from[k]]) continue;
            alive[from[k]] = true;
            VEC_PUSH(todo, from[k]);
        }
    }
    VEC_FINISH(todo);
    mem_free(from);
    mem_free(first);
}

/* The automaton of what is alive; NULL when the start is not. */
static const grammar_dfa *trimmed(const product *p, arena *mem) {
    size_t n = p->pairs.len, n_kept = 0, n_edges = 0;
    bool *alive = mem_zalloc(n);
    int32_t *number = NEW_ARRAY(int32_t, n);
    grammar_dfa *d = NULL;
    find_alive(p, alive);
    for (size_t i = 0; i < n; i++) number[i] = alive[i] ? (int32_t)n_kept++ : -1;
    if (alive[0]) {
        d = ARENA_NEW(mem, grammar_dfa);
        d->n = n_kept;
        d->first = ARENA_ARRAY(mem, uint32_t, n_kept + 1);
        d->accepts = ARENA_ARRAY(mem, bool, n_kept);
        d->edges = ARENA_ARRAY(mem, grammar_edge, p->edges.len + 1);
    }
    for (size_t i = 0; i < n && d; i++) {
        if (!alive[i]) continue;
        d->accepts[number[i]] = accepts(p, p->pairs.items[i]);
        for (uint32_t k = p->first.items[i]; k < p->first.items[i + 1]; k++) {
            grammar_edge e = p->edges.items[k];
            if (alive[e.to]) d->edges[n_edges++] = (grammar_edge){e.lo, e.hi, number[e.to]};
        }
        d->first[number[i] + 1] = (uint32_t)n_edges;
    }
    mem_free(number);
    mem_free(alive);
    return d;
}

static const grammar_expr *multiply(grammar_builder *b, product *p) {
    p->slots = NEW_ARRAY(uint32_t, SLOTS);
    p->x->work_left = p->y->work_left = LIMIT_GRAMMAR_WORK * 4;
    pair_number(p, (pair){p->x->state, p->y->state});
    for (size_t i = 0; i < p->pairs.len && !p->full; i++) add_edges(p, p->pairs.items[i]);
    VEC_PUSH(p->first, (uint32_t)p->edges.len);
    b->n_product += p->pairs.len;
    const grammar_expr *x = p->full ? NULL : grammar_of_dfa(b, trimmed(p, b->mem));
    VEC_FINISH(p->pairs);
    VEC_FINISH(p->edges);
    VEC_FINISH(p->first);
    mem_free(p->slots);
    return x;
}

err_code grammar_both(grammar_builder *b, const grammar_expr *x, const grammar_expr *y,
                      bool without, const grammar_expr **ret, err *e) {
    grammar_net nets[2] = {0};
    product p = {.without = without};
    *ret = NULL;
    if (x->kind == GRAMMAR_NONE || y->kind == GRAMMAR_NONE) {
        *ret = without ? x : grammar_none(b);
        return ERR_OK;
    }
    if (b->n_product > LIMIT_GRAMMAR_PRODUCTS)
        FAIL(e, LIMIT, "what must hold together is too much: more than %u states in all",
             LIMIT_GRAMMAR_PRODUCTS);
    if (grammar_build_inline(b, x, &nets[0]) && grammar_build_inline(b, y, &nets[1])) {
        p.x = grammar_over(&nets[0]);
        p.y = grammar_over(&nets[1]);
        b->n_product += p.x->net.nodes.len + p.y->net.nodes.len;
        if (p.x->state >= 0 && p.y->state >= 0) *ret = multiply(b, &p);
    }
    grammar_destroy(&p.x);
    grammar_destroy(&p.y);
    for (int i = 0; i < 2; i++) grammar_net_finish(&nets[i]);
    if (!*ret)
        FAIL(e, LIMIT, "what must hold together is too much: more than %d states",
             LIMIT_GRAMMAR_PRODUCT);
    return ERR_OK;
}
