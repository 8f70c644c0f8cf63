"""The dialects of OpenAI's and Anthropic's clients on the wire: streams event by event, conversions, hostile input."""
import json
import socket
import struct
import unittest

from tests.api.harness import Server, needs

MODEL = "smollm2:135m"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 10}, "n": {"type": "integer"}},
          "required": ["city", "n"], "additionalProperties": False}


def events(data):
    """(name, parsed data) of each server-sent event; [DONE] as it is."""
    out = []
    for block in data.decode().split("\n\n"):
        name, body = None, None
        for line in block.split("\n"):
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                body = line[6:] if line == "data: [DONE]" else json.loads(line[6:])
        if body is not None:
            out.append((name, body))
    return out


@needs(MODEL, "all-minilm")
class Dialects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(models=(MODEL, "all-minilm"))
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def post(self, path, status=200, **body):
        got, data = self.server.call(path, {"model": MODEL, **body})
        self.assertEqual(got, status, data)
        return data

    def stream(self, path, **body):
        status, headers, data = self.server.request("POST", path, {"model": MODEL, "stream": True, **body})
        self.assertEqual(status, 200, data)
        self.assertEqual(headers["Content-Type"], "text/event-stream")
        return events(data)

    # ---- completions ----

    def test_completions_several_answers(self):
        answer = self.post("/v1/completions", prompt="Hi", n=3, max_tokens=3, temperature=0)
        self.assertEqual([c["index"] for c in answer["choices"]], [0, 1, 2])
        self.assertEqual(len({c["text"] for c in answer["choices"]}), 1)
        self.assertEqual(answer["usage"]["completion_tokens"], 9)

    def test_completions_logprobs(self):
        answer = self.post("/v1/completions", prompt="Hi", max_tokens=5, temperature=0, logprobs=2)
        choice = answer["choices"][0]
        p = choice["logprobs"]
        self.assertEqual("".join(p["tokens"]), choice["text"])
        self.assertEqual([len(t) for t in p["top_logprobs"]], [2] * 5)
        self.assertEqual(p["text_offset"][1], len(p["tokens"][0]))
        parts = self.stream("/v1/completions", prompt="Hi", max_tokens=5, temperature=0, logprobs=2)
        offsets = [o for _, e in parts[:-1] for c in e["choices"] if "logprobs" in c
                   for o in c["logprobs"]["text_offset"]]
        self.assertEqual(offsets, p["text_offset"])

    def test_completions_stop(self):
        whole = self.post("/v1/completions", prompt="Count to ten.", max_tokens=20, temperature=0)["choices"][0]
        stop = whole["text"][5:8]
        cut = self.post("/v1/completions", prompt="Count to ten.", max_tokens=20, temperature=0, stop=stop)
        self.assertEqual(cut["choices"][0]["text"], whole["text"][:whole["text"].index(stop)])
        self.assertEqual(cut["choices"][0]["finish_reason"], "stop")

    def test_completions_of_a_list_of_prompts(self):
        """LangChain and other clients send a list always, if only of one."""
        ask = {"max_tokens": 4, "temperature": 0}
        prompts = ["Say hello.", "Count to ten, from one."]
        alone = [self.post("/v1/completions", prompt=p, **ask) for p in prompts]
        both = self.post("/v1/completions", prompt=prompts, n=2, **ask)
        want = [(i, alone[i // 2]["choices"][0]["text"]) for i in range(4)]
        self.assertEqual([(c["index"], c["text"]) for c in both["choices"]], want)
        self.assertEqual(both["usage"]["prompt_tokens"], sum(a["usage"]["prompt_tokens"] for a in alone))
        text = ["", ""]
        for _, event in self.stream("/v1/completions", prompt=prompts, **ask)[:-1]:
            for choice in event["choices"]:
                text[choice["index"]] += choice["text"]
        self.assertEqual(text, [a["choices"][0]["text"] for a in alone])

    def test_completions_of_tokens(self):
        """Ids go to the model as they are: what the prompt of a template reads, chosen by the client."""
        ask = {"max_tokens": 4, "temperature": 0}
        status, shown = self.server.call("/api/tokenize", {"model": MODEL, "messages": [
            {"role": "user", "content": "Say hello."}]})
        self.assertEqual(status, 200, shown)
        ids = shown["tokens"]
        chat = self.post("/v1/chat/completions", messages=[{"role": "user", "content": "Say hello."}], **ask)
        for prompt in (ids, [ids]):
            answer = self.post("/v1/completions", prompt=prompt, **ask)
            self.assertEqual(answer["choices"][0]["text"], chat["choices"][0]["message"]["content"])
            self.assertEqual(answer["usage"]["prompt_tokens"], len(ids))
        both = self.post("/v1/completions", prompt=[ids, "Say hello.", ids], **ask)
        self.assertEqual(both["choices"][0]["text"], both["choices"][2]["text"])

    def test_embeddings_of_tokens(self):
        """The model's own tokens give what the text gives; those of another tokenizer are refused, not embedded."""
        def ids(text, **fields):
            return self.server.call("/api/tokenize", {"model": "all-minilm", "content": text, **fields})[1]["tokens"]

        def vectors(status=200, **fields):
            got, answer = self.server.call("/v1/embeddings", {"model": "all-minilm", **fields})
            self.assertEqual(got, status, answer)
            return [d["embedding"] for d in answer["data"]] if status == 200 else answer["error"]["message"]
        texts = ["A red fox.", "Where is the station?"]
        want = vectors(input=texts)
        tokens = [ids(t, add_special=True) for t in texts]
        self.assertEqual(vectors(input=tokens), want)
        self.assertEqual(vectors(input=tokens[0]), want[:1])
        self.assertIn("check_embedding_ctx_length", vectors(400, input=[15339, 1917]))
        self.assertIn("go from 0 to 30521", vectors(400, input=[101, 99999, 102]))
        for wrong in ([tokens[0], "text"], [[]], [1, "a"], [1, -1], [[101, 102.5]], [tokens[0], []]):
            vectors(400, input=wrong)
        status, answer = self.server.call("/api/embed", {"model": "all-minilm", "input": tokens[0]})
        self.assertEqual((status, answer["error"]), (400, "invalid input type"))

    def test_completions_bad_input(self):
        for body in ({"prompt": []}, {"prompt": ["a", 5]}, {"prompt": [[1, 2], [1, "a"]]}, {"prompt": [1, -2]}, {"prompt": [10**9]}, {"prompt": [1.5]}, {"prompt": [[]]}, {"prompt": [1] * 3, "suffix": "x"}, {"prompt": ["a", ""]},
                     {"prompt": ["a"] * 65, "n": 2}, {"prompt": ["a"] * 10**5}, {"n": 0}, {"n": 10**9}, {"n": "2"}, {"logprobs": 21}, {"logprobs": -1}, {"prompt": 5},
                     {"temperature": "hot"}, {"stream": 1}, {"max_tokens": "x"}):
            answer = self.post("/v1/completions", status=400, **{"prompt": "Hi", **body})
            self.assertEqual(answer["error"]["type"], "invalid_request_error", body)

    # ---- responses ----

    def test_responses_stream_is_complete(self):
        parts = self.stream("/v1/responses", input="Say hello.", temperature=0, max_output_tokens=30)
        names = [n for n, _ in parts]
        self.assertEqual(names[:4], ["response.created", "response.in_progress", "response.output_item.added",
                                     "response.content_part.added"])
        self.assertEqual(names[-4:-1], ["response.output_text.done", "response.content_part.done",
                                        "response.output_item.done"])
        self.assertEqual([e["sequence_number"] for _, e in parts], list(range(len(parts))))
        text = "".join(e["delta"] for n, e in parts if n == "response.output_text.delta")
        last = parts[-1][1]["response"]
        self.assertEqual(last["output"][0]["content"][0]["text"], text)
        self.assertEqual(names[-1], f"response.{last['status']}")
        whole = self.post("/v1/responses", input="Say hello.", temperature=0, max_output_tokens=30)
        self.assertEqual(whole["output"][0]["content"][0]["text"], text)
        self.assertEqual(whole["status"], last["status"])
        self.assertEqual(set(whole), set(last))
        self.assertEqual(whole["usage"]["output_tokens"], last["usage"]["output_tokens"])

    def test_responses_incomplete(self):
        parts = self.stream("/v1/responses", input="Tell a story.", max_output_tokens=2)
        self.assertEqual(parts[-1][0], "response.incomplete")
        self.assertEqual(parts[-1][1]["response"]["incomplete_details"], {"reason": "max_output_tokens"})

    def test_responses_schema(self):
        text = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}}
        answer = self.post("/v1/responses", input="Paris has how many rivers?", text=text, max_output_tokens=60)
        got = json.loads(answer["output"][0]["content"][0]["text"])
        self.assertEqual(set(got), {"city", "n"})
        self.assertEqual(answer["text"], text)

    def test_responses_conversation(self):
        """Items say the same as the messages of a chat: the prompts have the same length."""
        items = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "One."},
                 {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Two."}]},
                 {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Thr"},
                                                                 {"type": "input_text", "text": "ee."}]}]
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One."},
                    {"role": "assistant", "content": "Two."}, {"role": "user", "content": "Three."}]
        answer = self.post("/v1/responses", input=items, max_output_tokens=1)
        chat = self.post("/v1/chat/completions", messages=messages, max_tokens=1)
        self.assertEqual(answer["usage"]["input_tokens"], chat["usage"]["prompt_tokens"])
        instructed = self.post("/v1/responses", input=items[1:], instructions="Be brief.", max_output_tokens=1)
        self.assertEqual(instructed["usage"]["input_tokens"], chat["usage"]["prompt_tokens"])

    def test_responses_tool_items(self):
        items = [{"role": "user", "content": "Weather?"},
                 {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                 {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{\"at\":\"here\"}"},
                 {"type": "function_call_output", "call_id": "c1", "output": "sun"},
                 {"type": "web_search_call", "id": "w"}]
        self.assertGreater(self.post("/v1/responses", input=items, max_output_tokens=1)["usage"]["input_tokens"], 5)

    def test_responses_leave_a_search_of_the_web_out(self):
        plain = self.post("/v1/responses", input="x", max_output_tokens=1)
        offered = self.post("/v1/responses", input="x", max_output_tokens=1, tools=[{"type": "web_search"}])
        self.assertEqual(offered["usage"]["input_tokens"], plain["usage"]["input_tokens"])
        refused = self.post("/v1/responses", status=400, input="x", tools=[{"type": "file_search"}])
        self.assertIn("file_search", refused["error"]["message"])

    def test_responses_bad_input(self):
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        for body, word in (({"input": 5}, "input"), ({"input": [5]}, "input[0]"), ({"input": [[]]}, "input[0]"),
                           ({"input": [{"type": "no_such"}]}, "no_such"),
                           ({"input": [{"role": "user", "content": 5}]}, "content"),
                           ({"input": [{"role": "user", "content": [5]}]}, "content[0]"),
                           ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "file"),
                           ({"input": [{"role": "user", "content": [{"type": "input_image",
                                                                     "image_url": "http://x/y.png"}]}]}, "image"),
                           ({"input": [{"role": "user", "content": [{"type": "odd"}]}]}, "odd"),
                           ({"input": [{**call, "arguments": "{"}]}, "arguments"),
                           ({"input": [{**call, "arguments": "[]"}]}, "arguments"),
                           ({"input": [{**call, "name": ""}]}, "name"),
                           ({"input": [{"type": "function_call_output", "output": "x"}]}, "call_id"),
                           ({"instructions": 5}, "instructions"), ({"previous_response_id": "resp_1"}, "resp_1"),
                           ({"max_output_tokens": 0}, "max_output_tokens"), ({"background": True}, "background"),
                           ({"text": {"format": {"type": "xml"}}}, "xml"), ({"text": 5}, "text"),
                           ({"text": {"format": {"type": "json_schema"}}}, "schema"),
                           ({"text": {"format": {"type": "json_schema", "schema": {"type": "odd"}}}}, "odd"),
                           ({"tools": [5]}, "tools[0]"), ({"tools": [{"type": "computer"}]}, "computer"),
                           ({"tools": "x"}, "tools"), ({"stream": "x"}, "stream"), ({"temperature": "x"}, "temperature")):
            answer = self.post("/v1/responses", status=400, **{"input": "Hi", **body})
            self.assertIn(word, answer["error"]["message"], body)

    # ---- messages ----

    def test_messages_stream_is_complete(self):
        ask = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 30, "temperature": 0}
        parts = self.stream("/v1/messages", **ask)
        names = [n for n, _ in parts]
        self.assertEqual(names[:3], ["message_start", "content_block_start", "ping"])
        self.assertEqual(names[-3:], ["content_block_stop", "message_delta", "message_stop"])
        self.assertTrue(all(e["type"] == n for n, e in parts))
        text = "".join(e["delta"]["text"] for n, e in parts if n == "content_block_delta")
        whole = self.post("/v1/messages", **ask)
        self.assertEqual(whole["content"], [{"type": "text", "text": text}])
        self.assertEqual(parts[-2][1]["delta"]["stop_reason"], whole["stop_reason"])
        self.assertEqual(parts[-2][1]["usage"], whole["usage"])

    def test_messages_stop_sequence(self):
        ask = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 30, "temperature": 0}
        text = self.post("/v1/messages", **ask)["content"][0]["text"]
        stop = text[6:9]
        cut = self.post("/v1/messages", **ask, stop_sequences=["never said", stop])
        self.assertEqual((cut["stop_reason"], cut["stop_sequence"]), ("stop_sequence", stop))
        self.assertEqual(cut["content"][0]["text"], text[:text.index(stop)])
        delta = self.stream("/v1/messages", **ask, stop_sequences=[stop])[-2][1]["delta"]
        self.assertEqual(delta, {"stop_reason": "stop_sequence", "stop_sequence": stop})

    def test_messages_schema(self):
        answer = self.post("/v1/messages", messages=[{"role": "user", "content": "A city?"}], max_tokens=60,
                           output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
        self.assertEqual(set(json.loads(answer["content"][0]["text"])), {"city", "n"})

    def test_messages_blocks(self):
        """Blocks, tools' results and thinking in all their forms are read, and counted as they are."""
        messages = [{"role": "user", "content": [{"type": "text", "text": "Weather?"},
                                                 {"type": "odd_block"},
                                                 {"type": "document", "source": {"type": "text", "data": "notes"}}]},
                    {"role": "assistant", "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "I look."},
                        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"at": "here"}}]},
                    {"role": "user", "content": [
                        {"type": "text", "text": "Well?"},
                        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sun"}]}]}]
        system = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief.",
                                                    "cache_control": {"type": "ephemeral"}}]
        answer = self.post("/v1/messages", system=system, messages=messages, max_tokens=1,
                           thinking={"type": "enabled", "budget_tokens": 1024}, metadata={"user_id": "u"})
        counted = self.post("/v1/messages/count_tokens", system=system, messages=messages)
        self.assertEqual(counted, {"input_tokens": answer["usage"]["input_tokens"]})
        one = self.post("/v1/messages/count_tokens", system="Be brief.", messages=messages)
        tools = [{"name": "now", "description": "The time", "input_schema": {"type": "object"}}]
        with_tools = self.post("/v1/messages/count_tokens", system=system, messages=messages, tools=tools,
                               tool_choice={"type": "any"})
        self.assertEqual(with_tools, counted, "the model cannot use tools")
        self.assertEqual(one, counted)

    def test_a_picture_among_a_tools_results(self):
        """An agent that has read a picture file goes on; the model is told that there is one."""
        def history(*content):
            return [{"role": "user", "content": "Look."},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1",
                                                  "content": list(content)}]}]
        picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
        note = {"type": "text", "text": "[an image, which this model cannot see]"}
        seen, told = (self.post("/v1/messages/count_tokens", messages=history(*c)) for c in ([picture], [note]))
        self.assertEqual(seen, told)
        self.post("/v1/messages", status=400, max_tokens=1, messages=[{"role": "user", "content": [picture]}])
        self.post("/v1/messages", status=400, max_tokens=1,
                  messages=history({"type": "image", "source": {"type": "url", "url": "http://x/"}}))

    def test_models_as_anthropic_lists_them(self):
        status, _, data = self.server.request("GET", "/v1/models", headers={"anthropic-version": "2023-06-01"})
        answer = json.loads(data)
        self.assertEqual((status, answer["has_more"]), (200, False))
        ids = [m["id"] for m in answer["data"]]
        self.assertIn(MODEL, ids)
        self.assertEqual((answer["first_id"], answer["last_id"]), (ids[0], ids[-1]))
        status, _, data = self.server.request("GET", f"/v1/models/{MODEL}",
                                              headers={"anthropic-version": "2023-06-01"})
        one = json.loads(data)
        self.assertEqual((one["type"], one["id"], one["display_name"]), ("model", MODEL, MODEL))
        self.assertRegex(one["created_at"], r"^\d{4}-\d\d-\d\dT.*Z$")

    def test_messages_bad_input(self):
        def user(content):
            return {"messages": [{"role": "user", "content": content}]}
        for body, word in (({"messages": "x"}, "messages"), ({"messages": [5]}, "messages[0]"),
                           (user(5), "content"), (user([5]), "blocks"), (user([{"type": "text"}]), "text"),
                           (user([{"type": "text", "text": 5}]), "text"),
                           (user([{"type": "image", "source": {"type": "url", "url": "http://x"}}]),
                            "Only base64 images are supported"),
                           (user([{"type": "image", "source": {"type": "base64", "data": "AAAA"}}]), "vision"),
                           (user([{"type": "tool_use", "name": "f"}]), "'id'"),
                           (user([{"type": "tool_use", "id": "f"}]), "'name'"),
                           (user([{"type": "tool_use", "id": "f", "name": "f", "input": "x"}]), "object"),
                           (user([{"type": "document", "source": {"type": "url"}}]), "document"),
                           ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": -5}, "max_tokens"),
                           ({"max_tokens": "x"}, "max_tokens"), ({"system": 5}, "system"),
                           ({"tools": [5]}, "tools[0]"), ({"tools": [{"type": "web_search_20250305"}]}, "web"),
                           ({"tools": [{"description": "x"}]}, "name"), ({"thinking": "x"}, "thinking"),
                           ({"stop_sequences": [5]}, "stop"), ({"top_k": "x"}, "top_k")):
            ask = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, **body}
            answer = self.post("/v1/messages", status=400, **ask)
            self.assertEqual(answer["type"], "error")
            self.assertEqual(answer["error"]["type"], "invalid_request_error")
            self.assertRegex(answer["request_id"], "^req_[0-9a-f]{24}$")
            self.assertIn(word, answer["error"]["message"], body)

    # ---- all of them ----

    ROUTES = {"/v1/completions": {"prompt": "Hi", "max_tokens": 3},
              "/v1/responses": {"input": "Hi", "max_output_tokens": 3},
              "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}}

    def test_unknown_fields_are_ignored(self):
        for path, ask in self.ROUTES.items():
            self.post(path, **ask, no_such_field={"a": [1, 2]}, safety_identifier="u", service_tier="auto")

    def test_embedding_model_does_not_talk(self):
        for path, ask in self.ROUTES.items():
            self.post(path, status=400, **{**ask, "model": "all-minilm"})

    def test_broken_bodies(self):
        for path in [*self.ROUTES, "/v1/messages/count_tokens", "/api/tokenize", "/api/detokenize", "/api/estimate"]:
            for raw in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"model":5}', b'{"model":""}', b'{"a":' * 500):
                status, _, data = self.server.request("POST", path, raw=raw)
                self.assertEqual(status, 400, (path, raw, data))
                self.assertIn("error", json.loads(data))

    def test_text_that_is_no_utf8(self):
        for path, ask in self.ROUTES.items():
            raw = json.dumps({"model": MODEL, **ask}).replace("Hi", "H@i").encode().replace(b"@", b"\xff\xc3")
            status, _, data = self.server.request("POST", path, raw=raw)
            self.assertEqual(status, 200, data)

    def test_a_hundred_thousand_items(self):
        item = {"role": "user", "content": "x"}
        for path, key in (("/v1/responses", "input"), ("/v1/messages", "messages")):
            self.post(path, status=400, **{key: [item] * 100001, "max_tokens": 1})
        blocks = [{"type": "text", "text": "x "}] * 100000
        answer = self.post("/v1/messages/count_tokens", messages=[{"role": "user", "content": blocks}])
        self.assertGreater(answer["input_tokens"], 100000)

    def test_a_client_that_leaves(self):
        for path, ask in self.ROUTES.items():
            body = json.dumps({"model": MODEL, **ask, "stream": True, "max_tokens": 5000,
                               "max_output_tokens": 5000}).encode()
            with socket.create_connection(("127.0.0.1", self.server.port)) as s:
                s.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
                          .encode() + body)
                s.recv(64)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for _ in range(200):
            if not self.server.call("/api/queue")[1]["jobs"]:
                break
        self.assertEqual(self.server.call("/api/queue")[1]["jobs"], [])

    def test_errors_before_the_stream_have_a_status(self):
        for path, ask in self.ROUTES.items():
            answer = self.post(path, status=404, **{**ask, "model": "nope", "stream": True})
            self.assertIn("nope", json.dumps(answer))

    # ---- transcriptions ----

    def test_transcription(self):
        def form(**fields):
            out = b""
            for name, (head, value) in fields.items():
                out += f'--B\r\nContent-Disposition: form-data; name="{name}"{head}\r\n\r\n'.encode() + value + b"\r\n"
            return out + b"--B--\r\n"
        audio, model = ('; filename="a.wav"', b"RIFF"), ("", MODEL.encode())
        for body, status, word in ((form(file=audio, model=model), 501, "hears"), (form(file=audio), 400, "model"),
                                   (form(model=model), 400, "file"), (b"--B\r\n", 400, "form"),
                                   (form(file=('; filename="a.wav"', b""), model=model), 400, "empty"),
                                   (form(file=audio, model=("", b"nope")), 404, "nope")):
            got, _, data = self.server.request("POST", "/v1/audio/transcriptions", raw=body,
                                               headers={"Content-Type": "multipart/form-data; boundary=B"})
            self.assertEqual(got, status, data)
            self.assertIn(word, json.loads(data)["error"]["message"])


if __name__ == "__main__":
    unittest.main()
