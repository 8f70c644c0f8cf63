/* Finds the route of a path: a short table, matched segment by segment. */
#include "http/request.h"
#include <string.h>

str http_decode(arena *a, str s, bool plus) {
    char *out = str_cstr(a, s);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        int hi = -1, lo = -1;
        static const char hex[] = "0123456789abcdef";
        if (s.ptr[i] == '%' && i + 2 < s.len) {
            const char *h = strchr(hex, s.ptr[i + 1] | 0x20), *l = strchr(hex, s.ptr[i + 2] | 0x20);
            if (h && l && *h && *l) hi = (int)(h - hex), lo = (int)(l - hex);
        }
        if (hi >= 0 && lo >= 0) {
            out[n++] = (char)(hi << 4 | lo);
            i += 2;
        } else {
            out[n++] = plus && s.ptr[i] == '+' ? ' ' : s.ptr[i];
        }
    }
    out[n] = '\0';
    return (str){out, n};
}

str http_decode_path(arena *a, str path) {
    return http_decode(a, path, false);
}

static bool match(const char *pattern, http_request *r) {
    str p = str_from(pattern), path = r->path;
    r->n_params = 0;
    while (p.len && path.len) {
        if (p.ptr[0] == ':' || p.ptr[0] == '*') {
            size_t name_len = 1;
            while (name_len < p.len && p.ptr[name_len] != '/') name_len++;
            ptrdiff_t slash = p.ptr[0] == '*' ? -1 : str_find_char(path, '/');
            size_t n = slash < 0 ? path.len : (size_t)slash;
            if (n == 0 || r->n_params == HTTP_PARAMS_MAX) return false;
            r->params[r->n_params++] = (http_param){
                p.ptr + 1, name_len - 1, http_decode(r->arena, str_sub(path, 0, n), false)};
            p = str_sub(p, name_len, p.len);
            path = str_sub(path, n, path.len);
        } else if (p.ptr[0] == path.ptr[0]) {
            p = str_sub(p, 1, p.len);
            path = str_sub(path, 1, path.len);
        } else {
            return false;
        }
    }
    return p.len == 0 && path.len == 0;
}

static const http_route *find(const http_mount *m, http_request *r, str method) {
    for (size_t i = 0; i < m->n_routes; i++) {
        const http_route *route = &m->routes[i];
        if (str_eq(str_from(route->method), method) && match(route->pattern, r)) return route;
    }
    return NULL;
}

/* The path without the second prefix; false when it has none, or may not be without it. */
static bool without_prefix(const http_mount *m, str path, str *ret_path) {
    str prefix = str_from(m->also_prefix);
    if (prefix.len == 0 || !str_starts(path, prefix)) return false;
    *ret_path = str_sub(path, prefix.len, path.len);
    return str_starts(*ret_path, STR("/")) && !str_starts(*ret_path, STR("/internal/"));
}

static const http_route *find_prefixed(const http_mount *m, http_request *r, str method) {
    str path = r->path, shorter;
    const http_route *route = find(m, r, method);
    if (!route && without_prefix(m, path, &shorter)) {
        r->path = shorter;
        route = find(m, r, method);
        if (!route) r->path = path;
    }
    return route;
}

/* The table of the path: a mount's, whose prefix is then gone from it, or the server's own. */
static http_mount table_of(const http_config *c, http_request *r) {
    for (size_t i = 0; i < c->n_mounts; i++) {
        str prefix = str_from(c->mounts[i].prefix);
        if (!str_starts(r->path, prefix)) continue;
        str rest = str_sub(r->path, prefix.len, r->path.len);
        if (!str_starts(rest, STR("/"))) continue;
        r->path = rest;
        return c->mounts[i];
    }
    return (http_mount){.prefix = "",
                        .routes = c->routes,
                        .n_routes = c->n_routes,
                        .ctx = c->ctx,
                        .also_prefix = c->also_prefix,
                        .head_gets = c->head_gets,
                        .upload_dir = c->upload_dir,
                        .upload_bytes_max = c->upload_bytes_max};
}

const http_route *http_route_find(const http_server *s, http_request *r) {
    r->mount = table_of(&s->config, r);
    const http_route *route = find_prefixed(&r->mount, r, r->method);
    if (!route && r->mount.head_gets && str_eq(r->method, STR("HEAD")))
        route = find_prefixed(&r->mount, r, STR("GET"));
    bool reads = str_eq(r->method, STR("GET")) || str_eq(r->method, STR("HEAD"));
    bool own = !*r->mount.prefix;
    return !route && own && reads && s->config.fallback ? &s->fallback : route;
}

void http_route_reply_missing(http_request *r) {
    const http_mount *c = &r->mount;
    buf allow = {0};
    str path = r->path, shorter;
    if (without_prefix(c, path, &shorter)) r->path = shorter;
    for (size_t i = 0; i < c->n_routes; i++)
        if (match(c->routes[i].pattern, r))
            buf_putf(&allow, "%s%s", allow.len ? ", " : "", c->routes[i].method);
    if (allow.len) {
        http_reply_header(r, "Allow", str_cstr(r->arena, buf_str(&allow)));
        http_reply_text(r, 405, "405 method not allowed");
    } else if (path.len > 1 && str_ends(path, STR("/"))) {
        r->path = str_sub(path, 0, path.len - 1); /* "/api/tags/" is told where to go */
        bool exists = false;
        for (size_t i = 0; i < c->n_routes && !exists; i++) exists = match(c->routes[i].pattern, r);
        if (exists) http_reply_header(r, "Location", str_cstr(r->arena, r->path));
        if (exists)
            http_reply(r, 301, "text/html; charset=utf-8",
                       str_fmt(r->arena, "<a href=\"" STR_FMT "\">Moved Permanently</a>.\n\n",
                               STR_ARG(r->path)));
        else
            http_reply_text(r, 404, "404 page not found");
    } else {
        http_reply_text(r, 404, "404 page not found");
    }
    buf_finish(&allow);
}
