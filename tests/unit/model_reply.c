/* Reading replies: every format, cut into pieces in every way with the same result; what is no call
 * comes out word for word. */
#include "base/rng.h"
#include "base/value_json.h"
#include "model/reply/reply.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
#define DS(words) "<" BAR "tool" LOW words BAR ">"

static const char TOOLS[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{\"type\":"
    "\"object\","
    "\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"deep\":{"
    "\"type\":"
    "\"object\"},\"zip\":{\"type\":\"string\"},\"now\":{\"type\":\"boolean\"}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"time\"}}]";

typedef struct example {
    const char *format, *template_text, *prompt;
    bool tools, thinks;
    const char *text;
    const char *want; /* T:thinking C:content F:name arguments, joined by `|` */
} example;

static const example EXAMPLES[] = {
    {"plain", "", "", false, false, "a <think> b\n\n", "C:a <think> b\n\n"},
    {"think", "", "", false, true, "<think>\nLet me see.\n</think>\n\nYes.\n",
     "T:Let me see.|C:Yes.\n"},
    {"think", "", "<assistant><think>\n", false, true, "Let me see.</think>Yes.",
     "T:Let me see.|C:Yes."},
    {"think", "", "<think>\n\n</think>\n\n", false, true, "Yes. <think>", "C:Yes. <think>"},
    {"think", "", "", false, true, "  No thoughts, <think> is a word",
     "C:  No thoughts, <think> is a word"},
    {"think", "", "", false, true, "<think>cut in the mid", "T:cut in the mid"},
    {"think", "", "", false, true, "<thin", "C:<thin"},
    {"think", "[THINK]x[/THINK]", "", false, true, "[THINK]a[/THIN[/THINK]b", "T:a[/THIN|C:b"},
    {"qwen3", "", "", true, true,
     "<think>\nweather?\n</think>\n\n<tool_call>\n{\"name\": \"weather\", \"arguments\": "
     "{\"city\": "
     "\"Rome\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"time\", \"arguments\": {}}\n</tool_call>",
     "T:weather?|F:weather {\"city\":\"Rome\"}|F:time {}"},
    {"qwen3", "", "", true, true,
     "I look.\n<tool_call>{\"name\":\"time\",\"arguments\":{}}</tool_call>\nDone.",
     "C:I look.|F:time {}|C:Done."},
    {"qwen3", "", "", true, true,
     "<tool_call>{\"name\":\"time\",\"arguments\":{\"x\":\"</tool_call> {\"}}</tool_call>",
     "F:time {\"x\":\"</tool_call> {\"}"},
    {"qwen3", "", "", true, true, "a\n<tool_call>\n{\"name\": oops}\n</tool_call>",
     "C:a\n<tool_call>\n{\"name\": oops}\n</tool_call>"},
    {"qwen3", "", "", true, true, "<tool_call>{\"name\": \"time\", \"arg",
     "C:<tool_call>{\"name\": \"time\", \"arg"},
    {"qwen3", "", "", true, true,
     "<tool_call>\nweather\n<arg_key>city</arg_key>\n<arg_value>Bonn</arg_value>\n"
     "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
     "F:weather {\"city\":\"Bonn\",\"days\":3}"},
    {"qwen3", "", "", false, true, "<tool_call>{\"name\":\"x\"}</tool_call>",
     "C:<tool_call>{\"name\":\"x\"}</tool_call>"},
    {"qwen3", "", "", true, true,
     "<tool_call>[{\"name\":\"time\"},{\"name\":\"weather\",\"parameters\":\"{\\\"city\\\":1}\"}]</"
     "tool_call>",
     "F:time {}|F:weather {\"city\":1}"},
    {"qwen3", "", "", true, true,
     "<tool_call>{\"name\":\"weather\",\"arguments\":{\"city\":\"a\nb\"}}</tool_call>",
     "F:weather {\"city\":\"a\\nb\"}"},
    {"qwen3-coder", "", "", true, false,
     "Ok.\n<tool_call>\n<function=weather>\n<parameter=city>\n12\n</"
     "parameter>\n<parameter=days>\n12\n</parameter>\n"
     "<parameter=deep>\n{\"a\": [1, "
     "2]}\n</parameter>\n<parameter=now>\nTrue\n</parameter>\n</function>\n</tool_call>",
     "C:Ok.|F:weather {\"city\":\"12\",\"days\":12,\"deep\":{\"a\":[1,2]},\"now\":true}"},
    {"qwen3-coder", "", "", true, false,
     "<function=weather><parameter=city>a\n<b>\nc</parameter></function></"
     "tool_call><tool_call><function=time></function></tool_call>",
     "F:weather {\"city\":\"a\\n<b>\\nc\"}|F:time {}"},
    {"qwen3-coder", "", "", true, false, "<function=>x</function>", "C:<function=>x</function>"},
    {"harmony", "", "<|start|>assistant", true, true,
     "<|channel|>analysis<|message|>Think. <|end|><|start|>assistant<|channel|>final<|message|>Hi "
     "<b> there<|return|>",
     "T:Think.|C:Hi <b> there"},
    {"harmony", "", "<|start|>assistant", true, true,
     "<|channel|>analysis<|message|>Need it.<|end|><|start|>assistant<|channel|>commentary "
     "to=functions.weather "
     "<|constrain|>json<|message|>{\"city\":\"Rome\"}<|call|>",
     "T:Need it.|F:weather {\"city\":\"Rome\"}"},
    {"harmony", "", "<|start|>assistant", true, true,
     " to=functions.time<|channel|>commentary <|constrain|>json<|message|>{}", "F:time {}"},
    {"harmony", "", "<|start|>assistant", true, true,
     "<|channel|>commentary<|message|>I will look.<|end|>"
     "<|start|>assistant<|channel|>commentary to=functions.time<|message|>{}<|call|>",
     "C:I will look.|F:time {}"},
    {"harmony", "", "<|start|>assistant", true, true, "Just words.", "C:Just words."},
    {"harmony", "", "<|start|>assistant", true, true, "<|channel|>ana", ""},
    {"deepseek", "", "<think>\n", true, true,
     "Hm.</think>" DS("calls" LOW "begin") DS("call" LOW "begin") "function" DS(
         "sep") "weather\n```json\n{\"city\": "
                "\"Rome\"}\n```" DS("call" LOW "end") "\n" DS("call" LOW "begin") "time" DS(
                    "sep") "{}" DS("cal"
                                   "l" LOW "end") DS("calls" LOW "end"),
     "T:Hm.|F:weather {\"city\":\"Rome\"}|F:time {}"},
    {"deepseek", "", "", true, true, DS("call" LOW "begin") "time" DS("sep") "{",
     "C:" DS("call" LOW "begin") "time" DS("sep") "{"},
    {"llama3", "", "", true, false,
     "[weather(city=\"Rome, \\\"x\\\"]\", days=2), time(), weather(\"Bonn\", 3, now=True)]",
     "F:weather {\"city\":\"Rome, \\\"x\\\"]\",\"days\":2}|F:time {}|F:weather "
     "{\"city\":\"Bonn\",\"days\":3,\"now\":true}"},
    {"llama3", "", "", true, false,
     "<|python_start|>[weather(city='It\\'s (a) [b]', deep={'a': [1, -2.5, None], 'b': "
     "(True, \"\\u00e9\")})]<|python_end|>",
     "F:weather {\"city\":\"It's (a) "
     "[b]\",\"deep\":{\"a\":[1,-2.5,null],\"b\":[true,\"\xc3\xa9\"]}}"},
    {"llama3", "", "", true, false, "[{\"name\":\"time\",\"parameters\":{}}]", "F:time {}"},
    {"llama3", "", "", true, false, "[Rome](http://x) is a city (it's old)",
     "C:[Rome](http://x) is a city (it's old)"},
    {"llama3", "", "", true, false, "[nobody(a=1)] yes", "C:[nobody(a=1)] yes"},
    {"llama3", "", "", true, false, "[weather(city=oops)] yes", "C:[weather(city=oops)] yes"},
    {"llama3", "", "", true, false, "[weather(city=\"Ro", "C:[weather(city=\"Ro"},
    {"llama3", "", "", true, false, "[1, 2, 3]", "C:[1, 2, 3]"},
    {"llama3", "", "", false, false, "[time()]", "C:[time()]"},
    {"lfm2", "", "", true, true,
     "<think>hm</think>Ok.<|tool_call_start|>[time(), weather(city=\"a\")]<|tool_call_end|>\nDone.",
     "T:hm|C:Ok.|F:time {}|F:weather {\"city\":\"a\"}|C:Done."},
    {"lfm2", "", "", true, false,
     "<|tool_call_start|>[{\"name\": \"time\", \"arguments\": {}}]<|tool_call_end|>", "F:time {}"},
    {"lfm2", "", "", true, false, "<|tool_call_start|>[time(]<|tool_call_end|>",
     "C:<|tool_call_start|>[time(]<|tool_call_end|>"},
    {"olmo3", "", "<think>", true, true,
     "hm</think>\n<function_calls>\ntime()\nweather(city=\"x\", days=1)\n</function_calls>",
     "T:hm|F:time {}|F:weather {\"city\":\"x\",\"days\":1}"},
    {"olmo3", "", "", true, false, "<function_calls>\nno call\n</function_calls>.",
     "C:<function_calls>\nno call\n</function_calls>."},
    {"kimi", "", "", true, true,
     "I look.<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
     "<|tool_call_argument_begin|>{\"city\": \"x\"}<|tool_call_end|><|tool_call_begin|>time:1"
     "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
     "C:I look.|F:weather {\"city\":\"x\"}|F:time {}"},
    {"kimi", "", "", true, true,
     "<|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{\"ci<|tool_call_end|>",
     "C:<|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{\"ci<|tool_call_end|>"},
    {"minimax", "", "<think>\n", true, true,
     "hm\n</think>\n\n<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter "
     "name=\"city\">12</parameter>\n<parameter name=\"days\">12</parameter>\n</invoke>\n"
     "<invoke name=\"time\">\n</invoke>\n</minimax:tool_call>",
     "T:hm|F:weather {\"city\":\"12\",\"days\":12}|F:time {}"},
    {"minimax", "", "", true, false,
     "<" BAR "DSML" BAR "function_calls><" BAR "DSML" BAR "invoke name=\"weather\"><" BAR "DSML" BAR
     "parameter name=\"city\" string=\"true\">a</b></" BAR "DSML" BAR "parameter></" BAR "DSML" BAR
     "invoke></" BAR "DSML" BAR "function_calls>",
     "F:weather {\"city\":\"a</b>\"}"},
    {"minimax", "", "", true, false, "<minimax:tool_call><invoke name=></minimax:tool_call>",
     "C:<minimax:tool_call><invoke name=></minimax:tool_call>"},
    {"apertus", "<|inner_prefix|>", "", true, true,
     "<|inner_prefix|>hm<|inner_suffix|><|tools_prefix|>[{\"weather\": {\"city\": \"x\"}}, "
     "{\"time\": {}}]<|tools_suffix|>",
     "T:hm|F:weather {\"city\":\"x\"}|F:time {}"},
    {"qwen3-coder", "", "", true, false,
     "<seed:tool_call>\n<function=time>\n</function>\n</seed:tool_call>", "F:time {}"},
    {"json", "", "", true, false,
     " functools[{\"name\": \"time\", \"arguments\": {}}, {\"name\": \"weather\", \"arguments\": "
     "{}}]",
     "F:time {}|F:weather {}"},
    {"json", "", "", true, false,
     "<|action_start|><|plugin|>\n{\"name\": \"time\", \"parameters\": {}}<|action_end|>",
     "C:<|action_start|>|F:time {}"},
    {"json", "", "", true, false, "functools is a module", "C:functools is a module"},
    {"cohere", "", "", true, false,
     "Action: ```json\n[\n    {\n        \"tool_name\": \"time\",\n        \"parameters\": {}\n    "
     "}\n]```",
     "F:time {}"},
    {"cohere", "", "", true, false, "Action: go home", "C:Action: go home"},
    {"mistral", "", "", true, false,
     "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"]\"}}, {\"name\": "
     "\"time\", \"arguments\": {}}]",
     "F:weather {\"city\":\"]\"}|F:time {}"},
    {"mistral", "", "", true, false,
     "Ok [TOOL_CALLS]weather[ARGS]{\"city\": \"x\"}[TOOL_CALLS]time[ARGS]{}",
     "C:Ok|F:weather {\"city\":\"x\"}|F:time {}"},
    {"mistral", "", "", true, false, "[TOOL_CALLS]time[CALL_ID]abc123[ARGS]{}", "F:time {}"},
    {"mistral", "", "", true, false, "[TOOL_CALLS]time{\"a\":1}", "F:time {\"a\":1}"},
    {"mistral", "[THINK][/THINK]", "", true, true, "[THINK]a[/THINK]b [1]", "T:a|C:b [1]"},
    {"mistral", "", "", true, false, "[TOOL_CALLS]oops", "C:[TOOL_CALLS]oops"},
    {"llama3", "", "", true, false, "{\"name\": \"weather\", \"parameters\": {\"city\": \"Rome\"}}",
     "F:weather {\"city\":\"Rome\"}"},
    {"llama3", "", "", true, false,
     "<|python_tag|>{\"name\":\"time\",\"parameters\":{}}; "
     "{\"name\":\"weather\",\"parameters\":{\"days\":1}}",
     "F:time {}|F:weather {\"days\":1}"},
    {"llama3", "", "", true, false, "{\"name\": \"unknown\", \"parameters\": {}}",
     "C:{\"name\": \"unknown\", \"parameters\": {}}"},
    {"llama3", "", "", true, false, "Text {\"name\": \"time\", \"parameters\": {}}",
     "C:Text {\"name\": \"time\", \"parameters\": {}}"},
    {"gemma", "<|channel>thought\n", "", true, true,
     "<|channel>thought\nHm.<channel|><|tool_call>call:weather{city:<|\"|>Ro, me}<|\"|>,days:2,"
     "deep:{a:[1,<|\"|>x<|\"|>],b:null}}<tool_call|>",
     "T:Hm.|F:weather {\"city\":\"Ro, me}\",\"days\":2,\"deep\":{\"a\":[1,\"x\"],\"b\":null}}"},
    {"gemma", "", "", true, true, "<|tool_call>call:weather{city<tool_call|>",
     "C:<|tool_call>call:weather{city<tool_call|>"},
    {"functiongemma", "", "", true, false,
     "<start_function_call>call:weather{city:<escape>Rome<escape>,now:true}<end_function_call>",
     "F:weather {\"city\":\"Rome\",\"now\":true}"},
    {"cohere", "<|START_THINKING|>", "", true, true,
     "<|START_THINKING|>I see<|END_THINKING|><|START_ACTION|>[{\"tool_call_id\": \"0\", "
     "\"tool_name\": \"time\", \"parameters\": {}}]<|END_ACTION|>",
     "T:I see|F:time {}"},
    {"cohere", "", "", true, false, "<|START_RESPONSE|>Hello<|END_RESPONSE|>", "C:Hello"},
    {"json", "", "", true, false, "Sure: {\"name\":\"time\",\"arguments\":{}} and {\"a\":1}",
     "C:Sure:|F:time {}|C:and {\"a\":1}"},
    {"json", "", "", true, false, "<TOOLCALL>[{\"name\":\"time\",\"arguments\":{}}]</TOOLCALL>",
     "F:time {}"},
    {"json", "", "", true, false, "int main() { return 0; }", "C:int main() { return 0; }"},
};

typedef struct heard {
    buf text;
    reply_kind kind;
    bool any;
} heard;

static void hear(void *arg, const reply_event *ev) {
    static const char *const MARKS[] = {"C:", "T:", "F:"};
    heard *h = arg;
    if (!h->any || h->kind != ev->kind || ev->kind == REPLY_CALL) {
        if (h->any) buf_put_char(&h->text, '|');
        buf_put_str(&h->text, str_from(MARKS[ev->kind]));
    }
    h->any = true;
    h->kind = ev->kind;
    if (ev->kind != REPLY_CALL) {
        assert_true(ev->text.len > 0);
        buf_put_str(&h->text, ev->text);
        return;
    }
    buf_put_str(&h->text, ev->name);
    buf_put_char(&h->text, ' ');
    value_json_write(&h->text, ev->arguments, 0);
}

static void check(const example *x, size_t piece, rng *random) {
    arena *a = arena_create(0);
    value *tools = NULL;
    heard h = {0};
    assert_int_equal(value_json_read(a, STR(TOOLS), &tools, NULL), ERR_OK);
    reply *r = reply_create(&(reply_spec){.format = x->format,
                                          .template_text = str_from(x->template_text),
                                          .prompt = str_from(x->prompt),
                                          .tools = x->tools ? tools : NULL,
                                          .thinks = x->thinks,
                                          .put = hear,
                                          .arg = &h});
    str text = str_from(x->text);
    for (size_t at = 0; at < text.len;) {
        size_t n = random ? 1 + rng_below(random, 9) : piece;
        reply_put(r, str_sub(text, at, at + n));
        at += n;
    }
    reply_end(r);
    if (!str_eq(buf_str(&h.text), str_from(x->want)))
        fail_msg("%s, pieces of %zu: %s\n want %s\n  got %.*s", x->format, piece, x->text, x->want,
                 STR_ARG(buf_str(&h.text)));
    buf_finish(&h.text);
    reply_destroy(&r);
    arena_destroy(&a);
}

static void test_examples_in_any_pieces(void **state) {
    (void)state;
    rng random;
    rng_init(&random, 7);
    for (size_t i = 0; i < COUNT_OF(EXAMPLES); i++) {
        for (size_t piece = 1; piece < 9; piece++) check(&EXAMPLES[i], piece, NULL);
        check(&EXAMPLES[i], 100000, NULL);
        for (int k = 0; k < 20; k++) check(&EXAMPLES[i], 0, &random);
    }
}

/* ---- hostile text ---- */

static const char *const PARTS[] = {
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "<function=",
    ">",
    "<parameter=",
    "</parameter>",
    "</function>",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    "<|call|>",
    "analysis",
    "final",
    " to=functions.time",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|python_tag|>",
    ";",
    "<|tool_call>",
    "<tool_call|>",
    "call:time{",
    "<|\"|>",
    "<escape>",
    "<start_function_call>",
    "<end_function_call>",
    DS("calls" LOW "begin"),
    DS("call" LOW "begin"),
    DS("sep"),
    DS("call" LOW "end"),
    "{\"name\":\"time\",\"arguments\":{}}",
    "word",
    " ",
    "\n",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "<|START_ACTION|>",
    "<|END_ACTION|>",
    "(",
    ")",
    "'",
    "[time()]",
    "[weather(city='",
    "<|python_start|>",
    "<|python_end|>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "<function_calls>",
    "</function_calls>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<minimax:tool_call>",
    "</minimax:tool_call>",
    "<invoke name=\"time\">",
    "</invoke>",
    "<parameter name=\"x\">",
    "<|tools_prefix|>",
    "<|tools_suffix|>",
    "Action:",
    "```json",
    "functools",
    "<",
    "|",
    ",",
    ":",
};

static void run_soup(const char *format, str text, size_t piece, heard *h, const value *tools) {
    reply *r = reply_create(
        &(reply_spec){.format = format, .tools = tools, .thinks = true, .put = hear, .arg = h});
    for (size_t at = 0; at < text.len; at += piece) reply_put(r, str_sub(text, at, at + piece));
    reply_end(r);
    reply_destroy(&r);
}

/* Any order of marks: no crash, and the same however it is cut. */
static void test_soup(void **state) {
    static const char *const FORMATS[] = {"think",  "harmony",       "qwen3",    "qwen3-coder",
                                          "gemma",  "functiongemma", "deepseek", "mistral",
                                          "llama3", "json",          "cohere",   "lfm2",
                                          "olmo3",  "kimi",          "minimax",  "apertus"};
    (void)state;
    rng random;
    rng_init(&random, 11);
    arena *a = arena_create(0);
    value *tools = NULL;
    assert_int_equal(value_json_read(a, STR(TOOLS), &tools, NULL), ERR_OK);
    for (int k = 0; k < 6000; k++) {
        buf text = {0};
        size_t n = 1 + rng_below(&random, 12);
        for (size_t i = 0; i < n; i++)
            buf_put_str(&text, str_from(PARTS[rng_below(&random, COUNT_OF(PARTS))]));
        const char *format = FORMATS[rng_below(&random, COUNT_OF(FORMATS))];
        heard all = {0}, bytes = {0};
        run_soup(format, buf_str(&text), 100000, &all, tools);
        run_soup(format, buf_str(&text), 1, &bytes, tools);
        if (!str_eq(buf_str(&all.text), buf_str(&bytes.text)))
            fail_msg("%s: %.*s\n whole %.*s\n bytes %.*s", format, STR_ARG(buf_str(&text)),
                     STR_ARG(buf_str(&all.text)), STR_ARG(buf_str(&bytes.text)));
        buf_finish(&all.text);
        buf_finish(&bytes.text);
        buf_finish(&text);
    }
    arena_destroy(&a);
}

static void test_picking(void **state) {
    (void)state;
    assert_string_equal(reply_pick(STR("{{ messages }}")), "plain");
    assert_string_equal(reply_pick(STR("{% if tools %}<tool_call>")), "qwen3");
    assert_string_equal(reply_pick(STR("{% if tools %}<tool_call><function=x>")), "qwen3-coder");
    assert_string_equal(reply_pick(STR("<|start|>system<|message|> <|channel|>")), "harmony");
    assert_string_equal(reply_pick(STR("{% if tools %}[TOOL_CALLS]")), "mistral");
    assert_string_equal(reply_pick(STR("{% if tools %}<|tool_call_start|>")), "lfm2");
    assert_string_equal(reply_pick(STR("<|python_start|>{% if tools %}")), "llama3");
    assert_string_equal(reply_pick(STR("<|tool_call_argument_begin|>")), "kimi");
    assert_string_equal(reply_pick(STR("{{ tools }}<functions><function_calls>")), "olmo3");
    assert_string_equal(reply_find(STR("Olmo3-Think")), "olmo3");
    assert_null(reply_find(STR("laguna")));
    assert_string_equal(reply_pick(STR("<|start_header_id|>{% if tools %}")), "llama3");
    assert_string_equal(reply_pick(STR("{{ .Tools }}")), "json");
    assert_string_equal(reply_find(STR("Qwen3-Coder")), "qwen3-coder");
    assert_null(reply_find(STR("nonsense")));
    assert_true(reply_can_think("qwen3") && reply_can_call("qwen3"));
    assert_false(reply_can_think("plain") || reply_can_call("plain"));
}

/* What a call begins with, and that having read it is known: a bracket alone says nothing yet. */
static void test_what_calls_begin_with(void **state) {
    (void)state;
    static const struct {
        const char *format, *marks; /* each with a space behind it; a J: a call in its form follows */
        const char *calls;          /* a text that has begun a call */
    } cases[] = {
        {"qwen3", "<tool_call>J ", "<tool_call>"},
        {"qwen3-coder", "<tool_call>J <seed:tool_call>J <function= ", "<function=x"},
        {"llama3", "<|python_tag|> <|python_start|> { [ ", "<|python_tag|>{"},
        {"json", "{ <|tool_call|>J <tool_calls>J <|plugin|>J functoolsJ <TOOLCALL>J <tool_call>J ",
         "functools["},
        {"mistral", "[TOOL_CALLS] ", "[TOOL_CALLS]f"},
        {"gemma", "<|tool_call> ", "<|tool_call>call:"},
        {"harmony", "", NULL},
        {"plain", "", NULL},
    };
    arena *a = arena_create(0);
    value *tools = NULL;
    assert_int_equal(value_json_read(a, STR(TOOLS), &tools, NULL), ERR_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        heard h = {0};
        buf marks = {0};
        str mark;
        bool json;
        reply_spec spec = {.format = cases[i].format, .tools = tools, .put = hear, .arg = &h};
        reply *r = reply_create(&spec);
        for (size_t k = 0; (mark = reply_call_mark(r, k, &json)).len; k++)
            buf_putf(&marks, STR_FMT "%s ", STR_ARG(mark), json ? "J" : "");
        assert_string_equal(marks.ptr ? buf_cstr(&marks) : "", cases[i].marks);
        reply_put(r, STR("{\"a\": "));
        assert_false(reply_is_calling(r));
        reply_destroy(&r);
        r = reply_create(&spec);
        if (cases[i].calls) reply_put(r, str_from(cases[i].calls));
        assert_true(reply_is_calling(r) == (cases[i].calls != NULL));
        reply_destroy(&r);
        spec.tools = NULL;
        r = reply_create(&spec);
        assert_int_equal(reply_call_mark(r, 0, &json).len, 0);
        reply_destroy(&r);
        buf_finish(&marks);
        buf_finish(&h.text);
    }
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_in_any_pieces),
        cmocka_unit_test(test_soup),
        cmocka_unit_test(test_picking),
        cmocka_unit_test(test_what_calls_begin_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
