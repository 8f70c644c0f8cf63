/* GIF: every frame composed on the canvas, as browsers show it. Formula source: the GIF89a
 * specification (CompuServe, 1990). */
#include "base/limits.h"
#include "image/image_impl.h"
#include <stdlib.h>
#include <string.h>

typedef struct gif {
    const uint8_t *p, *end;
    uint32_t width, height;
    uint8_t global[256][3], local[256][3];
    const uint8_t (*palette)[3];
    int n_palette;
    int transparent; /* index or -1 */
    int disposal;
    uint8_t *canvas;     /* [Y, X, 4] */
    uint8_t *before;     /* the canvas before this frame, for disposal 3 */
    uint8_t *indices;    /* of one frame: [Y, X] */
    uint32_t x, y, w, h; /* the frame's rectangle */
    bool interlaced;
} gif;

static unsigned le16(const uint8_t *p) {
    return p[0] | (unsigned)p[1] << 8;
}

static bool have(const gif *g, size_t n) {
    return (size_t)(g->end - g->p) >= n;
}

/* Skips a chain of sub-blocks. */
static bool skip_blocks(gif *g) {
    while (have(g, 1)) {
        size_t n = *g->p++;
        if (!n) return true;
        if (!have(g, n)) return false;
        g->p += n;
    }
    return false;
}

static bool read_palette(gif *g, unsigned flags, uint8_t to[256][3], int *ret_n) {
    *ret_n = 0;
    if (!(flags & 0x80)) return true;
    size_t n = (size_t)2 << (flags & 7);
    if (!have(g, n * 3)) return false;
    memcpy(to, g->p, n * 3);
    g->p += n * 3;
    *ret_n = (int)n;
    return true;
}

/* Bits of the sub-blocks, least significant first. */
typedef struct gif_bits {
    gif *g;
    size_t block_left;
    uint32_t acc;
    int n_acc;
    bool ended;
} gif_bits;

static int next_code(gif_bits *b, int width) {
    while (b->n_acc < width) {
        if (!b->block_left) {
            if (b->ended || !have(b->g, 1)) return -1;
            b->block_left = *b->g->p++;
            if (!b->block_left) {
                b->ended = true;
                return -1;
            }
        }
        if (!have(b->g, 1)) return -1;
        b->acc |= (uint32_t)*b->g->p++ << b->n_acc;
        b->block_left--;
        b->n_acc += 8;
    }
    int code = (int)(b->acc & ((1u << width) - 1));
    b->acc >>= width;
    b->n_acc -= width;
    return code;
}

typedef struct gif_lzw {
    uint16_t prefix[4096];
    uint8_t last[4096], first[4096];
    uint16_t len[4096];
    int n, width, root; /* entries, code width, root bits */
} gif_lzw;

static void lzw_reset(gif_lzw *z) {
    z->n = (1 << z->root) + 2;
    z->width = z->root + 1;
}

static void lzw_add(gif_lzw *z, int prefix, uint8_t last) {
    if (z->n >= 4096) return;
    z->prefix[z->n] = (uint16_t)prefix;
    z->last[z->n] = last;
    z->first[z->n] = z->first[prefix];
    z->len[z->n] = (uint16_t)(z->len[prefix] + 1);
    z->n++;
    if (z->n == 1 << z->width && z->width < 12) z->width++;
}

/* Fills indices; true when the whole frame was there. */
static bool lzw_decode(gif *g, gif_lzw *z) {
    if (!have(g, 1)) return false;
    z->root = *g->p++;
    if (z->root < 1 || z->root > 8) return false;
    int clear = 1 << z->root, previous = -1;
    for (int i = 0; i < clear; i++) {
        z->first[i] = z->last[i] = (uint8_t)i;
        z->len[i] = 1;
    }
    lzw_reset(z);
    gif_bits b = {.g = g};
    size_t at = 0, total = (size_t)g->w * g->h;
    for (;;) {
        int code = next_code(&b, z->width);
        if (code < 0 || code == clear + 1) break;
        if (code == clear) {
            lzw_reset(z);
            previous = -1;
            continue;
        }
        bool known = code < z->n && code != clear;
        if (!known && (previous < 0 || code != z->n)) return false;
        if (previous < 0 && code >= clear) return false;
        if (previous >= 0) lzw_add(z, previous, z->first[known ? code : previous]);
        if (code >= z->n) return false; /* the table is full */
        size_t n = z->len[code];
        for (size_t i = n, c = (size_t)code; i-- > 0; c = z->prefix[c])
            if (at + i < total) g->indices[at + i] = z->last[c];
        at = at + n < total ? at + n : total;
        previous = code;
    }
    if (!b.ended) {
        g->p += b.block_left < (size_t)(g->end - g->p) ? b.block_left : (size_t)(g->end - g->p);
        if (!skip_blocks(g)) return false;
    }
    return at == total;
}

/* The frame's line that stored line i is. */
static size_t line_of(const gif *g, size_t i) {
    if (!g->interlaced) return i;
    static const size_t start[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    for (int pass = 0; pass < 4; pass++) {
        size_t n = g->h > start[pass] ? (g->h - start[pass] + step[pass] - 1) / step[pass] : 0;
        if (i < n) return start[pass] + i * step[pass];
        i -= n;
    }
    return 0;
}

static void compose(gif *g) {
    for (size_t i = 0; i < g->h; i++) {
        size_t y = g->y + line_of(g, i);
        for (size_t x = 0; x < g->w && y < g->height && g->x + x < g->width; x++) {
            int index = g->indices[i * g->w + x];
            if (index == g->transparent || index >= g->n_palette) continue;
            uint8_t *to = g->canvas + (y * g->width + g->x + x) * 4;
            memcpy(to, g->palette[index], 3);
            to[3] = 255;
        }
    }
}

static void dispose(gif *g) {
    if (g->disposal == 3) memcpy(g->canvas, g->before, (size_t)g->width * g->height * 4);
    for (size_t y = g->y; g->disposal == 2 && y < g->y + g->h && y < g->height; y++)
        for (size_t x = g->x; x < g->x + g->w && x < g->width; x++)
            memset(g->canvas + (y * g->width + x) * 4, 0, 4);
}

static bool read_extension(gif *g) {
    if (!have(g, 1)) return false;
    int label = *g->p++;
    if (label == 0xf9 && have(g, 6) && g->p[0] == 4) {
        g->disposal = g->p[1] >> 2 & 7;
        g->transparent = g->p[1] & 1 ? g->p[4] : -1;
    }
    return skip_blocks(g);
}

static bool read_rectangle(gif *g, int n_global, const char **why) {
    if (!have(g, 9)) return false;
    g->x = le16(g->p);
    g->y = le16(g->p + 2);
    g->w = le16(g->p + 4);
    g->h = le16(g->p + 6);
    unsigned flags = g->p[8];
    g->p += 9;
    g->interlaced = flags & 0x40;
    int n_local;
    if (!read_palette(g, flags, g->local, &n_local)) return false;
    g->palette = (const uint8_t(*)[3])(n_local ? g->local : g->global);
    g->n_palette = n_local ? n_local : n_global;
    if (g->w && g->h && g->x + g->w <= g->width && g->y + g->h <= g->height) return true;
    *why = "a frame leaves the picture";
    return false;
}

/* Walks the blocks. With im NULL only counts frames; otherwise draws them. */
static bool walk(gif *g, int n_global, image *im, uint32_t *ret_frames, const char **why) {
    gif_lzw *z = im ? calloc(1, sizeof *z) : NULL;
    bool good = im == NULL || z != NULL;
    size_t n = (size_t)g->width * g->height;
    uint32_t frames = 0;
    bool ended = false;
    while (good && !ended && have(g, 1)) {
        int kind = *g->p++;
        if (kind == 0x21) {
            good = read_extension(g);
        } else if (kind == 0x2c) {
            good = read_rectangle(g, n_global, why) && frames < LIMIT_IMAGE_FRAMES;
            if (good && !im) good = have(g, 1) && (g->p++, skip_blocks(g));
            if (good && im) {
                memcpy(g->before, g->canvas, n * 4);
                good = lzw_decode(g, z);
                compose(g);
                image_put_rgba(g->canvas, n, im->rgb + frames * n * 3,
                               im->alpha ? im->alpha + frames * n : NULL);
                dispose(g);
            }
            g->disposal = 0;
            g->transparent = -1;
            frames++;
        } else {
            ended = good = kind == 0x3b;
        }
    }
    free(z);
    *ret_frames = frames;
    return good && ended && frames > 0;
}

static bool any_clear(const image *im) {
    size_t n = (size_t)im->width * im->height * im->n_frames;
    for (size_t i = 0; i < n; i++)
        if (im->alpha[i] < 1.0f) return true;
    return false;
}

err_code image_decode_gif(const uint8_t *src, size_t n, image *ret, err *e) {
    if (n < 13) FAIL(e, FORMAT, "damaged GIF: the file ends too early");
    gif g = {.p = src + 13, .end = src + n, .transparent = -1};
    g.width = le16(src + 6);
    g.height = le16(src + 8);
    int n_global;
    const char *why = "a block is damaged or the file ends too early";
    if (!read_palette(&g, src[10], g.global, &n_global)) FAIL(e, FORMAT, "damaged GIF: %s", why);
    image im = {.width = g.width, .height = g.height};
    const uint8_t *blocks = g.p;
    if (!walk(&g, n_global, NULL, &im.n_frames, &why)) FAIL(e, FORMAT, "damaged GIF: %s", why);
    TRY(image_alloc("GIF", &im, true, e));
    size_t px = (size_t)g.width * g.height;
    g.canvas = calloc(px, 4);
    g.before = calloc(px, 4);
    g.indices = calloc(px, 1);
    uint32_t frames;
    g.p = blocks;
    bool good = g.canvas && g.before && g.indices && walk(&g, n_global, &im, &frames, &why);
    free(g.canvas);
    free(g.before);
    free(g.indices);
    if (!good) {
        image_finish(&im);
        FAIL(e, FORMAT, "damaged GIF: %s", why);
    }
    if (!any_clear(&im)) {
        free(im.alpha);
        im.alpha = NULL;
    }
    *ret = im;
    return ERR_OK;
}
