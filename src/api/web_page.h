/* The page's files, embedded in the program.
 *
 * Built by `make` from web/; tools/web-embed makes the table, sorted by path. Read-only, any
 * thread. */
#pragma once
#include "base/str.h"

typedef struct web_asset {
    const char *path;         /* "/assets/index-3f9c.js"; the app shell is "/index.html" */
    const char *content_type; /* "text/javascript; charset=utf-8" */
    const char *etag;         /* quoted: "\"3f9c\"" */
    const unsigned char *bytes;
    size_t n_bytes;
    const unsigned char *gzip; /* the same bytes, compressed; NULL when it would not help */
    size_t n_gzip;
    bool immutable; /* its name holds its hash: kept for a year */
} web_asset;

extern const web_asset WEB_ASSETS[];
extern const size_t WEB_ASSETS_N;

/* NULL when there is no such file. */
const web_asset *web_page_find(str path);
