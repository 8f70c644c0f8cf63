/* The order of messages is the contract: see tests/api/recorded/comfyui-socket.jsonl. */
#include "api/comfy_run.h"
#include "api/comfy_hub.h"
#include "api/comfy_v2.h"
#include "api/comfy_watch.h"
#include "base/log.h"
#include "http/json.h"
#include <pthread.h>
#include <string.h>

struct comfy_run {
    comfy *c;
    image_job *job;
    json_t *graph, *extra;
    const json_t *metadata; /* of extra_data: its keys go into every message */
    json_t *messages, *outputs, *meta;
    json_t *cached, *executed; /* lists of ids */
    pthread_mutex_t lock;      /* the fields below, for the get functions */
    json_t *nodes;             /* id -> progress of every node seen */
    arena *arena;
    str node, display; /* running now, or empty */
    size_t n_nodes, n_done;
    double fraction; /* of the running node */
    int64_t step, steps;
    int64_t state_ms; /* when the last progress_state went out */
};

static json_t *parsed(str text) {
    json_t *v = NULL;
    if (json_parse_plain(text, &v, NULL)) v = json_object();
    return v;
}

comfy_run *comfy_run_create(comfy *c, image_job *job) {
    comfy_run *r = NEW(comfy_run);
    r->c = c;
    r->job = job;
    r->graph = parsed(job->graph);
    r->extra = parsed(job->extra);
    r->metadata = json_object_get(r->extra, "metadata");
    if (!json_is_object(r->metadata)) r->metadata = NULL;
    r->messages = json_array();
    r->outputs = json_object();
    r->meta = json_object();
    r->cached = json_array();
    r->executed = json_array();
    r->nodes = json_object();
    r->arena = arena_create(0);
    r->n_nodes = json_object_size(r->graph);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void comfy_run_destroy(comfy_run **pr) {
    if (!pr || !*pr) return;
    comfy_run *r = *pr;
    json_t *all[] = {r->graph, r->extra,  r->messages, r->outputs,
                     r->meta,  r->cached, r->executed, r->nodes};
    for (size_t i = 0; i < COUNT_OF(all); i++) json_decref(all[i]);
    pthread_mutex_destroy(&r->lock);
    arena_destroy(&r->arena);
    mem_free(r);
    *pr = NULL;
}

const json_t *comfy_run_graph(const comfy_run *r) {
    return r->graph;
}

const json_t *comfy_run_extra(const comfy_run *r) {
    return r->extra;
}

static json_t *data(const comfy_run *r) {
    json_t *d = json_object();
    json_object_set_new(d, "prompt_id", comfy_str(r->job->id));
    return d;
}

static void send(comfy_run *r, str to, const char *type, json_t *d) {
    if (r->metadata) json_object_update_missing(d, (json_t *)(uintptr_t)r->metadata);
    comfy_hub_send(r->c->hub, to, type, d);
}

/* A message that the history keeps too. */
static void send_kept(comfy_run *r, bool to_all, const char *type, json_t *d) {
    json_object_set_new(d, "timestamp", json_integer(comfy_now_ms()));
    json_array_append_new(r->messages, json_pack("[sO]", type, d));
    send(r, to_all ? (str){0} : r->job->client_id, type, json_copy(d));
    json_decref(d);
}

static void set_node(comfy_run *r, str id, json_t *now, json_t *max, const char *state) {
    json_t *out = json_object();
    json_object_set_new(out, "value", now);
    json_object_set_new(out, "max", max);
    json_object_set_new(out, "state", json_string(state));
    json_object_set_new(out, "node_id", comfy_str(id));
    json_object_set_new(out, "prompt_id", comfy_str(r->job->id));
    json_object_set_new(out, "display_node_id", comfy_str(id));
    json_object_set_new(out, "parent_node_id", json_null());
    json_object_set_new(out, "real_node_id", comfy_str(id));
    json_object_set_new(r->nodes, str_cstr(r->arena, id), out);
}

static json_t *node_of(const comfy_run *r, str id) {
    return json_object_getn(r->nodes, id.ptr ? id.ptr : "", id.len);
}

static json_t *state_data(const comfy_run *r) {
    json_t *d = data(r);
    json_object_set_new(d, "nodes", json_deep_copy(r->nodes));
    return d;
}

/* The message lists every node so far: with thousands of nodes not each change is told, so that the
 * work stays in proportion to the workflow. The last one always is. */
static void send_state(comfy_run *r) {
    enum { ALWAYS = 256, NODES_PER_MS = 20 };
    size_t n = json_object_size(r->nodes);
    int64_t now = comfy_now_ms();
    if (n > ALWAYS && r->n_done < r->n_nodes && now - r->state_ms < (int64_t)n / NODES_PER_MS)
        return;
    r->state_ms = now;
    send(r, r->job->client_id, "progress_state", state_data(r));
}

static json_t *executing(const comfy_run *r) {
    json_t *d = json_object();
    json_object_set_new(d, "node", comfy_str(r->node));
    json_object_set_new(d, "display_node", comfy_str(r->display));
    json_object_set_new(d, "prompt_id", comfy_str(r->job->id));
    return d;
}

void comfy_run_started(comfy_run *r) {
    send_kept(r, false, "execution_start", data(r));
}

void comfy_run_cached(comfy_run *r, const str *ids, size_t n) {
    json_t *d = json_object();
    for (size_t i = 0; i < n; i++) json_array_append_new(r->cached, comfy_str(ids[i]));
    json_object_set_new(d, "nodes", json_deep_copy(r->cached));
    json_object_set_new(d, "prompt_id", comfy_str(r->job->id));
    pthread_mutex_lock(&r->lock);
    r->n_done = n;
    pthread_mutex_unlock(&r->lock);
    send_kept(r, false, "execution_cached", d);
}

/* The running node is done: its bar is full. */
static void end_node(comfy_run *r) {
    if (r->node.len == 0) return;
    pthread_mutex_lock(&r->lock);
    json_t *n = node_of(r, r->node);
    if (n) {
        json_object_set(n, "value", json_object_get(n, "max"));
        json_object_set_new(n, "state", json_string("finished"));
    }
    json_array_append_new(r->executed, comfy_str(r->node));
    r->node = (str){0};
    r->n_done++;
    r->fraction = 0;
    r->steps = 0;
    pthread_mutex_unlock(&r->lock);
    send_state(r);
}

void comfy_run_node(comfy_run *r, str node, str display) {
    end_node(r);
    pthread_mutex_lock(&r->lock);
    r->node = str_dup(r->arena, node);
    r->display = display.len ? str_dup(r->arena, display) : r->node;
    set_node(r, r->node, json_real(0), json_real(1), "running");
    pthread_mutex_unlock(&r->lock);
    send_state(r);
    send(r, r->job->client_id, "executing", executing(r));
    comfy_v2_progress(r->c, r->job->id, comfy_run_get_progress(r));
}

void comfy_run_progress(comfy_run *r, str node, int64_t done, int64_t total) {
    if (done > 0) r->c->n_steps++;
    pthread_mutex_lock(&r->lock);
    json_t *n = node_of(r, node);
    if (n) {
        json_object_set_new(n, "value", json_integer(done));
        json_object_set_new(n, "max", json_integer(total));
    }
    r->fraction = total > 0 ? (double)done / (double)total : 0;
    r->step = done, r->steps = total;
    pthread_mutex_unlock(&r->lock);
    send_state(r);
    json_t *d = json_object();
    json_object_set_new(d, "value", json_integer(done));
    json_object_set_new(d, "max", json_integer(total));
    json_object_set_new(d, "prompt_id", comfy_str(r->job->id));
    json_object_set_new(d, "node", comfy_str(node));
    send(r, r->job->client_id, "progress", d);
    comfy_watch_step(r->c, r->job->id, done, total);
    comfy_v2_progress(r->c, r->job->id, comfy_run_get_progress(r));
}

void comfy_run_preview(comfy_run *r, str node, str picture, const char *mime) {
    json_t *about = json_object();
    json_object_set_new(about, "node_id", comfy_str(node));
    json_object_set_new(about, "prompt_id", comfy_str(r->job->id));
    json_object_set_new(about, "display_node_id", comfy_str(node));
    json_object_set_new(about, "parent_node_id", json_null());
    json_object_set_new(about, "real_node_id", comfy_str(node));
    json_object_set_new(about, "image_type", json_string(mime));
    if (r->metadata) json_object_update_missing(about, (json_t *)(uintptr_t)r->metadata);
    comfy_hub_preview(r->c->hub, r->job->client_id, &(comfy_preview){picture, mime, about});
    json_decref(about);
    comfy_v2_preview(r->c, r->job->id, node, picture, mime);
    comfy_watch_preview(r->c, r->job->id, picture, mime);
}

/* A cached node is shown again although it did not run. */
static void show_cached(comfy_run *r, str node) {
    pthread_mutex_lock(&r->lock);
    set_node(r, node, json_integer(1), json_integer(1), "finished");
    pthread_mutex_unlock(&r->lock);
    send_state(r);
}

/* Pictures of an output that are kept: previews are not. */
static int64_t count_saved(const json_t *output) {
    const json_t *images = json_object_get(output, "images"), *x;
    int64_t n = 0;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)images, i, x) n +=
        str_eq(comfy_text(json_object_get(x, "type")), STR("output"));
    return n;
}

void comfy_run_output(comfy_run *r, str node, const value *ui) {
    json_t *output = ui && ui->kind != VALUE_NULL ? json_from_value(ui) : json_null();
    json_t *d = json_object();
    json_object_set_new(d, "node", comfy_str(node));
    json_object_set_new(d, "display_node", comfy_str(node));
    json_object_set_new(d, "output", json_incref(output));
    json_object_set_new(d, "prompt_id", comfy_str(r->job->id));
    send(r, r->job->client_id, "executed", d);
    if (json_is_object(output)) {
        char *key = str_cstr(r->arena, node);
        json_t *meta = json_object();
        json_object_set_new(meta, "node_id", comfy_str(node));
        json_object_set_new(meta, "display_node", comfy_str(node));
        json_object_set_new(meta, "parent_node", json_null());
        json_object_set_new(meta, "real_node_id", comfy_str(node));
        json_object_set(r->outputs, key, output);
        json_object_set_new(r->meta, key, meta);
        comfy_v2_output(r->c, r->job->id, node, output);
        if (str_eq(node, r->node)) r->c->n_pictures += count_saved(output); /* not a cached one */
    }
    json_decref(output);
    if (str_eq(node, r->node))
        end_node(r);
    else if (!node_of(r, node))
        show_cached(r, node);
}

void comfy_run_succeeded(comfy_run *r) {
    end_node(r);
    r->job->state = IMAGE_JOB_DONE;
    send_kept(r, false, "execution_success", data(r));
}

static json_t *all_outputs(const comfy_run *r) {
    json_t *list = json_deep_copy(r->cached);
    json_array_extend(list, r->executed);
    return list;
}

/* Old clients read every current input as a list of values. */
static json_t *inputs_object(const value *inputs) {
    json_t *out = inputs ? json_from_value(inputs) : json_object();
    const char *key;
    json_t *v;
    void *next;
    json_object_foreach_safe(out, next, key, v) {
        if (!json_is_array(v)) json_object_set_new(out, key, json_pack("[O]", v));
    }
    return out;
}

void comfy_run_failed(comfy_run *r, const comfy_failure *f) {
    str node = f->node.len ? f->node : r->node;
    pthread_mutex_lock(&r->lock);
    json_t *n = node_of(r, node);
    if (n) json_object_set_new(n, "state", json_string("error"));
    pthread_mutex_unlock(&r->lock);
    json_t *d = data(r);
    json_object_set_new(d, "node_id", comfy_str(node));
    json_object_set_new(d, "node_type", comfy_str(f->class_type));
    json_object_set_new(d, "executed", json_deep_copy(r->executed));
    json_object_set_new(d, "exception_message", comfy_str(f->message));
    json_object_set_new(d, "exception_type", comfy_str(f->type));
    json_object_set_new(d, "traceback", json_array());
    json_object_set_new(d, "current_inputs", inputs_object(f->inputs));
    json_object_set_new(d, "current_outputs", all_outputs(r));
    r->job->state = IMAGE_JOB_FAILED;
    log_warn("picture job " STR_FMT ": node " STR_FMT " (" STR_FMT "): " STR_FMT,
             STR_ARG(r->job->id), STR_ARG(node), STR_ARG(f->class_type), STR_ARG(f->message));
    send_kept(r, false, "execution_error", d);
}

void comfy_run_interrupted(comfy_run *r, str node) {
    if (node.len == 0) node = r->node;
    const json_t *n = json_object_getn(r->graph, node.ptr ? node.ptr : "", node.len);
    json_t *d = data(r);
    json_object_set_new(d, "node_id", comfy_str(node));
    json_object_set_new(d, "node_type", comfy_str(comfy_text(json_object_get(n, "class_type"))));
    json_object_set_new(d, "executed", json_deep_copy(r->executed));
    r->job->state = IMAGE_JOB_CANCELLED;
    send_kept(r, true, "execution_interrupted", d);
}

void comfy_run_finish(comfy_run *r, arena *a) {
    r->job->ended_ms = comfy_now_ms();
    r->job->outputs = comfy_json_text(a, r->outputs);
    r->job->messages = comfy_json_text(a, r->messages);
    r->job->meta = comfy_json_text(a, r->meta);
}

json_t *comfy_run_get_current(comfy_run *r, json_t **ret_state) {
    pthread_mutex_lock(&r->lock);
    json_t *now = r->node.len ? executing(r) : NULL;
    if (now) *ret_state = state_data(r);
    pthread_mutex_unlock(&r->lock);
    return now;
}

json_t *comfy_run_get_progress(comfy_run *r) {
    pthread_mutex_lock(&r->lock);
    double total = r->n_nodes ? (double)r->n_nodes : 1;
    double share = ((double)r->n_done + r->fraction) / total;
    json_t *p = json_object();
    json_object_set_new(p, "value", json_real(share > 1 ? 1 : share));
    json_object_set_new(p, "nodes_done", json_integer((json_int_t)r->n_done));
    json_object_set_new(p, "nodes_total", json_integer((json_int_t)r->n_nodes));
    if (r->node.len) {
        const json_t *n = json_object_getn(r->graph, r->node.ptr, r->node.len);
        json_object_set_new(p, "current_node", comfy_str(r->node));
        json_object_set_new(p, "current_node_class",
                            comfy_str(comfy_text(json_object_get(n, "class_type"))));
    }
    if (r->steps > 0) {
        json_object_set_new(p, "step", json_integer(r->step));
        json_object_set_new(p, "steps", json_integer(r->steps));
    }
    pthread_mutex_unlock(&r->lock);
    return p;
}
