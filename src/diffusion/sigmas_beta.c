/* Quantiles of the Beta distribution, for the beta schedule.
 *
 * The regularised incomplete beta function by its continued fraction (DLMF 8.17.22) with the
 * modified Lentz method, inverted by bisection in the logarithm of the smaller tail: slow (some
 * microseconds) and sure. Threads: pure functions. */
#include "diffusion/sigmas.h"

#include <math.h>

static double guard(double v) {
    return fabs(v) < 1e-300 ? 1e-300 : v;
}

/* The continued fraction, for x below (a + 1) / (a + b + 2). */
static double fraction(double x, double a, double b) {
    double c = 1, d = 1 / guard(1 - (a + b) * x / (a + 1)), f = d;
    for (int k = 1; k <= 2000; k++) {
        double even = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
        d = 1 / guard(1 + even * d);
        c = guard(1 + even / c);
        f *= d * c;
        double odd = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1));
        d = 1 / guard(1 + odd * d);
        c = guard(1 + odd / c);
        f *= d * c;
        if (fabs(d * c - 1) < 1e-16) break;
    }
    return f;
}

/* I_x(a, b), 0 <= x <= 1. */
static double incomplete_beta(double x, double a, double b) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    double scale = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2)) return scale * fraction(x, a, b) / a;
    return 1 - scale * fraction(1 - x, b, a) / b;
}

/* x in (0, 1/2] with I_x(a, b) = p, for p at most I_1/2(a, b). */
static double lower_quantile(double p, double a, double b) {
    double lo = -745, hi = log(0.5);
    for (int i = 0; i < 100 && hi > lo; i++) {
        double mid = 0.5 * (lo + hi);
        if (incomplete_beta(exp(mid), a, b) < p)
            lo = mid;
        else
            hi = mid;
    }
    return exp(0.5 * (lo + hi));
}

double sigmas_beta_quantile(double p, double a, double b) {
    if (!(p > 0)) return 0;
    if (p >= 1) return 1;
    if (p == 0.5 && a == b) return 0.5; /* exactly: the schedule rounds 999 halves to even */
    if (p <= incomplete_beta(0.5, a, b)) return lower_quantile(p, a, b);
    return 1 - lower_quantile(1 - p, b, a);
}
