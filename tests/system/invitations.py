"""Invites across servers, both ways, with a scripted server on the other side: what goes along, what is signed, which errors come."""

import time

from clients import refused
from hosted import quote
from peer import redacted
from stranger import canonical, unpadded, without
from suite import expect

V1, V2, V3 = "/_matrix/federation/v1", "/_matrix/federation/v2", "/_matrix/client/v3"


def countersigned(stranger, event, good=True, version="11"):
    """The event as the invited server returns it."""
    kept = canonical(without(redacted(event, version), "signatures", "unsigned"))
    signature = stranger.key.sign(kept).signature if good else bytes(64)
    return {**event, "signatures": {**event["signatures"], stranger.name: {stranger.key_id: unpadded(signature)}}}


def outbound(checks, house, stranger):
    alice = house.user("inviter")

    def room(version="11"):
        return alice.create_room(preset="private_chat", room_version=version, name="Invited", topic="with a topic")

    def invited(room_id):
        return alice.state(room_id).get(("m.room.member", stranger.user_id), {}).get("content", {}).get("membership")

    def whole_events():
        seen, place = [], room()
        with stranger.scripted(invite=lambda path, body: seen.append(body) or {"event": countersigned(stranger, body["event"])}):
            alice.invite(place, stranger.user_id)
        state = {entry["type"]: entry for entry in seen[0]["invite_room_state"]}
        expect({"m.room.create", "m.room.name", "m.room.topic", "m.room.join_rules"} <= set(state), f"state {list(state)}")
        for entry in state.values():
            expect(house.name in entry["signatures"] and entry["hashes"] and entry["prev_events"] is not None, f"not a PDU: {entry}")
        expect(invited(place) == "invite", "not invited")

    def forged_signature():
        place = room()
        with stranger.scripted(invite=lambda path, body: {"event": countersigned(stranger, body["event"], good=False)}):
            refused(502, "M_UNKNOWN", lambda: alice.invite(place, stranger.user_id))
        expect(invited(place) is None, "the invite stands")

    def changed_event():
        """Only the signature is taken from what comes back."""
        place = room()
        change = lambda event: {**event, "org.example.added": "x" * 1000, "unsigned": {"age": 5}}
        with stranger.scripted(invite=lambda path, body: {"event": change(countersigned(stranger, body["event"]))}):
            alice.invite(place, stranger.user_id)
        event_id = alice.state(place)["m.room.member", stranger.user_id]["event_id"]
        event = house.sql(f"SELECT convert_from(json, 'UTF8') FROM event WHERE event_id = '{event_id}'")[0][0]
        expect(stranger.name in event and "org.example.added" not in event, f"stored {event}")

    def version_1():
        asked, place = [], room("1")

        def answer(path, body):
            asked.append(path)
            if "/v2/" in path:
                return 404, {"errcode": "M_UNRECOGNIZED"}
            expect(any(entry["type"] == "m.room.create" for entry in body["unsigned"]["invite_room_state"]), "no create event")
            return [200, {"event": countersigned(stranger, without(body, "unsigned"), version="1")}]
        with stranger.scripted(invite=answer):
            alice.invite(place, stranger.user_id)
        expect([path.split("/")[3] for path in asked] == ["v2", "v1"] and invited(place) == "invite", f"asked {asked}")

    def errors():
        place = room()
        for answer, status, errcode in (((400, "M_INVALID_PARAM"), 502, "M_UNKNOWN"), ((400, "M_MISSING_PARAM"), 502, "M_UNKNOWN"),
                                        ((403, "M_FORBIDDEN"), 403, "M_FORBIDDEN")):
            with stranger.scripted(invite=lambda path, body: (answer[0], {"errcode": answer[1], "error": "no"})):
                refused(status, errcode, lambda: alice.invite(place, stranger.user_id))

    for name, action in (("whole events go along", whole_events), ("a forged signature", forged_signature), ("a changed event", changed_event),
                         ("version 1 of the endpoint", version_1), ("refusals", errors)):
        checks.step("invite sent: " + name, action)


def inbound(checks, house, stranger, http):
    alice = house.user("invited")

    def event(kind, content, key, room=None, **changes):
        made = {"type": kind, "sender": stranger.user_id, "state_key": key, "content": content, "origin_server_ts": int(time.time() * 1000),
                "depth": 1, "prev_events": [], "auth_events": [], **({"room_id": room} if room else {}), **changes}
        return stranger.sign_event(made)

    def fresh_room():
        create, create_id = event("m.room.create", {"room_version": "12", "made": str(time.time_ns())}, "")
        return create, "!" + create_id[1:]

    def put(room, invite, state, version="12"):
        body = {"room_version": version, "event": invite[0], "invite_room_state": state}
        return stranger.request(http, house.name, "PUT", f"{V2}/invite/{quote(room)}/{quote(invite[1])}", body)

    def invite_to(room, membership="invite", **changes):
        return event("m.room.member", {"membership": membership}, alice.user_id, room, **changes)

    def check(answer, status, errcode=None):
        expect(answer[0] == status and (not errcode or answer[1].get("errcode") == errcode), f"{answer}")

    def accepted():
        create, room = fresh_room()
        name, _ = event("m.room.name", {"name": "Twelve"}, "", room)
        check(put(room, invite_to(room), [create, name]), 200)
        alice.wait("invite", lambda: room in alice.invites)
        shown = {entry["type"]: entry for entry in alice.invites[room]}
        expect(shown["m.room.name"]["content"] == {"name": "Twelve"} and "signatures" not in shown["m.room.name"], f"shown {shown}")

    def older_servers():
        create, room = fresh_room()
        bare = {"type": "m.room.name", "state_key": "", "sender": stranger.user_id, "content": {"name": "Bare"}}
        check(put(room, invite_to(room), [create, bare]), 200)

    def bad_state():
        create, room = fresh_room()
        foreign, elsewhere = fresh_room()
        name, _ = event("m.room.name", {"name": "Elsewhere"}, "", elsewhere)
        forged, _ = event("m.room.name", {"name": "Forged"}, "", room)
        forged["signatures"][stranger.name][stranger.key_id] = unpadded(bytes(64))
        for state in ([], [foreign], [create, name], [create, forged], [create, {**name, "content": "none"}]):
            check(put(room, invite_to(room), state), 400, "M_INVALID_PARAM")

    def bad_event():
        create, room = fresh_room()
        forged = invite_to(room)
        forged[0]["signatures"][stranger.name][stranger.key_id] = unpadded(bytes(64))
        check(put(room, forged, [create]), 400, "M_INVALID_PARAM")
        check(put(room, invite_to(room, "join"), [create]), 400, "M_INVALID_PARAM")
        status, answer = put(room, invite_to(room, sender="@other:elsewhere.example"), [create])
        expect(status == 400 and answer["errcode"] == "M_INVALID_PARAM", f"foreign sender: {status} {answer}")

    def unknown_version():
        create, room = fresh_room()
        answer = put(room, invite_to(room), [create], version="org.example.new")
        check(answer, 400, "M_INCOMPATIBLE_ROOM_VERSION")
        expect(answer[1].get("room_version") == "org.example.new", f"{answer}")

    for name, action in (("whole state", accepted), ("bare state", older_servers), ("bad state", bad_state), ("bad event", bad_event),
                         ("unknown room version", unknown_version)):
        checks.step("invite received: " + name, action)


def run(checks, house, stranger):
    outbound(checks, house, stranger)
    inbound(checks, house, stranger, house.federation())
