/* Converted tokenizers against the tokenizers library: convert.py's tiny models, their texts and
 * ids. */
#include "model/convert/convert.h"
#include "model/gguf.h"
#include "model/tok.h"
#include "os/file.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#define DIR_CONVERT "tests/golden/convert/"

static gguf *convert(const char *name, char path[200]) {
    static const char *const FILES[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json"};
    char paths[COUNT_OF(FILES)][200];
    convert_file files[COUNT_OF(FILES)];
    err e = {0};
    gguf *g = NULL;
    for (size_t i = 0; i < COUNT_OF(FILES); i++) {
        snprintf(paths[i], sizeof paths[i], DIR_CONVERT "%s/%s", name, FILES[i]);
        files[i] = (convert_file){str_from(FILES[i]), paths[i]};
    }
    snprintf(path, 200, "/tmp/hob-tokens-%d-%s.gguf", (int)getpid(), name);
    if (convert_safetensors(files, COUNT_OF(files), path, NULL, &e))
        fail_msg("%s: %s", name, e.msg);
    if (gguf_open(path, &g, &e)) fail_msg("%s: %s", name, e.msg);
    return g;
}

static void check_text(const char *name, const tok *t, const json_t *one) {
    const json_t *want = json_object_get(one, "ids"), *text = json_object_get(one, "text");
    str s = {json_string_value(text), json_string_length(text)};
    tok_ids ids = {0};
    err e = {0};
    if (tok_encode(t, s, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids, &e)) fail_msg("%s", e.msg);
    bool same = ids.len == json_array_size(want);
    for (size_t i = 0; i < ids.len && same; i++)
        same = ids.items[i] == json_integer_value(json_array_get(want, i));
    if (!same) {
        char *wanted = json_dumps(want, JSON_COMPACT);
        fprintf(stderr, "got");
        for (size_t i = 0; i < ids.len; i++) fprintf(stderr, " %d", ids.items[i]);
        fail_msg("%s: \"%.*s\": %s wanted", name, (int)s.len, s.ptr, wanted);
    }
    VEC_FINISH(ids);
}

static void check(const char *name) {
    char path[200], expect[200];
    err e = {0};
    tok *t = NULL;
    gguf *g = convert(name, path);
    if (tok_create_from_gguf(g, &t, &e)) fail_msg("%s: %s", name, e.msg);
    snprintf(expect, sizeof expect, DIR_CONVERT "%s/expect.json", name);
    json_t *list = json_load_file(expect, 0, NULL), *one;
    size_t i;
    assert_true(json_array_size(list) > 5);
    json_array_foreach(list, i, one) check_text(name, t, one);
    json_decref(list);
    tok_destroy(&t);
    gguf_destroy(&g);
    remove(path);
}

#define TOKENIZER(name)                                                                            \
    static void name(void **state) {                                                               \
        (void)state;                                                                               \
        check(#name);                                                                              \
    }
TOKENIZER(tok_gpt2)
TOKENIZER(tok_llama3)
TOKENIZER(tok_qwen2)
TOKENIZER(tok_smollm)
TOKENIZER(tok_spm)
TOKENIZER(tok_wordpiece)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tok_gpt2),   cmocka_unit_test(tok_llama3), cmocka_unit_test(tok_qwen2),
        cmocka_unit_test(tok_smollm), cmocka_unit_test(tok_spm),    cmocka_unit_test(tok_wordpiece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
