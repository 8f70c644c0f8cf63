/* Ends of the plain objects. */
#include "flow/objects.h"

void flow_image_destroy(void *image) {
    flow_image *im = image;
    if (!im) return;
    mem_free(im->px);
    mem_free(im);
}

void flow_mask_destroy(void *mask) {
    flow_mask *m = mask;
    if (!m) return;
    mem_free(m->px);
    mem_free(m);
}

void flow_latent_destroy(void *latent) {
    flow_latent *l = latent;
    if (!l) return;
    flow_mask_destroy(l->mask);
    mem_free(l->batch_index);
    mem_free(l->px);
    mem_free(l);
}

void flow_sigmas_destroy(void *sigmas) {
    flow_sigmas *s = sigmas;
    if (!s) return;
    mem_free(s->v);
    mem_free(s);
}
