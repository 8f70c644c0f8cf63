/* Strings: length, pattern, format; all that is said must hold. The formats are regular expressions
 * of our own, after RFC 3339 (dates and times), RFC 4122 (uuid), RFC 5321 (email, the common form),
 * RFC 1123 (host names), RFC 3986 (uri, the common form), RFC 6570 (templates) and RFC 6901
 * (pointers). Where the form has an end they do, so that a small model cannot go on for ever. */
#include "base/limits.h"
#include "llm/grammar/schema.h"

#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4 OCTET "(\\." OCTET "){3}"
#define HEX "[0-9a-fA-F]"
#define H16 HEX "{1,4}"
#define IPV6                                                                                       \
    "((" H16 ":){7}" H16 "|::(" H16 "(:" H16 "){0,5})?|" H16 "(:" H16 "){0,2}::(" H16 "(:" H16     \
    "){0,2})?)"
/* No year 0, which Python and SQL do not have; the 29th of February in leap years. */
#define YEAR "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
#define LEAP "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
#define DATE                                                                                       \
    "(" YEAR "-(02-(0[1-9]|1[0-9]|2[0-8])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"                      \
    "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01]))|" LEAP "-02-29)"
#define CLOCK "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?"
#define ZONE "(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
#define N "[0-9]{1,6}" /* more is more than dates reach */
#define DURATION "P(" N "W|(" N "Y(" N "M(" N "D)?)?|" N "M(" N "D)?|" N "D)(" SPAN ")?|" SPAN ")"
#define SPAN "T(" N "H(" N "M(" N "S)?)?|" N "M(" N "S)?|" N "S)"
#define LABEL "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
#define HOST LABEL "(\\." LABEL "){0,3}"
#define ATOM "[a-zA-Z0-9_+-]{1,20}" /* 64 characters before the @ at most */
#define EMAIL ATOM "(\\." ATOM "){0,2}@" LABEL "(\\." LABEL "){1,3}"
#define URI                                                                                        \
    "[a-z][a-z0-9+.-]{0,15}://[a-zA-Z0-9.-]{1,253}(:[0-9]{1,4})?"                                  \
    "(/[a-zA-Z0-9._~!$&'()*+,;=:@/-]{0,255})?(\\?[a-zA-Z0-9._~!$&'()*+,;=:@/?-]{0,255})?"          \
    "(#[a-zA-Z0-9._~!$&'()*+,;=:@/?-]{0,127})?"
#define REFERENCE "/?[a-zA-Z0-9._~-]+(/[a-zA-Z0-9._~-]+)*/?(#[a-zA-Z0-9._~-]*)?"

static const struct {
    const char *name, *pattern;
} FORMATS[] = {
    {"date", DATE},
    {"time", CLOCK ZONE},
    {"date-time", DATE "T" CLOCK ZONE},
    {"duration", DURATION},
    {"uuid", HEX "{8}(-" HEX "{4}){3}-" HEX "{12}"},
    {"email", EMAIL},
    {"idn-email", EMAIL},
    {"hostname", HOST},
    {"idn-hostname", HOST},
    {"ipv4", IPV4},
    {"ipv6", IPV6},
    {"ipvanyaddress", IPV4 "|" IPV6},
    {"uri", URI},
    {"url", URI},
    {"iri", URI},
    {"uri-reference", REFERENCE},
    {"iri-reference", REFERENCE},
    {"uri-template", "([a-zA-Z0-9._~:/-]|\\{[a-zA-Z0-9_]+\\})*"},
    {"json-pointer", "(/([^~/]|~[01])*)*"},
    {"relative-json-pointer", "(0|[1-9][0-9]{0,3})(#|(/([^~/]|~[01])*)*)"},
    {"regex", "[a-zA-Z0-9 _-]*"},
    {"byte", "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},
    {"base64", "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},
    {"base64url", "[A-Za-z0-9_-]*"},
};

enum { SHORTER = 512 }; /* than a maxLength beside a pattern */

/* What must hold for the text between the quotes; NULL so far = anything. */
typedef struct demands {
    const grammar_expr *x;
} demands;

/* A character in its only spelling. */
static const grammar_expr *plain_char(schema_reader *r) {
    grammar_range any = {0, 0x10FFFF};
    r->b.in_json = !r->plain;
    const grammar_expr *one = grammar_chars(&r->b, (grammar_set){&any, 1});
    r->b.in_json = false;
    return one;
}

static err_code demand(schema_reader *r, demands *d, const grammar_expr *x, bool not ) {
    err inside = {0};
    if (!d->x && not ) d->x = schema_string_chars(r);
    if (!d->x) {
        d->x = x;
        return ERR_OK;
    }
    if (grammar_both(&r->b, d->x, x, not, &d->x, &inside)) SCHEMA_FAIL(r, LIMIT, "%s", inside.msg);
    if (d->x->kind == GRAMMAR_NONE)
        SCHEMA_NOTHING(r, "nothing can be valid here: no string fits all that is asked");
    return ERR_OK;
}

err_code schema_regex(schema_reader *r, str pattern, bool search, const grammar_expr **ret) {
    err inside = {0};
    r->b.in_json = !r->plain;
    err_code code = grammar_parse_regex(&r->b, pattern, search, ret, &inside);
    r->b.in_json = false;
    if (code) SCHEMA_FAIL(r, UNSUPPORTED, "%s", inside.msg);
    return ERR_OK;
}

/* A pattern or a list of them (schemas that were merged). */
static err_code demand_patterns(schema_reader *r, demands *d, const value *v) {
    const grammar_expr *x;
    if (v->kind == VALUE_STR) {
        TRY(schema_regex(r, v->as.text, true, &x));
        return demand(r, d, x, false);
    }
    if (v->kind != VALUE_LIST) SCHEMA_FAIL(r, INVALID, "pattern must be a string");
    for (size_t i = 0; i < v->as.list.len; i++) TRY(demand_patterns(r, d, v->as.list.items[i]));
    return ERR_OK;
}

static const char *format_pattern(str name) {
    for (size_t i = 0; i < COUNT_OF(FORMATS); i++)
        if (str_eq(name, str_from(FORMATS[i].name))) return FORMATS[i].pattern;
    return NULL;
}

/* Formats that we do not know say nothing, as for any validator. Where both together are too much
 * the pattern says it alone: programs that write both (zod) say the format's form in it. */
static err_code demand_format(schema_reader *r, demands *d, const value *v) {
    const grammar_expr *x;
    if (v->kind != VALUE_STR) SCHEMA_FAIL(r, INVALID, "format must be a string");
    const char *pattern = format_pattern(v->as.text);
    if (!pattern) return ERR_OK;
    TRY(schema_regex(r, str_from(pattern), false, &x));
    demands both = *d;
    err ignored = {0}, *e = r->e;
    if (!d->x) return demand(r, d, x, false);
    r->e = &ignored;
    err_code code = demand(r, &both, x, false);
    r->e = e;
    if (code == ERR_LIMIT) return ERR_OK;
    if (code == ERR_OK) *d = both;
    return code ? demand(r, d, x, false) : ERR_OK;
}

static err_code demand_length(schema_reader *r, demands *d, const value *s) {
    int32_t min, max;
    TRY(schema_count(r, s, "minLength", 0, &min));
    TRY(schema_count(r, s, "maxLength", -1, &max));
    if (max >= 0 && max < min)
        SCHEMA_NOTHING(r, "minLength %d is more than maxLength %d", min, max);
    if (min == 0 && max < 0) return ERR_OK;
    if (!d->x) return demand(r, d, grammar_repeat(&r->b, r->string, min, max), false);
    const grammar_expr *one = plain_char(r);
    if (max > SHORTER && min < SHORTER / 2) { /* shorter is valid too, and much smaller */
        demands shorter = *d;
        err ignored = {0}, *e = r->e;
        r->e = &ignored;
        err_code code = demand(r, &shorter, grammar_repeat(&r->b, one, min, SHORTER), false);
        r->e = e;
        if (code == ERR_OK) {
            *d = shorter;
            return ERR_OK;
        }
    }
    return demand(r, d, grammar_repeat(&r->b, one, min, max), false);
}

/* Values and patterns that negations shut out. Then a string has one spelling only. */
static err_code shut_out(schema_reader *r, demands *d, const value *s) {
    const value *values = value_get(s, str_from(SCHEMA_NOT_ENUM));
    const value *patterns = value_get(s, str_from(SCHEMA_NOT_PATTERN));
    const grammar_expr *x, *taken = grammar_none(&r->b);
    for (size_t i = 0; values && i < values->as.list.len; i++)
        if (values->as.list.items[i]->kind == VALUE_STR)
            taken = grammar_alt(&r->b, taken, schema_literal_chars(r, values->as.list.items[i]));
    for (size_t i = 0; patterns && patterns->kind == VALUE_LIST && i < patterns->as.list.len; i++) {
        TRY(schema_regex(r, patterns->as.list.items[i]->as.text, true, &x));
        taken = grammar_alt(&r->b, taken, x);
    }
    if (patterns && patterns->kind == VALUE_STR) {
        TRY(schema_regex(r, patterns->as.text, true, &x));
        taken = grammar_alt(&r->b, taken, x);
    }
    if (taken->kind == GRAMMAR_NONE) return ERR_OK;
    if (!d->x) d->x = grammar_repeat(&r->b, plain_char(r), 0, -1);
    return demand(r, d, taken, true);
}

/* Of all that is said of a string; d->x stays NULL when that is nothing. */
static err_code demand_all(schema_reader *r, demands *d, const value *s) {
    const value *pattern = value_get(s, STR("pattern")), *format = value_get(s, STR("format"));
    if (pattern) TRY(demand_patterns(r, d, pattern));
    if (format) TRY(demand_format(r, d, format));
    TRY(shut_out(r, d, s));
    return demand_length(r, d, s);
}

err_code schema_string(schema_reader *r, const value *s, const grammar_expr **ret) {
    demands d = {NULL};
    TRY(demand_all(r, &d, s));
    *ret = schema_quoted(r, d.x ? d.x : schema_string_chars(r));
    return ERR_OK;
}

err_code schema_text(schema_reader *r, const value *s, const grammar_expr **ret) {
    demands d = {NULL};
    const grammar_expr *in_json = r->string;
    r->plain = true;
    r->string = plain_char(r);
    err_code code = demand_all(r, &d, s);
    r->string = in_json;
    r->plain = false;
    *ret = d.x;
    return code;
}
