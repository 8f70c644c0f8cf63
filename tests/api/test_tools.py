"""Tools, thinking and constrained calls on the real binary, with the official clients.

The demo model knows neither tools nor thinking: templates of known families are put over it, so that it has to say
what they say. What it says is then held to a grammar, or steered by a template that has begun the answer.
"""
import json
import os
import subprocess
import unittest

import jsonschema

from tests.api.harness import DEMO, HOB, MODELS, Server, needs, seeds

try:
    import ollama
except ImportError:
    ollama = None
try:
    import openai
except ImportError:
    openai = None

HERMES = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- if .Tools }}<|im_start|>system
You may call tools inside <tool_call></tool_call>: {{ .Tools }}<|im_end|>
{{ end }}
{{- range .Messages }}<|im_start|>{{ .Role }}
{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}
{{- range .ToolCalls }}<tool_call>{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}</tool_call>{{ end }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
# The same, but the template itself has written the first words of the answer.
BARE = HERMES.replace("<tool_call>", "").replace("</tool_call>", "")
CALLS = HERMES + "<tool_call>\n"
THINKS = HERMES + "<think>\n"

# What qwen3-coder and glm write: no JSON but marks around every argument.
CODER = BARE.replace('{"name": "', "<tool_call>\n<function=").replace('", "arguments": ', ">\n").replace(
    "}}}{{ end }}", "}}</function>\n</tool_call>{{ end }}")
GLM = BARE.replace('{"name": "', "<tool_call>").replace('", "arguments": ', "<arg_key>").replace(
    "}}}{{ end }}", "}}</arg_value></tool_call>{{ end }}")

TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a city",
    "parameters": {"type": "object", "required": ["city", "days"], "properties": {
        "city": {"type": "string", "enum": ["Rome", "Paris", "Oslo"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "units": {"$ref": "#/$defs/units"}},
        "$defs": {"units": {"enum": ["C", "F"]}}}}}
OTHER = {"type": "function", "function": {
    "name": "send_mail", "description": "Sends a mail",
    "parameters": {"type": "object", "required": ["to"], "properties": {
        "to": {"type": "string", "pattern": "^[a-z]{1,8}@example\\.org$"},
        "lines": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 2}}}}}
ANSWER = {"type": "object", "required": ["temperature", "sky"], "additionalProperties": False, "properties": {
    "temperature": {"type": "integer", "minimum": -50, "maximum": 60}, "sky": {"enum": ["clear", "clouds"]}}}
PLAIN = "smollm2:135m"


def create(server, name, template, extra=""):
    path = DEMO / MODELS[PLAIN]
    subprocess.run([HOB, "create", name, "-f", "-"], env=server.env, check=True, text=True,
                   input=f'FROM {path}\nTEMPLATE """{template}"""\n{extra}', stdout=subprocess.DEVNULL)


@needs(PLAIN)
class Tools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.__enter__()
        create(cls.server, "hermes", HERMES)
        create(cls.server, "bare", BARE)
        create(cls.server, "calls", CALLS)
        create(cls.server, "thinks", THINKS)
        for name, template in (("coder", CODER), ("glm", GLM)):
            create(cls.server, name, template)
            create(cls.server, name + "-begun", template + "<tool_call>\n")
        cls.ollama = ollama and ollama.Client(host=cls.server.url)
        cls.openai = openai and openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none")

    @classmethod
    def tearDownClass(cls):
        if cls.openai:
            cls.openai.close()
        cls.server.__exit__()

    def chat(self, model="hermes", stream=False, seed=1, **fields):
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Weather in Rome?"}],
                "options": {"temperature": 1.3, "seed": seed, "num_predict": 200}, **fields}
        if stream:
            return self.server.lines("/api/chat", body)
        return self.server.call("/api/chat", body)

    def check_call(self, call, tools=(TOOL, OTHER)):
        """A call in the native shape: known name, valid arguments."""
        known = {t["function"]["name"]: t["function"]["parameters"] for t in tools}
        self.assertRegex(call["id"], "^call_[a-z0-9]{8}$")
        self.assertIn(call["function"]["name"], known)
        jsonschema.validate(call["function"]["arguments"], known[call["function"]["name"]])

    # ---- calls ----

    def test_required_call_always_parses(self):
        names = set()
        for seed in seeds(20):
            status, answer = self.chat(seed=seed, tools=[TOOL, OTHER], tool_choice="required")
            self.assertEqual(status, 200, answer)
            self.assertEqual(answer["message"]["content"], "", answer)
            self.assertEqual(len(answer["message"]["tool_calls"]), 1, answer)
            self.check_call(answer["message"]["tool_calls"][0])
            self.assertEqual(answer["done_reason"], "stop")
            names.add(answer["message"]["tool_calls"][0]["function"]["name"])
        self.assertLessEqual({"get_weather", "send_mail"} if len(seeds(20)) == 20 else set(), names)

    def test_a_call_the_model_begins_always_parses(self):
        for seed in seeds(10):
            status, answer = self.chat("calls", seed=seed, tools=[TOOL, OTHER], parallel_tool_calls=False)
            self.assertEqual(status, 200, answer)
            self.assertEqual(len(answer["message"].get("tool_calls", [])), 1, answer)
            self.check_call(answer["message"]["tool_calls"][0])

    def test_calls_in_words_always_parse(self):
        for model, begins in (("coder", "<tool_call>\n<function="), ("glm", "<tool_call>")):
            ask = {"model": model, "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [
                {"function": {"name": "get_weather", "arguments": {}}}]}], "_debug_render_only": True, "stream": False}
            self.assertIn(begins + "get_weather", self.server.call("/api/chat", ask)[1]["_debug_info"]["rendered_template"])
            for seed in seeds(4):
                status, forced = self.chat(model, seed=seed, tools=[TOOL, OTHER], tool_choice="required")
                begun = self.chat(model + "-begun", seed=seed, tools=[TOOL, OTHER], parallel_tool_calls=False)[1]
                for answer in (forced, begun):
                    self.assertEqual(answer["message"]["content"], "", answer)
                    self.assertEqual(len(answer["message"]["tool_calls"]), 1, answer)
                    self.check_call(answer["message"]["tool_calls"][0])
            choice = {"type": "function", "function": {"name": "send_mail"}}
            status, answer = self.chat(model, tools=[TOOL, OTHER], tool_choice=choice)
            self.assertEqual(answer["message"]["tool_calls"][0]["function"]["name"], "send_mail")

    def test_named_call(self):
        choice = {"type": "function", "function": {"name": "send_mail"}}
        status, answer = self.chat(tools=[TOOL, OTHER], tool_choice=choice)
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["message"]["tool_calls"][0]["function"]["name"], "send_mail")
        status, answer = self.chat(tools=[TOOL], tool_choice=choice)
        self.assertEqual(status, 400)
        self.assertIn("send_mail", answer["error"])

    def test_a_tool_without_parameters_gets_none(self):
        for function in ({"name": "now"}, {"name": "now", "parameters": {}}, {"name": "now", "parameters": None},
                         {"name": "now", "parameters": {"type": "object", "properties": {}}}):
            for model in ("hermes", "coder"):
                status, answer = self.chat(model, tools=[{"type": "function", "function": function}], tool_choice="required")
                self.assertEqual(status, 200, answer)
                self.assertEqual(answer["message"]["tool_calls"][0]["function"]["arguments"], {}, answer)

    def test_allowed_tools(self):
        name = {"type": "function", "function": {"name": "send_mail"}}
        choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [name]}}
        for seed in seeds(4):
            status, answer = self.chat(seed=seed, tools=[TOOL, OTHER], tool_choice=choice)
            self.assertEqual(status, 200, answer)
            self.assertEqual(answer["message"]["tool_calls"][0]["function"]["name"], "send_mail")
        flat = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]}
        status, answer = self.chat("calls", tools=[TOOL, OTHER], tool_choice=flat)
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["message"]["tool_calls"][0]["function"]["name"], "get_weather")
        for wanted, wrong in (("send_mail", {"mode": "auto", "tools": [name]}),
                              ("names no tool", {"mode": "auto", "tools": []}),
                              ("mode", {"mode": "never", "tools": [name]})):
            status, answer = self.chat(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": wrong})
            self.assertEqual(status, 400)
            self.assertIn(wanted, answer["error"])

    def test_references_of_a_tool(self):
        """By anchor and by the schema's own address: both are of the tool's schema, not of what it is put into."""
        tool = {"type": "function", "function": {"name": "f", "parameters": {
            "$id": "https://example.org/f.json", "type": "object", "required": ["a", "b"], "properties": {
                "a": {"$ref": "#kind"}, "b": {"$ref": "https://example.org/f.json#/$defs/kind"}},
            "$defs": {"kind": {"$anchor": "kind", "enum": ["x", "y"]}}}}}
        status, answer = self.chat(tools=[tool], tool_choice="required")
        self.assertEqual(status, 200, answer)
        self.assertLessEqual(set(answer["message"]["tool_calls"][0]["function"]["arguments"].values()), {"x", "y"})

    def test_streamed_call(self):
        lines = self.chat(stream=True, tools=[TOOL], tool_choice="required")
        calls = [c for o in lines for c in o["message"].get("tool_calls", [])]
        self.assertEqual(len(calls), 1)
        self.assertEqual(list(calls[0]), ["id", "function"])
        self.assertEqual(list(calls[0]["function"]), ["index", "name", "arguments"])
        self.assertEqual(calls[0]["function"]["index"], 0)
        self.check_call(calls[0], [TOOL])
        self.assertTrue(lines[-1]["done"])
        self.assertNotIn("tool_calls", lines[-1]["message"])

    # ---- calls or a format ----

    def choose(self, model, first, seed, **fields):
        """An answer for which the first and the last token of `first` are likely."""
        status, found = self.server.call("/api/tokenize", {"model": model, "content": first})
        self.assertEqual(status, 200, found)
        ends = found["tokens"][:1] + found["tokens"][-1:]
        status, answer = self.server.call("/v1/chat/completions", {
            "model": model, "messages": [{"role": "user", "content": "Weather in Rome?"}], "max_tokens": 300,
            "temperature": 1.2, "seed": seed, "reasoning_effort": "none", "tools": [TOOL],
            "logit_bias": {str(t): 60 for t in ends},
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": ANSWER}}, **fields})
        self.assertEqual(status, 200, answer)
        return answer["choices"][0]

    def check_choice(self, choice):
        """Whether it is a call; else it is an answer in the format."""
        message = choice["message"]
        if message.get("tool_calls"):
            self.assertEqual((choice["finish_reason"], message["content"] or ""), ("tool_calls", ""), choice)
            self.assertEqual({c["function"]["name"] for c in message["tool_calls"]}, {"get_weather"})
            for call in message["tool_calls"]:
                jsonschema.validate(json.loads(call["function"]["arguments"]), TOOL["function"]["parameters"])
            return True
        self.assertEqual(choice["finish_reason"], "stop", choice)
        jsonschema.validate(json.loads(message["content"]), ANSWER)
        return False

    def test_a_call_or_the_format(self):
        """One grammar of both: a mark begins a call, or a call is JSON without one as the answer is."""
        for seed in range(2):
            for model, call in (("hermes", "<tool_call>"), ("bare", '{"name')):
                self.assertTrue(self.check_choice(self.choose(model, call, seed)))
                self.assertFalse(self.check_choice(self.choose(model, '{"temp', seed)))
                self.check_choice(self.choose(model, "", seed, temperature=1.9))
                self.assertTrue(self.check_choice(self.choose(model, '{"temp', seed, tool_choice="required")))
                self.assertFalse(self.check_choice(self.choose(model, call, seed, tool_choice="none")))
            self.assertTrue(self.check_choice(self.choose("calls", '{"temp', seed)))  # the template has begun it

    def test_a_call_or_the_format_after_thinking(self):
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": ANSWER}}
        self.check_choice(self.leaves_thinking(tools=[TOOL], response_format=form, max_tokens=300))

    def test_a_call_or_the_format_natively(self):
        for seed in seeds(6):
            status, answer = self.chat(seed=seed, tools=[TOOL], format=ANSWER, think=False)
            self.assertEqual(status, 200, answer)
            if answer["message"].get("tool_calls"):
                self.check_call(answer["message"]["tool_calls"][0])
            else:
                jsonschema.validate(json.loads(answer["message"]["content"]), ANSWER)

    def test_tool_choice_none(self):
        status, answer = self.chat("calls", tools=[TOOL], tool_choice="none")
        self.assertEqual(status, 200, answer)
        self.assertNotIn("tool_calls", answer["message"])

    def test_refusals(self):
        status, answer = self.chat(PLAIN, tools=[TOOL])
        self.assertEqual((status, answer["error"]), (400, f"registry.ollama.ai/library/{PLAIN} does not support tools"))
        for wanted, fields in (("tools[0]", {"tools": [1]}),
                               ("tools[0].function", {"tools": [{"type": "function"}]}),
                               ("tools[1].function.name", {"tools": [TOOL, {"function": {"name": ""}}]}),
                               ("parameters", {"tools": [{"function": {"name": "x", "parameters": []}}]}),
                               ("tool_choice", {"tools": [TOOL], "tool_choice": "sometimes"}),
                               ("tool_choice", {"tool_choice": "required"}),
                               ("not", {"tools": [{"function": {"name": "x", "strict": True, "parameters": {
                                   "type": "object", "properties": {"a": {"not": {"format": "date"}}}}}}]})):
            status, answer = self.chat(**fields)
            self.assertEqual(status, 400, answer)
            self.assertIn(wanted, answer["error"])

    def test_huge_tools(self):
        big = {"type": "function", "function": {"name": "big", "parameters": {"type": "object", "properties": {
            f"p{i}": {"type": "string", "description": "x" * 900} for i in range(1100)}}}}
        status, answer = self.chat(tools=[big], options={"num_predict": 2, "num_ctx": 512})
        self.assertIn(status, (200, 400), answer)
        big["function"]["description"] = "y" * (5 << 20)
        status, answer = self.chat(tools=[big])
        self.assertEqual(status, 400)
        self.assertIn("tools", answer["error"])

    def test_results_come_back(self):
        messages = [{"role": "user", "content": "Weather?"},
                    {"role": "assistant", "content": "", "thinking": "Need it.", "tool_calls": [
                        {"function": {"name": "get_weather", "arguments": {"days": 1, "city": "Rome"}}}]},
                    {"role": "tool", "tool_name": "get_weather", "content": "sunny"}]
        status, answer = self.server.call("/api/chat", {"model": "hermes", "stream": False, "messages": messages,
                                                        "tools": [TOOL], "_debug_render_only": True})
        self.assertEqual(status, 200, answer)
        text = answer["_debug_info"]["rendered_template"]
        self.assertIn('<think>Need it.</think><tool_call>{"name": "get_weather", "arguments": '
                      '{"days":1,"city":"Rome"}}</tool_call>', text)
        self.assertIn("<|im_start|>tool\nsunny", text)

    # ---- thinking ----

    def test_thinking_is_separated(self):
        status, answer = self.chat("thinks", options={"num_predict": 12})
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["message"]["content"], "")
        self.assertTrue(answer["message"]["thinking"])
        self.assertEqual(list(answer["message"]), ["role", "content", "thinking"])
        lines = self.chat("thinks", stream=True, options={"num_predict": 12})
        self.assertTrue("".join(o["message"].get("thinking", "") for o in lines))
        status, answer = self.server.call("/api/generate", {"model": "thinks", "prompt": "Hi", "stream": False,
                                                            "options": {"num_predict": 12}})
        self.assertEqual((status, answer["response"]), (200, ""))
        self.assertTrue(answer["thinking"])

    def test_thinking_refused(self):
        status, answer = self.chat(PLAIN, think=True)
        self.assertEqual((status, answer["error"]), (400, f'"{PLAIN}" does not support thinking'))
        status, answer = self.chat("hermes", think="enormous")
        self.assertEqual(status, 400)
        self.assertIn('invalid think value: "enormous"', answer["error"])

    def test_effort_has_one_rule(self):
        """In both of OpenAI's dialects: a model that cannot think may be asked not to, and for nothing else."""
        def chat(model, effort):
            return self.server.call("/v1/chat/completions", {
                "model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}],
                **({"reasoning_effort": effort} if effort else {})})

        def nested(model, effort):
            return self.server.call("/v1/chat/completions", {
                "model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}],
                "reasoning": {"effort": effort}})

        def responses(model, effort):
            return self.server.call("/v1/responses", {"model": model, "max_output_tokens": 2, "input": "Hi",
                                                      "reasoning": {"effort": effort}})
        for ask in (chat, nested, responses):
            for model, effort, want in ((PLAIN, None, 200), (PLAIN, "none", 200), (PLAIN, "minimal", 400),
                                        (PLAIN, "high", 400), ("hermes", "high", 200), ("hermes", "none", 200),
                                        ("hermes", "some", 400), (PLAIN, "some", 400)):
                status, answer = ask(model, effort)
                self.assertEqual(status, want, (ask.__name__, model, effort, answer))
                if want == 400:
                    self.assertIn("invalid reasoning" if effort == "some" else "does not support thinking",
                                  answer["error"]["message"])

    def leaves_thinking(self, model="thinks", **fields):
        """Asks with biases that make the model write </think> at once (three tokens of this vocabulary)."""
        status, found = self.server.call("/api/tokenize", {"model": model, "content": "</think>"})
        self.assertEqual((status, len(found["tokens"])), (200, 3))
        status, answer = self.server.call("/v1/chat/completions", {
            "model": model, "messages": [{"role": "user", "content": "Weather in Rome?"}], "max_tokens": 120,
            "temperature": 0, "logit_bias": {str(t): 30 for t in found["tokens"]}, **fields})
        self.assertEqual(status, 200, answer)
        return answer["choices"][0]

    def test_format_after_thinking(self):
        """One pass: free while the model thinks, held to the schema from there on."""
        schema = {"type": "object", "required": ["city"], "properties": {"city": {"enum": ["Rome", "Paris"]}}}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        for model in ("thinks", "hermes"):  # the template opens the thinking, or the server does
            choice = self.leaves_thinking(model, response_format=form)
            self.assertEqual(choice["finish_reason"], "stop")
            jsonschema.validate(json.loads(choice["message"]["content"]), schema)
        for seed in seeds(4):
            status, answer = self.chat("hermes", seed=seed, format=schema, think=False)
            self.assertEqual(status, 200, answer)
            jsonschema.validate(json.loads(answer["message"]["content"]), schema)

    def test_required_call_after_thinking(self):
        choice = self.leaves_thinking(tools=[TOOL], tool_choice="required")
        self.assertEqual(choice["finish_reason"], "tool_calls", choice)
        jsonschema.validate(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]),
                            TOOL["function"]["parameters"])

    # ---- the clients ----

    def test_what_a_template_adds_is_shown(self):
        """`show` and `tags` agree; programs ask either before they send tools."""
        listed = {m["name"]: m["capabilities"] for m in self.server.call("/api/tags")[1]["models"]}
        for name, want in (("hermes", ["completion", "tools", "thinking"]), (PLAIN, ["completion"])):
            for verbose in (False, True):
                status, shown = self.server.call("/api/show", {"model": name, "verbose": verbose})
                self.assertEqual((status, shown["capabilities"]), (200, want))
            self.assertEqual(listed.get(f"{name}:latest", listed.get(name)), want)

    @unittest.skipUnless(openai, "no openai client")
    def test_openai_client_allows_tools(self):
        name = {"type": "function", "function": {"name": "send_mail"}}
        answer = self.openai.chat.completions.create(
            model="hermes", messages=[{"role": "user", "content": "Weather?"}], tools=[TOOL, OTHER], seed=2,
            tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [name]}})
        self.assertEqual([c.function.name for c in answer.choices[0].message.tool_calls], ["send_mail"])
        flat = [{"type": "function", **t["function"]} for t in (TOOL, OTHER)]
        answer = self.openai.responses.create(
            model="hermes", input="Weather?", tools=flat, max_output_tokens=200,
            tool_choice={"type": "allowed_tools", "mode": "required",
                         "tools": [{"type": "function", "name": "send_mail"}]})
        self.assertEqual([o.name for o in answer.output if o.type == "function_call"], ["send_mail"])

    @unittest.skipUnless(ollama, "no ollama client")
    def test_ollama_client(self):
        answer = self.ollama.chat("hermes", [{"role": "user", "content": "Weather?"}], tools=[TOOL], options={"seed": 1})
        self.assertTrue(answer.message.content or answer.message.tool_calls)
        tool = json.loads(json.dumps(TOOL))
        del tool["function"]["parameters"]["properties"]["units"]  # the client drops $ref: anything, without an end
        parts = list(self.ollama.chat("calls", [{"role": "user", "content": "Weather?"}], tools=[tool], stream=True,
                                      options={"seed": 3, "num_predict": 200}))
        calls = [c for p in parts for c in p.message.tool_calls or []]
        self.assertGreaterEqual(len(calls), 1)
        self.assertEqual(calls[0].function.name, "get_weather")
        self.assertIn(calls[0].function.arguments["city"], ("Rome", "Paris", "Oslo"))

    @unittest.skipUnless(openai, "no openai client")
    def test_openai_client(self):
        answer = self.openai.chat.completions.create(
            model="hermes", messages=[{"role": "user", "content": "Weather?"}], tools=[TOOL, OTHER],
            tool_choice={"type": "function", "function": {"name": "get_weather"}}, seed=4)
        choice = answer.choices[0]
        self.assertEqual(choice.finish_reason, "tool_calls")
        self.assertEqual(choice.message.tool_calls[0].type, "function")
        jsonschema.validate(json.loads(choice.message.tool_calls[0].function.arguments), TOOL["function"]["parameters"])
        follow = self.openai.chat.completions.create(model="hermes", max_completion_tokens=4, messages=[
            {"role": "user", "content": "Weather?"}, choice.message,
            {"role": "tool", "tool_call_id": choice.message.tool_calls[0].id, "content": "sunny"}])
        self.assertLessEqual(follow.usage.completion_tokens, 4)

    @unittest.skipUnless(openai, "no openai client")
    def test_openai_stream(self):
        stream = self.openai.chat.completions.create(
            model="hermes", messages=[{"role": "user", "content": "Weather?"}], tools=[TOOL], tool_choice="required",
            stream=True, stream_options={"include_usage": True}, seed=5)
        chunks = list(stream)
        calls = [c for k in chunks if k.choices for c in k.choices[0].delta.tool_calls or []]
        self.assertEqual([c.index for c in calls], [0])
        json.loads(calls[0].function.arguments)
        self.assertEqual([k.choices[0].finish_reason for k in chunks if k.choices][-1], "tool_calls")
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    @unittest.skipUnless(openai, "no openai client")
    def test_openai_several_answers(self):
        say = dict(model=PLAIN, messages=[{"role": "user", "content": "A word."}], max_tokens=6, temperature=1.5, seed=1)
        answer = self.openai.chat.completions.create(n=3, **say)
        self.assertEqual([c.index for c in answer.choices], [0, 1, 2])
        self.assertGreater(len({c.message.content for c in answer.choices}), 1)
        self.assertLessEqual(answer.usage.completion_tokens, 18)
        chunks = list(self.openai.chat.completions.create(n=2, stream=True, **say))
        self.assertEqual({k.choices[0].index for k in chunks}, {0, 1})
        ends = [k.choices[0].index for k in chunks if k.choices[0].finish_reason]
        self.assertEqual(sorted(ends), [0, 1])

    def test_logit_bias(self):
        def ask(**fields):
            return self.server.call("/v1/chat/completions", {
                "model": PLAIN, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 3,
                "temperature": 0, **fields})
        status, answer = ask(logit_bias={"28120": 100})
        self.assertEqual(status, 200, answer)
        text = answer["choices"][0]["message"]["content"]
        self.assertEqual(len(set(text[i:i + len(text) // 3] for i in range(0, len(text), len(text) // 3))), 1, text)
        for bad in ({"x": 1}, {"5": 101}, {"5": "much"}, {"-1": 0}):
            status, answer = ask(logit_bias=bad)
            self.assertEqual(status, 400, answer)
            self.assertIn("logit_bias", answer["error"]["message"])

    def test_openai_extras(self):
        status, answer = self.server.call("/v1/chat/completions", {
            "model": PLAIN, "messages": [{"role": "user", "content": "Say hello."}], "max_completion_tokens": 2,
            "options": {"num_ctx": 256, "temperature": 0}, "keep_alive": "1m"})
        self.assertEqual(status, 200, answer)
        self.assertLessEqual(answer["usage"]["completion_tokens"], 2)
        _, ps = self.server.call("/api/ps")
        self.assertIn(256, [m["context_length"] for m in ps["models"]])
        status, answer = self.server.call("/v1/chat/completions", {
            "model": PLAIN, "messages": [{"role": "user", "content": "x"}], "n": 1000})
        self.assertEqual(status, 400)


if __name__ == "__main__":
    unittest.main()
