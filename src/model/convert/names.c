/* Which tensor of a published model becomes which tensor of the file.
 *
 * A table for each style; what no table knows is refused, except what is known to be of no use
 * (positions that are computed, heads of other tasks, the vision half of a language model). */
#include "base/limits.h"
#include "base/map.h"
#include "model/convert/convert_impl.h"
#include <string.h>

typedef enum rule_kind {
    RULE_PLAIN,
    RULE_NORM,    /* may lack its 1 */
    RULE_Q,       /* rotated: rows by query heads */
    RULE_K,       /* rows by key heads */
    RULE_POST,    /* post_attention_layernorm, which means two things */
    RULE_EXPERT,  /* one of many: "experts.<n>." stands before `theirs` */
    RULE_GATE_UP, /* experts' gate and up in one tensor */
    RULE_VECTOR   /* a matrix of one row that is a vector */
} rule_kind;

typedef struct rule {
    const char *theirs, *ours;
    rule_kind kind;
} rule;

static const rule DECODER_GLOBALS[] = {
    {"model.embed_tokens.weight", "token_embd.weight", RULE_PLAIN},
    {"model.norm.weight", "output_norm.weight", RULE_NORM},
    {"lm_head.weight", "output.weight", RULE_PLAIN},
    {"lm_head.bias", "output.bias", RULE_PLAIN},
};

static const rule DECODER_LAYERS[] = {
    {"input_layernorm.weight", "attn_norm.weight", RULE_NORM},
    {"post_attention_layernorm.weight", "ffn_norm.weight", RULE_POST},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight", RULE_NORM},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight", RULE_NORM},
    {"self_attn.q_proj.weight", "attn_q.weight", RULE_Q},
    {"self_attn.k_proj.weight", "attn_k.weight", RULE_K},
    {"self_attn.v_proj.weight", "attn_v.weight", RULE_PLAIN},
    {"self_attn.o_proj.weight", "attn_output.weight", RULE_PLAIN},
    {"self_attn.q_proj.bias", "attn_q.bias", RULE_Q},
    {"self_attn.k_proj.bias", "attn_k.bias", RULE_K},
    {"self_attn.v_proj.bias", "attn_v.bias", RULE_PLAIN},
    {"self_attn.o_proj.bias", "attn_output.bias", RULE_PLAIN},
    {"self_attn.qkv_proj.weight", "attn_qkv.weight", RULE_PLAIN},
    {"self_attn.q_norm.weight", "attn_q_norm.weight", RULE_NORM},
    {"self_attn.k_norm.weight", "attn_k_norm.weight", RULE_NORM},
    {"mlp.gate_proj.weight", "ffn_gate.weight", RULE_PLAIN},
    {"mlp.up_proj.weight", "ffn_up.weight", RULE_PLAIN},
    {"mlp.down_proj.weight", "ffn_down.weight", RULE_PLAIN},
    {"mlp.gate_proj.bias", "ffn_gate.bias", RULE_PLAIN},
    {"mlp.up_proj.bias", "ffn_up.bias", RULE_PLAIN},
    {"mlp.down_proj.bias", "ffn_down.bias", RULE_PLAIN},
    {"mlp.gate_up_proj.weight", "ffn_up.weight", RULE_PLAIN},
    {"mlp.gate.weight", "ffn_gate_inp.weight", RULE_PLAIN},
    {"block_sparse_moe.gate.weight", "ffn_gate_inp.weight", RULE_PLAIN},
    {"mlp.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight", RULE_PLAIN},
    {"mlp.shared_expert.up_proj.weight", "ffn_up_shexp.weight", RULE_PLAIN},
    {"mlp.shared_expert.down_proj.weight", "ffn_down_shexp.weight", RULE_PLAIN},
    {"mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight", RULE_VECTOR},
    {"mlp.experts.gate_up_proj", "", RULE_GATE_UP},
    {"mlp.experts.down_proj", "ffn_down_exps.weight", RULE_PLAIN},
    {"gate_proj.weight", "ffn_gate_exps.weight", RULE_EXPERT},
    {"up_proj.weight", "ffn_up_exps.weight", RULE_EXPERT},
    {"down_proj.weight", "ffn_down_exps.weight", RULE_EXPERT},
    {"w1.weight", "ffn_gate_exps.weight", RULE_EXPERT},
    {"w3.weight", "ffn_up_exps.weight", RULE_EXPERT},
    {"w2.weight", "ffn_down_exps.weight", RULE_EXPERT},
};

static const rule BERT_GLOBALS[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight", RULE_PLAIN},
    {"embeddings.token_type_embeddings.weight", "token_types.weight", RULE_PLAIN},
    {"embeddings.position_embeddings.weight", "position_embd.weight", RULE_PLAIN},
    {"embeddings.LayerNorm.weight", "token_embd_norm.weight", RULE_PLAIN},
    {"embeddings.LayerNorm.bias", "token_embd_norm.bias", RULE_PLAIN},
    {"embeddings.LayerNorm.gamma", "token_embd_norm.weight", RULE_PLAIN},
    {"embeddings.LayerNorm.beta", "token_embd_norm.bias", RULE_PLAIN},
};

#define BOTH(theirs, ours)                                                                         \
    {theirs ".weight", ours ".weight", RULE_PLAIN}, {                                              \
        theirs ".bias", ours ".bias", RULE_PLAIN                                                   \
    }
static const rule BERT_LAYERS[] = {
    BOTH("attention.self.query", "attn_q"),
    BOTH("attention.self.key", "attn_k"),
    BOTH("attention.self.value", "attn_v"),
    BOTH("attention.output.dense", "attn_output"),
    BOTH("attention.output.LayerNorm", "attn_output_norm"),
    BOTH("intermediate.dense", "ffn_up"),
    BOTH("output.dense", "ffn_down"),
    BOTH("output.LayerNorm", "layer_output_norm"),
    {"attention.output.LayerNorm.gamma", "attn_output_norm.weight", RULE_PLAIN},
    {"attention.output.LayerNorm.beta", "attn_output_norm.bias", RULE_PLAIN},
    {"output.LayerNorm.gamma", "layer_output_norm.weight", RULE_PLAIN},
    {"output.LayerNorm.beta", "layer_output_norm.bias", RULE_PLAIN},
};

static const struct {
    const rule *globals, *layers;
    size_t n_globals, n_layers;
    const char *layer_prefix;
} STYLES[] = {
    [CONVERT_DECODER] = {DECODER_GLOBALS, DECODER_LAYERS, COUNT_OF(DECODER_GLOBALS),
                         COUNT_OF(DECODER_LAYERS), "model.layers."},
    [CONVERT_BERT] = {BERT_GLOBALS, BERT_LAYERS, COUNT_OF(BERT_GLOBALS), COUNT_OF(BERT_LAYERS),
                      "encoder.layer."},
};

static bool is_useless(str name) {
    static const char *const STARTS[] = {
        "vision_tower.", "model.vision_tower.",          "pooler.", "multi_modal_projector.",
        "visual.",       "model.multi_modal_projector.", "cls.",    "classifier."};
    static const char *const ENDS[] = {".rotary_emb.inv_freq", "position_ids", ".masked_bias",
                                       ".attn.bias"};
    for (size_t i = 0; i < COUNT_OF(STARTS); i++)
        if (str_starts(name, str_from(STARTS[i]))) return true;
    for (size_t i = 0; i < COUNT_OF(ENDS); i++)
        if (str_ends(name, str_from(ENDS[i]))) return true;
    return false;
}

/* Without the prefixes that wrappers put in front. */
static str plain_name(const convert_job *j, str name) {
    static const struct {
        const char *from, *to;
    } PREFIXES[] = {{"model.language_model.", "model."},
                    {"language_model.model.", "model."},
                    {"language_model.lm_head.", "lm_head."},
                    {"bert.", ""}};
    for (size_t i = 0; i < COUNT_OF(PREFIXES); i++) {
        str from = str_from(PREFIXES[i].from);
        if (!str_starts(name, from)) continue;
        return str_fmt(j->mem, "%s" STR_FMT, PREFIXES[i].to,
                       STR_ARG(str_sub(name, from.len, name.len)));
    }
    return name;
}

/* ---- placing ---- */

typedef struct placing {
    convert_job *j;
    map index; /* our name -> its place in j->tensors */
} placing;

err_code convert_check_source(const safetensors_tensor *s, err *e) {
    bool ok = s->type == DTYPE_F32 || s->type == DTYPE_F16 || s->type == DTYPE_BF16;
    if (!ok)
        FAIL(e, UNSUPPORTED, "tensor " STR_FMT " is %s: only F32, F16 and BF16 can be converted",
             STR_ARG(str_sub(s->name, 0, 200)), dtype_name(s->type));
    bool sized = s->n_dims >= 1 && s->n_dims <= 3 && s->n_bytes > 0;
    for (uint32_t i = 0; i < s->n_dims && sized; i++) sized = s->ne[i] > 0;
    if (!sized || s->ne[0] > (int64_t)LIMIT_FFN)
        FAIL(e, FORMAT, "tensor " STR_FMT " has no size that can be converted",
             STR_ARG(str_sub(s->name, 0, 200)));
    return ERR_OK;
}

static convert_tensor *add(placing *p, str name, const safetensors_tensor *s, size_t n_from) {
    convert_job *j = p->j;
    const safetensors_tensor **from = ARENA_ARRAY(j->mem, const safetensors_tensor *, n_from);
    from[0] = s;
    convert_tensor t = {.name = str_dup(j->mem, name),
                        .type = s->n_dims == 1 ? DTYPE_F32 : s->type,
                        .n_dims = s->n_dims,
                        .ne = {s->ne[0], s->ne[1], s->ne[2], s->ne[3]},
                        .from = from,
                        .n_from = 1};
    map_put(&p->index, t.name, (int64_t)j->tensors.len);
    VEC_PUSH(j->tensors, t);
    return &VEC_LAST(j->tensors);
}

static err_code twice(str name, err *e) {
    FAIL(e, FORMAT, "two tensors want to be " STR_FMT, STR_ARG(name));
}

static err_code place_expert(placing *p, str name, int64_t at, const safetensors_tensor *s,
                             err *e) {
    convert_job *j = p->j;
    int64_t i;
    if (at < 0 || at >= j->n_expert || s->n_dims != 2)
        FAIL(e, FORMAT, "tensor " STR_FMT ": expert %lld of %d", STR_ARG(str_sub(s->name, 0, 200)),
             (long long)at, j->n_expert);
    convert_tensor *t;
    if (map_get(&p->index, name, &i)) {
        t = &j->tensors.items[i];
    } else {
        t = add(p, name, s, (size_t)j->n_expert);
        t->n_dims = 3;
        t->ne[2] = j->n_expert;
        t->n_from = (size_t)j->n_expert;
        ((const safetensors_tensor **)(uintptr_t)t->from)[0] = NULL;
    }
    const safetensors_tensor **from = (const safetensors_tensor **)(uintptr_t)t->from;
    if (t->n_from != (size_t)j->n_expert || from[at]) return twice(name, e);
    if (s->ne[0] != t->ne[0] || s->ne[1] != t->ne[1] || s->type != t->type)
        FAIL(e, FORMAT, "tensor " STR_FMT " differs from its fellow experts",
             STR_ARG(str_sub(s->name, 0, 200)));
    from[at] = s;
    return ERR_OK;
}

/* [E, 2F, D]: gate rows first. One source a tensor of expert, since rows interleave. */
static err_code place_gate_up(placing *p, str prefix, const safetensors_tensor *s, err *e) {
    static const char *const PARTS[] = {"ffn_gate_exps.weight", "ffn_up_exps.weight"};
    convert_job *j = p->j;
    int64_t i;
    if (s->n_dims != 3 || s->ne[1] % 2 || s->ne[2] != j->n_expert)
        FAIL(e, FORMAT, "tensor " STR_FMT ": expected [%d, 2F, D]",
             STR_ARG(str_sub(s->name, 0, 200)), j->n_expert);
    uint64_t each = s->n_bytes / (uint64_t)s->ne[2];
    for (size_t k = 0; k < COUNT_OF(PARTS); k++) {
        str name = str_fmt(j->mem, STR_FMT "%s", STR_ARG(prefix), PARTS[k]);
        if (map_get(&p->index, name, &i)) return twice(name, e);
        convert_tensor *t = add(p, name, s, (size_t)j->n_expert);
        const safetensors_tensor **from = (const safetensors_tensor **)(uintptr_t)t->from;
        t->n_from = (size_t)j->n_expert;
        t->ne[1] = s->ne[1] / 2;
        t->skip_rows = k ? s->ne[1] / 2 : 0;
        for (int64_t x = 0; x < s->ne[2]; x++) {
            safetensors_tensor *one = arena_dup(j->mem, s, sizeof *s);
            one->data = (const char *)s->data + (uint64_t)x * each;
            one->n_bytes = each;
            one->n_dims = 2;
            one->ne[2] = 1;
            from[x] = one;
        }
    }
    return ERR_OK;
}

static int32_t heads_of(const convert_job *j, const rule *r) {
    if (!j->family->pairs) return 0;
    return r->kind == RULE_Q ? j->n_head : r->kind == RULE_K ? j->n_head_kv : 0;
}

static err_code place_one(placing *p, const rule *r, str name, const safetensors_tensor *s,
                          err *e) {
    convert_job *j = p->j;
    int64_t i;
    if (map_get(&p->index, name, &i)) return twice(name, e);
    convert_tensor *t = add(p, name, s, 1);
    t->n_head = heads_of(j, r);
    if (t->n_head) {
        int64_t rows = t->n_dims == 1 ? t->ne[0] : t->ne[1];
        if (t->n_dims > 2 || rows % t->n_head || rows / t->n_head % 2)
            FAIL(e, FORMAT, "tensor " STR_FMT ": %lld rows for %d heads",
                 STR_ARG(str_sub(s->name, 0, 200)), (long long)rows, t->n_head);
    }
    t->plus_one = j->family->plus_one && (r->kind == RULE_NORM || r->kind == RULE_POST);
    if (r->kind == RULE_VECTOR) {
        if (t->n_dims != 2 || t->ne[1] != 1)
            FAIL(e, FORMAT, "tensor " STR_FMT " is no row", STR_ARG(str_sub(s->name, 0, 200)));
        t->n_dims = 1;
        t->type = DTYPE_F32;
    }
    return ERR_OK;
}

static const rule *find_rule(const rule *rules, size_t n, str name, bool expert) {
    for (size_t i = 0; i < n; i++)
        if ((rules[i].kind == RULE_EXPERT) == expert && str_eq(str_from(rules[i].theirs), name))
            return &rules[i];
    return NULL;
}

/* "experts.7.w1.weight" behind the block's name: cuts it to "w1.weight". */
static bool cut_expert(str *name, int64_t *ret_at) {
    static const char *const STARTS[] = {"mlp.experts.", "block_sparse_moe.experts."};
    for (size_t i = 0; i < COUNT_OF(STARTS); i++) {
        str rest = *name;
        if (!str_starts(rest, str_from(STARTS[i]))) continue;
        rest = str_sub(rest, strlen(STARTS[i]), rest.len);
        str number = str_cut(&rest, '.');
        if (!str_to_i64(number, ret_at)) return false;
        *name = rest;
        return true;
    }
    return false;
}

/* What a name is the name of; NULL: nothing known. *ret_layer and *ret_expert are -1 for what
 * belongs to none. */
static const rule *look_up(const convert_job *j, str name, int64_t *ret_layer,
                           int64_t *ret_expert) {
    str prefix = str_from(STYLES[j->family->style].layer_prefix);
    *ret_layer = *ret_expert = -1;
    const rule *r = find_rule(STYLES[j->family->style].globals, STYLES[j->family->style].n_globals,
                              name, false);
    if (r || !str_starts(name, prefix)) return r;
    str rest = str_sub(name, prefix.len, name.len);
    str number = str_cut(&rest, '.');
    if (!str_to_i64(number, ret_layer) || *ret_layer < 0 || *ret_layer >= j->n_layers) return NULL;
    bool one_expert = cut_expert(&rest, ret_expert);
    return find_rule(STYLES[j->family->style].layers, STYLES[j->family->style].n_layers, rest,
                     one_expert);
}

static str full_name(const convert_job *j, const rule *r, int64_t layer) {
    const char *ours = r->ours;
    if (r->kind == RULE_POST && j->family->four_norms) ours = "post_attention_norm.weight";
    if (layer < 0) return str_from(ours);
    return str_fmt(j->mem, "blk.%lld.%s", (long long)layer, ours);
}

bool convert_matrix_name(const convert_job *j, str theirs, str *ret_name, int32_t *ret_n_head) {
    int64_t layer, expert;
    const rule *r = look_up(j, plain_name(j, theirs), &layer, &expert);
    bool matrix = r && (r->kind == RULE_PLAIN || r->kind == RULE_Q || r->kind == RULE_K ||
                        r->kind == RULE_VECTOR);
    if (!matrix) return false;
    *ret_name = full_name(j, r, layer);
    *ret_n_head = heads_of(j, r);
    return true;
}

static err_code place(placing *p, const safetensors_tensor *s, err *e) {
    convert_job *j = p->j;
    str name = plain_name(j, s->name);
    int64_t layer, expert;
    if (is_useless(name) || is_useless(s->name)) return ERR_OK;
    if (j->tied && str_starts(name, STR("lm_head."))) return ERR_OK;
    TRY(convert_check_source(s, e));
    const rule *r = look_up(j, name, &layer, &expert);
    if (!r)
        FAIL(e, UNSUPPORTED, "tensor " STR_FMT " has no place in a %s model of %d layers",
             STR_ARG(str_sub(s->name, 0, 200)), j->family->arch, j->n_layers);
    str full = full_name(j, r, layer);
    if (r->kind == RULE_GATE_UP) return place_gate_up(p, full, s, e); /* "blk.N." */
    return expert >= 0 ? place_expert(p, full, expert, s, e) : place_one(p, r, full, s, e);
}

static err_code check_complete(const convert_job *j, const placing *p, err *e) {
    int64_t i;
    for (size_t k = 0; k < j->tensors.len; k++)
        for (size_t x = 0; x < j->tensors.items[k].n_from; x++)
            if (!j->tensors.items[k].from[x])
                FAIL(e, NOT_FOUND, STR_FMT ": expert %zu is missing",
                     STR_ARG(j->tensors.items[k].name), x);
    if (!map_get(&p->index, STR("token_embd.weight"), &i))
        FAIL(e, NOT_FOUND, "the embedding (model.embed_tokens.weight) is missing");
    const convert_tensor *embd = &j->tensors.items[i];
    if (embd->n_dims != 2 || embd->ne[1] > LIMIT_VOCAB)
        FAIL(e, FORMAT, "the embedding has no size that can be converted");
    ((convert_job *)(uintptr_t)j)->n_vocab = embd->ne[1];
    return ERR_OK;
}

err_code convert_plan_tensors(convert_job *j, err *e) {
    placing p = {.j = j};
    err_code code = ERR_OK;
    const json_t *tied = json_object_get(j->text, "tie_word_embeddings");
    if (!tied) tied = json_object_get(j->config, "tie_word_embeddings");
    j->tied = json_is_true(tied) || (!tied && j->family->plus_one);
    for (size_t i = 0; i < j->sources.len && code == ERR_OK; i++) {
        const safetensors *s = j->sources.items[i];
        for (size_t k = 0; k < safetensors_n_tensors(s) && code == ERR_OK; k++)
            code = place(&p, safetensors_tensor_at(s, k), e);
    }
    if (code == ERR_OK) code = check_complete(j, &p, e);
    map_finish(&p.index);
    return code;
}

void convert_add_computed(convert_job *j, const char *name, const float *values, int64_t n) {
    convert_tensor t = {.name = str_from(name),
                        .type = DTYPE_F32,
                        .n_dims = 1,
                        .ne = {n, 1, 1, 1},
                        .computed = arena_dup(j->mem, values, (size_t)n * sizeof *values)};
    VEC_PUSH(j->tensors, t);
}
