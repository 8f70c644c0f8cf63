/* Creating and ending. The work is in pull.c, push.c, transfer.c and session.c. */
#include "registry/registry_impl.h"

registry *registry_create(const registry_config *c) {
    registry *r = NEW(registry);
    r->mem = arena_create(0);
    r->c = *c;
    const char **texts[] = {&r->c.key_path, &r->c.key_path_alt, &r->c.hf_endpoint, &r->c.hf_token};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (*texts[i]) *texts[i] = str_cstr(r->mem, str_from(*texts[i]));
    pthread_mutex_init(&r->mu, NULL);
    pthread_cond_init(&r->changed, NULL);
    return r;
}

void registry_stop(registry *r) {
    if (!r) return;
    atomic_store(&r->stopping, true);
    transfers_stop(r);
}

void registry_destroy(registry **at) {
    registry *r = *at;
    if (!r) return;
    registry_stop(r);
    pthread_mutex_destroy(&r->mu);
    pthread_cond_destroy(&r->changed);
    arena_destroy(&r->mem);
    mem_free(r);
    *at = NULL;
}
