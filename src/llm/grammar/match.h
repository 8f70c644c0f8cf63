/* The inside of a grammar while it is walked: match.c moves, vocab.c makes masks. Only llm/grammar
 * includes this. */
#pragma once
#include "llm/grammar/expr.h"

enum {
    GRAMMAR_DEAD = -1, /* nothing may follow */
    GRAMMAR_FULL = -3, /* too many states or stack cells */
    GRAMMAR_STATE_SLOTS = 8192,
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
} grammar_state;

typedef struct grammar_mask_slot {
    uint64_t *bits;
    int32_t state; /* -1 = free */
    uint64_t used; /* when, by count */
} grammar_mask_slot;

struct grammar {
    grammar_net net;
    arena *mem; /* of states */
    uint8_t class_of[256];
    int32_t n_classes;

    VEC(grammar_cell) cells;
    uint32_t *cell_slots; /* hash table of cell number + 1 */
    size_t n_cell_slots;
    VEC(grammar_state) states;
    uint32_t *state_slots; /* [GRAMMAR_STATE_SLOTS] hash table of state number + 1 */
    int32_t state;         /* the current one, or GRAMMAR_DEAD, GRAMMAR_FULL */

    grammar_places found, todo; /* scratch of a closure */
    grammar_visited visited;

    int32_t *trail; /* scratch of a mask: the state at each depth of the trie */
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
