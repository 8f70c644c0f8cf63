//go:build ignore

// Chat templates in the manner of the families of model registries; the long instructions are shortened.
package main

const bar, low, fence = "｜", "▁", "```"

// Turns between <|im_start|> and <|im_end|>, as most families of 2024 and 2025 have them.
const chatmlEnd = `{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}`

const llama3Turns = `{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>
{{- if and $.Tools $last }}

Answer with JSON for one of these functions.

{{ range $.Tools }}
{{- . }}
{{ end }}
{{- end }}

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- else if eq .Role "assistant" }}<|start_header_id|>assistant<|end_header_id|>
{{- if .ToolCalls }}

{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}
{{- else }}

{{ .Content }}{{ if not $last }}<|eot_id|>{{ end }}
{{- end }}
{{- else if eq .Role "tool" }}<|start_header_id|>ipython<|end_header_id|>

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- end }}
{{- end }}`

var templates = map[string]string{
	"chatml": `{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
`,
	"llama2": `[INST] {{ if .System }}<<SYS>>
{{ .System }}
<</SYS>>

{{ end }}{{ .Prompt }} [/INST] {{ .Response }}</s><s>`,
	"codellama":     `{{- if .Suffix }}<PRE> {{ .Prompt }} <SUF>{{ .Suffix }} <MID>{{ else }}[INST] <<SYS>>{{ .System }}<</SYS>>{{ .Prompt }} [/INST]{{ end }}`,
	"codellama-70b": `{{ if .System }}<s>Source: system` + "\n\n" + ` {{ .System }} <step>{{ end }}Source: user` + "\n\n" + ` {{ .Prompt }} <step> Source: assistant` + "\nDestination: user\n\n" + ` {{ .Response }} <step>`,
	"starcoder2":    `{{- if .Suffix }}<fim_prefix>{{ .Prompt }}<fim_suffix>{{ .Suffix }}<fim_middle>{{ else if .System }}{{ .System }} {{ end }}{{ if not .Suffix }}{{ .Prompt }}{{ end }}`,
	"codegemma":     `{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>{{- else }}<start_of_turn>user` + "\n" + `{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}<end_of_turn>` + "\n" + `<start_of_turn>model` + "\n" + `{{ .Response }}<end_of_turn>` + "\n" + `{{- end }}`,
	"deepseek-coder": `{{- if .Suffix }}<` + bar + `fim` + low + `begin` + bar + `>{{ .Prompt }}<` + bar + `fim` + low + `hole` + bar + `>{{ .Suffix }}<` + bar + `fim` + low + `end` + bar + `>{{ else }}{{ .System }}
### Instruction:
{{ .Prompt }}
### Response:
{{ .Response }}
<|EOT|>{{ end }}`,
	"nomic":     `{{ .Prompt }}`,
	"alpaca":    "{{ .System }}\n\n### Instruction:\n{{ .Prompt }}\n\n### Response:\n{{ .Response }}\n\n",
	"vicuna":    `{{ .System }} USER: {{ .Prompt }} ASSISTANT: {{ .Response }}</s>`,
	"llava":     "{{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: ",
	"zephyr":    "{{ if .System }}<|system|>\n{{ .System }}</s>\n{{ end }}{{ if .Prompt }}<|user|>\n{{ .Prompt }}</s>\n{{ end }}<|assistant|>\n{{ .Response }}</s>\n",
	"orca":      "{{ if .System }}### System:\n{{ .System }}\n\n{{ end }}### User:\n{{ .Prompt }}\n\n### Response:\n",
	"solar":     "### System:\n{{ .System }}\n\n### User:\n{{ .Prompt }}\n\n### Assistant:\n{{ .Response }}</s>\n\n",
	"openchat":  `{{ .System }}<|end_of_turn|>GPT4 Correct User: {{ .Prompt }}<|end_of_turn|>GPT4 Correct Assistant: {{ .Response }}<|end_of_turn|>`,
	"gemma2":    `<start_of_turn>user` + "\n" + `{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}<end_of_turn>` + "\n" + `<start_of_turn>model` + "\n" + `{{ .Response }}<end_of_turn>` + "\n",
	"phi3":      "{{ if .System }}<|system|>\n{{ .System }}<|end|>\n{{ end }}{{ if .Prompt }}<|user|>\n{{ .Prompt }}<|end|>\n{{ end }}<|assistant|>\n{{ .Response }}<|end|>\n",
	"tinyllama": "<|system|>\n{{ .System }}</s>\n<|user|>\n{{ .Prompt }}</s>\n<|assistant|>\n",
	"gemma3": `{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if or (eq .Role "user") (eq .Role "system") }}<start_of_turn>user
{{ .Content }}<end_of_turn>
{{ if $last }}<start_of_turn>model
{{ end }}
{{- else if eq .Role "assistant" }}<start_of_turn>model
{{ .Content }}{{ if not $last }}<end_of_turn>
{{ end }}
{{- end }}
{{- end }}`,
	"llama3": `{{ if .System }}<|start_header_id|>system<|end_header_id|>

{{ .System }}<|eot_id|>{{ end }}{{ if .Prompt }}<|start_header_id|>user<|end_header_id|>

{{ .Prompt }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>

{{ .Response }}<|eot_id|>`,
	"llama3.1": `{{- if or .System .Tools }}<|start_header_id|>system<|end_header_id|>
{{- if .System }}

{{ .System }}
{{- end }}
{{- if .Tools }}

You can call tools.
{{- end }}<|eot_id|>
{{- end }}
` + llama3Turns,
	"llama3.2": `<|start_header_id|>system<|end_header_id|>

Cutting Knowledge Date: December 2023

{{ if .System }}{{ .System }}
{{- end }}
{{- if .Tools }}When you receive a tool call response, use it.
{{- end }}<|eot_id|>
` + llama3Turns,
	"tulu3": "{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}<|{{ .Role }}|>\n{{ .Content }}{{ if not $last }}\n{{ end }}{{ if and (ne .Role \"assistant\") $last }}\n<|assistant|>\n{{ end }}{{- end }}",
	"qwen2.5": `{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>
{{- else if .Messages }}
{{- if or .System .Tools }}<|im_start|>system
{{- if .System }}
{{ .System }}
{{- end }}
{{- if .Tools }}

# Tools

<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>
{{- end }}<|im_end|>
{{ end }}
` + chatmlEnd + `
{{- else }}
{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ end }}{{ .Response }}{{ if .Response }}<|im_end|>{{ end }}`,
	"qwen3": `{{- $lastUserIdx := -1 -}}
{{- range $idx, $msg := .Messages -}}
{{- if eq $msg.Role "user" }}{{ $lastUserIdx = $idx }}{{ end -}}
{{- end }}
{{- if or .System .Tools }}<|im_start|>system
{{ if .System }}{{ .System }}

{{ end }}
{{- if .Tools }}# Tools
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>
{{- end -}}
<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}
{{- if and $.IsThinkSet (eq $i $lastUserIdx) }}
   {{- if $.Think -}}
      {{- " "}}/think
   {{- else -}}
      {{- " "}}/no_think
   {{- end -}}
{{- end }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if (and $.IsThinkSet (and .Thinking (or $last (gt $i $lastUserIdx)))) -}}
<think>{{ .Thinking }}</think>
{{ end -}}
{{ if .Content }}{{ .Content }}{{ end }}
{{- if .ToolCalls }}
{{- range .ToolCalls }}<tool_call>
{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
</tool_call>
{{ end }}
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ if and $.IsThinkSet (not $.Think) -}}
<think>

</think>

{{ end -}}
{{ end }}
{{- end }}`,
	"mistral": `{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and (eq (len (slice $.Messages $index)) 1) $.Tools }}[AVAILABLE_TOOLS] {{ $.Tools }}[/AVAILABLE_TOOLS]
{{- end }}[INST] {{ if and $.System (eq (len (slice $.Messages $index)) 1) }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- if .Content }} {{ .Content }}
{{- else if .ToolCalls }}[TOOL_CALLS] [
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{- end }}]
{{- end }}</s>
{{- else if eq .Role "tool" }}[TOOL_RESULTS] {"content": {{ .Content }}}[/TOOL_RESULTS]
{{- end }}
{{- end }}`,
	"mixtral": `{{ $tools := slice .Tools 0 }}{{ range $i, $m := .Messages }}{{ if eq $m.Role "user" }}{{ if and $tools (le (len (slice $.Messages $i)) 2) }}[AVAILABLE_TOOLS] {{ json $tools }} [/AVAILABLE_TOOLS]{{ end }}[INST] {{ with $.System }}{{ . }} {{ end }}{{ $m.Content }} [/INST]{{ else if and (eq $m.Role "assistant") $m.Content }}{{ $m.Content }} </s>{{ else if $m.ToolCalls }}[TOOL_CALLS] [{{ range $k, $c := $m.ToolCalls }}{{ if $k }}, {{ end }}{"name": {{ json $c.Function.Name }}, "arguments": {{ json $c.Function.Arguments }}}{{ end }}]</s>{{ else if eq $m.Role "tool" }}[TOOL_RESULTS] {{ json $m.Content }} [/TOOL_RESULTS]{{ end }}{{ end }}`,
	"mistral-small": `{{- $lastUser := 0 }}{{ range $i, $_ := .Messages }}{{ if eq .Role "user" }}{{ $lastUser = $i }}{{ end }}{{ end -}}
{{- if .System }}[SYSTEM_PROMPT]{{ .System }} The current date is {{ currentDate }}, yesterday was {{ yesterdayDate }}.[/SYSTEM_PROMPT]{{ end }}
{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and $.Tools (eq $index $lastUser) }}[AVAILABLE_TOOLS]{{ $.Tools }}[/AVAILABLE_TOOLS]{{ end }}[INST]{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- with .Content }}{{ . }}{{ end }}
{{- range .ToolCalls }}[TOOL_CALLS]{{ .Function.Name }}[CALL_ID]{{ .Function.Index }}[ARGS]{{ .Function.Arguments }}{{ end }}</s>
{{- else if eq .Role "tool" }}[TOOL_RESULTS]{"call_id": {{ json .ToolCallID }}, "content": {{ json .Content }}}[/TOOL_RESULTS]
{{- end }}
{{- end }}`,
	"phi4":      "{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}<|im_start|>{{ .Role }}<|im_sep|>\n{{ .Content }}{{ if not $last }}<|im_end|>\n{{ end }}{{- if and (ne .Role \"assistant\") $last }}<|im_end|>\n<|im_start|>assistant<|im_sep|>\n{{ end }}{{- end }}",
	"phi4-mini": "{{- if or .System .Tools }}<|system|>{{ if .System }}{{ .System }}{{ end }}{{- if .Tools }}{{ if not .System }}You may use tools.{{ end }}<|tool|>{{ .Tools }}<|/tool|>{{ end }}<|end|>{{- end }}{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}{{- if ne .Role \"system\" }}<|{{ .Role }}|>{{- if and .Content (eq .Role \"tools\") }}{\"result\": {{ .Content }}}{{- else if .Content }}{{ .Content }}{{- else if .ToolCalls }}<|tool_call|>[{{ range .ToolCalls }}{\"name\":\"{{ .Function.Name }}\",\"arguments\":{{ .Function.Arguments }}{{ end }}]<|/tool_call|>{{- end }}{{- if not $last }}<|end|>{{- end }}{{- if and (ne .Role \"assistant\") $last }}<|end|><|assistant|>{{ end }}{{- end }}{{- end }}",
	"deepseek-r1": `{{- if .System }}{{ .System }}{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1}}
{{- if eq .Role "user" }}<` + bar + `User` + bar + `>{{ .Content }}
{{- else if eq .Role "assistant" }}<` + bar + `Assistant` + bar + `>
  {{- if and $.IsThinkSet (and $last .Thinking) -}}
<think>
{{ .Thinking }}
</think>
{{- end }}{{ .Content }}{{- if not $last }}<` + bar + `end` + low + `of` + low + `sentence` + bar + `>{{- end }}
{{- end }}
{{- if and $last (ne .Role "assistant") }}<` + bar + `Assistant` + bar + `>
{{- if and $.IsThinkSet (not $.Think) -}}
<think>

</think>

{{ end }}
{{- end -}}
{{- end }}`,
	"deepseek-v3.1": `{{- if .Tools }}## Tools{{ range .Tools }}
### {{ .Function.Name }}
Description: {{ .Function.Description }}
Parameters: {{ .Function.Parameters | json }}
{{ end }}{{ end }}{{- if .System }}{{ .System }}{{ end }}
{{- range $i, $_ := .Messages }}
{{- if eq .Role "user" }}<` + bar + `User` + bar + `>{{ .Content }}{{ else if eq .Role "assistant" }}<` + bar + `Assistant` + bar + `></think>{{ .Content }}
{{- if .ToolCalls }}<` + bar + `tool` + low + `calls` + low + `begin` + bar + `>{{ range .ToolCalls }}{{ .Function.Name }}<` + bar + `tool` + low + `sep` + bar + `>{{ .Function.Arguments }}{{ end }}{{ end }}
{{- else if eq .Role "tool" }}<` + bar + `tool` + low + `output` + bar + `>{{ .Content }}{{ end }}
{{- end }}{{ if .Think }}<think>{{ else }}</think>{{ end }}`,
	"command-r": `{{- if or .Tools .System }}<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>
{{- if .Tools }}# Safety Preamble

{{ if .System }}{{ .System }}
{{- end }}

## Available Tools

{{ range .Tools }}
` + fence + `python
def {{ .Function.Name }}(
{{- range $name, $property := .Function.Parameters.Properties }}{{ $name }}: {{ $property.Type }}, {{ end }}) -> List[Dict]:
    """{{ .Function.Description }}
{{- if .Function.Parameters.Properties }}

    Args:
{{- range $name, $property := .Function.Parameters.Properties }}
        {{ $name }} ({{ $property.Type }}): {{ $property.Description }}
{{- end }}
{{- end }}
    """
    pass
` + fence + `
{{ end }}
{{- else if .System }}{{ .System }}
{{- end }}<|END_OF_TURN_TOKEN|>
{{- end }}
{{- range .Messages }}
{{- if eq .Role "user" }}<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ .Content }}<|END_OF_TURN_TOKEN|>
{{- else if eq .Role "assistant" }}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>
{{- if .Content }}{{ .Content }}
{{- else if .ToolCalls }}
Action: ` + fence + `json
[
{{- range .ToolCalls }}
    {
        "tool_name": "{{ .Function.Name }}",
        "parameters": {{ .Function.Arguments }}
    }
{{- end }}
]` + fence + `
{{ continue }}
{{- end }}<|END_OF_TURN_TOKEN|>
{{- else if eq .Role "tool" }}<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><results>
{{ .Content }}</results><|END_OF_TURN_TOKEN|>
{{- end }}
{{- end }}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>`,
	"granite3": `{{- if or .System .Tools }}<|start_of_role|>system<|end_of_role|>Knowledge Cutoff Date: April 2024.
Today's Date: {{ currentDate }}.
{{ if .System }}{{ .System }}{{ else }}You are Granite.{{ end }}<|end_of_text|>
{{- end }}
{{- if .Tools }}
<|start_of_role|>tools<|end_of_role|>[
{{- range $i, $t := .Tools }}{{ if $i }},
{{ end }}
{{ json $t.Function }}{{ end }}
]<|end_of_text|>
{{- end }}
{{- range $index, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $index)) 1 }}
{{- if eq .Role "system" }}{{ continue }}{{ end }}
<|start_of_role|>
{{- if eq .Role "user" }}user
{{- else if eq .Role "assistant" }}assistant
{{- else if eq .Role "tool" }}tool_response
{{- end }}<|end_of_role|>
{{- if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<|tool_call|>
{{- range .ToolCalls }}{"name":"{{ .Function.Name }}","arguments":{{ .Function.Arguments }}}
{{- end }}
{{- end }}
{{- if not $last }}<|end_of_text|>{{ end }}
{{- if and $last (ne .Role "assistant") }}<|end_of_text|>
<|start_of_role|>assistant<|end_of_role|>{{ end }}
{{- end }}`,
	"granite3.2": `{{- /* a template that defines its turn */ -}}
{{- define "turn" }}<|start_of_role|>{{ .Role }}<|end_of_role|>{{ .Content }}<|end_of_text|>
{{ end }}
{{- if and .Think .IsThinkSet }}<|start_of_role|>control<|end_of_role|>thinking<|end_of_text|>
{{ end }}
{{- range .Messages }}{{ template "turn" . }}{{ end }}<|start_of_role|>assistant{{ if .Tools }} {"length": {{ len .Tools }}}{{ end }}<|end_of_role|>`,
	"hermes3": `{{- if or .System .Tools }}<|im_start|>system
{{- if .System }}
{{ .System }}
{{- end }}
{{- if .Tools }}
<tools>
{{- range .Tools }}{{ . }}{{ end }}
</tools>
{{- end }}<|im_end|>
{{ end }}` + chatmlEnd,
	"firefunction": `{{- if or .System .Tools }}<|start_header_id|>system<|end_header_id|>
{{- if .System }}
{{ .System }}
{{- end }}
Functions spec:
{{- if .Tools }}
{{ .Tools }}
{{- end }}<|eot_id|>
{{- end }}
{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>
{{- if .Content }}
{{ .Content }}
{{- else if .ToolCalls }} functools[
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{- end }}]
{{- end }}<|eot_id|>
{{- end }}<|start_header_id|>assistant<|end_header_id|>

`,
	"smollm2": `{{- if .Messages }}
{{- if or .System .Tools }}<|im_start|>system
{{- if .System }}
{{ .System }}
{{- end }}
{{- if .Tools }}
<tools>
{{- range .Tools }}
{{- . }}
{{ end }}</tools>
{{- end }}<|im_end|>
{{ end }}
` + chatmlEnd + `
{{- end }}`,
	"olmo2":    "{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}{{- if eq .Role \"system\" }}<|system|>\n{{ .Content }}\n{{- else if eq .Role \"user\" }}<|user|>\n{{ .Content }}\n{{- else if eq .Role \"assistant\" }}<|assistant|>\n{{ .Content }}{{ if not $last }}<|endoftext|>\n{{ end }}{{- end }}{{- if and (ne .Role \"assistant\") $last }}<|assistant|>\n{{ end }}{{- end }}",
	"falcon3":  "{{- if .Messages }}{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 }}{{- if eq .Role \"system\" }}<|system|>\n{{ .Content }}\n{{ else if eq .Role \"user\" }}<|user|>\n{{ .Content }}\n{{ else if eq .Role \"assistant\" }}<|assistant|>\n{{ .Content }}{{- if not $last }}<|endoftext|>\n{{- end }}{{- end }}{{- if and (ne .Role \"assistant\") $last }}<|assistant|>\n{{ end }}{{- end }}{{- end }}",
	"exaone":   "{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}{{ if eq .Role \"system\" }}[|system|]{{ .Content }}[|endofturn|]{{ continue }}{{ else if eq .Role \"user\" }}\n[|user|]{{ .Content }}\n{{ else if eq .Role \"assistant\" }}[|assistant|]{{ .Content }}[|endofturn|]{{ end }}{{- if and (ne .Role \"assistant\") $last }}[|assistant|]{{ end }}{{- end -}}",
	"nemotron": "{{- if (or .Tools .System) }}<extra_id_0>System\n{{ if .System }}{{ .System }}\n\n{{ end }}{{- if .Tools }}{{- range .Tools }}<tool> {{ . }} </tool>{{ end }}\n{{- end }}{{- end }}{{- range $i, $m := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}{{- if eq .Role \"user\" }}<extra_id_1>User\n{{ .Content }}{{- if $last }}\n<extra_id_1>Assistant{{- end }}\n{{- else if eq .Role \"tool\" }}<extra_id_1>Tool\n{{ .Content }}\n{{- if $last }}<extra_id_1>Assistant\n{{ end }}{{- else }}<extra_id_1>Assistant\n{{- if .ToolCalls }}{{- range .ToolCalls }}\n<toolcall> {\"name\": \"{{ .Function.Name }}\", \"arguments\": {{ .Function.Arguments }}} </toolcall> {{- end }}{{ else }}\n{{ .Content }}{{- end }}{{- end }}{{- end }}",
	"cogito":   "<|start_header_id|>system<|end_header_id|>\n\n{{ if .Think }}Enable deep thinking subroutine.\n\n{{ end }}{{ .System }}{{ if .Tools }}{{ range $t := .Tools }}\n{{ $t }}{{ end }}{{ end }}<|eot_id|>" + llama3Turns,
	"harmony": `<|start|>system<|message|>Current date: {{ currentDate }}
{{- if and .IsThinkSet .Think (ne .ThinkLevel "") }}

Reasoning: {{ .ThinkLevel }}
{{- else if or (not .IsThinkSet) (and .IsThinkSet .Think) }}

Reasoning: medium
{{- end }}<|end|>
{{- if or .System .Tools }}<|start|>developer<|message|>
{{- with .Tools }}
namespace functions {
{{- range . }}
{{- if .Function.Description }}
// {{ .Function.Description }}
{{- end }}
{{- if and .Function.Parameters.Properties (gt (len .Function.Parameters.Properties) 0) }}
type {{ .Function.Name }} = (_: {
{{- range $name, $prop := .Function.Parameters.Properties }}
{{- if $prop.Description }}
  // {{ $prop.Description }}
{{- end }}
  {{ $name }}: {{ if gt (len $prop.Type) 1 }}{{ range $i, $t := $prop.Type }}{{ if $i }} | {{ end }}{{ $t }}{{ end }}{{ else }}{{ index $prop.Type 0 }}{{ end }},
{{- end }}
}) => any;
{{- else }}
type {{ .Function.Name }} = () => any;
{{- end }}
{{- end }}
}
{{- end }}{{ .System }}<|end|>
{{- end }}
{{- $lastUserIdx := -1 }}
{{- range $i, $msg := .Messages }}{{ if eq $msg.Role "user" }}{{ $lastUserIdx = $i }}{{ end }}{{ end -}}
{{- range $i, $msg := .Messages }}
  {{- if eq $msg.Role "user" -}}
    <|start|>{{ $msg.Role }}<|message|>{{ $msg.Content }}<|end|>
  {{- else if eq $msg.Role "assistant" -}}
    {{- if and $msg.Thinking (gt $i $lastUserIdx) -}}<|start|>assistant<|channel|>analysis<|message|>{{ $msg.Thinking }}<|end|>{{- end -}}
    {{- if gt (len $msg.Content) 0 -}}<|start|>assistant<|channel|>final<|message|>{{ $msg.Content }}<|end|>{{- end -}}
    {{- range $j, $toolCall := $msg.ToolCalls -}}
      {{- $isLastToolCall := eq $j (len (slice $msg.ToolCalls 1)) -}}
      <|start|>assistant<|channel|>commentary to=functions.{{ $toolCall.Function.Name }} <|constrain|>json<|message|>{{ $toolCall.Function.Arguments }}{{ if $isLastToolCall }}<|call|>{{ else }}<|end|>{{ end }}
    {{- end -}}
  {{- else if eq $msg.Role "tool" -}}
    <|start|>functions.{{ $msg.ToolName }} to=assistant<|message|>{{ $msg.Content }}<|end|>
  {{- end -}}
{{- end -}}<|start|>assistant`,
	"internal": `{{ range .Tools }}{{ range $n, $p := .Function.Parameters.Properties }}{{ $n }}:{{ $p.Type }}{{ with $p.Enum }} one of {{ . }}{{ end }}{{ if $p.Items }} items {{ json $p.Items }}{{ end }};{{ end }} {{ with .Function.Parameters.Required }}needs {{ . }}{{ end }} {{ printf "%q" .Function.Name }} {{ if .Function.Parameters.Required }}{{ json .Function.Parameters.Required }}{{ end }}{{ end }}{{ range .Messages }}{{ printf "%-9s|%.3s|" .Role .Content }}{{ range .ToolCalls }}{{ range $k, $v := .Function.Arguments }}{{ $k }}={{ $v }},{{ end }}{{ .ID }}{{ end }}{{ end }}`,
}
