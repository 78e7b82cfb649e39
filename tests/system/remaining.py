"""The rest of the route table, so that every row is answered at least once: devices and passwords, cross-signing, tags and account data,
presence, directories, and what other servers ask about our users. Run last: see tests/lib/answered.py."""

import secrets

import sodium
from matrix import poll, quote
from peer import canonical, unpadded, without
from suite import expect

V1, V3 = "/_matrix/federation/v1", "/_matrix/client/v3"


def with_password(user, method, path, body):
    """Sends it, and again with the password when that is asked for."""
    status, answer = user.http.send(method, path, body, {"Authorization": "Bearer " + user.token})
    if status == 401 and "flows" in answer:
        proof = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user.user_id}, "password": user.password,
                 "session": answer.get("session")}
        status, answer = user.http.send(method, path, {**body, "auth": proof}, {"Authorization": "Bearer " + user.token})
    expect(status == 200, f"{method} {path}: {status} {answer}")
    return answer


def person(house, name):
    user = house.user(name)
    user.password = "secret-" + name
    user.device_id = user.call("GET", V3 + "/account/whoami")["device_id"]
    return user


def log_in(house, user, **more):
    other = house.client()
    answer = other.call("POST", V3 + "/login", {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user.user_id},
                                                "password": user.password, **more})
    other.user_id, other.token, other.device_id, other.password = user.user_id, answer["access_token"], answer["device_id"], user.password
    return other, answer


def accounts(checks, house):
    carol = person(house, "remaining")

    def devices():
        first, second, third = (log_in(house, carol)[0].device_id for _ in range(3))
        with_password(carol, "DELETE", f"{V3}/devices/{first}", {})
        with_password(carol, "POST", V3 + "/delete_devices", {"devices": [second, third]})
        left = {device["device_id"] for device in carol.call("GET", V3 + "/devices")["devices"]}
        expect(left == {carol.device_id}, f"devices {left}")

    def refresh():
        other, answer = log_in(house, carol, refresh_token=True)
        answer = other.call("POST", V3 + "/refresh", {"refresh_token": answer["refresh_token"]})
        other.token = answer["access_token"]
        expect(other.call("GET", V3 + "/account/whoami")["device_id"] == other.device_id, "the new token")

    def logout_all():
        other, _ = log_in(house, carol)
        other.call("POST", V3 + "/logout/all", {})
        expect(house_refuses(other) and house_refuses(carol), "a token is alive")
        carol.token = log_in(house, carol, device_id=carol.device_id)[0].token

    def house_refuses(user):
        return user.http.send("GET", V3 + "/account/whoami", None, {"Authorization": "Bearer " + user.token})[0] == 401

    def password():
        with_password(carol, "POST", V3 + "/account/password", {"new_password": "another-one", "logout_devices": False})
        carol.password = "another-one"
        log_in(house, carol)

    def deactivate():
        leaver = person(house, "deactivated")
        with_password(leaver, "POST", V3 + "/account/deactivate", {})
        expect(house_refuses(leaver), "the token is alive")

    def profile_field():
        path = f"{V3}/profile/{quote(carol.user_id)}"
        carol.call("PUT", path + "/displayname", {"displayname": "Carol"})
        carol.call("DELETE", path + "/displayname")
        expect("displayname" not in carol.call("GET", path), "the name is still there")

    checks.step("devices are deleted", devices)
    checks.step("refresh", refresh)
    checks.step("logout everywhere", logout_all)
    checks.step("password", password)
    checks.step("deactivate", deactivate)
    checks.step("a profile field is deleted", profile_field)


def keep(checks, house):
    dora = person(house, "keeper")
    room = dora.create_room(preset="public_chat", room_version="11")

    def tags():
        path = f"{V3}/user/{quote(dora.user_id)}/rooms/{quote(room)}/tags"
        dora.call("PUT", path + "/m.favourite", {"order": 0.5})
        expect(dora.call("GET", path)["tags"] == {"m.favourite": {"order": 0.5}}, "tags")
        dora.call("DELETE", path + "/m.favourite")
        expect(dora.call("GET", path)["tags"] == {}, "the tag is still there")

    def account_data():
        path = f"{V3}/user/{quote(dora.user_id)}/rooms/{quote(room)}/account_data/org.example.note"
        dora.call("PUT", path, {"text": "remember"})
        expect(dora.call("GET", path) == {"text": "remember"}, "room account data")

    def push_rules():
        for path in ("/pushrules", "/pushrules/"):
            rules = dora.call("GET", V3 + path)["global"]
            expect(any(rule["rule_id"] == ".m.rule.master" for rule in rules["override"]), f"got {rules}")

    def presence():
        path = f"{V3}/presence/{quote(dora.user_id)}/status"
        dora.call("PUT", path, {"presence": "online", "status_msg": "here"})
        answer = poll("presence", lambda: (lambda got: got if got.get("status_msg") == "here" else None)(dora.call("GET", path)))
        expect(answer["presence"] == "online", f"got {answer}")

    def state_without_key():
        dora.call("PUT", f"{V3}/rooms/{quote(room)}/state/m.room.topic", {"topic": "short"})
        expect(dora.call("GET", f"{V3}/rooms/{quote(room)}/state/m.room.topic") == {"topic": "short"}, "topic")

    def join_by_id():
        other = person(house, "joiner")
        expect(other.call("POST", f"{V3}/rooms/{quote(room)}/join", {})["room_id"] == room, "join")

    def knock():
        other = person(house, "knocker")
        closed = dora.create_room(room_version="11", initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}])
        expect(other.call("POST", f"{V3}/knock/{quote(closed)}", {"reason": "please"})["room_id"] == closed, "knock")
        dora.wait("the knock", lambda: dora.membership(closed, other.user_id) == "knock")

    def directory():
        dora.call("PUT", f"{V3}/directory/list/room/{quote(room)}", {"visibility": "public"})
        dora.call("PUT", f"{V3}/rooms/{quote(room)}/state/m.room.name", {"name": "Remaining things"})
        found = dora.call("POST", V3 + "/publicRooms", {"filter": {"generic_search_term": "remaining"}})["chunk"]
        expect([entry["room_id"] for entry in found] == [room], f"got {found}")

    def well_known():
        anyone = house.client()
        expect(anyone.call("GET", "/.well-known/matrix/client")["m.homeserver"]["base_url"].startswith("http"), "client")
        expect(anyone.call("GET", "/.well-known/matrix/server")["m.server"] == house.name, "server")

    for name, action in (("tags", tags), ("room account data", account_data), ("push rules", push_rules), ("presence", presence),
                         ("state without a key", state_without_key), ("join by room id", join_by_id), ("knock", knock),
                         ("search in the directory", directory), ("well-known files", well_known)):
        checks.step(name, action)


class Key:
    """An Ed25519 key of a device or a user."""

    def __init__(self):
        self.secret = sodium.SigningKey.generate()
        self.public = unpadded(bytes(self.secret.verify_key))

    def sign(self, value, user_id, name):
        signature = unpadded(self.secret.sign(canonical(without(value, "signatures", "unsigned"))).signature)
        value.setdefault("signatures", {}).setdefault(user_id, {})["ed25519:" + name] = signature
        return value


def cross_key(user_id, usage, key):
    return {"user_id": user_id, "usage": [usage], "keys": {"ed25519:" + key.public: key.public}}


def keys(checks, house, stranger, http):
    erin, frank = person(house, "signer"), person(house, "watcher")
    room = erin.create_room(preset="public_chat", room_version="11")
    device, master, own = Key(), Key(), Key()
    kept = {}

    def upload():
        frank.join(room)
        frank.sync()
        kept["before"] = frank.since
        body = {"user_id": erin.user_id, "device_id": erin.device_id, "algorithms": ["m.megolm.v1.aes-sha2"],
                "keys": {"ed25519:" + erin.device_id: device.public, "curve25519:" + erin.device_id: unpadded(secrets.token_bytes(32))}}
        kept["device"] = device.sign(body, erin.user_id, erin.device_id)
        once = device.sign({"key": unpadded(secrets.token_bytes(32))}, erin.user_id, erin.device_id)
        answer = erin.call("POST", V3 + "/keys/upload", {"device_keys": kept["device"], "one_time_keys": {"signed_curve25519:ONCE": once}})
        expect(answer["one_time_key_counts"]["signed_curve25519"] == 1, f"got {answer}")

    def cross_signing():
        body = {"master_key": cross_key(erin.user_id, "master", master),
                "self_signing_key": master.sign(cross_key(erin.user_id, "self_signing", own), erin.user_id, master.public)}
        with_password(erin, "POST", V3 + "/keys/device_signing/upload", body)
        signed = own.sign({**kept["device"], "signatures": {}}, erin.user_id, own.public)
        answer = erin.call("POST", V3 + "/keys/signatures/upload", {erin.user_id: {erin.device_id: signed}})
        expect(not answer.get("failures"), f"got {answer}")
        seen = frank.call("POST", V3 + "/keys/query", {"device_keys": {erin.user_id: []}})["device_keys"][erin.user_id][erin.device_id]
        expect("ed25519:" + own.public in seen["signatures"][erin.user_id], f"got {seen}")

    def changes():
        def changed():
            frank.sync(1000)
            answer = frank.call("GET", V3 + "/keys/changes", **{"from": kept["before"], "to": frank.since})
            return erin.user_id in answer["changed"]
        poll("the change of device keys", changed)

    def ask(method, path, body=None):
        status, answer = stranger.request(http, house.name, method, path, body)
        expect(status == 200, f"{path}: {status} {answer}")
        return answer

    def between_servers():
        stranger.join(http, house.name, room)
        devices = ask("GET", f"{V1}/user/devices/{quote(erin.user_id)}")["devices"]
        expect([entry["device_id"] for entry in devices] == [erin.device_id], f"got {devices}")
        answer = ask("POST", f"{V1}/user/keys/query", {"device_keys": {erin.user_id: []}})
        expect(erin.device_id in answer["device_keys"][erin.user_id], f"got {answer}")
        answer = ask("POST", f"{V1}/user/keys/claim", {"one_time_keys": {erin.user_id: {erin.device_id: "signed_curve25519"}}})
        expect("signed_curve25519:ONCE" in answer["one_time_keys"][erin.user_id][erin.device_id], f"got {answer}")

    def directory_between_servers():
        public = erin.create_room(preset="public_chat", visibility="public", name="Seen from afar", room_version="11")
        for method, body in (("GET", None), ("POST", {"filter": {"generic_search_term": "afar"}})):
            found = ask(method, V1 + "/publicRooms", body)["chunk"]
            expect(public in [entry["room_id"] for entry in found], f"{method}: {found}")

    def notary_for_one_key():
        status, answer = http.send("GET", f"/_matrix/key/v2/query/{quote(stranger.name)}/{quote(stranger.key_id)}")
        expect(status == 200 and answer["server_keys"], f"{status} {answer}")

    checks.step("device keys", upload)
    checks.step("cross-signing", cross_signing, ["device keys"])
    checks.step("changes of device keys", changes, ["device keys"])
    checks.step("device keys between servers", between_servers, ["device keys"])
    checks.step("directory between servers", directory_between_servers)
    checks.step("notary GET for one key", notary_for_one_key)


def run(checks, house, stranger):
    accounts(checks, house)
    keep(checks, house)
    keys(checks, house, stranger, house.federation())
