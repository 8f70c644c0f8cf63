"""A registry of our own on loopback: manifests and blobs in memory, and every kind of misbehaviour on request.

`Registry()` is a context manager; `store(name, layers)` makes a model there. What goes wrong is set in attributes that
the tests change while it runs. Every request is kept in `requests` as (method, path, headers).
"""
import base64
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MEDIA = "application/vnd.ollama.image."


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    def __init__(self):
        self.blobs, self.manifests, self.uploads, self.files = {}, {}, {}, {}
        self.requests, self.tokens, self.signatures = [], set(), []
        self.lock = threading.Lock()
        self.redirect_to = None   # another registry's base URL: blobs are answered with 307
        self.ranges = "right"     # right, ignored (200), shifted, long, refused (416)
        self.rate = None          # bytes a second of one answer
        self.die_after = None     # bytes after which a blob's connection is cut
        self.die_times = 10**9    # how often
        self.stall_after = None   # bytes after which nothing more comes
        self.wrong = set()        # digests whose first byte is answered wrong
        self.auth = None          # None, or the realm to name ("self" = our own)
        self.status = {}          # path prefix -> status to answer with
        self.reply = {}           # path -> raw bytes to answer with
        self.refuse = {}          # path -> (status, raw bytes)
        self.upload_redirect = None
        self.active = self.most_active = 0

    def __enter__(self):
        outer = self

        class Handler(_Handler):
            registry = outer
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def blob(self, data):
        self.blobs[digest(data)] = data
        return digest(data)

    def store(self, name, layers, config=None, tag="latest"):
        """layers: [(kind, bytes)]. Returns the manifest's bytes."""
        config = json.dumps(config or {"model_format": "gguf", "model_family": "llama", "model_type": "1M",
                                       "file_type": "F16"}).encode()
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                    "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                               "digest": self.blob(config), "size": len(config)},
                    "layers": [{"mediaType": MEDIA + kind, "digest": self.blob(data), "size": len(data)}
                               for kind, data in layers]}
        return self.put(name, json.dumps(manifest).encode(), tag)

    def put(self, name, manifest, tag="latest"):
        self.manifests[f"{name}:{tag}"] = manifest
        return manifest

    def asked(self, method, part):
        return [r for r in self.requests if r[0] == method and part in r[1]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry = None

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, OSError):
            pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_any(self):
        r = self.registry
        path = urlsplit(self.path).path
        with r.lock:
            r.requests.append((self.command, self.path, dict(self.headers)))
            r.active += 1
            r.most_active = max(r.most_active, r.active)
        try:
            self.route(r, path)
        finally:
            with r.lock:
                r.active -= 1

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_any

    def route(self, r, path):
        for prefix, status in r.status.items():
            if path.startswith(prefix):
                return self.answer(status, b'{"errors":[{"message":"as the test wants it"}]}')
        if path in r.refuse:
            return self.answer(*r.refuse[path])
        if path in r.reply:
            return self.answer(200, r.reply[path])
        if path == "/token":
            return self.token(r)
        if r.auth and path.startswith("/v2/") and \
                self.headers.get("Authorization", "").removeprefix("Bearer ") not in r.tokens:
            realm = r.url + "/token" if r.auth == "self" else r.auth
            challenge = f'Bearer realm="{realm}",service="test",scope="repository:x:pull repository:x:push"'
            return self.answer(401, b"{}", WWW_Authenticate=challenge)
        if m := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            return self.manifest(r, m[1], m[2])
        if m := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", path):
            return self.upload(r, m[1], m[2])
        if m := re.fullmatch(r"/v2/(.+)/blobs/(.+)", path):
            return self.blob(r, m[2])
        if path.startswith("/storage-upload/"):
            return self.storage(r, path)
        if path in r.files:
            return self.file(r, path)
        return self.answer(404, b'{"errors":[{"message":"not here"}]}')

    def token(self, r):
        query = parse_qs(urlsplit(self.path).query)
        key, _, signature = self.headers.get("Authorization", "").partition(":")
        signed = f"GET,{r.url}{self.path}," + base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
        r.signatures.append((key, signature, signed, query))
        token = f"token-{len(r.tokens)}"
        r.tokens.add(token)
        return self.answer(200, json.dumps({"token": token}).encode())

    def manifest(self, r, name, tag):
        if self.command == "PUT":
            r.manifests[f"{name}:{tag}"] = self.body()
            return self.answer(201)
        data = r.manifests.get(f"{name}:{tag}")
        return self.answer(404, b"{}") if data is None else self.answer(200, data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def blob(self, r, name):
        if name not in r.blobs:
            return self.answer(404, b"{}")
        if self.command != "HEAD" and r.redirect_to:
            return self.answer(307, b"", Location=f"{r.redirect_to}{self.path}")
        return self.send(r, r.blobs[name], name in r.wrong)

    def file(self, r, path):
        entry = r.files[path]
        if isinstance(entry, tuple):  # (target URL, headers)
            self.answer(302, b"", Location=entry[0], **entry[1])
        else:
            self.send(r, entry, False)

    def send(self, r, data, wrong):
        if wrong and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        status, headers, first, last = 200, {}, 0, len(data) - 1
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if m and r.ranges != "ignored":
            first, last = int(m[1]), min(int(m[2] or last), last)
            if r.ranges == "refused":
                return self.answer(416)
            shift = 1 if r.ranges == "shifted" and first > 0 else 0
            status = 206
            headers["Content_Range"] = f"bytes {first - shift}-{last}/{len(data)}"
            if r.ranges == "long":
                last = min(last + 10, len(data) - 1)
        part = data[first:last + 1]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command != "HEAD":
            self.trickle(r, part)

    def trickle(self, r, part):
        step = max(1, r.rate // 20) if r.rate else 1 << 20
        sent = 0
        while sent < len(part):
            if r.die_after is not None and sent >= r.die_after and r.die_times > 0:
                r.die_times -= 1
                self.close_connection = True
                return
            if r.stall_after is not None and sent >= r.stall_after:
                time.sleep(30)
                self.close_connection = True
                return
            limits = [sent + step, len(part)]
            limits += [r.die_after] if r.die_after and sent < r.die_after else []
            limits += [r.stall_after] if r.stall_after and sent < r.stall_after else []
            end = min(limits)
            self.wfile.write(part[sent:end])
            sent = end
            if r.rate:
                time.sleep(0.05)

    # ---- uploads: POST, PATCH with Content-Range, PUT ?digest= ----

    def upload(self, r, name, session):
        query = parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            if "mount" in query and query["mount"][0] in r.blobs:
                return self.answer(201)
            session = f"u{len(r.uploads)}"
            r.uploads[session] = b""
            return self.answer(202, Location=f"/v2/{name}/blobs/uploads/{session}")
        if self.command == "PATCH":
            data = self.body()
            if r.upload_redirect and self.headers.get("X-Redirect-Uploads") == "1":
                return self.answer(307, Location=f"{r.upload_redirect}/storage-upload/{session}",
                                   Docker_Upload_Location=f"/v2/{name}/blobs/uploads/{session}")
            m = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
            if not m or int(m[1]) != len(r.uploads[session]) or int(m[2]) - int(m[1]) + 1 != len(data):
                return self.answer(416)
            r.uploads[session] += data
            return self.answer(202, Location=f"/v2/{name}/blobs/uploads/{session}")
        data = r.uploads.pop(session) + self.body()
        if digest(data) != query.get("digest", [""])[0]:
            return self.answer(400, b'{"errors":[{"message":"digest invalid"}]}')
        r.blobs[digest(data)] = data
        return self.answer(201)

    def storage(self, r, path):
        session = path.rsplit("/", 1)[1]
        r.uploads[session] = r.uploads.get(session, b"") + self.body()
        return self.answer(200, ETag='"etag"')
