/* The table's place until a front end is built in: one page that says where things are. */
#include "api/web_page.h"

static const char SHELL[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>hob</title>"
    "<p>This build has no front end; the API is described in docs/web-api.md.</p></html>\n";

static const web_asset ASSETS[] = {{.path = "/index.html",
                                    .content_type = "text/html; charset=utf-8",
                                    .etag = "\"none\"",
                                    .bytes = (const unsigned char *)SHELL,
                                    .n_bytes = sizeof SHELL - 1}};

const web_asset *web_page_find(str path) {
    for (size_t i = 0; i < COUNT_OF(ASSETS); i++)
        if (str_eq(path, str_from(ASSETS[i].path))) return &ASSETS[i];
    return NULL;
}
