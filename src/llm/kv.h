/* Paged KV memory with shared prefixes.
 *
 * A pool of pages of page_tokens tokens each; a sequence owns a table of page numbers. Computed
 * pages are found again by the tokens they hold (a tree: page = node, child key = its token ids),
 * so a prompt that shares a prefix with anything computed before starts after it, even in the
 * middle of a page. Pages are reference counted; a page that several hold is never written: the
 * writer gets a copy first. Unreferenced pages stay as cache until room is needed, least recently
 * used first. Nothing is divided by slots; a context grows page by page.
 * Owner: whoever created the pool; sequences end before it. Threads: the one that runs steps. */
#pragma once
#include "dev/dev.h"

typedef struct llm_kv llm_kv;
typedef struct llm_kv_seq llm_kv_seq;

enum { LLM_KV_PAGE_TOKENS = DEV_KV_PAGE_TOKENS };

/* Reserves max_pages pages of device memory; the CPU device commits memory as pages are first used,
 * so resident memory follows use. INVALID: impossible shape; DEVICE_NOMEM. */
err_code llm_kv_create(dev *d, const dev_kv_shape *shape, int32_t max_pages, llm_kv **ret, err *e);
void llm_kv_destroy(llm_kv **kv); /* NULL and *kv == NULL allowed; all sequences are gone */
const dev_kv_shape *llm_kv_get_shape(const llm_kv *kv);
void *llm_kv_pool(const llm_kv *kv);           /* dev_step.kv_pool */
int32_t llm_kv_pages_free(const llm_kv *kv);   /* free or only cached: what new tokens can have */
int32_t llm_kv_pages_total(const llm_kv *kv);  /* the limit */
int32_t llm_kv_pages_cached(const llm_kv *kv); /* unreferenced, kept for their prefix */

/* How many pages may be in use and cached together (at first: all). Cached pages beyond it are
 * forgotten; pages in use stay, and nothing new is given out until they are few enough. */
void llm_kv_set_limit(llm_kv *kv, int32_t n_pages);

/* Forgets all cached pages nobody references (a test, or memory pressure). */
void llm_kv_drop_cache(llm_kv *kv);

/* Starts a sequence on the longest cached prefix of ids[0, n): *ret_n_cached tokens need no
 * computing. At most n - 1, so that the last prompt token is always evaluated. The sequence's
 * length is *ret_n_cached; append the rest. Never fails and takes no new page. */
llm_kv_seq *llm_kv_seq_create(llm_kv *kv, const int32_t *ids, int32_t n, int32_t *ret_n_cached);
void llm_kv_seq_destroy(llm_kv_seq **s); /* committed pages stay cached; NULL allowed */

/* Makes room for n more tokens (appends their ids). DEVICE_NOMEM if the pool is exhausted; the
 * sequence is then unchanged. */
err_code llm_kv_seq_append(llm_kv_seq *s, const int32_t *ids, int32_t n, err *e);
/* Marks everything appended as computed: full pages become shareable. Call after each step. */
void llm_kv_seq_commit(llm_kv_seq *s);
/* Forgets tokens beyond n (a cancelled or failed step, a stop string); 0 <= n <= length. */
void llm_kv_seq_truncate(llm_kv_seq *s, int32_t n);

int32_t llm_kv_seq_len(const llm_kv_seq *s);          /* tokens, appended ones included */
const int32_t *llm_kv_seq_pages(const llm_kv_seq *s); /* [ceil(len / page_tokens)], until the next
                                                         append, commit or truncate */
