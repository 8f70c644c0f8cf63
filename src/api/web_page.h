/* The page's files, embedded in the program.
 *
 * Built by `make` from web/ (tools/embed makes the table); a build without a front end has a table
 * with one plain page. Read-only, any thread. */
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

/* NULL when there is no such file. */
const web_asset *web_page_find(str path);
