/* Fuzz: adapters over a small model. Input that starts with GGUF is an adapter of that form; else
 * adapter_config.json, a NUL, and the safetensors beside it. What is converted must open again.
 * Runs from the root of the tree. */
#include "llm/model.h"
#include "model/convert/convert.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MODEL "tests/golden/models/llama.gguf"

static void put(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f) __builtin_trap();
    fwrite(bytes, 1, n, f);
    fclose(f);
}

static void load(dev *d, const char *path) {
    llm_model *m = NULL;
    err e;
    if (llm_model_load(d, MODEL, path, &m, &e)) return;
    uint64_t bytes;
    if (llm_model_step_bytes(m, 1, &bytes, &e)) __builtin_trap();
    llm_model_destroy(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static char config[64], tensors[64], out[64];
    static dev *cpu;
    err e;
    if (!cpu) {
        snprintf(config, sizeof config, "/tmp/hob-fuzz-%d-config", (int)getpid());
        snprintf(tensors, sizeof tensors, "/tmp/hob-fuzz-%d-tensors", (int)getpid());
        snprintf(out, sizeof out, "/tmp/hob-fuzz-%d-out", (int)getpid());
        if (dev_cpu_create(&(dev_cpu_params){.n_threads = 1}, &cpu, &e)) __builtin_trap();
    }
    if (n >= 4 && memcmp(data, "GGUF", 4) == 0) {
        put(out, data, n);
        load(cpu, out);
        remove(out);
        return 0;
    }
    const uint8_t *cut = n ? memchr(data, 0, n) : NULL;
    size_t head = cut ? (size_t)(cut - data) : n;
    put(config, data, head);
    put(tensors, cut ? cut + 1 : data, cut ? n - head - 1 : 0);
    const convert_file files[] = {{STR("adapter_config.json"), config},
                                  {STR("adapter_model.safetensors"), tensors}};
    if (convert_adapter(files, 2, MODEL, out, NULL, &e) == ERR_OK) {
        gguf *g = NULL;
        if (gguf_open(out, &g, &e)) __builtin_trap();
        gguf_destroy(&g);
        load(cpu, out);
        remove(out);
    }
    remove(config);
    remove(tensors);
    return 0;
}
