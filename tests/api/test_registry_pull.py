"""Pulling from a registry of our own: the protocol's lines, everything that can go wrong, and what is left behind."""
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path
from unittest import mock

from tests.api.harness import HOB, Server
from tests.api.registry import MEDIA, Registry, digest

MB = 1 << 20


def noise(n, seed=1):
    return hashlib.shake_256(bytes([seed])).digest(n)


class Pulling(unittest.TestCase):
    ENV = {}
    SERVER = {"HOB_REGISTRIES": "127.0.0.1", "HOB_NET_STALL": "2"}

    def setUp(self):
        self.registry = self.enterContext(Registry())
        self.server = self.enterContext(Server(models=(), env={**self.SERVER, **self.ENV}))
        self.blobs = self.server.home / "models" / "blobs"

    def name(self, model="library/m", tag="latest"):
        return f"{self.registry.host}/{model}:{tag}"

    def pull(self, name=None, **more):
        return self.server.lines("/api/pull", {"model": name or self.name(), "insecure": True, **more})

    def error(self, *args, **more):
        last = self.pull(*args, **more)[-1]
        self.assertIn("error", last)
        return last["error"]

    def left(self):
        return sorted(p.name for p in self.blobs.iterdir())

    def check(self, manifest):
        """Every blob of the manifest is here, whole, and nothing else is."""
        m = json.loads(manifest)
        wanted = {x["digest"].replace(":", "-") for x in [m["config"], *m["layers"]]}
        self.assertEqual(set(self.left()), wanted)
        for name in wanted:
            self.assertEqual(digest((self.blobs / name).read_bytes()).replace(":", "-"), name)

    def test_the_lines_are_ollamas(self):
        weights = noise(300_000)
        manifest = self.registry.store("library/m", [("model", weights), ("template", b"{{ .Prompt }}")])
        lines = self.pull()
        statuses = [x["status"] for x in lines]
        short = f"pulling {digest(weights)[7:19]}"
        self.assertEqual(statuses[:2], ["pulling manifest", short])
        self.assertEqual(statuses[-3:], ["verifying sha256 digest", "writing manifest", "success"])
        first, last = [x for x in lines if x["status"] == short][0], [x for x in lines if x["status"] == short][-1]
        self.assertEqual(first, {"status": short, "digest": digest(weights), "total": len(weights)})
        self.assertEqual(last, {**first, "completed": len(weights)})
        self.check(manifest)
        stored = self.server.home / "models/manifests" / self.registry.host / "library/m/latest"
        self.assertEqual(stored.read_bytes(), manifest, "byte for byte: its hash is the model's id")
        tags = self.server.call("/api/tags")[1]["models"]
        self.assertEqual([t["name"] for t in tags], [self.name()])
        self.assertEqual(tags[0]["digest"], hashlib.sha256(manifest).hexdigest())
        n = len(self.registry.asked("GET", "/blobs/"))
        self.assertEqual(self.pull()[-1], {"status": "success"})
        self.assertEqual(len(self.registry.asked("GET", "/blobs/")), n, "nothing is fetched twice")

    def test_not_streamed(self):
        self.registry.store("library/m", [("model", noise(1000))])
        status, answer = self.server.call("/api/pull", {"name": self.name(), "insecure": True, "stream": False})
        self.assertEqual((status, answer), (200, {"status": "success"}))
        status, answer = self.server.call("/api/pull", {"model": self.name("library/none"), "insecure": True,
                                                        "stream": False})
        self.assertEqual((status, answer), (500, {"error": "pull model manifest: file does not exist"}))

    def test_names_and_schemes(self):
        for bad in ("", "a b", "../x", "x:y:z/..", "h/n/m@sha256:" + "0" * 64):
            self.assertEqual(self.server.call("/api/pull", {"model": bad}), (400, {"error": "invalid model name"}))
        self.registry.store("library/m", [("model", noise(1000))])
        self.assertEqual(self.pull(f"http://{self.name()}")[-1], {"status": "success"})
        error = self.server.lines("/api/pull", {"model": self.name()})[-1]["error"]
        self.assertIn('pull model manifest: Get "https://', error)

    def test_ranges_in_parallel_behind_a_redirect(self):
        with Registry() as storage:
            weights = noise(40 * MB)
            manifest = self.registry.store("library/m", [("model", weights)])
            storage.blobs, storage.rate = self.registry.blobs, 40 * MB
            self.registry.redirect_to, self.registry.auth = storage.url, "self"
            self.assertEqual(self.pull()[-1], {"status": "success"})
            self.check(manifest)
            self.assertGreater(storage.most_active, 2)
            for _, _, headers in storage.requests:
                self.assertNotIn("Authorization", headers, "credentials stay with the registry")
            self.assertTrue(all("Authorization" in h for m, p, h in self.registry.asked("GET", "/blobs/")))

    def test_direct_answers_and_broken_ranges(self):
        for ranges in ("ignored", "shifted", "long", "refused"):
            with self.subTest(ranges):
                self.registry.ranges = ranges
                model = f"library/{ranges}"
                manifest = self.registry.store(model, [("model", noise(20 * MB, len(ranges)))])
                self.assertEqual(self.pull(self.name(model))[-1], {"status": "success"})
                for x in json.loads(manifest)["layers"]:
                    path = self.blobs / x["digest"].replace(":", "-")
                    self.assertEqual(digest(path.read_bytes()), x["digest"])
                self.assertFalse([n for n in self.left() if "partial" in n])

    def test_wrong_bytes_are_not_kept(self):
        weights = noise(9 * MB)
        manifest = self.registry.store("library/m", [("model", weights)])
        self.registry.wrong.add(digest(weights))
        error = self.error()
        self.assertIn("digest mismatch, file must be downloaded again: want " + digest(weights), error)
        self.assertEqual(self.left(), [])
        self.assertEqual(self.server.call("/api/tags")[1], {"models": []})
        self.registry.wrong.clear()
        self.assertEqual(self.pull()[-1], {"status": "success"})
        self.check(manifest)

    def test_dying_connections_go_on_where_they_ended(self):
        weights = noise(20 * MB)
        manifest = self.registry.store("library/m", [("model", weights)])
        self.registry.die_after, self.registry.die_times = 3 * MB, 4
        self.assertEqual(self.pull()[-1], {"status": "success"})
        self.check(manifest)
        starts = [h["Range"] for _, _, h in self.registry.asked("GET", digest(weights))]
        self.assertEqual(len(starts), len(set(starts)), "no byte was asked for twice")

    def test_a_registry_that_stops_mid_blob(self):
        weights = noise(2 * MB)
        self.registry.store("library/m", [("model", weights)])
        self.registry.stall_after = MB
        result = []
        t = threading.Thread(target=lambda: result.append(self.pull()))
        t.start()
        time.sleep(4)
        self.registry.stall_after = None
        t.join()
        self.assertEqual(result[0][-1], {"status": "success"})

    def test_a_registry_that_dies_for_good(self):
        weights = noise(2 * MB)
        self.registry.store("library/m", [("model", weights)])
        self.registry.status = {f"/v2/library/m/blobs/{digest(weights)}": 500}
        error = self.error()
        self.assertIn("500: as the test wants it", error)
        self.assertEqual(self.server.call("/api/tags")[1], {"models": []})
        self.registry.status = {}
        self.assertEqual(self.pull()[-1], {"status": "success"})

    def test_kill_in_mid_pull_then_resume(self):
        weights = noise(30 * MB)
        manifest = self.registry.store("library/m", [("model", weights)])
        self.registry.rate = 4 * MB
        done = []

        def follow():
            try:
                request = urllib.request.Request(self.server.url + "/api/pull", json.dumps(
                    {"model": self.name(), "insecure": True}).encode())
                with urllib.request.urlopen(request) as reply:
                    for line in reply:
                        done.append(json.loads(line).get("completed", 0))
            except OSError:
                pass
        t = threading.Thread(target=follow)
        t.start()
        while not done or max(done) < 12 * MB:
            time.sleep(0.02)
        self.server.stop(signal.SIGKILL)
        t.join()
        self.assertTrue([n for n in self.left() if n.endswith("-partial")])
        self.registry.rate, self.registry.requests = None, []
        self.server.start()
        lines = self.pull()
        self.assertEqual(lines[-1], {"status": "success"})
        self.check(manifest)
        fetched = sum(int(b) - int(a) + 1 for _, _, h in self.registry.asked("GET", digest(weights))
                      for a, b in [h["Range"].removeprefix("bytes=").split("-")])
        self.assertLess(fetched, len(weights), "what had come was not fetched again")

    def test_a_partial_file_of_ollamas_is_taken_up(self):
        weights = noise(10 * MB)
        manifest = self.registry.store("library/m", [("model", weights)])
        partial = self.blobs / (digest(weights).replace(":", "-") + "-partial")
        partial.write_bytes(weights[:6 * MB] + bytes(4 * MB))
        for n, (offset, size, completed) in enumerate([(0, 4 * MB, 4 * MB), (4 * MB, 6 * MB, 2 * MB)]):
            (self.blobs / f"{partial.name}-{n}").write_text(
                json.dumps({"N": n, "Offset": offset, "Size": size, "Completed": completed}))
        self.assertEqual(self.pull()[-1], {"status": "success"})
        self.check(manifest)
        self.assertEqual([h["Range"] for _, _, h in self.registry.asked("GET", digest(weights))],
                         [f"bytes={6 * MB}-{10 * MB - 1}"])

    def test_lying_part_records(self):
        weights = noise(9 * MB)
        manifest = self.registry.store("library/m", [("model", weights)])
        name = digest(weights).replace(":", "-") + "-partial"
        for text in ('{"N":0,"Offset":0,"Size":9437184,"Completed":9437184}', '{"N":0,"Offset":5,"Size":-3}', "[",
                     '{"N":0,"Offset":0,"Size":18446744073709551615,"Completed":1}'):
            (self.blobs / name).write_bytes(bytes(9 * MB))
            (self.blobs / f"{name}-0").write_text(text)
            lines = self.pull()
            if "error" in lines[-1]:
                self.assertIn("digest mismatch", lines[-1]["error"])
                self.assertEqual([n for n in self.left() if "partial" in n], [])
                lines = self.pull()
            self.assertEqual(lines[-1], {"status": "success"})
            self.check(manifest)
            self.server.call("/api/delete", {"model": self.name()}, method="DELETE")

    def test_a_shared_layer_that_is_deleted_meanwhile(self):
        """The other model with it goes while the pull, which had found it here, is at its next layer."""
        shared = noise(300_000)
        self.registry.store("library/other", [("model", shared)])
        manifest = self.registry.store("library/m", [("model", shared), ("system", noise(4 * MB, 2))])
        self.assertEqual(self.pull(self.name("library/other"))[-1], {"status": "success"})
        self.registry.rate = 2 * MB
        request = urllib.request.Request(self.server.url + "/api/pull", json.dumps(
            {"model": self.name(), "insecure": True}).encode())
        lines = []
        with urllib.request.urlopen(request) as reply:
            for line in reply:
                lines.append(json.loads(line))
                if lines[-1].get("total") == 4 * MB and lines[-1].get("completed") and self.registry.rate:
                    gone = self.server.call("/api/delete", {"model": self.name("library/other")}, "DELETE")
                    self.assertEqual(gone[0], 200)
                    self.registry.rate = None
        self.assertIsNone(self.registry.rate)
        self.assertEqual(lines[-1], {"status": "success"})
        self.check(manifest)

    def test_two_callers_share_one_transfer(self):
        weights = noise(20 * MB)
        self.registry.store("library/m", [("model", weights)])
        self.registry.store("library/n", [("model", weights), ("system", b"x")])
        self.registry.rate = 6 * MB
        results = {}
        threads = [threading.Thread(target=lambda n=n: results.setdefault(n, self.pull(self.name(n))))
                   for n in ("library/m", "library/n")]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for lines in results.values():
            self.assertEqual(lines[-1], {"status": "success"})
        asked = self.registry.asked("GET", digest(weights))
        self.assertEqual(sum(len(h["Range"]) > 0 for _, _, h in asked), len({h["Range"] for _, _, h in asked}))

    def test_one_caller_leaves_the_other_stays(self):
        weights = noise(12 * MB)
        self.registry.store("library/m", [("model", weights)])
        self.registry.rate = 3 * MB
        body = json.dumps({"model": self.name(), "insecure": True}).encode()
        first = urllib.request.urlopen(urllib.request.Request(self.server.url + "/api/pull", body))
        first.readline(), first.readline()
        result = []
        t = threading.Thread(target=lambda: result.append(self.pull()))
        t.start()
        time.sleep(0.4)
        first.close()
        t.join()
        self.assertEqual(result[0][-1], {"status": "success"})
        asked = self.registry.asked("GET", digest(weights))
        self.assertEqual(len(asked), len({h["Range"] for _, _, h in asked}))

    def test_the_last_caller_leaves_and_the_transfer_ends(self):
        weights = noise(40 * MB)
        self.registry.store("library/m", [("model", weights)])
        self.registry.rate = MB
        body = json.dumps({"model": self.name(), "insecure": True}).encode()
        first = urllib.request.urlopen(urllib.request.Request(self.server.url + "/api/pull", body))
        first.readline(), first.readline()
        time.sleep(0.3)
        first.close()
        for _ in range(100):
            if self.registry.active == 0:
                break
            time.sleep(0.1)
        self.assertEqual(self.registry.active, 0)
        self.registry.rate = None
        self.assertEqual(self.pull()[-1], {"status": "success"})

    def test_tokens_are_asked_for_with_a_signature(self):
        import base64
        self.registry.store("library/m", [("model", noise(1000))])
        self.registry.auth = "self"
        self.assertEqual(self.pull()[-1], {"status": "success"})
        key, signature, signed, query = self.registry.signatures[0]
        self.assertEqual(query["service"], ["test"])
        self.assertEqual(query["scope"], ["repository:x:pull", "repository:x:push"])
        self.assertTrue(query["nonce"] and query["ts"])
        public = self.server.home / "id_ed25519.pub"
        self.assertEqual(public.read_text().split()[:2], ["ssh-ed25519", key])
        self.assertEqual((self.server.home / "id_ed25519").stat().st_mode & 0o777, 0o600)
        blob = base64.b64decode(key)
        self.assertEqual(len(base64.b64decode(signature)), 64)
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError:
            return
        Ed25519PublicKey.from_public_bytes(blob[-32:]).verify(base64.b64decode(signature), signed.encode())

    def test_someone_elses_realm(self):
        with Registry() as other:
            self.registry.store("library/m", [("model", noise(1000))])
            for realm in (other.url + "/token", "https://ollama.com/token", "http://169.254.169.254/x", "file:///x", "x"):
                self.registry.auth = realm
                error = self.error()
                self.assertRegex(error, "someone else's realm|the registry's realm", realm)
            self.assertEqual(other.requests, [])

    def test_hostile_manifests(self):
        good = json.loads(self.registry.store("library/m", [("model", noise(1000))]))
        layer = good["layers"][0]
        cases = {
            "negative size": ({**good, "layers": [{**layer, "size": -5}]}, "negative size"),
            "path": ({**good, "layers": [{**layer, "digest": "sha256:../../../../etc/passwd"}]}, "is not a digest"),
            "path 64": ({**good, "layers": [{**layer, "digest": "sha256:" + "../" * 21 + "x"}]}, "is not a digest"),
            "upper case": ({**good, "layers": [{**layer, "digest": layer["digest"].upper()}]}, "is not a digest"),
            "no digest": ({**good, "layers": [{"size": 3}]}, "is not a digest"),
            "no config": ({"layers": [layer]}, "is not a digest"),
            "two sizes": ({**good, "layers": [layer, {**layer, "size": 7}]}, "two sizes"),
            "huge": ({**good, "layers": [{**layer, "size": 2**62}]}, "a layer of"),
            "config huge": ({**good, "config": {**good["config"], "size": 10**9}}, "a config of"),
            "many": ({**good, "layers": [layer] * 5000}, "5000 layers"),
            "an index": ({"schemaVersion": 2, "manifests": []}, "several machines"),
            "list": ([], "manifest"), "text": ("x", "manifest"),
        }
        for what, (manifest, text) in cases.items():
            self.registry.put("library/bad", json.dumps(manifest).encode())
            self.assertIn(text, self.error(self.name("library/bad")), what)
        for raw, text in ((b"", "manifest"), (b"\xff\xfe", "manifest"), (b"[" * 100000, "manifest"),
                          (b"{" + b" " * (10 * MB), "larger than it may be")):
            self.registry.put("library/bad", raw)
            self.assertIn(text, self.error(self.name("library/bad")))
        self.assertEqual(self.server.call("/api/tags")[1], {"models": []})
        self.assertFalse((self.server.home / "models/manifests" / self.registry.host).exists())
        twice = {**good, "layers": [layer, layer]}
        self.registry.put("library/twice", json.dumps(twice).encode())
        self.assertEqual(self.pull(self.name("library/twice"))[-1], {"status": "success"})

    def test_sizes_that_are_not_true(self):
        weights = noise(3000)
        good = json.loads(self.registry.store("library/m", [("model", weights)]))
        for size in (2999, 3001, 0, 10**12):
            bad = json.loads(json.dumps(good))
            bad["layers"][0]["size"] = size
            self.registry.put("library/bad", json.dumps(bad).encode())
            self.error(self.name("library/bad"))
            self.assertEqual([n for n in self.left() if digest(weights)[7:] in n], [], size)
        self.assertEqual(self.pull()[-1], {"status": "success"})
        self.error(self.name("library/bad"))
        self.assertTrue((self.blobs / digest(weights).replace(":", "-")).exists(), "a liar does not cost a good blob")

    def test_no_room(self):
        good = json.loads(self.registry.store("library/m", [("model", noise(3000))]))
        good["layers"][0]["size"] = 4 * 10**12
        self.registry.put("library/m", json.dumps(good).encode())
        self.assertRegex(self.error(), r"not enough room for blob sha256:.*: 4.0 TB more are needed, .* are free")
        self.assertEqual(self.left(), [])

    def test_a_config_that_is_none(self):
        m = json.loads(self.registry.store("library/m", [("model", noise(1000))]))
        m["config"] = {"mediaType": "x", "digest": self.registry.blob(b"no json"), "size": 7}
        self.registry.put("library/m", json.dumps(m).encode())
        self.assertIn("model config", self.error())
        self.assertEqual(self.server.call("/api/tags")[1], {"models": []})

    def test_redirects(self):
        weights = noise(1000)
        self.registry.store("library/m", [("model", weights)])
        self.registry.redirect_to = self.registry.url  # to itself, for ever
        self.assertIn("more than 10 redirects", self.error())
        self.registry.redirect_to = "http://192.0.2.7:81"
        self.assertIn("192.0.2.7:81 is not in the table of hosts", self.error())
        self.registry.redirect_to = "file://"
        self.assertRegex(self.error(), "file://|not a URL|not an address")

    def test_a_new_manifest_drops_what_only_the_old_one_had(self):
        self.registry.store("library/m", [("model", noise(1000)), ("system", b"old")])
        self.pull()
        manifest = self.registry.store("library/m", [("model", noise(1000)), ("system", b"new")])
        lines = self.pull()
        self.assertIn({"status": "removing unused layers"}, lines)
        self.check(manifest)

    def test_the_command_line(self):
        self.registry.store("library/m", [("model", noise(3 * MB))])
        def hob(*args):
            return subprocess.run([HOB, *args], env=self.server.env, capture_output=True, text=True)
        done = hob("pull", "--insecure", self.name())
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertRegex(done.stderr, r"(?s)^pulling manifest\npulling [0-9a-f]{12}\n.*success\n$")
        failed = hob("pull", self.name("library/none"), "--insecure")
        self.assertEqual((failed.returncode, failed.stderr.splitlines()[-1]),
                         (1, "Error: pull model manifest: file does not exist"))
        self.assertEqual(hob("pull").returncode, 1)


class FullDisk(unittest.TestCase):
    """A limit on the size of files stands for a disk that is full: writing fails in the middle."""

    def test_what_came_is_kept_and_used_later(self):
        with Registry() as registry, tempfile.TemporaryDirectory() as d:
            wrapper = Path(d) / "hob"
            wrapper.write_text(f'#!/bin/bash\nulimit -f 6144\nexec "{HOB}" "$@"\n')
            wrapper.chmod(0o755)
            weights = noise(9 * MB)
            registry.store("library/m", [("model", weights)])
            body = {"model": f"{registry.host}/library/m", "insecure": True}
            with mock.patch("tests.api.harness.HOB", str(wrapper)):
                server = Server(models=(), env={"HOB_REGISTRIES": "127.0.0.1"})
                server.start()
            self.addCleanup(server.__exit__)
            error = server.lines("/api/pull", body)[-1]["error"]
            self.assertRegex(error, "make room|writing")
            self.assertEqual(server.call("/api/tags")[1], {"models": []})
            server.stop()
            server.start()
            self.assertEqual(server.lines("/api/pull", body)[-1], {"status": "success"})


class Rules(unittest.TestCase):
    """Who is asked at all."""

    def test_private_addresses_are_refused_unless_listed(self):
        with Registry() as registry, Server(models=()) as server:
            registry.store("library/m", [("model", b"x" * 100)])
            for host in (registry.host, registry.host.replace("127.0.0.1", "localhost"), "169.254.169.254", "10.0.0.1:5000"):
                error = server.lines("/api/pull", {"model": f"{host}/library/m", "insecure": True})[-1]["error"]
                self.assertIn("HOB_REGISTRIES=", error)
            self.assertEqual(registry.requests, [])

    def test_a_star_opens_the_internet_but_not_the_own_network(self):
        with Registry() as registry, Server(models=(), env={"HOB_REGISTRIES": "*"}) as server:
            for host in (registry.host, registry.host.replace("127.0.0.1", "localhost"),
                         registry.host.replace("127.0.0.1", "127.1")):
                error = server.lines("/api/pull", {"model": f"{host}/library/m", "insecure": True})[-1]["error"]
                self.assertIn("private network", error)
            self.assertEqual(registry.requests, [])

    def test_a_proxy_is_asked_instead(self):
        class Proxy(Registry):
            pass
        with Proxy() as proxy:
            proxy.host_seen = None
            env = {"HOB_REGISTRIES": "models.example", "HTTP_PROXY": proxy.url, "NO_PROXY": ""}
            manifest = proxy.store("library/m", [("model", b"x" * 100)])
            # a request line to a proxy holds the whole URL: the handler routes by its path
            with Server(models=(), env=env) as server:
                lines = server.lines("/api/pull", {"model": "models.example/library/m", "insecure": True})
            self.assertEqual(lines[-1], {"status": "success"}, lines)
            self.assertTrue(all(p.startswith("http://models.example/v2/") for _, p, _ in proxy.requests))
            self.assertTrue(manifest)

    def test_a_closed_proxy(self):
        env = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
        with Server(models=(), env=env) as server:
            status, answer = server.call("/api/pull", {"model": "nope-nope", "stream": False})
            self.assertEqual(status, 500)
            self.assertIn('pull model manifest: Get "https://registry.ollama.ai/v2/library/nope-nope/manifests/latest": ',
                          answer["error"])


class Tunnel(threading.Thread):
    """A proxy that knows CONNECT only, and takes every host for one address."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target, self.asked = target, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.asked.append(head.split(b"\r\n")[0].decode())
        server = socket.create_connection(self.target)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=self.copy, args=(server, client), daemon=True).start()
        self.copy(client, server)

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@unittest.skipUnless(shutil.which("openssl"), "needs the openssl command")
class Tls(unittest.TestCase):
    """https, with a certificate of our own, directly and through a proxy."""

    @classmethod
    def setUpClass(cls):
        cls.dir = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=test",
                        "-addext", "subjectAltName=IP:127.0.0.1,DNS:models.example", "-keyout", cls.dir / "key",
                        "-out", cls.dir / "cert"], check=True, capture_output=True)

    def setUp(self):
        self.registry = self.enterContext(Registry())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.dir / "cert", self.dir / "key")
        self.registry.server.socket = context.wrap_socket(self.registry.server.socket, server_side=True)
        self.registry.url = f"https://{self.registry.host}"
        self.registry.store("library/m", [("model", noise(1000))])

    def pull(self, host, **env):
        with Server(models=(), env={"HOB_REGISTRIES": "127.0.0.1,models.example", **env}) as server:
            return server.lines("/api/pull", {"model": f"{host}/library/m"})[-1]

    def test_a_certificate_that_is_known(self):
        self.registry.auth = "self"
        self.assertEqual(self.pull(self.registry.host, SSL_CERT_FILE=str(self.dir / "cert")), {"status": "success"})

    def test_one_that_is_not(self):
        self.assertRegex(self.pull(self.registry.host)["error"], "(?i)certificate")
        self.assertEqual(self.registry.requests, [])

    def test_through_a_proxy(self):
        tunnel = Tunnel(self.registry.server.server_address)
        self.addCleanup(tunnel.socket.close)
        answer = self.pull("models.example", SSL_CERT_FILE=str(self.dir / "cert"), HTTPS_PROXY=tunnel.url, NO_PROXY="")
        self.assertEqual(answer, {"status": "success"})
        self.assertEqual(set(tunnel.asked), {"CONNECT models.example:443 HTTP/1.1"})

    def test_https_does_not_lead_to_http(self):
        with Registry() as plain:
            self.registry.redirect_to = plain.url
            plain.blobs = self.registry.blobs
            answer = self.pull(self.registry.host, SSL_CERT_FILE=str(self.dir / "cert"))
            self.assertIn("from https to http", answer["error"])
            self.assertEqual(plain.requests, [])


@unittest.skipUnless(os.geteuid() != 0 or shutil.which("setpriv"), "root can write everywhere, and cannot step down")
class ReadOnly(unittest.TestCase):
    """A model directory that cannot be written: somebody's share."""

    def test_reading_works_and_pulling_says_why_not(self):
        registry = self.enterContext(Registry())
        registry.store("library/m", [("model", noise(1000))])
        registry.store("library/n", [("model", noise(1001))])
        owner = self.enterContext(Server(models=(), env={"HOB_REGISTRIES": "127.0.0.1"}))
        name = f"{registry.host}/library/m"
        ask = {"model": name, "insecure": True}
        self.assertEqual(owner.lines("/api/pull", ask)[-1]["status"], "success")
        models = owner.home / "models"
        directories = [owner.home, models, models / "blobs", *models.rglob("manifests/**/")]
        modes = [d.stat().st_mode for d in directories]
        for d in directories:
            os.chmod(d, 0o555)
        self.addCleanup(lambda: [os.chmod(d, m) for d, m in zip(directories, modes)])
        home = Path(self.enterContext(tempfile.TemporaryDirectory()))
        home.chmod(0o777)
        env = {"HOB_REGISTRIES": "127.0.0.1", "OLLAMA_MODELS": str(models)}
        step_down = home / "hob"
        step_down.write_text('#!/bin/bash\nexec ' + ("setpriv --reuid=65534 --regid=65534 --clear-groups " if
                                                     os.geteuid() == 0 else "") + f'"{home}/real" "$@"\n')
        shutil.copy(HOB, home / "real")
        step_down.chmod(0o755)
        with mock.patch("tests.api.harness.HOB", str(step_down)), Server(models=(), env=env, home=home) as server:
            self.assertEqual([m["name"] for m in server.call("/api/tags")[1]["models"]], [f"{name}:latest"])
            self.assertEqual(server.lines("/api/pull", ask)[-1], {"status": "success"}, "nothing is missing")
            error = server.lines("/api/pull", {**ask, "model": f"{registry.host}/library/n"})[-1]["error"]
            self.assertIn(f"the model directory {models} cannot be written", error)
            status, answer = server.call("/api/delete", {"model": name}, method="DELETE")
            self.assertNotEqual(status, 200)
            self.assertIn("error", answer)
            self.assertIn("cannot be written", server.lines("/api/create", {"model": "x", "from": name})[-1]["error"])


class Pruning(unittest.TestCase):
    def run_with(self, env, age):
        with Server(models=(), env=env) as server:
            blobs = server.home / "models/blobs"
            server.stop()
            names = ["sha256-" + "a" * 64, "sha256-" + "b" * 64 + "-partial", "sha256-" + "b" * 64 + "-partial-0"]
            for name in names + ["notes.txt"]:
                (blobs / name).write_bytes(b"x")
                os.utime(blobs / name, (time.time() - age,) * 2)
            server.start()
            return {p.name for p in blobs.iterdir()}, set(names)

    def test_old_blobs_nobody_refers_to_go_at_the_start(self):
        left, _ = self.run_with({}, 7200)
        self.assertEqual(left, {"notes.txt"})

    def test_young_ones_stay(self):
        left, names = self.run_with({}, 60)
        self.assertEqual(left, names | {"notes.txt"})

    def test_noprune(self):
        left, names = self.run_with({"OLLAMA_NOPRUNE": "1"}, 7200)
        self.assertEqual(left, names | {"notes.txt"})


if __name__ == "__main__":
    unittest.main()
