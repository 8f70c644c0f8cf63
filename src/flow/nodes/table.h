/* Shorthand for the rows of a family's table, and the list of tables. Only files under flow/nodes/
 * and flow/node.c include this. Arrays made here are compound literals at file scope: static. */
#pragma once
#include "flow/node.h"

#define INPUTS(...)                                                                                \
    .inputs = (const flow_input[]) {                                                               \
        __VA_ARGS__, {                                                                             \
            .name = NULL                                                                           \
        }                                                                                          \
    }
#define NO_INPUTS                                                                                  \
    .inputs = (const flow_input[]) {                                                               \
        { .name = NULL }                                                                           \
    }
#define OUTPUTS(...)                                                                               \
    .outputs = (const flow_output[]) {                                                             \
        __VA_ARGS__, {                                                                             \
            .type = NULL                                                                           \
        }                                                                                          \
    }
#define NO_OUTPUTS                                                                                 \
    .outputs = (const flow_output[]) {                                                             \
        { .type = NULL }                                                                           \
    }
#define CHOICES(...)                                                                               \
    (const char *const[]) {                                                                        \
        __VA_ARGS__, NULL                                                                          \
    }

#define NODE(class_, display_, category_, flags_)                                                  \
    .name = (class_), .display = (display_), .category = (category_), .flags = (flags_)

/* Inputs: name, type or default, range, flags. A step or round of 0 is not shown. */
#define LINK(n, t, fl)                                                                             \
    { .name = (n), .type = (t), .flags = (fl) }
#define INT(n, def, lo, hi, st, fl)                                                                \
    {                                                                                              \
        .name = (n), .type = "INT", .flags = (fl), .i = {(def), (lo), (hi), (st) }                 \
    }
#define FLOAT(n, def, lo, hi, st, rnd, fl)                                                         \
    {                                                                                              \
        .name = (n), .type = "FLOAT", .flags = (fl), .f = {(def), (lo), (hi), (st), (rnd) }        \
    }
#define TEXT(n, def, fl)                                                                           \
    { .name = (n), .type = "STRING", .flags = (fl), .text = (def) }
#define BOOL(n, def, fl)                                                                           \
    { .name = (n), .type = "BOOLEAN", .flags = (fl), .on = (def) }
#define COMBO(n, list, def, fl)                                                                    \
    { .name = (n), .type = "COMBO", .flags = (fl), .choices = (list), .text = (def) }
#define FILES(n, folder, fl)                                                                       \
    { .name = (n), .type = "COMBO", .flags = (fl), .files = (folder) }
#define HIDDEN(n, t)                                                                               \
    { .name = (n), .type = (t), .flags = FLOW_HIDDEN }
#define SAVED_WITH HIDDEN("prompt", "PROMPT"), HIDDEN("extra_pnginfo", "EXTRA_PNGINFO")

/* Menus that several nodes share (lists.c). */
extern const char *const flow_samplers[];
extern const char *const flow_schedulers[];

extern const flow_def flow_nodes_loaders[];
extern const flow_def flow_nodes_text[];
extern const flow_def flow_nodes_conditioning[];
extern const flow_def flow_nodes_sampling[];
extern const flow_def flow_nodes_custom[];
extern const flow_def flow_nodes_schedules[];
extern const flow_def flow_nodes_latent[];
extern const flow_def flow_nodes_image[];
extern const flow_def flow_nodes_mask[];
extern const flow_def flow_nodes_patch[];
extern const flow_def flow_nodes_merge[];
extern const flow_def flow_nodes_utility[];
extern const flow_def flow_nodes_strings[];
extern const flow_def flow_nodes_regex[];
