/* Which hosts may be asked, which addresses may be connected to, and through which proxy.
 *
 * A registry's row names the hosts that its blobs are redirected to. The administrator's list comes
 * first and may name hosts of the own network; a "*" there opens the public internet only. */
#include "net/net_impl.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *registry, *storage; /* space-separated; "*.x" is any host below x */
} TABLE[] = {
    {"registry.ollama.ai", "*.ollama.ai ollama.com *.ollama.com *.r2.cloudflarestorage.com"},
    {"hf.co", "huggingface.co *.huggingface.co *.hf.co"},
    {"huggingface.co", "hf.co *.huggingface.co *.hf.co"},
};

/* host, host:port or *.domain */
static bool matches(str pattern, const net_target *t) {
    str host = str_from(t->host);
    ptrdiff_t colon = str_rfind_char(pattern, ':');
    bool v6 = pattern.len && pattern.ptr[0] == '[';
    if (v6) {
        ptrdiff_t end = str_find_char(pattern, ']');
        if (end < 0) return false;
        colon = (size_t)end + 1 < pattern.len ? end + 1 : -1;
    } else if (colon >= 0 && colon != str_find_char(pattern, ':')) {
        colon = -1; /* a bare IPv6 literal */
    }
    if (colon >= 0) {
        int64_t port;
        if (!str_to_i64(str_sub(pattern, (size_t)colon + 1, pattern.len), &port) || port != t->port)
            return false;
        pattern = str_sub(pattern, 0, (size_t)colon);
    }
    if (v6) pattern = str_sub(pattern, 1, pattern.len - 1);
    if (str_starts(pattern, STR("*."))) {
        str tail = str_sub(pattern, 1, pattern.len);
        return host.len > tail.len &&
               str_eq_nocase(str_sub(host, host.len - tail.len, host.len), tail);
    }
    return str_eq_nocase(pattern, host);
}

static bool in_list(str list, char sep, const net_target *t) {
    while (list.len) {
        str one = str_trim(str_cut(&list, sep));
        if (one.len && !str_eq(one, STR("*")) && matches(one, t)) return true;
    }
    return false;
}

static bool list_has_star(str list) {
    while (list.len)
        if (str_eq(str_trim(str_cut(&list, ',')), STR("*"))) return true;
    return false;
}

net_verdict net_policy(const char *hosts, const net_target *t, str home) {
    str list = str_from(hosts);
    if (in_list(list, ',', t)) return NET_ANY;
    if (list_has_star(list)) return NET_PUBLIC;
    if (t->port != (t->tls ? 443 : 80)) return NET_REFUSED; /* the table's hosts are on theirs */
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (!str_eq_nocase(home, str_from(TABLE[i].registry))) continue;
        if (matches(str_from(TABLE[i].registry), t) || in_list(str_from(TABLE[i].storage), ' ', t))
            return NET_PUBLIC;
    }
    return NET_REFUSED;
}

static bool v4_is_public(uint32_t a) { /* host order */
    static const struct {
        uint32_t net;
        int bits;
    } CLOSED[] = {
        {0x00000000, 8},  {0x0A000000, 8},  {0x64400000, 10}, {0x7F000000, 8},  {0xA9FE0000, 16},
        {0xAC100000, 12}, {0xC0000000, 24}, {0xC0000200, 24}, {0xC0A80000, 16}, {0xC6120000, 15},
        {0xC6336400, 24}, {0xCB007100, 24}, {0xC0586300, 24}, {0xE0000000, 3},
    };
    for (size_t i = 0; i < sizeof CLOSED / sizeof *CLOSED; i++)
        if ((a ^ CLOSED[i].net) >> (32 - CLOSED[i].bits) == 0) return false;
    return true;
}

static bool v6_is_public(const uint8_t b[16]) {
    static const uint8_t MAPPED[12] = {[10] = 0xFF, [11] = 0xFF};
    static const uint8_t NAT64[12] = {0x00, 0x64, 0xFF, 0x9B};
    uint32_t tail = (uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 | b[15];
    if (memcmp(b, MAPPED, 12) == 0 || memcmp(b, NAT64, 12) == 0) return v4_is_public(tail);
    if (b[0] == 0x20 && b[1] == 0x02) /* 6to4 carries an IPv4 address */
        return v4_is_public((uint32_t)b[2] << 24 | (uint32_t)b[3] << 16 | (uint32_t)b[4] << 8 |
                            b[5]);
    if (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0D && b[3] == 0xB8) return false; /* examples */
    if (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0) return false;       /* Teredo */
    return (b[0] & 0xE0) == 0x20; /* global unicast is 2000::/3 */
}

bool net_addr_is_public(const struct sockaddr *addr) {
    if (addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof in);
        return v4_is_public(ntohl(in.sin_addr.s_addr));
    }
    if (addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, addr, sizeof in);
        return v6_is_public(in.sin6_addr.s6_addr);
    }
    return false;
}

static bool literal(const char *host, struct sockaddr_storage *ret) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(ret, &v4, sizeof v4);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(ret, &v6, sizeof v6);
        return true;
    }
    return false;
}

bool net_host_is_private(const char *host) {
    struct sockaddr_storage addr;
    str h = str_from(host);
    if (str_eq_nocase(h, STR("localhost")) || str_ends(h, STR(".localhost"))) return true;
    return literal(host, &addr) && !net_addr_is_public((const struct sockaddr *)&addr);
}

static bool is_this_machine(const char *host) {
    return strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0;
}

const char *net_proxy_for(const net_config *c, const net_target *t) {
    const char *proxy = t->tls ? c->https_proxy : c->http_proxy;
    if (!proxy || !*proxy || is_this_machine(t->host)) return NULL;
    for (str list = str_from(c->no_proxy); list.len;) {
        str one = str_trim(str_cut(&list, ','));
        str host = str_from(t->host);
        if (one.len == 0) continue;
        if (str_eq(one, STR("*")) || matches(one, t)) return NULL;
        while (one.len && one.ptr[0] == '.') one = str_sub(one, 1, one.len);
        if (host.len > one.len && host.ptr[host.len - one.len - 1] == '.' &&
            str_eq_nocase(str_sub(host, host.len - one.len, host.len), one))
            return NULL;
    }
    return proxy;
}

/* ---- URLs ---- */

static bool url_part(CURLU *u, CURLUPart part, unsigned flags, char *dst, size_t room) {
    char *text = NULL;
    bool ok = curl_url_get(u, part, &text, flags) == CURLUE_OK && strlen(text) < room;
    if (ok) memcpy(dst, text, strlen(text) + 1);
    curl_free(text);
    return ok;
}

err_code net_target_parse(str url, net_target *ret, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    char scheme[16], host[NET_HOST_BYTES + 8], port[16], user[64];
    CURLU *u = curl_url();
    bool ok = url.len < 8192 && !memchr(url.ptr, 0, url.len) &&
              curl_url_set(u, CURLUPART_URL, str_cstr(a, url), 0) == CURLUE_OK &&
              url_part(u, CURLUPART_SCHEME, 0, scheme, sizeof scheme) &&
              url_part(u, CURLUPART_HOST, 0, host, sizeof host) &&
              url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof port) &&
              !url_part(u, CURLUPART_USER, 0, user, sizeof user);
    curl_url_cleanup(u);
    if (!ok) FAIL(e, INVALID, "\"" STR_FMT "\" is not a URL", STR_ARG(str_sub(url, 0, 300)));
    str h = str_lower(a, str_from(host));
    if (h.len > 2 && h.ptr[0] == '[') h = str_sub(h, 1, h.len - 1);
    while (h.len && h.ptr[h.len - 1] == '.') h.len--;
    if (h.len == 0 || h.len >= NET_HOST_BYTES) FAIL(e, INVALID, "a URL without a host");
    int64_t number = 0;
    str_to_i64(str_from(port), &number);
    *ret = (net_target){.tls = strcasecmp(scheme, "https") == 0, .port = (int)number};
    memcpy(ret->host, h.ptr, h.len);
    if (!ret->tls && strcasecmp(scheme, "http") != 0)
        FAIL(e, UNSUPPORTED, "%s:// addresses are not asked", scheme);
    return ERR_OK;
}

err_code net_url_host(arena *a, str url, str *ret, err *e) {
    net_target t;
    TRY(net_target_parse(url, &t, e));
    bool v6 = strchr(t.host, ':') != NULL;
    str host = str_fmt(a, "%s%s%s", v6 ? "[" : "", t.host, v6 ? "]" : "");
    *ret = t.port == (t.tls ? 443 : 80) ? host : str_fmt(a, STR_FMT ":%d", STR_ARG(host), t.port);
    return ERR_OK;
}

err_code net_url_join(arena *a, str base, str location, str *ret, err *e) {
    char *text = NULL;
    CURLU *u = curl_url();
    bool ok = location.len && location.len < 8192 &&
              curl_url_set(u, CURLUPART_URL, str_cstr(a, base), 0) == CURLUE_OK &&
              curl_url_set(u, CURLUPART_URL, str_cstr(a, location), 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK;
    if (ok) *ret = str_dup(a, str_from(text));
    curl_free(text);
    curl_url_cleanup(u);
    if (!ok)
        FAIL(e, FORMAT, "\"" STR_FMT "\" is not an address to go to",
             STR_ARG(str_sub(location, 0, 300)));
    return ERR_OK;
}
