/* Utilities: primitive values, switches, previews of anything, text from a language model. */
#include "flow/call.h"
#include "flow/env.h"
#include "flow/nodes/saved.h"
#include "flow/nodes/table.h"
#include "flow/pytext.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The first input, handed on. */
static err_code pass_first(flow_call *c, err *e) {
    const char *name = flow_call_def(c)->inputs[0].name;
    flow_value *v = flow_in(c, name);
    if (!v) FAIL(e, INVALID, "input %s has no value", name);
    flow_out(c, 0, flow_value_ref(v));
    return ERR_OK;
}

/* Python's str() of what flows along a link; objects by the name of their type. */
static void put_text(buf *out, const flow_value *v) {
    const char *type = v ? flow_value_object_type(v) : NULL;
    value plain = {.kind = VALUE_NULL};
    switch (v ? flow_value_kind(v) : FLOW_NONE) {
    case FLOW_TEXT:
        buf_put_str(out, flow_value_as_text(v));
        return;
    case FLOW_INT:
        plain = (value){.kind = VALUE_INT, .as.integer = flow_value_as_int(v)};
        break;
    case FLOW_FLOAT:
        plain = (value){.kind = VALUE_FLOAT, .as.number = flow_value_as_float(v)};
        break;
    case FLOW_BOOL:
        plain = (value){.kind = VALUE_BOOL, .as.boolean = flow_value_as_bool(v)};
        break;
    case FLOW_DATA:
        pytext_str(out, flow_value_as_data(v));
        return;
    case FLOW_OBJECT:
        buf_putf(out, "<%s>", type);
        return;
    case FLOW_NONE:
    case FLOW_LIST:
    case FLOW_BLOCK:
        break;
    }
    pytext_str(out, &plain);
}

/* Lists and maps are shown as JSON. */
static err_code preview_any(flow_call *c, err *e) {
    (void)e;
    buf text = {0};
    const flow_value *v = flow_in(c, "source");
    if (v && flow_value_kind(v) == FLOW_DATA)
        saved_json(&text, flow_value_as_data(v));
    else
        put_text(&text, v);
    flow_out_ui(c, "text", value_str(flow_call_arena(c), buf_str(&text)));
    buf_finish(&text);
    return ERR_OK;
}

static err_code switch_needs(flow_call *c, err *e) {
    bool on = false;
    TRY(flow_in_bool(c, "switch", &on, e));
    flow_call_need(c, on ? "on_true" : "on_false");
    return ERR_OK;
}

static err_code switch_run(flow_call *c, err *e) {
    bool on = false;
    TRY(flow_in_bool(c, "switch", &on, e));
    flow_value *v = flow_in(c, on ? "on_true" : "on_false");
    flow_out(c, 0, v ? flow_value_ref(v) : flow_value_none());
    return ERR_OK;
}

/* Python's truth of a value. */
static bool truth(const flow_value *v) {
    switch (v ? flow_value_kind(v) : FLOW_NONE) {
    case FLOW_NONE:
        return false;
    case FLOW_INT:
    case FLOW_FLOAT:
    case FLOW_BOOL:
        return flow_value_as_bool(v) ||
               (flow_value_kind(v) == FLOW_FLOAT && isnan(flow_value_as_float(v)));
    case FLOW_TEXT:
        return flow_value_as_text(v).len > 0;
    case FLOW_LIST:
        return flow_value_len(v) > 0;
    case FLOW_DATA:
    case FLOW_OBJECT:
    case FLOW_BLOCK:
        break;
    }
    return true;
}

static err_code not_run(flow_call *c, err *e) {
    (void)e;
    flow_out(c, 0, flow_value_bool(!truth(flow_in(c, "value"))));
    return ERR_OK;
}

static err_code convert_run(flow_call *c, err *e) {
    flow_value *v = flow_in(c, "value");
    double n = 0;
    if (v && flow_value_kind(v) == FLOW_TEXT) {
        str text = str_trim(flow_value_as_text(v));
        if (!str_to_f64(text, &n))
            FAIL(e, INVALID, "\"%.*s\" is no number", (int)(text.len < 200 ? text.len : 200),
                 text.len ? text.ptr : "");
    } else if (v && flow_value_kind(v) != FLOW_NONE) {
        n = flow_value_as_float(v);
    }
    if (!isfinite(n)) FAIL(e, INVALID, "a value that is not finite has no whole number");
    bool whole = v && flow_value_kind(v) == FLOW_INT;
    flow_out(c, 0, flow_value_float(n));
    flow_value *cut = flow_value_float(n);
    flow_out(c, 1, flow_value_int(whole ? flow_value_as_int(v) : flow_value_as_int(cut)));
    flow_value_unref(&cut);
    return ERR_OK;
}

/* Prompt expansion: what the language model answers becomes text for other nodes. */
static err_code generate_run(flow_call *c, err *e) {
    const flow_env *env = flow_call_env(c);
    flow_text_request q = {0};
    int64_t n_predict = 0;
    uint64_t seed = 0;
    str text;
    if (!env || !env->generate) FAIL(e, UNSUPPORTED, "no language model can be reached from here");
    TRY(flow_in_text(c, "model", &q.model, e));
    TRY(flow_in_text(c, "system", &q.system, e));
    TRY(flow_in_text(c, "prompt", &q.prompt, e));
    TRY(flow_in_u64(c, "seed", &seed, e));
    TRY(flow_in_int(c, "max_tokens", &n_predict, e));
    TRY(flow_in_float(c, "temperature", &q.temperature, e));
    q.seed = (int64_t)(seed & INT64_MAX);
    q.n_predict = (int32_t)n_predict;
    TRY(env->generate(env->ctx, &q, flow_call_arena(c), &text, e));
    flow_out(c, 0, flow_value_text(str_trim(text)));
    return ERR_OK;
}

const flow_def flow_nodes_utility[] = {
    {NODE("PrimitiveString", "String", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(TEXT("value", NULL, FLOW_SINGLE)), OUTPUTS({"STRING", NULL, false}), .run = pass_first},
    {NODE("PrimitiveStringMultiline", "String (Multiline)", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(TEXT("value", NULL, FLOW_MULTILINE)), OUTPUTS({"STRING", NULL, false}),
     .run = pass_first},
    {NODE("PrimitiveInt", "Int", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(INT("value", 0, -INT64_MAX, INT64_MAX, 0, FLOW_CONTROL | FLOW_NO_DEFAULT)),
     OUTPUTS({"INT", NULL, false}), .run = pass_first},
    {NODE("PrimitiveFloat", "Float", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(
         FLOAT("value", 0, -9223372036854775807.0, 9223372036854775807.0, 0, 0, FLOW_NO_DEFAULT)),
     OUTPUTS({"FLOAT", NULL, false}), .run = pass_first},
    {NODE("PrimitiveBoolean", "Boolean", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(BOOL("value", false, FLOW_NO_DEFAULT | FLOW_OPTS)), OUTPUTS({"BOOLEAN", NULL, false}),
     .run = pass_first},
    {NODE("PreviewAny", "Preview Any", "utils", FLOW_OUTPUT_NODE),
     INPUTS(LINK("source", "*", FLOW_OPTS)), NO_OUTPUTS, .run = preview_any},

    {NODE("SeedNode", "Seed", "utils", FLOW_SHOW_STATUS),
     INPUTS(INT("seed", 0, 0, INT64_MAX, 0, FLOW_NO_DEFAULT | FLOW_CONTROL)),
     OUTPUTS({"INT", "seed", false}), .run = pass_first},
    {NODE("ComfySwitchNode", "If/Else Switch", "utils/logic", FLOW_EXPERIMENTAL | FLOW_SHOW_STATUS),
     INPUTS(BOOL("switch", false, FLOW_NO_DEFAULT | FLOW_OPTS), LINK("on_false", "*", FLOW_LAZY),
            LINK("on_true", "*", FLOW_LAZY)),
     OUTPUTS({"*", "output", false}), .run = switch_run, .needs = switch_needs},
    {NODE("ComfyNotNode", "Not", "utils/logic", FLOW_SHOW_STATUS),
     INPUTS(LINK("value", "*", FLOW_OPTS)), OUTPUTS({"BOOLEAN", NULL, false}), .run = not_run},
    {NODE("ComfyNumberConvert", "Convert Number", "utils", FLOW_SHOW_STATUS),
     INPUTS(LINK("value", "INT,FLOAT,STRING,BOOLEAN", FLOW_OPTS)),
     OUTPUTS({"FLOAT", NULL, false}, {"INT", NULL, false}), .run = convert_run},
    /* ours */
    {NODE("HobGenerateText", "Generate Text", "utils/string", FLOW_SHOW_STATUS),
     INPUTS(TEXT("model", "", FLOW_SINGLE), TEXT("prompt", NULL, FLOW_MULTILINE | FLOW_DYNAMIC),
            TEXT("system", "", FLOW_MULTILINE), INT("seed", 0, 0, UINT64_MAX, 0, FLOW_CONTROL),
            INT("max_tokens", 256, 1, 32768, 0, 0), FLOAT("temperature", 0.8, 0, 2, 0.05, 0, 0)),
     OUTPUTS({"STRING", "text", false}), .run = generate_run},
    {.name = NULL}};
