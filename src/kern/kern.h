/* Levels of the kernels: which instruction sets a table may use.
 *
 * Every table of kernels (kern_vec.h, kern_mat.h) exists once per level. The C reference fills all
 * slots of all levels; each instruction set overlays what it does faster, in ascending order. The
 * CPU device uses the best level that the processor, the system and kern_level_limit allow; a test
 * may ask for any level that kern_level_usable allows, so one machine tests all lower ones.
 * Threads: any, except kern_level_limit: start-up only. */
#pragma once
#include <stdbool.h>

typedef enum kern_level {
    KERN_LEVEL_REF,     /* plain C */
    KERN_LEVEL_AVX2,    /* with FMA, F16C and BMI2 */
    KERN_LEVEL_AVXVNNI, /* and the 256-bit byte dot product (AVX-VNNI) */
    KERN_LEVEL_AVX512,  /* AVX-512 F, BW, VL, DQ and VNNI */
    KERN_LEVEL_BF16,    /* and the dot product of bfloat16 pairs (AVX512-BF16) */
    KERN_LEVEL_AMX,     /* and tile registers with products of bfloat16 (AMX-BF16) */
    KERN_LEVEL_COUNT
} kern_level;

/* "AVX2"; never NULL. */
const char *kern_level_name(kern_level level);

/* Whether this processor and its operating system can run the level. For tile registers the system
 * is asked for leave, once, for all threads. */
bool kern_level_usable(kern_level level);

/* Whether the table of `level` is overlaid with the kernels of `part`. Not on a processor that
 * lacks part: even the function that fills in their slots is compiled with its instructions. */
bool kern_level_takes(kern_level level, kern_level part);

/* The best usable level that is not above the limit. */
kern_level kern_level_best(void);

/* Caps kern_level_best, for measuring and testing lower levels in the whole program. */
void kern_level_limit(kern_level highest);
