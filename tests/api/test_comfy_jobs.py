"""Picture jobs against the real binary: messages, history, priorities, interrupts, restarts, bad graphs."""
import base64
import json
import math
import resource
import signal
import time
import unittest
import urllib.parse

from tests.api.pictures import (PictureServer, make_png, needs_checkpoint, png_chunks, png_size, text_to_image)


@needs_checkpoint
class Jobs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PictureServer()
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def picture(self, entry, node="9"):
        item = entry["outputs"][node]["images"][0]
        return self.server.request("GET", "/view?" + urllib.parse.urlencode(item))[2]

    def test_picture_with_its_workflow(self):
        graph = text_to_image(seed=2**64 - 1, prefix="sub/%width%x%height% %date:yyyy%")
        workflow = {"id": "w1", "nodes": [1]}
        job = self.server.queue(graph, extra_data={"extra_pnginfo": {"workflow": workflow}, "auth_token_comfy_org": "s"})
        entry = self.server.wait(job)
        self.assertEqual(entry["status"]["status_str"], "success")
        self.assertNotIn("auth_token_comfy_org", entry["prompt"][3])
        item = entry["outputs"]["9"]["images"][0]
        self.assertEqual(item["subfolder"], "sub")
        self.assertEqual(item["filename"], time.strftime("128x128 %Y_00001_.png"))
        data = self.picture(entry)
        self.assertEqual(png_size(data), (128, 128))
        texts = dict(body.split(b"\0", 1) for kind, body in png_chunks(data) if kind == "tEXt")
        self.assertEqual(int(json.loads(texts[b"prompt"])["3"]["inputs"]["seed"]), 2**64 - 1)
        self.assertEqual(json.loads(texts[b"workflow"]), workflow)
        listed = self.server.call("/api/jobs?workflow_id=w1")[1]
        self.assertEqual([(j["id"], j["status"], j["outputs_count"]) for j in listed["jobs"]], [(job, "completed", 1)])
        self.assertEqual(listed["jobs"][0]["preview_output"]["mediaType"], "images")
        whole = self.server.call(f"/api/jobs/{job}")[1]
        self.assertEqual(whole["outputs"], entry["outputs"])
        self.assertIn("3", whole["workflow"]["prompt"])

    def test_two_sockets_and_previews(self):
        with self.server.socket("pair", {"supports_preview_metadata": True}) as one, \
                self.server.socket("pair") as two, self.server.socket("other") as other:
            job = self.server.queue(text_to_image(seed=3, steps=4), client_id="pair",
                                    extra_data={"preview_method": "latent2rgb", "metadata": {"workflow_id": "x"}})
            first, second = one.until(job), two.until(job)
            kinds = lambda messages: [m["type"] for m in messages if isinstance(m, dict) and m["type"] != "status"]
            self.assertEqual([k for k in kinds(first) if k != "feature_flags"], kinds(second))
            rich = [m for m in first if isinstance(m, bytes)]
            plain = [m for m in second if isinstance(m, bytes)]
            self.assertTrue(rich and plain)
            self.assertEqual(rich[0][:4], b"\0\0\0\4")
            n = int.from_bytes(rich[0][4:8], "big")
            about = json.loads(rich[0][8:8 + n])
            self.assertEqual((about["prompt_id"], about["node_id"], about["workflow_id"]), (job, "3", "x"))
            self.assertEqual(plain[0][:8], b"\0\0\0\1\0\0\0\1")
            self.assertEqual(plain[0][8:10], b"\xff\xd8")  # a JPEG
            self.assertEqual(rich[0][8 + n:10 + n], b"\xff\xd8")
            self.server.call("/interrupt", {})
            done = self.server.queue(text_to_image(seed=3, steps=4), client_id="other")
            self.assertNotIn("pair", json.dumps([m for m in other.until(done) if isinstance(m, dict)]))

    def test_previews_are_off_unless_asked_for(self):
        with self.server.socket("quiet") as ws:
            job = self.server.queue(text_to_image(seed=4, steps=3), client_id="quiet")
            self.assertFalse([m for m in ws.until(job) if isinstance(m, bytes)])

    def test_order_and_deletion(self):
        slow = self.server.queue(text_to_image(seed=5, steps=60))
        late = self.server.queue(text_to_image(seed=6, steps=1))
        front = self.server.queue(text_to_image(seed=7, steps=1), front=True)
        gone = self.server.queue(text_to_image(seed=8, steps=1), number=-1e6)
        queue = self.server.call("/queue")[1]
        self.assertEqual([q[1] for q in queue["queue_pending"]], [gone, front, late])
        self.assertEqual(self.server.call("/prompt")[1]["exec_info"]["queue_remaining"], 4)
        self.server.call("/queue", {"delete": [gone, "unknown"]})
        self.assertEqual(self.server.call(f"/history/{late}")[1], {})
        state = self.server.call(f"/history/{late}?state=true")[1]
        self.assertEqual(state[late]["status"]["status_str"], "pending")
        self.assertEqual(self.server.call("/history/unknown?state=true")[0], 404)
        self.server.call("/interrupt", {"prompt_id": late})  # it does not run: nothing happens
        self.server.call("/interrupt", {"prompt_id": slow})
        entry = self.server.wait(slow)
        self.assertEqual(entry["status"]["status_str"], "error")
        self.assertEqual(entry["status"]["messages"][-1][0], "execution_interrupted")
        order = [self.server.wait(j)["status"]["messages"][0][1]["timestamp"] for j in (front, late)]
        self.assertLess(*order)
        self.assertEqual(self.server.call("/api/jobs?status=cancelled")[1]["jobs"][0]["id"], slow)
        self.assertNotIn(gone, self.server.call("/history")[1])

    def test_numbers_that_python_writes(self):
        """json.dumps writes NaN, which old workflows carry as "is_changed"."""
        graph = {"1": {"class_type": "EmptyImage", "is_changed": [math.nan], "inputs": {
            "width": 8, "height": 8, "batch_size": 1, "color": 0}},
                 "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
        self.assertEqual(self.server.wait(self.server.queue(graph))["status"]["status_str"], "success")
        graph["1"] = {"class_type": "SolidMask", "inputs": {"value": math.nan, "width": 8, "height": 8}}
        graph["2"] = {"class_type": "MaskToImage", "inputs": {"mask": ["1", 0]}}
        graph["3"] = {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "none"}}
        entry = self.server.wait(self.server.queue(graph))
        self.assertIn("NaN", entry["status"]["messages"][-1][1]["exception_message"])

    def test_previews_of_anything(self):
        for source, text in (({"a": [1, None, True, "\u00fc"]}, '{"a": [1, null, true, "\\u00fc"]}'), ({"b": [1, 2.0, "x"]}, '{"b": [1, 2.0, "x"]}'),
                             ("{}", "{}"), (0.1, "0.1"), (True, "True")):
            entry = self.server.wait(self.server.queue({"1": {"class_type": "PreviewAny", "inputs": {"source": source}}}))
            self.assertEqual(entry["outputs"]["1"]["text"], [text])

    def test_several_are_deleted_at_once(self):
        """Also ids that are unknown or no text; what is not named stays."""
        jobs = [self.server.queue(text_to_image(seed=60 + i, steps=1)) for i in range(4)]
        for job in jobs:
            self.server.wait(job)
        self.server.call("/history", {"delete": [jobs[0], "unknown", 5, None, jobs[2], jobs[3]]})
        self.assertEqual([job in self.server.call("/history")[1] for job in jobs], [False, True, False, False])
        slow = self.server.queue(text_to_image(seed=70, steps=60))
        waiting = [self.server.queue(text_to_image(seed=71 + i, steps=1)) for i in range(4)]
        self.server.call("/queue", {"delete": waiting[:3]})
        self.assertEqual([q[1] for q in self.server.call("/queue")[1]["queue_pending"]], waiting[3:])
        self.server.call("/queue", {"clear": True})
        self.server.call("/interrupt", {"prompt_id": slow})
        self.server.wait(slow)

    def test_cancel_through_jobs(self):
        slow = self.server.queue(text_to_image(seed=9, steps=60))
        waiting = self.server.queue(text_to_image(seed=10, steps=1))
        self.assertEqual(self.server.call(f"/api/jobs/{waiting}/cancel", {})[1], {"cancelled": True})
        self.assertEqual(self.server.call("/api/jobs/cancel", {"job_ids": [slow]})[1], {"cancelled": True})
        self.server.wait(slow)
        self.assertEqual(self.server.call(f"/api/jobs/{waiting}")[1]["status"], "cancelled")
        self.assertEqual(self.server.call(f"/api/jobs/{waiting}/cancel", {})[1], {"cancelled": False})
        self.assertEqual(self.server.call("/api/jobs/nope/cancel", {})[0], 400)
        self.assertEqual(self.server.call("/api/jobs/nope")[0], 404)

    def test_reconnect(self):
        with self.server.socket("back") as ws:
            job = self.server.queue(text_to_image(seed=12, steps=40), client_id="back")
            while not (isinstance(m := ws.next(), dict) and m["type"] == "progress"):
                pass
        with self.server.socket("back") as ws:  # sees where its job is, then the rest
            self.assertEqual(ws.next()["type"], "status")
            self.assertEqual(ws.next()["type"], "progress_state")
            now = ws.next()
            self.assertEqual((now["type"], now["data"]["node"], now["data"]["prompt_id"]), ("executing", "3", job))
            self.server.call("/interrupt", {})
            ws.until(job)

    def test_failure_names_node_and_cause(self):
        job = self.server.queue(text_to_image(seed=13, steps=1, prefix="../../x"))
        (name, data), = [m for m in self.server.wait(job)["status"]["messages"] if m[0] == "execution_error"]
        self.assertEqual((data["node_id"], data["node_type"]), ("9", "SaveImage"))
        self.assertTrue(data["exception_message"])
        self.assertIn("SaveImage", self.server.log_text())
        jobs = self.server.call("/api/jobs?status=failed")[1]["jobs"]
        self.assertEqual(jobs[0]["execution_error"]["node_id"], "9")

    def test_bad_graphs(self):
        graph = text_to_image()
        many = {str(i): {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": [str(i - 1), 0]}}
                for i in range(10000)}
        cycle = {"1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
                 "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
                 "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["1", 0]}}}
        huge = text_to_image(width=2**31, height=2**31)
        escape = text_to_image(checkpoint="../../../etc/passwd")
        deep = json.loads("[" * 60 + "]" * 60)
        for name, bad in (("many", many), ("cycle", cycle), ("huge", huge), ("escape", escape), ("number", 5),
                          ("text", "x"), ("null", None), ("nodes", {"1": 5}), ("inputs", {"1": {"class_type": "SaveImage", "inputs": 5}}),
                          ("class", {"1": {"class_type": 5, "inputs": {}}}), ("deep", {"1": {"class_type": "SaveImage", "inputs": {"images": deep}}})):
            status, answer = self.server.call("/prompt", {"prompt": bad})
            self.assertEqual(status, 400, f"{name}: {answer}")
            self.assertIn("type", answer["error"], name)
        self.assertEqual(self.server.call("/prompt", {"prompt": graph, "prompt_id": "X"})[0], 400)
        self.assertEqual(self.server.request("POST", "/prompt", raw=b'{"prompt": {')[0], 400)
        self.assertEqual(self.server.call("/prompt")[1]["exec_info"]["queue_remaining"], 0)

    def test_picture_that_takes_too_long_is_interrupted(self):
        job = self.server.queue(text_to_image(seed=14, steps=1, width=4096, height=4096))
        end = time.monotonic() + 60
        while not self.server.call("/queue")[1]["queue_running"] and time.monotonic() < end:
            time.sleep(0.05)
        self.server.call("/interrupt", {})
        self.assertEqual(self.server.wait(job)["status"]["messages"][-1][0], "execution_interrupted")

    def test_damaged_upload_is_an_error_of_its_job(self):
        self.server.upload("/upload/image", {"overwrite": "1"}, {"image": ("damaged.png", make_png(64, 64)[:-40])})
        graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "damaged.png"}},
                 "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
        entry = self.server.wait(self.server.queue(graph))
        self.assertEqual(entry["status"]["messages"][-1][1]["node_type"], "LoadImage")

    def test_saved_workflow_is_converted(self):
        nodes = [
            {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["emoji-sd.safetensors"], "inputs": []},
            {"id": 5, "type": "EmptyLatentImage", "widgets_values": [128, 128, 1], "inputs": []},
            {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a red apple"], "inputs": [{"name": "clip", "type": "CLIP", "link": 1}]},
            {"id": 7, "type": "CLIPTextEncode", "widgets_values": [""], "inputs": [{"name": "clip", "type": "CLIP", "link": 2}]},
            {"id": 3, "type": "KSampler", "widgets_values": [15, "randomize", 2, 5, "euler", "normal", 1],
             "inputs": [{"name": "model", "type": "MODEL", "link": 3}, {"name": "positive", "type": "CONDITIONING", "link": 4},
                        {"name": "negative", "type": "CONDITIONING", "link": 5}, {"name": "latent_image", "type": "LATENT", "link": 6}]},
            {"id": 8, "type": "VAEDecode", "inputs": [{"name": "samples", "type": "LATENT", "link": 7}, {"name": "vae", "type": "VAE", "link": 8}]},
            {"id": 9, "type": "SaveImage", "widgets_values": ["ui"], "inputs": [{"name": "images", "type": "IMAGE", "link": 9}]}]
        links = [[1, 4, 1, 6, 0, "CLIP"], [2, 4, 1, 7, 0, "CLIP"], [3, 4, 0, 3, 0, "MODEL"], [4, 6, 0, 3, 1, "CONDITIONING"],
                 [5, 7, 0, 3, 2, "CONDITIONING"], [6, 5, 0, 3, 3, "LATENT"], [7, 3, 0, 8, 0, "LATENT"], [8, 4, 2, 8, 1, "VAE"],
                 [9, 8, 0, 9, 0, "IMAGE"]]
        for node in nodes:
            node.update(mode=0, flags={}, order=0, outputs=[])
        workflow = {"last_node_id": 9, "last_link_id": 9, "nodes": nodes, "links": links, "version": 0.4}
        entry = self.server.wait(self.server.queue(workflow))
        self.assertEqual(entry["status"]["status_str"], "success", entry)
        self.assertEqual(entry["prompt"][2]["3"]["inputs"]["seed"], 15)
        self.assertEqual(entry["prompt"][3]["extra_pnginfo"]["workflow"]["version"], 0.4)

    def test_partial_execution(self):
        graph = text_to_image(seed=16, steps=1)
        graph["10"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
        entry = self.server.wait(self.server.queue(graph, partial_execution_targets=["10"]))
        self.assertEqual(list(entry["outputs"]), ["10"])
        self.assertEqual(entry["outputs"]["10"]["images"][0]["type"], "temp")

    def test_v2(self):
        status, job = self.server.call("/api/v2/jobs", {"workflow": text_to_image(seed=17, steps=2)})
        self.assertEqual(status, 201)
        _, headers, stream = self.server.request("GET", f"/api/v2/jobs/{job['id']}/events")
        self.assertIn("text/event-stream", headers["Content-Type"])
        events = [dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
                  for block in stream.decode().strip().split("\n\n")]
        self.assertEqual(json.loads(events[-1]["data"])["status"], "succeeded")
        done = self.server.call(f"/api/v2/jobs/{job['id']}")[1]
        self.assertEqual((done["status"], len(done["outputs"])), ("succeeded", 1))
        content = self.server.request("GET", done["outputs"][0]["url"])[2]
        self.assertEqual(png_size(content), (128, 128))
        key = {"Idempotency-Key": "k1"}
        body = {"workflow": text_to_image(seed=18, steps=1)}
        self.assertEqual(self.server.request("POST", "/api/v2/jobs", body, headers=key)[0], 201)
        status, _, data = self.server.request("POST", "/api/v2/jobs", body, headers=key)
        self.assertEqual((status, json.loads(data)["error"]["code"]), (422, "idempotency_key_reuse"))
        for bad, code in (({"workflow": {"nodes": [], "links": []}}, "workflow_format_ui"),
                          ({"workflow": {"1": {"class_type": "Nope", "inputs": {}}}}, "invalid_workflow"),
                          ({"workflow": {}, "webhook_url": "x"}, "invalid_request"),
                          ({"workflow": {"1": {"class_type": "LoadImage", "inputs": {"image": {
                              "__type": "core/ASSET", "info": {"id": "none"}}}}}}, "missing_asset")):
            status, answer = self.server.call("/api/v2/jobs", bad)
            self.assertEqual((status, answer["error"]["code"]), (422, code))
        self.assertEqual(self.server.call("/api/v2/jobs/none")[0], 404)

    def test_v2_asset_in_a_workflow(self):
        _, asset = self.server.upload("/api/v2/assets", {}, {"file": ("in.png", make_png(16, 16))})
        graph = {"1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "core/ASSET", "info": {"id": asset["id"]}}}},
                 "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "asset", "images": ["1", 0]}}}
        status, job = self.server.call("/api/v2/jobs", {"workflow": graph})
        self.assertEqual(status, 201, job)
        self.assertEqual(self.server.wait(job["id"])["status"]["status_str"], "success")

    def test_ollama_shape(self):
        request = {"model": "emoji-sd", "prompt": "a red apple", "width": 64, "height": 64, "steps": 2, "options": {"seed": 1}}
        lines = self.server.lines("/api/generate", request)
        self.assertEqual([(line["completed"], line["total"]) for line in lines[:-1]], [(1, 2), (2, 2)])
        self.assertTrue(lines[-1]["done"])
        self.assertEqual(png_size(base64.b64decode(lines[-1]["image"])), (64, 64))
        chat, self.server.url = self.server.url, self.server.chat_url  # the same on the chat listener
        try:
            self.assertEqual(self.server.lines("/api/generate", request)[-1]["image"], lines[-1]["image"])
            self.assertEqual(self.server.call("/api/generate", {**request, "width": 5000})[0], 400)
            status, answer = self.server.call("/v1/images/generations", {
                "model": "emoji-sd", "prompt": "a frog", "size": "64x64", "n": 2})
            self.assertEqual((status, len(answer["data"])), (200, 2), answer)
            status, answer = self.server.call("/v1/images/edits", {
                "model": "emoji-sd", "prompt": "a frog", "size": "64x64",
                "image": "data:image/png;base64," + base64.b64encode(make_png(32, 32)).decode()})
            self.assertEqual((status, len(answer["data"])), (200, 1), answer)
            for bad, text in (({}, "model is required"), ({"model": "m"}, "prompt is required")):
                status, answer = self.server.call("/v1/images/generations", bad)
                self.assertEqual((status, answer["error"]["message"]), (400, text))
        finally:
            self.server.url = chat


@needs_checkpoint
class Restarts(unittest.TestCase):
    def test_kill_and_restart(self):
        with PictureServer() as server:
            done = server.queue(text_to_image(seed=1, steps=1, prefix="done"))
            server.wait(done)
            running = server.queue(text_to_image(seed=2, steps=30, prefix="running"))
            waiting = [server.queue(text_to_image(seed=3 + i, steps=1, prefix=f"w{i}")) for i in range(3)]
            front = server.queue(text_to_image(seed=9, steps=1, prefix="front"), front=True)
            end = time.monotonic() + 60
            while not server.call("/queue")[1]["queue_running"] and time.monotonic() < end:
                time.sleep(0.05)
            server.restart(signal.SIGKILL)
            self.assertEqual(server.call(f"/history/{done}")[1][done]["status"]["status_str"], "success")
            for job in (running, front, *waiting):
                self.assertEqual(server.wait(job)["status"]["status_str"], "success")
            order = list(server.call("/history")[1])
            self.assertEqual(order[0], done)
            self.assertLess(order.index(front), order.index(waiting[0]))
            self.assertEqual([order.index(w) for w in waiting], sorted(order.index(w) for w in waiting))

    def test_terminate_and_restart(self):
        with PictureServer() as server:
            running = server.queue(text_to_image(seed=2, steps=60))
            waiting = server.queue(text_to_image(seed=3, steps=1))
            time.sleep(0.3)
            server.restart(signal.SIGTERM)
            ids = [q[1] for part in server.call("/queue")[1].values() for q in part]
            self.assertEqual(sorted(ids), sorted([running, waiting]))
            server.call("/interrupt", {"prompt_id": running})
            self.assertEqual(server.wait(waiting)["status"]["status_str"], "success")

    def test_no_room_for_the_picture(self):
        server = PictureServer()
        out = server.home / "full"
        out.mkdir()
        server.extra["HOB_IMAGE_OUTPUT"] = str(out)
        with server:
            server.wait(server.queue(text_to_image(seed=1, steps=1)))
            # files may not grow beyond a few bytes: what a full disk looks like to one process
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
            try:
                status, answer = server.call("/prompt", {"prompt": text_to_image(seed=2, steps=1)})
                self.assertIn(status, (200, 500), answer)  # the queue itself may not be stored either
            finally:
                resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE,
                                 (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            entry = server.wait(server.queue(text_to_image(seed=3, steps=1)))
            self.assertEqual(entry["status"]["status_str"], "success")
            self.assertFalse([p for p in out.rglob("*") if p.is_file() and p.suffix != ".png"])


if __name__ == "__main__":
    unittest.main()
