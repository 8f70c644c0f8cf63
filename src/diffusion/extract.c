/* Differences of models to adapter files. What is written is decided from shapes first, so that the
 * header can be made; each tensor is computed when its turn comes. */
#include "diffusion/extract.h"
#include "base/mem.h"
#include "base/vec.h"
#include "diffusion/low_rank.h"
#include "kern/kern_vec.h"
#include "os/file.h"
#include <math.h>
#include <string.h>

enum { NAME_BYTES = 512 };

typedef struct entry {
    diff_weights *w;
    const safetensors_tensor *t;
    const char *prefix;
    char *name;   /* the tensor's, below the network's prefix */
    int64_t rank; /* 0: the difference itself */
    bool bias;
} entry;
typedef VEC(entry) entries;

static int64_t out_of(const safetensors_tensor *t) {
    return t->ne[t->n_dims - 1];
}

/* ---- what is written ---- */

static void add_tensor(const diff_extract_job *job, entries *all, entry x, str name) {
    bool weight = str_ends(name, STR(".weight")), bias = str_ends(name, STR(".bias"));
    int64_t n = diff_tensor_elems(x.t);
    if ((!weight && !bias) || n == 0 || x.t->n_dims < 1) return;
    bool vector = x.t->n_dims < 2;
    if ((bias || (vector && !job->full)) && !job->biases) return;
    if (weight && !vector && !job->full) {
        int64_t out = out_of(x.t), in = n / out, least = out < in ? out : in;
        x.rank = job->rank < least ? job->rank : least;
    }
    x.bias = bias;
    x.name = mem_alloc(name.len + 1);
    memcpy(x.name, name.ptr, name.len);
    x.name[name.len] = '\0';
    VEC_PUSH(*all, x);
}

static void add_network(const diff_extract_job *job, entries *all, diff_net *net,
                        const char *prefix) {
    entry x = {.w = diff_net_weights(net), .prefix = prefix};
    str name;
    for (size_t i = 0; (x.t = diff_weights_at(x.w, i, &name)); i++)
        if (name.len > 0 && name.len < NAME_BYTES) add_tensor(job, all, x, name);
}

static err_code gather(const diff_extract_job *job, entries *all, err *e) {
    if (job->model) add_network(job, all, unet_net(job->model->net), "diffusion_model.");
    if (job->clip && job->clip->l)
        add_network(job, all, clip_text_net(job->clip->l), "text_encoders.clip_l.transformer.");
    if (job->clip && job->clip->g)
        FAIL(e, UNSUPPORTED,
             "the OpenCLIP text encoder cannot be written as an adapter; leave text_encoder_diff "
             "unconnected");
    if (all->len == 0) FAIL(e, INVALID, "there is no difference to save: connect model_diff");
    return ERR_OK;
}

/* ---- the header ---- */

typedef struct header {
    buf text;
    uint64_t at;
} header;

static void put_tensor(header *h, const entry *x, const char *suffix, const int64_t *shape,
                       size_t n_dims) {
    size_t base = strlen(x->name) - (x->bias ? 5 : 7); /* without .bias or .weight */
    uint64_t n = sizeof(uint16_t);
    if (h->text.len > 1) buf_put_char(&h->text, ',');
    buf_putf(&h->text, "\"%s%.*s%s\":{\"dtype\":\"F16\",\"shape\":[", x->prefix, (int)base, x->name,
             suffix);
    for (size_t i = 0; i < n_dims; i++) {
        buf_putf(&h->text, "%s%lld", i ? "," : "", (long long)shape[i]);
        n *= (uint64_t)shape[i];
    }
    buf_putf(&h->text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)h->at,
             (unsigned long long)(h->at + n));
    h->at += n;
}

/* up [out, rank, 1, 1], down [rank, in, y, x]; of a linear layer without the last two. */
static void put_entry_head(header *h, const entry *x) {
    const safetensors_tensor *t = x->t;
    int64_t shape[4];
    for (size_t i = 0; i < t->n_dims && i < 4; i++) shape[i] = t->ne[t->n_dims - 1 - i];
    if (x->rank == 0) {
        put_tensor(h, x, x->bias ? ".diff_b" : ".diff", shape, t->n_dims);
        return;
    }
    int64_t up[4] = {shape[0], x->rank, 1, 1};
    put_tensor(h, x, ".lora_up.weight", up, t->n_dims);
    shape[0] = x->rank;
    put_tensor(h, x, ".lora_down.weight", shape, t->n_dims);
}

/* ---- values ---- */

static err_code put_floats(file_writer *w, const float *v, size_t n, err *e) {
    uint16_t *half = mem_alloc(n * sizeof *half);
    kern_vec_get(KERN_LEVEL_REF)->f32_to_f16(half, v, (int64_t)n);
    err_code code = file_writer_put(w, half, n * sizeof *half, e);
    mem_free(half);
    return code;
}

static err_code put_values(file_writer *w, const entry *x, err *e) {
    float *v = diff_weights_read(x->w, x->name);
    int64_t n = diff_tensor_elems(x->t), m = out_of(x->t);
    if (!v) FAIL(e, UNSUPPORTED, "%s cannot be read", x->name);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i])) {
            mem_free(v);
            FAIL(e, INVALID, "%s holds values that are not numbers", x->name);
        }
    err_code code;
    if (x->rank == 0) {
        code = put_floats(w, v, (size_t)n, e);
    } else {
        size_t n_up = (size_t)(m * x->rank), all = n_up + (size_t)(x->rank * (n / m));
        float *both = mem_calloc(all, sizeof *both);
        low_rank(&(low_rank_job){v, m, n / m, x->rank, both, both + n_up});
        code = put_floats(w, both, all, e);
        mem_free(both);
    }
    mem_free(v);
    return code;
}

static err_code put_all(const diff_extract_job *job, const entries *all, file_writer *w, err *e) {
    header h = {.at = 0};
    buf_put_char(&h.text, '{');
    if (job->metadata.len) {
        buf_put_str(&h.text, STR("\"__metadata__\":"));
        buf_put_str(&h.text, job->metadata);
    }
    for (size_t i = 0; i < all->len; i++) put_entry_head(&h, &all->items[i]);
    buf_put_char(&h.text, '}');
    err_code code = safetensors_put_head(w, &h.text, e);
    for (size_t i = 0; i < all->len && code == ERR_OK; i++) {
        code = put_values(w, &all->items[i], e);
        if (code == ERR_OK && job->tick) code = job->tick(job->ctx, i + 1, all->len, e);
    }
    return code ? code : file_writer_commit(w, e);
}

err_code diff_extract(const char *path, const diff_extract_job *job, err *e) {
    entries all = {0};
    file_writer w;
    err_code code = gather(job, &all, e);
    if (code == ERR_OK) code = file_writer_open(path, &w, e);
    if (code == ERR_OK) {
        code = put_all(job, &all, &w, e);
        if (code) file_writer_abort(&w);
    }
    for (size_t i = 0; i < all.len; i++) mem_free(all.items[i].name);
    VEC_FINISH(all);
    return code;
}
