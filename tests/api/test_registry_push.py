"""Pushing to a registry of our own, and pulling back what was pushed."""
import json
import unittest

from tests.api.harness import Server
from tests.api.registry import Registry, digest
from tests.api.test_registry_pull import MB, Pulling, noise


class Pushing(Pulling):
    """Has Pulling's set-up; its tests are not repeated here."""

    def make(self, weights):
        """A model of the server's own, pulled from elsewhere and copied to a name of the registry."""
        with Registry() as source:
            source.store("library/m", [("model", weights), ("system", b"Be brief.")])
            name = f"{source.host}/library/m"
            self.assertEqual(self.pull(name)[-1], {"status": "success"})
        self.server.call("/api/copy", {"source": name, "destination": self.name("team/mine")})
        self.server.call("/api/delete", {"model": name}, method="DELETE")

    def push(self, name=None, **more):
        return self.server.lines("/api/push", {"model": name or self.name("team/mine"), "insecure": True, **more})

    def test_everything_arrives(self):
        weights = noise(3 * MB)
        self.make(weights)
        lines = self.push()
        statuses = [x.get("status") for x in lines]
        self.assertEqual(statuses[0], "retrieving manifest")
        self.assertEqual(statuses[-2:], ["pushing manifest", "success"])
        last = [x for x in lines if x["status"] == f"pushing {digest(weights)[7:19]}"][-1]
        self.assertEqual(last, {"status": last["status"], "digest": digest(weights), "total": len(weights),
                                "completed": len(weights)})
        self.assertEqual(self.registry.blobs[digest(weights)], weights)
        stored = self.server.home / "models/manifests" / self.registry.host / "team/mine/latest"
        self.assertEqual(self.registry.manifests["team/mine:latest"], stored.read_bytes())
        n = len(self.registry.asked("PATCH", ""))
        self.assertEqual(self.push()[-1], {"status": "success"})
        self.assertEqual(len(self.registry.asked("PATCH", "")), n, "what is there is not sent again")
        self.server.call("/api/delete", {"model": self.name("team/mine")}, method="DELETE")
        self.assertEqual(self.left(), [])
        self.assertEqual(self.pull(self.name("team/mine"))[-1], {"status": "success"})

    def test_with_a_token(self):
        self.make(noise(1000))
        self.registry.auth = "self"
        self.assertEqual(self.push()[-1], {"status": "success"})

    def test_chunks_handed_on_to_a_storage(self):
        with Registry() as storage:
            storage.uploads = self.registry.uploads
            self.make(noise(2 * MB))
            self.registry.auth, self.registry.upload_redirect = "self", storage.url
            self.assertEqual(self.push()[-1], {"status": "success"})
            for _, _, headers in storage.requests:
                self.assertNotIn("Authorization", headers)
            self.assertTrue(any("&etag=" in p for _, p, _ in self.registry.asked("PUT", "digest=")))

    def test_a_storage_elsewhere_is_not_asked(self):
        self.make(noise(1000))
        self.registry.upload_redirect = "http://192.0.2.9"
        self.assertIn("not in the table of hosts", self.push()[-1]["error"])

    def test_refusals(self):
        self.make(noise(1000))
        self.registry.status = {"/v2/team/mine/blobs/uploads/": 403}
        self.assertIn("403: as the test wants it", self.push()[-1]["error"])
        self.registry.status = {"/v2/team/mine/manifests/": 500}
        self.assertIn("500", self.push()[-1]["error"])
        self.assertEqual(self.registry.manifests, {})

    def test_a_model_that_is_not_here(self):
        lines = self.server.lines("/api/push", {"model": "nope"})
        self.assertEqual([x.get("status") for x in lines[:2]], ["retrieving manifest", "couldn't retrieve manifest"])
        self.assertRegex(lines[2]["error"], r"^open .*/manifests/registry.ollama.ai/library/nope/latest: no such file")
        self.assertEqual(self.server.call("/api/push", {}), (400, {"error": "invalid model name"}))

    def test_a_closed_registry(self):
        self.make(noise(1000))
        self.registry.server.shutdown(), self.registry.server.server_close()
        self.assertIn('Head "http://', self.push()[-1]["error"])
        self.registry.__enter__()


for inherited in dir(Pulling):
    if inherited.startswith("test_"):
        setattr(Pushing, inherited, None)
del Pulling

if __name__ == "__main__":
    unittest.main()
