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

static const value *find_field(const value *v, str name) {
    char other[128];
    const value *found = value_get(v, name);
    if (found || name.len == 0 || name.len > 60) return found;
    found = value_get(v, (str){other, snake(name, other, sizeof other)});
    if (found) return found;
    memcpy(other, name.ptr, name.len);
    if (other[0] >= 'A' && other[0] <= 'Z') other[0] = (char)(other[0] + 32);
    return value_get(v, (str){other, name.len}); /* AnyOf as anyOf */
}

err_code go_field(const go_env *env, const value *v, str name, const value **ret) {
    if (v && v->kind != VALUE_MAP && v->kind != VALUE_NULL)
        FAIL(env->e, FORMAT, "template: :%d: can't evaluate field " STR_FMT " in type %s",
             env->line, STR_ARG(name), go_type_name(v));
    const value *found = find_field(v, name);
    if (found && v->trusted && found->kind == VALUE_STR && str_eq(name, STR("Type"))) {
        value *words = value_list(env->a), *word = value_str(env->a, found->as.text);
        word->trusted = found->trusted;
        value_push(env->a, words, word);
        words->trusted = true; /* prints as its one word */
        found = words;
    }
    *ret = found;
    return ERR_OK;
}

/* ---- functions ---- */

static const value *text_value(const go_env *env, str s, bool trusted) {
    value *v = value_str(env->a, s);
    v->trusted = trusted;
    return v;
}

static err_code wrong(const go_env *env, str name, const char *what) {
    FAIL(env->e, FORMAT, "template: :%d: error calling " STR_FMT ": %s", env->line, STR_ARG(name),
         what);
}

static bool is_number(const value *v) {
    return v && (v->kind == VALUE_INT || v->kind == VALUE_FLOAT);
}

static double number(const value *v) {
    return v->kind == VALUE_INT ? (double)v->as.integer : v->as.number;
}

static bool is_nil(const value *v) {
    return !v || v->kind == VALUE_NULL;
}

/* Whether the two are equal; what is nil equals nothing but nil. */
static err_code equal(const go_env *env, str name, const value *x, const value *y, bool *ret) {
    *ret = false;
    if (is_nil(x) || is_nil(y)) {
        *ret = is_nil(x) && is_nil(y);
        return ERR_OK;
    }
    if (x->kind == VALUE_LIST || x->kind == VALUE_MAP || y->kind == VALUE_LIST ||
        y->kind == VALUE_MAP)
        return wrong(env, name, "non-comparable type");
    if (is_number(x) && is_number(y))
        *ret = !(number(x) < number(y)) && !(number(x) > number(y));
    else if (x->kind != y->kind)
        return wrong(env, name, "incompatible types for comparison");
    else if (x->kind == VALUE_STR)
        *ret = str_eq(x->as.text, y->as.text);
    else
        *ret = x->as.boolean == y->as.boolean;
    return ERR_OK;
}

static err_code call_equal(go_env *env, str name, const value *const *args, size_t n,
                           const value **ret) {
    bool yes = false, negate = str_eq(name, STR("ne"));
    if (n < 2) return wrong(env, name, "missing argument for comparison");
    for (size_t i = 1; i < n && !yes; i++) TRY(equal(env, name, args[0], args[i], &yes));
    *ret = value_bool(env->a, yes != negate);
    return ERR_OK;
}

static err_code call_order(go_env *env, str name, const value *const *args, size_t n,
                           const value **ret) {
    (void)n;
    const value *x = args[0], *y = args[1];
    int c;
    if (is_nil(x) || is_nil(y) || x->kind == VALUE_BOOL || y->kind == VALUE_BOOL)
        return wrong(env, name, "invalid type for comparison");
    if (is_number(x) && is_number(y))
        c = (number(x) > number(y)) - (number(x) < number(y));
    else if (x->kind == VALUE_STR && y->kind == VALUE_STR)
        c = str_cmp(x->as.text, y->as.text);
    else
        return wrong(env, name, "incompatible types for comparison");
    bool less = name.ptr[0] == 'l', or_equal = name.ptr[1] == 'e';
    *ret = value_bool(env->a, (less ? c < 0 : c > 0) || (or_equal && c == 0));
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
        } else if (at && at->kind == VALUE_STR && k && k->kind == VALUE_INT) {
            if (k->as.integer < 0 || (uint64_t)k->as.integer >= at->as.text.len)
                return wrong(env, name, "index out of range");
            at = value_int(env->a, (unsigned char)at->as.text.ptr[k->as.integer]);
        } else {
            return wrong(env, name, "cannot index this value so");
        }
    }
    *ret = at;
    return ERR_OK;
}

static err_code call_slice(go_env *env, str name, const value *const *args, size_t n,
                           const value **ret) {
    const value *v = args[0];
    size_t bounds[3] = {0, length(v), length(v)};
    if (n > 4) return wrong(env, name, "too many slice indexes");
    if (n > 3 && v && v->kind == VALUE_STR)
        return wrong(env, name, "cannot 3-index slice a string");
    if (v && v->kind != VALUE_STR && v->kind != VALUE_LIST)
        return wrong(env, name, "cannot slice this value");
    for (size_t i = 1; i < n; i++) {
        if (!args[i] || args[i]->kind != VALUE_INT)
            return wrong(env, name, "cannot index slice with this type");
        if (args[i]->as.integer < 0 || (uint64_t)args[i]->as.integer > length(v))
            return wrong(env, name, "index out of range");
        bounds[i - 1] = (size_t)args[i]->as.integer;
    }
    if (bounds[0] > bounds[1] || bounds[1] > bounds[2])
        return wrong(env, name, "invalid slice index");
    if (v && v->kind == VALUE_STR) {
        *ret = text_value(env, str_sub(v->as.text, bounds[0], bounds[1]), v->trusted);
        return ERR_OK;
    }
    value *out = value_list(env->a);
    for (size_t i = bounds[0]; v && i < bounds[1]; i++)
        value_push(env->a, out, v->as.list.items[i]);
    *ret = out;
    return ERR_OK;
}

static err_code call_printf(go_env *env, str name, const value *const *args, size_t n,
                            const value **ret) {
    if (!args[0] || args[0]->kind != VALUE_STR)
        return wrong(env, name, "the format must be a string");
    bool trusted = args[0]->trusted;
    buf out = {0};
    go_printf(&out, args[0]->as.text, args + 1, n - 1, &trusted);
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
        if (args[i]) go_put_value(&out, args[i], &trusted);
    }
    if (line) buf_put_char(&out, '\n');
    *ret = text_value(env, buf_str(&out), trusted);
    buf_finish(&out);
    return ERR_OK;
}

static void put_html(buf *out, uint32_t c) {
    if (c == '<' || c == '>' || c == '&')
        buf_put_str(out, c == '<' ? STR("&lt;") : c == '>' ? STR("&gt;") : STR("&amp;"));
    else if (c == '"' || c == '\'')
        buf_putf(out, "&#%u;", (unsigned)c);
    else
        buf_put_utf8(out, c ? c : 0xFFFD);
}

static void put_js(buf *out, uint32_t c) {
    if (c == '"' || c == '\'' || c == '\\')
        buf_putf(out, "\\%c", (char)c);
    else if (c == '<' || c == '>' || c == '&' || c == '=' || !go_is_printable(c))
        buf_putf(out, "\\u%04X", (unsigned)c);
    else
        buf_put_utf8(out, c);
}

static void put_url(buf *out, uint32_t c) {
    bool word = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                (c && c < 0x80 && strchr("-_.~", (int)c));
    char bytes[4];
    size_t n = str_utf8_put(bytes, c);
    if (word || c == ' ')
        buf_put_char(out, c == ' ' ? '+' : (char)c);
    else
        for (size_t i = 0; i < n; i++) buf_putf(out, "%%%02X", (unsigned char)bytes[i]);
}

/* html, js and urlquery: characters that mean something there are written another way. */
static err_code call_escape(go_env *env, str name, const value *const *args, size_t n,
                            const value **ret) {
    const value *joined;
    TRY(call_print(env, STR("print"), args, n, &joined));
    void (*put)(buf *, uint32_t) = str_eq(name, STR("html")) ? put_html
                                   : str_eq(name, STR("js")) ? put_js
                                                             : put_url;
    buf out = {0};
    for (size_t i = 0; i < joined->as.text.len;) put(&out, str_utf8_next(joined->as.text, &i));
    *ret = text_value(env, buf_str(&out), joined->trusted);
    buf_finish(&out);
    return ERR_OK;
}

static err_code call_json(go_env *env, str name, const value *const *args, size_t n,
                          const value **ret) {
    buf out = {0};
    (void)name, (void)n;
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
    (void)name, (void)n;
    put_type(&out, args[0], 0);
    *ret = text_value(env, buf_str(&out), false);
    buf_finish(&out);
    return ERR_OK;
}

static err_code call_not(go_env *env, str name, const value *const *args, size_t n,
                         const value **ret) {
    (void)name, (void)n;
    *ret = value_bool(env->a, !go_truth(args[0]));
    return ERR_OK;
}

/* What is missing is as long as an empty list. */
static err_code call_len(go_env *env, str name, const value *const *args, size_t n,
                         const value **ret) {
    (void)n;
    const value *v = args[0];
    if (v && v->kind != VALUE_STR && v->kind != VALUE_LIST && v->kind != VALUE_MAP)
        return wrong(env, name, "this value has no length");
    *ret = value_int(env->a, (int64_t)length(v));
    return ERR_OK;
}

/* No value that a template sees is a function. */
static err_code call_call(go_env *env, str name, const value *const *args, size_t n,
                          const value **ret) {
    (void)n, (void)ret;
    return wrong(env, name, is_nil(args[0]) ? "call of nil" : "non-function");
}

enum { ANY = 1000 };

static const struct {
    const char *name;
    err_code (*call)(go_env *, str, const value *const *, size_t, const value **);
    size_t least, most; /* arguments */
} FUNCS[] = {
    {"and", NULL, 1, ANY},
    {"or", NULL, 1, ANY},
    {"not", call_not, 1, 1},
    {"len", call_len, 1, 1},
    {"eq", call_equal, 1, ANY},
    {"ne", call_equal, 2, 2},
    {"lt", call_order, 2, 2},
    {"le", call_order, 2, 2},
    {"gt", call_order, 2, 2},
    {"ge", call_order, 2, 2},
    {"index", call_index, 1, ANY},
    {"slice", call_slice, 1, ANY},
    {"print", call_print, 0, ANY},
    {"printf", call_printf, 1, ANY},
    {"println", call_print, 0, ANY},
    {"html", call_escape, 0, ANY},
    {"js", call_escape, 0, ANY},
    {"urlquery", call_escape, 0, ANY},
    {"call", call_call, 1, ANY},
    {"json", call_json, 1, 1},
    {"currentDate", call_date, 0, 0},
    {"yesterdayDate", call_date, 0, 0},
    {"toTypeScriptType", call_typescript, 1, 1},
};

bool go_is_func(str name) {
    for (size_t i = 0; i < COUNT_OF(FUNCS); i++)
        if (str_eq(name, str_from(FUNCS[i].name))) return true;
    return false;
}

err_code go_call(go_env *env, str name, const value *const *args, size_t n, const value **ret) {
    for (size_t i = 0; i < COUNT_OF(FUNCS); i++) {
        if (!str_eq(name, str_from(FUNCS[i].name))) continue;
        size_t least = FUNCS[i].least, most = FUNCS[i].most;
        if (n < least || n > most)
            FAIL(env->e, FORMAT,
                 "template: :%d: wrong number of args for " STR_FMT ": want %s%zu got %zu",
                 env->line, STR_ARG(name), most == ANY ? "at least " : "", least, n);
        if (FUNCS[i].call) return FUNCS[i].call(env, name, args, n, ret);
    }
    FAIL(env->e, INTERNAL, "template: function " STR_FMT, STR_ARG(name));
}
