/* A model's changes to guidance, on the sides' estimates. Every sum over a picture is in double. */
#include "base/mem.h"
#include "diffusion/guide_impl.h"
#include <math.h>
#include <string.h>

static size_t per_picture(const guide_sides *g) {
    return g->n / g->n_pictures;
}

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* ---- before combining ---- */

/* The negative's direction to the noise, cut to its part along the main axis of both directions:
 * the first right singular vector of the two rows, which is a combination of them. */
static void tangential(const guide_sides *g) {
    size_t per = per_picture(g);
    float *u = mem_calloc(per, sizeof *u), *c = mem_calloc(per, sizeof *c);
    for (size_t b = 0; b < g->n_pictures; b++) {
        float *un = g->uncond + b * per;
        for (size_t i = 0; i < per; i++) {
            u[i] = g->x[b * per + i] - un[i];
            c[i] = g->x[b * per + i] - g->cond[b * per + i];
        }
        double uu = dot(u, u, per), cc = dot(c, c, per), uc = dot(u, c, per);
        double half = (uu - cc) / 2, root = sqrt(half * half + uc * uc);
        double top = (uu + cc) / 2 + root; /* the larger eigenvalue of the 2 by 2 Gram matrix */
        double wu = uc, wc = top - uu;
        if (fabs(wu) + fabs(wc) < 1e-300 * top || uu >= cc) wu = top - cc, wc = uc;
        double square = wu * wu * uu + 2 * wu * wc * uc + wc * wc * cc;
        double k = square > 0 ? (wu * uu + wc * uc) / square : 0;
        for (size_t i = 0; i < per; i++)
            un[i] = g->x[b * per + i] - (float)(k * (wu * (double)u[i] + wc * (double)c[i]));
    }
    mem_free(u);
    mem_free(c);
}

static void projected(guide_sides *g, const diff_change *p, guide_memory *m) {
    size_t per = per_picture(g);
    double eta = p->v[0], limit = p->v[1], momentum = p->v[2];
    float *d = mem_calloc(per, sizeof *d);
    bool fresh = !m->used || g->sigma > m->sigma;
    m->used = true;
    m->sigma = g->sigma;
    for (size_t b = 0; b < g->n_pictures; b++) {
        float *c = g->cond + b * per, *u = g->uncond + b * per, *avg = m->average + b * per;
        for (size_t i = 0; i < per; i++) {
            d[i] = c[i] - u[i];
            if (momentum == 0) continue;
            avg[i] = fresh ? d[i] : (float)momentum * avg[i] + d[i];
            d[i] = avg[i];
        }
        double norm = sqrt(dot(d, d, per)), shrink = 1, square = dot(c, c, per);
        if (limit > 0 && norm > limit) shrink = limit / norm;
        double along = square > 0 ? dot(d, c, per) * shrink / square : 0;
        for (size_t i = 0; i < per; i++) {
            double guided = (double)d[i] * shrink + (eta - 1) * along * (double)c[i];
            c[i] = (float)((double)u[i] + guided + ((double)c[i] - (double)u[i]) / g->cfg);
        }
    }
    mem_free(d);
}

static err_code operated(guide_sides *g, const diff_change *p, err *e) {
    for (size_t i = 0; i < g->n; i++) g->cond[i] -= g->uncond[i];
    TRY(p->apply(p->op, g->dims, g->cond, e));
    for (size_t i = 0; i < g->n; i++) g->cond[i] += g->uncond[i];
    return ERR_OK;
}

/* The signed frequencies -k to k - 1 of a line of n as factors of its cells: low [n, n] real, to be
 * applied along both directions. */
typedef struct low_pass {
    size_t n, k;       /* cells; frequencies of each sign, at most n / 2 */
    double *cos, *sin; /* [n] of one turn in n steps */
} low_pass;

static low_pass low_pass_open(size_t n, double k) {
    low_pass l = {n, k < (double)(n / 2) ? (size_t)k : n / 2, NULL, NULL};
    l.cos = mem_calloc(n, sizeof *l.cos);
    l.sin = mem_calloc(n, sizeof *l.sin);
    for (size_t i = 0; i < n; i++) {
        double turn = 6.283185307179586477 * (double)i / (double)n;
        l.cos[i] = cos(turn);
        l.sin[i] = sin(turn);
    }
    return l;
}

static void low_pass_close(low_pass *l) {
    mem_free(l->cos);
    mem_free(l->sin);
}

/* One line of complex numbers v [2n], `step` apart, without its other frequencies. */
static void low_pass_line(const low_pass *l, double *v, size_t step, double *mem) {
    size_t n = l->n;
    memset(mem, 0, 2 * n * sizeof *mem);
    for (size_t f = 0; f < 2 * l->k; f++) {
        size_t w = (f + n - l->k) % n; /* from -k on */
        double re = 0, im = 0;
        for (size_t i = 0, at = 0; i < n; i++, at = (at + w) % n) {
            re += v[2 * i * step] * l->cos[at] + v[2 * i * step + 1] * l->sin[at];
            im += v[2 * i * step + 1] * l->cos[at] - v[2 * i * step] * l->sin[at];
        }
        for (size_t i = 0, at = 0; i < n; i++, at = (at + w) % n) {
            mem[2 * i] += (re * l->cos[at] - im * l->sin[at]) / (double)n;
            mem[2 * i + 1] += (re * l->sin[at] + im * l->cos[at]) / (double)n;
        }
    }
    for (size_t i = 0; i < n; i++) {
        v[2 * i * step] = mem[2 * i];
        v[2 * i * step + 1] = mem[2 * i + 1];
    }
}

/* The difference of the sides by frequency. What is low is a box that is not symmetric: of it the
 * real part counts. */
static void by_frequency(guide_sides *g, const diff_change *p) {
    size_t Y = g->dims[2], X = g->dims[3], cells = Y * X, longest = Y > X ? Y : X;
    low_pass ly = low_pass_open(Y, p->v[2]), lx = low_pass_open(X, p->v[2]);
    double *v = mem_calloc(2 * cells, sizeof *v), *mem = mem_calloc(2 * longest, sizeof *mem);
    for (size_t k = 0; k < g->n / cells; k++) {
        float *c = g->cond + k * cells, *u = g->uncond + k * cells;
        for (size_t i = 0; i < cells; i++) {
            v[2 * i] = (double)c[i] - (double)u[i];
            v[2 * i + 1] = 0;
        }
        for (size_t y = 0; y < Y; y++) low_pass_line(&lx, v + 2 * y * X, 1, mem);
        for (size_t x = 0; x < X; x++) low_pass_line(&ly, v + 2 * x, X, mem);
        for (size_t i = 0; i < cells; i++) {
            double d = (double)c[i] - (double)u[i];
            c[i] = (float)((double)u[i] + p->v[1] * d + (p->v[0] - p->v[1]) * v[2 * i]);
        }
    }
    mem_free(v);
    mem_free(mem);
    low_pass_close(&ly);
    low_pass_close(&lx);
}

err_code guide_changes_before(const diff_changes *l, guide_sides *g, guide_memory *m, err *e) {
    for (size_t i = 0; i < l->n; i++) {
        const diff_change *p = &l->items[i];
        if (p->kind == DIFF_CHANGE_TCFG && g->has_uncond) tangential(g);
        if (p->kind == DIFF_CHANGE_APG) projected(g, p, &m[i]);
        if (p->kind == DIFF_CHANGE_OPERATION) TRY(operated(g, p, e));
        if (p->kind == DIFF_CHANGE_FRESCA && g->has_uncond) by_frequency(g, p);
    }
    return ERR_OK;
}

/* ---- after it ---- */

static void zero_star(const guide_sides *g, float *ret) {
    size_t per = per_picture(g);
    for (size_t b = 0; b < g->n_pictures; b++) {
        const float *x = g->x + b * per, *c = g->cond + b * per, *u = g->uncond + b * per;
        double product = 0, square = 1e-8;
        for (size_t i = 0; i < per; i++) {
            double neg = (double)x[i] - (double)u[i];
            product += ((double)x[i] - (double)c[i]) * neg;
            square += neg * neg;
        }
        double alpha = product / square;
        for (size_t i = 0; i < per; i++)
            ret[b * per + i] += (float)((double)u[i] * (alpha - 1) * (1 - g->cfg));
    }
}

/* Lengths of the channels' vectors, cell by cell. */
static void normed(const guide_sides *g, double strength, float *ret) {
    size_t cells = g->dims[2] * g->dims[3], C = g->dims[1];
    for (size_t i = 0; i < g->n_pictures * cells; i++) {
        size_t at = i / cells * C * cells + i % cells;
        double full = 0, now = 0;
        for (size_t k = 0; k < C; k++) {
            full += (double)g->cond[at + k * cells] * (double)g->cond[at + k * cells];
            now += (double)ret[at + k * cells] * (double)ret[at + k * cells];
        }
        double scale = fmin(sqrt(full) / (sqrt(now) + 1e-8), 1) * strength;
        for (size_t k = 0; k < C; k++) ret[at + k * cells] *= (float)scale;
    }
}

static double signed_root(double v) {
    return v < 0 ? -sqrt(-v) : sqrt(v);
}

/* Cosines are along the channels of a cell, their mean is over everything. */
static void mahiro(const guide_sides *g, float *ret) {
    size_t cells = g->dims[2] * g->dims[3], C = g->dims[1], n = g->n_pictures * cells;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = i / cells * C * cells + i % cells;
        double uu = 0, mm = 0, um = 0;
        for (size_t k = 0; k < C; k++) {
            size_t j = at + k * cells;
            double u = signed_root((double)g->uncond[j] * g->cfg);
            double m = signed_root(((double)g->cond[j] * g->cfg + (double)ret[j]) / 2);
            uu += u * u, mm += m * m, um += u * m;
        }
        sum += um / (fmax(sqrt(uu), 1e-8) * fmax(sqrt(mm), 1e-8));
    }
    double k = 2 * (sum / (double)n + 1);
    for (size_t i = 0; i < g->n; i++)
        ret[i] = (float)((k * (double)ret[i] + (4 - k) * (double)g->cond[i] * g->cfg) / 4);
}

void guide_change_after(const diff_change *p, const guide_sides *g, float *ret) {
    if (p->kind == DIFF_CHANGE_ZERO_STAR) zero_star(g, ret);
    if (p->kind == DIFF_CHANGE_NORM) normed(g, p->v[0], ret);
    if (p->kind == DIFF_CHANGE_MAHIRO) mahiro(g, ret);
    if (p->kind == DIFF_CHANGE_EPSILON)
        for (size_t i = 0; i < g->n; i++) ret[i] = g->x[i] - (g->x[i] - ret[i]) / (float)p->v[0];
}

/* ---- the mask ---- */

void guide_differential(const guide_run *r, const diff_change *p, const guide_time *t,
                        const float *mask, size_t n, float *ret) {
    const sigmas_model *m = r->model->sigmas;
    double from = sigmas_timestep(m, t->first),
           to = sigmas_timestep(m, fmax(t->last, m->sigma_min));
    float threshold = (float)((sigmas_timestep(m, t->now) - to) / (from - to));
    float k = (float)p->v[0];
    bool mixed = k > 0 && k < 1;
    for (size_t i = 0; i < n; i++) {
        float on = mask[i] >= threshold ? 1.0f : 0.0f;
        ret[i] = mixed ? k * on + (1 - k) * mask[i] : on;
    }
}
