/* What a device can compute: operations, tensors and programs, as plain data.
 *
 * graph/ builds these descriptions and plans their memory; a device compiles and runs them. Nothing
 * here allocates. A program is a list of nodes in execution order, cut into phases: the nodes of
 * one phase do not depend on each other, so a device may run them in any order or at once; between
 * phases everything written before is visible.
 *
 * Shapes: ne[0] is the fastest dimension (the row length); a weight matrix of a linear layer with K
 * inputs and N outputs is ne = {K, N} as in GGUF. The last used dimension of an activation may be
 * "live": its length is known only at run time (tokens of this step, rows whose logits are wanted)
 * and is at most the planned ne. Threads: a finished program is read-only. */
#pragma once
#include "base/err.h"
#include "image/resize.h"
#include "kern/dtype.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum dev_op {
    DEV_OP_GET_ROWS,   /* out[:,t] = f32(w[:, ids[t]]) * scale      in: w [D,V], ids i32 [T] */
    DEV_OP_TAKE_ROWS,  /* out[:,i] = x[:, rows[i]]                  in: x [D,T], rows i32 [O] */
    DEV_OP_QUANTIZE,   /* out = act8(x), see kern/kern.h            in: x [K,T]. Row-wise float ops
                          (norms, ADD, MUL, ACT, GLU) may have an ACT8 out too, by graph_plan */
    DEV_OP_MATMUL,     /* out[n,t] = sum_k w[k,n] x[k,t] (+ bias[n]) (+ residual[n,t])
                          in: w [K,N], x [K,T] (f32 or act8), bias or none, residual or none */
    DEV_OP_MATMUL_ID,  /* MoE: out[n,e,t] = sum_k w[k,n,ids[e,t]] x[k,(e),t]
                          in: w [K,N,E], x [K,1 or U,T], ids i32 [U,T], bias [N,E] or none */
    DEV_OP_RMS_NORM,   /* x / sqrt(mean(x^2) + eps) * w, per row of ne[0]   in: x, w or none */
    DEV_OP_LAYER_NORM, /* (x - mean) / sqrt(var + eps) * w + b      in: x, w or none, b or none */
    DEV_OP_ADD,        /* a + b, b broadcast over rows if it has one        in: a, b */
    DEV_OP_MUL,        /* a * b, likewise                                   in: a, b */
    DEV_OP_SCALE,      /* a * scale + bias (params.f)                       in: a */
    DEV_OP_SOFTCAP,    /* cap * tanh(a / cap)                               in: a */
    DEV_OP_ACT,        /* activation act of a                               in: a */
    DEV_OP_GLU,        /* act(gate) * up                            in: gate [F,T], up [F,T], or one
                          tensor [2F,T] with the gate half first */
    DEV_OP_ROPE,       /* rotary positions, in place allowed        in: x [K,H,T], pos i32 [T],
                          divisors f32 [n_rot/2] or none */
    DEV_OP_KV_STORE,   /* writes k and v of this step into the KV pages      in: k [K,Hkv,T],
                          v [Kv,Hkv,T]; no output */
    DEV_OP_ATTENTION,  /* softmax(scale q k^T + mask) v over paged KV        in: q [K,H,T], sinks or
                          none -> [Kv*H, T] */
    DEV_OP_ATTENTION_FULL, /* the same without a cache, bidirectional inside each sequence
                          in: q [K,H,T], k [K,Hkv,T], v [Kv,Hkv,T] -> [Kv*H, T] */
    DEV_OP_SOFTMAX,        /* per row                                           in: a */
    DEV_OP_TOP_K,          /* ids i32 [U,T] of the U largest per row, best first, ties to the
                              lower id                                          in: a [E,T] */
    DEV_OP_MOE_WEIGHTS,    /* f32 [U,T]: gathers probs at ids, optionally renormalised and scaled
                              in: probs [E,T], ids [U,T] */
    DEV_OP_MOE_SUM,        /* out[d,t] = sum_u x[d,u,t] * wts[u,t]      in: x [D,U,T], wts [U,T] */
    DEV_OP_POOL,           /* per sequence: mean, first or last row     in: x [D,T] -> [D, n_seq] */
    DEV_OP_L2_NORM,        /* x / |x| per row                                   in: x */
    /* Pictures: activations [C, X, Y, B], all lengths fixed. */
    /* Pictures in bfloat16: GROUP_NORM, LAYER_NORM, GLU and SDPA may have an out of BF16 that only
     * CONV2D with dev_node.bf16 reads as its x, by graph_plan. */
    DEV_OP_CONV2D,     /* out[o,x,y,b] = sum w[c,i,j,o] in[c, x sx + i - left, y sy + j - top, b]
                          (+ bias[o]) (+ emb[o,b]) (+ residual)   in: x [C,X,Y,B],
                          w [C,KX,KY,O] f32, f16 or bf16, bias or none, emb [O,B] or none,
                          residual [O,X',Y',B] or none. Outside the picture x is 0 */
    DEV_OP_GROUP_SUMS, /* of each of P parts of a picture's pixels the sum and the sum of squares of
                          each group's channels      in: x [C,X,Y,B] -> [2 n_groups,P,B] */
    DEV_OP_GROUP_NORM, /* over a group's channels and all pixels, then * w + b, then SiLU if
                          params.conv.silu      in: x [C,X,Y,B], w [C], b [C], none, its GROUP_SUMS;
                          or given [..] instead of those three: x[c] * given[from + c] +
                          given[from + C + c], for parts of a picture whose sums are known */
    DEV_OP_UPSAMPLE2X, /* every pixel four times; the last row and column may be missing
                          in: x -> [C, 2X or 2X-1, 2Y or 2Y-1, B] */
    DEV_OP_CONCAT,     /* a's channels, then b's                  in: a [A,..], b [B,..] */
    DEV_OP_FREEU,      /* CONCAT with a's first half of channels amplified and b's lowest
                          frequencies scaled (params.freeu)     in: a [A,X,Y,B], b [B',X,Y,B] */
    DEV_OP_SDPA,       /* softmax(scale q k^T) v per head and picture, causal if asked
                          in: q [K,H,T,B], k [K,H,S,B], v [K,H,S,B] -> [K*H,T,B] */
    DEV_OP_SDPA_MASS,  /* what all queries together give to each key: the sum of SDPA's weights over
                          the queries, their mean over heads     in: q, k -> [S,B] */
    DEV_OP_RESIZE,     /* to another size (params.resize)         in: x [C,X,Y,B] -> [C,X',Y',B] */
    /* Tokens of a picture [C,T,B], T = X Y in rows. */
    DEV_OP_TILES,        /* the tiles of a grid (params.tiles) as pictures of their own: [C,T,B] ->
                            [C,T/n,n B], or back                       in: x */
    DEV_OP_TOKEN_BEST,   /* of each cell of 2x2 tokens one is a target (params.match); for every
                            other token the score and the index of the nearest target, for a target
                            a score below all others and its own index: [2,T,B]
                            in: x [C,T,B] of length 1, picks [..] 0 to 3 for each cell */
    DEV_OP_TOKEN_MATCH,  /* where each token lies once the n_merged of highest score (of equal ones
                            the first) have joined their targets: [T,B] f32    in: best [2,T,B] */
    DEV_OP_TOKEN_MERGE,  /* means of the tokens at each place: [C,T-n_merged,B]
                            in: x [C,T,B], match [T,B] */
    DEV_OP_TOKEN_SPREAD, /* out[:,t,b] = x[:,match[t,b],b]: [C,T,B]
                            in: x [C,T-n_merged,B], match [T,B] */
    DEV_OP_COUNT
} dev_op;

typedef enum dev_act {
    DEV_ACT_SILU,      /* x / (1 + exp(-x)) */
    DEV_ACT_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    DEV_ACT_GELU_ERF,  /* x/2 (1 + erf(x / sqrt(2))) */
    DEV_ACT_RELU,
    DEV_ACT_GELU_QUICK, /* x / (1 + exp(-1.702 x)) */
    DEV_ACT_TANH,
    DEV_ACT_SIGMOID,
    DEV_ACT_COUNT
} dev_act;

/* CONV2D, GROUP_SUMS and GROUP_NORM. */
typedef struct dev_conv {
    int32_t stride_x, stride_y, left, right, top, bottom;
    int32_t n_groups; /* GROUP_SUMS, GROUP_NORM */
    int32_t from;     /* GROUP_NORM with given factors: where they begin */
    float eps;
    bool silu;
} dev_conv;

/* FREEU (Si et al., "FreeU: Free Lunch in Diffusion U-Net", 2024): channels below A/2 times
 * `backbone`, or, adaptive, times (backbone - 1) m + 1 with m the mean of a pixel's channels
 * brought to 0..1 over the picture. Of b, the frequencies -1 and 0 of both directions times `skip`.
 */
typedef struct dev_freeu {
    float backbone, skip;
    bool adaptive;
} dev_freeu;

/* TILES: a grid of cells cut into rows x cols equal tiles. */
typedef struct dev_tiles {
    int32_t cells_y, cells_x, rows, cols;
    bool back;
} dev_tiles;

/* Merging tokens (Bolya and Hoffman, "Token Merging for Fast Stable Diffusion", 2023): tokens of a
 * grid of y rows of x, and where its picks begin. A last odd row or column has no targets. */
typedef struct dev_match {
    int32_t x, y, from;
    int32_t n_merged;
} dev_match;

typedef enum dev_pool { DEV_POOL_NONE, DEV_POOL_MEAN, DEV_POOL_FIRST, DEV_POOL_LAST } dev_pool;

/* Where a tensor's bytes are. */
typedef enum dev_place {
    DEV_PLACE_NONE,   /* an absent optional input */
    DEV_PLACE_WEIGHT, /* `data`: read-only model memory, uploaded or imported by the device */
    DEV_PLACE_ARENA,  /* `offset` in the step's arena */
    DEV_PLACE_INPUT,  /* run-time input number `slot` (DEV_INPUT_*) */
    DEV_PLACE_DATA,   /* run-time input of floats number `slot` (DEV_DATA_*) */
    DEV_PLACE_OUTPUT  /* run-time output number `slot`: host memory given at run time */
} dev_place;

/* The length of the last used dimension. */
typedef enum dev_live {
    DEV_LIVE_FIXED,
    DEV_LIVE_TOKENS,
    DEV_LIVE_OUT_ROWS,
    DEV_LIVE_SEQS
} dev_live;

typedef struct dev_tensor {
    dtype type;     /* DTYPE_ACT8 for quantised activations */
    uint8_t n_dims; /* used dimensions, 1 to 4 */
    dev_live live;  /* of dimension n_dims - 1 */
    int64_t ne[4];  /* unused dimensions are 1; a live dimension holds its planned maximum */
    int64_t
        stride[4]; /* bytes from index i to i + 1 of dimension d; [0] is 0: the elements of a row
                      are always next to each other. Activations of a view keep its parent's */
    dev_place place;
    const void *data; /* DEV_PLACE_WEIGHT: host address (a file mapping, or of dev_interleave) */
    bool interleaved; /* DEV_PLACE_WEIGHT: tiles of rows (kern/interleave.h), of a matrix that
                         GET_ROWS, MATMUL and MATMUL_ID read */
    uint64_t offset;  /* DEV_PLACE_ARENA: bytes from the arena's start, 64-byte aligned */
    int32_t slot;     /* DEV_PLACE_INPUT, DEV_PLACE_OUTPUT */
    bool panels;      /* a CONV2D weight of BF16 that lies as the kernels want it: [O / 32 rounded
                         up][KY KX][C / 2 rounded up][32][2], 0 where there is none */
} dev_tensor;

enum { DEV_NODE_INPUTS = 6 };

typedef struct dev_rope {
    int32_t n_rot;     /* rotated dimensions, even */
    bool neox;         /* pairs (i, i + n_rot/2) instead of (2i, 2i+1) */
    float freq_base;   /* theta_i = pos * freq_base^(-2i/n_rot) */
    float freq_scale;  /* 1 / linear factor */
    float ext_factor;  /* YaRN mix; 0 = off */
    float attn_factor; /* multiplies cos and sin; with ext_factor != 0 the device multiplies by
                          YaRN's own 1 + 0.1 ln(1 / freq_scale) as well */
    float beta_fast, beta_slow;
    int32_t ctx_orig;
} dev_rope;

typedef struct dev_attention {
    float scale;
    float softcap;  /* 0 = none: cap * tanh(x / cap) before the mask */
    int32_t window; /* 0 = none: a key is seen iff 0 <= pos_q - pos_k < window; positions count
                       from the sequence's start (index into its pages). ATTENTION_FULL: |..| */
    int32_t layer;  /* which layer's KV pages */
    int32_t n_head_kv;
} dev_attention;

typedef struct dev_node {
    dev_op op;
    const dev_tensor *in[DEV_NODE_INPUTS]; /* NULL = absent */
    const dev_tensor *out;                 /* NULL for KV_STORE */
    int32_t phase;                         /* set by the planner, ascending in list order */
    int32_t part, n_parts; /* this node does the part'th of n_parts shares of the work, the others
                              follow in later phases; n_parts 0 or 1: all of it */
    bool bf16; /* CONV2D, SDPA: operands of products are rounded to bfloat16, sums stay f32 */
    union {
        struct {
            float eps;
        } norm;
        struct {
            float scale, bias;
        } f; /* GET_ROWS, SCALE; SOFTCAP's cap is `scale` */
        struct {
            dev_act act;
        } act; /* ACT, GLU */
        struct {
            dev_pool pool;
        } pool;
        struct {
            bool renorm;
            float scale;
        } moe;
        dev_rope rope;
        dev_conv conv;
        dev_freeu freeu;
        struct {
            float scale;
            bool causal;
        } sdpa;
        struct {
            resize_method method;
        } resize;
        dev_tiles tiles;
        dev_match match;
        dev_attention attn; /* ATTENTION, ATTENTION_FULL, KV_STORE */
    } params;
} dev_node;

typedef struct dev_program_spec {
    const dev_node *nodes;
    int32_t n_nodes;
    int32_t n_phases;
    uint64_t arena_bytes; /* exact peak of the step's arena */
    int32_t max_tokens;   /* the plan's largest live lengths */
    int32_t max_out_rows;
    int32_t max_seqs;
} dev_program_spec;

/* "rms_norm", for messages and profiles. Never NULL. */
const char *dev_op_name(dev_op op);
