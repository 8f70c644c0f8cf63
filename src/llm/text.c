/* Text assembly: see text.h. `raw` holds the bytes not shown yet; `ends` holds, for every token not
 * reported yet, how many bytes of raw it reaches to (its end, counted from raw's start). */
#include "llm/text.h"
#include "base/vec.h"
#include "llm/stop.h"
#include <assert.h>

struct llm_text {
    llm_stop *stop; /* NULL when there are no stop strings */
    buf raw;
    VEC(size_t) ends;
    buf hit; /* the stop string that was completed */
    bool stopped;
};

llm_text *llm_text_create(const str *stop, size_t n_stop) {
    llm_text *t = NEW(llm_text);
    if (n_stop > 0) t->stop = llm_stop_create(stop, n_stop);
    return t;
}

void llm_text_destroy(llm_text **tp) {
    llm_text *t = *tp;
    if (!t) return;
    llm_stop_destroy(&t->stop);
    buf_finish(&t->raw);
    buf_finish(&t->hit);
    VEC_FINISH(t->ends);
    mem_free(t);
    *tp = NULL;
}

bool llm_text_put(llm_text *t, str piece) {
    assert(!t->stopped);
    buf_put_str(&t->raw, piece);
    VEC_PUSH(t->ends, t->raw.len);
    size_t end = 0, len = 0;
    if (!t->stop || !llm_stop_feed(t->stop, piece, &end, &len)) return false;
    t->stopped = true;
    t->raw.len -= piece.len - end; /* what lies behind the stop string */
    assert(len <= t->raw.len);     /* held back until now */
    t->raw.len -= len;
    buf_put(&t->hit, t->raw.ptr + t->raw.len, len);
    return true;
}

str llm_text_stop(const llm_text *t) {
    return buf_str(&t->hit);
}

/* Copies n bytes of raw, replacing what is not UTF-8. */
static void put_clean(buf *out, str s) {
    if (str_is_utf8(s)) {
        buf_put_str(out, s);
        return;
    }
    for (size_t pos = 0; pos < s.len;) buf_put_utf8(out, str_utf8_next(s, &pos));
}

size_t llm_text_take(llm_text *t, bool last, buf *out) {
    size_t n = t->raw.len;
    if (!last && !t->stopped && t->stop) {
        size_t held = llm_stop_held(t->stop);
        n -= held < n ? held : n;
    }
    n -= str_utf8_partial((str){t->raw.ptr, n});
    bool final = last || t->stopped;
    size_t n_tokens = 0;
    for (; n_tokens < t->ends.len; n_tokens++) {
        size_t from = n_tokens ? t->ends.items[n_tokens - 1] : 0;
        if (final ? (from >= n && t->ends.items[n_tokens] != from) : t->ends.items[n_tokens] > n)
            break;
    }
    put_clean(out, (str){t->raw.ptr, n});
    buf_drop_front(&t->raw, n);
    size_t left = t->ends.len - n_tokens;
    for (size_t i = 0; i < left; i++) {
        size_t end = t->ends.items[n_tokens + i];
        t->ends.items[i] = end > n ? end - n : 0;
    }
    t->ends.len = left;
    return n_tokens;
}
