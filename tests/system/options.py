"""Parameters that change what an endpoint does: of createRoom, of /sync, and what users set for themselves."""

import json

from clients import V3, refused
from matrix import poll, quote
from suite import expect


def creation(checks, house):
    alice, bob = house.user("optional"), house.user("optional-too")

    def power_levels():
        room = alice.create_room(room_version="11", power_level_content_override={"users_default": 5, "events": {"m.room.name": 7}})
        levels = alice.state(room)["m.room.power_levels", ""]["content"]
        expect(levels["users_default"] == 5 and levels["events"] == {"m.room.name": 7}, f"not overridden: {levels}")
        expect(levels["users"] == {alice.user_id: 100} and levels["ban"] == 50, f"the rest was lost: {levels}")
        room = alice.create_room(room_version="11", preset="trusted_private_chat", invite=[bob.user_id],
                                 power_level_content_override={"users": {alice.user_id: 100, bob.user_id: 20}})
        expect(alice.state(room)["m.room.power_levels", ""]["content"]["users"] == {alice.user_id: 100, bob.user_id: 20}, "users")

    def creation_content():
        extra = {"type": "m.space", "m.federate": False, "org.example": [1], "room_version": "1", "creator": "@nobody:nowhere"}
        for version, creator in (("10", alice.user_id), ("11", None), ("12", None)):
            room = alice.create_room(room_version=version, creation_content=extra)
            due = {"type": "m.space", "m.federate": False, "org.example": [1], "room_version": version}
            if creator:
                due["creator"] = creator
            content = alice.state(room)["m.room.create", ""]["content"]
            expect(content == due, f"version {version}: {content}")

    def is_direct():
        for direct in (True, False):
            room = alice.create_room(is_direct=direct, invite=[bob.user_id])
            event = next(event for event in bob.wait("invite", lambda: bob.invites.get(room)) if event.get("state_key") == bob.user_id)
            expect(event["content"].get("is_direct", False) == direct, f"got {event}")

    checks.step("power_level_content_override", power_levels)
    checks.step("creation_content", creation_content)
    checks.step("is_direct", is_direct)


def syncing(checks, house):
    alice, bob, carol = house.user("syncing"), house.user("synced"), house.user("synced-too")

    def again(client, **query):
        return client.call("GET", V3 + "/sync", None, **query)

    def full_state():
        room = alice.create_room(name="Whole", preset="public_chat")
        since = again(alice)["next_batch"]
        expect("rooms" not in again(alice, since=since), "something is new")
        part = again(alice, since=since, full_state="true")["rooms"]["join"][room]
        kinds = {(event["type"], event["state_key"]) for event in part["state"]["events"]}
        expect(kinds == set(alice.state(room)) and part["timeline"]["events"] == [], f"state {sorted(kinds)}, timeline {part['timeline']}")
        said = alice.say(room, "new")
        part = again(alice, since=since, full_state="true")["rooms"]["join"][room]
        expect([event["event_id"] for event in part["timeline"]["events"]] == [said] and len(part["state"]["events"]) == len(kinds), "with news")

    def set_presence():
        room = alice.create_room(preset="public_chat")
        bob.join(room)
        seen = {}

        def look():
            for event in bob.sync(500).get("presence", {}).get("events", []):
                seen[event["sender"]] = event["content"]["presence"]
            return seen.get(alice.user_id)
        for presence in ("online", "unavailable"):
            again(alice, set_presence=presence)
            poll(presence, lambda: look() == presence, 15, 0)
        refused(400, "M_INVALID_PARAM", lambda: again(alice, set_presence="asleep"))

    def ignored():
        room = alice.create_room(preset="public_chat")
        for client in (bob, carol):
            client.join(room)
        alice.sync()
        path = f"{V3}/user/{quote(alice.user_id)}/account_data/m.ignored_user_list"
        alice.call("PUT", path, {"ignored_users": {bob.user_id: {}}})
        unwanted, wanted = bob.say(room, "can you hear me?"), carol.say(room, "hello")
        alice.wait("wanted message", lambda: alice.event(room, wanted))
        expect(not alice.event(room, unwanted), "an ignored user is heard")
        bob.leave(room)
        alice.wait("leave of the ignored user", lambda: alice.membership(room, bob.user_id) == "leave")
        fresh = house.client()
        fresh.token, fresh.user_id = alice.token, alice.user_id
        fresh.sync()
        expect(fresh.event(room, wanted) and not fresh.event(room, unwanted), "the first sync shows an ignored user")
        private = bob.create_room(invite=[alice.user_id])
        marker = carol.create_room(invite=[alice.user_id])
        alice.wait("invite", lambda: marker in alice.invites)
        expect(private not in alice.invites, "an ignored user invites")
        alice.call("PUT", path, {"ignored_users": {}})
        bob.join(room)
        heard = bob.say(room, "and now?")
        alice.wait("message of who is not ignored any more", lambda: alice.event(room, heard))

    def lazy():
        room = alice.create_room(preset="public_chat")
        for client in (bob, carol):
            client.join(room)
        bob.say(room, "Bob speaks")
        for redundant in (True, False):
            sieve = json.dumps({"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True, "include_redundant_members": redundant}}})

            def members(since=None):
                answer = again(alice, filter=sieve, since=since)
                part = answer["rooms"]["join"][room]
                told = part["state"]["events"] + part["timeline"]["events"]
                return answer["next_batch"], {event["state_key"] for event in told if event["type"] == "m.room.member"}
            since, told = members()
            expect({bob.user_id, alice.user_id} <= told, f"members {told}")
            summary = again(alice, filter=sieve)["rooms"]["join"][room]["summary"]
            expect(told <= {alice.user_id, bob.user_id} | set(summary["m.heroes"]), f"members {told}, heroes {summary['m.heroes']}")
            bob.say(room, "Bob again")
            since, told = members(since)
            expect((bob.user_id in told) == redundant, f"redundant {redundant}: {told}")
        dave = house.user(f"synced-third")
        since = again(alice, filter=sieve)["next_batch"]
        dave.join(room)
        since, told = members(since)
        expect(told == {dave.user_id}, f"who joins is told: {told}")

    def last_seen():
        eve = house.user("seen")
        device = eve.call("GET", V3 + "/account/whoami")["device_id"]
        seen = lambda: eve.call("GET", f"{V3}/devices/{quote(device)}")["last_seen_ts"]
        house.sql(f"UPDATE device SET last_seen_ts = 1, last_seen_ip = '' WHERE user_id = '{eve.user_id}'")
        expect(seen() == 1, "not set back")
        eve.sync()
        now = seen()
        expect(now > 1 and eve.call("GET", f"{V3}/devices/{quote(device)}")["last_seen_ip"] == "127.0.0.1", f"seen at {now}")
        eve.sync()
        expect(seen() == now, "touched again at once")

    checks.step("full_state", full_state)
    checks.step("set_presence", set_presence)
    checks.step("ignored users", ignored)
    checks.step("lazy_load_members, include_redundant_members", lazy)
    checks.step("last_seen_ts", last_seen)


def run(checks, house):
    creation(checks, house)
    syncing(checks, house)
