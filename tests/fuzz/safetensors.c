/* Any bytes as a safetensors file: an error, or tensors whose bytes are all there. */
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that the reads are not optimised away */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    safetensors *s = NULL;
    err e = {0};
    uint64_t sum = 0;
    if (safetensors_open_mem(data, size, &s, &e)) return 0;
    for (size_t i = 0; i < safetensors_n_tensors(s); i++) {
        const safetensors_tensor *t = safetensors_tensor_at(s, i);
        const uint8_t *p = t->data;
        for (uint64_t k = 0; k < t->n_bytes; k++) sum += p[k];
        sum += t->name.len;
    }
    sink = sum;
    safetensors_destroy(&s);
    return 0;
}
