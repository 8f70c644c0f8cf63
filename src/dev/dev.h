/* A device: memory with a known capacity, and a way to run programs.
 *
 * One table of functions per kind of device (dev_ops), with all argument checks in front of it
 * (dev.c) and none behind. The CPU device is always there; a GPU backend that is not built in is a
 * file of stubs. Owner: main creates devices, the scheduler hands them out.
 * Threads: one thread at a time runs programs on a device; memory calls are thread-safe. */
#pragma once
#include "dev/op.h"
#include "dev/step.h"

typedef struct dev dev;
typedef struct dev_program dev_program;

/* A stretch of device memory. Host-visible on the CPU device (ptr is what kernels use). */
typedef struct dev_buffer {
    void *ptr;
    uint64_t n_bytes;
    bool lazy; /* from dev_reserve */
} dev_buffer;

typedef struct dev_info {
    const char *name;        /* "cpu" */
    char description[128];   /* "AMD EPYC, AVX-512 VNNI, 2 threads" */
    uint64_t capacity_bytes; /* what the device has in all */
    uint64_t given_bytes;    /* what it has given out */
    int32_t n_threads;
    bool bf16;       /* as dev_cpu_params says */
    bool reads_bf16; /* its convolutions in bfloat16 round what they read and nothing else: the
                        planner may have it written rounded */
} dev_info;

typedef struct dev_cpu_params {
    int32_t n_threads; /* 0 = physical cores */
    bool bf16; /* networks of pictures are wanted in bfloat16: whoever builds their graphs asks */
} dev_cpu_params;

err_code dev_cpu_create(const dev_cpu_params *p, dev **ret, err *e);
void dev_destroy(dev **d);
void dev_get_info(const dev *d, dev_info *ret);

/* Large zeroed memory; ERR_DEVICE_NOMEM names the bytes asked for and what is left. */
err_code dev_alloc(dev *d, uint64_t n_bytes, dev_buffer *ret, err *e);
/* Zeroed address space that takes memory page by page as it is written, for pools whose owner keeps
 * account itself (the ledger). Does not count as given out. */
err_code dev_reserve(dev *d, uint64_t n_bytes, dev_buffer *ret, err *e);
void dev_free(dev *d, dev_buffer *b); /* empties *b; an empty buffer is allowed */

/* The order of weights that this device multiplies fastest (CPU: kern/interleave.h). Whether it has
 * one for matrices [k, n_rows] of this type, and putting one of dense rows into it: dst takes as
 * many bytes as src has, 64-byte aligned. Thread-safe: works on the calling thread, also during a
 * run. */
bool dev_can_interleave(const dev *d, dtype type, int64_t k, int64_t n_rows);
void dev_interleave(dev *d, dtype type, const void *src, int64_t k, int64_t n_rows, void *dst);

/* Copies the spec (weights stay borrowed: their memory must outlive the program) and allocates the
 * step arena of spec->arena_bytes. */
err_code dev_compile(dev *d, const dev_program_spec *spec, dev_program **ret, err *e);
void dev_program_destroy(dev_program **p);
/* Gives the memory of the arena back to the system until the next run, which costs that run some
 * microseconds a megabyte. It stays reserved. Not during a run. */
void dev_program_rest(dev_program *p);

/* Runs phases [phase_from, phase_to) of one step; a step cut into slices is run with ascending,
 * adjoining ranges and the same dev_step, and its arena is kept between slices. `cancel` (or NULL)
 * is looked at between phases: ERR_CANCELLED leaves KV pages of this step undefined. */
typedef struct dev_cancel {
    _Atomic int flag;
} dev_cancel;
err_code dev_run(dev_program *p, const dev_step *step, int32_t phase_from, int32_t phase_to,
                 dev_cancel *cancel, err *e);

/* Where the time of dev_run goes, summed over threads. Off after creation; for bench/. */
typedef struct dev_profile {
    int64_t op_ns[DEV_OP_COUNT];    /* time inside each kind of operation */
    int64_t op_count[DEV_OP_COUNT]; /* nodes run */
    int64_t rope_table_ns;          /* cosines and sines of the step's positions */
    int64_t wait_ns;                /* threads waiting for the others between phases */
    int64_t run_ns;                 /* wall time of dev_run */
    int64_t n_parallel, n_serial;   /* phases run by all threads, and by one */
} dev_profile;

void dev_profile_enable(dev *d, bool on); /* also clears the counters */
void dev_profile_get(const dev *d, dev_profile *ret);
