/* Sizes, times, tables and wrapped text, as Ollama's command line writes them. */
#include "cli/format.h"
#include "base/clock.h"
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

void format_bytes(buf *out, int64_t n_bytes) {
    static const struct {
        int64_t unit;
        const char *name;
    } units[] = {{INT64_C(1000000000000), "TB"}, {1000000000, "GB"}, {1000000, "MB"}, {1000, "KB"}};
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (n_bytes < units[i].unit) continue;
        double v = (double)n_bytes / (double)units[i].unit;
        buf_putf(out, v >= 10 ? "%.0f %s" : "%.1f %s", v >= 10 ? (double)(int64_t)v : v,
                 units[i].name);
        return;
    }
    buf_putf(out, "%lld B", (long long)n_bytes);
}

bool format_parse_time(str text, int64_t *ret_wall_ns) {
    char z[64];
    if (text.len < 20 || text.len >= sizeof z) return false;
    memcpy(z, text.ptr, text.len);
    z[text.len] = '\0';
    struct tm tm = {0};
    const char *p = strptime(z, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!p) return false;
    int64_t sub = 0, scale = NS_PER_S;
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9'; p++)
            if (scale > 1) scale /= 10, sub += (*p - '0') * scale;
    int64_t offset_s = 0;
    if (*p == '+' || *p == '-') {
        int h, m;
        if (sscanf(p + 1, "%2d:%2d", &h, &m) != 2) return false;
        offset_s = (*p == '-' ? -1 : 1) * (h * 3600 + m * 60);
    } else if (*p != 'Z') {
        return false;
    }
    int64_t s = (int64_t)timegm(&tm) - offset_s;
    if (s > INT64_MAX / NS_PER_S - 1)
        *ret_wall_ns = CLOCK_FOREVER;
    else
        *ret_wall_ns = s * NS_PER_S + sub;
    return true;
}

/* "About a minute", "3 weeks": the largest unit that fits, rounded down. */
static void put_span(buf *out, int64_t s) {
    if (s < 1)
        buf_putf(out, "Less than a second");
    else if (s == 1)
        buf_putf(out, "1 second");
    else if (s < 60)
        buf_putf(out, "%lld seconds", (long long)s);
    else if (s < 120)
        buf_putf(out, "About a minute");
    else if (s < 3600)
        buf_putf(out, "%lld minutes", (long long)(s / 60));
    else if (s < 5400)
        buf_putf(out, "About an hour");
    else if (s < 48 * 3600)
        buf_putf(out, "%lld hours", (long long)((s + 1800) / 3600));
    else if (s < 14 * 86400)
        buf_putf(out, "%lld days", (long long)(s / 86400));
    else if (s < 60 * 86400)
        buf_putf(out, "%lld weeks", (long long)(s / 86400 / 7));
    else if (s < 730 * INT64_C(86400))
        buf_putf(out, "%lld months", (long long)(s / 86400 / 30));
    else
        buf_putf(out, "%lld years", (long long)(s / 86400 / 365));
}

void format_when(buf *out, str rfc3339, int64_t now_wall_ns) {
    int64_t t;
    if (!format_parse_time(rfc3339, &t) || t < 0) {
        buf_putf(out, "Never");
        return;
    }
    if (t == CLOCK_FOREVER || t / NS_PER_S - now_wall_ns / NS_PER_S > 100 * 365 * INT64_C(86400)) {
        buf_putf(out, "Forever");
        return;
    }
    int64_t delta = t - now_wall_ns;
    put_span(out, (delta < 0 ? -delta : delta) / NS_PER_S);
    buf_putf(out, delta > 0 ? " from now" : " ago");
}

static void put_trimmed(buf *out, double v, const char *unit) {
    char text[64];
    int n = snprintf(text, sizeof text, "%.9f", v);
    while (n > 0 && text[n - 1] == '0') n--;
    if (n > 0 && text[n - 1] == '.') n--;
    buf_put(out, text, (size_t)n);
    buf_putf(out, "%s", unit);
}

void format_duration(buf *out, int64_t ns) {
    if (ns < 0) buf_put_char(out, '-'), ns = -ns;
    if (ns == 0)
        buf_putf(out, "0s");
    else if (ns < NS_PER_US)
        buf_putf(out, "%lldns", (long long)ns);
    else if (ns < NS_PER_MS)
        put_trimmed(out, (double)ns / 1e3, "\xC2\xB5s");
    else if (ns < NS_PER_S)
        put_trimmed(out, (double)ns / 1e6, "ms");
    else {
        int64_t h = ns / (3600 * NS_PER_S), m = ns / (60 * NS_PER_S) % 60;
        if (h) buf_putf(out, "%lldh", (long long)h);
        if (h || m) buf_putf(out, "%lldm", (long long)m);
        put_trimmed(out, (double)(ns % (60 * NS_PER_S)) / 1e9, "s");
    }
}

void format_table_init(format_table *t, size_t n_cols) {
    *t = (format_table){.n_cols = n_cols};
}

void format_table_add(format_table *t, const char *cell) {
    if (t->n_cells == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16;
        t->cells = mem_realloc(t->cells, t->cap * sizeof *t->cells);
    }
    t->cells[t->n_cells++] = mem_dup(cell, strlen(cell) + 1);
}

/* Columns a text takes: code points, close enough for names and units. */
static size_t text_width(const char *text) {
    size_t n = 0;
    for (; *text; text++) n += (*text & 0xC0) != 0x80;
    return n;
}

void format_table_print(const format_table *t, const char *indent) {
    size_t *widths = NEW_ARRAY(size_t, t->n_cols);
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t w = text_width(t->cells[i]);
        if (w > widths[i % t->n_cols]) widths[i % t->n_cols] = w;
    }
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t col = i % t->n_cols;
        if (col == 0) fputs(indent, stdout);
        size_t pad = widths[col] - text_width(t->cells[i]) + 4;
        printf("%s%*s", t->cells[i], (int)pad, "");
        if (col == t->n_cols - 1) putchar('\n');
    }
    mem_free(widths);
}

void format_table_finish(format_table *t) {
    for (size_t i = 0; i < t->n_cells; i++) mem_free(t->cells[i]);
    mem_free(t->cells);
    *t = (format_table){0};
}

static void flush_word(format_wrap *w) {
    size_t width = text_width(buf_cstr(&w->word));
    if (w->column && w->column + width > w->width) {
        putchar('\n');
        w->column = 0;
    }
    fwrite(w->word.ptr, 1, w->word.len, stdout);
    w->column += width;
    buf_clear(&w->word);
}

void format_wrap_put(format_wrap *w, str text) {
    if (w->width == 0) {
        fwrite(text.ptr, 1, text.len, stdout);
        fflush(stdout);
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\n') {
            flush_word(w);
            putchar('\n');
            w->column = 0;
        } else if (c == ' ') {
            flush_word(w);
            if (w->column && w->column < w->width)
                putchar(' '), w->column++;
            else if (!w->column)
                putchar(' '), w->column++;
        } else {
            buf_put_char(&w->word, c);
            if (w->word.len >= w->width) flush_word(w);
        }
    }
    fflush(stdout);
}

void format_wrap_finish(format_wrap *w) {
    if (w->word.len) flush_word(w);
    fflush(stdout);
    buf_finish(&w->word);
}

size_t format_terminal_width(void) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
    return size.ws_col;
}
