"""Files and knowledge: reading, finding passages, citing them; and what hostile files do."""
import os
import time
import unittest
import zlib

from .harness import needs
from .web import Client, OneUser, WebServer

MODEL = "smollm2:135m"


def pdf(text):
    """A small PDF with one line of text."""
    stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
               b"/Resources << /Font << /F1 5 0 R >> >> >>",
               b"<< /Length %d >>\nstream\n" % len(stream) + stream + b"\nendstream",
               b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    out, offsets = b"%PDF-1.4\n", []
    for i, o in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % i + o + b"\nendobj\n"
    at = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % o for o in offsets)
    return out + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % at


def png():
    raw = zlib.compress(b"\0\xff\0\0")
    chunk = lambda kind, data: len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\2\0\0\0") + chunk(b"IDAT", raw) + chunk(b"IEND", b""))


def wait(user, file):
    for _ in range(600):
        status = user.get(f"/api/v1/files/{file}/process/status")[1]
        if status["status"] != "pending":
            return status
        time.sleep(0.05)
    raise AssertionError("still pending")


class Files(OneUser):
    def put(self, name, data, kind="text/plain"):
        status, f = self.ann.upload(name, data, kind)
        self.assertEqual(status, 200, f)
        return f["id"], wait(self.ann, f["id"])

    def test_words_alone_without_the_model(self):
        file, status = self.put("a.md", "# Otters\n\nOtters hold hands while they sleep.\n".encode())
        self.assertEqual(status["status"], "completed")
        self.assertIn("all-minilm", status["error"])
        found = self.ann.post("/api/v1/knowledge/search", {"query": "Why do otters sleep?", "files": [file]})[1]
        self.assertEqual(found["mode"], "bm25")
        self.assertIn("hold hands", found["sources"][0]["text"])

    def test_pdf(self):
        file, status = self.put("x.pdf", pdf("The secret word is rhubarb."), "application/pdf")
        self.assertEqual(status["status"], "completed", status)
        self.assertIn("rhubarb", self.ann.get(f"/api/v1/files/{file}/data/content")[1]["content"])

    def test_encodings(self):
        words = "Grüße aus Köln, caf\u00e9 \u2013 fin."
        for name, data in (("le.txt", b"\xff\xfe" + words.encode("utf-16-le")), ("be.txt", words.encode("utf-16-be").join((b"\xfe\xff", b""))),
                           ("bare.txt", words.encode("utf-16-le")), ("odd.txt", b"\xff\xfe" + words.encode("utf-16-le") + b"x"),
                           ("utf8.txt", b"\xef\xbb\xbf" + words.encode()), ("win.csv", words.encode("cp1252"))):
            file, status = self.put(name, data, "application/octet-stream")
            self.assertEqual(status["status"], "completed", (name, status))
            self.assertEqual(self.ann.get(f"/api/v1/files/{file}/data/content")[1]["content"], words, name)
        file, _ = self.put("latin.txt", "Élan, Ærø".encode("latin-1") + b" and more")
        self.assertIn("Ærø", self.ann.get(f"/api/v1/files/{file}/data/content")[1]["content"])
        file, _ = self.put("emoji.txt", "\ufeffa \U0001f600 b".encode("utf-16-le") + b"\x3d\xd8")
        self.assertEqual(self.ann.get(f"/api/v1/files/{file}/data/content")[1]["content"], "a \U0001f600 b\ufffd")

    def test_broken_files(self):
        for name, data in (("a.pdf", b"%PDF-1.4 nothing"), ("b.pdf", pdf("x")[:200]), ("c.bin", os.urandom(5000)),
                           ("d.zip", b"PK\3\4" + b"\0" * 100), ("e.txt", b"abc\0def")):
            _, status = self.put(name, data, "application/octet-stream")
            self.assertEqual(status["status"], "failed", name)
            self.assertTrue(status["error"])
        self.assertEqual(self.ann.upload("empty.txt", b"")[0], 400)

    def test_what_is_served(self):
        page = b"<html><script>alert(1)</script></html>"
        svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
        for name, data, kind in (("x.html", page, "text/html"), ("x.svg", svg, "image/svg+xml"), ("x.js", b"alert(1)", "text/javascript")):
            file, _ = self.put(name, data, kind)
            status, headers, body = self.ann.raw("GET", f"/api/v1/files/{file}/content")
            self.assertEqual((status, body), (200, data))
            self.assertTrue(headers["Content-Disposition"].startswith("attachment"), name)
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertIn("sandbox", headers["Content-Security-Policy"])
            self.assertEqual(headers["Content-Type"], "text/plain")
        file, _ = self.put("x.png", png(), "text/html")
        _, headers, _ = self.ann.raw("GET", f"/api/v1/files/{file}/content")
        self.assertEqual((headers["Content-Type"], headers["Content-Disposition"].split(";")[0]), ("image/png", "inline"))

    def test_names_are_only_names(self):
        for name in ("../../../etc/passwd", "..\\..\\x", "a/b/c.txt", "\u202egnp.txt", "x" * 5000, "%00", "a\tb"):
            status, f = self.ann.upload(name.encode("utf-8", "replace").decode("latin-1"), b"text")
            self.assertEqual(status, 200)
            self.assertNotIn("/", f["name"])
            self.assertLessEqual(len(f["name"].encode()), 300)
        self.assertFalse([p for p in (self.s.home / "files").iterdir() if len(p.name) != 36 and not p.name.startswith(".")])

    def test_odd_ids(self):
        for odd in ("..%2f..%2fsecret_key", "%2e%2e", "x" * 3000, "%00", "*"):
            self.assertEqual(self.ann.get(f"/api/v1/files/{odd}/content")[0], 404)
        c = Client(self.s.site, cookie=self.ann.cookie)
        self.assertEqual(c.raw("POST", "/api/v1/files/", b"x", {"Content-Type": "text/plain"})[0], 415)
        self.assertIn(c.raw("POST", "/api/v1/files/", b"x", {"Content-Type": "multipart/form-data"})[0], (400, 415))
        self.assertEqual(c.raw("POST", "/api/v1/files/", b"{}", {"Content-Type": "application/json"})[0], 400)

    def test_long_text(self):
        text = "".join(f"Line {i} speaks of topic{i}.\n" for i in range(20000))
        file, status = self.put("long.txt", text.encode())
        self.assertEqual(status["status"], "completed", status)
        got = self.ann.get(f"/api/v1/files/{file}")[1]
        self.assertGreater(got["n_chunks"], 400)
        found = self.ann.post("/api/v1/knowledge/search", {"query": "topic15151", "files": [file], "k": 1})[1]["sources"]
        self.assertIn("topic15151", found[0]["text"])


@needs("all-minilm")
class AnotherModel(unittest.TestCase):
    def test_vectors_follow_the_model(self):
        with WebServer(models=("all-minilm",)) as s:
            ann = s.user()
            self.assertEqual(ann.post("/ollama/api/create", {"model": "other", "from": "all-minilm", "stream": False,
                                                             "parameters": {"num_ctx": 128}})[0], 200)
            ann.post("/api/v1/auths/admin/config", {"RAG_EMBEDDING_MODEL": "not-here"})
            file = ann.upload("sea.txt", b"An automobile crosses the bridge every morning.")[1]["id"]
            self.assertIn("not-here", wait(ann, file)["error"])

            def mode():
                found = ann.post("/api/v1/knowledge/search", {"query": "Which car drives over the bridge?", "files": [file]})[1]
                self.assertEqual(found["sources"][0]["file_id"], file)
                return found["mode"]
            self.assertEqual(mode(), "bm25")
            for model in ("all-minilm", "other"):
                ann.post("/api/v1/auths/admin/config", {"RAG_EMBEDDING_MODEL": model})
                self.assertEqual(mode(), "bm25")  # the search has seen it: the vectors are made again
                self.assertEqual(wait(ann, file), {"status": "completed", "error": None})
                self.assertEqual(mode(), "hybrid")
            ann.post("/api/v1/auths/admin/config", {"CHUNK_SIZE": 60})
            long = ann.upload("long.txt", b"One sentence follows another one. " * 20)[1]["id"]
            wait(ann, long)
            before = ann.get(f"/api/v1/files/{long}")[1]["n_chunks"]
            ann.post("/api/v1/auths/admin/config", {"CHUNK_SIZE": 400})
            self.assertEqual(ann.post("/api/v1/knowledge/reindex")[1], {"status": True, "files": 2})
            wait(ann, long)
            self.assertLess(ann.get(f"/api/v1/files/{long}")[1]["n_chunks"], before)
            bob = s.second_user(ann)
            self.assertEqual(bob.post("/api/v1/knowledge/reindex")[1]["files"], 0)


@needs(MODEL, "all-minilm")
class Plain(unittest.TestCase):
    def test_plain_clients_draw_on_files(self):
        with WebServer(models=(MODEL, "all-minilm")) as s:
            ann = s.user()
            bob = s.second_user(ann)
            file = ann.upload("cat.md", b"The cat is called Minka. " * 20)[1]["id"]
            wait(ann, file)
            know = ann.post("/api/v1/knowledge/create", {"name": "Cats"})[1]["id"]
            ann.post(f"/api/v1/knowledge/{know}/file/add", {"file_id": file})

            def asked(who, *ids, content="What is the cat called?", **more):
                return who.post("/api/chat/completions", {
                    "model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": content}],
                    **({"files": [{"type": "file", "id": i} for i in ids]} if ids else {}), **more})

            def tokens(*a, **k):
                status, out = asked(*a, **k)
                self.assertEqual(status, 200, out)
                return out["usage"]["prompt_tokens"]
            plain = tokens(ann)
            for ids in ((file,), (know,)):
                self.assertGreater(tokens(ann, *ids), plain + 30)
            self.assertGreater(tokens(ann, file, content=[{"type": "text", "text": "What is the cat called?"}]), plain + 30)
            self.assertEqual(tokens(bob, file, know), plain)  # somebody else's
            self.assertEqual(tokens(ann, "nothing"), plain)
            for odd in ({}, "x", [5, None, {"id": 7}]):
                self.assertEqual(tokens(ann, **{"files": odd}), plain, odd)
            key = lambda *scopes: Client(s.site, bearer=ann.post("/api/v1/auths/keys", {"name": "k", "scopes": scopes})[1]["key"])
            self.assertEqual(tokens(key("chat")), plain)
            self.assertEqual(asked(key("chat"), file)[0], 400)
            self.assertGreater(tokens(key("chat", "web"), file), plain + 30)


class Knowledge(unittest.TestCase):
    def test_cited_passages(self):
        with WebServer(models=(MODEL, "all-minilm")) as s:
            ann = s.user()
            know = ann.post("/api/v1/knowledge/create", {"name": "Countries", "description": "d"})[1]["id"]
            texts = {"zubrowka.txt": "The capital city of Zubrowka is called Lutz.",
                     "fruit.txt": "Bananas are yellow when they are ripe.",
                     "sea.txt": "An automobile crosses the bridge every morning."}
            ids = {}
            for name, text in texts.items():
                ids[name] = ann.upload(name, text.encode())[1]["id"]
                self.assertEqual(wait(ann, ids[name]), {"status": "completed", "error": None})
                self.assertEqual(ann.post(f"/api/v1/knowledge/{know}/file/add", {"file_id": ids[name]})[0], 200)
            self.assertEqual(ann.get(f"/api/v1/knowledge/{know}")[1]["n_files"], 3)
            found = ann.post("/api/v1/knowledge/search", {"query": "Which car drives over it?", "knowledge": [know], "k": 1})[1]
            self.assertEqual((found["mode"], found["sources"][0]["name"]), ("hybrid", "sea.txt"))  # by meaning alone
            chat = ann.new_chat(model=MODEL)
            _, a = ann.say(chat, "What is the capital of Zubrowka?", knowledge=[know], params={"num_predict": 30, "temperature": 0})
            end = ann.wait_end(chat, a["id"])
            self.assertEqual(end["state"], "done", end)
            self.assertEqual(end["sources"][0]["name"], "zubrowka.txt")
            self.assertEqual(end["sources"][0]["n"], 1)
            self.assertIn("Lutz", end["content"])
            _, b = ann.say(chat, "What does the file say?", files=[ids["fruit.txt"]], params={"num_predict": 30, "temperature": 0})
            end = ann.wait_end(chat, b["id"])
            self.assertIn("anana", end["content"])
            ann.post(f"/api/v1/knowledge/{know}/file/remove", {"file_id": ids["sea.txt"]})
            ann.delete(f"/api/v1/files/{ids['fruit.txt']}")
            self.assertEqual(ann.get(f"/api/v1/knowledge/{know}")[1]["n_files"], 1)
            self.assertEqual(ann.delete(f"/api/v1/knowledge/{know}/delete")[0], 200)
            self.assertEqual(ann.get("/api/v1/knowledge/")[1], [])
            image = ann.upload("x.png", png(), "image/png")[1]
            self.assertEqual(image["kind"], "image")
            _, c = ann.say(chat, "What is this?", files=[image["id"]])
            end = ann.wait_end(chat, c["id"])
            self.assertEqual(end["state"], "failed")
            self.assertIn("images", end["error"])


if __name__ == "__main__":
    unittest.main()
