/* Making a model: from another one or from an uploaded file, with new layers over it.
 *
 * The wire part (ollama_create.c) checks the request and fills this; create_run does the work on a
 * thread of its own and reports each step. Everything lives in `mem`. */
#pragma once
#include "api/api.h"

typedef struct create_file {
    str name; /* relative, as the client has it */
    str digest;
} create_file;

typedef struct create_request {
    arena *mem;
    store_name name;
    str from;                 /* a model; empty when files are given */
    const create_file *files; /* [n_files]: GGUFs, or a directory of safetensors */
    size_t n_files;
    const create_file *adapters; /* [n_adapters]: a GGUF, or what PEFT saves */
    size_t n_adapters;
    const create_file *links; /* [n_links]: name is a path on this machine, used in place */
    size_t n_links;
    str quantize; /* target type; empty = as it is */
    str renderer, parser, requires_version;
    str template_text, system;
    bool has_template, has_system;
    const json_t *parameters; /* object or NULL */
    const json_t *messages;   /* array or NULL */
    const str *licenses;      /* [n_licenses] */
    size_t n_licenses;
} create_request;

/* Says one step; total 0 = no progress figures. False: nobody listens, stop. */
typedef struct create_report {
    bool (*fn)(void *arg, const char *status, str digest, uint64_t done, uint64_t total);
    void *arg;
} create_report;

/* Writes the model, manifest last. Nothing is listed when it fails. */
err_code create_run(api *a, const create_request *c, const create_report *report, err *e);
