"""What clients do with one server: each endpoint of issue 3's list, as a user's day rather than as a list."""

import threading
import time

from matrix import MatrixError, quote
from suite import expect

V3 = "/_matrix/client/v3"


def refused(status, errcode, action):
    """The action is answered with this error."""
    try:
        action()
    except MatrixError as error:
        expect((error.status, error.errcode) == (status, errcode), f"answered {error.status} {error.errcode}, not {status} {errcode}: {error.body}")
        return error.body
    raise AssertionError(f"was allowed; {status} {errcode} was due")


def server_facts(checks, house):
    anyone = house.client()

    def versions():
        answer = anyone.call("GET", "/_matrix/client/versions")
        expect("v1.6" in answer["versions"], f"got {answer}")

    def capabilities():
        user = house.user("capable")
        found = user.call("GET", V3 + "/capabilities")["capabilities"]["m.room_versions"]
        expect(found["default"] in found["available"] and {"10", "11", "12"} <= set(found["available"]), f"got {found}")

    def unknown():
        refused(404, "M_UNRECOGNIZED", lambda: anyone.call("GET", V3 + "/no/such/endpoint"))
        refused(405, "M_UNRECOGNIZED", lambda: anyone.call("DELETE", "/_matrix/client/versions"))

    def cross_origin():
        status, _ = anyone.http.send("OPTIONS", V3 + "/login")
        expect(status in (200, 204), f"preflight: {status}")

    checks.step("versions", versions)
    checks.step("capabilities", capabilities)
    checks.step("unknown endpoint and wrong method", unknown)
    checks.step("preflight", cross_origin)


def accounts(checks, house):
    alice = house.client()

    def register():
        body = {"username": "alice", "password": "a-long-password"}
        status, answer = alice.http.send("POST", V3 + "/register", body)
        expect(status == 401 and {"stages": ["m.login.dummy"]} in answer["flows"], f"flows: {status} {answer}")
        answer = alice.call("POST", V3 + "/register", {**body, "auth": {"type": "m.login.dummy", "session": answer["session"]},
                                                       "initial_device_display_name": "first"})
        expect(answer["user_id"] == f"@alice:{house.name}" and answer["device_id"], f"got {answer}")
        alice.user_id, alice.token = answer["user_id"], answer["access_token"]
        refused(400, "M_USER_IN_USE", lambda: house.client().call("POST", V3 + "/register", {**body, "auth": {"type": "m.login.dummy"}}))

    def available():
        refused(400, "M_USER_IN_USE", lambda: alice.call("GET", V3 + "/register/available", username="alice"))
        expect(alice.call("GET", V3 + "/register/available", username="nobody")["available"], "nobody is taken")

    def whoami():
        answer = alice.call("GET", V3 + "/account/whoami")
        expect(answer["user_id"] == alice.user_id and answer["device_id"] and not answer.get("is_guest"), f"got {answer}")

    def query_token():
        answer = house.client().call("GET", V3 + "/account/whoami", access_token=alice.token)
        expect(answer["user_id"] == alice.user_id, f"got {answer}")

    def login_and_logout():
        other = house.client()
        flows = other.call("GET", V3 + "/login")["flows"]
        expect({"type": "m.login.password"} in flows, f"flows {flows}")
        login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}, "password": "a-long-password"}
        refused(403, "M_FORBIDDEN", lambda: other.call("POST", V3 + "/login", {**login, "password": "wrong"}))
        answer = other.call("POST", V3 + "/login", {**login, "device_id": "SECOND"})
        expect(answer["device_id"] == "SECOND" and answer["user_id"] == alice.user_id, f"got {answer}")
        other.token = answer["access_token"]
        devices = {device["device_id"] for device in alice.call("GET", V3 + "/devices")["devices"]}
        expect("SECOND" in devices and len(devices) == 2, f"devices {devices}")
        expect(alice.call("GET", V3 + "/devices/SECOND")["device_id"] == "SECOND", "no such device")
        alice.call("PUT", V3 + "/devices/SECOND", {"display_name": "renamed"})
        expect(alice.call("GET", V3 + "/devices/SECOND")["display_name"] == "renamed", "not renamed")
        other.call("POST", V3 + "/logout", {})
        refused(401, "M_UNKNOWN_TOKEN", lambda: other.call("GET", V3 + "/account/whoami"))
        devices = {device["device_id"] for device in alice.call("GET", V3 + "/devices")["devices"]}
        expect("SECOND" not in devices, "the device outlived its logout")

    def profile():
        path = f"{V3}/profile/{quote(alice.user_id)}"
        alice.call("PUT", path + "/displayname", {"displayname": "Alice \U0001f984"})
        alice.call("PUT", path + "/avatar_url", {"avatar_url": "mxc://example.org/abc"})
        answer = house.client().call("GET", path)
        expect(answer == {"displayname": "Alice \U0001f984", "avatar_url": "mxc://example.org/abc"}, f"got {answer}")
        expect(alice.call("GET", path + "/displayname") == {"displayname": "Alice \U0001f984"}, "one field")
        refused(404, "M_NOT_FOUND", lambda: alice.call("GET", f"{V3}/profile/{quote('@nobody:' + house.name)}"))

    def filters():
        made = {"room": {"timeline": {"limit": 5}}}
        path = f"{V3}/user/{quote(alice.user_id)}/filter"
        filter_id = alice.call("POST", path, made)["filter_id"]
        expect(not filter_id.startswith("{"), f"filter id {filter_id}")
        answer = alice.call("GET", f"{path}/{quote(filter_id)}")
        expect(answer == made, f"got {answer}")

    def account_data():
        path = f"{V3}/user/{quote(alice.user_id)}/account_data/org.example.test"
        refused(404, "M_NOT_FOUND", lambda: alice.call("GET", path))
        alice.call("PUT", path, {"one": 1})
        expect(alice.call("GET", path) == {"one": 1}, "not stored")
        shown = alice.sync()["account_data"]["events"]
        expect({"type": "org.example.test", "content": {"one": 1}} in shown, f"sync shows {shown}")
        alice.call("PUT", path, {"two": 2})
        shown = alice.sync()["account_data"]["events"]
        expect({"type": "org.example.test", "content": {"two": 2}} in shown, f"incremental sync shows {shown}")

    def device_keys():
        device_id = alice.call("GET", V3 + "/account/whoami")["device_id"]
        keys = {"user_id": alice.user_id, "device_id": device_id, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
                "keys": {f"curve25519:{device_id}": "x", f"ed25519:{device_id}": "y"}, "signatures": {alice.user_id: {f"ed25519:{device_id}": "z"}}}
        answer = alice.call("POST", V3 + "/keys/upload", {"device_keys": keys, "one_time_keys": {"signed_curve25519:AAAA": {"key": "k"}}})
        expect(answer["one_time_key_counts"].get("signed_curve25519") == 1, f"got {answer}")
        bob = house.user("keyseeker")
        found = bob.call("POST", V3 + "/keys/query", {"device_keys": {alice.user_id: []}})["device_keys"][alice.user_id][device_id]
        expect({key: found[key] for key in keys} == keys, f"got {found}")
        claim = {"one_time_keys": {alice.user_id: {device_id: "signed_curve25519"}}}
        claimed = bob.call("POST", V3 + "/keys/claim", claim)["one_time_keys"][alice.user_id][device_id]
        expect(claimed == {"signed_curve25519:AAAA": {"key": "k"}}, f"claimed {claimed}")

    def to_device():
        bob = house.user("messenger")
        device_id = alice.call("GET", V3 + "/account/whoami")["device_id"]
        message = {"messages": {alice.user_id: {device_id: {"n": 1}}}}
        for _ in range(2):  # the second is a repetition
            bob.call("PUT", V3 + "/sendToDevice/org.example.test/t1", message)
        events = alice.sync().get("to_device", {}).get("events", [])
        expect(events == [{"type": "org.example.test", "sender": bob.user_id, "content": {"n": 1}}], f"got {events}")
        expect(not alice.sync().get("to_device", {}).get("events"), "shown twice")

    checks.step("register", register)
    for name, action in (("name availability", available), ("whoami", whoami), ("token in the query", query_token),
                         ("login, devices, logout", login_and_logout), ("profile", profile), ("filters", filters), ("account data", account_data),
                         ("device keys", device_keys), ("to-device messages", to_device)):
        checks.step(name, action, ["register"])


def rooms(checks, house, version):
    alice, bob, carol = (house.user(f"{name}_v{version}") for name in ("alice", "bob", "carol"))
    alias = f"#client-{version}:{house.name}"
    room, message = None, None
    here = f"version {version}: "

    def at(path):
        return f"{V3}/rooms/{quote(room)}{path}"

    def create():
        nonlocal room
        for client in (alice, bob, carol):
            client.sync()
        room = alice.create_room(preset="public_chat", room_version=version, room_alias_name=f"client-{version}", name="Here", topic="There",
                                 initial_state=[{"type": "org.example.state", "content": {"kept": True}}])
        expect(room.startswith("!") and (version == "12") != room.endswith(house.name), f"room id {room}")
        state = alice.state(room)
        expect(state["m.room.create", ""]["content"]["room_version"] == version, "another version")
        expect(state["m.room.join_rules", ""]["content"]["join_rule"] == "public", "not public")
        expect(state["m.room.name", ""]["content"]["name"] == "Here" and state["m.room.topic", ""]["content"]["topic"] == "There", "name or topic")
        expect(state["m.room.canonical_alias", ""]["content"]["alias"] == alias, "alias")
        expect(state["org.example.state", ""]["content"] == {"kept": True}, "initial state")
        refused(400, "M_ROOM_IN_USE", lambda: alice.create_room(room_alias_name=f"client-{version}"))

    def presets():
        private = alice.state(alice.create_room(preset="private_chat", room_version=version))
        expect(private["m.room.join_rules", ""]["content"]["join_rule"] == "invite", "private_chat")
        trusted_room = alice.create_room(preset="trusted_private_chat", room_version=version, invite=[bob.user_id])
        trusted = alice.state(trusted_room)
        if version == "12":
            equals = bob.user_id in trusted["m.room.create", ""]["content"].get("additional_creators", [])
        else:
            equals = trusted["m.room.power_levels", ""]["content"]["users"].get(bob.user_id) == 100
        expect(equals, "trusted_private_chat does not raise the invited user")
        expect(trusted["m.room.member", bob.user_id]["content"]["membership"] == "invite", "not invited")
        bob.leave(trusted_room)

    def join():
        expect(bob.join(alias) == room, "joined another room")
        alice.wait("join", lambda: alice.membership(room, bob.user_id) == "join")
        bob.wait("room", lambda: room in bob.rooms)
        expect(set(alice.call("GET", at("/joined_members"))["joined"]) == {alice.user_id, bob.user_id}, "members")
        expect(room in bob.call("GET", V3 + "/joined_rooms")["joined_rooms"], "joined_rooms")

    def send():
        nonlocal message
        path = at("/send/m.room.message/one")
        content = {"msgtype": "m.text", "body": "h\u00e9llo \U0001f600 \"quoted\" \\ \n"}
        message = alice.call("PUT", path, content)["event_id"]
        expect(alice.call("PUT", path, content)["event_id"] == message, "the same transaction made another event")
        event = bob.wait("message", lambda: bob.event(room, message))
        expect(event["content"] == content and event["sender"] == alice.user_id, f"got {event}")
        own = alice.wait("own message", lambda: alice.event(room, message))
        expect(own["unsigned"].get("transaction_id") == "one", f"unsigned {own.get('unsigned')}")
        expect("transaction_id" not in event.get("unsigned", {}), "another device sees the transaction id")
        expect([e["event_id"] for e in bob.rooms[room]["timeline"]].count(message) == 1, "shown twice")

    def long_poll():
        bob.sync()
        arrived, event_id = {}, None

        def listen():
            answer = bob.sync(20000)
            arrived.update(at=time.monotonic(), rooms=answer.get("rooms", {}))
        listener = threading.Thread(target=listen)
        listener.start()
        event_id = alice.say(room, "wake up")
        sent = time.monotonic()
        listener.join(20)
        expect(arrived and bob.event(room, event_id), f"the long poll brought {arrived}")
        checks.note(f"long poll woken {1000 * (arrived['at'] - sent):.1f} ms after the answer to the send")
        began = time.monotonic()
        bob.sync(300)
        expect(0.25 <= time.monotonic() - began < 5, "an idle long poll of 300 ms")

    def state():
        event_id = alice.set_state(room, "m.room.topic", {"topic": "New"})
        expect(alice.set_state(room, "m.room.topic", {"topic": "New"}) == event_id, "the same state made another event")
        expect(bob.call("GET", at("/state/m.room.topic")) == {"topic": "New"}, "topic")
        bob.wait("topic", lambda: bob.state_content(room, "m.room.topic") == {"topic": "New"})
        refused(403, "M_FORBIDDEN", lambda: bob.set_state(room, "m.room.topic", {"topic": "Bob's"}))
        refused(404, "M_NOT_FOUND", lambda: bob.call("GET", at("/state/m.room.topic/other")))
        alice.set_state(room, "org.example.keyed", {"n": 1}, "a/key with/slashes")
        expect(alice.call("GET", at("/state/org.example.keyed/") + quote("a/key with/slashes")) == {"n": 1}, "state key with slashes")

    def reads():
        expect(bob.get_event(room, message)["event_id"] == message, "event")
        refused(404, "M_NOT_FOUND", lambda: bob.get_event(room, "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
        members = {event["state_key"]: event["content"]["membership"] for event in bob.call("GET", at("/members"))["chunk"]}
        expect(members == {alice.user_id: "join", bob.user_id: "join"}, f"members {members}")
        context = bob.call("GET", at("/context/") + quote(message), limit=2)
        expect(context["event"]["event_id"] == message and context["events_before"] and context["events_after"], f"context {context}")

    def messages():
        sent = [alice.say(room, f"page {number}") for number in range(25)]
        backwards = [event["event_id"] for event in bob.history(room, limit=7)]
        expect(len(set(backwards)) == len(backwards), "an event is on two pages")
        expect([event for event in reversed(backwards) if event in sent] == sent, "order")
        create = bob.get_event(room, backwards[-1])
        expect(create["type"] == "m.room.create", f"the oldest is {create['type']}")
        forwards, token = [], None
        while True:
            page = bob.call("GET", at("/messages"), None, dir="f", limit=7, **{"from": token})
            forwards += [event["event_id"] for event in page["chunk"]]
            if not page["chunk"] or not page.get("end"):
                break
            token = page["end"]
        expect(forwards == list(reversed(backwards)), "forwards differs from backwards")

    def limited_sync():
        carol.join(room)
        fresh = house.client()
        fresh.token, fresh.user_id, fresh.filter = carol.token, carol.user_id, '{"room":{"timeline":{"limit":3}}}'
        answer = fresh.sync()["rooms"]["join"][room]
        expect(answer["timeline"]["limited"] and len(answer["timeline"]["events"]) == 3, f"timeline {answer['timeline']}")
        state_types = {event["type"] for event in answer["state"]["events"]}
        expect({"m.room.create", "m.room.power_levels"} <= state_types, f"state {state_types}")
        page = fresh.call("GET", at("/messages"), None, dir="b", limit=5, **{"from": answer["timeline"]["prev_batch"]})
        shown = {event["event_id"] for event in answer["timeline"]["events"]}
        expect(page["chunk"] and not shown & {event["event_id"] for event in page["chunk"]}, "prev_batch does not continue the timeline")
        for number in range(6):
            alice.say(room, f"burst {number}")
        answer = fresh.sync()["rooms"]["join"][room]["timeline"]
        expect(answer["limited"] and len(answer["events"]) == 3, f"incremental timeline: {answer.get('limited')} {len(answer['events'])}")

    def redact():
        redaction = alice.call("PUT", at(f"/redact/{quote(message)}/r1"), {"reason": "oops"})["event_id"]
        expect(alice.call("PUT", at(f"/redact/{quote(message)}/r1"), {"reason": "oops"})["event_id"] == redaction, "repeated")
        event = bob.wait("redaction", lambda: bob.event(room, redaction))
        place = event["content"] if int(version) >= 11 else event
        expect(place.get("redacts") == message, f"redaction {event}")
        event = bob.get_event(room, message)
        expect(event["content"] == {} and event["unsigned"]["redacted_because"]["event_id"] == redaction, f"got {event}")
        theirs = alice.say(room, "not Bob's")
        refused(403, "M_FORBIDDEN", lambda: bob.redact(room, theirs))

    def typing_and_receipts():
        bob.sync()
        alice.call("PUT", at(f"/typing/{quote(alice.user_id)}"), {"typing": True, "timeout": 10000})
        seen = []
        kinds = lambda: {event["type"]: event["content"] for answer in seen for event in answer.get("rooms", {}).get("join", {}).get(room, {})
                         .get("ephemeral", {}).get("events", [])}
        bob.wait("typing", lambda: seen.append(bob.sync(100)) or alice.user_id in kinds().get("m.typing", {}).get("user_ids", []))
        last = alice.say(room, "read this")
        bob.call("POST", at(f"/receipt/m.read/{quote(last)}"), {})
        seen.clear()
        alice.wait("receipt", lambda: seen.append(alice.sync(100)) or bob.user_id in kinds().get("m.receipt", {}).get(last, {}).get("m.read", {}))

    def moderation():
        alice.kick(room, carol.user_id)
        carol.wait("kick", lambda: room in carol.left)
        refused(403, "M_FORBIDDEN", lambda: carol.say(room, "still here?"))
        carol.join(room)
        alice.call("POST", at("/ban"), {"user_id": carol.user_id, "reason": "no"})
        refused(403, "M_FORBIDDEN", lambda: carol.join(room))
        alice.call("POST", at("/unban"), {"user_id": carol.user_id})
        carol.join(room)
        refused(403, "M_FORBIDDEN", lambda: bob.kick(room, alice.user_id))

    def invite_and_leave():
        private = alice.create_room(preset="private_chat", room_version=version, name="Private")
        refused(403, "M_FORBIDDEN", lambda: bob.join(private))
        alice.invite(private, bob.user_id)
        stripped = bob.wait("invite", lambda: bob.invites.get(private))
        kinds = {event["type"] for event in stripped}
        expect({"m.room.create", "m.room.name", "m.room.join_rules", "m.room.member"} <= kinds, f"stripped state {kinds}")
        bob.join(private)
        alice.wait("join", lambda: alice.membership(private, bob.user_id) == "join")
        bob.leave(private)
        alice.wait("leave", lambda: alice.membership(private, bob.user_id) == "leave")
        refused(403, "M_FORBIDDEN", lambda: bob.say(private, "gone"))
        bob.call("POST", f"{V3}/rooms/{quote(private)}/forget", {})
        alice.invite(private, carol.user_id)
        carol.wait("invite", lambda: private in carol.invites)
        carol.leave(private)
        carol.wait("rejection", lambda: private in carol.left or private not in carol.invites)

    def visibility():
        hidden = alice.create_room(preset="public_chat", room_version=version, initial_state=[
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}])
        before = alice.say(hidden, "before bob")
        bob.join(hidden)
        after = alice.say(hidden, "after bob")
        seen = {event["event_id"] for event in bob.history(hidden)}
        expect(after in seen and before not in seen, "history_visibility joined")
        refused(404, "M_NOT_FOUND", lambda: bob.get_event(hidden, before))
        carol.sync()
        refused(403, "M_FORBIDDEN", lambda: carol.call("GET", f"{V3}/rooms/{quote(hidden)}/state"))

    def aliases():
        other = f"#other-{version}:{house.name}"
        path = f"{V3}/directory/room/{quote(other)}"
        alice.call("PUT", path, {"room_id": room})
        refused(409, "M_UNKNOWN", lambda: alice.call("PUT", path, {"room_id": room}))
        answer = house.client().call("GET", path)
        expect(answer["room_id"] == room and house.name in answer["servers"], f"got {answer}")
        expect(set(alice.call("GET", at("/aliases"))["aliases"]) == {alias, other}, "aliases of the room")
        refused(403, "M_FORBIDDEN", lambda: carol.call("DELETE", path))
        alice.call("DELETE", path)
        refused(404, "M_NOT_FOUND", lambda: alice.call("GET", path))

    def directory():
        path = f"{V3}/directory/list/room/{quote(room)}"
        alice.call("PUT", path, {"visibility": "public"})
        expect(alice.call("GET", path)["visibility"] == "public", "visibility")
        listed = {entry["room_id"]: entry for entry in house.client().call("GET", V3 + "/publicRooms")["chunk"]}
        expect(room in listed and listed[room]["name"] == "Here" and listed[room]["num_joined_members"] == 3, f"listed {listed.get(room)}")

    checks.step(here + "createRoom", create)
    checks.step(here + "presets", presets)
    checks.step(here + "join by alias", join, [here + "createRoom"])
    joined = [here + "join by alias"]
    checks.step(here + "send, idempotent", send, joined)
    for name, action in (("long poll", long_poll), ("state", state), ("event, members, context", reads), ("messages in pages", messages),
                         ("limited sync", limited_sync), ("redaction", redact), ("typing and receipts", typing_and_receipts),
                         ("kick, ban, unban", moderation), ("invite, accept, leave, forget, reject", invite_and_leave),
                         ("history visibility", visibility), ("aliases", aliases), ("room directory", directory)):
        checks.step(here + name, action, joined if name in ("long poll", "state") else [here + "send, idempotent"])


def run(checks, house):
    server_facts(checks, house)
    accounts(checks, house)
    for version in ("12", "11", "10"):
        rooms(checks, house, version)
