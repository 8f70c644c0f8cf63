/* The table of element types. Everything that reads a file asks here what an id means and how many
 * bytes a row has; no other place knows block sizes. Read-only tables, any thread. */
#include "kern/dtype.h"
#include "base/checked.h"
#include <strings.h>

#define PLAIN(n, b)                                                                                \
    { (n), 1, (b), true, false }
#define BLOCK(n, elems, b)                                                                         \
    { (n), (elems), (b), true, true }
#define KNOWN(n, elems, b) /* name and size only */                                                \
    { (n), (elems), (b), false, true }

static const dtype_info INFO[DTYPE_COUNT] = {
    [DTYPE_F32] = PLAIN("F32", 4),
    [DTYPE_F16] = PLAIN("F16", 2),
    [DTYPE_BF16] = PLAIN("BF16", 2),
    [DTYPE_F64] = PLAIN("F64", 8),
    [DTYPE_I8] = PLAIN("I8", 1),
    [DTYPE_I16] = PLAIN("I16", 2),
    [DTYPE_I32] = PLAIN("I32", 4),
    [DTYPE_I64] = PLAIN("I64", 8),
    [DTYPE_Q4_0] = BLOCK("Q4_0", 32, 18),
    [DTYPE_Q4_1] = BLOCK("Q4_1", 32, 20),
    [DTYPE_Q5_0] = BLOCK("Q5_0", 32, 22),
    [DTYPE_Q5_1] = BLOCK("Q5_1", 32, 24),
    [DTYPE_Q8_0] = BLOCK("Q8_0", 32, 34),
    [DTYPE_Q8_1] = KNOWN("Q8_1", 32, 36),
    [DTYPE_Q2_K] = BLOCK("Q2_K", 256, 84),
    [DTYPE_Q3_K] = BLOCK("Q3_K", 256, 110),
    [DTYPE_Q4_K] = BLOCK("Q4_K", 256, 144),
    [DTYPE_Q5_K] = BLOCK("Q5_K", 256, 176),
    [DTYPE_Q6_K] = BLOCK("Q6_K", 256, 210),
    [DTYPE_Q8_K] = KNOWN("Q8_K", 256, 292),
    [DTYPE_IQ2_XXS] = KNOWN("IQ2_XXS", 256, 66),
    [DTYPE_IQ2_XS] = KNOWN("IQ2_XS", 256, 74),
    [DTYPE_IQ2_S] = KNOWN("IQ2_S", 256, 82),
    [DTYPE_IQ3_XXS] = KNOWN("IQ3_XXS", 256, 98),
    [DTYPE_IQ3_S] = KNOWN("IQ3_S", 256, 110),
    [DTYPE_IQ1_S] = KNOWN("IQ1_S", 256, 50),
    [DTYPE_IQ1_M] = KNOWN("IQ1_M", 256, 56),
    [DTYPE_IQ4_NL] = BLOCK("IQ4_NL", 32, 18),
    [DTYPE_IQ4_XS] = BLOCK("IQ4_XS", 256, 136),
    [DTYPE_TQ1_0] = BLOCK("TQ1_0", 256, 54),
    [DTYPE_TQ2_0] = BLOCK("TQ2_0", 256, 66),
    [DTYPE_MXFP4] = BLOCK("MXFP4", 32, 17),
    [DTYPE_NVFP4] = BLOCK("NVFP4", 64, 36),
    [DTYPE_Q1_0] = BLOCK("Q1_0", 128, 18),
    [DTYPE_Q2_0] = BLOCK("Q2_0", 64, 18),
    [DTYPE_ACT8] = {"ACT8", 1, 0, false, true},
    [DTYPE_F8_E4M3] = PLAIN("F8_E4M3", 1),
    [DTYPE_F8_E5M2] = PLAIN("F8_E5M2", 1),
    [DTYPE_U8] = PLAIN("U8", 1),
    [DTYPE_BOOL] = PLAIN("BOOL", 1),
};

static const dtype_info UNKNOWN = {"?", 1, 0, false, false};

const dtype_info *dtype_get_info(dtype t) {
    if ((unsigned)t >= DTYPE_COUNT || !INFO[t].name) return &UNKNOWN;
    return &INFO[t];
}

const char *dtype_name(dtype t) {
    return dtype_get_info(t)->name;
}

bool dtype_row_bytes(dtype t, int64_t n_elems, uint64_t *ret_bytes) {
    const dtype_info *info = dtype_get_info(t);
    if (n_elems < 0 || !info->bytes || n_elems % info->elems) return false;
    return checked_mul((uint64_t)n_elems / info->elems, info->bytes, ret_bytes);
}

err_code dtype_from_ggml_id(uint32_t id, dtype *ret, err *e) {
    switch (id) {
    case 4:
    case 5:
    case 36:
    case 37:
    case 38:
    case 31:
    case 32:
    case 33:
        FAIL(e, UNSUPPORTED,
             "tensor type %u was removed from the format (a repacked Q4_0 or an early type): "
             "re-quantise the model, plain Q4_0 will do",
             id);
    default:
        break;
    }
    if (id >= 97 && id < 400)
        FAIL(e, UNSUPPORTED,
             "tensor type %u belongs to ik_llama.cpp and is not supported: use a file with plain "
             "K-quants such as Q4_K_M",
             id);
    const dtype_info *info = id < DTYPE_INTERNAL ? dtype_get_info((dtype)id) : &UNKNOWN;
    if (info == &UNKNOWN)
        FAIL(e, UNSUPPORTED, "tensor type %u is unknown: the file is newer than this program", id);
    if (!info->supported && (id == DTYPE_Q8_1 || id == DTYPE_Q8_K))
        FAIL(e, UNSUPPORTED, "tensor type %s is for activations and not for files", info->name);
    if (!info->supported)
        FAIL(e, UNSUPPORTED, "tensor type %s is not supported: use IQ4_XS or Q3_K instead",
             info->name);
    *ret = (dtype)id;
    return ERR_OK;
}

bool dtype_from_name(const char *name, dtype *ret) {
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (!INFO[t].name || strcasecmp(INFO[t].name, name) != 0) continue;
        *ret = (dtype)t;
        return true;
    }
    return false;
}
