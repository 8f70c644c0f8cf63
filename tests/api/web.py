"""A client of the web listener: one per user, with cookie or key, and a reader of its event streams."""
import http.client
import json
import queue
import threading
import time
import unittest
import uuid

from .harness import Server, free_port


class WebServer(Server):
    """A server with its web listener on; `site` is its address."""

    def __init__(self, models=("smollm2:135m",), env=None, home=None):
        self.web_port = free_port()
        self.site = f"127.0.0.1:{self.web_port}"
        super().__init__(models, {"HOB_WEB_HOST": self.site, **(env or {})}, home)

    def user(self, name="Ann", password="correct horse"):
        """Signs up, or in when that is closed."""
        c = Client(self.site)
        status, _ = c.post("/api/v1/auths/signup", {"name": name, "email": f"{name.lower()}@example.org",
                                                    "password": password})
        if status != 200:
            status, _ = c.post("/api/v1/auths/signin", {"email": f"{name.lower()}@example.org",
                                                        "password": password})
        assert status == 200, status
        return c

    def second_user(self, admin, name="Bob", password="battery staple"):
        status, _ = admin.post("/api/v1/auths/add", {"name": name, "email": f"{name.lower()}@example.org",
                                                     "password": password, "role": "user"})
        assert status == 200, status
        return self.user(name, password)


class OneUser(unittest.TestCase):
    """Tests over one server, `s`, whose administrator is `ann`."""

    @staticmethod
    def make_server():
        return WebServer(models=())

    @classmethod
    def setUpClass(cls):
        cls.s = cls.make_server()
        cls.s.__enter__()
        cls.ann = cls.s.user()

    @classmethod
    def tearDownClass(cls):
        cls.s.__exit__(None, None, None)


class TwoUsers(OneUser):
    """And `bob`, whom she made."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bob = cls.s.second_user(cls.ann)


class Client:
    def __init__(self, site, cookie=None, bearer=None):
        self.site, self.cookie, self.bearer = site, cookie, bearer
        self.last = None

    def headers(self, extra=None):
        h = {}
        if self.cookie:
            h["Cookie"] = "token=" + self.cookie
        if self.bearer:
            h["Authorization"] = "Bearer " + self.bearer
        return {**h, **(extra or {})}

    def raw(self, method, path, data=None, headers=None, timeout=120):
        """(status, headers, bytes)"""
        c = http.client.HTTPConnection(self.site, timeout=timeout)
        try:
            c.request(method, path, data, self.headers(headers))
            r = c.getresponse()
            body = r.read()
            for value in r.headers.get_all("Set-Cookie") or []:
                self.cookie_text = value
                token = value.split(";")[0].split("=", 1)[1]
                self.cookie = token or None
            self.last = r
            return r.status, r.headers, body
        finally:
            c.close()

    def call(self, method, path, body=None, headers=None, timeout=120):
        data = None if body is None else json.dumps(body).encode()
        h = {"Content-Type": "application/json"} if data is not None else {}
        status, _, out = self.raw(method, path, data, {**h, **(headers or {})}, timeout)
        try:
            return status, json.loads(out) if out.strip() else None
        except ValueError:
            return status, out.decode(errors="replace")

    def get(self, path, **k):
        return self.call("GET", path, **k)

    def post(self, path, body=None, **k):
        return self.call("POST", path, {} if body is None else body, **k)

    def delete(self, path, body=None, **k):
        return self.call("DELETE", path, body, **k)

    def upload(self, name, data, kind="text/plain", query=""):
        mark = uuid.uuid4().hex
        body = (f"--{mark}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n"
                f"Content-Type: {kind}\r\n\r\n").encode() + data + f"\r\n--{mark}--\r\n".encode()
        status, _, out = self.raw("POST", "/api/v1/files/" + query, body,
                                  {"Content-Type": f"multipart/form-data; boundary={mark}"})
        return status, json.loads(out)

    def new_chat(self, **fields):
        status, chat = self.post("/api/v1/chats/new", fields)
        assert status == 200, chat
        return chat["id"]

    def thread(self, chat):
        status, t = self.get(f"/api/v1/chats/{chat}/thread")
        assert status == 200, t
        return t

    def say(self, chat, text, **fields):
        status, pair = self.post(f"/api/v1/chats/{chat}/messages", {"content": text, **fields})
        assert status == 200, pair
        return pair["user"], pair.get("assistant")

    def wait_end(self, chat, message, timeout=60):
        end = time.time() + timeout
        while time.time() < end:
            m = self.message(chat, message)
            if m["state"] in ("done", "stopped", "failed", "interrupted"):
                return m
            time.sleep(0.05)
        raise AssertionError(f"still {m['state']}")

    def message(self, chat, message):
        status, m = self.get(f"/api/v1/chats/{chat}/messages/{message}")
        assert status == 200, m
        return m


class Events:
    """An event stream, read by a thread. Use as a context manager."""

    def __init__(self, client, path, last=None):
        self.client, self.path, self.last = client, path, last
        self.queue = queue.Queue()
        self.seen = []

    def __enter__(self):
        self.conn = http.client.HTTPConnection(self.client.site, timeout=120)
        h = {"Last-Event-ID": self.last} if self.last else {}
        self.conn.request("GET", self.path, headers=self.client.headers(h))
        self.reply = self.conn.getresponse()
        self.status = self.reply.status
        if self.status == 200:
            threading.Thread(target=self.run, daemon=True).start()
        return self

    def __exit__(self, *_):
        try:
            self.conn.sock and self.conn.sock.shutdown(2)
        except OSError:
            pass
        self.conn.close()

    def run(self):
        event, data, ident = None, None, None
        try:
            for line in self.reply:
                line = line.decode().rstrip("\n")
                if line.startswith("id: "):
                    ident = line[4:]
                    self.last = ident
                elif line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                elif not line and event:
                    self.queue.put((event, data, ident))
                    event = data = None
        except (OSError, ValueError, AttributeError):
            pass
        self.queue.put(None)

    def next(self, timeout=60):
        got = self.queue.get(timeout=timeout)
        if got:
            self.seen.append(got)
        return got

    def until(self, name, timeout=60):
        """The data of the next event of this name."""
        end = time.time() + timeout
        while True:
            got = self.next(max(0.1, end - time.time()))
            assert got is not None, "the stream ended"
            if got[0] == name:
                return got[1]

    def text(self, message):
        return "".join(d.get("text", "") for n, d, _ in self.seen if n == "delta" and d["message_id"] == message)
