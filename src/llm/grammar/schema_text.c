/* Strings: length, pattern, format. The formats are regular expressions of our own, after RFC 3339
 * (dates and times), RFC 4122 (uuid), RFC 5321 (email, the common form), RFC 1123 (host names) and
 * RFC 3986 (uri, the common form). */
#include "llm/grammar/schema.h"

#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define H16 "[0-9a-fA-F]{1,4}"
#define DATE                                                                                       \
    "[0-9]{4}-(02-(0[1-9]|1[0-9]|2[0-8])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"                       \
    "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01]))"
#define CLOCK "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?"
#define ZONE "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define LABEL "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"

static const struct {
    const char *name, *pattern;
} FORMATS[] = {
    {"date", DATE},
    {"time", CLOCK ZONE},
    {"date-time", DATE "T" CLOCK ZONE},
    {"duration", "P([0-9]+Y)?([0-9]+M)?([0-9]+D|T[0-9]+[HMS])"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"email", "[a-zA-Z0-9_+-]+(\\.[a-zA-Z0-9_+-]+)*@" LABEL "(\\." LABEL ")+"},
    {"hostname", LABEL "(\\." LABEL ")*"},
    {"ipv4", OCTET "(\\." OCTET "){3}"},
    {"ipv6", "(" H16 ":){7}" H16 "|::(" H16 "(:" H16 "){0,5})?|" H16 "(:" H16 "){0,2}::(" H16
             "(:" H16 "){0,2})?"},
    {"uri", "[a-z][a-z0-9+.-]*://[a-zA-Z0-9.:-]+(/[a-zA-Z0-9._~!$&'()*+,;=:@%/-]*)?"
            "(\\?[a-zA-Z0-9._~!$&'()*+,;=:@%/?-]*)?(#[a-zA-Z0-9._~!$&'()*+,;=:@%/?-]*)?"},
    {"uri-reference", "[a-zA-Z0-9._~!$&'()*+,;=:@%/?#-]*"},
    {"byte", "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},
};

/* Formats that say nothing about the characters. */
static const char *const FREE[] = {"password", "binary", "text", "regex", "markdown", "html"};

static err_code with_pattern(schema_reader *r, str pattern, bool search, const grammar_expr **ret) {
    const grammar_expr *inner;
    err inside = {0};
    r->b.in_json = true;
    err_code code = grammar_parse_regex(&r->b, pattern, search, &inner, &inside);
    r->b.in_json = false;
    if (code) {
        SCHEMA_FAIL(r, UNSUPPORTED, "%s", inside.msg);
    }
    *ret = schema_quoted(r, inner);
    return ERR_OK;
}

static err_code with_format(schema_reader *r, str name, const grammar_expr **ret) {
    for (size_t i = 0; i < COUNT_OF(FORMATS); i++)
        if (str_eq(name, str_from(FORMATS[i].name)))
            return with_pattern(r, str_from(FORMATS[i].pattern), false, ret);
    for (size_t i = 0; i < COUNT_OF(FREE); i++)
        if (str_eq(name, str_from(FREE[i]))) {
            *ret = schema_quoted(r, schema_string_chars(r));
            return ERR_OK;
        }
    SCHEMA_FAIL(r, UNSUPPORTED,
                "the format \"" STR_FMT "\" is not supported; leave it out or use pattern",
                STR_ARG(name));
}

err_code schema_string(schema_reader *r, const value *s, const grammar_expr **ret) {
    const value *pattern = value_get(s, STR("pattern")), *format = value_get(s, STR("format"));
    int32_t min, max;
    TRY(schema_count(r, s, "minLength", 0, &min));
    TRY(schema_count(r, s, "maxLength", -1, &max));
    if (max >= 0 && max < min)
        SCHEMA_FAIL(r, INVALID, "minLength %d is more than maxLength %d", min, max);
    if (pattern && pattern->kind != VALUE_STR) SCHEMA_FAIL(r, INVALID, "pattern must be a string");
    if (format && format->kind != VALUE_STR) SCHEMA_FAIL(r, INVALID, "format must be a string");
    if (pattern && (min > 0 || max >= 0))
        SCHEMA_FAIL(r, UNSUPPORTED,
                    "pattern together with minLength or maxLength is not supported; say the "
                    "length in the pattern");
    if (format && (pattern || min > 0 || max >= 0))
        SCHEMA_FAIL(r, UNSUPPORTED,
                    "format together with pattern, minLength or maxLength is not supported; leave "
                    "one of them out");
    if (pattern) return with_pattern(r, pattern->as.text, true, ret);
    if (format) return with_format(r, format->as.text, ret);
    *ret = schema_quoted(r, grammar_repeat(&r->b, r->string, min, max));
    return ERR_OK;
}
