/* Any bytes as a GGUF: opening ends with an error or with a file whose every lookup is safe. */
#include "model/gguf.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that the reads are not optimised away */

static uint64_t touch(const void *bytes, uint64_t n) {
    const uint8_t *p = bytes;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) sum += p[i];
    return sum;
}

static uint64_t touch_array(const gguf_array *a) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < a->n; i++) {
        str s = gguf_array_str(a, i);
        sum += touch(s.ptr, s.len) + gguf_array_u64(a, i) + (uint64_t)gguf_array_i64(a, i);
        sum += gguf_array_f64(a, i) > 0;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gguf *g = NULL;
    err e = {0};
    uint64_t sum = 0;
    if (gguf_open_mem(data, size, &g, &e)) return 0;
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const gguf_key *k = gguf_key_at(g, i);
        sum += touch(k->name.ptr, k->name.len);
        if (k->type == GGUF_STR) sum += touch(k->as.text.ptr, k->as.text.len);
        if (k->type == GGUF_ARRAY) sum += touch_array(&k->as.array);
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        sum += touch(t->name.ptr, t->name.len) + touch(t->data, t->n_bytes);
    }
    sink = sum;
    gguf_destroy(&g);
    return 0;
}
