"""Chat templates in the manner of more model families, for jinja_vectors.py; their long instructions are shortened."""

BAR, LOW = "｜", "▁"
DS = f"<{BAR}tool{LOW}%s{BAR}>"

MORE = {
    "llama3.2-date": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}{{- tool_call.arguments | tojson }}{{- "}<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
""",
    "llama4": """{{- bos_token }}
{%- if custom_tools is defined and custom_tools%}{%- set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- if messages[0]['content'] is string %}{%- set system_message = messages[0]['content']|trim %}
    {%- else %}{%- set system_message = messages[0]['content']|map(attribute='text')|join('')|trim %}{%- endif %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- if system_message is defined or tools is not none and not tools_in_user_message %}{{- "<|header_start|>system<|header_end|>\\n\\n" ~ (system_message or '') ~ "<|eot|>" }}{%- endif %}
{%- if tools_in_user_message and tools is not none and messages %}
    {{- '<|header_start|>user<|header_end|>\\n\\n' -}}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
    {{- messages[0].content + "<|eot|>"}}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or ('tool_calls' in message and message.tool_calls)) %}
    {{- '<|header_start|>' + message['role'] + '<|header_end|>\\n\\n' }}
        {%- if message['content'] is string %}{{- message['content'] }}
        {%- else %}
            {%- for content in message['content'] %}
                {%- if content['type'] == 'image' %}{{- '<|image|>' }}{%- elif content['type'] == 'text' %}{{- content['text'] }}{%- endif %}
            {%- endfor %}
        {%- endif %}
    {{- "<|eot|>" }}
    {%- elif 'tool_calls' in message and message.tool_calls|length > 0 %}
       {{- '<|header_start|>assistant<|header_end|>\\n\\n<|python_start|>' }}
       {%- for tool_call in message.tool_calls %}
           {{- '{"name": "' + tool_call.function.name + '", "parameters": ' + tool_call.function.arguments | tojson + "}" }}
       {%- endfor %}
       {{- "<|python_end|><|eom|>" }}
    {%- else %}
        {{- "<|header_start|>ipython<|header_end|>\\n\\n" + message.content|tojson + "<|eom|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|header_start|>assistant<|header_end|>\\n\\n' }}{%- endif %}
""",
    "qwen2.5": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- else %}{{- 'You are Qwen.' }}{%- endif %}
    {{- "\\n\\n# Tools\\n<tools>" }}{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}{{- "\\n</tools><|im_end|>\\n" }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
""",
    "qwq": """{%- for message in messages %}
    {%- if message.role == "assistant" and not message.tool_calls %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content.rstrip('\\n').split('</think>')|last %}
        {{- '<|im_start|>assistant' + ('\\n' + content if content else '') + '<|im_end|>\\n' }}
    {%- else %}{{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}
""",
    "qwen3-vl": """{%- set image_count = namespace(value=0) %}{%- set video_count = namespace(value=0) %}
{%- macro content_of(content) %}{%- if content is string %}{{- content }}{%- else %}{%- for item in content %}{%- if 'image' in item or 'image_url' in item or item.type == 'image' %}{%- set image_count.value = image_count.value + 1 %}{%- if add_vision_id %}Picture {{ image_count.value }}: {% endif -%}<|vision_start|><|image_pad|><|vision_end|>{%- elif 'text' in item %}{{- item.text }}{%- endif %}{%- endfor %}{%- endif %}{%- endmacro %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + content_of(message.content) }}
{%- if message.role == 'assistant' and loop.index0 > ns.last_query_index and message.reasoning_content is string %}{{- '<think>\\n' + message.reasoning_content.strip('\\n') }}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}{{ ns.last_query_index }}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}
""",
    "qwen3-coder": """{%- macro render_item_list(item_list, tag_name='required') %}
    {%- if item_list is defined and item_list is iterable and item_list | length > 0 %}
        {%- if tag_name %}{{- '\\n<' ~ tag_name ~ '>' -}}{% endif %}
            {{- '[' }}
                {%- for item in item_list -%}
                    {%- if loop.index > 1 %}{{- ", "}}{% endif -%}
                    {%- if item is string -%}{{ "`" ~ item ~ "`" }}{%- else -%}{{ item }}{%- endif -%}
                {%- endfor -%}
            {{- ']' }}
        {%- if tag_name %}{{- '</' ~ tag_name ~ '>' -}}{% endif %}
    {%- endif %}
{%- endmacro %}
{%- for tool in tools or [] %}
    {%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
    {{- "\\n<function>\\n<name>" ~ tool.name ~ "</name>" }}
    {%- for param_name, param_fields in tool.parameters.properties|items %}
        {{- '\\n<parameter>' ~ param_name }}
        {%- if param_fields.type is defined %}{{- '\\n<type>' ~ (param_fields.type | string) ~ '</type>' }}{%- endif %}
        {{- render_item_list(param_fields.enum, 'enum') }}
        {%- for json_key in param_fields %}{%- if json_key not in ['name', 'type', 'description', 'enum'] %}{%- set normed = json_key | replace("-", "_") | replace("$", "") %}{{- '\\n<' ~ normed ~ '>' ~ (param_fields[json_key] | tojson | safe if param_fields[json_key] is mapping else param_fields[json_key] | string) ~ '</' ~ normed ~ '>' }}{%- endif %}{%- endfor %}
    {%- endfor %}
    {{- render_item_list(tool.parameters.required) }}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" and message.tool_calls is defined and message.tool_calls is iterable and message.tool_calls | length > 0 %}
        {%- for tool_call in message.tool_calls %}
            {%- set tool_call = tool_call.function %}
            {{- '\\n<tool_call>\\n<function=' + tool_call.name + '>\\n' }}
            {%- for args_name, args_value in tool_call.arguments|items %}
                {{- '<parameter=' + args_name + '>\\n' }}
                {%- set args_value = args_value if args_value is string else args_value | string %}
                {{- args_value + '\\n</parameter>\\n' }}
            {%- endfor %}
        {%- endfor %}
    {%- elif message.role == "tool" %}
        {%- if loop.previtem and loop.previtem.role != "tool" %}{{- '<|im_start|>user\\n' }}{%- endif %}
        {{- '<tool_response>\\n' + message.content + '\\n</tool_response>\\n' }}
        {%- if not loop.last and loop.nextitem.role != "tool" %}{{- '<|im_end|>\\n' }}{%- elif loop.last %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- else %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
""",
    "deepseek-v3": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<U>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{{'<A>" + DS % f"calls{LOW}begin" + DS % f"call{LOW}begin" + "' + tool['type'] + '" + DS % "sep" + "' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['function']['name']}}{%- endif %}{%- endfor %}{%- elif message['role'] == 'assistant' %}{%- if ns.is_tool %}{{'" + DS % f"outputs{LOW}end" + "' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<A>' + content + eos_token}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'" + DS % f"outputs{LOW}begin" + "' + message['content']}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n' + message['content']}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'end'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<A><think>\\n'}}{% endif %}",
    "deepseek-v3.1": "{% if not thinking is defined %}{% set thinking = false %}{% endif %}{%- set tool_ns = namespace(text='## Tools') %}{%- if tools is defined and tools is not none -%}{%- for tool in tools -%}{%- set tool_ns.text = tool_ns.text + '\\n### ' + tool.function.name + '\\nParameters: ' + (tool.function.parameters | tojson) -%}{%- endfor -%}{{ tool_ns.text }}{%- endif -%}{%- set ns = namespace(in_user=false) -%}{%- for message in messages -%}{%- if message.role == 'user' -%}{%- set ns.in_user = true -%}{{ '<U>' + message.content }}{%- elif message.role == 'assistant' -%}{%- if ns.in_user -%}{{ '<A>' ~ ('<think>' if thinking and loop.last else '</think>') }}{%- set ns.in_user = false -%}{%- endif -%}{{ message.content.split('</think>', 1)[1] if '</think>' in message.content else message.content }}{%- endif -%}{%- endfor -%}",
    "gemma2": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
    "gemma3n": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}{%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}{%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- set role = "model" if (message['role'] == 'assistant') else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}{{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{%- if item['type'] == 'audio' -%}{{ '<audio_soft_token>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}
    {%- else -%}{{ raise_exception("Invalid content type") }}{%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\\n'}}{%- endif -%}
""",
    "functiongemma": """{%- macro fmt_value(v) -%}{%- if v is string -%}{{ '<escape>' + v + '<escape>' }}{%- elif v is boolean -%}{{ 'true' if v else 'false' }}{%- elif v is mapping -%}{{ '{' }}{%- for k, x in v | dictsort -%}{%- if not loop.first -%},{%- endif -%}{{ k }}:{{ fmt_value(x) }}{%- endfor -%}{{ '}' }}{%- elif v is sequence -%}[{%- for x in v -%}{{ fmt_value(x) }}{%- if not loop.last -%},{%- endif -%}{%- endfor -%}]{%- else -%}{{ v }}{%- endif -%}{%- endmacro -%}
{{ bos_token }}{%- for tool in tools or [] -%}<start_function_declaration>declaration:{{ tool.function.name }}{description:{{ fmt_value(tool.function.description) }},parameters:{{ fmt_value(tool.function.parameters) }}<end_function_declaration>{%- endfor -%}
{%- for m in messages -%}<start_of_turn>{{ m.role }}
{% if m.content %}{{ m.content | trim }}{% endif %}{%- for c in m.tool_calls or [] -%}<start_function_call>call:{{ c.function.name }}{{ fmt_value(c.function.arguments) }}<end_function_call>{%- endfor -%}<end_of_turn>
{% endfor -%}
""",
    "mistral-v1": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
    "mistral-nemo": """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS][" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}{{- "[INST]" + system_message + "\\n\\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST]" + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif (message.tool_calls is defined and message.tool_calls is not none) %}
        {{- "[TOOL_CALLS][" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}{%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- message["content"] + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}{%- set content = message.content.content %}{%- else %}{%- set content = message.content %}{%- endif %}
        {{- '[TOOL_RESULTS]{"content": ' + content|string + ", " }}{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}{{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}{%- endif %}
{%- endfor %}
""",
    "mistral-small3": """{%- set today = strftime_now("%Y-%m-%d") %}
{%- set default_system_message = "You are Small.\\nThe current date is " + today + "." %}
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- if messages[0]['content'] is string %}{%- set system_message = messages[0]['content'] %}{%- else %}{%- set system_message = messages[0]['content'][0]['text'] %}{%- endif %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = default_system_message %}{%- set loop_messages = messages %}
{%- endif %}
{{- '[SYSTEM_PROMPT]' + system_message + '[/SYSTEM_PROMPT]' }}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.get('tool_calls'))) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}{{- raise_exception("roles must alternate") }}{%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{%- for message in loop_messages %}
    {%- if message['role'] == 'user' %}{{- '[INST]' + message['content'] + '[/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {%- if message.get('tool_calls') %}{%- for c in message.tool_calls %}{{- '[TOOL_CALLS]' + c.function.name + '[CALL_ID]' + c.id + '[ARGS]' + c.function.arguments|tojson }}{%- endfor %}{%- else %}{{- message['content'] }}{%- endif %}{{- eos_token }}
    {%- elif message['role'] == 'tool' %}{{- '[TOOL_RESULTS]' + message.tool_call_id|string + '[TOOL_CONTENT]' + message['content']|string + '[/TOOL_RESULTS]' }}{%- endif %}
{%- endfor %}
""",
    "magistral": """{{- bos_token }}{%- for message in messages %}{%- if message.role == 'assistant' %}{%- if message.reasoning_content is defined and message.reasoning_content %}{{- '[THINK]' + message.reasoning_content + '[/THINK]' }}{%- endif %}{{- message.content.split('</think>')[-1].strip() ~ eos_token }}{%- elif message.role == 'system' %}{{- '[SYSTEM_PROMPT]' ~ message.content ~ '[/SYSTEM_PROMPT]' }}{%- elif message.role == 'user' %}{{- '[INST]' ~ message.content ~ '[/INST]' }}{%- endif %}{%- endfor %}""",
    "phi3.5": "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "command-r-tools": """{% macro json_to_python_type(json_spec) %}{% set basic = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}{% if json_spec.type is string and basic[json_spec.type] is defined %}{{- basic[json_spec.type] }}{% elif json_spec.type == "array" %}{{- "List[" + json_to_python_type(json_spec["items"]) + "]"}}{% elif json_spec.type is iterable %}{{- "Union[" }}{% for t in json_spec.type %}{{- json_to_python_type({"type": t}) }}{% if not loop.last %}{{- "," }}{% endif %}{% endfor %}{{- "]" }}{% else %}{{- "Any" }}{% endif %}{% endmacro %}
{{ bos_token }}{% for tool in tools or [] %}def {{ tool.function.name }}({% for p, f in tool.function.parameters.properties.items() %}{% if loop.index0 != 0 %}{{ ', ' }}{% endif %}{{ p }}: {% if p not in (tool.function.parameters.required or []) %}{{'Optional[' + json_to_python_type(f) + '] = None'}}{% else %}{{ json_to_python_type(f) }}{% endif %}{% endfor %}) -> List[Dict]:
    \"\"\"{{ tool.function.description }}{% if tool.function.parameters.properties|length != 0 %}

    Args:
        {% for p, f in tool.function.parameters.properties.items() %}{{ p }} ({{ json_to_python_type(f) }}): {{ f.description }}{% if not loop.last %}

        {% endif %}{% endfor %}{% endif %}

    \"\"\"
    pass{% endfor %}
{% for message in messages %}{% if message.role == 'assistant' and message.tool_calls|default([]) %}Action:
```json
[
{% for c in message.tool_calls %}
{{ "    {\\n        \\"tool_name\\": \\"" ~ c.function.name ~ "\\",\\n        \\"parameters\\": " ~ c.function.arguments|tojson(indent=4)|indent(8) ~ "\\n    }" }}{{ "," if not loop.last }}
{% endfor %}
]```{% elif message.role|lower == 'tool' %}{% if loop.previtem and loop.previtem.role != 'tool' %}<results>{% endif %}{{ loop.index0 }}: {{ message.content }}{% if loop.nextitem is not defined or loop.nextitem.role != 'tool' %}</results>{% endif %}{% else %}{{ message.role|upper }}{{ message.content }}{% endif %}
{% endfor %}
""",
    "command-a": """{%- set ns = namespace(idx=0, plan=false) -%}{%- for message in messages -%}{%- if message.role|lower == 'assistant' and message.tool_calls -%}<|START_ACTION|>[
{%- for tc in message.tool_calls %}
    {"tool_call_id": "{{ ns.idx }}", "tool_name": "{{ tc['function']['name'] }}", "parameters": {{ tc['function']['arguments']|tojson }}}{% if not loop.last %},{% endif %}
{%- set ns.idx = ns.idx + 1 -%}
{%- endfor %}
]<|END_ACTION|>{%- elif message.role == 'tool' -%}<|START_TOOL_RESULT|>[{"tool_call_id": "{{ ns.idx - 1 }}", "results": {"0": {{ message.content|tojson }}}, "is_error": null}]<|END_TOOL_RESULT|>{%- else -%}<|{{ {'user': 'USER', 'assistant': 'CHATBOT', 'system': 'SYSTEM'}[message.role] }}_TOKEN|>{{ message.content }}{%- endif -%}{%- endfor -%}""",
    "granite4": """{%- set tools_prefix = 'Tools:\\n<tools>' %}{%- set g4 = namespace(system='', n=0) %}{%- if tools %}{%- for tool in tools %}{%- set g4.system = g4.system + '\\n' + (tool | tojson) %}{%- endfor %}{%- set g4.system = tools_prefix + g4.system + '\\n</tools>' %}{%- endif %}{%- if messages[0].role == 'system' %}{%- set g4.system = messages[0].content + ('\\n\\n' + g4.system if g4.system else '') %}{%- endif %}{%- if g4.system %}{{- '<|start_of_role|>system<|end_of_role|>' + g4.system + '<|end_of_text|>\\n' }}{%- endif %}{%- for message in messages %}{%- set content = namespace(val='') %}{%- if message.content is string %}{%- set content.val = message.content %}{%- elif message.content is iterable %}{%- for entry in message.content %}{%- if entry.type == 'text' %}{%- set content.val = content.val + ('\\n' if content.val else '') + entry.text %}{%- endif %}{%- endfor %}{%- endif %}{%- if message.role == 'system' and loop.first %}{%- continue %}{%- endif %}{{- '<|start_of_role|>' + message.role + '<|end_of_role|>' + content.val }}{%- if message.tool_calls %}{%- for c in message.tool_calls %}{%- if (loop.first and content.val) or not loop.first %}{{- '\\n' }}{%- endif %}{{- '<tool_call>\\n' + (c.function if c.function else c) | tojson + '\\n</tool_call>' }}{%- endfor %}{%- endif %}{{- '<|end_of_text|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}""",
    "lfm2": """{{- bos_token -}}{%- set system_prompt = "" -%}{%- set ns = namespace(system_prompt="") -%}{%- if messages[0]["role"] == "system" -%}{%- set ns.system_prompt = messages[0]["content"] -%}{%- set messages = messages[1:] -%}{%- endif -%}{%- if tools -%}{%- set ns.system_prompt = ns.system_prompt + ("\\n" if ns.system_prompt else "") + "List of tools: <|tool_list_start|>[" -%}{%- for tool in tools -%}{%- if tool is not string -%}{%- set tool = tool | tojson -%}{%- endif -%}{%- set ns.system_prompt = ns.system_prompt + tool -%}{%- if not loop.last -%}{%- set ns.system_prompt = ns.system_prompt + ", " -%}{%- endif -%}{%- endfor -%}{%- set ns.system_prompt = ns.system_prompt + "]<|tool_list_end|>" -%}{%- endif -%}{%- if ns.system_prompt -%}{{- "<|im_start|>system\\n" + ns.system_prompt + "<|im_end|>\\n" -}}{%- endif -%}{%- for message in messages -%}{{- "<|im_start|>" + message["role"] + "\\n" -}}{%- set content = message["content"] -%}{%- if content is not string -%}{%- set content = content | tojson -%}{%- endif -%}{%- if message["role"] == "tool" -%}{%- set content = "<|tool_response_start|>" + content + "<|tool_response_end|>" -%}{%- endif -%}{{- content + "<|im_end|>\\n" -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}""",
    "apertus": """{%- macro ts_type(spec, required_params, is_nullable=false) -%}{%- if spec.type == "array" -%}{%- if spec['items'] -%}{{- ts_type(spec['items'], []) + "[]" -}}{%- else -%}any[]{%- endif -%}{%- elif spec.type is defined and spec.type is iterable and spec.type is not string and spec.type[0] -%}{{- spec.type | join(" | ") -}}{%- elif spec.enum -%}{{- '"' + spec.enum | join('" | "') + '"' -}}{%- elif spec.type in ["number", "integer"] -%}number{%- else -%}{{- spec.type|default('any') -}}{%- endif -%}{%- endmacro -%}
{{ bos_token }}{%- set ns = namespace(in_assistant=false, in_tool=false, in_inner=false) -%}{%- for tool in tools or [] -%}{{- "type " + tool.function.name + " = (_: {" -}}{%- for n, s in tool.function.parameters.properties.items() -%}{{- "\\n" + n + ("?" if n not in (tool.function.parameters.required or []) else "") + ": " + ts_type(s, []) -}}{%- if s.default is defined and s.default is not none -%}{{- ", // default: " + s.default|string -}}{%- endif -%}{{- "," if not loop.last else "" -}}{%- endfor -%}{{- "}) => any;\\n" -}}{%- endfor -%}
{%- for message in messages -%}{%- if message.role == 'user' -%}{%- if ns.in_assistant -%}{{ '<|assistant_end|>' }}{%- set ns.in_assistant = false -%}{%- endif -%}{{ '<|user_start|>' + message.content + '<|user_end|>' }}{%- elif message.role == 'assistant' -%}{%- if not ns.in_assistant -%}{{ '<|assistant_start|>' }}{%- set ns.in_assistant = true -%}{%- endif -%}{%- if message.tool_calls is defined -%}{{ '<|tools_prefix|>[' }}{%- for c in message.tool_calls -%}{{ '{"' + c.function.name + '": ' + c.function.arguments|tojson + '}' }}{{ ', ' if not loop.last }}{%- endfor -%}{{ ']<|tools_suffix|>' }}{%- else -%}{{ message.content }}{%- endif -%}{%- elif message.role == 'tool' -%}{{ '[' if not ns.in_tool else ', ' }}{%- set ns.in_tool = true -%}{{ message.content }}{%- endif -%}{%- endfor -%}""",
    "jamba": """{%- set ns = namespace(message_count=0, is_last_checked=false) -%}{{ bos_token -}}{%- for message in messages -%}{%- set ns.message_count = ns.message_count + 1 -%}{%- endfor -%}{%- if tools is defined -%}{%- for tool in tools -%}{{- '<tool>' ~ tool | tojson(sort_keys=true) ~ '</tool>' }}{%- endfor -%}{%- endif -%}{%- for message in messages -%}{{- '<|bom|><|' ~ message.role ~ '|> ' ~ (message.content or '') -}}{%- if loop.index == ns.message_count -%}{{ '<|last|>' }}{%- endif -%}{{- '<|eom|>' if message.role != 'assistant' or not loop.last -}}{%- endfor -%}{%- if add_generation_prompt and messages[-1].role != 'assistant' -%}{{- '<|bom|><|assistant|>' -}}{%- endif -%}""",
    "ernie": """{%- if not add_generation_prompt is defined -%}{%- set add_generation_prompt = true -%}{%- endif -%}{%- if not cls_token is defined -%}{%- set cls_token = "<|begin_of_sentence|>" -%}{%- endif -%}{{- cls_token -}}{%- for message in messages -%}{%- if message["role"] == "user" -%}{{- "User: " + message["content"] + "\\n" -}}{%- elif message["role"] == "assistant" -%}{{- "Assistant: " + message["content"] + eos_token -}}{%- elif message["role"] == "system" -%}{{- message["content"] + "\\n" -}}{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{- "Assistant: " -}}{%- endif -%}""",
    "hunyuan-v1": """{%- set think = {true: 'on', false: 'off'} %}{%- for message in messages %}{%- if message.role == 'system' %}{%- set system_message = message.content %}{%- endif %}{%- endfor %}{{ think[enable_thinking|default(true)] }}{{ system_message is defined }}{%- for message in messages | rejectattr('role', 'in', ['system', 'tool']) %}{{ '\\n' ~ loop.index ~ '/' ~ loop.length ~ ' ' ~ message.role ~ ':' ~ (message.content | truncate(12, true, '…') if message.content else '-') }}{%- if message['role'] == 'assistant' and '<think>' in message['content'] %}{%- set answer = message['content'].split('<answer>')[-1].split('</answer>')[0].strip() %}{{ '[' ~ answer ~ ']' }}{%- endif %}{%- endfor %}""",
    "baichuan": "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<C_Q>' + message['content'] }}{% elif message['role'] == 'assistant' %}{{ '<C_A>' + message['content'] }}{% elif message['role'] == 'system' %}{{ message['content'] }}{% else %}{{ raise_exception('Invalid role: ' + message['role']) }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<C_A>' }}{% endif %}",
    "yi": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}{% endif %}{% if system_message is defined %}{{ '<|im_start|>system\n' + system_message + '<|im_end|>\n' }}{% endif %}{% for message in messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|im_start|>user\n' + content + '<|im_end|>\n<|im_start|>assistant\n' }}{% elif message['role'] == 'assistant' %}{{ content + '<|im_end|>' + '\n' }}{% endif %}{% endfor %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "solar-pro": "{% for message in messages %}{% set role = message['role']|capitalize %}{{ '### ' ~ role ~ ':\n' ~ message['content']|trim }}{{ '\n\n' if not loop.last or add_generation_prompt }}{% endfor %}{% if add_generation_prompt %}### Assistant:\n{% endif %}",
    "stablelm2": "{% for message in messages %}{% if loop.first and messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + ('\n' if (loop.last and add_generation_prompt) or not loop.last else '')}}{% endfor %}{% if add_generation_prompt and messages|map(attribute='role')|list|last != 'assistant' %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "olmo3": """{%- set has_system = messages|selectattr('role', 'equalto', 'system')|list|length > 0 -%}{%- if not has_system -%}{{- '<|im_start|>system\\nYou are Olmo. ' ~ ('<functions>' ~ (tools | tojson) ~ '</functions>' if tools is not none and tools is defined else '<functions></functions>') ~ '<|im_end|>\\n' -}}{%- endif -%}{%- for message in messages -%}{%- if message['role'] == 'system' -%}{{- '<|im_start|>system\\n' + message['content'] -}}{%- if tools is not none and tools is defined -%}{{- ' <functions>' + (tools | map(attribute='function') | map('tojson') | join('\\n')) + '</functions>' -}}{%- elif message.get('functions', none) is not none -%}{{- ' <functions>' + message['functions'] + '</functions>' -}}{%- endif -%}{{- '<|im_end|>\\n' -}}{%- elif message['role'] == 'assistant' -%}{{- '<|im_start|>assistant\\n' -}}{%- if message.get('content', none) is not none -%}{{- message['content'] -}}{%- endif -%}{%- if message.get('tool_calls', none) is not none -%}<function_calls>{%- for tool_call in message['tool_calls'] %}{%- if tool_call is mapping and tool_call.get('function', none) is not none %}{%- set args = tool_call['function']['arguments'] %}{%- set ns = namespace(arguments_list=[]) %}{%- for key, value in args.items() %}{%- set ns.arguments_list = ns.arguments_list + [key ~ '=' ~ (value | tojson)] %}{%- endfor %}{{- tool_call['function']['name'] ~ '(' ~ ns.arguments_list | join(', ') ~ ')' ~ ('' if loop.last else '\\n') -}}{%- endif %}{%- endfor -%}</function_calls>{%- endif -%}{{- '<|im_end|>\\n' if not loop.last else eos_token -}}{%- else -%}{{- '<|im_start|>' ~ {'tool': 'environment'}.get(message.role, message.role) ~ '\\n' ~ message.content ~ '<|im_end|>\\n' -}}{%- endif -%}{%- endfor -%}""",
    "exaone4": """{%- set ns = namespace(last_query_index=-1) %}{%- for i in range(messages|length - 1, -1, -1) %}{%- if ns.last_query_index == -1 and messages[i].role == 'user' %}{%- set ns.last_query_index = i %}{%- endif %}{%- endfor %}{%- for i in range(messages | length) %}{%- set msg = messages[i] %}{%- set role = msg.role %}{%- set role_indicators = {'user': '[|user|]\\n', 'assistant': '[|assistant|]\\n', 'system': '[|system|]\\n', 'tool': '[|tool|]\\n'} %}{%- if role not in role_indicators %}{{- raise_exception('Unknown role: ' ~ role) }}{%- endif %}{{- role_indicators[role] }}{%- if role == 'assistant' and '</think>' in msg.content and i < ns.last_query_index %}{{- msg.content.split('</think>')[-1].strip() }}{%- else %}{{- msg.content }}{%- endif %}{%- for c in msg.tool_calls if msg.tool_calls is defined %}{{- '<tool_call>' ~ {'name': c.function.name, 'arguments': c.function.arguments} | tojson ~ '</tool_call>' }}{%- endfor %}{{- '[|endofturn|]\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '[|assistant|]\\n' }}{%- if enable_thinking is not defined or enable_thinking is not true %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- else %}{{- '<think>\\n' }}{%- endif %}{%- endif %}""",
    "kimi-k2": """{%- macro render_content(msg) -%}{%- set c = msg.get('content') -%}{%- if c is string -%}{{ c }}{%- elif c is not none -%}{% for content in c -%}{% if content['type'] == 'image' or 'image' in content -%}<|media_pad|>{% else -%}{{ content['text'] }}{%- endif -%}{%- endfor -%}{%- endif -%}{%- endmacro -%}{%- set ns = namespace(last_non_tool_call_assistant_msg=-1) -%}{%- for idx in range(messages|length-1, -1, -1) -%}{%- if messages[idx]['role'] == 'assistant' and not messages[idx].get('tool_calls') -%}{%- set ns.last_non_tool_call_assistant_msg = idx -%}{%- break -%}{%- endif -%}{%- endfor -%}{%- set hist_msgs = messages[:ns.last_non_tool_call_assistant_msg+1] -%}{%- set suffix_msgs = messages[ns.last_non_tool_call_assistant_msg+1:] -%}{{ hist_msgs|length }}/{{ suffix_msgs|length }}{%- for message in hist_msgs -%}<|{{ message.role }}|>{{ render_content(message) }}<|im_end|>{%- endfor -%}{%- for message in suffix_msgs -%}<|{{ message.role }}|>{%- if message.role == 'assistant' -%}<think>{{ message.get('reasoning_content', '') }}</think>{%- endif -%}{{ render_content(message) }}<|im_end|>{%- endfor -%}""",
    "tulu": "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' + message['content'] + '\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '\n' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>\n'  + message['content'] + eos_token + '\n' }}{% else %}{{ '<|assistant|>\n'  + message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}",
    "functionary": """{%- for message in messages %}{%- if message.role == 'assistant' and message.tool_calls %}{%- for c in message['tool_calls'] %}{{- '<function=' + c['function']['name'] + '>' + (c['function']['arguments'] if c['function']['arguments'] is string else c['function']['arguments']|tojson) + '</function>' }}{%- endfor %}{{- '<|eom_id|>' }}{%- elif message['role'] == 'tool' %}{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' ~ message['content'] ~ '<|eot_id|>' }}{%- else %}{{- '<|start_header_id|>%s<|end_header_id|>\\n\\n%s<|eot_id|>' % (message.role, message.content) }}{%- endif %}{%- endfor %}""",
    "columns": """{%- for batch in messages | batch(2, none) %}{{- '(' }}{%- for m in batch if m %}{{- m.role[0] | upper }}{%- endfor %}{{- ')' }}{%- endfor %}{%- for column in messages | map(attribute='role') | slice(2, '-') %}{{ column | join('/') }};{%- endfor %}{{- messages | map(attribute='content') | map('length') | sum }}{%- filter upper %}{{ messages[0].content }}{%- endfilter %}{%- with last = messages | last %}{{ last.content | wordcount }}{%- endwith %}""",
    "loops": """{%- macro wrap() %}<{{ caller('w') }}>{%- endmacro %}{%- call(x) wrap() %}{{ x }}{% endcall %}{%- for m in messages %}{{ m.role }}{%- if m.tool_calls is sequence and m.tool_calls is not string %}[{%- for c in m.tool_calls %}{{ loop.index }}{{ loop.cycle('a', 'b') }}{{ loop.changed(c.type) }}{{ loop.revindex0 }}{%- endfor %}]{%- endif %}{%- else %}empty{%- endfor %}{%- set text %}{{ messages | length }}{% endset %}{{ text | int + 1 }}{{ '%s|%5.1f|%03d' | format('a', 2.25, 7) }}{{ messages[0] | tojson(indent=2, ensure_ascii=true) }}{{ messages | map(attribute='role') | unique | join(',') }}{{ (messages | last).content.splitlines() | first | default('none', true) }}{{ messages[-1].content is string and messages[-1].content is not none }}{{ dict(a=1, b=2) | dictsort(reverse=true) }}{{ range(10, 0, -3) | list }}{{ messages[::2] | length }}{{ 'abc'[::-1] }}{{ [1, 2, 3] | sum(start=4) }}{{ {'a': {'b': [5]}}.a.b[0] }}""",
}
