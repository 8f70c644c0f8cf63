/* Text made longer or shorter: center, ljust, rjust, zfill and truncate; and lists cut in columns.
 */
#include "base/limits.h"
#include "model/jinja/jinja_impl.h"

enum { WIDTH_MOST = 1 << 20 };

/* `n` times the one character of `fill`. */
static void put_fill(jbuf *b, const jstr *fill, size_t n) {
    for (size_t i = 0; i < n; i++) jbuf_put_jstr(b, fill);
}

err_code jstr_pad(jinja_run *r, const jstr *s, jstr_side side, const jargs *a, jval *ret) {
    int64_t width = side == JSIDE_CENTER_80 ? 80 : 0;
    size_t n = jstr_chars(s);
    jval fill = jstr_val(r, side == JSIDE_ZERO ? STR("0") : STR(" "), true);
    TRY(jargs_int(r, a, 0, "width", &width));
    if (side != JSIDE_ZERO) jargs_get(a, 1, "fillchar", &fill);
    if (fill.kind != JV_STR || jstr_chars(fill.as.text) != 1)
        JFAIL(r, "the fill character must be exactly one character long");
    if (width > WIDTH_MOST) JFAIL(r, "a width of more than %d characters", WIDTH_MOST);
    size_t more = width > 0 && (uint64_t)width > n ? (size_t)width - n : 0;
    size_t left = side == JSIDE_LEFT ? 0 : more, sign = 0;
    if (side == JSIDE_CENTER || side == JSIDE_CENTER_80)
        left = more / 2 + (more & (size_t)width & 1);
    if (side == JSIDE_ZERO && s->text.len > 0)
        sign = s->text.ptr[0] == '-' || s->text.ptr[0] == '+';
    TRY(jinja_step(r, more / 8));
    jbuf b;
    jbuf_init(&b, r);
    jbuf_put_sub(&b, s, 0, sign);
    put_fill(&b, fill.as.text, left);
    jbuf_put_sub(&b, s, sign, s->text.len);
    put_fill(&b, fill.as.text, more - left);
    *ret = jbuf_take(&b);
    return ERR_OK;
}

static err_code f_center(jinja_run *r, jval in, const jargs *a, jval *ret) {
    return jstr_pad(r, jval_text(r, in).as.text, JSIDE_CENTER_80, a, ret);
}

/* Where the last word ends that is whole within the first `n` bytes. */
static size_t last_blank(const jstr *s, size_t n) {
    for (size_t i = n; i-- > 0;)
        if (s->text.ptr[i] == ' ') return i;
    return n;
}

static err_code f_truncate(jinja_run *r, jval in, const jargs *a, jval *ret) {
    int64_t length = 255, leeway = 5;
    jval end = jstr_val(r, STR("..."), true);
    const jstr *s = jval_text(r, in).as.text;
    TRY(jargs_int(r, a, 0, "length", &length));
    bool kill = jargs_bool(a, 1, "killwords", false);
    if (jargs_get(a, 2, "end", &end)) end = jval_text(r, end);
    TRY(jargs_int(r, a, 3, "leeway", &leeway));
    size_t n_end = jstr_chars(end.as.text), n = jstr_chars(s);
    if (length < 0 || (uint64_t)length < n_end || leeway < 0)
        JFAIL(r, "truncate: the length is less than that of the end, or leeway below 0");
    if (length > WIDTH_MOST || leeway > WIDTH_MOST || n <= (size_t)(length + leeway)) {
        *ret = (jval){.kind = JV_STR, .as.text = s};
        return ERR_OK;
    }
    size_t cut = jstr_offset(s, (size_t)length - n_end);
    jbuf b;
    jbuf_init(&b, r);
    jbuf_put_sub(&b, s, 0, kill ? cut : last_blank(s, cut));
    jbuf_put_jstr(&b, end.as.text);
    *ret = jbuf_take(&b);
    return ERR_OK;
}

/* Columns: as equal as they can be, the longer ones first. */
static err_code f_slice(jinja_run *r, jval in, const jargs *a, jval *ret) {
    int64_t count = 0;
    jval fill, columns = jval_list(r, JV_LIST, 0);
    jlist *items = NULL;
    TRY(jargs_int(r, a, 0, "slices", &count));
    if (count < 1 || count > WIDTH_MOST) JFAIL(r, "slice needs a number of at least 1");
    TRY(jval_iterate(r, in, &items));
    size_t n = (size_t)count, each = items->len / n, longer = items->len % n, at = 0;
    bool fills = jargs_get(a, 1, "fill_with", &fill) && fill.kind != JV_NONE;
    for (size_t i = 0; i < n; i++) {
        jval column = jval_list(r, JV_LIST, 0);
        TRY(jinja_step(r, 1 + each));
        for (size_t k = 0; k < each + (i < longer); k++)
            jlist_push(r, column.as.list, items->items[at++]);
        if (fills && i >= longer) jlist_push(r, column.as.list, fill);
        jlist_push(r, columns.as.list, column);
    }
    *ret = columns;
    return ERR_OK;
}

jfilter_fn jinja_filter_pad_find(str name) {
    static const jfilter_entry FILTERS[] = {
        {"center", f_center}, {"truncate", f_truncate}, {"slice", f_slice}};
    for (size_t i = 0; i < COUNT_OF(FILTERS); i++)
        if (str_eq(name, str_from(FILTERS[i].name))) return FILTERS[i].fn;
    return NULL;
}
