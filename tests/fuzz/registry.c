/* Fuzz: what a registry sends and what a Modelfile holds. The first byte chooses. */
#include "cli/modelfile.h"
#include "net/net_impl.h"
#include "store/manifest.h"

static void manifest(arena *a, str text) {
    store_model m;
    store_layer config;
    err e;
    if (store_manifest_parse(a, text, &m, &config, &e)) return;
    for (size_t i = 0; i <= m.n_layers; i++) {
        const store_layer *l = i < m.n_layers ? &m.layers[i] : &config;
        if (!store_digest_valid(l->digest) || l->n_bytes < 0) __builtin_trap();
    }
}

static void url(arena *a, str text) {
    net_target t;
    err e;
    str host, joined;
    if (net_target_parse(text, &t, &e) == ERR_OK) {
        net_policy("*", &t, text);
        net_policy("a.example,*.b.example:5000,[::1]:3", &t, STR("hf.co"));
        net_host_is_private(t.host);
    }
    net_url_host(a, text, &host, &e);
    if (net_url_join(a, STR("https://a.example/v2/x"), text, &joined, &e) == ERR_OK)
        net_target_parse(joined, &t, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n < 1) return 0;
    str text = {(const char *)data + 1, n - 1};
    arena *a = arena_create(0);
    store_config config;
    modelfile_line *lines;
    size_t n_lines;
    err e;
    switch (data[0] % 4) {
    case 0:
        manifest(a, text);
        break;
    case 1:
        manifest_parse_config(a, text, &config, &e);
        break;
    case 2:
        modelfile_parse(a, text, &lines, &n_lines, &e);
        break;
    default:
        url(a, text);
    }
    arena_destroy(&a);
    return 0;
}
