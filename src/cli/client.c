/* The command line's HTTP client, on libcurl's easy interface.
 *
 * One easy handle is reused, so a chat keeps its connection. Streams are cut into lines here; the
 * callback sees whole JSON values only. */
#include "cli/client.h"
#include "base/buf.h"
#include <curl/curl.h>
#include <errno.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cli_client {
    CURL *curl;
    char *base_url;
    const char *key; /* or NULL */
};

typedef struct transfer {
    buf body;       /* the reply, or the unfinished line of a stream */
    cli_line_fn fn; /* NULL: not a stream */
    void *arg;
    long status;
    bool stopped; /* the callback or Ctrl-C ended it */
    err *error;   /* filled by a stream's error line */
    bool failed;
    CURL *curl;
} transfer;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig) {
    (void)sig;
    interrupted = 1;
}

void cli_interrupt_watch(void) {
    struct sigaction sa = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &sa, NULL);
}

bool cli_interrupted(bool clear) {
    bool was = interrupted != 0;
    if (clear) interrupted = 0;
    return was;
}

cli_client *cli_client_create(const char *base_url, const char *key) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    cli_client *c = NEW(cli_client);
    c->curl = curl_easy_init();
    c->key = key;
    c->base_url = mem_dup(base_url, strlen(base_url) + 1);
    return c;
}

void cli_client_destroy(cli_client **c) {
    if (!c || !*c) return;
    curl_easy_cleanup((*c)->curl);
    mem_free((*c)->base_url);
    mem_free(*c);
    *c = NULL;
    curl_global_cleanup();
}

static err_code server_error(const json_t *reply, long status, err *e) {
    const char *text = json_string_value(json_object_get(reply, "error"));
    err_code code = status == 404 ? ERR_NOT_FOUND : status == 503 ? ERR_BUSY : ERR_INVALID;
    if (!text) return err_set(e, code, "the server answered with status %ld", status);
    return err_set(e, code, "%s", text);
}

/* Handles one line of a stream; false stops it. */
static bool take_line(transfer *t, str line) {
    if (str_trim(line).len == 0) return true;
    json_t *value = json_loadb(line.ptr, line.len, JSON_DECODE_ANY, NULL);
    if (!value) {
        err_set(t->error, ERR_FORMAT, "the server sent a line that is not JSON: " STR_FMT,
                STR_ARG(str_sub(line, 0, 200)));
        t->failed = true;
        return false;
    }
    bool go_on;
    if (json_object_get(value, "error")) {
        server_error(value, t->status, t->error);
        t->failed = true;
        go_on = false;
    } else {
        go_on = t->fn(value, t->arg);
        t->stopped = !go_on;
    }
    json_decref(value);
    return go_on;
}

static size_t on_body(char *ptr, size_t size, size_t n, void *arg) {
    transfer *t = arg;
    buf_put(&t->body, ptr, size * n);
    if (!t->fn) return size * n;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->status);
    if (t->status >= 400) return size * n;
    ptrdiff_t end;
    while ((end = str_find_char(buf_str(&t->body), '\n')) >= 0) {
        bool go_on = take_line(t, str_sub(buf_str(&t->body), 0, (size_t)end));
        buf_drop_front(&t->body, (size_t)end + 1);
        if (!go_on) return 0;
    }
    return size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    transfer *t = arg;
    if (!cli_interrupted(false)) return 0;
    t->stopped = true;
    return 1;
}

static void set_common(cli_client *c, const char *method, const char *path, transfer *t) {
    CURL *h = c->curl;
    buf url = {0};
    buf_putf(&url, "%s%s", c->base_url, path);
    t->curl = h;
    curl_easy_reset(h);
    curl_easy_setopt(h, CURLOPT_URL, buf_cstr(&url));
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    if (c->key && *c->key) {
        curl_easy_setopt(h, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(h, CURLOPT_XOAUTH2_BEARER, c->key);
    }
    if (strcmp(method, "HEAD") == 0) curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    buf_finish(&url);
}

static err_code transfer_error(cli_client *c, CURLcode code, transfer *t, err *e) {
    if (t->failed) return e ? e->code : ERR_INVALID;
    if (t->stopped) FAIL(e, CANCELLED, "interrupted");
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        FAIL(e, IO,
             "could not connect to a server at %s; start one with `hob serve`, or set "
             "OLLAMA_HOST",
             c->base_url);
    FAIL(e, IO, "talking to %s: %s", c->base_url, curl_easy_strerror(code));
}

/* Performs what is set up; fills t->status. */
static err_code perform(cli_client *c, transfer *t, const json_t *body, err *e) {
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    if (text) {
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, text);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
    }
    t->error = e;
    CURLcode code = curl_easy_perform(c->curl);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &t->status);
    free(text);
    curl_slist_free_all(headers);
    return code == CURLE_OK ? ERR_OK : transfer_error(c, code, t, e);
}

err_code cli_client_call(cli_client *c, const char *method, const char *path, const json_t *body,
                         json_t **ret_reply, err *e) {
    transfer t = {0};
    set_common(c, method, path, &t);
    err_code code = perform(c, &t, body, e);
    json_t *reply = NULL;
    if (code == ERR_OK && t.body.len)
        reply = json_loadb(t.body.ptr, t.body.len, JSON_DECODE_ANY, NULL);
    buf_finish(&t.body);
    if (code == ERR_OK && t.status >= 400) code = server_error(reply, t.status, e);
    if (code == ERR_OK && ret_reply)
        *ret_reply = reply;
    else
        json_decref(reply);
    return code;
}

err_code cli_client_stream(cli_client *c, const char *path, const json_t *body, cli_line_fn fn,
                           void *arg, err *e) {
    transfer t = {.fn = fn, .arg = arg};
    set_common(c, "POST", path, &t);
    err_code code = perform(c, &t, body, e);
    if (code == ERR_OK && t.status >= 400) {
        json_t *reply = json_loadb(t.body.ptr, t.body.len, JSON_DECODE_ANY, NULL);
        code = server_error(reply, t.status, e);
        json_decref(reply);
    } else if (code == ERR_OK && t.body.len && !take_line(&t, buf_str(&t.body))) {
        code = t.failed ? e->code : ERR_OK; /* a last line without its line feed */
    }
    buf_finish(&t.body);
    return code;
}

static err_code hash_file(FILE *f, char ret_digest[72], int64_t *ret_bytes, err *e) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    static char block[1 << 16];
    size_t n;
    *ret_bytes = 0;
    while ((n = fread(block, 1, sizeof block, f)) > 0) {
        EVP_DigestUpdate(ctx, block, n);
        *ret_bytes += (int64_t)n;
    }
    unsigned char hash[32];
    EVP_DigestFinal_ex(ctx, hash, NULL);
    EVP_MD_CTX_free(ctx);
    if (ferror(f)) FAIL(e, IO, "reading the file failed");
    memcpy(ret_digest, "sha256:", 7);
    for (int i = 0; i < 32; i++) snprintf(ret_digest + 7 + 2 * i, 3, "%02x", hash[i]);
    return ERR_OK;
}

err_code cli_client_digest(const char *file_path, char ret_digest[72], err *e) {
    int64_t n_bytes;
    FILE *f = fopen(file_path, "rb");
    if (!f) FAIL(e, IO, "cannot open %s: %s", file_path, strerror(errno));
    err_code code = hash_file(f, ret_digest, &n_bytes, e);
    fclose(f);
    return code;
}

typedef struct upload {
    FILE *file;
    int64_t done, total;
    void (*progress)(int64_t done, int64_t total, void *arg);
    void *arg;
} upload;

static size_t on_read(char *dst, size_t size, size_t n, void *arg) {
    upload *u = arg;
    size_t got = fread(dst, 1, size * n, u->file);
    u->done += (int64_t)got;
    if (u->progress) u->progress(u->done, u->total, u->arg);
    return got;
}

static err_code send_blob(cli_client *c, const char *path, upload *u, err *e) {
    transfer t = {0};
    set_common(c, "POST", path, &t);
    curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(c->curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(c->curl, CURLOPT_READDATA, u);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)u->total);
    err_code code = perform(c, &t, NULL, e);
    if (code == ERR_OK && t.status >= 400) {
        json_t *reply = json_loadb(t.body.ptr, t.body.len, JSON_DECODE_ANY, NULL);
        code = server_error(reply, t.status, e);
        json_decref(reply);
    }
    buf_finish(&t.body);
    return code;
}

err_code cli_client_upload(cli_client *c, const char *file_path, char ret_digest[72],
                           void (*progress)(int64_t done, int64_t total, void *arg), void *arg,
                           err *e) {
    FILE *f = fopen(file_path, "rb");
    if (!f) FAIL(e, IO, "cannot open %s: %s", file_path, strerror(errno));
    upload u = {.file = f, .progress = progress, .arg = arg};
    err_code code = hash_file(f, ret_digest, &u.total, e);
    char path[128];
    snprintf(path, sizeof path, "/api/blobs/%s", ret_digest);
    if (code == ERR_OK) {
        code = cli_client_call(c, "HEAD", path, NULL, NULL, e);
        if (code == ERR_NOT_FOUND) {
            rewind(f);
            code = send_blob(c, path, &u, e);
        }
    }
    fclose(f);
    return code;
}
