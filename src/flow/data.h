/* What flows along a link: a counted value of one of a few kinds.
 *
 * Numbers, text and plain data are held directly. Everything heavy (models, conditioning, latents,
 * images, samplers) is an object: a pointer with the name of its type and the function that ends
 * it; this layer never looks inside. A value is immutable after it was made, so nodes, the cache
 * and a running job may share it. Threads: counts are atomic; any thread may hold a reference.
 * Functions that make a value give the caller one reference. NULL is not a value. */
#pragma once
#include "base/value.h"

typedef enum flow_kind {
    FLOW_NONE,  /* nothing: an optional input without a link */
    FLOW_INT,   /* 64 bits; seeds use them all, see flow_value_u64 */
    FLOW_FLOAT, /* may be NaN or infinite: clients can send them */
    FLOW_BOOL,
    FLOW_TEXT,
    FLOW_DATA,   /* plain JSON-like data: hidden inputs, literal lists and objects */
    FLOW_LIST,   /* several values in order */
    FLOW_OBJECT, /* something only the nodes understand */
    FLOW_BLOCK   /* "do not run what depends on me", with an optional message */
} flow_kind;

typedef struct flow_value flow_value;

flow_value *flow_value_none(void);
flow_value *flow_value_int(int64_t v);
flow_value *flow_value_float(double v);
flow_value *flow_value_bool(bool v);
flow_value *flow_value_text(str v);          /* copies the bytes */
flow_value *flow_value_data(const value *v); /* copies all of it */
flow_value *flow_value_list(void);
flow_value *flow_value_block(str why); /* empty: silent */
/* `type` is the name nodes use, such as "LATENT", and must outlive the value (a literal). Takes
 * `ptr` over; destroy may be NULL. n_bytes is what the cache counts, an estimate is enough. */
flow_value *flow_value_object(const char *type, void *ptr, void (*destroy)(void *ptr),
                              size_t n_bytes);

flow_value *flow_value_ref(flow_value *v);
void flow_value_unref(flow_value **v); /* NULL and *v == NULL allowed; leaves *v NULL */

flow_kind flow_value_kind(const flow_value *v);
size_t flow_value_bytes(const flow_value *v); /* with everything below a list */

/* Appends to a list that nobody else holds yet; takes the reference to item over. */
void flow_value_push(flow_value *list, flow_value *item);
size_t flow_value_len(const flow_value *v);               /* 0 when not a list */
flow_value *flow_value_at(const flow_value *v, size_t i); /* borrow; i < len */

/* Reading. Numbers convert among INT, FLOAT and BOOL; others give the zero of the kind. */
int64_t flow_value_as_int(const flow_value *v);
uint64_t flow_value_as_u64(const flow_value *v); /* the bits of an INT: seeds */
double flow_value_as_float(const flow_value *v);
bool flow_value_as_bool(const flow_value *v);
str flow_value_as_text(const flow_value *v);          /* borrow; of TEXT and BLOCK */
const value *flow_value_as_data(const flow_value *v); /* borrow; NULL when not DATA */
/* The pointer of an object of exactly this type; NULL otherwise. */
void *flow_value_as_object(const flow_value *v, const char *type);
const char *flow_value_object_type(const flow_value *v); /* NULL when not an object */
