"""What the writer of rooms must refuse, or do the same way twice: redactions of others, used transaction ids, ids of other rooms."""

import time

from matrix import MatrixError, quote
from suite import expect

V3 = "/_matrix/client/v3"


def refused(status, errcode, action, *words):
    try:
        answer = action(*words)
    except MatrixError as error:
        expect((error.status, error.errcode) == (status, errcode), f"{error.status} {error.errcode}, not {status} {errcode}")
        return
    raise AssertionError(f"allowed: {answer}")


def redactions(checks, house, version):
    alice, bob = house.user(f"author{version}"), house.user(f"vandal{version}")
    room = alice.create_room(preset="public_chat", room_version=version,
                             power_level_content_override={"events": {"m.room.redaction": 0}, "state_default": 0})
    bob.join(room)
    hers, his = alice.say(room, "hers"), bob.say(room, "his")

    def send(user, target, way):
        path = f"{V3}/rooms/{quote(room)}/" + (f"send/m.room.redaction/t{time.time_ns()}" if way == "send" else "state/m.room.redaction/")
        return user.call("PUT", path, {"redacts": target})

    def guarded():
        for way in ("send", "state"):
            refused(403, "M_FORBIDDEN", send, bob, hers, way)
        refused(403, "M_FORBIDDEN", bob.redact, room, hers)
        expect(alice.get_event(room, hers)["content"].get("body") == "hers", "it is gone")

    def allowed():
        mine = bob.say(room, "a slip")
        send(bob, mine, "send")
        send(alice, his, "send")
        for event_id in (mine, his):
            expect("body" not in alice.get_event(room, event_id)["content"], "still there")

    checks.step(f"version {version}: redactions of others' events by /send and /state", guarded)
    checks.step(f"version {version}: redactions by /send", allowed)


def transactions(checks, house):
    alice, bob = house.user("repeater"), house.user("repeated")
    room = alice.create_room(preset="public_chat")
    bob.join(room)

    def per_path():
        """The scope of an id is the request's path."""
        def put(path, body):
            return alice.call("PUT", f"{V3}/rooms/{quote(room)}/{path}/one", body)["event_id"]
        message = {"msgtype": "m.text", "body": "text"}
        first, other = put("send/m.room.message", message), put("send/org.example.other", message)
        redaction = put(f"redact/{quote(first)}", {})
        expect(len({first, other, redaction}) == 3, "two of them are the same")
        expect(put("send/m.room.message", message) == first and put(f"redact/{quote(first)}", {}) == redaction, "not repeated")

    def after_a_kick():
        """The answer got lost, the sender is kicked, the client asks again."""
        path = f"{V3}/rooms/{quote(room)}/send/m.room.message/lost"
        sent = bob.call("PUT", path, {"msgtype": "m.text", "body": "lost"})["event_id"]
        alice.kick(room, bob.user_id)
        expect(bob.call("PUT", path, {"msgtype": "m.text", "body": "lost"})["event_id"] == sent, "another event")
        refused(403, "M_FORBIDDEN", bob.say, room, "new")

    checks.step("transaction ids count per path", per_path)
    checks.step("a retransmission after a kick gets its first answer", after_a_kick)


def foreign_rooms(checks, house, stranger):
    """A PDU that names events of another room of ours, which may even be of another version."""
    http = house.federation()
    alice = house.user("neighbour")
    room = alice.create_room(preset="public_chat", room_version="11")
    others = {version: alice.create_room(preset="private_chat", room_version=version) for version in ("10", "11", "12")}
    place = stranger.join(http, house.name, room)

    def send(**changes):
        event, event_id = stranger.sign_event(stranger.draft(place, **changes))
        status, answer = stranger.send(http, house.name, [event])
        expect(status == 200, f"{status} {answer}")
        return event_id, answer["pdus"][event_id]

    def taken_for(kind):
        for version, other in others.items():
            state = alice.state(other)
            create, said = state["m.room.create", ""]["event_id"], alice.say(other, "elsewhere")
            named = {"auth": {"auth_events": [create, *place["auth"][1:]]}, "prev": {"prev_events": [place["last"], said]}}[kind]
            event_id, result = send(**named)
            expect("error" in result, f"version {version}: taken")
            refused(404, "M_NOT_FOUND", alice.get_event, room, event_id)

    def lives_on():
        event_id, result = send()
        expect(result == {}, f"got {result}")
        expect(alice.get_event(room, event_id)["content"]["body"] == "hello", "not there")
        names = {kind for kind, _ in alice.state(room)}
        expect({"m.room.create", "m.room.power_levels", "m.room.join_rules"} <= names, f"state is {names}")

    checks.step("auth events of another room", lambda: taken_for("auth"))
    checks.step("prev events of another room", lambda: taken_for("prev"))
    checks.step("the room lives on", lives_on)


def forks(checks, house, stranger):
    """Another server's events on two branches that set the same state; what comes after both must stand on the resolved state."""
    http = house.federation()
    alice, bob = house.user("forked"), house.user("forker")
    room = alice.create_room(preset="public_chat", room_version="11", power_level_content_override={"state_default": 0})
    bob.join(room)
    place = stranger.join(http, house.name, room)
    ids = {}

    def send(name, prev, **changes):
        event, event_id = stranger.sign_event(stranger.draft(place, prev_events=prev, **changes))
        status, answer = stranger.send(http, house.name, [event])
        expect(status == 200 and answer["pdus"][event_id] == {}, f"{name}: {status} {answer}")
        ids[name] = event_id
        place["depth"] += 1
        return event_id

    def topic(text, when):
        return {"type": "m.room.topic", "state_key": "", "content": {"topic": text}, "origin_server_ts": when}

    def two_topics():
        now = int(time.time() * 1000)
        older = send("older", [place["last"]], **topic("the older", now))
        newer = send("newer", [place["last"]], **topic("the newer", now + 1000))
        send("both", [newer, older])
        expect(alice.state(room)["m.room.topic", ""]["event_id"] == newer, "the younger of two equal ones wins")

    def local_on_top():
        """Our own events stand on both heads, and change what was settled."""
        left = send("left", [ids["both"]], **topic("left", int(time.time() * 1000) + 2000))
        right = send("right", [ids["both"]], type="org.example.name", state_key="", content={"name": "right"})
        state = alice.state(room)
        expect(state["m.room.topic", ""]["event_id"] == left and state["org.example.name", ""]["event_id"] == right, "both branches count")
        mine = alice.set_state(room, "m.room.topic", {"topic": "ours"})
        expect(alice.state(room)["m.room.topic", ""]["event_id"] == mine, "ours")

    def banned_on_one():
        """Moderation wins over what the moderated did beside it."""
        last = alice.say(room, "before the branches")
        send("rename", [last], type="m.room.member", state_key=stranger.user_id, content={"membership": "join", "displayname": "Renamed"})
        alice.call("POST", f"{V3}/rooms/{quote(room)}/ban", {"user_id": stranger.user_id})
        expect(alice.state(room)["m.room.member", stranger.user_id]["content"]["membership"] == "ban", "still in")
        late, late_id = stranger.sign_event(stranger.draft(place, prev_events=[last], type="m.room.member", state_key=stranger.user_id,
                                                           content={"membership": "join", "displayname": "Late"}))
        stranger.send(http, house.name, [late])
        alice.say(room, "after the branches")
        expect(alice.state(room)["m.room.member", stranger.user_id]["content"]["membership"] == "ban", "back by a branch")
        expect(alice.state(room)["m.room.member", bob.user_id]["content"]["membership"] == "join", "others are as they were")

    checks.step("two topics on two branches", two_topics)
    checks.step("our own state on two heads", local_on_top, ["two topics on two branches"])
    checks.step("a ban beside a rename", banned_on_one, ["our own state on two heads"])


def run(checks, house, stranger):
    for version in ("10", "11", "12"):
        redactions(checks, house, version)
    transactions(checks, house)
    foreign_rooms(checks, house, stranger)
    forks(checks, house, stranger)
