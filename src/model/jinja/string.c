/* Strings that know who wrote each byte, and the builder that every operation on them uses.
 *
 * Invariant: runs are in order, neighbours differ, the last one ends at text.len; a string with
 * one writer has no runs. Builders never fail: past LIMIT_TEMPLATE_OUTPUT_BYTES they drop bytes and
 * set run->over, which ends the run at its next step. */
#include "model/jinja/jinja_impl.h"
#include <string.h>

jval jstr_val(jinja_run *r, str text, bool trusted) {
    jstr *s = jinja_alloc(r, sizeof *s);
    *s = (jstr){.text = text, .trusted = trusted};
    return (jval){.kind = JV_STR, .as.text = s};
}

/* Number of the run that holds byte `pos`. */
static size_t run_at(const jstr *s, size_t pos) {
    size_t lo = 0, hi = s->n_runs;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->runs[mid].end <= pos)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool jstr_trusted_at(const jstr *s, size_t pos) {
    if (s->n_runs == 0) return s->trusted;
    size_t i = run_at(s, pos);
    return i < s->n_runs && s->runs[i].trusted;
}

jval jstr_sub(jinja_run *r, const jstr *s, size_t from, size_t to) {
    str text = str_sub(s->text, from, to);
    if (s->n_runs == 0) return jstr_val(r, text, s->trusted);
    size_t first = run_at(s, from);
    if (text.len == 0 || s->runs[first].end >= to)
        return jstr_val(r, text, text.len > 0 && s->runs[first].trusted);
    jbuf b;
    jbuf_init(&b, r);
    jbuf_put_sub(&b, s, from, to);
    return jbuf_take(&b);
}

void jbuf_init(jbuf *b, jinja_run *r) {
    *b = (jbuf){.r = r};
}

static void *grow(jinja_run *r, void *old, size_t *cap, size_t need, size_t elem) {
    size_t n = *cap ? *cap * 2 : 32;
    if (n < need) n = need;
    void *p = jinja_alloc(r, n * elem);
    if (*cap) memcpy(p, old, *cap * elem);
    *cap = n;
    return p;
}

void jbuf_put(jbuf *b, str text, bool trusted) {
    if (text.len == 0) return;
    if (text.len > LIMIT_TEMPLATE_OUTPUT_BYTES - b->len || b->r->over) {
        b->r->over = true;
        return;
    }
    if (b->len + text.len > b->cap) b->ptr = grow(b->r, b->ptr, &b->cap, b->len + text.len, 1);
    memcpy(b->ptr + b->len, text.ptr, text.len);
    b->len += text.len;
    if (b->n_runs > 0 && b->runs[b->n_runs - 1].trusted == trusted) {
        b->runs[b->n_runs - 1].end = b->len;
        return;
    }
    if (b->n_runs == b->cap_runs)
        b->runs = grow(b->r, b->runs, &b->cap_runs, b->n_runs + 1, sizeof *b->runs);
    b->runs[b->n_runs++] = (jstr_run){b->len, trusted};
}

void jbuf_puts(jbuf *b, const char *text) {
    jbuf_put(b, str_from(text), false);
}

void jbuf_put_jstr(jbuf *b, const jstr *s) {
    jbuf_put_sub(b, s, 0, s->text.len);
}

void jbuf_put_sub(jbuf *b, const jstr *s, size_t from, size_t to) {
    if (s->n_runs == 0) {
        jbuf_put(b, str_sub(s->text, from, to), s->trusted);
        return;
    }
    for (size_t i = run_at(s, from); from < to && i < s->n_runs; i++) {
        size_t end = s->runs[i].end < to ? s->runs[i].end : to;
        jbuf_put(b, str_sub(s->text, from, end), s->runs[i].trusted);
        from = end;
    }
}

jval jbuf_take(jbuf *b) {
    jstr *s = jinja_alloc(b->r, sizeof *s);
    *s = (jstr){.text = {b->ptr, b->len}};
    if (b->n_runs == 1) {
        s->trusted = b->runs[0].trusted;
    } else if (b->n_runs > 1) {
        s->runs = b->runs;
        s->n_runs = b->n_runs;
    } else { /* the empty string has no writer to fear */
        s->trusted = true;
    }
    jbuf_init(b, b->r);
    return (jval){.kind = JV_STR, .as.text = s};
}

static bool is_ascii(str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80) return false;
    return true;
}

size_t jstr_chars(const jstr *s) {
    if (is_ascii(s->text)) return s->text.len;
    size_t n = 0;
    for (size_t pos = 0; pos < s->text.len; n++) str_utf8_next(s->text, &pos);
    return n;
}

size_t jstr_offset(const jstr *s, size_t n_chars) {
    if (is_ascii(s->text)) return n_chars < s->text.len ? n_chars : s->text.len;
    size_t pos = 0;
    while (n_chars-- > 0 && pos < s->text.len) str_utf8_next(s->text, &pos);
    return pos;
}

bool jinja_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Is the character at `pos` one to strip? `chars` NULL: white space. Gives its length. */
static bool to_strip(str s, size_t pos, const jstr *chars, size_t *ret_len) {
    size_t next = pos;
    uint32_t c = str_utf8_next(s, &next);
    *ret_len = next - pos;
    if (!chars) return jinja_is_space(c);
    return str_find(chars->text, str_sub(s, pos, next)) >= 0;
}

jval jstr_strip(jinja_run *r, const jstr *s, const jstr *chars, bool left, bool right) {
    size_t from = 0, to = s->text.len, n = 0, cost = chars ? chars->text.len / 64 + 1 : 1;
    while (left && from < to && jinja_work(r, cost) && to_strip(s->text, from, chars, &n))
        from += n;
    while (right && to > from && jinja_work(r, cost)) {
        size_t start = to - 1; /* back to the first byte of the character */
        while (start > from && to - start < 4 && ((unsigned char)s->text.ptr[start] & 0xc0) == 0x80)
            start--;
        if (!to_strip(str_sub(s->text, 0, to), start, chars, &n)) break;
        to = start;
    }
    return jstr_sub(r, s, from, to);
}

jval jstr_replace(jinja_run *r, const jstr *s, const jstr *from, const jstr *to, int64_t max) {
    jbuf b;
    jbuf_init(&b, r);
    size_t pos = 0;
    str text = s->text;
    while (max != 0 && !r->over) {
        if (from->text.len == 0) { /* in front of every character and at the end */
            jbuf_put_jstr(&b, to);
            max--;
            if (pos >= text.len) break;
            size_t next = pos;
            str_utf8_next(text, &next);
            jbuf_put_sub(&b, s, pos, next);
            pos = next;
            continue;
        }
        ptrdiff_t hit = str_find(str_sub(text, pos, text.len), from->text);
        if (hit < 0) break;
        jbuf_put_sub(&b, s, pos, pos + (size_t)hit);
        jbuf_put_jstr(&b, to);
        pos += (size_t)hit + from->text.len;
        max--;
    }
    jbuf_put_sub(&b, s, pos, text.len);
    return jbuf_take(&b);
}
