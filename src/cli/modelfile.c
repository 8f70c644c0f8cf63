/* The Modelfile parser: one pass, one line or block at a time. */
#include "cli/modelfile.h"
#include "base/buf.h"
#include "base/vec.h"
#include <string.h>

typedef struct parser {
    arena *a;
    str rest;
    int line_no;
    VEC(modelfile_line) lines;
} parser;

/* UTF-16 with a byte order mark becomes UTF-8; UTF-8 loses its mark. */
static str decode(arena *a, str text) {
    const unsigned char *p = (const unsigned char *)text.ptr;
    if (str_starts(text, STR("\xEF\xBB\xBF"))) return str_sub(text, 3, text.len);
    bool little = str_starts(text, STR("\xFF\xFE")), big = str_starts(text, STR("\xFE\xFF"));
    if (!little && !big) return text;
    buf out = {0};
    for (size_t i = 2; i + 1 < text.len; i += 2) {
        uint32_t c = little ? (uint32_t)(p[i] | p[i + 1] << 8) : (uint32_t)(p[i] << 8 | p[i + 1]);
        if (c >= 0xD800 && c < 0xDC00 && i + 3 < text.len) {
            uint32_t low = little ? (uint32_t)(p[i + 2] | p[i + 3] << 8)
                                  : (uint32_t)(p[i + 2] << 8 | p[i + 3]);
            c = 0x10000 + ((c - 0xD800) << 10) + ((low - 0xDC00) & 0x3FF);
            i += 2;
        }
        buf_put_utf8(&out, c);
    }
    str copy = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return copy;
}

static str next_line(parser *p) {
    p->line_no++;
    return str_cut(&p->rest, '\n');
}

/* Is the quoted value that has come so far complete? It ends where a line ends with its quotes. */
static bool is_closed(str value, str quotes) {
    str s = str_trim(value);
    return s.len >= 2 * quotes.len && str_ends(s, quotes);
}

/* A value: the rest of the line, or quoted with " or \"\"\", then over as many lines as it takes.
 */
static err_code parse_value(parser *p, str line, str *ret, err *e) {
    int first_line = p->line_no;
    str s = str_trim(line);
    str quotes = str_starts(s, STR("\"\"\"")) ? STR("\"\"\"") : STR("\"");
    if (!str_starts(s, quotes)) {
        *ret = str_dup(p->a, s);
        return ERR_OK;
    }
    buf block = {0};
    buf_put_str(&block, line);
    while (!is_closed(buf_str(&block), quotes)) {
        if (!p->rest.ptr || p->rest.len == 0) {
            buf_finish(&block);
            FAIL(e, FORMAT, "(line %d): the block that begins here has no closing " STR_FMT,
                 first_line, STR_ARG(quotes));
        }
        buf_put_char(&block, '\n');
        buf_put_str(&block, next_line(p));
    }
    s = str_trim(buf_str(&block));
    *ret = str_dup(p->a, str_sub(s, quotes.len, s.len - quotes.len));
    buf_finish(&block);
    return ERR_OK;
}

static str cut_word(str *line) {
    str s = str_trim(*line);
    size_t n = 0;
    while (n < s.len && s.ptr[n] != ' ' && s.ptr[n] != '\t') n++;
    *line = str_sub(s, n, s.len);
    return str_sub(s, 0, n);
}

static bool is_one_of(str word, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(word, str_from(names[i]))) return true;
    return false;
}

static const char *const COMMANDS[] = {"from",      "license", "template", "system",
                                       "adapter",   "draft",   "renderer", "parser",
                                       "parameter", "message", "requires"};

/* Ollama's options, with the old names that are accepted and do nothing: what a value must be. */
static const struct {
    const char *names; /* space-separated */
    const char *type;
} PARAMETERS[] = {
    {"num_keep seed num_predict top_k repeat_last_n num_ctx num_batch num_gpu main_gpu num_thread "
     "draft_num_predict mirostat",
     "an integer"},
    {"top_p min_p typical_p temperature repeat_penalty presence_penalty frequency_penalty "
     "mirostat_tau mirostat_eta tfs_z",
     "a number"},
    {"use_mmap penalize_newline low_vram f16_kv logits_all vocab_only use_mlock numa",
     "true or false"},
    {"stop", "a text"},
};

static const char *parameter_type(str name) {
    for (size_t i = 0; i < COUNT_OF(PARAMETERS); i++)
        for (str rest = str_from(PARAMETERS[i].names); rest.len;)
            if (str_eq(str_cut(&rest, ' '), name)) return PARAMETERS[i].type;
    return NULL;
}

static bool is_bool(str s) {
    static const char *const WORDS[] = {"true", "false"};
    for (size_t i = 0; i < COUNT_OF(WORDS); i++)
        if (str_eq_nocase(s, str_from(WORDS[i]))) return true;
    return false;
}

err_code modelfile_check_parameter(str name, str text, err *e) {
    const char *type = parameter_type(name);
    int64_t i;
    double d;
    if (!type) FAIL(e, FORMAT, "unknown parameter '" STR_FMT "'", STR_ARG(name));
    bool ok = type[0] == 't' ? is_bool(text) : str_to_f64(text, &d);
    if (type[0] == 'a' && type[1] == 'n') ok = str_to_i64(text, &i);
    if (type[0] == 'a' && type[2] == 't') ok = true;
    if (!ok)
        FAIL(e, FORMAT, STR_FMT " must be %s, not \"" STR_FMT "\"", STR_ARG(name), type,
             STR_ARG(str_sub(text, 0, 60)));
    return ERR_OK;
}

static err_code check_parameter(const modelfile_line *l, err *e) {
    err inner;
    if (modelfile_check_parameter(l->key, l->text, &inner))
        FAIL(e, FORMAT, "(line %d): %s", l->line_no, inner.msg);
    return ERR_OK;
}

/* "0.6.2", "v1.2.3-rc1" */
static bool is_version(str v) {
    int64_t n;
    if (str_starts(v, STR("v"))) v = str_sub(v, 1, v.len);
    for (int i = 0; i < 3; i++) {
        bool last = i == 2;
        str part = last ? v : str_cut(&v, '.');
        if (last)
            for (size_t k = 0; k < part.len; k++)
                if (part.ptr[k] == '-' || part.ptr[k] == '+') part = str_sub(part, 0, k);
        if (!str_to_i64(part, &n) || n < 0 || part.ptr[0] == '+') return false;
    }
    return true;
}

static err_code parse_line(parser *p, str line, err *e) {
    modelfile_line out = {.line_no = p->line_no, .command = str_lower(p->a, cut_word(&line))};
    if (!is_one_of(out.command, COMMANDS, COUNT_OF(COMMANDS)))
        FAIL(e, FORMAT,
             "(line %d): command must be one of \"from\", \"license\", \"template\", \"system\", "
             "\"adapter\", \"draft\", \"renderer\", \"parser\", \"parameter\", \"message\", or "
             "\"requires\"",
             p->line_no);
    bool is_message = str_eq(out.command, STR("message"));
    if (is_message || str_eq(out.command, STR("parameter")))
        out.key = str_dup(p->a, cut_word(&line));
    if (is_message && !str_eq(out.key, STR("system")) && !str_eq(out.key, STR("user")) &&
        !str_eq(out.key, STR("assistant")))
        FAIL(e, FORMAT,
             "(line %d): message role must be one of \"system\", \"user\", or \"assistant\"",
             p->line_no);
    TRY(parse_value(p, line, &out.text, e));
    if (str_eq(out.command, STR("parameter"))) TRY(check_parameter(&out, e));
    if (str_eq(out.command, STR("from")) && out.text.len == 0)
        FAIL(e, FORMAT, "(line %d): FROM needs a model's name or a path", out.line_no);
    if (str_eq(out.command, STR("requires")) && !is_version(out.text))
        FAIL(e, FORMAT, "(line %d): REQUIRES needs a version such as 0.6.2, not \"" STR_FMT "\"",
             out.line_no, STR_ARG(str_sub(out.text, 0, 60)));
    VEC_PUSH(p->lines, out);
    return ERR_OK;
}

err_code modelfile_parse(arena *a, str text, modelfile_line **ret, size_t *ret_n, err *e) {
    parser p = {.a = a, .rest = decode(a, text)};
    err_code code = ERR_OK;
    bool has_from = false;
    while (code == ERR_OK && p.rest.ptr) {
        str line = str_trim(next_line(&p));
        if (line.ptr && memchr(line.ptr, 0, line.len))
            code = err_set(e, ERR_FORMAT, "(line %d): this is not text", p.line_no);
        if (code || line.len == 0 || line.ptr[0] == '#') continue;
        code = parse_line(&p, line, e);
        if (code == ERR_OK && str_eq(VEC_LAST(p.lines).command, STR("from"))) has_from = true;
    }
    if (code == ERR_OK && !has_from) code = err_set(e, ERR_FORMAT, "no FROM line");
    if (code == ERR_OK) {
        *ret = arena_dup(a, p.lines.items, p.lines.len * sizeof *p.lines.items);
        *ret_n = p.lines.len;
    }
    VEC_FINISH(p.lines);
    return code;
}
