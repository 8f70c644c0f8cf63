/* One layer's change in an adapter file: finding its tensors, and adding what they say.
 *
 * For a weight W [out, n] (n = inputs times the kernel's pixels), with k = strength * alpha / rank:
 *   LoRA   W += k up [out, r] @ down [r, n]; with a middle M [r, r', pixels] (Tucker) the down
 *          matrix is sum_s M[r, s, p] down[s, input] (Yeh et al., LyCORIS, 2023)
 *   LoHa   W += k (a1 @ b1) * (a2 @ b2), element by element (Hyeon-Woo et al., FedPara, 2022);
 *          with cores t, a product is sum_ij t[i, j, p] a[i, out] b[j, input]
 *   LoKr   W += k kron(w1, w2), each of which may be a product (Yeh et al.)
 *   diff   W += strength * diff, also of biases and norms
 *   DoRA   with magnitudes m: W + D scaled to the lengths m, by outputs or by inputs (Liu et al.,
 *          "DoRA", 2024); strength mixes that with W. By outputs the length is that of W, as the
 *          programs that draw with such files have it, not of W + D
 * Tensors that do not fit change nothing. Pure. Threads: any. */
#pragma once
#include "diffusion/file.h"

typedef enum adapter_kind { ADAPTER_LORA, ADAPTER_LOHA, ADAPTER_LOKR, ADAPTER_DIFF } adapter_kind;

enum { ADAPTER_PARTS = 7 };
typedef struct adapter {
    adapter_kind kind;
    const safetensors_tensor *part[ADAPTER_PARTS]; /* by kind, NULL = absent */
    const safetensors_tensor *magnitude;           /* DoRA, or NULL */
    double scale;                                  /* alpha / rank, or 1 */
} adapter;

/* Tensors whose names begin with `stem`; is_bias: what changes a layer's bias instead. */
bool adapter_find(const diff_file *f, const char *stem, bool is_bias, adapter *ret);

typedef struct adapter_target {
    float *w; /* [out, in, pixels] */
    int64_t out, in, pixels;
} adapter_target;
void adapter_add(const adapter *a, double strength, const adapter_target *to);
