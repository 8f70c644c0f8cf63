/* Text: searching and replacing by patterns. They are PCRE2's, read as Python's re reads them where
 * the two differ in what people write; what Python does not know (\p{L}, \R) works too. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/limits.h"
#include "flow/call.h"
#include "flow/nodes/table.h"
#include <pcre2.h>
#include <string.h>

enum {
    MATCH_STEPS = 1000000, /* backtracking of one match */
    NAME_BYTES = 64
};

typedef struct pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *ctx;
    str text;    /* searched */
    bool broken; /* the pattern is none; `why` says so */
    err why;
} pattern;

static void pattern_finish(pattern *p) {
    pcre2_match_context_free(p->ctx);
    pcre2_match_data_free(p->data);
    pcre2_code_free(p->code);
    *p = (pattern){0};
}

static err_code optional_bool(flow_call *c, const char *name, bool *ret, err *e) {
    return flow_in(c, name) ? flow_in_bool(c, name, ret, e) : ERR_OK;
}

static size_t n_digits(str s, size_t at, bool hex) {
    const char *set = hex ? "0123456789abcdefABCDEF" : "0123456789";
    size_t n = 0;
    while (at + n < s.len && s.ptr[at + n] && strchr(set, s.ptr[at + n])) n++;
    return n;
}

/* \u0041 and \U00000041 are characters, {,3} begins at 0: copies the pattern as PCRE2 has that. */
static void put_pattern(buf *out, str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i], next = i + 1 < s.len ? s.ptr[i + 1] : 0;
        size_t n = next == 'u' ? 4 : 8;
        if (c == '\\' && (next == 'u' || next == 'U') && n_digits(s, i + 2, true) >= n) {
            buf_putf(out, "\\x{" STR_FMT "}", STR_ARG(str_sub(s, i + 2, i + 2 + n)));
            i += 1 + n;
        } else if (c == '\\' && next) {
            buf_put(out, s.ptr + i++, 2);
        } else if (c == '{' && next == ',' && n_digits(s, i + 2, false)) {
            buf_put_str(out, STR("{0"));
        } else {
            buf_put_char(out, c);
        }
    }
}

/* A pattern that is none is kept as such: what that means is the node's. */
static err_code pattern_init(flow_call *c, pattern *p, err *e) {
    str source;
    bool any_case = true, lines = false, dotall = false;
    int error;
    PCRE2_SIZE at;
    *p = (pattern){0};
    TRY(flow_in_text(c, "string", &p->text, e));
    TRY(flow_in_text(c, "regex_pattern", &source, e));
    TRY(optional_bool(c, "case_insensitive", &any_case, e));
    TRY(optional_bool(c, "multiline", &lines, e));
    TRY(optional_bool(c, "dotall", &dotall, e));
    uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
    if (any_case) flags |= PCRE2_CASELESS;
    if (lines) flags |= PCRE2_MULTILINE;
    if (dotall) flags |= PCRE2_DOTALL;
    buf text = {0};
    put_pattern(&text, source);
    p->code =
        pcre2_compile((PCRE2_SPTR)(text.len ? text.ptr : ""), text.len, flags, &error, &at, NULL);
    buf_finish(&text);
    if (!p->code) {
        PCRE2_UCHAR why[256];
        pcre2_get_error_message(error, why, sizeof why);
        p->broken = true;
        err_set(&p->why, ERR_INVALID, "regex_pattern: %s at %zu", (char *)why, (size_t)at);
        return ERR_OK;
    }
    p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
    p->ctx = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(p->ctx, MATCH_STEPS);
    if (p->text.len == 0) p->text = STR("");
    return ERR_OK;
}

/* The next match from *pos; *pos moves behind it. */
static err_code pattern_next(pattern *p, size_t *pos, bool *ret_found, err *e) {
    *ret_found = false;
    if (*pos > p->text.len) return ERR_OK;
    int n = pcre2_match(p->code, (PCRE2_SPTR)p->text.ptr, p->text.len, *pos, 0, p->data, p->ctx);
    if (n == PCRE2_ERROR_NOMATCH) return ERR_OK;
    if (n < 0) FAIL(e, LIMIT, "regex_pattern: the search was given up (%d)", n);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
    *ret_found = true;
    size_t next = at[1];
    if (at[1] <= at[0]) { /* empty: one character on, or over the end */
        next = at[0];
        if (next < p->text.len)
            str_utf8_next(p->text, &next);
        else
            next++;
    }
    *pos = next;
    return ERR_OK;
}

static str group(const pattern *p, uint32_t i) {
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
    if (i >= pcre2_get_ovector_count(p->data) || at[2 * i] == PCRE2_UNSET) return STR("");
    return str_sub(p->text, at[2 * i], at[2 * i + 1]);
}

static err_code regex_match(flow_call *c, err *e) {
    pattern p;
    bool found = false;
    size_t pos = 0;
    err_code code = pattern_init(c, &p, e);
    if (code == ERR_OK && !p.broken) code = pattern_next(&p, &pos, &found, e);
    if (code == ERR_OK) flow_out(c, 0, flow_value_bool(found));
    pattern_finish(&p);
    return code;
}

/* The end of a run that made a text. */
static err_code give(flow_call *c, pattern *p, err_code code, buf *out, err *e) {
    pattern_finish(p);
    if (code == ERR_OK) return flow_out_text(c, 0, out, e);
    buf_finish(out);
    return code;
}

/* Modes as the node has them; what was found is joined by lines. Of all matches the first group
 * counts where the pattern has groups, as Python's findall has it. */
static err_code extract(pattern *p, str mode, int64_t i, buf *out, err *e) {
    bool all = str_starts(mode, STR("All")), groups = str_ends(mode, STR("Groups")), found = true;
    bool one_group = groups || str_ends(mode, STR("Group"));
    uint32_t n_groups = pcre2_get_ovector_count(p->data);
    uint32_t whole = all && n_groups > 1 ? 1 : 0;
    for (size_t pos = 0, n = 0; found && (all || n == 0) && out->len <= LIMIT_FLOW_TEXT_BYTES;
         n++) {
        TRY(pattern_next(p, &pos, &found, e));
        if (!found || (one_group && i >= (int64_t)n_groups)) break;
        if (n) buf_put_char(out, '\n');
        buf_put_str(out, group(p, one_group ? (uint32_t)i : whole));
    }
    return ERR_OK;
}

static err_code regex_extract(flow_call *c, err *e) {
    pattern p;
    buf out = {0};
    str mode;
    int64_t i = 1;
    TRY(flow_in_text(c, "mode", &mode, e));
    TRY(flow_in_int(c, "group_index", &i, e));
    err_code code = pattern_init(c, &p, e);
    if (code == ERR_OK && !p.broken) code = extract(&p, mode, i, &out, e);
    return give(c, &p, code, &out, e);
}

/* ---- what is put in place ---- */

/* The group of a name or number; LIMIT of groups as Python: an unknown one is an error. */
static err_code group_number(const pattern *p, str name, uint32_t *ret, err *e) {
    char text[NAME_BYTES];
    int64_t n = -1;
    if (name.len > 0 && name.len < sizeof text) {
        memcpy(text, name.ptr, name.len);
        text[name.len] = '\0';
        if (n_digits(name, 0, false) == name.len)
            (void)str_to_i64(name, &n);
        else
            n = pcre2_substring_number_from_name(p->code, (PCRE2_SPTR)text);
    }
    if (n < 0 || n >= pcre2_get_ovector_count(p->data))
        FAIL(e, INVALID, "replace: there is no group \"" STR_FMT "\"", STR_ARG(name));
    *ret = (uint32_t)n;
    return ERR_OK;
}

/* An octal number after a backslash: three digits, or what begins with 0; its length, else 0. */
static size_t octal(str s, size_t at, unsigned *ret) {
    size_t n = 0;
    *ret = 0;
    for (; n < 3 && at + n < s.len && s.ptr[at + n] >= '0' && s.ptr[at + n] <= '7'; n++)
        *ret = *ret * 8 + (unsigned)(s.ptr[at + n] - '0');
    return n == 3 || (n > 0 && s.ptr[at] == '0') ? n : 0;
}

/* What stands behind the backslash before s[*at]; *at moves behind it. */
static err_code put_escape(buf *out, str s, size_t *at, const pattern *p, err *e) {
    static const char NAMES[] = "abfnrtv\\", VALUES[] = "\a\b\f\n\r\t\v\\";
    char c = *at < s.len ? s.ptr[*at] : 0;
    const char *known = c ? strchr(NAMES, c) : NULL;
    unsigned code;
    uint32_t n = 0;
    size_t len = octal(s, *at, &code);
    if (known) {
        buf_put_char(out, VALUES[known - NAMES]);
        ++*at;
    } else if (len) {
        buf_put_utf8(out, code & 0xff);
        *at += len;
    } else if (c >= '1' && c <= '9') {
        len = n_digits(s, *at, false) > 1 ? 2 : 1;
        TRY(group_number(p, str_sub(s, *at, *at + len), &n, e));
        buf_put_str(out, group(p, n));
        *at += len;
    } else if (c == 'g' && *at + 1 < s.len && s.ptr[*at + 1] == '<') {
        str rest = str_sub(s, *at + 2, s.len);
        ptrdiff_t end = str_find(rest, STR(">"));
        if (end < 0) FAIL(e, INVALID, "replace: a group's name has no end");
        TRY(group_number(p, str_sub(rest, 0, (size_t)end), &n, e));
        buf_put_str(out, group(p, n));
        *at += 3 + (size_t)end;
    } else if (!c || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        FAIL(e, INVALID, "replace: a backslash before \"%c\" has no meaning", c ? c : ' ');
    } else {
        buf_put_char(out, '\\');
    }
    return ERR_OK;
}

static err_code put_replacement(buf *out, str with, const pattern *p, err *e) {
    for (size_t i = 0; i < with.len;) {
        char c = with.ptr[i++];
        if (c != '\\')
            buf_put_char(out, c);
        else
            TRY(put_escape(out, with, &i, p, e));
    }
    return ERR_OK;
}

static err_code replace_all(pattern *p, str with, int64_t most, buf *out, err *e) {
    size_t pos = 0, done = 0;
    bool found = true;
    for (int64_t n = 0; (most <= 0 || n < most) && out->len <= LIMIT_FLOW_TEXT_BYTES; n++) {
        TRY(pattern_next(p, &pos, &found, e));
        if (!found) break;
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
        buf_put_str(out, str_sub(p->text, done, at[0]));
        TRY(put_replacement(out, with, p, e));
        done = at[1];
    }
    buf_put_str(out, str_sub(p->text, done, p->text.len));
    return ERR_OK;
}

static err_code regex_replace(flow_call *c, err *e) {
    pattern p;
    buf out = {0};
    str with;
    int64_t most = 0;
    TRY(flow_in_text(c, "replace", &with, e));
    if (flow_in(c, "count")) TRY(flow_in_int(c, "count", &most, e));
    err_code code = pattern_init(c, &p, e);
    if (code == ERR_OK && p.broken) code = err_set(e, ERR_INVALID, "%s", p.why.msg);
    if (code == ERR_OK) code = replace_all(&p, with, most, &out, e);
    return give(c, &p, code, &out, e);
}

const flow_def flow_nodes_regex[] = {
    {NODE("RegexMatch", "Regex Match", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE), TEXT("regex_pattern", NULL, FLOW_MULTILINE),
            BOOL("case_insensitive", true, 0), BOOL("multiline", false, 0),
            BOOL("dotall", false, 0)),
     OUTPUTS({"BOOLEAN", "matches", false}), .run = regex_match},
    {NODE("RegexExtract", "Regex Extract", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE), TEXT("regex_pattern", NULL, FLOW_MULTILINE),
            COMBO("mode", CHOICES("First Match", "All Matches", "First Group", "All Groups"), NULL,
                  FLOW_PLAIN_COMBO),
            BOOL("case_insensitive", true, 0), BOOL("multiline", false, 0),
            BOOL("dotall", false, 0), INT("group_index", 1, 0, 100, 0, 0)),
     OUTPUTS({"STRING", NULL, false}), .run = regex_extract},
    {NODE("RegexReplace", "Regex Replace", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE), TEXT("regex_pattern", NULL, FLOW_MULTILINE),
            TEXT("replace", NULL, FLOW_MULTILINE), BOOL("case_insensitive", true, FLOW_OPTIONAL),
            BOOL("multiline", false, FLOW_OPTIONAL), BOOL("dotall", false, FLOW_OPTIONAL),
            INT("count", 0, 0, 100, 0, FLOW_OPTIONAL)),
     OUTPUTS({"STRING", NULL, false}), .run = regex_replace},
    {.name = NULL}};
