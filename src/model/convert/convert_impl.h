/* Inside convert/: the job, its families, and JSON with bounds. */
#pragma once
#include "base/vec.h"
#include "model/convert/convert.h"
#include "model/gguf_write.h"
#include "model/safetensors.h"
#include <jansson.h>

typedef enum convert_style { CONVERT_DECODER, CONVERT_BERT } convert_style;

typedef struct convert_family {
    const char *model_types; /* of config.json, space-separated */
    const char *arch;        /* general.architecture */
    convert_style style;
    bool pairs;      /* q and k rotate adjacent pairs: rows are reordered */
    bool plus_one;   /* norm weights are stored without their 1 */
    bool four_norms; /* norms behind both sub-blocks too */
    /* what config.json may leave out: transformers' defaults of the family */
    int32_t n_head, n_head_kv, head_dim, n_ctx;
    double norm_eps, rope_theta;
} convert_family;

/* A tensor of the output. */
typedef struct convert_tensor {
    str name;
    dtype type;
    uint32_t n_dims;
    int64_t ne[4];
    const safetensors_tensor *const *from; /* [n_from], one behind the other (experts) */
    size_t n_from;
    int64_t skip_rows;     /* of each: rows of a fused matrix that belong to another tensor */
    int32_t n_head;        /* > 0: rows of each head change from halves to pairs */
    bool plus_one;         /* to each value */
    const float *computed; /* [ne[0]] instead of `from` */
} convert_tensor;

typedef struct convert_job {
    arena *mem;
    const convert_file *files;
    size_t n_files;
    const convert_family *family;
    json_t *config; /* the whole file */
    json_t *text;   /* the language model's part; borrowed */
    VEC(safetensors *) sources;
    VEC(convert_tensor) tensors;
    int32_t n_layers, n_head, n_head_kv, head_dim, n_expert;
    int64_t n_vocab; /* rows of the embedding */
    bool tied;
} convert_job;

/* The file of that name, or NULL. */
const char *convert_find_file(const convert_job *j, const char *name);
/* Parses a JSON file; *ret NULL when it is not there. */
err_code convert_json(const convert_job *j, const char *name, json_t **ret, err *e);
/* Numbers of an object, with a fallback when absent or null; LIMIT when out of [lo, hi]. */
err_code convert_int(const json_t *o, const char *key, int64_t fallback, int64_t lo, int64_t hi,
                     int64_t *ret);
double convert_num(const json_t *o, const char *key, double fallback);
str convert_text(const json_t *o, const char *key);

/* Opens every .safetensors of j->files. */
err_code convert_open_sources(convert_job *j, err *e);
/* Describes j->tensors to the writer, which has the keys already, and writes all. */
err_code convert_write_tensors(const convert_job *j, gguf_writer *w,
                               const quantize_progress *progress, err *e);
const convert_family *convert_family_of_arch(str arch); /* NULL: none */
void convert_job_finish(convert_job *j);

/* names.c: the name in a GGUF of the matrix of a linear layer ("model.layers.0.mlp.up_proj.weight",
 * no expert's), and its heads if its rows are reordered, else 0. False: there is none. */
bool convert_matrix_name(const convert_job *j, str theirs, str *ret_name, int32_t *ret_n_head);
/* FORMAT or UNSUPPORTED for a tensor of a type or size that cannot be carried over. */
err_code convert_check_source(const safetensors_tensor *s, err *e);
/* Fills j->tensors from j->sources. */
err_code convert_plan_tensors(convert_job *j, err *e);
void convert_add_computed(convert_job *j, const char *name, const float *values, int64_t n);
/* keys.c: writes <arch>.*; may add computed tensors. */
err_code convert_put_keys(convert_job *j, gguf_writer *w, err *e);
/* tokens.c: writes tokenizer.*. */
err_code convert_put_tokenizer(convert_job *j, gguf_writer *w, err *e);
