/* Fuzz: config.json and tokenizer.json, a NUL between them, beside tensors that are in order. What
 * is converted must open again. Runs from the root of the tree. */
#include "model/convert/convert.h"
#include "model/gguf.h"
#include "model/tok.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void put(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f) __builtin_trap();
    fwrite(bytes, 1, n, f);
    fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static char config[64], tokens[64], out[64];
    if (!*config) {
        snprintf(config, sizeof config, "/tmp/hob-fuzz-%d-config", (int)getpid());
        snprintf(tokens, sizeof tokens, "/tmp/hob-fuzz-%d-tokens", (int)getpid());
        snprintf(out, sizeof out, "/tmp/hob-fuzz-%d-out", (int)getpid());
    }
    const uint8_t *cut = n ? memchr(data, 0, n) : NULL;
    size_t head = cut ? (size_t)(cut - data) : n;
    put(config, data, head);
    put(tokens, cut ? cut + 1 : data, cut ? n - head - 1 : 0);
    const convert_file files[] = {
        {STR("config.json"), config},
        {STR("tokenizer.json"), tokens},
        {STR("model.safetensors"), "tests/golden/convert/tok_gpt2/model.safetensors"}};
    err e;
    gguf *g = NULL;
    tok *t = NULL;
    if (convert_safetensors(files, 3, out, NULL, &e) == ERR_OK) {
        if (gguf_open(out, &g, &e)) __builtin_trap();
        tok_create_from_gguf(g, &t, &e);
        tok_destroy(&t);
        gguf_destroy(&g);
        remove(out);
    }
    remove(config);
    remove(tokens);
    return 0;
}
