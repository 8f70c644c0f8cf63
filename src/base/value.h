/* Plain data: null, booleans, numbers, strings, lists and ordered maps, in an arena.
 *
 * What crosses from the wire to templates and the engine: the api layer makes values from JSON,
 * chat templates read them. No functions, no cycles. A value belongs to its arena; after building
 * it is read-only and any thread may read it. */
#pragma once
#include "base/str.h"

typedef enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_FLOAT,
    VALUE_STR,
    VALUE_LIST,
    VALUE_MAP
} value_kind;

typedef struct value value;

typedef struct value_pair {
    str key;
    value *val;
} value_pair;

struct value {
    value_kind kind;
    bool trusted; /* VALUE_STR: the text comes from the model's files or from us, not from a user */
    union {
        bool boolean;
        int64_t integer;
        double number;
        str text;
        struct {
            value **items;
            size_t len, cap;
        } list;
        struct {
            value_pair *pairs; /* insertion order */
            size_t len, cap;
        } map;
    } as;
};

value *value_null(arena *a);
value *value_bool(arena *a, bool v);
value *value_int(arena *a, int64_t v);
value *value_float(arena *a, double v);
value *value_str(arena *a, str text); /* copies the bytes; not trusted */
value *value_list(arena *a);
value *value_map(arena *a);
void value_push(arena *a, value *list, value *item);
void value_set(arena *a, value *map, str key, value *val); /* replaces; copies the key */
void value_add(arena *a, value *map, str key, value *val); /* the caller knows the key is new */
value *value_get(const value *map, str key);               /* NULL when absent or not a map */
value *value_copy(arena *a, const value *v);               /* all of it, strings included */
