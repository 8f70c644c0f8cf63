/* Parsing and printing model names. */
#include "store/name.h"

#define DEFAULT_HOST STR("registry.ollama.ai")
#define DEFAULT_SPACE STR("library")
#define DEFAULT_TAG STR("latest")

typedef enum part_kind { PART_HOST, PART_SPACE, PART_MODEL, PART_TAG } part_kind;

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool part_valid(str s, part_kind kind) {
    if (s.len == 0 || s.len > (kind == PART_HOST ? 350u : 80u)) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (is_alnum(c) || c == '_') continue;
        if (i == 0) return false;
        if (c == '-') continue;
        if (c == '.' && kind != PART_SPACE) continue;
        if (c == ':' && kind == PART_HOST) continue;
        return false;
    }
    return true;
}

bool store_name_parse(arena *a, str text, store_name *ret) {
    if (str_starts(text, STR("https://")))
        text = str_sub(text, 8, text.len);
    else if (str_starts(text, STR("http://")))
        text = str_sub(text, 7, text.len);
    store_name n = {DEFAULT_HOST, DEFAULT_SPACE, {0}, DEFAULT_TAG};
    ptrdiff_t colon = str_rfind_char(text, ':'), slash = str_rfind_char(text, '/');
    if (colon > slash) {
        n.tag = str_sub(text, (size_t)colon + 1, text.len);
        text = str_sub(text, 0, (size_t)colon);
    }
    slash = str_rfind_char(text, '/');
    n.model = str_sub(text, (size_t)(slash + 1), text.len);
    if (slash >= 0) {
        text = str_sub(text, 0, (size_t)slash);
        slash = str_rfind_char(text, '/');
        n.space = str_sub(text, (size_t)(slash + 1), text.len);
        if (slash >= 0) n.host = str_sub(text, 0, (size_t)slash);
    }
    if (!part_valid(n.host, PART_HOST) || !part_valid(n.space, PART_SPACE) ||
        !part_valid(n.model, PART_MODEL) || !part_valid(n.tag, PART_TAG))
        return false;
    *ret = (store_name){str_dup(a, n.host), str_dup(a, n.space), str_dup(a, n.model),
                        str_dup(a, n.tag)};
    return true;
}

str store_name_display(arena *a, const store_name *n) {
    if (!str_eq_nocase(n->host, DEFAULT_HOST)) return store_name_full(a, n);
    if (!str_eq_nocase(n->space, DEFAULT_SPACE))
        return str_fmt(a, STR_FMT "/" STR_FMT ":" STR_FMT, STR_ARG(n->space), STR_ARG(n->model),
                       STR_ARG(n->tag));
    return str_fmt(a, STR_FMT ":" STR_FMT, STR_ARG(n->model), STR_ARG(n->tag));
}

str store_name_full(arena *a, const store_name *n) {
    return str_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT ":" STR_FMT, STR_ARG(n->host),
                   STR_ARG(n->space), STR_ARG(n->model), STR_ARG(n->tag));
}

str store_name_path(arena *a, const store_name *n) {
    return str_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(n->host),
                   STR_ARG(n->space), STR_ARG(n->model), STR_ARG(n->tag));
}
