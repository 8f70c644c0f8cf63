/* The vocabulary as a trie, and the masks made by walking it.
 *
 * Tokens are sorted by their bytes; the trie's nodes lie in the order of a depth-first walk, each
 * with the index behind its subtree, so leaving a subtree is one assignment. A subtree whose bytes
 * are all plain text (printable ASCII but quote and backslash) is taken whole in a state that such
 * bytes lead back to itself: the inside of a JSON string. */
#include "llm/grammar/match.h"
#include <stdlib.h>
#include <string.h>

typedef struct trie_node {
    uint32_t end;       /* index behind the subtree */
    uint32_t tok_first; /* of `sorted`: tokens that end here come first, then those below */
    uint16_t depth;     /* of this byte, from 0 */
    uint8_t byte;
    bool plain; /* every byte below is plain text; this one is not looked at */
} trie_node;

struct grammar_vocab {
    VEC(trie_node) nodes; /* the last one only closes the others */
    int32_t *sorted;      /* token ids by their bytes */
    uint32_t n_sorted;
    int32_t n_tokens;
    uint32_t depth_max;
};

enum { PIECE_BYTES_MAX = 4096 }; /* longer tokens are never allowed */

static bool is_plain(uint8_t c) {
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

typedef struct sort_item {
    str piece;
    int32_t id;
} sort_item;

static int by_piece(const void *x, const void *y) {
    const sort_item *a = x, *b = y;
    int c = str_cmp(a->piece, b->piece);
    return c ? c : (a->id > b->id) - (a->id < b->id);
}

/* Closes every open node deeper than `depth`: they end at the next node's index. */
static void close_nodes(grammar_vocab *v, const uint32_t *open, size_t from, size_t to) {
    for (size_t d = from; d < to; d++) v->nodes.items[open[d]].end = (uint32_t)v->nodes.len;
}

static void add_nodes(grammar_vocab *v, const sort_item *items, uint32_t n) {
    uint32_t *open = NEW_ARRAY(uint32_t, PIECE_BYTES_MAX + 1);
    size_t depth = 0;
    str before = {0};
    for (uint32_t i = 0; i < n; i++) {
        str p = items[i].piece;
        size_t common = 0;
        while (common < p.len && common < before.len && p.ptr[common] == before.ptr[common])
            common++;
        close_nodes(v, open, common, depth);
        for (size_t d = common; d < p.len; d++) {
            open[d] = (uint32_t)v->nodes.len;
            VEC_PUSH(v->nodes, (trie_node){.tok_first = i,
                                           .depth = (uint16_t)d,
                                           .byte = (uint8_t)p.ptr[d],
                                           .plain = true});
        }
        depth = p.len;
        if (p.len > v->depth_max) v->depth_max = (uint32_t)p.len;
        before = p;
    }
    close_nodes(v, open, 0, depth);
    VEC_PUSH(v->nodes, (trie_node){.end = (uint32_t)v->nodes.len + 1, .tok_first = n});
    mem_free(open);
}

/* A node is plain when all its children are plain bytes and plain themselves. */
static void mark_plain(grammar_vocab *v) {
    for (uint32_t i = (uint32_t)v->nodes.len - 1; i-- > 0;)
        for (uint32_t k = i + 1; k < v->nodes.items[i].end; k = v->nodes.items[k].end)
            if (!v->nodes.items[k].plain || !is_plain(v->nodes.items[k].byte))
                v->nodes.items[i].plain = false;
}

grammar_vocab *grammar_vocab_create(const str *pieces, int32_t n) {
    grammar_vocab *v = NEW(grammar_vocab);
    sort_item *items = NEW_ARRAY(sort_item, (size_t)n + 1);
    v->n_tokens = n;
    for (int32_t i = 0; i < n; i++)
        if (pieces[i].len > 0 && pieces[i].len <= PIECE_BYTES_MAX)
            items[v->n_sorted++] = (sort_item){pieces[i], i};
    qsort(items, v->n_sorted, sizeof *items, by_piece);
    v->sorted = NEW_ARRAY(int32_t, v->n_sorted + 1);
    for (uint32_t i = 0; i < v->n_sorted; i++) v->sorted[i] = items[i].id;
    add_nodes(v, items, v->n_sorted);
    mark_plain(v);
    mem_free(items);
    return v;
}

void grammar_vocab_destroy(grammar_vocab **vp) {
    grammar_vocab *v = vp ? *vp : NULL;
    if (!v) return;
    VEC_FINISH(v->nodes);
    mem_free(v->sorted);
    mem_free(v);
    *vp = NULL;
}

size_t grammar_vocab_bytes(const grammar_vocab *v) {
    return v->nodes.cap * sizeof *v->nodes.items + (v->n_sorted + 1) * sizeof *v->sorted;
}

/* ---- masks ---- */

void grammar_masks_forget(grammar *g) {
    for (size_t i = 0; i < GRAMMAR_MASKS; i++) g->masks[i].state = -1;
}

static bool plain_stays(grammar *g, int32_t state) {
    for (int c = 0x20; c < 0x7F; c++)
        if (is_plain((uint8_t)c) && grammar_step(g, state, (uint8_t)c) != state) return false;
    return true;
}

static void take(const grammar_vocab *v, uint32_t from, uint32_t to, uint64_t *bits) {
    for (uint32_t i = from; i < to; i++) {
        uint32_t id = (uint32_t)v->sorted[i];
        bits[id / 64] |= (uint64_t)1 << id % 64;
    }
}

/* False: a state was missing for lack of room. */
static bool walk(grammar *g, const grammar_vocab *v, uint64_t *bits) {
    const trie_node *nodes = v->nodes.items;
    uint32_t n = (uint32_t)v->nodes.len - 1;
    int32_t *trail = g->trail, loops = -1,
            tested = -1; /* the last state asked, and one that loops */
    bool full = false;
    trail[0] = g->state;
    for (uint32_t i = 0; i < n;) {
        const trie_node *t = &nodes[i];
        int32_t s = grammar_step(g, trail[t->depth], t->byte);
        full = full || s == GRAMMAR_FULL;
        if (s < 0) {
            i = t->end;
            continue;
        }
        if (t->plain && s != tested) {
            tested = s;
            loops = plain_stays(g, s) ? s : -1;
        }
        if (t->plain && s == loops) {
            take(v, t->tok_first, nodes[t->end].tok_first, bits);
            i = t->end;
            continue;
        }
        take(v, t->tok_first, nodes[i + 1].tok_first, bits);
        trail[t->depth + 1] = s;
        i++;
    }
    return !full;
}

const uint64_t *grammar_mask(grammar *g, const grammar_vocab *v) {
    size_t n_words = ((size_t)v->n_tokens + 63) / 64;
    if (g->masks_of != v) {
        for (size_t i = 0; i < GRAMMAR_MASKS; i++) {
            mem_free(g->masks[i].bits);
            g->masks[i] = (grammar_mask_slot){NEW_ARRAY(uint64_t, n_words + 1), -1, 0};
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
    memset(slot->bits, 0, n_words * sizeof *slot->bits);
    if (g->state >= 0 && !walk(g, v, slot->bits) && grammar_make_room(g)) {
        memset(slot->bits, 0, n_words * sizeof *slot->bits);
        walk(g, v, slot->bits);
    }
    slot->state = g->state;
    slot->used = ++g->n_masks_used;
    return slot->bits;
}
