/* Guesses by marks and by what the bytes can be; see web_decode.h. */
#include "api/web_decode.h"

typedef enum coding {
    CODING_NONE,
    CODING_UTF8,
    CODING_UTF16_LE,
    CODING_UTF16_BE,
    CODING_1252
} coding;

/* 0x80..0x9F of Windows-1252; 0 is not assigned. */
static const uint16_t HIGH[32] = {0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                  0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                  0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                  0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

static bool is_control(uint32_t c) {
    return (c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 27) || c == 127;
}

/* Latin text in UTF-16 has its zeros at every other byte. */
static coding by_zeros(str s) {
    size_t zeros[2] = {0, 0}, n = s.len / 2;
    for (size_t i = 0; i < 2 * n; i++) zeros[i % 2] += s.ptr[i] == 0;
    if (n < 2) return CODING_NONE;
    if (zeros[0] == 0 && zeros[1] * 10 >= n * 7) return CODING_UTF16_LE;
    if (zeros[1] == 0 && zeros[0] * 10 >= n * 7) return CODING_UTF16_BE;
    return CODING_NONE;
}

/* Bytes above 127 that are letters of a text: few, and all assigned. */
static bool is_1252(str s) {
    size_t n_high = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (is_control(c) || (c >= 0x80 && c < 0xA0 && !HIGH[c - 0x80])) return false;
        n_high += c >= 0x80;
    }
    return n_high * 3 <= s.len;
}

static coding coding_of(str s) {
    if (str_starts(s, STR("\xFF\xFE"))) return CODING_UTF16_LE;
    if (str_starts(s, STR("\xFE\xFF"))) return CODING_UTF16_BE;
    if (str_find_char(s, '\0') >= 0) return by_zeros(s);
    if (str_is_utf8(str_sub(s, 0, s.len - str_utf8_partial(s)))) return CODING_UTF8;
    return is_1252(s) ? CODING_1252 : CODING_NONE;
}

bool web_decode_is_text(str head) {
    return coding_of(head) != CODING_NONE;
}

static uint32_t unit(str s, size_t i, bool big) {
    unsigned char a = (unsigned char)s.ptr[i], b = (unsigned char)s.ptr[i + 1];
    return big ? (uint32_t)a << 8 | b : (uint32_t)b << 8 | a;
}

static uint32_t next_utf16(str s, size_t *pos, bool big) {
    uint32_t high = unit(s, *pos, big), low = 0;
    *pos += 2;
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high < 0xDC00 && *pos + 2 <= s.len) low = unit(s, *pos, big);
    if (low < 0xDC00 || low > 0xDFFF) return 0xFFFD;
    *pos += 2;
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

static uint32_t next(str s, size_t *pos, coding code) {
    if (code == CODING_UTF16_LE || code == CODING_UTF16_BE)
        return next_utf16(s, pos, code == CODING_UTF16_BE);
    if (code != CODING_1252) return str_utf8_next(s, pos);
    unsigned char c = (unsigned char)s.ptr[(*pos)++];
    return c >= 0x80 && c < 0xA0 && HIGH[c - 0x80] ? HIGH[c - 0x80] : c;
}

void web_decode_text(str bytes, buf *out) {
    coding code = coding_of(bytes);
    size_t end = bytes.len;
    if (code == CODING_UTF16_LE || code == CODING_UTF16_BE) end -= end % 2;
    bytes.len = end;
    for (size_t pos = 0; pos < end;) {
        bool first = pos == 0;
        uint32_t c = next(bytes, &pos, code);
        if (c == '\f') c = '\n';
        bool mark = first && c == 0xFEFF;
        if (!mark && (c >= ' ' || c == '\n' || c == '\t')) buf_put_utf8(out, c);
    }
}
