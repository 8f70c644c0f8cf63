/* extra_model_paths.yaml: the part of YAML that such files use.
 *
 * Sections at the left margin; below them `key: value` lines, indented; a value of `|` (or none) is
 * followed by one path a line, indented further. Comments and quotes as in YAML; ~ and $NAME are
 * not expanded, since only main reads the environment: a leading "~" is refused by name. */
#include "base/limits.h"
#include "store/folders.h"
#include <string.h>

typedef struct section {
    str base;
    bool first; /* is_default: paths go in front */
    str key;    /* of the block of paths that is being read */
    size_t key_indent;
} section;

static str without_comment(str line) {
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] == '#' && (i == 0 || line.ptr[i - 1] == ' ')) return str_sub(line, 0, i);
    return line;
}

static str unquoted(str s) {
    s = str_trim(s);
    bool quoted =
        s.len >= 2 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0];
    return quoted ? str_sub(s, 1, s.len - 1) : s;
}

static str absolute(folders *f, str base, str path) {
    if (path.len && path.ptr[0] == '/') return str_dup(f->arena, path);
    while (str_starts(path, STR("./"))) path = str_sub(path, 2, path.len);
    while (path.len > 1 && path.ptr[path.len - 1] == '/') path.len--;
    return str_fmt(f->arena, STR_FMT "/" STR_FMT, STR_ARG(base), STR_ARG(path));
}

static folder *find_or_add(folders *f, str key) {
    folder *x = (folder *)(uintptr_t)folders_find(f, key);
    if (x || f->n == LIMIT_FOLDER_KEYS) return x;
    x = &f->items[f->n++];
    x->key = str_dup(f->arena, key);
    x->paths = ARENA_ARRAY(f->arena, str, LIMIT_FOLDER_PATHS);
    return x;
}

static err_code add(folders *f, const section *s, str key, str path, err *e) {
    folder *x = find_or_add(f, key);
    if (!x || x->n_paths == LIMIT_FOLDER_PATHS)
        FAIL(e, LIMIT, "too many folders at " STR_FMT, STR_ARG(key));
    if (path.len && path.ptr[0] == '~')
        FAIL(e, UNSUPPORTED, STR_FMT ": write the home directory out", STR_ARG(path));
    str whole = absolute(f, s->base, path);
    if (s->first) memmove(x->paths + 1, x->paths, x->n_paths * sizeof *x->paths);
    x->paths[s->first ? 0 : x->n_paths] = whole;
    x->n_paths++;
    return ERR_OK;
}

static err_code take_pair(folders *f, section *s, str key, str value, err *e) {
    if (str_eq(key, STR("base_path"))) {
        if (value.len && value.ptr[0] == '~')
            FAIL(e, UNSUPPORTED, STR_FMT ": write the home directory out", STR_ARG(value));
        s->base = absolute(f, s->base, value);
    } else if (str_eq(key, STR("is_default"))) {
        s->first = str_eq_nocase(value, STR("true")) || str_eq(value, STR("1"));
    } else if (value.len == 0 || str_eq(value, STR("|")) || str_eq(value, STR("|-"))) {
        s->key = key;
    } else {
        return add(f, s, key, value, e);
    }
    return ERR_OK;
}

static err_code take_line(folders *f, section *s, str dir, str line, err *e) {
    size_t indent = 0;
    while (indent < line.len && line.ptr[indent] == ' ') indent++;
    str text = str_trim(line);
    if (text.len == 0) return ERR_OK;
    if (line.ptr[0] == '\t') FAIL(e, FORMAT, "tabs cannot indent");
    if (s->key.len && indent > s->key_indent) {
        if (str_starts(text, STR("- "))) text = str_sub(text, 2, text.len);
        return add(f, s, s->key, unquoted(text), e);
    }
    s->key = (str){0};
    if (str_find_char(text, ':') < 0) FAIL(e, FORMAT, "expected `key: value`");
    str value = text;
    str key = unquoted(str_cut(&value, ':'));
    value = unquoted(value);
    if (indent == 0) {
        *s = (section){.base = dir};
        return value.len ? err_set(e, ERR_FORMAT, "a section has no value") : ERR_OK;
    }
    s->key_indent = indent;
    return take_pair(f, s, key, value, e);
}

err_code folders_read_extra(folders *f, str text, str dir, err *e) {
    section s = {.base = dir};
    for (int line_no = 1; text.len; line_no++) {
        str line = without_comment(str_cut(&text, '\n'));
        if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
        if (take_line(f, &s, dir, line, e)) return err_wrap(e, "line %d", line_no);
    }
    return ERR_OK;
}
