/* BMP: uncompressed files of 8, 24 and 32 bits a pixel, which is what programs write today. */
#include "base/checked.h"
#include "image/image_impl.h"
#include <string.h>

static uint32_t le32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

typedef struct bmp {
    const uint8_t *palette, *px;
    size_t n_palette, row_bytes;
    unsigned bits;
    bool upwards;
} bmp;

static err_code read_header(const uint8_t *src, size_t n, bmp *b, image *im, err *e) {
    if (n < 54) FAIL(e, FORMAT, "damaged BMP: the header is cut");
    uint32_t at = le32(src + 10), header = le32(src + 14), packing = le32(src + 30);
    int32_t w = (int32_t)le32(src + 18), h = (int32_t)le32(src + 22);
    b->bits = src[28] | (unsigned)src[29] << 8;
    /* 3 is "bit fields"; the usual ones are those of packing 0 */
    bool usual = packing == 0 || (packing == 3 && b->bits == 32 && n >= 66 &&
                                  le32(src + 54) == 0xff0000 && le32(src + 58) == 0xff00);
    if (header < 40 || !usual || (b->bits != 8 && b->bits != 24 && b->bits != 32))
        FAIL(e, UNSUPPORTED, "a BMP of this kind (%u bits, packing %u) is not read", b->bits,
             packing);
    b->upwards = h > 0;
    if (h < 0) h = h == INT32_MIN ? 0 : -h;
    if (w <= 0 || h <= 0) FAIL(e, FORMAT, "damaged BMP: it is %dx%d", (int)w, (int)h);
    im->width = (uint32_t)w;
    im->height = (uint32_t)h;
    im->n_frames = 1;
    TRY(image_check_size("BMP", im->width, im->height, 1, e));
    b->row_bytes = ((size_t)im->width * b->bits + 31) / 32 * 4;
    uint64_t need = (uint64_t)b->row_bytes * im->height;
    if (at > n || n - at < need) FAIL(e, FORMAT, "damaged BMP: the file ends too early");
    b->px = src + at;
    if (b->bits != 8) return ERR_OK;
    if (header > n - 14 || at < 14 + header) FAIL(e, FORMAT, "damaged BMP: its palette is cut");
    b->palette = src + 14 + header;
    b->n_palette = (at - 14 - header) / 4;
    return ERR_OK;
}

err_code image_decode_bmp(const uint8_t *src, size_t n, image *ret, err *e) {
    bmp b = {0};
    image im = {0};
    TRY(read_header(src, n, &b, &im, e));
    TRY(image_alloc("BMP", &im, false, e));
    for (size_t y = 0; y < im.height; y++) {
        const uint8_t *row = b.px + (b.upwards ? im.height - 1 - y : y) * b.row_bytes;
        float *to = im.rgb + y * im.width * 3;
        for (size_t x = 0; x < im.width; x++) {
            const uint8_t *p = row + x * (b.bits / 8), black[3] = {0};
            if (b.bits == 8) p = row[x] < b.n_palette ? b.palette + row[x] * 4 : black;
            for (int c = 0; c < 3; c++) to[x * 3 + c] = (float)p[2 - c] / 255.0f;
        }
    }
    *ret = im;
    return ERR_OK;
}
