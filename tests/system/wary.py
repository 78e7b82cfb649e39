"""What a server owes to others that err, lie, or were not there: content that is gone, state that is not known."""

import time

from hosted import member_draft
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


def memberships(checks, house, stranger, http):
    ask = asking(stranger, http, house)

    def join_event(room, user, version="11", due=200):
        answer = ask("GET", f"{V1}/make_join/{quote(room)}/{quote(user)}?ver={version}", due=due)
        return stranger.sign_event(member_draft(answer, room, user)) if due == 200 else answer

    def soft_failed():
        """Allowed by the state it names, not by that of now: no member, so no 200."""
        alice, user = house.user("softly"), f"@banned{time.time_ns()}:{stranger.name}"
        room = alice.create_room(preset="public_chat", room_version="11")
        event, event_id = join_event(room, user)
        alice.call("POST", f"/_matrix/client/v3/rooms/{quote(room)}/ban", {"user_id": user})
        for _ in range(2):  # also when it comes again
            answer = ask("PUT", f"{V2}/send_join/{quote(room)}/{quote(event_id)}", event, due=403)
            expect(answer["errcode"] == "M_FORBIDDEN", f"{answer}")
        expect(alice.state(room)["m.room.member", user]["content"]["membership"] == "ban", "the join counts")

    def foreign_sender():
        alice = house.user("foreign")
        room = alice.create_room(preset="public_chat", room_version="11")
        event, _ = join_event(room, stranger.user_id)
        other = "@somebody:elsewhere.example"
        event, event_id = stranger.sign_event({**without(event, "hashes", "signatures"), "sender": other, "state_key": other})
        answer = ask("PUT", f"{V2}/send_join/{quote(room)}/{quote(event_id)}", event, due=400)
        expect(answer["errcode"] == "M_INVALID_PARAM", f"{answer}")

    def restricted():
        alice = house.user("vouching")
        allowed = alice.create_room(preset="public_chat", room_version="11")
        rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": allowed}]}
        room = alice.create_room(room_version="11", initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}])
        stranger.join(http, house.name, allowed)
        event, event_id = join_event(room, stranger.user_id)
        expect(event["content"]["join_authorised_via_users_server"] == alice.user_id, f"{event['content']}")
        returned = ask("PUT", f"{V2}/send_join/{quote(room)}/{quote(event_id)}", event)["event"]
        expect(set(returned["signatures"]) == {house.name, stranger.name}, f"signed by {list(returned['signatures'])}")
        alice.wait("join", lambda: alice.membership(room, stranger.user_id) == "join")
        answer = join_event(room, f"@outsider:{stranger.name}", due=403)
        expect(answer["errcode"] == "M_FORBIDDEN", f"{answer}")

    checks.step("send_join: soft failure", soft_failed)
    checks.step("send_join: foreign sender", foreign_sender)
    checks.step("restricted room", restricted)


def transactions(checks, house, stranger, http):
    alice = house.user("transacted")

    def typing(room):
        return {"edu_type": "m.typing", "content": {"room_id": room, "user_id": stranger.user_id, "typing": True}}

    def typists(room):
        update = alice.sync(200).get("rooms", {}).get("join", {}).get(room, {})
        return [user for event in update.get("ephemeral", {}).get("events", []) if event["type"] == "m.typing" for user in event["content"]["user_ids"]]

    def bad_edus():
        """One EDU that nobody can take costs no other, and no PDU."""
        room = alice.create_room(preset="public_chat", room_version="11")
        place = stranger.join(http, house.name, room)
        alice.sync()
        event, event_id = stranger.message(place, "beside bad EDUs")
        edus = [typing("!a\0b:" + stranger.name), typing("not a room"), {"edu_type": "m.receipt", "content": {"!a\0b:c.example": {"m.read": {}}}},
                {"edu_type": "m.direct_to_device", "content": {"sender": stranger.user_id, "type": "a\0b", "message_id": "m1", "messages": {
                    alice.user_id: {"*": {}}}}},
                {"edu_type": "m.device_list_update", "content": {"user_id": stranger.user_id, "device_id": "D", "stream_id": 1}}, typing(room)]
        status, answer = stranger.send(http, house.name, [event], edus)
        expect(status == 200 and answer["pdus"] == {event_id: {}}, f"{status} {answer}")
        poll("typing", lambda: stranger.user_id in typists(room), 10)

    def banned_server():
        room = alice.create_room(preset="public_chat", room_version="11")
        place = stranger.join(http, house.name, room)
        alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": [stranger.name.split(":")[0]]})
        alice.sync()
        event, event_id = stranger.message(place, "from a banned server")
        status, answer = stranger.send(http, house.name, [event], [typing(room)])
        expect(status == 200 and answer["pdus"][event_id].get("error"), f"{status} {answer}")
        last = alice.say(room, "last")
        alice.wait("own message", lambda: alice.event(room, last))
        expect(not typists(room) and not alice.event(room, event_id), "the banned server is heard")
        for method, path, body in (("GET", f"/backfill/{quote(room)}?limit=1&v={quote(last)}", None), ("GET", f"/event/{quote(last)}", None),
                                   ("GET", f"/make_join/{quote(room)}/{quote(stranger.user_id)}?ver=11", None)):
            status, answer = stranger.request(http, house.name, method, V1 + path, body)
            expect(status == 403 and answer["errcode"] == "M_FORBIDDEN", f"{path}: {status} {answer}")

    checks.step("bad EDUs", bad_edus)
    checks.step("server ACL", banned_server)


def run(checks, house, stranger):
    http = house.federation()
    redacted_content(checks, house, stranger, http)
    memberships(checks, house, stranger, http)
    transactions(checks, house, stranger, http)
