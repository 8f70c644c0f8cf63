/* Quantisers: f32 rows to block types, and whole models.
 *
 * Q4_0 to Q8_0 follow the format's reference rules; the K-quants search their scales by weighted
 * least squares with weights that grow with x^2 (large weights matter more), without an importance
 * matrix. Threads: quantize_row from any thread. */
#pragma once
#include "base/err.h"
#include "kern/dtype.h"

/* True for F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K. */
bool quantize_can(dtype t);

/* x [n] f32 to n elements of type t at dst; n is a whole number of blocks and quantize_can(t).
 * NaN counts as 0; values beyond what a block's f16 scale can hold saturate it. */
void quantize_row(dtype t, const float *x, void *dst, int64_t n);

/* Called after each tensor, from the calling thread; returning false cancels. */
typedef struct quantize_progress {
    bool (*fn)(void *arg, uint64_t n_done, uint64_t n_total); /* bytes of the input's tensors */
    void *arg;
} quantize_progress;

/* Writes a quantised copy of a GGUF. Targets, ignoring case: F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0
 * Q4_K_S Q4_K_M Q4_K Q5_K_S Q5_K_M Q5_K Q6_K. Mixes: see quantize_gguf.c. The output appears only
 * when it is complete.
 * INVALID "quantization is only supported for F16, BF16 and F32 models" for other inputs,
 * INVALID "unsupported quantization type X - supported types are ..." for other targets. progress
 * may be NULL; CANCELLED when it says so. Holds one tensor's row group in memory, not the model. */
err_code quantize_gguf(const char *path_in, const char *path_out, const char *target,
                       const quantize_progress *progress, err *e);

/* What `general.file_type` says about a file, as users read it: 1 "F16", 15 "Q4_K_M" ...;
 * "unknown" for others. */
const char *quantize_file_type_name(uint64_t file_type);
