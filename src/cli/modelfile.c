/* The Modelfile parser: one pass, one line or block at a time. */
#include "cli/modelfile.h"
#include "base/buf.h"
#include "base/vec.h"

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

/* A value that may be quoted or go on over lines until the closing triple quotes. */
static err_code parse_value(parser *p, str line, str *ret, err *e) {
    line = str_trim(line);
    int first_line = p->line_no;
    if (str_starts(line, STR("\"\"\""))) {
        line = str_sub(line, 3, line.len);
        buf block = {0};
        ptrdiff_t end;
        while ((end = str_find(line, STR("\"\"\""))) < 0) {
            buf_put_str(&block, line);
            buf_put_char(&block, '\n');
            if (!p->rest.ptr || p->rest.len == 0) {
                buf_finish(&block);
                FAIL(e, FORMAT, "(line %d): the block that begins here has no closing \"\"\"",
                     first_line);
            }
            line = next_line(p);
        }
        buf_put_str(&block, str_sub(line, 0, (size_t)end));
        *ret = str_dup(p->a, buf_str(&block));
        buf_finish(&block);
        return ERR_OK;
    }
    if (line.len >= 2 && line.ptr[0] == '"' && line.ptr[line.len - 1] == '"')
        line = str_sub(line, 1, line.len - 1);
    *ret = str_dup(p->a, line);
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

/* Ollama's options, with the old names that are accepted and do nothing. */
static const char *const PARAMETERS[] = {
    "num_keep",
    "seed",
    "num_predict",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_last_n",
    "temperature",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
    "penalize_newline",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mlock",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "tfs_z",
    "numa",
};

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
    if (str_eq(out.command, STR("parameter")) &&
        !is_one_of(out.key, PARAMETERS, COUNT_OF(PARAMETERS)))
        FAIL(e, FORMAT, "(line %d): unknown parameter '" STR_FMT "'", p->line_no, STR_ARG(out.key));
    TRY(parse_value(p, line, &out.text, e));
    VEC_PUSH(p->lines, out);
    return ERR_OK;
}

err_code modelfile_parse(arena *a, str text, modelfile_line **ret, size_t *ret_n, err *e) {
    parser p = {.a = a, .rest = decode(a, text)};
    err_code code = ERR_OK;
    bool has_from = false;
    while (code == ERR_OK && p.rest.ptr) {
        str line = str_trim(next_line(&p));
        if (line.len == 0 || line.ptr[0] == '#') continue;
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
