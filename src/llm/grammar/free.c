/* How far a state is free: whatever characters of an alphabet come, they may.
 *
 * The states that an alphabet leads to are followed level by level, a character at a time. While
 * no character of the alphabet dies in any of them, every text of so many characters may come; a
 * level without new states means that any number may. */
#include "llm/grammar/match.h"

typedef struct byte_span {
    uint8_t lo, hi;
} byte_span;

/* The ASCII characters of each group, and whether all others belong to it too. */
static const struct {
    byte_span spans[4];
    int n_spans;
    bool beyond_ascii;
} ALPHABETS[GRAMMAR_GROUPS] = {
    [GRAMMAR_GROUP_LOWER] = {{{'a', 'z'}}, 1, false},
    [GRAMMAR_GROUP_ALNUM] = {{{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, 3, false},
    [GRAMMAR_GROUP_LOWER_SPACE] = {{{' ', ' '}, {'a', 'z'}}, 2, false},
    [GRAMMAR_GROUP_ALNUM_SPACE] = {{{' ', ' '}, {'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, 4, false},
    [GRAMMAR_GROUP_WORDS] = {{{' ', ' '}, {'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, 4, true},
    [GRAMMAR_GROUP_PLAIN] = {{{' ', '!'}, {'#', '['}, {']', '~'}}, 3, true},
};

/* UTF-8 beyond ASCII (RFC 3629): the first two bytes, and how many of 80..BF follow. */
static const struct {
    byte_span first, second;
    int n_more;
} UTF8[] = {
    {{0xC2, 0xDF}, {0x80, 0xBF}, 0}, {{0xE0, 0xE0}, {0xA0, 0xBF}, 1},
    {{0xE1, 0xEC}, {0x80, 0xBF}, 1}, {{0xED, 0xED}, {0x80, 0x9F}, 1},
    {{0xEE, 0xEF}, {0x80, 0xBF}, 1}, {{0xF0, 0xF0}, {0x90, 0xBF}, 2},
    {{0xF1, 0xF3}, {0x80, 0xBF}, 2}, {{0xF4, 0xF4}, {0x80, 0x8F}, 2},
};

static bool holds(grammar_group group, uint8_t c) {
    if (c >= 0x80) return ALPHABETS[group].beyond_ascii;
    for (int i = 0; i < ALPHABETS[group].n_spans; i++)
        if (c >= ALPHABETS[group].spans[i].lo && c <= ALPHABETS[group].spans[i].hi) return true;
    return false;
}

grammar_group grammar_group_of(str piece, size_t *ret_n_chars) {
    *ret_n_chars = 0;
    if (!str_is_utf8(piece)) return GRAMMAR_GROUP_REST;
    bool in[GRAMMAR_GROUPS];
    for (int g = 0; g < GRAMMAR_GROUPS; g++) in[g] = true;
    for (size_t i = 0; i < piece.len; i++) {
        uint8_t c = (uint8_t)piece.ptr[i];
        if ((c & 0xC0) != 0x80) ++*ret_n_chars;
        for (int g = 0; g < GRAMMAR_GROUP_REST; g++) in[g] = in[g] && holds((grammar_group)g, c);
    }
    int first = 0;
    while (!in[first]) first++;
    return (grammar_group)first;
}

/* ---- following an alphabet ---- */

/* What a level found out. */
typedef struct outcome {
    bool lived, died, unknown;
} outcome;

static void fringe_add(grammar_fringe *f, int32_t state, outcome *o) {
    for (int i = 0; i < f->n; i++)
        if (f->states[i] == state) return;
    if (f->n == GRAMMAR_FRINGE_MAX)
        o->unknown = true;
    else
        f->states[f->n++] = state;
}

/* Where the bytes of a span lead; bytes of one class lead to the same state. */
static void spread(grammar *g, const grammar_fringe *from, byte_span span, grammar_fringe *to,
                   outcome *o) {
    for (int i = 0; i < from->n && !o->unknown; i++)
        for (int c = span.lo; c <= span.hi; c = g->class_last[c] + 1) {
            int32_t s = grammar_step(g, from->states[i], (uint8_t)c);
            if (s == GRAMMAR_FULL)
                o->unknown = true;
            else if (s < 0)
                o->died = true;
            else
                fringe_add(to, s, o);
        }
}

static void spread_utf8(grammar *g, const grammar_fringe *from, grammar_fringe *to, outcome *o) {
    for (size_t i = 0; i < COUNT_OF(UTF8) && !o->unknown; i++) {
        grammar_fringe a = {.n = 0}, b = {.n = 0};
        spread(g, from, UTF8[i].first, &a, o);
        spread(g, &a, UTF8[i].second, UTF8[i].n_more ? &b : to, o);
        for (int k = UTF8[i].n_more; k > 0; k--) {
            a = b;
            b.n = 0;
            spread(g, &a, (byte_span){0x80, 0xBF}, k > 1 ? &b : to, o);
        }
    }
}

/* One character further. */
static outcome follow(grammar *g, grammar_group group, const grammar_fringe *from,
                      grammar_fringe *to) {
    outcome o = {false, false, false};
    to->n = 0;
    for (int i = 0; i < ALPHABETS[group].n_spans; i++)
        spread(g, from, ALPHABETS[group].spans[i], to, &o);
    bool mixed = o.died && to->n > 0; /* nothing more can be learned */
    if (ALPHABETS[group].beyond_ascii && !mixed) spread_utf8(g, from, to, &o);
    o.lived = to->n > 0;
    return o;
}

grammar_run grammar_free_run(grammar *g, grammar_group group, int32_t most) {
    grammar_fringe here = {.states = {g->state}, .n = 1}, next;
    bool met_again = false; /* a state left out lives on, and so do texts through it */
    g->n_runs++;
    g->states.items[g->state].run = g->n_runs;
    for (int32_t n = 0; n < most; n++) {
        outcome o = follow(g, group, &here, &next);
        if (o.unknown || (o.died && (o.lived || met_again))) return (grammar_run){n, false};
        if (o.died) return (grammar_run){n, true};
        here.n = 0;
        for (int i = 0; i < next.n; i++) {
            grammar_state *s = &g->states.items[next.states[i]];
            if (s->run == g->n_runs)
                met_again = true;
            else
                here.states[here.n++] = next.states[i];
            s->run = g->n_runs;
        }
        if (here.n == 0) return (grammar_run){most, true};
    }
    return (grammar_run){most, true};
}
