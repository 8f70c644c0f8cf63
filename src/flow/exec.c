/* Runs a checked workflow: which node is next (as ComfyUI picks), its inputs over lists, its
 * outputs into the cache.
 *
 * A node waits for the links it needs; a lazy input is linked only when the node asks for it, and
 * the node is started again then. Of those that are ready an output node goes first, then what
 * feeds one, then what feeds that, then the oldest. */
#include "flow/exec.h"
#include "base/limits.h"
#include "flow/exec_impl.h"
#include "flow/pytext.h"
#include <stdatomic.h>
#include <string.h>

typedef struct node_state {
    bool pending;
    bool near, nearer;     /* two links, one link before an output node */
    int32_t n_blocking_me; /* sources that are not computed yet */
    VEC(uint32_t) blocked; /* nodes that wait for this one */
} node_state;

typedef struct exec {
    const flow_run *r;
    arena *a;
    flow_failure *failure;
    map ids;
    cache_entry **entries; /* [n] */
    node_state *nodes;     /* [n] */
    VEC(uint32_t) pending; /* in the order they came */
    VEC(uint32_t) todo;    /* of add_node */
    bool near_stale;
    VEC(str) executed;
    flow_value *prompt, *pnginfo; /* hidden inputs, made once */
} exec;

/* One node on its run: inputs as lists, outputs so far. */
typedef struct turn {
    exec *x;
    const flow_node *node;
    size_t n_in, n_out;
    flow_value **lists; /* [n_in] owned; NULL = absent */
    bool *missing;      /* [n_in] a lazy input that is not computed */
    flow_value **acc;   /* [n_out] FLOW_LISTs, owned */
    arena *ui_mem;      /* of ui; NULL = nothing is shown so far */
    value *ui;
    flow_call call;
} turn;

flow_value *flow_value_of_literal(const value *v) {
    if (!v) return NULL;
    switch (v->kind) {
    case VALUE_NULL:
        return flow_value_none();
    case VALUE_BOOL:
        return flow_value_bool(v->as.boolean);
    case VALUE_INT:
        return flow_value_int(v->as.integer);
    case VALUE_FLOAT:
        return flow_value_float(v->as.number);
    case VALUE_STR:
        return flow_value_text(v->as.text);
    case VALUE_LIST:
    case VALUE_MAP:
        break;
    }
    return flow_value_data(v);
}

/* ---- what is next ---- */

static bool is_done(const exec *x, uint32_t i) {
    return x->entries[i]->outputs != NULL;
}

static bool is_output(const exec *x, uint32_t i) {
    return x->r->graph->nodes[i].def->flags & FLOW_OUTPUT_NODE;
}

static void add_node(exec *x, uint32_t i);

static void add_link(exec *x, uint32_t from, uint32_t to) {
    if (is_done(x, from)) return;
    add_node(x, from);
    node_state *s = &x->nodes[from];
    for (size_t k = 0; k < s->blocked.len; k++)
        if (s->blocked.items[k] == to) return;
    VEC_PUSH(s->blocked, to);
    x->nodes[to].n_blocking_me++;
    x->near_stale = true;
}

/* The node and everything above it that is not computed, lazy links aside. */
static void add_node(exec *x, uint32_t first) {
    struct link {
        uint32_t from, to;
    };
    if (x->nodes[first].pending) return;
    VEC(struct link) links = {0};
    VEC_CLEAR(x->todo);
    VEC_PUSH(x->todo, first);
    while (x->todo.len > 0) {
        uint32_t i = VEC_POP(x->todo);
        if (x->nodes[i].pending) continue;
        x->nodes[i].pending = true;
        VEC_PUSH(x->pending, i);
        const flow_node *node = &x->r->graph->nodes[i];
        for (size_t k = 0; !is_done(x, i) && k < node->inputs->as.map.len; k++) {
            const flow_input *in = flow_def_input(node->def, node->inputs->as.map.pairs[k].key);
            const flow_arg *arg = in ? &node->args[in - node->def->inputs] : NULL;
            if (!arg || !arg->from || (in->flags & FLOW_LAZY)) continue;
            if (!is_done(x, arg->from->index)) VEC_PUSH(x->todo, arg->from->index);
            VEC_PUSH(links, (struct link){arg->from->index, i});
        }
    }
    for (size_t k = 0; k < links.len; k++) add_link(x, links.items[k].from, links.items[k].to);
    VEC_FINISH(links);
}

static void find_near(exec *x) {
    for (size_t p = 0; p < x->pending.len; p++) {
        node_state *s = &x->nodes[x->pending.items[p]];
        s->nearer = false;
        for (size_t k = 0; k < s->blocked.len && !s->nearer; k++)
            s->nearer = is_output(x, s->blocked.items[k]);
    }
    for (size_t p = 0; p < x->pending.len; p++) {
        node_state *s = &x->nodes[x->pending.items[p]];
        s->near = false;
        for (size_t k = 0; k < s->blocked.len && !s->near; k++)
            s->near = x->nodes[s->blocked.items[k]].nearer;
    }
    x->near_stale = false;
}

/* Place in pending of the next node; -1: all that is left waits for itself. */
static ptrdiff_t pick(exec *x) {
    ptrdiff_t best = -1;
    int best_rank = 4;
    if (x->near_stale) find_near(x);
    for (size_t p = 0; p < x->pending.len; p++) {
        uint32_t i = x->pending.items[p];
        const node_state *s = &x->nodes[i];
        if (s->n_blocking_me > 0) continue;
        int rank = is_output(x, i) ? 0 : s->nearer ? 1 : s->near ? 2 : 3;
        if (rank >= best_rank) continue;
        best = (ptrdiff_t)p;
        best_rank = rank;
        if (rank == 0) break;
    }
    return best;
}

static void complete(exec *x, size_t place) {
    uint32_t i = x->pending.items[place];
    node_state *s = &x->nodes[i];
    VEC_REMOVE_AT(x->pending, place);
    s->pending = false;
    for (size_t k = 0; k < s->blocked.len; k++) x->nodes[s->blocked.items[k]].n_blocking_me--;
    VEC_CLEAR(s->blocked);
}

/* ---- inputs ---- */

static flow_value *list_of(flow_value *item) {
    flow_value *list = flow_value_list();
    flow_value_push(list, item);
    return list;
}

static flow_value *hidden(exec *x, const flow_node *node, const flow_input *in) {
    if (strcmp(in->type, "UNIQUE_ID") == 0) return flow_value_text(node->id);
    if (strcmp(in->type, "PROMPT") == 0) {
        if (!x->prompt) x->prompt = flow_value_data(x->r->graph->source);
        return flow_value_ref(x->prompt);
    }
    if (strcmp(in->type, "EXTRA_PNGINFO") != 0 || !x->r->extra_pnginfo) return flow_value_none();
    if (!x->pnginfo) x->pnginfo = flow_value_data(x->r->extra_pnginfo);
    return flow_value_ref(x->pnginfo);
}

static void gather(turn *t) {
    for (size_t i = 0; i < t->n_in; i++) {
        const flow_arg *arg = &t->node->args[i];
        if (arg->in->flags & FLOW_HIDDEN) {
            t->lists[i] = list_of(hidden(t->x, t->node, arg->in));
        } else if (arg->from) {
            cache_entry *entry = t->x->entries[arg->from->index];
            t->missing[i] = !entry->outputs;
            t->lists[i] = entry->outputs ? flow_value_ref(entry->outputs[arg->slot])
                                         : list_of(flow_value_none());
        } else if (arg->literal) {
            t->lists[i] = list_of(flow_value_of_literal(arg->literal));
        }
    }
}

/* How often the node runs: as often as the longest list is long. */
static err_code count_runs(const turn *t, size_t *ret_n, err *e) {
    size_t n = 0;
    bool any = false;
    *ret_n = 1;
    if (t->node->def->flags & FLOW_LIST_INPUT) return ERR_OK;
    for (size_t i = 0; i < t->n_in; i++) {
        size_t len = t->lists[i] ? flow_value_len(t->lists[i]) : 0;
        any = any || t->lists[i];
        if (len > n) n = len;
    }
    if (!any) return ERR_OK;
    for (size_t i = 0; i < t->n_in; i++)
        if (t->lists[i] && flow_value_len(t->lists[i]) == 0)
            FAIL(e, INVALID, "input %s is an empty list", t->node->def->inputs[i].name);
    if (n > LIMIT_FLOW_LIST)
        FAIL(e, LIMIT, "a list of %zu values; at most %d are possible", n, LIMIT_FLOW_LIST);
    *ret_n = n;
    return ERR_OK;
}

/* Inputs of the k-th run; shorter lists repeat their last value. */
static void slice(turn *t, size_t k) {
    bool whole = t->node->def->flags & FLOW_LIST_INPUT;
    for (size_t i = 0; i < t->n_in; i++) {
        flow_value *list = t->lists[i];
        size_t len = list ? flow_value_len(list) : 0;
        t->call.in[i] = !list ? NULL : whole ? list : flow_value_at(list, k < len ? k : len - 1);
    }
}

static const flow_value *blocked_by(const turn *t) {
    for (size_t i = 0; i < t->n_in; i++) {
        const flow_value *v = t->call.in[i];
        if (v && flow_value_kind(v) == FLOW_BLOCK) return v;
        for (size_t k = 0; v && k < flow_value_len(v); k++)
            if (flow_value_kind(flow_value_at(v, k)) == FLOW_BLOCK) return flow_value_at(v, k);
    }
    return NULL;
}

/* ---- running ---- */

static bool is_interrupted(void *ctx) {
    const turn *t = ctx;
    const dev_cancel *flag = t->x->r->interrupt;
    return flag && atomic_load(&flag->flag);
}

static void tell_progress(void *ctx, int64_t done, int64_t total) {
    const turn *t = ctx;
    const flow_events *ev = t->x->r->events;
    if (ev && ev->progress) ev->progress(ev->ctx, t->node->id, done, total);
}

static void tell_preview(void *ctx, const void *picture) {
    const turn *t = ctx;
    const flow_events *ev = t->x->r->events;
    if (ev && ev->preview) ev->preview(ev->ctx, t->node->id, picture);
}

/* What the call shows joins what the runs before it showed. */
static void take_ui(turn *t) {
    const value *shown = t->call.ui;
    t->call.ui = NULL;
    if (!shown) return;
    if (!t->ui_mem) {
        t->ui_mem = arena_create(0);
        t->ui = value_map(t->ui_mem);
    }
    for (size_t i = 0; i < shown->as.map.len; i++) {
        const value_pair *p = &shown->as.map.pairs[i];
        value *list = value_get(t->ui, p->key);
        if (!list) {
            list = value_list(t->ui_mem);
            value_add(t->ui_mem, t->ui, p->key, list);
        }
        for (size_t k = 0; k < p->val->as.list.len; k++)
            value_push(t->ui_mem, list, value_copy(t->ui_mem, p->val->as.list.items[k]));
    }
}

/* Moves what the call set into the lists of the node's outputs. */
static err_code take_outputs(turn *t, err *e) {
    for (size_t i = 0; i < t->n_out; i++) {
        const flow_output *o = &t->node->def->outputs[i];
        flow_value *v = t->call.out[i];
        t->call.out[i] = NULL;
        if (!v) v = o->list ? flow_value_list() : flow_value_none();
        if (!o->list || flow_value_kind(v) == FLOW_BLOCK) {
            flow_value_push(t->acc[i], v);
            continue;
        }
        if (flow_value_kind(v) != FLOW_LIST) {
            flow_value_unref(&v);
            FAIL(e, INTERNAL, "%s gave no list for output %zu", t->node->def->name, i);
        }
        if (flow_value_len(t->acc[i]) + flow_value_len(v) > LIMIT_FLOW_LIST) {
            flow_value_unref(&v);
            FAIL(e, LIMIT, "more than %d values in one list", LIMIT_FLOW_LIST);
        }
        for (size_t k = 0; k < flow_value_len(v); k++)
            flow_value_push(t->acc[i], flow_value_ref(flow_value_at(v, k)));
        flow_value_unref(&v);
    }
    return ERR_OK;
}

static err_code run_once(turn *t, size_t k, err *e) {
    if (is_interrupted(t)) FAIL(e, CANCELLED, "the workflow was interrupted");
    slice(t, k);
    const flow_value *block = blocked_by(t);
    if (block) {
        str why = flow_value_as_text(block);
        if (why.len) FAIL(e, INVALID, "Execution Blocked: " STR_FMT, STR_ARG(why));
        for (size_t i = 0; i < t->n_out; i++) flow_out(&t->call, i, flow_value_block(STR("")));
        return take_outputs(t, e);
    }
    if (!t->node->def->run)
        FAIL(e, UNSUPPORTED, "nodes of class %s are not built yet", t->node->def->name);
    e->code = ERR_OK;
    TRY(t->node->def->run(&t->call, e));
    take_ui(t);
    arena_reset(t->call.mem);
    return take_outputs(t, e);
}

/* Links the lazy inputs the node wants, all of them if it does not say; *ret_any: it must wait. */
static err_code ask_needs(turn *t, bool *ret_any, err *e) {
    size_t n_runs;
    *ret_any = false;
    if (t->node->def->needs) {
        TRY(count_runs(t, &n_runs, e));
        for (size_t k = 0; k < n_runs; k++) {
            slice(t, k);
            if (!blocked_by(t)) TRY(t->node->def->needs(&t->call, e));
        }
    }
    for (size_t i = 0; i < t->n_in; i++) {
        bool wanted = !t->node->def->needs || t->call.needed[i];
        if (!t->missing[i] || !wanted) continue;
        add_link(t->x, t->node->args[i].from->index, t->node->index);
        *ret_any = true;
    }
    return ERR_OK;
}

static bool is_lazy(const turn *t) {
    for (size_t i = 0; i < t->n_in; i++)
        if (t->missing[i]) return true;
    return false;
}

static err_code run_all(turn *t, bool *ret_waits, err *e) {
    size_t n_runs;
    *ret_waits = false;
    if (is_lazy(t)) TRY(ask_needs(t, ret_waits, e));
    if (*ret_waits) return ERR_OK;
    TRY(count_runs(t, &n_runs, e));
    for (size_t k = 0; k < n_runs; k++) TRY(run_once(t, k, e));
    return ERR_OK;
}

/* ---- what is told ---- */

static value *shown(arena *a, const flow_value *v) {
    const char *type = flow_value_object_type(v);
    switch (flow_value_kind(v)) {
    case FLOW_INT:
        return value_int(a, flow_value_as_int(v));
    case FLOW_FLOAT:
        return value_float(a, flow_value_as_float(v));
    case FLOW_BOOL:
        return value_bool(a, flow_value_as_bool(v));
    case FLOW_TEXT:
        return value_str(a, flow_value_as_text(v));
    case FLOW_DATA:
        return value_str(a, pytext_str_in(a, flow_value_as_data(v)));
    case FLOW_OBJECT:
        return value_str(a, str_fmt(a, "<%s>", type));
    case FLOW_NONE:
    case FLOW_LIST:
    case FLOW_BLOCK:
        break;
    }
    return value_null(a);
}

/* The inputs as they came, then the hidden ones, as clients are shown them after a failure. */
static const value *shown_inputs(const turn *t) {
    enum { MOST = 64 };
    arena *a = t->x->a;
    value *all = value_map(a);
    for (size_t i = 0; i < t->n_in; i++) {
        if (!t->lists[i]) continue;
        value *list = value_list(a);
        for (size_t k = 0; k < flow_value_len(t->lists[i]) && k < MOST; k++)
            value_push(a, list, shown(a, flow_value_at(t->lists[i], k)));
        value_set(a, all, str_from(t->node->def->inputs[i].name), list);
    }
    return all;
}

static void tell_output(const exec *x, const flow_node *node, const value *ui) {
    const flow_events *ev = x->r->events;
    if (ev && ev->output) ev->output(ev->ctx, node->id, ui);
}

static void fail_at(exec *x, const flow_node *node, const value *inputs, const err *why) {
    flow_failure *f = x->failure;
    f->error = *why;
    f->node_id = node ? str_dup(x->a, node->id) : (str){0};
    f->class_type = node ? str_from(node->def->name) : (str){0};
    f->inputs = inputs;
    f->n_executed = x->executed.len;
    f->executed =
        x->executed.len ? arena_dup(x->a, x->executed.items, x->executed.len * sizeof(str)) : NULL;
}

/* ---- a node's turn ---- */

static void turn_init(turn *t, exec *x, uint32_t i) {
    const flow_node *node = &x->r->graph->nodes[i];
    *t = (turn){.x = x, .node = node};
    t->n_in = flow_def_inputs(node->def);
    t->n_out = flow_def_outputs(node->def);
    t->lists = NEW_ARRAY(flow_value *, t->n_in + 1);
    t->missing = NEW_ARRAY(bool, t->n_in + 1);
    t->acc = NEW_ARRAY(flow_value *, t->n_out + 1);
    for (size_t k = 0; k < t->n_out; k++) t->acc[k] = flow_value_list();
    t->call = (flow_call){.def = node->def,
                          .node_id = node->id,
                          .env = x->r->env,
                          .mem = arena_create(0),
                          .watch = {t, tell_progress, tell_preview, is_interrupted}};
    t->call.needed = NEW_ARRAY(uint8_t, t->n_in + 1);
    t->call.in = NEW_ARRAY(flow_value *, t->n_in + 1);
    t->call.out = NEW_ARRAY(flow_value *, t->n_out + 1);
}

static void turn_finish(turn *t) {
    for (size_t i = 0; i < t->n_in; i++) flow_value_unref(&t->lists[i]);
    for (size_t i = 0; i < t->n_out; i++) {
        flow_value_unref(&t->call.out[i]);
        if (t->acc) flow_value_unref(&t->acc[i]);
    }
    mem_free(t->lists);
    mem_free(t->missing);
    mem_free(t->acc);
    mem_free(t->call.in);
    mem_free(t->call.out);
    mem_free(t->call.needed);
    flow_call_finish(&t->call);
    arena_destroy(&t->ui_mem);
    arena_destroy(&t->call.mem);
}

/* Keeps what the node gave. */
static void settle(turn *t) {
    exec *x = t->x;
    cache_entry_fill(x->entries[t->node->index], t->acc, t->n_out, t->ui_mem, t->ui);
    t->acc = NULL;
    t->ui_mem = NULL;
    if (t->ui) tell_output(x, t->node, t->ui);
    VEC_PUSH(x->executed, str_dup(x->a, t->node->id));
}

static err_code take_turn(exec *x, size_t place, err *e) {
    uint32_t i = x->pending.items[place];
    const flow_node *node = &x->r->graph->nodes[i];
    const flow_events *ev = x->r->events;
    bool waits = false;
    if (is_done(x, i)) {
        tell_output(x, node, x->entries[i]->ui);
        complete(x, place);
        return ERR_OK;
    }
    turn t;
    turn_init(&t, x, i);
    gather(&t);
    if (ev && ev->start) ev->start(ev->ctx, node->id);
    err_code code = run_all(&t, &waits, e);
    if (code) {
        fail_at(x, node, shown_inputs(&t), e);
    } else if (!waits) {
        settle(&t);
        complete(x, place);
    }
    turn_finish(&t);
    return code;
}

/* ---- the whole ---- */

static void tell_cached(exec *x) {
    const flow_graph *g = x->r->graph;
    const flow_events *ev = x->r->events;
    str *list = ARENA_ARRAY(x->a, str, g->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        if (is_done(x, (uint32_t)i)) list[n++] = g->nodes[i].id;
    if (ev && ev->cached) ev->cached(ev->ctx, list, n);
}

static err_code run_graph(exec *x, err *e) {
    for (size_t i = 0; i < x->r->n_targets; i++) {
        int64_t at;
        if (!map_get(&x->ids, x->r->targets[i], &at) || !x->r->graph->nodes[at].good) continue;
        add_node(x, (uint32_t)at);
    }
    while (x->pending.len > 0) {
        ptrdiff_t place = pick(x);
        if (place < 0) { /* lazy links made a cycle; static ones are found by the check */
            err_set(e, ERR_INVALID, "Dependency cycle detected");
            fail_at(x, &x->r->graph->nodes[x->pending.items[0]], NULL, e);
            return e->code;
        }
        TRY(take_turn(x, (size_t)place, e));
    }
    return ERR_OK;
}

err_code flow_execute(const flow_run *r, arena *a, flow_failure *ret_failure) {
    exec x = {.r = r, .a = a, .failure = ret_failure};
    err e = {0};
    *ret_failure = (flow_failure){0};
    for (size_t i = 0; i < r->graph->n; i++) map_put(&x.ids, r->graph->nodes[i].id, (int64_t)i);
    x.nodes = ARENA_ARRAY(a, node_state, r->graph->n + 1);
    x.entries = flow_cache_begin(r->cache, r, &x.ids, a);
    tell_cached(&x);
    err_code code = run_graph(&x, &e);
    for (size_t i = 0; i < r->graph->n; i++) VEC_FINISH(x.nodes[i].blocked);
    VEC_FINISH(x.pending);
    VEC_FINISH(x.todo);
    VEC_FINISH(x.executed);
    flow_value_unref(&x.prompt);
    flow_value_unref(&x.pnginfo);
    map_finish(&x.ids);
    flow_cache_trim(r->cache, LIMIT_FLOW_CACHE_BYTES);
    return code;
}
