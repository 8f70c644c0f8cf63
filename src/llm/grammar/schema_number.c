/* Numbers, bounded ones included: the digits of the bounds become the grammar.
 *
 * A range over decimal digits is a tree: while the digits so far equal those of a bound the next
 * digit is held by it, afterwards anything goes. Integers are cut by their number of digits first;
 * numbers with bounds are written without an exponent. */
#include "base/limits.h"
#include "llm/grammar/schema.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 15, FRACTION_MAX = 15 };

static const grammar_expr *digit(schema_reader *r, int lo, int hi) {
    grammar_range range = {(uint32_t)('0' + lo), (uint32_t)('0' + hi)};
    return lo > hi ? grammar_none(&r->b) : grammar_chars(&r->b, (grammar_set){&range, 1});
}

static const grammar_expr *digits(schema_reader *r, int32_t min, int32_t max) {
    return grammar_repeat(&r->b, digit(r, 0, 9), min, max);
}

/* ---- integers ---- */

/* What is left of numbers with the digits of lo and hi; NULL = that bound does not hold any more.
 */
static const grammar_expr *same_length(schema_reader *r, const char *lo, const char *hi,
                                       int32_t n) {
    grammar_builder *b = &r->b;
    if (n == 0) return grammar_empty(b);
    if (!lo && !hi) return digits(r, n, n);
    int from = lo ? lo[0] - '0' : 0, to = hi ? hi[0] - '0' : 9;
    if (lo && hi && from == to)
        return grammar_seq(b, digit(r, from, from), same_length(r, lo + 1, hi + 1, n - 1));
    const grammar_expr *x = grammar_none(b);
    if (lo) {
        x = grammar_seq(b, digit(r, from, from), same_length(r, lo + 1, NULL, n - 1));
        from++;
    }
    if (hi) {
        const grammar_expr *at_hi =
            grammar_seq(b, digit(r, to, to), same_length(r, NULL, hi + 1, n - 1));
        x = grammar_alt(b, x, at_hi);
        to--;
    }
    return grammar_alt(b, x, grammar_seq(b, digit(r, from, to), digits(r, n - 1, n - 1)));
}

/* Whole numbers from lo to hi, 0 <= lo; hi may be beyond what is ever written. */
static const grammar_expr *natural_range(schema_reader *r, uint64_t lo, uint64_t hi) {
    grammar_builder *b = &r->b;
    const grammar_expr *all = grammar_none(b);
    uint64_t from = 0, to = 9;
    for (int n = 1; n <= DIGITS_MAX + 3; n++) {
        uint64_t a = lo > from ? lo : from, z = hi < to ? hi : to;
        if (a <= z) {
            char at[24], zt[24];
            snprintf(at, sizeof at, "%" PRIu64, a);
            snprintf(zt, sizeof zt, "%" PRIu64, z);
            all = grammar_alt(b, all, same_length(r, at, zt, n));
        }
        from = to + 1;
        to = to * 10 + 9;
    }
    return all;
}

static const grammar_expr *negative(schema_reader *r, const grammar_expr *x) {
    return grammar_seq(&r->b, grammar_text(&r->b, STR("-")), x);
}

static const grammar_expr *integer_range(schema_reader *r, double lo, double hi) {
    const double most = 1e18;
    double a = fmax(ceil(lo), -most), z = fmin(floor(hi), most);
    const grammar_expr *x = grammar_none(&r->b);
    if (z >= 0) x = natural_range(r, a > 0 ? (uint64_t)a : 0, (uint64_t)z);
    if (a < 0) {
        uint64_t from = z < 0 ? (uint64_t)-z : 1;
        x = grammar_alt(&r->b, x, negative(r, natural_range(r, from, (uint64_t)-a)));
    }
    return x;
}

/* ---- fractions ---- */

/* A bound of fractions: digits without trailing zeros; `open` excludes the bound itself. */
typedef struct edge {
    const char *digits; /* NULL = no bound */
    bool open;
} edge;

static const grammar_expr *fraction(schema_reader *r, edge lo, edge hi, int32_t left);

/* The digit d and what may follow, with each bound kept only while it is met exactly. */
static const grammar_expr *fraction_digit(schema_reader *r, int d, edge lo, edge hi, int32_t left) {
    int from = lo.digits && *lo.digits ? *lo.digits - '0' : 0;
    int to = hi.digits && *hi.digits ? *hi.digits - '0' : 0;
    if (lo.digits && d < from) return grammar_none(&r->b);
    if (hi.digits && d > to) return grammar_none(&r->b);
    if (lo.digits && d > from) lo = (edge){NULL, false};
    if (hi.digits && d < to) hi = (edge){NULL, false};
    if (lo.digits && *lo.digits) lo.digits++;
    if (hi.digits && *hi.digits) hi.digits++;
    return grammar_seq(&r->b, digit(r, d, d), fraction(r, lo, hi, left - 1));
}

/* Digits behind the point from here on; may be none when what was written already fits. */
static const grammar_expr *fraction(schema_reader *r, edge lo, edge hi, int32_t left) {
    grammar_builder *b = &r->b;
    bool may_stop =
        !(lo.digits && (*lo.digits || lo.open)) && !(hi.digits && !*hi.digits && hi.open);
    if (left == 0) return may_stop ? grammar_empty(b) : grammar_none(b);
    if (!lo.digits && !hi.digits) return digits(r, 0, left);
    const grammar_expr *x = may_stop ? grammar_empty(b) : grammar_none(b);
    if (hi.digits && !*hi.digits && hi.open) return grammar_none(b); /* only zeros could follow */
    for (int d = 0; d < 10; d++) x = grammar_alt(b, x, fraction_digit(r, d, lo, hi, left));
    return x;
}

/* A whole part that meets the bounds as given, and its fraction. */
static const grammar_expr *with_fraction(schema_reader *r, uint64_t whole, edge lo, edge hi) {
    grammar_builder *b = &r->b;
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64, whole);
    bool alone = !(lo.digits && (*lo.digits || lo.open)) && !(hi.digits && !*hi.digits && hi.open);
    const grammar_expr *some = grammar_none(b);
    for (int d = 0; d < 10; d++)
        some = grammar_alt(b, some, fraction_digit(r, d, lo, hi, FRACTION_MAX));
    some = grammar_seq(b, grammar_text(b, STR(".")), some);
    if (alone) some = grammar_alt(b, some, grammar_empty(b));
    return grammar_seq(b, grammar_text(b, (str){text, (size_t)n}), some);
}

/* A bound of a number, at least 0. */
typedef struct bound {
    bool none, open;
    uint64_t whole;
    char fraction[FRACTION_MAX + 1];
} bound;

static bound bound_of(double v, bool open) {
    bound k = {.none = isinf(v), .open = open};
    if (k.none) return k;
    char text[48];
    int places = FRACTION_MAX; /* a double holds 15 decimal digits in all */
    for (double w = v; w >= 1 && places > 0; w /= 10) places--;
    snprintf(text, sizeof text, "%.*f", places, v);
    char *point = strchr(text, '.');
    k.whole = strtoull(text, NULL, 10);
    size_t n = point ? strlen(point + 1) : 0;
    while (n > 0 && point[n] == '0') n--;
    if (n > 0) memcpy(k.fraction, point + 1, n);
    return k;
}

/* Numbers from lo to hi, both at least 0. */
static const grammar_expr *positive_range(schema_reader *r, bound lo, bound hi) {
    grammar_builder *b = &r->b;
    edge at_lo = {lo.fraction, lo.open}, at_hi = {hi.fraction, hi.open}, none = {NULL, false};
    if (!hi.none && lo.whole == hi.whole) return with_fraction(r, lo.whole, at_lo, at_hi);
    const grammar_expr *x = with_fraction(r, lo.whole, at_lo, none);
    if (!hi.none) x = grammar_alt(b, x, with_fraction(r, hi.whole, none, at_hi));
    uint64_t last = hi.none ? UINT64_MAX : hi.whole - 1;
    if (lo.whole + 1 > last) return x;
    const grammar_expr *between = natural_range(r, lo.whole + 1, last);
    const grammar_expr *any = grammar_seq(b, grammar_text(b, STR(".")), digits(r, 1, FRACTION_MAX));
    return grammar_alt(b, x, grammar_seq(b, between, grammar_repeat(b, any, 0, 1)));
}

typedef struct limits {
    double lo, hi;
    bool lo_open, hi_open;
} limits;

static const grammar_expr *number_range(schema_reader *r, limits l) {
    grammar_builder *b = &r->b;
    const grammar_expr *x = grammar_none(b);
    bound zero = {.none = false};
    if (l.hi > 0 || (l.hi >= 0 && !l.hi_open)) {
        bound lo = l.lo >= 0 ? bound_of(l.lo, l.lo_open) : zero;
        x = positive_range(r, lo, bound_of(l.hi, l.hi_open));
    }
    if (l.lo < 0) {
        bound nearest = l.hi < 0 ? bound_of(-l.hi, l.hi_open) : zero;
        if (l.hi >= 0) nearest.open = true; /* no -0 */
        x = grammar_alt(b, x, negative(r, positive_range(r, nearest, bound_of(-l.lo, l.lo_open))));
    }
    return x;
}

/* ---- the keywords ---- */

static err_code read_limit(schema_reader *r, const value *s, const char *key, bool *found,
                           double *ret) {
    const value *v = value_get(s, str_from(key));
    *found = v != NULL;
    if (!v) return ERR_OK;
    if (v->kind != VALUE_INT && v->kind != VALUE_FLOAT)
        SCHEMA_FAIL(r, INVALID, "%s must be a number", key);
    *ret = v->kind == VALUE_INT ? (double)v->as.integer : v->as.number;
    return ERR_OK;
}

static err_code read_limits(schema_reader *r, const value *s, limits *l) {
    double v = 0;
    bool found;
    *l = (limits){-(double)INFINITY, (double)INFINITY, false, false};
    TRY(read_limit(r, s, "minimum", &found, &v));
    if (found) l->lo = v;
    TRY(read_limit(r, s, "maximum", &found, &v));
    if (found) l->hi = v;
    const value *open = value_get(s, STR("exclusiveMinimum"));
    if (open && open->kind == VALUE_BOOL) { /* draft 4 */
        l->lo_open = open->as.boolean;
    } else {
        TRY(read_limit(r, s, "exclusiveMinimum", &found, &v));
        if (found && v >= l->lo) l->lo = v, l->lo_open = true;
    }
    open = value_get(s, STR("exclusiveMaximum"));
    if (open && open->kind == VALUE_BOOL) {
        l->hi_open = open->as.boolean;
    } else {
        TRY(read_limit(r, s, "exclusiveMaximum", &found, &v));
        if (found && v <= l->hi) l->hi = v, l->hi_open = true;
    }
    /* what is written has at most DIGITS_MAX digits: bounds beyond that say nothing */
    if (l->lo <= -1e15) l->lo = -(double)INFINITY;
    if (l->hi >= 1e15) l->hi = (double)INFINITY;
    if (l->lo >= 1e15 || l->hi <= -1e15)
        SCHEMA_FAIL(r, UNSUPPORTED, "bounds %g and %g: they must be below 1e15", l->lo, l->hi);
    return ERR_OK;
}

/* ---- multiples ---- */

/* Whole numbers, or fractions of `places` digits that a whole number of steps makes. */
static err_code multiples(schema_reader *r, double of, const grammar_expr **ret) {
    grammar_builder *b = &r->b;
    const grammar_expr *sign = grammar_repeat(b, grammar_text(b, STR("-")), 0, 1);
    int places = 0;
    double scale = 1, step = of;
    for (; places < 4 && !(fabs(step - round(step)) < 1e-9); places++) {
        scale *= 10;
        step = of * scale;
    }
    if (!(of > 0)) SCHEMA_FAIL(r, INVALID, "multipleOf must be more than 0");
    if (places == 0) {
        if (of > LIMIT_GRAMMAR_MULTIPLE)
            SCHEMA_FAIL(r, UNSUPPORTED, "multipleOf %g: only up to %d is supported", of,
                        LIMIT_GRAMMAR_MULTIPLE);
        *ret = grammar_seq(b, sign, grammar_multiple(b, (int32_t)of));
        return ERR_OK;
    }
    int32_t n = (int32_t)round(step);
    if (fabs(step - round(step)) > 1e-9 || n < 1 || (int32_t)scale % n != 0)
        SCHEMA_FAIL(r, UNSUPPORTED,
                    "multipleOf %g: only whole numbers and what divides 1 in at most 4 decimal "
                    "places (0.01, 0.25) is supported",
                    of);
    const grammar_expr *some = grammar_none(b);
    for (int32_t k = 0; k < (int32_t)scale; k += n) {
        char text[24];
        int len = snprintf(text, sizeof text, ".%0*d", places, k);
        for (; len > 2 && text[len - 1] == '0'; len--)
            some = grammar_alt(b, some, grammar_text(b, (str){text, (size_t)len}));
        some = grammar_alt(b, some, grammar_text(b, (str){text, (size_t)len}));
    }
    *ret = grammar_seq(b, grammar_seq(b, sign, digits(r, 1, DIGITS_MAX)),
                       grammar_repeat(b, some, 0, 1));
    return ERR_OK;
}

static err_code schema_multiple(schema_reader *r, const value *of, const grammar_expr *x,
                                const grammar_expr **ret) {
    const grammar_expr *y;
    err inside = {0};
    if (of->kind != VALUE_INT && of->kind != VALUE_FLOAT)
        SCHEMA_FAIL(r, INVALID, "multipleOf must be a number");
    double step = of->kind == VALUE_INT ? (double)of->as.integer : of->as.number;
    TRY(multiples(r, step, &y));
    if (grammar_both(&r->b, y, x, false, ret, &inside)) SCHEMA_FAIL(r, LIMIT, "%s", inside.msg);
    if ((*ret)->kind == GRAMMAR_NONE)
        SCHEMA_NOTHING(r, "no multiple of %g lies between the bounds", step);
    return ERR_OK;
}

/* ---- a number ---- */

static err_code within_bounds(schema_reader *r, const value *s, bool integer,
                              const grammar_expr **ret) {
    limits l;
    TRY(read_limits(r, s, &l));
    if (isinf(l.lo) && isinf(l.hi)) {
        *ret = integer ? r->integer : r->number;
        return ERR_OK;
    }
    double lo = l.lo, hi = l.hi;
    if (integer && l.lo_open) lo = floor(lo) + 1;
    if (integer && l.hi_open) hi = ceil(hi) - 1;
    if (integer ? ceil(lo) > floor(hi) : lo > hi || (!(lo < hi) && (l.lo_open || l.hi_open)))
        SCHEMA_NOTHING(r, "no number lies between the bounds %g and %g", l.lo, l.hi);
    *ret = integer ? integer_range(r, lo, hi) : number_range(r, l);
    return ERR_OK;
}

err_code schema_number(schema_reader *r, const value *s, bool integer, const grammar_expr **ret) {
    const value *multiple = value_get(s, STR("multipleOf"));
    TRY(within_bounds(r, s, integer, ret));
    if (multiple) TRY(schema_multiple(r, multiple, *ret, ret));
    return ERR_OK;
}
