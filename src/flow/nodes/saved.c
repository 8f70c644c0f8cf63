/* Names and metadata of what is written. The numbers of a folder's files are read anew for each
 * node, as other programs may write there too. */
#include "flow/nodes/saved.h"
#include "base/rng.h"
#include "flow/env.h"
#include "os/file.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- JSON */

static void json_text(buf *b, str s) {
    buf_put_char(b, '"');
    for (size_t pos = 0; pos < s.len;) {
        uint32_t c = str_utf8_next(s, &pos);
        if (c == '"' || c == '\\')
            buf_putf(b, "\\%c", (int)c);
        else if (c == '\n')
            buf_put_str(b, STR("\\n"));
        else if (c == '\r')
            buf_put_str(b, STR("\\r"));
        else if (c == '\t')
            buf_put_str(b, STR("\\t"));
        else if (c >= 0x20 && c < 0x7f)
            buf_put_char(b, (char)c);
        else if (c < 0x10000)
            buf_putf(b, "\\u%04x", c);
        else
            buf_putf(b, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                     0xdc00 + ((c - 0x10000) & 0x3ff));
    }
    buf_put_char(b, '"');
}

/* The shortest decimal that reads back as the same number. */
static void shortest(char out[40], double v) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 40, "%.*g", digits, v);
        double back = strtod(out, NULL);
        if (!(back < v) && !(back > v)) break;
    }
}

static void json_number(buf *b, double v) {
    if (isnan(v) || isinf(v)) {
        buf_put_str(b, isnan(v) ? STR("NaN") : v > 0 ? STR("Infinity") : STR("-Infinity"));
        return;
    }
    char text[40];
    shortest(text, v);
    if (strchr(text, 'e') && fabs(v) >= 1 && fabs(v) < 1e16) snprintf(text, sizeof text, "%.0f", v);
    buf_put_str(b, str_from(text));
    if (!strpbrk(text, ".e")) buf_put_str(b, STR(".0"));
}

void saved_json(buf *b, const value *v) {
    switch (v->kind) {
    case VALUE_NULL:
        buf_put_str(b, STR("null"));
        break;
    case VALUE_BOOL:
        buf_put_str(b, v->as.boolean ? STR("true") : STR("false"));
        break;
    case VALUE_INT:
        buf_putf(b, "%lld", (long long)v->as.integer);
        break;
    case VALUE_FLOAT:
        json_number(b, v->as.number);
        break;
    case VALUE_STR:
        json_text(b, v->as.text);
        break;
    case VALUE_LIST:
        buf_put_char(b, '[');
        for (size_t i = 0; i < v->as.list.len; i++) {
            if (i) buf_put_str(b, STR(", "));
            saved_json(b, v->as.list.items[i]);
        }
        buf_put_char(b, ']');
        break;
    case VALUE_MAP:
        buf_put_char(b, '{');
        for (size_t i = 0; i < v->as.map.len; i++) {
            if (i) buf_put_str(b, STR(", "));
            json_text(b, v->as.map.pairs[i].key);
            buf_put_str(b, STR(": "));
            saved_json(b, v->as.map.pairs[i].val);
        }
        buf_put_char(b, '}');
        break;
    }
}

static void add_metadata(arena *a, value *map, str key, const value *v) {
    buf b = {0};
    saved_json(&b, v);
    value_set(a, map, key, value_str(a, buf_str(&b)));
    buf_finish(&b);
}

value *saved_metadata(flow_call *c) {
    const flow_env *env = flow_call_env(c);
    if (env && env->no_metadata) return NULL;
    arena *a = flow_call_arena(c);
    value *map = value_map(a);
    const value *prompt = flow_in_data(c, "prompt"), *extra = flow_in_data(c, "extra_pnginfo");
    if (prompt) add_metadata(a, map, STR("prompt"), prompt);
    for (size_t i = 0; extra && extra->kind == VALUE_MAP && i < extra->as.map.len; i++)
        add_metadata(a, map, extra->as.map.pairs[i].key, extra->as.map.pairs[i].val);
    return map;
}

/* ---- patterns */

/* yyyy yy MM M dd d hh h mm m ss s; everything else stays. */
static void expand_date(buf *b, str format, const struct tm *t) {
    for (size_t i = 0; i < format.len;) {
        char c = format.ptr[i];
        size_t n = 1;
        while (n < (c == 'y' ? 4u : 2u) && i + n < format.len && format.ptr[i + n] == c) n++;
        int v = c == 'd'   ? t->tm_mday
                : c == 'M' ? t->tm_mon + 1
                : c == 'h' ? t->tm_hour
                : c == 'm' ? t->tm_min
                : c == 's' ? t->tm_sec
                           : -1;
        if (c == 'y' && n == 4)
            buf_putf(b, "%d", t->tm_year + 1900);
        else if (c == 'y' && n == 2)
            buf_putf(b, "%02d", t->tm_year % 100);
        else if (v >= 0)
            buf_putf(b, "%0*d", (int)n, v);
        else
            buf_put(b, format.ptr + i, n);
        i += n;
    }
}

/* A value as part of a file name. */
static void put_widget(buf *b, const value *v) {
    char text[40];
    switch (v->kind) {
    case VALUE_BOOL:
        buf_put_str(b, v->as.boolean ? STR("true") : STR("false"));
        return;
    case VALUE_INT:
        buf_putf(b, "%lld", (long long)v->as.integer);
        return;
    case VALUE_FLOAT:
        shortest(text, v->as.number);
        buf_put_str(b, str_from(text));
        return;
    case VALUE_STR:
        break;
    case VALUE_NULL:
    case VALUE_LIST:
    case VALUE_MAP:
        return;
    }
    str s = v->as.text;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool bad = c < 0x20 || c == 0x7f || strchr("/?<>\\:*|\"", c);
        buf_put_char(b, bad ? '_' : (char)c);
    }
}

static bool is_named(const value *node, str name) {
    const value *class_type = value_get(node, STR("class_type"));
    if (class_type && class_type->kind == VALUE_STR && str_eq(class_type->as.text, name))
        return true;
    const value *meta = value_get(node, STR("_meta"));
    const value *title = meta ? value_get(meta, STR("title")) : NULL;
    return title && title->kind == VALUE_STR && str_eq(title->as.text, name);
}

/* %Node.widget%: the node by class, title or id; false leaves the text as it is. */
static bool expand_widget(buf *b, str text, const value *prompt) {
    ptrdiff_t dot = str_find_char(text, '.');
    if (dot < 0 || !prompt || prompt->kind != VALUE_MAP) return false;
    str name = str_sub(text, 0, (size_t)dot), widget = str_sub(text, (size_t)dot + 1, text.len);
    for (size_t i = 0; i < prompt->as.map.len; i++) {
        const value_pair *p = &prompt->as.map.pairs[i];
        if (!is_named(p->val, name) && !str_eq(p->key, name)) continue;
        const value *inputs = value_get(p->val, STR("inputs"));
        const value *v = inputs ? value_get(inputs, widget) : NULL;
        if (!v || v->kind == VALUE_LIST || v->kind == VALUE_MAP) return false;
        put_widget(b, v);
        return true;
    }
    return false;
}

static bool expand_one(buf *b, str text, const saved_pattern *p) {
    if (str_starts(text, STR("date:"))) {
        expand_date(b, str_sub(text, 5, text.len), p->local);
        return true;
    }
    struct {
        str name;
        int width;
        long v;
    } const known[] = {
        {STR("width"), 1, (long)p->size.width},     {STR("height"), 1, (long)p->size.height},
        {STR("year"), 1, p->local->tm_year + 1900}, {STR("month"), 2, p->local->tm_mon + 1},
        {STR("day"), 2, p->local->tm_mday},         {STR("hour"), 2, p->local->tm_hour},
        {STR("minute"), 2, p->local->tm_min},       {STR("second"), 2, p->local->tm_sec},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (str_eq(text, known[i].name)) {
            buf_putf(b, "%0*ld", known[i].width, known[i].v);
            return true;
        }
    return expand_widget(b, text, p->prompt);
}

str saved_expand(str prefix, const saved_pattern *p, arena *a) {
    buf b = {0};
    for (size_t i = 0; i < prefix.len;) {
        str rest = str_sub(prefix, i, prefix.len);
        ptrdiff_t end = rest.ptr[0] == '%' ? str_find_char(str_sub(rest, 1, rest.len), '%') : -1;
        if (end > 0 && expand_one(&b, str_sub(rest, 1, (size_t)end + 1), p)) {
            i += (size_t)end + 2;
        } else {
            buf_put_char(&b, rest.ptr[0]);
            i++;
        }
    }
    str out = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return out;
}

/* ---- places */

/* Splits a prefix at its slashes, without "." and with ".." taken out; false when it leaves. */
static bool normal_path(str prefix, arena *a, str *ret_folder, str *ret_stem) {
    if (str_starts(prefix, STR("/")) || str_find_char(prefix, '\0') >= 0) return false;
    str parts[64];
    size_t n = 0;
    for (str rest = prefix; rest.ptr && n < COUNT_OF(parts);) {
        str part = str_cut(&rest, '/');
        if (!part.len || str_eq(part, STR("."))) continue;
        if (!str_eq(part, STR("..")))
            parts[n++] = part;
        else if (n-- == 0)
            return false;
    }
    if (n == COUNT_OF(parts)) return false;
    buf b = {0};
    for (size_t i = 0; i + 1 < n; i++) {
        if (i) buf_put_char(&b, '/');
        buf_put_str(&b, parts[i]);
    }
    *ret_folder = str_dup(a, buf_str(&b));
    *ret_stem = n ? str_dup(a, parts[n - 1]) : STR("");
    buf_finish(&b);
    return true;
}

/* The number of `stem_00012_.png`; 0 for other names. */
static int64_t number_of(str name, str stem) {
    if (!str_starts(name, stem) || name.len <= stem.len || name.ptr[stem.len] != '_') return 0;
    int64_t n = 0, digits = 0;
    for (size_t i = stem.len + 1; i < name.len && name.ptr[i] != '_'; i++) {
        if (name.ptr[i] < '0' || name.ptr[i] > '9' || ++digits > 15) return 0;
        n = n * 10 + (name.ptr[i] - '0');
    }
    return n;
}

static err_code next_number(const saved_place *p, arena *a, int64_t *ret, err *e) {
    DIR *d = opendir(str_cstr(a, p->dir));
    if (!d)
        FAIL(e, IO, "the folder " STR_FMT " cannot be read: %s", STR_ARG(p->dir), strerror(errno));
    int64_t largest = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        int64_t n = number_of(str_from(entry->d_name), p->stem);
        if (n > largest) largest = n;
    }
    closedir(d);
    *ret = largest + 1;
    return ERR_OK;
}

static err_code open_place(flow_call *c, str base, str prefix, saved_place *ret, err *e) {
    arena *a = flow_call_arena(c);
    if (!base.len) FAIL(e, INVALID, "this server has no folder for what nodes write");
    if (!normal_path(prefix, a, &ret->subfolder, &ret->stem))
        FAIL(e, INVALID, "filename_prefix \"" STR_FMT "\" leaves the output folder",
             STR_ARG(prefix));
    const flow_env *env = flow_call_env(c);
    str owner = env && env->folders ? env->folders->owner : (str){0}, sub = ret->subfolder;
    str first = str_cut(&sub, '/');
    if (owner.len && !str_eq(first, owner))
        ret->subfolder = ret->subfolder.len ? str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(owner),
                                                      STR_ARG(ret->subfolder))
                                            : owner;
    ret->dir = base;
    if (ret->subfolder.len)
        ret->dir = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(base), STR_ARG(ret->subfolder));
    TRY(file_mkdirs(str_cstr(a, ret->dir), e));
    return next_number(ret, a, &ret->next, e);
}

err_code saved_open(flow_call *c, str prefix, saved_size size, saved_place *ret, err *e) {
    const flow_env *env = flow_call_env(c);
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    saved_pattern p = {flow_in_data(c, "prompt"), &local, size};
    str expanded = saved_expand(prefix, &p, flow_call_arena(c));
    ret->temp = false;
    return open_place(c, env && env->folders ? env->folders->output : (str){0}, expanded, ret, e);
}

err_code saved_open_temp(flow_call *c, saved_size size, saved_place *ret, err *e) {
    (void)size;
    const flow_env *env = flow_call_env(c);
    uint8_t bytes[5];
    char letters[6] = {0};
    rng_entropy(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) letters[i] = (char)('a' + bytes[i] % 26);
    str prefix = str_fmt(flow_call_arena(c), "ComfyUI_temp_%s", letters);
    ret->temp = true;
    return open_place(c, env && env->folders ? env->folders->temp : (str){0}, prefix, ret, e);
}

static str with_batch_num(str stem, size_t batch_num, arena *a) {
    buf b = {0};
    for (str rest = stem;;) {
        ptrdiff_t at = str_find(rest, STR("%batch_num%"));
        buf_put_str(&b, at < 0 ? rest : str_sub(rest, 0, (size_t)at));
        if (at < 0) break;
        buf_putf(&b, "%zu", batch_num);
        rest = str_sub(rest, (size_t)at + 11, rest.len);
    }
    str out = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return out;
}

str saved_next(flow_call *c, saved_place *p, const char *ext, size_t batch_num, str *ret_name) {
    arena *a = flow_call_arena(c);
    str stem = with_batch_num(p->stem, batch_num, a), path;
    do {
        *ret_name = str_fmt(a, STR_FMT "_%05lld_%s", STR_ARG(stem), (long long)p->next++, ext);
        path = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(p->dir), STR_ARG(*ret_name));
    } while (file_exists(path.ptr)); /* somebody was faster */
    return path;
}

err_code saved_write(flow_call *c, saved_place *p, const saved_file *f, err *e) {
    arena *a = flow_call_arena(c);
    str name, path = saved_next(c, p, f->ext, f->batch_num, &name);
    TRY(file_write_atomic(path.ptr, f->bytes->ptr, f->bytes->len, e));
    value *item = value_map(a);
    value_set(a, item, STR("filename"), value_str(a, name));
    value_set(a, item, STR("subfolder"), value_str(a, p->subfolder));
    value_set(a, item, STR("type"), value_str(a, p->temp ? STR("temp") : STR("output")));
    flow_out_ui(c, f->key, item);
    return ERR_OK;
}
