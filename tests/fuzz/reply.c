/* Any bytes as what a model says, read in every format: no fault, the same events however the text
 * is cut, and no byte of content made up. The first two bytes choose the format and the pieces. */
#include "model/reply/reply.h"
#include "base/value_json.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char TOOLS[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"integer\"}}}}}]";

static const char *const FORMATS[] = {
    "plain",         "think",    "harmony", "qwen3",   "qwen3-coder", "gemma",
    "functiongemma", "deepseek", "llama3",  "mistral", "json",        "cohere",
    "lfm2",          "olmo3",    "kimi",    "minimax", "apertus"};

/* Neighbouring texts of one kind are one; a letter before each kind. */
typedef struct heard {
    buf text;
    int last;
    size_t n_bytes;
} heard;

static void hear(void *arg, const reply_event *ev) {
    heard *h = arg;
    if ((int)ev->kind != h->last || ev->kind == REPLY_CALL) buf_put_char(&h->text, "CTF"[ev->kind]);
    h->last = (int)ev->kind;
    if (ev->kind == REPLY_CALL) {
        buf_put_str(&h->text, ev->name);
        value_json_write(&h->text, ev->arguments, 0);
        return;
    }
    h->n_bytes += ev->text.len;
    buf_put_str(&h->text, ev->text);
}

static void listen(const char *format, const value *tools, str text, size_t piece, heard *h) {
    h->last = -1;
    reply *r = reply_create(
        &(reply_spec){.format = format, .tools = tools, .thinks = true, .put = hear, .arg = h});
    for (size_t at = 0; at < text.len; at += piece) reply_put(r, str_sub(text, at, at + piece));
    reply_end(r);
    reply_destroy(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 4096) return 0;
    const char *format = FORMATS[data[0] % COUNT_OF(FORMATS)];
    str text = {(const char *)data + 2, size - 2};
    arena *a = arena_create(0);
    value *tools = NULL;
    heard whole = {0}, cut = {0};
    if (value_json_read(a, STR(TOOLS), &tools, NULL)) abort();
    listen(format, tools, text, text.len + 1, &whole);
    listen(format, tools, text, 1 + data[1] % 7, &cut);
    if (!str_eq(buf_str(&whole.text), buf_str(&cut.text))) abort();
    if (whole.n_bytes > text.len) abort();
    buf_finish(&whole.text);
    buf_finish(&cut.text);
    arena_destroy(&a);
    return 0;
}
