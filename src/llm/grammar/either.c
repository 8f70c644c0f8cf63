/* Two grammars as one: what either of them allows. Their networks are put side by side under a new
 * start. */
#include "base/limits.h"
#include "llm/grammar/match.h"

/* Copies a network behind what is there; the number of its first rule. Node 0 is RETURN in both. */
static int32_t append(grammar_net *to, const grammar_net *from) {
    int32_t nodes = (int32_t)to->nodes.len - 1, rules = (int32_t)to->starts.len;
    for (size_t i = 1; i < from->nodes.len; i++) {
        grammar_node n = from->nodes.items[i];
        if (n.op != GRAMMAR_OP_RETURN && n.next > 0) n.next += nodes;
        if (n.op == GRAMMAR_OP_SPLIT && n.other > 0) n.other += nodes;
        if (n.op == GRAMMAR_OP_CALL) n.other += rules;
        VEC_PUSH(to->nodes, n);
    }
    for (size_t i = 0; i < from->starts.len; i++) {
        int32_t start = from->starts.items[i];
        VEC_PUSH(to->starts, start > 0 ? start + nodes : 0);
    }
    return rules;
}

err_code grammar_either(grammar **a, const grammar *b, err *e) {
    const grammar_net *x = &(*a)->net, *y = &b->net;
    if (x->nodes.len + y->nodes.len > LIMIT_GRAMMAR_NODES ||
        x->starts.len + y->starts.len > LIMIT_GRAMMAR_RULES)
        FAIL(e, LIMIT,
             "the format and the calls of tools are too large together: more than %d "
             "states or %d rules",
             LIMIT_GRAMMAR_NODES, LIMIT_GRAMMAR_RULES);
    grammar_net net = {0};
    VEC_PUSH(net.nodes, ((grammar_node){GRAMMAR_OP_RETURN, 0, 0, 0, 0}));
    VEC_PUSH(net.starts, 0);
    int32_t first = append(&net, x), second = append(&net, y);
    int32_t at = (int32_t)net.nodes.len;
    VEC_PUSH(net.nodes, ((grammar_node){GRAMMAR_OP_CALL, 0, 0, 0, first}));
    VEC_PUSH(net.nodes, ((grammar_node){GRAMMAR_OP_CALL, 0, 0, 0, second}));
    VEC_PUSH(net.nodes, ((grammar_node){GRAMMAR_OP_SPLIT, 0, 0, at, at + 1}));
    net.starts.items[0] = at + 2;
    grammar_destroy(a);
    *a = grammar_over(&net);
    return ERR_OK;
}
