"""Joining rooms of other servers: a large one in bounded memory and short transactions, and everything that can go wrong on the way."""

import os
import re
import signal
import threading
import time

from matrix import MatrixError, poll, quote
from resident import Guest
from stranger import canonical
from suite import expect

RSS_MAX = 300 << 20
TAKEN_OVER = re.compile(r'"msg":"a room was taken over".*?"room":"(?P<room>[^"]+)".*?"state":(?P<state>\d+),"events":(?P<events>\d+),'
                        r'"left_out":(?P<left_out>\d+),"ms":(?P<ms>\d+),"longest_write_us":(?P<longest>\d+)')


def peak_bytes(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def is_sanitized(pid):
    return "libasan" in open(f"/proc/{pid}/maps").read() or "libtsan" in open(f"/proc/{pid}/maps").read()


class Attempt(threading.Thread):
    """A join in the background: .status, .answer once it is over."""

    def __init__(self, user, room, via):
        super().__init__(daemon=True)
        self.user, self.room, self.via, self.status, self.answer = user, room, via, None, None
        self.start()

    def run(self):
        try:
            self.answer, self.status = self.user.join(self.room, self.via), 200
        except MatrixError as error:
            self.answer, self.status = error.body, error.status

    def result(self):
        self.join(120)
        return self.status


def run(checks, house, resident, members):
    room = None

    def pids(kind):
        return [row["pid"] for row in house.processes() if row["kind"] == kind]

    def takeover(room):
        found = [match.groupdict() for match in TAKEN_OVER.finditer(open(house.log).read()) if match["room"] == room.id]
        return found[-1] if found else None

    def rows(room, user):
        """What a user could see of the room: heads, his membership."""
        return house.sql(f"SELECT coalesce(cardinality(r.extremities), 0), coalesce((SELECT membership FROM membership m WHERE m.room_nid = r.room_nid"
                         f" AND user_id = '{user.user_id}'), '') FROM room r WHERE room_id = '{room.id}'")

    def is_exact(room, more):
        """The rows of the current state are those of the snapshot's events: the resident's state and our users' joins."""
        nid = house.sql(f"SELECT room_nid FROM room WHERE room_id = '{room.id}'")[0][0]
        count = int(house.sql(f"SELECT count(*) FROM current_state WHERE room_nid = {nid} AND event_nid IS NOT NULL")[0][0])
        joined = int(house.sql(f"SELECT count(*) FROM membership WHERE room_nid = {nid} AND membership = 'join'")[0][0])
        entries = int(house.sql(f"SELECT s.entries FROM room r JOIN state_snapshot s USING (snapshot_nid) WHERE r.room_nid = {nid}")[0][0])
        wanted = len(room.state) + more
        expect(count == wanted and entries == wanted, f"{count} rows, {entries} entries of the snapshot, not {wanted}")
        expect(joined == wanted - 3, f"{joined} members are joined, not {wanted - 3}")

    def both_ways(user, room):
        sent = user.say(room.id, "to the resident")
        poll("our message at the resident", lambda: any(event["content"].get("body") == "to the resident" for event in resident.received))
        own = next(event for event in resident.received if event["content"].get("body") == "to the resident")
        room.depth, room.last = own["depth"], sent
        event, event_id = resident.say(room, "from the resident")
        status, answer = resident.send(user.federation, house.name, [event])
        expect(status == 200 and answer["pdus"].get(event_id) == {}, f"{status} {answer}")
        user.wait("the resident's message", lambda: user.event(room.id, event_id))

    def new_user(name):
        user = house.user(name)
        user.federation = house.federation()
        return user

    alice, bob = new_user("takes-over"), new_user("comes-second")

    # ---- a large room
    def made():
        nonlocal room
        started = time.monotonic()
        room = resident.make_room(members)
        checks.note(f"{members} members signed in {time.monotonic() - started:.1f} s, {len(room.text) / 1e6:.1f} MB of state")

    def large_join():
        watched, oldest, over = pids("federation") + pids("events"), [0.0], threading.Event()

        def watch():  # how old the oldest writer is: what holds the horizon back
            while not over.is_set():
                age = house.sql("SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity"
                                " WHERE backend_xid IS NOT NULL")[0][0]
                oldest[0] = max(oldest[0], float(age))
                over.wait(0.01)

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.monotonic()
        status = Attempt(alice, room.id, resident.name).result()
        took = time.monotonic() - started
        over.set()
        watcher.join()
        expect(status == 200, f"join: {status}")
        facts = takeover(room)
        expect(facts and int(facts["state"]) == len(room.state) and int(facts["left_out"]) == 0, f"taken over: {facts}")
        peaks = {kind: max(peak_bytes(pid) for pid in pids(kind)) for kind in ("federation", "events", "keys", "sender", "rooms")}
        checks.note(f"joined in {took:.1f} s ({facts['ms']} ms of it behind send_join); longest write {int(facts['longest']) / 1000:.0f} ms, "
                    f"oldest transaction seen {oldest[0] * 1000:.0f} ms; peaks: "
                    + ", ".join(f"{kind} {peak >> 20} MB" for kind, peak in peaks.items()))
        if not is_sanitized(watched[0]):
            expect(max(peaks["federation"], peaks["events"]) < RSS_MAX, f"too much memory: {peaks}")
        is_exact(room, 1)

    def reading():
        started = time.monotonic()
        alice.filter = '{"room":{"state":{"lazy_load_members":true}}}'
        alice.sync()
        lazy = time.monotonic() - started
        expect(alice.membership(room.id, alice.user_id) == "join", "the join is not in the first sync")
        started = time.monotonic()
        answer = alice.call("GET", f"/_matrix/client/v3/rooms/{quote(room.id)}/members")
        listing = time.monotonic() - started
        expect(len(answer["chunk"]) == members + 2, f"{len(answer['chunk'])} members")
        started = time.monotonic()
        alice.say(room.id, "first")
        first = time.monotonic() - started
        started = time.monotonic()
        alice.say(room.id, "second")
        checks.note(f"first sync, lazy: {lazy * 1000:.0f} ms; /members: {listing * 1000:.0f} ms; first send {first * 1000:.0f} ms, "
                    f"second {(time.monotonic() - started) * 1000:.0f} ms")

    checks.step("a room is made", made)
    checks.step("large join", large_join, ["a room is made"])
    checks.step("what the newcomer reads", reading, ["large join"])
    checks.step("messages both ways", lambda: both_ways(alice, room), ["large join"])

    # ---- joins of two users
    def second_user():
        """A restricted room makes the second user's join go through the resident as well, into a room that we are in."""
        place = resident.make_room(20, join_rule="restricted")
        expect(Attempt(alice, place.id, resident.name).result() == 200, "first join")
        own = alice.say(place.id, "must not be lost")
        poll("our message at the resident", lambda: any(event["content"].get("body") == "must not be lost" for event in resident.received))
        place.last, place.depth = own, place.depth + 1
        expect(Attempt(bob, place.id, resident.name).result() == 200, "second join")
        bob.wait("both joins", lambda: bob.membership(place.id, bob.user_id) == "join")
        is_exact(place, 2)
        expect(own in {event["event_id"] for event in alice.history(place.id)}, "our message is gone")

    def second_user_unknown_prev():
        """As above, but the resident's newest event has not reached us: the join's state is taken from the answer."""
        place = resident.make_room(20, join_rule="restricted")
        expect(Attempt(alice, place.id, resident.name).result() == 200, "first join")
        topic = alice.say(place.id, "ours and theirs")
        resident.say(place, "never sent")
        carol = new_user("comes-third")
        expect(Attempt(carol, place.id, resident.name).result() == 200, "second join")
        carol.wait("the join", lambda: carol.membership(place.id, carol.user_id) == "join")
        heads = int(house.sql(f"SELECT cardinality(extremities) FROM room WHERE room_id = '{place.id}'")[0][0])
        expect(heads == 2, f"{heads} heads: our message and the join stand side by side")
        is_exact(place, 2)
        expect(topic in {event["event_id"] for event in alice.history(place.id)}, "our message is gone")

    checks.step("a second user's join is received, not imported", second_user)
    checks.step("a second user's join with its state", second_user_unknown_prev)

    # ---- what cannot be verified
    def dead_server():
        """Members of a server whose keys nobody has are left out; nobody else is."""
        place = resident.make_room(60, signers=[Guest("localhost:1")])
        expect(Attempt(alice, place.id, resident.name).result() == 200, "join")
        facts = takeover(place)
        expect(int(facts["left_out"]) == 30 and int(facts["state"]) == len(place.state) - 30, f"taken over: {facts}")

    def taken_back(name, spoil):
        def act():
            place, user = resident.make_room(5), new_user(f"taken-back-{name}")
            resident.spoil = spoil
            try:
                status = Attempt(user, place.id, resident.name).result()
            finally:
                resident.spoil = None
            expect(status in (404, 502), f"the join is answered {status}")
            poll("the leave", lambda: user.user_id in resident.leaves)
            expect(rows(place, user) in ([], [["0", ""]]), f"a half room: {rows(place, user)}")
            expect(Attempt(user, place.id, resident.name).result() == 200, "the next attempt")
            is_exact(place, 1)
        return act

    def stored(event_id):
        """flags and JSON of an event, or nothing."""
        return house.sql(f"SELECT flags, convert_from(json, 'UTF8') FROM event WHERE event_id = '{event_id}'")

    def circles():
        """Version 1: events that authorise each other are no part of the room, and nobody trips over them later."""
        place = resident.make_room(10, version="1")
        names = [f"$circle{number}-{time.time_ns()}:{resident.name}" for number in range(3)]
        for number, name in enumerate(names[:2]):
            place.extra.append(place.event("m.test.circle", str(number), {}, resident.user_id, [place.create, place.creator, place.power, names[1 - number]],
                                           event_id=name)[0])
        place.extra.append(place.event("m.test.circle", "2", {}, resident.user_id, [place.create, place.creator, place.power, names[0]],
                                       event_id=names[2])[0])
        expect(Attempt(alice, place.id, resident.name).result() == 200, "join")
        expect(not stored(names[0]) and not stored(names[1]) and not stored(names[2]), "a circle is stored")
        is_exact(place, 1)
        both_ways(alice, place)

    def old_id():
        """Version 1: another event under a known id. What was stored first stays, and is what the state is made of."""
        first, second = resident.make_room(3, version="1"), resident.make_room(3, version="1")
        expect(Attempt(alice, first.id, resident.name).result() == 200, "join")
        alice.leave(first.id)
        left = poll("the leave", lambda: [event for event in resident.received if event["room_id"] == first.id])[-1]
        first.last, first.depth = left["event_id"], left["depth"]
        reused = first.state[-1]["event_id"]
        before = stored(reused)
        again = first.event("m.room.name", "", {"name": "another event"}, resident.user_id, [first.create, first.creator, first.power], event_id=reused)[0]
        first.state[-1] = again
        first.text = canonical(first.state)
        second.text = canonical(second.state + [second.event("m.room.name", "", {"name": "of another room"}, resident.user_id,
                                                              [second.create, second.creator, second.power], event_id=reused)[0]])
        for place in (first, second):
            expect(Attempt(bob, place.id, resident.name).result() == 200, "join")
            expect(stored(reused) == before, "the stored event changed")
            kinds = {(entry["type"], entry["state_key"]) for entry in bob.state(place.id).values()}
            expect(("m.room.name", "") not in kinds, "the other event is state")
            both_ways(bob, place)
        is_exact(first, 1)  # the same rows: the name has not come, alice's leave, which the resident does not know, has gone
        is_exact(second, 1)

    checks.step("events of a dead server are left out", dead_server)
    checks.step("events that authorise each other are left out", circles)
    checks.step("another event under a known id changes nothing", old_id)
    spoiled = re.compile(rb'"room_version":"11"')
    checks.step("a join without a true create event is taken back", taken_back("create", lambda answer: spoiled.sub(b'"room_version":"10"', answer)))
    checks.step("a join whose answer is cut is taken back", taken_back("cut", lambda answer: answer[:len(answer) * 2 // 3]))
    checks.step("a join whose answer is no JSON is taken back", taken_back("text", lambda answer: b"<html>"))

    # ---- somebody who waits too little, workers that die
    def finishes_alone():
        """The client's time is over while the resident still works: the next attempt finds the room."""
        place, user = resident.make_room(5), new_user("impatient")
        resident.hold, before = threading.Event(), len(resident.joins)
        resident.holding.clear()
        first = Attempt(user, place.id, resident.name)
        try:
            expect(first.result() == 504, f"the first attempt is answered {first.status}")
            second = Attempt(user, place.id, resident.name)
        finally:
            resident.hold.set()
            resident.hold = None
        expect(second.result() == 200, f"the second attempt is answered {second.status} {second.answer}")
        expect(len(resident.joins) == before + 1, "send_join was asked twice")
        is_exact(place, 1)

    def killed(kind, stage):
        def act():
            place, user = resident.make_room(members), new_user(f"survives-{kind}-{stage.replace('_', '-')}")
            attempt = Attempt(user, place.id, resident.name)
            known = f"SELECT count(*) FROM {stage} x JOIN room r USING (room_nid) WHERE r.room_id = '{place.id}'"
            poll("the middle of the import", lambda: int(house.sql(known)[0][0]) >= 250, pause=0.002)
            for pid in pids(kind):
                os.kill(pid, signal.SIGKILL)
            found = rows(place, user)
            checks.note(f"{kind} was killed at {house.sql(known)[0][0]} rows of {stage}; heads and membership: {found}")
            expect(found[0] in (["0", ""], ["1", "join"]), f"a half room is seen: {found}")
            deadline = time.monotonic() + 60
            while attempt.result() != 200 and time.monotonic() < deadline:
                attempt = Attempt(user, place.id, resident.name)
            expect(attempt.status == 200, f"joining again is answered {attempt.status} {attempt.answer}")
            user.wait("the join", lambda: user.membership(place.id, user.user_id) == "join")
            is_exact(place, 1)
            both_ways(user, place)
        return act

    checks.step("a join outlives who waited for it", finishes_alone)
    for kind, stage, when in (("events", "event", "while events are stored"), ("events", "current_state", "while the state is written"),
                              ("federation", "event", "while events are stored")):
        checks.step(f"{kind} dies {when}", killed(kind, stage))
