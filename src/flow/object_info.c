/* Table rows to the catalogue's JSON shape. The recorded programs show an options object for some
 * inputs and not for others; FLOW_OPTS keeps the difference, because clients compare. */
#include "flow/object_info.h"
#include "base/mem.h"
#include <string.h>

static void set(arena *a, value *map, const char *key, value *v) {
    value_set(a, map, str_from(key), v);
}

static value *text(arena *a, const char *s) {
    return value_str(a, str_from(s));
}

static bool is(const flow_input *in, const char *type) {
    return strcmp(in->type, type) == 0;
}

static bool any_starts(const value *list, const char *stem) {
    for (size_t i = 0; i < list->as.list.len; i++)
        if (str_starts(list->as.list.items[i]->as.text, str_from(stem))) return true;
    return false;
}

/* Behind the files of "vae": small autoencoders whose two halves lie in vae_approx. */
static void push_tiny(const flow_host *host, arena *a, value *list) {
    static const char *const NAMES[][3] = {{"taesd", "taesd_decoder.", "taesd_encoder."},
                                           {"taesdxl", "taesdxl_decoder.", "taesdxl_encoder."}};
    value *files = value_list(a);
    host->files(host->ctx, "vae_approx", a, files);
    for (size_t i = 0; i < COUNT_OF(NAMES); i++)
        if (any_starts(files, NAMES[i][1]) && any_starts(files, NAMES[i][2]))
            value_push(a, list, text(a, NAMES[i][0]));
}

value *flow_input_choices(const flow_input *in, const flow_host *host, arena *a) {
    if (!is(in, "COMBO")) return NULL;
    value *list = value_list(a);
    if (in->files && host && host->files && !(in->flags & FLOW_OF_OUTPUT))
        host->files(host->ctx, in->files, a, list);
    if (in->files && host && host->files && strcmp(in->files, "vae") == 0) push_tiny(host, a, list);
    for (const char *const *c = in->choices; c && *c; c++) value_push(a, list, text(a, *c));
    return list;
}

value *flow_input_type(const flow_input *in, const flow_host *host, arena *a) {
    bool menu = is(in, "COMBO") && !(in->flags & FLOW_PLAIN_COMBO);
    return menu ? flow_input_choices(in, host, a) : text(a, in->type);
}

/* Whole numbers beyond int64 (seed ranges) become floats: value has no larger integer. */
static value *upper(arena *a, const flow_input *in) {
    bool beyond = in->i.min >= 0 && in->i.max > INT64_MAX;
    return beyond ? value_float(a, (double)in->i.max) : value_int(a, (int64_t)in->i.max);
}

static void number_options(const flow_input *in, arena *a, value *o) {
    bool has_default = !(in->flags & FLOW_NO_DEFAULT), has_min = !(in->flags & FLOW_NO_MIN);
    bool has_max = !(in->flags & FLOW_NO_MAX);
    if (is(in, "INT")) {
        if (has_default) set(a, o, "default", value_int(a, in->i.initial));
        if (has_min) set(a, o, "min", value_int(a, in->i.min));
        if (has_max) set(a, o, "max", upper(a, in));
        if (in->i.step) set(a, o, "step", value_int(a, in->i.step));
    } else {
        if (has_default) set(a, o, "default", value_float(a, in->f.initial));
        if (has_min) set(a, o, "min", value_float(a, in->f.min));
        if (has_max) set(a, o, "max", value_float(a, in->f.max));
        if (in->f.step > 0) set(a, o, "step", value_float(a, in->f.step));
        if (in->flags & FLOW_NO_ROUND) set(a, o, "round", value_bool(a, false));
        if (in->f.round > 0) set(a, o, "round", value_float(a, in->f.round));
    }
}

static void menu_options(const flow_input *in, const flow_host *host, arena *a, value *o) {
    if (in->text) set(a, o, "default", text(a, in->text));
    if (in->flags & FLOW_UPLOAD) set(a, o, "image_upload", value_bool(a, true));
    if (in->flags & FLOW_OF_OUTPUT) {
        value *remote = value_map(a);
        set(a, remote, "route", text(a, "/internal/files/output"));
        set(a, remote, "refresh_button", value_bool(a, true));
        set(a, remote, "control_after_refresh", text(a, "first"));
        set(a, o, "image_upload", value_bool(a, true));
        set(a, o, "image_folder", text(a, in->files));
        set(a, o, "remote", remote);
    } else if (in->flags & FLOW_PLAIN_COMBO) {
        set(a, o, "multiselect", value_bool(a, false));
        set(a, o, "options", flow_input_choices(in, host, a));
    }
}

value *flow_input_options(const flow_input *in, const flow_host *host, arena *a) {
    static const struct {
        uint32_t flag;
        const char *key;
    } switches[] = {
        {FLOW_MULTILINE, "multiline"},
        {FLOW_DYNAMIC, "dynamicPrompts"},
        {FLOW_CONTROL, "control_after_generate"},
        {FLOW_ADVANCED, "advanced"},
        {FLOW_LAZY, "lazy"},
        {FLOW_FORCE_LINK, "forceInput"},
    };
    value *o = value_map(a);
    if (is(in, "INT") || is(in, "FLOAT")) number_options(in, a, o);
    if (is(in, "COMBO")) menu_options(in, host, a, o);
    if (is(in, "STRING") && in->text) set(a, o, "default", text(a, in->text));
    if (is(in, "BOOLEAN") && !(in->flags & FLOW_NO_DEFAULT))
        set(a, o, "default", value_bool(a, in->on));
    if (in->flags & FLOW_SINGLE) set(a, o, "multiline", value_bool(a, false));
    if (in->flags & FLOW_COLOR) set(a, o, "display", text(a, "color"));
    for (size_t i = 0; i < COUNT_OF(switches); i++)
        if (in->flags & switches[i].flag) set(a, o, switches[i].key, value_bool(a, true));
    return o;
}

static value *input_entry(const flow_def *d, const flow_input *in, const flow_host *host,
                          arena *a) {
    if ((in->flags & FLOW_HIDDEN) && !(d->flags & FLOW_SHOW_STATUS)) return text(a, in->type);
    value *entry = value_list(a);
    value_push(a, entry, flow_input_type(in, host, a));
    if (in->flags & FLOW_HIDDEN) return entry;
    value *o = flow_input_options(in, host, a);
    if (o->as.map.len || (in->flags & FLOW_OPTS)) value_push(a, entry, o);
    return entry;
}

static const char *group_of(const flow_input *in) {
    return in->flags & FLOW_HIDDEN ? "hidden" : in->flags & FLOW_OPTIONAL ? "optional" : "required";
}

static void put_inputs(const flow_def *d, const flow_host *host, arena *a, value *info) {
    value *input = value_map(a), *order = value_map(a);
    set(a, input, "required", value_map(a));
    set(a, order, "required", value_list(a));
    for (const flow_input *in = d->inputs; in->name; in++) {
        str group = str_from(group_of(in));
        if (!value_get(input, group)) {
            value_set(a, input, group, value_map(a));
            value_set(a, order, group, value_list(a));
        }
        set(a, value_get(input, group), in->name, input_entry(d, in, host, a));
        value_push(a, value_get(order, group), text(a, in->name));
    }
    set(a, info, "input", input);
    set(a, info, "input_order", order);
    set(a, info, "is_input_list", value_bool(a, d->flags & FLOW_LIST_INPUT));
}

static void put_outputs(const flow_def *d, arena *a, value *info) {
    value *types = value_list(a), *lists = value_list(a), *names = value_list(a);
    for (const flow_output *o = d->outputs; o->type; o++) {
        value_push(a, types, text(a, o->type));
        value_push(a, lists, value_bool(a, o->list));
        value_push(a, names, text(a, o->name ? o->name : o->type));
    }
    set(a, info, "output", types);
    set(a, info, "output_is_list", lists);
    set(a, info, "output_name", names);
}

value *flow_object_info(const flow_def *d, const flow_host *host, arena *a) {
    value *info = value_map(a);
    put_inputs(d, host, a, info);
    put_outputs(d, a, info);
    set(a, info, "name", text(a, d->name));
    set(a, info, "display_name", text(a, d->display));
    set(a, info, "description", text(a, ""));
    set(a, info, "python_module", text(a, "nodes"));
    set(a, info, "category", text(a, d->category));
    set(a, info, "output_node", value_bool(a, d->flags & FLOW_OUTPUT_NODE));
    bool always = d->flags & FLOW_SHOW_STATUS;
    if (always || (d->flags & FLOW_DEPRECATED))
        set(a, info, "deprecated", value_bool(a, d->flags & FLOW_DEPRECATED));
    if (always || (d->flags & FLOW_EXPERIMENTAL))
        set(a, info, "experimental", value_bool(a, d->flags & FLOW_EXPERIMENTAL));
    if (always) set(a, info, "api_node", value_bool(a, false));
    return info;
}

static bool shown(const flow_def *d, const flow_host *host) {
    return d && (d->run || !host || !host->only_runnable);
}

value *flow_object_info_all(const flow_host *host, arena *a) {
    value *all = value_map(a);
    const flow_def *d;
    for (size_t i = 0; (d = flow_def_at(i)); i++)
        if (shown(d, host)) set(a, all, d->name, flow_object_info(d, host, a));
    return all;
}

value *flow_object_info_one(str class_name, const flow_host *host, arena *a) {
    value *all = value_map(a);
    const flow_def *d = flow_def_find(class_name);
    if (shown(d, host)) set(a, all, d->name, flow_object_info(d, host, a));
    return all;
}
