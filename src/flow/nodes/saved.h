/* Where nodes write files: names from patterns, counters, sub-folders, and the workflow inside.
 *
 * A prefix such as "shots/%date:yyyy-MM-dd%/%KSampler.seed%_%width%" becomes a folder below the
 * output (or temp) folder and the start of a name; files are `name_00001_.png`, numbered on from
 * the largest there. Prefixes are a stranger's: they cannot leave the folder. Files appear whole
 * or not at all. Threads: the one that runs the workflow. */
#pragma once
#include "base/buf.h"
#include "flow/call.h"

typedef struct saved_place {
    str dir;       /* absolute, exists */
    str subfolder; /* below the output or temp folder, "" for itself */
    str stem;      /* may hold %batch_num% */
    int64_t next;  /* number of the next file */
    bool temp;
} saved_place;

typedef struct saved_size {
    size_t width, height; /* for %width% and %height% */
} saved_size;

/* Fills *ret (texts in flow_call_arena) and creates the folder. INVALID when the prefix leaves it.
 */
err_code saved_open(flow_call *c, str prefix, saved_size size, saved_place *ret, err *e);
/* The same in the temp folder under a name nobody else has. */
err_code saved_open_temp(flow_call *c, saved_size size, saved_place *ret, err *e);

/* The path of the next file with `ext`; the name alone in *ret_name. In flow_call_arena. */
str saved_next(flow_call *c, saved_place *p, const char *ext, size_t batch_num, str *ret_name);

/* Writes one file with the next number and `ext` (".png"); batch_num replaces %batch_num%. Shows
 * it to the client under `key` ("images"). */
typedef struct saved_file {
    const buf *bytes;
    const char *ext, *key;
    size_t batch_num;
} saved_file;
err_code saved_write(flow_call *c, saved_place *p, const saved_file *f, err *e);

/* What pictures carry: a map of JSON texts, "prompt" and the keys of extra_pnginfo. NULL when the
 * server keeps metadata out of files. In flow_call_arena. */
value *saved_metadata(flow_call *c);

/* JSON as Python's json.dumps writes it, ASCII only. */
void saved_json(buf *b, const value *v);

/* Exposed for tests: replaces %date:...%, %Node.widget%, %width% and so on. `local` is the time as
 * localtime_r gives it; prompt NULL or the workflow. */
struct tm;
typedef struct saved_pattern {
    const value *prompt;
    const struct tm *local;
    saved_size size;
} saved_pattern;
str saved_expand(str prefix, const saved_pattern *p, arena *a);
