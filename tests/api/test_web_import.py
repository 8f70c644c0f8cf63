"""Chats from elsewhere: Open WebUI's and ChatGPT's exports in all their shapes, and clients that keep histories."""
import base64
import json
import unittest
import uuid
import zlib

from .web import OneUser


def ids(n):
    return [str(uuid.uuid4()) for _ in range(n)]


def png_of(width, height):
    chunk = lambda kind, data: len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\2\0\0\0"
    rows = zlib.compress((b"\0" + b"\xff\0\0" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def node(parent, role, *parts, kind="text", **more):
    content = {"content_type": kind, "parts": list(parts)} if kind in ("text", "multimodal_text") else {"content_type": kind, **parts[0]}
    return {"parent": parent, "children": [], "message": {
        "author": {"role": role}, "content": content, "create_time": 1700000000.5, "metadata": more}}


class Import(OneUser):
    def put(self, *chats):
        status, out = self.ann.post("/api/v1/chats/import", {"chats": list(chats)})
        self.assertEqual((status, out["skipped"]), (200, 0), out)
        return [self.ann.thread(i) for i in out["ids"]]

    def tree(self, thread):
        """Texts by the text of their parent."""
        by_id = {m["id"]: m for m in thread["messages"]}
        return {m["content"]: by_id[m["parent_id"]]["content"] if m["parent_id"] else None for m in thread["messages"]}

    def test_chatgpt_shapes(self):
        mapping = {
            "root": {"parent": None, "children": ["s"], "message": None},
            "s": node("root", "system", ""),
            "u": node("s", "user", "Look", {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}, None, 5,
                      {"content_type": "audio_transcription", "text": "and listen"}, kind="multimodal_text"),
            "t": node("u", "assistant", {"thoughts": [{"summary": "s", "content": "I think"}, {"content": "so"}]}, kind="thoughts"),
            "tool": node("t", "tool", {"text": "42"}, kind="execution_output"),
            "a": node("tool", "assistant", "Nice", model_slug="gpt-5"),
            "c": node("a", "assistant", {"language": "python", "text": "print(1)"}, kind="code"),
            "h": node("c", "user", "hidden", is_visually_hidden_from_conversation=True),
            "e": node("h", "user", {"user_profile": "x"}, kind="user_editable_context"),
            "l": node("e", "assistant", "Last"),
            "lost": node("nobody", "user", "Orphan"),
            "junk": [], "none": None, "text": "x", "no author": {"message": {"content": None, "author": None}, "parent": 7},
        }
        t = self.put({"title": "A GPT chat", "mapping": mapping, "current_node": "e", "create_time": 1.7e9, "is_archived": True})[0]
        self.assertEqual(self.tree(t), {"Look\nand listen": None, "Nice": "Look\nand listen", "```\nprint(1)\n```": "Nice",
                                        "Last": "```\nprint(1)\n```", "Orphan": None})
        nice = [m for m in t["messages"] if m["content"] == "Nice"][0]
        self.assertEqual((nice["thinking"], nice["model"], nice["created_at"]), ("I think\n\nso", "gpt-5", 1700000000))
        self.assertEqual([m["content"] for m in t["messages"] if m["id"] == t["current_id"]], ["```\nprint(1)\n```"])
        self.assertEqual((t["title"], t["created_at"], t["archived"]), ("A GPT chat", 1700000000, True))

    def test_files_as_editors_leave_them(self):
        chat = json.dumps([{"title": "Marked", "chat": {"messages": [{"role": "user", "content": "Hi"}]}}]).encode()
        send = lambda data: self.ann.raw("POST", "/api/v1/chats/import", data, {"Content-Type": "application/json"})
        status, _, out = send(b"\xef\xbb\xbf" + chat)
        self.assertEqual((status, json.loads(out)["imported"]), (200, 1))
        for nothing in (b"", b"\xef\xbb\xbf"):
            status, _, out = send(nothing)
            self.assertEqual((status, json.loads(out)["detail"]), (400, "the file is not JSON: it is empty"))
        copied = self.ann.post(f"/api/v1/chats/{json.loads(send(chat)[2])['ids'][0]}/clone", {"title": "Another"})[1]
        self.assertEqual(copied["title"], "Another")

    def test_open_webui_shapes(self):
        q, a, b, c = ids(4)
        thought = '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n> Hm\n>\n> well\n</details>\nYes.'
        chat = {"id": "x", "user_id": "y", "title": "Outer", "created_at": 1700000001, "updated_at": 1700000002, "pinned": True,
                "meta": {"tags": ["one", "two"]}, "chat": {
                    "title": "Inner", "models": ["llama3:8b"], "params": {"temperature": 0.5}, "history": {"currentId": a, "messages": {
                        a: {"id": a, "parentId": q, "childrenIds": [], "role": "assistant", "content": thought, "model": "llama3:8b",
                            "modelIdx": 0, "done": True, "timestamp": 1700000003, "annotation": {"rating": -1},
                            "sources": [{"source": {"name": "a.pdf"}, "document": ["first", "second"], "metadata": [{}], "distances": [0.5]}],
                            "usage": {"prompt_tokens": 5}, "statusHistory": [{"action": "x"}]},
                        b: {"id": b, "parentId": q, "role": "assistant", "content": "", "error": {"content": "no memory"}},
                        c: {"id": c, "parentId": b, "role": "user", "content": None},
                        q: {"id": q, "parentId": None, "childrenIds": [a, b], "role": "user", "content": [{"type": "text", "text": "Is it?"},
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}}], "models": ["llama3:8b"]}}}}}
        t = self.put(chat)[0]
        by = {m["role"] + str(m["state"]): m for m in t["messages"]}
        self.assertEqual(set(by), {"userdone", "assistantdone", "assistantfailed"})
        answer = by["assistantdone"]
        self.assertEqual((answer["content"], answer["thinking"], answer["rating"]), ("Yes.", "Hm\n\nwell", -1))
        self.assertEqual([(x["n"], x["name"], x["text"], x["score"]) for x in answer["sources"]],
                         [(1, "a.pdf", "first", 0.5), (2, "a.pdf", "second", 0.0)])
        self.assertEqual(by["assistantfailed"]["error"], "no memory")
        self.assertEqual((by["userdone"]["content"], t["current_id"], t["title"], t["pinned"]), ("Is it?", answer["id"], "Inner", True))
        self.assertEqual((t["created_at"], t["updated_at"], t["model"]), (1700000001, 1700000002, "llama3:8b"))
        self.assertEqual([x["name"] for x in self.ann.get(f"/api/v1/chats/{t['id']}/tags")[1]], ["one", "two"])

    def test_broken_trees(self):
        loop = {"messages": [], "history": {"currentId": "b", "messages": {
            "a": {"parentId": "b", "role": "user", "content": "A"}, "b": {"parentId": "a", "role": "assistant", "content": "B"},
            "c": {"parentId": "c", "role": "user", "content": "C"}, "d": {"parentId": "x", "role": "user", "content": "D"},
            "x": {"parentId": "y", "role": "tool", "content": "X"}, "y": {"parentId": "x", "role": "tool", "content": "Y"},
            "": {"role": "user", "content": "no id"}, "f": {"role": "constructor", "content": "F"}, "g": 5, "h": None}}}
        t = self.put(loop)[0]
        self.assertEqual(sorted(m["content"] for m in t["messages"]), ["A", "B", "C", "D"])
        self.assertEqual(sum(m["parent_id"] is None for m in t["messages"]), 3)
        deep = {"messages": {}}
        for i in range(10000):  # children come first, most have no text
            deep["messages"][str(i)] = {"parentId": str(i + 1), "role": "user" if i in (0, 9999) else "tool", "content": f"m{i}"}
        t = self.put({"chat": {"history": deep}})[0]
        self.assertEqual(self.tree(t), {"m9999": None, "m0": "m9999"})
        for odd in ({"title": 5, "messages": "x"}, {"history": 3}, {"history": {"messages": []}}, {"mapping": "x"},
                    {"messages": [None, 1, "x", {"role": "user"}, {"role": "user", "content": "\ud800 \u0000 x"}]},
                    {"chat": {"messages": [{"role": "user", "content": "é" * 3000000}], "title": "ü" * 9000, "models": "x", "params": []}}):
            status, out = self.ann.post("/api/v1/chats/import", odd)
            self.assertEqual(status, 200, odd if len(str(odd)) < 500 else "long")
            thread = self.ann.thread(out["ids"][0])
            self.assertTrue(thread["title"])
            for m in thread["messages"]:
                self.assertNotIn("\ufffd", m["content"][-3:])
        for bad in ({}, {"chats": [{}]}, {"chats": [1]}, {"chat": {}}):
            self.assertEqual(self.ann.post("/api/v1/chats/import", bad)[0], 400, bad)
        self.assertEqual(self.ann.post("/api/v1/chats/import", {"chats": []})[1]["imported"], 0)
        nested = b'{"history":' + b'{"a":' * 100000 + b"1" + b"}" * 100001
        self.assertEqual(self.ann.raw("POST", "/api/v1/chats/import", nested, {"Content-Type": "application/json"})[0], 400)

    def test_large(self):
        messages = {str(i): {"parentId": str(i - 1) if i else None, "role": "user" if i % 2 == 0 else "assistant",
                             "content": f"message {i} " + "x" * 300} for i in range(10000)}
        t = self.put({"chat": {"title": "Long", "history": {"messages": messages, "currentId": "9999"}}})[0]
        self.assertEqual(len(t["messages"]), 10000)
        self.assertTrue([m for m in t["messages"] if m["id"] == t["current_id"]][0]["content"].startswith("message 9999 "))
        self.assertEqual(self.ann.get("/api/v1/chats/search?text=9998")[1][0]["id"], t["id"])
        whole = self.ann.get(f"/api/v1/chats/{t['id']}/export?format=json")[1]
        self.assertEqual(len(self.put(whole)[0]["messages"]), 10000)
        too_many = {str(i): {"role": "user", "content": "x"} for i in range(20005)}
        self.assertEqual(len(self.put({"history": {"messages": too_many}})[0]["messages"]), 20000)
        status, _, _ = self.ann.raw("POST", "/api/v1/chats/import", b" " * (65 << 20), {"Content-Type": "application/json"})
        self.assertEqual(status, 413)

    def test_a_client_that_keeps_the_history(self):
        q, a, q2, a2 = ids(4)

        def message(id, parent, role, content, **more):
            return {"id": id, "parentId": parent, "childrenIds": [], "role": role, "content": content, "timestamp": 1700000000, **more}
        history = {"currentId": a, "messages": {q: message(q, None, "user", "Hello"), a: message(a, q, "assistant", "")}}
        status, chat = self.ann.post("/api/v1/chats/new", {"chat": {"title": "Mine", "models": ["m"], "history": history, "messages": []}})
        self.assertEqual((status, set(chat["chat"]["history"]["messages"]), chat["chat"]["history"]["currentId"]), (200, {q, a}, a))
        self.assertEqual(set(self.ann.post("/api/v1/chats/new", {"chat": {"history": history}})[1]["chat"]["history"]["messages"]) & {q, a}, set())
        history["messages"][a].update(content="Hi there", done=True, usage={"completion_tokens": 2}, model="m")
        history["messages"] = {a2: message(a2, q2, "assistant", "Fine"), q2: message(q2, a, "user", "How are you?"), **history["messages"]}
        history["currentId"] = a2
        status, out = self.ann.post(f"/api/v1/chats/{chat['id']}", {"chat": {"history": history}})
        self.assertEqual((status, out["chat"]["history"]["currentId"]), (200, a2))
        got = out["chat"]["history"]["messages"]
        self.assertEqual({i: (m["parentId"], m["content"]) for i, m in got.items()},
                         {q: (None, "Hello"), a: (q, "Hi there"), q2: (a, "How are you?"), a2: (q2, "Fine")})
        self.assertEqual((got[a]["usage"], got[a]["childrenIds"], got[a]["model"]), ({"completion_tokens": 2}, [q2], "m"))
        foreign, child = ids(2)
        extra = {foreign: message(foreign, str(uuid.uuid4()), "user", "nowhere"), child: message(child, foreign, "user", "below"),
                 "not-a-uuid": message("x", None, "user", "x")}
        out = self.ann.post(f"/api/v1/chats/{chat['id']}", {"chat": {"history": {"messages": extra}}})[1]
        self.assertEqual(set(out["chat"]["history"]["messages"]), {q, a, q2, a2})
        many = ids(3000)
        chain = {many[i]: message(many[i], many[i - 1] if i else a2, "user", str(i)) for i in reversed(range(3000))}
        out = self.ann.post(f"/api/v1/chats/{chat['id']}", {"chat": {"history": {"messages": chain, "currentId": many[-1]}}})[1]
        self.assertEqual((len(out["chat"]["history"]["messages"]), out["chat"]["history"]["currentId"]), (3004, many[-1]))
        self.assertEqual(self.ann.post(f"/api/v1/chats/{chat['id']}", {"title": "Renamed"})[1]["chat"]["history"]["currentId"], many[-1])
        bob = self.s.second_user(self.ann)
        other = bob.new_chat()
        status, _ = bob.post(f"/api/v1/chats/{other}", {"chat": {"history": {"messages": {q: message(q, None, "user", "stolen")}}}})
        self.assertEqual(status, 409)
        self.assertEqual(self.ann.message(chat["id"], q)["content"], "Hello")

    def test_tags_and_other_names(self):
        chat = self.ann.new_chat()
        at = f"/api/v1/chats/{chat}/tags"
        self.assertEqual(self.ann.get(at), (200, []))
        self.ann.post(at, {"name": "Big Idea"})
        status, tags = self.ann.post(at, {"name": "big idea"})
        self.assertEqual((status, [(t["id"], t["name"]) for t in tags]), (200, [("big_idea", "Big Idea")]))
        self.ann.post(at, {"name": "work"})
        self.assertIn("work", [t["name"] for t in self.ann.get("/api/v1/chats/all/tags")[1]])
        self.assertEqual([t["name"] for t in self.ann.delete(at, body={"name": "work"})[1]], ["Big Idea"])
        self.assertEqual(self.ann.delete(at + "/all"), (200, []))
        self.assertEqual(self.ann.post(at, {"name": " "})[0], 400)
        self.assertEqual(self.ann.post(f"/api/v1/chats/{chat}", {"meta": {"tags": "x"}})[0], 200)
        self.assertEqual(self.ann.get("/api/v1/chats/all/tags")[0], 200)
        self.assertEqual(self.ann.get("/health/db")[1], {"status": True})
        self.assertEqual(self.ann.post(f"/api/tasks/stop/{chat}")[0], 404)

    def test_pictures_inside_become_files_of_the_importer(self):
        png = png_of(3, 2)
        data = "data:image/jpeg;base64," + base64.b64encode(png).decode()
        html = "data:image/png;base64," + base64.b64encode(b"<script>alert(1)</script>").decode()
        svg = "data:image/svg+xml;base64," + base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()
        bob = self.s.second_user(self.ann, "Carl")
        theirs = bob.upload("secret.txt", b"a secret")[1]["id"]
        mine = self.ann.upload("mine.txt", b"my own")[1]["id"]
        u, a, b = ids(3)
        files = [{"type": "image", "url": data, "name": "../../x.png"}, {"type": "image", "url": html}, {"type": "image", "url": svg},
                 {"type": "image", "url": "data:image/png;base64,@@@"}, {"type": "image", "url": "https://example.org/a.png"},
                 {"type": "file", "id": theirs}, {"type": "file", "file": {"id": mine}}, None, 7]
        messages = {u: {"id": u, "parentId": None, "role": "user", "content": "", "files": files},
                    a: {"id": a, "parentId": u, "role": "assistant", "content": "A square", "files": [{"url": data}] * 40,
                        "picture": {"files": [{"id": theirs}], "inputs": {"prompt": "x"}}},
                    b: {"id": b, "parentId": a, "role": "user", "content": [{"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {"url": data}}]}}
        t = self.put({"chat": {"title": "With pictures", "history": {"currentId": b, "messages": messages}}})[0]
        first, second, third = t["messages"]
        self.assertEqual([(f["name"], f["mime"], f["kind"]) for f in first["files"]], [("x.png", "image/png", "image"), ("mine.txt", "text/plain", "document")])
        status, _, got = self.ann.raw("GET", f"/api/v1/files/{first['files'][0]['id']}/content")
        self.assertEqual((status, got), (200, png))
        self.assertEqual([f["id"] for f in second["files"]], [first["files"][0]["id"]], "the same bytes are one file")
        self.assertIsNone(second["picture"])
        self.assertEqual((third["content"], len(third["files"])), ("And this?", 1))
        self.assertEqual(bob.get(f"/api/v1/files/{first['files'][0]['id']}")[0], 404)
        many = [{"url": "data:image/png;base64," + base64.b64encode(png_of(1, i + 1)).decode()} for i in range(40)]
        lots = self.put({"messages": [{"role": "user", "content": "x", "files": many}]})[0]
        self.assertEqual(len(lots["messages"][0]["files"]), 32)
        # A copy has them too, and no second ones.
        n = len(self.ann.get("/api/v1/files/")[1])
        copy = self.ann.thread(self.ann.post(f"/api/v1/chats/{t['id']}/clone", {})[1]["id"])
        self.assertEqual([m["files"] for m in copy["messages"]], [m["files"] for m in t["messages"]])
        self.assertEqual(len(self.ann.get("/api/v1/files/")[1]), n)


if __name__ == "__main__":
    unittest.main()
