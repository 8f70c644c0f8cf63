/* Autoencoders by bands of rows: the large half of the network as a chain of segments. A segment
 * reads a plane (all rows of one layer's output) and writes the next. Its layers run on windows of
 * rows; a window's outer rows are wrong where it does not end at the picture's edge, since
 * convolutions see zeros there, and are dropped. Before the last pass there is one for each norm
 * whose statistics are not known yet: it ends at the norm's input and sums that up. */
#include "base/mem.h"
#include "diffusion/arch/vae_impl.h"
#include "os/mem.h"
#include <math.h>
#include <string.h>

enum { ITEMS_MAX = 160, NORMS_MAX = 2 * VAE_BLOCKS_MAX + 2 };
enum { BAND_BYTES = 48 << 20, BANDS_MIN = 6, BODY_MIN = 8 };

typedef enum item_kind { CONV_IN, RES, UP, DOWN, OUT } item_kind;
typedef struct item {
    item_kind kind;
    char at[LAYERS_NAME_BYTES]; /* in front of its tensors' names */
} item;

/* Segment k is items[first[k]] to items[first[k + 1]]. */
typedef struct chain {
    int n_items, n_segments;
    item items[ITEMS_MAX];
    int first[ITEMS_MAX + 1];
} chain;

/* ---- the chain ---- */

static void push(chain *c, item_kind kind, const char *at, bool begins) {
    if (c->n_items == ITEMS_MAX) return;
    if (begins) c->first[c->n_segments++] = c->n_items;
    item *it = &c->items[c->n_items++];
    it->kind = kind;
    layers_name(it->at, "%s", at);
    c->first[c->n_segments] = c->n_items;
}

/* All residual blocks of a level, and how many; the first continues the segment if `joins`, the
 * others begin one each if `apart`. */
static int push_level(chain *c, const diff_weights *w, const char *level, bool joins, bool apart) {
    int n = 0;
    for (; n < VAE_BLOCKS_MAX; n++) {
        LAYERS_NAME(at, "%sblock.%d.", level, n);
        LAYERS_NAME(norm, "%snorm1.weight", at);
        if (!diff_weights_has(w, norm)) break;
        push(c, RES, at, n == 0 ? !joins : apart);
    }
    return n;
}

/* Decoding, blocks are segments of their own and run in place; encoding, a level is one segment,
 * because what it gives is so much smaller. */
static void describe(const diff_weights *w, bool decode, chain *c) {
    int last = vae_last_level(w, decode);
    *c = (chain){0};
    if (!decode) push(c, CONV_IN, "encoder.", true);
    for (int k = 0; k <= last; k++) {
        int i = decode ? last - k : k;
        LAYERS_NAME(level, decode ? "decoder.up.%d." : "encoder.down.%d.", i);
        LAYERS_NAME(below, "decoder.up.%d.", i - 1);
        LAYERS_NAME(conv, "%s%s", level,
                    decode ? "upsample.conv.weight" : "downsample.conv.weight");
        bool resized = diff_weights_has(w, conv);
        if (decode) {
            if (resized) push(c, UP, level, true);
            if (i > 0) push_level(c, w, below, resized, true);
        } else {
            int n = push_level(c, w, level, k == 0, false);
            if (resized) push(c, DOWN, level, n == 0 && k > 0);
        }
    }
    if (decode) push(c, OUT, "decoder.", true);
}

/* ---- what a segment is ---- */

typedef struct norm_fact {
    char name[LAYERS_NAME_BYTES]; /* without .weight */
    int32_t channels, from;       /* place of its factors */
    bool after_up;
} norm_fact;

typedef struct facts {
    int32_t c_in, c_out, c_max;
    bool up, down, known; /* known: the first norm is over the plane itself */
    int32_t halo;         /* rows of the input that are lost at an inner edge */
    int32_t n_norms, n_given;
    norm_fact norms[NORMS_MAX];
} facts;

static int32_t dim(const diff_weights *w, const char *at, const char *name, int d) {
    LAYERS_NAME(full, "%s%s", at, name);
    return layers_dim(w, full, d);
}

static void add_norm(facts *f, const diff_weights *w, const char *at, const char *name) {
    if (f->n_norms == NORMS_MAX) return;
    norm_fact *n = &f->norms[f->n_norms++];
    layers_name(n->name, "%s%s", at, name);
    n->channels = dim(w, n->name, ".weight", 0);
    n->from = f->n_given;
    n->after_up = f->up;
    f->n_given += 2 * n->channels;
}

static void add_item(facts *f, const diff_weights *w, const item *it, int32_t *lost) {
    static const struct {
        const char *in, *out;
        int in_dim;
    } NAMES[] = {[CONV_IN] = {"conv_in.weight", "conv_in.weight", 2},
                 [RES] = {"norm1.weight", "conv2.weight", 0},
                 [UP] = {"upsample.conv.weight", "upsample.conv.weight", 2},
                 [DOWN] = {"downsample.conv.weight", "downsample.conv.weight", 2},
                 [OUT] = {"norm_out.weight", "conv_out.weight", 0}};
    int32_t in = dim(w, it->at, NAMES[it->kind].in, NAMES[it->kind].in_dim);
    if (!f->c_in) f->c_in = in;
    f->c_out = dim(w, it->at, NAMES[it->kind].out, 3);
    f->c_max = in > f->c_max ? in : f->c_max;
    f->c_max = f->c_out > f->c_max ? f->c_out : f->c_max;
    f->known = f->known || (f->n_norms == 0 && *lost == 0 && (it->kind == RES || it->kind == OUT));
    if (it->kind == RES) {
        add_norm(f, w, it->at, "norm1");
        add_norm(f, w, it->at, "norm2");
    }
    if (it->kind == OUT) add_norm(f, w, it->at, "norm_out");
    if (it->kind == UP) f->up = true;
    if (it->kind == DOWN) f->down = true;
    *lost = it->kind == UP     ? 2 * *lost + 1
            : it->kind == DOWN ? (*lost + 3) / 2
            : it->kind == RES  ? *lost + 2
                               : *lost + 1;
}

static void read_facts(const diff_weights *w, const chain *c, int k, facts *f) {
    int32_t lost = 0;
    *f = (facts){0};
    for (int i = c->first[k]; i < c->first[k + 1]; i++) add_item(f, w, &c->items[i], &lost);
    f->halo = f->up ? (lost + 1) / 2 : f->down ? 2 * lost : lost;
}

void vae_band_build(diff_weights *w, graph *g, const diff_shape *s) {
    chain c;
    facts f;
    describe(w, s->kind == VAE_BAND_DECODE, &c);
    read_facts(w, &c, s->extra, &f);
    vae_maker m = {.l = {w, g}, .stop = s->context - 1};
    int64_t n_given = f.n_given > 0 ? f.n_given : 1;
    graph_t x = graph_data(g, DEV_DATA_X, 4, (int64_t[4]){f.c_in, s->x, s->y, 1});
    m.given = graph_data(g, DEV_DATA_EXTRA, 1, (int64_t[4]){n_given, 1, 1, 1});
    for (int i = c.first[s->extra]; i < c.first[s->extra + 1]; i++) {
        const item *it = &c.items[i];
        switch (it->kind) {
        case CONV_IN:
            x = vae_conv(&m, it->at, "conv_in", x, &(graph_conv){0});
            break;
        case RES:
            x = vae_res_block(&m, it->at, x);
            break;
        case UP:
            x = vae_up(&m, it->at, x);
            break;
        case DOWN:
            x = vae_down(&m, it->at, x);
            break;
        case OUT:
            x = vae_out(&m, x);
            break;
        }
    }
    graph_output(g, m.cut ? m.cut : x, DEV_OUTPUT_RESULT);
}

/* ---- planes ---- */

/* All rows of a layer's output, [y, x, c], and the sums of its channels. */
typedef struct plane {
    os_mem mem; /* empty when px is somebody else's */
    float *px;
    int32_t y, x, c;
    double *sum; /* [2 c]: of values, then of squares */
} plane;

static err_code plane_open(plane *p, int32_t y, int32_t x, int32_t c, err *e) {
    *p = (plane){.y = y, .x = x, .c = c};
    TRY(os_mem_alloc((uint64_t)y * (uint64_t)x * (uint64_t)c * sizeof(float), 0, &p->mem, e));
    p->px = p->mem.ptr;
    p->sum = mem_calloc(2 * (size_t)c, sizeof *p->sum);
    return ERR_OK;
}

static void plane_close(plane *p) {
    os_mem_free(&p->mem);
    mem_free(p->sum);
    *p = (plane){0};
}

static void add_sums(double *sum, const float *px, int64_t n, int32_t c) {
    for (int64_t i = 0; i < n; i++, px += c)
        for (int32_t k = 0; k < c; k++) {
            sum[k] += (double)px[k];
            sum[c + k] += (double)px[k] * (double)px[k];
        }
}

/* ---- one segment ---- */

typedef struct band_run {
    vae *v;
    diff_net *net;
    const diff_gate *gate;
    bool decode;
    int32_t rows;
    const chain *c;
    int k; /* segment */
    facts f;
    plane *src, *dst; /* the same: in place */
    float *given;
} band_run;

static int32_t round_even(int32_t v) {
    return v + v % 2;
}

/* Rows of a window. */
static int32_t window_rows(const band_run *r, int32_t y, int32_t x) {
    int64_t row = (int64_t)x * r->f.c_max * (int64_t)sizeof(float) * (r->f.up ? 4 : 1);
    int64_t rows = BAND_BYTES / row, share = y / BANDS_MIN + 2 * r->f.halo;
    if (rows > share) rows = share;
    if (r->rows) rows = r->rows;
    int32_t least = 2 * r->f.halo + BODY_MIN;
    int32_t n = rows < least ? least : rows > y ? y : (int32_t)rows;
    n = round_even(n);
    return n > y ? y : n;
}

static diff_shape band_shape(const band_run *r, int32_t y, int32_t x, int32_t stop) {
    return (diff_shape){.kind = r->decode ? VAE_BAND_DECODE : VAE_BAND_ENCODE,
                        .x = x,
                        .y = window_rows(r, y, x),
                        .batch = 1,
                        .context = stop + 1,
                        .extra = r->k};
}

/* Where a pass's result goes: rows into a plane, or only their sums. */
typedef struct sink {
    int32_t stop, c, num, den; /* rows of the result are num / den of the input's */
    plane *to;                 /* or NULL */
    double *sum;
} sink;

static sink sink_of(const band_run *r, int32_t stop) {
    const facts *f = &r->f;
    if (stop < 0) return (sink){-1, f->c_out, f->up ? 2 : 1, f->down ? 2 : 1, r->dst, r->dst->sum};
    const norm_fact *n = &f->norms[stop];
    return (sink){.stop = stop, .c = n->channels, .num = n->after_up ? 2 : 1, .den = 1};
}

static err_code pass(band_run *r, const sink *k, err *e) {
    plane *src = r->src;
    diff_shape s = band_shape(r, src->y, src->x, k->stop);
    int32_t H = s.y, halo = r->f.halo, out_x = src->x * k->num / k->den, done = 0, have = 0;
    size_t in_row = (size_t)src->x * (size_t)src->c, out_row = (size_t)out_x * (size_t)k->c;
    size_t out_rows = (size_t)H * (size_t)k->num / (size_t)k->den;
    os_mem window, out = {0};
    TRY(os_mem_alloc((size_t)H * in_row * sizeof(float), 0, &window, e));
    err_code code = os_mem_alloc(out_rows * out_row * sizeof(float), 0, &out, e);
    float *in = window.ptr, *px = out.ptr;
    for (int32_t at = 0, was = 0; code == ERR_OK;) {
        int32_t keep = have > at ? have - at : 0; /* rows of the last window that stay */
        memmove(in, in + (size_t)(at - was) * in_row, (size_t)keep * in_row * sizeof *in);
        memcpy(in + (size_t)keep * in_row, src->px + (size_t)(at + keep) * in_row,
               (size_t)(H - keep) * in_row * sizeof *in);
        have = at + H;
        diff_io io = {.data = {in, NULL, NULL, r->given}, .result = px};
        code = diff_net_run(r->net, &s, &io, r->gate, e);
        if (code) break;
        bool last = at + H == src->y;
        int32_t end = (last ? src->y : at + H - halo) * k->num / k->den;
        const float *from = px + (size_t)(done - at * k->num / k->den) * out_row;
        if (k->to)
            memcpy(k->to->px + (size_t)done * out_row, from,
                   (size_t)(end - done) * out_row * sizeof *px);
        if (k->sum) add_sums(k->sum, from, (int64_t)(end - done) * out_x, k->c);
        done = end;
        if (last) break;
        was = at;
        at += H - 2 * halo;
        if (at + H > src->y) at = src->y - H;
    }
    os_mem_free(&window);
    os_mem_free(&out);
    return code;
}

/* Sums to what a channel is multiplied by and what is added. */
static err_code put_factors(band_run *r, const norm_fact *n, const double *sum, double pixels,
                            err *e) {
    LAYERS_NAME(weight, "%s.weight", n->name);
    LAYERS_NAME(bias, "%s.bias", n->name);
    const float *w = diff_floats(diff_net_weights(r->net), weight),
                *b = diff_floats(diff_net_weights(r->net), bias);
    int32_t C = n->channels, groups = VAE_NORM_SILU.n_groups, per = C / groups;
    if (!w || !b || C % groups || dim(diff_net_weights(r->net), bias, "", 0) != C)
        FAIL(e, FORMAT, "%s: the norm's weight or bias is missing or misshapen", n->name);
    for (int32_t g = 0; g < groups; g++) {
        double s = 0, q = 0, count = pixels * per;
        for (int32_t i = g * per; i < (g + 1) * per; i++) s += sum[i], q += sum[C + i];
        double mean = s / count, var = q / count - mean * mean;
        double inv = 1 / sqrt((var < 0 ? 0 : var) + (double)VAE_NORM_SILU.eps); /* NaN stays */
        for (int32_t i = g * per; i < (g + 1) * per; i++) {
            r->given[n->from + i] = (float)(inv * (double)w[i]);
            r->given[n->from + C + i] = (float)((double)b[i] - mean * inv * (double)w[i]);
        }
    }
    return ERR_OK;
}

static err_code run_segment(band_run *r, err *e) {
    const facts *f = &r->f;
    double pixels = (double)r->src->y * (double)r->src->x;
    for (int32_t n = 0; n < f->n_norms; n++) {
        const norm_fact *norm = &f->norms[n];
        if (n == 0 && f->known) {
            TRY(put_factors(r, norm, r->src->sum, pixels, e));
            continue;
        }
        sink k = sink_of(r, n);
        k.sum = mem_calloc(2 * (size_t)k.c, sizeof *k.sum);
        err_code code = pass(r, &k, e);
        if (code == ERR_OK)
            code = put_factors(r, norm, k.sum, pixels * (norm->after_up ? 4 : 1), e);
        mem_free(k.sum);
        if (code) return code;
    }
    sink k = sink_of(r, -1);
    return pass(r, &k, e);
}

/* ---- all segments ---- */

static bool in_place(const facts *f) {
    return f->c_in == f->c_out && !f->up && !f->down;
}

/* p becomes the segment's result; the last one of a decoder goes to `ret`. */
static err_code next_plane(band_run *r, plane *p, float *ret, err *e) {
    const facts *f = &r->f;
    plane next = {.px = ret,
                  .y = p->y * (f->up ? 2 : 1) / (f->down ? 2 : 1),
                  .x = p->x * (f->up ? 2 : 1) / (f->down ? 2 : 1),
                  .c = f->c_out};
    bool same = !ret && in_place(f);
    double *sum = NULL;
    if (same)
        next = *p, next.sum = sum = mem_calloc(2 * (size_t)p->c, sizeof *sum);
    else if (!ret)
        TRY(plane_open(&next, next.y, next.x, next.c, e));
    r->src = p;
    r->dst = &next;
    r->given = mem_calloc((size_t)f->n_given + 1, sizeof *r->given);
    err_code code = run_segment(r, e);
    mem_free(r->given);
    if (same) { /* the memory stays, the sums are new */
        mem_free(p->sum);
        p->sum = sum;
        return code;
    }
    if (code) {
        if (!ret) plane_close(&next);
        return code;
    }
    plane_close(p);
    *p = next;
    return ERR_OK;
}

static err_code run_chain(band_run *r, plane *p, float *ret, err *e) {
    for (r->k = 0; r->k < r->c->n_segments; r->k++) {
        bool last = r->decode && r->k == r->c->n_segments - 1;
        read_facts(diff_net_weights(r->net), r->c, r->k, &r->f);
        if (r->f.c_in != p->c || r->f.c_out < 1)
            FAIL(e, FORMAT, "%s: a layer's channels do not fit the one before",
                 r->c->items[r->c->first[r->k]].at);
        TRY(next_plane(r, p, last ? ret : NULL, e));
        diff_net_drop_programs(r->net);
    }
    return ERR_OK;
}

static err_code decode_one(band_run *r, const vae_bands *b, const float *z, float *ret, err *e) {
    int32_t Y = b->nyx[1], X = b->nyx[2], c = r->v->info.z_channels;
    facts f;
    plane p;
    read_facts(diff_net_weights(r->net), r->c, 0, &f);
    if (f.c_in < 1) FAIL(e, FORMAT, "the decoder's first layer is missing");
    TRY(plane_open(&p, Y, X, f.c_in, e));
    float *x = mem_calloc((size_t)Y * (size_t)X * (size_t)c, sizeof *x);
    diff_to_nhwc(z, x, 1, c, (int64_t)Y * X);
    diff_shape s = {.kind = VAE_HEAD, .x = X, .y = Y, .batch = 1};
    err_code code = diff_net_run(r->net, &s, &(diff_io){.data = {x}, .result = p.px}, r->gate, e);
    mem_free(x);
    diff_net_drop_programs(r->net);
    if (code == ERR_OK) {
        add_sums(p.sum, p.px, (int64_t)Y * X, p.c);
        code = run_chain(r, &p, ret, e);
    }
    plane_close(&p);
    return code;
}

static err_code encode_one(band_run *r, const vae_bands *b, const float *px, float *ret, err *e) {
    int32_t Y = b->nyx[1], X = b->nyx[2], c = r->v->info.z_channels, f = r->v->info.factor;
    int64_t cells = (int64_t)(Y / f) * (X / f);
    plane p = {.px = (float *)(uintptr_t)px, .y = Y, .x = X, .c = 3};
    float *moments = mem_calloc((size_t)(cells * c * 2), sizeof *moments);
    err_code code = run_chain(r, &p, NULL, e);
    if (code == ERR_OK) {
        diff_shape s = {.kind = VAE_TAIL, .x = X / f, .y = Y / f, .batch = 1, .extra = p.c};
        diff_io io = {.data = {p.px}, .result = moments};
        code = diff_net_run(r->net, &s, &io, r->gate, e);
    }
    for (int64_t i = 0; i < cells && code == ERR_OK; i++)
        for (int32_t k = 0; k < c; k++) ret[k * cells + i] = moments[i * 2 * c + k];
    plane_close(&p);
    mem_free(moments);
    return code;
}

static err_code open_run(vae *v, const vae_bands *b, chain *c, band_run *r, err *e) {
    diff_net *net = b->decode ? v->decoder : v->encoder;
    int32_t f = b->decode ? 1 : v->info.factor;
    if (!v->info.can_band || !net)
        FAIL(e, UNSUPPORTED,
             "this VAE cannot work by bands: it is not of the KL kind, or has no %s",
             b->decode ? "decoder" : "encoder");
    if (b->nyx[1] < f || b->nyx[2] < f || b->nyx[1] % f || b->nyx[2] % f)
        FAIL(e, INVALID, "a picture of %dx%d: sides must be multiples of %d", b->nyx[2], b->nyx[1],
             f);
    describe(diff_net_weights(net), b->decode, c);
    if (vae_last_level(diff_net_weights(net), b->decode) < 0)
        FAIL(e, UNSUPPORTED, "this VAE cannot work by bands: it keeps the picture's size");
    *r = (band_run){.v = v, .net = net, .decode = b->decode, .rows = b->rows, .c = c};
    return ERR_OK;
}

err_code vae_band_run(vae *v, const vae_bands *b, const float *src, const diff_gate *gate,
                      float *ret, err *e) {
    chain c;
    band_run r;
    TRY(open_run(v, b, &c, &r, e));
    r.gate = gate;
    int64_t pixels = (int64_t)b->nyx[1] * b->nyx[2], z = v->info.z_channels;
    int64_t f2 = (int64_t)v->info.factor * v->info.factor;
    int64_t in = b->decode ? pixels * z : pixels * 3;
    int64_t out = b->decode ? pixels * f2 * 3 : pixels / f2 * z;
    for (int32_t i = 0; i < b->nyx[0]; i++)
        TRY(b->decode ? decode_one(&r, b, src + i * in, ret + i * out, e)
                      : encode_one(&r, b, src + i * in, ret + i * out, e));
    return ERR_OK;
}

/* ---- cost ---- */

static uint64_t plane_bytes(int32_t y, int32_t x, int32_t c) {
    return (uint64_t)y * (uint64_t)x * (uint64_t)c * sizeof(float);
}

static void take_max(uint64_t *a, uint64_t b) {
    if (b > *a) *a = b;
}

/* Of segment r->k over a plane of y, x. */
static err_code add_segment(const band_run *r, int32_t y, int32_t x, bool first, diff_cost *sum,
                            err *e) {
    const facts *f = &r->f;
    int32_t oy = y * (f->up ? 2 : 1) / (f->down ? 2 : 1),
            ox = x * (f->up ? 2 : 1) / (f->down ? 2 : 1);
    bool given = first && !r->decode; /* the picture is the caller's */
    uint64_t held = given ? 0 : plane_bytes(y, x, f->c_in);
    if (!in_place(f)) held += plane_bytes(oy, ox, f->c_out);
    for (int32_t stop = f->known ? 1 : 0; stop <= f->n_norms; stop++) {
        diff_shape s = band_shape(r, y, x, stop == f->n_norms ? -1 : stop);
        diff_cost one;
        TRY(diff_net_cost(r->net, &s, &one, e));
        uint64_t windows = 2 * plane_bytes(s.y, x, f->c_max) * (f->up ? 4 : 1);
        int32_t body = s.y == y ? y : s.y - 2 * f->halo;
        take_max(&sum->plan, held + one.plan + windows);
        sum->flops += one.flops * ((double)y / body);
        sum->weights = one.weights;
    }
    return ERR_OK;
}

err_code vae_band_cost(vae *v, const vae_bands *b, diff_cost *ret, err *e) {
    chain c;
    band_run r;
    diff_cost sum = {0}, ends;
    TRY(open_run(v, b, &c, &r, e));
    const diff_weights *w = diff_net_weights(r.net);
    int32_t y = b->nyx[1], x = b->nyx[2];
    for (r.k = 0; r.k < c.n_segments; r.k++) {
        read_facts(w, &c, r.k, &r.f);
        if (r.f.c_in < 1 || r.f.c_out < 1)
            FAIL(e, FORMAT, "%s: a layer is missing", c.items[c.first[r.k]].at);
        TRY(add_segment(&r, y, x, r.k == 0, &sum, e));
        y = y * (r.f.up ? 2 : 1) / (r.f.down ? 2 : 1);
        x = x * (r.f.up ? 2 : 1) / (r.f.down ? 2 : 1);
    }
    diff_shape s = {.kind = VAE_HEAD, .x = b->nyx[2], .y = b->nyx[1], .batch = 1};
    if (!b->decode)
        s = (diff_shape){.kind = VAE_TAIL, .x = x, .y = y, .batch = 1, .extra = r.f.c_out};
    TRY(diff_net_cost(r.net, &s, &ends, e));
    take_max(&sum.plan, ends.plan + plane_bytes(s.y, s.x, r.f.c_max) + plane_bytes(s.y, s.x, 64));
    sum.flops += ends.flops;
    sum.weights = ends.weights;
    *ret = sum;
    return ERR_OK;
}
