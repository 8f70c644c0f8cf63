/* Paged KV memory: pages, the prefix tree, copies on write.
 *
 * A page is in one of these states: on the free stack; private to one sequence (refs 1, not in the
 * tree); in the tree and referenced; in the tree and unreferenced, then on the LRU list.
 * Invariants:
 * - A sequence that references a tree page references all its ancestors, and lets go of its pages
 *   last first. So the oldest page of the LRU list never has children, and evicting it is safe.
 * - Only private pages are written. A sequence whose last, partly filled page is in the tree
 *   copies it when it appends.
 * - A page in the tree with fewer than page_tokens tokens has no children.
 * Threads: the one that runs steps. */
#include "llm/kv.h"
#include "base/limits.h"
#include "base/vec.h"
#include <assert.h>
#include <string.h>

enum { PT = LLM_KV_PAGE_TOKENS, NONE = -1, ROOT = -1 };

typedef struct kv_page {
    int32_t refs;
    int32_t n_tok; /* tokens known to be in it, as a tree node */
    bool in_tree;
    int32_t parent;             /* page, or ROOT */
    int32_t child;              /* first child, newest first */
    int32_t sib_prev, sib_next; /* among the parent's children */
    int32_t lru_prev, lru_next; /* prev is older */
    int32_t ids[PT];
} kv_page;

struct llm_kv {
    dev *d;
    dev_buffer mem;
    dev_kv_shape shape;
    uint64_t page_bytes;
    int32_t n_pages; /* in the pool */
    int32_t limit;   /* how many of them may hold something */
    kv_page *pages;
    int32_t *free; /* stack; the top is used next, so that low numbers are used first */
    int32_t n_free;
    int32_t root_child;
    int32_t lru_oldest, lru_newest, n_lru;
    int32_t n_seqs;
};

struct llm_kv_seq {
    llm_kv *kv;
    int32_t n_done; /* committed tokens */
    int32_t n_pub;  /* pages [0, n_pub) are tree pages that follow each other */
    VEC(int32_t) ids;
    VEC(int32_t) pages;
};

err_code llm_kv_create(dev *d, const dev_kv_shape *shape, int32_t max_pages, llm_kv **ret, err *e) {
    uint64_t page_bytes = dev_kv_page_bytes(shape);
    if (shape->page_tokens != PT || page_bytes == 0 || max_pages < 1)
        FAIL(e, INVALID, "KV pool of %d pages of %d tokens (%llu bytes each) is impossible",
             max_pages, shape->page_tokens, (unsigned long long)page_bytes);
    if (page_bytes > UINT64_MAX / (uint64_t)max_pages ||
        max_pages > (int32_t)(LIMIT_CTX_TOKENS / PT))
        FAIL(e, LIMIT, "KV pool of %d pages of %llu bytes is too large", max_pages,
             (unsigned long long)page_bytes);
    llm_kv *kv = NEW(llm_kv);
    kv->d = d;
    kv->shape = *shape;
    kv->page_bytes = page_bytes;
    kv->n_pages = kv->limit = max_pages;
    err_code code = dev_reserve(d, page_bytes * (uint64_t)max_pages, &kv->mem, e);
    if (code != ERR_OK) {
        mem_free(kv);
        return code;
    }
    kv->pages = NEW_ARRAY(kv_page, (size_t)max_pages);
    kv->free = NEW_ARRAY(int32_t, (size_t)max_pages);
    kv->n_free = max_pages;
    for (int32_t i = 0; i < max_pages; i++) kv->free[i] = max_pages - 1 - i;
    kv->root_child = kv->lru_oldest = kv->lru_newest = NONE;
    *ret = kv;
    return ERR_OK;
}

void llm_kv_destroy(llm_kv **kv) {
    if (!kv || !*kv) return;
    assert((*kv)->n_seqs == 0);
    dev_free((*kv)->d, &(*kv)->mem);
    mem_free((*kv)->pages);
    mem_free((*kv)->free);
    mem_free(*kv);
    *kv = NULL;
}

const dev_kv_shape *llm_kv_get_shape(const llm_kv *kv) {
    return &kv->shape;
}
void *llm_kv_pool(const llm_kv *kv) {
    return kv->mem.ptr;
}
int32_t llm_kv_pages_free(const llm_kv *kv) {
    int32_t in_use = kv->n_pages - kv->n_free - kv->n_lru;
    return kv->limit > in_use ? kv->limit - in_use : 0;
}
int32_t llm_kv_pages_total(const llm_kv *kv) {
    return kv->limit;
}
int32_t llm_kv_pages_cached(const llm_kv *kv) {
    return kv->n_lru;
}

/* ---- the LRU list of unreferenced tree pages ---- */

static void lru_push_newest(llm_kv *kv, int32_t p) {
    kv_page *pg = &kv->pages[p];
    pg->lru_prev = kv->lru_newest;
    pg->lru_next = NONE;
    if (kv->lru_newest != NONE)
        kv->pages[kv->lru_newest].lru_next = p;
    else
        kv->lru_oldest = p;
    kv->lru_newest = p;
    kv->n_lru++;
}

static void lru_remove(llm_kv *kv, int32_t p) {
    kv_page *pg = &kv->pages[p];
    if (pg->lru_prev != NONE)
        kv->pages[pg->lru_prev].lru_next = pg->lru_next;
    else
        kv->lru_oldest = pg->lru_next;
    if (pg->lru_next != NONE)
        kv->pages[pg->lru_next].lru_prev = pg->lru_prev;
    else
        kv->lru_newest = pg->lru_prev;
    kv->n_lru--;
}

/* ---- the tree ---- */

static int32_t *first_child(llm_kv *kv, int32_t parent) {
    return parent == ROOT ? &kv->root_child : &kv->pages[parent].child;
}

static void tree_insert(llm_kv *kv, int32_t parent, int32_t p, const int32_t *ids, int32_t n_tok) {
    kv_page *pg = &kv->pages[p];
    assert(!pg->in_tree && n_tok >= 1 && n_tok <= PT);
    int32_t *first = first_child(kv, parent);
    memcpy(pg->ids, ids, (size_t)n_tok * sizeof *ids);
    pg->n_tok = n_tok;
    pg->in_tree = true;
    pg->parent = parent;
    pg->child = NONE;
    pg->sib_prev = NONE;
    pg->sib_next = *first;
    if (*first != NONE) kv->pages[*first].sib_prev = p;
    *first = p;
}

static void tree_remove(llm_kv *kv, int32_t p) {
    kv_page *pg = &kv->pages[p];
    assert(pg->in_tree && pg->child == NONE);
    if (pg->sib_prev != NONE)
        kv->pages[pg->sib_prev].sib_next = pg->sib_next;
    else
        *first_child(kv, pg->parent) = pg->sib_next;
    if (pg->sib_next != NONE) kv->pages[pg->sib_next].sib_prev = pg->sib_prev;
    pg->in_tree = false;
}

/* Moves a child that was just found to the front, so that hot prefixes are found fast. */
static void tree_touch(llm_kv *kv, int32_t p) {
    kv_page *pg = &kv->pages[p];
    if (pg->sib_prev == NONE) return;
    int32_t *first = first_child(kv, pg->parent);
    kv->pages[pg->sib_prev].sib_next = pg->sib_next;
    if (pg->sib_next != NONE) kv->pages[pg->sib_next].sib_prev = pg->sib_prev;
    pg->sib_prev = NONE;
    pg->sib_next = *first;
    kv->pages[*first].sib_prev = p;
    *first = p;
}

static int32_t common_prefix(const int32_t *a, const int32_t *b, int32_t n) {
    int32_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

/* The child of `parent` that begins with most of ids[0, n), n <= PT; *ret_n of them. */
static int32_t tree_find(llm_kv *kv, int32_t parent, const int32_t *ids, int32_t n,
                         int32_t *ret_n) {
    int32_t best = NONE, best_n = 0;
    for (int32_t p = *first_child(kv, parent); p != NONE; p = kv->pages[p].sib_next) {
        const kv_page *pg = &kv->pages[p];
        if (pg->ids[0] != ids[0]) continue;
        int32_t same = common_prefix(pg->ids, ids, n < pg->n_tok ? n : pg->n_tok);
        if (same > best_n) {
            best = p;
            best_n = same;
        }
        if (same == n) break;
    }
    if (best != NONE) tree_touch(kv, best);
    *ret_n = best_n;
    return best;
}

/* ---- pages ---- */

static int32_t page_take(llm_kv *kv) {
    int32_t p;
    if (kv->n_pages - kv->n_free < kv->limit) {
        p = kv->free[--kv->n_free];
    } else {
        p = kv->lru_oldest;
        assert(p != NONE); /* the caller looked at llm_kv_pages_free */
        lru_remove(kv, p);
        tree_remove(kv, p);
    }
    kv->pages[p].refs = 1;
    return p;
}

static void page_ref(llm_kv *kv, int32_t p) {
    assert(kv->pages[p].in_tree);
    if (kv->pages[p].refs++ == 0) lru_remove(kv, p);
}

static void page_unref(llm_kv *kv, int32_t p) {
    kv_page *pg = &kv->pages[p];
    assert(pg->refs > 0);
    if (--pg->refs > 0) return;
    if (pg->in_tree)
        lru_push_newest(kv, p);
    else
        kv->free[kv->n_free++] = p;
}

static void forget_oldest(llm_kv *kv) {
    int32_t p = kv->lru_oldest;
    lru_remove(kv, p);
    tree_remove(kv, p);
    kv->free[kv->n_free++] = p;
}

void llm_kv_drop_cache(llm_kv *kv) {
    while (kv->lru_oldest != NONE) forget_oldest(kv);
}

void llm_kv_set_limit(llm_kv *kv, int32_t n_pages) {
    kv->limit = n_pages < kv->n_pages ? n_pages : kv->n_pages;
    while (kv->lru_oldest != NONE && kv->n_pages - kv->n_free > kv->limit) forget_oldest(kv);
}

/* ---- sequences ---- */

static int32_t pages_for(int32_t n_tok) {
    return (n_tok + PT - 1) / PT;
}

static int32_t last_published(const llm_kv_seq *s) {
    return s->n_pub > 0 ? s->pages.items[s->n_pub - 1] : ROOT;
}

llm_kv_seq *llm_kv_seq_create(llm_kv *kv, const int32_t *ids, int32_t n, int32_t *ret_n_cached) {
    llm_kv_seq *s = NEW(llm_kv_seq);
    s->kv = kv;
    kv->n_seqs++;
    int32_t done = 0;
    while (done < n - 1) {
        int32_t want = n - 1 - done < PT ? n - 1 - done : PT, got;
        int32_t p = tree_find(kv, last_published(s), ids + done, want, &got);
        if (p == NONE) break;
        page_ref(kv, p);
        VEC_PUSH(s->pages, p);
        s->n_pub++;
        done += got;
        if (got < PT) break; /* the page is copied when something is appended */
    }
    VEC_RESERVE(s->ids, (size_t)(n > 0 ? n : 1));
    if (done > 0) memcpy(s->ids.items, ids, (size_t)done * sizeof *ids);
    s->ids.len = (size_t)done;
    s->n_done = done;
    *ret_n_cached = done;
    return s;
}

err_code llm_kv_seq_append(llm_kv_seq *s, const int32_t *ids, int32_t n, err *e) {
    llm_kv *kv = s->kv;
    int32_t len = (int32_t)s->ids.len;
    assert(n >= 0);
    if (n == 0) return ERR_OK;
    if (n > (int32_t)LIMIT_CTX_TOKENS - len)
        FAIL(e, LIMIT, "a sequence of %d and %d more tokens is too long", len, n);
    int32_t tail = len % PT != 0 ? s->pages.items[s->pages.len - 1] : NONE;
    bool copy = tail != NONE && kv->pages[tail].in_tree;
    int32_t fresh = pages_for(len + n) - (int32_t)s->pages.len + (copy ? 1 : 0);
    if (fresh > llm_kv_pages_free(kv))
        FAIL(e, DEVICE_NOMEM,
             "%d more tokens need %d KV pages and %d of %d are free: use a smaller num_ctx or "
             "fewer requests at once",
             n, fresh, llm_kv_pages_free(kv), kv->limit);
    if (copy) {
        int32_t p = page_take(kv); /* cannot evict the tail: this sequence references it */
        unsigned char *base = kv->mem.ptr;
        memcpy(base + kv->page_bytes * (uint64_t)p, base + kv->page_bytes * (uint64_t)tail,
               kv->page_bytes);
        page_unref(kv, tail);
        s->pages.items[s->pages.len - 1] = p;
        s->n_pub = (int32_t)s->pages.len - 1;
    }
    while ((int32_t)s->pages.len < pages_for(len + n)) VEC_PUSH(s->pages, page_take(kv));
    VEC_RESERVE(s->ids, (size_t)(len + n));
    memcpy(s->ids.items + len, ids, (size_t)n * sizeof *ids);
    s->ids.len = (size_t)(len + n);
    return ERR_OK;
}

/* Puts page number `i` of the sequence, holding n_tok tokens, into the tree; if the same tokens are
 * there already, that page takes its place. */
static void publish(llm_kv_seq *s, int32_t i, int32_t n_tok) {
    llm_kv *kv = s->kv;
    const int32_t *ids = s->ids.items + (size_t)i * PT;
    int32_t parent = last_published(s), got;
    int32_t twin = tree_find(kv, parent, ids, n_tok, &got);
    if (twin != NONE && got == n_tok) {
        int32_t own = s->pages.items[i];
        page_ref(kv, twin);
        s->pages.items[i] = twin;
        page_unref(kv, own);
    } else {
        tree_insert(kv, parent, s->pages.items[i], ids, n_tok);
    }
    s->n_pub = i + 1;
}

void llm_kv_seq_commit(llm_kv_seq *s) {
    s->n_done = (int32_t)s->ids.len;
    while ((s->n_pub + 1) * PT <= s->n_done) publish(s, s->n_pub, PT);
}

void llm_kv_seq_truncate(llm_kv_seq *s, int32_t n) {
    assert(n >= 0 && n <= (int32_t)s->ids.len);
    while ((int32_t)s->pages.len > pages_for(n)) page_unref(s->kv, VEC_POP(s->pages));
    s->ids.len = (size_t)n;
    if (s->n_done > n) s->n_done = n;
    if (s->n_pub > (int32_t)s->pages.len) s->n_pub = (int32_t)s->pages.len;
}

void llm_kv_seq_destroy(llm_kv_seq **s) {
    if (!s || !*s) return;
    llm_kv_seq *q = *s;
    llm_kv_seq_truncate(q, q->n_done);
    int32_t rest = q->n_done - q->n_pub * PT; /* of a last page only this sequence has */
    if (rest > 0 && q->n_pub < (int32_t)q->pages.len) publish(q, q->n_pub, rest);
    llm_kv_seq_truncate(q, 0);
    q->kv->n_seqs--;
    VEC_FINISH(q->ids);
    VEC_FINISH(q->pages);
    mem_free(q);
    *s = NULL;
}

int32_t llm_kv_seq_len(const llm_kv_seq *s) {
    return (int32_t)s->ids.len;
}
const int32_t *llm_kv_seq_pages(const llm_kv_seq *s) {
    return s->pages.items;
}
