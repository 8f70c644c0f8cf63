"""From outside: every route with somebody else's ids, forged cookies, headers of proxies, secrets from files, sockets."""
import base64
import http.client
import json
import os
import re
import tempfile
import unittest
from pathlib import Path

from .test_web_import import png_of
from .web import Client, OneUser, WebServer

ROOT = Path(__file__).resolve().parents[2]
SECRET = "swordfish"


def routes():
    """(method, pattern) of the web listener's table."""
    text = (ROOT / "src/api/web_routes.c").read_text()
    words = dict(re.findall(r"#define (\w+) (.+)", text))

    def pattern(tokens):
        return "".join(t[1:-1] if t[0] == '"' else pattern(words[t]) for t in re.findall(r'"[^"]*"|\b[A-Z]\w*\b', tokens))
    found = [(m, pattern(p)) for m, p in re.findall(r'\{"(\w+)",\s*((?:\b[A-Z]\b|"[^"]*"|\s)+),', text)]
    assert len(found) > 120, len(found)
    return found


class Others(unittest.TestCase):
    def test_no_route_gives_or_changes_what_is_somebody_elses(self):
        with WebServer(models=()) as s:
            ann = s.user()
            bob = s.second_user(ann)
            made = lambda path, **body: ann.post(path, body)[1]["id"]
            chat = ann.new_chat(title=SECRET)
            message = ann.post(f"/api/v1/chats/{chat}/messages", {"content": SECRET, "generate": False})[1]["user"]["id"]
            ids = {"chat": chat, "message": message, "file": ann.upload("a.txt", SECRET.encode())[1]["id"], "pull": "1", "share": "x",
                   "shared_file": ann.upload("a.png", png_of(3, 3), "image/png")[1]["id"],
                   "folder": made("/api/v1/folders/", name=SECRET), "workflow": made("/api/v1/workflows/", name=SECRET, data={"x": 1}),
                   "knowledge": made("/api/v1/knowledge/create", name=SECRET), "key": made("/api/v1/auths/keys", name=SECRET, scopes=["chat"]),
                   "prompt": made("/api/v1/prompts/create", command="/sword", name=SECRET, content=SECRET),
                   "preset": made("/api/v1/models/create", name=SECRET, base_model_id="x", params={"system": SECRET}),
                   "session": ann.get("/api/v1/auths/sessions")[1][0]["id"], "user": ann.get("/api/v1/auths/")[1]["id"]}
            ann.post(f"/api/v1/chats/{chat}/tags", {"name": SECRET})
            lists = ["/api/v1/chats/", "/api/v1/files/", "/api/v1/folders/", "/api/v1/knowledge/", "/api/v1/prompts/", "/api/v1/models/list",
                     "/api/v1/workflows/", "/api/v1/auths/keys", f"/api/v1/chats/{chat}/messages/{message}", f"/api/v1/chats/{chat}"]
            for who in ("/api/v1/auths/", "/api/v1/users/user/settings"):
                lists.append(who)
            before = {u: ann.get(u)[1] for u in lists}
            body = {"title": "x", "content": "x", "file_id": ids["file"], "folder_id": ids["folder"], "parent_id": message, "files": [ids["file"]],
                    "knowledge": [ids["knowledge"]], "workflow_id": ids["workflow"], "prompt": "x", "image": ids["shared_file"], "model": ids["preset"],
                    "name": "mine", "command": "/mine", "query": SECRET, "role": "admin", "email": "x@example.org", "scopes": []}
            for method, pattern in routes():
                names = re.findall(r":(\w+)", pattern)
                if "signout" in pattern or pattern == "/*" or (method == "DELETE" and pattern.endswith("/sessions")):
                    continue
                url = re.sub(r":(\w+)", lambda m: ids[m.group(1)], pattern)
                url += f"?id={ids['preset']}" if "/models/model" in pattern else f"?text={SECRET}" if "search" in pattern else ""
                if pattern.endswith("/events") and not names:
                    continue
                status, out = bob.call(method, url, None if method in ("GET", "HEAD") else body, timeout=30)
                self.assertLess(status, 500, f"{method} {url} {out}")
                if names:
                    self.assertGreaterEqual(status, 400, f"{method} {url} {out}")
                if method == "GET":
                    self.assertNotIn(SECRET, json.dumps(out), f"{method} {url}")
            after = {u: ann.get(u)[1] for u in lists}
            for u in lists:
                for x in (before[u], after[u]):
                    if isinstance(x, dict):
                        x.pop("last_active_at", None)
                self.assertEqual(before[u], after[u], u)

    def test_a_socket_hears_its_own_jobs_only(self):
        with WebServer(models=()) as s:
            ann = s.user()
            bob = s.second_user(ann)
            refused = ((401, None, {}), (401, "0" * 40, {}), (403, ann.cookie, {"Origin": "http://evil.example"}),
                       (403, ann.cookie, {"Sec-Fetch-Site": "cross-site"}))
            for want, cookie, headers in refused:
                with Ear(s.site, cookie, "ann", **headers) as ear:
                    self.assertEqual(ear.status, want, headers)
            with Ear(s.site, ann.cookie, "ann") as own, Ear(s.site, bob.cookie, "ann") as spy:  # the same id, another user
                self.assertEqual((own.status, spy.status), (101, 101))
                graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
                         "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
                status, out = ann.post("/comfy/prompt", {"prompt": graph, "client_id": "ann"})
                self.assertEqual(status, 200, out)
                self.assertIn(out["prompt_id"].encode(), own.heard(b"execution_success"))
                ann.post("/comfy/prompt", {"prompt": graph, "client_id": "nobody"})
                self.assertNotIn(out["prompt_id"].encode(), spy.heard(b"status"))

    def test_a_socket_ends_with_its_session(self):
        with WebServer(models=()) as s:
            ann = s.user()
            phone = s.user()
            bob = s.second_user(ann)
            with Ear(s.site, ann.cookie, "x") as stays, Ear(s.site, phone.cookie, "x") as ends, Ear(s.site, bob.cookie, "x") as gone:
                self.assertEqual((stays.status, ends.status, gone.status), (101, 101, 101))
                self.assertEqual(ann.delete("/api/v1/auths/sessions")[0], 200)
                self.assertTrue(ends.ended())
                bob_id = bob.get("/api/v1/auths/")[1]["id"]
                self.assertEqual(ann.delete(f"/api/v1/users/{bob_id}")[0], 200)
                self.assertTrue(gone.ended())
                self.assertIn(b"status", stays.heard(b"status"))
                self.assertFalse(stays.closed)


class Ear:
    """A WebSocket that only listens; `status` of its upgrade."""

    def __init__(self, site, cookie, client, **headers):
        self.c = http.client.HTTPConnection(site, timeout=20)
        own = {"Cookie": f"token={cookie}"} if cookie else {}
        self.c.request("GET", f"/comfy/ws?clientId={client}", headers={
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), **own, **headers})
        self.bytes = self.c.sock.recv(65536)
        self.status = int(self.bytes.split()[1])
        self.closed = False

    def heard(self, mark):
        """All there was up to a moment of silence after `mark`."""
        while True:
            self.c.sock.settimeout(0.5 if mark in self.bytes else 20)
            try:
                chunk = self.c.sock.recv(65536)
                self.closed = not chunk
                if not chunk:
                    return self.bytes
                self.bytes += chunk
            except TimeoutError:
                return self.bytes
            except ConnectionResetError:
                self.closed = True
                return self.bytes

    def ended(self):
        self.heard(b"\0never")
        return self.closed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.close()


class Forged(OneUser):
    def test_cookies(self):
        key = self.ann.post("/api/v1/auths/keys", {"name": "x", "scopes": ["web"]})[1]["key"]
        good = self.ann.cookie
        for bad in (good[:-1], good + "x", good.upper() if good != good.upper() else good.lower(), key, "", "%00", '"' + good + '"', "x" * 5000,
                    "eyJhbGciOiJub25lIn0.eyJpZCI6IjEifQ.", "' OR 1=1 --", good + ",x"):
            self.assertEqual(Client(self.s.site, cookie=bad).get("/api/v1/auths/")[0], 401, bad[:60])
        self.assertEqual(Client(self.s.site, bearer=key).get("/api/v1/auths/")[0], 200)
        first = Client(self.s.site)
        self.assertEqual(first.get("/api/v1/auths/", headers={"Cookie": f"token=x; token={good}"})[0], 401, "the first counts")

    def test_changes_from_other_sites(self):
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Origin": f"https://{self.s.site}.evil.example"}, {"Origin": "http://" + self.s.site.replace("127.0.0.1", "127.0.0.2")}):
            for method, path in (("POST", "/api/v1/chats/new"), ("DELETE", "/api/v1/chats/"), ("POST", "/comfy/prompt"), ("POST", "/ollama/api/chat"),
                                 ("POST", "/api/v1/auths/update/profile")):
                self.assertEqual(self.ann.call(method, path, {}, headers=headers)[0], 403, f"{method} {path} {headers}")
        form = "multipart/form-data; boundary=x"
        self.assertEqual(self.ann.raw("POST", "/api/v1/chats/import", b"--x--", {"Content-Type": form})[0], 415)
        self.assertEqual(self.ann.raw("POST", "/api/v1/files/", b"--x--", {"Content-Type": form, "Origin": "http://evil.example"})[0], 403)

    def test_nobody_is_signed_in_or_out_by_another_page(self):
        who = {"name": "Eve", "email": "ann@example.org", "password": "correct horse"}
        for path in ("signin", "signup"):
            for site in ("cross-site", "same-site"):
                c = Client(self.s.site)
                self.assertEqual(c.raw("POST", f"/api/v1/auths/{path}", json.dumps(who).encode(), {"Content-Type": "text/plain", "Sec-Fetch-Site": site})[0], 403)
                self.assertIsNone(c.cookie)
        self.assertEqual(self.ann.get("/api/v1/auths/signout", headers={"Sec-Fetch-Site": "cross-site"})[0], 403)
        self.assertEqual(self.ann.get("/api/v1/auths/")[0], 200)
        self.assertEqual(Client(self.s.site).get("/health", headers={"Sec-Fetch-Site": "cross-site"})[0], 200)

    def test_a_listed_origin_may(self):
        with WebServer(models=(), env={"HOB_WEB_ORIGINS": "https://app.example.org"}) as s:
            ann = s.user()
            good = {"Origin": "https://app.example.org", "Sec-Fetch-Site": "same-site"}
            self.assertEqual(ann.post("/api/v1/chats/new", {}, headers=good)[0], 200)
            for bad in ({"Origin": "https://app.example.org.evil.example"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"},
                        {"Origin": "https://" + s.site, "Sec-Fetch-Site": "cross-site"}):
                self.assertEqual(ann.post("/api/v1/chats/new", {}, headers=bad)[0], 403, bad)

    def test_names_with_paths_and_marks(self):
        marks = ["../../../etc/passwd", "..\\..\\x.txt", "/etc/passwd", "a\u202egpj.exe", "<img src=x onerror=alert(1)>.txt", "x" * 5000, "CON", ".", "..", "a/b/c.txt"]
        for name in marks:
            status, f = self.ann.upload(name, b"text")
            self.assertEqual(status, 200, f)
            self.assertNotRegex(f["name"], r"[/\\\x00-\x1f\u202a-\u202e\u2066-\u2069]")
            self.assertNotIn(f["name"], ("", ".", ".."))
            self.assertLessEqual(len(f["name"].encode()), 300)
            status, headers, out = self.ann.raw("GET", f"/api/v1/files/{f['id']}/content")
            self.assertEqual((status, out), (200, b"text"))
            self.assertTrue(headers["Content-Disposition"].startswith("attachment"))
        for path in ("/..%2f..%2fetc/passwd", "/assets/..%2f..%2f", "/%2e%2e/%2e%2e/etc/passwd", "/comfy/view?filename=..%2f..%2fdb", "/api/v1/files/..%2f..%2fx/content"):
            status, _, out = self.ann.raw("GET", path)
            self.assertNotIn(b"root:", out)
            self.assertIn(status, (200, 400, 403, 404), path)

    def test_pages_in_uploads_are_saved_not_shown(self):
        for name, data in (("a.html", b"<!doctype html><script>alert(1)</script>"), ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
                           ("a.png", b"<svg onload=alert(1)>"), ("a.xml", b"<?xml version='1.0'?><x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>")):
            f = self.ann.upload(name, data, "image/svg+xml")[1]
            _, headers, _ = self.ann.raw("GET", f"/api/v1/files/{f['id']}/content")
            self.assertTrue(headers["Content-Disposition"].startswith("attachment"), name)
            self.assertNotRegex(headers["Content-Type"], "html|svg|xml")
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertIn("sandbox", headers["Content-Security-Policy"])

    def test_a_paste_of_50_mb(self):
        chat = self.ann.new_chat()
        status, out = self.ann.post(f"/api/v1/chats/{chat}/messages", {"content": "x" * (50 << 20), "generate": False})
        self.assertEqual(status, 413, str(out)[:200])
        self.assertEqual(self.ann.thread(chat)["messages"], [])
        for path, body in (("/api/v1/auths/update/profile", {"name": "x" * (20 << 20)}), (f"/api/v1/chats/{chat}", {"title": "x" * (20 << 20)}),
                           ("/api/v1/folders/", {"name": "x" * (20 << 20)}), ("/api/v1/prompts/create", {"command": "/x", "name": "x", "content": "x" * (20 << 20)})):
            self.assertIn(self.ann.post(path, body)[0], (400, 413), path)


class Proxies(unittest.TestCase):
    def guess(self, s, n, **headers):
        c = Client(s.site)
        return [c.post("/api/v1/auths/signin", {"email": "ann@example.org", "password": f"guess {i}"},
                       headers={k.replace("_", "-"): v.format(i) for k, v in headers.items()})[0] for i in range(n)]

    def test_without_trust_headers_are_words(self):
        with WebServer(models=()) as s:
            ann = s.user()
            self.assertIn(429, self.guess(s, 8, X_Forwarded_For="10.0.0.{}"), "another address each time, so it says")
            status, _ = Client(s.site).post("/api/v1/auths/signin", {"email": "ann@example.org", "password": "correct horse"},
                                            headers={"X-Forwarded-Proto": "https"})
            self.assertEqual(status, 429)
            self.assertEqual(ann.get("/api/v1/auths/sessions", headers={"X-Forwarded-For": "10.9.9.9"})[1][0]["address"], "127.0.0.1")
            self.assertNotIn("Secure", ann.cookie_text)

    def test_a_trusted_proxy_tells_who_it_is(self):
        with WebServer(models=(), env={"HOB_WEB_PROXIES": "127.0.0.1, 10.0.0.1"}) as s:
            s.user()
            self.assertNotIn(429, self.guess(s, 8, X_Forwarded_For="10.1.0.{}"))
            # What the client wrote itself stands further left: it does not count.
            self.assertIn(429, self.guess(s, 8, X_Forwarded_For="10.2.0.{}, 10.3.0.1"))
            self.assertIn(429, self.guess(s, 8, X_Forwarded_For="10.2.0.{}, 10.4.0.1, 10.0.0.1"))
            c = Client(s.site)
            status, _ = c.post("/api/v1/auths/signin", {"email": "ann@example.org", "password": "correct horse"},
                               headers={"X-Forwarded-For": "10.5.0.1", "X-Forwarded-Proto": "https"})
            self.assertEqual(status, 200)
            self.assertRegex(c.cookie_text, r"; Secure$")
            self.assertIn("10.5.0.1", [x["address"] for x in c.get("/api/v1/auths/sessions")[1]])


class Secrets(unittest.TestCase):
    def test_the_key_from_a_file(self):
        with tempfile.TemporaryDirectory() as d:
            key = Path(d, "key")
            key.write_text("a long secret of the deployment\n")
            with WebServer(models=(), env={"WEBUI_SECRET_KEY_FILE": str(key)}) as s:
                ann = s.user()
                self.assertEqual(ann.get("/api/v1/auths/")[0], 200)
                s.stop()
                s.start()
                self.assertEqual(ann.get("/api/v1/auths/")[0], 200, "the same key: sessions stay")
                s.stop()
                s.extra["WEBUI_SECRET_KEY"] = "a long secret of the deployment"
                s.start()
                self.assertEqual(ann.get("/api/v1/auths/")[0], 200, "the same from the environment")
                s.stop()
                s.extra.pop("WEBUI_SECRET_KEY")
                key.write_text("another")
                s.start()
                self.assertEqual(ann.get("/api/v1/auths/")[0], 401, "another key: nobody is signed in")
                self.assertEqual(ann.post("/api/v1/auths/signin", {"email": "ann@example.org", "password": "correct horse"})[0], 200)


if __name__ == "__main__":
    unittest.main()
