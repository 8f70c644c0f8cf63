/* PNG through libpng. libpng reports errors by longjmp: each function that calls it keeps all its
 * state in one struct that outlives the jump, and only the outermost frees. */
#include "base/limits.h"
#include "base/mem.h"
#include "image/image_impl.h"
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct png_job {
    png_structp png;
    png_infop info;
    const uint8_t *src; /* reading */
    size_t n_left;
    buf *out; /* writing */
    image im;
    uint8_t *rows;    /* one row, or all of them when interlaced */
    uint8_t **row_at; /* interlaced: [Y] */
    err *e;
} png_job;

static void on_error(png_structp png, png_const_charp msg) {
    png_job *j = png_get_error_ptr(png);
    err_set(j->e, ERR_FORMAT, "damaged PNG: %s", msg);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp msg) {
    (void)png;
    (void)msg;
}

static void on_read(png_structp png, png_bytep to, size_t n) {
    png_job *j = png_get_io_ptr(png);
    if (n > j->n_left) png_error(png, "the file ends too early");
    memcpy(to, j->src, n);
    j->src += n;
    j->n_left -= n;
}

/* Asks libpng for RGB or RGBA with 8 or 16 bits, whatever the file holds. */
static void read_transforms(png_job *j) {
    png_set_expand(j->png); /* palettes to RGB, 1 to 4 bits to 8, transparent colours to alpha */
    png_set_gray_to_rgb(j->png);
    png_set_swap(j->png);
    png_set_interlace_handling(j->png);
    png_read_update_info(j->png, j->info);
}

static void put_row(png_job *j, size_t y, const uint8_t *row) {
    size_t w = j->im.width;
    float *rgb = j->im.rgb + y * w * 3, *alpha = j->im.alpha ? j->im.alpha + y * w : NULL;
    unsigned n_channels = png_get_channels(j->png, j->info);
    bool deep = png_get_bit_depth(j->png, j->info) == 16;
    for (size_t x = 0; x < w; x++)
        for (unsigned c = 0; c < n_channels; c++) {
            size_t at = x * n_channels + c;
            uint16_t v16 = 0;
            if (deep) memcpy(&v16, row + at * 2, 2);
            float v = deep ? (float)v16 / 65535.0f : (float)row[at] / 255.0f;
            if (c < 3)
                rgb[x * 3 + c] = v;
            else if (alpha)
                alpha[x] = v;
        }
}

static void read_pixels(png_job *j) {
    size_t row_bytes = png_get_rowbytes(j->png, j->info), h = j->im.height;
    bool interlaced = png_get_interlace_type(j->png, j->info) != PNG_INTERLACE_NONE;
    j->rows = malloc(row_bytes * (interlaced ? h : 1));
    j->row_at = interlaced ? malloc(h * sizeof(uint8_t *)) : NULL;
    if (!j->rows || (interlaced && !j->row_at)) png_error(j->png, "no memory");
    if (interlaced) {
        for (size_t y = 0; y < h; y++) j->row_at[y] = j->rows + y * row_bytes;
        png_read_image(j->png, j->row_at);
        for (size_t y = 0; y < h; y++) put_row(j, y, j->row_at[y]);
        return;
    }
    for (size_t y = 0; y < h; y++) {
        png_read_row(j->png, j->rows, NULL);
        put_row(j, y, j->rows);
    }
}

/* Everything that may jump. Returns the EXIF orientation, 0 after an error (in j->e). */
static int read_all(png_job *j) {
    if (setjmp(png_jmpbuf(j->png))) return 0;
    png_set_user_limits(j->png, LIMIT_IMAGE_SIDE, LIMIT_IMAGE_SIDE);
    png_set_chunk_cache_max(j->png, LIMIT_PNG_CHUNKS);
    png_set_chunk_malloc_max(j->png, LIMIT_PNG_CHUNK_BYTES);
    /* Texts and profiles are skipped unread (image_png_text reads texts). */
    png_set_keep_unknown_chunks(j->png, PNG_HANDLE_CHUNK_NEVER,
                                (png_const_bytep) "tEXt\0zTXt\0iTXt\0iCCP\0sPLT", 5);
    png_set_read_fn(j->png, j, on_read);
    png_read_info(j->png, j->info);
    bool alpha = (png_get_color_type(j->png, j->info) & PNG_COLOR_MASK_ALPHA) != 0 ||
                 png_get_valid(j->png, j->info, PNG_INFO_tRNS) != 0;
    j->im.width = png_get_image_width(j->png, j->info);
    j->im.height = png_get_image_height(j->png, j->info);
    j->im.n_frames = 1;
    read_transforms(j);
    if (image_alloc("PNG", &j->im, alpha, j->e) != ERR_OK) return 0;
    read_pixels(j);
    png_read_end(j->png, j->info);
    png_bytep exif = NULL;
    png_uint_32 n_exif = 0;
    if (png_get_eXIf_1(j->png, j->info, &n_exif, &exif) == 0) return 1;
    return image_exif_orientation(exif, n_exif);
}

err_code image_decode_png(const uint8_t *src, size_t n, image *ret, err *e) {
    err local = {0};
    png_job j = {.src = src, .n_left = n, .e = &local};
    j.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &j, on_error, on_warning);
    j.info = j.png ? png_create_info_struct(j.png) : NULL;
    int orientation = 0;
    if (j.info)
        orientation = read_all(&j);
    else
        err_set(&local, ERR_NOMEM, "no memory for reading a PNG");
    png_destroy_read_struct(&j.png, &j.info, NULL);
    free(j.rows);
    free(j.row_at);
    if (!orientation || image_orient(&j.im, orientation, &local) != ERR_OK) {
        image_finish(&j.im);
        return err_set(e, local.code, "%s", local.msg);
    }
    *ret = j.im;
    return ERR_OK;
}

/* ---- writing */

static void on_write(png_structp png, png_bytep from, size_t n) {
    png_job *j = png_get_io_ptr(png);
    buf_put(j->out, from, n);
}

static void on_flush(png_structp png) {
    (void)png;
}

static bool is_ascii(str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80) return false;
    return true;
}

/* Text chunks: keys of 1 to 79 bytes; others cannot be stored and are left out. */
static void write_text(png_job *j, const value *text, arena *a) {
    if (!text || text->kind != VALUE_MAP) return;
    for (size_t i = 0; i < text->as.map.len; i++) {
        const value_pair *p = &text->as.map.pairs[i];
        if (p->val->kind != VALUE_STR || !p->key.len || p->key.len > 79) continue;
        bool ascii = is_ascii(p->val->as.text);
        png_text t = {.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
                      .key = str_cstr(a, p->key),
                      .text = str_cstr(a, p->val->as.text)};
        if (ascii)
            t.text_length = p->val->as.text.len;
        else
            t.itxt_length = p->val->as.text.len;
        png_set_text(j->png, j->info, &t, 1);
    }
}

static bool write_all(png_job *j, const image_bytes *px, int level, const value *text, arena *a) {
    static const int types[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                                PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGBA};
    if (setjmp(png_jmpbuf(j->png))) return false;
    png_set_write_fn(j->png, j, on_write, on_flush);
    png_set_compression_level(j->png, level);
    png_set_IHDR(j->png, j->info, px->width, px->height, px->deep ? 16 : 8, types[px->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    write_text(j, text, a);
    png_write_info(j->png, j->info);
    if (px->deep) png_set_swap(j->png);
    size_t row_bytes = (size_t)px->width * px->channels * (px->deep ? 2 : 1);
    for (size_t y = 0; y < px->height; y++)
        png_write_row(j->png, (png_const_bytep)px->px + y * row_bytes);
    png_write_end(j->png, j->info);
    return true;
}

err_code image_encode_png(const image_bytes *px, int level, const value *text, buf *b, err *e) {
    if (px->channels < 1 || px->channels > 4 || level < 0 || level > 9)
        FAIL(e, INVALID, "a PNG of %u channels at level %d cannot be written", px->channels, level);
    TRY(image_check_size("PNG", px->width, px->height, 1, e));
    err local = {0};
    png_job j = {.out = b, .e = &local};
    j.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &j, on_error, on_warning);
    j.info = j.png ? png_create_info_struct(j.png) : NULL;
    arena *a = arena_create(0);
    size_t start = b->len;
    bool done = j.info && write_all(&j, px, level, text, a);
    arena_destroy(&a);
    png_destroy_write_struct(&j.png, &j.info);
    if (done) return ERR_OK;
    b->len = start;
    FAIL(e, INTERNAL, "writing a PNG failed: %s", local.msg);
}

/* ---- animation */

static void put_be32(buf *b, uint32_t v) {
    uint8_t p[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    buf_put(b, p, 4);
}

static void put_chunk(buf *b, const char *type, str data) {
    put_be32(b, (uint32_t)data.len);
    size_t start = b->len;
    buf_put(b, type, 4);
    buf_put_str(b, data);
    uLong crc = crc32(0, (const Bytef *)b->ptr + start, (uInt)(b->len - start));
    put_be32(b, (uint32_t)crc);
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_frame_control(buf *b, const image_animation *a, uint32_t sequence) {
    buf d = {0};
    put_be32(&d, sequence);
    put_be32(&d, a->frames[0].width);
    put_be32(&d, a->frames[0].height);
    put_be32(&d, 0);
    put_be32(&d, 0);
    uint16_t ms = (uint16_t)(a->frame_ms > 65535 ? 65535 : a->frame_ms);
    uint8_t tail[6] = {(uint8_t)(ms >> 8), (uint8_t)ms, 1000 >> 8, 1000 & 255, 0, 0};
    buf_put(&d, tail, 6);
    put_chunk(b, "fcTL", buf_str(&d));
    buf_finish(&d);
}

static void put_animation_texts(buf *b, const value *text) {
    for (size_t i = 0; text && text->kind == VALUE_MAP && i < text->as.map.len; i++) {
        const value_pair *p = &text->as.map.pairs[i];
        if (p->val->kind != VALUE_STR) continue;
        buf d = {0};
        buf_put_str(&d, p->key);
        buf_put_char(&d, '\0');
        buf_put_str(&d, p->val->as.text);
        put_chunk(b, "comf", buf_str(&d));
        buf_finish(&d);
    }
}

/* Copies the pixels of one encoded PNG; frames after the first as fdAT with a sequence number. */
static void put_frame_pixels(buf *b, str png, bool first, uint32_t *sequence) {
    for (size_t at = 8; at + 12 <= png.len;) {
        const uint8_t *chunk = (const uint8_t *)png.ptr + at;
        str data = {png.ptr + at + 8, be32(chunk)};
        at += 12 + data.len;
        if (memcmp(chunk + 4, "IDAT", 4) != 0) continue;
        if (first) {
            put_chunk(b, "IDAT", data);
            continue;
        }
        buf d = {0};
        put_be32(&d, (*sequence)++);
        buf_put_str(&d, data);
        put_chunk(b, "fdAT", buf_str(&d));
        buf_finish(&d);
    }
}

err_code image_encode_apng(const image_animation *a, buf *b, err *e) {
    uint32_t sequence = 0;
    for (size_t i = 0; i < a->n_frames; i++) {
        buf png = {0};
        err_code code = image_encode_png(&a->frames[i], a->level, NULL, &png, e);
        if (code != ERR_OK) {
            buf_finish(&png);
            return code;
        }
        if (i == 0) {
            buf_put(b, png.ptr, 8 + 25); /* signature and IHDR */
            buf control = {0};
            put_be32(&control, (uint32_t)a->n_frames);
            put_be32(&control, 0); /* for ever */
            put_chunk(b, "acTL", buf_str(&control));
            buf_finish(&control);
        }
        put_frame_control(b, a, sequence++);
        put_frame_pixels(b, buf_str(&png), i == 0, &sequence);
        buf_finish(&png);
    }
    put_animation_texts(b, a->text);
    put_chunk(b, "IEND", (str){0});
    return ERR_OK;
}

/* ---- texts */

/* Inflates a zlib stream of bounded length; false when damaged or too long. */
static bool inflate_text(str packed, buf *out) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.ptr, .avail_in = (uInt)packed.len};
    if (inflateInit(&z) != Z_OK) return false;
    int status = Z_OK;
    while (status == Z_OK && out->len < LIMIT_PNG_CHUNK_BYTES) {
        Bytef block[4096];
        z.next_out = block;
        z.avail_out = sizeof block;
        status = inflate(&z, Z_NO_FLUSH);
        buf_put(out, block, sizeof block - z.avail_out);
    }
    inflateEnd(&z);
    return status == Z_STREAM_END;
}

static void put_latin1(buf *b, str s) {
    for (size_t i = 0; i < s.len; i++) buf_put_utf8(b, (unsigned char)s.ptr[i]);
}

/* Reads one text chunk into key and *text (UTF-8); false when it is not one or damaged. */
static bool read_text_chunk(const char *type, str data, str *ret_key, buf *text) {
    if (str_find_char(data, '\0') < 0) return false;
    *ret_key = str_cut(&data, '\0');
    if (memcmp(type, "tEXt", 4) == 0) {
        put_latin1(text, data);
        return true;
    }
    if (memcmp(type, "zTXt", 4) == 0) {
        buf plain = {0};
        bool good = data.len > 1 && inflate_text(str_sub(data, 1, data.len), &plain);
        if (good) put_latin1(text, buf_str(&plain));
        buf_finish(&plain);
        return good;
    }
    if (memcmp(type, "iTXt", 4) != 0 || data.len < 2) return false;
    bool packed = data.ptr[0] == 1;
    data = str_sub(data, 2, data.len);
    str_cut(&data, '\0'); /* language */
    if (!data.ptr) return false;
    str_cut(&data, '\0'); /* translated key */
    if (!data.ptr) return false;
    if (packed) return inflate_text(data, text);
    buf_put_str(text, data);
    return true;
}

value *image_png_text(const void *src, size_t n_bytes, arena *a) {
    value *map = value_map(a);
    if (image_sniff(src, n_bytes) != IMAGE_PNG) return map;
    const uint8_t *p = src;
    for (size_t at = 8; n_bytes - at >= 12;) {
        size_t n = be32(p + at);
        if (n > n_bytes - at - 12) break;
        const char *type = (const char *)p + at + 4;
        str key = {0}, data = {type + 4, n};
        buf text = {0};
        if (map->as.map.len < LIMIT_PNG_CHUNKS && read_text_chunk(type, data, &key, &text) &&
            !value_get(map, key) && str_is_utf8(buf_str(&text)) && str_is_utf8(key))
            value_add(a, map, key, value_str(a, buf_str(&text)));
        buf_finish(&text);
        at += 12 + n;
    }
    return map;
}
