/* Requests on libcurl's easy interface, one handle each, kept for their connections.
 *
 * net_send goes hop by hop: check the host, perform, look for a redirect. The socket callback sees
 * the address that libcurl is about to connect to and refuses what is not public. Through a proxy
 * the proxy resolves: then only literal addresses can be judged, by their text. */
#include "net/net.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/vec.h"
#include "net/net_impl.h"
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HANDLES_KEPT = 32, SMALL_TIMEOUT_S = 120, SLOWEST_BYTES_S = 256, EXPECT_BYTES = 1 << 20 };

struct net {
    arena *mem;
    net_config c;
    pthread_mutex_t mu;
    VEC(CURL *) idle;
};

typedef struct hop {
    const net *n;
    const net_request *q;
    net_target target;
    bool proxied, any_address, to_sink;
    bool closed_address, too_much, sink_stopped, begun;
    buf headers, body;
    uint64_t n_got, body_sent;
    long status;
    CURL *curl;
    str url;
} hop;

static const char *keep(arena *a, const char *s) {
    return s && *s ? str_cstr(a, str_from(s)) : NULL;
}

net *net_create(const net_config *c) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    net *n = NEW(net);
    n->mem = arena_create(0);
    n->c = (net_config){.user_agent = keep(n->mem, c->user_agent),
                        .hosts = keep(n->mem, c->hosts),
                        .http_proxy = keep(n->mem, c->http_proxy),
                        .https_proxy = keep(n->mem, c->https_proxy),
                        .no_proxy = keep(n->mem, c->no_proxy),
                        .ca_file = keep(n->mem, c->ca_file),
                        .stall_s = c->stall_s > 0 ? c->stall_s : 30};
    pthread_mutex_init(&n->mu, NULL);
    return n;
}

void net_destroy(net **at) {
    net *n = *at;
    if (!n) return;
    for (size_t i = 0; i < n->idle.len; i++) curl_easy_cleanup(n->idle.items[i]);
    VEC_FINISH(n->idle);
    pthread_mutex_destroy(&n->mu);
    arena_destroy(&n->mem);
    mem_free(n);
    *at = NULL;
    curl_global_cleanup();
}

static CURL *take_handle(net *n) {
    pthread_mutex_lock(&n->mu);
    CURL *h = n->idle.len ? VEC_POP(n->idle) : NULL;
    pthread_mutex_unlock(&n->mu);
    if (!h) h = curl_easy_init();
    if (h) curl_easy_reset(h);
    return h;
}

static void give_handle(net *n, CURL *h) {
    pthread_mutex_lock(&n->mu);
    bool room = n->idle.len < HANDLES_KEPT;
    if (room) VEC_PUSH(n->idle, h);
    pthread_mutex_unlock(&n->mu);
    if (!room) curl_easy_cleanup(h);
}

/* ---- what comes ---- */

str net_reply_header(const net_reply *r, const char *name) {
    str rest = r->headers, want = str_from(name);
    while (rest.len) {
        str line = str_cut(&rest, '\n');
        str key = str_trim(str_cut(&line, ':'));
        if (line.ptr && str_eq_nocase(key, want)) return str_trim(line);
    }
    return (str){0};
}

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
    hop *h = arg;
    size_t len = size * n;
    if (len >= 5 && memcmp(p, "HTTP/", 5) == 0) buf_clear(&h->headers); /* after a 100 */
    if (h->headers.len + len > LIMIT_NET_HEADER_BYTES) {
        h->too_much = true;
        return 0;
    }
    buf_put(&h->headers, p, len);
    return len;
}

static net_reply head_of(hop *h) {
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &h->status);
    return (net_reply){.status = (int)h->status, .headers = buf_str(&h->headers), .url = h->url};
}

static bool is_redirect(const hop *h) {
    return !h->q->no_follow && (h->status == 301 || h->status == 302 || h->status == 303 ||
                                h->status == 307 || h->status == 308);
}

static bool begin(hop *h) {
    if (h->begun) return !h->sink_stopped;
    h->begun = true;
    net_reply head = head_of(h);
    const net_sink *sink = h->q->sink;
    h->to_sink = sink && h->status / 100 == 2;
    if (h->to_sink && sink->begin && !sink->begin(sink->arg, &head)) h->sink_stopped = true;
    return !h->sink_stopped;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    hop *h = arg;
    size_t len = size * n;
    if (!begin(h)) return 0;
    uint64_t max = h->q->reply_max ? h->q->reply_max : LIMIT_NET_REPLY_BYTES;
    if (!h->to_sink && max > LIMIT_NET_REPLY_BYTES) max = LIMIT_NET_REPLY_BYTES;
    h->n_got += len;
    if (h->n_got > max) {
        h->too_much = true;
        return 0;
    }
    if (!h->to_sink) {
        buf_put(&h->body, p, len);
        return len;
    }
    if (h->q->sink->piece(h->q->sink->arg, p, len)) return len;
    h->sink_stopped = true;
    return 0;
}

static size_t on_read(char *dst, size_t size, size_t n, void *arg) {
    hop *h = arg;
    uint64_t left = h->q->body_bytes - h->body_sent;
    size_t room = size * n < left ? size * n : (size_t)left;
    size_t got = room ? h->q->read(h->q->read_arg, dst, room) : 0;
    if (room && got == 0) return CURL_READFUNC_ABORT;
    h->body_sent += got;
    return got;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    const hop *h = arg;
    return h->q->cancel && atomic_load(h->q->cancel);
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr) {
    hop *h = arg;
    (void)purpose;
    if (!h->proxied && !h->any_address && !net_addr_is_public(&addr->addr)) {
        h->closed_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

/* ---- one hop ---- */

static void set_limits(const hop *h) {
    const net_config *c = &h->n->c;
    bool bulk = h->q->sink || h->q->read;
    curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT, (long)c->stall_s);
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_LIMIT, bulk ? (long)SLOWEST_BYTES_S : 1L);
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, (long)c->stall_s);
    if (!bulk) curl_easy_setopt(h->curl, CURLOPT_TIMEOUT, (long)SMALL_TIMEOUT_S);
    curl_easy_setopt(h->curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(h->curl, CURLOPT_OPENSOCKETDATA, h);
    if (c->ca_file) curl_easy_setopt(h->curl, CURLOPT_CAINFO, c->ca_file);
}

static void set_body(hop *h, const char *method) {
    const net_request *q = h->q;
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(h->curl, CURLOPT_NOBODY, 1L);
    } else if (q->read) {
        curl_easy_setopt(h->curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(h->curl, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(h->curl, CURLOPT_READDATA, h);
        curl_easy_setopt(h->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->body_bytes);
        curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
    } else if (q->body.ptr || strcmp(method, "GET") != 0) {
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, q->body.ptr ? q->body.ptr : "");
        curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
    }
}

static struct curl_slist *set_headers(hop *h, arena *a, bool with_auth) {
    struct curl_slist *list = curl_slist_append(NULL, "Accept-Encoding: identity");
    const net_request *q = h->q;
    bool typed = false;
    /* a large body is sent when it is wanted: it may be sent on, and a redirect costs nothing */
    bool ask_first = q->read && q->body_bytes > EXPECT_BYTES;
    list = curl_slist_append(list, ask_first ? "Expect: 100-continue" : "Expect:");
    for (size_t i = 0; i < q->n_headers; i++) {
        list = curl_slist_append(list, str_cstr(a, q->headers[i]));
        typed = typed || str_starts(q->headers[i], STR("Content-Type:"));
    }
    if (!typed) list = curl_slist_append(list, "Content-Type:");
    if (with_auth && q->authorization.len)
        list = curl_slist_append(
            list, str_fmt(a, "Authorization: " STR_FMT, STR_ARG(q->authorization)).ptr);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, list);
    return list;
}

/* Get "https://...": as clients of these APIs know it. */
static err_code failed(const hop *h, const char *method, const char *why, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    return err_set(e, ERR_IO, "%c%s \"" STR_FMT "\": %s", method[0],
                   str_lower(a, str_from(method + 1)).ptr, STR_ARG(h->url), why);
}

static err_code judge(hop *h, CURLcode code, const char *method, const char *text, err *e) {
    if (h->closed_address)
        FAIL(e, UNSUPPORTED,
             "%s is at an address of a private network, which is not asked; if it is yours, list "
             "it: HOB_REGISTRIES=%s:%d",
             h->target.host, h->target.host, h->target.port);
    if (h->too_much)
        FAIL(e, LIMIT, "%s \"" STR_FMT "\": the answer is larger than it may be", method,
             STR_ARG(h->url));
    if (h->sink_stopped) FAIL(e, CANCELLED, "stopped");
    if (code == CURLE_ABORTED_BY_CALLBACK) FAIL(e, CANCELLED, "the download was cancelled");
    if (code == CURLE_OK) return ERR_OK;
    return failed(h, method, *text ? text : curl_easy_strerror(code), e);
}

static err_code perform(net *n, hop *h, const char *method, bool with_auth, err *e) {
    char text[CURL_ERROR_SIZE] = "";
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    h->curl = take_handle(n);
    if (!h->curl) FAIL(e, NOMEM, "no memory for a connection");
    const char *proxy = net_proxy_for(&n->c, &h->target);
    h->proxied = proxy != NULL;
    curl_easy_setopt(h->curl, CURLOPT_URL, str_cstr(a, h->url));
    curl_easy_setopt(h->curl, CURLOPT_PROXY, proxy ? proxy : "");
    curl_easy_setopt(h->curl, CURLOPT_USERAGENT, n->c.user_agent);
    curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFODATA, h);
    set_limits(h);
    set_body(h, method);
    struct curl_slist *list = set_headers(h, a, with_auth);
    if (h->q->read && h->q->rewind) h->q->rewind(h->q->read_arg);
    CURLcode code = curl_easy_perform(h->curl);
    if (code == CURLE_OK && !begin(h)) code = CURLE_WRITE_ERROR; /* an empty body */
    err_code result = judge(h, code, method, text, e);
    curl_slist_free_all(list);
    give_handle(n, h->curl);
    return result;
}

/* ---- all hops ---- */

static err_code check(const net *n, const net_target *t, str home, bool plain,
                      bool *ret_any_address, err *e) {
    net_verdict v = net_policy(n->c.hosts, t, home);
    if (!t->tls && !plain) FAIL(e, UNSUPPORTED, "insecure protocol http");
    if (v == NET_REFUSED)
        FAIL(e, UNSUPPORTED,
             "%s:%d is not in the table of hosts that may be asked; to allow it, start the server "
             "with HOB_REGISTRIES=%s:%d",
             t->host, t->port, t->host, t->port);
    if (v == NET_PUBLIC && net_host_is_private(t->host))
        FAIL(e, UNSUPPORTED,
             "%s is an address of a private network, which is not asked; if it is yours, list it: "
             "HOB_REGISTRIES=%s:%d",
             t->host, t->host, t->port);
    *ret_any_address = v == NET_ANY;
    return ERR_OK;
}

err_code net_check(const net *n, str url, str home, bool plain, err *e) {
    net_target t;
    bool any;
    TRY(net_target_parse(url, &t, e));
    return check(n, &t, home, plain, &any, e);
}

static bool same_origin(const net_target *a, const net_target *b) {
    return a->tls == b->tls && a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void hop_finish(hop *h) {
    buf_finish(&h->headers);
    buf_finish(&h->body);
}

err_code net_send(net *n, const net_request *q, arena *a, net_reply *ret, err *e) {
    const char *method = q->method ? q->method : "GET";
    str url = q->url;
    net_target first, before;
    TRY(net_target_parse(url, &first, e));
    before = first;
    for (int i = 0; i <= LIMIT_NET_REDIRECTS; i++) {
        hop h = {.n = n, .q = q, .url = url};
        TRY(net_target_parse(url, &h.target, e));
        if (before.tls && !h.target.tls)
            FAIL(e, UNSUPPORTED, "%s redirects from https to http: not followed", before.host);
        TRY(check(n, &h.target, q->home, q->plain, &h.any_address, e));
        err_code code = perform(n, &h, method, same_origin(&first, &h.target), e);
        *ret = (net_reply){.status = (int)h.status, .url = url};
        ret->headers = str_dup(a, buf_str(&h.headers));
        ret->body = str_dup(a, buf_str(&h.body));
        bool again = code == ERR_OK && is_redirect(&h);
        hop_finish(&h);
        if (!again) return code;
        before = h.target;
        TRY(net_url_join(a, url, net_reply_header(ret, "Location"), &url, e));
    }
    FAIL(e, LIMIT, "%s: more than %d redirects", first.host, LIMIT_NET_REDIRECTS);
}
