/* Width and height from a file's header, without decoding. */
#include "image/image_impl.h"
#include <string.h>
#include <webp/decode.h>

static uint32_t be(const uint8_t *p, int n) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++) v = v << 8 | p[i];
    return v;
}

/* The first frame header (SOF) among the segments of a JPEG. */
static bool jpeg_size(const uint8_t *p, size_t n, uint32_t *w, uint32_t *h) {
    for (size_t at = 2; n - at >= 9 && p[at] == 0xff;) {
        int marker = p[at + 1];
        if (marker == 0xff) {
            at++;
            continue;
        }
        bool is_sof =
            marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
        if (is_sof) {
            *h = be(p + at + 5, 2);
            *w = be(p + at + 7, 2);
            return true;
        }
        size_t len = 2 + (size_t)be(p + at + 2, 2);
        if (len > n - at) return false;
        at += len;
    }
    return false;
}

static bool read_size(const uint8_t *p, size_t n, uint32_t *w, uint32_t *h) {
    int iw = 0, ih = 0;
    switch (image_sniff(p, n)) {
    case IMAGE_PNG:
        if (n < 24) return false;
        *w = be(p + 16, 4);
        *h = be(p + 20, 4);
        return true;
    case IMAGE_JPEG:
        return jpeg_size(p, n, w, h);
    case IMAGE_WEBP:
        if (!WebPGetInfo(p, n, &iw, &ih)) return false;
        *w = (uint32_t)iw;
        *h = (uint32_t)ih;
        return true;
    case IMAGE_GIF:
        if (n < 10) return false;
        *w = p[6] | (uint32_t)p[7] << 8;
        *h = p[8] | (uint32_t)p[9] << 8;
        return true;
    case IMAGE_BMP:
        ih =
            (int32_t)(p[22] | (uint32_t)p[23] << 8 | (uint32_t)p[24] << 16 | (uint32_t)p[25] << 24);
        *w = p[18] | (uint32_t)p[19] << 8 | (uint32_t)p[20] << 16 | (uint32_t)p[21] << 24;
        *h = ih < 0 ? 0u - (uint32_t)ih : (uint32_t)ih;
        return true;
    case IMAGE_UNKNOWN:
        break;
    }
    return false;
}

err_code image_size(const void *src, size_t n_bytes, uint32_t *ret_width, uint32_t *ret_height,
                    err *e) {
    uint32_t w = 0, h = 0;
    if (!read_size(src, n_bytes, &w, &h) || !w || !h)
        FAIL(e, FORMAT, "not a picture, or its header is damaged");
    *ret_width = w;
    *ret_height = h;
    return ERR_OK;
}
