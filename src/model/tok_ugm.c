/* Unigram: normalise as SentencePiece does, then the most probable segmentation (Viterbi).
 *
 * The charsmap is a u32 trie size, a double-array trie (Darts: one u32 a unit) and the replacement
 * texts it points into, each ended by a NUL. It is foreign: every index is checked. */
#include "model/tok_impl.h"
#include <float.h>
#include <string.h>

static uint32_t unit_at(str trie, size_t i) {
    uint32_t u;
    if (i >= trie.len / 4) return 0x80000000u; /* a leaf: no byte label matches it */
    memcpy(&u, trie.ptr + 4 * i, 4);
    return u;
}

static size_t unit_offset(uint32_t u) {
    return (size_t)(u >> 10) << ((u & 512u) >> 6);
}

/* Longest key of the charsmap at the start of s: its bytes (0 = none) and its replacement. */
static size_t charsmap_find(const tok *t, str s, str *ret_text) {
    str trie = t->charsmap_trie;
    size_t best = 0;
    if (trie.len < 4) return 0;
    size_t node = unit_offset(unit_at(trie, 0));
    for (size_t i = 0; i < s.len && s.ptr[i]; i++) {
        unsigned char b = (unsigned char)s.ptr[i];
        node ^= b;
        uint32_t u = unit_at(trie, node);
        if ((u & 0x800000ffu) != b) break;
        node ^= unit_offset(u);
        if (!(u >> 8 & 1)) continue;
        size_t at = unit_at(trie, node) & 0x7fffffffu;
        if (at >= t->charsmap_text.len) break;
        *ret_text = str_from(t->charsmap_text.ptr + at); /* ends with a NUL, checked at load */
        best = i + 1;
    }
    return best;
}

/* The next piece of s after normalisation; *ret_n bytes of s make it. */
static str normal_next(const tok *t, str s, size_t *ret_n) {
    str out = {0};
    *ret_n = charsmap_find(t, s, &out);
    if (*ret_n) return out;
    size_t i = 0;
    uint32_t c = str_utf8_next(s, &i);
    *ret_n = i;
    return c == 0xfffd && i == 1 ? STR("\xef\xbf\xbd") : str_sub(s, 0, i);
}

static void put_escaped(buf *out, str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == ' ')
            buf_put(out, TOK_SPACE, TOK_SPACE_BYTES);
        else
            buf_put_char(out, s.ptr[i]);
    }
}

static void normalize(tok_work *w, str text, bool starts) {
    const tok *t = w->t;
    buf *out = &w->text;
    buf_clear(out);
    bool after_space = t->remove_extra_spaces, any = false;
    for (size_t i = 0, n = 0; i < text.len; i += n) {
        str p = normal_next(t, str_sub(text, i, text.len), &n);
        while (after_space && p.len && *p.ptr == ' ') p = str_sub(p, 1, p.len);
        if (p.len == 0) continue;
        if (!any && starts && t->add_space_prefix) buf_put(out, TOK_SPACE, TOK_SPACE_BYTES);
        any = true;
        put_escaped(out, p);
        after_space = t->remove_extra_spaces && p.ptr[p.len - 1] == ' ';
    }
    while (t->remove_extra_spaces && out->len >= TOK_SPACE_BYTES &&
           memcmp(out->ptr + out->len - TOK_SPACE_BYTES, TOK_SPACE, TOK_SPACE_BYTES) == 0)
        out->len -= TOK_SPACE_BYTES;
}

typedef struct ugm_node {
    float score; /* of the best path that ends here; f32, so that ties fall as in SentencePiece */
    uint32_t start; /* where its last token starts */
    int32_t id;     /* -1 = an unknown character */
} ugm_node;

static void relax(ugm_node *to, float score, size_t start, int32_t id) {
    if (score > to->score) *to = (ugm_node){score, (uint32_t)start, id};
}

static void viterbi(const tok *t, str s, ugm_node *best) {
    for (size_t i = 0; i <= s.len; i++) best[i] = (ugm_node){-FLT_MAX, 0, -1};
    best[0].score = 0;
    for (size_t i = 0; i < s.len;) {
        size_t next = i;
        str_utf8_next(s, &next);
        bool has_char = false;
        tok_prefix_cursor c = {0, t->plain.n, 0};
        for (size_t k = i; k < s.len; k++) {
            if (!tok_prefix_step(t, &t->plain, &c, (uint8_t)s.ptr[k])) break;
            int32_t id = tok_prefix_here(t, &t->plain, &c);
            if (id < 0) continue;
            bool user = (t->attr[id] & TOK_ATTR_TYPE) == TOK_TYPE_USER;
            float score = user ? 0 : tok_score(t, id);
            relax(&best[k + 1], best[i].score + score, i, id);
            has_char = has_char || k + 1 == next;
        }
        if (!has_char) relax(&best[next], best[i].score + t->unk_score, i, -1);
        i = next;
    }
}

void tok_ugm_encode(tok_work *w, str text, bool starts) {
    normalize(w, text, starts);
    str s = buf_str(&w->text);
    if (s.len == 0) return;
    ugm_node *best = mem_calloc(s.len + 1, sizeof(ugm_node));
    viterbi(w->t, s, best);
    /* Walk back, linking forward through `start`, then emit; runs of unknowns are one token. */
    size_t next = s.len;
    for (size_t end = s.len; end > 0;) {
        size_t start = best[end].start;
        int32_t id = best[end].id;
        best[end].start = (uint32_t)next; /* the end that follows this one */
        best[end].id = id;
        next = end;
        end = start;
    }
    size_t from = 0;
    for (size_t end = next, unk_from = SIZE_MAX;; end = best[end].start) {
        bool last = best[end].start == end;
        if (best[end].id < 0 && unk_from == SIZE_MAX) unk_from = from;
        if (unk_from != SIZE_MAX && (best[end].id >= 0 || last)) {
            size_t to = best[end].id >= 0 ? from : end;
            tok_put_unknown(w, s.ptr + unk_from, to - unk_from);
            unk_from = SIZE_MAX;
        }
        if (best[end].id >= 0) VEC_PUSH(*w->out, best[end].id);
        from = end;
        if (last) break;
    }
    mem_free(best);
}
