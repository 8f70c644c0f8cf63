/* FREEU: two pictures' channels joined, the first amplified, the second's low frequencies scaled.
 * One chunk is one picture; sums are in double. */
#include "dev/cpu/cpu.h"
#include <math.h>
#include <string.h>

enum { WAVES = 4 }; /* frequencies (-1 or 0) x (-1 or 0) */

static const double TWO_PI = 6.283185307179586477;

int32_t cpu_freeu_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)n->n.out->ne[3];
}
double cpu_freeu_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    const dev_tensor *out = n->n.out;
    return (double)(out->ne[0] * out->ne[1] * out->ne[2] * out->ne[3]) * 4;
}
uint64_t cpu_freeu_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    const dev_tensor *b = n->n.in[1];
    return (uint64_t)b->ne[0] * 2 * WAVES * sizeof(double) +
           (uint64_t)b->ne[1] * (uint64_t)b->ne[2] * sizeof(float) + 64;
}

static float *row(cpu_run *r, const dev_tensor *t, int64_t i) {
    return (float *)(void *)cpu_row(t, cpu_base(r, t), i);
}

/* How much each pixel's first half is amplified: gain [pixels]. */
static void gains(cpu_run *r, const cpu_node *cn, int64_t first, float *gain) {
    const dev_tensor *a = cn->n.in[0];
    const dev_freeu *p = &cn->n.params.freeu;
    int64_t n = a->ne[1] * a->ne[2], C = a->ne[0];
    double lo = HUGE_VAL, hi = -HUGE_VAL;
    for (int64_t i = 0; i < n; i++) {
        const float *x = row(r, a, first + i);
        double sum = 0;
        for (int64_t c = 0; p->adaptive && c < C; c++) sum += (double)x[c];
        gain[i] = (float)(sum / (double)C);
        lo = fmin(lo, (double)gain[i]);
        hi = fmax(hi, (double)gain[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        double m = hi > lo ? ((double)gain[i] - lo) / (hi - lo) : 0;
        gain[i] = p->adaptive ? (float)(((double)p->backbone - 1) * m + 1) : p->backbone;
    }
}

/* cos and sin of wave k at a pixel; false where a side of 1 has no second frequency. */
static bool wave(const dev_tensor *b, int k, int64_t pixel, double ret[2]) {
    int64_t X = b->ne[1], Y = b->ne[2], fx = k & 1, fy = k >> 1;
    if ((fx && X == 1) || (fy && Y == 1)) return false;
    double at = (double)(fx * (pixel % X)) / (double)X + (double)(fy * (pixel / X)) / (double)Y;
    ret[0] = cos(TWO_PI * at);
    ret[1] = sin(TWO_PI * at);
    return true;
}

/* Projections of every channel on the waves: sums [channels, WAVES, 2]. */
static void project(cpu_run *r, const dev_tensor *b, int64_t first, double *sums) {
    int64_t n = b->ne[1] * b->ne[2], C = b->ne[0];
    memset(sums, 0, (size_t)C * 2 * WAVES * sizeof *sums);
    for (int64_t i = 0; i < n; i++) {
        const float *x = row(r, b, first + i);
        for (int k = 0; k < WAVES; k++) {
            double w[2];
            if (!wave(b, k, i, w)) continue;
            for (int64_t c = 0; c < C; c++) {
                sums[(c * WAVES + k) * 2] += w[0] * (double)x[c];
                sums[(c * WAVES + k) * 2 + 1] += w[1] * (double)x[c];
            }
        }
    }
}

void cpu_freeu_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_tensor *a = cn->n.in[0], *b = cn->n.in[1], *out = cn->n.out;
    int64_t n = a->ne[1] * a->ne[2], first = chunk * n, A = a->ne[0], B = b->ne[0];
    double *sums = (double *)(void *)cpu_scratch(r, thread);
    float *gain = (float *)(void *)(sums + B * 2 * WAVES);
    double by = ((double)cn->n.params.freeu.skip - 1) / (double)n;
    gains(r, cn, first, gain);
    project(r, b, first, sums);
    for (int64_t i = 0; i < n; i++) {
        const float *x = row(r, a, first + i), *s = row(r, b, first + i);
        float *dst = row(r, out, first + i);
        double w[WAVES][2] = {{0}};
        for (int k = 0; k < WAVES; k++) (void)wave(b, k, i, w[k]);
        for (int64_t c = 0; c < A; c++) dst[c] = c < A / 2 ? x[c] * gain[i] : x[c];
        for (int64_t c = 0; c < B; c++) {
            double low = 0;
            for (int k = 0; k < WAVES; k++)
                low +=
                    w[k][0] * sums[(c * WAVES + k) * 2] + w[k][1] * sums[(c * WAVES + k) * 2 + 1];
            dst[A + c] = (float)((double)s[c] + by * low);
        }
    }
}
