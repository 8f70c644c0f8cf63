/* CLIP's byte-level BPE. Ids: 256 bytes, the same at the end of a word, one per merge, two marks.
 * A word's symbols are merged lowest rank first, leftmost on ties. */
#include "diffusion/clip_tok.h"
#include "base/buf.h"
#include "base/map.h"
#include <pthread.h>
#include <stdlib.h>
#include <utf8proc.h>

__asm__(".section .rodata\n"
        ".global clip_merges_text\n"
        ".global clip_merges_end\n"
        ".hidden clip_merges_text\n"
        ".hidden clip_merges_end\n"
        "clip_merges_text:\n"
        ".incbin \"src/diffusion/clip_merges.txt\"\n"
        "clip_merges_end:\n"
        ".byte 0\n"
        ".text\n");
extern const char clip_merges_text[], clip_merges_end[];

enum { N_BYTES = 256, FIRST_MERGE = 2 * N_BYTES, SLOTS = 1 << 17, WORD_BYTES_MAX = 4096 };

typedef struct merge {
    int32_t left, right, id; /* id 0 = free */
} merge;

static struct {
    pthread_once_t once;
    int32_t byte_id[N_BYTES]; /* of a byte inside a word; + 256 at its end */
    merge merges[SLOTS];
} table = {.once = PTHREAD_ONCE_INIT};

/* ---- the table ---- */

/* Bytes that print as themselves keep their place in front; the others follow in order. */
static bool prints(int c) {
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

static uint32_t slot_of(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 47) & (SLOTS - 1);
}

static const merge *find_merge(int32_t left, int32_t right) {
    for (uint32_t at = slot_of(left, right); table.merges[at].id; at = (at + 1) & (SLOTS - 1))
        if (table.merges[at].left == left && table.merges[at].right == right)
            return &table.merges[at];
    return NULL;
}

/* The id of a symbol as the file writes it, from those that came before. */
static int32_t symbol_id(const map *names, str text) {
    int64_t id = 0;
    map_get(names, text, &id);
    return (int32_t)id;
}

static void name_bytes(map *names) {
    int32_t n = 0, extra = 256;
    for (int pass = 0; pass < 2; pass++)
        for (int c = 0; c < N_BYTES; c++) {
            if (prints(c) != (pass == 0)) continue;
            char text[16];
            size_t len = str_utf8_put(text, pass == 0 ? (uint32_t)c : (uint32_t)extra++);
            table.byte_id[c] = n;
            map_put(names, (str){text, len}, n);
            text[len] = '<', text[len + 1] = '/', text[len + 2] = 'w', text[len + 3] = '>';
            map_put(names, (str){text, len + 4}, n + N_BYTES);
            n++;
        }
}

static void table_build(void) {
    map names = {0};
    name_bytes(&names);
    str rest = {clip_merges_text, (size_t)(clip_merges_end - clip_merges_text)};
    for (int32_t id = FIRST_MERGE; rest.len; id++) {
        str right = str_cut(&rest, '\n'), left = str_cut(&right, ' ');
        merge m = {symbol_id(&names, left), symbol_id(&names, right), id};
        uint32_t at = slot_of(m.left, m.right);
        while (table.merges[at].id) at = (at + 1) & (SLOTS - 1);
        table.merges[at] = m;
        char joined[256];
        size_t n = 0;
        for (size_t i = 0; i < left.len && n < sizeof joined; i++) joined[n++] = left.ptr[i];
        for (size_t i = 0; i < right.len && n < sizeof joined; i++) joined[n++] = right.ptr[i];
        map_put(&names, (str){joined, n}, id);
    }
    map_finish(&names);
}

/* ---- words ---- */

static void encode_word(str word, clip_ids *ids) {
    size_t from = ids->len;
    if (word.len > WORD_BYTES_MAX) word.len = WORD_BYTES_MAX; /* quadratic from here on */
    for (size_t i = 0; i < word.len; i++) {
        int32_t id = table.byte_id[(unsigned char)word.ptr[i]];
        VEC_PUSH(*ids, i + 1 == word.len ? id + N_BYTES : id);
    }
    for (;;) {
        const merge *best = NULL;
        size_t at = 0;
        for (size_t i = from; i + 1 < ids->len; i++) {
            const merge *m = find_merge(ids->items[i], ids->items[i + 1]);
            if (!m || (best && m->id >= best->id)) continue;
            best = m;
            at = i;
        }
        if (!best) return;
        ids->items[at] = best->id;
        VEC_REMOVE_AT(*ids, at + 1);
    }
}

typedef enum char_class { CLASS_SPACE, CLASS_LETTER, CLASS_DIGIT, CLASS_OTHER } char_class;

static char_class class_of(uint32_t c) {
    if (c == ' ' || (c >= 9 && c <= 13) || c == 0x85) return CLASS_SPACE;
    switch ((int)utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return CLASS_SPACE;
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return CLASS_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return CLASS_DIGIT;
    default:
        return CLASS_OTHER;
    }
}

/* Bytes of 's, 't, 're, 've, 'm, 'll or 'd at the start of s; 0 when none is there. */
static size_t contraction(str s) {
    static const char *const ENDS[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < COUNT_OF(ENDS); i++)
        if (str_starts(s, str_from(ENDS[i]))) return str_from(ENDS[i]).len;
    return 0;
}

/* The bytes of the word at the start of s, whose first character has class c. */
static size_t word_len(str s, char_class c) {
    size_t at = 0, n = contraction(s);
    if (n) return n;
    str_utf8_next(s, &at);
    if (c == CLASS_DIGIT) return at;
    while (at < s.len) {
        size_t next = at;
        if (class_of(str_utf8_next(s, &next)) != c) break;
        at = next;
    }
    return at;
}

/* NFC and lower case; the caller frees. Bytes that are not UTF-8 stay. */
static str normal_form(str text, buf *mem) {
    for (size_t at = 0; at < text.len;) {
        uint32_t c = str_utf8_next(text, &at);
        buf_put_utf8(mem, c);
    }
    utf8proc_uint8_t *nfc = NULL;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)mem->ptr, (utf8proc_ssize_t)mem->len, &nfc,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n >= 0) {
        str s = {(const char *)nfc, (size_t)n};
        buf_clear(mem);
        for (size_t at = 0; at < s.len;)
            buf_put_utf8(mem, (uint32_t)utf8proc_tolower((utf8proc_int32_t)str_utf8_next(s, &at)));
    }
    free(nfc);
    return buf_str(mem);
}

void clip_tok_encode(str text, clip_ids *ids) {
    pthread_once(&table.once, table_build);
    buf mem = {0};
    str s = normal_form(text, &mem);
    while (s.len > 0) {
        size_t first = 0;
        char_class c = class_of(str_utf8_next(s, &first));
        size_t n = c == CLASS_SPACE ? first : word_len(s, c);
        if (c != CLASS_SPACE) encode_word(str_sub(s, 0, n), ids);
        s = str_sub(s, n, s.len);
    }
    buf_finish(&mem);
}
