"""Replays what ComfyUI itself was asked (tests/api/recorded/comfyui-*.jsonl) and compares the answers.

Compared: statuses, content types, the shape of JSON, refused prompts' errors as they are, and the order and shape of
WebSocket messages. Left out: times, ids, sizes, tracebacks.
"""
import json
import unittest
from pathlib import Path

from tests.api.pictures import PictureServer, make_png, needs_checkpoint

RECORDED = Path(__file__).parent / "recorded"
CHECKPOINT = "tiny-random-sd1.safetensors"  # the recording's name; here it is the demo checkpoint
# Where hob follows the newer API or improves on a fault; the value is our status.
OTHER_STATUS = {"GET /global_subgraphs": 200, "GET /node_replacements": 200, "GET /api/jobs": 200,
                "after: GET /api/jobs/ID": 200, "after: GET /api/jobs?limit=1": 200,
                "GET /view_metadata/checkpoints": None,  # the demo checkpoint has some
                "prompt: no body": 400, "prompt: not JSON": 400, "cross-site fetch": 403}
# 0.3.64 called an unknown class invalid_prompt; later versions name it.
OTHER_TYPE = {"prompt: unknown class": "missing_node_type", "prompt: class missing": "missing_node_type"}


def read(name):
    return [json.loads(line) for line in (RECORDED / name).read_text().splitlines()]


def shape(value, depth=0):
    """Types and keys of a JSON value; lists by their first element."""
    if isinstance(value, dict):
        return {k: shape(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0], depth + 1)] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def without(value, *keys):
    if isinstance(value, dict):
        return {k: without(v, *keys) for k, v in value.items() if k not in keys}
    return [without(v, *keys) for v in value] if isinstance(value, list) else value


@needs_checkpoint
class Replay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PictureServer(checkpoints=(CHECKPOINT,))
        cls.server.start()
        cls.server.request("POST", "/userdata/workflows%2Fx.json", raw=b"{}")
        cls.server.request("DELETE", "/userdata/workflows%2Fx.json")
        cls.ids = {}

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def ask(self, r):
        """Our answer to a recorded request: (status, headers, JSON or bytes)."""
        path = r["path"]
        for theirs, ours in self.ids.items():
            path = path.replace(theirs, ours)
        path = path.replace("rec_00013_", "rec_00001_")
        if "form" in r:
            files = {k: (v, make_png() + b"x" * len(self.ids)) for k, v in r["form"].items() if k == "image"}
            status, data = self.server.upload(path, {k: v for k, v in r["form"].items() if k != "image"}, files)
            return status, {}, data
        raw = r["raw"].encode() if "raw" in r else None
        status, headers, data = self.server.request(r["method"], path, r.get("json"), raw, r.get("headers"))
        is_json = "json" in (headers.get("Content-Type") or "")
        return status, headers, json.loads(data) if is_json and data else data

    def compare_prompt(self, name, theirs, ours):
        if theirs["status"] == 200:
            self.ids[theirs["json"]["prompt_id"]] = ours["prompt_id"]
            self.assertEqual(ours["node_errors"], theirs["json"]["node_errors"])
            return
        if "json" not in theirs:
            self.assertIn("error", ours)
            return
        want, got = theirs["json"], ours
        self.assertEqual(got["error"]["type"], OTHER_TYPE.get(name, want["error"]["type"]))
        self.assertEqual(set(got["error"]), set(want["error"]))
        if name == "prompt: cycle":  # 0.3.64 said nothing more; later versions name the cycle
            self.assertEqual(got["node_errors"]["3"]["errors"][0]["type"], "dependency_cycle")
            return
        self.assertEqual(without(got["node_errors"], "traceback"), without(want["node_errors"], "traceback"))

    def test_http(self):
        for record in read("comfyui-http.jsonl"):
            name, theirs = record["name"], record["response"]
            with self.subTest(name, path=record["request"]["path"]):
                status, headers, ours = self.ask(record["request"])
                expected = OTHER_STATUS.get(name, theirs["status"])
                if expected:
                    self.assertEqual(status, expected, ours)
                if name.startswith("prompt:"):
                    self.compare_prompt(name, theirs, ours)
                elif "json" in theirs and name not in OTHER_STATUS and theirs["json"] != "long, left out":
                    self.compare_json(record, theirs["json"], ours)
                if isinstance(ours, dict) and name == "prompt: fails while running":
                    for job in self.ids.values():
                        self.server.wait(job)

    def compare_json(self, record, want, got):
        path = record["request"]["path"]
        if "system_stats" in path:
            self.assertLessEqual(set(want["system"]), set(got["system"]))
            self.assertEqual(set(got["devices"][0]), set(want["devices"][0]))
        elif "object_info" in path or "history" in path:
            if not want or not got:  # nothing ran before us
                return
            (_, theirs), = want.items()
            (_, ours), = got.items()
            if "KSampler" not in path and "LoadImage" not in path:
                self.assertEqual(set(ours), set(theirs))
                self.assertEqual(ours["prompt"][2].keys(), theirs["prompt"][2].keys())
                self.assertEqual(ours["prompt"][4], theirs["prompt"][4])
                self.assertEqual(shape(ours["outputs"]), shape(theirs["outputs"]))
                self.assertEqual(without(ours["meta"]), theirs["meta"])
                self.assertEqual([m[0] for m in ours["status"]["messages"]], [m[0] for m in theirs["status"]["messages"]])
            elif "KSampler" in path:
                self.assertEqual(ours["input_order"], theirs["input_order"])
        elif path in ("/models", "/internal/folder_paths", "/experiment/models", "/features"):
            names = lambda v: {e["name"] for e in v} if path == "/experiment/models" else set(v)
            self.assertLessEqual(names(want), names(got))
        elif isinstance(want, dict) and "settings" not in path:
            self.assertEqual(set(got), set(want))
        elif isinstance(want, list) and want and isinstance(want[0], dict):
            self.assertLessEqual(set(want[0]), set(got[0]))
        else:
            self.assertEqual(type(got), type(want))

    # The recorded prompts of comfyui-socket.jsonl, in their order.
    PROMPTS = {"runs": "prompt: runs", "all cached": "prompt: all cached", "half cached, preview":
               "prompt: half cached, preview", "own id": "prompt: own id", "fails while running":
               "prompt: fails while running"}

    @staticmethod
    def essence(messages, prompt_id):
        """(type, what matters of the data) of the messages of one prompt."""
        out = []
        for m in messages:
            data = m.get("data", {})
            if data.get("prompt_id") != prompt_id or data.get("node", 0) is None:
                continue
            if m["type"] == "progress_state":
                what = {k: (n["value"], n["max"], n["state"]) for k, n in data["nodes"].items()}
            elif m["type"] == "execution_cached":
                what = sorted(data["nodes"])
            elif m["type"] == "execution_error":
                what = (data["node_id"], data["node_type"], data["executed"], sorted(data))
            elif m["type"] == "executed":
                what = (data["node"], shape(data["output"]))
            else:
                what = {k: v for k, v in data.items() if k not in ("prompt_id", "timestamp")}
            out.append((m["type"], what))
        return out

    def test_socket(self):
        requests = {r["name"]: r["request"]["json"] for r in read("comfyui-http.jsonl") if r["name"].startswith("prompt:") and
                    "json" in r["request"]}
        warm = json.loads(json.dumps(requests["prompt: runs"]))
        warm["prompt"]["3"]["inputs"]["seed"] = 1
        self.server.wait(self.server.call("/prompt", warm)[1]["prompt_id"])
        for record in read("comfyui-socket.jsonl"):
            with self.subTest(record["name"]):
                body = dict(requests[self.PROMPTS[record["name"]]], client_id="rec1")
                with self.server.socket("rec1", {"supports_preview_metadata": False}) as ws:
                    self.assertEqual(ws.next()["data"]["sid"], "rec1")
                    self.assertEqual(ws.next()["type"], "feature_flags")
                    status, answer = self.server.call("/prompt", body)
                    self.assertEqual(status, 200, answer)
                    ours = [m for m in ws.until(answer["prompt_id"]) if isinstance(m, dict)]
                theirs_id = next(m["data"]["prompt_id"] for m in record["messages"] if m["type"] == "execution_start")
                self.assertEqual(self.essence(ours, answer["prompt_id"]), self.essence(record["messages"], theirs_id))
                # put, get, (the run), done, and only then `executing` null
                self.assertEqual([m["type"] for m in ours[:3]], ["status", "status", "execution_start"])
                self.assertEqual([m["type"] for m in ours[-2:]], ["status", "executing"])


if __name__ == "__main__":
    unittest.main()
