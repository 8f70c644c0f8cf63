/* Writing a network's weights as an adapter file: of what one model has and another has not (a
 * difference of models), the part of low rank, which lora.h reads again.
 *
 * Tensors are float16, named as ComfyUI names them ("diffusion_model....lora_up.weight",
 * "text_encoders.clip_l...."). The file appears whole or not at all. Threads: as net.h. */
#pragma once
#include "diffusion/checkpoint.h"

typedef struct diff_extract_job {
    const diff_model *model; /* or NULL */
    const diff_clip *clip;   /* or NULL */
    int64_t rank;            /* of each matrix at most; of small ones less */
    bool full;               /* no decomposition: the differences themselves */
    bool biases;             /* those of biases and norms too */
    str metadata;            /* a JSON object of texts; empty = none */
    void *ctx;               /* tick: now and then; an error ends the work. May be NULL */
    err_code (*tick)(void *ctx, uint64_t done, uint64_t total, err *e);
} diff_extract_job;

/* INVALID when there is nothing to write; UNSUPPORTED for a text encoder in OpenCLIP's layout. */
err_code diff_extract(const char *path, const diff_extract_job *job, err *e);
