/* WebP through libwebp, libwebpdemux (animations, EXIF) and libwebpmux (writing them). */
#include "base/limits.h"
#include "image/image_impl.h"
#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

static int webp_orientation(const WebPData *file) {
    WebPDemuxer *d = WebPDemux(file);
    WebPChunkIterator it = {0};
    int orientation = 1;
    if (d && WebPDemuxGetChunk(d, "EXIF", 1, &it)) {
        orientation = image_exif_orientation(it.chunk.bytes, it.chunk.size);
        WebPDemuxReleaseChunkIterator(&it);
    }
    WebPDemuxDelete(d);
    return orientation;
}

static err_code decode_still(const WebPData *file, bool alpha, image *im, err *e) {
    im->n_frames = 1;
    TRY(image_alloc("WebP", im, alpha, e));
    int w = 0, h = 0;
    uint8_t *px = WebPDecodeRGBA(file->bytes, file->size, &w, &h);
    if (!px || w != (int)im->width || h != (int)im->height) {
        WebPFree(px);
        FAIL(e, FORMAT, "damaged WebP: its pixels cannot be decoded");
    }
    image_put_rgba(px, (size_t)w * (size_t)h, im->rgb, im->alpha);
    WebPFree(px);
    return ERR_OK;
}

static err_code decode_frames(WebPAnimDecoder *d, bool alpha, image *im, err *e) {
    WebPAnimInfo info;
    if (!WebPAnimDecoderGetInfo(d, &info)) FAIL(e, FORMAT, "damaged WebP animation");
    im->width = info.canvas_width;
    im->height = info.canvas_height;
    im->n_frames = info.frame_count;
    TRY(image_alloc("WebP", im, alpha, e));
    size_t n = (size_t)im->width * im->height;
    for (uint32_t f = 0; f < im->n_frames; f++) {
        uint8_t *px;
        int until_ms;
        if (!WebPAnimDecoderGetNext(d, &px, &until_ms))
            FAIL(e, FORMAT, "damaged WebP: frame %u of %u cannot be decoded", f + 1, im->n_frames);
        image_put_rgba(px, n, im->rgb + f * n * 3, im->alpha ? im->alpha + f * n : NULL);
    }
    return ERR_OK;
}

static err_code decode_animation(const WebPData *file, bool alpha, image *im, err *e) {
    WebPDemuxer *demux = WebPDemux(file);
    if (!demux) FAIL(e, FORMAT, "damaged WebP animation");
    uint32_t w = WebPDemuxGetI(demux, WEBP_FF_CANVAS_WIDTH);
    uint32_t h = WebPDemuxGetI(demux, WEBP_FF_CANVAS_HEIGHT);
    uint32_t frames = WebPDemuxGetI(demux, WEBP_FF_FRAME_COUNT);
    WebPDemuxDelete(demux);
    TRY(image_check_size("WebP", w, h, frames, e));
    WebPAnimDecoder *d = WebPAnimDecoderNew(file, NULL);
    if (!d) FAIL(e, FORMAT, "damaged WebP animation");
    err_code code = decode_frames(d, alpha, im, e);
    WebPAnimDecoderDelete(d);
    return code;
}

err_code image_decode_webp(const uint8_t *src, size_t n, image *ret, err *e) {
    WebPBitstreamFeatures f;
    if (WebPGetFeatures(src, n, &f) != VP8_STATUS_OK) FAIL(e, FORMAT, "damaged WebP header");
    TRY(image_check_size("WebP", (uint64_t)f.width, (uint64_t)f.height, 1, e));
    WebPData file = {src, n};
    image im = {.width = (uint32_t)f.width, .height = (uint32_t)f.height};
    err_code code = f.has_animation ? decode_animation(&file, f.has_alpha, &im, e)
                                    : decode_still(&file, f.has_alpha, &im, e);
    if (code == ERR_OK) code = image_orient(&im, webp_orientation(&file), e);
    if (code != ERR_OK) {
        image_finish(&im);
        return code;
    }
    *ret = im;
    return ERR_OK;
}

/* ---- writing */

err_code image_encode_webp(const image_bytes *px, int quality, bool lossless, buf *b, err *e) {
    if ((px->channels != 3 && px->channels != 4) || px->deep)
        FAIL(e, INVALID, "a WebP of %u channels cannot be written", px->channels);
    if (px->width > WEBP_MAX_DIMENSION || px->height > WEBP_MAX_DIMENSION)
        FAIL(e, LIMIT, "a WebP has at most %d pixels a side; this is %ux%u", WEBP_MAX_DIMENSION,
             px->width, px->height);
    TRY(image_check_size("WebP", px->width, px->height, 1, e));
    int w = (int)px->width, h = (int)px->height, stride = w * (int)px->channels;
    float q = (float)quality;
    uint8_t *out = NULL;
    size_t n;
    if (px->channels == 3 && lossless)
        n = WebPEncodeLosslessRGB(px->px, w, h, stride, &out);
    else if (px->channels == 3)
        n = WebPEncodeRGB(px->px, w, h, stride, q, &out);
    else if (lossless)
        n = WebPEncodeLosslessRGBA(px->px, w, h, stride, &out);
    else
        n = WebPEncodeRGBA(px->px, w, h, stride, q, &out);
    if (!n) FAIL(e, INTERNAL, "writing a WebP of %dx%d failed", w, h);
    buf_put(b, out, n);
    WebPFree(out);
    return ERR_OK;
}

static err_code add_frame(WebPAnimEncoder *enc, const image_animation *a, size_t i, err *e) {
    WebPConfig config;
    WebPPicture pic;
    const image_bytes *px = &a->frames[i];
    if (!WebPConfigInit(&config) || !WebPPictureInit(&pic)) FAIL(e, INTERNAL, "libwebp is another");
    config.lossless = a->lossless;
    config.quality = (float)a->quality;
    config.method = a->method;
    pic.width = (int)px->width;
    pic.height = (int)px->height;
    pic.use_argb = 1;
    int stride = pic.width * (int)px->channels;
    int good = px->channels == 4 ? WebPPictureImportRGBA(&pic, px->px, stride)
                                 : WebPPictureImportRGB(&pic, px->px, stride);
    good = good && WebPAnimEncoderAdd(enc, &pic, (int)i * a->frame_ms, &config);
    WebPPictureFree(&pic);
    if (good) return ERR_OK;
    FAIL(e, INTERNAL, "writing frame %zu of a WebP animation failed: %s", i + 1,
         WebPAnimEncoderGetError(enc));
}

static void put_le(buf *b, uint32_t v, int n) {
    for (int i = 0; i < n; i++) buf_put_char(b, (char)(v >> (8 * i)));
}

/* A little-endian TIFF block with one directory of texts. */
static void put_exif(buf *b, const value *text) {
    size_t n = text->as.map.len;
    uint16_t tags[64];
    if (n > COUNT_OF(tags)) n = COUNT_OF(tags);
    uint16_t next = 0x010f;
    for (size_t i = 0; i < n; i++)
        tags[i] = str_eq(text->as.map.pairs[i].key, STR("prompt")) ? 0x0110 : next--;
    buf_put(b, "II*\0", 4);
    put_le(b, 8, 4);
    put_le(b, (uint32_t)n, 2);
    uint32_t data_at = (uint32_t)(8 + 2 + 12 * n + 4);
    for (uint32_t tag = 0; tag <= 0x0110; tag++) /* entries lie in ascending order */
        for (size_t i = 0; i < n; i++) {
            if (tags[i] != tag) continue;
            const value_pair *p = &text->as.map.pairs[i];
            uint32_t len = (uint32_t)(p->key.len + 1 + p->val->as.text.len + 1);
            put_le(b, tag, 2);
            put_le(b, 2, 2); /* ASCII */
            put_le(b, len, 4);
            put_le(b, data_at, 4);
            data_at += len;
        }
    put_le(b, 0, 4);
    for (uint32_t tag = 0; tag <= 0x0110; tag++)
        for (size_t i = 0; i < n; i++) {
            if (tags[i] != tag) continue;
            buf_put_str(b, text->as.map.pairs[i].key);
            buf_put_char(b, ':');
            buf_put_str(b, text->as.map.pairs[i].val->as.text);
            buf_put_char(b, '\0');
        }
}

static err_code finish_animation(const WebPData *frames, const value *text, buf *b, err *e) {
    if (!text || text->kind != VALUE_MAP || !text->as.map.len) {
        buf_put(b, frames->bytes, frames->size);
        return ERR_OK;
    }
    WebPMux *mux = WebPMuxCreate(frames, 0);
    buf exif = {0};
    put_exif(&exif, text);
    WebPData data = {(const uint8_t *)exif.ptr, exif.len}, out = {0};
    bool good = mux && WebPMuxSetChunk(mux, "EXIF", &data, 1) == WEBP_MUX_OK &&
                WebPMuxAssemble(mux, &out) == WEBP_MUX_OK;
    if (good) buf_put(b, out.bytes, out.size);
    WebPDataClear(&out);
    WebPMuxDelete(mux);
    buf_finish(&exif);
    if (good) return ERR_OK;
    FAIL(e, INTERNAL, "writing the texts of a WebP animation failed");
}

err_code image_encode_webp_animation(const image_animation *a, buf *b, err *e) {
    const image_bytes *px = &a->frames[0];
    if (!a->n_frames || (px->channels != 3 && px->channels != 4))
        FAIL(e, INVALID, "a WebP animation of %zu frames with %u channels", a->n_frames,
             px->channels);
    if (px->width > WEBP_MAX_DIMENSION || px->height > WEBP_MAX_DIMENSION)
        FAIL(e, LIMIT, "a WebP has at most %d pixels a side; this is %ux%u", WEBP_MAX_DIMENSION,
             px->width, px->height);
    WebPAnimEncoderOptions options;
    WebPAnimEncoderOptionsInit(&options);
    WebPAnimEncoder *enc = WebPAnimEncoderNew((int)px->width, (int)px->height, &options);
    if (!enc) FAIL(e, NOMEM, "no memory for a WebP animation");
    err_code code = ERR_OK;
    for (size_t i = 0; i < a->n_frames && code == ERR_OK; i++) code = add_frame(enc, a, i, e);
    WebPData out = {0};
    if (code == ERR_OK && (!WebPAnimEncoderAdd(enc, NULL, (int)a->n_frames * a->frame_ms, NULL) ||
                           !WebPAnimEncoderAssemble(enc, &out)))
        code = err_set(e, ERR_INTERNAL, "writing a WebP animation failed");
    WebPAnimEncoderDelete(enc);
    if (code == ERR_OK) code = finish_animation(&out, a->text, b, e);
    WebPDataClear(&out);
    return code;
}
