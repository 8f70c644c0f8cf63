/* Who may talk to us: the Host header against DNS rebinding, the Origin header against other
 * people's web pages. As Ollama does it, so that browsers' clients keep working. */
#include "base/limits.h"
#include "http/request.h"
#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

static const char ALLOWED_HEADERS[] =
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,"
    "X-Stainless-Async,X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,"
    "X-Stainless-Os,X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,"
    "X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout";

/* '*' matches any run of characters. */
static bool wildcard(str pattern, str text) {
    ptrdiff_t star = str_find_char(pattern, '*');
    if (star < 0) return str_eq(pattern, text);
    str head = str_sub(pattern, 0, (size_t)star),
        tail = str_sub(pattern, (size_t)star + 1, pattern.len);
    if (!str_starts(text, head)) return false;
    text = str_sub(text, head.len, text.len);
    for (;; text = str_sub(text, 1, text.len)) {
        if (wildcard(tail, text)) return true;
        if (text.len == 0) return false;
    }
}

static bool is_port(str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
    return s.len > 0;
}

static bool origin_listed(const http_server *s, str origin) {
    for (str list = str_from(s->config.origins); list.len;) {
        str pattern = str_trim(str_cut(&list, ','));
        if (pattern.len && wildcard(pattern, origin)) return true;
    }
    return false;
}

static bool origin_allowed(const http_server *s, str origin) {
    static const char *const hosts[] = {"localhost", "127.0.0.1", "0.0.0.0"};
    static const char *const apps[] = {"app://", "file://", "tauri://", "vscode-webview://",
                                       "vscode-file://"};
    for (size_t i = 0; i < COUNT_OF(apps); i++)
        if (str_starts(origin, str_from(apps[i]))) return true;
    str rest = origin;
    if (str_starts(rest, STR("http://")))
        rest = str_sub(rest, 7, rest.len);
    else if (str_starts(rest, STR("https://")))
        rest = str_sub(rest, 8, rest.len);
    else
        rest.len = 0;
    for (size_t i = 0; rest.len && i < COUNT_OF(hosts); i++) {
        str host = str_from(hosts[i]);
        if (!str_starts(rest, host)) continue;
        str port = str_sub(rest, host.len, rest.len);
        if (port.len == 0 || (port.ptr[0] == ':' && is_port(str_sub(port, 1, port.len))))
            return true;
    }
    return origin_listed(s, origin);
}

/* A loopback, private or unspecified literal. */
static bool address_allowed(const char *host) {
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        uint32_t a = ntohl(v4.s_addr);
        return a == 0 || a >> 24 == 127 || a >> 24 == 10 || a >> 20 == 0xAC1 || a >> 16 == 0xC0A8;
    }
    struct in6_addr v6;
    if (inet_pton(AF_INET6, host, &v6) != 1) return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6) ||
           (v6.s6_addr[0] & 0xFE) == 0xFC;
}

static bool host_allowed(http_request *r, str header) {
    static const char *const suffixes[] = {".localhost", ".local", ".internal"};
    if (header.len > 255) return false;
    str host = header;
    if (host.len && host.ptr[0] == '[') {
        ptrdiff_t end = str_find_char(host, ']');
        host = str_sub(host, 1, end < 0 ? host.len : (size_t)end);
    } else {
        ptrdiff_t colon = str_rfind_char(host, ':');
        bool one = colon >= 0 && colon == str_find_char(host, ':'); /* else a bare IPv6 literal */
        if (one) host = str_sub(host, 0, (size_t)colon);
    }
    host = str_lower(r->arena, host);
    if (host.len == 0 || str_eq(host, STR("localhost"))) return true;
    char own[256] = {0};
    if (gethostname(own, sizeof own - 1) == 0 && str_eq_nocase(host, str_from(own))) return true;
    for (size_t i = 0; i < COUNT_OF(suffixes); i++)
        if (str_ends(host, str_from(suffixes[i]))) return true;
    return address_allowed(host.ptr);
}

static void reply_preflight(http_request *r, str wanted) {
    http_reply_header(r, "Access-Control-Allow-Headers", ALLOWED_HEADERS);
    http_reply_header(r, "Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS");
    if (wanted.len) http_reply_header(r, "Access-Control-Max-Age", "43200");
    http_reply(r, 204, NULL, (str){0});
}

static bool refuse(http_request *r) {
    http_reply(r, 403, NULL, (str){0});
    return false;
}

/* host:port of an Origin; false for "null" and other opaque ones. */
static bool origin_host(str origin, str *ret_host) {
    ptrdiff_t at = str_find(origin, STR("://"));
    if (at < 0) return false;
    str rest = str_sub(origin, (size_t)at + 3, origin.len);
    *ret_host = str_cut(&rest, '/');
    return true;
}

static bool guard_sites(http_request *r) {
    const char *cors = r->server->config.origins;
    str host = http_request_header(r, "Host"), origin = http_request_header(r, "Origin"), from;
    if (cors && *cors) {
        http_reply_header(r, "Access-Control-Allow-Origin", cors);
        http_reply_header(r, "Access-Control-Allow-Methods",
                          "POST, GET, DELETE, PUT, OPTIONS, PATCH");
        http_reply_header(r, "Access-Control-Allow-Headers", "Content-Type, Authorization");
        http_reply_header(r, "Access-Control-Allow-Credentials", "true");
    } else if (str_eq(http_request_header(r, "Sec-Fetch-Site"), STR("cross-site"))) {
        return refuse(r);
    } else if (origin.len && r->server->loopback &&
               (!origin_host(origin, &from) || !str_eq_nocase(from, host))) {
        return refuse(r);
    }
    if (!str_eq(r->method, STR("OPTIONS"))) return true;
    http_reply(r, 200, NULL, (str){0});
    return false;
}

/* Same origin, or one that was listed; only those learn anything. */
static bool guard_same(http_request *r) {
    str host = http_request_header(r, "Host"), origin = http_request_header(r, "Origin"), from;
    if (origin.len && !(origin_host(origin, &from) && str_eq_nocase(from, host))) {
        if (!origin_listed(r->server, origin)) return refuse(r);
        http_reply_header(r, "Access-Control-Allow-Origin", str_cstr(r->arena, origin));
        http_reply_header(r, "Vary", "Origin");
    }
    if (!str_eq(r->method, STR("OPTIONS"))) return true;
    reply_preflight(r, http_request_header(r, "Access-Control-Request-Method"));
    return false;
}

bool http_guard(http_request *r) {
    if (r->server->loopback && !host_allowed(r, http_request_header(r, "Host"))) return refuse(r);
    if (r->server->config.guard == HTTP_GUARD_SITES) return guard_sites(r);
    if (r->server->config.guard == HTTP_GUARD_SAME) return guard_same(r);
    str origin = http_request_header(r, "Origin");
    if (origin.len) {
        if (!origin_allowed(r->server, origin)) return refuse(r);
        http_reply_header(r, "Access-Control-Allow-Origin", str_cstr(r->arena, origin));
        http_reply_header(r, "Vary", "Origin");
    }
    if (str_eq(r->method, STR("OPTIONS"))) {
        reply_preflight(r, http_request_header(r, "Access-Control-Request-Method"));
        return false;
    }
    return true;
}
