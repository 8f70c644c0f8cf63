/* The values of a running template. Plain data in the run's arena (constants: in the template's);
 * the functions on them are in jinja_impl.h. Internal to model/jinja. */
#pragma once
#include "base/str.h"

typedef enum jval_kind {
    JV_UNDEF,
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_FLOAT,
    JV_STR,
    JV_LIST,
    JV_TUPLE,
    JV_MAP,
    JV_SPACE, /* namespace(): a map whose attributes can be set */
    JV_LOOP,
    JV_FUNC
} jval_kind;

/* Bytes up to `end` (from the end of the run before) have one writer. */
typedef struct jstr_run {
    size_t end;
    bool trusted;
} jstr_run;

typedef struct jstr {
    str text;
    const jstr_run *runs; /* [n_runs]; the last one ends at text.len */
    size_t n_runs;        /* 0: all of the text is as `trusted` says */
    bool trusted;
} jstr;

typedef struct jlist jlist;
typedef struct jmap jmap;
typedef struct jloop jloop;
typedef struct jfunc jfunc;

typedef struct jval {
    jval_kind kind;
    jval_kind owner; /* JV_UNDEF: what lacks the attribute; JV_UNDEF = an unknown variable */
    union {
        bool boolean;
        int64_t integer;
        double number;
        const jstr *text; /* JV_STR; JV_UNDEF: the name, or NULL */
        jlist *list;      /* also JV_TUPLE */
        jmap *map;        /* also JV_SPACE */
        jloop *loop;
        const jfunc *func;
    } as;
} jval;

struct jlist {
    jval *items;
    size_t len, cap;
};

typedef struct jpair {
    jval key, val;
} jpair;

struct jmap { /* insertion order; searched from the front */
    jpair *items;
    size_t len, cap;
};

struct jloop {
    const jlist *list;
    size_t index;
    bool has_changed;
    jval changed; /* the last arguments of loop.changed() */
};
