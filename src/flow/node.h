/* What a node class is: one row of a table.
 *
 * Every family of nodes has one file under flow/nodes/ with one table of flow_defs: names, inputs
 * with their types, defaults and ranges, outputs, and the function that does the work. The
 * catalogue that clients read (flow/object_info.h), the checks of a workflow (flow/validate.h),
 * the conversion of saved workflows (flow/convert.h) and execution (flow/exec.h) all read these
 * rows and know no class by name. Names, order, defaults and ranges are the contract with
 * existing workflows; categories and display names are for menus.
 *
 * Owner: static data for the whole process. Threads: any. */
#pragma once
#include "base/err.h"
#include "flow/data.h"

#define FLOW_MAX_RESOLUTION 16384

typedef struct flow_call flow_call;

/* What a workflow may ask of the machine while it is checked and listed. Filled by the server;
 * ctx is its own. Each function may be NULL: no files. */
typedef struct flow_host {
    void *ctx;
    /* Pushes the names a folder offers, in menu order, onto the list. `folder` is what a row's
     * FILES input names: "checkpoints", "loras", "input" (pictures that were uploaded), ... */
    void (*files)(void *ctx, const char *folder, arena *a, value *list);
    /* Whether `name` is a readable file of the folder; `name` may end in " [output]" and the like
     * and comes from a stranger: it must be checked for leaving the folder. */
    bool (*has_file)(void *ctx, const char *folder, str name);
    bool only_runnable; /* hide and refuse classes whose run function is not there yet */
} flow_host;

typedef enum flow_input_flag {
    FLOW_OPTIONAL = 1u << 0,
    FLOW_HIDDEN = 1u << 1,       /* filled by the server: PROMPT, EXTRA_PNGINFO, UNIQUE_ID */
    FLOW_OPTS = 1u << 2,         /* the catalogue shows an options object even when it is empty */
    FLOW_NO_DEFAULT = 1u << 3,   /* none is shown */
    FLOW_NO_MAX = 1u << 4,       /* numbers without an upper bound */
    FLOW_CONTROL = 1u << 5,      /* control_after_generate: one more widget in saved workflows */
    FLOW_MULTILINE = 1u << 6,    /* multiline: true */
    FLOW_SINGLE = 1u << 7,       /* multiline: false is shown */
    FLOW_DYNAMIC = 1u << 8,      /* dynamicPrompts: true */
    FLOW_UPLOAD = 1u << 9,       /* image_upload: true; one more widget in saved workflows */
    FLOW_ADVANCED = 1u << 10,    /* advanced: true */
    FLOW_LAZY = 1u << 11,        /* computed only when the node's needs() asks for it */
    FLOW_FORCE_LINK = 1u << 12,  /* forceInput: true; no widget */
    FLOW_ANY_FILE = 1u << 13,    /* existence is checked instead of membership in the list */
    FLOW_OF_OUTPUT = 1u << 14,   /* the list is fetched by the client from the output folder */
    FLOW_PLAIN_COMBO = 1u << 15, /* shown as ["COMBO", {multiselect, options}] */
    FLOW_NO_MIN = 1u << 16,      /* numbers without a lower bound */
    FLOW_COLOR = 1u << 17,       /* display: "color" */
    FLOW_NO_ROUND = 1u << 18     /* round: false is shown */
} flow_input_flag;

typedef struct flow_input {
    const char *name; /* NULL ends a list */
    const char *type; /* "INT", "MODEL", "COMBO", "*", or a union "INT,FLOAT" */
    uint32_t flags;
    const char *const *choices; /* COMBO: fixed choices, NULL-terminated; NULL: files */
    const char *files;          /* COMBO: folder of flow_host.files, listed before the choices */
    const char *text;           /* default of STRING and COMBO, NULL = none shown */
    bool on;                    /* default of BOOLEAN */
    struct {
        int64_t initial, min;
        uint64_t max; /* seeds need all 64 bits; read as signed when min is negative */
        int64_t step; /* 0 = none shown */
    } i;              /* INT */
    struct {
        double initial, min, max;
        double step, round; /* 0 = none shown */
    } f;                    /* FLOAT */
} flow_input;

typedef struct flow_output {
    const char *type; /* NULL ends a list */
    const char *name; /* NULL: the type's name */
    bool list;        /* the node hands over a list of values for this slot */
} flow_output;

typedef enum flow_def_flag {
    FLOW_OUTPUT_NODE = 1u << 0, /* work starts from these */
    FLOW_DEPRECATED = 1u << 1,
    FLOW_EXPERIMENTAL = 1u << 2,
    FLOW_SHOW_STATUS = 1u << 3, /* the catalogue shows deprecated, experimental, api_node always */
    FLOW_LIST_INPUT = 1u << 4,  /* gets every input as a whole list, runs once */
    FLOW_NOT_IDEMPOTENT = 1u << 5, /* equal nodes do not share a result */
    FLOW_ALWAYS_RUNS = 1u << 6     /* never taken from the cache */
} flow_def_flag;

typedef struct flow_def {
    const char *name; /* class_type; NULL ends a table */
    const char *display;
    const char *category;
    uint32_t flags;
    const flow_input *inputs; /* required, then optional, then hidden */
    const flow_output *outputs;
    /* Does the work: reads inputs and sets every output (flow/call.h). NULL: not built yet. */
    err_code (*run)(flow_call *c, err *e);
    /* Names the lazy inputs it wants (flow_call_need), given the inputs known so far. Called
     * again after each was computed; naming none means that the node can run. NULL: wants all. */
    err_code (*needs)(flow_call *c, err *e);
    /* Writes text that changes when the node must run again although its inputs are the same, such
     * as the hash of a file (flow_call_fingerprint). Only literal inputs are known. */
    err_code (*changed)(flow_call *c, err *e);
} flow_def;

/* The row of a class; NULL when there is none. */
const flow_def *flow_def_find(str class_name);
/* All rows in catalogue order: call with i = 0, 1, ... until NULL. */
const flow_def *flow_def_at(size_t i);
size_t flow_def_inputs(const flow_def *d);
size_t flow_def_outputs(const flow_def *d);
const flow_input *flow_def_input(const flow_def *d, str name); /* NULL when absent */
/* True for inputs a saved workflow keeps a widget for: literals, not links. */
bool flow_input_is_widget(const flow_input *in);
