/* One download, shared by all who want the file.
 *
 * The transfer's own thread starts a few workers, each of which fetches parts one after the other
 * and writes them where they belong, and itself hashes the bytes that are complete from the start
 * on, which are still in the page cache. A registry whose ranges are wrong is asked once more, for
 * the whole file in one piece. When all is there and the digest is right, the partial file gets its
 * name. Under t->mu: parts, flags, failure. Under r->mu: the list and the counts of references. */
#include "base/clock.h"
#include "base/limits.h"
#include "os/file.h"
#include "registry/registry_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    STREAMS = 8,
    STREAMS_MAX = 64,
    TRIES = 6,
    HASH_BLOCK = 1 << 20,
    SAVE_BYTES = 8 << 20,
    SAVE_MS = 300,
    WAKE_BYTES = 1 << 20
};

struct transfer {
    transfer *next;
    registry *r;
    arena *mem;
    session *s;
    str path, url, sha256, what;
    char *partial;
    uint64_t n_bytes;
    int n_refs; /* under r->mu: waiters and the transfer's thread */
    int n_waiters;
    bool over; /* under r->mu */
    err failure;
    atomic_bool cancel;
    int fd;
    pthread_mutex_t mu;
    pthread_cond_t moved;
    transfer_part parts[LIMIT_TRANSFER_PARTS];
    size_t n_parts;
    int n_workers, n_tries;
    bool whole;   /* in one piece, without ranges */
    bool restart; /* workers end, then begins again as `whole` */
    bool failed;
    uint64_t epoch; /* of a whole transfer: attempts that began at 0 again */
    atomic_uint_fast64_t n_done;
};

/* ---- one attempt at one part ---- */

typedef struct attempt {
    transfer *t;
    transfer_part *p;
    uint64_t from; /* absolute offset of the first byte asked for */
    bool broken_range;
    err failure; /* ERR_OK unless it is ours */
    bool fatal;
} attempt;

static bool stopped(const transfer *t) {
    return t->failed || t->restart || atomic_load(&t->cancel);
}

/* "bytes 5-9/10" */
static bool range_fits(const attempt *at, str text) {
    int64_t from, to, total;
    if (!str_starts(text, STR("bytes "))) return false;
    text = str_sub(text, 6, text.len);
    str first = str_cut(&text, '-'), last = str_cut(&text, '/');
    if (!str_to_i64(first, &from) || !str_to_i64(last, &to)) return false;
    if (!str_eq(text, STR("*")) && (!str_to_i64(text, &total) || (uint64_t)total != at->t->n_bytes))
        return false;
    return (uint64_t)from == at->from && to >= from &&
           (uint64_t)to < at->p->offset + at->p->n_bytes;
}

static bool fail_here(attempt *at, bool fatal) {
    at->fatal = fatal;
    return false;
}

static bool on_begin(void *arg, const net_reply *head) {
    attempt *at = arg;
    transfer *t = at->t;
    int64_t length = -1;
    str_to_i64(net_reply_header(head, "Content-Length"), &length);
    if (head->status == 206 && !t->whole) {
        at->broken_range = !range_fits(at, net_reply_header(head, "Content-Range"));
        return !at->broken_range;
    }
    bool all = at->from == 0 && at->p->n_bytes == t->n_bytes;
    if (head->status != 200 || !all) {
        at->broken_range = true;
        return false;
    }
    if (length >= 0 && (uint64_t)length != t->n_bytes) {
        err_set(&at->failure, ERR_FORMAT,
                STR_FMT " should be of %llu bytes, the registry sends %lld: not taken",
                STR_ARG(t->what), (unsigned long long)t->n_bytes, (long long)length);
        return fail_here(at, true);
    }
    return true;
}

static bool write_at(attempt *at, const char *bytes, size_t n, uint64_t offset) {
    while (n > 0) {
        ssize_t w = pwrite(at->t->fd, bytes, n, (off_t)offset);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) {
            err_set(&at->failure, ERR_IO, "writing %s: %s%s", at->t->partial,
                    w < 0 ? strerror(errno) : "nothing was written",
                    errno == ENOSPC ? "; make room and pull again, what came is kept" : "");
            return fail_here(at, true);
        }
        bytes += w;
        n -= (size_t)w;
        offset += (uint64_t)w;
    }
    return true;
}

static bool on_piece(void *arg, const void *bytes, size_t n_bytes) {
    attempt *at = arg;
    transfer *t = at->t;
    transfer_part *p = at->p;
    pthread_mutex_lock(&t->mu);
    bool stop = stopped(t);
    pthread_mutex_unlock(&t->mu);
    if (stop) return false;
    if (n_bytes > p->n_bytes - p->done) {
        if (t->whole || p->n_bytes == t->n_bytes) {
            err_set(&at->failure, ERR_FORMAT,
                    STR_FMT " should be of %llu bytes, the registry sends more: not taken",
                    STR_ARG(t->what), (unsigned long long)t->n_bytes);
            return fail_here(at, true);
        }
        at->broken_range = true;
        return false;
    }
    if (!write_at(at, bytes, n_bytes, p->offset + p->done)) return false;
    pthread_mutex_lock(&t->mu);
    uint64_t before = p->done;
    p->done += n_bytes;
    atomic_fetch_add(&t->n_done, n_bytes);
    if (p->done / WAKE_BYTES != before / WAKE_BYTES || p->done == p->n_bytes)
        pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->mu);
    bool due =
        p->done - p->saved >= SAVE_BYTES || clock_mono_ns() - p->saved_ns > SAVE_MS * NS_PER_MS;
    if (due && !t->whole) parts_save(t->partial, (size_t)(p - t->parts), p);
    return true;
}

/* A registry that cannot go on in the middle: from the start again. */
static void begin_again(transfer *t, transfer_part *p) {
    pthread_mutex_lock(&t->mu);
    atomic_fetch_sub(&t->n_done, p->done);
    p->done = 0;
    t->epoch++;
    pthread_mutex_unlock(&t->mu);
}

static err_code try_part(attempt *at, err *e) {
    transfer *t = at->t;
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    if (t->whole) begin_again(t, at->p);
    at->from = at->p->offset + at->p->done;
    str range = str_fmt(a, "Range: bytes=%llu-%llu", (unsigned long long)at->from,
                        (unsigned long long)(at->p->offset + at->p->n_bytes - 1));
    net_sink sink = {on_begin, on_piece, at};
    net_request q = {.url = t->url, .sink = &sink, .cancel = &t->cancel, .reply_max = UINT64_MAX};
    q.headers = &range;
    q.n_headers = t->whole ? 0 : 1;
    net_reply reply;
    err_code code = session_send(t->s, &q, a, &reply, e);
    if (at->failure.code) {
        *e = at->failure;
        return e->code;
    }
    if (code == ERR_OK && reply.status == 416) at->broken_range = true;
    if (code == ERR_OK && reply.status / 100 != 2 && reply.status != 416) {
        at->fatal = reply.status == 404 || reply.status == 401 || reply.status == 451;
        return session_refused(&reply, e);
    }
    if (code == ERR_UNSUPPORTED || code == ERR_LIMIT || code == ERR_FORMAT) at->fatal = true;
    if (code == ERR_OK && at->p->done < at->p->n_bytes)
        FAIL(e, IO, "the connection ended after %llu of %llu bytes",
             (unsigned long long)at->p->done, (unsigned long long)at->p->n_bytes);
    return code;
}

/* ---- workers ---- */

static transfer_part *next_part(transfer *t) {
    for (size_t i = 0; i < t->n_parts; i++)
        if (!t->parts[i].busy && t->parts[i].done < t->parts[i].n_bytes) return &t->parts[i];
    return NULL;
}

/* Locked. What a failed attempt means for the whole. */
static void judge(transfer *t, const attempt *at, uint64_t before, const err *why) {
    transfer_part *p = at->p;
    if (stopped(t)) return;
    if (at->broken_range && !t->whole) {
        t->restart = true;
        return;
    }
    p->n_tries = !t->whole && p->done > before ? 0 : p->n_tries + 1;
    t->n_tries++;
    if (!at->fatal && p->n_tries < TRIES && t->n_tries < LIMIT_TRANSFER_TRIES) return;
    t->failed = true;
    t->failure = *why;
    if (at->broken_range)
        err_set(&t->failure, ERR_IO, "the registry cannot send %.200s as asked", t->what.ptr);
}

/* Locked. Waits before another try; ends early when all do. */
static void back_off(transfer *t, const transfer_part *p) {
    int64_t ms = p->n_tries > 0 ? 250LL << (p->n_tries - 1) : 20;
    int64_t until = clock_wall_ns() + ms * NS_PER_MS;
    struct timespec at = {until / NS_PER_S, until % NS_PER_S};
    while (!stopped(t) && clock_wall_ns() < until) pthread_cond_timedwait(&t->moved, &t->mu, &at);
}

static void *worker_main(void *arg) {
    transfer *t = arg;
    pthread_mutex_lock(&t->mu);
    for (transfer_part *p; !stopped(t) && (p = next_part(t));) {
        attempt at = {.t = t, .p = p};
        uint64_t before = p->done;
        err why = {0};
        p->busy = true;
        pthread_mutex_unlock(&t->mu);
        err_code code = try_part(&at, &why);
        if (!t->whole) parts_save(t->partial, (size_t)(p - t->parts), p);
        pthread_mutex_lock(&t->mu);
        if (code || at.broken_range) {
            judge(t, &at, before, &why);
            back_off(t, p);
        }
        p->busy = false;
    }
    t->n_workers--;
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->mu);
    return NULL;
}

static void start_workers(transfer *t) {
    int wanted = t->r->c.n_streams > 0 ? t->r->c.n_streams : STREAMS;
    if (wanted > STREAMS_MAX) wanted = STREAMS_MAX;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&t->mu);
    for (size_t i = 0; i < t->n_parts && t->n_workers < wanted; i++) {
        pthread_t thread;
        if (t->parts[i].done == t->parts[i].n_bytes) continue;
        if (pthread_create(&thread, &attr, worker_main, t) == 0) t->n_workers++;
    }
    if (t->n_workers == 0 && next_part(t)) {
        t->failed = true;
        err_set(&t->failure, ERR_NOMEM, "no thread can be had for the download");
    }
    pthread_mutex_unlock(&t->mu);
    pthread_attr_destroy(&attr);
}

/* ---- hashing what is complete ---- */

typedef struct hashing {
    EVP_MD_CTX *ctx;
    uint64_t at, epoch;
    char *block;
} hashing;

/* Locked. Bytes that are complete from the start on. */
static uint64_t prefix(const transfer *t) {
    uint64_t n = 0;
    for (size_t i = 0; i < t->n_parts; i++) {
        n += t->parts[i].done;
        if (t->parts[i].done < t->parts[i].n_bytes) break;
    }
    return n;
}

static void hash_reset(hashing *h, uint64_t epoch) {
    EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL);
    h->at = 0;
    h->epoch = epoch;
}

/* Hashes until `to`, a block at most. False: the file cannot be read. */
static bool hash_some(transfer *t, hashing *h, uint64_t to) {
    size_t want = to - h->at < HASH_BLOCK ? (size_t)(to - h->at) : HASH_BLOCK;
    ssize_t n = pread(t->fd, h->block, want, (off_t)h->at);
    if (n <= 0) return false;
    EVP_DigestUpdate(h->ctx, h->block, (size_t)n);
    h->at += (uint64_t)n;
    return true;
}

/* Until the workers have ended and what they brought is hashed. */
static void follow(transfer *t, hashing *h) {
    pthread_mutex_lock(&t->mu);
    for (;;) {
        if (h->epoch != t->epoch) hash_reset(h, t->epoch);
        uint64_t to = prefix(t);
        bool stop = stopped(t);
        if (h->ctx && h->at < to && !stop) {
            pthread_mutex_unlock(&t->mu);
            bool ok = hash_some(t, h, to);
            pthread_mutex_lock(&t->mu);
            if (ok) continue;
            t->failed = true;
            err_set(&t->failure, ERR_IO, "%s cannot be read back", t->partial);
        }
        if (t->n_workers == 0) break;
        pthread_cond_wait(&t->moved, &t->mu);
    }
    pthread_mutex_unlock(&t->mu);
}

static err_code check_digest(transfer *t, hashing *h, err *e) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    char hex[65];
    if (t->sha256.len == 0) return ERR_OK;
    EVP_DigestFinal_ex(h->ctx, hash, NULL);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    if (str_eq(str_from(hex), t->sha256)) return ERR_OK;
    parts_remove(t->partial, true);
    FAIL(e, FORMAT,
         "digest mismatch, file must be downloaded again: want sha256:" STR_FMT ", got sha256:%s",
         STR_ARG(t->sha256), hex);
}

/* ---- the file ---- */

static void text_bytes(char out[32], uint64_t n) {
    static const char *const UNITS[] = {"B", "KB", "MB", "GB", "TB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1000 && u + 1 < COUNT_OF(UNITS)) {
        v /= 1000;
        u++;
    }
    snprintf(out, 32, "%.1f %s", v, UNITS[u]);
}

static err_code check_room(const transfer *t, err *e) {
    struct statvfs fs;
    struct stat st;
    if (fstatvfs(t->fd, &fs) || fstat(t->fd, &st)) return ERR_OK;
    uint64_t held = (uint64_t)st.st_blocks * 512, need = t->n_bytes > held ? t->n_bytes - held : 0;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    char a[32], b[32];
    text_bytes(a, need);
    text_bytes(b, free_bytes);
    if (need > free_bytes)
        FAIL(e, IO, "not enough room for " STR_FMT ": %s more are needed, %s are free at %s",
             STR_ARG(t->what), a, b, t->partial);
    return ERR_OK;
}

static err_code open_file(transfer *t, err *e) {
    t->fd = open(t->partial, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (t->fd < 0) FAIL(e, IO, "create %s: %s", t->partial, strerror(errno));
    if (flock(t->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        FAIL(e, BUSY, "another program is downloading %s", t->partial);
    t->n_parts = parts_load(t->partial, t->n_bytes, t->parts);
    if (t->n_parts == 0) {
        parts_remove(t->partial, false);
        t->n_parts = parts_plan(t->n_bytes, t->parts);
        if (ftruncate(t->fd, 0)) FAIL(e, IO, "empty %s: %s", t->partial, strerror(errno));
    }
    err_code code = check_room(t, e);
    if (code == ERR_OK && ftruncate(t->fd, (off_t)t->n_bytes))
        code = err_set(e, ERR_IO, "make room for %s: %s", t->partial, strerror(errno));
    if (code && t->parts[0].saved == 0) parts_remove(t->partial, true);
    for (size_t i = 0; i < t->n_parts; i++) atomic_fetch_add(&t->n_done, t->parts[i].done);
    if (code == ERR_OK)
        for (size_t i = 0; i < t->n_parts; i++) parts_save(t->partial, i, &t->parts[i]);
    return code;
}

/* Everything again in one piece. The records would be wrong from here on. */
static void go_whole(transfer *t) {
    parts_remove(t->partial, false);
    pthread_mutex_lock(&t->mu);
    t->restart = false;
    t->whole = true;
    t->epoch++;
    t->n_parts = 1;
    t->parts[0] = (transfer_part){.n_bytes = t->n_bytes};
    atomic_store(&t->n_done, 0);
    pthread_mutex_unlock(&t->mu);
}

static err_code name_file(transfer *t, err *e) {
    if (fsync(t->fd)) FAIL(e, IO, "flush %s: %s", t->partial, strerror(errno));
    if (rename(t->partial, t->path.ptr))
        FAIL(e, IO, "rename to %s: %s", t->path.ptr, strerror(errno));
    parts_remove(t->partial, false);
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    ptrdiff_t slash = str_rfind_char(t->path, '/');
    err ignored;
    file_sync_dir(slash > 0 ? str_cstr(a, str_sub(t->path, 0, (size_t)slash)) : ".", &ignored);
    return ERR_OK;
}

static err_code fetch(transfer *t, hashing *h, err *e) {
    TRY(open_file(t, e));
    if (h->ctx) hash_reset(h, 0);
    do {
        if (t->restart) go_whole(t);
        start_workers(t);
        follow(t, h);
    } while (t->restart && !t->failed && !atomic_load(&t->cancel));
    if (t->failed) {
        *e = t->failure;
        if (t->whole) parts_remove(t->partial, true); /* nothing to go on from */
        return e->code;
    }
    if (atomic_load(&t->cancel)) FAIL(e, CANCELLED, "the download was cancelled");
    TRY(check_digest(t, h, e));
    return name_file(t, e);
}

/* ---- sharing ---- */

/* r->mu held. */
static void unref(transfer *t) {
    registry *r = t->r;
    if (--t->n_refs > 0) return;
    for (transfer **at = &r->transfers; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    r->n_transfers--;
    pthread_cond_broadcast(&r->changed);
    session_unref(&t->s);
    pthread_mutex_destroy(&t->mu);
    pthread_cond_destroy(&t->moved);
    arena_destroy(&t->mem);
    mem_free(t);
}

static void *transfer_main(void *arg) {
    transfer *t = arg;
    registry *r = t->r;
    err why = {0};
    hashing h = {.block = mem_alloc(HASH_BLOCK)};
    if (t->sha256.len) h.ctx = EVP_MD_CTX_new();
    err_code code = fetch(t, &h, &why);
    EVP_MD_CTX_free(h.ctx);
    mem_free(h.block);
    if (t->fd >= 0) close(t->fd);
    pthread_mutex_lock(&r->mu);
    t->failure = why;
    t->failure.code = code;
    t->over = true;
    pthread_cond_broadcast(&r->changed);
    unref(t);
    pthread_mutex_unlock(&r->mu);
    return NULL;
}

/* r->mu held. */
static err_code start(session *s, const transfer_goal *g, transfer **ret, err *e) {
    registry *r = s->r;
    if (atomic_load(&r->stopping)) FAIL(e, CANCELLED, "the server is stopping");
    if (r->n_transfers >= LIMIT_TRANSFERS)
        FAIL(e, BUSY, "%d downloads are under way: try again later", LIMIT_TRANSFERS);
    transfer *t = NEW(transfer);
    t->r = r;
    t->mem = arena_create(0);
    t->s = session_ref(s);
    t->path = str_dup(t->mem, g->path);
    t->url = str_dup(t->mem, g->url);
    t->sha256 = str_dup(t->mem, g->sha256);
    t->what = str_dup(t->mem, str_from(g->what));
    t->partial = str_cstr(t->mem, str_fmt(t->mem, STR_FMT "-partial", STR_ARG(g->path)));
    t->n_bytes = g->n_bytes;
    t->fd = -1;
    t->n_refs = 1;
    pthread_mutex_init(&t->mu, NULL);
    pthread_cond_init(&t->moved, NULL);
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    t->next = r->transfers;
    r->transfers = t;
    r->n_transfers++;
    int failed = pthread_create(&thread, &attr, transfer_main, t);
    pthread_attr_destroy(&attr);
    if (failed) {
        unref(t);
        FAIL(e, NOMEM, "no thread can be had for the download");
    }
    *ret = t;
    return ERR_OK;
}

/* r->mu held. The transfer to that path that is still wanted; waits for one that is ending. */
static transfer *find(registry *r, str path) {
    for (transfer *t = r->transfers; t;) {
        if (!str_eq(t->path, path) || t->over) {
            t = t->next;
        } else if (!atomic_load(&t->cancel)) {
            return t;
        } else {
            pthread_cond_wait(&r->changed, &r->mu);
            t = r->transfers;
        }
    }
    return NULL;
}

/* r->mu held. */
static void leave(transfer *t) {
    if (--t->n_waiters == 0 && !t->over) {
        atomic_store(&t->cancel, true);
        pthread_mutex_lock(&t->mu);
        pthread_cond_broadcast(&t->moved);
        pthread_mutex_unlock(&t->mu);
    }
    unref(t);
}

/* r->mu held, given up while the tick runs. */
static err_code wait_for(transfer *t, const transfer_tick *tick, err *e) {
    registry *r = t->r;
    bool listening = true;
    while (!t->over && listening) {
        int64_t until = clock_wall_ns() + 100 * NS_PER_MS;
        struct timespec at = {until / NS_PER_S, until % NS_PER_S};
        pthread_cond_timedwait(&r->changed, &r->mu, &at);
        pthread_mutex_unlock(&r->mu);
        listening = tick->fn(tick->arg, atomic_load(&t->n_done));
        pthread_mutex_lock(&r->mu);
    }
    if (!listening && !t->over) FAIL(e, CANCELLED, "the download was cancelled");
    if (t->failure.code) *e = t->failure;
    return t->failure.code;
}

err_code transfer_run(session *s, const transfer_goal *goal, const transfer_tick *tick, err *e) {
    registry *r = s->r;
    err_code code;
    bool joined, again;
    pthread_mutex_lock(&r->mu);
    do {
        transfer *t = find(r, goal->path);
        joined = t != NULL;
        code = joined ? ERR_OK : start(s, goal, &t, e);
        if (code) break;
        t->n_refs++;
        t->n_waiters++;
        bool same = str_eq(t->url, goal->url) && str_eq(t->s->base, s->base);
        code = wait_for(t, tick, e);
        again = joined && !same && code && code != ERR_CANCELLED; /* its source, not ours, failed */
        leave(t);
    } while (again);
    pthread_mutex_unlock(&r->mu);
    return code;
}

void transfers_stop(registry *r) {
    pthread_mutex_lock(&r->mu);
    for (transfer *t = r->transfers; t; t = t->next) {
        atomic_store(&t->cancel, true);
        pthread_mutex_lock(&t->mu);
        pthread_cond_broadcast(&t->moved);
        pthread_mutex_unlock(&t->mu);
    }
    while (r->n_transfers > 0) pthread_cond_wait(&r->changed, &r->mu);
    pthread_mutex_unlock(&r->mu);
}
