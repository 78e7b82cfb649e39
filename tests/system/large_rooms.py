"""Joining rooms of other servers: a large one in bounded memory and short transactions, and everything that can go wrong on the way."""

import json
import os
import re
import signal
import socket
import threading
import time

from matrix import MatrixError, poll, quote
from peer import reference
from resident import Guest, sign_event
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


class Silent:
    """A server that takes connections and says nothing, until it is let go."""

    def __init__(self):
        self.listener, self.taken = socket.create_server(("127.0.0.1", 0)), []
        self.guest = Guest(f"localhost:{self.listener.getsockname()[1]}")
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                self.taken.append(self.listener.accept()[0])
        except OSError:
            pass  # closed

    def is_waited_for(self):
        """Somebody is connected and has not given up."""
        try:
            while self.taken and self.taken[-1].recv(65536, socket.MSG_DONTWAIT):
                pass
            return False
        except OSError as error:
            return isinstance(error, BlockingIOError)

    def let_go(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.taken:
            connection.close()


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
        poll("our message at the resident", lambda: any(event["content"].get("body") == "to the resident" for event in resident.pdus()))
        own = next(event for event in resident.pdus() if event["content"].get("body") == "to the resident")
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
        while status == 504:  # request_timeout is short here, and the join goes on
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
        took = {}

        def timed(what, act):
            started = time.monotonic()
            result = act()
            took[what] = (time.monotonic() - started) * 1000
            return result

        everything, path = house.client(), f"/_matrix/client/v3/rooms/{quote(room.id)}"
        everything.token, everything.user_id = alice.token, alice.user_id
        alice.filter = '{"room":{"state":{"lazy_load_members":true}}}'
        timed("first sync, lazy", alice.sync)
        expect(alice.membership(room.id, alice.user_id) == "join", "the join is not in the first sync")
        timed("not lazy", everything.sync)
        state = everything.rooms[room.id]["state"]
        expect(len(state) == len(room.state) + 1, f"{len(state)} state events in sync")
        for name, key, count in (("members", "chunk", members + 2), ("joined_members", "joined", members + 2), ("state", None, len(state))):
            answer = timed("/" + name, lambda: alice.call("GET", f"{path}/{name}"))
            expect(len(answer[key] if key else answer) == count, f"{name}: {len(answer[key] if key else answer)}, not {count}")
        timed("first send", lambda: alice.say(room.id, "first"))
        timed("second send", lambda: alice.say(room.id, "second"))
        checks.note("; ".join(f"{what}: {ms:.0f} ms" for what, ms in took.items()))

    def disputes():
        """Four branches that disagree about two members and a topic: what the rest of the room agrees about must not be loaded for it."""
        base, took = room.last, {}
        joins = {event["state_key"]: reference(event) for event in room.state if event["type"] == "m.room.member"}
        banned, renamed = (f"@member{number}:{resident.name}" for number in (0, 1))

        def put(name, prev, kind, key, content, sender, auth):
            draft = {"type": kind, "room_id": room.id, "sender": sender, "content": content, "depth": room.depth + 1, "prev_events": prev,
                     "auth_events": [room.create, room.power, *auth], "origin_server_ts": int(time.time() * 1000)}
            event, event_id = sign_event(resident, draft if key is None else {**draft, "state_key": key})
            started = time.monotonic()
            status, answer = resident.send(alice.federation, house.name, [event])
            took[name] = (time.monotonic() - started) * 1000
            expect(status == 200 and answer["pdus"][event_id] == {}, f"{name}: {status} {answer}")
            return event_id

        creator = resident.user_id
        branches = [put("topic", [base], "m.room.topic", "", {"topic": "disputed"}, creator, [room.creator]),
                    put("ban", [base], "m.room.member", banned, {"membership": "ban"}, creator, [room.creator, joins[banned]])]
        for user in (banned, renamed):
            branches.append(put("rename", [base], "m.room.member", user, {"membership": "join", "displayname": "Renamed"}, user, [room.rules, joins[user]]))
        room.depth += 1
        room.last = put("message on all", branches, "m.room.message", None, {"msgtype": "m.text", "body": "settled"}, creator, [room.creator])
        room.depth += 1

        def content(kind, key):
            return alice.call("GET", f"/_matrix/client/v3/rooms/{quote(room.id)}/state/{kind}/{quote(key)}")

        expect(content("m.room.member", banned)["membership"] == "ban", "the ban lost")
        expect(content("m.room.member", renamed)["displayname"] == "Renamed", "the rename lost")
        expect(content("m.room.topic", "")["topic"] == "disputed", "the topic lost")
        peak = max(peak_bytes(pid) for pid in pids("events"))
        checks.note("; ".join(f"{what}: {ms:.0f} ms" for what, ms in took.items()) + f"; events peak {peak >> 20} MB")
        if not is_sanitized(pids("events")[0]):
            expect(peak < RSS_MAX, "too much memory")

    checks.step("a room is made", made)
    checks.step("large join", large_join, ["a room is made"])
    checks.step("what the newcomer reads", reading, ["large join"])
    checks.step("messages both ways", lambda: both_ways(alice, room), ["large join"])
    checks.step("a dispute in a large room", disputes, ["messages both ways"])

    def stored(event_id):
        """flags and JSON of an event, or nothing."""
        return house.sql(f"SELECT flags, convert_from(json, 'UTF8') FROM event WHERE event_id = '{event_id}'")

    # ---- joins of two users
    def second_user():
        """A restricted room makes the second user's join go through the resident as well, into a room that we are in."""
        place = resident.make_room(20, join_rule="restricted")
        expect(Attempt(alice, place.id, resident.name).result() == 200, "first join")
        own = alice.say(place.id, "must not be lost")
        poll("our message at the resident", lambda: any(event["content"].get("body") == "must not be lost" for event in resident.pdus()))
        place.last, place.depth = own, place.depth + 1
        expect(Attempt(bob, place.id, resident.name).result() == 200, "second join")
        bob.wait("both joins", lambda: bob.membership(place.id, bob.user_id) == "join")
        is_exact(place, 2)
        for user in (alice, bob):  # who asks us gets the join with both signatures
            _, text = stored(place.joins[user.user_id])[0]
            expect(set(json.loads(text)["signatures"]) == {house.name, resident.name}, f"signed by {json.loads(text)['signatures']}")
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

    def silent_servers():
        """Servers that answer nothing, met in different portions of the answer, are all asked at the same time."""
        silent = [Silent() for _ in range(3)]
        place = resident.make_room(1200)
        for number, server in enumerate(silent):  # one member each, far apart
            event = place.state[10 + 500 * number]
            user = f"@silent:{server.guest.name}"
            place.state[10 + 500 * number] = place.event("m.room.member", user, {"membership": "join"}, user, place.auth(), signer=server.guest)[0]
            expect(event["type"] == "m.room.member", "not a member")
        place.text = canonical(place.state)
        attempt = Attempt(alice, place.id, resident.name)
        try:
            poll("questions to all three at once", lambda: all([server.is_waited_for() for server in silent]))
        finally:
            for server in silent:
                server.let_go()
        while attempt.result() == 504:
            attempt = Attempt(alice, place.id, resident.name)
        expect(attempt.status == 200 and int(takeover(place)["left_out"]) == 3, f"{attempt.status}, {takeover(place)}")

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
        left = poll("the leave", lambda: [event for event in resident.pdus() if event["room_id"] == first.id])[-1]
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
    checks.step("servers that are silent are asked for keys at once", silent_servers)
    checks.step("events that authorise each other are left out", circles)
    checks.step("another event under a known id changes nothing", old_id)
    spoiled = re.compile(rb'"room_version":"11"')
    checks.step("a join without a true create event is taken back", taken_back("create", lambda answer: spoiled.sub(b'"room_version":"10"', answer)))
    checks.step("a join whose answer is cut is taken back", taken_back("cut", lambda answer: answer[:len(answer) * 2 // 3]))
    checks.step("a join whose answer is no JSON is taken back", taken_back("text", lambda answer: b"<html>"))

    # ---- somebody who waits too little, workers that die
    def slow_store():
        """On a database where each row takes a millisecond, a transaction gets few rows: 50 is the least (workers/events/import_pace.h)."""
        place, user, tables = resident.make_room(800), new_user("is-patient"), ("event", "current_state")
        house.sql("CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.001); RETURN NULL; END'")
        for table in tables:
            house.sql(f"CREATE TRIGGER slow AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION be_slow()")
        try:
            status = Attempt(user, place.id, resident.name).result()
            while status == 504:
                status = Attempt(user, place.id, resident.name).result()
        finally:
            house.sql("DROP FUNCTION be_slow CASCADE")
        expect(status == 200, f"join: {status}")
        is_exact(place, 1)
        for table in tables:  # pos is the transaction's number
            sizes = [int(size) for _, size in house.sql(f"SELECT x.pos, count(*) FROM {table} x JOIN room r USING (room_nid)"
                                                        f" WHERE r.room_id = '{place.id}' GROUP BY x.pos ORDER BY x.pos")]
            checks.note(f"rows of {table} in one transaction: {', '.join(map(str, sizes))}")
            expect(sum(sizes) >= len(place.state) and max(sizes) <= 250, f"{table}: {sizes}")
            expect(max(sizes[3:]) <= 50, f"{table}: {sizes}")  # three halvings from 250 to 50

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

    def disturbed():
        """Another writer of the room while its state is written ahead, and a row that an import left behind: it starts over, and sweeps."""
        place, user = resident.make_room(members // 2), new_user("is-disturbed")
        attempt = Attempt(user, place.id, resident.name)
        house.sql(f"""DO $$ DECLARE nid bigint; BEGIN
            LOOP
                SELECT room_nid INTO nid FROM room WHERE room_id = '{place.id}';
                EXIT WHEN (SELECT count(*) FROM current_state WHERE room_nid = nid) >= 250;
                PERFORM pg_sleep(0.001);
            END LOOP;
            UPDATE room SET version = version + 1 WHERE room_nid = nid AND extremities = '{{}}';
            IF NOT FOUND THEN RAISE 'it was over'; END IF;
            INSERT INTO current_state SELECT room_nid, 'm.room.topic', '', event_nid FROM current_state WHERE room_nid = nid LIMIT 1;
            INSERT INTO membership (room_nid, user_id, server, membership, event_nid, is_local) VALUES (nid, '@left:behind', 'behind', 'join', 1, false);
        END $$""")
        expect(attempt.result() == 200, f"the join is answered {attempt.status} {attempt.answer}")
        is_exact(place, 1)
        both_ways(user, place)

    def killed(kind, stage):
        def act():
            place, user = resident.make_room(members // 2), new_user(f"survives-{kind}-{stage.replace('_', '-')}")
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

    checks.step("a slow store gets small transactions", slow_store)
    checks.step("a join outlives who waited for it", finishes_alone)
    checks.step("another writer in the middle of an import", disturbed)
    for kind, stage, when in (("events", "event", "while events are stored"), ("events", "current_state", "while the state is written"),
                              ("federation", "event", "while events are stored")):
        checks.step(f"{kind} dies {when}", killed(kind, stage))
