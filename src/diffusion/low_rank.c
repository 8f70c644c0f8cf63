/* Truncated decompositions of matrices. */
#include "diffusion/low_rank.h"
#include "base/mem.h"
#include "diffusion/noise.h"
#include <math.h>
#include <string.h>

enum { MORE = 8, LANES = 8, ROUNDS = 4, SWEEPS = 30 };

/* out += w x for p floats, a multiple of LANES: a few dozen, so that a call for each would cost
 * more than they do. */
static inline void add_row(float *restrict out, const float *restrict x, float w, int64_t p) {
    for (int64_t i = 0; i < p; i += LANES)
        for (int k = 0; k < LANES; k++) out[i + k] += w * x[i + k];
}

/* Rows of x [n, p]: out [m, p] = a [m, n] x, or with `turned` out [n, p] = a^T x [m, p]. */
static void multiply(const low_rank_job *j, const float *x, int64_t p, bool turned, float *out) {
    memset(out, 0, (size_t)((turned ? j->n : j->m) * p) * sizeof *out);
    for (int64_t i = 0; i < j->m; i++)
        for (int64_t k = 0; k < j->n; k++) {
            float w = j->a[i * j->n + k];
            if (turned)
                add_row(out + k * p, x + i * p, w, p);
            else
                add_row(out + i * p, x + k * p, w, p);
        }
}

/* Makes the columns of x [n, p] orthonormal; those that depend on others become zeros. */
static void orthonormalise(float *x, int64_t n, int64_t p) {
    double *c = mem_calloc((size_t)(n * p), sizeof *c); /* columns as rows */
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < p; k++) c[k * n + i] = (double)x[i * p + k];
    for (int64_t k = 0; k < p; k++) {
        double *v = c + k * n, before = 0, after = 0;
        for (int64_t i = 0; i < n; i++) before += v[i] * v[i];
        for (int64_t u = 0; u < 2 * k; u++) { /* twice, for what rounding leaves */
            const double *w = c + u % k * n;
            double dot = 0;
            for (int64_t i = 0; i < n; i++) dot += v[i] * w[i];
            for (int64_t i = 0; i < n; i++) v[i] -= dot * w[i];
        }
        for (int64_t i = 0; i < n; i++) after += v[i] * v[i];
        double by = after > before * 1e-20 && after > 0 ? 1 / sqrt(after) : 0;
        for (int64_t i = 0; i < n; i++) v[i] *= by;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < p; k++) x[i * p + k] = (float)c[k * n + i];
    mem_free(c);
}

/* One rotation of rows i and k of both, after which those of b are orthogonal (one-sided Jacobi:
 * Hestenes 1958). False: they were. */
static bool rotate(double *b, int64_t n, double *u, int64_t p, const int64_t ik[2]) {
    double *x = b + ik[0] * n, *y = b + ik[1] * n, xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < n; i++) xx += x[i] * x[i], yy += y[i] * y[i], xy += x[i] * y[i];
    if (fabs(xy) <= 1e-12 * sqrt(xx * yy) || !(fabs(xy) > 0)) return false;
    double z = (yy - xx) / (2 * xy), t = (z < 0 ? -1 : 1) / (fabs(z) + sqrt(1 + z * z));
    double c = 1 / sqrt(1 + t * t), s = c * t;
    double *rows[2][2] = {{x, y}, {u + ik[0] * p, u + ik[1] * p}};
    for (int r = 0; r < 2; r++)
        for (int64_t i = 0; i < (r ? p : n); i++) {
            double v = rows[r][0][i], w = rows[r][1][i];
            rows[r][0][i] = c * v - s * w;
            rows[r][1][i] = s * v + c * w;
        }
    return true;
}

/* b [p, n] = u^T (rows orthogonal): b's rows become orthogonal, u [p, p] what was done. */
static void diagonalise(double *b, int64_t n, double *u, int64_t p) {
    for (int64_t i = 0; i < p * p; i++) u[i] = i % (p + 1) == 0;
    bool more = true;
    for (int sweep = 0; more && sweep < SWEEPS; sweep++) {
        more = false;
        for (int64_t i = 0; i < p; i++)
            for (int64_t k = i + 1; k < p; k++)
                more = rotate(b, n, u, p, (int64_t[2]){i, k}) || more;
    }
}

/* The rank longest rows of b with q u as what they are multiplied by. */
static void take_longest(const low_rank_job *j, double *b, const double *u, const float *q,
                         int64_t p) {
    double *length = mem_calloc((size_t)p, sizeof *length);
    for (int64_t k = 0; k < p; k++)
        for (int64_t i = 0; i < j->n; i++) length[k] += b[k * j->n + i] * b[k * j->n + i];
    for (int64_t r = 0; r < j->rank; r++) {
        int64_t best = 0;
        for (int64_t k = 1; k < p; k++)
            if (length[k] > length[best]) best = k;
        double s = length[best] > 0 ? sqrt(length[best]) : 0;
        length[best] = -1;
        for (int64_t i = 0; i < j->n; i++)
            j->ret_down[r * j->n + i] = s > 0 ? (float)(b[best * j->n + i] / s) : 0;
        for (int64_t i = 0; i < j->m; i++) {
            double sum = 0;
            for (int64_t k = 0; k < p; k++) sum += (double)q[i * p + k] * u[best * p + k];
            j->ret_up[i * j->rank + r] = (float)(sum * s);
        }
    }
    mem_free(length);
}

void low_rank(const low_rank_job *j) {
    int64_t least = j->m < j->n ? j->m : j->n, p = j->rank + MORE < least ? j->rank + MORE : least;
    p = (p + LANES - 1) / LANES * LANES; /* columns that depend on others are zeros */
    float *q = mem_calloc((size_t)(j->m * p), sizeof *q),
          *z = mem_calloc((size_t)(j->n * p), sizeof *z);
    noise_rng rng;
    noise_rng_seed(&rng, 0);
    noise_rng_normal(&rng, z, (size_t)(j->n * p));
    for (int i = 0; i < ROUNDS; i++) {
        multiply(j, z, p, false, q);
        orthonormalise(q, j->m, p);
        multiply(j, q, p, true, z);
        if (i + 1 < ROUNDS) orthonormalise(z, j->n, p);
    }
    double *b = mem_calloc((size_t)(p * j->n), sizeof *b),
           *u = mem_calloc((size_t)(p * p), sizeof *u);
    for (int64_t i = 0; i < j->n; i++)
        for (int64_t k = 0; k < p; k++) b[k * j->n + i] = (double)z[i * p + k];
    diagonalise(b, j->n, u, p);
    take_longest(j, b, u, q, p);
    mem_free(q);
    mem_free(z);
    mem_free(b);
    mem_free(u);
}
