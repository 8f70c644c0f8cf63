/* Paged KV memory with shared prefixes.
 *
 * A pool of pages of page_tokens tokens each; a sequence owns a table of page numbers; full pages
 * are found again by the tokens they hold (a tree: page = node, child key = its token ids), so a
 * prompt that shares a prefix with anything computed before starts after it. Pages are reference
 * counted; unreferenced full pages stay as cache until room is needed, least recently used first.
 * Nothing is divided by slots; a context grows page by page.
 * Threads: the one that runs steps. */
#pragma once
#include "dev/dev.h"

typedef struct llm_kv llm_kv;
typedef struct llm_kv_seq llm_kv_seq;

enum { LLM_KV_PAGE_TOKENS = 32 };

/* Reserves address space for max_pages and commits memory as pages are first used, so resident
 * memory follows use. */
err_code llm_kv_create(dev *d, const dev_kv_shape *shape, int32_t max_pages, llm_kv **ret, err *e);
void llm_kv_destroy(llm_kv **kv);
const dev_kv_shape *llm_kv_get_shape(const llm_kv *kv);
void *llm_kv_pool(const llm_kv *kv);
int32_t llm_kv_pages_free(const llm_kv *kv);  /* free or only cached: what new tokens can have */
int32_t llm_kv_pages_total(const llm_kv *kv);

/* Starts a sequence on the longest cached prefix of ids[0, n): *ret_n_cached tokens need no
 * computing. At most n - 1, so that the last prompt token is always evaluated. */
llm_kv_seq *llm_kv_seq_create(llm_kv *kv, const int32_t *ids, int32_t n, int32_t *ret_n_cached);
void llm_kv_seq_destroy(llm_kv_seq **s); /* full pages stay cached */

/* Makes room for n more tokens (appends their ids); ERR_DEVICE_NOMEM if the pool is exhausted. */
err_code llm_kv_seq_append(llm_kv_seq *s, const int32_t *ids, int32_t n, err *e);
/* Marks everything appended as computed: full pages become shareable. Call after each step. */
void llm_kv_seq_commit(llm_kv_seq *s);
/* Forgets tokens beyond n (a cancelled or failed step, a stop string). */
void llm_kv_seq_truncate(llm_kv_seq *s, int32_t n);

int32_t llm_kv_seq_len(const llm_kv_seq *s); /* tokens, appended ones included */
const int32_t *llm_kv_seq_pages(const llm_kv_seq *s);
