/* POST /api/pull and /api/push. */
#include "api/fields.h"
#include "api/report.h"
#include "registry/registry.h"
#include <string.h>

typedef struct exchange {
    api *a;
    char *name;
    bool insecure, push;
} exchange;

static void drop(void *arg) {
    exchange *x = arg;
    mem_free(x->name);
    mem_free(x);
}

static err_code work(report *r, void *arg, err *e) {
    exchange *x = arg;
    registry_report lines = {report_line, r};
    str name = str_from(x->name);
    if (x->push) return registry_push(x->a->registry, name, x->insecure, &lines, e);
    return registry_pull(x->a->registry, name, x->insecure, &lines, e);
}

static void begin(http_request *r, api *a, bool push) {
    const json_t *body = api_body(r);
    if (!body) return;
    str name = {0};
    bool insecure = false, stream = true;
    store_name parsed;
    err e;
    if (field_model(body, &name, &e) || field_bool(body, "insecure", &insecure, &e) ||
        field_bool(body, "stream", &stream, &e)) {
        api_reply_err(r, &e);
        return;
    }
    if (!store_name_parse(http_request_arena(r), name, &parsed)) {
        api_reply_error(r, 400, "invalid model name");
        return;
    }
    exchange *x = NEW(exchange);
    *x = (exchange){a, NULL, insecure, push};
    x->name = mem_alloc(name.len + 1);
    memcpy(x->name, name.ptr, name.len);
    x->name[name.len] = '\0';
    report_job job = {work, drop, x, 500};
    report_start(a, r, stream, &job);
}

void ollama_pull(http_request *r, void *ctx) {
    begin(r, ctx, false);
}

void ollama_push(http_request *r, void *ctx) {
    begin(r, ctx, true);
}
