/* Outputs kept from one workflow to the next, by what produced them.
 *
 * A signature is text: class, fingerprint, and every input by name, a literal as it is and a link
 * as the number of its source's signature. Two signatures are equal exactly if everything above the
 * nodes is; a number is made anew when the same text is not there any more. NaN equals nothing, so
 * neither does a node that has it anywhere above. */
#include "flow/exec_impl.h"
#include "flow/pytext.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

flow_cache *flow_cache_create(void) {
    return NEW(flow_cache);
}

static void entry_empty(cache_entry *entry) {
    for (size_t i = 0; entry->outputs && i < entry->n_outputs; i++)
        flow_value_unref(&entry->outputs[i]);
    mem_free(entry->outputs);
    entry->outputs = NULL;
    arena_destroy(&entry->ui_mem);
    entry->ui = NULL;
}

static void entry_destroy(cache_entry *entry) {
    entry_empty(entry);
    mem_free(entry);
}

static cache_entry *entry_at(const map *m, size_t i) {
    return (cache_entry *)(intptr_t)m->entries[i].value;
}

void flow_cache_clear(flow_cache *c) {
    for (size_t i = 0; i < c->entries.len; i++) entry_destroy(entry_at(&c->entries, i));
    map_finish(&c->entries);
    c->entries = (map){0};
}

void flow_cache_destroy(flow_cache **cp) {
    if (!*cp) return;
    flow_cache_clear(*cp);
    mem_free(*cp);
    *cp = NULL;
}

static size_t entry_bytes(const cache_entry *entry) {
    size_t n = 0;
    for (size_t i = 0; entry->outputs && i < entry->n_outputs; i++)
        n += flow_value_bytes(entry->outputs[i]);
    return n + (entry->ui_mem ? arena_bytes(entry->ui_mem) : 0);
}

size_t flow_cache_bytes(const flow_cache *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->entries.len; i++) n += entry_bytes(entry_at(&c->entries, i));
    return n;
}

void flow_cache_trim(flow_cache *c, size_t max_bytes) {
    size_t n = flow_cache_bytes(c);
    while (n > max_bytes) {
        cache_entry *largest = NULL;
        for (size_t i = 0; i < c->entries.len; i++) {
            cache_entry *entry = entry_at(&c->entries, i);
            if (entry->outputs && (!largest || entry_bytes(entry) > entry_bytes(largest)))
                largest = entry;
        }
        if (!largest) return;
        n -= entry_bytes(largest);
        entry_empty(largest);
    }
}

static bool holds(const flow_value *v, const char *const *types) {
    const char *type = flow_value_object_type(v);
    for (size_t i = 0; type && types[i]; i++)
        if (strcmp(types[i], type) == 0) return true;
    for (size_t i = 0; i < flow_value_len(v); i++)
        if (holds(flow_value_at(v, i), types)) return true;
    return false;
}

void flow_cache_drop(flow_cache *c, const char *const *types) {
    for (size_t i = 0; i < c->entries.len; i++) {
        cache_entry *entry = entry_at(&c->entries, i);
        for (size_t k = 0; entry->outputs && k < entry->n_outputs; k++)
            if (holds(entry->outputs[k], types)) entry_empty(entry);
    }
}

void cache_entry_fill(cache_entry *entry, flow_value **outputs, size_t n_outputs, arena *ui_mem,
                      value *ui) {
    entry_empty(entry);
    entry->outputs = outputs;
    entry->n_outputs = n_outputs;
    entry->ui_mem = ui_mem;
    entry->ui = ui;
}

/* ---- signatures ---- */

int64_t flow_link_source(const value *v, const map *ids, const value **ret_slot) {
    if (v->kind != VALUE_LIST || v->as.list.len != 2) return -1;
    const value *id = v->as.list.items[0];
    int64_t at;
    *ret_slot = v->as.list.items[1];
    return id->kind == VALUE_STR && map_get(ids, id->as.text, &at) ? at : -1;
}

static bool has_nan(const value *v) {
    if (v->kind == VALUE_FLOAT) return isnan(v->as.number);
    if (v->kind == VALUE_LIST)
        for (size_t i = 0; i < v->as.list.len; i++)
            if (has_nan(v->as.list.items[i])) return true;
    if (v->kind == VALUE_MAP)
        for (size_t i = 0; i < v->as.map.len; i++)
            if (has_nan(v->as.map.pairs[i].val)) return true;
    return false;
}

typedef struct signing {
    flow_cache *c;
    const flow_run *r;
    const map *ids;
    cache_entry **entries; /* [graph->n]; NULL = not yet */
    map next;              /* the entries of this workflow */
} signing;

static bool depends_on_id(const flow_def *d) {
    if (d->flags & FLOW_NOT_IDEMPOTENT) return true;
    for (const flow_input *in = d->inputs; in->name; in++)
        if (strcmp(in->type, "UNIQUE_ID") == 0) return true;
    return false;
}

/* What the node's changed() says of its literals; false: it cannot say, so it runs. */
static bool put_fingerprint(const signing *s, const flow_node *node, buf *out) {
    if (!node->def->changed) return true;
    if (!node->good) return false;
    size_t n = flow_def_inputs(node->def);
    err e = {0};
    flow_call c = {.def = node->def, .node_id = node->id, .env = s->r->env, .mem = arena_create(0)};
    c.in = ARENA_ARRAY(c.mem, flow_value *, n + 1);
    for (size_t i = 0; i < n; i++) c.in[i] = flow_value_of_literal(node->args[i].literal);
    bool ok = node->def->changed(&c, &e) == ERR_OK;
    buf_putf(out, "%zu:", c.fingerprint.len);
    buf_put_str(out, buf_str(&c.fingerprint));
    for (size_t i = 0; i < n; i++) flow_value_unref(&c.in[i]);
    flow_call_finish(&c);
    arena_destroy(&c.mem);
    return ok;
}

static int by_key(const void *a, const void *b) {
    const value_pair *const *x = a, *const *y = b;
    return str_cmp((*x)->key, (*y)->key);
}

static bool put_input(const signing *s, const value_pair *p, buf *out) {
    const value *slot;
    int64_t from = flow_link_source(p->val, s->ids, &slot);
    value key = {.kind = VALUE_STR, .as.text = p->key};
    pytext_repr(out, &key);
    if (from >= 0) {
        if (!s->entries[from]) return false; /* a cycle */
        buf_putf(out, "=@%llu,", (unsigned long long)s->entries[from]->id);
        pytext_repr(out, slot);
    } else {
        if (has_nan(p->val)) return false;
        buf_put_char(out, '=');
        pytext_repr(out, p->val);
    }
    buf_put_char(out, '\n');
    return true;
}

/* False: equal to nothing. */
static bool put_signature(const signing *s, const flow_node *node, buf *out) {
    buf_putf(out, "%s\n", node->def->name);
    if (!node->inputs || (node->def->flags & FLOW_ALWAYS_RUNS)) return false;
    if (depends_on_id(node->def)) buf_putf(out, "#%zu:" STR_FMT, node->id.len, STR_ARG(node->id));
    if (!put_fingerprint(s, node, out)) return false;
    size_t n = node->inputs->as.map.len;
    value_pair **sorted = NEW_ARRAY(value_pair *, n + 1);
    bool ok = true;
    for (size_t i = 0; i < n; i++) sorted[i] = &node->inputs->as.map.pairs[i];
    qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; ok && i < n; i++) ok = put_input(s, sorted[i], out);
    mem_free(sorted);
    return ok;
}

static void sign(signing *s, uint32_t at) {
    const flow_node *node = &s->r->graph->nodes[at];
    buf text = {0};
    if (!put_signature(s, node, &text)) {
        buf_clear(&text);
        buf_putf(&text, "!%llu", (unsigned long long)s->c->n_made);
    }
    cache_entry *entry = map_get_ptr(&s->next, buf_str(&text));
    if (!entry) {
        entry = map_get_ptr(&s->c->entries, buf_str(&text));
        if (!entry) {
            entry = NEW(cache_entry);
            entry->id = s->c->n_made++;
        }
        map_put_ptr(&s->next, buf_str(&text), entry);
    }
    s->entries[at] = entry;
    buf_finish(&text);
}

typedef struct visit {
    uint32_t at;
    size_t input;
} visit;

/* Sources first. */
static void sign_from(signing *s, uint32_t start, bool *seen) {
    VEC(visit) walk = {0};
    if (!seen[start]) VEC_PUSH(walk, (visit){.at = start});
    seen[start] = true;
    while (walk.len > 0) {
        visit *v = &VEC_LAST(walk);
        const value *inputs = s->r->graph->nodes[v->at].inputs, *slot;
        if (!inputs || v->input == inputs->as.map.len) {
            sign(s, VEC_POP(walk).at);
            continue;
        }
        int64_t from = flow_link_source(inputs->as.map.pairs[v->input++].val, s->ids, &slot);
        if (from < 0 || seen[from]) continue;
        seen[from] = true;
        VEC_PUSH(walk, (visit){.at = (uint32_t)from});
    }
    VEC_FINISH(walk);
}

cache_entry **flow_cache_begin(flow_cache *c, const flow_run *r, const map *ids, arena *a) {
    size_t n = r->graph->n;
    signing s = {.c = c, .r = r, .ids = ids, .entries = ARENA_ARRAY(a, cache_entry *, n + 1)};
    bool *seen = NEW_ARRAY(bool, n + 1);
    for (size_t i = 0; i < n; i++) sign_from(&s, (uint32_t)i, seen);
    mem_free(seen);
    for (size_t i = 0; i < c->entries.len; i++)
        if (!map_has(&s.next, c->entries.entries[i].key)) entry_destroy(entry_at(&c->entries, i));
    map_finish(&c->entries);
    c->entries = s.next;
    return s.entries;
}
