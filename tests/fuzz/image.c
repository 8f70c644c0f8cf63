/* Any bytes as a picture: decoding, measuring and reading texts end with an error or a picture. */
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile float sink; /* so that the reads are not optimised away */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint32_t w = 0, h = 0;
    err e = {0};
    image im = {0};
    /* Large pictures of few bytes are allowed, but cost the fuzzer its time. */
    if (image_size(data, size, &w, &h, &e) == ERR_OK && (uint64_t)w * h > 1 << 20) return 0;
    if (image_decode(data, size, &im, &e) == ERR_OK) {
        size_t n = (size_t)im.width * im.height * im.n_frames;
        float sum = im.rgb[0] + im.rgb[n * 3 - 1];
        if (im.alpha) sum += im.alpha[n - 1];
        sink = sum;
    }
    image_finish(&im);
    arena *a = arena_create(0);
    value *text = image_png_text(data, size, a);
    sink = (float)text->as.map.len;
    arena_destroy(&a);
    return 0;
}
