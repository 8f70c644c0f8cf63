/* Which format a template's model writes. */
#include "model/reply/reply.h"

typedef struct hint {
    const char *text, *also; /* both must be there; `also` may be NULL */
    const char *format;
} hint;

/* In this order: the more particular first. */
static const hint HINTS[] = {
    {"<|channel|>", "<|message|>", "harmony"},
    {"<start_function_call>", NULL, "functiongemma"},
    {"<|tool_call>", NULL, "gemma"},
    {"<|tool_call_start|>", NULL, "lfm2"},
    {"<function_calls>", "<functions>", "olmo3"},
    {"<|tool_call_argument_begin|>", NULL, "kimi"},
    {"<minimax:tool_call>", NULL, "minimax"},
    {"function_calls>", "DSML", "minimax"},
    {"<|tools_prefix|>", NULL, "apertus"},
    {"<function=", NULL, "qwen3-coder"},
    {"<tool_call>", NULL, "qwen3"},
    {"tool\xe2\x96\x81"
     "call",
     NULL, "deepseek"},
    {"[TOOL_CALLS]", NULL, "mistral"},
    {"<|START_ACTION|>", NULL, "cohere"},
    {"Action:", "tool_name", "cohere"},
    {"<|python_tag|>", NULL, "llama3"},
    {"<|python_start|>", NULL, "llama3"},
    {"<|header_start|>", "tools", "llama3"},
    {"<|start_header_id|>", "tools", "llama3"},
    {"<|start_header_id|>", ".Tools", "llama3"},
    {"tools", NULL, "json"},
    {".Tools", NULL, "json"},
    {"</think>", NULL, "think"},
    {"<think>", NULL, "think"},
    {"[/THINK]", NULL, "think"},
    {"enable_thinking", NULL, "think"},
    {"reasoning_content", NULL, "think"},
    {".Thinking", NULL, "think"},
    {"</seed:think>", NULL, "think"},
    {"\xe2\x97\x81/think\xe2\x96\xb7", NULL, "think"},
};

const char *reply_pick(str t) {
    for (size_t i = 0; i < COUNT_OF(HINTS); i++) {
        const hint *h = &HINTS[i];
        if (str_find(t, str_from(h->text)) >= 0 &&
            (!h->also || str_find(t, str_from(h->also)) >= 0))
            return h->format;
    }
    return "plain";
}

const char *reply_find(str name) {
    static const char *const NAMES[][2] = {
        {"plain", "plain"},
        {"passthrough", "plain"},
        {"think", "think"},
        {"thinking", "think"},
        {"harmony", "harmony"},
        {"gpt-oss", "harmony"},
        {"gptoss", "harmony"},
        {"qwen3", "qwen3"},
        {"qwen3-thinking", "qwen3"},
        {"qwen3-vl-instruct", "qwen3"},
        {"qwen3-vl-thinking", "qwen3"},
        {"hermes", "qwen3"},
        {"qwen2.5", "qwen3"},
        {"qwen3-coder", "qwen3-coder"},
        {"qwen3.5", "qwen3-coder"},
        {"nemotron-3-nano", "qwen3-coder"},
        {"nemotron-3.5-nano", "qwen3-coder"},
        {"glm-4.5", "qwen3"},
        {"glm-4.7", "qwen3"},
        {"cogito", "qwen3"},
        {"gemma", "gemma"},
        {"gemma4", "gemma"},
        {"gemma4-no-thinking", "gemma"},
        {"functiongemma", "functiongemma"},
        {"deepseek", "deepseek"},
        {"deepseek-r1", "deepseek"},
        {"deepseek3", "deepseek"},
        {"deepseek3.1", "deepseek"},
        {"mistral", "mistral"},
        {"ministral", "mistral"},
        {"llama3", "llama3"},
        {"llama3.1", "llama3"},
        {"llama3.2", "llama3"},
        {"llama4", "llama3"},
        {"pythonic", "llama3"},
        {"lfm2", "lfm2"},
        {"lfm2-thinking", "lfm2"},
        {"olmo3", "olmo3"},
        {"olmo3.1", "olmo3"},
        {"olmo3-think", "olmo3"},
        {"olmo3-32b-think", "olmo3"},
        {"kimi", "kimi"},
        {"kimi-k2", "kimi"},
        {"minimax", "minimax"},
        {"minimax-m2", "minimax"},
        {"deepseek3.2", "minimax"},
        {"apertus", "apertus"},
        {"seed-oss", "qwen3-coder"},
        {"glm-ocr", "qwen3"},
        {"ornith", "qwen3-coder"},
        {"cohere", "cohere"},
        {"json", "json"},
    };
    for (size_t i = 0; i < COUNT_OF(NAMES); i++)
        if (str_eq_nocase(name, str_from(NAMES[i][0]))) return NAMES[i][1];
    return NULL;
}
