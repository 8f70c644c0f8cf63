"""Pictures in a chat, and the studio's API behind the session: whose jobs and files are whose."""
import base64
import json
import os
import signal
import struct
import time
import unittest

from .harness import DEMO
from .pictures import CHECKPOINT
from .test_web_attacks import Ear
from .web import Client, Events, TwoUsers, WebServer

SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 5}


class PictureSite(WebServer):
    def __init__(self, **k):
        super().__init__(models=(), **k)
        folder = self.home / "comfy" / "models" / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / CHECKPOINT).exists():
            os.symlink(DEMO / CHECKPOINT, folder / CHECKPOINT)


@unittest.skipIf(not (DEMO / CHECKPOINT).exists(), "no demo checkpoint")
class Pictures(TwoUsers):
    @staticmethod
    def make_server():
        return PictureSite()

    def paint(self, user, chat, **fields):
        status, out = user.post(f"/api/v1/chats/{chat}/pictures", {"prompt": "a red apple", **SMALL, **fields})
        self.assertEqual(status, 200, out)
        return out

    def test_picture_in_a_chat(self):
        chat = self.ann.new_chat()
        with Events(self.ann, f"/api/v1/chats/{chat}/events") as ev:
            out = self.paint(self.ann, chat, steps=4)
            end = ev.until("end", 120)
        self.assertEqual(end["state"], "done", end)
        self.assertTrue([d for n, d, _ in ev.seen if n == "picture" and d["state"] == "running" and d["max"] == 4])
        self.assertTrue([d for n, d, _ in ev.seen if n == "preview"])
        file = end["picture"]["files"][0]
        status, headers, data = self.ann.raw("GET", file["url"])
        self.assertEqual((status, headers["Content-Type"]), (200, "image/png"))
        self.assertEqual(struct.unpack(">II", data[16:24]), (64, 64))
        self.assertEqual(self.bob.raw("GET", file["url"])[0], 404)
        status, flow = self.ann.get(f"/api/v1/chats/{chat}/messages/{end['id']}/workflow")
        self.assertEqual(flow["5"]["class_type"], "KSampler")
        self.assertEqual(out["user"]["content"], "a red apple")
        status, again = self.ann.post(f"/api/v1/chats/{chat}/messages/{end['id']}/regenerate")
        self.assertEqual(status, 200, again)
        second = self.ann.wait_end(chat, again["assistant"]["id"])
        self.assertEqual((second["state"], second["parent_id"]), ("done", end["parent_id"]))
        self.assertNotEqual(self.ann.raw("GET", second["picture"]["files"][0]["url"])[2], data)
        image = self.paint(self.ann, chat, image=file["id"], strength=0.5)
        self.assertEqual(image["user"]["files"][0]["id"], file["id"])
        self.assertEqual(self.ann.wait_end(chat, image["assistant"]["id"])["state"], "done")
        self.assertEqual(self.bob.post(f"/api/v1/chats/{self.bob.new_chat()}/pictures", {"prompt": "x", "image": file["id"]})[0], 404)

    def test_cancel(self):
        chat = self.ann.new_chat()
        with Events(self.ann, f"/api/v1/chats/{chat}/events") as ev:
            a = self.paint(self.ann, chat, steps=200)["assistant"]
            ev.until("picture")
            self.assertEqual(self.ann.post(f"/api/v1/chats/{chat}/messages/{a['id']}/stop")[0], 200)
            self.assertEqual(ev.until("end")["state"], "stopped")

    def endless(self):
        """A job of pictures that lasts until it is cancelled."""
        chat = self.ann.new_chat()
        drawn = self.paint(self.ann, chat)["assistant"]["id"]
        self.ann.wait_end(chat, drawn)
        graph = self.ann.get(f"/api/v1/chats/{chat}/messages/{drawn}/workflow")[1]
        graph["5"]["inputs"].update(steps=10000, seed=77)
        status, out = self.ann.post("/comfy/prompt", {"prompt": graph})
        self.assertEqual(status, 200, out)
        self.addCleanup(self.ann.post, "/comfy/interrupt")
        return out["prompt_id"]

    def test_streams_end_with_what_opened_them(self):
        job = self.endless()
        key = self.ann.post("/api/v1/auths/keys", {"name": "short", "scopes": ["web", "images"], "expires_in": 3})[1]["key"]
        short = Client(self.s.site, bearer=key)
        phone = self.s.user()
        events = f"/comfy/api/v2/jobs/{job}/events"

        def last(stream):
            while stream.next() is not None:
                pass
        with Events(short, "/api/v1/events") as user, Events(short, events) as ends, Events(phone, events) as revoked, \
                Ear(self.s.site, None, "x", Authorization=f"Bearer {key}") as socket, Events(self.ann, events) as stays:
            self.assertEqual((user.status, ends.status, revoked.status, stays.status, socket.status), (200, 200, 200, 200, 101))
            last(user)
            last(ends)
            self.assertTrue(socket.ended())
            self.assertEqual(short.get("/api/models")[0], 401)
            self.assertEqual(phone.post("/api/v1/auths/signout")[0], 200)
            last(revoked)
            self.assertEqual(stays.until("status")["status"], "running")
            self.ann.post("/comfy/interrupt")
            last(stays)
            self.assertEqual(stays.seen[-1][0], "status")

    def test_bad_wishes(self):
        chat = self.ann.new_chat()
        for body in ({"prompt": ""}, {"prompt": "x", "width": 100000}, {"prompt": "x", "n": 99}, {"prompt": "x", "checkpoint": "../x"},
                     {"prompt": "x", "sampler": "no"}, {"prompt": "x", "workflow_id": "no"}, {"prompt": "x", "graph": {"1": {}}},
                     {"prompt": "x", "graph": 5}, {"prompt": "x", "parent_id": "no"}, {"prompt": "x", "image": "no"}):
            status, out = self.ann.post(f"/api/v1/chats/{chat}/pictures", body)
            self.assertIn(status, (400, 404), out)
        self.assertEqual(self.ann.thread(chat)["messages"], [])

    def test_workflows_and_own_graph(self):
        flows = self.ann.get("/api/v1/pictures/workflows")[1]
        self.assertEqual(flows[0]["id"], "default")
        self.assertEqual(flows[0]["defaults"]["checkpoint"], CHECKPOINT)
        chat = self.ann.new_chat()
        a = self.paint(self.ann, chat)["assistant"]
        self.ann.wait_end(chat, a["id"])
        graph = self.ann.get(f"/api/v1/chats/{chat}/messages/{a['id']}/workflow")[1]
        flow = self.ann.post("/api/v1/workflows/", {"name": "My flow", "data": {"prompt": graph}})[1]["id"]
        b = self.paint(self.ann, chat, workflow_id=flow)["assistant"]
        self.assertEqual(self.ann.wait_end(chat, b["id"])["state"], "done")
        self.assertEqual(self.bob.post(f"/api/v1/chats/{self.bob.new_chat()}/pictures", {"prompt": "x", "workflow_id": flow})[0], 404)

    def queue(self, user, **more):
        chat = user.new_chat()
        a = self.paint(user, chat)["assistant"]
        user.wait_end(chat, a["id"])
        graph = user.get(f"/api/v1/chats/{chat}/messages/{a['id']}/workflow")[1]
        graph["7"]["inputs"]["filename_prefix"] = "mine"
        status, out = user.post("/comfy/prompt", {"prompt": graph, "client_id": "tab", **more})
        self.assertEqual(status, 200, out)
        for _ in range(600):
            entry = user.get(f"/comfy/history/{out['prompt_id']}")[1].get(out["prompt_id"])
            if entry:
                return out["prompt_id"], entry, graph
            time.sleep(0.05)

    def test_second_user_in_the_studio(self):
        job, entry, graph = self.queue(self.ann)
        image = entry["outputs"]["7"]["images"][0]
        where = "&".join(f"{k}={v}" for k, v in image.items())
        self.assertEqual(self.ann.raw("GET", f"/comfy/view?{where}")[0], 200)
        self.assertEqual(self.ann.raw("GET", f"/comfy/api/view?{where}")[0], 200)
        self.assertEqual(self.bob.raw("GET", f"/comfy/view?{where}")[0], 404)
        for odd in (f"filename={image['subfolder']}/{image['filename']}", f"filename={image['filename']}&subfolder=./{image['subfolder']}",
                    f"filename={image['filename']}&subfolder=x/../{image['subfolder']}", f"filename={image['filename']}&subfolder=/{image['subfolder']}"):
            self.assertIn(self.bob.raw("GET", f"/comfy/view?{odd}")[0], (400, 403, 404), odd)
        self.assertEqual(self.bob.get(f"/comfy/history/{job}")[1], {})
        self.assertNotIn(job, self.bob.get("/comfy/history")[1])
        self.assertIn(job, self.ann.get("/comfy/history?max_items=1")[1])
        self.assertEqual(self.bob.get(f"/comfy/api/jobs/{job}")[0], 404)
        self.assertNotIn(job, json.dumps(self.bob.get("/comfy/api/jobs")[1]))
        self.assertEqual(self.bob.get(f"/comfy/api/v2/jobs/{job}")[0], 404)
        self.bob.post("/comfy/history", {"clear": True})
        self.bob.post("/comfy/history", {"delete": [job]})
        self.assertIn(job, self.ann.get("/comfy/history")[1])
        spy = dict(graph, **{"90": {"class_type": "LoadImage", "inputs": {"image": f"{image['subfolder']}/{image['filename']} [output]"}},
                             "91": {"class_type": "PreviewImage", "inputs": {"images": ["90", 0]}}})
        self.assertEqual(self.bob.post("/comfy/prompt", {"prompt": spy})[0], 400)
        self.assertEqual(self.ann.post("/comfy/prompt", {"prompt": spy})[0], 200)
        self.ann.post("/comfy/settings", {"x": "ann"})
        self.assertEqual(self.bob.get("/comfy/settings")[1], {})
        self.ann.raw("POST", "/comfy/userdata/workflows%2Fa.json", b"{}", {"Content-Type": "application/json"})
        self.assertEqual(self.bob.get("/comfy/userdata/workflows%2Fa.json")[0], 404)
        self.assertNotIn(image["filename"], json.dumps(self.bob.get("/comfy/object_info/LoadImage")[1]))

    def done(self, user, graph):
        status, out = user.post("/comfy/prompt", {"prompt": graph})
        self.assertEqual(status, 200, out)
        for _ in range(1200):
            entry = user.get(f"/comfy/history/{out['prompt_id']}")[1].get(out["prompt_id"])
            if entry:
                return entry
            time.sleep(0.05)
        raise AssertionError("it does not end")

    def test_previews_and_names_put_together(self):
        ann = self.ann.get("/api/v1/auths/")[1]["id"]
        png = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
        mark = "xyz"
        body = (f"--{mark}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"mine.png\"\r\n\r\n").encode() + png + f"\r\n--{mark}--\r\n".encode()
        self.ann.raw("POST", "/comfy/upload/image", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
        blank = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
                 "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
        seen = {}
        for user in (self.ann, self.bob):  # the same graph: each has a preview of their own
            image = self.done(user, blank)["outputs"]["2"]["images"][0]
            self.assertEqual((image["type"], image["subfolder"]), ("temp", user.get("/api/v1/auths/")[1]["id"]))
            seen[user] = "&".join(f"{k}={v}" for k, v in image.items())
        self.assertEqual([u.raw("GET", f"/comfy/view?{seen[o]}")[0] for u in (self.ann, self.bob) for o in (self.ann, self.bob)],
                         [200, 404, 404, 200])
        spy = {"0": {"class_type": "StringConcatenate", "inputs": {"string_a": ann[:9], "string_b": ann[9:] + "/mine.png", "delimiter": ""}},
               "1": {"class_type": "LoadImage", "inputs": {"image": ["0", 0]}},
               "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
        status, out = self.bob.post("/comfy/prompt", {"prompt": spy})
        if status == 200:
            self.assertEqual(self.done(self.bob, spy)["status"]["status_str"], "error")
            self.assertEqual(self.done(self.ann, spy)["status"]["status_str"], "success")
        for prefix in (f"../{ann}/x", f"x/../../{ann}/x", f"./../{ann}/x"):
            save = {"1": blank["1"], "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}}}
            status, out = self.bob.post("/comfy/prompt", {"prompt": save})
            if status == 200:
                entry = self.done(self.bob, save)
                for image in entry["outputs"].get("2", {}).get("images", []):
                    self.assertTrue(image["subfolder"].startswith(self.bob.get("/api/v1/auths/")[1]["id"]), prefix)

    def test_assets_are_apart(self):
        mark = "xyz"
        body = (f"--{mark}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"me.txt\"\r\n\r\n").encode() + os.urandom(40).hex().encode() + f"\r\n--{mark}--\r\n".encode()
        status, _, out = self.ann.raw("POST", "/comfy/api/v2/assets", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
        self.assertEqual(status, 201, out)
        asset = json.loads(out)
        for path in (f"/{asset['id']}", f"/{asset['id']}/content", f"/by-hash/{asset['hash']}"):
            self.assertEqual([u.raw("GET", "/comfy/api/v2/assets" + path)[0] for u in (self.ann, self.bob)], [200, 404], path)
        self.assertEqual(self.bob.raw("DELETE", f"/comfy/api/v2/assets/{asset['id']}")[0], 404)
        self.assertEqual(self.bob.post("/comfy/api/v2/assets/from-hash", {"hash": asset["hash"]})[0], 404)
        self.assertEqual(self.bob.raw("GET", f"/comfy/view?filename={asset['hash']}")[0], 404)
        self.assertEqual(self.ann.post("/comfy/api/v2/assets/from-hash", {"hash": asset["hash"]})[0], 201)

    def wait_for_place(self, ev, place):
        while ev.until("picture").get("place") != place:
            pass

    def test_the_place_in_the_queue_is_told(self):
        chats = [self.ann.new_chat() for _ in range(3)]
        with Events(self.ann, f"/api/v1/chats/{chats[2]}/events") as ev:
            made = [self.paint(self.ann, c, steps=60)["assistant"]["id"] for c in chats]
            self.assertEqual(self.ann.message(chats[2], made[2])["state"], "queued")
            self.wait_for_place(ev, 2)
            self.ann.post(f"/api/v1/chats/{chats[1]}/messages/{made[1]}/stop")
            self.wait_for_place(ev, 1)
            self.assertEqual([m["place"] for m in self.ann.thread(chats[2])["messages"] if m["id"] == made[2]], [1])
            for c in chats:
                self.ann.post(f"/api/v1/chats/{c}/stop")
            ev.until("end")

    def test_interrupting_others_is_nothing(self):
        chat = self.ann.new_chat()
        with Events(self.ann, f"/api/v1/chats/{chat}/events") as ev:
            a = self.paint(self.ann, chat, steps=40)["assistant"]
            while ev.until("picture")["state"] != "running":
                pass
            self.bob.post("/comfy/interrupt")
            self.bob.post("/comfy/interrupt", {"prompt_id": a["id"]})
            self.bob.post("/comfy/queue", {"clear": True})
            self.bob.post(f"/comfy/api/jobs/{a['id']}/cancel")
            self.assertEqual(ev.until("end", 120)["state"], "done")

    def test_uploads_are_apart(self):
        mark = "xyz"
        png = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
        body = (f"--{mark}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"me.png\"\r\n\r\n").encode() + png + f"\r\n--{mark}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        one = json.loads(self.ann.raw("POST", "/comfy/upload/image", body, kind)[2])
        two = json.loads(self.bob.raw("POST", "/comfy/upload/image", body, kind)[2])
        self.assertNotEqual(one["subfolder"], two["subfolder"])
        where = f"filename=me.png&type=input&subfolder={one['subfolder']}"
        self.assertEqual((self.ann.raw("GET", f"/comfy/view?{where}")[0], self.bob.raw("GET", f"/comfy/view?{where}")[0]), (200, 404))


@unittest.skipIf(not (DEMO / CHECKPOINT).exists(), "no demo checkpoint")
class Restarted(unittest.TestCase):
    def test_a_picture_survives_a_kill(self):
        with PictureSite() as s:
            ann = s.user()
            chat = ann.new_chat()
            with Events(ann, f"/api/v1/chats/{chat}/events") as ev:
                a = ann.post(f"/api/v1/chats/{chat}/pictures", {"prompt": "x", **SMALL, "steps": 20})[1]["assistant"]
                ev.until("picture")
                s.stop(signal.SIGKILL)
            s.start()
            end = ann.wait_end(chat, a["id"], 120)
            self.assertEqual(end["state"], "done", end)
            self.assertEqual(len(end["picture"]["files"]), 1)


if __name__ == "__main__":
    unittest.main()
