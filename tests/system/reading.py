"""Reading what was: members and state at a point, the surroundings of an event, jumping to a date."""

import time

from clients import V3, refused
from matrix import MatrixError, poll, quote
from suite import expect

V1 = "/_matrix/client/v1"


def members_at(client, room, token, **query):
    chunk = client.call("GET", f"{V3}/rooms/{quote(room)}/members", None, at=token, **query)["chunk"]
    return {event["state_key"]: event["content"]["membership"] for event in chunk}


def nearest(client, room, ts, direction):
    try:
        return client.call("GET", f"{V1}/rooms/{quote(room)}/timestamp_to_event", None, ts=ts, dir=direction)["event_id"]
    except MatrixError as error:
        expect((error.status, error.errcode) == (404, "M_NOT_FOUND"), f"answered {error.status} {error.errcode}")
        return None


def members(checks, house):
    alice, bob, carol = (house.user(name) for name in ("listing", "listed", "listed-later"))

    def at_point():
        room = alice.create_room(preset="public_chat")
        alice.say(room, "hello")
        small = alice.sync()["rooms"]["join"][room]["timeline"]
        expect(small["events"][0]["type"] == "m.room.create", "the timeline is not whole")
        bob.join(room)
        token = alice.sync()["next_batch"]
        carol.join(room)
        bob.leave(room)
        expect(members_at(alice, room, small["prev_batch"]) == {alice.user_id: "join"}, f"at the beginning: {members_at(alice, room, small['prev_batch'])}")
        expect(members_at(alice, room, token) == {alice.user_id: "join", bob.user_id: "join"}, "in the middle")
        now = {alice.user_id: "join", bob.user_id: "leave", carol.user_id: "join"}
        expect(members_at(alice, room, alice.sync()["next_batch"]) == now and members_at(alice, room, None) == now, "now")
        expect(members_at(bob, room, None) == {alice.user_id: "join", bob.user_id: "leave", carol.user_id: "join"}, "when he left")
        expect(members_at(bob, room, token) == {alice.user_id: "join", bob.user_id: "join"}, "before he left")
        refused(400, "M_INVALID_PARAM", lambda: members_at(alice, room, "nonsense"))
        expect(members_at(alice, room, None, membership="join") == {alice.user_id: "join", carol.user_id: "join"}, "membership")
        expect(members_at(alice, room, None, not_membership="join") == {bob.user_id: "leave"}, "not_membership")

    def hidden():
        """Who may not see the past is shown the state that he may see."""
        room = alice.create_room(preset="public_chat", name="Old", initial_state=[
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}])
        carol.join(room)
        token = alice.sync()["next_batch"]
        carol.leave(room)
        bob.join(room)
        expect(members_at(alice, room, token)[carol.user_id] == "join", "Alice sees the past")
        expect(members_at(bob, room, token).get(carol.user_id) == "leave", "Bob sees a past that is hidden from him")

    def ends():
        """Tokens of places that no room has."""
        room = alice.create_room()
        for place in (-2**63, -2**63 + 1, -2**63 + 2, 0, 2**63 - 3, 2**63 - 2, 2**63 - 1):
            for direction, token in (("b", {"from": f"t{place}"}), ("f", {"from": f"t{place}"}), ("b", {"to": f"t{place}"}), ("f", {"to": f"t{place}"})):
                page = alice.call("GET", f"{V3}/rooms/{quote(room)}/messages", None, dir=direction, **token)
                whole = (direction == "b") == (place > 0) if "from" in token else (direction == "b") == (place <= 0)
                expect(bool(page["chunk"]) == whole, f"{direction} {token}: {len(page['chunk'])} events")
            expect(alice.user_id in members_at(alice, room, f"t{place}"), f"members at {place}")
        refused(400, "M_INVALID_PARAM", lambda: members_at(alice, room, f"t{2**63}"))

    checks.step("members at a point", at_point)
    checks.step("members at a hidden point", hidden)
    checks.step("tokens of places that no room has", ends)


def context(checks, house):
    alice = house.user("contextual")

    def state_then():
        room = alice.create_room(name="First")
        said = alice.say(room, "then")
        for number in range(3):
            alice.say(room, f"after {number}")
        alice.set_state(room, "m.room.name", {"name": "Second"})
        name = lambda limit: next(event["content"]["name"] for event in alice.call("GET", f"{V3}/rooms/{quote(room)}/context/{quote(said)}", None, limit=limit)
                                  ["state"] if event["type"] == "m.room.name")
        expect(name(2) == "First", "the state is not the one at the last event")
        expect(name(20) == "Second", "the last event is the new name")
        expect(name(0) == "First", "at the event itself")

    checks.step("context: the state at its last event", state_then)


def dates(checks, house):
    alice, bob = house.user("dating"), house.user("dated")

    def hidden():
        room = alice.create_room(preset="public_chat", initial_state=[
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}])
        made = alice.get_event(room, alice.say(room, "later than the state"))["origin_server_ts"]
        poll("a later millisecond", lambda: time.time() * 1000 > made + 1, 5, 0.001)
        said = [alice.say(room, f"before Bob {number}") for number in range(30)]
        bob.join(room)
        last = alice.say(room, "for Bob, too")
        future = int(time.time() * 1000) + 60000
        began, came = (alice.get_event(room, said[0])["origin_server_ts"], bob.state(room)["m.room.member", bob.user_id]["event_id"])
        expect(nearest(alice, room, began, "f") == said[0], "Alice, forwards")
        expect(nearest(bob, room, began, "f") == came, "Bob sees what is hidden from him")
        expect(nearest(bob, room, future, "b") == last and nearest(alice, room, future, "f") is None, "from the future")
        setting = nearest(bob, room, began, "b")
        expect(setting not in said and "state_key" in alice.get_event(room, setting), "Bob, backwards from before he came")

    def every_moment():
        """Each moment of a history, in both directions: whatever order the rows come in from the tables, the nearest is answered."""
        for _ in range(5):
            room = alice.create_room()
            for number in range(15):
                alice.say(room, f"tick {number}")
            history = [(event["origin_server_ts"], event["event_id"]) for event in reversed(alice.history(room))]
            for ts in sorted({moment for moment, _ in history}):
                latest = [event_id for moment, event_id in history if moment == ts][-1]
                earliest = next(event_id for moment, event_id in history if moment == ts)
                expect((nearest(alice, room, ts, "b"), nearest(alice, room, ts, "f")) == (latest, earliest), f"at {ts} of {history}")

    checks.step("timestamp_to_event steps over what is hidden", hidden)
    checks.step("timestamp_to_event at each moment", every_moment)


def run(checks, house):
    members(checks, house)
    context(checks, house)
    dates(checks, house)


def run_pair(checks, host, guest):
    alice, bob = host.user(f"{host.label}-dates"), guest.user(f"{guest.label}-is-dated")

    def before_the_join():
        room = alice.create_room(preset="public_chat")
        start = alice.get_event(room, alice.say(room, "beginning"))["origin_server_ts"]
        first = alice.say(room, "first")
        between = alice.get_event(room, first)["origin_server_ts"]
        poll("a later millisecond", lambda: time.time() * 1000 > between + 1, 5, 0.001)
        for number in range(120):
            second = alice.say(room, f"more {number}")
        until = alice.get_event(room, second)["origin_server_ts"]
        poll("a later millisecond", lambda: time.time() * 1000 > until + 1, 5, 0.001)
        bob.join(room, host.name)
        expect(nearest(bob, room, until, "b") == nearest(alice, room, until, "b"), "backwards")
        expect(nearest(bob, room, between, "b") == nearest(alice, room, between, "b"), "backwards, further")
        expect(nearest(bob, room, start, "f") == nearest(alice, room, start, "f"), "forwards")
        around = bob.call("GET", f"{V3}/rooms/{quote(room)}/context/{quote(second)}", None, limit=0)
        page = bob.call("GET", f"{V3}/rooms/{quote(room)}/messages", None, dir="b", limit=1000, **{"from": around["end"]})
        shown = [event["event_id"] for event in page["chunk"]]
        expect(shown[0] == second and first in shown, "the history does not go on from there")

    checks.step("timestamp_to_event finds what others have", before_the_join)
