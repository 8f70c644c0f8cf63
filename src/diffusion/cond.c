/* Conditioning objects. */
#include "diffusion/cond.h"
#include "base/mem.h"
#include <stdatomic.h>

diff_floats_ref *diff_floats_new(size_t n) {
    diff_floats_ref *f = mem_zalloc(sizeof *f + n * sizeof(float));
    atomic_init(&f->refs, 1);
    f->n = n;
    return f;
}

diff_floats_ref *diff_floats_share(diff_floats_ref *f) {
    if (f) atomic_fetch_add(&f->refs, 1);
    return f;
}

void diff_floats_drop(diff_floats_ref **fp) {
    diff_floats_ref *f = *fp;
    *fp = NULL;
    if (f && atomic_fetch_sub(&f->refs, 1) == 1) mem_free(f);
}

diff_cond *diff_cond_new(void) {
    diff_cond *c = NEW(diff_cond);
    atomic_init(&c->refs, 1);
    c->strength = c->mask_strength = 1;
    c->end = 1;
    return c;
}

diff_cond *diff_cond_ref(diff_cond *c) {
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void diff_cond_unref(diff_cond **cp) {
    diff_cond *c = *cp;
    *cp = NULL;
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1) return;
    diff_floats_drop(&c->vectors);
    diff_floats_drop(&c->pooled);
    diff_floats_drop(&c->mask);
    diff_floats_drop(&c->concat);
    diff_floats_drop(&c->concat_mask);
    mem_free(c);
}

diff_cond *diff_cond_copy(const diff_cond *from) {
    diff_cond *c = mem_dup(from, sizeof *from);
    atomic_init(&c->refs, 1);
    diff_floats_share(c->vectors);
    diff_floats_share(c->pooled);
    diff_floats_share(c->mask);
    diff_floats_share(c->concat);
    diff_floats_share(c->concat_mask);
    return c;
}

diff_conds *diff_conds_new(size_t n) {
    diff_conds *l = NEW(diff_conds);
    l->n = n;
    l->items = NEW_ARRAY(diff_cond *, n ? n : 1);
    return l;
}

void diff_conds_destroy(void *conds) {
    diff_conds *l = conds;
    if (!l) return;
    for (size_t i = 0; i < l->n; i++) diff_cond_unref(&l->items[i]);
    mem_free(l->items);
    mem_free(l);
}
