/* Addresses as OLLAMA_HOST writes them. */
#include "http/http.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static void set_host(http_addr *a, str host) {
    if (host.len == 0) host = STR("127.0.0.1");
    if (host.len >= sizeof a->host) host.len = sizeof a->host - 1;
    memcpy(a->host, host.ptr, host.len);
    a->host[host.len] = '\0';
}

http_addr http_addr_parse(const char *text, int default_port) {
    http_addr a = {.port = default_port};
    str s = str_trim(str_from(text));
    while (s.len >= 2 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0])
        s = str_sub(s, 1, s.len - 1);
    a.off = str_eq_nocase(s, STR("off"));
    ptrdiff_t scheme = str_find(s, STR("://"));
    if (scheme >= 0) {
        a.tls = str_eq_nocase(str_sub(s, 0, (size_t)scheme), STR("https"));
        a.port = a.tls ? 443 : 80;
        s = str_sub(s, (size_t)scheme + 3, s.len);
    }
    s = str_cut(&s, '/');
    str host = s, port = {0};
    if (s.len && s.ptr[0] == '[') { /* [::1]:port */
        ptrdiff_t end = str_find_char(s, ']');
        host = str_sub(s, 1, end < 0 ? s.len : (size_t)end);
        str rest = end < 0 ? (str){0} : str_sub(s, (size_t)end + 1, s.len);
        if (str_starts(rest, STR(":"))) port = str_sub(rest, 1, rest.len);
    } else {
        ptrdiff_t colon = str_rfind_char(s, ':');
        if (colon >= 0 && colon == str_find_char(s, ':')) { /* one colon: not an IPv6 literal */
            host = str_sub(s, 0, (size_t)colon);
            port = str_sub(s, (size_t)colon + 1, s.len);
        }
    }
    int64_t number;
    if (str_to_i64(port, &number) && number >= 0 && number <= 65535)
        a.port = (int)number;
    else if (port.len)
        a.port = default_port;
    set_host(&a, host);
    return a;
}

void http_addr_url(const http_addr *addr, char *out, size_t n_bytes) {
    const char *host = addr->host;
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0) host = "127.0.0.1";
    bool v6 = strchr(host, ':') != NULL;
    snprintf(out, n_bytes, "%s://%s%s%s:%d", addr->tls ? "https" : "http", v6 ? "[" : "", host,
             v6 ? "]" : "", addr->port);
}

bool http_addr_is_loopback(const http_addr *addr) {
    return strncmp(addr->host, "127.", 4) == 0 || strcmp(addr->host, "::1") == 0 ||
           strcasecmp(addr->host, "localhost") == 0;
}
