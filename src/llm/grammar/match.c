/* Walking a network: a deterministic automaton made while it is walked.
 *
 * A position is a node and a stack of nodes to return to. Stacks are interned cells (node, rest),
 * so equal stacks have equal numbers; a state is the sorted set of positions at byte nodes that can
 * be reached without a byte, interned as well. What a state does on a byte is computed once.
 * Bytes that no node tells apart share a class, which keeps the tables small.
 * Invariant: the current state is never dropped; when there are too many states or cells all others
 * are forgotten and made again. */
#include "llm/grammar/match.h"
#include "base/limits.h"
#include <stdlib.h>
#include <string.h>

enum { UNKNOWN = -2, SLOTS_MIN = 1024 };

/* ---- interning ---- */

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* The cell (node, rest), made if need be; GRAMMAR_FULL when there are too many. */
static int32_t cell_of(grammar *g, int32_t node, int32_t rest) {
    uint64_t mask = g->n_cell_slots - 1;
    uint64_t at = mix(mix(17, (uint64_t)node), (uint64_t)(uint32_t)rest) & mask;
    for (; g->cell_slots[at]; at = (at + 1) & mask) {
        const grammar_cell *c = &g->cells.items[g->cell_slots[at] - 1];
        if (c->node == node && c->rest == rest) return (int32_t)g->cell_slots[at] - 1;
    }
    if (g->cells.len >= g->n_cell_slots / 2) return GRAMMAR_FULL;
    VEC_PUSH(g->cells, (grammar_cell){node, rest});
    g->cell_slots[at] = (uint32_t)g->cells.len;
    return (int32_t)g->cells.len - 1;
}

static int by_place(const void *x, const void *y) {
    const grammar_place *a = x, *b = y;
    if (a->node != b->node) return a->node < b->node ? -1 : 1;
    return (a->stack > b->stack) - (a->stack < b->stack);
}

static bool same_state(const grammar_state *s, const grammar_places *p, bool may_end) {
    return s->n_places == p->len && s->may_end == may_end &&
           (p->len == 0 || memcmp(s->places, p->items, p->len * sizeof *s->places) == 0);
}

/* The state of g->found; GRAMMAR_DEAD for no position at all, GRAMMAR_FULL when there are too
 * many. */
static int32_t state_of(grammar *g, bool may_end) {
    grammar_places *p = &g->found;
    if (p->len == 0 && !may_end) return GRAMMAR_DEAD;
    if (p->len > 1) qsort(p->items, p->len, sizeof *p->items, by_place);
    uint64_t h = mix(may_end, p->len), mask = GRAMMAR_STATE_SLOTS - 1;
    for (size_t i = 0; i < p->len; i++)
        h = mix(mix(h, (uint64_t)p->items[i].node), (uint64_t)(uint32_t)p->items[i].stack);
    uint64_t at = h & mask;
    for (; g->state_slots[at]; at = (at + 1) & mask)
        if (same_state(&g->states.items[g->state_slots[at] - 1], p, may_end))
            return (int32_t)g->state_slots[at] - 1;
    size_t bytes = p->len * sizeof *p->items + (size_t)g->n_classes * sizeof(int32_t);
    g->state_bytes += bytes;
    if (g->states.len >= LIMIT_GRAMMAR_STATES || g->state_bytes > LIMIT_GRAMMAR_STATE_BYTES)
        return GRAMMAR_FULL;
    grammar_state s = {.n_places = p->len,
                       .may_end = may_end,
                       .places = arena_dup(g->mem, p->items, p->len * sizeof *p->items),
                       .next = arena_alloc(g->mem, (size_t)g->n_classes * sizeof *s.next)};
    for (int32_t c = 0; c < g->n_classes; c++) s.next[c] = UNKNOWN;
    VEC_PUSH(g->states, s);
    g->state_slots[at] = (uint32_t)g->states.len;
    return (int32_t)g->states.len - 1;
}

/* ---- closure ---- */

/* Notes a position in the table of this closure; entries of other closures count as free. */
static bool note_place(grammar_visited *v, grammar_place p) {
    uint64_t at = mix(mix(5, (uint64_t)p.node), (uint64_t)(uint32_t)p.stack) & (v->n_slots - 1);
    for (; v->slots[at].closure == v->closure; at = (at + 1) & (v->n_slots - 1))
        if (v->slots[at].place.node == p.node && v->slots[at].place.stack == p.stack) return false;
    v->slots[at] = (grammar_visit){p, v->closure};
    v->n++;
    return true;
}

static bool seen_before(grammar *g, grammar_place p) {
    grammar_visited *v = &g->visited;
    if (v->n * 2 >= v->n_slots) {
        grammar_visited more = {.n_slots = v->n_slots * 2, .closure = v->closure};
        more.slots = NEW_ARRAY(grammar_visit, more.n_slots);
        for (size_t i = 0; i < v->n_slots; i++)
            if (v->slots[i].closure == v->closure) note_place(&more, v->slots[i].place);
        mem_free(v->slots);
        *v = more;
    }
    return !note_place(v, p);
}

/* Where a position leads without a byte: one step. False: too deep. */
static bool expand(grammar *g, grammar_place p, bool *may_end) {
    const grammar_node *n = &g->net.nodes.items[p.node];
    int32_t cell;
    switch ((grammar_op)n->op) {
    case GRAMMAR_OP_BYTE:
        VEC_PUSH(g->found, p);
        break;
    case GRAMMAR_OP_SPLIT:
        VEC_PUSH(g->todo, (grammar_place){n->other, p.stack});
        VEC_PUSH(g->todo, (grammar_place){n->next, p.stack});
        break;
    case GRAMMAR_OP_CALL:
        /* a call at the very end needs no way back */
        cell = g->net.nodes.items[n->next].op == GRAMMAR_OP_RETURN ? p.stack
                                                                   : cell_of(g, n->next, p.stack);
        if (cell == GRAMMAR_FULL) return false;
        VEC_PUSH(g->todo, (grammar_place){g->net.starts.items[n->other], cell});
        break;
    case GRAMMAR_OP_RETURN:
        if (p.stack < 0) {
            *may_end = true;
            break;
        }
        VEC_PUSH(g->todo,
                 (grammar_place){g->cells.items[p.stack].node, g->cells.items[p.stack].rest});
        break;
    }
    return true;
}

/* Follows g->todo until only byte nodes are left: the state they make. */
static int32_t close_over(grammar *g) {
    bool may_end = false;
    VEC_CLEAR(g->found);
    g->visited.closure++;
    g->visited.n = 0;
    while (g->todo.len > 0) {
        grammar_place p = VEC_POP(g->todo);
        if (g->visited.n > LIMIT_GRAMMAR_PLACES || g->work_left-- < 0) return GRAMMAR_FULL;
        if (!seen_before(g, p) && !expand(g, p, &may_end)) return GRAMMAR_FULL;
    }
    return state_of(g, may_end);
}

static int32_t start_state(grammar *g) {
    VEC_CLEAR(g->todo);
    VEC_PUSH(g->todo, (grammar_place){g->net.starts.items[0], -1});
    return close_over(g);
}

int32_t grammar_step(grammar *g, int32_t state, uint8_t byte) {
    uint8_t cls = g->class_of[byte];
    int32_t next = g->states.items[state].next[cls];
    if (next != UNKNOWN) return next;
    if (g->full || g->work_left < 0) return GRAMMAR_FULL;
    VEC_CLEAR(g->todo);
    const grammar_state *s = &g->states.items[state];
    for (size_t i = 0; i < s->n_places; i++) {
        const grammar_node *n = &g->net.nodes.items[s->places[i].node];
        if (byte >= n->lo && byte <= n->hi)
            VEC_PUSH(g->todo, (grammar_place){n->next, s->places[i].stack});
    }
    next = close_over(g);
    g->full = next == GRAMMAR_FULL;
    if (!g->full) g->states.items[state].next[cls] = next;
    return next;
}

int32_t grammar_steps(grammar *g, int32_t state, str bytes) {
    for (size_t i = 0; i < bytes.len && state >= 0; i++)
        state = grammar_step(g, state, (uint8_t)bytes.ptr[i]);
    return state;
}

/* ---- forgetting ---- */

/* Stacks of the current state as lists of nodes, to be interned again. */
static int32_t copy_stack(grammar *g, const grammar_cell *old, int32_t stack) {
    VEC(int32_t) nodes = {0};
    for (int32_t c = stack; c >= 0; c = old[c].rest) VEC_PUSH(nodes, old[c].node);
    int32_t at = -1;
    g->work_left -= (int64_t)nodes.len;
    for (size_t i = nodes.len; i-- > 0;) {
        at = cell_of(g, nodes.items[i], at);
        if (at < 0) break;
    }
    bool lost = at < 0 && nodes.len > 0;
    VEC_FINISH(nodes);
    return lost ? GRAMMAR_FULL : at;
}

static void forget_states(grammar *g) {
    memset(g->cell_slots, 0, g->n_cell_slots * sizeof *g->cell_slots);
    memset(g->state_slots, 0, GRAMMAR_STATE_SLOTS * sizeof *g->state_slots);
    VEC_CLEAR(g->cells);
    VEC_CLEAR(g->states);
    arena_reset(g->mem);
    grammar_masks_forget(g);
    g->state_bytes = 0;
    g->full = false;
}

bool grammar_make_room(grammar *g) {
    const grammar_state *s = &g->states.items[g->state];
    grammar_places kept = {0};
    bool may_end = s->may_end, fits = true;
    for (size_t i = 0; i < s->n_places; i++) VEC_PUSH(kept, s->places[i]);
    grammar_cell *old = g->cells.items;
    g->cells.items = NULL;
    g->cells.len = g->cells.cap = 0;
    forget_states(g);
    VEC_CLEAR(g->found);
    for (size_t i = 0; i < kept.len && fits; i++) {
        int32_t stack = copy_stack(g, old, kept.items[i].stack);
        fits = stack != GRAMMAR_FULL && g->work_left >= 0;
        VEC_PUSH(g->found, (grammar_place){kept.items[i].node, stack});
    }
    g->state = fits ? state_of(g, may_end) : GRAMMAR_FULL;
    VEC_FINISH(kept);
    mem_free(old);
    return g->state >= 0;
}

/* After `bytes`, GRAMMAR_DEAD or GRAMMAR_FULL; makes room once. */
static int32_t look_ahead(grammar *g, str bytes) {
    if (g->state < 0) return g->state;
    int32_t s = grammar_steps(g, g->state, bytes);
    if (s != GRAMMAR_FULL) return s;
    if (!grammar_make_room(g)) return GRAMMAR_FULL;
    return grammar_steps(g, g->state, bytes);
}

/* ---- the interface ---- */

/* Bytes that every node treats alike get one class. */
static void find_classes(grammar *g) {
    bool cut[257] = {false};
    for (size_t i = 0; i < g->net.nodes.len; i++) {
        const grammar_node *n = &g->net.nodes.items[i];
        if (n->op != GRAMMAR_OP_BYTE || n->lo > n->hi) continue;
        cut[n->lo] = cut[n->hi + 1] = true;
    }
    int32_t cls = 0;
    for (int c = 0; c < 256; c++) {
        if (c > 0 && cut[c]) cls++;
        g->class_of[c] = (uint8_t)cls;
    }
    g->class_last[255] = 255;
    for (int c = 255; c-- > 0;)
        g->class_last[c] = g->class_of[c] == g->class_of[c + 1] ? g->class_last[c + 1] : (uint8_t)c;
    g->n_classes = cls + 1;
}

grammar *grammar_over(grammar_net *n) {
    grammar *g = NEW(grammar);
    g->net = *n;
    *n = (grammar_net){{0}, {0}};
    g->mem = arena_create(0);
    g->n_cell_slots = LIMIT_GRAMMAR_CELLS * 2;
    g->cell_slots = NEW_ARRAY(uint32_t, g->n_cell_slots);
    g->state_slots = NEW_ARRAY(uint32_t, GRAMMAR_STATE_SLOTS);
    g->work_left = LIMIT_GRAMMAR_WORK;
    g->visited.n_slots = SLOTS_MIN;
    g->visited.slots = NEW_ARRAY(grammar_visit, SLOTS_MIN);
    find_classes(g);
    g->state = start_state(g);
    return g;
}

void grammar_destroy(grammar **gp) {
    grammar *g = gp ? *gp : NULL;
    if (!g) return;
    grammar_masks_forget(g);
    for (size_t i = 0; i < GRAMMAR_MASKS; i++) mem_free(g->masks[i].bits);
    grammar_net_finish(&g->net);
    VEC_FINISH(g->cells);
    VEC_FINISH(g->states);
    VEC_FINISH(g->found);
    mem_free(g->visited.slots);
    VEC_FINISH(g->todo);
    mem_free(g->cell_slots);
    mem_free(g->state_slots);
    mem_free(g->trail);
    arena_destroy(&g->mem);
    mem_free(g);
    *gp = NULL;
}

void grammar_reset(grammar *g) {
    g->state = start_state(g);
    if (g->state != GRAMMAR_FULL) return;
    forget_states(g);
    g->state = start_state(g);
}

bool grammar_allows(grammar *g, str bytes) {
    return look_ahead(g, bytes) >= 0;
}

err_code grammar_accept(grammar *g, str bytes, err *e) {
    int32_t s = look_ahead(g, bytes);
    if (s == GRAMMAR_FULL)
        FAIL(e, LIMIT, "the output nests deeper than %u levels, or its grammar is too ambiguous",
             LIMIT_GRAMMAR_CELLS);
    if (s < 0) FAIL(e, INVALID, "the grammar does not allow \"" STR_FMT "\" here", STR_ARG(bytes));
    g->state = s;
    g->work_left += LIMIT_GRAMMAR_WORK_TOKEN;
    if (g->work_left > LIMIT_GRAMMAR_WORK) g->work_left = LIMIT_GRAMMAR_WORK;
    return ERR_OK;
}

bool grammar_may_end(const grammar *g) {
    return g->state >= 0 && g->states.items[g->state].may_end;
}

bool grammar_must_end(grammar *g) {
    if (!grammar_may_end(g)) return false;
    const grammar_state *s = &g->states.items[g->state];
    for (size_t i = 0; i < s->n_places; i++) {
        const grammar_node *n = &g->net.nodes.items[s->places[i].node];
        if (n->lo <= n->hi) return false;
    }
    return true;
}
