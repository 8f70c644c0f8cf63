/* Binds the matrices of an adapter to the weights that they change (see adapter.h). */
#include "llm/adapter.h"
#include "base/limits.h"
#include <math.h>

enum { NAME_SHOWN = 160 };

typedef struct binder {
    const gguf *adapter;
    const llm_adapter_target *to;
    llm_weights *w;
    arena *mem;
    double alpha;
} binder;

/* ---- the keys ---- */

static err_code check_word(const gguf *g, const char *key, str want, err *e) {
    str is = gguf_opt_str(g, key, (str){0});
    if (str_eq(is, want)) return ERR_OK;
    FAIL(e, FORMAT, "the adapter's %s is \"" STR_FMT "\", not \"" STR_FMT "\"", key,
         STR_ARG(str_sub(is, 0, 60)), STR_ARG(want));
}

static err_code check_keys(const gguf *g, str arch, double *ret_alpha, err *e) {
    TRY(check_word(g, "general.type", STR("adapter"), e));
    TRY(check_word(g, "adapter.type", STR("lora"), e));
    if (!str_eq(gguf_arch(g), arch))
        FAIL(e, FORMAT,
             "the adapter is for models of architecture \"" STR_FMT "\", this one is \"" STR_FMT
             "\"",
             STR_ARG(str_sub(gguf_arch(g), 0, 60)), STR_ARG(arch));
    if (gguf_find_key(g, "adapter.alora.invocation_tokens"))
        FAIL(e, UNSUPPORTED,
             "the adapter acts from certain tokens on (adapter.alora.invocation_tokens): that is "
             "not supported");
    TRY(gguf_get_f64(g, "adapter.lora.alpha", ret_alpha, e));
    if (!isfinite(*ret_alpha) || fabs(*ret_alpha) > (double)LIMIT_ADAPTER_ALPHA)
        FAIL(e, LIMIT, "adapter.lora.alpha is %g", *ret_alpha);
    return ERR_OK;
}

/* ---- the tensors ---- */

static bool is_table(const llm_weights *w, const llm_weight *t) {
    return t == &w->embd || t == &w->pos_embd || t == &w->type_embd;
}

static err_code find_target(const binder *k, str name, llm_weight **ret, err *e) {
    llm_weight *w = llm_weights_find(k->w, k->to->hp, k->to->tensors, name);
    str shown = str_sub(name, 0, NAME_SHOWN);
    if (!w || !w->data)
        FAIL(e, FORMAT, "the adapter changes tensor " STR_FMT ", which the model does not have",
             STR_ARG(shown));
    if (w->n_dims < 2 || is_table(k->w, w))
        FAIL(e, UNSUPPORTED,
             "the adapter changes tensor " STR_FMT ": only matrices of linear layers can be "
             "changed; merge the adapter into the model",
             STR_ARG(shown));
    *ret = w;
    return ERR_OK;
}

static bool shapes_fit(const llm_weight *w, const gguf_tensor *a, const gguf_tensor *b) {
    return a->ne[0] == w->ne[0] && a->ne[1] == b->ne[0] && b->ne[1] == w->ne[1] &&
           a->ne[2] == w->ne[2] && b->ne[2] == w->ne[2] && a->ne[3] == 1 && b->ne[3] == 1;
}

static err_code check_shapes(str name, const llm_weight *w, const gguf_tensor *a,
                             const gguf_tensor *b, err *e) {
    char sw[LLM_SHAPE_BYTES], sa[LLM_SHAPE_BYTES], sb[LLM_SHAPE_BYTES];
    str shown = str_sub(name, 0, NAME_SHOWN);
    if (!shapes_fit(w, a, b))
        FAIL(e, FORMAT,
             "tensor " STR_FMT " of the model has shape [%s]; the adapter's lora_a [%s] and lora_b "
             "[%s] do not fit it",
             STR_ARG(shown), llm_shape_text(w->ne, w->n_dims, sw),
             llm_shape_text(a->ne, w->n_dims, sa), llm_shape_text(b->ne, w->n_dims, sb));
    if (a->ne[1] > LIMIT_ADAPTER_RANK)
        FAIL(e, LIMIT, "the adapter changes tensor " STR_FMT " with rank %lld, at most %d",
             STR_ARG(shown), (long long)a->ne[1], LIMIT_ADAPTER_RANK);
    return ERR_OK;
}

/* a: the tensor NAME.lora_a. */
static err_code bind_pair(const binder *k, str name, const gguf_tensor *a, err *e) {
    llm_weight *w = NULL, *pair = &k->w->loras[2 * (size_t)k->w->n_loras];
    const gguf_tensor *b;
    TRY(find_target(k, name, &w, e));
    TRY(gguf_get_tensor(k->adapter, str_fmt(k->mem, STR_FMT ".lora_b", STR_ARG(name)).ptr, &b, e));
    TRY(check_shapes(name, w, a, b, e));
    TRY(llm_weight_borrow(a, w->n_dims, &pair[0], e));
    TRY(llm_weight_borrow(b, w->n_dims, &pair[1], e));
    w->lora = ++k->w->n_loras;
    w->lora_scale = k->alpha != 0 ? (float)(k->alpha / (double)a->ne[1]) : 1;
    return ERR_OK;
}

static err_code bind_tensor(const binder *k, const gguf_tensor *t, err *e) {
    static const char A[] = ".lora_a", B[] = ".lora_b";
    str name = str_sub(t->name, 0, t->name.len - (sizeof A - 1));
    if (str_ends(t->name, str_from(A))) return bind_pair(k, name, t, e);
    if (!str_ends(t->name, str_from(B)))
        FAIL(e, FORMAT, "tensor " STR_FMT " is no part of a LoRA adapter",
             STR_ARG(str_sub(t->name, 0, NAME_SHOWN)));
    const gguf_tensor *a; /* it binds both */
    return gguf_get_tensor(k->adapter, str_fmt(k->mem, STR_FMT "%s", STR_ARG(name), A).ptr, &a, e);
}

err_code llm_adapter_bind(const gguf *adapter, const llm_adapter_target *to, arena *mem, err *e) {
    binder k = {.adapter = adapter, .to = to, .w = to->w, .mem = mem};
    size_t n = gguf_n_tensors(adapter);
    TRY(check_keys(adapter, to->arch, &k.alpha, e));
    if (n == 0) FAIL(e, FORMAT, "the adapter has no tensors");
    to->w->loras = ARENA_ARRAY(mem, llm_weight, 2 * n);
    for (size_t i = 0; i < n; i++) TRY(bind_tensor(&k, gguf_tensor_at(adapter, i), e));
    return ERR_OK;
}
