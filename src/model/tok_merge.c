/* Byte-pair merging, for SPM (by score) and BPE (by rank).
 *
 * The text is a linked list of symbols and a heap holds every adjacent pair that may merge: n log n
 * for any text. A heap entry is stale when the bytes of its pair changed, because symbols only
 * grow. Ties go to the leftmost pair. */
#include "model/tok_impl.h"
#include <string.h>

static bool cand_before(tok_cand a, tok_cand b) {
    return a.key != b.key ? a.key < b.key : a.left < b.left;
}

static void heap_push(tok_work *w, tok_cand c) {
    VEC_PUSH(w->heap, c);
    tok_cand *h = w->heap.items;
    size_t i = w->heap.len - 1;
    while (i > 0 && cand_before(c, h[(i - 1) / 2])) {
        h[i] = h[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h[i] = c;
}

static tok_cand heap_pop(tok_work *w) {
    tok_cand *h = w->heap.items, top = h[0], last = VEC_POP(w->heap);
    size_t n = w->heap.len, i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= n) break;
        if (k + 1 < n && cand_before(h[k + 1], h[k])) k++;
        if (!cand_before(h[k], last)) break;
        h[i] = h[k];
        i = k;
    }
    if (n) h[i] = last;
    return top;
}

/* Order of f32 scores as unsigned keys, best first. */
static uint32_t score_key(float score) {
    uint32_t u;
    if (!(score == score)) return UINT32_MAX;
    score += 0.0f; /* one zero */
    memcpy(&u, &score, 4);
    return ~(u & 0x80000000u ? ~u : u | 0x80000000u);
}

static void offer(tok_work *w, const char *text, int32_t left) {
    if (left < 0) return;
    const tok_sym *a = &w->syms.items[left];
    if (a->next < 0) return;
    const tok_sym *b = &w->syms.items[a->next];
    tok_cand c = {.left = (uint32_t)left, .len = a->len + b->len};
    if (w->t->kind == TOK_SPM) {
        c.id = tok_find_plain(w->t, text + a->start, c.len);
        if (c.id < 0) return;
        c.key = score_key(tok_score(w->t, c.id));
    } else {
        const tok_pair *p = tok_pair_find(w->t, a->id, b->id);
        if (!p) return;
        c.id = (int32_t)p->result;
        c.key = p->rank;
    }
    heap_push(w, c);
}

static void merge_all(tok_work *w, const char *text) {
    tok_sym *s = w->syms.items;
    VEC_CLEAR(w->heap);
    for (size_t i = 0; i + 1 < w->syms.len; i++) offer(w, text, (int32_t)i);
    while (w->heap.len) {
        tok_cand c = heap_pop(w);
        tok_sym *a = &s[c.left];
        if (a->len == 0 || a->next < 0 || a->len + s[a->next].len != c.len) continue;
        tok_sym *b = &s[a->next];
        a->len = c.len;
        a->id = c.id;
        a->next = b->next;
        if (b->next >= 0) s[b->next].prev = (int32_t)c.left;
        b->len = 0;
        offer(w, text, a->prev);
        offer(w, text, (int32_t)c.left);
    }
}

static void push_sym(tok_work *w, size_t start, size_t len, int32_t id) {
    int32_t i = (int32_t)w->syms.len;
    VEC_PUSH(w->syms, (tok_sym){(uint32_t)start, (uint32_t)len, i - 1, i + 1, id});
}

/* One symbol a UTF-8 character; an invalid byte is a symbol of its own. */
static void push_chars(tok_work *w, str text) {
    VEC_CLEAR(w->syms);
    for (size_t i = 0; i < text.len;) {
        size_t start = i;
        str_utf8_next(text, &i);
        push_sym(w, start, i - start, tok_find_plain(w->t, text.ptr + start, i - start));
    }
    if (w->syms.len) VEC_LAST(w->syms).next = -1;
}

static void emit_syms(tok_work *w, const char *text) {
    if (w->syms.len == 0) return;
    for (int32_t i = 0; i >= 0; i = w->syms.items[i].next) {
        const tok_sym *s = &w->syms.items[i];
        if (s->id >= 0)
            VEC_PUSH(*w->out, s->id);
        else
            tok_put_unknown(w, text + s->start, s->len);
    }
}

void tok_put_unknown(tok_work *w, const char *ptr, size_t n_bytes) {
    const tok *t = w->t;
    for (size_t i = 0; i < n_bytes; i++)
        if (t->byte_id[(unsigned char)ptr[i]] < 0) {
            if (t->role_id[TOK_UNK] >= 0) VEC_PUSH(*w->out, t->role_id[TOK_UNK]);
            return;
        }
    for (size_t i = 0; i < n_bytes; i++) VEC_PUSH(*w->out, t->byte_id[(unsigned char)ptr[i]]);
}

static void encode_chars(tok_work *w, str text) {
    push_chars(w, text);
    merge_all(w, text.ptr);
    emit_syms(w, text.ptr);
}

static void put_spaced(buf *out, str text) {
    for (size_t i = 0; i < text.len;) {
        const char *gap = memchr(text.ptr + i, ' ', text.len - i);
        size_t n = gap ? (size_t)(gap - text.ptr) - i : text.len - i;
        buf_put(out, text.ptr + i, n);
        if (gap) buf_put(out, TOK_SPACE, TOK_SPACE_BYTES);
        i += n + (gap ? 1 : 0);
    }
}

static bool is_space_at(str s, size_t i) {
    return s.len - i >= TOK_SPACE_BYTES && memcmp(s.ptr + i, TOK_SPACE, TOK_SPACE_BYTES) == 0;
}

void tok_spm_encode(tok_work *w, str text, bool starts) {
    buf_clear(&w->text);
    if (starts && w->t->add_space_prefix) buf_put(&w->text, TOK_SPACE, TOK_SPACE_BYTES);
    put_spaced(&w->text, text);
    str all = buf_str(&w->text);
    if (!w->t->spaces_start_words) {
        encode_chars(w, all);
        return;
    }
    /* No token crosses from a character into a space: words can be merged one at a time. */
    size_t from = 0;
    for (size_t i = 0; i < all.len;) {
        while (i < all.len && is_space_at(all, i)) i += TOK_SPACE_BYTES;
        while (i < all.len && !is_space_at(all, i)) i++;
        encode_chars(w, str_sub(all, from, i));
        from = i;
    }
}

static void encode_bytes(tok_work *w, str word) {
    VEC_CLEAR(w->syms);
    for (size_t i = 0; i < word.len; i++)
        push_sym(w, i, 1, w->t->byte_id[(unsigned char)word.ptr[i]]);
    VEC_LAST(w->syms).next = -1;
    merge_all(w, word.ptr);
    emit_syms(w, word.ptr);
}

static bool emit_whole_word(tok_work *w, str word) {
    if (word.len > w->t->token_bytes_max) return false;
    buf_clear(&w->text);
    for (size_t i = 0; i < word.len; i++)
        buf_put_utf8(&w->text, tok_alphabet_of((unsigned char)word.ptr[i]));
    int32_t id = tok_find_plain(w->t, w->text.ptr, w->text.len);
    if (id >= 0) VEC_PUSH(*w->out, id);
    return id >= 0;
}

static void encode_word(void *ctx, str word) {
    tok_work *w = ctx;
    if (w->t->pre->raw) {
        encode_chars(w, word);
        return;
    }
    if (word.len == 1 && w->t->byte_id[(unsigned char)word.ptr[0]] >= 0) {
        VEC_PUSH(*w->out, w->t->byte_id[(unsigned char)word.ptr[0]]);
        return;
    }
    if (w->t->pre->ignore_merges && emit_whole_word(w, word)) return;
    encode_bytes(w, word);
}

void tok_bpe_encode(tok_work *w, str text) {
    if (w->t->pre->raw) {
        buf_clear(&w->text);
        put_spaced(&w->text, text);
        text = buf_str(&w->text);
    }
    tok_pre_split(w->t->pre, text, encode_word, w);
}
