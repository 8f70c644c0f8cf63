/* Methods of strings, as Python has them. */
#include "model/jinja/jinja_impl.h"
#include <string.h>
#include <utf8proc.h>

typedef err_code (*method_fn)(jinja_run *r, const jstr *s, const jargs *a, jval *ret);

/* Argument `index` as a string; NULL when it is not given or None. */
static err_code text_arg(jinja_run *r, const jargs *a, size_t index, const char *name,
                         const jstr **ret) {
    jval v;
    *ret = NULL;
    if (!jargs_get(a, index, name, &v) || v.kind == JV_NONE) return ERR_OK;
    if (v.kind == JV_UNDEF) return jval_undef_fail(r, v);
    if (v.kind != JV_STR) JFAIL(r, "a string is needed, not %s", jval_type(v));
    *ret = v.as.text;
    return ERR_OK;
}

static err_code need_text(jinja_run *r, const jargs *a, size_t index, const jstr **ret) {
    TRY(text_arg(r, a, index, NULL, ret));
    if (!*ret) JFAIL(r, "a string is missing as argument %zu", index + 1);
    return ERR_OK;
}

static err_code strip(jinja_run *r, const jstr *s, const jargs *a, int sides, jval *ret) {
    const jstr *chars = NULL;
    TRY(text_arg(r, a, 0, "chars", &chars));
    *ret = jstr_strip(r, s, chars, sides & 1, sides & 2);
    return ERR_OK;
}

static err_code m_strip(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return strip(r, s, a, 3, ret);
}

static err_code m_lstrip(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return strip(r, s, a, 1, ret);
}

static err_code m_rstrip(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return strip(r, s, a, 2, ret);
}

static bool space_at(str s, size_t pos, size_t *ret_next) {
    *ret_next = pos;
    return jinja_is_space(str_utf8_next(s, ret_next));
}

/* split() without a separator: words between white space, at most `max` cuts from the left. */
static err_code split_words(jinja_run *r, const jstr *s, int64_t max, jval l) {
    size_t pos = 0, next = 0;
    for (;;) {
        while (pos < s->text.len && space_at(s->text, pos, &next)) pos = next;
        if (pos >= s->text.len) return ERR_OK;
        TRY(jinja_step(r, 1));
        if (max >= 0 && (int64_t)l.as.list->len >= max) {
            jlist_push(r, l.as.list, jstr_sub(r, s, pos, s->text.len));
            return ERR_OK;
        }
        size_t from = pos;
        while (pos < s->text.len && !space_at(s->text, pos, &next)) pos = next;
        jlist_push(r, l.as.list, jstr_sub(r, s, from, pos));
    }
}

static err_code split_left(jinja_run *r, const jstr *s, str sep, int64_t max, jval l) {
    size_t pos = 0;
    for (;;) {
        TRY(jinja_step(r, 1));
        ptrdiff_t hit = max == 0 ? -1 : str_find(str_sub(s->text, pos, s->text.len), sep);
        if (hit < 0) break;
        jlist_push(r, l.as.list, jstr_sub(r, s, pos, pos + (size_t)hit));
        pos += (size_t)hit + sep.len;
        max--;
    }
    jlist_push(r, l.as.list, jstr_sub(r, s, pos, s->text.len));
    return ERR_OK;
}

/* Work: the product of both lengths at worst. */
static ptrdiff_t find_last(jinja_run *r, str s, str needle) {
    if (needle.len > s.len || !jinja_work(r, s.len / 64 * (needle.len / 64 + 1))) return -1;
    for (size_t i = s.len - needle.len + 1; i-- > 0;)
        if (memcmp(s.ptr + i, needle.ptr, needle.len) == 0) return (ptrdiff_t)i;
    return -1;
}

static err_code split_right(jinja_run *r, const jstr *s, str sep, int64_t max, jval l) {
    size_t end = s->text.len;
    for (;;) {
        TRY(jinja_step(r, 1));
        ptrdiff_t hit = max == 0 ? -1 : find_last(r, str_sub(s->text, 0, end), sep);
        if (hit < 0) break;
        jlist_push(r, l.as.list, jstr_sub(r, s, (size_t)hit + sep.len, end));
        end = (size_t)hit;
        max--;
    }
    jlist_push(r, l.as.list, jstr_sub(r, s, 0, end));
    jval unused;
    return jinja_method(r, l, STR("reverse"), &(jargs){0}, &unused);
}

static err_code split(jinja_run *r, const jstr *s, const jargs *a, bool right, jval *ret) {
    const jstr *sep = NULL;
    int64_t max = -1;
    TRY(text_arg(r, a, 0, "sep", &sep));
    TRY(jargs_int(r, a, 1, "maxsplit", &max));
    jval l = jval_list(r, JV_LIST, 0);
    *ret = l;
    if (!sep && right && max >= 0) JFAIL(r, "rsplit needs a separator when it has a maximum");
    if (!sep) return split_words(r, s, max, l);
    if (sep->text.len == 0) JFAIL(r, "split: the separator is empty");
    return right && max >= 0 ? split_right(r, s, sep->text, max, l)
                             : split_left(r, s, sep->text, max, l);
}

static err_code m_split(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return split(r, s, a, false, ret);
}

static err_code m_rsplit(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return split(r, s, a, true, ret);
}

static err_code partition(jinja_run *r, const jstr *s, const jargs *a, bool right, jval *ret) {
    const jstr *sep = NULL;
    TRY(need_text(r, a, 0, &sep));
    if (sep->text.len == 0) JFAIL(r, "partition: the separator is empty");
    ptrdiff_t hit = right ? find_last(r, s->text, sep->text) : str_find(s->text, sep->text);
    size_t len = s->text.len, from = hit >= 0 ? (size_t)hit : right ? 0 : len;
    size_t to = hit >= 0 ? from + sep->text.len : from;
    jval l = jval_list(r, JV_TUPLE, 3);
    jlist_push(r, l.as.list, jstr_sub(r, s, 0, from));
    jlist_push(r, l.as.list, jstr_sub(r, s, from, to));
    jlist_push(r, l.as.list, jstr_sub(r, s, to, len));
    *ret = l;
    return ERR_OK;
}

static err_code m_partition(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return partition(r, s, a, false, ret);
}

static err_code m_rpartition(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return partition(r, s, a, true, ret);
}

static err_code m_splitlines(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    bool keep = jargs_bool(a, 0, "keepends", false);
    jval l = jval_list(r, JV_LIST, 0);
    for (size_t pos = 0; pos < s->text.len;) {
        size_t end = pos;
        while (end < s->text.len && s->text.ptr[end] != '\n' && s->text.ptr[end] != '\r') end++;
        size_t next = end < s->text.len ? end + 1 : end;
        if (next < s->text.len && s->text.ptr[end] == '\r' && s->text.ptr[next] == '\n') next++;
        jlist_push(r, l.as.list, jstr_sub(r, s, pos, keep ? next : end));
        TRY(jinja_step(r, 1));
        pos = next;
    }
    *ret = l;
    return ERR_OK;
}

/* startswith and endswith take a string or a tuple of them. */
static err_code affix(jinja_run *r, const jstr *s, const jargs *a, bool start, jval *ret) {
    jval v;
    TRY(jargs_need(r, a, 0, start ? "startswith" : "endswith", &v));
    const jval *items = v.kind == JV_TUPLE ? v.as.list->items : &v;
    size_t n = v.kind == JV_TUPLE ? v.as.list->len : 1;
    bool yes = false;
    for (size_t i = 0; i < n && !yes; i++) {
        if (items[i].kind == JV_UNDEF) return jval_undef_fail(r, items[i]);
        if (items[i].kind != JV_STR) JFAIL(r, "a string is needed, not %s", jval_type(items[i]));
        str t = items[i].as.text->text;
        yes = start ? str_starts(s->text, t) : str_ends(s->text, t);
    }
    *ret = jval_bool(yes);
    return ERR_OK;
}

static err_code m_startswith(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return affix(r, s, a, true, ret);
}

static err_code m_endswith(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return affix(r, s, a, false, ret);
}

static err_code m_removeprefix(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    const jstr *t = NULL;
    TRY(need_text(r, a, 0, &t));
    *ret = jstr_sub(r, s, str_starts(s->text, t->text) ? t->text.len : 0, s->text.len);
    return ERR_OK;
}

static err_code m_removesuffix(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    const jstr *t = NULL;
    TRY(need_text(r, a, 0, &t));
    *ret = jstr_sub(r, s, 0, s->text.len - (str_ends(s->text, t->text) ? t->text.len : 0));
    return ERR_OK;
}

static err_code m_upper(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)a;
    *ret = jstr_change_case(r, s, JCASE_UPPER, false);
    return ERR_OK;
}

static err_code m_lower(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)a;
    *ret = jstr_change_case(r, s, JCASE_LOWER, false);
    return ERR_OK;
}

static err_code m_title(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)a;
    *ret = jstr_change_case(r, s, JCASE_TITLE, false);
    return ERR_OK;
}

static err_code m_capitalize(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)a;
    *ret = jstr_change_case(r, s, JCASE_CAPITALIZE, false);
    return ERR_OK;
}

static err_code m_replace(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    const jstr *from = NULL, *to = NULL;
    int64_t max = -1;
    TRY(need_text(r, a, 0, &from));
    TRY(need_text(r, a, 1, &to));
    TRY(jargs_int(r, a, 2, "count", &max));
    *ret = jstr_replace(r, s, from, to, max);
    return ERR_OK;
}

static err_code find(jinja_run *r, const jstr *s, const jargs *a, bool last, jval *ret) {
    const jstr *t = NULL;
    TRY(need_text(r, a, 0, &t));
    ptrdiff_t hit = last ? find_last(r, s->text, t->text) : str_find(s->text, t->text);
    jstr before = {.text = str_sub(s->text, 0, hit < 0 ? 0 : (size_t)hit)};
    *ret = jval_int(hit < 0 ? -1 : (int64_t)jstr_chars(&before));
    return ERR_OK;
}

static err_code m_find(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return find(r, s, a, false, ret);
}

static err_code m_rfind(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return find(r, s, a, true, ret);
}

static err_code m_index(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    TRY(find(r, s, a, false, ret));
    if (ret->as.integer < 0) JFAIL(r, "index: substring not found");
    return ERR_OK;
}

static err_code m_count(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    const jstr *t = NULL;
    int64_t n = 0;
    TRY(need_text(r, a, 0, &t));
    if (t->text.len == 0) n = (int64_t)jstr_chars(s) + 1;
    for (size_t pos = 0; t->text.len > 0;) {
        ptrdiff_t hit = str_find(str_sub(s->text, pos, s->text.len), t->text);
        if (hit < 0) break;
        pos += (size_t)hit + t->text.len;
        n++;
    }
    *ret = jval_int(n);
    return ERR_OK;
}

static err_code m_join(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    jval v;
    jlist *items = NULL;
    TRY(jargs_need(r, a, 0, "join", &v));
    TRY(jval_iterate(r, v, &items));
    jbuf b;
    jbuf_init(&b, r);
    for (size_t i = 0; i < items->len; i++) {
        TRY(jinja_step(r, 1));
        if (items->items[i].kind != JV_STR)
            JFAIL(r, "join: item %zu is %s, not a string", i, jval_type(items->items[i]));
        if (i) jbuf_put_jstr(&b, s);
        jbuf_put_jstr(&b, items->items[i].as.text);
    }
    *ret = jbuf_take(&b);
    return ERR_OK;
}

/* `{}`, `{0}` and `{name}`; anything cleverer is refused. */
static err_code format_field(jinja_run *r, str field, const jargs *a, size_t *auto_index,
                             jval *ret) {
    int64_t index = 0;
    if (field.len == 0)
        index = (int64_t)(*auto_index)++;
    else if (!str_to_i64(field, &index))
        index = -1;
    if (index >= 0 && (uint64_t)index < a->n) {
        *ret = a->pos[index];
        return ERR_OK;
    }
    for (size_t i = 0; index < 0 && i < a->n_kw; i++) {
        if (!str_eq(a->kw_names[i], field)) continue;
        *ret = a->kw[i];
        return ERR_OK;
    }
    JFAIL(r, "format: nothing for the field '{" STR_FMT "}'", STR_ARG(str_sub(field, 0, 80)));
}

static err_code m_format(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    jbuf b;
    jbuf_init(&b, r);
    size_t auto_index = 0;
    str t = s->text;
    for (size_t pos = 0; pos < t.len;) {
        char c = t.ptr[pos];
        bool twice = pos + 1 < t.len && t.ptr[pos + 1] == c;
        if ((c != '{' && c != '}') || twice) {
            jbuf_put_sub(&b, s, pos, pos + 1);
            pos += c == '{' || c == '}' ? 2 : 1;
            continue;
        }
        ptrdiff_t end = c == '{' ? str_find_char(str_sub(t, pos, t.len), '}') : -1;
        if (end < 0) JFAIL(r, "format: a single brace");
        jval v;
        TRY(jinja_step(r, 1));
        TRY(format_field(r, str_sub(t, pos + 1, pos + (size_t)end), a, &auto_index, &v));
        jval_print(&b, v);
        pos += (size_t)end + 1;
    }
    *ret = jbuf_take(&b);
    return ERR_OK;
}

static bool all_chars(str s, bool (*is)(uint32_t c)) {
    for (size_t pos = 0; pos < s.len;)
        if (!is(str_utf8_next(s, &pos))) return false;
    return s.len > 0;
}

static bool is_digit(uint32_t c) {
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static bool is_alpha(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_alnum(uint32_t c) {
    return is_alpha(c) || is_digit(c);
}

static err_code m_isdigit(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)r, (void)a;
    *ret = jval_bool(all_chars(s->text, is_digit));
    return ERR_OK;
}

static err_code m_isalpha(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)r, (void)a;
    *ret = jval_bool(all_chars(s->text, is_alpha));
    return ERR_OK;
}

static err_code m_isalnum(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)r, (void)a;
    *ret = jval_bool(all_chars(s->text, is_alnum));
    return ERR_OK;
}

static err_code m_isspace(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)r, (void)a;
    *ret = jval_bool(all_chars(s->text, jinja_is_space));
    return ERR_OK;
}

static err_code test_case(jinja_run *r, const jstr *s, const char *test, jval *ret) {
    bool yes = false;
    jval v = {.kind = JV_STR, .as.text = s};
    TRY(jinja_test_find(str_from(test))(r, v, &(jargs){0}, &yes));
    *ret = jval_bool(yes);
    return ERR_OK;
}

static err_code m_isupper(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)a;
    return test_case(r, s, "upper", ret);
}

static err_code m_islower(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    (void)a;
    return test_case(r, s, "lower", ret);
}

static err_code m_ljust(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return jstr_pad(r, s, JSIDE_LEFT, a, ret);
}

static err_code m_rjust(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return jstr_pad(r, s, JSIDE_RIGHT, a, ret);
}

static err_code m_center(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return jstr_pad(r, s, JSIDE_CENTER, a, ret);
}

static err_code m_zfill(jinja_run *r, const jstr *s, const jargs *a, jval *ret) {
    return jstr_pad(r, s, JSIDE_ZERO, a, ret);
}

static const struct {
    const char *name;
    method_fn fn;
} methods[] = {
    {"strip", m_strip},
    {"lstrip", m_lstrip},
    {"rstrip", m_rstrip},
    {"split", m_split},
    {"rsplit", m_rsplit},
    {"partition", m_partition},
    {"rpartition", m_rpartition},
    {"splitlines", m_splitlines},
    {"startswith", m_startswith},
    {"endswith", m_endswith},
    {"upper", m_upper},
    {"lower", m_lower},
    {"title", m_title},
    {"capitalize", m_capitalize},
    {"replace", m_replace},
    {"find", m_find},
    {"rfind", m_rfind},
    {"index", m_index},
    {"count", m_count},
    {"join", m_join},
    {"format", m_format},
    {"removeprefix", m_removeprefix},
    {"removesuffix", m_removesuffix},
    {"isdigit", m_isdigit},
    {"isnumeric", m_isdigit},
    {"isdecimal", m_isdigit},
    {"isalpha", m_isalpha},
    {"isalnum", m_isalnum},
    {"isspace", m_isspace},
    {"isupper", m_isupper},
    {"islower", m_islower},
    {"ljust", m_ljust},
    {"rjust", m_rjust},
    {"center", m_center},
    {"zfill", m_zfill},
};

bool jinja_has_text_method(str name) {
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (str_eq(name, str_from(methods[i].name))) return true;
    return false;
}

err_code jinja_text_method(jinja_run *r, jval obj, str name, const jargs *args, jval *ret) {
    const jstr *s = obj.as.text;
    TRY(jinja_step(r, s->text.len / 32));
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (str_eq(name, str_from(methods[i].name))) return methods[i].fn(r, s, args, ret);
    JFAIL(r, "str has no method '" STR_FMT "'", STR_ARG(str_sub(name, 0, 80)));
}
