/* Text: joining, cutting, comparing and searching strings. Places and lengths count characters
 * (code points), as Python counts them; patterns are PCRE2's, close to Python's re. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/buf.h"
#include "flow/call.h"
#include "flow/nodes/table.h"
#include <pcre2.h>
#include <string.h>
#include <utf8proc.h>

enum {
    MAX_TEXT_BYTES = 64 << 20, /* of one result */
    MATCH_STEPS = 1000000,     /* backtracking of one match */
};

static err_code give_buf(flow_call *c, buf *b, err *e) {
    size_t n = b->len;
    if (n <= MAX_TEXT_BYTES) flow_out(c, 0, flow_value_text(buf_str(b)));
    buf_finish(b);
    if (n > MAX_TEXT_BYTES)
        FAIL(e, LIMIT, "a text of %zu bytes; at most %d are possible", n, MAX_TEXT_BYTES);
    return ERR_OK;
}

static err_code give_bool(flow_call *c, bool v) {
    flow_out(c, 0, flow_value_bool(v));
    return ERR_OK;
}

static size_t n_chars(str s) {
    size_t n = 0;
    for (size_t pos = 0; pos < s.len; n++) str_utf8_next(s, &pos);
    return n;
}

/* Byte offset of the i-th character. */
static size_t offset_of(str s, size_t i) {
    size_t pos = 0;
    while (i-- > 0 && pos < s.len) str_utf8_next(s, &pos);
    return pos;
}

static err_code concatenate(flow_call *c, err *e) {
    str a, b, delimiter;
    buf out = {0};
    TRY(flow_in_text(c, "string_a", &a, e));
    TRY(flow_in_text(c, "string_b", &b, e));
    TRY(flow_in_text(c, "delimiter", &delimiter, e));
    buf_put_str(&out, a);
    buf_put_str(&out, delimiter);
    buf_put_str(&out, b);
    return give_buf(c, &out, e);
}

/* Python's slice: negative places count from the end. */
static size_t place(int64_t at, size_t n) {
    if (at < 0) return at < -(int64_t)n ? 0 : (size_t)((int64_t)n + at);
    return (uint64_t)at > n ? n : (size_t)at;
}

static err_code substring(flow_call *c, err *e) {
    str s;
    int64_t start = 0, end = 0;
    TRY(flow_in_text(c, "string", &s, e));
    TRY(flow_in_int(c, "start", &start, e));
    TRY(flow_in_int(c, "end", &end, e));
    size_t n = n_chars(s), from = place(start, n), to = place(end, n);
    str cut = from < to ? str_sub(s, offset_of(s, from), offset_of(s, to)) : STR("");
    flow_out(c, 0, flow_value_text(cut));
    return ERR_OK;
}

static err_code length(flow_call *c, err *e) {
    str s;
    TRY(flow_in_text(c, "string", &s, e));
    flow_out(c, 0, flow_value_int((int64_t)n_chars(s)));
    return ERR_OK;
}

typedef enum letter_case { CASE_UPPER, CASE_LOWER, CASE_CAPITALIZE, CASE_TITLE } letter_case;

static void put_case(buf *out, str s, letter_case how) {
    bool first = true; /* of the text, of a word */
    for (size_t pos = 0; pos < s.len;) {
        utf8proc_int32_t c = (utf8proc_int32_t)str_utf8_next(s, &pos);
        utf8proc_int32_t lower = utf8proc_tolower(c), upper = utf8proc_toupper(c);
        bool up = how == CASE_UPPER || (how != CASE_LOWER && first);
        bool title = up && how != CASE_UPPER;
        if (up && c == 0xdf) {
            buf_put_str(out, title ? STR("Ss") : STR("SS"));
        } else {
            buf_put_utf8(out, (uint32_t)(title ? utf8proc_totitle(c) : up ? upper : lower));
        }
        if (how == CASE_CAPITALIZE) first = false;
        if (how == CASE_TITLE) first = lower == upper && lower == c;
    }
}

static err_code convert_case(flow_call *c, err *e) {
    static const char *const names[] = {"UPPERCASE", "lowercase", "Capitalize", "Title Case"};
    str s, mode;
    buf out = {0};
    TRY(flow_in_text(c, "string", &s, e));
    TRY(flow_in_text(c, "mode", &mode, e));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(mode, str_from(names[i]))) put_case(&out, s, (letter_case)i);
    return give_buf(c, &out, e);
}

/* What Python's str.strip() takes away. */
static bool is_space(uint32_t c) {
    if (c < 128) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == 0x85 || k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL ||
           k == UTF8PROC_CATEGORY_ZP;
}

static err_code trim(flow_call *c, err *e) {
    str s, mode;
    TRY(flow_in_text(c, "string", &s, e));
    TRY(flow_in_text(c, "mode", &mode, e));
    bool left = !str_eq(mode, STR("Right")), right = !str_eq(mode, STR("Left"));
    size_t from = 0, to = s.len, last = 0;
    bool begun = false;
    for (size_t pos = 0; pos < s.len;) {
        size_t at = pos;
        if (is_space(str_utf8_next(s, &pos))) continue;
        if (!begun) from = at;
        begun = true;
        last = pos;
    }
    if (!begun) from = left ? s.len : 0;
    if (!left) from = 0;
    if (right) to = begun ? last : 0;
    flow_out(c, 0, flow_value_text(from < to ? str_sub(s, from, to) : STR("")));
    return ERR_OK;
}

static err_code replace(flow_call *c, err *e) {
    str s, find, with;
    buf out = {0};
    TRY(flow_in_text(c, "string", &s, e));
    TRY(flow_in_text(c, "find", &find, e));
    TRY(flow_in_text(c, "replace", &with, e));
    for (size_t pos = 0; find.len == 0 && out.len <= MAX_TEXT_BYTES;) { /* between all letters */
        buf_put_str(&out, with);
        if (pos >= s.len) return give_buf(c, &out, e);
        size_t from = pos;
        str_utf8_next(s, &pos);
        buf_put(&out, s.ptr + from, pos - from);
    }
    ptrdiff_t at;
    while (find.len && (at = str_find(s, find)) >= 0 && out.len <= MAX_TEXT_BYTES) {
        buf_put(&out, s.ptr, (size_t)at);
        buf_put_str(&out, with);
        s = str_sub(s, (size_t)at + find.len, s.len);
    }
    buf_put_str(&out, s);
    return give_buf(c, &out, e);
}

/* A text in lower case unless case counts; the result is mem_alloc'ed in *b. */
static err_code read_folded(flow_call *c, const char *name, bool exact, buf *b, err *e) {
    str s;
    TRY(flow_in_text(c, name, &s, e));
    if (exact)
        buf_put_str(b, s);
    else
        put_case(b, s, CASE_LOWER);
    return ERR_OK;
}

static err_code compare_two(flow_call *c, const char *first, const char *second, buf *a, buf *b,
                            err *e) {
    bool exact = true;
    TRY(flow_in_bool(c, "case_sensitive", &exact, e));
    TRY(read_folded(c, first, exact, a, e));
    return read_folded(c, second, exact, b, e);
}

static err_code contains(flow_call *c, err *e) {
    buf a = {0}, b = {0};
    err_code code = compare_two(c, "string", "substring", &a, &b, e);
    if (code == ERR_OK) give_bool(c, b.len == 0 || str_find(buf_str(&a), buf_str(&b)) >= 0);
    buf_finish(&a);
    buf_finish(&b);
    return code;
}

static err_code compare(flow_call *c, err *e) {
    buf a = {0}, b = {0};
    str mode;
    TRY(flow_in_text(c, "mode", &mode, e));
    err_code code = compare_two(c, "string_a", "string_b", &a, &b, e);
    str x = buf_str(&a), y = buf_str(&b);
    if (code == ERR_OK)
        give_bool(c, str_eq(mode, STR("Equal"))         ? str_eq(x, y)
                     : str_eq(mode, STR("Starts With")) ? str_starts(x, y)
                                                        : str_ends(x, y));
    buf_finish(&a);
    buf_finish(&b);
    return code;
}

/* ---- patterns ---- */

typedef struct pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *ctx;
    str text; /* searched */
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
    p->code = pcre2_compile((PCRE2_SPTR)(source.len ? source.ptr : ""), source.len, flags, &error,
                            &at, NULL);
    if (!p->code) {
        PCRE2_UCHAR why[256];
        pcre2_get_error_message(error, why, sizeof why);
        FAIL(e, INVALID, "regex_pattern: %s at %zu", (char *)why, (size_t)at);
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
    bool found;
    size_t pos = 0;
    err_code code = pattern_init(c, &p, e);
    if (code == ERR_OK) code = pattern_next(&p, &pos, &found, e);
    if (code == ERR_OK) give_bool(c, found);
    pattern_finish(&p);
    return code;
}

/* Modes as the node has them; groups are joined by lines. */
static err_code extract(pattern *p, str mode, int64_t i, buf *out, err *e) {
    bool all = str_starts(mode, STR("All")), groups = str_ends(mode, STR("Groups")), found = true;
    bool one_group = groups || str_ends(mode, STR("Group"));
    uint32_t n_groups = pcre2_get_ovector_count(p->data);
    for (size_t pos = 0, n = 0; found && (all || n == 0) && out->len <= MAX_TEXT_BYTES; n++) {
        TRY(pattern_next(p, &pos, &found, e));
        if (!found || (one_group && i >= (int64_t)n_groups)) break;
        if (n) buf_put_char(out, '\n');
        buf_put_str(out, group(p, one_group ? (uint32_t)i : 0));
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
    if (code == ERR_OK) code = extract(&p, mode, i, &out, e);
    pattern_finish(&p);
    if (code == ERR_OK) return give_buf(c, &out, e);
    buf_finish(&out);
    return code;
}

/* \1 and \g<1> are groups, \n a line, as in Python. */
static void put_replacement(buf *out, str with, const pattern *p) {
    for (size_t i = 0; i < with.len; i++) {
        char c = with.ptr[i], next = i + 1 < with.len ? with.ptr[i + 1] : 0;
        if (c != '\\' || !next) {
            buf_put_char(out, c);
            continue;
        }
        i++;
        uint32_t n = 0;
        if (next >= '0' && next <= '9') {
            n = (uint32_t)(next - '0');
            char more = i + 1 < with.len ? with.ptr[i + 1] : 0;
            if (more >= '0' && more <= '9') {
                n = n * 10 + (uint32_t)(more - '0');
                i++;
            }
            buf_put_str(out, group(p, n));
        } else if (next == 'g' && i + 1 < with.len && with.ptr[i + 1] == '<') {
            size_t k = i + 2;
            while (k < with.len && with.ptr[k] >= '0' && with.ptr[k] <= '9' && n < 1000)
                n = n * 10 + (uint32_t)(with.ptr[k++] - '0');
            if (k < with.len && with.ptr[k] == '>') {
                buf_put_str(out, group(p, n));
                i = k;
            } else {
                buf_put_str(out, STR("\\g"));
            }
        } else {
            buf_put_char(out, next == 'n' ? '\n' : next == 't' ? '\t' : next);
        }
    }
}

static err_code replace_all(pattern *p, str with, int64_t most, buf *out, err *e) {
    size_t pos = 0, done = 0;
    bool found = true;
    for (int64_t n = 0; (most <= 0 || n < most) && out->len <= MAX_TEXT_BYTES; n++) {
        TRY(pattern_next(p, &pos, &found, e));
        if (!found) break;
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
        buf_put_str(out, str_sub(p->text, done, at[0]));
        put_replacement(out, with, p);
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
    if (code == ERR_OK) code = replace_all(&p, with, most, &out, e);
    pattern_finish(&p);
    if (code == ERR_OK) return give_buf(c, &out, e);
    buf_finish(&out);
    return code;
}

const flow_def flow_nodes_strings[] = {
    {NODE("StringConcatenate", "Concatenate", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string_a", NULL, FLOW_MULTILINE), TEXT("string_b", NULL, FLOW_MULTILINE),
            TEXT("delimiter", "", FLOW_SINGLE)),
     OUTPUTS({"STRING", NULL, false}), .run = concatenate},
    {NODE("StringSubstring", "Substring", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE),
            INT("start", 0, 0, 0, 0, FLOW_NO_DEFAULT | FLOW_NO_MIN | FLOW_NO_MAX | FLOW_OPTS),
            INT("end", 0, 0, 0, 0, FLOW_NO_DEFAULT | FLOW_NO_MIN | FLOW_NO_MAX | FLOW_OPTS)),
     OUTPUTS({"STRING", NULL, false}), .run = substring},
    {NODE("StringLength", "Length", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE)), OUTPUTS({"INT", "length", false}),
     .run = length},
    {NODE("CaseConverter", "Case Converter", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE),
            COMBO("mode", CHOICES("UPPERCASE", "lowercase", "Capitalize", "Title Case"), NULL,
                  FLOW_PLAIN_COMBO)),
     OUTPUTS({"STRING", NULL, false}), .run = convert_case},
    {NODE("StringTrim", "Trim", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE),
            COMBO("mode", CHOICES("Both", "Left", "Right"), NULL, FLOW_PLAIN_COMBO)),
     OUTPUTS({"STRING", NULL, false}), .run = trim},
    {NODE("StringReplace", "Replace", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE), TEXT("find", NULL, FLOW_MULTILINE),
            TEXT("replace", NULL, FLOW_MULTILINE)),
     OUTPUTS({"STRING", NULL, false}), .run = replace},
    {NODE("StringContains", "Contains", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string", NULL, FLOW_MULTILINE), TEXT("substring", NULL, FLOW_MULTILINE),
            BOOL("case_sensitive", true, 0)),
     OUTPUTS({"BOOLEAN", "contains", false}), .run = contains},
    {NODE("StringCompare", "Compare", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("string_a", NULL, FLOW_MULTILINE), TEXT("string_b", NULL, FLOW_MULTILINE),
            COMBO("mode", CHOICES("Starts With", "Ends With", "Equal"), NULL, FLOW_PLAIN_COMBO),
            BOOL("case_sensitive", true, 0)),
     OUTPUTS({"BOOLEAN", NULL, false}), .run = compare},
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
