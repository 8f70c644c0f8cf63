"""Accounts of the web listener: sign-up, sessions, keys, throttling, and who may do what."""
import http.client
import json
import sqlite3
import time
import unittest

from .web import Client, Events, TwoUsers, WebServer


class Accounts(TwoUsers):
    def fresh(self, who="Bob", password="battery staple"):
        return self.s.user(who, password)

    def test_first_is_admin_then_closed(self):
        self.assertEqual(self.ann.get("/api/v1/auths/")[1]["role"], "admin")
        c = Client(self.s.site)
        body = {"name": "Eve", "email": "eve@example.org", "password": "12345678"}
        self.assertEqual(c.post("/api/v1/auths/signup", body)[0], 403)
        self.ann.post("/api/v1/auths/admin/config", {"ENABLE_SIGNUP": True})
        status, user = c.post("/api/v1/auths/signup", body)
        self.assertEqual((status, user["role"]), (200, "pending"))
        self.assertEqual(c.get("/api/v1/chats/")[0], 403)
        self.assertEqual(c.get("/api/v1/auths/")[0], 200)
        self.ann.post(f"/api/v1/users/{user['id']}/update", {"role": "user"})
        self.assertEqual(c.get("/api/v1/chats/")[0], 200)
        self.ann.post("/api/v1/auths/admin/config", {"ENABLE_SIGNUP": False})
        self.assertEqual(self.ann.delete(f"/api/v1/users/{user['id']}")[0], 200)
        self.assertEqual(c.get("/api/v1/chats/")[0], 401)

    def test_cookie_is_for_browsers_only(self):
        c = self.fresh()
        for part in ("HttpOnly", "SameSite=Lax", "Path=/"):
            self.assertIn(part, c.cookie_text)
        self.assertNotIn("Secure", c.cookie_text)

    def test_bad_sign_ups(self):
        for body in ({"name": "", "email": "x@y", "password": "12345678"}, {"name": "x", "email": "no", "password": "12345678"},
                     {"name": "x", "email": "x@y", "password": "short"}, {"name": 1}, {}):
            self.assertIn(self.ann.post("/api/v1/auths/add", {**body, "role": "user"})[0], (400, 422))
        self.assertEqual(self.ann.post("/api/v1/auths/add", {
            "name": "x", "email": "BOB@example.org", "password": "12345678", "role": "user"})[0], 400)

    def test_forged_and_signed_out(self):
        for token in ("x", "hob-" + "0" * 64, "../../etc", "a" * 10000, self.ann.cookie[:-1] + "0"):
            c = Client(self.s.site, cookie=token)
            if token != self.ann.cookie:
                self.assertEqual(c.get("/api/v1/auths/")[0], 401, token[:20])
                self.assertEqual(Client(self.s.site, bearer=token).get("/api/v1/auths/")[0], 401)
        c = self.fresh()
        stolen = Client(self.s.site, cookie=c.cookie)
        self.assertEqual(c.post("/api/v1/auths/signout")[0], 200)
        self.assertEqual(stolen.get("/api/v1/auths/")[0], 401)

    def test_sessions_are_listed_and_revoked(self):
        c, d = self.fresh(), self.fresh()
        sessions = c.get("/api/v1/auths/sessions")[1]
        self.assertEqual(sum(s["current"] for s in sessions), 1)
        with Events(d, "/api/v1/events") as ev:
            other = [s for s in d.get("/api/v1/auths/sessions")[1] if s["current"]][0]
            self.assertEqual(c.delete(f"/api/v1/auths/sessions/{other['id']}")[0], 200)
            self.assertIsNone(ev.next())  # its stream ends, too
        self.assertEqual(d.get("/api/v1/auths/")[0], 401)

    def test_new_password_ends_other_sessions(self):
        c, d = self.fresh(), self.fresh()
        self.assertEqual(c.post("/api/v1/auths/update/password", {"password": "wrong", "new_password": "12345678"})[0], 400)
        self.assertEqual(c.post("/api/v1/auths/update/password",
                                {"password": "battery staple", "new_password": "new password"})[0], 200)
        self.assertEqual((c.get("/api/v1/auths/")[0], d.get("/api/v1/auths/")[0]), (200, 401))
        c.post("/api/v1/auths/update/password", {"password": "new password", "new_password": "battery staple"})

    def test_a_slow_body_brings_no_old_rights_back(self):
        c = self.s.second_user(self.ann, "Slow")
        me = c.get("/api/v1/auths/")[1]["id"]
        for path, body in (("/api/v1/users/user/settings", b'{"theme": "slow"}'), ("/api/v1/auths/update/profile", b'{"name": "Slower"}')):
            conn = http.client.HTTPConnection(self.s.site, timeout=60)
            conn.putrequest("POST", path)
            for name, value in c.headers({"Content-Type": "application/json", "Content-Length": str(len(body))}).items():
                conn.putheader(name, value)
            conn.endheaders()
            conn.send(body[:5])
            time.sleep(0.2)  # it is known who asks
            self.assertEqual(self.ann.post(f"/api/v1/users/{me}/update", {"role": "pending", "email": "new@example.org"})[0], 200)
            conn.send(body[5:])
            self.assertEqual(conn.getresponse().status, 200)
            conn.close()
            user = c.get("/api/v1/auths/")[1]
            self.assertEqual((user["role"], user["email"]), ("pending", "new@example.org"), path)
            self.ann.post(f"/api/v1/users/{me}/update", {"role": "user", "email": "slow@example.org"})
        self.assertEqual((user["name"], user["settings"]), ("Slower", {"theme": "slow"}))

    def grants(self, *statements):
        db = sqlite3.connect(self.s.home / "hob.db", timeout=30)
        for text, *values in statements:
            db.execute(text, values)
        db.commit()
        rows = db.execute("SELECT id FROM grant_row").fetchall()
        db.close()
        return {r[0] for r in rows}

    def test_sessions_expire_and_are_few(self):
        c = self.s.second_user(self.ann, "Cy")
        me = c.get("/api/v1/auths/")[1]["id"]
        now = c.get("/api/v1/auths/sessions")[1][0]["id"]
        more = [("INSERT INTO grant_row VALUES (?, ?, ?, 0, 'x', 'y', '', 1, ?, 4e12)", f"s{i}", b"%32d" % i, me, i) for i in range(49)]
        self.assertEqual(len([i for i in self.grants(*more) if i[0] == "s"]), 49)
        d = self.s.user("Cy", "battery staple")
        left = [s["id"] for s in d.get("/api/v1/auths/sessions")[1]]
        self.assertEqual(len(left), 50)
        self.assertNotIn("s0", left)  # idle for the longest time
        self.assertIn(now, left)
        self.assertEqual(c.get("/api/v1/auths/")[0], 200)
        with Events(c, "/api/v1/events"):
            self.grants(("UPDATE grant_row SET expires_ms = 1 WHERE id = ?", now))
            self.assertEqual(c.get("/api/v1/auths/")[0], 401)
            self.assertEqual(Client(self.s.site, bearer=c.cookie).get("/api/models")[0], 401)
        self.s.user("Cy", "battery staple")
        self.assertNotIn(now, self.grants())  # swept

    def test_many_keys(self):
        c = self.s.second_user(self.ann, "Di")
        for i in range(200):
            self.assertEqual(c.post("/api/v1/auths/keys", {"name": str(i)})[0], 200)
        status, out = c.post("/api/v1/auths/keys", {"name": "one more"})
        self.assertEqual(status, 400)
        self.assertIn("200", out["detail"])
        self.assertEqual(c.post("/api/v1/auths/api_key")[0], 400)

    def test_other_origins_are_refused(self):
        c = self.fresh()
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:1"},
                        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
            self.assertEqual(c.post("/api/v1/chats/new", headers=headers)[0], 403, headers)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            self.assertEqual(c.raw("POST", "/api/v1/chats/new", b"{}", {"Content-Type": kind})[0], 415, kind)
        self.assertEqual(c.post("/api/v1/chats/new", headers={"Origin": "http://" + self.s.site})[0], 200)
        self.assertEqual(c.raw("GET", "/health", headers={"Host": "evil.example"})[0], 403)

    def test_users_cannot_do_what_admins_do(self):
        b = self.fresh()
        me = b.get("/api/v1/auths/")[1]["id"]
        for method, path, body in (("GET", "/api/v1/users/", None), ("GET", "/api/v1/users", None),
                                   ("POST", f"/api/v1/users/{me}/update", {"role": "admin"}),
                                   ("DELETE", f"/api/v1/users/{me}", None), ("GET", "/api/v1/logs", None),
                                   ("POST", "/api/v1/auths/add", {"name": "x", "email": "q@y", "password": "12345678"}),
                                   ("POST", "/api/v1/auths/admin/config", {"ENABLE_SIGNUP": True}),
                                   ("POST", "/api/models/unload", {"model": "x"}), ("POST", "/api/v1/pulls", {"model": "x"}),
                                   ("POST", "/ollama/api/pull", {"model": "x"}), ("DELETE", "/ollama/api/delete", {"model": "x"}),
                                   ("POST", "/ollama/api/create", {"model": "x"}), ("GET", "/comfy/internal/logs", None),
                                   ("POST", "/comfy/free", {})):
            self.assertEqual(b.call(method, path, body)[0], 403, path)
        self.assertEqual(b.get("/ollama/api/tags")[0], 200)

    def test_last_admin_stays(self):
        me = self.ann.get("/api/v1/auths/")[1]["id"]
        self.assertEqual(self.ann.post(f"/api/v1/users/{me}/update", {"role": "user"})[0], 400)
        self.assertEqual(self.ann.delete(f"/api/v1/users/{me}")[0], 400)

    def test_settings(self):
        c = self.fresh()
        c.post("/api/v1/users/user/settings", {"theme": "dark", "x": 1})
        c.post("/api/v1/users/user/settings/update", {"x": None})
        self.assertEqual(c.get("/api/v1/users/user/settings")[1], {"theme": "dark"})
        self.assertEqual(c.post("/api/v1/users/user/settings", {"x": "y" * 300000})[0], 413)

    def test_keys(self):
        c = self.fresh()
        status, key = c.post("/api/v1/auths/keys", {"name": "cli", "scopes": ["chat"], "expires_in": 3600})
        self.assertEqual(status, 200)
        self.assertTrue(key["key"].startswith("sk-"))
        self.assertNotIn("key", c.get("/api/v1/auths/keys")[1][-1])
        k = Client(self.s.site, bearer=key["key"])
        self.assertEqual(k.get("/ollama/api/tags")[0], 200)
        self.assertEqual(k.get("/api/models")[0], 200)
        self.assertEqual(k.get("/api/v1/chats/")[0], 403)
        self.assertEqual(k.get("/comfy/queue")[0], 403)
        self.assertEqual(Client(self.s.site, cookie=key["key"]).get("/api/models")[0], 401)
        self.assertEqual(Client(self.s.site).get("/api/models", headers={"x-api-key": key["key"]})[0], 200)
        status, wide = c.post("/api/v1/auths/keys", {"name": "all", "scopes": ["chat", "images", "models", "web"]})
        w = Client(self.s.site, bearer=wide["key"])
        self.assertEqual(w.get("/api/v1/chats/")[0], 200)
        self.assertEqual(w.post("/api/v1/auths/keys", {"name": "more"})[0], 403)
        self.assertEqual(w.post("/ollama/api/pull", {"model": "x"})[0], 403)  # not an admin's
        c.delete(f"/api/v1/auths/keys/{key['id']}")
        self.assertEqual(k.get("/api/models")[0], 401)
        for bad in ({"scopes": []}, {"scopes": ["root"]}, {"scopes": "chat"}, {"expires_in": -1}, {"expires_in": "x"}):
            self.assertEqual(c.post("/api/v1/auths/keys", bad)[0], 400, bad)

    def test_page_and_headers(self):
        c = Client(self.s.site)
        for path in ("/", "/chats/x", "/studio"):
            status, headers, body = c.raw("GET", path)
            self.assertEqual(status, 200)
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertNotIn("unsafe-inline'; img", headers["Content-Security-Policy"].split("style-src")[0])
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertIn(b"<html", body.lower())
        for path in ("/nothing.js", "/api/nothing", "/api/v1/nothing", "/comfy", "/v1/nothing"):
            self.assertIn(c.raw("GET", path)[0], (401, 404), path)

    def test_odd_bodies(self):
        for body in (b"", b"[]", b"{", b"\xff\xfe", b"null", b'{"name": {}}', b'{"content": 5}'):
            status, _, out = self.ann.raw("POST", "/api/v1/folders/", body, {"Content-Type": "application/json"})
            self.assertIn(status, (400, 422), body)
            self.assertIn("detail", json.loads(out))
        status, _, _ = self.ann.raw("POST", "/api/v1/chats/new", b"x" * (33 << 20), {"Content-Type": "application/json"})
        self.assertEqual(status, 413)


class Throttle(unittest.TestCase):
    def test_brute_force(self):
        with WebServer(models=()) as s:
            s.user()
            c = Client(s.site)
            seen = [c.post("/api/v1/auths/signin", {"email": "ann@example.org", "password": f"guess {i}"})[0]
                    for i in range(8)]
            self.assertEqual(seen[:5], [400] * 5)
            self.assertIn(429, seen[5:])
            status, _ = c.post("/api/v1/auths/signin", {"email": "ann@example.org", "password": "correct horse"})
            self.assertEqual(status, 429)
            self.assertTrue(c.last.headers["Retry-After"])
            unknown = Client(s.site).post("/api/v1/auths/signin", {"email": "no@example.org", "password": "x"})
            self.assertEqual(unknown[0], 400)


class NoLogin(unittest.TestCase):
    def test_one_user_without_password(self):
        with WebServer(models=(), env={"WEBUI_AUTH": "False"}) as s:
            c = Client(s.site)
            self.assertFalse(c.get("/api/config")[1]["features"]["auth"])
            self.assertEqual(c.get("/api/v1/auths/")[1]["role"], "admin")
            self.assertTrue(c.new_chat())
            self.assertEqual(c.post("/api/v1/chats/new", headers={"Origin": "http://evil.example"})[0], 403)
            self.assertEqual(c.raw("POST", "/api/v1/chats/new", b"{}", {"Content-Type": "text/plain"})[0], 415)
            self.assertEqual(c.post("/api/v1/auths/signup", {"name": "x", "email": "x@y", "password": "12345678"})[0], 403)


class Elsewhere(unittest.TestCase):
    def test_keys_open_other_listeners_that_are_not_on_loopback(self):
        with WebServer(models=(), env={"HOB_API_KEY": "a-key-of-the-deployment"}) as s:
            admin = s.user()
            bob = s.second_user(admin)
            keys = {n: u.post("/api/v1/auths/keys", {"name": "x", "scopes": sc})[1]["key"]
                    for n, u, sc in (("chat", bob, ["chat"]), ("images", bob, ["images"]), ("admin", admin, ["chat", "models"]))}
            home = s.home
            s.stop()
            s.extra.update(OLLAMA_HOST=f"0.0.0.0:{s.port}")
            s.start()

            def status(key, method="GET", path="/api/tags", body=None):
                return s.request(method, path, body, headers={"Authorization": f"Bearer {key}"} if key is not None else None)[0]
            self.assertEqual([status(k) for k in (None, "", "None", "x", keys["images"], keys["chat"], keys["admin"],
                                                  "a-key-of-the-deployment")],
                             [401, 401, 401, 401, 403, 200, 200, 200])
            self.assertEqual(status(keys["chat"], "DELETE", "/api/delete", {"model": "x"}), 403)
            self.assertEqual(status(keys["admin"], "DELETE", "/api/delete", {"model": "x"}), 404)
            self.assertIn("error", json.loads(s.request("GET", "/v1/models")[2]))
            self.assertTrue(home)
            s.stop()
            s.extra.update(HOB_KEYS="off")
            s.start()
            self.assertEqual(status(None), 200)


if __name__ == "__main__":
    unittest.main()
