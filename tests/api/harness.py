"""A real hob server on a free loopback port with the demo models in a store of its own."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOB = os.environ.get("HOB_BIN", str(ROOT / "build" / "hob"))
DEMO = Path(os.environ.get("HOB_DEMO_DIR", Path.home() / ".cache/hob/demo"))
MODELS = {"smollm2:135m": "smollm2-135m.gguf", "gemma3:270m": "gemma3-270m.gguf",
          "all-minilm": "all-minilm.gguf"}


SANITIZED = bool(os.environ.get("HOB_SANITIZED"))  # each of many like cases takes seconds then: a part of them is tried


def seeds(n):
    return range(max(2, n // 4) if SANITIZED else n)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """Use as a context manager. `models`: names of MODELS to create first. `env`: extra variables."""

    def __init__(self, models=("smollm2:135m",), env=None, home=None):
        self.models = models
        self.extra = env or {}
        self.home = Path(home or tempfile.mkdtemp(prefix="hob-test-"))
        self.owns_home = home is None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def env(self):
        own = dict(OLLAMA_HOST=f"127.0.0.1:{self.port}", HOB_HOME=str(self.home),
                   OLLAMA_MODELS=str(self.home / "models"), HOB_WEB_HOST="off", HOB_IMAGE_HOST="off")
        return {**os.environ, **own, **self.extra}

    def start(self):
        self.log = open(self.home / "server.log", "ab")
        self.process = subprocess.Popen([HOB, "serve"], env=self.env, stdout=self.log, stderr=self.log)
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"hob serve ended: {self.log_text()}")
            try:
                urllib.request.urlopen(self.url + "/healthz", timeout=1).read()
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"hob serve does not answer: {self.log_text()}")

    def log_text(self):
        return (self.home / "server.log").read_text(errors="replace")[-4000:]

    def stop(self, sig=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        status = self.process.wait(60)
        self.log.close()
        return status

    def create(self, name):
        """Imports a demo model through the API, as `hob create` does."""
        done = subprocess.run([HOB, "create", name, "-f", "-"], env=self.env, text=True,
                              input=f"FROM {DEMO / MODELS[name]}\n", capture_output=True)
        if done.returncode:
            raise RuntimeError(f"hob create {name}: {done.stderr}")

    def __enter__(self):
        self.start()
        for name in self.models:
            self.create(name)
        return self

    def __exit__(self, *_):
        status = self.stop()
        text = self.log_text()
        if self.owns_home:
            shutil.rmtree(self.home, ignore_errors=True)
        if status not in (0, -signal.SIGTERM, -signal.SIGKILL) or "ERROR: AddressSanitizer" in text \
                or "runtime error:" in text or "LeakSanitizer" in text:
            raise AssertionError(f"hob serve ended with status {status}:\n{text}")

    def request(self, method, path, body=None, raw=None, headers=None, timeout=120):
        """(status, headers, bytes) of one exchange; never raises for an HTTP status."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        req = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json",
                                                             **(headers or {})}, method=method)
        opener = urllib.request.build_opener(NoRedirect)
        try:
            with opener.open(req, timeout=timeout) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.headers, e.read()

    def call(self, path, body=None, method=None):
        """(status, parsed JSON or None)."""
        status, _, data = self.request(method or ("GET" if body is None else "POST"), path, body)
        return status, json.loads(data) if data.strip() else None

    def lines(self, path, body):
        """The parsed lines of an NDJSON stream."""
        _, _, data = self.request("POST", path, body)
        return [json.loads(line) for line in data.split(b"\n") if line.strip()]


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def needs(*names):
    """Skips a test class when a demo model is not there."""
    missing = [MODELS[n] for n in names if not (DEMO / MODELS[n]).exists()]
    return unittest.skipIf(missing, f"demo models missing: {missing}")
