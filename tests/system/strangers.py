"""What another server does with one of ours: every federation endpoint of issue 3's list, asked by a scripted server."""

import time

from matrix import poll, quote
from stranger import check_self_signed, check_signed, without
from suite import expect

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"


def keys(checks, house, stranger, http):
    served = {}

    def ask(method, path, body=None):
        status, answer = http.send(method, path, body)
        expect(status == 200, f"{path}: {status} {answer}")
        return answer

    def server_key():
        answer = ask("GET", "/_matrix/key/v2/server")
        expect(answer["server_name"] == house.name and answer["valid_until_ts"] > time.time() * 1000, f"got {answer}")
        check_self_signed(answer, house.name)
        served.update(answer)

    def server_key_by_id():
        check_self_signed(ask("GET", "/_matrix/key/v2/server/" + quote(next(iter(served["verify_keys"])))), house.name)

    def notary(answer, name):
        entries = [entry for entry in answer["server_keys"] if entry["server_name"] == name]
        expect(len(entries) == 1, f"{len(entries)} answers for {name}")
        check_self_signed(entries[0], name)
        check_signed(entries[0], house.name, served["verify_keys"])  # the notary's own
        return entries[0]

    def query_get():
        found = notary(ask("GET", f"/_matrix/key/v2/query/{quote(stranger.name)}"), stranger.name)
        expect(stranger.key_id in found["verify_keys"], f"got {found}")

    def query_post():
        wanted = {stranger.name: {stranger.key_id: {"minimum_valid_until_ts": int(time.time() * 1000)}}, house.name: {}}
        answer = ask("POST", "/_matrix/key/v2/query", {"server_keys": wanted})
        notary(answer, stranger.name)
        notary(answer, house.name)

    checks.step("key server, signed by itself", server_key)
    checks.step("key server by id", server_key_by_id, ["key server, signed by itself"])
    checks.step("notary GET", query_get, ["key server, signed by itself"])
    checks.step("notary POST", query_post, ["key server, signed by itself"])


def queries(checks, house, stranger, http):
    alice = house.user("queried")
    alice.call("PUT", f"/_matrix/client/v3/profile/{quote(alice.user_id)}/displayname", {"displayname": "Queried"})
    room = alice.create_room(preset="public_chat", room_alias_name="queried", room_version="11")

    def ask(path):
        return stranger.request(http, house.name, "GET", path)

    def version():
        status, answer = http.send("GET", V1 + "/version")
        expect(status == 200 and answer["server"]["name"] == "Myelin" and answer["server"]["version"], f"{status} {answer}")

    def profile():
        expect(ask(f"{V1}/query/profile?user_id={quote(alice.user_id)}") == (200, {"displayname": "Queried"}), "profile")
        expect(ask(f"{V1}/query/profile?user_id={quote(alice.user_id)}&field=displayname") == (200, {"displayname": "Queried"}), "one field")
        expect(ask(f"{V1}/query/profile?user_id={quote('@nobody:' + house.name)}")[0] == 404, "nobody")

    def directory():
        status, answer = ask(f"{V1}/query/directory?room_alias={quote('#queried:' + house.name)}")
        expect(status == 200 and answer["room_id"] == room and house.name in answer["servers"], f"{status} {answer}")
        expect(ask(f"{V1}/query/directory?room_alias={quote('#nothing:' + house.name)}")[0] == 404, "no alias")

    checks.step("version", version)
    checks.step("query profile", profile)
    checks.step("query directory", directory)


def room(checks, house, stranger, http):
    alice = house.user("hostess")
    place, room_id, sent = None, None, []

    def ask(method, path, body=None, due=200):
        status, answer = stranger.request(http, house.name, method, path, body)
        expect(status in (due if isinstance(due, tuple) else (due,)), f"{method} {path}: {status} {str(answer)[:300]}")
        return answer

    def at(path, *names):
        return path.format(quote(room_id), *map(quote, names))

    def join():
        nonlocal place, room_id
        room_id = alice.create_room(preset="public_chat", room_version="11", name="Visited")
        sent.extend(alice.say(room_id, f"before {number}") for number in range(12))
        place = stranger.join(http, house.name, room_id)
        alice.wait("join", lambda: alice.membership(room_id, stranger.user_id) == "join")

    def transaction():
        event, event_id = stranger.message(place, "from afar")
        status, answer = stranger.send(http, house.name, [event], txn_id="first")
        expect(status == 200 and answer["pdus"].get(event_id) == {}, f"{status} {answer}")
        shown = alice.wait("message", lambda: alice.event(room_id, event_id))
        expect(shown["content"]["body"] == "from afar", f"got {shown}")
        again = stranger.send(http, house.name, [event], txn_id="first")
        expect(again == (status, answer), f"the repetition is answered {again}")
        stranger.send(http, house.name, [event], txn_id="second")
        own = alice.say(room_id, "after the repetitions")
        alice.wait("own message", lambda: alice.event(room_id, own))
        shown = [entry["event_id"] for entry in alice.rooms[room_id]["timeline"]].count(event_id)
        expect(shown == 1, f"shown {shown} times")
        sent.append(event_id)

    def event():
        answer = ask("GET", at(V1 + "/event/{1}", sent[0]))
        expect(answer["origin"] == house.name and answer["pdus"][0]["content"]["body"] == "before 0", f"got {answer}")
        expect("signatures" in answer["pdus"][0] and "unsigned" not in answer["pdus"][0].get("content", {}), "not a PDU")

    def state():
        answer = ask("GET", at(V1 + "/state/{0}?event_id={1}", sent[-1]))
        kinds = {(entry["type"], entry["state_key"]) for entry in answer["pdus"]}
        expect({("m.room.create", ""), ("m.room.member", alice.user_id), ("m.room.member", stranger.user_id)} <= kinds, f"state {kinds}")
        ids = ask("GET", at(V1 + "/state_ids/{0}?event_id={1}", sent[-1]))
        expect(len(ids["pdu_ids"]) == len(answer["pdus"]) and set(ids["auth_chain_ids"]), f"ids {ids}")
        early = ask("GET", at(V1 + "/state_ids/{0}?event_id={1}", sent[0]))
        expect(len(early["pdu_ids"]) == len(ids["pdu_ids"]) - 1, "the state before the join holds the join")

    def backfill():
        pdus = ask("GET", at(V1 + "/backfill/{0}?limit=5&v={1}", sent[11]))["pdus"]
        texts = [pdu["content"].get("body") for pdu in pdus]
        expect(sorted(texts) == sorted(f"before {number}" for number in range(7, 12)), f"got {texts}")

    def missing_events():
        body = {"earliest_events": [sent[2]], "latest_events": [sent[8]], "limit": 10, "min_depth": 0}
        events = ask("POST", at(V1 + "/get_missing_events/{0}"), body)["events"]
        texts = [entry["content"].get("body") for entry in events]
        expect(texts == [f"before {number}" for number in range(3, 8)], f"got {texts}")

    def event_auth():
        kinds = {entry["type"] for entry in ask("GET", at(V1 + "/event_auth/{0}/{1}", sent[0]))["auth_chain"]}
        expect({"m.room.create", "m.room.member", "m.room.power_levels"} <= kinds, f"auth chain {kinds}")

    def gap():
        """Two events arrive late: the server asks us for what lies between."""
        missing = [stranger.message(place, f"in the gap {number}") for number in range(2)]
        last, last_id = stranger.message(place, "beyond the gap")
        known = stranger.answer
        stranger.answer = lambda path: {"events": [entry for entry, _ in missing]} if "/get_missing_events/" in path else known(path)
        try:
            status, answer = stranger.send(http, house.name, [last])
            expect(status == 200, f"{status} {answer}")
            for event_id in [event_id for _, event_id in missing] + [last_id]:
                alice.wait("event of the gap", lambda: alice.event(room_id, event_id))
        finally:
            stranger.answer = known
        shown = [entry["content"].get("body") for entry in alice.rooms[room_id]["timeline"] if "gap" in entry["content"].get("body", "")]
        expect(shown == ["in the gap 0", "in the gap 1", "beyond the gap"], f"order {shown}")

    def leave():
        answer = ask("GET", at(V1 + "/make_leave/{0}/{1}", stranger.user_id))
        draft = {**without(answer["event"], "event_id", "signatures", "hashes", "unsigned", "origin"), "origin_server_ts": int(time.time() * 1000),
                 "sender": stranger.user_id, "state_key": stranger.user_id, "room_id": room_id}
        event, event_id = stranger.sign_event(draft)
        ask("PUT", at(V2 + "/send_leave/{0}/{1}", event_id), event)
        alice.wait("leave", lambda: alice.membership(room_id, stranger.user_id) == "leave")
        late = alice.say(room_id, "after the stranger left")
        ask("GET", at(V1 + "/event/{1}", late), due=(403, 404))

    def join_and_leave_v1():
        answer = ask("GET", at(V1 + "/make_join/{0}/{1}?ver=11", stranger.user_id))
        expect(answer["room_version"] == "11", f"version {answer['room_version']}")
        draft = {**without(answer["event"], "event_id", "signatures", "hashes", "unsigned", "origin"), "origin_server_ts": int(time.time() * 1000),
                 "sender": stranger.user_id, "state_key": stranger.user_id, "room_id": room_id}
        event, event_id = stranger.sign_event(dict(draft))
        answer = ask("PUT", at(V1 + "/send_join/{0}/{1}", event_id), event)
        expect(answer[0] == 200 and answer[1]["state"] and answer[1]["auth_chain"], "v1 send_join")
        alice.wait("join", lambda: alice.membership(room_id, stranger.user_id) == "join")
        answer = ask("GET", at(V1 + "/make_leave/{0}/{1}", stranger.user_id))
        draft = {**without(answer["event"], "event_id", "signatures", "hashes", "unsigned", "origin"), "origin_server_ts": int(time.time() * 1000),
                 "sender": stranger.user_id, "state_key": stranger.user_id, "room_id": room_id}
        event, event_id = stranger.sign_event(draft)
        ask("PUT", at(V1 + "/send_leave/{0}/{1}", event_id), event)
        alice.wait("leave", lambda: alice.membership(room_id, stranger.user_id) == "leave")

    def invite(version):
        """The stranger invites our user into a room of its own, which we have never heard of."""
        def act():
            made = f"!{time.time_ns()}:{stranger.name}"
            earlier = ["$" + "A" * 43] if version == 2 else [["$a:" + stranger.name, {"sha256": "A" * 43}]]
            draft = {"type": "m.room.member", "room_id": made, "sender": stranger.user_id, "state_key": alice.user_id, "depth": 5,
                     "content": {"membership": "invite"}, "origin_server_ts": int(time.time() * 1000), "prev_events": earlier, "auth_events": earlier}
            if version == 1:  # rooms of version 1: the event carries its id
                draft["event_id"] = f"$invite{time.time_ns()}:{stranger.name}"
            event, event_id = stranger.sign_event(draft)
            event_id = event.get("event_id", event_id)
            create = {"type": "m.room.create", "sender": stranger.user_id, "state_key": "", "content": {"room_version": "10"}}
            if version == 2:
                answer = ask("PUT", f"{V2}/invite/{quote(made)}/{quote(event_id)}",
                             {"room_version": "10", "event": event, "invite_room_state": [create]})["event"]
            else:
                answer = ask("PUT", f"{V1}/invite/{quote(made)}/{quote(event_id)}", {**event, "unsigned": {"invite_room_state": [create]}})
                answer = answer[1]["event"]
            expect(house.name in answer["signatures"] and stranger.name in answer["signatures"], f"signatures {answer['signatures']}")
            alice.wait("invite", lambda: made in alice.invites)
        return act

    def outbound():
        """What our server sends to the stranger arrives, signed."""
        nonlocal place
        place = stranger.join(http, house.name, room_id)
        body = alice.say(room_id, "to the stranger")
        poll("transaction at the stranger", lambda: any("/federation/v1/send/" in path for path in stranger.asked), 20)
        expect(body, "no event id")

    checks.step("make_join, send_join", join)
    joined = ["make_join, send_join"]
    for name, action in (("send, repeated", transaction), ("event", event), ("state, state_ids", state), ("backfill", backfill),
                         ("get_missing_events", missing_events), ("event_auth", event_auth), ("a gap is filled", gap),
                         ("make_leave, send_leave", leave), ("send_join and send_leave v1", join_and_leave_v1), ("transactions arrive", outbound)):
        checks.step(name, action, joined)
    checks.step("invite v2", invite(2), joined)
    checks.step("invite v1", invite(1), joined)


def run(checks, house, stranger):
    http = house.federation()
    keys(checks, house, stranger, http)
    queries(checks, house, stranger, http)
    room(checks, house, stranger, http)
