/* Moving a model's matrices into the order that its device multiplies fastest, while it runs.
 *
 * A model is ready as soon as its file is mapped: the first token does not wait for a copy of the
 * weights. A thread of this object interleaves them into device memory meanwhile; between two
 * steps the model then takes them over and lets go of the file's pages. Results do not change by a
 * bit. Small models are moved at once. Threads: one owner; take and destroy from the same thread.
 */
#pragma once
#include "llm/weights.h"

typedef struct llm_settler llm_settler;

/* Begins. NULL when there is nothing to move, or no memory for it: the model runs from its file.
 * Weights, hyper-parameters and device must outlive the settler, and it the weights it gives. */
llm_settler *llm_settler_start(dev *d, const llm_hparams *hp, const llm_weights *w);

/* True once, when all is moved: *w holds the places from here on. NULL is allowed: false. */
bool llm_settler_take(llm_settler *s, llm_weights *w);

void llm_settler_destroy(llm_settler **s); /* stops, and frees the moved matrices */
