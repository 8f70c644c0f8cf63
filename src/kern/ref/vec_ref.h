/* Fillers of the float kernel table: the reference sets every slot, overlays set what they have. */
#pragma once
#include "kern/kern_vec.h"

void kern_vec_init_ref(kern_vec *t);
void kern_vec_init_avx2(kern_vec *t);
void kern_vec_init_avx512(kern_vec *t);
