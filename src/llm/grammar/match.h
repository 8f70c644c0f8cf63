/* The inside of a grammar while it is walked: match.c moves, free.c looks ahead,
 * vocab.c makes masks. Only llm/grammar
 * includes this. */
#pragma once
#include "llm/grammar/expr.h"

enum {
    GRAMMAR_DEAD = -1, /* nothing may follow */
    GRAMMAR_FULL = -3, /* too many states or stack cells, or too much work */
    GRAMMAR_STATE_SLOTS = 32768,
    GRAMMAR_MASKS = 16 /* kept for states met again */
};

/* A stack: the node to return to and what lies below; -1 = the bottom. */
typedef struct grammar_cell {
    int32_t node, rest;
} grammar_cell;

typedef struct grammar_place {
    int32_t node, stack;
} grammar_place;
typedef VEC(grammar_place) grammar_places;

/* Positions seen in the closure at hand. */
typedef struct grammar_visit {
    grammar_place place;
    uint32_t closure; /* its number, from 1 */
} grammar_visit;
typedef struct grammar_visited {
    grammar_visit *slots;
    size_t n_slots, n; /* n_slots: a power of two */
    uint32_t closure;
} grammar_visited;

typedef struct grammar_state {
    const grammar_place *places; /* [n_places] at byte nodes, sorted */
    size_t n_places;
    bool may_end;
    int32_t *next; /* [n_classes] state after a byte of the class */
    uint64_t run;  /* the free run that met this state last */
} grammar_state;

/* Tokens by the kind of their characters; one belongs to the first group that holds them all. */
typedef enum grammar_group {
    GRAMMAR_GROUP_LOWER, /* a-z */
    GRAMMAR_GROUP_ALNUM,
    GRAMMAR_GROUP_LOWER_SPACE,
    GRAMMAR_GROUP_ALNUM_SPACE,
    GRAMMAR_GROUP_WORDS, /* those and everything beyond ASCII */
    GRAMMAR_GROUP_PLAIN, /* what stands in a JSON string without an escape */
    GRAMMAR_GROUP_REST,  /* all others, broken UTF-8 too */
    GRAMMAR_GROUPS
} grammar_group;

/* A few states, for following an alphabet. */
enum { GRAMMAR_FRINGE_MAX = 24 };
typedef struct grammar_fringe {
    int32_t states[GRAMMAR_FRINGE_MAX];
    int n;
} grammar_fringe;

/* Every text of up to n characters may come; `exact`: and none of more. */
typedef struct grammar_run {
    int32_t n;
    bool exact;
} grammar_run;

typedef struct grammar_mask_slot {
    uint64_t *bits;
    int32_t state; /* -1 = free */
    uint64_t used; /* when, by count */
} grammar_mask_slot;

struct grammar {
    grammar_net net;
    arena *mem; /* of states */
    uint8_t class_of[256];
    uint8_t class_last[256]; /* the last byte of this byte's class: classes are ranges */
    int32_t n_classes;

    VEC(grammar_cell) cells;
    uint32_t *cell_slots; /* hash table of cell number + 1 */
    size_t n_cell_slots;
    VEC(grammar_state) states;
    uint32_t *state_slots; /* [GRAMMAR_STATE_SLOTS] hash table of state number + 1 */
    size_t state_bytes;    /* of g->mem */
    bool full;             /* no further state fits until there is room again */
    int64_t work_left;     /* positions that may still be looked at */
    int32_t state;         /* the current one, or GRAMMAR_DEAD, GRAMMAR_FULL */

    grammar_places found, todo; /* scratch of a closure */
    grammar_visited visited;

    uint64_t n_runs; /* free runs followed so far */
    int32_t *trail;  /* scratch of a mask: the state at each depth of the trie */
    const grammar_vocab *masks_of;
    grammar_mask_slot masks[GRAMMAR_MASKS];
    uint64_t n_masks_used;
};

/* The state after a byte, GRAMMAR_DEAD or GRAMMAR_FULL. */
int32_t grammar_step(grammar *g, int32_t state, uint8_t byte);
int32_t grammar_steps(grammar *g, int32_t state, str bytes);
/* Starts over with nothing but the current state, which may get another number. False: not even
 * that fits. */
bool grammar_make_room(grammar *g);
void grammar_masks_forget(grammar *g);

/* Of a token's text, with its number of characters. */
grammar_group grammar_group_of(str piece, size_t *ret_n_chars);
/* How many characters of a group's alphabet may follow the current state whatever they are, up to
 * `most` (then exact: no token has more). */
grammar_run grammar_free_run(grammar *g, grammar_group group, int32_t most);
