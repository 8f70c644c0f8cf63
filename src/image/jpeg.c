/* JPEG through libjpeg-turbo. Errors come by longjmp: all state is in one struct that outlives the
 * jump, and only the outermost function frees. */
#include "base/limits.h"
#include "image/image_impl.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

typedef struct jpeg_job {
    struct jpeg_decompress_struct in;
    struct jpeg_compress_struct out;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    image im;
    uint8_t *row;
    unsigned char *written; /* malloc'ed by the library */
    unsigned long n_written;
    int orientation;
    err *e;
} jpeg_job;

static void on_error(j_common_ptr c) {
    jpeg_job *j = c->client_data;
    char msg[JMSG_LENGTH_MAX];
    c->err->format_message(c, msg);
    if (j->e->code == ERR_OK) err_set(j->e, ERR_FORMAT, "damaged JPEG: %s", msg);
    longjmp(j->jump, 1);
}

/* Warnings (level -1) are mostly harmless; a file that ends too early is not. */
static void on_message(j_common_ptr c, int level) {
    if (level >= 0 || c->err->msg_code != JWRN_JPEG_EOF) return;
    jpeg_job *j = c->client_data;
    err_set(j->e, ERR_FORMAT, "damaged JPEG: the file ends too early");
    longjmp(j->jump, 1);
}

/* Progressive files may hold very many passes over few bytes. */
static void on_progress(j_common_ptr c) {
    jpeg_job *j = c->client_data;
    if (j->in.input_scan_number <= LIMIT_JPEG_SCANS) return;
    err_set(j->e, ERR_LIMIT, "the JPEG has more than %d scans", LIMIT_JPEG_SCANS);
    longjmp(j->jump, 1);
}

static void errors_init(jpeg_job *j, struct jpeg_error_mgr **at) {
    *at = jpeg_std_error(&j->errors);
    j->errors.error_exit = on_error;
    j->errors.emit_message = on_message;
}

/* CMYK to RGB. The inks are stored inverted, as Adobe writes them; files of four colours from
 * elsewhere are rare, and others read them in the same way. */
static void put_cmyk(const uint8_t *row, size_t n, float *rgb) {
    for (size_t x = 0; x < n; x++)
        for (int c = 0; c < 3; c++) {
            unsigned v = (unsigned)row[x * 4 + c] * row[x * 4 + 3] + 128;
            rgb[x * 3 + c] = (float)(((v >> 8) + v) >> 8) / 255.0f;
        }
}

static bool read_all(jpeg_job *j) {
    if (setjmp(j->jump)) return false;
    jpeg_save_markers(&j->in, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&j->in, TRUE);
    for (jpeg_saved_marker_ptr m = j->in.marker_list; m; m = m->next)
        if (m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            j->orientation = image_exif_orientation(m->data, m->data_length);
    bool cmyk = j->in.num_components == 4;
    j->in.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    j->im = (image){.width = j->in.image_width, .height = j->in.image_height, .n_frames = 1};
    if (image_alloc("JPEG", &j->im, false, j->e) != ERR_OK) return false;
    j->in.progress = &j->progress;
    jpeg_start_decompress(&j->in);
    size_t w = j->im.width;
    j->row = malloc(w * 4);
    if (!j->row) return false;
    while (j->in.output_scanline < j->in.output_height) {
        float *rgb = j->im.rgb + (size_t)j->in.output_scanline * w * 3;
        JSAMPROW rows[1] = {j->row};
        if (jpeg_read_scanlines(&j->in, rows, 1) != 1) return false;
        if (cmyk)
            put_cmyk(j->row, w, rgb);
        else
            for (size_t i = 0; i < w * 3; i++) rgb[i] = (float)j->row[i] / 255.0f;
    }
    jpeg_finish_decompress(&j->in);
    return true;
}

err_code image_decode_jpeg(const uint8_t *src, size_t n, image *ret, err *e) {
    err local = {0};
    jpeg_job *j = calloc(1, sizeof *j);
    if (!j) FAIL(e, NOMEM, "no memory for reading a JPEG");
    j->e = &local;
    j->orientation = 1;
    j->in.client_data = j;
    j->progress.progress_monitor = on_progress;
    errors_init(j, &j->in.err);
    bool done = false;
    if (setjmp(j->jump) == 0) {
        jpeg_create_decompress(&j->in);
        j->in.mem->max_memory_to_use = 1L << 30;
        jpeg_mem_src(&j->in, src, n);
        done = read_all(j);
    }
    jpeg_destroy_decompress(&j->in);
    free(j->row);
    if (done) done = image_orient(&j->im, j->orientation, &local) == ERR_OK;
    image im = j->im;
    free(j);
    if (done) {
        *ret = im;
        return ERR_OK;
    }
    image_finish(&im);
    if (local.code == ERR_OK) err_set(&local, ERR_NOMEM, "no memory for reading a JPEG");
    return err_set(e, local.code, "%s", local.msg);
}

/* ---- writing */

static bool write_all(jpeg_job *j, const image_bytes *px, int quality) {
    if (setjmp(j->jump)) return false;
    jpeg_mem_dest(&j->out, &j->written, &j->n_written);
    j->out.image_width = px->width;
    j->out.image_height = px->height;
    j->out.input_components = px->channels == 1 ? 1 : 3;
    j->out.in_color_space = px->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&j->out);
    jpeg_set_quality(&j->out, quality, TRUE);
    jpeg_start_compress(&j->out, TRUE);
    const uint8_t *from = px->px;
    for (size_t y = 0; y < px->height; y++) {
        for (size_t x = 0; x < px->width; x++, from += px->channels) {
            if (px->channels == 1)
                j->row[x] = from[0];
            else
                memcpy(j->row + x * 3, from, 3);
        }
        JSAMPROW rows[1] = {j->row};
        jpeg_write_scanlines(&j->out, rows, 1);
    }
    jpeg_finish_compress(&j->out);
    return true;
}

err_code image_encode_jpeg(const image_bytes *px, int quality, buf *b, err *e) {
    if ((px->channels != 1 && px->channels != 3 && px->channels != 4) || px->deep)
        FAIL(e, INVALID, "a JPEG of %u channels cannot be written", px->channels);
    TRY(image_check_size("JPEG", px->width, px->height, 1, e));
    err local = {0};
    jpeg_job *j = calloc(1, sizeof *j);
    if (!j) FAIL(e, NOMEM, "no memory for writing a JPEG");
    j->e = &local;
    j->out.client_data = j;
    errors_init(j, &j->out.err);
    j->row = malloc((size_t)px->width * 3);
    bool done = false;
    if (j->row && setjmp(j->jump) == 0) {
        jpeg_create_compress(&j->out);
        done = write_all(j, px, quality < 0 ? 0 : quality > 100 ? 100 : quality);
    }
    if (done) buf_put(b, j->written, j->n_written);
    jpeg_destroy_compress(&j->out);
    free(j->written);
    free(j->row);
    free(j);
    if (done) return ERR_OK;
    FAIL(e, INTERNAL, "writing a JPEG failed: %s", local.msg);
}
