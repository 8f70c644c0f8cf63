/* The best approximation of a matrix by one of low rank.
 *
 * Subspace iteration from fixed random vectors (Halko, Martinsson, Tropp, "Finding Structure with
 * Randomness", 2011): a few columns more than wanted, then the exact decomposition of what is left.
 * The same matrix gives the same result. Pure. Threads: any. */
#pragma once
#include <stdint.h>

typedef struct low_rank_job {
    const float *a;           /* [m, n] */
    int64_t m, n, rank;       /* rank at most min(m, n) */
    float *ret_up, *ret_down; /* [m, rank] with the singular values, [rank, n] orthonormal rows */
} low_rank_job;

void low_rank(const low_rank_job *j);
