/* Compressed request bodies, through libzstd and zlib. */
#include "http/inflate.h"
#include <limits.h>
#include <zlib.h>
#include <zstd.h>

enum { PIECE_BYTES = 64 << 10, WINDOW_LOG_MAX = 25 /* 32 MB for what was seen before */ };

bool inflate_is_plain(str coding) {
    return coding.len == 0 || str_eq_nocase(coding, STR("identity"));
}

static err_code put(buf *ret, const char *piece, size_t n, uint64_t max_bytes, err *e) {
    if (n > max_bytes - ret->len)
        FAIL(e, LIMIT, "the request body is larger than %llu bytes when it is decompressed",
             (unsigned long long)max_bytes);
    buf_put(ret, piece, n);
    return ERR_OK;
}

static err_code from_zstd(ZSTD_DStream *z, str body, uint64_t max_bytes, buf *ret, err *e) {
    char piece[PIECE_BYTES];
    ZSTD_inBuffer in = {body.ptr, body.len, 0};
    size_t left = 1;
    if (!z || ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
        FAIL(e, INTERNAL, "zstd: no memory");
    for (bool more = true; more;) {
        ZSTD_outBuffer out = {piece, sizeof piece, 0};
        left = ZSTD_decompressStream(z, &out, &in);
        if (ZSTD_isError(left))
            FAIL(e, FORMAT, "the request body is not valid zstd: %s", ZSTD_getErrorName(left));
        TRY(put(ret, piece, out.pos, max_bytes, e));
        more = in.pos < in.size || out.pos == out.size;
    }
    if (left != 0) FAIL(e, FORMAT, "the request body is not valid zstd: it ends too early");
    return ERR_OK;
}

static err_code from_gzip(z_stream *z, str body, uint64_t max_bytes, buf *ret, err *e) {
    char piece[PIECE_BYTES];
    int code = Z_OK;
    if (body.len > UINT_MAX) FAIL(e, LIMIT, "the request body is too large");
    z->next_in = (z_const Bytef *)(uintptr_t)body.ptr;
    z->avail_in = (uInt)body.len;
    while (code == Z_OK) {
        z->next_out = (Bytef *)piece;
        z->avail_out = sizeof piece;
        code = inflate(z, Z_NO_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END)
            FAIL(e, FORMAT, "the request body is not valid gzip: %s",
                 code == Z_BUF_ERROR ? "it ends too early"
                 : z->msg            ? z->msg
                                     : "wrong bytes");
        TRY(put(ret, piece, sizeof piece - z->avail_out, max_bytes, e));
    }
    if (z->avail_in) FAIL(e, FORMAT, "the request body has bytes behind its gzip");
    return ERR_OK;
}

err_code inflate_body(str coding, str body, uint64_t max_bytes, buf *ret, err *e) {
    if (str_eq_nocase(coding, STR("zstd"))) {
        ZSTD_DStream *z = ZSTD_createDStream();
        err_code code = from_zstd(z, body, max_bytes, ret, e);
        ZSTD_freeDStream(z);
        return code;
    }
    if (str_eq_nocase(coding, STR("gzip"))) {
        z_stream z = {0};
        if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) FAIL(e, INTERNAL, "gzip: no memory");
        err_code code = from_gzip(&z, body, max_bytes, ret, e);
        inflateEnd(&z);
        return code;
    }
    FAIL(e, UNSUPPORTED,
         "request bodies with Content-Encoding \"%.40s\" are not read: send zstd, gzip or none",
         coding.ptr);
}
