//go:build ignore

// Makes gotmpl_cases.json: templates, data and what Go's own text/template renders.
// Run: go run tests/golden/gotmpl_vectors.go > tests/golden/gotmpl_cases.json
// A case without "want" must be refused when it is compiled or run.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"text/template"
	"time"
)

type Case struct {
	Template string  `json:"template"`
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
		"Empty": []any{}, "Zero": 0, "No": false, "Text": "héllo", "List": []any{"a", "b", "c"}, "Nums": []any{1, 2, 3},
		"Small": 0.00001, "Big": 1234567.5, "M1": -7, "Ctl": "a\x01\t\n\u2028<é日\\", "Map": map[string]any{"a": "x", "b": 2}, "EmptyMap": map[string]any{},
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
	// printf
	`{{ printf "%5s|%-5s|%05d|%+d|% d|%x|%X|%o|%b|%c|%U|%q" "ab" "ab" 42 42 42 255 255 8 5 65 65 65 }}`,
	`{{ printf "%8.3f|%-8.2f|%e|%E|%g|%G|%.3g|%08.3f|%+.1f" 3.14159 2.5 12345.678 12345.678 0.00001 1e10 1234.5678 3.14159 2.0 }}`,
	`{{ printf "%t|%v|%5t" true false true }}`, `{{ printf "%s" 3 }}`, `{{ printf "%d" "x" }}`, `{{ printf "%d" 1.5 }}`, `{{ printf "%f" 3 }}`,
	`{{ printf "%d" }}`, `{{ printf "%d %d" 1 }}`, `{{ printf "x" 1 "a" }}`, `{{ printf "%" }}`, `{{ printf "%!" }}`, `{{ printf "%z" 1 }}`, `{{ printf "100%%" }}`,
	`{{ printf "%x" "hi" }}`, `{{ printf "% x" "hi" }}`, `{{ printf "%X" "hi" }}`, `{{ printf "%#x" 255 }}`, `{{ printf "%#x" "hi" }}`, `{{ printf "%#o" 8 }}`, `{{ printf "%#q" "hi" }}`, `{{ printf "%+q" "é" }}`,
	`{{ printf "%q" .Ctl }}`, `{{ printf "%.2s" .Text }}`, `{{ printf "%8s|" .Text }}`, `{{ printf "%-8s|" .Text }}`, `{{ printf "%*d" 5 42 }}`, `{{ printf "%.*f" 2 3.14159 }}`, `{{ printf "%[2]d %[1]d" 1 2 }}`, `{{ printf "%[3]d" 1 }}`, `{{ printf "%[1]d %d" 1 2 }}`,
	`{{ printf "%v" .List }}`, `{{ printf "%s" .List }}`, `{{ printf "%q" .List }}`, `{{ printf "%d" .Nums }}`, `{{ printf "%v" .F }}`, `{{ .Small }}`, `{{ .F }}`, `{{ .M1 }}`,
	`{{ printf "%T" 1 }}|{{ printf "%T" "a" }}|{{ printf "%T" 1.5 }}|{{ printf "%T" true }}`, `{{ printf "%6.2f%%" 12.345 }}`, `{{ printf "%3c|%-3c|" 65 66 }}`, `{{ printf "%06d" -42 }}`, `{{ printf "%x" -255 }}`, `{{ printf "%+v" "a" }}`, `{{ printf "%#v" "a" }}`, `{{ printf "%#v" 1 }}`,
	`{{ printf "%s %v" "a" .Empty }}`, `{{ printf "%s" true }}`, `{{ printf "%t" 1 }}`, `{{ printf "%c" "x" }}`, `{{ printf "%s%s" "a" }}`, `{{ printf "%10q|" "a" }}`, `{{ printf "%-10q|" "a" }}`, `{{ printf "%05s" "a" }}`, `{{ printf "%5v|%-5v|" 1 2 }}`, `{{ printf "%5.1v" 1.25 }}`, `{{ printf "%U" 128512 }}`, `{{ printf "%c" 128512 }}`, `{{ printf "%#U" 233 }}`,
	`{{ printf .System }}`, `{{ "a" | printf "%s-%s" "b" }}`, `{{ printf "%s" (len .List) }}`, `{{ printf "%v %v" nil 1 }}`,
	// numbers
	`{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }} {{ 1e3 }} {{ 1E7 }} {{ .5 }} {{ 1. }} {{ 'a' }} {{ '\n' }} {{ '\'' }} {{ 'é' }}`, `{{ 1e20 }} {{ 1e21 }} {{ 1e-5 }} {{ 123456789.0 }} {{ 0.0001 }}`, `{{ 12a }}`, `{{ 0x }}`, `{{ '' }}`, `{{ 'ab' }}`, `{{ +5 }}`, `{{ -0 }}`, `{{ 1.5e3 }}`, `{{ 0x1p4 }}`, `{{ 9223372036854775807 }}`, `{{ 9223372036854775808 }}`, `{{ 1__0 }}`, `{{ "\a\b\f\v\x41\101\u00e9\U0001F600" }}`, `{{ "\q" }}`, `{{ "a` + "\n" + `b" }}`, "{{ `a\nb` }}", `{{ "\'" }}`, `{{ '"' }}`,
	// compare
	`{{ eq "a" 1 }}`, `{{ eq .Nope "a" }}`, `{{ eq nil nil }}`, `{{ ne .Nope "a" }}`, `{{ eq true true }}`, `{{ eq true 1 }}`, `{{ lt "a" "b" }}`, `{{ lt 1.5 2.5 }}`, `{{ lt true false }}`, `{{ lt .Nope 1 }}`, `{{ eq .List .List }}`, `{{ eq .Map .Map }}`, `{{ eq 1 }}`, `{{ eq }}`, `{{ ne 1 2 3 }}`, `{{ ne 1 }}`, `{{ lt 1 }}`, `{{ lt 1 2 3 }}`, `{{ ge "b" "a" }}{{ le "a" "a" }}{{ gt 2 1 }}`, `{{ eq "a" "b" "a" }}`, `{{ eq 1 "a" 1 }}`, `{{ eq 1 1 "a" }}`, `{{ eq 'a' 97 }}`, `{{ eq .F 1.5 }}`, `{{ eq .N 3 }}`, `{{ eq .Empty .Empty }}`,
	// logic
	`{{ and }}`, `{{ or }}`, `{{ not }}`, `{{ not 1 2 }}`, `{{ and 1 0 }}|{{ or 0 "" "x" }}|{{ and 1 "a" }}`, `{{ .System | and .Empty }}`, `{{ .System | or .Empty }}`, `{{ 0 | or "a" }}`, `{{ and .No (index .List 99) }}`, `{{ or .Think (index .List 99) }}`, `{{ if and .List (eq (len .List) 3) }}y{{ end }}`, `{{ not .Empty }}{{ not .Map }}{{ not .EmptyMap }}{{ not 0.0 }}`,
	// len index slice
	`{{ len 3 }}`, `{{ len .Map }}`, `{{ len "é" }}`, `{{ len }}`, `{{ len .List .List }}`, `{{ index .Map "a" }}`, `{{ index .Map "zz" }}|`, `{{ index .List -1 }}`, `{{ index .List "a" }}`, `{{ index "abc" 1 }}`, `{{ index 3 1 }}`, `{{ index .Map 1 }}`, `{{ index .List }}`, `{{ index }}`, `{{ slice "abcdef" 1 3 }}`, `{{ slice .List 1 2 3 }}`, `{{ slice "abc" 1 2 3 }}`, `{{ slice .List 2 1 }}`, `{{ slice .List }}`, `{{ slice 3 1 }}`, `{{ slice .List 1 2 3 4 }}`, `{{ slice .List 0 4 }}`, `{{ len (slice .List 3) }}`, `{{ slice }}`, `{{ index (index .Messages 0) "Role" }}`,
	// print
	`{{ print }}|{{ print 1 2 }}|{{ print "a" "b" }}|{{ print 1 "a" 2 3 }}|{{ println "a" 1 }}|{{ println }}`, `{{ print 1.0 2.5 }}`, `{{ print .List }}`, `{{ .List }}`, `{{ .Nums }}`, `{{ .Empty }}`, `{{ html "<a href='x'>\"&\x00" }}`, `{{ js "<a>'\"\\\n=&é\u2028" }}`, `{{ urlquery "a b&c=d/é?~*" }}`, `{{ html 3 }}`, `{{ js true }}`, `{{ html "a" "b" }}`,
	// nil
	`{{ nil }}`, `{{ if nil }}a{{ end }}`, `{{ with nil }}{{ end }}`, `{{ $x := nil }}`,
	// pipelines
	`{{ 1 | 2 }}`, `{{ "a" | .System }}`, `{{ | len }}`, `{{ .List | }}`, `{{ .List || len }}`, `{{ .List | len | len }}`, `{{ (.List | len) | printf "%03d" }}`, `{{ .List.X }}`, `{{ .Text.X }}`, `{{ .N.X }}`, `{{ "a".X }}`, `{{ 1.X }}`, `{{ true.X }}`, `{{ nil.X }}`, `{{ (index .Messages 0).Role }}`, `{{ .Map.a }}{{ .Map.b }}`, `{{ $.Map.a }}`, `{{ $x := .Map }}{{ $x.a }}`, `{{ (.Map).a }}`, `{{ ((.Map).a) }}`, `{{ . | len }}`, `{{ .. }}`, `{{ .Map..a }}`, `{{ .Map. a }}`, `{{ .Map .a }}`, `{{ .1 }}`, `{{ len.X }}`, `{{ len .List, 1 }}`, `{{ .List[0] }}`, `{{ .N + 1 }}`, `{{ .N == 3 }}`, `{{ !.N }}`, `{{ a }}`, `{{ .N; }}`, `{{ "a" "b" }}`, `{{ 1 2 }}`, `{{ true false }}`, `{{ .N 1 }}`, `{{ (printf) }}`, `{{ () }}`, `{{ (1) }}`, `{{ ( len .List ) }}`, `{{ (len .List) 1 }}`, `{{(len .List)|printf "%d"}}`, `{{ len(.List) }}`, `{{ len (.List)(.List) }}`, `{{"a"|len}}`, `{{ "a"|printf "%s" "b" }}`, `{{ print "a""b" }}`, `{{ print 1"b" }}`, `{{ print .N.M }}`, `{{ print(1)(2) }}`, `{{ print $.N$.N }}`,
	// variables
	`{{ $x }}`, `{{ $x = 1 }}`, `{{ $x := 1 }}{{ $x := 2 }}{{ $x }}`, `{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}`, `{{ if false }}{{ $y }}{{ end }}`, `{{ if $x := 1 }}{{ $x }}{{ end }}`, `{{ if $x := 0 }}{{ else }}[{{ $x }}]{{ end }}`, `{{ if $x := 1 }}{{ end }}{{ $x }}`, `{{ with $x := .N }}{{ $x }}{{ . }}{{ end }}`, `{{ range $i, $e := .List }}{{ end }}{{ $i }}`, `{{ $i := 0 }}{{ $e := "" }}{{ range $i, $e = .List }}{{ end }}{{ $i }}{{ $e }}`, `{{ $e := "" }}{{ range $e = .List }}{{ end }}{{ $e }}`, `{{ range $e := .List }}{{ else }}{{ $e }}{{ end }}`, `{{ $x, $y := .N }}`, `{{ range $a, $b, $c := .List }}{{ end }}`, `{{ $x:=1 }}{{$x}}`, `{{ $x := }}`, `{{ $x := 1 | printf "%d" }}{{ $x }}`, `{{ $x := .N }}{{ range .List }}{{ $x = . }}{{ end }}{{ $x }}`, `{{ (($x := 1)) }}`, `{{ if ($x := 1) }}{{ end }}`, `{{ $ := 1 }}`, `{{ $.N := 1 }}`, `{{ $x := 1 }}{{ $x.Y := 2 }}`, `{{ $x := 1 }}{{ define "a" }}{{ $x }}{{ end }}`, `{{ $x := 1 }}{{ $x }}{{ template "a" }}{{ define "a" }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}`, `{{ range $i, $e := .Map }}{{ $i }}={{ $e }};{{ end }}`, `{{ range $i := 3 }}{{ $i }}{{ end }}`, `{{ range $i, $j := 3 }}{{ $i }}{{ end }}`, `{{ range 0 }}a{{ else }}b{{ end }}`, `{{ range -1 }}a{{ else }}b{{ end }}`, `{{ range "abc" }}{{ . }}{{ end }}`, `{{ range 1.5 }}{{ end }}`, `{{ range true }}{{ end }}`, `{{ range .Text }}{{ end }}`, `{{ range .Map }}{{ . }},{{ end }}`, `{{ range nil }}{{ end }}`, `{{ range .Nope }}a{{ else }}b{{ end }}`,
	// control
	`{{ break }}`, `{{ continue }}`, `{{ if true }}{{ break }}{{ end }}`, `{{ range .List }}{{ if eq . "b" }}{{ break }}{{ end }}{{ . }}{{ end }}`, `{{ range .List }}{{ with . }}{{ if eq . "b" }}{{ continue }}{{ end }}{{ . }}{{ end }}{{ end }}`, `{{ range .List }}{{ range $.Nums }}{{ if eq . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}{{ . }}{{ end }}`, `{{ range .List }}{{ else }}{{ break }}{{ end }}`, `{{ range .List }}{{ break 1 }}{{ end }}`, `{{ range .List }}{{ define "x" }}{{ break }}{{ end }}{{ end }}`, `{{ if .N }}a{{ else if .No }}b{{ end }}`, `{{ if .N }}a{{ else with .No }}b{{ end }}`, `{{ with .No }}a{{ else if .N }}b{{ end }}`, `{{ with .No }}a{{ else with .N }}{{ . }}{{ else }}c{{ end }}`, `{{ range .Empty }}a{{ else if .N }}b{{ end }}`, `{{ if .N }}a{{ else }}b{{ else }}c{{ end }}`, `{{ if .No }}a{{ else if .No }}b{{ else }}c{{ end }}`, `{{ if .N }}{{ end }}{{ end }}`, `{{ if .N }}`, `{{ range }}{{ end }}`, `{{ with }}{{ end }}`, `{{ end .N }}`, `{{ else .N }}`, `{{ if .N }}a{{ else x }}{{ end }}`, `{{ if .N }}a{{ end x }}`, `{{ if .N .N }}{{ end }}`, `{{ if not .N }}a{{ else }}b{{ end }}`, `{{if(eq .N 3)}}a{{end}}`, `{{if.N}}a{{end}}`, `{{if"a"}}b{{end}}`, `{{range$i,$e:=.List}}{{$i}}{{$e}}{{end}}`, `{{range .List}}{{.}}{{end}}`,
	// define
	`{{ define "a" }}x{{ end }}{{ define "a" }}y{{ end }}{{ template "a" }}`, `{{ template "a" . }}{{ define "a" }}{{ .N }}{{ end }}`, `{{ template "a" .N .N }}{{ define "a" }}{{ end }}`, `{{ template a }}`, `{{ template }}`, `{{ define "a" . }}{{ end }}`, `{{ define a }}{{ end }}`, `{{ if true }}{{ define "a" }}{{ end }}{{ end }}`, `{{ block "a" . }}{{ .N }}{{ end }}{{ template "a" . }}`, `{{ block "a" }}{{ end }}`, `{{ define "a" }}{{ $.N }}{{ end }}{{ template "a" . }}`, `{{ define "a" }}{{ if gt . 0 }}{{ . }}{{ template "b" . }}{{ end }}{{ end }}{{ define "b" }}!{{ end }}{{ template "a" 3 }}`, `{{ define "a" }}`, `{{ template "a" | len }}`, `{{ define "a" }}{{ . }}{{ end }}{{ template "a" .List | len }}`, "{{ template `a` }}{{ define `a` }}q{{ end }}", `{{ define "a" }}x{{ else }}y{{ end }}`, `{{ template "a" nil }}{{ define "a" }}{{ . }}{{ end }}`, `{{ if .No }}{{ template "gone" }}{{ end }}ok`,
	// trim and comments
	"a {{- 1 -}} b", "a {{-1 -}} b", "a {{- -1 -}} b", "a {{-}} b", "a {{- }} b", "a {{ -}} b", "a {{-/* c */-}} b", "a {{- /* c */ -}} b", "a {{/* c */}} b", "a {{ /* c */ }} b", "a {{/* c */ }} b", "a {{ /* c */}} b", "a {{/* c", "a {{/* c }} b", "a {{- /* c }} */ -}} b", "a {{- /* c\nd */}}\n b", "{{/* a */}}{{/* b */}}", "{{/* a */ 1 }}", "{{ 1 /* a */ }}", "x\n\n{{- if .N }}\n y\n{{- end }}\n\n z", "x\n{{ if .N -}}\n y\n{{ end -}}\n z", "{{\n.N\n}}", "{{ if\n.N\n}}a{{ end }}", "{{ .N}}", "{{.N -}}  x", "{{.N-}}  x", "{{ .N -  }}", "{{ 3-}} x", "{{ 3 -}} x", "\t{{- .N -}}\t", "a\u00a0{{- .N }}", "a\x0b{{- .N }}", "{{", "}}", "{{}}", "{{ }}", "{", "a { b } c", "{{{ .N }}}", "{{ { }}", "{{ .N }", "{{ .N } }", `{{ "}}" }}`, "{{ `}}` }}", `{{ '}' }}`, `{{ .N }}}`, "{{.N}}\r\n{{- .N}}", "{{ \"a\\\nb\" }}", "{{ .N\t}}", "{{end}}", "{{ .N }}{{/**/}}{{ .N }}", "{{ /**/ -}} x", "{{- .N }}", "{{define \"a\"}}\n{{- .}}\n{{- end}}{{template \"a\" 1}}",
	`{{ json .Map }}{{ json .List }}{{ json "<&>\u2028é" }}{{ json 1.0 }}{{ json 1e21 }}{{ json nil }}`, `{{ json .Big }}{{ json .Small }}`, `{{ json }}`, `{{ json 1 2 }}`, `{{ currentDate }}`, `{{ currentDate 1 }}`, `{{ .Map | json }}`, `{{ json .Ctl }}`,
	`{{ call .N }}`, `{{ call nil }}`, `{{ index nil 1 }}`, `{{ $x := 5 }}{{ $x | printf "%d" }}`, `{{ with .Map }}{{ .a }}{{ $.N }}{{ end }}`, `{{ ._x }}`, `{{ .é }}`, `{{ $é := 1 }}{{ $é }}`, `{{ true }}{{ false }}`, `{{ truex }}`,
}

func main() {
	funcs := template.FuncMap{
		"json":        func(v any) string { b, _ := json.Marshal(v); return string(b) },
		"currentDate": func() string { return time.Unix(1795693560, 0).UTC().Format("2006-01-02") },
	}
	templates = append(templates, "{{ currentDate }}")
	var cases []Case
	for _, t := range templates {
		c := Case{Template: t}
		var out bytes.Buffer
		parsed, err := template.New("").Option("missingkey=zero").Funcs(funcs).Parse(t)
		if err == nil {
			err = parsed.Execute(&out, chat())
		}
		if err == nil {
			s := strings.ReplaceAll(out.String(), "<no value>", "") // what is missing prints nothing here
			c.Want = &s
		}
		cases = append(cases, c)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(map[string]any{"data": chat(), "cases": cases}); err != nil {
		panic(err)
	}
}
