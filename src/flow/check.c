/* Checks a workflow as ComfyUI does before it is queued: node by node from each output upwards.
 *
 * Faults become maps that clients read ({type, message, details, extra_info}); what is wrong above
 * a node makes it bad without a fault of its own. The walk keeps its own stack, since a chain may
 * be as long as the graph. A link to nowhere throws: the node that has it stays unchecked and the
 * one below says so. */
#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include "flow/graph.h"
#include "flow/literal.h"
#include "flow/object_info.h"
#include "flow/pytext.h"
#include <math.h>
#include <string.h>

enum {
    LONG_MENU = 20,     /* longer ones are not sent back */
    LONG_CYCLE = 64,    /* no more of its nodes are named */
    MAX_BLAMES = 50000, /* entries of dependent_outputs in all */
    INT64_DIGITS = 19   /* fewer always fit */
};

typedef enum mark_state { MARK_NEW, MARK_OPEN, MARK_DONE } mark_state;

typedef struct mark {
    mark_state state;
    bool ok, cyclic;
    value *faults; /* list; never NULL once DONE */
} mark;

/* A node on the walk: the next input to look at, and what was found so far. */
typedef struct frame {
    flow_node *node;
    size_t at;
    bool ok;
    value *faults;
} frame;

typedef struct check {
    const flow_host *host; /* menu_once in front of the caller's */
    const flow_host *given;
    map menus;       /* folder -> value list */
    size_t n_blames; /* entries of dependent_outputs */
    arena *a;
    flow_graph *g;
    map ids;
    mark *marks;         /* [g->n] */
    VEC(uint32_t) order; /* in which marks were DONE */
    VEC(frame) walk;
} check;

/* ---- faults ---- */

static void set(check *c, value *to, const char *key, value *v) {
    value_set(c->a, to, str_from(key), v);
}

static value *text(check *c, str s) {
    return value_str(c->a, s);
}

static value *fault(check *c, const char *type, str message, str details) {
    value *f = value_map(c->a);
    set(c, f, "type", text(c, str_from(type)));
    set(c, f, "message", text(c, message));
    set(c, f, "details", text(c, details));
    set(c, f, "extra_info", value_map(c->a));
    return f;
}

static value *extra(const value *fault_) {
    return value_get(fault_, STR("extra_info"));
}

static value *config_of(check *c, const flow_input *in) {
    value *pair = value_list(c->a);
    value_push(c->a, pair, flow_input_type(in, c->host, c->a));
    value_push(c->a, pair, flow_input_options(in, c->host, c->a));
    return pair;
}

/* A fault of one input of the node on top; the caller adds to what is returned. */
static value *input_fault(check *c, frame *f, const flow_input *in, const char *type, str message,
                          str details) {
    value *v = fault(c, type, message, details);
    set(c, extra(v), "input_name", text(c, str_from(in->name)));
    value_push(c->a, f->faults, v);
    return extra(v);
}

static void put_received(check *c, value *info, const flow_input *in, const value *received) {
    set(c, info, "input_config", config_of(c, in));
    set(c, info, "received_value", value_copy(c->a, received));
}

/* ---- marks ---- */

static void mark_done(check *c, const flow_node *node, bool ok, value *faults) {
    mark *m = &c->marks[node->index];
    if (m->state != MARK_DONE) VEC_PUSH(c->order, node->index);
    m->state = MARK_DONE;
    m->ok = ok;
    m->faults = faults;
}

static void push_frame(check *c, flow_node *node) {
    c->marks[node->index].state = MARK_OPEN;
    VEC_PUSH(c->walk, (frame){.node = node, .ok = true, .faults = value_list(c->a)});
}

/* Every node from the one found again to the top of the walk stands in the cycle. */
static void mark_cycle(check *c, const flow_node *again) {
    value *ids = value_list(c->a);
    buf path = {0};
    size_t from = c->walk.len;
    while (c->walk.items[from - 1].node != again) from--;
    from--;
    size_t n_named = c->walk.len - from < LONG_CYCLE ? c->walk.len - from : LONG_CYCLE;
    for (size_t i = from; i < from + n_named; i++) {
        const flow_node *n = c->walk.items[i].node;
        value_push(c->a, ids, text(c, n->id));
        buf_putf(&path, STR_FMT " (%s) -> ", STR_ARG(n->id), n->def->name);
    }
    buf_putf(&path, STR_FMT " (%s)", STR_ARG(again->id), again->def->name);
    for (size_t i = from; i < c->walk.len; i++) {
        const flow_node *n = c->walk.items[i].node;
        value *faults = value_list(c->a);
        if (i < from + n_named) {
            value *f =
                fault(c, "dependency_cycle", STR("Dependency cycle detected"), buf_str(&path));
            set(c, extra(f), "node_id", text(c, n->id));
            set(c, extra(f), "cycle_nodes", ids);
            value_push(c->a, faults, f);
        }
        mark_done(c, n, false, faults);
        c->marks[n->index].cyclic = true;
    }
    buf_finish(&path);
}

/* ---- links ---- */

static bool has_type(str types, str one) {
    for (str rest = types; rest.len;) {
        str t = str_trim(str_cut(&rest, ','));
        if (str_eq(t, one) || str_eq(t, STR("*"))) return true;
    }
    return false;
}

/* Equal, or anything, or a common member of two unions. */
static bool types_match(const char *received, const flow_input *in) {
    str from = str_from(received), to = str_from(in->type);
    if (str_eq(from, to) || has_type(to, STR("*")) || has_type(from, STR("*"))) return true;
    for (str rest = from; rest.len;)
        if (has_type(to, str_trim(str_cut(&rest, ',')))) return true;
    return false;
}

/* What a wrong link throws in Python. */
typedef struct thrown {
    const char *type;
    str message;
} thrown;

/* The node and slot a link names; false: *ret_why. */
static bool follow(check *c, const value *link, flow_node **ret_node, size_t *ret_slot,
                   thrown *ret_why) {
    const value *id = link->as.list.items[0], *slot = link->as.list.items[1];
    int64_t at;
    *ret_why = (thrown){"KeyError", pytext_repr_in(c->a, id)};
    if (id->kind != VALUE_STR || !map_get(&c->ids, id->as.text, &at)) return false;
    flow_node *node = &c->g->nodes[at];
    int64_t n = (int64_t)flow_def_outputs(node->def), i;
    if (slot->kind == VALUE_INT) {
        i = slot->as.integer < 0 ? slot->as.integer + n : slot->as.integer;
    } else if (slot->kind == VALUE_BOOL) {
        i = slot->as.boolean;
    } else {
        *ret_why =
            (thrown){"TypeError", str_fmt(c->a, "tuple indices must be integers or slices, not %s",
                                          pytext_type(slot))};
        return false;
    }
    *ret_why = (thrown){"IndexError", STR("tuple index out of range")};
    if (i < 0 || i >= n) return false;
    *ret_node = node;
    *ret_slot = (size_t)i;
    return true;
}

static void link_faults(check *c, frame *f, const flow_input *in, const value *link,
                        const char *received) {
    value *shown = flow_input_type(in, c->host, c->a);
    str details = str_fmt(c->a, "%s, received_type(%s) mismatch input_type(" STR_FMT ")", in->name,
                          received, STR_ARG(pytext_str_in(c->a, shown)));
    value *info = input_fault(c, f, in, "return_type_mismatch",
                              STR("Return type mismatch between linked nodes"), details);
    set(c, info, "input_config", config_of(c, in));
    set(c, info, "received_type", text(c, str_from(received)));
    set(c, info, "linked_node", value_copy(c->a, link));
}

/* ---- literals ---- */

static bool is_in(const value *list, const value *v) {
    for (size_t i = 0; i < list->as.list.len; i++)
        if (v->kind == VALUE_STR && str_eq(list->as.list.items[i]->as.text, v->as.text))
            return true;
    return false;
}

static void check_menu(check *c, frame *f, const flow_input *in, const value *v) {
    value *choices = flow_input_choices(in, c->host, c->a);
    if (!choices || is_in(choices, v)) return;
    bool is_long = choices->as.list.len > LONG_MENU;
    str list = is_long ? str_fmt(c->a, "(list of length %zu)", choices->as.list.len)
                       : pytext_str_in(c->a, choices);
    str details = str_fmt(c->a, "%s: '" STR_FMT "' not in " STR_FMT, in->name,
                          STR_ARG(pytext_str_in(c->a, v)), STR_ARG(list));
    value *info = input_fault(c, f, in, "value_not_in_list", STR("Value not in list"), details);
    put_received(c, info, in, v);
    if (is_long) set(c, info, "input_config", value_null(c->a));
}

/* The node itself looks whether the file is there. */
static void check_file(check *c, frame *f, const flow_input *in, const value *v) {
    const flow_host *h = c->host;
    str name = pytext_str_in(c->a, v);
    if (!in->files || !h || !h->has_file || h->has_file(h->ctx, in->files, name)) return;
    const char *what = strcmp(in->name, "latent") == 0 ? "latent" : "image";
    str details = str_fmt(c->a, "%s - Invalid %s file: " STR_FMT, in->name, what, STR_ARG(name));
    input_fault(c, f, in, "custom_validation_failed", STR("Custom validation failed for node"),
                details);
}

/* A number as Python prints it, also one beyond 64 bits, which v only stands for. */
static str number_text(check *c, const flow_input *in, const value *source, const value *v) {
    if (strcmp(in->type, "INT") == 0 && source->kind == VALUE_FLOAT)
        return str_fmt(c->a, "%.0f", trunc(source->as.number));
    if (strcmp(in->type, "INT") == 0 && source->kind == VALUE_STR &&
        source->as.text.len >= INT64_DIGITS)
        return str_trim(source->as.text);
    return pytext_str_in(c->a, v);
}

static void check_range(check *c, frame *f, const flow_input *in, const value *source,
                        const value *v) {
    str bound;
    const char *type = "value_smaller_than_min", *word = "smaller than min";
    if (!literal_too_small(in, source, v, c->a, &bound)) {
        if (!literal_too_big(in, source, v, c->a, &bound)) return;
        type = "value_bigger_than_max";
        word = "bigger than max";
    }
    str message = str_fmt(c->a, "Value " STR_FMT " %s of " STR_FMT,
                          STR_ARG(number_text(c, in, source, v)), word, STR_ARG(bound));
    value *info = input_fault(c, f, in, type, message, str_from(in->name));
    put_received(c, info, in, v);
}

static void conversion_fault(check *c, frame *f, const flow_input *in, const value *v, str why) {
    str details = str_fmt(c->a, "%s, " STR_FMT ", " STR_FMT, in->name,
                          STR_ARG(pytext_str_in(c->a, v)), STR_ARG(why));
    str message = str_fmt(c->a, "Failed to convert an input value to a %s value", in->type);
    value *info = input_fault(c, f, in, "invalid_input_type", message, details);
    put_received(c, info, in, v);
    set(c, info, "exception_message", text(c, why));
}

/* Converts the literal in its place. Numbers beyond int64 stay as they came there: only the
 * argument holds their bits. */
static void check_literal(check *c, frame *f, const flow_input *in, value_pair *pair) {
    const value *v = pair->val, *made;
    value *wrapped = value_get(v, STR("__value__"));
    if (wrapped) v = pair->val = wrapped;
    str why;
    if (!literal_convert(in, v, c->a, &made, &why)) {
        conversion_fault(c, f, in, v, why);
        return;
    }
    bool wide = made->kind == VALUE_INT && made->as.integer < 0 && v->kind == VALUE_STR &&
                !str_starts(str_trim(v->as.text), STR("-"));
    if (!wide) pair->val = value_copy(c->a, made);
    f->node->args[f->at].literal = made;
    if (in->flags & (FLOW_ANY_FILE | FLOW_OF_OUTPUT)) {
        check_file(c, f, in, made);
        return;
    }
    size_t n_before = f->faults->as.list.len;
    check_range(c, f, in, v, made);
    if (strcmp(in->type, "COMBO") == 0 && f->faults->as.list.len == n_before)
        check_menu(c, f, in, made);
}

/* ---- the walk ---- */

static value_pair *pair_of(const value *inputs, const char *name) {
    str key = str_from(name);
    for (size_t i = 0; i < inputs->as.map.len; i++)
        if (str_eq(inputs->as.map.pairs[i].key, key)) return &inputs->as.map.pairs[i];
    return NULL;
}

/* A node's check was broken off: the one below it on the walk has the fault, named after the link.
 * Without one below, the output itself has it. */
static void throw_up(check *c, const thrown *why) {
    flow_node *node = VEC_POP(c->walk).node;
    value *faults = value_list(c->a), *f;
    if (c->walk.len == 0) {
        f = fault(c, "exception_during_validation", STR("Exception when validating node"),
                  why->message);
    } else {
        frame *below = &VEC_LAST(c->walk);
        const flow_input *in = &below->node->def->inputs[below->at];
        f = fault(c, "exception_during_inner_validation",
                  STR("Exception when validating inner node"), why->message);
        set(c, extra(f), "input_name", text(c, str_from(in->name)));
        set(c, extra(f), "input_config", config_of(c, in));
        set(c, extra(f), "exception_message", text(c, why->message));
        set(c, extra(f), "linked_node",
            value_copy(c->a, pair_of(below->node->inputs, in->name)->val));
        below->ok = false;
        below->at++;
    }
    set(c, extra(f), "exception_type", text(c, str_from(why->type)));
    set(c, extra(f), "traceback", value_list(c->a));
    value_push(c->a, faults, f);
    mark_done(c, node, false, faults);
}

/* One input of the node on top; false: another node must be looked at first, or the walk changed.
 */
static bool check_link(check *c, frame *f, const flow_input *in, const value *link) {
    flow_node *from = NULL;
    size_t slot = 0;
    thrown why;
    if (link->as.list.len != 2) {
        value *info =
            input_fault(c, f, in, "bad_linked_input",
                        STR("Bad linked input, must be a length-2 list of [node_id, slot_index]"),
                        str_from(in->name));
        put_received(c, info, in, link);
        return true;
    }
    if (!follow(c, link, &from, &slot, &why)) {
        throw_up(c, &why);
        return false;
    }
    flow_arg *arg = &f->node->args[f->at];
    arg->from = from;
    arg->slot = slot;
    const char *received = from->def->outputs[slot].type;
    if (!types_match(received, in)) {
        link_faults(c, f, in, link, received);
        return true;
    }
    const mark *m = &c->marks[from->index];
    if (m->state == MARK_NEW) {
        push_frame(c, from);
        return false;
    }
    if (m->state == MARK_OPEN) mark_cycle(c, from);
    if (!m->ok) f->ok = false;
    return true;
}

static bool check_input(check *c, frame *f) {
    const flow_input *in = &f->node->def->inputs[f->at];
    value_pair *pair = in->flags & FLOW_HIDDEN ? NULL : pair_of(f->node->inputs, in->name);
    if (!pair) {
        if (!(in->flags & (FLOW_HIDDEN | FLOW_OPTIONAL)))
            input_fault(c, f, in, "required_input_missing", STR("Required input is missing"),
                        str_from(in->name));
        return true;
    }
    if (pair->val->kind == VALUE_LIST) return check_link(c, f, in, pair->val);
    check_literal(c, f, in, pair);
    return true;
}

static void finish_frame(check *c) {
    frame f = VEC_POP(c->walk);
    if (!c->marks[f.node->index].cyclic)
        mark_done(c, f.node, f.ok && f.faults->as.list.len == 0, f.faults);
    f.node->good = c->marks[f.node->index].ok;
}

static void check_from(check *c, flow_node *node) {
    if (c->marks[node->index].state != MARK_NEW) return;
    push_frame(c, node);
    while (c->walk.len > 0) {
        frame *f = &VEC_LAST(c->walk);
        const flow_node *top = f->node;
        if (!top->inputs) {
            throw_up(c, &(thrown){"KeyError", STR("'inputs'")});
        } else if (f->at == flow_def_inputs(top->def)) {
            finish_frame(c);
        } else if (check_input(c, f)) {
            f->at++;
        } /* else: the same input again, once what it names was looked at */
    }
}

/* ---- the whole ---- */

static bool node_known(check *c, const value_pair *pair, flow_verdict *ret) {
    const value *class_type = value_get(pair->val, STR("class_type"));
    const value *title = value_get(value_get(pair->val, STR("_meta")), STR("title"));
    flow_node *node = &c->g->nodes[c->g->n];
    str name = class_type ? pytext_str_in(c->a, class_type) : (str){0};
    str shown = title && title->kind == VALUE_STR ? title->as.text : name;
    node->def = flow_def_find(name);
    if (node->def && !node->def->run && c->host && c->host->only_runnable) node->def = NULL;
    if (!node->def) {
        if (shown.len == 0) shown = str_fmt(c->a, "Node ID #" STR_FMT, STR_ARG(pair->key));
        str message =
            class_type
                ? str_fmt(c->a,
                          "Node '" STR_FMT "' not found. This program has no class " STR_FMT ".",
                          STR_ARG(shown), STR_ARG(name))
                : str_fmt(c->a, "Node '" STR_FMT "' has no class_type.", STR_ARG(shown));
        value *f = fault(c, "missing_node_type", message,
                         str_fmt(c->a, "Node ID '#" STR_FMT "'", STR_ARG(pair->key)));
        set(c, extra(f), "node_id", text(c, pair->key));
        set(c, extra(f), "class_type",
            class_type ? value_copy(c->a, class_type) : value_null(c->a));
        set(c, extra(f), "node_title", text(c, shown));
        ret->error = f;
        return false;
    }
    const value *inputs = value_get(pair->val, STR("inputs"));
    node->inputs = inputs && inputs->kind == VALUE_MAP ? inputs : NULL;
    node->id = pair->key;
    node->title = title && title->kind == VALUE_STR ? title->as.text : (str){0};
    node->args = ARENA_ARRAY(c->a, flow_arg, flow_def_inputs(node->def) + 1);
    for (size_t i = 0; node->def->inputs[i].name; i++) node->args[i].in = &node->def->inputs[i];
    node->index = (uint32_t)c->g->n;
    map_put(&c->ids, node->id, (int64_t)c->g->n++);
    return true;
}

static bool refuse(check *c, flow_verdict *ret, const char *type, str message, str details) {
    ret->error = fault(c, type, message, details);
    return false;
}

static bool read_graph(check *c, const value *source, flow_verdict *ret) {
    str broken = STR("Prompt is not a map of nodes");
    if (source && source->kind == VALUE_LIST && source->as.list.len == 0) source = NULL;
    if (source && source->kind != VALUE_MAP)
        return refuse(c, ret, "invalid_prompt", broken, STR(""));
    if (source && source->as.map.len > LIMIT_FLOW_NODES)
        return refuse(c, ret, "invalid_prompt", STR("Prompt has too many nodes"),
                      str_fmt(c->a, "%zu nodes; at most %d are possible", source->as.map.len,
                              LIMIT_FLOW_NODES));
    value *copy = source ? value_copy(c->a, source) : value_map(c->a);
    c->g->source = copy;
    c->g->nodes = ARENA_ARRAY(c->a, flow_node, copy->as.map.len + 1);
    for (size_t i = 0; i < copy->as.map.len; i++) {
        const value_pair *pair = &copy->as.map.pairs[i];
        const value *inputs = value_get(pair->val, STR("inputs"));
        if (pair->key.len > LIMIT_FLOW_ID_BYTES ||
            (inputs && inputs->kind == VALUE_MAP && inputs->as.map.len > LIMIT_FLOW_INPUTS))
            return refuse(c, ret, "invalid_prompt", STR("A node is too large"),
                          str_sub(pair->key, 0, LIMIT_FLOW_ID_BYTES));
        if (!node_known(c, pair, ret)) return false;
    }
    return true;
}

static bool is_target(const flow_node *node, const map *wanted) {
    if (!(node->def->flags & FLOW_OUTPUT_NODE)) return false;
    return wanted->len == 0 || map_has(wanted, node->id);
}

/* Every bad node known by now hurts this output, as ComfyUI counts. */
static void blame(check *c, const flow_node *output, value *node_errors, map *index) {
    for (size_t i = 0; i < c->order.len && c->n_blames < MAX_BLAMES; i++) {
        const flow_node *n = &c->g->nodes[c->order.items[i]];
        const mark *m = &c->marks[n->index];
        if (m->ok || m->faults->as.list.len == 0) continue;
        value *entry = map_get_ptr(index, n->id);
        if (!entry) {
            entry = value_map(c->a);
            set(c, entry, "errors", m->faults);
            set(c, entry, "dependent_outputs", value_list(c->a));
            set(c, entry, "class_type", text(c, str_from(n->def->name)));
            value_add(c->a, node_errors, n->id, entry);
            map_put_ptr(index, n->id, entry);
        }
        value_push(c->a, value_get(entry, STR("dependent_outputs")), text(c, output->id));
        c->n_blames++;
    }
}

static void check_targets(check *c, const map *wanted, flow_verdict *ret) {
    value *node_errors = value_map(c->a);
    map index = {0};
    buf lines = {0};
    size_t n_outputs = 0;
    ret->targets = ARENA_ARRAY(c->a, str, c->g->n + 1);
    for (size_t i = 0; i < c->g->n; i++) {
        flow_node *node = &c->g->nodes[i];
        if (!is_target(node, wanted)) continue;
        n_outputs++;
        check_from(c, node);
        const mark *m = &c->marks[i];
        if (m->ok) {
            ret->targets[ret->n_targets++] = node->id;
            continue;
        }
        for (size_t k = 0; k < m->faults->as.list.len; k++) {
            const value *f = m->faults->as.list.items[k];
            buf_putf(&lines, "%s" STR_FMT ": " STR_FMT, lines.len ? "\n" : "",
                     STR_ARG(value_get(f, STR("message"))->as.text),
                     STR_ARG(value_get(f, STR("details"))->as.text));
        }
        blame(c, node, node_errors, &index);
    }
    if (n_outputs == 0)
        refuse(c, ret, "prompt_no_outputs", STR("Prompt has no outputs"), STR(""));
    else if (ret->n_targets == 0)
        refuse(c, ret, "prompt_outputs_failed_validation", STR("Prompt outputs failed validation"),
               buf_str(&lines));
    ret->node_errors = node_errors;
    map_finish(&index);
    buf_finish(&lines);
}

/* A folder is listed once for one check: every loader asks for its menu. */
static void menu_once(void *ctx, const char *folder, arena *a, value *list) {
    check *c = ctx;
    const value *menu = map_get_ptr(&c->menus, str_from(folder));
    if (!menu) {
        value *made = value_list(a);
        c->given->files(c->given->ctx, folder, a, made);
        map_put_ptr(&c->menus, str_from(folder), made);
        menu = made;
    }
    for (size_t i = 0; i < menu->as.list.len; i++) value_push(a, list, menu->as.list.items[i]);
}

static bool file_of_given(void *ctx, const char *folder, str name) {
    const check *c = ctx;
    return c->given->has_file(c->given->ctx, folder, name);
}

void flow_check(const value *source, const str *targets, size_t n, const flow_host *host, arena *a,
                flow_verdict *ret) {
    *ret = (flow_verdict){.node_errors = value_map(a)};
    check c = {.given = host, .a = a, .g = &ret->graph};
    flow_host once = {.ctx = &c,
                      .files = host && host->files ? menu_once : NULL,
                      .has_file = host && host->has_file ? file_of_given : NULL,
                      .only_runnable = host && host->only_runnable};
    c.host = &once;
    map wanted = {0};
    for (size_t i = 0; i < n; i++) map_put(&wanted, targets[i], 1);
    if (read_graph(&c, source, ret)) {
        c.marks = ARENA_ARRAY(a, mark, c.g->n + 1);
        check_targets(&c, &wanted, ret);
        /* The rest is read too: what it has in common with earlier workflows is cached. */
        for (size_t i = 0; !ret->error && i < c.g->n; i++) check_from(&c, &c.g->nodes[i]);
    }
    map_finish(&wanted);
    map_finish(&c.ids);
    map_finish(&c.menus);
    VEC_FINISH(c.order);
    VEC_FINISH(c.walk);
}
