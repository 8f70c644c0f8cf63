/* has_words(), and expressions of FTS5. */
#include "store/words.h"
#include "base/buf.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Without case and accents, "ß" as "ss"; what is no UTF-8 stays as it is. Freed with free(). */
static char *folded(sqlite3_value *v) {
    const uint8_t *text = sqlite3_value_text(v);
    utf8proc_uint8_t *out = NULL;
    if (!text) return NULL;
    utf8proc_ssize_t n =
        utf8proc_map(text, sqlite3_value_bytes(v), &out,
                     UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK);
    return n >= 0 ? (char *)out : strdup((const char *)text);
}

/* The next word of *text, cut off there; quotes around others are no part of it. */
static char *next_word(char **text) {
    char *word = *text + strspn(*text, " \t\r\n");
    char *end = word + strcspn(word, " \t\r\n");
    *text = *end ? end + 1 : end;
    *end = '\0';
    if (word[strspn(word, "\"")] == '\0') return word;
    word += strspn(word, "\"");
    for (end = word + strlen(word); end[-1] == '"'; end--) end[-1] = '\0';
    return word;
}

static void has_words(sqlite3_context *ctx, int n, sqlite3_value **args) {
    (void)n;
    char *title = folded(args[0]), *words = folded(args[1]), *rest = words;
    bool all = title && words;
    while (all && *rest) {
        const char *word = next_word(&rest);
        all = strstr(title, word) != NULL;
    }
    sqlite3_result_int(ctx, all);
    free(title);
    free(words);
}

int words_register(sqlite3 *conn) {
    return sqlite3_create_function(conn, "has_words", 2,
                                   SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
                                   has_words, NULL, NULL);
}

/* The index knows only letters and digits: an expression with nothing else would find nothing. */
static bool has_letters(str word) {
    utf8proc_int32_t c;
    utf8proc_ssize_t n;
    for (size_t at = 0; at < word.len; at += (size_t)n) {
        n = utf8proc_iterate((const uint8_t *)word.ptr + at, (utf8proc_ssize_t)(word.len - at), &c);
        if (n < 1) return true; /* no UTF-8: the index may read it otherwise */
        utf8proc_category_t kind = utf8proc_category(c);
        if (kind <= UTF8PROC_CATEGORY_LO || kind == UTF8PROC_CATEGORY_CO) return true;
        if (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO) return true;
    }
    return false;
}

static str replaced(arena *a, str s, str what, str with) {
    buf b = {0};
    for (ptrdiff_t at; (at = str_find(s, what)) >= 0;
         s = str_sub(s, (size_t)at + what.len, s.len)) {
        buf_put_str(&b, str_sub(s, 0, (size_t)at));
        buf_put_str(&b, with);
    }
    buf_put_str(&b, s);
    str out = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return out;
}

str words_match(arena *a, str text) {
    buf b = {0};
    size_t n_words = 0;
    while (text.len && n_words < 16) {
        size_t n = 0;
        while (n < text.len && !strchr(" \t\r\n\"", text.ptr[n])) n++;
        str word = {text.ptr, n}, sharp = STR("ß"), ss = STR("ss");
        text = str_sub(text, n + 1, text.len);
        if (!has_letters(word)) continue;
        buf_put_str(&b, n_words++ ? STR(" AND (") : STR("("));
        buf_putf(&b, "\"" STR_FMT "\"*", STR_ARG(word));
        str other = replaced(a, word, sharp, ss);
        if (str_eq(other, word))
            other = replaced(a, replaced(a, word, ss, sharp), STR("SS"), sharp);
        if (!str_eq(other, word)) buf_putf(&b, " OR \"" STR_FMT "\"*", STR_ARG(other));
        buf_put_char(&b, ')');
    }
    str out = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return out;
}
