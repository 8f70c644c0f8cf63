/* Reading inputs and setting outputs. Inputs are found by their place in the row. */
#include "flow/call.h"
#include "base/limits.h"
#include "flow/call_impl.h"
#include <assert.h>
#include <string.h>

static ptrdiff_t input_at(const flow_call *c, const char *name) {
    for (size_t i = 0; c->def->inputs[i].name; i++)
        if (strcmp(c->def->inputs[i].name, name) == 0) return (ptrdiff_t)i;
    return -1;
}

flow_value *flow_in(const flow_call *c, const char *name) {
    ptrdiff_t i = input_at(c, name);
    flow_value *v = i < 0 ? NULL : c->in[i];
    return v && flow_value_kind(v) != FLOW_NONE ? v : NULL;
}

static err_code need(const flow_call *c, const char *name, flow_value **ret, err *e) {
    *ret = flow_in(c, name);
    if (!*ret) FAIL(e, INVALID, "%s: there is no value", name);
    return ERR_OK;
}

static err_code need_number(const flow_call *c, const char *name, flow_value **ret, err *e) {
    TRY(need(c, name, ret, e));
    flow_kind k = flow_value_kind(*ret);
    if (k != FLOW_INT && k != FLOW_FLOAT && k != FLOW_BOOL)
        FAIL(e, INVALID, "%s: the value is not a number", name);
    return ERR_OK;
}

err_code flow_in_int(const flow_call *c, const char *name, int64_t *ret_v, err *e) {
    flow_value *v;
    TRY(need_number(c, name, &v, e));
    *ret_v = flow_value_as_int(v);
    return ERR_OK;
}

err_code flow_in_u64(const flow_call *c, const char *name, uint64_t *ret_v, err *e) {
    flow_value *v;
    TRY(need_number(c, name, &v, e));
    *ret_v = flow_value_as_u64(v);
    return ERR_OK;
}

err_code flow_in_float(const flow_call *c, const char *name, double *ret_v, err *e) {
    flow_value *v;
    TRY(need_number(c, name, &v, e));
    *ret_v = flow_value_as_float(v);
    return ERR_OK;
}

err_code flow_in_bool(const flow_call *c, const char *name, bool *ret_v, err *e) {
    flow_value *v;
    TRY(need_number(c, name, &v, e));
    *ret_v = flow_value_as_bool(v);
    return ERR_OK;
}

err_code flow_in_text(const flow_call *c, const char *name, str *ret_v, err *e) {
    flow_value *v;
    TRY(need(c, name, &v, e));
    if (flow_value_kind(v) != FLOW_TEXT) FAIL(e, INVALID, "%s: the value is not text", name);
    *ret_v = flow_value_as_text(v);
    return ERR_OK;
}

err_code flow_in_object(const flow_call *c, const char *name, const char *type, void **ret_v,
                        err *e) {
    flow_value *v;
    TRY(need(c, name, &v, e));
    void *p = flow_value_as_object(v, type);
    if (!p) FAIL(e, INVALID, "%s: the value is not of type %s", name, type);
    *ret_v = p;
    return ERR_OK;
}

const value *flow_in_data(const flow_call *c, const char *name) {
    flow_value *v = flow_in(c, name);
    return v ? flow_value_as_data(v) : NULL;
}

void flow_out(flow_call *c, size_t i, flow_value *v) {
    assert(i < flow_def_outputs(c->def));
    flow_value_unref(&c->out[i]);
    c->out[i] = v;
}

err_code flow_out_text(flow_call *c, size_t i, buf *b, err *e) {
    size_t n = b->len;
    if (n <= LIMIT_FLOW_TEXT_BYTES) flow_out(c, i, flow_value_text(buf_str(b)));
    buf_finish(b);
    if (n > LIMIT_FLOW_TEXT_BYTES)
        FAIL(e, LIMIT, "a text of %zu bytes; at most %u are possible", n, LIMIT_FLOW_TEXT_BYTES);
    return ERR_OK;
}

void flow_out_ui(flow_call *c, const char *key, value *item) {
    if (!c->ui) c->ui = value_map(c->mem);
    value *list = value_get(c->ui, str_from(key));
    if (!list) {
        list = value_list(c->mem);
        value_add(c->mem, c->ui, str_from(key), list);
    }
    value_push(c->mem, list, item);
}

arena *flow_call_arena(flow_call *c) {
    return c->mem;
}

bool flow_interrupted(const flow_call *c) {
    return c->watch.interrupted && c->watch.interrupted(c->watch.ctx);
}

err_code flow_progress(flow_call *c, int64_t done, int64_t total, err *e) {
    if (flow_interrupted(c)) FAIL(e, CANCELLED, "interrupted");
    if (c->watch.progress) c->watch.progress(c->watch.ctx, done, total);
    return ERR_OK;
}

void flow_preview(flow_call *c, const void *picture) {
    if (c->watch.preview) c->watch.preview(c->watch.ctx, picture);
}

void flow_call_need(flow_call *c, const char *input) {
    ptrdiff_t i = input_at(c, input);
    if (i >= 0 && c->needed) c->needed[i] = 1;
}

void flow_call_fingerprint(flow_call *c, str text) {
    buf_put_str(&c->fingerprint, text);
}

void *flow_call_env(const flow_call *c) {
    return c->env;
}

str flow_call_node_id(const flow_call *c) {
    return c->node_id;
}

const flow_def *flow_call_def(const flow_call *c) {
    return c->def;
}

void flow_call_finish(flow_call *c) {
    buf_finish(&c->fingerprint);
}
