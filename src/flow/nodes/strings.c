/* Text: joining, cutting and comparing strings. Places and lengths count characters (code points),
 * as Python counts them. */
#include "base/limits.h"
#include "flow/call.h"
#include "flow/nodes/table.h"
#include <string.h>
#include <utf8proc.h>

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
    return flow_out_text(c, 0, &out, e);
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
    return flow_out_text(c, 0, &out, e);
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
    for (size_t pos = 0;
         find.len == 0 && out.len <= LIMIT_FLOW_TEXT_BYTES;) { /* between all letters */
        buf_put_str(&out, with);
        if (pos >= s.len) return flow_out_text(c, 0, &out, e);
        size_t from = pos;
        str_utf8_next(s, &pos);
        buf_put(&out, s.ptr + from, pos - from);
    }
    ptrdiff_t at;
    while (find.len && (at = str_find(s, find)) >= 0 && out.len <= LIMIT_FLOW_TEXT_BYTES) {
        buf_put(&out, s.ptr, (size_t)at);
        buf_put_str(&out, with);
        s = str_sub(s, (size_t)at + find.len, s.len);
    }
    buf_put_str(&out, s);
    return flow_out_text(c, 0, &out, e);
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
    {.name = NULL}};
