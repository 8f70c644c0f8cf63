/* General categories of characters: \p{L}, \p{Lu}, \P{N} ... in regular expressions. */
#include "llm/grammar/expr.h"
#include <utf8proc.h>

enum { LAST = 0x10FFFF };

/* The names of Unicode, chapter 4.5, by utf8proc's numbers. */
static const struct {
    const char *name;
    utf8proc_category_t category;
} CATEGORIES[] = {
    {"Cn", UTF8PROC_CATEGORY_CN}, {"Lu", UTF8PROC_CATEGORY_LU}, {"Ll", UTF8PROC_CATEGORY_LL},
    {"Lt", UTF8PROC_CATEGORY_LT}, {"Lm", UTF8PROC_CATEGORY_LM}, {"Lo", UTF8PROC_CATEGORY_LO},
    {"Mn", UTF8PROC_CATEGORY_MN}, {"Mc", UTF8PROC_CATEGORY_MC}, {"Me", UTF8PROC_CATEGORY_ME},
    {"Nd", UTF8PROC_CATEGORY_ND}, {"Nl", UTF8PROC_CATEGORY_NL}, {"No", UTF8PROC_CATEGORY_NO},
    {"Pc", UTF8PROC_CATEGORY_PC}, {"Pd", UTF8PROC_CATEGORY_PD}, {"Ps", UTF8PROC_CATEGORY_PS},
    {"Pe", UTF8PROC_CATEGORY_PE}, {"Pi", UTF8PROC_CATEGORY_PI}, {"Pf", UTF8PROC_CATEGORY_PF},
    {"Po", UTF8PROC_CATEGORY_PO}, {"Sm", UTF8PROC_CATEGORY_SM}, {"Sc", UTF8PROC_CATEGORY_SC},
    {"Sk", UTF8PROC_CATEGORY_SK}, {"So", UTF8PROC_CATEGORY_SO}, {"Zs", UTF8PROC_CATEGORY_ZS},
    {"Zl", UTF8PROC_CATEGORY_ZL}, {"Zp", UTF8PROC_CATEGORY_ZP}, {"Cc", UTF8PROC_CATEGORY_CC},
    {"Cf", UTF8PROC_CATEGORY_CF}, {"Co", UTF8PROC_CATEGORY_CO},
};

static const char *const LONG_NAMES[][2] = {{"Letter", "L"},
                                            {"Uppercase_Letter", "Lu"},
                                            {"Lowercase_Letter", "Ll"},
                                            {"Mark", "M"},
                                            {"Number", "N"},
                                            {"Decimal_Number", "Nd"},
                                            {"Punctuation", "P"},
                                            {"Symbol", "S"},
                                            {"Currency_Symbol", "Sc"},
                                            {"Math_Symbol", "Sm"},
                                            {"Separator", "Z"},
                                            {"Space_Separator", "Zs"},
                                            {"Titlecase_Letter", "Lt"}};

/* One bit for each category that the name stands for; 0: nobody knows it. */
static uint32_t categories_of(str name) {
    uint32_t bits = 0;
    for (size_t i = 0; i < COUNT_OF(LONG_NAMES); i++)
        if (str_eq(name, str_from(LONG_NAMES[i][0]))) name = str_from(LONG_NAMES[i][1]);
    for (size_t i = 0; i < COUNT_OF(CATEGORIES); i++) {
        str full = str_from(CATEGORIES[i].name);
        if (str_eq(name, full) || str_eq(name, str_sub(full, 0, 1)))
            bits |= 1u << CATEGORIES[i].category;
    }
    return bits;
}

/* The categories of all characters as runs, made once for a grammar: there are some 3,000. */
static const grammar_runs *runs_of(grammar_builder *b) {
    if (b->runs.items) return &b->runs;
    VEC(grammar_category_run) found = {0};
    for (uint32_t c = 0; c <= LAST; c++) {
        utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        if (found.len && VEC_LAST(found).category == (uint32_t)k)
            VEC_LAST(found).range.hi = c;
        else
            VEC_PUSH(found, (grammar_category_run){{c, c}, (uint32_t)k});
    }
    b->runs =
        (grammar_runs){arena_dup(b->mem, found.items, found.len * sizeof *found.items), found.len};
    VEC_FINISH(found);
    return &b->runs;
}

bool grammar_category(grammar_builder *b, str name, grammar_set *ret) {
    uint32_t bits = categories_of(name);
    if (!bits) return false;
    const grammar_runs *runs = runs_of(b);
    grammar_range *r = ARENA_ARRAY(b->mem, grammar_range, runs->n);
    size_t n = 0;
    for (size_t i = 0; i < runs->n; i++)
        if (bits >> runs->items[i].category & 1) r[n++] = runs->items[i].range;
    *ret = (grammar_set){r, n};
    return true;
}
