/* Values and functions of Go templates. */
#include "base/value_json.h"
#include "model/gotmpl/syntax.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool go_truth(const value *v) {
    if (!v) return false;
    switch (v->kind) {
    case VALUE_NULL:
        return false;
    case VALUE_BOOL:
        return v->as.boolean;
    case VALUE_INT:
        return v->as.integer != 0;
    case VALUE_FLOAT:
        return v->as.number < 0 || v->as.number > 0;
    case VALUE_STR:
        return v->as.text.len > 0;
    case VALUE_LIST:
        return v->as.list.len > 0;
    case VALUE_MAP:
        return v->as.map.len > 0;
    }
    return false;
}

/* ---- fields ---- */

/* ToolCallID as tool_call_id: an underscore before each capital that follows a small letter. */
static size_t snake(str name, char *out, size_t cap) {
    size_t n = 0;
    for (size_t i = 0; i < name.len && n + 2 < cap; i++) {
        char c = name.ptr[i];
        bool upper = c >= 'A' && c <= 'Z';
        bool after_small = i > 0 && name.ptr[i - 1] >= 'a' && name.ptr[i - 1] <= 'z';
        if (upper && after_small) out[n++] = '_';
        out[n++] = upper ? (char)(c + 32) : c;
    }
    return n;
}

const value *go_field(const value *v, str name) {
    char other[128];
    const value *found = value_get(v, name);
    if (found || name.len == 0 || name.len > 60) return found;
    found = value_get(v, (str){other, snake(name, other, sizeof other)});
    if (found) return found;
    memcpy(other, name.ptr, name.len);
    if (other[0] >= 'A' && other[0] <= 'Z') other[0] = (char)(other[0] + 32);
    return value_get(v, (str){other, name.len}); /* AnyOf as anyOf */
}

/* ---- text ---- */

str go_text(arena *a, const value *v, bool *trusted) {
    if (!v || v->kind == VALUE_NULL) return (str){0};
    if (v->kind == VALUE_STR) {
        *trusted = *trusted && v->trusted;
        return v->as.text;
    }
    buf out = {0};
    *trusted &= value_json_write(&out, v, VALUE_JSON_HTML);
    str s = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return s;
}

/* ---- functions ---- */

static const value *text_value(const go_env *env, str s, bool trusted) {
    value *v = value_str(env->a, s);
    v->trusted = trusted;
    return v;
}

static err_code wrong(const go_env *env, str name, const char *what) {
    FAIL(env->e, FORMAT, "template: error calling " STR_FMT ": %s", STR_ARG(name), what);
}

static bool is_number(const value *v) {
    return v && (v->kind == VALUE_INT || v->kind == VALUE_FLOAT);
}

static double number(const value *v) {
    return v->kind == VALUE_INT ? (double)v->as.integer : v->as.number;
}

/* < 0, 0, > 0; 2 when the two cannot be compared. */
static int compare(const value *x, const value *y) {
    bool nil_x = !x || x->kind == VALUE_NULL, nil_y = !y || y->kind == VALUE_NULL;
    if (nil_x || nil_y) return nil_x && nil_y ? 0 : 2;
    if (is_number(x) && is_number(y)) {
        double a = number(x), b = number(y);
        return (a > b) - (a < b);
    }
    if (x->kind != y->kind) return 2;
    if (x->kind == VALUE_STR) {
        int c = str_cmp(x->as.text, y->as.text);
        return (c > 0) - (c < 0);
    }
    if (x->kind == VALUE_BOOL) return x->as.boolean == y->as.boolean ? 0 : 2;
    return 2;
}

static err_code call_compare(go_env *env, str name, const value *const *args, size_t n,
                             const value **ret) {
    if (n < 2) return wrong(env, name, "missing argument for comparison");
    bool yes = false;
    int c = compare(args[0], args[1]);
    if (str_eq(name, STR("eq")))
        for (size_t i = 1; i < n; i++) yes = yes || compare(args[0], args[i]) == 0;
    else if (str_eq(name, STR("ne")))
        yes = c != 0;
    else if (c == 2)
        return wrong(env, name, "incompatible types for comparison");
    else if (str_eq(name, STR("lt")))
        yes = c < 0;
    else if (str_eq(name, STR("le")))
        yes = c <= 0;
    else if (str_eq(name, STR("gt")))
        yes = c > 0;
    else
        yes = c >= 0;
    *ret = value_bool(env->a, yes);
    return ERR_OK;
}

static size_t length(const value *v) {
    if (!v) return 0;
    return v->kind == VALUE_STR    ? v->as.text.len
           : v->kind == VALUE_LIST ? v->as.list.len
           : v->kind == VALUE_MAP  ? v->as.map.len
                                   : 0;
}

static err_code call_index(go_env *env, str name, const value *const *args, size_t n,
                           const value **ret) {
    const value *at = n ? args[0] : NULL;
    for (size_t i = 1; i < n; i++) {
        const value *k = args[i];
        if (at && at->kind == VALUE_MAP && k && k->kind == VALUE_STR) {
            at = value_get(at, k->as.text);
        } else if (at && at->kind == VALUE_LIST && k && k->kind == VALUE_INT) {
            if (k->as.integer < 0 || (uint64_t)k->as.integer >= at->as.list.len)
                return wrong(env, name, "index out of range");
            at = at->as.list.items[k->as.integer];
        } else {
            return wrong(env, name, "cannot index this value so");
        }
    }
    *ret = at;
    return ERR_OK;
}

static err_code call_slice(go_env *env, str name, const value *const *args, size_t n,
                           const value **ret) {
    const value *v = n ? args[0] : NULL;
    size_t bounds[2] = {0, length(v)};
    for (size_t i = 1; i < n && i < 3; i++) {
        if (!args[i] || args[i]->kind != VALUE_INT || args[i]->as.integer < 0 ||
            (uint64_t)args[i]->as.integer > length(v))
            return wrong(env, name, "index out of range");
        bounds[i - 1] = (size_t)args[i]->as.integer;
    }
    if (bounds[0] > bounds[1]) return wrong(env, name, "invalid slice index");
    if (v && v->kind == VALUE_STR) {
        *ret = text_value(env, str_sub(v->as.text, bounds[0], bounds[1]), v->trusted);
        return ERR_OK;
    }
    if (!v || v->kind != VALUE_LIST) return wrong(env, name, "cannot slice this value");
    value *out = value_list(env->a);
    for (size_t i = bounds[0]; i < bounds[1]; i++) value_push(env->a, out, v->as.list.items[i]);
    *ret = out;
    return ERR_OK;
}

/* One verb of printf; %d of text and the like print the value as it is. */
static void put_verb(const go_env *env, buf *out, str verb_text, const value *v, bool *trusted) {
    char verb = verb_text.ptr[verb_text.len - 1];
    ptrdiff_t point = str_find_char(verb_text, '.');
    int64_t places = 6; /* of %f */
    str text = go_text(env->a, v, trusted);
    if (verb == 'q')
        value_json_string(out, text, VALUE_JSON_HTML);
    else if (verb == 'f' && is_number(v))
        buf_putf(
            out, "%.*f",
            point >= 0 &&
                    str_to_i64(str_sub(verb_text, (size_t)point + 1, verb_text.len - 1), &places) &&
                    places >= 0 && places < 100
                ? (int)places
                : 6,
            number(v));
    else if (verb == 'x' && v && v->kind == VALUE_INT)
        buf_putf(out, "%llx", (unsigned long long)v->as.integer);
    else
        buf_put_str(out, text);
}

static err_code call_printf(go_env *env, str name, const value *const *args, size_t n,
                            const value **ret) {
    if (n == 0 || !args[0] || args[0]->kind != VALUE_STR)
        return wrong(env, name, "the format must be a string");
    str f = args[0]->as.text;
    bool trusted = args[0]->trusted;
    buf out = {0};
    size_t arg = 1;
    for (size_t i = 0; i < f.len; i++) {
        if (f.ptr[i] != '%' || i + 1 >= f.len) {
            buf_put_char(&out, f.ptr[i]);
            continue;
        }
        size_t from = i;
        while (i + 1 < f.len && f.ptr[i + 1] && strchr("0123456789.+-# ", f.ptr[i + 1])) i++;
        if (i + 1 >= f.len) break;
        char verb = f.ptr[++i];
        if (verb == '%')
            buf_put_char(&out, '%');
        else if (arg < n)
            put_verb(env, &out, str_sub(f, from, i + 1), args[arg++], &trusted);
        else
            buf_putf(&out, "%%!%c(MISSING)", verb);
    }
    *ret = text_value(env, buf_str(&out), trusted);
    buf_finish(&out);
    return ERR_OK;
}

/* print puts blanks between operands when neither is a string; println always. */
static err_code call_print(go_env *env, str name, const value *const *args, size_t n,
                           const value **ret) {
    bool line = str_eq(name, STR("println")), trusted = true;
    buf out = {0};
    for (size_t i = 0; i < n; i++) {
        bool texts = i > 0 && ((args[i] && args[i]->kind == VALUE_STR) ||
                               (args[i - 1] && args[i - 1]->kind == VALUE_STR));
        if (i > 0 && (line || !texts)) buf_put_char(&out, ' ');
        buf_put_str(&out, go_text(env->a, args[i], &trusted));
    }
    if (line) buf_put_char(&out, '\n');
    *ret = text_value(env, buf_str(&out), trusted);
    buf_finish(&out);
    return ERR_OK;
}

static void put_html(buf *out, unsigned char c) {
    if (c == '<' || c == '>' || c == '&')
        buf_put_str(out, c == '<' ? STR("&lt;") : c == '>' ? STR("&gt;") : STR("&amp;"));
    else if (c == '"' || c == '\'')
        buf_putf(out, "&#%d;", c);
    else
        buf_put_char(out, (char)c);
}

static void put_js(buf *out, unsigned char c) {
    if (c == '"' || c == '\'' || c == '\\')
        buf_putf(out, "\\%c", c);
    else if (c < 0x20 || c == '<' || c == '>' || c == '&' || c == '=')
        buf_putf(out, "\\u%04X", c);
    else
        buf_put_char(out, (char)c);
}

static void put_url(buf *out, unsigned char c) {
    bool word =
        (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && strchr("-_.~", c));
    if (word || c == ' ')
        buf_put_char(out, c == ' ' ? '+' : (char)c);
    else
        buf_putf(out, "%%%02X", c);
}

/* html, js and urlquery: characters that mean something there are written another way. */
static err_code call_escape(go_env *env, str name, const value *const *args, size_t n,
                            const value **ret) {
    const value *joined;
    TRY(call_print(env, STR("print"), args, n, &joined));
    void (*put)(buf *, unsigned char) = str_eq(name, STR("html")) ? put_html
                                        : str_eq(name, STR("js")) ? put_js
                                                                  : put_url;
    buf out = {0};
    for (size_t i = 0; i < joined->as.text.len; i++)
        put(&out, (unsigned char)joined->as.text.ptr[i]);
    *ret = text_value(env, buf_str(&out), joined->trusted);
    buf_finish(&out);
    return ERR_OK;
}

static err_code call_json(go_env *env, str name, const value *const *args, size_t n,
                          const value **ret) {
    buf out = {0};
    if (n != 1) return wrong(env, name, "wrong number of args, want 1");
    bool trusted = value_json_write(&out, args[0], VALUE_JSON_HTML);
    *ret = text_value(env, buf_str(&out), trusted);
    buf_finish(&out);
    return ERR_OK;
}

static err_code call_date(go_env *env, str name, const value *const *args, size_t n,
                          const value **ret) {
    (void)args, (void)n;
    time_t t = (time_t)(env->now_unix - (str_eq(name, STR("yesterdayDate")) ? 86400 : 0));
    struct tm tm = {0};
    char text[32] = "";
    if (gmtime_r(&t, &tm)) strftime(text, sizeof text, "%Y-%m-%d", &tm);
    *ret = text_value(env, str_from(text), true);
    return ERR_OK;
}

/* ---- TypeScript ---- */

static void put_type(buf *out, const value *schema, int depth);

static void put_type_name(buf *out, str t, const value *schema, int depth) {
    if (str_eq(t, STR("integer")) || str_eq(t, STR("number")))
        buf_put_str(out, STR("number"));
    else if (str_eq(t, STR("object")))
        buf_put_str(out, STR("Record<string, any>"));
    else if (str_eq(t, STR("array"))) {
        const value *items = value_get(schema, STR("items"));
        if (items && items->kind == VALUE_MAP && depth < 8)
            put_type(out, items, depth + 1);
        else
            buf_put_str(out, STR("any"));
        buf_put_str(out, STR("[]"));
    } else if (t.len == 0)
        buf_put_str(out, STR("any"));
    else
        buf_put_str(out, t);
}

static void put_type(buf *out, const value *schema, int depth) {
    const value *type = value_get(schema, STR("type")), *any = value_get(schema, STR("anyOf"));
    if (any && any->kind == VALUE_LIST && any->as.list.len > 0 && depth < 8) {
        for (size_t i = 0; i < any->as.list.len; i++) {
            if (i) buf_put_str(out, STR(" | "));
            put_type(out, any->as.list.items[i], depth + 1);
        }
    } else if (type && type->kind == VALUE_LIST && type->as.list.len > 0) {
        for (size_t i = 0; i < type->as.list.len; i++) {
            const value *t = type->as.list.items[i];
            if (i) buf_put_str(out, STR(" | "));
            put_type_name(out, t->kind == VALUE_STR ? t->as.text : (str){0}, schema, depth);
        }
    } else {
        put_type_name(out, type && type->kind == VALUE_STR ? type->as.text : (str){0}, schema,
                      depth);
    }
}

static err_code call_typescript(go_env *env, str name, const value *const *args, size_t n,
                                const value **ret) {
    buf out = {0};
    if (n != 1) return wrong(env, name, "wrong number of args, want 1");
    put_type(&out, args[0], 0);
    *ret = text_value(env, buf_str(&out), false);
    buf_finish(&out);
    return ERR_OK;
}

static err_code call_simple(go_env *env, str name, const value *const *args, size_t n,
                            const value **ret) {
    if (n != 1) return wrong(env, name, "wrong number of args, want 1");
    if (str_eq(name, STR("not")))
        *ret = value_bool(env->a, !go_truth(args[0]));
    else
        *ret = value_int(env->a, (int64_t)length(args[0]));
    return ERR_OK;
}

static const struct {
    const char *name;
    err_code (*call)(go_env *, str, const value *const *, size_t, const value **);
} FUNCS[] = {
    {"and", NULL},
    {"or", NULL},
    {"not", call_simple},
    {"len", call_simple},
    {"eq", call_compare},
    {"ne", call_compare},
    {"lt", call_compare},
    {"le", call_compare},
    {"gt", call_compare},
    {"ge", call_compare},
    {"index", call_index},
    {"slice", call_slice},
    {"print", call_print},
    {"printf", call_printf},
    {"println", call_print},
    {"html", call_escape},
    {"js", call_escape},
    {"urlquery", call_escape},
    {"json", call_json},
    {"currentDate", call_date},
    {"yesterdayDate", call_date},
    {"toTypeScriptType", call_typescript},
};

bool go_is_func(str name) {
    for (size_t i = 0; i < COUNT_OF(FUNCS); i++)
        if (str_eq(name, str_from(FUNCS[i].name))) return true;
    return false;
}

err_code go_call(go_env *env, str name, const value *const *args, size_t n, const value **ret) {
    for (size_t i = 0; i < COUNT_OF(FUNCS); i++)
        if (FUNCS[i].call && str_eq(name, str_from(FUNCS[i].name)))
            return FUNCS[i].call(env, name, args, n, ret);
    FAIL(env->e, INTERNAL, "template: function " STR_FMT, STR_ARG(name));
}
