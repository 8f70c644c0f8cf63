/* What dev.c needs from a kind of device. Only device implementations include this. */
#pragma once
#include "dev/dev.h"

/* All arguments have been checked by dev.c; `d` and programs are the implementation's own. */
typedef struct dev_table {
    void (*destroy)(dev *d);
    void (*get_info)(const dev *d, dev_info *ret);
    err_code (*alloc)(dev *d, uint64_t n_bytes, bool lazy, dev_buffer *ret, err *e);
    void (*free)(dev *d, dev_buffer *b);
    err_code (*compile)(dev *d, const dev_program_spec *spec, dev_program **ret, err *e);
    void (*program_destroy)(dev_program *p);
    void (*program_rest)(dev_program *p);
    err_code (*run)(dev_program *p, const dev_step *step, int32_t phase_from, int32_t phase_to,
                    dev_cancel *cancel, err *e);
    bool (*can_interleave)(const dev *d, dtype type, int64_t k, int64_t n_rows);
    void (*interleave)(dev *d, dtype type, const void *src, int64_t k, int64_t n_rows, void *dst);
    void (*profile_enable)(dev *d, bool on);
    void (*profile_get)(const dev *d, dev_profile *ret);
} dev_table;

/* First member of every device. */
struct dev {
    const dev_table *table;
};

/* First member of every compiled program: what dev_run checks a step against. */
struct dev_program {
    const dev_table *table;
    int32_t n_phases;
    int32_t max_tokens, max_out_rows, max_seqs;
    int32_t id_limit[DEV_INPUT_COUNT]; /* ids of this input must be below; INT32_MAX = any */
    bool uses_input[DEV_INPUT_COUNT];
    bool uses_data[DEV_DATA_COUNT];
    bool uses_kv;
};
