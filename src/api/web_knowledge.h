/* Looking for passages: words (BM25) and meaning (vectors of the embedding model) together, by
 * reciprocal rank fusion (Cormack, Clarke, Buettcher, 2009). Threads: any; it waits for the model.
 */
#pragma once
#include "api/web.h"
#include "store/files.h"

typedef struct web_search {
    str user_id;
    const json_t *ids; /* collections and files, a list */
    str query;
    int64_t k;
    bool (*stop)(void *arg); /* NULL: never */
    void *stop_arg;
} web_search;

typedef struct web_found {
    json_t *sources; /* list, new reference; see docs/web-api.md */
    bool hybrid;     /* false: by words alone, there is no embedding model */
} web_found;

err_code web_knowledge_search(web *w, const web_search *s, arena *a, web_found *ret, err *e);
/* What a model is told of them, numbered for citing; empty without any. */
str web_passages_text(const json_t *sources, arena *a);

/* Vectors of texts, normalised, in `a`. NOT_FOUND: the embedding model is not here.
 */
typedef struct web_embed_spec {
    const str *texts;
    size_t n;
    str user_id;
    bool background;
    bool (*stop)(void *arg);
    void *stop_arg;
} web_embed_spec;
typedef struct web_vectors {
    float *items; /* [n][dim] */
    size_t dim;
    str model; /* which weights made them: vectors of others cannot be compared with them */
} web_vectors;
err_code web_embed(web *w, const web_embed_spec *s, arena *a, web_vectors *ret, err *e);

/* Passages of a text, in `a`, cut at paragraphs, sentences or words. */
str *web_chunks(str text, size_t size, size_t overlap, arena *a, size_t *ret_n);
