//go:build ignore

// Makes gotmpl_cases.json: templates, data and what Go's own text/template renders.
// Run: go run tests/golden/gotmpl_vectors.go > tests/golden/gotmpl_cases.json
// A case without "want" must be refused when it is compiled or run.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"text/template"
	"time"
)

type Case struct {
	Template string  `json:"template"`
	Data     any     `json:"data"`
	Want     *string `json:"want,omitempty"`
}

func chat() map[string]any {
	return map[string]any{
		"System": "Be <brief>.", "Prompt": "Hi \"you\"", "Response": "", "Suffix": nil, "Think": true, "N": 3, "F": 1.5,
		"Messages": []any{
			map[string]any{"Role": "system", "Content": "Be brief."},
			map[string]any{"Role": "user", "Content": "One"},
			map[string]any{"Role": "assistant", "Content": "", "Thinking": "hm"},
			map[string]any{"Role": "user", "Content": "Two\n"},
		},
		"Empty": []any{}, "Zero": 0, "No": false, "Text": "héllo", "List": []any{"a", "b", "c"},
	}
}

var templates = []string{
	"plain", "", "{{ .System }}|{{ .Prompt }}", "a {{- .System -}} b", "a {{- /* note */ -}} b", "a\n{{- .N }}\n{{ .N -}}\n b",
	"{{/* only a comment */}}x", "{{ if .System }}S{{ end }}", "{{ if .Empty }}E{{ else }}none{{ end }}",
	"{{ if .Zero }}a{{ else if .No }}b{{ else if .Think }}c{{ else }}d{{ end }}", "{{ if not .Zero }}y{{ end }}",
	"{{ if and .System .Prompt }}both{{ end }}", "{{ or .Response .System }}", "{{ and .System .Empty | len }}",
	"{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }}", "{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Role }} {{ end }}",
	"{{ range $m := .Messages }}{{ $m.Role }}{{ $.N }} {{ end }}", "{{ range .Empty }}x{{ else }}nothing{{ end }}",
	"{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}{{ .Role }}{{ if $last }}!{{ end }} {{ end }}",
	"{{ range .Messages }}{{ if eq .Role \"system\" }}{{ continue }}{{ end }}{{ .Role }},{{ end }}",
	"{{ range .Messages }}{{ if eq .Role \"assistant\" }}{{ break }}{{ end }}{{ .Role }},{{ end }}",
	"{{ with .System }}{{ . }}!{{ end }}", "{{ with .Response }}{{ . }}{{ else }}empty{{ end }}", "{{ with $x := .N }}{{ $x }}{{ end }}",
	"{{ $x := 1 }}{{ if .Think }}{{ $x = 2 }}{{ end }}{{ $x }}", "{{ $x := \"a\" }}{{ range .List }}{{ $x = . }}{{ end }}{{ $x }}",
	"{{ define \"m\" }}[{{ .Role }}]{{ end }}{{ range .Messages }}{{ template \"m\" . }}{{ end }}",
	"{{ block \"b\" .System }}({{ . }}){{ end }}", "{{ template \"x\" }}{{ define \"x\" }}no{{ end }}",
	"{{ len .Messages }} {{ len .Text }} {{ len .List }}", "{{ index .List 1 }} {{ (index .Messages 1).Content }}",
	"{{ index .Messages 0 \"Role\" }}", "{{ index (slice .List 1) 0 }} {{ len (slice .List 0 2) }} {{ slice .Text 0 1 }}",
	"{{ eq .N 3 }} {{ ne .N 3 }} {{ lt .N 4 }} {{ le .N 3 }} {{ gt .N 3 }} {{ ge .N 4 }}", "{{ eq .N 1 2 3 }}{{ eq \"a\" \"b\" \"a\" }}",
	"{{ eq .Text \"héllo\" }}", "{{ printf \"%s-%d-%v-%q\" .Text .N .Think .Prompt }}", "{{ printf \"%.2f|%%|%x|%f\" .F 255 .F }}",
	"{{ print .N .N \"x\" .N }}", "{{ println .Text .N }}", "{{ .Text | printf \"%s!\" }}", "{{ .Text | len | printf \"%d\" }}",
	"{{ html .System }}{{ js .Prompt }}{{ urlquery \"a b&c\" }}", "{{ json .List }}{{ json .Prompt }}{{ json .System }}{{ json .F }}{{ json .Think }}",
	"{{ \"q\\\"\\n\\t\\u00e9\" }}{{ `raw \\n` }}", "{{ 1 }}{{ -2 }}{{ 1.5 }}{{ true }}", "{{ (and .Think (not .No)) }}", "{{ ((.Text)) }}",
	"{{ if (or (eq .N 2) (eq .N 3)) }}yes{{ end }}", "{{ if ne .Text \"\" }}x{{ end }}", "{{if .Think}}{{if .No}}a{{else}}b{{end}}{{end}}c",
	"{{ $.System }}{{ range .List }}{{ $.N }}{{ . }}{{ end }}", "{{- range .Messages }}\n{{ .Role }}: {{ .Content }}\n{{- end }}",
	"{{ if .Suffix }}a{{ else }}b{{ end }}", "<|im_start|>{{ \"x\" }}<|im_end|>\n", "{{ range $k, $v := .List }}{{ if $k }}, {{ end }}{{ $v }}{{ end }}",
	"}} {", "{ {{ .N }} }", "{{ .N}}{{.N }}{{.N}}", "{{ range 3 }}{{ . }}{{ end }}", "{{with .No}}a{{else with .System}}{{ . }}{{end}}",
	// refused
	"{{ .Nope", "{{ if .N }}", "{{ end }}", "{{ else }}", "{{ nofunc .N }}", "{{ \"a }}", "{{ if }}x{{ end }}", "{{ $y }}",
	"{{ ( .N }}", "{{ .N ) }}", "{{ range .N.X.Y }}{{ end }}{{ template \"none\" }}", "{{ index .List 7 }}", "{{ slice .List 5 }}", "{{ lt .N \"a\" }}",
	"{{ define }}x{{ end }}", "{{/* open", "{{ range .Text | len | not }}{{ end }}", "{{ .N .N }}", "{{ printf 3 }}", "{{ if .N }}{{ else }}{{ else }}{{ end }}",
}

func main() {
	funcs := template.FuncMap{
		"json":        func(v any) string { b, _ := json.Marshal(v); return string(b) },
		"currentDate": func() string { return time.Unix(1795693560, 0).UTC().Format("2006-01-02") },
	}
	templates = append(templates, "{{ currentDate }}")
	var cases []Case
	for _, t := range templates {
		c := Case{Template: t, Data: chat()}
		var out bytes.Buffer
		parsed, err := template.New("").Option("missingkey=zero").Funcs(funcs).Parse(t)
		if err == nil {
			err = parsed.Execute(&out, c.Data)
		}
		if err == nil {
			s := out.String()
			c.Want = &s
		}
		cases = append(cases, c)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	os.Stdout.WriteString("[\n")
	for i, c := range cases {
		b, _ := json.Marshal(c)
		os.Stdout.Write(b)
		if i+1 < len(cases) {
			os.Stdout.WriteString(",")
		}
		os.Stdout.WriteString("\n")
	}
	os.Stdout.WriteString("]\n")
}
