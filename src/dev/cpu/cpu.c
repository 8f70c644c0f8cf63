/* The CPU device: memory with an account, and compiling programs.
 *
 * Compiling copies the nodes and tensors, groups nodes by phase and allocates three stretches: the
 * step's arena, one scratch stretch per thread, and rope tables. Running is in run.c. */
#include "dev/cpu/cpu.h"
#include "base/mem.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SPIN_NS = 15000, SCRATCH_ALIGN = 4096, HUGE_FROM_BYTES = 32 << 20 };

/* ---- the device ---- */

static void cpu_destroy(dev *base) {
    cpu_dev *d = (cpu_dev *)base;
    assert(atomic_load(&d->given_bytes) == 0); /* every buffer and program has been given back */
    pool_destroy(&d->pool);
    pthread_mutex_destroy(&d->run_mu);
    mem_free(d->profile);
    mem_free(d);
}

static void cpu_get_info(const dev *base, dev_info *ret) {
    const cpu_dev *d = (const cpu_dev *)base;
    *ret = (dev_info){.name = "cpu",
                      .capacity_bytes = d->capacity_bytes,
                      .given_bytes = atomic_load(&((cpu_dev *)(uintptr_t)d)->given_bytes),
                      .n_threads = d->n_threads,
                      .bf16 = d->bf16,
                      .reads_bf16 = d->gemm->is_tiled};
    snprintf(ret->description, sizeof ret->description, "CPU, %s, %d thread%s",
             kern_level_name(d->level), d->n_threads, d->n_threads == 1 ? "" : "s");
}

static void *map_zeroed(uint64_t n_bytes) {
    void *ptr = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return ptr == MAP_FAILED ? NULL : ptr;
}

static err_code cpu_alloc(dev *base, uint64_t n_bytes, bool lazy, dev_buffer *ret, err *e) {
    cpu_dev *d = (cpu_dev *)base;
    uint64_t counted = lazy ? 0 : n_bytes;
    uint64_t before = atomic_fetch_add(&d->given_bytes, counted);
    uint64_t left = before < d->capacity_bytes ? d->capacity_bytes - before : 0;
    void *ptr = counted <= left ? map_zeroed(n_bytes) : NULL;
    if (!ptr) {
        atomic_fetch_sub(&d->given_bytes, counted);
        FAIL(e, DEVICE_NOMEM, "cpu: %llu bytes asked for, %llu of %llu left",
             (unsigned long long)n_bytes, (unsigned long long)left,
             (unsigned long long)d->capacity_bytes);
    }
    if (!lazy && n_bytes >= HUGE_FROM_BYTES) (void)madvise(ptr, n_bytes, MADV_HUGEPAGE);
    *ret = (dev_buffer){ptr, n_bytes, lazy};
    return ERR_OK;
}

static void cpu_free(dev *base, dev_buffer *b) {
    cpu_dev *d = (cpu_dev *)base;
    munmap(b->ptr, b->n_bytes);
    if (!b->lazy) atomic_fetch_sub(&d->given_bytes, b->n_bytes);
}

/* ---- profile ---- */

static void cpu_profile_enable(dev *base, bool on) {
    cpu_dev *d = (cpu_dev *)base;
    memset(d->profile, 0, (size_t)d->n_threads * sizeof *d->profile);
    d->profile_on = on;
}

static void cpu_profile_get(const dev *base, dev_profile *ret) {
    const cpu_dev *d = (const cpu_dev *)base;
    *ret = (dev_profile){0};
    for (int32_t t = 0; t < d->n_threads; t++) {
        const dev_profile *p = &d->profile[t];
        for (int i = 0; i < DEV_OP_COUNT; i++) {
            ret->op_ns[i] += p->op_ns[i];
            ret->op_count[i] += p->op_count[i];
        }
        ret->rope_table_ns += p->rope_table_ns;
        ret->wait_ns += p->wait_ns;
        ret->run_ns += p->run_ns;
        ret->n_parallel += p->n_parallel;
        ret->n_serial += p->n_serial;
    }
}

/* ---- programs ---- */

static void cpu_program_destroy(dev_program *base) {
    cpu_program *p = (cpu_program *)base;
    dev_free(&p->d->base, &p->arena);
    dev_free(&p->d->base, &p->scratch);
    dev_free(&p->d->base, &p->rope_mem);
    for (int32_t i = 0; i < p->n_rope; i++) mem_free(p->rope[i].freq);
    mem_free(p->nodes);
    mem_free(p->phases);
    mem_free(p->tensors);
    mem_free(p->chunk_end);
    mem_free(p);
}

static void cpu_program_rest(dev_program *base) {
    cpu_program *p = (cpu_program *)base;
    if (p->arena.ptr) (void)madvise(p->arena.ptr, p->arena.n_bytes, MADV_DONTNEED);
}

static void copy_nodes(cpu_program *p, const dev_program_spec *spec) {
    size_t n_tensors = (size_t)spec->n_nodes * (DEV_NODE_INPUTS + 1);
    p->nodes = NEW_ARRAY(cpu_node, (size_t)spec->n_nodes);
    p->tensors = NEW_ARRAY(dev_tensor, n_tensors);
    p->phases = NEW_ARRAY(cpu_phase, (size_t)spec->n_phases);
    p->chunk_end = NEW_ARRAY(int32_t, (size_t)spec->n_nodes);
    p->n_nodes = spec->n_nodes;
    dev_tensor *t = p->tensors;
    for (int32_t i = 0; i < spec->n_nodes; i++) {
        cpu_node *n = &p->nodes[i];
        n->n = spec->nodes[i];
        n->op = &cpu_ops[n->n.op];
        n->rope_table = -1;
        for (int k = 0; k < DEV_NODE_INPUTS; k++) {
            if (!n->n.in[k]) continue;
            *t = *n->n.in[k];
            n->n.in[k] = t++;
        }
        if (n->n.out) {
            *t = *n->n.out;
            n->n.out = t++;
        }
        cpu_phase *ph = &p->phases[n->n.phase];
        if (ph->n++ == 0) ph->first = i;
    }
    const dev_tensor *next_w = NULL;
    for (int32_t i = spec->n_nodes - 1; i >= 0; i--) {
        if (p->nodes[i].n.op != DEV_OP_MATMUL) continue;
        p->nodes[i].next_w = next_w;
        next_w = p->nodes[i].n.in[0];
    }
}

static void note_inputs(cpu_program *p) {
    for (int s = 0; s < DEV_INPUT_COUNT; s++) p->base.id_limit[s] = INT32_MAX;
    for (int32_t i = 0; i < p->n_nodes; i++) {
        const dev_node *n = &p->nodes[i].n;
        if (n->op == DEV_OP_ATTENTION || n->op == DEV_OP_KV_STORE) p->base.uses_kv = true;
        for (int k = 0; k < DEV_NODE_INPUTS; k++) {
            const dev_tensor *t = n->in[k];
            if (t && t->place == DEV_PLACE_DATA) p->base.uses_data[t->slot] = true;
            if (!t || t->place != DEV_PLACE_INPUT) continue;
            p->base.uses_input[t->slot] = true;
            if (n->op == DEV_OP_GET_ROWS && n->in[0]->ne[1] < p->base.id_limit[t->slot])
                p->base.id_limit[t->slot] = (int32_t)n->in[0]->ne[1];
        }
    }
}

static uint64_t scratch_need(cpu_program *p) {
    uint64_t need = 0;
    for (int32_t i = 0; i < p->n_nodes; i++) {
        cpu_node *n = &p->nodes[i];
        if (n->op->prepare) n->op->prepare(p, n);
        uint64_t bytes = n->n.out ? (uint64_t)n->n.out->ne[0] * sizeof(float) : 0;
        if (n->op->scratch_bytes) bytes = n->op->scratch_bytes(p, n);
        if (bytes > need) need = bytes;
    }
    return (need + SCRATCH_ALIGN) / SCRATCH_ALIGN * SCRATCH_ALIGN;
}

static err_code fill_program(cpu_program *p, const dev_program_spec *spec, err *e) {
    copy_nodes(p, spec);
    note_inputs(p);
    dev *d = &p->d->base;
    if (spec->arena_bytes) TRY(dev_alloc(d, spec->arena_bytes, &p->arena, e));
    p->scratch_bytes = scratch_need(p);
    TRY(dev_alloc(d, p->scratch_bytes * (uint64_t)p->d->n_threads, &p->scratch, e));
    return cpu_rope_prepare(p, e);
}

static err_code cpu_compile(dev *base, const dev_program_spec *spec, dev_program **ret, err *e) {
    cpu_program *p = NEW(cpu_program);
    p->d = (cpu_dev *)base;
    p->base = (dev_program){.table = base->table,
                            .n_phases = spec->n_phases,
                            .max_tokens = spec->max_tokens,
                            .max_out_rows = spec->max_out_rows,
                            .max_seqs = spec->max_seqs};
    err_code code = fill_program(p, spec, e);
    if (code != ERR_OK) {
        cpu_program_destroy(&p->base);
        return code;
    }
    *ret = &p->base;
    return ERR_OK;
}

static const dev_table cpu_table = {
    .destroy = cpu_destroy,
    .get_info = cpu_get_info,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .compile = cpu_compile,
    .program_destroy = cpu_program_destroy,
    .program_rest = cpu_program_rest,
    .run = cpu_run_step,
    .can_interleave = cpu_can_interleave,
    .interleave = cpu_interleave,
    .profile_enable = cpu_profile_enable,
    .profile_get = cpu_profile_get,
};

err_code dev_cpu_create(const dev_cpu_params *params, dev **ret, err *e) {
    int64_t n_cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t n_threads = params->n_threads > 0 ? params->n_threads : cpu_max(1, n_cores);
    if (n_threads > POOL_THREADS_MAX) n_threads = POOL_THREADS_MAX;
    cpu_dev *d = NEW(cpu_dev);
    d->base.table = &cpu_table;
    d->level = kern_level_best();
    d->bf16 = params->bf16;
    d->vec = kern_vec_get(d->level);
    d->mat = kern_mat_get(d->level);
    d->gemm = kern_gemm_get(d->level);
    d->pool = pool_create((int32_t)n_threads, SPIN_NS);
    pthread_mutex_init(&d->run_mu, NULL);
    d->n_threads = pool_n_threads(d->pool);
    d->capacity_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    d->profile = NEW_ARRAY(dev_profile, (size_t)d->n_threads);
    if (d->capacity_bytes == 0) {
        cpu_destroy(&d->base);
        FAIL(e, DEVICE, "the system does not say how much memory it has");
    }
    *ret = &d->base;
    return ERR_OK;
}
