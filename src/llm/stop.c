/* Stop strings: see stop.h. All strings lie in one block; fail[i] of a string is the length of the
 * longest proper border of its first i + 1 bytes and fits 16 bits because strings are short. */
#include "llm/stop.h"
#include "base/limits.h"
#include "base/mem.h"
#include <assert.h>
#include <string.h>

typedef struct automaton {
    const unsigned char *bytes;
    const uint16_t *fail;
    size_t len;
    size_t state; /* bytes matched so far, < len */
} automaton;

struct llm_stop {
    automaton *items;
    size_t n;
    unsigned char *bytes;
    uint16_t *fail;
};

static void make_borders(const unsigned char *p, size_t len, uint16_t *fail) {
    fail[0] = 0;
    for (size_t i = 1, k = 0; i < len; i++) {
        while (k > 0 && p[i] != p[k]) k = fail[k - 1];
        if (p[i] == p[k]) k++;
        fail[i] = (uint16_t)k;
    }
}

llm_stop *llm_stop_create(const str *strings, size_t n) {
    assert(n <= LIMIT_STOP_STRINGS);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        assert(strings[i].len <= LIMIT_STOP_BYTES);
        total += strings[i].len;
    }
    llm_stop *s = NEW(llm_stop);
    s->items = NEW_ARRAY(automaton, n ? n : 1);
    s->bytes = mem_alloc(total ? total : 1);
    s->fail = NEW_ARRAY(uint16_t, total ? total : 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = strings[i].len;
        if (len == 0) continue;
        memcpy(s->bytes + at, strings[i].ptr, len);
        make_borders(s->bytes + at, len, s->fail + at);
        s->items[s->n++] = (automaton){s->bytes + at, s->fail + at, len, 0};
        at += len;
    }
    return s;
}

void llm_stop_destroy(llm_stop **sp) {
    llm_stop *s = *sp;
    if (!s) return;
    mem_free(s->items);
    mem_free(s->bytes);
    mem_free(s->fail);
    mem_free(s);
    *sp = NULL;
}

static bool step(automaton *a, unsigned char byte) {
    while (a->state > 0 && a->bytes[a->state] != byte) a->state = a->fail[a->state - 1];
    if (a->bytes[a->state] == byte) a->state++;
    if (a->state < a->len) return false;
    a->state = a->fail[a->len - 1];
    return true;
}

bool llm_stop_feed(llm_stop *s, str text, size_t *ret_end, size_t *ret_len) {
    for (size_t i = 0; i < text.len; i++) {
        size_t longest = 0;
        for (size_t k = 0; k < s->n; k++)
            if (step(&s->items[k], (unsigned char)text.ptr[i]) && s->items[k].len > longest)
                longest = s->items[k].len;
        if (longest == 0) continue;
        *ret_end = i + 1;
        *ret_len = longest;
        return true;
    }
    return false;
}

size_t llm_stop_held(const llm_stop *s) {
    size_t held = 0;
    for (size_t k = 0; k < s->n; k++)
        if (s->items[k].state > held) held = s->items[k].state;
    return held;
}
