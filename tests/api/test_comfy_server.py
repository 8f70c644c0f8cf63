"""The picture API's files, users, models and guards against the real binary; no job runs here."""
import json
import os
import socket
import unittest

from tests.api.pictures import PictureServer, make_png, png_chunks, png_size


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PictureServer(checkpoints=())
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def get(self, path, **headers):
        return self.server.request("GET", path, headers=headers)

    def test_upload_and_view(self):
        png, other = make_png(8, 8), make_png(9, 9)
        up = lambda data, **fields: self.server.upload("/upload/image", fields, {"image": ("up.png", data)})
        self.assertEqual(up(png), (200, {"name": "up.png", "subfolder": "", "type": "input"}))
        self.assertEqual(up(png)[1]["name"], "up.png")  # the same content is the same file
        self.assertEqual(up(other)[1]["name"], "up (1).png")
        self.assertEqual(up(other, overwrite="true")[1]["name"], "up.png")
        self.assertEqual(up(make_png(6, 6), overwrite="yes")[1]["name"], "up (2).png")  # only "true" and "1" overwrite
        self.assertEqual(up(png, subfolder="a/b")[1]["subfolder"], "a/b")
        status, headers, data = self.get("/view?filename=up.png&type=input")
        self.assertEqual((status, data), (200, other))
        self.assertEqual(headers["Content-Type"], "image/png")
        self.assertEqual(headers["Content-Disposition"], 'filename="up.png"')
        self.assertEqual(self.get("/api/view?filename=up.png%20%5Binput%5D&subfolder=a/b")[2], png)
        status, headers, data = self.get("/view?filename=up.png&type=input", Range="bytes=1-3")
        self.assertEqual((status, data, headers["Content-Range"]), (206, b"PNG", f"bytes 1-3/{len(other)}"))
        self.assertEqual(self.get("/view?filename=up.png&type=input", Range="bytes=99999-")[0], 416)
        self.assertEqual(self.server.request("HEAD", "/view?filename=up.png&type=input")[0], 200)
        self.assertIn("up.png", self.server.call("/internal/files/input")[1])

    def test_refused_uploads(self):
        up = lambda fields, files: self.server.upload("/upload/image", fields, files)[0]
        png = {"image": ("x.png", b"x")}
        self.assertEqual(up({}, {}), 400)
        self.assertEqual(up({"x": "y"}, {}), 400)
        self.assertEqual(up({"subfolder": "../.."}, png), 400)
        self.assertEqual(up({"subfolder": "/etc"}, png), 400)
        self.assertEqual(up({"type": "nope"}, png), 400)
        self.assertEqual(up({}, {"image": ("../../x.png", b"x")}), 400)
        self.assertEqual(up({}, {"image": ("", b"x")}), 400)
        self.assertEqual(self.server.request("POST", "/upload/image", raw=b"{}")[0], 400)
        self.assertEqual(self.server.request("POST", "/upload/image", raw=b"--B\r\nbroken", headers={
            "Content-Type": "multipart/form-data; boundary=B"})[0], 400)
        self.assertEqual([p for p in self.server.base.rglob(".upload-*")], [])

    def test_upload_that_breaks_off(self):
        with socket.create_connection(("127.0.0.1", self.server.image_port)) as s:
            s.sendall(b"POST /upload/image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
                      b"Content-Type: multipart/form-data; boundary=B\r\n\r\n--B\r\nContent-Disposition: form-data;"
                      b' name="image"; filename="broken.png"\r\n\r\nabc')
        self.assertEqual(self.get("/view?filename=broken.png&type=input")[0], 404)

    def test_refused_views(self):
        for path, status in (("", 404), ("?filename=", 400), ("?filename=none.png", 404),
                             ("?filename=../x.png", 400), ("?filename=/etc/passwd", 400),
                             ("?filename=x.png&type=nope", 400), ("?filename=x.png&subfolder=../..", 403),
                             ("?filename=%2e%2e%2fhob.db&type=output", 400), ("?filename=blake3:00", 404)):
            self.assertEqual(self.get("/view" + path)[0], status, path)

    def test_active_content_is_a_download(self):
        for name in ("x.html", "x.svg", "x.js", "x.css", "x.xml", "x.xhtml"):
            self.server.upload("/upload/image", {}, {"image": (name, b"<script>")})
            _, headers, _ = self.get(f"/view?filename={name}&type=input")
            self.assertEqual(headers["Content-Type"], "application/octet-stream", name)
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertTrue(headers["Content-Disposition"].startswith("attachment"))
        _, headers, _ = self.get("/view?filename=x.svg&type=input", **{"Sec-Fetch-Dest": "image"})
        self.assertEqual(headers["Content-Type"], "image/svg+xml")

    def test_converted_views(self):
        self.server.upload("/upload/image", {"overwrite": "1"}, {"image": ("alpha.png", make_png(6, 5, True))})
        view = lambda more: self.get("/view?filename=alpha.png&type=input" + more)
        status, headers, data = view("&preview=webp;50")
        self.assertEqual((status, headers["Content-Type"], data[:4]), (200, "image/webp", b"RIFF"))
        self.assertEqual(view("&preview=jpeg&channel=rgb")[2][:2], b"\xff\xd8")
        self.assertEqual(view("&preview=nonsense;x")[1]["Content-Type"], "image/webp")
        for channel, colour_type in (("rgb", 2), ("a", 6), ("rgba", 6)):
            _, _, data = view("&channel=" + channel)
            self.assertEqual(png_chunks(data)[0][1][9], colour_type, channel)
            self.assertEqual(png_size(data), (6, 5))

    def test_damaged_pictures(self):
        for name, data in (("cut.png", make_png(64, 64)[:-30]), ("none.png", b"no picture"),
                           ("huge.png", make_png()[:16] + b"\x7f\xff\xff\xff\x7f\xff\xff\xff" + make_png()[24:])):
            self.server.upload("/upload/image", {"overwrite": "1"}, {"image": (name, data)})
            status, _, body = self.get(f"/view?filename={name}&type=input&preview=webp")
            self.assertGreaterEqual(status, 400, name)
            self.assertIn("error", json.loads(body))

    def test_mask(self):
        self.server.upload("/upload/image", {"overwrite": "1"}, {"image": ("base.png", make_png(8, 8))})
        ref = json.dumps({"filename": "base.png", "subfolder": "", "type": "input"})
        mask = {"image": ("masked.png", make_png(8, 8, True))}
        self.assertEqual(self.server.upload("/upload/mask", {"original_ref": ref}, mask)[0], 200)
        _, _, data = self.get("/view?filename=masked.png&type=input")
        self.assertEqual(png_chunks(data)[0][1][9], 6)
        for bad, status in (("nonsense", 400), ('{"filename":"../x"}', 400), ('{"filename":"gone.png"}', 404), ("", 400)):
            self.assertEqual(self.server.upload("/upload/mask", {"original_ref": bad}, mask)[0], status, bad)

    def test_userdata(self):
        post = lambda path, data: self.server.request("POST", "/userdata/" + path, raw=data)
        self.assertEqual(json.loads(post("workflows%2Fa.json", b"{}")[2]), "workflows/a.json")
        self.assertEqual(post("workflows%2Fa.json?overwrite=false", b"{}")[0], 409)
        self.assertEqual(json.loads(post("workflows%2Fsub%2Fb.json?full_info=true", b"[1]")[2])["size"], 3)
        self.assertEqual(self.server.call("/userdata?dir=workflows")[1], ["a.json"])
        self.assertEqual(self.server.call("/userdata?dir=workflows&recurse=true&split=true")[1],
                         [["a.json", "a.json"], ["sub/b.json", "sub", "b.json"]])
        listing = self.server.call("/v2/userdata?path=workflows")[1]
        self.assertEqual({(e["path"], e["type"]) for e in listing},
                         {("workflows/a.json", "file"), ("workflows/sub", "directory")})
        status, headers, data = self.get("/userdata/workflows%2Fa.json")
        self.assertEqual((status, headers["Content-Type"], data), (200, "application/json", b"{}"))
        move = self.server.request("POST", "/userdata/workflows%2Fa.json/move/workflows%2Fc.json", raw=b"")
        self.assertEqual(json.loads(move[2]), "workflows/c.json")
        self.assertEqual(self.server.request("DELETE", "/userdata/workflows%2Fc.json")[0], 204)
        self.assertEqual(self.server.request("DELETE", "/userdata/workflows%2Fc.json")[0], 404)
        for path, status in (("/userdata", 400), ("/userdata?dir=nope", 404), ("/userdata?dir=..", 403),
                             ("/userdata/..%2F..%2Fx", 403), ("/userdata/%2Fetc%2Fpasswd", 403),
                             ("/userdata/none.json", 404)):
            self.assertEqual(self.get(path)[0], status, path)

    def test_settings(self):
        self.assertEqual(self.server.call("/settings", {"a": 1, "b": [2]})[0], 200)
        self.assertEqual(self.server.request("POST", "/settings/b", raw=b'"x"')[0], 200)
        self.assertEqual(self.server.call("/settings")[1], {"a": 1, "b": "x"})
        self.assertEqual(self.server.call("/settings/a")[1], 1)
        self.assertIsNone(self.server.call("/settings/none")[1])
        self.assertEqual(self.server.request("POST", "/settings", raw=b"[")[0], 400)
        self.assertTrue((self.server.base / "user/default/comfy.settings.json").exists())

    def test_models(self):
        folder = self.server.base / "models" / "loras"
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        head = json.dumps({"__metadata__": {"a": "b"}}).encode()
        (folder / "sub" / "x.safetensors").write_bytes(len(head).to_bytes(8, "little") + head)
        (folder / "bad.safetensors").write_bytes(b"\xff" * 40)
        (self.server.base / "models" / "embeddings" / "good.pt").write_bytes(b"")
        self.assertEqual(self.server.call("/models/loras")[1], ["bad.safetensors", "sub/x.safetensors"])
        self.assertEqual(self.server.call("/embeddings")[1], ["good"])
        self.assertEqual(self.server.call("/view_metadata/loras?filename=sub/x.safetensors")[1], {"a": "b"})
        for path in ("/models/nope", "/view_metadata/loras?filename=bad.safetensors", "/view_metadata/loras",
                     "/view_metadata/loras?filename=../loras/sub/x.safetensors", "/experiment/models/nope"):
            self.assertEqual(self.get(path)[0], 404, path)
        (entry,) = [e for e in self.server.call("/experiment/models/loras")[1] if "sub" in e["name"]]
        self.assertEqual((entry["pathIndex"], entry["size"]), (0, 8 + len(head)))
        (folder / "sub" / "x.png").write_bytes(make_png())
        self.assertEqual(self.get("/experiment/models/preview/loras/0/sub/x.safetensors")[0], 200)
        self.assertEqual(self.get("/experiment/models/preview/loras/9/sub/x.safetensors")[0], 404)

    def test_guards(self):
        post = lambda **headers: self.server.request("POST", "/queue", {"delete": []}, headers=headers)[0]
        self.assertEqual(post(), 200)
        self.assertEqual(post(Origin=f"http://127.0.0.1:{self.server.image_port}"), 200)
        self.assertEqual(post(Origin="http://evil.example"), 403)
        self.assertEqual(post(Origin="http://127.0.0.1:1"), 403)
        self.assertEqual(post(Origin="null"), 403)
        self.assertEqual(post(Host="evil.example"), 403)
        self.assertEqual(post(**{"Sec-Fetch-Site": "cross-site"}), 403)
        self.assertEqual(post(**{"Sec-Fetch-Site": "same-origin"}), 200)

    def test_prefixes(self):
        for path in ("/queue", "/prompt", "/system_stats", "/features", "/extensions", "/i18n", "/history",
                     "/global_subgraphs", "/node_replacements", "/workflow_templates", "/users"):
            self.assertEqual(self.server.call(path)[0], 200, path)
            self.assertEqual(self.server.call("/api" + path)[0], 200, path)
        self.assertEqual(self.get("/internal/folder_paths")[0], 200)
        self.assertEqual(self.get("/api/internal/folder_paths")[0], 404)
        self.assertEqual(self.get("/jobs")[0], 404)
        self.assertEqual(self.get("/api/assets")[0], 503)
        stats = self.server.call("/system_stats")[1]
        self.assertRegex(stats["system"]["comfyui_version"], r"^\d+\.\d+\.\d+$")
        self.assertGreater(stats["devices"][0]["vram_total"], 0)

    def test_socket(self):
        with self.server.socket("one", {"supports_preview_metadata": True}) as ws:
            self.assertEqual(ws.next(), {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}},
                                                                    "sid": "one"}})
            flags = ws.next()
            self.assertEqual(flags["type"], "feature_flags")
            self.assertEqual(flags["data"], self.server.call("/features")[1])
            ws.send({"type": "feature_flags", "data": {}})  # only the first message counts
            ws.send({"nonsense": [1]})
            self.server.call("/queue", {"clear": True})
            self.assertEqual(ws.next()["type"], "status")
        with self.server.socket() as ws:
            ws.connection.sendall(b"\x81\xfe" + b"\xff" * 50)  # nonsense closes this socket, no other
        self.assertEqual(self.get("/ws")[0], 400)

    def test_assets(self):
        png = make_png(7, 7)
        status, asset = self.server.upload("/api/v2/assets", {"content_type": "image/png", "file_path": "in/x.png"},
                                           {"file": ("x.png", png)})
        self.assertEqual((status, asset["size_bytes"], asset["created_new"]), (201, len(png), True))
        again = self.server.upload("/api/v2/assets", {"expected_hash": asset["hash"]}, {"file": ("y.png", png)})
        self.assertEqual((again[0], again[1]["hash"]), (200, asset["hash"]))
        wrong = self.server.upload("/api/v2/assets", {"expected_hash": "blake3:00"}, {"file": ("y.png", png)})
        self.assertEqual((wrong[0], wrong[1]["error"]["code"]), (409, "hash_mismatch"))
        self.assertEqual(self.server.upload("/api/v2/assets", {"expires_in": "5"}, {"file": ("y", png)})[0], 422)
        self.assertEqual(self.server.upload("/api/v2/assets", {}, {})[0], 422)
        self.assertEqual(self.server.request("HEAD", f"/api/v2/assets/by-hash/{asset['hash']}")[0], 200)
        self.assertEqual(self.server.request("HEAD", "/api/v2/assets/by-hash/blake3:11")[0], 404)
        self.assertEqual(self.server.call("/api/v2/assets/from-hash", {"hash": asset["hash"]})[0], 201)
        self.assertEqual(self.server.call("/api/v2/assets/from-hash", {"hash": "blake3:1"})[0], 404)
        self.assertEqual(self.get(asset["url"])[2], png)
        self.assertEqual(self.get(asset["url"], Range="bytes=0-3")[0], 206)
        self.assertEqual(self.server.call(f"/api/v2/assets/{asset['id']}")[1]["file_path"], "in/x.png")
        self.assertEqual(self.server.request("DELETE", f"/api/v2/assets/{asset['id']}")[0], 204)
        status, body = self.server.call(f"/api/v2/assets/{asset['id']}")
        self.assertEqual((status, body["error"]["code"]), (404, "not_found"))
        self.assertEqual(self.get(f"/view?filename={asset['hash']}")[0], 200)  # the other two still have it

    def test_bad_bodies(self):
        for path in ("/queue", "/history", "/free", "/settings", "/prompt", "/api/v2/jobs", "/api/generate"):
            for raw in (b"", b"{", b"[" * 100000, b"\xff\xfe"):
                status = self.server.request("POST", path, raw=raw)[0]
                self.assertIn(status, (400, 422), f"{path} {raw[:9]}")
        self.assertEqual(self.server.request("POST", "/interrupt", raw=b"")[0], 200)


class Environment(unittest.TestCase):
    def test_folders_elsewhere(self):
        with PictureServer(checkpoints=()) as probe:
            more = probe.home / "more"
            (more / "lora").mkdir(parents=True)
            (more / "lora" / "far.safetensors").write_bytes(b"")
            yaml = probe.home / "paths.yaml"
            yaml.write_text(f"other:\n  base_path: {more}\n  loras: lora\n")
            out = probe.home / "elsewhere"
            with PictureServer(checkpoints=(), env={"HOB_IMAGE_PATHS": str(yaml), "HOB_IMAGE_OUTPUT": str(out)}) as s:
                self.assertEqual(s.call("/models/loras")[1], ["far.safetensors"])
                self.assertTrue(out.is_dir())

    def test_cors(self):
        with PictureServer(checkpoints=(), env={"HOB_IMAGE_ORIGINS": "http://studio.example"}) as s:
            status, headers, _ = s.request("OPTIONS", "/prompt", headers={"Origin": "http://studio.example"})
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, "http://studio.example"))
            self.assertEqual(s.request("GET", "/queue", headers={"Sec-Fetch-Site": "cross-site"})[0], 200)

    def test_front_end(self):
        with PictureServer(checkpoints=()) as probe:
            web = probe.home / "web"
            (web / "extensions" / "core").mkdir(parents=True)
            (web / "index.html").write_text("<p>front end")
            (web / "extensions" / "core" / "a b.js").write_text("1")
            (probe.home / "secret").write_text("x")
            with PictureServer(checkpoints=(), env={"HOB_IMAGE_WEB": str(web)}) as s:
                status, headers, data = s.request("GET", "/")
                self.assertEqual((status, headers["Cache-Control"], data), (200, "no-store", b"<p>front end"))
                self.assertEqual(s.call("/extensions")[1], ["/extensions/core/a b.js"])
                for path in ("/extensions/core/a%20b.js", "/api/extensions/core/a%20b.js"):
                    self.assertEqual(s.request("GET", path)[0], 200)
                for path in ("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/none"):
                    self.assertEqual(s.request("GET", path)[0], 404)
                self.assertEqual(s.request("POST", "/none", {})[0], 404)

    def test_base_that_cannot_be_written(self):
        server = PictureServer(checkpoints=(), env={"HOB_IMAGE_OUTPUT": "/proc/nowhere"})
        with self.assertRaises(RuntimeError) as caught:
            server.start()
        self.assertIn("/proc/nowhere", str(caught.exception))
        os.system(f"rm -rf {server.home}")


if __name__ == "__main__":
    unittest.main()
