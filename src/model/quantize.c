/* Names of file types; the quantisers are not written yet. */
#include "model/quantize.h"
#include "base/mem.h"

const char *quantize_file_type_name(uint64_t file_type) {
    static const char *const NAMES[] = {
        [0] = "F32",     [1] = "F16",     [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L", [14] = "Q4_K_S", [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",   [25] = "IQ4_NL", [30] = "IQ4_XS", [32] = "BF16",   [38] = "MXFP4",
    };
    return file_type < COUNT_OF(NAMES) && NAMES[file_type] ? NAMES[file_type] : "unknown";
}

err_code quantize_gguf(const char *path_in, const char *path_out, const char *target,
                       const quantize_progress *progress, err *e) {
    (void)path_in, (void)path_out, (void)progress;
    FAIL(e, UNSUPPORTED, "quantization to %s is not part of this version", target);
}
