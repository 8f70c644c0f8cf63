/* The built-in templates; see renderers.h. */
#include "model/renderers.h"

/* Turns between <|im_start|> and <|im_end|>; calls as JSON. */
static const char QWEN3[] =
    "{%- set ns = namespace(last=-1) -%}\n"
    "{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% "
    "endfor -%}\n"
    "{%- set system = messages[0].content if messages[0].role == 'system' else '' -%}\n"
    "{%- if tools -%}\n"
    "{{- '<|im_start|>system\\n' + (system + '\\n\\n' if system else '') }}\n"
    "{{- '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou "
    "are "
    "provided with function signatures within <tools></tools> XML tags:\\n<tools>' }}\n"
    "{%- for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}\n"
    "{{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and "
    "arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\"name\": "
    "<function-name>, "
    "\"arguments\": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}\n"
    "{%- elif system -%}\n"
    "{{- '<|im_start|>system\\n' + system + '<|im_end|>\\n' }}\n"
    "{%- endif -%}\n"
    "{%- for m in messages -%}\n"
    "{%- if m.role == 'user' or (m.role == 'system' and not loop.first) -%}\n"
    "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}\n"
    "{%- elif m.role == 'assistant' -%}\n"
    "{{- '<|im_start|>assistant\\n' }}\n"
    "{%- if m.reasoning_content and loop.index0 > ns.last -%}\n"
    "{{- '<think>\\n' + m.reasoning_content.strip('\\n') + '\\n</think>\\n\\n' }}\n"
    "{%- endif -%}\n"
    "{{- m.content.split('</think>')[-1].lstrip('\\n') }}\n"
    "{%- for c in m.tool_calls or [] -%}\n"
    "{{- ('\\n' if not loop.first or m.content else '') + '<tool_call>\\n{\"name\": \"' + "
    "c.function.name + '\", \"arguments\": ' + (c.function.arguments if c.function.arguments is "
    "string else c.function.arguments | tojson) + '}\\n</tool_call>' }}\n"
    "{%- endfor -%}\n"
    "{{- '<|im_end|>\\n' }}\n"
    "{%- elif m.role == 'tool' -%}\n"
    "{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% "
    "endif %}\n"
    "{{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}\n"
    "{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif "
    "%}\n"
    "{%- endif -%}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "{{- '<|im_start|>assistant\\n' }}\n"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ "
    "'<think>\\n\\n</think>\\n\\n' "
    "}}{% endif %}\n"
    "{%- endif -%}\n";

/* The same turns; tools and calls in marks around every part. */
static const char QWEN3_CODER[] =
    "{%- set system = messages[0].content if messages[0].role == 'system' else '' -%}\n"
    "{%- if system or tools -%}\n"
    "{{- '<|im_start|>system\\n' + (system or 'You are a helpful assistant.') }}\n"
    "{%- if tools -%}\n"
    "{{- '\\n\\n# Tools\\n\\nYou have access to the following functions:\\n\\n<tools>' }}\n"
    "{%- for tool in tools -%}\n"
    "{%- set f = tool.function -%}\n"
    "{{- '\\n<function>\\n<name>' + f.name + '</name>' }}\n"
    "{%- if f.description %}{{ '\\n<description>' + (f.description | trim) + '</description>' }}{% "
    "endif %}\n"
    "{{- '\\n<parameters>' }}\n"
    "{%- for name, p in ((f.parameters or {}).get('properties') or {}).items() -%}\n"
    "{{- '\\n<parameter>\\n<name>' + name + '</name>' }}\n"
    "{%- if p.type is defined %}{{ '\\n<type>' ~ p.type ~ '</type>' }}{% endif %}\n"
    "{%- if p.description is defined %}{{ '\\n<description>' ~ (p.description | trim) ~ "
    "'</description>' }}{% endif %}\n"
    "{%- if p.enum is defined %}{{ '\\n<enum>' ~ (p.enum | tojson) ~ '</enum>' }}{% endif %}\n"
    "{{- '\\n</parameter>' }}\n"
    "{%- endfor -%}\n"
    "{%- if f.parameters and f.parameters.required is defined %}{{ '\\n<required>' ~ "
    "(f.parameters.required | tojson) ~ '</required>' }}{% endif %}\n"
    "{{- '\\n</parameters>\\n</function>' }}\n"
    "{%- endfor -%}\n"
    "{{- '\\n</tools>\\n\\nIf you choose to call a function ONLY reply in the following format "
    "with NO "
    "suffix:\\n\\n<tool_call>\\n<function=example_function_name>\\n<parameter=example_parameter_1>"
    "\\n"
    "value_1\\n</parameter>\\n</function>\\n</tool_call>' }}\n"
    "{%- endif -%}\n"
    "{{- '<|im_end|>\\n' }}\n"
    "{%- endif -%}\n"
    "{%- for m in messages -%}\n"
    "{%- if m.role == 'tool' -%}\n"
    "{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user\\n' }}{% "
    "endif "
    "%}\n"
    "{{- '<tool_response>\\n' + m.content + '\\n</tool_response>\\n' }}\n"
    "{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif "
    "%}\n"
    "{%- elif m.role != 'system' or not loop.first -%}\n"
    "{{- '<|im_start|>' + m.role + '\\n' + (m.content | trim) }}\n"
    "{%- for c in m.tool_calls or [] -%}\n"
    "{{- ('\\n\\n' if loop.first and m.content else '\\n' if not loop.first else '') + "
    "'<tool_call>\\n<function=' + c.function.name + '>\\n' }}\n"
    "{%- for name, v in c.function.arguments.items() -%}\n"
    "{{- '<parameter=' + name + '>\\n' + (v if v is string else v | tojson) + '\\n</parameter>\\n' "
    "}}\n"
    "{%- endfor -%}\n"
    "{{- '</function>\\n</tool_call>' }}\n"
    "{%- endfor -%}\n"
    "{{- '<|im_end|>\\n' }}\n"
    "{%- endif -%}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}\n";

#define DS_BAR "\xef\xbd\x9c"
#define DS_LOW "\xe2\x96\x81"
#define DS(words) "<" DS_BAR words DS_BAR ">"
#define DS_TOOL(words) DS("tool" DS_LOW words)
#define DS_EOS DS("end" DS_LOW "of" DS_LOW "sentence")

static const char DEEPSEEK[] =
    "{{- bos_token }}\n"
    "{%- for m in messages if m.role == 'system' %}{{ ('' if loop.first else '\\n\\n') + m.content "
    "}}"
    "{% endfor %}\n"
    "{%- if tools -%}\n"
    "{{- '\\n\\n## Tools\\nYou have access to the following tools:\\n' }}\n"
    "{%- for tool in tools -%}\n"
    "{{- '\\n### ' + tool.function.name + '\\nDescription: ' + (tool.function.description or '') + "
    "'\\n\\nParameters: ' + ((tool.function.parameters or {}) | tojson) + '\\n' }}\n"
    "{%- endfor -%}\n"
    "{{- '\\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\\n" DS_TOOL(
        "calls" DS_LOW
        "begin") DS_TOOL("call" DS_LOW
                         "begin") "tool_call_name" DS_TOOL("sep") "tool_call_arguments" DS_TOOL("ca"
                                                                                                "l"
                                                                                                "l" DS_LOW
                                                                                                "en"
                                                                                                "d")
        DS_TOOL(
            "calls" DS_LOW
            "end") "' }}\n"
                   "{%- endif -%}\n"
                   "{%- for m in messages -%}\n"
                   "{%- if m.role == 'user' -%}\n"
                   "{{- '" DS(
                       "User") "' + m.content }}\n"
                               "{%- elif m.role == 'assistant' -%}\n"
                               "{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ "
                               "'" DS(
                                   "Assistant") "</think>' }}"
                                                "{% endif %}\n"
                                                "{{- m.content.split('</think>')[-1] }}\n"
                                                "{%- for c in m.tool_calls or [] -%}\n"
                                                "{%- if loop.first %}{{ '" DS_TOOL(
                                                    "calls" DS_LOW
                                                    "begin") "' }}{% endif %}\n"
                                                             "{{- '" DS_TOOL("call" DS_LOW "begin") "' + c.function.name + '" DS_TOOL(
                                                                 "sep") "' + (c.function.arguments "
                                                                        "if c.function.arguments "
                                                                        "is string else "
                                                                        "c.function.arguments | "
                                                                        "tojson) + '" DS_TOOL(
                                                                            "call" DS_LOW
                                                                            "end") "' }}\n"
                                                                                   "{%- if "
                                                                                   "loop.last %}{{ "
                                                                                   "'" DS_TOOL(
                                                                                       "call"
                                                                                       "s" DS_LOW
                                                                                       "end") "' "
                                                                                              "}}{%"
                                                                                              " end"
                                                                                              "if "
                                                                                              "%}\n"
                                                                                              "{%- "
                                                                                              "endf"
                                                                                              "or "
                                                                                              "-%}"
                                                                                              "\n"
                                                                                              "{{- "
                                                                                              "'" DS_EOS
                                                                                              "' "
                                                                                              "}}\n"
                                                                                              "{%- "
                                                                                              "elif"
                                                                                              " m."
                                                                                              "role"
                                                                                              " == "
                                                                                              "'too"
                                                                                              "l' "
                                                                                              "-%}"
                                                                                              "\n"
                                                                                              "{{- "
                                                                                              "'" DS_TOOL("output" DS_LOW "begin") "' + m.content + '" DS_TOOL(
                                                                                                  "output" DS_LOW
                                                                                                  "end") "' }}\n"
                                                                                                         "{%- endif -%}\n"
                                                                                                         "{%- endfor -%}\n"
                                                                                                         "{%- if add_generation_prompt and messages[-1].role != 'tool' -%}\n"
                                                                                                         "{{- '" DS(
                                                                                                             "Assistant") "' + ('<think>' if thinking else '</think>') }}\n"
                                                                                                                          "{%- endif -%}\n";

static const char GEMMA3[] =
    "{{- bos_token }}\n"
    "{%- set first = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' -%}\n"
    "{%- set turns = messages[1:] if messages[0].role == 'system' else messages -%}\n"
    "{%- for m in turns -%}\n"
    "{%- set role = 'model' if m.role == 'assistant' else m.role -%}\n"
    "{{- '<start_of_turn>' + role + '\\n' + (first if loop.first else '') + (m.content | trim) + "
    "'<end_of_turn>\\n' }}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif -%}\n";

static const char LLAMA3[] =
    "{{- bos_token }}\n"
    "{%- set system = messages[0].content if messages[0].role == 'system' else '' -%}\n"
    "{%- if system or tools -%}\n"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + ('Environment: ipython\\n' if tools "
    "else '') "
    "+ (system | trim) + '<|eot_id|>' }}\n"
    "{%- endif -%}\n"
    "{%- set ns = namespace(told=false) -%}\n"
    "{%- for m in messages -%}\n"
    "{%- if m.tool_calls -%}\n"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' + m.content }}\n"
    "{%- for c in m.tool_calls -%}\n"
    "{{- ('; ' if not loop.first else '') + '{\"name\": \"' + c.function.name + '\", "
    "\"parameters\": ' + "
    "(c.function.arguments | tojson) + '}' }}\n"
    "{%- endfor -%}\n"
    "{{- '<|eot_id|>' }}\n"
    "{%- elif m.role == 'tool' -%}\n"
    "{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' }}\n"
    "{%- elif m.role != 'system' or not loop.first -%}\n"
    "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}\n"
    "{%- if tools and m.role == 'user' and not ns.told -%}\n"
    "{%- set ns.told = true -%}\n"
    "{{- 'Given the following functions, please respond with a JSON for a function call with its "
    "proper "
    "arguments that best answers the given prompt.\\n\\nRespond in the format {\"name\": function "
    "name, "
    "\"parameters\": dictionary of argument name and its value}. Do not use variables.\\n\\n' }}\n"
    "{%- for tool in tools %}{{ (tool | tojson(indent=4)) + '\\n\\n' }}{% endfor %}\n"
    "{%- endif -%}\n"
    "{{- (m.content | trim) + '<|eot_id|>' }}\n"
    "{%- endif -%}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% "
    "endif "
    "-%}\n";

static const char MISTRAL[] =
    "{{- bos_token }}\n"
    "{%- set ns = namespace(last=-1) -%}\n"
    "{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% "
    "endfor "
    "-%}\n"
    "{%- for m in messages -%}\n"
    "{%- if m.role == 'system' -%}\n"
    "{{- '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}\n"
    "{%- elif m.role == 'user' -%}\n"
    "{%- if tools and loop.index0 == ns.last %}{{ '[AVAILABLE_TOOLS]' + (tools | tojson) + "
    "'[/AVAILABLE_TOOLS]' }}{% endif %}\n"
    "{{- '[INST]' + m.content + '[/INST]' }}\n"
    "{%- elif m.role == 'assistant' -%}\n"
    "{{- m.content }}\n"
    "{%- for c in m.tool_calls or [] -%}\n"
    "{{- '[TOOL_CALLS]' + c.function.name + '[ARGS]' + (c.function.arguments if "
    "c.function.arguments is "
    "string else c.function.arguments | tojson) }}\n"
    "{%- endfor -%}\n"
    "{{- eos_token }}\n"
    "{%- elif m.role == 'tool' -%}\n"
    "{{- '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}\n"
    "{%- endif -%}\n"
    "{%- endfor -%}\n";

static const char HARMONY[] =
    "{%- macro type_of(p) -%}\n"
    "{%- if p.enum -%}\n"
    "{%- for e in p.enum %}{{ ('' if loop.first else ' | ') ~ (e | tojson) }}{% endfor %}\n"
    "{%- elif p.type == 'array' -%}\n"
    "{{- (type_of(p['items']) if p['items'] is mapping else 'any') + '[]' }}\n"
    "{%- elif p.type == 'object' and p.properties -%}\n"
    "{{- '{ ' }}{% for n, q in p.properties.items() %}{{ n + ('' if n in (p.required or []) else "
    "'?') + "
    "': ' + type_of(q) + ', ' }}{% endfor %}{{ '}' }}\n"
    "{%- elif p.type == 'integer' %}{{ 'number' }}\n"
    "{%- elif p.type is string %}{{ p.type }}\n"
    "{%- else %}{{ 'any' }}{% endif -%}\n"
    "{%- endmacro -%}\n"
    "{{- '<|start|>system<|message|>You are ChatGPT, a large language model trained by "
    "OpenAI.\\nKnowledge cutoff: 2024-06\\nCurrent date: ' + strftime_now('%Y-%m-%d') + "
    "'\\n\\nReasoning: ' "
    "+ (reasoning_effort or 'medium') + '\\n\\n# Valid channels: analysis, commentary, final. "
    "Channel must "
    "be included for every message.' }}\n"
    "{%- if tools %}{{ \"\\nCalls to these tools must go to the commentary channel: 'functions'.\" "
    "}}{% "
    "endif %}\n"
    "{{- '<|end|>' }}\n"
    "{%- set system = messages[0].content if messages[0].role in ('system', 'developer') else '' "
    "-%}\n"
    "{%- if system or tools -%}\n"
    "{{- '<|start|>developer<|message|>' }}\n"
    "{%- if system %}{{ '# Instructions\\n\\n' + system }}{% endif %}\n"
    "{%- if tools -%}\n"
    "{{- ('\\n\\n' if system else '') + '# Tools\\n\\n## functions\\n\\nnamespace functions "
    "{\\n\\n' }}\n"
    "{%- for tool in tools -%}\n"
    "{%- set f = tool.function -%}\n"
    "{%- if f.description %}{{ '// ' + f.description.replace('\\n', '\\n// ') + '\\n' }}{% endif "
    "%}\n"
    "{%- set props = (f.parameters or {}).get('properties') -%}\n"
    "{{- 'type ' + f.name + ' = (' }}\n"
    "{%- if props -%}\n"
    "{{- '_: {\\n' }}\n"
    "{%- for n, p in props.items() -%}\n"
    "{%- if p.description %}{{ '// ' ~ p.description ~ '\\n' }}{% endif %}\n"
    "{{- n + ('' if n in (f.parameters.required or []) else '?') + ': ' + type_of(p) + ',\\n' }}\n"
    "{%- endfor -%}\n"
    "{{- '}' }}\n"
    "{%- endif -%}\n"
    "{{- ') => any;\\n\\n' }}\n"
    "{%- endfor -%}\n"
    "{{- '} // namespace functions' }}\n"
    "{%- endif -%}\n"
    "{{- '<|end|>' }}\n"
    "{%- endif -%}\n"
    "{%- for m in messages -%}\n"
    "{%- if m.role == 'user' %}{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}\n"
    "{%- elif m.role == 'tool' %}{{ '<|start|>functions.' + (m.name or 'tool') + ' "
    "to=assistant<|channel|>commentary<|message|>' + m.content + '<|end|>' }}\n"
    "{%- elif m.role == 'assistant' -%}\n"
    "{%- if m.reasoning_content and m.tool_calls %}{{ "
    "'<|start|>assistant<|channel|>analysis<|message|>' + m.reasoning_content + '<|end|>' }}{% "
    "endif %}\n"
    "{%- for c in m.tool_calls or [] -%}\n"
    "{{- '<|start|>assistant<|channel|>commentary to=functions.' + c.function.name + ' "
    "<|constrain|>json<|message|>' + (c.function.arguments if c.function.arguments is string else "
    "c.function.arguments | tojson) + '<|call|>' }}\n"
    "{%- endfor -%}\n"
    "{%- if m.content and not m.tool_calls %}{{ '<|start|>assistant<|channel|>final<|message|>' + "
    "m.content + '<|end|>' }}{% endif %}\n"
    "{%- endif -%}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif -%}\n";

const char *renderer_template(str name) {
    static const struct {
        const char *name, *text;
    } ALL[] = {{"qwen3", QWEN3},
               {"qwen3-vl-instruct", QWEN3},
               {"qwen3-vl-thinking", QWEN3},
               {"qwen2.5", QWEN3},
               {"hermes", QWEN3},
               {"cogito", QWEN3},
               {"qwen3-coder", QWEN3_CODER},
               {"qwen3.5", QWEN3_CODER},
               {"deepseek3.1", DEEPSEEK},
               {"deepseek3", DEEPSEEK},
               {"gemma3", GEMMA3},
               {"gemma", GEMMA3},
               {"llama3", LLAMA3},
               {"llama3.1", LLAMA3},
               {"llama3.2", LLAMA3},
               {"mistral", MISTRAL},
               {"ministral", MISTRAL},
               {"harmony", HARMONY},
               {"gpt-oss", HARMONY},
               {"gptoss", HARMONY}};
    for (size_t i = 0; i < COUNT_OF(ALL); i++)
        if (str_eq_nocase(name, str_from(ALL[i].name))) return ALL[i].text;
    return NULL;
}
