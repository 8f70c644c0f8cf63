/* Inside store/: the directory and its lock. */
#pragma once
#include "base/map.h"
#include "store/store.h"
#include <pthread.h>

enum { STORE_MANIFEST_BYTES_MAX = 4 << 20 };

enum { STORE_TOLD = 64 };

struct store {
    char *dir;
    pthread_mutex_t lock;              /* names */
    _Atomic uint64_t told[STORE_TOLD]; /* hashes of complaints made already */
};

/* "<dir>/<sub>/<rest>", NUL-terminated. */
char *store_path_of(const store *s, arena *a, const char *sub, str rest);
/* The existing spelling of a name, part by part; parts that do not exist stay as given. False when
 * there is no such name. */
bool store_existing_spelling(const store *s, arena *a, store_name *n);
/* Locked. Writes manifest bytes under the name. */
err_code store_write_manifest(store *s, arena *a, const store_name *name, str text, err *e);
