/* Inside store/: reading and writing manifest and config JSON. */
#pragma once
#include "store/store.h"

/* Fills *ret from the manifest file's bytes; name and display are the caller's. */
err_code manifest_parse(arena *a, str text, store_model *ret, store_layer *ret_config, err *e);
err_code manifest_parse_config(arena *a, str text, store_config *ret, err *e);
str manifest_write(arena *a, const store_layer *config, const store_layer *layers, size_t n_layers);
str manifest_write_config(arena *a, const store_config *c);
str manifest_media_type(store_layer_kind kind);
str manifest_sha256_hex(arena *a, str bytes);
