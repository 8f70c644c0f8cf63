/* Counted values that flow along links. Immutable once made; a list is filled by its maker before
 * anyone else sees it. The count is the only thing threads share. */
#include "flow/data.h"
#include "base/mem.h"
#include "base/vec.h"
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

typedef struct flow_object {
    const char *type;
    void *ptr;
    void (*destroy)(void *ptr);
    size_t n_bytes;
} flow_object;

struct flow_value {
    flow_kind kind;
    atomic_uint refs;
    union {
        int64_t integer;
        double number;
        bool boolean;
        str text; /* TEXT, BLOCK: mem_alloc'ed */
        struct {
            arena *mem;
            value *root;
        } data;
        VEC(flow_value *) list;
        flow_object object;
    } as;
};

static flow_value *value_new(flow_kind kind) {
    flow_value *v = NEW(flow_value);
    v->kind = kind;
    atomic_init(&v->refs, 1);
    return v;
}

flow_value *flow_value_none(void) {
    return value_new(FLOW_NONE);
}

flow_value *flow_value_int(int64_t n) {
    flow_value *v = value_new(FLOW_INT);
    v->as.integer = n;
    return v;
}

flow_value *flow_value_float(double n) {
    flow_value *v = value_new(FLOW_FLOAT);
    v->as.number = n;
    return v;
}

flow_value *flow_value_bool(bool b) {
    flow_value *v = value_new(FLOW_BOOL);
    v->as.boolean = b;
    return v;
}

static flow_value *text_new(flow_kind kind, str s) {
    flow_value *v = value_new(kind);
    char *copy = mem_alloc(s.len + 1);
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    v->as.text = (str){copy, s.len};
    return v;
}

flow_value *flow_value_text(str s) {
    return text_new(FLOW_TEXT, s);
}

flow_value *flow_value_block(str why) {
    return text_new(FLOW_BLOCK, why);
}

flow_value *flow_value_data(const value *root) {
    flow_value *v = value_new(FLOW_DATA);
    v->as.data.mem = arena_create(0);
    v->as.data.root = value_copy(v->as.data.mem, root);
    return v;
}

flow_value *flow_value_list(void) {
    return value_new(FLOW_LIST);
}

flow_value *flow_value_object(const char *type, void *ptr, void (*destroy)(void *ptr),
                              size_t n_bytes) {
    flow_value *v = value_new(FLOW_OBJECT);
    v->as.object = (flow_object){type, ptr, destroy, n_bytes};
    return v;
}

flow_value *flow_value_ref(flow_value *v) {
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void flow_value_unref(flow_value **at) {
    if (!at || !*at) return;
    flow_value *v = *at;
    *at = NULL;
    if (atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1) return;
    if (v->kind == FLOW_TEXT || v->kind == FLOW_BLOCK) {
        mem_free((void *)(uintptr_t)v->as.text.ptr);
    } else if (v->kind == FLOW_DATA) {
        arena_destroy(&v->as.data.mem);
    } else if (v->kind == FLOW_LIST) {
        for (size_t i = 0; i < v->as.list.len; i++) flow_value_unref(&v->as.list.items[i]);
        VEC_FINISH(v->as.list);
    } else if (v->kind == FLOW_OBJECT && v->as.object.destroy) {
        v->as.object.destroy(v->as.object.ptr);
    }
    mem_free(v);
}

flow_kind flow_value_kind(const flow_value *v) {
    return v->kind;
}

size_t flow_value_bytes(const flow_value *v) {
    size_t n = sizeof(*v);
    if (v->kind == FLOW_TEXT || v->kind == FLOW_BLOCK) n += v->as.text.len + 1;
    if (v->kind == FLOW_DATA) n += arena_bytes(v->as.data.mem);
    if (v->kind == FLOW_OBJECT) n += v->as.object.n_bytes;
    for (size_t i = 0; i < flow_value_len(v); i++) n += flow_value_bytes(flow_value_at(v, i));
    return n;
}

void flow_value_push(flow_value *list, flow_value *item) {
    assert(list->kind == FLOW_LIST);
    VEC_PUSH(list->as.list, item);
}

size_t flow_value_len(const flow_value *v) {
    return v->kind == FLOW_LIST ? v->as.list.len : 0;
}

flow_value *flow_value_at(const flow_value *v, size_t i) {
    assert(v->kind == FLOW_LIST && i < v->as.list.len);
    return v->as.list.items[i];
}

int64_t flow_value_as_int(const flow_value *v) {
    if (v->kind == FLOW_INT) return v->as.integer;
    if (v->kind == FLOW_BOOL) return v->as.boolean;
    if (v->kind != FLOW_FLOAT) return 0;
    double n = v->as.number;
    if (!(n > -9223372036854775808.0)) return n < 0 ? INT64_MIN : 0; /* NaN gives 0 */
    return n >= 9223372036854775808.0 ? INT64_MAX : (int64_t)n;
}

uint64_t flow_value_as_u64(const flow_value *v) {
    return (uint64_t)flow_value_as_int(v);
}

double flow_value_as_float(const flow_value *v) {
    if (v->kind == FLOW_FLOAT) return v->as.number;
    return (double)flow_value_as_int(v);
}

bool flow_value_as_bool(const flow_value *v) {
    if (v->kind == FLOW_FLOAT) return v->as.number < 0 || v->as.number > 0;
    return flow_value_as_int(v) != 0;
}

str flow_value_as_text(const flow_value *v) {
    return v->kind == FLOW_TEXT || v->kind == FLOW_BLOCK ? v->as.text : (str){0};
}

const value *flow_value_as_data(const flow_value *v) {
    return v->kind == FLOW_DATA ? v->as.data.root : NULL;
}

void *flow_value_as_object(const flow_value *v, const char *type) {
    if (v->kind != FLOW_OBJECT || strcmp(v->as.object.type, type) != 0) return NULL;
    return v->as.object.ptr;
}

const char *flow_value_object_type(const flow_value *v) {
    return v->kind == FLOW_OBJECT ? v->as.object.type : NULL;
}
