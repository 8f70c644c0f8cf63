/* From expressions to the network of byte nodes.
 *
 * Built backwards: each function gets the node that comes after and returns the node to start at.
 * Characters become UTF-8 bytes here, and inside JSON strings the escapes they need. */
#include "base/limits.h"
#include "llm/grammar/expr.h"

typedef struct maker {
    grammar_net *net;
    const grammar_builder *inlined; /* rules become part of the network, NULL = calls */
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

/* What has an escape of two characters; others are written \u00XX. */
static const char SHORT_ESCAPES[] = "b\bt\tn\nf\fr\r\"\"\\\\";

static bool has_short_escape(uint32_t c) {
    for (size_t i = 0; i + 1 < sizeof SHORT_ESCAPES; i += 2)
        if ((uint32_t)SHORT_ESCAPES[i + 1] == c) return true;
    return false;
}

/* The last digit of the control characters \u00H0 to \u00HF in the set; -1 = none. */
static int32_t add_last_digit(maker *m, grammar_set s, uint32_t high, int32_t next) {
    static const char DIGITS[] = "0123456789abcdef";
    int32_t other = -1;
    for (uint32_t lo = 0, hi; lo < 16; lo = hi + 1) {
        hi = lo;
        uint32_t c = high * 16 + lo;
        if (!in_set(s, c) || has_short_escape(c)) continue;
        while (hi != 9 && hi < 15 && in_set(s, c + 1) && !has_short_escape(c + 1)) hi++, c++;
        other = add_split(m, other, add_bytes(m, (uint8_t)DIGITS[lo], (uint8_t)DIGITS[hi], next));
    }
    return other;
}

/* Escapes of the characters that need one, with one backslash for all; -1 = none. */
static int32_t add_escapes(maker *m, grammar_set s, int32_t next) {
    int32_t other = -1, controls = -1;
    for (size_t i = 0; i + 1 < sizeof SHORT_ESCAPES; i += 2) {
        uint8_t c = (uint8_t)SHORT_ESCAPES[i];
        if (in_set(s, (uint8_t)SHORT_ESCAPES[i + 1]))
            other = add_split(m, other, add_bytes(m, c, c, next));
    }
    for (uint32_t high = 0; high < 2; high++) {
        int32_t last = add_last_digit(m, s, high, next);
        if (last >= 0)
            controls = add_split(m, controls, add_bytes(m, '0' + high, '0' + high, last));
    }
    if (controls >= 0) other = add_split(m, other, add_text(m, STR("u00"), controls));
    return other < 0 ? -1 : add_bytes(m, '\\', '\\', other);
}

/* Inside a JSON string: quotes, backslashes and control characters are escaped, the rest is not. */
static int32_t add_json_chars(maker *m, grammar_set s, int32_t next) {
    static const uint32_t plain[][2] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}};
    int32_t other = add_escapes(m, s, next);
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

/* Nodes [n] that are jumps to what is not yet there; the number of the first. */
static int32_t add_jumps(maker *m, size_t n) {
    int32_t first = (int32_t)m->net->nodes.len;
    for (size_t i = 0; i < n && !m->full; i++) add(m, (grammar_node){GRAMMAR_OP_SPLIT, 0, 0, 0, 0});
    return first;
}

static void set_jump(maker *m, int32_t node, int32_t to) {
    if (m->full) return;
    m->net->nodes.items[node].next = m->net->nodes.items[node].other = to;
}

static int32_t add_dfa(maker *m, const grammar_dfa *d, int32_t next) {
    int32_t first = add_jumps(m, d->n);
    for (size_t i = 0; i < d->n && !m->full; i++) {
        int32_t at = d->accepts[i] ? next : -1;
        for (uint32_t k = d->first[i]; k < d->first[i + 1]; k++)
            at = add_split(m, at,
                           add_bytes(m, d->edges[k].lo, d->edges[k].hi, first + d->edges[k].to));
        set_jump(m, first + (int32_t)i, at);
    }
    return first;
}

/* A state for each remainder of the digits so far. */
static int32_t add_multiple(maker *m, int32_t of, int32_t next) {
    int32_t first = add_jumps(m, (size_t)of), start = -1;
    for (int32_t i = 0; i < of && !m->full; i++) {
        int32_t at = -1;
        for (int32_t d = 0; d < 10; d++)
            at = add_split(m, at,
                           add_bytes(m, '0' + (uint32_t)d, '0' + (uint32_t)d,
                                     first + (int32_t)(((int64_t)i * 10 + d) % of)));
        if (i == 0) start = at;
        set_jump(m, first + i, i == 0 ? add_split(m, at, next) : at);
    }
    return m->full ? 0 : start;
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
        at = m->inlined ? add_expr(m, m->inlined->rules.items[x->rule], next)
                        : add(m, (grammar_node){GRAMMAR_OP_CALL, 0, 0, next, x->rule});
        break;
    case GRAMMAR_DFA:
        at = add_dfa(m, x->dfa, next);
        break;
    case GRAMMAR_MULTIPLE:
        at = add_multiple(m, x->min, next);
        break;
    }
    m->depth--;
    return at;
}

/* ---- left recursion ---- */

/* What rules do before their first byte. */
typedef struct first_look {
    const grammar_net *net;
    bool *nullable; /* [rules] */
    uint32_t *seen; /* [nodes] number of the last look that was here */
    uint32_t look;
    uint64_t n_visited; /* nodes, in all looks */
    VEC(int32_t) todo;
    VEC(int32_t) calls; /* stack of rules called, see has_cycle */
} first_look;

/* True when a RETURN can be reached without a byte. With `note` the rules called are pushed. */
static bool look_from(first_look *f, int32_t rule, bool note) {
    bool ends = false;
    f->look++;
    VEC_CLEAR(f->todo);
    VEC_PUSH(f->todo, f->net->starts.items[rule]);
    while (f->todo.len > 0) {
        int32_t i = VEC_POP(f->todo);
        if (f->seen[i] == f->look) continue;
        f->seen[i] = f->look;
        f->n_visited++;
        const grammar_node *n = &f->net->nodes.items[i];
        if (n->op == GRAMMAR_OP_RETURN) ends = true;
        if (n->op == GRAMMAR_OP_SPLIT) {
            VEC_PUSH(f->todo, n->next);
            VEC_PUSH(f->todo, n->other);
        }
        if (n->op == GRAMMAR_OP_CALL) {
            if (note) VEC_PUSH(f->calls, n->other);
            if (f->nullable[n->other]) VEC_PUSH(f->todo, n->next);
        }
    }
    return ends;
}

/* Until nothing changes; forwards and backwards in turn, since rules mostly call neighbours.
 * False: it takes too long. */
static bool find_nullable(first_look *f) {
    size_t n = f->net->starts.len;
    bool changed = true;
    for (bool back = true; changed; back = !back) {
        changed = false;
        for (size_t i = 0; i < n; i++) {
            size_t k = back ? n - 1 - i : i;
            if (f->n_visited > LIMIT_GRAMMAR_LOOKS) return false;
            if (f->nullable[k] || !look_from(f, (int32_t)k, false)) continue;
            f->nullable[k] = changed = true;
        }
    }
    return true;
}

/* A rule on the path of has_cycle, and its calls: [from, VEC end) of first_look.calls. */
typedef struct on_path {
    int32_t rule;
    size_t from;
} on_path;

/* Whether a rule comes back to itself before a byte; visits depth first. */
static bool has_cycle(first_look *f) {
    size_t n = f->net->starts.len;
    uint8_t *state = mem_zalloc(n); /* 1 = on the path, 2 = done */
    VEC(on_path) path = {0};
    bool found = false;
    for (size_t start = 0; start < n && !found; start++) {
        VEC_CLEAR(f->calls);
        if (state[start] == 0) VEC_PUSH(f->calls, (int32_t)start);
        while (!found && (f->calls.len > 0 || path.len > 0)) {
            if (path.len > 0 && f->calls.len == VEC_LAST(path).from) {
                state[VEC_POP(path).rule] = 2;
                continue;
            }
            if (f->calls.len == 0) break;
            int32_t rule = VEC_POP(f->calls);
            found = state[rule] == 1;
            if (state[rule] != 0) continue;
            state[rule] = 1;
            VEC_PUSH(path, (on_path){rule, f->calls.len});
            look_from(f, rule, true);
        }
    }
    VEC_FINISH(path);
    mem_free(state);
    return found;
}

typedef enum recursion { RECURSION_FINE, RECURSION_LEFT, RECURSION_UNKNOWN } recursion;

static recursion check_recursion(const grammar_net *net) {
    first_look f = {.net = net,
                    .nullable = mem_zalloc(net->starts.len),
                    .seen = mem_calloc(net->nodes.len, sizeof(uint32_t))};
    recursion found = RECURSION_UNKNOWN;
    if (find_nullable(&f)) found = has_cycle(&f) ? RECURSION_LEFT : RECURSION_FINE;
    VEC_FINISH(f.todo);
    VEC_FINISH(f.calls);
    mem_free(f.seen);
    mem_free(f.nullable);
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
    recursion found = m.full ? RECURSION_UNKNOWN : check_recursion(&net);
    if (found == RECURSION_FINE) {
        *ret = net;
        return ERR_OK;
    }
    grammar_net_finish(&net);
    if (found == RECURSION_LEFT)
        FAIL(e, INVALID, "a rule begins with itself before any character (left recursion)");
    FAIL(e, LIMIT, "the grammar is too large: more than %u states, or nested more than %d deep",
         LIMIT_GRAMMAR_NODES, LIMIT_GRAMMAR_DEPTH);
}

bool grammar_build_inline(const grammar_builder *b, const grammar_expr *x, grammar_net *ret) {
    grammar_net net = {0};
    maker m = {.net = &net, .inlined = b};
    add(&m, (grammar_node){GRAMMAR_OP_RETURN, 0, 0, 0, 0});
    int32_t start = add_expr(&m, x, 0);
    VEC_PUSH(net.starts, start);
    if (m.full)
        grammar_net_finish(&net);
    else
        *ret = net;
    return !m.full;
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
