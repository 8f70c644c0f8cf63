/* Writing networks to safetensors files, in the original layout of names.
 *
 * What patches change is computed on the way; the rest is copied as it is, quantised types as f16.
 * The file appears whole or not at all. Threads: as net.h. */
#pragma once
#include "diffusion/checkpoint.h"

/* One network: its tensors' names get this prefix. */
typedef struct diff_save_part {
    diff_weights *w;
    const char *prefix;
    const char *only; /* NULL, or only names that begin so */
} diff_save_part;

typedef struct diff_save_job {
    const diff_save_part *parts;
    size_t n_parts;
    const char *const
        *marks;   /* names of empty tensors, such as "v_pred"; NULL-terminated or NULL */
    str metadata; /* a JSON object of texts; empty = none */
    void *ctx;    /* tick: now and then; an error ends the work. May be NULL */
    err_code (*tick)(void *ctx, uint64_t done, uint64_t total, err *e);
} diff_save_job;

/* UNSUPPORTED when a network's file has names of another layout; IO as os/file.h. */
err_code diff_save(const char *path, const diff_save_job *job, err *e);

/* Parts as checkpoints keep them; each returns how many it put (at most 2). */
size_t diff_save_model(const diff_model *m, const char *prefix, diff_save_part *ret);
size_t diff_save_clip(const diff_clip *c, diff_save_part ret[2], err *e); /* 0: error */
size_t diff_save_vae(const vae *v, const char *prefix, diff_save_part *ret, err *e);
