/* HEAD and POST /api/blobs/:digest: uploads, hashed while they arrive. */
#include "api/api.h"

typedef struct upload {
    store_writer *writer;
    str expect;
    err failure; /* code ERR_OK while all is well */
} upload;

void ollama_blob_head(http_request *r, void *ctx) {
    const api *a = ctx;
    str digest = http_request_param(r, "digest");
    if (!store_digest_valid(digest))
        api_reply_error(r, 400, "invalid digest format");
    else
        http_reply(r, store_blob_exists(a->store, digest) ? 200 : 404, NULL, STR(""));
}

/* Answers at once when there is nothing to receive. */
static void *begin(http_request *r, void *ctx) {
    const api *a = ctx;
    str digest = http_request_param(r, "digest");
    if (!store_digest_valid(digest)) {
        api_reply_error(r, 400, "invalid digest format");
        return NULL;
    }
    if (store_blob_exists(a->store, digest)) {
        http_reply(r, 200, NULL, STR(""));
        return NULL;
    }
    upload *u = NEW(upload);
    u->expect = str_fmt(http_request_arena(r), "sha256:" STR_FMT,
                        STR_ARG(str_sub(digest, sizeof "sha256:" - 1, digest.len)));
    if (store_writer_open(a->store, &u->writer, &u->failure)) {
        api_reply_err(r, &u->failure);
        mem_free(u);
        return NULL;
    }
    return u;
}

static bool piece(void *sink, const void *bytes, size_t n_bytes) {
    upload *u = sink;
    return u->failure.code == ERR_OK &&
           store_writer_put(u->writer, bytes, n_bytes, &u->failure) == ERR_OK;
}

static void abandon(void *sink) {
    upload *u = sink;
    store_writer_abort(&u->writer);
    mem_free(u);
}

const http_sink ollama_blob_sink = {begin, piece, abandon};

void ollama_blob_post(http_request *r, void *ctx) {
    (void)ctx;
    upload *u = http_request_sink(r);
    str digest;
    if (u->failure.code)
        store_writer_abort(&u->writer);
    else
        store_writer_commit(&u->writer, u->expect, http_request_arena(r), &digest, &u->failure);
    if (u->failure.code == ERR_OK)
        http_reply(r, 201, NULL, STR(""));
    else
        api_reply_err(r, &u->failure);
    mem_free(u);
}
