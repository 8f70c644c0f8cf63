"""Replays what Ollama itself was asked and compares the answers.

recorded/ollama.jsonl holds its requests and answers. Compared: status, content type, and the shape of every
JSON object: field names, their order, their types; error texts word for word. DIFFERENCES lists what differs on
purpose, with the reason; a difference that no longer shows is a failure too, so that the list stays true.
"""
import json
import unittest
from pathlib import Path

from tests.api.harness import MODELS, Server, needs

RECORDED = Path(__file__).parent / "recorded" / "ollama.jsonl"

# Pictures Ollama has given up.
LATER = ("/v1/images",)

# name of the request -> (what differs: a path into the answer, "status" or "all", reason)
DETECTED = ("fields", "no Go template is guessed for the file, so there are no stop parameters of one")
RUNNER_TEXT = ("error", "an error text of the program that Ollama runs; ours names the model and the way out")
GO_TEXT = ("error", "Go's decoder text; ours names the field and both types")
CLOSED = ("error", "the same up to the address; then libcurl's words for a proxy that is closed")
CUT = "OpenAI's own servers and clients call an answer that was cut incomplete and say why"
DIFFERENCES = {
    "generate: model wrong type": GO_TEXT,
    "generate: prompt wrong type": GO_TEXT,
    "generate: body not JSON": GO_TEXT,
    "generate: array": GO_TEXT,
    "chat: content array": GO_TEXT,
    "openai chat: temperature string": GO_TEXT,
    "openai completions: list": ("status", "a list of prompts is answered, as OpenAI's clients expect"),
    "responses: plain": ("incomplete_details", CUT),
    "responses: items": ("incomplete_details", CUT),
    "responses: stream": ("response.incomplete_details", CUT),
    "responses: previous id": ("status", "refused: the answer would be to half of a conversation"),
    "anthropic count_tokens": ("status", "it was not there"),
    "anthropic messages: stop": ("fields", "stop_sequence says which one, as Anthropic's clients expect"),
    "show: ok": DETECTED,
    "show: by name field": DETECTED,
    "show: system override": DETECTED,
    "show: created with messages": DETECTED,
    "show: verbose": ("fields", "an embedding model has no template"),
    "generate: repeat_last_n -1": ("status", "-1 means the whole context, as documented; the recorded runner refused it"),
    "generate: long prompt no truncate": RUNNER_TEXT,
    "generate: images on a text model": RUNNER_TEXT,
    "chat: images on text model": RUNNER_TEXT,
    "embed: chat model": ("status", "400: the request is at fault; nothing of the server is missing"),
    "blob POST": ("status", "the server that was recorded had the blob already"),
    "create: source missing": CLOSED,
    "pull: no network": CLOSED,
    "pull: stream": CLOSED,
    "push: no namespace": CLOSED,
    "pull: insecure http": ("error", "addresses of the own network are refused unless they are listed"),
    "push: missing": ("error", "the path is that of our own store"),
    "create: bad file digest": ("error", "no path of the server in a message"),
}

# These show only where the sampled text meets its stop sequence or its limit.
NOT_ALWAYS = ("anthropic messages: stop", "responses: plain", "responses: items", "responses: stream")

# Sampled text differs, so an answer may end a token earlier or later than its limit.
ENDS_ELSEWHERE = "stop or length"


def said(answer):
    """All generated text in an answer, or in a stream's objects."""
    if isinstance(answer, dict):
        return "".join(answer[k] if isinstance(answer[k], str) else said(answer[k]) for k in answer
                       if k in ("response", "content", "text") or isinstance(answer[k], (dict, list)))
    return "".join(said(v) for v in answer) if isinstance(answer, list) else ""


def kind(v):
    if isinstance(v, bool):
        return "bool"
    if isinstance(v, (int, float)):
        return "number"
    return {str: "string", list: "array", dict: "object", type(None): "null"}[type(v)]


def compare(want, got, path, out):
    """Appends (path, text) for every difference of shape."""
    if kind(want) != kind(got):
        out.append((path, f"type {kind(want)} wanted, got {kind(got)}: {json.dumps(got)[:200]}"))
    elif isinstance(want, dict):
        if list(want) != list(got):
            out.append((path or "fields", f"fields {list(want)} wanted, got {list(got)}"))
        for key in want:
            if key in got:
                compare(want[key], got[key], f"{path}.{key}" if path else key, out)
    elif isinstance(want, list):
        items = [v for v in want if not (isinstance(v, str) and " in all" in v)]
        if bool(items) != bool(got):
            out.append((path, f"{len(want)} items wanted, got {len(got)}"))
        elif items and isinstance(items[0], (dict, list)):
            compare(items[0], got[0], f"{path}[0]", out)
            compare(items[-1], got[-1], f"{path}[-1]", out)
    elif {want, got} == {"stop", "length"} and path.endswith("_reason"):
        out.append((path, ENDS_ELSEWHERE))
    elif path.split(".")[-1] in ("error", "message", "done_reason", "finish_reason", "object", "role") \
            and want != got:
        out.append((path, f"{want!r} wanted, got {got!r}"))


def expand(value):
    """Undoes the recording's shortening of long prompts."""
    if isinstance(value, str) and value.endswith(" characters") and " ... " in value:
        text, _, n = value.rpartition(" ... ")
        n = int(n.split()[0])
        word = text.split()[0] + " "
        return (word * (n // len(word) + 1))[:n]
    if isinstance(value, dict):
        return {k: expand(v) for k, v in value.items()}
    return value


def stream_of(response):
    if "lines" in response:
        return response["lines"]
    if "events" in response:
        return parse_stream("\n\n".join(response["events"]).encode())
    return None


def parse_stream(data):
    """The data of each line or event; an event's name must be the type in its data."""
    out, name = [], None
    for line in data.decode().split("\n"):
        line = line.removeprefix("data: ").strip()
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line:
            out.append(line)
            if name and json.loads(line)["type"] != name:
                raise AssertionError(f"event {name}: {line}")
            name = None
    return out


def objects(lines):
    """A stream's lines, parsed, without the recording's mark of left-out ones."""
    lines = [line for line in lines if "in all" not in str(line)[:40]]
    return [json.loads(line) if isinstance(line, str) and line != "[DONE]" else line for line in lines]


def compare_streams(want, got, out):
    """First, second and last objects of both streams; [DONE] where it is wanted. A busy server says several tokens
    at once: a stream may be as short as its first and last object."""
    if (want[-1] == "[DONE]") != (got[-1] == "[DONE]"):
        out.append(("stream", f"[DONE] wanted {want[-1] == '[DONE]'}, got {got[-1]!r}"))
    want, got = [w for w in want if w != "[DONE]"], [g for g in got if g != "[DONE]"]
    for i in (0, 1, -2, -1):
        if min(len(want), len(got)) > (0 if i in (0, -1) else 3):
            compare(want[i], got[i], "", out)


class Replay(unittest.TestCase):
    pass


def make_test(index, record):
    name, request, response = record["name"], record["request"], record["response"]

    def test(self):
        # recorded as Latin-1 where it is not UTF-8
        raw = request["raw"].encode("latin-1") if "raw" in request else None
        status, headers, data = SERVER.request(request["method"], request["path"], expand(request.get("json")),
                                               raw, request.get("headers"))
        found, wanted, got = [], None, None
        if status != response["status"]:
            found.append(("status", f"{response['status']} wanted, got {status} {data[:300]!r}"))
        else:
            want_type = response["headers"].get("content-type", "").split(";")[0]
            if want_type and headers.get("Content-Type", "").split(";")[0] != want_type \
                    and not (want_type == "application/json" and status >= 400):
                found.append(("content-type", f"{want_type} wanted, got {headers.get('Content-Type')}"))
            if "json" in response:
                wanted, got = response["json"], json.loads(data)
                compare(wanted, got, "", found)
            elif stream_of(response) is not None:
                wanted, got = objects(stream_of(response)), objects(parse_stream(data))
                compare_streams(wanted, got, found)
            elif response.get("body") != data.decode():
                found.append(("body", f"{response.get('body')!r} wanted, got {data[:200]!r}"))
        if said(wanted) != said(got):
            found = [f for f in found if f[1] != ENDS_ELSEWHERE]
        allowed = DIFFERENCES.get(name)
        if allowed is None:
            self.assertEqual(found, [], f"\n{json.dumps(request)[:400]}\n{data[:600]!r}")
        else:
            left = [f for f in found if allowed[0] != "all" and not f[0].startswith(allowed[0])]
            self.assertEqual(left, [], f"beyond the difference meant ({allowed[1]})")
            if name not in NOT_ALWAYS:
                self.assertNotEqual(found, [], f"no longer differs: take {name!r} out of DIFFERENCES")

    test.__doc__ = name
    setattr(Replay, f"test_{index:03d}", test)


for i, line in enumerate(RECORDED.read_text().splitlines()):
    record = json.loads(line)
    if "request" in record and not record["request"]["path"].startswith(LATER):
        make_test(i, record)

SERVER = None


def setUpModule():
    global SERVER
    SERVER = Server(models=("smollm2:135m", "all-minilm", "gemma3:270m"),
                    env={"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""})  # as it was recorded
    SERVER.__enter__()


def tearDownModule():
    SERVER.__exit__()


Replay = needs(*MODELS)(Replay)

if __name__ == "__main__":
    unittest.main()
