"""Writes jinja_cases.json: templates, variables and what the reference implementation makes of them.

usage: jinja_vectors.py [model.gguf ...]    (needs jinja2; with files: gguf too)

The environment is set up as trainers' libraries do it: immutable sandbox, trim_blocks,
lstrip_blocks, loop controls, json.dumps for tojson. The templates are written for this test in the
manner of the known model families; the templates inside the given GGUF files are added as they are.
"""
import datetime
import json
import os
import sys

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jinja_families import MORE

NOW = 1732460400  # 2024-11-24 15:00:00


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def strftime_now(fmt):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(fmt)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a \"city\" <now>",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "Name of the city"},
        "days": {"type": "integer", "minimum": 1, "default": None},
        "unit": {"type": "string", "enum": ["c", "f"]}}}}}
TOOL2 = {"type": "function", "function": {
    "name": "add", "description": "Adds\ntwo numbers", "parameters": {
        "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": ["number", "null"]}}}}}
CHAT = [{"role": "user", "content": "Hi there!"}]
SYS = [{"role": "system", "content": "Be brief. "}] + CHAT
TURNS = SYS + [{"role": "assistant", "content": " Hello. \n"}, {"role": "user", "content": "Größe? 日本 🎉"}]
CALLS = SYS + [
    {"role": "assistant", "content": "", "tool_calls": [
        {"id": "call00000", "type": "function",
         "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}},
        {"id": "call00001", "type": "function",
         "function": {"name": "add", "arguments": {"a": 1.5, "b": None, "ok": True}}}]},
    {"role": "tool", "content": "{\"t\": 20}", "name": "get_weather", "tool_call_id": "call00000"},
    {"role": "tool", "content": "3", "name": "add", "tool_call_id": "call00001"},
    {"role": "assistant", "content": "It is 20."},
    {"role": "user", "content": "Thanks"}]
THINK = SYS + [
    {"role": "assistant", "content": "<think>\nhmm\n</think>\n\nFour.", "reasoning_content": "because"},
    {"role": "user", "content": "More"}]
TAIL = {"add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
VARS = {
    "none": {},
    "basic": {"n": 7, "m": -3, "f": 2.5, "zero": 0, "yes": True, "no": False, "nil": None,
              "s": "Hello World", "e": "", "u": "Grüße, 日本!", "ws": "  \t a b \n ",
              "multi": "one\ntwo\n\nthree", "l": [3, 1, 2], "ll": [[1, 2], [3, 4]], "el": [],
              "words": ["banana", "Apple", "cherry", "apple"], "mixed": [1, "a", None, True, 2.0],
              "d": {"b": 1, "a": 2, "C": 3}, "nested": {"x": {"y": [10, {"z": "deep"}]}},
              "items_key": {"items": 5, "k": 1}, "users": [
                  {"name": "Ann", "age": 30, "ok": True}, {"name": "bob", "age": 25, "ok": False},
                  {"name": "Cid", "age": 35, "ok": True, "tag": {"t": 1}}],
              "html": "<a href='x'>\"&\"</a>", "quote": "it's \"so\" \\ \n\t\u0001\u00e9\u2028"},
    "chat": {"messages": CHAT, **TAIL},
    "sys": {"messages": SYS, **TAIL},
    "turns": {"messages": TURNS, **TAIL},
    "noprompt": {"messages": TURNS, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": False},
    "calls": {"messages": CALLS, "tools": [TOOL, TOOL2], **TAIL},
    "tools": {"messages": SYS, "tools": [TOOL], **TAIL},
    "think": {"messages": THINK, "enable_thinking": True, **TAIL},
    "nothink": {"messages": THINK, "enable_thinking": False, **TAIL},
    "bad": {"messages": CHAT + CHAT, **TAIL},
}

# One expression each, rendered as {{ expression }} with "basic".
EXPRESSIONS = r"""
'-' ~ s.center(16) ~ '-' ~ s.center(15, '*') ~ s.center(3)
u.ljust(20, '_') ~ u.rjust(20) ~ '5'.zfill(3) ~ '-5'.zfill(4) ~ '+'.zfill(3) ~ ''.zfill(2)
s.ljust(20, 'ab')
s | center(20) ~ '|' ~ (n | center(5))
s | center | length
'one two three four' | truncate(9) ~ ('one two three four' | truncate(9, true)) ~ ('one two three' | truncate(9))
'one two three four' | truncate(9, false, '…', 0) ~ (u | truncate(7, true, '', 0)) ~ (s | truncate)
'abcdefghijk' | truncate(5, leeway=0) ~ ('abc' | truncate(length=1))
words | slice(3) | list
words | slice(3, 'x') | list ~ (el | slice(2) | list)
words | slice(9, none) | map('length') | list
1 + 2 * 3
(1 + 2) * 3
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
7 / 2
6 / 2
2 ** 10
2 ** -1
-2 ** 2
2 ** 3 ** 2
1.5 + 1
0.1 + 0.2
1e3
1e16
1e-5
123456789.125
1_000
1.0
-0.0
3 - 5 - 2
7.5 // 2
7.5 % 2
-n
+n
- n + 10
n ~ m ~ f
'a' ~ 1 + 2 ~ 'b'
n == 7 and m < 0
n > 5 or nope
not n
not e
1 < 2 < 3
1 < 3 < 2
1 == 1.0
true == 1
'a' < 'b'
'a' == "a"
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1}
none == nil
nope == other_nope
nope == none
n in [1, 7]
n not in [1, 7]
'World' in s
'x' not in s
'' in s
'a' in d
'q' in d
'x' in nope
yes
no
nil
true and none
'' or 'x'
0 or ''
s and n
'yes' if n > 3 else 'no'
'yes' if n > 30
'a' if no else 'b' if no else 'c'
(none if true else 1) is none
nope
nope is defined
s is defined
nope is undefined
nope is not defined
not nope is defined
nope | default('x')
nope | default
e | default('x')
e | default('x', true)
nil | default('x')
no | d('x', boolean=true)
nope.x is defined
d.nope
d['nope'] is defined
nested.x.y[1].z
nested['x']['y'][0]
nested.x.y[-1]['z']
nested.x.y[5]
l[0]
l[-1]
l[1:]
l[:-1]
l[::-1]
l[::2]
l[5:]
l[-2:]
l[2:0:-1]
mixed
mixed[1:4]
s[0]
s[-1]
s[:5]
s[6:]
s[::-1]
s[-5:-1]
s[::2]
u[0:5]
u[-3:]
u[6]
u | length
u | upper
u | reverse
words | join(', ')
words | join
l | join('-')
mixed | join('|')
users | join(', ', attribute='name')
[] | join('x')
s | upper
s | lower
'hello-big (world) it\'s' | title
'hello wORLD' | capitalize
'' | capitalize
"it's they're" | title
s | replace('l', 'L')
s | replace('l', 'L', 1)
s | replace('', '-')
s.replace('o', '0')
s.replace('l', '', 2)
ws | trim
'[' ~ ws | trim ~ ']'
'xxhixx' | trim('x')
'[' ~ ws.strip() ~ ']'
'[' ~ ws.lstrip() ~ ']'
'[' ~ ws.rstrip() ~ ']'
'xyhixy'.strip('xy')
'xyhixy'.lstrip('yx')
'xyhixy'.rstrip('yx')
'\u3000a\u00a0'.strip()
s.split()
s.split(' ')
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
'  a  b c '.split(none, 1)
'a,b,c'.rsplit(',', 1)
'a--b--c'.split('--')[-1]
''.split()
''.split(',')
'<think>x</think>y'.split('</think>')[-1].lstrip('\n')
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('=')
multi.splitlines()
s.startswith('Hell')
s.startswith('ell')
s.endswith('rld')
s.startswith(('x', 'He'))
s.upper()
s.lower()
s.title()
"they're bill's".title()
'aB cD'.capitalize()
s.find('World')
s.find('zzz')
u.find('日')
s.rfind('o')
s.index('W')
s.count('l')
s.count('')
', '.join(words)
'abc'.removeprefix('ab')
'abc'.removesuffix('bc')
'abc'.removeprefix('x')
'12'.isdigit()
'1a'.isdigit()
''.isdigit()
'abc'.isalpha()
'ab1'.isalnum()
'ABC'.isupper()
'abC'.islower()
'  '.isspace()
'{} and {}'.format(1, 'x')
'{0}-{1}-{0}'.format('a', 'b')
'{name}!'.format(name='Zed')
'{{}}'.format()
'%s is %d' % ('x', 3)
'%s' % s
'%.2f|%5d|%-5s|%05.1f|%%' % (3.14159, 42, 'ab', 2.25)
'%s-%s' | format(1, 'b')
'%r' % 'q'
'ab' * 3
3 * 'ab'
[0] * 3
[1] + [2, 3]
(1,) + (2,)
'a' + 'b'
'a' 'b' "c"
s | length
l | length
d | length
l | count
e | length
nope | length
l | first
l | last
s | first
s | last
el | first
l | sum
users | sum(attribute='age')
l | sum(start=10)
l | min
l | max
el | max
words | min
words | sort
words | sort(reverse=true)
words | sort(case_sensitive=true)
l | sort
l | sort(true)
users | sort(attribute='age') | map(attribute='name') | list
words | unique | list
[1, 1, 2, 1] | unique | list
l | reverse | list
d | reverse | list
l | list
'abc' | list
d | list
(1, 2)
(1,)
()
[]
{}
{'a': 1, 'b': [true, none, 'x']}
{1: 'a', none: 'b'}
[1, 'two', 3.0, none, true, "it's"]
quote
[quote]
['"', "'", "'\""]
d.items() | list
d.keys() | list
d.values() | list
d | items | list
nope | items | list
d.get('a')
d.get('q')
d.get('q', 'z')
d | dictsort
d | dictsort(true)
d | dictsort(false, 'value')
d | dictsort(reverse=true)
items_key.items() | list | length
items_key['items']
users | map(attribute='name') | join(', ')
users | map(attribute='tag') | list | length
users | map(attribute='tag.t', default='-') | join(',')
words | map('upper') | join(',')
words | map('replace', 'a', '4') | list
[' a ', 'b '] | map('trim') | list
l | map('string') | join('+')
l | select('odd') | list
l | reject('odd') | list
l | select('gt', 1) | list
mixed | select | list
mixed | reject('none') | list
mixed | select('string') | list
users | selectattr('ok') | map(attribute='name') | list
users | rejectattr('ok') | map(attribute='name') | list
users | selectattr('age', '>=', 30) | map(attribute='name') | list
users | selectattr('name', 'equalto', 'bob') | list | length
users | selectattr('tag', 'defined') | map(attribute='name') | first
users | rejectattr('tag', 'undefined') | list | length
users | selectattr('name', 'in', ['bob', 'Ann']) | list | length
users | map(attribute='age') | select('lt', 31) | sum
range(5) | list
range(2, 8, 3) | list
range(5, 0, -2) | list
range(0) | list
range(3) | map('string') | list
'12' | int
'12.7' | int
' 42 ' | int
'x' | int
'x' | int(5)
2.9 | int
-2.9 | int
true | int
none | int(3)
'ff' | int(0, 16)
'1.5' | float
'x' | float
3 | float
7 | string ~ 'x'
3.0 | string
2.5 | round
3.5 | round
2.675 | round(2)
2.34 | round(1, 'ceil')
2.39 | round(1, 'floor')
5 | round
-3 | abs
-3.5 | abs
html | e
html | escape
html | safe
s | wordcount
multi | indent
multi | indent(2)
multi | indent(2, true)
multi | indent(2, blank=true)
multi | indent('> ')
[1,2,3,4,5] | batch(2) | list
[1,2,3] | batch(2, 'x') | list
l is iterable
s is iterable
n is iterable
s is string
n is string
n is number
f is number
yes is number
n is integer
yes is integer
f is float
yes is boolean
n is boolean
d is mapping
l is mapping
l is sequence
d is sequence
s is sequence
n is sequence
nil is none
nil is not none
yes is true
no is false
n is true
1 is true
n is odd
n is even
n is divisibleby 7
n is divisibleby(2)
n is eq 7
n is equalto 7
n is ne 7
n is gt 5
n is lt(5)
n is ge 7
n is le 6
n is in [7]
n is sameas 7
'ABC' is upper
'abc' is lower
range is callable
s is callable
n is odd and yes
n is not even and s is string
-1 | abs
-n | abs
(1 - 5) | abs
not yes or yes
1 if yes else 2 + 5
s.split(' ') | last | upper
s.split(' ')[1] | lower
(s | upper).lower()
(l | sort)[0]
d['a'] + d.b
'a' in 'abc' and 'b' in d
not 'z' in s
1 in l == true
d | tojson
l | tojson
s | tojson
quote | tojson
u | tojson
u | tojson(ensure_ascii=true)
'🎉' | tojson(ensure_ascii=true)
nested | tojson(indent=2)
nested | tojson(indent=4)
users | tojson(indent=1, sort_keys=true)
{} | tojson(indent=2)
[] | tojson(indent=2)
[[], {}] | tojson(indent=2)
d | tojson(separators=(',', ':'))
d | tojson(sort_keys=true)
[1, 2.5, 1e20, true, none, 0.1] | tojson
(1, 2) | tojson
html | tojson
{1: 2, true: 3} | tojson
none | tojson
dict(a=1, b=2)
dict([('x', 1)])
dict(d, z=9) | length
namespace(a=1).a
namespace({'q': 2}).q
strftime_now('%d %B %Y')
strftime_now('%Y-%m-%d')
strftime_now('%-d %b')
"tab\tnl\\n\x41\u00e9\101"
'a\
b'
'\q'
{'a': {'b': {}}}
{{'a': 1}.a: 2}
[1, 2,]
{'a': 1,}
s.nope is defined
mixed | first
d | first
d.items() | first | last
'abc' | attr('upper')() 
True and False
None
(n)
((n, m))[1]
users[0].name ~ users[-1]['age']
s ~ nope ~ nil
[nope] | length
'x' ~ (nope | default(e)) ~ 'y'
nope | upper
nope | trim
nope | list
nope | join
nope | first is defined
'a b  c'.split(' ')
'ß'.upper()
'ÀÉ'.lower()
'a\r\nb\rc'.splitlines()
'ab\n'.splitlines(true)
(l + [9])[-1]
[x for x] 
1 +
n.
d.items(
'unclosed
nope.x
nope.x.y
nope()
s()
1 / 0
1 % 0
n + s
nope + 1
s + 1
[1] + (2,)
l | nofilter
1 if yes else l | nofilter
nil | select | list
nil | map('upper') | list
zero | selectattr('x') | list
n | select | list
l is notest
nope < 1
1 < 'a'
range(10000000) | length
nope | tojson
raise_exception('stop here')
[1, 'a'] | sort
'x' in n
1 in 'abc'
d | int | upper
n | length
nope[0]
nope['x']
nil.x is defined
nil.x.y
""".strip("\n").split("\n")

# Statements and white space, with "basic".
STATEMENTS = [
    "plain text", "", "\n", "a\n", "a\n\n", "\n\na", "{{ n }}\n", "{{ n }}\n\n", "a{# c #}b",
    "a\n{# c #}\nb", "a\n  {# c #}  \nb", "a {#- c -#} b", "{# {{ n }} {% if %} #}x", "{{ '}}' }}",
    "{{ '{{' }}{{ '%}' }}", "{ {n} } {%", "a\r\nb\r\n", "{% raw %}{{ n }}{% x %}{% endraw %}",
    "a {%- raw -%} {{ n }} {%- endraw -%} b", "{% raw %}\n x\n  {% endraw %}\ny", "{{n}}", "{{-n-}}",
    " {{- n -}} ", " {{ n }} ", "a\n  {{ n }}\n b", "a\n  {{- n -}}\n b",
    "{% if yes %}\nx\n{% endif %}\ny", "a\n    {% if yes %}\n    x\n    {% endif %}\ny",
    "a {% if yes %} x {% endif %} y", "a\n {%- if yes -%}\n x \n{%- endif -%}\n y",
    "a\n  {%+ if yes %}\n x{% endif +%}\ny", "{% if yes +%}\nx{% endif %}", "a \n\n {%- if yes %}b{% endif %}",
    "  {% if yes %}x{% endif %}", "\t{% if yes %}\tx\t{% endif %}\t\n", "{{ n }}  {% if yes %}x{% endif %}",
    "{{ n }}\n  {% if yes %}x{% endif %}", "{% if yes %}  {% if yes %}x{% endif %}{% endif %}",
    "{% if yes %}\n  {% if yes %}x{% endif %}{% endif %}",
    "{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% else %}c{% endif %}",
    "{% if nope %}a{% endif %}!", "{% if not nope %}a{% endif %}",
    "{% if no %}1{% elif no %}2{% elif no %}3{% elif yes %}4{% elif yes %}5{% endif %}",
    "{% for x in l %}{{ x }},{% endfor %}", "{% for x in l -%}\n  {{ x }}\n{%- endfor %}",
    "{% for x in l %}\n{{ x }}\n{% endfor %}\nend", "{% for x in el %}x{% else %}empty{% endfor %}",
    "{% for x in nope %}x{% else %}empty{% endfor %}", "{% for x in l %}x{% else %}empty{% endfor %}",
    "{% for a, b in ll %}{{ a }}-{{ b }};{% endfor %}", "{% for (a, b) in ll %}{{ a + b }};{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d | dictsort %}{{ k }}={{ v }} {% endfor %}",
    "{% for i, (k, v) in [(1, ('a', 2))] %}{{ i }}{{ k }}{{ v }}{% endfor %}",
    "{% for c in 'aé日' %}[{{ c }}]{% endfor %}", "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }} {% endfor %}",
    "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in (l if yes else []) %}{{ x }}{% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}"
    "{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}|{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}<{{ loop.nextitem }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.depth }}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in [1,1,2,2] %}{{ loop.changed(x) }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %};{% endfor %}",
    "{% for x in l %}{% if not loop.last %}{{ x }}, {% else %}{{ x }}{% endif %}{% endfor %}",
    "{% for m in users %}{{ loop.index0 % 2 == 0 }}{{ m['name'] }}{% endfor %}",
    "{% for x in users[1:] %}{{ x.name }}{% endfor %}", "{% for x in l[::-1] %}{{ x }}{% endfor %}",
    "{% for x in l | reverse %}{{ x }}{% endfor %}", "{% for i in range(3) %}{{ i }}{% endfor %}",
    "{{ loop }}", "{% for x in l %}{% endfor %}{{ x }}",
    "{% set x = 1 %}{{ x }}", "{% set x = 1 %}{% set x = x + 1 %}{{ x }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set (a, b) = ll[0] %}{{ a }}{{ b }}",
    "{% set x %}a{{ n }}b{% endset %}[{{ x }}]", "{% set x | upper %}abc{% endset %}{{ x }}",
    "{% set x | trim | upper %} abc {% endset %}[{{ x }}]",
    "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set x = 1 %}{% for i in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
    "{% for i in l %}{% if loop.first %}{% set q = 1 %}{% endif %}{{ q is defined }}{% endfor %}",
    "{% set ns = namespace(c=0, s='') %}{% for i in l %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}{{ ns.s }}",
    "{% set ns = namespace() %}{% set ns.q = 'x' %}{{ ns.q }}{{ ns.nope is defined }}",
    "{% set ns = namespace(found=false) %}{% for x in l %}{% if x == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}",
    "{% set n = n + 1 %}{{ n }}", "{% set x = 'a' if yes else 'b' %}{{ x }}",
    "{%- set x = 5 -%}   {{ x }}", "{% set d2 = {'a': 1} %}{{ d2.a }}", "{% set x=[] %}{{ x + [1] }}",
    "{% macro f(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(b=5, a=4) }} {{ f() }}",
    "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f('x') }}",
    "{% macro f(x) -%}\n  {{ x }}\n{%- endmacro %}[{{ f(1) }}]",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}g{% endmacro %}{{ f() }}",
    "{% set y = 1 %}{% macro f() %}{{ y }}{% endmacro %}{% set y = 2 %}{{ f() }}",
    "{% macro f() %}{% set z = 1 %}{% endmacro %}{{ f() }}{{ z is defined }}",
    "{% macro f(x) %}{{ caller() }}{{ x }}{% endmacro %}{% call f(1) %}body{{ n }}{% endcall %}",
    "{% macro f() %}{{ caller('q') }}{% endmacro %}{% call(v) f() %}<{{ v }}>{% endcall %}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}",
    "{% macro f(a) %}x{{ a }}{% endmacro %}{{ f('y') | upper }}{{ f('y') ~ 'z' }}{{ f(1) | length }}",
    "{% macro f() %}{% for x in l %}{{ x }}{% endfor %}{% endmacro %}{{ f() }}",
    "{% filter upper %}abc{{ s }}{% endfilter %}", "{% filter trim | upper %} abc {% endfilter %}!",
    "{% filter replace('a', 'b') %}banana{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% with %}x{% endwith %}",
    "{% generation %}x{{ n }}{% endgeneration %}", "a\n{% generation %}\nx\n{% endgeneration %}\nb",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}",
    "{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "{{ 1, 2 }}", "{% if (n > 5 and\n     s) or no %}multi\nline{% endif %}",
    "{{ {'a': 1,\n    'b': 2} }}", "{% for x in\n l %}{{ x }}{% endfor %}",
    "{%if yes%}x{%endif%}", "{%-if yes-%} x {%-endif-%}", "{% if s[0] == 'H' %}x{% endif %}",
    "{{ 'a' if n is odd else 'b' }}{{ 'x' if l else 'y' }}",
    "{% set t = [] %}{% set t = t + [s] %}{{ t }}", "{{ [n, m] | map('abs') | list }}",
    "{% set x = {'k': l} %}{{ x['k'][0] }}{{ x.k | length }}",
    # mistakes
    "{% if %}", "{% if yes %}", "{% for x %}{% endfor %}", "{% for x in l %}", "{% endif %}", "{{ }}", "{{ n",
    "{% n", "{# x", "{% unknown %}", "{% set x %}", "{% set %}", "{% macro f %}{% endmacro %}",
    "{% else %}", "{% if yes %}{% endfor %}", "{{ n n }}", "{{ (n }}", "{{ n) }}", "{{ [1 }}", "{% break %}",
    "{% set d.x = 1 %}", "{% set a, b = 1 %}", "{% set a, b = [1, 2, 3] %}", "{% for a, b in l %}{% endfor %}",
    "{{ n | }}", "{{ n is }}", "{{ 'a' 1 }}", "{{ @ }}", "{{ n.1x }}", "{{ f(a=1, 2) }}", "{{ not }}",
    "{% for x in n %}{% endfor %}", "{% if n = 7 %}{% endif %}",
]

CHATML = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\nSignatures inside <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n{\\"name\\": <name>, \\"arguments\\": <object>}<|im_end|>\\n" }}
{%- elif messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
            {%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or reasoning) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

LLAMA = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("no first user message") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- for call in message.tool_calls %}
            {%- set tool_call = call.function %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
            {{- "<|eot_id|>" }}
        {%- endfor %}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("bad id") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
"""

HARMONY = """{%- macro type_of(spec, required) -%}
    {%- if spec.type is string -%}
        {%- if spec.type == "integer" -%}number{%- else -%}{{ spec.type }}{%- endif -%}
        {%- if spec.enum is defined %} /* {{ spec.enum | join(" | ") }} */{% endif -%}
    {%- elif spec.type is iterable -%}
        {{- spec.type | join(" | ") -}}
    {%- else -%}any{%- endif -%}
{%- endmacro -%}
{%- macro namespace_of(tools) -%}
    {{- "namespace functions {\\n\\n" }}
    {%- for tool in tools %}
        {%- set tool = tool.function %}
        {{- "// " + tool.description.split("\\n") | join("\\n// ") + "\\n" }}
        {{- "type " + tool.name + " = (_: {\\n" }}
        {%- for name, spec in tool.parameters.properties.items() %}
            {%- if spec.description %}
                {{- "// " + spec.description + "\\n" }}
            {%- endif %}
            {{- name }}
            {%- if name not in (tool.parameters.required or []) %}{{- "?" }}{%- endif %}
            {{- ": " }}
            {{- type_of(spec, tool.parameters.required) }}
            {%- if spec.default is defined %}
                {{- ", // default: " + (spec.default if spec.default is string else spec.default | tojson) }}
            {%- endif %}
            {{- ",\\n" if not loop.last else "\\n" }}
        {%- endfor %}
        {{- "}) => any;\\n\\n" }}
    {%- endfor %}
    {{- "} // namespace functions" }}
{%- endmacro -%}
{{- "<|start|>system<|message|>Current date: " + strftime_now("%Y-%m-%d") + "\\n\\nReasoning: " + (reasoning_effort | default("medium")) + "<|end|>" }}
{%- if messages[0].role == "developer" or messages[0].role == "system" %}
    {%- set developer = messages[0].content %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set developer = "" %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if developer or tools %}
    {{- "<|start|>developer<|message|>" }}
    {%- if developer %}{{- "# Instructions\\n\\n" + developer }}{%- endif %}
    {%- if tools -%}
        {{- "\\n\\n# Tools\\n\\n" + namespace_of(tools) }}
    {%- endif -%}
    {{- "<|end|>" }}
{%- endif %}
{%- set last_call = namespace(name=none) %}
{%- for message in loop_messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if "tool_calls" in message %}
            {%- set call = message.tool_calls[0].function %}
            {{- "<|start|>assistant to=functions." ~ call.name ~ "<|channel|>commentary json<|message|>" ~ call.arguments | tojson ~ "<|call|>" }}
            {%- set last_call.name = call.name %}
        {%- elif loop.last and not add_generation_prompt %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
        {%- else %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}
            {%- set last_call.name = none %}
        {%- endif %}
    {%- elif message.role == 'tool' -%}
        {%- if last_call.name is none %}
            {{- raise_exception("Message has tool role, but there was no previous tool call") }}
        {%- endif %}
        {{- "<|start|>functions." + last_call.name + " to=assistant<|message|>" + message.content | tojson + "<|end|>" }}
    {%- elif message.role == 'user' -%}
        {{- "<|start|>user<|message|>" + message.content + "<|end|>" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|start|>assistant
{%- endif -%}
"""

DEEPSEEK = ("{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
            "{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}"
            "{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}"
            "{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' + message['content']}}{%- endif %}"
            "{%- if message['role'] == 'assistant' and message['tool_calls'] %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}"
            "{{'<|Assistant|><|calls|><|call|>' + tool['type'] + '<|sep|>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```'}}{%- set ns.is_first = true -%}"
            "{%- else %}{{'\\n' + '<|call|>' + tool['function']['name']}}{%- endif %}{%- endfor %}{{'<|calls_end|><|eos|>'}}{%- endif %}"
            "{%- if message['role'] == 'assistant' and message['content'] is not none and not message['tool_calls'] %}{%- if ns.is_tool %}{{'<|outputs_end|>' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}"
            "{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + eos_token}}{%- endif %}{%- endif %}"
            "{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<|outputs|>' + message['content'] + '<|out_end|>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n<|out|>' + message['content']}}{%- endif %}{%- endif %}{%- endfor -%}"
            "{% if ns.is_tool %}{{'<|outputs_end|>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|><think>\\n'}}{% endif %}")

PHI = ("{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}"
       "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}")

XMLTOOLS = """{% macro item_list(items, tag_name='required') %}
    {%- if items is defined %}
        {%- if items is iterable and items is not string %}
            {{- '\\n<' ~ tag_name ~ '>' }}
            {{- '[' }}
            {%- for item in items -%}
                {%- if loop.index > 1 %}
                    {{- ", "}}
                {%- endif -%}
                {%- if item is string -%}
                    {{ "`" ~ item ~ "`" }}
                {%- else -%}
                    {{ item }}
                {%- endif -%}
            {%- endfor -%}
            {{- ']' }}
            {{- '</' ~ tag_name ~ '>' }}
        {%- endif %}
    {%- endif %}
{%- endmacro %}
{%- for tool in tools or [] %}
{%- if tool.function is defined %}
    {%- set tool = tool.function %}
{%- endif %}
    {{- '\\n<function>\\n<name>' ~ tool.name ~ '</name>' }}
    {%- if tool.description is defined %}
        {{- '\\n<description>' ~ (tool.description | trim) ~ '</description>' }}
    {%- endif %}
    {%- if tool.parameters is defined and tool.parameters is mapping and tool.parameters.properties is defined and tool.parameters.properties is mapping %}
        {%- for param_name, param_fields in tool.parameters.properties|items %}
            {{- '\\n<parameter>\\n<name>' ~ param_name ~ '</name>' }}
            {%- if param_fields.type is defined %}
                {{- '\\n<type>' ~ (param_fields.type | string) ~ '</type>' }}
            {%- endif %}
            {{- item_list(param_fields.enum, 'enum') }}
            {%- set handled_keys = ['type', 'description', 'enum', 'required'] %}
            {%- for json_key in param_fields.keys() | reject("in", handled_keys) %}
                {%- set normed = json_key | replace("-", "_") | replace(" ", "_") | replace("$", "") %}
                {%- if param_fields[json_key] is mapping %}
                    {{- '\\n<' ~ normed ~ '>' ~ (param_fields[json_key] | tojson | safe) ~ '</' ~ normed ~ '>' }}
                {%- else %}
                    {{- '\\n<' ~ normed ~ '>' ~ (param_fields[json_key] | string) ~ '</' ~ normed ~ '>' }}
                {%- endif %}
            {%- endfor %}
            {{- '\\n</parameter>' }}
        {%- endfor %}
        {{- item_list(tool.parameters.required) }}
    {%- endif %}
    {{- '\\n</function>' }}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" and message.tool_calls is defined and message.tool_calls is iterable and message.tool_calls | length > 0 %}
        {{- '<|im_start|>' + message.role }}
        {%- for tool_call in message.tool_calls %}
            {%- set tool_call = tool_call.function %}
            {{- '\\n<function=' + tool_call.name + '>\\n' }}
            {%- for args_name, args_value in tool_call.arguments|items %}
                {{- '<parameter=' + args_name + '>\\n' }}
                {%- set args_value = args_value if args_value is string else args_value | tojson %}
                {{- args_value }}
                {{- '\\n</parameter>\\n' }}
            {%- endfor %}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.previtem and loop.previtem.role != "tool" %}
            {{- '<|im_start|>user\\n' }}
        {%- endif %}
        {{- message.content }}
        {%- if not loop.last and loop.nextitem.role != "tool" %}
            {{- '<|im_end|>\\n' }}
        {%- elif loop.last %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
"""

SMOL3 = """{# settings #}
{%- if enable_thinking is not defined -%}
{%- set enable_thinking = true -%}
{%- endif -%}
{%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}
{%- if messages[0].role == "system" -%}
  {%- set system_message = messages[0].content -%}
  {%- if "/no_think" in system_message -%}
    {%- set reasoning_mode = "/no_think" -%}
  {%- endif -%}
  {%- set custom = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}
<|im_start|>system
{{ "## Metadata" }}
Date: {% set today = strftime_now("%d %B %Y") %}{{ today }}
Mode: {{ reasoning_mode + "\\n" }}
{%- if custom -%}
{{ custom + "\\n" }}
{%- endif -%}
<|im_end|>
{% for message in messages -%}
    {%- set content = message.content if message.content is string else "" -%}
    {%- if message.role == "user" -%}
        {{ "<|im_start|>" + message.role + "\\n"  + content + "<|im_end|>\\n" }}
    {%- elif message.role == "assistant" -%}
        {% generation %}
        {%- if reasoning_mode == "/think" -%}
            {{ "<|im_start|>assistant\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- else -%}
            {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- endif -%}
        {% endgeneration %}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ "<|im_start|>assistant\\n" if reasoning_mode == "/think" else "<|im_start|>assistant\\n<think>\\n\\n</think>\\n" }}
{%- endif -%}
"""

COMMAND = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% elif false == true %}{% set loop_messages = messages %}{% set system_message = 'You are large.' %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% if system_message != false %}{{ '<|START|><|SYSTEM|>' + system_message + '<|END|>' }}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|START|><|USER|>' + content.strip() + '<|END|>' }}{% elif message['role'] == 'assistant' %}{{ '<|START|><|BOT|>'  + content.strip() + '<|END|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|START|><|BOT|>' }}{% endif %}"""

HERMES = """{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "list[" +  json_to_python_type(json_spec|items) + "]"}}
{%- elif json_spec.type is iterable and json_spec.type is not string %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}
        {{- "," }}
      {%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{{- bos_token }}
{%- for tool in tools if tool.function is defined %}
  {%- set tool = tool.function %}
  {{- '{"type": "function", "function": ' }}
  {{- '{"name": "' + tool.name + '", ' }}
  {{- '"description": "' + tool.name + '(' }}
  {%- for param_name, param_fields in tool.parameters.properties|items %}
    {{- param_name + ": " + json_to_python_type(param_fields) }}
    {%- if not loop.last %}
      {{- ", " }}
    {%- endif %}
  {%- endfor %}
  {{- ")" }}
  {%- if tool.return is defined %}
    {{- " -> " + json_to_python_type(tool.return) }}
  {%- endif %}
  {{- " - " + tool.description + "\\n\\n" }}
  {%- for param_name, param_fields in tool.parameters.properties|items %}
    {%- if loop.first %}
      {{- "    Args:\\n" }}
    {%- endif %}
    {{- "        " + param_name + "(" + json_to_python_type(param_fields) + "): " + (param_fields.description|default('-'))|trim }}
  {%- endfor %}
  {{- '", "parameters": ' }}
  {%- if tool.parameters.properties | length == 0 %}
    {{- "{}" }}
  {%- else %}
    {{- tool.parameters|tojson }}
  {%- endif %}
  {{- "}" }}
  {%- if not loop.last %}
    {{- "\\n" }}
  {%- endif %}
{%- endfor %}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content|default('', true) + '<|im_end|>' + '\\n' }}
{%- endfor %}
"""


# Idioms of further families, in their manner.
GLM = """[gMASK]<sop>
{%- macro visible_text(content) -%}
    {%- if content is string -%}
        {{- content }}
    {%- elif content is iterable and content is not mapping -%}
        {%- for item in content -%}
            {%- if item is mapping and item.type == 'text' -%}
                {{- item.text }}
            {%- elif item is string -%}
                {{- item }}
            {%- endif -%}
        {%- endfor -%}
    {%- elif content is none -%}
        {{- '' }}
    {%- else -%}
        {{- content }}
    {%- endif -%}
{%- endmacro -%}
{%- if tools -%}
<|system|>
# Tools
{% for tool in tools %}
{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}
{%- endif -%}
{%- set ns = namespace(last_user_index=-1) %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {% set ns.last_user_index = loop.index0 -%}
    {%- endif %}
{%- endfor %}
{% for m in messages %}
{%- if m.role == 'user' -%}<|user|>
{{ visible_text(m.content) }}
{{- '/nothink' if (enable_thinking is defined and not enable_thinking and not visible_text(m.content).endswith("/nothink")) else '' -}}
{%- elif m.role == 'assistant' -%}
<|assistant|>
{%- set reasoning_content = '' %}
{%- set content = visible_text(m.content) %}
{%- if m.reasoning_content is string %}
    {%- set reasoning_content = m.reasoning_content %}
{%- else %}
    {%- if '</think>' in content %}
        {%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
{%- endif %}
{%- if loop.index0 > ns.last_user_index and reasoning_content -%}
{{ '\n<think>' + reasoning_content.strip() +  '</think>'}}
{%- else -%}
{{ '\n<think></think>' }}
{%- endif -%}
{%- if content.strip() -%}
{{ '\n' + content.strip() }}
{%- endif -%}
{% if m.tool_calls %}
{% for tc in m.tool_calls %}
{%- if tc.function %}
    {%- set tc = tc.function %}
{%- endif %}
{{ '\n<tool_call>' + tc.name }}
{% set _args = tc.arguments %}
{% for k, v in _args.items() %}
<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>
{% endfor %}
</tool_call>{% endfor %}
{% endif %}
{%- elif m.role == 'tool' -%}
{%- if m.content is string -%}
{%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
    {{- '<|observation|>' }}
{%- endif %}
{{- '\n<tool_response>\n' }}
{{- m.content }}
{{- '\n</tool_response>' }}
{%- endif -%}
{%- elif m.role == 'system' -%}
<|system|>
{{ visible_text(m.content) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    <|assistant|>{{- '\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}
{%- endif -%}"""
GRANITE = """{%- if messages[0]['role'] == 'system' -%}
{%- set system_message = messages[0]['content'] -%}{%- set loop_messages = messages[1:] -%}
{%- else -%}
{%- set system_message = "Knowledge Cutoff Date: April 2024.\nToday's Date: " + strftime_now('%B %d, %Y') + "." -%}
{%- if tools and documents -%}{%- set system_message = system_message + " Both." -%}
{%- elif tools -%}{%- set system_message = system_message + " Tools." -%}{%- endif -%}
{%- if 'citations' in controls and documents -%}{%- set system_message = system_message + ' Cite.' -%}{%- endif -%}
{%- set loop_messages = messages -%}
{%- endif -%}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' -}}
{%- if tools -%}{{- '<|start_of_role|>available_tools<|end_of_role|>' -}}{{- tools | tojson(indent=4) -}}{{- '<|end_of_text|>\n' -}}{%- endif -%}
{%- if documents -%}{%- for document in documents -%}{{- document['text'] -}}{%- endfor -%}{%- endif -%}
{%- for message in loop_messages -%}
{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' -}}
{%- if loop.last and add_generation_prompt -%}
{{- '<|start_of_role|>assistant' -}}
{%- if controls -%}{{- ' ' + controls | tojson() -}}{%- endif -%}
{{- '<|end_of_role|>' -}}
{%- endif -%}
{%- endfor -%}"""
SEED = """{%- macro py_type(t) -%}
  {%- if t == "string" -%}str
  {%- elif t in ("number", "integer") -%}int
  {%- elif t == "boolean" -%}bool
  {%- elif t == "array" -%}list
  {%- else -%}Any{%- endif -%}
{%- endmacro -%}
{%- set budgets = {0: 0, 512: 128, 1024: 256, 2048: 512} -%}
{%- set ns = namespace(interval = None) -%}
{%- set thinking_budget = thinking_budget if thinking_budget is defined else 1000 -%}
{%- for k, v in budgets | dictsort -%}
  {%- if ns.interval is none and thinking_budget <= k -%}{%- set ns.interval = v -%}{%- endif -%}
{%- endfor -%}
{%- if ns.interval is none -%}{%- set ns.interval = budgets[2048] -%}{%- endif -%}
{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- endif -%}
{%- if system_message is defined -%}{{ bos_token + "system\n" + system_message }}{%- endif -%}
{%- for item in tools or [] if item.type == 'function' %}

Function:
def {{ item.function.name }}(
{%- for name, spec in item.function.parameters.properties.items() %}
    {{- name }}: {{ py_type(spec.type) }}{% if not loop.last %}, {% endif %}
{%- endfor %}):
    \"\"\"{{ item.function.description | trim }}
{%- for name, spec in item.function.parameters.properties.items() %}
    - {{ name }} ({{ py_type(spec.type) }}){% if name in (item.function.parameters.required or []) %} [must]{% endif %}: {{ spec.description or '' }}
{%- endfor %}
    \"\"\"
{%- endfor %}
{%- for message in messages if message["role"] != "system" %}
{{ bos_token + message.role }}
{% if message.reasoning_content is defined and message.reasoning_content is string and message.reasoning_content | trim | length > 0 %}<seed:think>{{ message.reasoning_content | trim }}</seed:think>{% endif %}
{%- if message.content is string and message.content | trim | length > 0 %}{{ message.content | trim }}{% endif %}
{%- for tool_call in message.tool_calls or [] %}
<function={{ tool_call.function.name }}>
{%- for arg_name, arg_value in tool_call.function.arguments | items %}
<parameter={{ arg_name }}>{%- set v = arg_value if arg_value is string else arg_value | string %}{{ v }}</parameter>
{%- endfor %}
</function>
{%- endfor %}{{ eos_token }}
{%- endfor %}
{{ ns.interval }} {{ thinking_budget }}{% if add_generation_prompt %}{{ bos_token ~ 'assistant' }}{% endif %}"""
NEMOTRON = """{%- macro render_extra_keys(json_dict, handled_keys) -%}
    {%- if json_dict is mapping %}
        {%- for json_key in json_dict if json_key not in handled_keys %}
            {%- if json_dict[json_key] is mapping or (json_dict[json_key] is sequence and json_dict[json_key] is not string) %}
                {{- '\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | tojson | safe) ~ '</' ~ json_key ~ '>' }}
            {%- else %}
                {{-'\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | string) ~ '</' ~ json_key ~ '>' }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- set enable_thinking = enable_thinking if enable_thinking is defined else True %}
{%- set ns = namespace(last_user_idx = -1, parts = []) %}
{%- set loop_messages = messages %}
{%- for m in loop_messages | selectattr("role", "equalto", "user") %}{%- set ns.parts = ns.parts + [m.content | upper] %}{%- endfor %}
{{- ns.parts | join(" / ") ~ "\n" }}
{%- for m in loop_messages %}{%- if m["role"] == "user" %}{%- set ns.last_user_idx = loop.index0 %}{%- endif %}{%- endfor %}
{%- if tools is iterable and tools | length > 0 %}
{%- for tool in tools %}
    {%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
    {{- "\n<function>\n<name>" ~ tool.name ~ "</name>" }}
    {%- if tool.parameters is defined and tool.parameters is mapping and tool.parameters.properties is defined %}
        {%- for param_name, param_fields in tool.parameters.properties|items %}
            {{- '\n<name>' ~ param_name ~ '</name>' }}
            {%- if param_fields.enum is defined %}{{- '\n<enum>' ~ (param_fields.enum | tojson | safe) ~ '</enum>' }}{%- endif %}
            {%- set handled_keys = ['name', 'type', 'description', 'enum'] %}
            {{- render_extra_keys(param_fields, handled_keys) }}
        {%- endfor %}
    {%- endif %}
{%- endfor %}
{%- endif %}
{%- for message in loop_messages %}
{%- if message.role == "assistant" and message.tool_calls is defined and message.tool_calls is iterable and message.tool_calls | length > 0 %}
    {{- '<|im_start|>assistant\n' ~ (message.content | default('', true) | trim) }}
    {%- for tool_call in message.tool_calls %}
        {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
        {%- for args_name, args_value in tool_call.arguments|items %}
            {%- set args_value = args_value | tojson | safe if args_value is mapping or (args_value is sequence and args_value is not string) else args_value | string %}
            {{- '<' ~ args_name ~ '=' ~ args_value ~ '>' }}
        {%- endfor %}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- elif message.role == "tool" %}
    {%- if loop.previtem and loop.previtem.role != "tool" %}{{- '<|im_start|>user\n' }}{%- endif %}
    {{- message.content }}
    {%- if not loop.last and loop.nextitem.role != "tool" %}{{- '<|im_end|>\n' }}{%- elif loop.last %}{{- '<|end|>' }}{%- endif %}
{%- else %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endif %}
{%- endfor %}
{{- ns.last_user_idx }}{{ loop_messages[::-1][0].role }}{{ loop_messages[-2:] | map(attribute='role') | list | join(',') }}"""
SMOL = """{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}
{{- "<|im_start|>system\n" -}}
{%- if messages[0].role == "system" -%}
  {%- set system_message = messages[0].content -%}
  {%- if "/no_think" in system_message -%}{%- set reasoning_mode = "/no_think" -%}{%- elif "/think" in system_message -%}{%- set reasoning_mode = "/think" -%}{%- endif -%}
  {%- set custom_instructions = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}
{%- set today = strftime_now("%d %B %Y") -%}
{{- "Today Date: " ~ today ~ "\n" -}}{{- "Reasoning Mode: " + reasoning_mode + "\n\n" -}}
{%- if custom_instructions -%}{{- custom_instructions + "\n\n" -}}{%- endif -%}
{%- set ns = namespace(xml_tool_string="You may call:\n\n<tools>\n") -%}
{%- for tool in tools[:] if tools else [] -%}
  {%- set ns.xml_tool_string = ns.xml_tool_string ~ (tool | string)[:12] ~ "\n" -%}
{%- endfor -%}
{{- ns.xml_tool_string }}
{%- for message in messages -%}
  {%- set content = message.content if message.content is string else "" -%}
  {%- if message.role == "user" -%}{{ "<|im_start|>" + message.role + "\n" + content + "<|im_end|>\n" }}
  {%- elif message.role == "assistant" -%}{% generation %}{{ "<|im_start|>assistant\n" + content.lstrip("\n") + "<|im_end|>\n" }}{% endgeneration %}
  {%- elif message.role == "tool" -%}{{ "<|im_start|>user\n" + content + "<|im_end|>\n" }}{%- endif -%}
{%- endfor -%}"""
SMALL = {
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "vicuna": "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] ~ ' ' }}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{% for m in loop_messages %}{% if m.role == 'user' %}USER: {{ m.content | trim }} {% elif m.role == 'assistant' %}ASSISTANT: {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}",
    "alpaca": "{{ (messages|selectattr('role', 'equalto', 'system')|list|last).content|trim if (messages|selectattr('role', 'equalto', 'system')|list) else '' }}\n\n{% for message in messages %}{% if message['role'] == 'user' %}### Instruction:\n{{ message['content']|trim -}}{% if not loop.last %}{{ '\n\n' }}{% endif %}{% elif message['role'] == 'assistant' %}### Response:\n{{ message['content']|trim -}}{{ '\n\n' }}{% endif %}{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}### Response:\n{% endif %}",
    "openchat": "{{ bos_token }}{% for message in messages %}{{ 'GPT4 Correct ' + message['role'].title() + ': ' + message['content'] + '<|end_of_turn|>'}}{% endfor %}{% if add_generation_prompt %}{{ 'GPT4 Correct Assistant:' }}{% endif %}",
    "phi4": "{% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'assistant') %}{{'<|im_start|>assistant<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
    "falcon": "{% for message in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}{% if message['role'] == 'system' %}{{ 'System: ' }}{% elif message['role'] == 'user' %}{{ 'User: ' }}{% elif message['role'] == 'assistant' %}{{ 'Falcon: ' }}{% endif %}{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}{{ '\n' + 'Falcon:' }}{% endif %}",
    "internlm": "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + (message['content'] or '') + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "minicpm": "{% for message in messages %}{% if message['role'] == 'user' %}{{'<用户>' + message['content'].strip() + '<AI>'}}{% else %}{{message['content'].strip()}}{% endif %}{% endfor %}",
    "exaone": "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '[|system|][|endofturn|]\n' }}{% endif %}{{ '[|' + message['role'] + '|]' + message['content'] }}{% if message['role'] == 'user' %}{{ '\n' }}{% else %}{{ '[|endofturn|]\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}",
    "olmo": "{{ eos_token }}{%- set has_system = messages|selectattr('role', 'equalto', 'system')|list|length > 0 -%}{%- if not has_system -%}{{ '<|im_start|>system\nYou are a helpful assistant. ' }}{%- if tools is none or (tools | default([]) | length) == 0 -%}{{ 'You do not currently have access to any functions. <functions></functions>' }}{%- else -%}{{ '<functions>' + (tools | tojson) + '</functions>' }}{%- endif -%}{{ '<|im_end|>\n' }}{%- endif -%}{%- for message in messages -%}{{ '<|im_start|>' ~ message.role ~ '\n' ~ message.content }}{%- if message.tool_calls is defined and message.tool_calls -%}{{ '<function_calls>' }}{%- for c in message.tool_calls -%}{{ c.function.name ~ '(' }}{%- for k, v in c.function.arguments.items() -%}{{ k ~ '=' ~ (v | tojson) ~ (', ' if not loop.last else '') }}{%- endfor -%}{{ ')' }}{%- if not loop.last -%}{{ '\n' }}{%- endif -%}{%- endfor -%}{{ '</function_calls>' }}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}",
    "kimi": "{%- if tools -%}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson(separators=(',', ':')) }}<|im_end|>{%- endif -%}{%- for message in messages -%}{%- if loop.first and messages[0]['role'] != 'system' -%}<|im_system|>system<|im_middle|>You are Kimi<|im_end|>{%- endif -%}{%- set role_name = message.get('name') or message['role'] -%}{%- if message['role'] == 'user' -%}<|im_user|>{{role_name}}<|im_middle|>{%- elif message['role'] == 'assistant' -%}<|im_assistant|>{{role_name}}<|im_middle|>{%- else -%}<|im_system|>{{role_name}}<|im_middle|>{%- endif -%}{%- if message['role'] == 'assistant' and message.get('tool_calls') -%}{%- if message['content'] -%}{{ message['content'] }}{%- endif -%}<|tool_calls_section_begin|>{%- for tool_call in message['tool_calls'] -%}{%- set formatted_id = tool_call['id'] -%}<|tool_call_begin|>{{ formatted_id }}<|tool_call_argument_begin|>{% if tool_call['function']['arguments'] is string %}{{ tool_call['function']['arguments'] }}{% else %}{{ tool_call['function']['arguments'] | tojson }}{% endif %}<|tool_call_end|>{%- endfor -%}<|tool_calls_section_end|>{%- elif message['role'] == 'tool' -%}## Return of {{ message.tool_call_id }}\n{{ message['content'] }}{%- elif message['content'] is string -%}{{ message['content'] }}{%- elif message['content'] is not none -%}{% for content in message['content'] -%}{{ content.get('text', '?') }}{%- endfor -%}{%- endif -%}<|im_end|>{%- endfor -%}{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}",
    "minimax": "{%- set ns = namespace(tools='', n=0) -%}{%- for tool in tools|default([], true) -%}{%- set ns.tools = ns.tools ~ tool.function.name ~ ';' -%}{%- set ns.n = ns.n + 1 -%}{%- endfor -%}{{ 'ai tools=' ~ ns.tools[:-1] ~ ' n=' ~ '%02d' % ns.n }}{%- for message in messages|rejectattr('role', 'equalto', 'tool') -%}{{ '\n<beginning_of_sentence>' ~ {'user': 'user name=User', 'assistant': 'ai name=AI'}.get(message.role, 'system') ~ '\n' ~ message.content|default('', true)|trim ~ '<end_of_sentence>' }}{%- endfor -%}",
    "hunyuan": "{% set ns = namespace(has_head=true) %}{% for message in messages %}{% if loop.index0 == 0 %}{% if message['role'] == 'system' %}{% set ns.has_head = true %}{% else %}{% set ns.has_head = false %}{% endif %}{% set content = message['content'] %}{{ '<B>' }}{{ content }}{{ '<E>' if ns.has_head else '' }}{% endif %}{% if message['role'] == 'user' %}{% if loop.index0 == 1 and ns.has_head %}{{ message['content'] + '<extra_0>' }}{% else %}{{ '<B>' + message['content'] + '<extra_0>' }}{% endif %}{% elif message['role'] == 'assistant' %}{{ message['content'] + '<eos>' }}{% endif %}{% endfor %}",
}
FAMILIES = {"glm": GLM, "granite": GRANITE, "seed": SEED, "nemotron": NEMOTRON, "smol": SMOL, **SMALL,
            "chatml": CHATML, "qwen": QWEN, "llama": LLAMA, "gemma": GEMMA, "mistral": MISTRAL,
            "harmony": HARMONY, "deepseek": DEEPSEEK, "phi": PHI, "xmltools": XMLTOOLS,
            "smol3": SMOL3, "command": COMMAND, "hermes": HERMES, **MORE}
CHATS = ["chat", "sys", "turns", "noprompt", "calls", "tools", "think", "nothink", "bad"]


def run(env, template, variables):
    try:
        return {"out": env.from_string(template).render(**variables)}
    except Exception as ex:  # noqa: BLE001: whatever it is, ours must fail too
        return {"error": f"{type(ex).__name__}: {ex}"[:120]}


def gguf_template(path):
    from gguf import GGUFReader
    field = GGUFReader(path).fields.get("tokenizer.chat_template")
    return bytes(field.parts[field.data[0]]).decode() if field else None


def main():
    env = environment()
    cases = []

    def add(name, template, variables):
        cases.append({"name": name, "t": template, "v": variables, **run(env, template, VARS[variables])})

    for expr in EXPRESSIONS:
        add("expr", "{{ " + expr.replace("\\\n", "\n") + " }}", "basic")
    for text in STATEMENTS:
        add("stmt", text, "basic")
    for name, template in FAMILIES.items():
        for chat in CHATS:
            add(name, template, chat)
            cases[-1].pop("t")  # it is in "templates"
    for path in sys.argv[1:]:
        template = gguf_template(path)
        for chat in CHATS if template else []:
            add(os.path.basename(path), template, chat)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "jinja_cases.json"), "w", encoding="utf-8") as f:
        json.dump({"now": NOW, "vars": VARS, "templates": FAMILIES, "cases": cases}, f, ensure_ascii=True, indent=0)
        f.write("\n")
    failed = sum("error" in c for c in cases)
    print(len(cases), "cases,", failed, "of them errors")


if __name__ == "__main__":
    main()
