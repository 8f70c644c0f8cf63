/* Manifest and config documents (Docker image manifest, version 2, with Ollama's media types). */
#include "store/manifest.h"
#include "base/limits.h"
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEDIA "application/vnd.ollama.image."

static const struct {
    store_layer_kind kind;
    const char *media_type;
} KINDS[] = {
    {STORE_LAYER_MODEL, MEDIA "model"},     {STORE_LAYER_PROJECTOR, MEDIA "projector"},
    {STORE_LAYER_ADAPTER, MEDIA "adapter"}, {STORE_LAYER_TEMPLATE, MEDIA "template"},
    {STORE_LAYER_TEMPLATE, MEDIA "prompt"}, {STORE_LAYER_SYSTEM, MEDIA "system"},
    {STORE_LAYER_PARAMS, MEDIA "params"},   {STORE_LAYER_MESSAGES, MEDIA "messages"},
    {STORE_LAYER_LICENSE, MEDIA "license"},
};

str manifest_media_type(store_layer_kind kind) {
    for (size_t i = 0; i < COUNT_OF(KINDS); i++)
        if (KINDS[i].kind == kind) return str_from(KINDS[i].media_type);
    return STR("application/octet-stream");
}

static store_layer_kind kind_of(str media_type) {
    for (size_t i = 0; i < COUNT_OF(KINDS); i++)
        if (str_eq(media_type, str_from(KINDS[i].media_type))) return KINDS[i].kind;
    return STORE_LAYER_OTHER;
}

static str text_field(arena *a, const json_t *object, const char *key) {
    return str_dup(a, str_from(json_string_value(json_object_get(object, key))));
}

static err_code parse_layer(arena *a, const json_t *v, store_layer *ret, err *e) {
    *ret = (store_layer){.media_type = text_field(a, v, "mediaType"),
                         .digest = text_field(a, v, "digest"),
                         .n_bytes = json_integer_value(json_object_get(v, "size")),
                         .from = text_field(a, v, "from")};
    ret->kind = kind_of(ret->media_type);
    if (!store_digest_valid(ret->digest))
        FAIL(e, FORMAT, "manifest: \"" STR_FMT "\" is not a digest", STR_ARG(ret->digest));
    if (ret->n_bytes < 0) FAIL(e, FORMAT, "manifest: a layer of negative size");
    if ((uint64_t)ret->n_bytes > LIMIT_BLOB_BYTES)
        FAIL(e, LIMIT, "manifest: a layer of %lld bytes", (long long)ret->n_bytes);
    return ERR_OK;
}

err_code manifest_parse(arena *a, str text, store_model *ret, store_layer *ret_config, err *e) {
    json_error_t at;
    json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &at);
    if (!root) FAIL(e, FORMAT, "manifest: %s", at.text);
    const json_t *list = json_object_get(root, "layers");
    size_t n = json_array_size(list);
    if (n > LIMIT_MANIFEST_LAYERS) {
        json_decref(root);
        FAIL(e, LIMIT, "manifest: %zu layers, at most %d", n, LIMIT_MANIFEST_LAYERS);
    }
    store_layer *layers = ARENA_ARRAY(a, store_layer, n + 1);
    err_code code = parse_layer(a, json_object_get(root, "config"), ret_config, e);
    int64_t total = ret_config->n_bytes;
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        code = parse_layer(a, json_array_get(list, i), &layers[i], e);
        if (__builtin_add_overflow(total, layers[i].n_bytes, &total)) total = INT64_MAX;
    }
    json_decref(root);
    if (code) return code;
    ret->layers = layers;
    ret->n_layers = n;
    ret->n_bytes = total;
    ret->digest = manifest_sha256_hex(a, text);
    return ERR_OK;
}

err_code manifest_parse_config(arena *a, str text, store_config *ret, err *e) {
    json_error_t at;
    json_t *root = json_loadb(text.ptr, text.len, 0, &at);
    if (!root) FAIL(e, FORMAT, "model config: %s", at.text);
    *ret = (store_config){
        .format = text_field(a, root, "model_format"),
        .family = text_field(a, root, "model_family"),
        .size_text = text_field(a, root, "model_type"),
        .file_type = text_field(a, root, "file_type"),
        .requires_version = text_field(a, root, "requires"),
        .renderer = text_field(a, root, "renderer"),
        .parser = text_field(a, root, "parser"),
        .ctx_train = json_integer_value(json_object_get(root, "context_length")),
        .n_embd = json_integer_value(json_object_get(root, "embedding_length")),
    };
    const json_t *list = json_object_get(root, "capabilities");
    str *names = ARENA_ARRAY(a, str, json_array_size(list) + 1);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name) names[ret->n_capabilities++] = str_dup(a, str_from(name));
    }
    ret->capabilities = names;
    json_decref(root);
    return ERR_OK;
}

static json_t *layer_json(const store_layer *l) {
    json_t *o = json_object();
    json_object_set_new(o, "mediaType", json_stringn(l->media_type.ptr, l->media_type.len));
    json_object_set_new(o, "digest", json_stringn(l->digest.ptr, l->digest.len));
    json_object_set_new(o, "size", json_integer(l->n_bytes));
    if (l->from.len) json_object_set_new(o, "from", json_stringn(l->from.ptr, l->from.len));
    return o;
}

/* Takes the object and returns its text. */
static str dump(arena *a, json_t *root) {
    char *text = json_dumps(root, JSON_COMPACT);
    str out = str_dup(a, str_from(text));
    free(text);
    json_decref(root);
    return out;
}

str manifest_write(arena *a, const store_layer *config, const store_layer *layers,
                   size_t n_layers) {
    json_t *root = json_object(), *list = json_array();
    for (size_t i = 0; i < n_layers; i++) json_array_append_new(list, layer_json(&layers[i]));
    json_object_set_new(root, "schemaVersion", json_integer(2));
    json_object_set_new(root, "mediaType",
                        json_string("application/vnd.docker.distribution.manifest.v2+json"));
    json_object_set_new(root, "config", layer_json(config));
    json_object_set_new(root, "layers", list);
    return dump(a, root);
}

static void set_text(json_t *o, const char *key, str text) {
    if (text.len) json_object_set_new(o, key, json_stringn(text.ptr, text.len));
}

str manifest_write_config(arena *a, const store_config *c) {
    json_t *root = json_object();
    set_text(root, "model_format", c->format);
    set_text(root, "model_family", c->family);
    if (c->family.len)
        json_object_set_new(root, "model_families",
                            json_pack("[o]", json_stringn(c->family.ptr, c->family.len)));
    set_text(root, "model_type", c->size_text);
    set_text(root, "file_type", c->file_type);
    set_text(root, "renderer", c->renderer);
    set_text(root, "parser", c->parser);
    set_text(root, "requires", c->requires_version);
    if (c->ctx_train) json_object_set_new(root, "context_length", json_integer(c->ctx_train));
    if (c->n_embd) json_object_set_new(root, "embedding_length", json_integer(c->n_embd));
    if (c->n_capabilities) {
        json_t *list = json_array();
        for (size_t i = 0; i < c->n_capabilities; i++)
            json_array_append_new(list,
                                  json_stringn(c->capabilities[i].ptr, c->capabilities[i].len));
        json_object_set_new(root, "capabilities", list);
    }
    json_object_set_new(root, "architecture", json_string("amd64"));
    json_object_set_new(root, "os", json_string("linux"));
    return dump(a, root);
}

str manifest_sha256_hex(arena *a, str bytes) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_Digest(bytes.ptr, bytes.len, hash, NULL, EVP_sha256(), NULL);
    char *hex = arena_alloc(a, 65);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return (str){hex, 64};
}
