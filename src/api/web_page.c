/* Finds one of the page's files in the sorted table. */
#include "api/web_page.h"
#include <stdlib.h>
#include <string.h>

static int compare(const void *key, const void *row) {
    const str *path = key;
    str name = str_from(((const web_asset *)row)->path);
    size_t n = name.len < path->len ? name.len : path->len;
    int order = n ? memcmp(path->ptr, name.ptr, n) : 0;
    return order ? order : (path->len > name.len) - (path->len < name.len);
}

const web_asset *web_page_find(str path) {
    return bsearch(&path, WEB_ASSETS, WEB_ASSETS_N, sizeof *WEB_ASSETS, compare);
}
