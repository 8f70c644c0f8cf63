/* From text to ids: special tokens first, then each run between them by the vocabulary's kind.
 *
 * The text is scanned once for the leftmost, longest special token. Guarded ones (control tokens
 * and texts that look like them) count only where every byte is trusted; user-defined ones
 * always. Segments are joined before that, so their borders are invisible to everything else. */
#include "base/limits.h"
#include "model/tok_impl.h"
#include <string.h>

typedef struct scan {
    tok_work work;
    const tok_segment *segs;
    size_t n_segs;
    size_t seg;         /* the segment that holds the byte at `at` */
    size_t seg_end;     /* where it ends in the joined text */
    size_t trusted_end; /* end of the trusted stretch that holds `at`, or <= at */
    str text;
} scan;

static void scan_move(scan *s, size_t at) {
    while (s->seg < s->n_segs && at >= s->seg_end) {
        s->seg++;
        if (s->seg < s->n_segs) s->seg_end += s->segs[s->seg].text.len;
    }
    if (s->seg >= s->n_segs || !s->segs[s->seg].trusted || s->trusted_end > at) return;
    s->trusted_end = s->seg_end;
    for (size_t k = s->seg + 1; k < s->n_segs && (s->segs[k].trusted || !s->segs[k].text.len); k++)
        s->trusted_end += s->segs[k].text.len;
}

/* The longest special token at `at` that may be recognised there, or -1. */
static int32_t special_at(scan *s, size_t at) {
    const tok *t = s->work.t;
    if (!t->special.first_byte[(unsigned char)s->text.ptr[at]]) return -1;
    scan_move(s, at);
    tok_prefix_cursor c = {0, t->special.n, 0};
    int32_t best = -1;
    for (size_t k = at; k < s->text.len; k++) {
        if (!tok_prefix_step(t, &t->special, &c, (uint8_t)s->text.ptr[k])) break;
        int32_t id = tok_prefix_here(t, &t->special, &c);
        if (id >= 0 && (!(t->attr[id] & TOK_ATTR_GUARDED) || k < s->trusted_end)) best = id;
    }
    return best;
}

static void encode_run(scan *s, size_t from, size_t to, bool starts) {
    str run = str_sub(s->text, from, to);
    if (run.len == 0) return;
    switch (s->work.t->kind) {
    case TOK_SPM:
        tok_spm_encode(&s->work, run, starts);
        break;
    case TOK_BPE:
        tok_bpe_encode(&s->work, run);
        break;
    case TOK_WPM:
        tok_wpm_encode(&s->work, run);
        break;
    case TOK_UGM:
        tok_ugm_encode(&s->work, run, starts);
        break;
    }
}

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void encode_all(scan *s) {
    const tok *t = s->work.t;
    size_t from = 0;
    bool starts = true;
    for (size_t i = 0; i < s->text.len;) {
        int32_t id = special_at(s, i);
        if (id < 0) {
            i++;
            continue;
        }
        size_t to = i, next = i + tok_text_of(t, (size_t)id).len;
        if (t->attr[id] & TOK_ATTR_LSTRIP)
            while (to > from && is_blank(s->text.ptr[to - 1])) to--;
        if (t->attr[id] & TOK_ATTR_RSTRIP)
            while (next < s->text.len && is_blank(s->text.ptr[next])) next++;
        encode_run(s, from, to, starts);
        VEC_PUSH(*s->work.out, id);
        starts = true;
        i = from = next;
    }
    encode_run(s, from, s->text.len, starts);
}

static void put_role(const tok *t, tok_role role, tok_ids *ids) {
    if (t->role_id[role] >= 0) VEC_PUSH(*ids, t->role_id[role]);
}

/* BERT vocabularies say CLS and SEP, or the same tokens under the names BOS and SEP. */
static void put_front(const tok *t, tok_ids *ids) {
    if (!t->add_bos) return;
    bool cls = t->kind == TOK_WPM && t->role_id[TOK_CLS] >= 0;
    put_role(t, cls ? TOK_CLS : TOK_BOS, ids);
}

static void put_back(const tok *t, tok_ids *ids) {
    if (t->kind == TOK_WPM && t->add_sep) {
        put_role(t, TOK_SEP, ids);
        return;
    }
    if (t->add_eos) put_role(t, TOK_EOS, ids);
}

err_code tok_encode_segments(const tok *t, const tok_segment *segs, size_t n_segs, unsigned flags,
                             tok_ids *ids, err *e) {
    size_t total = 0;
    for (size_t i = 0; i < n_segs; i++) {
        if (segs[i].text.len > LIMIT_TOK_TEXT_BYTES - total)
            FAIL(e, LIMIT, "the text is longer than %u bytes; send a shorter prompt",
                 LIMIT_TOK_TEXT_BYTES);
        total += segs[i].text.len;
    }
    scan s = {.work = {.t = t, .out = ids}, .segs = segs, .n_segs = n_segs};
    buf joined = {0};
    s.text = n_segs == 1 ? segs[0].text : (str){0};
    if (n_segs > 1) {
        buf_reserve(&joined, total);
        for (size_t i = 0; i < n_segs; i++) buf_put_str(&joined, segs[i].text);
        s.text = buf_str(&joined);
    }
    s.seg_end = n_segs ? segs[0].text.len : 0;
    if (flags & TOK_ADD_SPECIAL) put_front(t, ids);
    encode_all(&s);
    if (flags & TOK_ADD_SPECIAL) put_back(t, ids);
    VEC_FINISH(s.work.syms);
    VEC_FINISH(s.work.heap);
    buf_finish(&s.work.text);
    buf_finish(&joined);
    return ERR_OK;
}

err_code tok_encode(const tok *t, str text, unsigned flags, tok_ids *ids, err *e) {
    tok_segment seg = {text, (flags & TOK_PARSE_SPECIAL) != 0};
    return tok_encode_segments(t, &seg, 1, flags, ids, e);
}
