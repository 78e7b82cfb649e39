"""Endpoints that no day of a user or a server passes by: read markers, jumping to a date, knocking, upgrading a room."""

import time

from matrix import quote
from stranger import without
from suite import expect

V1, V3 = "/_matrix/federation/v1", "/_matrix/client/v3"


def client_corners(checks, house):
    alice = house.user("cornered")
    room = alice.create_room(preset="public_chat", room_version="11")
    first, second = alice.say(room, "first"), alice.say(room, "second")

    def read_markers():
        alice.call("POST", f"{V3}/rooms/{quote(room)}/read_markers", {"m.fully_read": first, "m.read": second})
        path = f"{V3}/user/{quote(alice.user_id)}/rooms/{quote(room)}/account_data/m.fully_read"
        expect(alice.call("GET", path)["event_id"] == first, "m.fully_read")

    def to_date():
        path = f"/_matrix/client/v1/rooms/{quote(room)}/timestamp_to_event"
        expect(alice.call("GET", path, dir="b", ts=int(time.time() * 1000))["event_id"] == second, "backwards from now")
        expect(alice.call("GET", path, dir="f", ts=0)["event_id"] not in (first, second), "forwards from the epoch: the create event")

    def upgrade():
        alice.call("PUT", f"{V3}/rooms/{quote(room)}/state/m.room.topic/", {"topic": "kept"})
        new = alice.call("POST", f"{V3}/rooms/{quote(room)}/upgrade", {"new_version": "12"})["replacement_room"]
        tombstone = alice.call("GET", f"{V3}/rooms/{quote(room)}/state/m.room.tombstone/")
        expect(tombstone["replacement_room"] == new, f"got {tombstone}")
        create = alice.call("GET", f"{V3}/rooms/{quote(new)}/state/m.room.create/")
        expect(create["predecessor"]["room_id"] == room and create["room_version"] == "12", f"got {create}")
        expect(alice.call("GET", f"{V3}/rooms/{quote(new)}/state/m.room.topic/")["topic"] == "kept", "the topic goes along")

    checks.step("read_markers", read_markers)
    checks.step("timestamp_to_event", to_date)
    checks.step("upgrade", upgrade)


def server_corners(checks, house, stranger):
    http = house.federation()
    alice = house.user("knocked")
    room = alice.create_room(room_version="11", initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}])

    def ask(method, path, body=None):
        status, answer = stranger.request(http, house.name, method, path, body)
        expect(status == 200, f"{path}: {status} {answer}")
        return answer

    def knock():
        answer = ask("GET", f"{V1}/make_knock/{quote(room)}/{quote(stranger.user_id)}?ver=11")
        draft = {**without(answer["event"], "event_id", "signatures", "hashes", "unsigned", "origin"), "sender": stranger.user_id,
                 "origin_server_ts": int(time.time() * 1000), "state_key": stranger.user_id, "room_id": room}
        event, event_id = stranger.sign_event(draft)
        answer = ask("PUT", f"{V1}/send_knock/{quote(room)}/{quote(event_id)}", event)
        expect(any(entry["type"] == "m.room.join_rules" for entry in answer["knock_room_state"]), f"got {answer}")
        alice.wait("knock", lambda: alice.membership(room, stranger.user_id) == "knock")

    def to_date():
        public = alice.create_room(preset="public_chat", room_version="11")
        said = alice.say(public, "on this day")
        stranger.join(http, house.name, public)
        answer = ask("GET", f"{V1}/timestamp_to_event/{quote(public)}?dir=f&ts=0")
        expect(answer["event_id"] and answer["origin_server_ts"] <= time.time() * 1000 and said, f"got {answer}")

    checks.step("make_knock, send_knock", knock)
    checks.step("timestamp_to_event between servers", to_date)


def run(checks, house, stranger):
    client_corners(checks, house)
    server_corners(checks, house, stranger)
