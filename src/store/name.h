/* Model names: `[host/][namespace/]model[:tag]` with Ollama's defaults and rules.
 *
 * Parts are restricted to letters, digits and a few signs and never begin with a dot, so a valid
 * name is also a safe path below the store. Strings live in the arena given. Threads: any. */
#pragma once
#include "base/str.h"

typedef struct store_name {
    str host;  /* "registry.ollama.ai" when not given */
    str space; /* namespace; "library" */
    str model;
    str tag; /* "latest" */
} store_name;

/* False if the text is not a valid name. An `http(s)://` scheme in front is dropped. */
bool store_name_parse(arena *a, str text, store_name *ret);

/* What users see: without the default host and namespace, always with the tag. */
str store_name_display(arena *a, const store_name *n);
/* "registry.ollama.ai/library/smollm2:135m" */
str store_name_full(arena *a, const store_name *n);
/* "registry.ollama.ai/library/smollm2/135m", relative to manifests/ */
str store_name_path(arena *a, const store_name *n);
