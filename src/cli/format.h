/* How the command line writes things: sizes, times, durations, tables, wrapped text. */
#pragma once
#include "base/buf.h"
#include <jansson.h>

/* "98 MB", "1.2 GB": decimal units, an integer from 10 up, else one decimal. */
void format_bytes(buf *out, int64_t n_bytes);

/* "3 weeks ago", "4 minutes from now", "Forever", "Never" for an RFC 3339 time as of now_ns. */
void format_when(buf *out, str rfc3339, int64_t now_wall_ns);

/* Go's duration text: "1.234567891s", "2m3.5s", "12.5ms". */
void format_duration(buf *out, int64_t ns);

/* Parses RFC 3339; false if malformed. */
bool format_parse_time(str text, int64_t *ret_wall_ns);

/* A left-aligned table without borders; columns are padded by four spaces. Cells hold UTF-8. */
typedef struct format_table {
    char **cells; /* [n_rows * n_cols] */
    size_t n_cols, n_cells, cap;
} format_table;
void format_table_init(format_table *t, size_t n_cols);
void format_table_add(format_table *t, const char *cell);
void format_table_print(const format_table *t, const char *indent);
void format_table_finish(format_table *t);

/* Prints streamed text, breaking lines between words at `width` columns (0 = as it comes). */
typedef struct format_wrap {
    size_t width, column;
    buf word; /* not printed yet: may still grow beyond the line */
} format_wrap;
void format_wrap_put(format_wrap *w, str text);
void format_wrap_finish(format_wrap *w); /* prints what is held back and frees */

/* The terminal's width in columns, 0 when standard output is not one. */
size_t format_terminal_width(void);
