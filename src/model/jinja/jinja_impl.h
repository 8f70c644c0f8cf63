/* What the files of the interpreter share: the state of one run and the functions on it.
 *
 * Compile: lex.c -> parse.c and parse_expr.c. Run: exec.c (statements), eval.c (expressions),
 * call.c (macros and global functions), filter_*.c, tests.c, method*.c over string.c, case.c,
 * val.c, print.c. The tree lives in the template's arena, everything made while running in the
 * run's own arena. Functions that can fail return an err_code and have put the message into run->e.
 */
#pragma once
#include "base/limits.h"
#include "model/jinja/syntax.h"

typedef struct jinja_var {
    uint32_t id;
    jval val;
} jinja_var;

typedef struct jinja_scope {
    struct jinja_scope *parent;
    jinja_var *vars;
    size_t len, cap;
} jinja_scope;

typedef enum jinja_flow { JFLOW_NONE, JFLOW_BREAK, JFLOW_CONTINUE } jinja_flow;

typedef struct jinja_run jinja_run;

typedef struct jbuf { /* a string under construction, in the run's arena */
    jinja_run *r;
    char *ptr;
    size_t len, cap;
    jstr_run *runs;
    size_t n_runs, cap_runs;
} jbuf;

struct jinja_run {
    const jinja *j;
    arena *mem;
    err *e;
    int line; /* of what runs now */
    int depth;
    uint64_t steps, bytes; /* used so far */
    bool over;             /* a limit on memory or output was passed: the next step fails */
    jinja_flow flow;
    jinja_scope *scope;
    jbuf *out;
    int64_t now;
};

typedef struct jargs {
    const jval *pos;
    size_t n;
    const str *kw_names;
    const jval *kw;
    size_t n_kw;
} jargs;

typedef enum jfunc_kind {
    JFUNC_MACRO,
    JFUNC_METHOD,
    JFUNC_GLOBAL,
    JFUNC_CYCLER,
    JFUNC_JOINER
} jfunc_kind;

struct jfunc {
    jfunc_kind kind;
    str name;
    jval self;              /* method: the object; cycler: its list; joiner: the separator */
    const jinja_node *node; /* macro */
    jinja_scope *scope;     /* macro: where it was defined */
    size_t *state;          /* cycler: next item; joiner: used or not */
};

err_code jinja_fail(jinja_run *r, err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define JFAIL(r, ...) return jinja_fail((r), ERR_FORMAT, __VA_ARGS__)

void *jinja_alloc(jinja_run *r, size_t n_bytes); /* counted; never NULL; uninitialised */
err_code jinja_step(jinja_run *r, size_t n);     /* n units of work; LIMIT when used up */
bool jinja_work(jinja_run *r, size_t n);         /* the same where nothing can fail; false = stop */
err_code jinja_enter(jinja_run *r);              /* one level deeper; jinja_leave undoes it */
void jinja_leave(jinja_run *r);

/* exec.c */
err_code jinja_exec(jinja_run *r, const jinja_node *n);
err_code jinja_capture(jinja_run *r, const jinja_node *body, jval *ret);
err_code jinja_assign(jinja_run *r, const jinja_node *target, jval v);
jinja_scope *jinja_scope_push(jinja_run *r, jinja_scope *parent);
void jinja_scope_set(jinja_run *r, jinja_scope *s, uint32_t id, jval v);

/* eval.c, ops.c */
err_code jinja_eval(jinja_run *r, const jinja_node *n, jval *ret);
err_code jinja_eval_filter(jinja_run *r, const jinja_node *n, jval in, jval *ret);
err_code jinja_eval_args(jinja_run *r, const jinja_call *c, jargs *ret);
err_code jinja_binary(jinja_run *r, jinja_op op, jval a, jval b, jval *ret);
err_code jinja_get_attr(jinja_run *r, jval obj, str name, jval *ret);
err_code jinja_get_item(jinja_run *r, jval obj, jval key, jval *ret);
err_code jinja_slice(jinja_run *r, jval obj, const jval bounds[3], jval *ret);

/* call.c */
err_code jinja_call_value(jinja_run *r, jval fn, const jargs *args, jval *ret);
err_code jinja_call_macro(jinja_run *r, const jfunc *f, const jargs *args, const jval *caller,
                          jval *ret);
bool jinja_global(jinja_run *r, str name, jval *ret);
jval jinja_func_new(jinja_run *r, jfunc f);

/* The argument at `index` or named `name`; false when not given. */
bool jargs_get(const jargs *a, size_t index, const char *name, jval *ret);
err_code jargs_int(jinja_run *r, const jargs *a, size_t index, const char *name, int64_t *ret);
bool jargs_bool(const jargs *a, size_t index, const char *name, bool otherwise);
err_code jargs_need(jinja_run *r, const jargs *a, size_t index, const char *what, jval *ret);

/* Filters and tests by name; NULL when there is none. */
typedef err_code (*jfilter_fn)(jinja_run *r, jval in, const jargs *args, jval *ret);
typedef struct jfilter_entry {
    const char *name;
    jfilter_fn fn;
} jfilter_entry;
jfilter_fn jinja_filter_find(str name);
jfilter_fn jinja_filter_text_find(str name);
jfilter_fn jinja_filter_list_find(str name);
jfilter_fn jinja_filter_pad_find(str name);
typedef err_code (*jtest_fn)(jinja_run *r, jval in, const jargs *args, bool *ret);
jtest_fn jinja_test_find(str name);

/* method.c */
bool jinja_has_method(jval obj, str name);
err_code jinja_method(jinja_run *r, jval obj, str name, const jargs *args, jval *ret);
err_code jinja_text_method(jinja_run *r, jval obj, str name, const jargs *args, jval *ret);
bool jinja_has_text_method(str name);

/* ---- val.c, print.c ---- */

jval jval_none(void);
jval jval_bool(bool v);
jval jval_int(int64_t v);
jval jval_float(double v);
jval jval_list(jinja_run *r, jval_kind kind, size_t n); /* empty, room for n */
jval jval_map(jinja_run *r, jval_kind kind);
jval jval_undef(jinja_run *r, jval_kind owner, str name);
jval jval_from(jinja_run *r, const value *v); /* NULL gives None */
void jlist_push(jinja_run *r, jlist *l, jval v);
void jmap_set(jinja_run *r, jmap *m, jval key, jval val);
const jval *jmap_get(jinja_run *r, const jmap *m, jval key);
const jval *jmap_get_str(jinja_run *r, const jmap *m, str key);

bool jval_true(jval v);
bool jval_is_list(jval v);   /* list or tuple */
bool jval_is_number(jval v); /* bool, int or float */
double jval_number(jval v);
bool jval_eq(jinja_run *r, jval a, jval b);
err_code jval_compare(jinja_run *r, jval a, jval b, int *ret); /* -1, 0, 1 */
err_code jval_length(jinja_run *r, jval v, size_t *ret);
err_code jval_iterate(jinja_run *r, jval v, jlist **ret); /* do not write to it */
const char *jval_type(jval v);                            /* "dict", "str", ... */
err_code jval_undef_fail(jinja_run *r, jval v);
void jval_print(jbuf *b, jval v); /* str(v) */
void jval_repr(jbuf *b, jval v);
jval jval_text(jinja_run *r, jval v); /* v as a JV_STR */
typedef struct jinja_json_opts {
    bool ascii, sort;
    const jstr *indent; /* NULL = one line */
    const jstr *item_sep, *key_sep;
} jinja_json_opts;
err_code jval_json(jbuf *b, jval v, const jinja_json_opts *o);
void jinja_put_float(jbuf *b, double v);

/* ---- string.c, case.c ---- */

jval jstr_val(jinja_run *r, str text, bool trusted);
jval jstr_sub(jinja_run *r, const jstr *s, size_t from, size_t to); /* bytes, from <= to <= len */
bool jstr_trusted_at(const jstr *s, size_t pos);
size_t jstr_chars(const jstr *s);                  /* code points */
size_t jstr_offset(const jstr *s, size_t n_chars); /* byte offset of a code point */
bool jinja_is_space(uint32_t c);                   /* as Python's str.isspace */
void jbuf_init(jbuf *b, jinja_run *r);
void jbuf_put(jbuf *b, str text, bool trusted);
void jbuf_puts(jbuf *b, const char *text); /* untrusted */
void jbuf_put_jstr(jbuf *b, const jstr *s);
void jbuf_put_sub(jbuf *b, const jstr *s, size_t from, size_t to);
jval jbuf_take(jbuf *b);
jval jstr_strip(jinja_run *r, const jstr *s, const jstr *chars, bool left, bool right);
jval jstr_replace(jinja_run *r, const jstr *s, const jstr *from, const jstr *to, int64_t max);
/* To the width that the arguments give; where the text goes. ZERO: zeros behind its sign. */
typedef enum jstr_side {
    JSIDE_LEFT,
    JSIDE_RIGHT,
    JSIDE_CENTER,
    JSIDE_CENTER_80, /* where no width is given */
    JSIDE_ZERO
} jstr_side;
err_code jstr_pad(jinja_run *r, const jstr *s, jstr_side side, const jargs *a, jval *ret);
typedef enum jstr_case { JCASE_UPPER, JCASE_LOWER, JCASE_TITLE, JCASE_CAPITALIZE } jstr_case;
jval jstr_change_case(jinja_run *r, const jstr *s, jstr_case how, bool word_by_space);
err_code jstr_percent(jinja_run *r, const jstr *fmt, const jval *items, size_t n, jval *ret);
