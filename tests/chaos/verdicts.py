"""What must be true when the talking has ended: nothing acknowledged is missing, nothing came twice, and both servers agree."""

import collections
import time

from house import parse_log
from matrix import poll
from people import GIVE_UP_S
from suite import expect


def compare(people, acknowledged, of_person):
    """What is missing or doubled in each member's timeline."""
    problems = []
    for person in people:
        counts = collections.Counter(event_id for shown in of_person(person).values() for event_id in shown)
        missing = [event_id for event_id in acknowledged if event_id not in counts]
        doubled = [event_id for event_id, count in counts.items() if count > 1]
        if missing:
            problems.append(f"{person.name} lacks {len(missing)}, such as {missing[0]} {acknowledged[missing[0]]}")
        if doubled:
            problems.append(f"{person.name} has {len(doubled)} more than once, such as {doubled[0]}")
    expect(not problems, "; ".join(problems))


def once_each(people, acknowledged):
    """A repeated transaction must not have made a second event: by the bodies that each member saw."""
    due = collections.defaultdict(set)
    for room, body in acknowledged.values():
        due[room].add(body)
    for person in people:
        for room, bodies in person.bodies.items():
            counts = collections.Counter(body for body in bodies if body in due[room])
            doubled = [body for body, count in counts.items() if count > 1]
            expect(not doubled, f"{person.name} saw twice in {room}: {doubled[:5]}")


def handed_once(people):
    for person in people:
        received = person.neighbour.received
        wrong = {said: received[said] for said in person.handed if received[said] != 1}
        expect(not wrong, f"{person.neighbour.name} got of {person.name}: {dict(list(wrong.items())[:5])}")
    expect(all(person.handed for person in people), "nobody handed anything over")


def redactions_hold(people, scratch):
    for person in people:
        expect(person.redacted, f"{person.name} redacted nothing")
        for reader in people:
            contents = {event["event_id"]: event["content"] for events in scratch[reader].values() for event in events}
            standing = [event_id for event_id in person.redacted if contents.get(event_id) != {}]
            expect(not standing, f"{reader.name} still reads {standing[:3]} of {person.name}: {[contents.get(event_id) for event_id in standing[:3]]}")


def same_state(people, rooms, houses):
    """Each room's current state, by event id, is the same on both servers, and has what was set last."""
    readers = [next(person for person in people if person.house is house) for house in houses]
    for room in rooms:
        def ids(person):
            person.sender.http.close()
            return {key: event["event_id"] for key, event in person.sender.state(room).items()}
        try:
            poll("equal state", lambda: ids(readers[0]) == ids(readers[1]), 20)
        except Exception:
            left, right = map(ids, readers)
            raise AssertionError(f"{room}: {dict(set(left.items()) ^ set(right.items()))}") from None
        state = readers[0].sender.state(room)
        for person in people:
            if room in person.state:
                found = state["org.example.chaos", person.user_id]["content"]
                expect(found == person.state[room], f"{person.name} set {person.state[room]}, {found} stands")


def spoken(*houses):
    return [line for house in houses for line in parse_log(house.log) if "worker died" not in line]


def finish(checks, people, guests, rooms, houses, record):
    """Everybody falls silent; then what was acknowledged is looked for."""
    for person in people:
        person.stop_sending.set()
    for guest in guests:
        guest.stopping.set()
    for thread in [person.threads[0] for person in people] + [guest.thread for guest in guests]:
        thread.join(2 * GIVE_UP_S)
    acknowledged = dict(record.events)

    def all_arrived():
        return all(acknowledged.keys() <= {event_id for shown in list(person.seen.values()) for event_id in list(shown)}
                   and all(person.neighbour.received[said] for said in person.handed) for person in people)
    deadline = time.monotonic() + 30
    while not all_arrived() and time.monotonic() < deadline:
        time.sleep(0.05)
    for person in people:
        person.stop_following.set()
    for person in people:
        person.threads[1].join(GIVE_UP_S)

    broken = [f"{person.name}: {what}" for person in people for what in person.broken] + record.doubled
    checks.step("no request was refused for good", lambda: expect(not broken, f"{len(broken)}: " + " | ".join(broken[:4])))
    checks.step("each message was persisted once", lambda: once_each(people, acknowledged))
    checks.step("every acknowledged event once in each incremental timeline", lambda: compare(people, acknowledged, lambda person: person.seen))
    scratch = checks.step("everybody syncs from scratch", lambda: {person: person.from_scratch() for person in people})
    checks.step("every acknowledged event once in each sync from scratch", lambda: compare(
        people, acknowledged, lambda person: {room: [event["event_id"] for event in events] for room, events in scratch[person].items()}), ["everybody syncs from scratch"])
    checks.step("redactions hold on both servers", lambda: redactions_hold(people, scratch), ["everybody syncs from scratch"])
    checks.step("every to-device message came once", lambda: handed_once(people))
    for guest in guests:
        checks.step(f"invites, joins and leaves: {guest.name}", guest.check)
    checks.step("both servers hold the same state of each room", lambda: same_state(people, rooms, houses))
    checks.step("no assertion or sanitizer spoke", lambda: expect(not spoken(*houses), " | ".join(spoken(*houses)[:5])))
    checks.note(f"{len(acknowledged)} acknowledged events, {sum(len(person.handed) for person in people)} to-device messages, "
                f"{sum(len(guest.done) for guest in guests)} steps of guests; {sum(person.attempts for person in people)} attempts, "
                f"{sum(person.retried for person in people)} of them repetitions, {sum(person.gaps for person in people)} gaps in timelines filled")
