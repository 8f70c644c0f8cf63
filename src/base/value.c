/* Building and reading plain data values. */
#include "base/value.h"
#include <assert.h>
#include <string.h>

static value *make(arena *a, value_kind kind) {
    value *v = ARENA_NEW(a, value);
    v->kind = kind;
    return v;
}

value *value_null(arena *a) {
    return make(a, VALUE_NULL);
}

value *value_bool(arena *a, bool b) {
    value *v = make(a, VALUE_BOOL);
    v->as.boolean = b;
    return v;
}

value *value_int(arena *a, int64_t i) {
    value *v = make(a, VALUE_INT);
    v->as.integer = i;
    return v;
}

value *value_float(arena *a, double d) {
    value *v = make(a, VALUE_FLOAT);
    v->as.number = d;
    return v;
}

value *value_str(arena *a, str text) {
    value *v = make(a, VALUE_STR);
    v->as.text = str_dup(a, text);
    return v;
}

value *value_list(arena *a) {
    return make(a, VALUE_LIST);
}

value *value_map(arena *a) {
    return make(a, VALUE_MAP);
}

void value_push(arena *a, value *list, value *item) {
    assert(list->kind == VALUE_LIST);
    if (list->as.list.len == list->as.list.cap) {
        size_t cap = list->as.list.cap ? list->as.list.cap * 2 : 4;
        value **items = ARENA_ARRAY(a, value *, cap);
        if (list->as.list.len)
            memcpy(items, list->as.list.items, list->as.list.len * sizeof *items);
        list->as.list.items = items;
        list->as.list.cap = cap;
    }
    list->as.list.items[list->as.list.len++] = item;
}

void value_add(arena *a, value *map, str key, value *val) {
    assert(map->kind == VALUE_MAP);
    if (map->as.map.len == map->as.map.cap) {
        size_t cap = map->as.map.cap ? map->as.map.cap * 2 : 4;
        value_pair *pairs = ARENA_ARRAY(a, value_pair, cap);
        if (map->as.map.len) memcpy(pairs, map->as.map.pairs, map->as.map.len * sizeof *pairs);
        map->as.map.pairs = pairs;
        map->as.map.cap = cap;
    }
    map->as.map.pairs[map->as.map.len++] = (value_pair){str_dup(a, key), val};
}

void value_set(arena *a, value *map, str key, value *val) {
    assert(map->kind == VALUE_MAP);
    for (size_t i = 0; i < map->as.map.len; i++) {
        if (!str_eq(map->as.map.pairs[i].key, key)) continue;
        map->as.map.pairs[i].val = val;
        return;
    }
    value_add(a, map, key, val);
}

value *value_get(const value *map, str key) {
    if (!map || map->kind != VALUE_MAP) return NULL;
    for (size_t i = 0; i < map->as.map.len; i++)
        if (str_eq(map->as.map.pairs[i].key, key)) return map->as.map.pairs[i].val;
    return NULL;
}

value *value_copy(arena *a, const value *v) {
    value *to = arena_dup(a, v, sizeof *v);
    if (v->kind == VALUE_STR) {
        to->as.text = str_dup(a, v->as.text);
    } else if (v->kind == VALUE_LIST) {
        to->as.list.items = ARENA_ARRAY(a, value *, v->as.list.len + 1);
        to->as.list.cap = v->as.list.len + 1;
        for (size_t i = 0; i < v->as.list.len; i++)
            to->as.list.items[i] = value_copy(a, v->as.list.items[i]);
    } else if (v->kind == VALUE_MAP) {
        to->as.map.pairs = ARENA_ARRAY(a, value_pair, v->as.map.len + 1);
        to->as.map.cap = v->as.map.len + 1;
        for (size_t i = 0; i < v->as.map.len; i++)
            to->as.map.pairs[i] = (value_pair){str_dup(a, v->as.map.pairs[i].key),
                                               value_copy(a, v->as.map.pairs[i].val)};
    }
    return to;
}
