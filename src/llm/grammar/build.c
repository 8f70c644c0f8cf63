/* From expressions to the network of byte nodes.
 *
 * Built backwards: each function gets the node that comes after and returns the node to start at.
 * Characters become UTF-8 bytes here, and inside JSON strings the escapes they need. */
#include "base/limits.h"
#include "llm/grammar/expr.h"
#include <stdio.h>

typedef struct maker {
    grammar_net *net;
    bool full;
    int32_t depth;
} maker;

static int32_t add(maker *m, grammar_node n) {
    if (m->net->nodes.len >= LIMIT_GRAMMAR_NODES) {
        m->full = true;
        return 0;
    }
    VEC_PUSH(m->net->nodes, n);
    return (int32_t)m->net->nodes.len - 1;
}

static int32_t add_bytes(maker *m, uint32_t lo, uint32_t hi, int32_t next) {
    return add(m, (grammar_node){GRAMMAR_OP_BYTE, (uint8_t)lo, (uint8_t)hi, next, 0});
}

static int32_t add_split(maker *m, int32_t a, int32_t b) {
    if (a < 0) return b;
    return add(m, (grammar_node){GRAMMAR_OP_SPLIT, 0, 0, a, b});
}

static int32_t add_text(maker *m, str text, int32_t next) {
    for (size_t i = text.len; i-- > 0;) {
        uint8_t c = (uint8_t)text.ptr[i];
        next = add_bytes(m, c, c, next);
    }
    return next;
}

/* ---- characters ---- */

/* A range whose code points have the same length: cut until the bytes vary independently. */
static int32_t add_range(maker *m, uint32_t lo, uint32_t hi, int32_t next, int32_t other) {
    for (int i = 1; i < 4; i++) {
        uint32_t low = (1u << (6 * i)) - 1;
        if ((lo & ~low) == (hi & ~low)) continue;
        if (lo & low) {
            other = add_range(m, lo, lo | low, next, other);
            return add_range(m, (lo | low) + 1, hi, next, other);
        }
        if ((hi & low) != low) {
            other = add_range(m, lo, (hi & ~low) - 1, next, other);
            return add_range(m, hi & ~low, hi, next, other);
        }
    }
    char a[4], b[4];
    size_t n = str_utf8_put(a, lo);
    str_utf8_put(b, hi);
    int32_t at = next;
    for (size_t i = n; i-- > 0;) at = add_bytes(m, (uint8_t)a[i], (uint8_t)b[i], at);
    return add_split(m, other, at);
}

/* [lo, hi] as UTF-8, beside `other` (-1 = nothing); surrogates do not exist. */
static int32_t add_utf8(maker *m, uint32_t lo, uint32_t hi, int32_t next, int32_t other) {
    static const uint32_t cut[][2] = {
        {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
    for (size_t i = 0; i < COUNT_OF(cut); i++) {
        uint32_t from = lo > cut[i][0] ? lo : cut[i][0], to = hi < cut[i][1] ? hi : cut[i][1];
        if (from <= to) other = add_range(m, from, to, next, other);
    }
    return other;
}

static bool in_set(grammar_set s, uint32_t c) {
    for (size_t i = 0; i < s.n; i++)
        if (c >= s.ranges[i].lo && c <= s.ranges[i].hi) return true;
    return false;
}

static int32_t add_escape(maker *m, uint32_t c, int32_t next, int32_t other) {
    static const char SHORT[] = "b\bt\tn\nf\fr\r\"\"\\\\";
    char text[8];
    for (size_t i = 0; i + 1 < sizeof SHORT; i += 2)
        if ((uint32_t)SHORT[i + 1] == c) {
            text[0] = '\\';
            text[1] = SHORT[i];
            return add_split(m, other, add_text(m, (str){text, 2}, next));
        }
    int n = snprintf(text, sizeof text, "\\u%04x", c & 0xFFFF);
    return add_split(m, other, add_text(m, (str){text, (size_t)n}, next));
}

/* Inside a JSON string: quotes, backslashes and control characters are escaped, the rest is not. */
static int32_t add_json_chars(maker *m, grammar_set s, int32_t next) {
    static const uint32_t plain[][2] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}};
    int32_t other = -1;
    for (uint32_t c = 0; c < 0x20; c++)
        if (in_set(s, c)) other = add_escape(m, c, next, other);
    if (in_set(s, '"')) other = add_escape(m, '"', next, other);
    if (in_set(s, '\\')) other = add_escape(m, '\\', next, other);
    for (size_t i = 0; i < s.n; i++)
        for (size_t k = 0; k < COUNT_OF(plain); k++) {
            uint32_t lo = s.ranges[i].lo > plain[k][0] ? s.ranges[i].lo : plain[k][0];
            uint32_t hi = s.ranges[i].hi < plain[k][1] ? s.ranges[i].hi : plain[k][1];
            if (lo <= hi) other = add_utf8(m, lo, hi, next, other);
        }
    return other;
}

static int32_t add_chars(maker *m, const grammar_expr *x, int32_t next) {
    int32_t other = -1;
    if (x->in_json)
        other = add_json_chars(m, x->set, next);
    else
        for (size_t i = 0; i < x->set.n; i++)
            other = add_utf8(m, x->set.ranges[i].lo, x->set.ranges[i].hi, next, other);
    return other < 0 ? add_bytes(m, 1, 0, next) : other;
}

/* ---- expressions ---- */

static int32_t add_expr(maker *m, const grammar_expr *x, int32_t next);

static int32_t add_repeat(maker *m, const grammar_expr *x, int32_t next) {
    int32_t at = next;
    if (x->max < 0) {
        int32_t loop = add(m, (grammar_node){GRAMMAR_OP_SPLIT, 0, 0, next, next});
        int32_t body = add_expr(m, x->a, loop);
        if (!m->full) m->net->nodes.items[loop].next = body;
        at = loop;
    }
    for (int32_t i = x->min; i < x->max && !m->full; i++)
        at = add_split(m, add_expr(m, x->a, at), next);
    for (int32_t i = 0; i < x->min && !m->full; i++) at = add_expr(m, x->a, at);
    return at;
}

static int32_t add_expr(maker *m, const grammar_expr *x, int32_t next) {
    if (m->full || ++m->depth > LIMIT_GRAMMAR_DEPTH) {
        m->full = true;
        return 0;
    }
    int32_t at = next;
    switch (x->kind) {
    case GRAMMAR_NONE:
        at = add_bytes(m, 1, 0, next);
        break;
    case GRAMMAR_EMPTY:
        break;
    case GRAMMAR_TEXT:
        at = add_text(m, x->text, next);
        break;
    case GRAMMAR_CHARS:
        at = add_chars(m, x, next);
        break;
    case GRAMMAR_SEQ: /* long ones lean to the left: no recursion along them */
        for (; x->kind == GRAMMAR_SEQ && !m->full; x = x->a) at = add_expr(m, x->b, at);
        at = add_expr(m, x, at);
        break;
    case GRAMMAR_ALT:
        at = -1;
        for (; x->kind == GRAMMAR_ALT && !m->full; x = x->a)
            at = add_split(m, at, add_expr(m, x->b, next));
        at = add_split(m, at, add_expr(m, x, next));
        break;
    case GRAMMAR_REPEAT:
        at = add_repeat(m, x, next);
        break;
    case GRAMMAR_RULE:
        at = add(m, (grammar_node){GRAMMAR_OP_CALL, 0, 0, next, x->rule});
        break;
    }
    m->depth--;
    return at;
}

/* ---- left recursion ---- */

/* What a rule does before its first byte. */
typedef struct first_look {
    const grammar_net *net;
    const bool *nullable; /* [rules] */
    uint32_t *seen;       /* [nodes] number of the last look that was here */
    uint32_t look;
    VEC(int32_t) todo;
} first_look;

/* True when a RETURN can be reached without a byte. `calls` (or NULL) notes the rules called. */
static bool look_from(first_look *f, int32_t node, bool *calls) {
    bool ends = false;
    f->look++;
    VEC_CLEAR(f->todo);
    VEC_PUSH(f->todo, node);
    while (f->todo.len > 0) {
        int32_t i = VEC_POP(f->todo);
        if (f->seen[i] == f->look) continue;
        f->seen[i] = f->look;
        const grammar_node *n = &f->net->nodes.items[i];
        if (n->op == GRAMMAR_OP_RETURN) ends = true;
        if (n->op == GRAMMAR_OP_SPLIT) {
            VEC_PUSH(f->todo, n->next);
            VEC_PUSH(f->todo, n->other);
        }
        if (n->op == GRAMMAR_OP_CALL) {
            if (calls) calls[n->other] = true;
            if (f->nullable[n->other]) VEC_PUSH(f->todo, n->next);
        }
    }
    return ends;
}

/* Whether `from` comes back to itself over edges [n][n]; visits depth first. */
static bool has_cycle(const bool *edges, size_t n) {
    uint8_t *state = mem_zalloc(n); /* 1 = on the path, 2 = done */
    VEC(size_t) path = {0};
    size_t *next = mem_calloc(n, sizeof *next);
    bool found = false;
    for (size_t start = 0; start < n && !found; start++) {
        if (state[start]) continue;
        VEC_PUSH(path, start);
        state[start] = 1;
        while (path.len > 0 && !found) {
            size_t at = VEC_LAST(path), to = next[at]++;
            if (to >= n) {
                state[at] = 2;
                path.len--;
            } else if (edges[at * n + to]) {
                found = state[to] == 1;
                if (state[to] == 0) {
                    state[to] = 1;
                    VEC_PUSH(path, to);
                }
            }
        }
    }
    VEC_FINISH(path);
    mem_free(next);
    mem_free(state);
    return found;
}

static bool is_left_recursive(const grammar_net *net) {
    size_t n = net->starts.len;
    bool *nullable = mem_zalloc(n), *calls = mem_zalloc(n * n);
    first_look f = {
        .net = net, .nullable = nullable, .seen = mem_calloc(net->nodes.len, sizeof(uint32_t))};
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < n; i++) {
            if (nullable[i] || !look_from(&f, net->starts.items[i], NULL)) continue;
            nullable[i] = changed = true;
        }
    }
    for (size_t i = 0; i < n; i++) look_from(&f, net->starts.items[i], calls + i * n);
    bool found = has_cycle(calls, n);
    VEC_FINISH(f.todo);
    mem_free(f.seen);
    mem_free(calls);
    mem_free(nullable);
    return found;
}

err_code grammar_build(const grammar_builder *b, grammar_net *ret, err *e) {
    grammar_net net = {0};
    maker m = {.net = &net};
    add(&m, (grammar_node){GRAMMAR_OP_RETURN, 0, 0, 0, 0});
    for (size_t i = 0; i < b->rules.len; i++) {
        int32_t start = add_expr(&m, b->rules.items[i], 0);
        VEC_PUSH(net.starts, start);
    }
    bool full = m.full, loops = !full && is_left_recursive(&net);
    if (!full && !loops) {
        *ret = net;
        return ERR_OK;
    }
    grammar_net_finish(&net);
    if (loops) FAIL(e, INVALID, "a rule begins with itself before any character (left recursion)");
    FAIL(e, LIMIT, "the grammar is too large: more than %u states, or nested more than %d deep",
         LIMIT_GRAMMAR_NODES, LIMIT_GRAMMAR_DEPTH);
}

void grammar_net_finish(grammar_net *n) {
    VEC_FINISH(n->nodes);
    VEC_FINISH(n->starts);
}

err_code grammar_finish(const grammar_builder *b, grammar **ret, err *e) {
    grammar_net net;
    TRY(grammar_build(b, &net, e));
    *ret = grammar_over(&net);
    return ERR_OK;
}
