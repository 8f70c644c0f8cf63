/* Upper and lower case of strings, and the % operator on them. */
#include "model/jinja/jinja_impl.h"
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

static bool is_letter(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

/* Where jinja's title filter starts a word: behind space, - ( { [ <. Python's: behind no letter. */
static bool ends_word(uint32_t c, bool by_space) {
    if (!by_space) return !is_letter(c);
    return jinja_is_space(c) || (c < 128 && c > 0 && strchr("-({[<", (int)c));
}

jval jstr_change_case(jinja_run *r, const jstr *s, jstr_case how, bool word_by_space) {
    jbuf b;
    jbuf_init(&b, r);
    bool word_start = true;
    for (size_t pos = 0; pos < s->text.len;) {
        size_t from = pos;
        uint32_t c = str_utf8_next(s->text, &pos);
        bool trusted = jstr_trusted_at(s, from);
        if (c == 0xfffd) { /* maybe a broken byte: keep it */
            jbuf_put_sub(&b, s, from, pos);
            word_start = ends_word(c, word_by_space);
            continue;
        }
        bool up = how == JCASE_UPPER || (how == JCASE_CAPITALIZE && from == 0) ||
                  (how == JCASE_TITLE && word_start);
        utf8proc_int32_t to =
            up ? utf8proc_toupper((utf8proc_int32_t)c) : utf8proc_tolower((utf8proc_int32_t)c);
        char out[4];
        size_t n = str_utf8_put(out, (uint32_t)to);
        if (up && c == 0xdf) { /* the one common letter whose upper case is two */
            memcpy(out, how == JCASE_UPPER ? "SS" : "Ss", 2);
            n = 2;
        }
        jbuf_put(&b, (str){out, n}, trusted);
        word_start = ends_word(c, word_by_space);
    }
    return jbuf_take(&b);
}

/* Flags, width and precision behind %, written as a format for one number; 0 when malformed. */
static size_t conversion(str fmt, size_t pos, int *ret_width, int *ret_precision, bool *ret_zero,
                         bool *ret_left) {
    *ret_width = 0;
    *ret_precision = -1;
    *ret_zero = *ret_left = false;
    size_t from = pos;
    for (; pos < fmt.len && strchr("-0+ ", fmt.ptr[pos]); pos++) {
        if (fmt.ptr[pos] == '0') *ret_zero = true;
        if (fmt.ptr[pos] == '-') *ret_left = true;
    }
    for (; pos < fmt.len && fmt.ptr[pos] >= '0' && fmt.ptr[pos] <= '9' && *ret_width < 100; pos++)
        *ret_width = *ret_width * 10 + (fmt.ptr[pos] - '0');
    if (pos < fmt.len && fmt.ptr[pos] == '.') {
        *ret_precision = 0;
        for (pos++;
             pos < fmt.len && fmt.ptr[pos] >= '0' && fmt.ptr[pos] <= '9' && *ret_precision < 10;
             pos++)
            *ret_precision = *ret_precision * 10 + (fmt.ptr[pos] - '0');
    }
    return pos - from;
}

static void pad(jbuf *b, size_t n, int width, char c) {
    for (size_t i = n; width > 0 && i < (size_t)width; i++) jbuf_put(b, (str){&c, 1}, false);
}

err_code jstr_percent(jinja_run *r, const jstr *fmt, const jval *items, size_t n, jval *ret) {
    jbuf b;
    jbuf_init(&b, r);
    size_t used = 0, pos = 0;
    str f = fmt->text;
    while (pos < f.len) {
        ptrdiff_t hit = str_find_char(str_sub(f, pos, f.len), '%');
        size_t end = hit < 0 ? f.len : pos + (size_t)hit;
        jbuf_put_sub(&b, fmt, pos, end);
        if (hit < 0) break;
        int width, precision;
        bool zero, left;
        pos = end + 1;
        pos += conversion(f, pos, &width, &precision, &zero, &left);
        char kind = pos < f.len ? f.ptr[pos++] : '\0';
        if (kind == '%') {
            jbuf_put_sub(&b, fmt, pos - 1, pos);
            continue;
        }
        if (kind == '\0' || !strchr("srdif", kind)) JFAIL(r, "unsupported format character");
        if (used >= n) JFAIL(r, "not enough arguments for format string");
        jval v = items[used++];
        jbuf one;
        jbuf_init(&one, r);
        char num[400];
        if (kind == 's' || kind == 'r') {
            kind == 's' ? jval_print(&one, v) : jval_repr(&one, v);
        } else if (!jval_is_number(v)) {
            JFAIL(r, "a number is required for the format, not %s", jval_type(v));
        } else {
            int len = kind == 'f' ? snprintf(num, sizeof num, "%.*f", precision < 0 ? 6 : precision,
                                             jval_number(v))
                                  : snprintf(num, sizeof num, "%.0f", jval_number(v));
            jbuf_put(&one, (str){num, len > 0 ? (size_t)len : 0}, false);
        }
        jval text = jbuf_take(&one);
        size_t chars = jstr_chars(text.as.text);
        if (!left) pad(&b, chars, width, zero && kind != 's' ? '0' : ' ');
        jbuf_put_jstr(&b, text.as.text);
        if (left) pad(&b, chars, width, ' ');
    }
    if (used < n) JFAIL(r, "not all arguments converted during string formatting");
    *ret = jbuf_take(&b);
    return ERR_OK;
}
