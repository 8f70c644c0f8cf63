/* Models as they are published for training to GGUF: a directory of safetensors, an adapter over
 * one, and split GGUFs.
 *
 * Reads config.json, the tensors, tokenizer.json and its companions, and writes one GGUF with the
 * names, the layout and the keys that llm/ reads. Matrices keep their type (F32, F16, BF16),
 * vectors become F32. Families: see families in convert.c; everything that cannot be carried over
 * (other families, unknown tensors, scalings, activations) is refused by name. All input is
 * foreign. Threads: the calling one. Memory: some rows, and the tokenizer. */
#pragma once
#include "base/str.h"
#include "model/quantize.h"

/* One file of the directory: its name there ("model.safetensors", "1_Pooling/config.json") and
 * where its bytes are. */
typedef struct convert_file {
    str name;
    const char *path;
} convert_file;

/* The output appears only when it is complete. progress may be NULL. FORMAT and UNSUPPORTED name
 * the file, the key or the tensor. */
err_code convert_safetensors(const convert_file *files, size_t n_files, const char *path_out,
                             const quantize_progress *progress, err *e);

/* A LoRA adapter as PEFT saves it (adapter_config.json and *.safetensors) to a GGUF as
 * llm/adapter.h reads it. `model` is the GGUF of the model that it is for, which gives the family
 * and the heads. Factors that differ by layer, DoRA, changes of embeddings, of experts and whole
 * weights are refused by name; whether the shapes fit the model is for the loader to say. */
err_code convert_adapter(const convert_file *files, size_t n_files, const char *model,
                         const char *path_out, const quantize_progress *progress, err *e);

/* All parts of a split GGUF, in order, to one file. */
err_code convert_merge_gguf(const char *const *paths, size_t n_paths, const char *path_out,
                            const quantize_progress *progress, err *e);
