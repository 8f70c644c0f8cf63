/* Fuzz: multipart forms in two pieces. The first byte says where to cut. */
#include "http/multipart.h"

static bool on_part(void *ctx, const multipart_head *h) {
    (void)ctx;
    return h->name.len < 4096;
}
static bool on_data(void *ctx, const void *bytes, size_t n_bytes) {
    (void)bytes;
    *(size_t *)ctx += n_bytes;
    return true;
}
static bool on_end(void *ctx) {
    (void)ctx;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const multipart_events events = {on_part, on_data, on_end};
    if (n < 1) return 0;
    size_t n_out = 0, cut = data[0] < n - 1 ? data[0] : n - 1;
    multipart *m = multipart_create(STR("B"), &events, &n_out);
    if (multipart_put(m, data + 1, cut)) multipart_put(m, data + 1 + cut, n - 1 - cut);
    if (n_out > n + 2) __builtin_trap();
    multipart_destroy(&m);
    arena *a = arena_create(0);
    str boundary;
    multipart_boundary((str){(const char *)data, n}, a, &boundary);
    arena_destroy(&a);
    return 0;
}
