/* The vocabulary: tokens in groups by the kind of their characters, each group a trie.
 *
 * Most of a large vocabulary is words, and most states that take a letter take any: the inside of
 * a string, `[a-z]+`, `\w{1,12}`. For such a state grammar_free_run (free.c) tells how many
 * characters of a group's alphabet may come whatever they are, and the tokens of up to that many
 * are one bit set, made beforehand. Only what that does not answer is walked: the trie's nodes lie
 * in the order of a depth-first walk, each with the index behind its subtree, so leaving a subtree
 * is one assignment. */
#include "llm/grammar/match.h"
#include <stdlib.h>
#include <string.h>

typedef struct trie_node {
    uint32_t end;       /* index behind the subtree */
    uint32_t tok_first; /* of `sorted`: tokens that end here come first, then those below */
    uint16_t depth;     /* of this byte, from 0 */
    uint8_t byte;
} trie_node;

/* A group's part of the vocabulary. */
typedef struct token_group {
    uint32_t node_from, node_to;
    int32_t n_runs;  /* tokens have up to that many characters; 0 = always walked */
    uint64_t **upto; /* [n_runs + 1] bit sets of the tokens of up to so many characters */
} token_group;

struct grammar_vocab {
    VEC(trie_node) nodes; /* the last one only closes the others */
    int32_t *sorted;      /* token ids by group, in it by their bytes */
    uint32_t n_sorted;
    int32_t n_tokens;
    uint32_t depth_max;
    size_t n_words; /* of a bit set */
    token_group groups[GRAMMAR_GROUPS];
};

enum {
    PIECE_BYTES_MAX = 4096, /* longer tokens are never allowed */
    RUN_MAX = 24            /* a token of more characters is always walked */
};

/* ---- making it ---- */

typedef struct sort_item {
    str piece;
    uint64_t key; /* the first eight bytes, so that most comparisons need no more */
    int32_t id;
    uint8_t group, n_chars;
} sort_item;

static sort_item sort_item_of(str piece, int32_t id) {
    sort_item item = {.piece = piece, .id = id};
    for (size_t i = 0; i < 8; i++)
        item.key = item.key << 8 | (i < piece.len ? (uint8_t)piece.ptr[i] : 0);
    size_t n_chars;
    item.group = (uint8_t)grammar_group_of(piece, &n_chars);
    if (n_chars > RUN_MAX) item.group = GRAMMAR_GROUP_REST;
    item.n_chars = (uint8_t)(item.group == GRAMMAR_GROUP_REST ? 0 : n_chars);
    return item;
}

static int by_piece(const void *x, const void *y) {
    const sort_item *a = x, *b = y;
    if (a->group != b->group) return a->group < b->group ? -1 : 1;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    int c = str_cmp(a->piece, b->piece);
    return c ? c : (a->id > b->id) - (a->id < b->id);
}

static size_t common_bytes(str a, str b) {
    size_t n = 0;
    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n]) n++;
    return n;
}

/* Closes every open node deeper than `depth`: they end at the next node's index. */
static void close_nodes(grammar_vocab *v, const uint32_t *open, size_t from, size_t to) {
    for (size_t d = from; d < to; d++) v->nodes.items[open[d]].end = (uint32_t)v->nodes.len;
}

/* items [from, to) become one trie. */
static void add_nodes(grammar_vocab *v, const sort_item *items, uint32_t from, uint32_t to) {
    uint32_t *open = NEW_ARRAY(uint32_t, PIECE_BYTES_MAX + 1);
    size_t depth = 0;
    str before = {0};
    for (uint32_t i = from; i < to; i++) {
        str p = items[i].piece;
        size_t common = common_bytes(p, before);
        close_nodes(v, open, common, depth);
        for (size_t d = common; d < p.len; d++) {
            open[d] = (uint32_t)v->nodes.len;
            VEC_PUSH(v->nodes,
                     (trie_node){.tok_first = i, .depth = (uint16_t)d, .byte = (uint8_t)p.ptr[d]});
        }
        depth = p.len;
        if (p.len > v->depth_max) v->depth_max = (uint32_t)p.len;
        before = p;
    }
    close_nodes(v, open, 0, depth);
    mem_free(open);
}

static void set_bit(uint64_t *bits, int32_t id) {
    bits[id / 64] |= (uint64_t)1 << id % 64;
}

static void add_runs(grammar_vocab *v, token_group *g, const sort_item *items, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (items[i].n_chars > g->n_runs) g->n_runs = items[i].n_chars;
    g->upto = NEW_ARRAY(uint64_t *, (size_t)g->n_runs + 1);
    for (int32_t k = 1; k <= g->n_runs; k++) {
        g->upto[k] = NEW_ARRAY(uint64_t, v->n_words);
        for (uint32_t i = 0; i < n; i++)
            if (items[i].n_chars <= k) set_bit(g->upto[k], items[i].id);
    }
}

static size_t count_nodes(const sort_item *items, uint32_t n) {
    size_t count = 1;
    for (uint32_t i = 0; i < n; i++)
        count += items[i].piece.len - (i > 0 && items[i].group == items[i - 1].group
                                           ? common_bytes(items[i].piece, items[i - 1].piece)
                                           : 0);
    return count;
}

grammar_vocab *grammar_vocab_create(const str *pieces, int32_t n) {
    grammar_vocab *v = NEW(grammar_vocab);
    sort_item *items = NEW_ARRAY(sort_item, (size_t)n + 1);
    v->n_tokens = n;
    v->n_words = ((size_t)n + 63) / 64;
    for (int32_t i = 0; i < n; i++)
        if (pieces[i].len > 0 && pieces[i].len <= PIECE_BYTES_MAX)
            items[v->n_sorted++] = sort_item_of(pieces[i], i);
    qsort(items, v->n_sorted, sizeof *items, by_piece);
    v->sorted = NEW_ARRAY(int32_t, v->n_sorted + 1);
    for (uint32_t i = 0; i < v->n_sorted; i++) v->sorted[i] = items[i].id;
    VEC_RESERVE(v->nodes, count_nodes(items, v->n_sorted));
    for (uint32_t from = 0, to; from < v->n_sorted; from = to) {
        token_group *g = &v->groups[items[from].group];
        for (to = from; to < v->n_sorted && items[to].group == items[from].group;) to++;
        g->node_from = (uint32_t)v->nodes.len;
        add_nodes(v, items, from, to);
        g->node_to = (uint32_t)v->nodes.len;
        add_runs(v, g, items + from, to - from);
    }
    VEC_PUSH(v->nodes, (trie_node){.end = (uint32_t)v->nodes.len + 1, .tok_first = v->n_sorted});
    mem_free(items);
    return v;
}

void grammar_vocab_destroy(grammar_vocab **vp) {
    grammar_vocab *v = vp ? *vp : NULL;
    if (!v) return;
    for (size_t i = 0; i < GRAMMAR_GROUPS; i++) {
        token_group *g = &v->groups[i];
        for (int32_t k = 1; k <= g->n_runs; k++) mem_free(g->upto[k]);
        mem_free(g->upto);
    }
    VEC_FINISH(v->nodes);
    mem_free(v->sorted);
    mem_free(v);
    *vp = NULL;
}

size_t grammar_vocab_bytes(const grammar_vocab *v) {
    size_t n_sets = 0;
    for (size_t i = 0; i < GRAMMAR_GROUPS; i++) n_sets += (size_t)v->groups[i].n_runs;
    return v->nodes.cap * sizeof *v->nodes.items + (v->n_sorted + 1) * sizeof *v->sorted +
           n_sets * v->n_words * sizeof(uint64_t);
}

/* ---- masks ---- */

void grammar_masks_forget(grammar *g) {
    for (size_t i = 0; i < GRAMMAR_MASKS; i++) g->masks[i].state = -1;
}

/* False: a state was missing for lack of room. */
static bool walk(grammar *g, const grammar_vocab *v, const token_group *group, uint64_t *bits) {
    const trie_node *nodes = v->nodes.items;
    int32_t *trail = g->trail;
    bool full = false;
    trail[0] = g->state;
    for (uint32_t i = group->node_from; i < group->node_to;) {
        const trie_node *t = &nodes[i];
        int32_t s = grammar_step(g, trail[t->depth], t->byte);
        if (s < 0) {
            full = full || s == GRAMMAR_FULL;
            i = t->end;
            continue;
        }
        for (uint32_t k = t->tok_first; k < nodes[i + 1].tok_first; k++)
            set_bit(bits, v->sorted[k]);
        trail[t->depth + 1] = s;
        i++;
    }
    return !full;
}

static bool fill(grammar *g, const grammar_vocab *v, uint64_t *bits) {
    bool whole = true;
    memset(bits, 0, v->n_words * sizeof *bits);
    for (int i = 0; i < GRAMMAR_GROUPS; i++) {
        const token_group *group = &v->groups[i];
        grammar_run run = {0};
        if (group->node_from == group->node_to) continue;
        if (group->n_runs > 0) run = grammar_free_run(g, (grammar_group)i, group->n_runs);
        if (run.n > 0)
            for (size_t w = 0; w < v->n_words; w++) bits[w] |= group->upto[run.n][w];
        if (!run.exact && !walk(g, v, group, bits)) whole = false;
    }
    return whole;
}

const uint64_t *grammar_mask(grammar *g, const grammar_vocab *v) {
    if (g->masks_of != v) {
        for (size_t i = 0; i < GRAMMAR_MASKS; i++) {
            mem_free(g->masks[i].bits);
            g->masks[i] = (grammar_mask_slot){NEW_ARRAY(uint64_t, v->n_words + 1), -1, 0};
        }
        mem_free(g->trail);
        g->trail = NEW_ARRAY(int32_t, v->depth_max + 2);
        g->masks_of = v;
    }
    grammar_mask_slot *slot = &g->masks[0];
    for (size_t i = 0; i < GRAMMAR_MASKS; i++) {
        if (g->state >= 0 && g->masks[i].state == g->state) {
            g->masks[i].used = ++g->n_masks_used;
            return g->masks[i].bits;
        }
        if (g->masks[i].used < slot->used) slot = &g->masks[i];
    }
    if (g->state < 0)
        memset(slot->bits, 0, v->n_words * sizeof *slot->bits);
    else if (!fill(g, v, slot->bits) && grammar_make_room(g))
        fill(g, v, slot->bits);
    slot->state = g->state;
    slot->used = ++g->n_masks_used;
    return slot->bits;
}
