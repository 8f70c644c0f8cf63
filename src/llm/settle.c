/* The thread that interleaves a model's matrices. */
#include "llm/settle.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Up to here the copy takes less than a thread's start is worth. */
enum { AT_ONCE_BYTES = 8 << 20 };

struct llm_settler {
    dev *d;
    const llm_hparams *hp;
    llm_weights w; /* a copy, with lists of its own, that is being moved */
    dev_buffer matrices;
    pthread_t thread;
    bool threaded, taken;
    _Atomic bool stop, done;
};

static void *settle_main(void *arg) {
    llm_settler *s = arg;
    if (llm_weights_interleave(s->d, s->hp, &s->w, s->matrices.ptr, &s->stop)) s->done = true;
    return NULL;
}

llm_settler *llm_settler_start(dev *d, const llm_hparams *hp, const llm_weights *w) {
    uint64_t bytes = llm_weights_interleaved_bytes(d, hp, w);
    dev_buffer matrices;
    err e;
    if (bytes == 0 || dev_alloc(d, bytes, &matrices, &e)) return NULL;
    llm_settler *s = NEW(llm_settler);
    s->d = d;
    s->hp = hp;
    s->w = *w;
    s->w.layers = mem_dup(w->layers, (size_t)hp->n_layers * sizeof *w->layers);
    if (w->n_loras) s->w.loras = mem_dup(w->loras, 2 * (size_t)w->n_loras * sizeof *w->loras);
    s->matrices = matrices;
    s->threaded = bytes > AT_ONCE_BYTES && pthread_create(&s->thread, NULL, settle_main, s) == 0;
    if (!s->threaded) settle_main(s);
    return s;
}

bool llm_settler_take(llm_settler *s, llm_weights *w) {
    if (!s || s->taken || !atomic_load_explicit(&s->done, memory_order_acquire)) return false;
    s->taken = true;
    *w = s->w;
    return true;
}

void llm_settler_destroy(llm_settler **ps) {
    if (!ps || !*ps) return;
    llm_settler *s = *ps;
    s->stop = true;
    if (s->threaded) pthread_join(s->thread, NULL);
    dev_free(s->d, &s->matrices);
    mem_free(s->w.layers);
    mem_free(s->w.loras);
    mem_free(s);
    *ps = NULL;
}
