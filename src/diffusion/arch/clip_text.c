/* CLIP text encoders: two layouts of names, one graph. */
#include "diffusion/arch/clip_text.h"
#include "base/mem.h"
#include "diffusion/arch/layers.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { LAYERS_MAX = 128, HEAD_DIM = 64 };

/* Where each layout keeps its tensors. */
typedef struct layout {
    const char *tokens, *positions, *block, *norm1, *norm2, *out, *up, *down, *final;
    bool fused; /* q, k and v in one matrix */
} layout;

static const layout HF = {.tokens = "embeddings.token_embedding.weight",
                          .positions = "embeddings.position_embedding.weight",
                          .block = "encoder.layers.%d.",
                          .norm1 = "layer_norm1",
                          .norm2 = "layer_norm2",
                          .out = "self_attn.out_proj",
                          .up = "mlp.fc1",
                          .down = "mlp.fc2",
                          .final = "final_layer_norm"};
static const layout OPEN = {.tokens = "token_embedding.weight",
                            .positions = "positional_embedding",
                            .block = "transformer.resblocks.%d.",
                            .norm1 = "ln_1",
                            .norm2 = "ln_2",
                            .out = "attn.out_proj",
                            .up = "mlp.c_fc",
                            .down = "mlp.c_proj",
                            .final = "ln_final",
                            .fused = true};

struct clip_text {
    atomic_int refs;
    diff_net *net;
    clip_text_info info;
    const layout *names;
    const char *base; /* "text_model." or "" in front of the names */
};

static const layout *layout_of(const diff_weights *w, const char **base) {
    *base = "text_model.";
    if (diff_weights_has(w, "text_model.embeddings.token_embedding.weight")) return &HF;
    *base = "";
    if (diff_weights_has(w, HF.tokens)) return &HF;
    return diff_weights_has(w, OPEN.tokens) ? &OPEN : NULL;
}

static void block_name(char dst[LAYERS_NAME_BYTES], const layout *n, const char *base, int i) {
    if (n->fused)
        layers_name(dst, "%stransformer.resblocks.%d.", base, i);
    else
        layers_name(dst, "%sencoder.layers.%d.", base, i);
}

static void read_info(const diff_weights *w, const layout *n, const char *base,
                      clip_text_info *ret) {
    LAYERS_NAME(tokens, "%s%s", base, n->tokens);
    LAYERS_NAME(positions, "%s%s", base, n->positions);
    *ret = (clip_text_info){.width = layers_dim(w, tokens, 0),
                            .n_vocab = layers_dim(w, tokens, 1),
                            .n_tokens = layers_dim(w, positions, 1),
                            .open_clip = n->fused};
    for (int i = 0; i < LAYERS_MAX; i++) {
        char at[LAYERS_NAME_BYTES];
        block_name(at, n, base, i);
        LAYERS_NAME(norm, "%s%s.weight", at, n->norm1);
        if (!diff_weights_has(w, norm)) break;
        ret->n_layers = i + 1;
    }
    ret->pooled_dim = ret->width;
    int32_t projected = layers_dim(w, "text_projection.weight", 1);
    if (!projected) projected = layers_dim(w, "text_projection", 0);
    ret->has_projection = projected > 0;
    if (projected) ret->pooled_dim = projected;
    /* H and bigG in the transformers layout: their activation is not the quick one */
    if (ret->width >= 1024) ret->open_clip = true;
}

/* ---- the graph ---- */

typedef struct qkv {
    graph_t q, k, v;
} qkv;

static qkv project(const layers *l, const layout *n, const char *at, graph_t x) {
    int64_t D = x->ne[0];
    if (!n->fused)
        return (qkv){layers_linear(l, at, "self_attn.q_proj", x, NULL),
                     layers_linear(l, at, "self_attn.k_proj", x, NULL),
                     layers_linear(l, at, "self_attn.v_proj", x, NULL)};
    LAYERS_NAME(weight, "%sattn.in_proj_weight", at);
    LAYERS_NAME(bias, "%sattn.in_proj_bias", at);
    graph_t part[3];
    for (int i = 0; i < 3; i++)
        part[i] = graph_linear(l->g, x, diff_matrix_rows(l->w, l->g, weight, i * D, D),
                               diff_vector_part(l->w, l->g, bias, i * D, D), NULL);
    return (qkv){part[0], part[1], part[2]};
}

static graph_t encoder_block(const layers *l, const layout *n, const char *at, graph_t x,
                             bool quick) {
    int64_t D = x->ne[0], T = x->ne[1];
    int64_t dim = D % HEAD_DIM == 0 ? HEAD_DIM : D;
    const int64_t heads[4] = {dim, D / dim, T, 1};
    qkv a = project(l, n, at, layers_layer_norm(l, at, n->norm1, x));
    graph_t h = graph_sdpa(l->g, graph_reshape(l->g, a.q, 4, heads),
                           graph_reshape(l->g, a.k, 4, heads), graph_reshape(l->g, a.v, 4, heads),
                           &(graph_sdpa_params){1 / sqrtf((float)dim), true});
    h = graph_reshape(l->g, h, 2, (int64_t[4]){D, T, 1, 1});
    x = layers_linear(l, at, n->out, h, x);
    h = layers_linear(l, at, n->up, layers_layer_norm(l, at, n->norm2, x), NULL);
    h = graph_act(l->g, h, quick ? DEV_ACT_GELU_QUICK : DEV_ACT_GELU_ERF);
    return layers_linear(l, at, n->down, h, x);
}

/* `extra` is the number of the hidden layer to give out, plus one with the final norm. */
static void build(diff_weights *w, graph *g, const diff_shape *s) {
    const char *base;
    const layout *n = layout_of(w, &base);
    clip_text_info info;
    read_info(w, n, base, &info);
    layers l = {w, g};
    graph_keep_f32(g); /* once for a prompt, and what it rounds moves every step */
    graph_t x = graph_data(g, DEV_DATA_X, 2, (int64_t[4]){info.width, info.n_tokens, 1, 1});
    graph_t hidden = x;
    for (int i = 0; i < info.n_layers; i++) {
        char at[LAYERS_NAME_BYTES];
        block_name(at, n, base, i);
        x = encoder_block(&l, n, at, x, !info.open_clip);
        if (i + 1 == s->context) hidden = x;
    }
    graph_t last = layers_layer_norm(&l, base, n->final, x);
    if (s->extra) hidden = layers_layer_norm(&l, base, n->final, hidden);
    /* outputs are results of their own: nothing else reads them */
    graph_output(g, graph_scale(g, hidden, 1, 0), DEV_OUTPUT_RESULT);
    graph_output(g, last, DEV_OUTPUT_SECOND);
}

/* ---- the object ---- */

err_code clip_text_create(dev *d, diff_weights *w, clip_text **ret, err *e) {
    const char *base;
    const layout *n = layout_of(w, &base);
    clip_text_info info = {0};
    if (n) read_info(w, n, base, &info);
    if (info.n_layers < 1 || info.width < 1 || info.n_tokens < 3 || info.n_vocab < 1) {
        diff_weights_unref(&w);
        FAIL(e, FORMAT,
             "the file has no CLIP text encoder: no token embedding, positions or layers");
    }
    clip_text *c = NEW(clip_text);
    atomic_init(&c->refs, 1);
    c->info = info;
    c->names = n;
    c->base = base;
    c->net = diff_net_create(d, w, build);
    *ret = c;
    return ERR_OK;
}

clip_text *clip_text_ref(clip_text *c) {
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void clip_text_unref(clip_text **cp) {
    clip_text *c = *cp;
    *cp = NULL;
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1) return;
    diff_net_unref(&c->net);
    mem_free(c);
}

const clip_text_info *clip_text_get_info(const clip_text *c) {
    return &c->info;
}

diff_net *clip_text_net(const clip_text *c) {
    return c->net;
}

const float *clip_text_row(clip_text *c, int32_t id) {
    LAYERS_NAME(tokens, "%s%s", c->base, c->names->tokens);
    if (id < 0 || id >= c->info.n_vocab) return NULL;
    const float *all = diff_floats(diff_net_weights(c->net), tokens);
    return all ? all + (int64_t)id * c->info.width : NULL;
}

diff_shape clip_text_shape(const clip_text *c, const clip_text_input *in) {
    int32_t layer = in->layer < 0 ? c->info.n_layers + 1 + in->layer : c->info.n_layers;
    if (layer < 1) layer = 1;
    return (diff_shape){.context = layer, .extra = in->final_norm, .batch = 1};
}

/* pooled = row @ projection: stored [out, in] as ".weight", or [in, out] by OpenCLIP. */
static void project_pooled(clip_text *c, const float *row, float *ret) {
    diff_weights *w = diff_net_weights(c->net);
    int32_t D = c->info.width, P = c->info.pooled_dim;
    const float *linear = diff_floats(w, "text_projection.weight");
    const float *open = linear ? NULL : diff_floats(w, "text_projection");
    if (!linear && !open) {
        memcpy(ret, row, (size_t)D * sizeof *ret);
        return;
    }
    for (int32_t o = 0; o < P; o++) {
        double sum = 0;
        for (int32_t i = 0; i < D; i++)
            sum += (double)row[i] *
                   (double)(linear ? linear[(int64_t)o * D + i] : open[(int64_t)i * P + o]);
        ret[o] = (float)sum;
    }
}

err_code clip_text_eval(clip_text *c, const clip_text_input *in, const diff_gate *gate,
                        float *ret_hidden, float *ret_pooled, err *e) {
    const clip_text_info *f = &c->info;
    size_t n = (size_t)f->n_tokens * (size_t)f->width;
    LAYERS_NAME(positions, "%s%s", c->base, c->names->positions);
    const float *pos = diff_floats(diff_net_weights(c->net), positions);
    if (!pos) FAIL(e, FORMAT, "the text encoder has no position embedding");
    float *x = mem_calloc(n, sizeof *x), *last = mem_calloc(n, sizeof *last);
    for (size_t i = 0; i < n; i++) x[i] = in->rows[i] + pos[i];
    diff_shape s = clip_text_shape(c, in);
    diff_io io = {.data = {x}, .result = ret_hidden, .second = last};
    err_code code = diff_net_run(c->net, &s, &io, gate, e);
    if (code == ERR_OK) project_pooled(c, last + (size_t)in->eos * (size_t)f->width, ret_pooled);
    mem_free(x);
    mem_free(last);
    return code;
}
