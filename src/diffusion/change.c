/* The list of a model's changes to guidance. */
#include "diffusion/change.h"
#include "base/mem.h"

static diff_conds *share(const diff_conds *from) {
    if (!from) return NULL;
    diff_conds *l = diff_conds_new(from->n);
    for (size_t i = 0; i < from->n; i++) l->items[i] = diff_cond_ref(from->items[i]);
    return l;
}

err_code diff_changes_add(diff_changes *l, const diff_change *p, err *e) {
    if (l->n == DIFF_CHANGES_MAX)
        FAIL(e, LIMIT, "a model takes at most %d changes to its guidance", DIFF_CHANGES_MAX);
    l->items[l->n] = *p;
    l->items[l->n++].conds = share(p->conds);
    return ERR_OK;
}

void diff_changes_copy(const diff_changes *from, diff_changes *to) {
    *to = *from;
    for (size_t i = 0; i < to->n; i++) to->items[i].conds = share(from->items[i].conds);
}

void diff_changes_finish(diff_changes *l) {
    for (size_t i = 0; i < l->n; i++) diff_conds_destroy(l->items[i].conds);
    l->n = 0;
}

const diff_change *diff_changes_find(const diff_changes *l, diff_change_kind kind) {
    for (size_t i = l->n; i-- > 0;)
        if (l->items[i].kind == kind) return &l->items[i];
    return NULL;
}
