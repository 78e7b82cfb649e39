"""Two servers with each other: `host` makes rooms, users of `guest` come, talk and go."""

import time

from clients import V3, refused
from matrix import poll, quote
from stranger import check_self_signed
from suite import expect


def texts(events):
    return [event["content"].get("body") for event in events if event["type"] == "m.room.message"]


def keys(checks, host, guest):
    def served():
        for house in (host, guest):
            status, answer = house.federation().send("GET", "/_matrix/key/v2/server")
            expect(status == 200 and answer["server_name"] == house.name, f"{status} {answer}")
            check_self_signed(answer, house.name)

    def vouched():
        status, answer = guest.federation().send("GET", f"/_matrix/key/v2/query/{quote(host.name)}")
        found = [entry for entry in answer["server_keys"] if entry["server_name"] == host.name]
        expect(status == 200 and len(found) == 1 and guest.name in found[0]["signatures"], f"{status} {answer}")
        check_self_signed(found[0], host.name)

    checks.step("each serves a key signed by itself", served)
    checks.step("the guest vouches for the host's key", vouched)


def public_room(checks, host, guest, alice, bob, version):
    here = f"version {version}: "
    alias, room, known = f"#{version}-{time.time_ns()}:{host.name}", None, {}
    before = [f"before {number}" for number in range(40)]

    def create():
        nonlocal room
        room = alice.create_room(preset="public_chat", room_version=version, room_alias_name=alias[1:].split(":")[0], name="Shared")
        for text in before:
            alice.say(room, text)

    def join():
        answer = bob.call("GET", f"{V3}/directory/room/{quote(alias)}")
        expect(answer["room_id"] == room and host.name in answer["servers"], f"alias: {answer}")
        began = time.monotonic()
        expect(bob.join(alias) == room, "joined another room")
        checks.note(f"join took {time.monotonic() - began:.2f} s")
        bob.wait("room", lambda: room in bob.rooms)
        alice.wait("join", lambda: alice.membership(room, bob.user_id) == "join")
        for client in (alice, bob):
            members = client.call("GET", f"{V3}/rooms/{quote(room)}/joined_members")["joined"]
            expect(set(members) == {alice.user_id, bob.user_id}, f"members {list(members)}")

    def backfill():
        def whole():
            found = [text for text in reversed(texts(bob.history(room))) if text and text.startswith("before ")]
            expect(len(found) <= len(before), f"{len(found)} messages for {len(before)}")
            return found == before
        poll("complete history at the guest", whole, 30)

    def message(sender, receiver, name):
        def act():
            known[name] = sender.say(room, name)
            answered = time.monotonic()
            event = receiver.wait("message", lambda: receiver.event(room, known[name]))
            checks.note(f"there {1000 * (time.monotonic() - answered):.0f} ms after the answer to the send")
            expect(event["content"]["body"] == name and event["sender"] == sender.user_id, f"got {event}")
        return act

    def many():
        sent = []
        for client in (alice, bob):
            client.filter = '{"room":{"timeline":{"limit":100}}}'
        for number in range(30):
            sent.append((alice, bob)[number % 2].say(room, f"many {number}"))
        for client in (alice, bob):
            client.wait("all of them", lambda: all(client.event(room, event_id) for event_id in sent))
            shown = [event["event_id"] for event in client.rooms[room]["timeline"]]
            expect(all(shown.count(event_id) == 1 for event_id in sent), "shown more than once")

    def state():
        event_id = alice.set_state(room, "m.room.topic", {"topic": "host's"})
        bob.wait("topic", lambda: bob.event(room, event_id))
        levels = alice.state(room)["m.room.power_levels", ""]["content"]
        levels.setdefault("users", {})[bob.user_id] = 50
        event_id = alice.set_state(room, "m.room.power_levels", levels)
        bob.wait("power levels", lambda: bob.event(room, event_id))
        event_id = bob.set_state(room, "m.room.topic", {"topic": "guest's"})
        alice.wait("topic", lambda: alice.event(room, event_id))
        ids = lambda client: {key: event["event_id"] for key, event in client.state(room).items()}
        poll("the same state on both sides", lambda: ids(alice) == ids(bob), 10)

    def redaction(sender, receiver, name):
        def act():
            redaction_id = sender.redact(room, known[name])
            receiver.wait("redaction", lambda: receiver.event(room, redaction_id))
            poll("emptied event", lambda: "body" not in receiver.get_event(room, known[name])["content"], 10)
        return act

    def kick():
        alice.kick(room, bob.user_id)
        bob.wait("kick", lambda: room in bob.left)
        refused(403, "M_FORBIDDEN", lambda: bob.say(room, "after the kick"))
        bob.join(room, host.name)
        alice.wait("second join", lambda: alice.membership(room, bob.user_id) == "join")
        event_id = alice.say(room, "after the second join")
        bob.wait("message", lambda: bob.event(room, event_id))

    def leave():
        bob.leave(room)
        alice.wait("leave", lambda: alice.membership(room, bob.user_id) == "leave")

    checks.step(here + "room with history", create)
    checks.step(here + "join by alias", join, [here + "room with history"])
    joined = [here + "join by alias"]
    for name, action in (("backfill", backfill), ("message to the guest", message(alice, bob, "to the guest")),
                         ("message to the host", message(bob, alice, "to the host")), ("thirty messages from both sides", many),
                         ("state from both sides", state)):
        checks.step(here + name, action, joined)
    checks.step(here + "redaction by the host", redaction(alice, bob, "to the guest"), [here + "message to the guest"])
    checks.step(here + "redaction by the guest", redaction(bob, alice, "to the host"), [here + "message to the host"])
    checks.step(here + "kick and second join", kick, joined)
    checks.step(here + "leave", leave, joined)


def private_room(checks, host, guest, alice, bob):
    def invited(name):
        room = alice.create_room(preset="private_chat", name=name)
        alice.invite(room, bob.user_id)
        kinds = {event["type"] for event in bob.wait("invite", lambda: bob.invites.get(room))}
        expect({"m.room.create", "m.room.name", "m.room.member"} <= kinds, f"stripped state {sorted(kinds)}")
        return room

    def accepted():
        room = invited("Accepted")
        bob.join(room)
        alice.wait("join", lambda: alice.membership(room, bob.user_id) == "join")
        for sender, receiver in ((alice, bob), (bob, alice)):
            event_id = sender.say(room, "hello")
            receiver.wait("message", lambda: receiver.event(room, event_id))

    def refused_by_guest():
        room = invited("Refused")
        bob.leave(room)
        alice.wait("rejection", lambda: alice.membership(room, bob.user_id) == "leave")

    def withdrawn():
        room = invited("Withdrawn")
        alice.kick(room, bob.user_id)
        bob.wait("withdrawal", lambda: room in bob.left)

    def uninvited():
        room = alice.create_room(preset="private_chat", name="Closed")
        refused(403, "M_FORBIDDEN", lambda: bob.join(room, host.name))

    checks.step("invite and accept", accepted)
    checks.step("invite and reject", refused_by_guest)
    checks.step("invite and withdraw", withdrawn)
    checks.step("join without an invite is refused", uninvited)


def profile(checks, alice, bob):
    def act():
        alice.call("PUT", f"{V3}/profile/{quote(alice.user_id)}/displayname", {"displayname": "Alice"})
        expect(bob.call("GET", f"{V3}/profile/{quote(alice.user_id)}").get("displayname") == "Alice", "profile over federation")
    checks.step("profile over federation", act)


def run(checks, host, guest):
    alice, bob = host.user(f"{host.label}-host"), guest.user(f"{guest.label}-guest")
    keys(checks, host, guest)
    profile(checks, alice, bob)
    for version in ("12", "11", "10"):
        public_room(checks, host, guest, alice, bob, version)
    private_room(checks, host, guest, alice, bob)
