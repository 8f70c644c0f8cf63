/* Single files of Hugging Face repositories: checkpoints, LoRAs and their like.
 *
 * A HEAD of the file's address tells size and SHA-256 (X-Linked-Size, X-Linked-ETag) before it
 * redirects to a storage; then the transfer is a blob's. Only formats that hold numbers and nothing
 * that runs are fetched. */
#include "os/file.h"
#include "base/buf.h"
#include "base/limits.h"
#include "registry/registry_impl.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct place {
    str repo;     /* "user/repo" */
    str revision; /* "main" */
    str path;     /* inside the repository */
    str name;     /* of the file */
} place;

typedef struct fetching {
    const registry_report *report;
    str status, digest;
    uint64_t n_bytes;
} fetching;

/* [https://]host/user/repo/[resolve|blob/REV/]path */
static bool parse_place(str text, place *ret) {
    if (str_starts(text, STR("https://"))) text = str_sub(text, 8, text.len);
    ptrdiff_t query = str_find_char(text, '?');
    if (query >= 0) text = str_sub(text, 0, (size_t)query);
    str host = str_cut(&text, '/'), whole = text;
    if (!str_eq_nocase(host, STR("hf.co")) && !str_eq_nocase(host, STR("huggingface.co")))
        return false;
    str user = str_cut(&text, '/'), repo = str_cut(&text, '/');
    if (user.len == 0 || repo.len == 0 || !text.ptr) return false;
    ret->repo = str_sub(whole, 0, user.len + 1 + repo.len);
    ret->revision = STR("main");
    if (str_starts(text, STR("resolve/")) || str_starts(text, STR("blob/"))) {
        str_cut(&text, '/');
        ret->revision = str_cut(&text, '/');
    }
    ret->path = text;
    ret->name = str_sub(text, (size_t)(str_rfind_char(text, '/') + 1), text.len);
    return ret->name.len > 0 && ret->name.len <= 200 && ret->name.ptr[0] != '.' &&
           str_find(whole, STR("..")) < 0 && str_find_char(ret->name, '\\') < 0;
}

static void put_escaped(buf *out, str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     strchr("-._~/", c);
        if (plain && c)
            buf_put_char(out, (char)c);
        else
            buf_putf(out, "%%%02X", c);
    }
}

str session_file_url(const session *s, arena *a, str revision, str path) {
    buf url = {0};
    buf_putf(&url, STR_FMT "/", STR_ARG(s->base));
    put_escaped(&url, s->repo);
    buf_put_str(&url, STR("/resolve/"));
    put_escaped(&url, revision);
    buf_put_char(&url, '/');
    put_escaped(&url, path);
    str out = str_dup(a, buf_str(&url));
    buf_finish(&url);
    return out;
}

static err_code refused(const session *s, const place *p, const net_reply *r, err *e) {
    if (r->status == 404)
        FAIL(e, NOT_FOUND, "there is no " STR_FMT " in the repository " STR_FMT, STR_ARG(p->path),
             STR_ARG(p->repo));
    if (r->status == 401 || r->status == 403)
        FAIL(e, IO,
             "%d: " STR_FMT " asks for an account: accept its licence at " STR_FMT "/" STR_FMT
             " and give the server your token (HF_TOKEN, or a file named by HF_TOKEN_PATH)",
             r->status, STR_ARG(p->repo), STR_ARG(s->base), STR_ARG(p->repo));
    return session_refused(r, e);
}

/* Size and, where the site tells it, SHA-256. */
static err_code ask(session *s, arena *a, const place *p, transfer_goal *g, err *e) {
    net_reply r;
    net_request q = {.method = "HEAD", .url = g->url, .no_follow = true};
    TRY(session_send(s, &q, a, &r, e));
    str size = net_reply_header(&r, "X-Linked-Size"), tag = net_reply_header(&r, "X-Linked-ETag");
    if (r.status / 100 == 3 && size.len == 0) { /* a repository that was renamed, or a mirror */
        q.no_follow = false;
        TRY(session_send(s, &q, a, &r, e));
    }
    if (r.status / 100 > 3) return refused(s, p, &r, e);
    if (size.len == 0) size = net_reply_header(&r, "Content-Length");
    int64_t n;
    if (!str_to_i64(size, &n) || n < 0 || (uint64_t)n > LIMIT_BLOB_BYTES)
        FAIL(e, FORMAT, "the site does not say how large " STR_FMT " is", STR_ARG(p->path));
    g->n_bytes = (uint64_t)n;
    if (tag.len == 66 && tag.ptr[0] == '"') tag = str_sub(tag, 1, 65);
    str digest = str_fmt(a, "sha256:" STR_FMT, STR_ARG(tag));
    if (store_digest_valid(digest)) g->sha256 = str_dup(a, tag);
    return ERR_OK;
}

static bool on_tick(void *arg, uint64_t done) {
    fetching *f = arg;
    return f->report->fn(f->report->arg, f->status.ptr, f->digest, done, f->n_bytes);
}

/* What came must at least begin as its name says: a page that asks to log in does not. */
static err_code check_start(const char *path, str name, err *e) {
    unsigned char head[9] = {0};
    uint64_t header = 0, n_bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof head);
    if (fd >= 0) close(fd);
    TRY(file_length(path, &n_bytes, e));
    memcpy(&header, head, 8);
    bool gguf = str_ends(name, STR(".gguf"));
    bool ok = n == 9 && (gguf ? memcmp(head, "GGUF", 4) == 0
                              : header > 1 && header < n_bytes && head[8] == '{');
    if (ok) return ERR_OK;
    file_remove(path, NULL);
    FAIL(e, FORMAT, "what came for " STR_FMT " is no %s file: removed", STR_ARG(name),
         gguf ? "GGUF" : "safetensors");
}

static err_code check_name(const place *p, err *e) {
    static const char *const SAFE[] = {".safetensors", ".sft", ".gguf"};
    for (size_t i = 0; i < COUNT_OF(SAFE); i++)
        if (str_ends(p->name, str_from(SAFE[i]))) return ERR_OK;
    FAIL(e, UNSUPPORTED,
         STR_FMT ": only .safetensors and .gguf files are fetched; other formats can hold programs",
         STR_ARG(p->name));
}

static err_code fetch(session *s, const place *p, fetching *f, transfer_goal *g, arena *a, err *e) {
    uint64_t have;
    str what = str_fmt(a, STR_FMT, STR_ARG(p->name));
    g->url = session_file_url(s, a, p->revision, p->path);
    g->what = what.ptr;
    if (!f->report->fn(f->report->arg, "looking up the file", (str){0}, 0, 0))
        FAIL(e, CANCELLED, "the client went away");
    TRY(ask(s, a, p, g, e));
    f->status = str_fmt(a, "pulling " STR_FMT, STR_ARG(p->name));
    f->digest = g->sha256.len ? str_fmt(a, "sha256:" STR_FMT, STR_ARG(g->sha256)) : (str){0};
    f->n_bytes = g->n_bytes;
    if (file_exists(g->path.ptr) && file_length(g->path.ptr, &have, e) == ERR_OK &&
        have == g->n_bytes) {
        on_tick(f, have);
        return ERR_OK;
    }
    transfer_tick tick = {on_tick, f};
    on_tick(f, 0);
    TRY(transfer_run(s, g, &tick, e));
    on_tick(f, f->n_bytes);
    return check_start(g->path.ptr, p->name, e);
}

err_code registry_fetch_file(registry *r, str name, str dir, const registry_report *report,
                             err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    place p;
    fetching f = {.report = report};
    if (!parse_place(name, &p))
        FAIL(e, INVALID,
             "\"" STR_FMT "\" names no file: expected hf.co/USER/REPOSITORY/PATH/FILE.safetensors",
             STR_ARG(str_sub(name, 0, 200)));
    TRY(check_name(&p, e));
    TRY(file_mkdirs(str_cstr(a, dir), e));
    transfer_goal g = {.path = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(p.name))};
    session *s = session_create_hf(r, p.repo);
    err_code code = fetch(s, &p, &f, &g, a, e);
    session_unref(&s);
    if (code == ERR_OK) report->fn(report->arg, "success", (str){0}, 0, 0);
    return code;
}
