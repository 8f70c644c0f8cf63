"""Chats that the server owns: streaming, resuming, branches, search, import and export, isolation."""
import hashlib
import json
import shutil
import signal
import time
import unittest

from .harness import needs
from .web import Client, Events, TwoUsers, WebServer

LONG = {"num_predict": 300, "temperature": 0, "stop": []}
MODEL = "smollm2:135m"


@needs(MODEL)
class Chats(TwoUsers):
    @staticmethod
    def make_server():
        return WebServer()

    def answered(self, text="Say hello.", **params):
        chat = self.ann.new_chat(model=MODEL)
        q, a = self.ann.say(chat, text, params={"num_predict": 12, **params})
        return chat, q, self.ann.wait_end(chat, a["id"])

    def test_stream_is_what_is_stored(self):
        chat = self.ann.new_chat(model=MODEL)
        with Events(self.ann, f"/api/v1/chats/{chat}/events") as ev:
            q, a = self.ann.say(chat, "Count to ten.", params={"num_predict": 40})
            end = ev.until("end")
        self.assertEqual(end["state"], "done")
        self.assertEqual(ev.text(a["id"]), end["content"])
        self.assertEqual(self.ann.message(chat, a["id"])["content"], end["content"])
        self.assertGreater(end["usage"]["tokens_per_s"], 0)
        states = [d["state"] for n, d, _ in ev.seen if n == "state"]
        self.assertIn("writing", states)
        self.assertIn("reading", states)
        numbers = [int(i.split("-")[1]) for _, _, i in ev.seen]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_reload_in_the_middle(self):
        chat = self.ann.new_chat(model=MODEL)
        _, a = self.ann.say(chat, "Tell me a long story about a lighthouse.", params=LONG)
        pieces = []
        while True:
            t = self.ann.thread(chat)
            m = [m for m in t["messages"] if m["id"] == a["id"]][0]
            if m["content"] or m["state"] not in ("queued", "loading", "reading"):
                break
        text = m["content"]
        after = t["event_id"]
        for _ in range(4):  # the page is reloaded again and again
            with Events(self.ann, f"/api/v1/chats/{chat}/events?after={after}") as ev:
                for _ in range(3):
                    got = ev.next()
                    if got[0] == "delta":
                        text += got[1]["text"]
                    if got[0] in ("end", "reset"):
                        break
                after = ev.last if not ev.seen else ev.seen[-1][2]
                if got[0] in ("end", "reset"):
                    break
        if got[0] != "end":
            with Events(self.ann, f"/api/v1/chats/{chat}/events", last=after) as ev:
                end = ev.until("end")
                text += ev.text(a["id"])
        else:
            end = got[1]
        self.assertEqual(text, end["content"])

    def test_two_readers_and_stop_from_elsewhere(self):
        chat = self.ann.new_chat(model=MODEL)
        other = self.s.user()
        with Events(self.ann, f"/api/v1/chats/{chat}/events") as one, \
                Events(other, f"/api/v1/events?chat={chat}") as two:
            _, a = self.ann.say(chat, "Write a very long poem.", params={**LONG, "num_predict": 2000})
            one.until("delta")
            status, _ = other.post(f"/api/v1/chats/{chat}/messages/{a['id']}/stop")
            self.assertEqual(status, 200)
            end = one.until("end")
            self.assertEqual(end, two.until("end"))
        self.assertEqual(end["state"], "stopped")
        self.assertTrue(end["content"])
        self.assertEqual(one.text(a["id"]), two.text(a["id"]))

    def test_closing_the_tab_does_not_stop(self):
        chat = self.ann.new_chat(model=MODEL)
        with Events(self.ann, f"/api/v1/chats/{chat}/events") as ev:
            _, a = self.ann.say(chat, "Tell me about rivers.", params={"num_predict": 40})
            ev.until("delta")
        self.assertEqual(self.ann.wait_end(chat, a["id"])["state"], "done")

    def test_unknown_position_is_reset(self):
        chat = self.ann.new_chat()
        for after in ("x", "00000000-1", "", "-", "1-99999999999999999999"):
            with Events(self.ann, f"/api/v1/chats/{chat}/events?after={after}") as ev:
                if after:
                    self.assertEqual(ev.next()[0], "reset")

    def test_branches(self):
        chat, q, a = self.answered()
        status, out = self.ann.post(f"/api/v1/chats/{chat}/messages/{a['id']}/regenerate", {"params": {"num_predict": 5}})
        self.assertEqual(status, 200)
        b = self.ann.wait_end(chat, out["assistant"]["id"])
        self.assertEqual(b["parent_id"], q["id"])
        q2, a2 = self.ann.say(chat, "Another question", parent_id=None, params={"num_predict": 3})  # edits the first one
        self.ann.wait_end(chat, a2["id"])
        self.assertIsNone(q2["parent_id"])
        t = self.ann.thread(chat)
        self.assertEqual(len(t["messages"]), 5)
        self.assertEqual(t["current_id"], a2["id"])
        self.ann.post(f"/api/v1/chats/{chat}", {"current_id": b["id"]})
        self.assertEqual(self.ann.thread(chat)["current_id"], b["id"])
        self.assertEqual(self.ann.post(f"/api/v1/chats/{chat}", {"current_id": "nonsense"})[0], 404)
        status, out = self.ann.delete(f"/api/v1/chats/{chat}/messages/{b['id']}")
        self.assertEqual((status, out["current_id"]), (200, q["id"]))
        light = self.ann.get(f"/api/v1/chats/{chat}/thread?light=1")[1]["messages"]
        self.assertEqual({m["id"]: m["content"] is None for m in light},
                         {q["id"]: False, a["id"]: True, q2["id"]: True, a2["id"]: True})

    def test_continue_edit_rate(self):
        chat, q, a = self.answered("Count from one to thirty.", num_predict=6, temperature=0)
        status, out = self.ann.post(f"/api/v1/chats/{chat}/messages/{a['id']}/continue",
                                    {"params": {"num_predict": 6, "temperature": 0}})
        self.assertEqual(status, 200)
        more = self.ann.wait_end(chat, a["id"])
        self.assertTrue(more["content"].startswith(a["content"]))
        self.assertGreater(len(more["content"]), len(a["content"]))
        self.assertEqual(self.ann.post(f"/api/v1/chats/{chat}/messages/{a['id']}", {"content": "mended"})[1]["content"], "mended")
        self.assertEqual(self.ann.post(f"/api/v1/chats/{chat}/messages/{a['id']}/rate", {"rating": 1})[1]["rating"], 1)
        self.assertEqual(self.ann.post(f"/api/v1/chats/{chat}/messages/{a['id']}/rate", {"rating": 7})[0], 400)
        self.assertEqual(self.ann.post(f"/api/v1/chats/{chat}/messages/{q['id']}/continue")[0], 400)

    def test_lists_folders_search(self):
        chat, _, a = self.answered("Where does the quagga live?")
        self.ann.post(f"/api/v1/chats/{chat}", {"title": "Zebras of the past"})
        hits = self.ann.get("/api/v1/chats/search?text=quag")[1]
        self.assertEqual(hits[0]["id"], chat)
        self.assertIn("\x02quagga\x03", hits[0]["snippet"])
        self.assertEqual(self.ann.get("/api/v1/chats/search?text=zebras%20of")[1][0]["id"], chat)
        for odd in ('%22', "AND", "a*b", "(", "NEAR(", "%00", "%27%3B--"):
            self.assertEqual(self.ann.get(f"/api/v1/chats/search?text={odd}")[0], 200, odd)
        folder = self.ann.post("/api/v1/folders/", {"name": "Animals"})[1]
        inner = self.ann.post("/api/v1/folders/", {"name": "Extinct", "parent_id": folder["id"]})[1]
        self.assertEqual(self.ann.post(f"/api/v1/folders/{folder['id']}/update/parent", {"parent_id": inner["id"]})[0], 400)
        self.ann.post(f"/api/v1/chats/{chat}/folder", {"folder_id": inner["id"]})
        self.assertEqual([c["id"] for c in self.ann.get(f"/api/v1/chats/folder/{inner['id']}")[1]], [chat])
        self.ann.post(f"/api/v1/chats/{chat}/pin")
        self.assertIn(chat, [c["id"] for c in self.ann.get("/api/v1/chats/pinned")[1]])
        self.ann.delete(f"/api/v1/folders/{inner['id']}")
        self.assertIsNone(self.ann.thread(chat)["folder_id"])
        self.ann.post(f"/api/v1/chats/{chat}/archive")
        self.assertIn(chat, [c["id"] for c in self.ann.get("/api/v1/chats/archived")[1]])
        self.assertNotIn(chat, [c["id"] for c in self.ann.get("/api/v1/chats/")[1]])
        self.ann.delete(f"/api/v1/chats/{chat}")
        self.assertEqual(self.ann.get(f"/api/v1/chats/{chat}")[0], 404)
        self.assertEqual(self.ann.get("/api/v1/chats/search?text=quagga")[1], [])

    def test_presets_and_prompts(self):
        status, p = self.ann.post("/api/v1/models/create", {
            "id": "pirate", "name": "Pirate", "base_model_id": MODEL, "params": {"system": "Talk like a pirate.", "num_predict": 9}})
        self.assertEqual(status, 200, p)
        self.assertIn("pirate", [m["id"] for m in self.ann.get("/api/models")[1]["data"]])
        self.assertNotIn("pirate", [m["id"] for m in self.bob.get("/api/models")[1]["data"]])
        chat = self.ann.new_chat(model="pirate")
        _, a = self.ann.say(chat, "Hello")
        end = self.ann.wait_end(chat, a["id"])
        self.assertEqual((end["state"], end["usage"]["completion_tokens"]), ("done", 9))
        status, out = self.ann.post("/api/chat/completions", {"model": "pirate", "max_tokens": 3,
                                                              "messages": [{"role": "user", "content": "Hi"}]})
        self.assertEqual(status, 200, out)
        self.assertEqual(self.bob.post("/api/chat/completions", {
            "model": "pirate", "messages": [{"role": "user", "content": "Hi"}]})[0], 404)
        status, prompt = self.ann.post("/api/v1/prompts/create", {"command": "sum", "title": "Sum up", "content": "Sum up: {{text}}"})
        self.assertEqual((status, prompt["command"]), (200, "/sum"))
        self.assertEqual(self.ann.post("/api/v1/prompts/create", {"command": "/sum", "content": "x"})[0], 400)
        self.assertEqual(self.bob.get("/api/v1/prompts/sum")[0], 404)

    def test_failures_are_said(self):
        chat = self.ann.new_chat()
        _, a = self.ann.say(chat, "Hello", model="nothing:7b")
        end = self.ann.wait_end(chat, a["id"])
        self.assertEqual(end["state"], "failed")
        self.assertIn("nothing:7b", end["error"])
        for body in ({"content": ""}, {"content": 3}, {"content": "x", "parent_id": "no"}, {"content": "x", "files": ["no"]},
                     {"content": "x", "knowledge": ["no"]}, {"content": "x", "user_id": "no"}, {"content": "y" * (5 << 20)}):
            status, out = self.ann.post(f"/api/v1/chats/{chat}/messages", body)
            self.assertIn(status, (400, 404, 413, 422), out)

    def test_export_and_import(self):
        chat, q, a = self.answered("Speak of <script>alert(1)</script> & \u202e things")
        again = self.ann.post(f"/api/v1/chats/{chat}/messages/{a['id']}/regenerate", {"params": {"num_predict": 4}})[1]
        self.ann.wait_end(chat, again["assistant"]["id"])
        self.ann.post(f"/api/v1/chats/{chat}", {"title": "Things & <b>"})  # no title of the model's comes over it
        status, headers, data = self.ann.raw("GET", f"/api/v1/chats/{chat}/export?format=json")
        self.assertIn("attachment", headers["Content-Disposition"])
        status, out = self.ann.post("/api/v1/chats/import", [json.loads(data), {"no": "chat"}])
        self.assertEqual((status, out["imported"], out["skipped"]), (200, 1, 1))
        one, two = self.ann.thread(chat), self.ann.thread(out["ids"][0])

        def shape(t):
            by = {m["id"]: m for m in t["messages"]}
            return sorted((m["content"], by[m["parent_id"]]["content"] if m["parent_id"] else None) for m in t["messages"])
        self.assertEqual(shape(one), shape(two))
        self.assertEqual(one["title"], two["title"])
        self.assertFalse(set(m["id"] for m in one["messages"]) & set(m["id"] for m in two["messages"]))
        md = self.ann.raw("GET", f"/api/v1/chats/{chat}/export?format=md")[2].decode()
        self.assertTrue(md.startswith("# "))
        self.assertIn("## You", md)
        self.assertEqual(len(self.ann.get("/api/v1/chats/export")[1]), len(self.ann.get("/api/v1/chats/all")[1]))

    def test_chatgpt_and_broken_trees(self):
        node = lambda parent, role, *parts: {"parent": parent, "message": {"author": {"role": role},
                                             "content": {"parts": list(parts)}, "create_time": 1700000000.5}}
        gpt = {"title": "From elsewhere", "create_time": 1700000000.1, "current_node": "c", "mapping": {
            "root": {"parent": None, "message": None}, "s": node("root", "system", ""),
            "a": node("s", "user", "Hello", "there"), "b": node("a", "assistant", "One"), "c": node("a", "assistant", "Two")}}
        out = self.ann.post("/api/v1/chats/import", [gpt])[1]
        t = self.ann.thread(out["ids"][0])
        self.assertEqual([(m["role"], m["content"]) for m in t["messages"]],
                         [("user", "Hello\nthere"), ("assistant", "One"), ("assistant", "Two")])
        self.assertEqual(t["created_at"], 1700000000)
        self.assertEqual([m["content"] for m in t["messages"] if m["id"] == t["current_id"]], ["Two"])
        loop = {"chat": {"title": "Loop", "history": {"currentId": "x", "messages": {
            "x": {"parentId": "y", "role": "user", "content": "1"}, "y": {"parentId": "x", "role": "assistant", "content": "2"},
            "z": {"parentId": "gone", "role": "user", "content": "3"}, "w": {"parentId": "w", "role": "user", "content": "4"}}}}}
        out = self.ann.post("/api/v1/chats/import", loop)[1]
        self.assertEqual(len(self.ann.thread(out["ids"][0])["messages"]), 4)
        for bad in ([], {}, [1, None, "x"], {"mapping": 5}, {"chat": {"history": []}}, {"messages": "x"}):
            status, out = self.ann.post("/api/v1/chats/import", bad)
            self.assertIn(status, (200, 400), bad)
        self.assertEqual(self.ann.raw("POST", "/api/v1/chats/import", b"{", {"Content-Type": "application/json"})[0], 400)

    def test_open_webui_client(self):
        status, c = self.ann.post("/api/v1/chats/new", {"chat": {"title": "Outside", "models": [MODEL], "history": {
            "currentId": "m1", "messages": {"m1": {"id": "m1", "parentId": None, "role": "user", "content": "Hi"}}}}})
        self.assertEqual(status, 200, c)
        self.assertEqual(c["chat"]["title"], "Outside")
        status, whole = self.ann.get(f"/api/v1/chats/{c['id']}")
        self.assertEqual(len(whole["chat"]["history"]["messages"]), 1)
        more = dict(whole["chat"])
        parent = whole["chat"]["history"]["currentId"]
        new = "0b8a3a52-54a8-4f0e-9e0e-8d2f4f3b8f01"
        more["history"]["messages"][new] = {"id": new, "parentId": parent, "role": "assistant", "content": "Hello"}
        more["history"]["currentId"] = new
        status, whole = self.ann.post(f"/api/v1/chats/{c['id']}", {"chat": more})
        self.assertEqual((status, len(whole["chat"]["history"]["messages"])), (200, 2))
        self.assertEqual(self.ann.get("/api/v1/chats/list?page=1")[0], 200)

    def test_second_user_sees_nothing(self):
        chat, q, a = self.answered("The password is swordfish.")
        folder = self.ann.post("/api/v1/folders/", {"name": "Mine"})[1]["id"]
        flow = self.ann.post("/api/v1/workflows/", {"name": "Mine", "data": {"x": 1}})[1]["id"]
        know = self.ann.post("/api/v1/knowledge/create", {"name": "Mine"})[1]["id"]
        file = self.ann.upload("a.txt", b"swordfish")[1]["id"]
        key = self.ann.post("/api/v1/auths/keys", {"name": "x", "scopes": ["chat"]})[1]["id"]
        session = self.ann.get("/api/v1/auths/sessions")[1][0]["id"]
        m = f"/api/v1/chats/{chat}/messages/{a['id']}"
        for method, path, body in [
                ("GET", f"/api/v1/chats/{chat}", None), ("GET", f"/api/v1/chats/{chat}/thread", None),
                ("GET", f"/api/v1/chats/{chat}/events", None), ("GET", f"/api/v1/events?chat={chat}", None),
                ("GET", f"/api/v1/chats/{chat}/export", None), ("POST", f"/api/v1/chats/{chat}", {"title": "x"}),
                ("DELETE", f"/api/v1/chats/{chat}", None), ("POST", f"/api/v1/chats/{chat}/pin", {}),
                ("POST", f"/api/v1/chats/{chat}/clone", {}), ("POST", f"/api/v1/chats/{chat}/share", {}),
                ("POST", f"/api/v1/chats/{chat}/title", {}), ("POST", f"/api/v1/chats/{chat}/stop", {}),
                ("POST", f"/api/v1/chats/{chat}/messages", {"content": "x"}),
                ("POST", f"/api/v1/chats/{chat}/pictures", {"prompt": "x"}), ("GET", m, None), ("POST", m, {"content": "x"}),
                ("DELETE", m, None), ("POST", m + "/regenerate", {}), ("POST", m + "/continue", {}), ("POST", m + "/stop", {}),
                ("POST", m + "/rate", {"rating": 1}), ("GET", m + "/workflow", None), ("GET", f"/api/tasks/chat/{chat}", None),
                ("GET", f"/api/v1/folders/{folder}", None), ("POST", f"/api/v1/folders/{folder}/update", {"name": "x"}),
                ("DELETE", f"/api/v1/folders/{folder}", None), ("GET", f"/api/v1/chats/folder/{folder}", None),
                ("GET", f"/api/v1/workflows/{flow}", None), ("POST", f"/api/v1/workflows/{flow}", {"name": "x"}),
                ("DELETE", f"/api/v1/workflows/{flow}", None), ("GET", f"/api/v1/knowledge/{know}", None),
                ("POST", f"/api/v1/knowledge/{know}/update", {"name": "x"}), ("DELETE", f"/api/v1/knowledge/{know}/delete", None),
                ("POST", f"/api/v1/knowledge/{know}/file/add", {"file_id": file}), ("POST", f"/api/v1/knowledge/{know}/reset", {}),
                ("GET", f"/api/v1/files/{file}", None), ("GET", f"/api/v1/files/{file}/content", None),
                ("GET", f"/api/v1/files/{file}/data/content", None), ("GET", f"/api/v1/files/{file}/process/status", None),
                ("DELETE", f"/api/v1/files/{file}", None), ("DELETE", f"/api/v1/auths/keys/{key}", None),
                ("DELETE", f"/api/v1/auths/sessions/{session}", None)]:
            self.assertEqual(self.bob.call(method, path, body)[0], 404, f"{method} {path}")
        mine = self.bob.new_chat(model=MODEL)
        for body in ({"content": "x", "files": [file]}, {"content": "x", "knowledge": [know]}, {"content": "x", "knowledge": [file]},
                     {"content": "x", "parent_id": q["id"]}, {"content": "x", "user_id": q["id"]}):
            self.assertIn(self.bob.post(f"/api/v1/chats/{mine}/messages", body)[0], (404, 409), body)
        self.assertEqual(self.bob.post(f"/api/v1/chats/{mine}", {"folder_id": folder})[0], 404)
        self.assertEqual(self.bob.post("/api/v1/chats/new", {"folder_id": folder})[0], 404)
        self.assertEqual(self.bob.get("/api/v1/chats/search?text=swordfish")[1], [])
        self.assertEqual(self.bob.post("/api/v1/knowledge/search", {"query": "swordfish", "files": [file], "knowledge": [know]})[1]["sources"], [])
        self.assertEqual(self.bob.get(f"/api/v1/chats/{mine}/messages/{a['id']}")[0], 404)
        self.assertEqual([c["id"] for c in self.bob.get("/api/v1/chats/")[1]], [mine])
        for kind in ("folders", "workflows", "knowledge", "files", "prompts"):
            self.assertEqual(self.bob.get(f"/api/v1/{kind}/")[1], [], kind)
        self.assertEqual(Client(self.s.site).get(f"/api/v1/chats/{chat}")[0], 401)
        with Events(self.bob, "/api/v1/events") as ev:
            _, again = self.ann.say(chat, "Once more", params={"num_predict": 3})
            self.ann.wait_end(chat, again["id"])
            self.bob.post(f"/api/v1/chats/{mine}", {"title": "mark"})
            self.assertEqual(ev.next()[1]["id"], mine)
        shared = self.ann.post(f"/api/v1/chats/{chat}/share")[1]["share_id"]
        self.assertEqual(self.bob.get(f"/api/v1/chats/share/{shared}")[0], 200)
        self.assertEqual(self.bob.delete(f"/api/v1/chats/share/{shared}")[0], 404)
        self.assertEqual(self.bob.get(f"/api/v1/chats/{chat}/share")[0], 404)
        self.ann.delete(f"/api/v1/chats/{chat}/share")
        self.assertEqual(self.bob.get(f"/api/v1/chats/share/{shared}")[0], 404)

    def test_a_share_is_a_snapshot(self):
        chat, q, a = self.answered("Tell a secret.")
        self.ann.post(f"/api/v1/chats/{chat}", {"system": "hidden words", "title": "One", "meta": {"tags": ["x"]}})
        self.assertEqual(self.ann.get(f"/api/v1/chats/{chat}/share")[0], 404)
        s = self.ann.post(f"/api/v1/chats/{chat}/share")[1]
        self.assertGreater(s["shared_at"], 0)

        def seen():
            status, got = self.bob.get(f"/api/v1/chats/share/{s['share_id']}")
            self.assertEqual(status, 200)
            self.assertNotIn("hidden words", json.dumps(got))
            self.assertNotIn(chat, json.dumps(got["chat"]))
            return got["title"], got["chat"]["history"]["messages"]
        title, before = seen()
        self.assertEqual((title, set(before)), ("One", {q["id"], a["id"]}))
        self.ann.say(chat, "More", generate=False)
        self.ann.post(f"/api/v1/chats/{chat}/messages/{q['id']}", {"content": "changed"})
        self.ann.post(f"/api/v1/chats/{chat}", {"title": "Two"})
        self.assertEqual(seen(), ("One", before))
        self.assertEqual(self.ann.post(f"/api/v1/chats/{chat}/share")[1]["share_id"], s["share_id"])
        title, after = seen()
        self.assertEqual((title, len(after), after[q["id"]]["content"]), ("Two", 3, "changed"))
        self.assertEqual(self.ann.get(f"/api/v1/chats/{chat}")[1]["share_id"], s["share_id"])
        self.assertEqual(self.ann.delete(f"/api/v1/chats/share/{s['share_id']}")[0], 200)
        self.assertEqual(self.bob.get(f"/api/v1/chats/share/{s['share_id']}")[0], 404)
        self.assertIsNone(self.ann.get(f"/api/v1/chats/{chat}")[1]["share_id"])
        again = self.ann.post(f"/api/v1/chats/{chat}/share")[1]["share_id"]
        self.assertNotEqual(again, s["share_id"])
        self.ann.delete(f"/api/v1/chats/{chat}")
        self.assertEqual(self.bob.get(f"/api/v1/chats/share/{again}")[0], 404)

    def test_a_share_shows_the_branch_that_was_shown(self):
        chat = self.ann.new_chat()
        mine, hidden = (self.ann.upload(f"{n}.txt", n.encode())[1]["id"] for n in ("shown", "hidden"))
        first, _ = self.ann.say(chat, "first try", generate=False, files=[hidden])
        second, _ = self.ann.say(chat, "second try", generate=False, parent_id=None, files=[mine])
        end, _ = self.ann.say(chat, "its end", generate=False, parent_id=second["id"])
        share = self.ann.post(f"/api/v1/chats/{chat}/share")[1]["share_id"]

        def seen():
            h = self.bob.get(f"/api/v1/chats/share/{share}")[1]["chat"]["history"]
            files = {f: self.bob.raw("GET", f"/api/v1/chats/share/{share}/files/{f}/content")[0] for f in (mine, hidden)}
            return set(h["messages"]), h["currentId"], files
        self.assertEqual(seen(), ({second["id"], end["id"]}, end["id"], {mine: 200, hidden: 404}))
        self.ann.post(f"/api/v1/chats/{chat}", {"current_id": first["id"]})
        self.ann.post(f"/api/v1/chats/{chat}/share")
        self.assertEqual(seen(), ({first["id"]}, first["id"], {mine: 404, hidden: 200}))
        empty = self.ann.new_chat()
        share = self.ann.post(f"/api/v1/chats/{empty}/share")[1]["share_id"]
        self.assertEqual(self.bob.get(f"/api/v1/chats/share/{share}")[1]["chat"]["history"]["messages"], {})

    def test_deleting_while_it_runs(self):
        chat = self.ann.new_chat(model=MODEL)
        with Events(self.ann, f"/api/v1/chats/{chat}/events") as ev:
            self.ann.say(chat, "Write and write.", params={**LONG, "num_predict": 3000})
            ev.until("delta")
            self.assertEqual(self.ann.delete(f"/api/v1/chats/{chat}")[0], 200)
            ev.until("chat_deleted")
        self.assertEqual(self.ann.get("/api/v1/machine")[0], 200)

    def test_many_at_once_are_refused(self):
        chat = self.ann.new_chat(model=MODEL)
        seen = [self.ann.post(f"/api/v1/chats/{chat}/messages", {"content": "x", "params": {"num_predict": 2000}})[0] for _ in range(10)]
        self.assertEqual(seen[:8], [200] * 8)
        self.assertEqual(seen[8:], [409] * 2)
        self.ann.post(f"/api/v1/chats/{chat}/stop")

    def test_models_that_cannot_be_read(self):
        """A file that is no GGUF stays in the lists, with the reason; a broken manifest is told of in the log."""
        junk, config = b"GGUF but not really", b'{"model_format":"gguf"}'
        digests = ["sha256:" + hashlib.sha256(b).hexdigest() for b in (junk, config)]
        library = self.s.home / "models" / "manifests" / "registry.ollama.ai" / "library"
        for blob, digest in zip((junk, config), digests):
            (self.s.home / "models" / "blobs" / digest.replace(":", "-")).write_bytes(blob)
        for name in ("junk", "torn"):
            (library / name).mkdir()
        (library / "torn" / "latest").write_text("{")
        (library / "junk" / "latest").write_text(json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digests[1],
                       "size": len(config)},
            "layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": digests[0], "size": len(junk)}]}))
        try:
            for _ in range(3):
                listed = {m["id"]: m for m in self.ann.get("/api/models")[1]["data"]}
            self.assertTrue(listed["junk:latest"]["error"])
            self.assertEqual((listed["junk:latest"]["capabilities"], listed["junk:latest"]["loaded"]), ([], False))
            self.assertNotIn("error", listed[MODEL])
            self.assertIn("junk:latest", [m["name"] for m in self.s.call("/api/tags")[1]["models"]])
            self.assertIn("junk:latest", [m["id"] for m in self.s.call("/v1/models")[1]["data"]])
            self.assertEqual(self.s.log_text().count("library/torn:latest cannot be read"), 1)
        finally:
            for name in ("junk", "torn"):
                shutil.rmtree(library / name)

    def test_load_and_unload(self):
        self.assertEqual(self.ann.post("/api/models/load", {"model": MODEL})[0], 200)
        self.assertTrue([m for m in self.ann.get("/api/models")[1]["data"] if m["id"] == MODEL][0]["loaded"])
        self.assertEqual(self.ann.post("/api/models/pin", {"model": MODEL, "pinned": True})[0], 200)
        machine = self.ann.get("/api/v1/machine")[1]
        self.assertTrue(machine["models"][0]["pinned"])
        self.assertGreater(machine["memory"]["used"], 0)
        self.assertEqual(self.ann.post("/api/models/unload", {"model": MODEL})[0], 200)
        self.assertEqual(self.ann.post("/api/models/load", {"model": "no"})[0], 404)
        with Events(self.ann, "/api/v1/machine/events") as ev:
            self.assertIn("memory", ev.until("machine"))
        lines = self.ann.get("/api/v1/logs")[1]["lines"]
        numbers = [x["n"] for x in lines]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(lines))))
        self.assertTrue(1.6e9 < lines[-1]["at"] < 1e11, lines[-1])  # whole seconds since 1970
        rest = self.ann.get(f"/api/v1/logs?after={numbers[0]}")[1]["lines"]
        self.assertEqual([x["n"] for x in rest][:len(numbers) - 1], numbers[1:])
        self.assertEqual(self.ann.get(f"/api/v1/logs?after={2**60}")[1]["lines"][0]["n"], numbers[0])  # of another start


@needs(MODEL)
class Killed(unittest.TestCase):
    def test_kill_in_the_middle_keeps_the_text(self):
        with WebServer() as s:
            ann = s.user()
            chat = ann.new_chat(model=MODEL)
            with Events(ann, f"/api/v1/chats/{chat}/events") as ev:
                _, a = ann.say(chat, "Tell me a long story about a dragon.", params={**LONG, "num_predict": 3000})
                while len(ev.text(a["id"])) < 300:
                    ev.next()
                shown = ev.text(a["id"])
                time.sleep(0.4)
                s.stop(signal.SIGKILL)
            s.start()
            m = ann.message(chat, a["id"])
            self.assertEqual(m["state"], "interrupted")
            self.assertTrue(m["content"].startswith(shown))
            self.assertEqual(len(ann.get("/api/v1/chats/search?text=dragon")[1]), 1)
            status, _ = ann.post(f"/api/v1/chats/{chat}/messages/{a['id']}/continue", {"params": {"num_predict": 5}})
            self.assertEqual(status, 200)
            self.assertTrue(ann.wait_end(chat, a["id"])["content"].startswith(m["content"]))

    def test_a_quiet_end_interrupts(self):
        with WebServer() as s:
            ann = s.user()
            chat = ann.new_chat(model=MODEL)
            with Events(ann, f"/api/v1/chats/{chat}/events") as ev:
                _, a = ann.say(chat, "Tell me everything.", params={**LONG, "num_predict": 3000})
                ev.until("delta")
                self.assertEqual(s.stop(), 0)
            s.start()
            m = ann.message(chat, a["id"])
            self.assertEqual(m["state"], "interrupted")
            self.assertTrue(m["content"])


if __name__ == "__main__":
    unittest.main()
