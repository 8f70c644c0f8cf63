/* Saved workflows to API graphs, as the editor itself does it before it queues one.
 *
 * Subgraphs are laid open: a node 7 inside an instance 3 becomes "3:7". A link is followed from the
 * input that has it, through reroutes, bypassed nodes and the walls of subgraphs, to the output of
 * a real node, or to the value of a primitive node. Everything is a stranger's: nodes, depth and
 * hops are bounded. */
#include "flow/convert.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include <string.h>

enum { MAX_DEPTH = 16, MAX_HOPS = 2000, MAX_LINKS = 200000, MODE_MUTED = 2, MODE_BYPASSED = 4 };
enum { INPUT_WALL = -10, OUTPUT_WALL = -20 }; /* ids of a subgraph's own ends */

/* One graph of nodes and links: the workflow itself, or an instance of a subgraph. */
typedef struct scope {
    struct scope *outer; /* NULL: the workflow */
    const value *instance, *def;
    str prefix; /* of ids */
    map nodes;  /* id -> node */
    map links;  /* id -> link */
    map ends;   /* place of the output wall -> link */
    map sets;   /* name -> the node that sets it */
    map inside; /* id of an instance -> its scope */
    size_t depth;
} scope;

typedef struct convert {
    arena *a;
    map subgraphs; /* id -> definition */
    VEC(scope *) scopes;
    size_t n_nodes, n_links;
    value *out;
} convert;

/* ---- reading ---- */

static const value *get(const value *v, const char *key) {
    return value_get(v, str_from(key));
}

static str id_text(arena *a, const value *v) {
    if (v && v->kind == VALUE_STR) return v->as.text;
    if (v && v->kind == VALUE_INT) return str_fmt(a, "%lld", (long long)v->as.integer);
    if (v && v->kind == VALUE_FLOAT) return str_fmt(a, "%.0f", v->as.number);
    return (str){0};
}

static int64_t as_int(const value *v, int64_t fallback) {
    return v && v->kind == VALUE_INT ? v->as.integer : fallback;
}

static str as_text(const value *v) {
    return v && v->kind == VALUE_STR ? v->as.text : (str){0};
}

static size_t len(const value *v) {
    return v && v->kind == VALUE_LIST ? v->as.list.len : 0;
}

static const value *at(const value *v, int64_t i) {
    return i >= 0 && (uint64_t)i < len(v) ? v->as.list.items[i] : NULL;
}

/* A link is [id, from, slot, to, slot, type] or a map. */
static const value *link_part(const value *link, int i, const char *key) {
    return link->kind == VALUE_LIST ? at(link, i) : get(link, key);
}

static bool is_type(const value *node, const char *const *names, size_t n) {
    str type = as_text(get(node, "type"));
    for (size_t i = 0; i < n; i++)
        if (str_eq(type, str_from(names[i]))) return true;
    return false;
}
#define IS_TYPE(node, ...)                                                                         \
    is_type((node), (const char *const[]){__VA_ARGS__},                                            \
            COUNT_OF(((const char *const[]){__VA_ARGS__})))

bool flow_is_workflow(const value *v) {
    const value *nodes = get(v, "nodes");
    return nodes && nodes->kind == VALUE_LIST && !get(nodes, "class_type");
}

/* ---- scopes ---- */

static const value *subgraph_of(const convert *c, const value *node) {
    return map_get_ptr(&c->subgraphs, as_text(get(node, "type")));
}

static err_code scope_open(convert *c, scope *outer, const value *instance, const value *graph_,
                           err *e);

static err_code open_nodes(convert *c, scope *s, const value *nodes, err *e) {
    for (size_t i = 0; i < len(nodes); i++) {
        const value *node = nodes->as.list.items[i];
        str id = id_text(c->a, get(node, "id"));
        if (id.len == 0) FAIL(e, INVALID, "workflow: node %zu has no id", i);
        if (as_text(get(node, "type")).len == 0)
            FAIL(e, INVALID, "workflow: node " STR_FMT STR_FMT " has no type", STR_ARG(s->prefix),
                 STR_ARG(id));
        if (++c->n_nodes > LIMIT_FLOW_NODES)
            FAIL(e, LIMIT, "workflow: more than %d nodes", LIMIT_FLOW_NODES);
        map_put_ptr(&s->nodes, id, (void *)(uintptr_t)node);
        str name = as_text(at(get(node, "widgets_values"), 0));
        if (IS_TYPE(node, "SetNode") && name.len)
            map_put_ptr(&s->sets, name, (void *)(uintptr_t)node);
        const value *def = subgraph_of(c, node);
        if (def) TRY(scope_open(c, s, node, def, e));
    }
    return ERR_OK;
}

static err_code scope_open(convert *c, scope *outer, const value *instance, const value *graph_,
                           err *e) {
    scope *s = ARENA_NEW(c->a, scope);
    VEC_PUSH(c->scopes, s);
    s->outer = outer;
    s->instance = instance;
    s->def = graph_;
    s->prefix = STR("");
    if (outer) {
        str id = id_text(c->a, get(instance, "id"));
        s->depth = outer->depth + 1;
        s->prefix = str_fmt(c->a, STR_FMT STR_FMT ":", STR_ARG(outer->prefix), STR_ARG(id));
        map_put_ptr(&outer->inside, id, s);
        if (s->depth > MAX_DEPTH)
            FAIL(e, LIMIT, "workflow: subgraphs more than %d deep at node " STR_FMT, MAX_DEPTH,
                 STR_ARG(id));
    }
    const value *links = get(graph_, "links");
    for (size_t i = 0; i < len(links); i++) {
        const value *link = links->as.list.items[i];
        if (link->kind != VALUE_LIST && link->kind != VALUE_MAP) continue;
        void *ptr = (void *)(uintptr_t)link;
        if (++c->n_links > MAX_LINKS) FAIL(e, LIMIT, "workflow: more than %d links", MAX_LINKS);
        map_put_ptr(&s->links, id_text(c->a, link_part(link, 0, "id")), ptr);
        if (as_int(link_part(link, 3, "target_id"), 0) == OUTPUT_WALL)
            map_put_ptr(&s->ends, id_text(c->a, link_part(link, 4, "target_slot")), ptr);
    }
    return open_nodes(c, s, get(graph_, "nodes"), e);
}

/* ---- links ---- */

/* Where a link comes from: a node's output, or a value, or nothing. */
typedef struct source {
    str id; /* empty: none */
    int64_t slot;
    const value *literal;
} source;

typedef struct hop {
    const scope *s;
    const value *link; /* NULL: it ends here */
} hop;

static const value *link_of(convert *c, const scope *s, const value *input) {
    const value *id = get(input, "link");
    if (!id || id->kind == VALUE_NULL) return NULL;
    return map_get_ptr(&s->links, id_text(c->a, id));
}

/* The input of a bypassed node that stands for its output: the one at the same place if its type is
 * right, else the first of that type. */
static const value *bypass_input(const value *node, int64_t slot, str type) {
    const value *inputs = get(node, "inputs"), *same = at(inputs, slot);
    if (same && str_eq(as_text(get(same, "type")), type)) return same;
    for (size_t i = 0; i < len(inputs); i++)
        if (str_eq(as_text(get(inputs->as.list.items[i], "type")), type))
            return inputs->as.list.items[i];
    return NULL;
}

/* The instance's input behind a place of its subgraph's input wall. */
static const value *wall_input(const scope *s, int64_t slot) {
    const value *inputs = get(s->instance, "inputs");
    str name = as_text(get(at(get(s->def, "inputs"), slot), "name"));
    for (size_t i = 0; i < len(inputs); i++)
        if (str_eq(as_text(get(inputs->as.list.items[i], "name")), name))
            return inputs->as.list.items[i];
    return at(inputs, slot);
}

/* What the instance holds for an input of its subgraph that is a widget and has no link. */
static const value *wall_value(const scope *s, const value *input) {
    const value *inputs = get(s->instance, "inputs");
    int64_t place = 0;
    if (!get(input, "widget")) return NULL;
    for (size_t i = 0; i < len(inputs) && inputs->as.list.items[i] != input; i++)
        if (get(inputs->as.list.items[i], "widget")) place++;
    const value *v = at(get(s->instance, "widgets_values"), place);
    return v && v->kind != VALUE_NULL ? v : NULL;
}

/* The link inside a subgraph that ends at a place of its output wall. */
static const value *link_to_output(convert *c, const scope *s, int64_t slot) {
    const value *ids = get(at(get(s->def, "outputs"), slot), "linkIds");
    const value *link =
        len(ids) ? map_get_ptr(&s->links, id_text(c->a, ids->as.list.items[0])) : NULL;
    return link ? link : map_get_ptr(&s->ends, str_fmt(c->a, "%lld", (long long)slot));
}

/* The node that sets what another gets, here or in a graph around; moves there. */
static const value *setter_of(hop *h, str name) {
    for (const scope *s = h->s; s; s = s->outer) {
        const value *set = map_get_ptr(&s->sets, name);
        if (!set) continue;
        h->s = s;
        return set;
    }
    return NULL;
}

/* One step upstream; false: *ret is the end. */
static bool follow(convert *c, hop *h, source *ret) {
    const value *link = h->link, *from = link_part(link, 1, "origin_id");
    int64_t slot = as_int(link_part(link, 2, "origin_slot"), 0);
    h->link = NULL;
    *ret = (source){0};
    if (h->s->outer && as_int(from, 0) == INPUT_WALL) {
        const value *input = wall_input(h->s, slot);
        const scope *inner = h->s;
        h->s = inner->outer;
        h->link = link_of(c, h->s, input);
        if (!h->link) ret->literal = wall_value(inner, input);
        return h->link != NULL;
    }
    str id = id_text(c->a, from);
    const value *node = map_get_ptr(&h->s->nodes, id);
    int64_t mode = as_int(get(node, "mode"), 0);
    if (!node || mode == MODE_MUTED) return false;
    if (mode == MODE_BYPASSED) {
        h->link = link_of(c, h->s, bypass_input(node, slot, as_text(link_part(link, 5, "type"))));
    } else if (IS_TYPE(node, "Reroute", "Reroute (rgthree)", "SetNode")) {
        h->link = link_of(c, h->s, at(get(node, "inputs"), 0));
    } else if (IS_TYPE(node, "GetNode")) {
        const value *set = setter_of(h, as_text(at(get(node, "widgets_values"), 0)));
        h->link = link_of(c, h->s, at(get(set, "inputs"), 0));
    } else if (IS_TYPE(node, "PrimitiveNode")) {
        ret->literal = at(get(node, "widgets_values"), 0);
    } else if (subgraph_of(c, node)) {
        h->s = map_get_ptr(&h->s->inside, id);
        h->link = h->s ? link_to_output(c, h->s, slot) : NULL;
    } else {
        *ret = (source){.id = str_fmt(c->a, STR_FMT STR_FMT, STR_ARG(h->s->prefix), STR_ARG(id)),
                        .slot = slot};
    }
    return h->link != NULL;
}

static source source_of(convert *c, const scope *s, const value *link) {
    source found = {0};
    hop h = {s, link};
    for (int i = 0; i < MAX_HOPS; i++)
        if (!follow(c, &h, &found)) return found;
    return (source){0}; /* links in a ring */
}

/* ---- widgets ---- */

static bool is_control(const value *v) {
    static const char *const words[] = {"fixed", "increment", "decrement", "randomize"};
    for (size_t i = 0; v && v->kind == VALUE_STR && i < COUNT_OF(words); i++)
        if (str_eq(v->as.text, str_from(words[i]))) return true;
    return false;
}

static bool has_control(const flow_input *in) {
    return strcmp(in->type, "INT") == 0 &&
           ((in->flags & FLOW_CONTROL) || strcmp(in->name, "seed") == 0 ||
            strcmp(in->name, "noise_seed") == 0);
}

/* A list would be taken for a link. */
static value *wrapped(convert *c, const value *v) {
    value *copy = value_copy(c->a, v);
    if (v->kind != VALUE_LIST) return copy;
    value *box = value_map(c->a);
    value_set(c->a, box, STR("__value__"), copy);
    return box;
}

/* Values of widgets stand in the order of the row's inputs; a seed is followed by what happens to
 * it after a run. */
static void put_widgets(convert *c, const flow_def *def, const value *node, value *inputs) {
    const value *values = get(node, "widgets_values");
    int64_t place = 0;
    if (!values || !def) return;
    for (const flow_input *in = def->inputs; in->name; in++) {
        if (!flow_input_is_widget(in)) continue;
        const value *v = values->kind == VALUE_MAP ? get(values, in->name) : at(values, place++);
        if (v) value_set(c->a, inputs, str_from(in->name), wrapped(c, v));
        if (values->kind == VALUE_LIST && has_control(in) && is_control(at(values, place))) place++;
    }
}

static void put_links(convert *c, const scope *s, const value *node, value *inputs) {
    const value *list = get(node, "inputs");
    for (size_t i = 0; i < len(list); i++) {
        const value *input = list->as.list.items[i], *link = link_of(c, s, input);
        str name = as_text(get(get(input, "widget"), "name"));
        if (name.len == 0) name = as_text(get(input, "name"));
        if (!link || name.len == 0) continue;
        source from = source_of(c, s, link);
        if (from.literal) {
            value_set(c->a, inputs, name, wrapped(c, from.literal));
        } else if (from.id.len) {
            value *pair = value_list(c->a);
            value_push(c->a, pair, value_str(c->a, from.id));
            value_push(c->a, pair, value_int(c->a, from.slot));
            value_set(c->a, inputs, name, pair);
        }
    }
}

/* ---- the whole ---- */

/* Nodes that are the editor's alone, or those of widespread additions to it. */
static bool is_virtual(const convert *c, const value *node) {
    return IS_TYPE(node, "Reroute", "PrimitiveNode", "Note", "MarkdownNote", "SetNode", "GetNode",
                   "Reroute (rgthree)", "Label (rgthree)", "Bookmark (rgthree)",
                   "Fast Groups Muter (rgthree)", "Fast Groups Bypasser (rgthree)") ||
           subgraph_of(c, node) != NULL;
}

static bool is_off(const value *node) {
    int64_t mode = as_int(get(node, "mode"), 0);
    return mode == MODE_MUTED || mode == MODE_BYPASSED;
}

/* An instance that is switched off takes its inside with it. */
static bool scope_is_off(const scope *s) {
    for (; s->outer; s = s->outer)
        if (is_off(s->instance)) return true;
    return false;
}

static void put_node(convert *c, const scope *s, str id, const value *node) {
    str type = as_text(get(node, "type")), title = as_text(get(node, "title"));
    const flow_def *def = flow_def_find(type);
    value *made = value_map(c->a), *inputs = value_map(c->a), *meta = value_map(c->a);
    put_widgets(c, def, node, inputs);
    put_links(c, s, node, inputs);
    if (title.len == 0) title = def ? str_from(def->display) : type;
    value_set(c->a, meta, STR("title"), value_str(c->a, title));
    value_set(c->a, made, STR("inputs"), inputs);
    value_set(c->a, made, STR("class_type"), value_str(c->a, type));
    value_set(c->a, made, STR("_meta"), meta);
    value_add(c->a, c->out, str_fmt(c->a, STR_FMT STR_FMT, STR_ARG(s->prefix), STR_ARG(id)), made);
}

static void put_scope(convert *c, const scope *s) {
    if (scope_is_off(s)) return;
    for (size_t i = 0; i < s->nodes.len; i++) {
        const value *node = (const value *)(intptr_t)s->nodes.entries[i].value;
        if (!is_virtual(c, node) && !is_off(node)) put_node(c, s, s->nodes.entries[i].key, node);
    }
}

/* Links to nodes that are not there any more are dropped, as the editor does. */
static void drop_dangling(convert *c) {
    map known = {0};
    for (size_t i = 0; i < c->out->as.map.len; i++) map_put(&known, c->out->as.map.pairs[i].key, 1);
    for (size_t i = 0; i < c->out->as.map.len; i++) {
        value *inputs = value_get(c->out->as.map.pairs[i].val, STR("inputs"));
        size_t n = 0;
        for (size_t k = 0; k < inputs->as.map.len; k++) {
            value_pair p = inputs->as.map.pairs[k];
            bool gone = p.val->kind == VALUE_LIST && !map_has(&known, as_text(at(p.val, 0)));
            if (!gone) inputs->as.map.pairs[n++] = p;
        }
        inputs->as.map.len = n;
    }
    map_finish(&known);
}

err_code flow_convert(const value *workflow, arena *a, value **ret, err *e) {
    if (!flow_is_workflow(workflow)) FAIL(e, INVALID, "not a saved workflow: it has no nodes");
    convert c = {.a = a, .out = value_map(a)};
    const value *defs = get(get(workflow, "definitions"), "subgraphs");
    for (size_t i = 0; i < len(defs); i++) {
        str id = as_text(get(defs->as.list.items[i], "id"));
        if (id.len) map_put_ptr(&c.subgraphs, id, defs->as.list.items[i]);
    }
    err_code code = scope_open(&c, NULL, NULL, workflow, e);
    for (size_t i = 0; code == ERR_OK && i < c.scopes.len; i++) put_scope(&c, c.scopes.items[i]);
    if (code == ERR_OK) {
        drop_dangling(&c);
        *ret = c.out;
    }
    for (size_t i = 0; i < c.scopes.len; i++) {
        map_finish(&c.scopes.items[i]->nodes);
        map_finish(&c.scopes.items[i]->links);
        map_finish(&c.scopes.items[i]->inside);
        map_finish(&c.scopes.items[i]->ends);
        map_finish(&c.scopes.items[i]->sets);
    }
    VEC_FINISH(c.scopes);
    map_finish(&c.subgraphs);
    return code;
}
