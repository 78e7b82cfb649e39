"""What a server owes to others that err, lie, or were not there: content that is gone, state that is not known."""

import time

from matrix import poll, quote
from stranger import without
from suite import expect

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"


def asking(stranger, http, house):
    def ask(method, path, body=None, due=200):
        status, answer = stranger.request(http, house.name, method, path, body)
        expect(status in (due if isinstance(due, tuple) else (due,)), f"{method} {path}: {status} {str(answer)[:300]}")
        return answer
    return ask


def redacted_content(checks, house, stranger, http):
    """A redacted event is given to other servers as the redaction left it, for ever (Client-Server API "Redactions")."""
    ask, alice = asking(stranger, http, house), house.user("redactor")
    room, place, found = None, None, {}

    def gone(events, what):
        event = next((event for event in events if event.get("type") == "m.room.message" and event["origin_server_ts"] == found["sent_ts"]), None)
        expect(event and event["content"] == {}, f"{what}: {event}")

    def topic_gone(events, what):
        event = next((event for event in events if event.get("type") == "m.room.topic"), None)
        expect(event and event["content"] == {}, f"{what}: {event}")

    def prepare():
        nonlocal room, place
        room = alice.create_room(preset="public_chat", room_version="11")
        place = stranger.join(http, house.name, room)
        found["said"] = alice.say(room, "a secret")
        found["sent_ts"] = alice.get_event(room, found["said"])["origin_server_ts"]
        found["topic"] = alice.set_state(room, "m.room.topic", {"topic": "a secret"})
        for name in ("said", "topic"):
            alice.redact(room, found[name])
        found["last"] = alice.say(room, "after it")
        poll("the last event at the stranger", lambda: any(pdu["content"].get("body") == "after it" for pdu in stranger.pdus()))

    def event():
        gone(ask("GET", f"{V1}/event/{quote(found['said'])}")["pdus"], "event")

    def backfill():
        gone(ask("GET", f"{V1}/backfill/{quote(room)}?limit=10&v={quote(found['last'])}")["pdus"], "backfill")

    def missing_events():
        body = {"earliest_events": [], "latest_events": [found["last"]], "limit": 10, "min_depth": 0}
        gone(ask("POST", f"{V1}/get_missing_events/{quote(room)}", body)["events"], "get_missing_events")

    def state():
        topic_gone(ask("GET", f"{V1}/state/{quote(room)}?event_id={quote(found['last'])}")["pdus"], "state")

    def event_auth():
        """Of an event that a redacted one authorises: the member event's display name is content too."""
        alice.call("PUT", f"/_matrix/client/v3/profile/{quote(alice.user_id)}/displayname", {"displayname": "secret"})
        member = next(event for event in alice.call("GET", f"/_matrix/client/v3/rooms/{quote(room)}/state")
                      if event["type"] == "m.room.member" and event["state_key"] == alice.user_id)
        alice.redact(room, member["event_id"])
        chain = ask("GET", f"{V1}/event_auth/{quote(room)}/{quote(alice.say(room, 'authorised'))}")["auth_chain"]
        found = [event for event in chain if event["origin_server_ts"] == member["origin_server_ts"] and event.get("state_key") == alice.user_id]
        expect(found and all("displayname" not in event["content"] for event in found), f"event_auth: {found}")

    def send_join():
        answer = ask("GET", f"{V1}/make_join/{quote(room)}/{quote('@second:' + stranger.name)}?ver=11")
        draft = {**without(answer["event"], "event_id", "signatures", "hashes", "unsigned", "origin"), "origin_server_ts": int(time.time() * 1000)}
        joined, joined_id = stranger.sign_event(draft)
        topic_gone(ask("PUT", f"{V2}/send_join/{quote(room)}/{quote(joined_id)}", joined)["state"], "send_join")

    checks.step("redacted: room", prepare)
    needs = ["redacted: room"]
    for name, action in (("event", event), ("backfill", backfill), ("get_missing_events", missing_events), ("state", state),
                         ("event_auth", event_auth), ("send_join", send_join)):
        checks.step("redacted: " + name, action, needs)


def run(checks, house, stranger):
    http = house.federation()
    redacted_content(checks, house, stranger, http)
