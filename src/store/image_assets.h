/* Assets of API v2: files with an id and a hash. Uploads lie in the input directory, results of
 * jobs where the job saved them. Threads: any. */
#pragma once
#include "store/db.h"

typedef struct image_asset {
    str id;   /* UUID */
    str hash; /* "blake3:<hex>" */
    uint64_t n_bytes;
    str content_type;
    str name;      /* last part of the file's name */
    str file_path; /* as the client gave it, or empty */
    str path;      /* on disk */
    str reference; /* how a workflow names it: "v2/x.png" or "sub/y.png [output]" */
    str job_id;    /* of the job that made it, or empty */
    int64_t created_ms, expires_ms; /* 0 = never */
    str owner;                      /* user id; empty: nobody's */
} image_asset;

err_code image_assets_migrate(db *d, err *e);
err_code image_assets_insert(db *d, const image_asset *a, err *e);
/* NOT_FOUND also for one that has expired, or is another's; an empty owner sees all. */
err_code image_assets_find(db *d, str owner, str id, arena *a, image_asset *ret, err *e);
err_code image_assets_by_hash(db *d, str owner, str hash, arena *a, image_asset *ret, err *e);
err_code image_assets_by_path(db *d, str path, arena *a, image_asset *ret, err *e);
/* *ret_last: no other asset has its bytes, so the file may go. */
err_code image_assets_delete(db *d, str id, bool *ret_last, err *e);
