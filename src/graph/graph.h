/* Builds a step: operations with inferred static shapes, then a plan with every intermediate at a
 * fixed offset of one arena.
 *
 * A graph is built once per (model, token bucket) and turned into a dev_program_spec. Builder
 * functions never fail visibly: the first mistake (shapes that do not fit, an absent input) is kept
 * and graph_plan returns it, naming the node. Everything lives in the graph's arena.
 * Peak bytes are known after graph_plan and before anything runs; that number goes to the ledger.
 * Threads: one. Source of the method: liveness intervals, greedy best fit by descending size. */
#pragma once
#include "base/arena.h"
#include "dev/op.h"
#include "dev/step.h"

typedef struct graph graph;
typedef const dev_tensor *graph_t; /* a tensor of the graph; NULL = absent optional input */

typedef struct graph_params {
    int32_t max_tokens, max_out_rows, max_seqs; /* planned maxima of the live lengths, >= 1 */
    bool bf16;       /* convolutions, linear layers and attention of pictures: dev_node.bf16 */
    bool reads_bf16; /* as dev_info says */
} graph_params;

graph *graph_create(const graph_params *p);
void graph_destroy(graph **g);

/* Leaves. graph_weight borrows the bytes. */
graph_t graph_weight(graph *g, dtype type, int n_dims, const int64_t ne[4], const void *data);
/* A matrix (or several) as dev_interleave left it, for get_rows, matmul and matmul_id. */
graph_t graph_weight_interleaved(graph *g, dtype type, int n_dims, const int64_t ne[4],
                                 const void *tiles);
/* A kernel [C,KX,KY,O], or a matrix [C,O] where ne[2] and ne[3] are 1 and n_dims is 2, in panels of
 * bfloat16 (dev_tensor.panels); for graphs in bf16. */
graph_t graph_weight_panels(graph *g, int n_dims, const int64_t ne[4], const void *data);
bool graph_is_bf16(const graph *g);
void graph_keep_f32(graph *g); /* what follows computes in f32 */
/* Whether kernels [C,KX,KY,O] of this shape compute in f32 also in graphs in bfloat16. */
bool graph_keeps_f32(const int64_t ne[4]);
graph_t graph_input(graph *g, int slot); /* DEV_INPUT_*: i32 [tokens or out rows] */

/* Operations. T is the live token dimension unless said otherwise. */
graph_t graph_get_rows(graph *g, graph_t w, graph_t ids, float scale); /* [D,V],[T] -> [D,T] */
graph_t graph_take_rows(graph *g, graph_t x, graph_t rows);            /* [D,T],[O] -> [D,O] */

/* [K,N] x [K,T] -> [N,T]. Quantised weights get an act8 copy of x, made once per x and shared. */
graph_t graph_matmul(graph *g, graph_t w, graph_t x, graph_t bias);
/* The same with the sum x_out = w x + bias + residual formed in the epilogue. */
graph_t graph_matmul_add(graph *g, graph_t w, graph_t x, graph_t bias, graph_t residual);
graph_t graph_matmul_id(graph *g, graph_t w, graph_t x, graph_t ids, graph_t bias);

graph_t graph_rms_norm(graph *g, graph_t x, graph_t w, float eps); /* over ne[0] */
graph_t graph_layer_norm(graph *g, graph_t x, graph_t w, graph_t b, float eps);
graph_t graph_add(graph *g, graph_t a, graph_t b);
graph_t graph_mul(graph *g, graph_t a, graph_t b);
graph_t graph_scale(graph *g, graph_t a, float scale, float bias);
graph_t graph_softcap(graph *g, graph_t a, float cap);
graph_t graph_act(graph *g, graph_t a, dev_act act);
graph_t graph_glu(graph *g, graph_t gate, graph_t up, dev_act act); /* up NULL: gate is [2F,T] */
graph_t graph_softmax(graph *g, graph_t a);
graph_t graph_l2_norm(graph *g, graph_t a);

/* Views share memory. [A,T] -> [A/H... as given]; product of fixed dimensions must agree. A dense
 * tensor of fixed lengths takes any shape of as many elements. */
graph_t graph_reshape(graph *g, graph_t x, int n_dims, const int64_t ne[4]);
/* Rows' elements [from, from + n) of ne[0] as a strided view: cuts fused qkv or gate-up apart. */
graph_t graph_slice(graph *g, graph_t x, int64_t from, int64_t n);

graph_t graph_rope(graph *g, graph_t x, graph_t pos, graph_t divisors, const dev_rope *p);
void graph_kv_store(graph *g, graph_t k, graph_t v, const dev_attention *p);
graph_t graph_attention(graph *g, graph_t q, graph_t sinks, int64_t head_dim_v,
                        const dev_attention *p); /* after kv_store of the layer -> [Kv*H, T] */
graph_t graph_attention_full(graph *g, graph_t q, graph_t k, graph_t v, const dev_attention *p);

graph_t graph_top_k(graph *g, graph_t probs, int32_t k);
graph_t graph_moe_weights(graph *g, graph_t probs, graph_t ids, bool renorm, float scale);
graph_t graph_moe_sum(graph *g, graph_t x, graph_t weights);
graph_t graph_pool(graph *g, graph_t x, dev_pool pool); /* [D,T] -> [D, sequences] */

/* ---- pictures (graph/build_image.c): activations [C, X, Y, B] of fixed lengths ---- */

/* Floats given at run time, DEV_DATA_*: dense in this shape. */
graph_t graph_data(graph *g, int slot, int n_dims, const int64_t ne[4]);

/* w [C,KX,KY,O]; everything optional may be NULL. Strides default to 1. */
typedef struct graph_conv {
    graph_t w, bias, emb, residual; /* emb [O,B] is added to every pixel of a picture */
    dev_conv p;
} graph_conv;
graph_t graph_conv2d(graph *g, graph_t x, const graph_conv *c);
/* The same for rows: w [C,O], x [C, T.. up to 3 more] -> [O, T..]; residual of that shape. */
graph_t graph_linear(graph *g, graph_t x, graph_t w, graph_t bias, graph_t residual);
graph_t graph_group_norm(graph *g, graph_t x, graph_t w, graph_t b, const dev_conv *p);
/* A group norm whose statistics are known: given [n] holds C factors from p->from on, then C
 * summands. */
graph_t graph_given_norm(graph *g, graph_t x, graph_t given, const dev_conv *p);
/* To [C,nx,ny,B], each 2X or 2X - 1 (2Y or 2Y - 1). */
graph_t graph_upsample2x(graph *g, graph_t x, int64_t nx, int64_t ny);
graph_t graph_concat(graph *g, graph_t a, graph_t b);
graph_t graph_freeu(graph *g, graph_t a, graph_t b, const dev_freeu *p);
/* q [K,H,T,B], k and v [K,H,S,B] -> [K*H,T,B]. */
typedef struct graph_sdpa_params {
    float scale;
    bool causal;
} graph_sdpa_params;
graph_t graph_sdpa(graph *g, graph_t q, graph_t k, graph_t v, const graph_sdpa_params *p);

/* [S,B]: DEV_OP_SDPA_MASS. */
graph_t graph_sdpa_mass(graph *g, graph_t q, graph_t k, float scale);
graph_t graph_resize(graph *g, graph_t x, int64_t nx, int64_t ny, resize_method method);
/* Tokens [C,T,B] to [C,T/n,n B] and back; picks as a data input (DEV_OP_TOKEN_BEST). */
graph_t graph_tiles(graph *g, graph_t x, const dev_tiles *p);
graph_t graph_token_match(graph *g, graph_t x, graph_t picks, const dev_match *p); /* [T,B] */
graph_t graph_token_merge(graph *g, graph_t x, graph_t match, const dev_match *p);
graph_t graph_token_spread(graph *g, graph_t x, graph_t match);

/* Marks x as the program's output number slot (DEV_OUTPUT_*), written to host memory given at run
 * time; x must not be used by later nodes. */
void graph_output(graph *g, graph_t x, int slot);

/* Finishes: phases, offsets, peak. *ret_spec borrows from g and stays valid until g ends
 * (dev_compile copies it). ERR_INVALID or ERR_INTERNAL for a builder mistake. */
err_code graph_plan(graph *g, dev_program_spec *ret_spec, err *e);
