/* The built-in templates: each renders every kind of conversation, and what it shows of tool calls
 * is what the family's reply format reads back. */
#include "base/buf.h"
#include "base/value_json.h"
#include "model/chat.h"
#include "model/renderers.h"
#include "model/reply/reply.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const NAMES[] = {"qwen3",  "qwen3-coder", "deepseek3.1", "gemma3",
                                    "llama3", "mistral",     "harmony"};

static const char TOOLS[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Of a city\","
    "\"parameters\":{\"type\":\"object\",\"required\":[\"city\"],\"properties\":{\"city\":{"
    "\"type\":"
    "\"string\",\"description\":\"Where\"},\"days\":{\"type\":\"integer\"},\"unit\":{\"type\":"
    "\"string\","
    "\"enum\":[\"C\",\"F\"]},\"l\":{\"type\":\"array\",\"items\":{\"type\":\"number\"}}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\"}}]";
static const char CHAT[] =
    "[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Weather?\"},"
    "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"Look it "
    "up.\",\"tool_calls\":[{\"function\":{"
    "\"name\":\"weather\",\"arguments\":{\"city\":\"Rome\",\"days\":2}}}]},"
    "{\"role\":\"tool\",\"content\":\"sunny\",\"tool_name\":\"weather\"}]";

static str rendered(arena *a, const char *name, const char *messages, const char *tools,
                    int think) {
    chat_template *t;
    value *m = NULL, *list = NULL;
    const tok_segment *segs;
    size_t n;
    err e = {0};
    buf all = {0};
    assert_int_equal(value_json_read(a, str_from(messages), &m, &e), ERR_OK);
    if (tools) assert_int_equal(value_json_read(a, str_from(tools), &list, &e), ERR_OK);
    const char *source = renderer_template(str_from(name));
    assert_non_null(source);
    chat_create(str_from(source), STR("<bos>"), STR("<eos>"), &t, &e);
    if (chat_check(t, &e)) fail_msg("%s: %s", name, e.msg);
    chat_input in = {.messages = m,
                     .tools = list,
                     .add_generation_prompt = true,
                     .think = think,
                     .now_unix = 86400};
    if (chat_render(t, &in, a, &segs, &n, &e)) fail_msg("%s: %s", name, e.msg);
    for (size_t i = 0; i < n; i++) buf_put_str(&all, segs[i].text);
    str text = str_dup(a, buf_str(&all));
    buf_finish(&all);
    chat_destroy(&t);
    return text;
}

static void hear(void *arg, const reply_event *ev) {
    if (ev->kind != REPLY_CALL) return;
    buf_put_str(arg, ev->name);
    value_json_write(arg, ev->arguments, 0);
}

/* Everything behind the user's turn, as if the model had said it. */
static void check_read_back(arena *a, const char *name, str text) {
    value *tools = NULL;
    buf heard = {0};
    ptrdiff_t at = str_find(text, STR("Weather?"));
    value_json_read(a, STR(TOOLS), &tools, NULL);
    assert_true(at >= 0);
    text = str_sub(text, (size_t)at + 8, text.len);
    ptrdiff_t from = -1;
    static const char *const MARKS[] = {"<tool_call>", "<\xef\xbd\x9ctool", "[TOOL_CALLS]",
                                        "{\"name\"", "<|channel|>"};
    for (size_t i = 0; i < COUNT_OF(MARKS) && from < 0; i++)
        from = str_find(text, str_from(MARKS[i]));
    assert_true(from >= 0);
    const char *format = reply_find(str_from(name));
    assert_non_null(format);
    reply *r = reply_create(&(reply_spec){
        .format = format, .tools = tools, .thinks = true, .put = hear, .arg = &heard});
    reply_put(r, str_sub(text, (size_t)from, text.len));
    reply_end(r);
    if (!str_eq(buf_str(&heard), STR("weather{\"city\":\"Rome\",\"days\":2}")))
        fail_msg("%s: %.*s\n read: %.*s", name, STR_ARG(text), STR_ARG(buf_str(&heard)));
    reply_destroy(&r);
    buf_finish(&heard);
}

static void test_conversations(void **state) {
    (void)state;
    arena *a = arena_create(0);
    for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
        bool tools = strcmp(NAMES[i], "gemma3") != 0;
        str text = rendered(a, NAMES[i], CHAT, tools ? TOOLS : NULL, -1);
        assert_true(str_find(text, STR("Be brief.")) >= 0);
        assert_true(str_find(text, STR("sunny")) >= 0);
        if (!tools) continue;
        assert_true(str_find(text, STR("Of a city")) >= 0);
        check_read_back(a, NAMES[i], text);
    }
    arena_destroy(&a);
}

static void test_exact(void **state) {
    (void)state;
    static const char ONE[] = "[{\"role\":\"user\",\"content\":\"Hi\"}]";
    static const struct {
        const char *name;
        int think;
        const char *want;
    } CASES[] = {
        {"qwen3", 1, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
        {"qwen3", 0,
         "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"},
        {"qwen3-coder", -1, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
        {"gemma3", -1, "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"},
        {"llama3", -1,
         "<bos><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant"
         "<|end_header_id|>\n\n"},
        {"mistral", -1, "<bos>[INST]Hi[/INST]"},
        {"deepseek3.1", 1,
         "<bos><\xef\xbd\x9cUser\xef\xbd\x9c>Hi<\xef\xbd\x9c"
         "Assistant\xef\xbd\x9c><think>"},
        {"deepseek3.1", 0,
         "<bos><\xef\xbd\x9cUser\xef\xbd\x9c>Hi<\xef\xbd\x9c"
         "Assistant\xef\xbd\x9c></think>"},
    };
    arena *a = arena_create(0);
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        str text = rendered(a, CASES[i].name, ONE, NULL, CASES[i].think);
        if (!str_eq(text, str_from(CASES[i].want)))
            fail_msg("%s: got %.*s\nwant %s", CASES[i].name, STR_ARG(text), CASES[i].want);
    }
    str harmony = rendered(a, "harmony", ONE, TOOLS, -1);
    assert_true(str_find(harmony, STR("Current date: 1970-01-02\n\nReasoning: medium")) >= 0);
    assert_true(
        str_find(
            harmony,
            STR("// Of a city\ntype weather = (_: {\n// Where\ncity: string,\ndays?: number,\n"
                "unit?: \"C\" | \"F\",\nl?: number[],\n}) => any;\n\ntype now = () => any;")) >= 0);
    assert_true(str_ends(harmony, STR("<|start|>user<|message|>Hi<|end|><|start|>assistant")));
    assert_null(renderer_template(STR("nonsense")));
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
