"""Accounts through HTTP, on two whole servers: test_accounts.py BUILD_FOLDER [unittest arguments]. KEEP=1 leaves data and logs."""

import secrets
import sys
import time
import unittest

from accounts_rig import (PASSWORD, Device, Key, Pair, cross_key, device_keys, one_time_keys, quote, shared_secret)

BUILD = sys.argv.pop(1)


def setUpModule():
    global PAIR, HERE, THERE
    PAIR = Pair(BUILD)
    HERE, THERE = PAIR.servers


def tearDownModule():
    complaints = PAIR.stop()
    if complaints:
        raise SystemExit("processes died:\n" + "\n".join(complaints[:20]))


def wait_until(predicate, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = predicate()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


class Case(unittest.TestCase):
    def fails(self, answer, status, errcode):
        self.assertEqual((answer[0], answer[1].get("errcode")), (status, errcode), answer)

    def works(self, answer):
        self.assertEqual(answer[0], 200, answer)
        return answer[1]

    def user(self, server=None, **more):
        return Device(server or HERE).join_as(**more)

    def again(self, device, **more):
        """Another device of the same user."""
        other = Device(device.server)
        return other.take(self.works(other.log_in(device.user_id, **more)))


class Server(Case):
    def test_facts(self):
        nobody = Device(HERE)
        versions = self.works(nobody.get("/_matrix/client/versions"))
        self.assertIn("v1.10", versions["versions"])
        self.assertTrue(all(value is True for value in versions["unstable_features"].values()))
        self.assertEqual(self.works(nobody.get("/.well-known/matrix/client")), {"m.homeserver": {"base_url": "https://here.example"}})
        self.assertEqual(self.works(nobody.get("/.well-known/matrix/server")), {"m.server": "here.example:443"})
        self.fails(nobody.get("/capabilities"), 401, "M_MISSING_TOKEN")
        capabilities = self.works(self.user().get("/capabilities"))["capabilities"]
        self.assertEqual(capabilities["m.room_versions"]["default"], "12")
        self.assertEqual(capabilities["m.room_versions"]["available"]["11"], "stable")
        self.assertTrue(capabilities["m.change_password"]["enabled"])


class Registration(Case):
    def test_flow_with_session(self):
        nobody, name = Device(HERE), "s" + secrets.token_hex(4)
        status, challenge = nobody.post("/register", {"username": name, "password": "übers3kr1t", "device_id": "xyzzy"})
        self.assertEqual((status, challenge["flows"], challenge["params"]), (401, [{"stages": ["m.login.dummy"]}], {}))
        # The session remembers the rest of the request.
        answer = self.works(nobody.post("/register", {"auth": {"type": "m.login.dummy", "session": challenge["session"]}}))
        self.assertEqual((answer["user_id"], answer["device_id"]), (f"@{name}:{HERE.name}", "xyzzy"))
        self.works(Device(HERE).log_in(name, "übers3kr1t"))

    def test_names(self):
        self.assertRegex(self.user(username=None).user_id, "^@[a-z0-9]+:")
        upper = "UPPER" + secrets.token_hex(4)
        self.assertEqual(self.user(name=upper).user_id, f"@{upper.lower()}:{HERE.name}")
        for bad in ("a!b", 'a"b', "a:b", "a?b", "a\\b", "a@b", "a[b", "é", "a\nb", "", "_x", "a\0b", "x" * 250):
            body = {"username": bad, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
            self.fails(Device(HERE).post("/register", body), 400, "M_INVALID_USERNAME")
        self.fails(Device(HERE).post("/register", {"username": 5}), 400, "M_BAD_JSON")
        self.fails(Device(HERE).post("/register", {"password": ["x"]}), 400, "M_BAD_JSON")
        taken = self.user()
        local = taken.user_id[1:].split(":")[0]
        self.fails(Device(HERE).post("/register", {"username": local}), 400, "M_USER_IN_USE")
        self.fails(Device(HERE).get("/register/available?username=" + local), 400, "M_USER_IN_USE")
        self.fails(Device(HERE).get("/register/available?username=a,b"), 400, "M_INVALID_USERNAME")
        self.fails(Device(HERE).get("/register/available"), 400, "M_MISSING_PARAM")
        self.assertEqual(self.works(Device(HERE).get("/register/available?username=free")), {"available": True})

    def test_variants(self):
        quiet = {"username": "q" + secrets.token_hex(4), "password": PASSWORD, "auth": {"type": "m.login.dummy"}, "inhibit_login": True}
        self.assertNotIn("access_token", self.works(Device(HERE).post("/register", quiet)))
        guest = Device(HERE)
        guest.take(self.works(guest.post("/register?kind=guest")))
        self.assertTrue(self.works(guest.get("/account/whoami"))["is_guest"])
        self.fails(guest.post("/logout/all"), 403, "M_GUEST_ACCESS_FORBIDDEN")
        self.fails(Device(HERE).post("/register?kind=king"), 404, "M_UNRECOGNIZED")

    def test_shared_secret(self):
        device = Device(HERE)
        answer, used = shared_secret(device, "Boss" + secrets.token_hex(4), admin=True)
        self.assertEqual(self.works(answer)["user_id"], f"@{used['username'].lower()}:{HERE.name}")
        self.fails(device.post("/_synapse/admin/v1/register", used), 400, "M_UNKNOWN")  # the nonce is spent
        self.fails(shared_secret(device, "x" + secrets.token_hex(4), secret="wrong")[0], 403, "M_FORBIDDEN")
        self.fails(shared_secret(device, "us,er")[0], 400, "M_INVALID_USERNAME")
        named, _ = shared_secret(device, "n" + secrets.token_hex(4), displayname="Näme")
        self.assertEqual(self.works(device.get(f"/profile/{quote(named[1]['user_id'])}/displayname")), {"displayname": "Näme"})


class Guests(Case):
    def guest(self):
        guest = Device(HERE)
        return guest.take(self.works(guest.post("/register?kind=guest")))

    def test_api(self):
        """What the specification opens to guests ("Guest Access"), and what not."""
        guest, user = self.guest(), self.user()
        self.assertEqual([one["device_id"] for one in self.works(guest.get("/devices"))["devices"]], [guest.device_id])
        self.works(guest.put("/devices/" + guest.device_id, {"display_name": "visiting"}))
        self.assertEqual(self.works(guest.get("/devices/" + guest.device_id))["display_name"], "visiting")
        own = f"/profile/{quote(guest.user_id)}/"
        self.works(guest.put(own + "displayname", {"displayname": "Guest"}))
        self.works(guest.delete(own + "displayname"))
        self.fails(guest.put(own + "avatar_url", {"avatar_url": "mxc://a/b"}), 403, "M_GUEST_ACCESS_FORBIDDEN")
        self.fails(guest.delete(own + "avatar_url"), 403, "M_GUEST_ACCESS_FORBIDDEN")
        self.works(guest.post("/keys/upload"))
        self.works(guest.post("/keys/query", {"device_keys": {user.user_id: []}}))
        self.works(guest.post("/keys/claim", {"one_time_keys": {}}))
        self.works(guest.put("/sendToDevice/x.y/1", {"messages": {user.user_id: {"*": {}}}}))
        for method, path in (("POST", "/createRoom"), ("DELETE", "/devices/" + guest.device_id), ("GET", "/keys/changes?from=s1"), ("POST", "/logout/all")):
            self.fails(guest.ask(method, path, {} if method == "POST" else None), 403, "M_GUEST_ACCESS_FORBIDDEN")

    def test_rooms(self):
        guest, host = self.guest(), self.user()
        access = lambda how: {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": how}}
        for closed in (host.room(), host.room(initial_state=[access("forbidden")])):
            self.fails(guest.post(f"/rooms/{quote(closed)}/join"), 403, "M_GUEST_ACCESS_FORBIDDEN")
            self.fails(guest.put(f"/rooms/{quote(closed)}/state/m.room.member/{quote(guest.user_id)}", {"membership": "join"}), 403,
                       "M_GUEST_ACCESS_FORBIDDEN")
        self.fails(guest.post(f"/join/{quote('!unknown:' + THERE.name)}?via={THERE.name}"), 403, "M_GUEST_ACCESS_FORBIDDEN")
        rooms = [host.room(initial_state=[access("can_join")]) for _ in range(2)]
        at = lambda room: "/rooms/" + quote(room)
        for room in rooms:
            self.works(guest.post(at(room) + "/join"))
            self.works(guest.put(at(room) + "/send/m.room.message/1", {"body": "hello"}))
        self.works(guest.post(at(rooms[0]) + "/leave"))
        self.works(guest.post(at(rooms[0]) + "/join"))
        self.works(host.put(at(rooms[0]) + "/state/m.room.guest_access/", {"guest_access": "forbidden"}))
        members = lambda room: self.works(host.get(at(room) + "/joined_members"))["joined"]
        wait_until(lambda: guest.user_id not in members(rooms[0]))
        self.assertEqual(self.works(host.get(at(rooms[0]) + "/state/m.room.member/" + quote(guest.user_id))), {"membership": "leave"})
        self.assertIn(guest.user_id, members(rooms[1]))
        self.fails(guest.post(at(rooms[0]) + "/join"), 403, "M_GUEST_ACCESS_FORBIDDEN")


class Sessions(Case):
    def test_login(self):
        user = self.user()
        local = user.user_id[1:].split(":")[0]
        self.assertEqual(self.works(Device(HERE).get("/login"))["flows"], [{"type": "m.login.password"}])
        for typed in (user.user_id, local, user.user_id.replace(local, local.upper())):
            answer = self.works(Device(HERE).log_in(typed))
            self.assertEqual(answer["user_id"], user.user_id)
        self.assertEqual(answer["well_known"]["m.homeserver"]["base_url"], "https://here.example")
        self.works(Device(HERE).post("/login", {"type": "m.login.password", "user": local, "password": PASSWORD}))
        self.fails(Device(HERE).log_in(user.user_id, "wrong"), 403, "M_FORBIDDEN")
        self.fails(Device(HERE).log_in("nobody-at-all"), 403, "M_FORBIDDEN")
        self.fails(Device(HERE).log_in("@x:elsewhere"), 403, "M_FORBIDDEN")
        self.fails(Device(HERE).log_in("a\0b"), 403, "M_FORBIDDEN")
        self.fails(Device(HERE).post("/login", {"type": "m.login.magic"}), 400, "M_UNKNOWN")
        self.fails(Device(HERE).post("/login", {}), 400, "M_MISSING_PARAM")
        self.fails(Device(HERE).post("/login", b"[]"), 400, "M_BAD_JSON")
        self.fails(Device(HERE).post("/login", b"{"), 400, "M_NOT_JSON")

    def test_device_reuse_replaces_the_token(self):
        user = self.user()
        first = self.again(user, device_id="PHONE", initial_device_display_name="one")
        second = self.again(user, device_id="PHONE", initial_device_display_name="two")
        self.fails(first.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.works(second.get("/account/whoami"))["device_id"], "PHONE")
        self.assertEqual(self.works(second.get("/devices/PHONE"))["display_name"], "one")

    def test_refresh(self):
        user = self.user()
        device = Device(HERE)
        answer = self.works(device.log_in(user.user_id, refresh_token=True))
        device.take(answer)
        self.assertGreater(answer["expires_in_ms"], 0)
        old = answer["refresh_token"]
        new = self.works(device.post("/refresh", {"refresh_token": old}))
        self.fails(device.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
        # The answer got lost: the old refresh token is still good, and what it gave before is not.
        newer = self.works(device.post("/refresh", {"refresh_token": old}))
        self.fails(device.post("/refresh", {"refresh_token": new["refresh_token"]}), 401, "M_UNKNOWN_TOKEN")
        newest = self.works(device.post("/refresh", {"refresh_token": newer["refresh_token"]}))
        self.fails(device.post("/refresh", {"refresh_token": old}), 401, "M_UNKNOWN_TOKEN")
        device.token = newest["access_token"]
        self.assertEqual(self.works(device.get("/account/whoami"))["device_id"], device.device_id)

    def test_logout(self):
        user = self.user()
        other = self.again(user)
        self.assertEqual(len(self.works(user.get("/devices"))["devices"]), 2)
        self.works(other.get("/sync"))
        self.works(other.post("/logout"))
        self.fails(other.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
        self.fails(other.get("/sync"), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual([device["device_id"] for device in self.works(user.get("/devices"))["devices"]], [user.device_id])
        third = self.again(user)
        self.works(third.post("/logout/all"))
        for device in (third, user):
            self.fails(device.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
        self.fails(Device(HERE).post("/logout"), 401, "M_MISSING_TOKEN")

    def test_logging_out_removes_the_devices_settings(self):
        user = self.user()
        other = self.again(user)
        path = user.me("/account_data/org.matrix.msc3890.local_notification_settings." + other.device_id)
        self.works(user.put(path, {"is_silenced": True}))
        self.works(user.get(path))
        self.works(other.post("/logout"))
        self.fails(user.get(path), 404, "M_NOT_FOUND")

    def test_password(self):
        user = self.user()
        other, kept = self.again(user), self.again(user)
        status, challenge = user.post("/account/password", {"new_password": "battery staple"})
        self.assertEqual((status, challenge["flows"]), (401, [{"stages": ["m.login.password"]}]))
        self.fails(user.post("/account/password", {"new_password": "battery staple", "auth": user.proof("wrong")}), 401, "M_FORBIDDEN")
        self.works(user.post("/account/password", {"new_password": "battery staple", "logout_devices": False,
                                                   "auth": user.proof(session=challenge["session"])}))
        self.works(kept.get("/account/whoami"))
        self.fails(Device(HERE).log_in(user.user_id), 403, "M_FORBIDDEN")
        self.works(user.post("/account/password", {"new_password": PASSWORD, "auth": user.proof("battery staple")}))
        self.fails(other.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
        self.works(user.get("/account/whoami"))
        self.fails(user.post("/account/password", {"new_password": "", "auth": user.proof()}), 400, "M_WEAK_PASSWORD")

    def test_deactivate(self):
        user, friend = self.user(), self.user()
        room = friend.room()
        user.join(room)
        self.works(user.put(f"/profile/{quote(user.user_id)}/displayname", {"displayname": "Going"}))
        self.fails(user.post("/account/deactivate", {"auth": user.proof("wrong")}), 401, "M_FORBIDDEN")
        answer = self.works(user.post("/account/deactivate", {"auth": user.proof(), "erase": True}))
        self.assertEqual(answer, {"id_server_unbind_result": "success"})
        self.fails(user.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
        self.fails(Device(HERE).log_in(user.user_id), 403, "M_USER_DEACTIVATED")
        member = self.works(friend.get(f"/rooms/{quote(room)}/state/m.room.member/{quote(user.user_id)}"))
        self.assertEqual(member["membership"], "leave")
        local = user.user_id[1:].split(":")[0]
        self.fails(Device(HERE).get("/register/available?username=" + local), 400, "M_USER_IN_USE")


class Devices(Case):
    def test_devices(self):
        user = self.user()
        other = self.again(user, initial_device_display_name="phone")
        path = "/devices/" + other.device_id
        self.assertEqual(self.works(user.get(path))["display_name"], "phone")
        self.works(user.put(path, {"display_name": "tablet"}))
        self.assertEqual(self.works(user.get(path))["display_name"], "tablet")
        self.fails(user.get("/devices/none"), 404, "M_NOT_FOUND")
        self.fails(user.put("/devices/none", {"display_name": "x"}), 404, "M_NOT_FOUND")
        self.fails(user.put(path, {"display_name": 5}), 400, "M_BAD_JSON")
        self.fails(user.put(path, {"display_name": "a\0b"}), 400, "M_BAD_JSON")
        status, challenge = user.delete(path)
        self.assertEqual((status, challenge["flows"]), (401, [{"stages": ["m.login.password"]}]))
        self.fails(user.delete(path, {"auth": user.proof("wrong")}), 401, "M_FORBIDDEN")
        stranger = self.user()
        self.fails(user.delete(path, {"auth": user.proof(user_id=stranger.user_id)}), 403, "M_FORBIDDEN")
        self.works(user.get(path))
        self.works(user.delete(path, {"auth": user.proof(session=challenge["session"])}))
        self.fails(user.get(path), 404, "M_NOT_FOUND")
        self.fails(other.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
        # The session answers for this request again, and for no other.
        self.works(user.delete(path, {"auth": {"session": challenge["session"]}}))
        third = self.again(user)
        status, _ = user.delete("/devices/" + third.device_id, {"auth": {"session": challenge["session"]}})
        self.assertEqual(status, 401)

    def test_delete_several(self):
        user = self.user()
        others = [self.again(user) for _ in range(3)]
        ids = [other.device_id for other in others]
        status, challenge = user.post("/delete_devices", {"devices": ids})
        self.assertEqual(status, 401)
        self.works(user.post("/delete_devices", {"auth": user.proof(session=challenge["session"])}))
        self.assertEqual(len(self.works(user.get("/devices"))["devices"]), 1)
        self.fails(user.post("/delete_devices", {"devices": "all"}), 400, "M_BAD_JSON")


class Profiles(Case):
    def test_own(self):
        user, nobody = self.user(), Device(HERE)
        path = f"/profile/{quote(user.user_id)}"
        self.works(user.put(path + "/displayname", {"displayname": "Älice"}))
        self.works(user.put(path + "/avatar_url", {"avatar_url": "mxc://example.com/x"}))
        self.works(user.put(path + "/org.example.pronouns", {"org.example.pronouns": ["they", {"x": 1}]}))
        self.works(user.put(path + "/m.tz", {"m.tz": "Europe/London"}))
        self.assertEqual(self.works(nobody.get(path)), {"displayname": "Älice", "avatar_url": "mxc://example.com/x", "m.tz": "Europe/London",
                                                        "org.example.pronouns": ["they", {"x": 1}]})
        self.assertEqual(self.works(nobody.get(path + "/displayname")), {"displayname": "Älice"})
        self.works(user.delete(path + "/m.tz"))
        self.works(user.delete(path + "/m.tz"))
        self.fails(nobody.get(path + "/m.tz"), 404, "M_NOT_FOUND")
        self.works(user.put(path + "/displayname", {"displayname": ""}))
        self.fails(nobody.get(path + "/displayname"), 404, "M_NOT_FOUND")

    def test_refusals(self):
        user, other = self.user(), self.user()
        path = f"/profile/{quote(user.user_id)}"
        self.fails(other.put(path + "/displayname", {"displayname": "x"}), 403, "M_FORBIDDEN")
        self.fails(user.put(path + "/displayname", {}), 400, "M_MISSING_PARAM")
        self.fails(user.put(path + "/displayname", {"displayname": 5}), 400, "M_BAD_JSON")
        self.fails(user.put(path + "/displayname", {"displayname": "a\0b"}), 400, "M_INVALID_PARAM")
        self.fails(user.put(path + "/displayname", {"displayname": "x" * 2000}), 400, "M_INVALID_PARAM")
        self.fails(user.put(path + "/avatar_url", {"avatar_url": 5}), 400, "M_BAD_JSON")
        self.fails(user.put(path + "/avatar_url", {"avatar_url": "mxc://" + "x" * 2000}), 400, "M_INVALID_PARAM")
        self.fails(user.put(path + "/Bad%20Key", {"Bad Key": 1}), 400, "M_INVALID_PARAM")
        self.fails(user.put(path + "/a." + "x" * 300, {"a." + "x" * 300: 1}), 400, "M_KEY_TOO_LARGE")
        self.works(user.put(path + "/a.b", {"a.b": "x" * 40000}))
        self.fails(user.put(path + "/a.c", {"a.c": "x" * 30000}), 400, "M_PROFILE_TOO_LARGE")
        self.works(user.put(path + "/a.b", {"a.b": "x" * 60000}))
        self.fails(Device(HERE).get("/profile/" + quote(f"@nobody:{HERE.name}")), 404, "M_NOT_FOUND")
        self.fails(Device(HERE).get("/profile/nonsense"), 400, "M_INVALID_PARAM")
        self.fails(Device(HERE).get("/profile/" + quote("@user1:localhost:http")), 400, "M_INVALID_PARAM")

    def test_rooms_follow(self):
        user = self.user()
        rooms = [user.room() for _ in range(10)]
        path = f"/profile/{quote(user.user_id)}/displayname"
        self.works(user.put(path, {"displayname": "Known"}))
        for room in rooms:
            member = self.works(user.get(f"/rooms/{quote(room)}/state/m.room.member/{quote(user.user_id)}"))
            self.assertEqual((member["membership"], member["displayname"]), ("join", "Known"))
        self.works(user.delete(path))
        member = self.works(user.get(f"/rooms/{quote(rooms[0])}/state/m.room.member/{quote(user.user_id)}"))
        self.assertNotIn("displayname", member)

    def test_remote(self):
        user, reader = self.user(THERE), Device(HERE)
        path = f"/profile/{quote(user.user_id)}"
        self.works(user.put(path + "/displayname", {"displayname": "Far"}))
        self.assertEqual(self.works(reader.get(path)), {"displayname": "Far"})
        self.assertEqual(self.works(reader.get(path + "/displayname")), {"displayname": "Far"})
        self.fails(reader.get(path + "/avatar_url"), 404, "M_NOT_FOUND")
        self.fails(reader.get("/profile/" + quote(f"@nobody:{THERE.name}")), 404, "M_NOT_FOUND")


class AccountData(Case):
    def test_data(self):
        user, other = self.user(), self.user()
        room = user.room()
        user.sync()
        for path in (user.me("/account_data/org.example"), user.me(f"/rooms/{quote(room)}/account_data/org.example")):
            self.fails(user.get(path), 404, "M_NOT_FOUND")
            self.works(user.put(path, {"value": 1}))
            self.works(user.put(path, {"value": {"deep": [1.5]}}))
            self.assertEqual(self.works(user.get(path)), {"value": {"deep": [1.5]}})
            self.fails(other.get(path), 403, "M_FORBIDDEN")
            self.fails(other.put(path, {}), 403, "M_FORBIDDEN")
            self.works(user.put(path, {}))
            self.fails(user.get(path), 404, "M_NOT_FOUND")
        for path in ("/account_data/m.fully_read", "/account_data/m.push_rules", f"/rooms/{quote(room)}/account_data/m.fully_read"):
            self.fails(user.put(user.me(path), {"x": 1}), 405, "M_BAD_JSON")
        self.fails(user.put(user.me("/rooms/nonsense/account_data/x"), {}), 400, "M_INVALID_PARAM")
        self.assertIn("global", self.works(user.get(user.me("/account_data/m.push_rules"))))

    def test_it_comes_down_sync(self):
        user = self.user()
        first = user.sync()
        self.assertIn("m.push_rules", [event["type"] for event in first["account_data"]["events"]])
        self.works(user.put(user.me("/account_data/org.example"), {"value": 1}))
        found = wait_until(lambda: [event for event in user.sync(1000).get("account_data", {}).get("events", []) if event["type"] == "org.example"])
        self.assertEqual(found[0]["content"], {"value": 1})

    def test_tags(self):
        user = self.user()
        room = user.room()
        path = user.me(f"/rooms/{quote(room)}/tags")
        self.assertEqual(self.works(user.get(path)), {"tags": {}})
        self.works(user.put(path + "/m.favourite", {"order": 0.25}))
        self.works(user.put(path + "/u.work", {}))
        self.assertEqual(self.works(user.get(path)), {"tags": {"m.favourite": {"order": 0.25}, "u.work": {}}})
        self.works(user.delete(path + "/u.work"))
        self.works(user.delete(path + "/u.work"))
        self.assertEqual(self.works(user.get(user.me(f"/rooms/{quote(room)}/account_data/m.tag"))), {"tags": {"m.favourite": {"order": 0.25}}})
        self.fails(user.put(path + "/m.x", {"order": "first"}), 400, "M_BAD_JSON")

    def test_filters(self):
        user, other = self.user(), self.user()
        path = user.me("/filter")
        one = self.works(user.post(path, {"room": {"timeline": {"limit": 10}}}))["filter_id"]
        self.assertEqual(self.works(user.post(path, b'{ "room": {"timeline":{"limit":10}} }'))["filter_id"], one)
        two = self.works(user.post(path, {"room": {"timeline": {"limit": 11}}}))["filter_id"]
        self.assertNotEqual(one, two)
        self.assertEqual(self.works(user.get(f"{path}/{one}")), {"room": {"timeline": {"limit": 10}}})
        self.fails(other.get(f"{path}/{one}"), 403, "M_FORBIDDEN")
        self.fails(user.get(path + "/999"), 404, "M_NOT_FOUND")
        self.fails(user.get(path + "/abc"), 404, "M_NOT_FOUND")
        for bad in ({"room": []}, {"room": {"timeline": {"limit": "x"}}}, {"presence": {"senders": "@a:b"}}, {"event_format": "x"},
                    {"event_fields": [1]}, {"room": {"rooms": {}}}, {"room": {"include_leave": 1}}):
            self.fails(user.post(path, bad), 400, "M_BAD_JSON")

    def test_push_rules(self):
        user = self.user()
        for path in ("/pushrules", "/pushrules/"):
            rules = self.works(user.get(path))["global"]
            self.assertEqual(sorted(rules), ["content", "override", "room", "sender", "underride"])
            self.assertEqual(rules["override"][0]["rule_id"], ".m.rule.master")
            invite = next(rule for rule in rules["override"] if rule["rule_id"] == ".m.rule.invite_for_me")
            self.assertEqual(invite["conditions"][2]["pattern"], user.user_id)


class Keys(Case):
    def test_upload_and_query(self):
        user, other = self.user(initial_device_display_name="desk"), self.user()
        key = Key()
        keys, once = device_keys(user, key), one_time_keys(user, key, "A", "B", "C")
        for _ in range(3):  # again is fine
            answer = self.works(user.post("/keys/upload", {"device_keys": keys, "one_time_keys": once}))
            self.assertEqual(answer["one_time_key_counts"], {"signed_curve25519": 3})
        answer = self.works(other.post("/keys/query", {"device_keys": {user.user_id: [], other.user_id: []}}))
        self.assertEqual(answer["device_keys"][other.user_id], {})
        self.assertEqual(answer["device_keys"][user.user_id][user.device_id], {**keys, "unsigned": {"device_display_name": "desk"}})
        answer = self.works(other.post("/keys/query", {"device_keys": {user.user_id: ["NONE"]}}))
        self.assertEqual(answer["device_keys"], {user.user_id: {}})
        # A known id with another key.
        self.fails(user.post("/keys/upload", {"one_time_keys": one_time_keys(user, key, "A")}), 400, "M_INVALID_PARAM")

    def test_refusals(self):
        user, other = self.user(), self.user()
        keys = device_keys(user, Key())
        for bad in ({"user_id": user.user_id, "device_id": user.device_id}, {**keys, "algorithms": "x"}, {**keys, "keys": [1]}, {**keys, "signatures": 1}, 5):
            self.fails(user.post("/keys/upload", {"device_keys": bad}), 400, "M_BAD_JSON")
        self.assertEqual(other.post("/keys/upload", {"device_keys": keys})[0], 400)
        for bad in ({"nocolon": "x"}, {":x": "y"}, {"a:b": 5}, [1], {"a:" + "x" * 300: "y"}):
            self.fails(user.post("/keys/upload", {"one_time_keys": bad}), 400, "M_BAD_JSON")
        for bad in ({user.user_id: {"x": True}}, {user.user_id: [1]}, {user.user_id: "x"}, []):
            self.fails(user.post("/keys/query", {"device_keys": bad}), 400, "M_BAD_JSON")
        self.fails(user.post("/keys/query", {}), 400, "M_BAD_JSON")
        self.fails(user.post("/keys/claim", {"one_time_keys": {user.user_id: ["x"]}}), 400, "M_BAD_JSON")
        self.fails(user.get("/keys/changes"), 400, "M_MISSING_PARAM")
        self.fails(user.get("/keys/changes?from=x&to=y"), 400, "M_INVALID_PARAM")

    def claim(self, device, user):
        answer = self.works(device.post("/keys/claim", {"one_time_keys": {user.user_id: {user.device_id: "signed_curve25519"}}}))
        return answer["one_time_keys"].get(user.user_id, {}).get(user.device_id)

    def test_claim_in_order_then_fallback(self):
        user, other = self.user(), self.user()
        key = Key()
        first, second = one_time_keys(user, key, "Z"), one_time_keys(user, key, "A")
        spare = one_time_keys(user, key, "S")
        self.works(user.post("/keys/upload", {"device_keys": device_keys(user, key), "one_time_keys": first, "fallback_keys": spare}))
        self.works(user.post("/keys/upload", {"one_time_keys": second}))
        self.assertEqual([self.claim(other, user) for _ in range(4)], [first, second, spare, spare])
        self.assertEqual(self.works(user.post("/keys/upload"))["one_time_key_counts"], {"signed_curve25519": 0})

    def test_changes_and_sync(self):
        alice, bob = self.user(), self.user()
        room = alice.room()
        bob.join(room)
        alice.sync()
        before = alice.since
        self.works(bob.post("/keys/upload", {"device_keys": device_keys(bob, Key())}))
        wait_until(lambda: bob.user_id in alice.sync(1000).get("device_lists", {}).get("changed", []))
        answer = self.works(alice.get(f"/keys/changes?from={quote(before)}&to={quote(alice.since)}"))
        self.assertEqual(answer, {"changed": [bob.user_id], "left": []})
        middle = alice.since
        self.works(bob.post(f"/rooms/{quote(room)}/leave"))
        wait_until(lambda: bob.user_id in alice.sync(1000).get("device_lists", {}).get("left", []))
        answer = self.works(alice.get(f"/keys/changes?from={quote(middle)}&to={quote(alice.since)}"))
        self.assertEqual(answer, {"changed": [], "left": [bob.user_id]})

    def test_cross_signing(self):
        user, friend = self.user(), self.user()
        key, master, selfs, users = Key(), Key(), Key(), Key()
        keys = device_keys(user, key)
        self.works(user.post("/keys/upload", {"device_keys": keys}))
        body = {"master_key": cross_key(user.user_id, "master", master),
                "self_signing_key": master.sign(cross_key(user.user_id, "self_signing", selfs), user.user_id, master.public),
                "user_signing_key": master.sign(cross_key(user.user_id, "user_signing", users), user.user_id, master.public)}
        wrong = Key().sign(cross_key(user.user_id, "self_signing", selfs), user.user_id, master.public)
        self.fails(user.post("/keys/device_signing/upload", {"self_signing_key": body["self_signing_key"]}), 400, "M_MISSING_PARAM")
        self.fails(user.post("/keys/device_signing/upload", {**body, "self_signing_key": wrong}), 400, "M_INVALID_SIGNATURE")
        self.fails(user.post("/keys/device_signing/upload", {"master_key": cross_key(friend.user_id, "master", master)}), 400, "M_INVALID_PARAM")
        self.works(user.post("/keys/device_signing/upload", body))
        self.works(user.post("/keys/device_signing/upload", body))  # the same again needs no proof
        other = {"master_key": cross_key(user.user_id, "master", Key())}
        status, challenge = user.post("/keys/device_signing/upload", other)
        self.assertEqual((status, challenge["flows"]), (401, [{"stages": ["m.login.password"]}]))
        # Own device by the self-signing key, own master key by the device.
        signed_device = selfs.sign(dict(keys, signatures={}), user.user_id, selfs.public)
        signed_master = key.sign(dict(body["master_key"]), user.user_id, user.device_id)
        forged = Key().sign(dict(keys, signatures={}), user.user_id, selfs.public)
        answer = self.works(user.post("/keys/signatures/upload", {user.user_id: {user.device_id: forged}}))
        self.assertEqual(answer["failures"][user.user_id][user.device_id]["errcode"], "M_INVALID_SIGNATURE")
        answer = self.works(user.post("/keys/signatures/upload", {user.user_id: {user.device_id: signed_device, master.public: signed_master}}))
        self.assertEqual(answer, {"failures": {}})
        seen = self.works(friend.post("/keys/query", {"device_keys": {user.user_id: []}}))
        signatures = seen["device_keys"][user.user_id][user.device_id]["signatures"][user.user_id]
        self.assertEqual(sorted(signatures), sorted(["ed25519:" + user.device_id, "ed25519:" + selfs.public]))
        self.assertIn("ed25519:" + user.device_id, seen["master_keys"][user.user_id]["signatures"][user.user_id])
        self.assertEqual(seen["self_signing_keys"][user.user_id], body["self_signing_key"])
        self.assertEqual(seen["user_signing_keys"], {})
        self.assertIn(user.user_id, self.works(user.post("/keys/query", {"device_keys": {user.user_id: []}}))["user_signing_keys"])
        # Another user's master key: only the signer sees the signature.
        theirs = Key()
        self.works(friend.post("/keys/device_signing/upload", {"master_key": cross_key(friend.user_id, "master", theirs)}))
        vouched = users.sign(cross_key(friend.user_id, "master", theirs), user.user_id, users.public)
        answer = self.works(user.post("/keys/signatures/upload", {friend.user_id: {theirs.public: vouched, "NONE": vouched}}))
        self.assertEqual(list(answer["failures"][friend.user_id]), ["NONE"])
        query = {"device_keys": {friend.user_id: []}}
        self.assertIn(user.user_id, self.works(user.post("/keys/query", query))["master_keys"][friend.user_id]["signatures"])
        self.assertNotIn("signatures", self.works(friend.post("/keys/query", query))["master_keys"][friend.user_id])
        # Replaced with proof.
        self.works(user.post("/keys/device_signing/upload", {**other, "auth": user.proof(session=challenge["session"])}))


class ToDevice(Case):
    def messages(self, device):
        return [(event["type"], event["sender"], event["content"]) for event in device.sync(1000).get("to_device", {}).get("events", [])]

    def test_local(self):
        alice, bob = self.user(), self.user()
        second = self.again(bob)
        bob.sync(), second.sync()
        path = "/sendToDevice/my.type/txn1"
        body = {"messages": {bob.user_id: {bob.device_id: {"n": 1}, "NONE": {"n": 2}}}}
        self.works(alice.put(path, body))
        self.works(alice.put(path, body))
        self.assertEqual(self.messages(bob), [("my.type", alice.user_id, {"n": 1})])
        self.assertEqual(self.messages(second), [])
        self.works(alice.put("/sendToDevice/my.type/txn2", {"messages": {bob.user_id: {"*": {"n": 3}}}}))
        for device in (bob, second):
            self.assertEqual(self.messages(device), [("my.type", alice.user_id, {"n": 3})])
        for bad in ({}, {"messages": []}, {"messages": {bob.user_id: []}}, {"messages": {bob.user_id: {"*": 1}}}):
            self.fails(alice.put("/sendToDevice/t/x", bad), 400, "M_BAD_JSON")

    def test_remote(self):
        alice, bob = self.user(), self.user(THERE)
        bob.sync()
        path = "/sendToDevice/my.type/txn1"
        for _ in range(2):
            self.works(alice.put(path, {"messages": {bob.user_id: {bob.device_id: {"n": 1}}}}))
        found = []
        wait_until(lambda: found.extend(self.messages(bob)) or found)
        time.sleep(0.5)
        self.assertEqual(found + self.messages(bob), [("my.type", alice.user_id, {"n": 1})])


class Federation(Case):
    """Two users in one room, each on his server."""

    def setUp(self):
        self.alice, self.bob = self.user(), self.user(THERE)
        self.room = self.alice.room()
        self.bob.join(self.room, HERE)
        self.bob.sync()

    def query(self):
        return self.works(self.bob.post("/keys/query", {"device_keys": {self.alice.user_id: []}}))

    def changed(self):
        wait_until(lambda: self.alice.user_id in self.bob.sync(1000).get("device_lists", {}).get("changed", []))

    def test_keys(self):
        key = Key()
        keys, once = device_keys(self.alice, key), one_time_keys(self.alice, key, "A")
        self.works(self.alice.post("/keys/upload", {"device_keys": keys, "one_time_keys": once}))
        self.changed()
        self.assertEqual(self.query()["device_keys"][self.alice.user_id][self.alice.device_id], keys)
        claim = {"one_time_keys": {self.alice.user_id: {self.alice.device_id: "signed_curve25519"}}}
        answer = self.works(self.bob.post("/keys/claim", claim))
        self.assertEqual(answer["one_time_keys"], {self.alice.user_id: {self.alice.device_id: once}})
        self.assertEqual(self.works(self.bob.post("/keys/claim", claim))["one_time_keys"], {})
        # A new name is a change; what was kept of the keys is asked for again.
        self.works(self.alice.put("/devices/" + self.alice.device_id, {"display_name": "new name"}))
        self.changed()
        self.assertEqual(self.query()["device_keys"][self.alice.user_id][self.alice.device_id]["unsigned"], {"device_display_name": "new name"})
        # Cross-signing keys too.
        master = Key()
        self.works(self.alice.post("/keys/device_signing/upload", {"master_key": cross_key(self.alice.user_id, "master", master)}))
        self.changed()
        self.assertEqual(self.query()["master_keys"][self.alice.user_id]["keys"], {"ed25519:" + master.public: master.public})
        # A device that is gone.
        self.works(self.alice.post("/logout"))
        self.changed()
        self.assertEqual(self.query()["device_keys"].get(self.alice.user_id, {}), {})

    def test_kept_keys_serve_while_the_room_is_shared(self):
        self.works(self.alice.post("/keys/upload", {"device_keys": device_keys(self.alice, Key())}))
        self.changed()
        first = self.query()
        self.assertEqual(self.query(), first)
        self.works(self.bob.post(f"/rooms/{quote(self.room)}/leave"))
        fresh = device_keys(self.alice, Key())
        self.works(self.alice.post("/keys/upload", {"device_keys": fresh}))
        wait_until(lambda: self.query()["device_keys"][self.alice.user_id][self.alice.device_id]["keys"] == fresh["keys"])

    def test_failures(self):
        stranger = "@x:localhost:1"
        answer = self.works(self.bob.post("/keys/query", {"timeout": 2000, "device_keys": {stranger: []}}))
        self.assertEqual((answer["device_keys"], list(answer["failures"])), ({}, ["localhost:1"]))
        answer = self.works(self.bob.post("/keys/claim", {"timeout": 2000, "one_time_keys": {stranger: {"D": "signed_curve25519"}}}))
        self.assertEqual((answer["one_time_keys"], list(answer["failures"])), ({}, ["localhost:1"]))

    def test_profile_reaches_the_room(self):
        self.works(self.alice.put(f"/profile/{quote(self.alice.user_id)}/displayname", {"displayname": "Travelling"}))
        path = f"/rooms/{quote(self.room)}/state/m.room.member/{quote(self.alice.user_id)}"
        wait_until(lambda: self.bob.get(path)[1].get("displayname") == "Travelling")


if __name__ == "__main__":
    unittest.main(verbosity=2)
