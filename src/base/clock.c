/* Clocks, RFC 3339 and Go durations. */
#include "base/clock.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_mono_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void) {
    return read_clock(CLOCK_REALTIME);
}

static size_t put_time(char out[CLOCK_TEXT_BYTES], const struct tm *tm, int64_t sub_ns) {
    size_t n = strftime(out, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", tm);
    if (sub_ns) {
        n += (size_t)snprintf(out + n, CLOCK_TEXT_BYTES - n, ".%09lld", (long long)sub_ns);
        while (out[n - 1] == '0') n--;
    }
    out[n] = '\0';
    return n;
}

static time_t split(int64_t wall_ns, int64_t *ret_sub_ns) {
    int64_t s = wall_ns / NS_PER_S, sub = wall_ns % NS_PER_S;
    if (sub < 0) sub += NS_PER_S, s--;
    *ret_sub_ns = sub;
    return (time_t)s;
}

char *clock_rfc3339_utc(char out[CLOCK_TEXT_BYTES], int64_t wall_ns) {
    int64_t sub;
    time_t s = split(wall_ns, &sub);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = put_time(out, &tm, sub);
    snprintf(out + n, CLOCK_TEXT_BYTES - n, "Z");
    return out;
}

char *clock_rfc3339_local(char out[CLOCK_TEXT_BYTES], int64_t wall_ns) {
    int64_t sub;
    time_t s = split(wall_ns, &sub);
    struct tm tm;
    localtime_r(&s, &tm);
    size_t n = put_time(out, &tm, sub);
    long off = tm.tm_gmtoff / 60;
    if (off == 0)
        snprintf(out + n, CLOCK_TEXT_BYTES - n, "Z");
    else
        snprintf(out + n, CLOCK_TEXT_BYTES - n, "%c%02ld:%02ld", off < 0 ? '-' : '+',
                 (off < 0 ? -off : off) / 60, (off < 0 ? -off : off) % 60);
    return out;
}

/* Nanoseconds of the unit at *s, which is moved past it; 0 if there is none. */
static double take_unit(str *s) {
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1},   {"us", 1e3}, {"\xC2\xB5s", 1e3}, {"\xCE\xBCs", 1e3},
                 {"ms", 1e6}, {"s", 1e9},  {"m", 6e10},        {"h", 3.6e12}};
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        str u = str_from(units[i].name);
        if (!str_starts(*s, u)) continue;
        *s = str_sub(*s, u.len, s->len);
        return units[i].ns;
    }
    return 0;
}

bool clock_parse_go(str text, int64_t *ret_ns) {
    bool negative = false;
    str s = text;
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        negative = s.ptr[0] == '-';
        s = str_sub(s, 1, s.len);
    }
    if (str_eq(s, STR("0"))) return *ret_ns = 0, true;
    if (s.len == 0) return false;
    double total = 0;
    while (s.len) {
        size_t n = 0;
        while (n < s.len && ((s.ptr[n] >= '0' && s.ptr[n] <= '9') || s.ptr[n] == '.')) n++;
        double v;
        if (n == 0 || (n == 1 && s.ptr[0] == '.')) return false;
        if (!str_to_f64(str_sub(s, 0, n), &v)) return false;
        s = str_sub(s, n, s.len);
        double unit = take_unit(&s);
        if (unit == 0) return false;
        total += v * unit;
    }
    *ret_ns = total >= 9.2e18 ? INT64_MAX : (int64_t)total;
    if (negative) *ret_ns = -*ret_ns;
    return true;
}
