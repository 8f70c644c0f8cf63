//go:build ignore

// Makes gochat_cases.json: chats, Go chat templates and the prompts that Go's text/template makes of them.
// Run: go run tests/golden/gochat_vectors.go tests/golden/gochat_templates.go > tests/golden/gochat_cases.json
// The types below are what templates of model registries expect: fields by these names, tools and arguments that
// print as JSON. The templates are written for this test in the manner of the families that they are named after.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"sort"
	"strings"
	"text/template"
	"time"
)

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

type Types []string

func (t Types) String() string {
	if len(t) == 1 {
		return t[0]
	}
	return "[" + strings.Join(t, " ") + "]"
}

func (t Types) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

func (t *Types) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = Types{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

type Property struct {
	AnyOf       []Property `json:"anyOf,omitempty"`
	Type        Types      `json:"type,omitempty"`
	Items       any        `json:"items,omitempty"`
	Description string     `json:"description,omitempty"`
	Enum        []any      `json:"enum,omitempty"`
}

type Parameters struct {
	Type       string              `json:"type"`
	Required   []string            `json:"required,omitempty"`
	Properties map[string]Property `json:"properties"`
}

type Function struct {
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	Parameters  Parameters `json:"parameters"`
}

func (f Function) String() string { return asJSON(f) }

type Tool struct {
	Type     string   `json:"type"`
	Function Function `json:"function"`
}

func (t Tool) String() string { return asJSON(t) }

type Tools []Tool

func (t Tools) String() string { return asJSON(t) }

type Arguments map[string]any

func (a Arguments) String() string { return asJSON(a) }

type CallFunction struct {
	Index     int       `json:"index"`
	Name      string    `json:"name"`
	Arguments Arguments `json:"arguments"`
}

type Call struct {
	ID       string       `json:"id,omitempty"`
	Function CallFunction `json:"function"`
}

type Message struct {
	Role       string `json:"role"`
	Content    string `json:"content"`
	Thinking   string `json:"thinking,omitempty"`
	ToolCalls  []Call `json:"tool_calls,omitempty"`
	ToolName   string `json:"tool_name,omitempty"`
	ToolCallID string `json:"tool_call_id,omitempty"`
}

type Chat struct {
	Messages []Message `json:"messages"`
	Tools    Tools     `json:"tools,omitempty"`
	Think    int       `json:"think"` // -1: not said
	Level    string    `json:"level,omitempty"`
	Suffix   string    `json:"suffix,omitempty"`
}

const tools = `[{"type":"function","function":{"name":"get_weather","description":"Weather of a \"city\" <now>","parameters":
 {"type":"object","required":["city","days"],"properties":{"city":{"type":"string","description":"The city"},
 "days":{"type":["integer","null"],"description":"How many"},"parts":{"type":"array","items":{"type":"string"}},
 "unit":{"type":"string","description":"Unit","enum":["c","f"]}}}}},
 {"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}}}}]`

func chats() map[string]Chat {
	var t Tools
	if err := json.Unmarshal([]byte(tools), &t); err != nil {
		panic(err)
	}
	sys, user := Message{Role: "system", Content: "Be <brief>."}, Message{Role: "user", Content: "Größe \"x\"? 日本 "}
	call := Message{Role: "assistant", ToolCalls: []Call{{ID: "c1", Function: CallFunction{0, "get_weather", Arguments{"city": "Zürich <x>", "days": 2}}},
		{ID: "c2", Function: CallFunction{1, "now", Arguments{}}}}}
	res := []Message{{Role: "tool", Content: "{\"t\": 20}", ToolName: "get_weather", ToolCallID: "c1"}, {Role: "tool", Content: "noon", ToolName: "now", ToolCallID: "c2"}}
	thought := Message{Role: "assistant", Content: "Four.", Thinking: "two and two"}
	said := call
	said.Content, said.Thinking = "I look.", "need it"
	return map[string]Chat{
		"user":   {Messages: []Message{user}, Think: -1},
		"turns":  {Messages: []Message{sys, user, thought, {Role: "user", Content: "And?\n"}}, Think: -1},
		"tools":  {Messages: []Message{sys, user}, Tools: t, Think: -1},
		"called": {Messages: []Message{sys, user, call, res[0], res[1]}, Tools: t, Think: -1},
		"told":   {Messages: []Message{user, said, res[0], res[1], {Role: "assistant", Content: "20."}, {Role: "user", Content: "Thanks"}}, Tools: t, Think: 1},
		"think":  {Messages: []Message{sys, user, thought, {Role: "user", Content: "More"}}, Think: 1, Level: "high"},
		"quiet":  {Messages: []Message{user, thought, {Role: "user", Content: "More"}}, Think: 0},
		"joined": {Messages: []Message{sys, {Role: "system", Content: "Be kind."}, user, {Role: "user", Content: "Two"}, thought}, Think: -1},
		"cont":   {Messages: []Message{sys, user, {Role: "assistant", Content: "Well,"}}, Think: -1},
		"insert": {Messages: []Message{{Role: "user", Content: "def f(x):\n    "}}, Suffix: "\n    return y", Think: -1},
	}
}

const mark = "\x02mark\x03"

// Neighbours of one role become one, tools and callers aside.
func collate(in []Message) (system string, out []Message) {
	var all []string
	for _, m := range in {
		if m.Role == "system" {
			all = append(all, m.Content)
		}
		if n := len(out); n > 0 && out[n-1].Role == m.Role && m.Role != "tool" && len(m.ToolCalls) == 0 {
			out[n-1].Content += "\n\n" + m.Content
			continue
		}
		out = append(out, m)
	}
	return strings.Join(all, "\n\n"), out
}

type renderer struct {
	t    *template.Template
	text string
	c    Chat
	out  strings.Builder
	err  error
}

func (r *renderer) run(d map[string]any) string {
	d["Think"], d["ThinkLevel"], d["IsThinkSet"], d["Tools"] = r.c.Think > 0, r.c.Level, r.c.Think >= 0, r.c.Tools
	var b bytes.Buffer
	if err := r.t.Execute(&b, d); err != nil && r.err == nil {
		r.err = err
	}
	return strings.ReplaceAll(b.String(), "<no value>", "")
}

func cut(s string) string {
	head, _, _ := strings.Cut(s, mark)
	return head
}

func (r *renderer) render() {
	system, messages := collate(r.c.Messages)
	switch {
	case r.c.Suffix != "":
		r.out.WriteString(cut(r.run(map[string]any{"Prompt": messages[0].Content, "Suffix": r.c.Suffix, "Response": mark})))
	case strings.Contains(r.text, ".Messages"):
		r.out.WriteString(r.run(map[string]any{"System": system, "Messages": messages, "Response": ""}))
	default:
		r.legacy(messages)
	}
}

func (r *renderer) legacy(messages []Message) {
	var s, p, a string
	turn := func(last bool) {
		answer := a
		if last {
			answer = mark
		}
		text := r.run(map[string]any{"System": s, "Prompt": p, "Response": answer})
		if last {
			text = cut(text) + a
		} else if !strings.Contains(r.text, ".Response") {
			text += a
		}
		r.out.WriteString(text)
		s, p, a = "", "", ""
	}
	for _, m := range messages {
		switch m.Role {
		case "system":
			if p != "" || a != "" {
				turn(false)
			}
			s = m.Content
		case "assistant":
			a = m.Content
		default:
			if a != "" {
				turn(false)
			}
			p = m.Content
		}
	}
	turn(true)
}

type Case struct {
	Template string  `json:"t"`
	Chat     string  `json:"c"`
	Want     *string `json:"want,omitempty"`
}

func main() {
	now := time.Unix(1795693560, 0).UTC()
	funcs := template.FuncMap{
		"json":          asJSON,
		"currentDate":   func() string { return now.Format("2006-01-02") },
		"yesterdayDate": func() string { return now.AddDate(0, 0, -1).Format("2006-01-02") },
	}
	all := chats()
	var names, families []string
	for n := range all {
		names = append(names, n)
	}
	for f := range templates {
		families = append(families, f)
	}
	sort.Strings(names)
	sort.Strings(families)
	var cases []Case
	for _, f := range families {
		for _, n := range names {
			text := templates[f]
			if all[n].Suffix != "" && !strings.Contains(text, ".Suffix") {
				continue
			}
			t, err := template.New("").Option("missingkey=zero").Funcs(funcs).Parse(text)
			if err != nil {
				panic(f + ": " + err.Error())
			}
			r := renderer{t: t, text: text, c: all[n]}
			r.render()
			c := Case{Template: f, Chat: n}
			if r.err == nil {
				s := r.out.String()
				c.Want = &s
			} else {
				os.Stderr.WriteString(f + " with " + n + ": " + r.err.Error() + "\n")
			}
			cases = append(cases, c)
		}
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(map[string]any{"chats": all, "templates": templates, "cases": cases}); err != nil {
		panic(err)
	}
}
