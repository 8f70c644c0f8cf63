/* Inside registry/: sessions (who is asked, with which credentials) and transfers. */
#pragma once
#include "registry/registry.h"
#include <pthread.h>

typedef struct transfer transfer;

struct registry {
    arena *mem;
    registry_config c;
    pthread_mutex_t mu; /* the list, references, the key */
    pthread_cond_t changed;
    transfer *transfers;
    int n_transfers;
    atomic_bool stopping;
};

/* ---- The key: key.c ---- */

typedef struct registry_key {
    unsigned char secret[64]; /* seed and public key, as libsodium has it */
} registry_key;

/* Reads the OpenSSH file of an ed25519 key. FORMAT for other kinds and encrypted ones. */
err_code key_read(const char *path, registry_key *ret, err *e);
/* Makes one, 0600, with its .pub beside it. */
err_code key_make(const char *path, registry_key *ret, err *e);
/* "<base64 public key>:<base64 signature>" over these bytes. */
str key_sign(const registry_key *k, arena *a, str bytes);

/* ---- A session with one repository: session.c. Shared by transfers, so counted. ---- */

typedef struct session {
    registry *r;
    arena *mem;
    str base; /* "https://host:port" */
    str home; /* "host:port", for net/'s rules */
    str repo; /* "library/smollm2" */
    bool plain;
    atomic_int n_refs;
    pthread_mutex_t mu;
    str authorization; /* empty, or the header's value; under mu */
} session;

session *session_create(registry *r, const store_name *name, bool insecure);
/* For an address of a Hugging Face repository. */
session *session_create_hf(registry *r, str repo); /* "user/repo" */
session *session_ref(session *s);
void session_unref(session **s);
/* base + "/v2/" + repo + path */
str session_url(const session *s, arena *a, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Of a file in a Hugging Face repository. */
str session_file_url(const session *s, arena *a, str revision, str path);
/* Like net_send, with credentials; fetches a token when the registry asks for one. q's url, method,
 * headers, body and sink are the caller's, the rest is filled here. */
err_code session_send(session *s, net_request *q, arena *a, net_reply *ret, err *e);
/* An error for a status that is none of the expected: the registry's own words, if any. */
err_code session_refused(const net_reply *r, err *e);

/* ---- Transfers: transfer.c ---- */

typedef struct transfer_goal {
    str path; /* where the file goes; "-partial" files beside it */
    str url;
    uint64_t n_bytes;
    str sha256;       /* hex; empty = not known */
    const char *what; /* for messages: "blob sha256:..." */
} transfer_goal;

/* Joins the transfer to that path, or starts it, and waits for its end. tick is called about ten
 * times a second; false from it leaves (CANCELLED). */
typedef struct transfer_tick {
    bool (*fn)(void *arg, uint64_t done);
    void *arg;
} transfer_tick;
err_code transfer_run(session *s, const transfer_goal *goal, const transfer_tick *tick, err *e);
void transfers_stop(registry *r);

/* Records of parts: parts.c. A part is busy with at most one worker. */
typedef struct transfer_part {
    uint64_t offset, n_bytes, done;
    uint64_t saved;   /* of `done`, on disk */
    int64_t saved_ns; /* and when */
    int n_tries;
    bool busy;
} transfer_part;

/* The parts of an earlier attempt if they fit, else a fresh plan. At most LIMIT_TRANSFER_PARTS. */
size_t parts_load(const char *partial, uint64_t n_bytes, transfer_part *ret);
size_t parts_plan(uint64_t n_bytes, transfer_part *ret);
void parts_save(const char *partial, size_t i, transfer_part *p);
/* Removes the records and, with `data`, the partial file. */
void parts_remove(const char *partial, bool data);
