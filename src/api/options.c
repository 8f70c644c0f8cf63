/* The table of options and how JSON values become them. */
#include "api/options.h"
#include "api/fields.h"
#include "base/limits.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef enum option_type {
    OPT_INT32,
    OPT_INT64,
    OPT_FLOAT,
    OPT_STRINGS,
    OPT_BOOL,
    OPT_IGNORED
} option_type;

#define NOWHERE SIZE_MAX
#define AT(field) offsetof(options, field)

static const struct {
    const char *name;
    option_type type;
    size_t offset;
} TABLE[] = {
    {"num_keep", OPT_INT32, AT(n_keep)},
    {"seed", OPT_INT64, AT(sample.seed)},
    {"num_predict", OPT_INT32, AT(n_predict)},
    {"top_k", OPT_INT32, AT(sample.top_k)},
    {"top_p", OPT_FLOAT, AT(sample.top_p)},
    {"min_p", OPT_FLOAT, AT(sample.min_p)},
    {"typical_p", OPT_FLOAT, AT(sample.typical_p)},
    {"repeat_last_n", OPT_INT32, AT(sample.repeat_last_n)},
    {"temperature", OPT_FLOAT, AT(sample.temperature)},
    {"repeat_penalty", OPT_FLOAT, AT(sample.repeat_penalty)},
    {"presence_penalty", OPT_FLOAT, AT(sample.presence_penalty)},
    {"frequency_penalty", OPT_FLOAT, AT(sample.frequency_penalty)},
    {"stop", OPT_STRINGS, AT(stop)},
    {"num_ctx", OPT_INT32, AT(n_ctx)},
    /* how a model is placed is the ledger's business: checked for type, otherwise ignored */
    {"num_batch", OPT_INT32, NOWHERE},
    {"num_gpu", OPT_INT32, NOWHERE},
    {"main_gpu", OPT_INT32, NOWHERE},
    {"use_mmap", OPT_BOOL, NOWHERE},
    {"num_thread", OPT_INT32, NOWHERE},
    {"draft_num_predict", OPT_INT32, NOWHERE},
    /* old names that clients still send */
    {"penalize_newline", OPT_IGNORED, NOWHERE},
    {"low_vram", OPT_IGNORED, NOWHERE},
    {"f16_kv", OPT_IGNORED, NOWHERE},
    {"logits_all", OPT_IGNORED, NOWHERE},
    {"vocab_only", OPT_IGNORED, NOWHERE},
    {"use_mlock", OPT_IGNORED, NOWHERE},
    {"mirostat", OPT_IGNORED, NOWHERE},
    {"mirostat_tau", OPT_IGNORED, NOWHERE},
    {"mirostat_eta", OPT_IGNORED, NOWHERE},
    {"tfs_z", OPT_IGNORED, NOWHERE},
    {"numa", OPT_IGNORED, NOWHERE},
};

options options_default(void) {
    return (options){
        .sample = {.temperature = 0.8f,
                   .top_k = 40,
                   .top_p = 0.9f,
                   .typical_p = 1,
                   .repeat_last_n = 64,
                   .repeat_penalty = 1,
                   .seed = -1},
        .n_keep = 4,
        .n_predict = -1,
    };
}

static err_code wrong_type(const char *name, const char *want, err *e) {
    FAIL(e, INVALID, "option \"%s\" must be of type %s", name, want);
}

/* An integer option also takes 3.7 (as 3) and 1e30 (clamped), as Ollama does. */
static bool get_integer(const json_t *v, int64_t min, int64_t max, int64_t *ret) {
    if (!json_is_number(v)) return false;
    double d = json_number_value(v);
    if (json_is_integer(v))
        *ret = json_integer_value(v);
    else
        *ret = d >= (double)max ? max : d <= (double)min ? min : (int64_t)d;
    if (*ret < min) *ret = min;
    if (*ret > max) *ret = max;
    return true;
}

static float clamp_float(double d) {
    if (!isfinite(d)) return 0;
    return (float)(d > 1e30 ? 1e30 : d < -1e30 ? -1e30 : d);
}

static err_code set_strings(options *o, const json_t *v, arena *a, err *e) {
    size_t n = json_is_string(v) ? 1 : json_array_size(v);
    if (!json_is_string(v) && !json_is_array(v)) return wrong_type("stop", "array", e);
    if (n > LIMIT_STOP_STRINGS)
        FAIL(e, LIMIT, "stop: %zu strings, at most %d are allowed", n, LIMIT_STOP_STRINGS);
    str *list = ARENA_ARRAY(a, str, n ? n : 1);
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_is_string(v) ? v : json_array_get(v, i);
        if (!json_is_string(s)) return wrong_type("stop", "array of strings", e);
        str text = {json_string_value(s), json_string_length(s)};
        if (text.len > LIMIT_STOP_BYTES)
            FAIL(e, LIMIT, "stop: a string of %zu bytes, at most %d are allowed", text.len,
                 LIMIT_STOP_BYTES);
        if (text.len) list[n_kept++] = str_dup(a, text);
    }
    o->stop = list;
    o->n_stop = n_kept;
    return ERR_OK;
}

static err_code set_option(options *o, size_t row, const json_t *v, arena *a, err *e) {
    const char *name = TABLE[row].name;
    char *at = TABLE[row].offset == NOWHERE ? NULL : (char *)o + TABLE[row].offset;
    int64_t i = 0;
    switch (TABLE[row].type) {
    case OPT_INT32:
        if (!get_integer(v, INT32_MIN, INT32_MAX, &i)) return wrong_type(name, "integer", e);
        if (at) *(int32_t *)(void *)at = (int32_t)i;
        return ERR_OK;
    case OPT_INT64:
        if (!get_integer(v, INT64_MIN, INT64_MAX, &i)) return wrong_type(name, "integer", e);
        if (at) *(int64_t *)(void *)at = i;
        return ERR_OK;
    case OPT_FLOAT:
        if (!json_is_number(v)) return wrong_type(name, "float32", e);
        if (at) *(float *)(void *)at = clamp_float(json_number_value(v));
        return ERR_OK;
    case OPT_BOOL:
        return json_is_boolean(v) ? ERR_OK : wrong_type(name, "boolean", e);
    case OPT_STRINGS:
        return set_strings(o, v, a, e);
    case OPT_IGNORED:
        return ERR_OK;
    }
    return ERR_OK;
}

static size_t find_row(const char *name) {
    for (size_t i = 0; i < COUNT_OF(TABLE); i++)
        if (strcmp(TABLE[i].name, name) == 0) return i;
    return COUNT_OF(TABLE);
}

err_code options_apply(options *o, const json_t *object, arena *a, err *e) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v) {
        size_t row = find_row(key);
        if (row == COUNT_OF(TABLE) || json_is_null(v)) continue;
        TRY(set_option(o, row, v, a, e));
    }
    if (o->n_ctx < 0) o->n_ctx = 0;
    if (o->sample.temperature < 0) o->sample.temperature = 0;
    if (o->n_predict < 0) o->n_predict = -1;
    return ERR_OK;
}
