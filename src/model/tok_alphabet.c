/* GPT-2's printable alphabet, and the raw bytes behind every token.
 *
 * Byte-level vocabularies write each byte as one printable character: bytes that print stand for
 * themselves, the other 68 get U+0100 upward in order. All pieces are unpacked once at load into
 * one block, so that tok_piece is a lookup. */
#include "model/tok_impl.h"
#include <string.h>

static bool prints(uint32_t b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
}

uint32_t tok_alphabet_of(uint8_t byte) {
    if (prints(byte)) return byte;
    if (byte < 33) return 0x100u + byte;
    return byte <= 160 ? 0x100u + 33 + (byte - 127u) : 0x143;
}

int tok_alphabet_byte(uint32_t c) {
    if (c < 0x100) return prints(c) ? (int)c : -1;
    if (c < 0x100 + 33) return (int)(c - 0x100);
    if (c < 0x143) return (int)(c - 0x100 - 33 + 127);
    return c == 0x143 ? 173 : -1;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* The byte of "<0xHH>", or -1. */
static int byte_of_text(str s) {
    if (s.len != 6 || memcmp(s.ptr, "<0x", 3) != 0 || s.ptr[5] != '>') return -1;
    int hi = hex_digit(s.ptr[3]), lo = hex_digit(s.ptr[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

/* Undoes the alphabet; a text with a character outside it stands for itself. */
static size_t unpack_alphabet(str s, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < s.len;) {
        int b = tok_alphabet_byte(str_utf8_next(s, &i));
        if (b < 0) {
            memcpy(out, s.ptr, s.len);
            return s.len;
        }
        out[n++] = (char)b;
    }
    return n;
}

static size_t unpack_spaces(str s, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < s.len;) {
        if (s.ptr[i] == TOK_SPACE[0] && s.len - i >= TOK_SPACE_BYTES &&
            memcmp(s.ptr + i, TOK_SPACE, TOK_SPACE_BYTES) == 0) {
            out[n++] = ' ';
            i += TOK_SPACE_BYTES;
        } else {
            out[n++] = s.ptr[i++];
        }
    }
    return n;
}

void tok_pieces_build(tok *t) {
    bool alphabet = t->kind == TOK_BPE && !t->pre->raw;
    size_t total = 0;
    for (size_t i = 0; i < t->n; i++) total += tok_text_of(t, i).len;
    t->piece_bytes = mem_alloc(total + 1);
    t->piece_at = NEW_ARRAY(uint32_t, t->n + 1);
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    uint32_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        str s = tok_text_of(t, i);
        unsigned type = t->attr[i] & TOK_ATTR_TYPE;
        char *out = t->piece_bytes + at;
        t->piece_at[i] = at;
        int b = type == TOK_TYPE_BYTE ? byte_of_text(s) : -1;
        if (b >= 0) {
            *out = (char)b;
            at++;
        } else if (type == TOK_TYPE_NORMAL || type == TOK_TYPE_BYTE) {
            at += (uint32_t)(alphabet ? unpack_alphabet(s, out) : unpack_spaces(s, out));
            if (alphabet && at - t->piece_at[i] == 1) b = (unsigned char)*out;
        } else {
            at += (uint32_t)(alphabet ? (memcpy(out, s.ptr, s.len), s.len) : unpack_spaces(s, out));
        }
        if (b >= 0 && t->byte_id[b] < 0) t->byte_id[b] = (int32_t)i;
    }
    t->piece_at[t->n] = at;
    t->piece_bytes = mem_realloc(t->piece_bytes, at + 1);
}
