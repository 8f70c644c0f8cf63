/* WordPiece as BERT's uncased models use it.
 *
 * Clean and lower-case the text without marks, cut it into words, punctuation marks and CJK
 * characters, then take the longest token from the left; a word that does not work out is one
 * unknown token. In GGUF vocabularies a word starts with U+2581 and continuations carry no "##". */
#include "model/tok_impl.h"
#include <utf8proc.h>

#define WORD_CHARS_MAX 100 /* longer words are unknown, as in BERT; also bounds the matching */

typedef struct wpm_word {
    buf bytes; /* starts with U+2581 */
    size_t n_chars;
} wpm_word;

static bool is_cjk(uint32_t c) {
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

static bool is_dropped(uint32_t c, utf8proc_category_t cat) {
    if (c == '\t' || c == '\n' || c == '\r') return false;
    return c == 0 || c == 0xfffd || cat == UTF8PROC_CATEGORY_CC || cat == UTF8PROC_CATEGORY_CF ||
           cat == UTF8PROC_CATEGORY_CN || cat == UTF8PROC_CATEGORY_CO ||
           cat == UTF8PROC_CATEGORY_CS;
}

static bool is_punct(uint32_t c) {
    unsigned cls = tok_class(c);
    return cls & CLS_PUNCT || (c < 128 && cls & CLS_SYMBOL);
}

static void put_unknown_word(tok_work *w) {
    if (w->t->role_id[TOK_UNK] >= 0) VEC_PUSH(*w->out, w->t->role_id[TOK_UNK]);
}

static void flush_word(tok_work *w, wpm_word *word) {
    str s = buf_str(&word->bytes);
    size_t first = w->out->len;
    bool fits = word->n_chars <= WORD_CHARS_MAX;
    for (size_t i = 0; word->n_chars && fits && i < s.len;) {
        tok_prefix_cursor c = {0, w->t->plain.n, 0};
        int32_t best = -1;
        size_t best_end = i;
        for (size_t k = i; k < s.len; k++) {
            if (!tok_prefix_step(w->t, &w->t->plain, &c, (uint8_t)s.ptr[k])) break;
            int32_t id = tok_prefix_here(w->t, &w->t->plain, &c);
            if (id >= 0) best = id, best_end = k + 1;
        }
        fits = best >= 0 && !(i == 0 && best_end <= TOK_SPACE_BYTES);
        if (fits) VEC_PUSH(*w->out, best);
        i = best_end;
    }
    if (!fits) {
        w->out->len = first;
        put_unknown_word(w);
    }
    buf_clear(&word->bytes);
    buf_put(&word->bytes, TOK_SPACE, TOK_SPACE_BYTES);
    word->n_chars = 0;
}

/* One character after cleaning and decomposition. */
static void put_char(tok_work *w, wpm_word *word, uint32_t c) {
    utf8proc_category_t cat = utf8proc_category((utf8proc_int32_t)c);
    if (tok_class(c) & CLS_WS) {
        flush_word(w, word);
        return;
    }
    if (cat == UTF8PROC_CATEGORY_MN) return;
    c = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    bool alone = is_punct(c) || is_cjk(c);
    if (alone && word->n_chars) flush_word(w, word);
    if (word->n_chars <= WORD_CHARS_MAX) buf_put_utf8(&word->bytes, c);
    word->n_chars++;
    if (alone) flush_word(w, word);
}

void tok_wpm_encode(tok_work *w, str text) {
    wpm_word word = {0};
    buf_put(&word.bytes, TOK_SPACE, TOK_SPACE_BYTES);
    for (size_t i = 0; i < text.len;) {
        uint32_t c = str_utf8_next(text, &i);
        if (is_dropped(c, utf8proc_category((utf8proc_int32_t)c))) continue;
        utf8proc_int32_t parts[32];
        int boundary = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, COUNT_OF(parts),
                                                     UTF8PROC_DECOMPOSE, &boundary);
        for (utf8proc_ssize_t k = 0; k < n && k < (utf8proc_ssize_t)COUNT_OF(parts); k++)
            put_char(w, &word, (uint32_t)parts[k]);
    }
    if (word.n_chars) flush_word(w, &word);
    buf_finish(&word.bytes);
}
