"""Events whose past we do not have: what is asked for, of whom, and when nothing is believed."""

import os
import signal

from hosted import HostedRoom
from matrix import poll, quote
from suite import expect


def fresh(checks, house, stranger, name, **room):
    """A user of ours in a room of the stranger's."""
    alice, hosted = house.user(name), HostedRoom(stranger, **room)
    hosted.joined_by(alice)
    alice.wait("room", lambda: hosted.room in alice.rooms)
    return alice, hosted


def recorder(asked, name, answer):
    def act(path, body):
        asked.append((name, path, body))
        return answer(path, body) if callable(answer) else answer
    return act


def run(checks, house, stranger, other):
    http = house.federation()

    def send(event, due="ok"):
        event, event_id = event
        status, answer = stranger.send(http, house.name, [event])
        expect(status == 200 and event_id in answer["pdus"], f"{status} {answer}")
        error = answer["pdus"][event_id].get("error")
        expect(bool(error) == (due != "ok"), f"the result is {answer['pdus']}")
        return event_id

    def nothing_divulged():
        """Complement: TestOutboundFederationIgnoresMissingEventWithBadJSONForRoomVersion6."""
        alice, hosted = fresh(checks, house, stranger, "gap-bad-json")
        head, asked = hosted.ids[-1], []
        bad = hosted.add("m.room.message", {"body": "bad", "bad_val": 1.1})
        good, later = hosted.say("on the bad one"), hosted.say("later")
        with stranger.scripted(get_missing_events=recorder(asked, "missing", {"events": [bad[0]]})):
            send(good, "error")
        with stranger.scripted(get_missing_events=recorder(asked, "missing", {}), state_ids=recorder(asked, "state_ids", (404, {})),
                               state=recorder(asked, "state", (404, {})), event=recorder(asked, "event", (404, {}))):
            send(later, "error")
        expect([name for name, _, _ in asked] == ["missing", "missing"], f"asked for {asked}")
        for (_, _, body), latest in zip(asked, (good, later)):
            expect(body["earliest_events"] == [head] and body["latest_events"] == [latest[1]], f"asked {body}")

    def member_chain(hosted, names):
        """Profile changes on top of each other, which the server under test is not told of."""
        return [hosted.add("m.room.member", {"membership": "join", "displayname": name}, hosted.user) for name in names]

    def corrupted_auth_chain():
        """Complement: TestCorruptedAuthChain."""
        alice, hosted = fresh(checks, house, stranger, "gap-corrupted")
        first = hosted.state["m.room.member", hosted.user]
        base = dict(prev_events=[hosted.ids[-1]], depth=len(hosted.events) + 1)
        chain = member_chain(hosted, "ABCDE")
        hidden = chain[1][1]
        at_state, by_missing, pushed = hosted.say("for state_ids"), hosted.say("for get_missing_events"), hosted.say("for send")
        state = {"pdu_ids": [event_id for _, event_id in hosted.state.values()], "auth_chain_ids": [event_id for _, event_id in chain]}
        asked = []

        def event(path, body):
            asked.append(path)
            return (404, {"errcode": "M_NOT_FOUND"}) if quote(hidden) in path else hosted.event_by_id(path)
        with stranger.scripted(get_missing_events=lambda path, body: {"events": [by_missing[0]]}, state_ids=lambda path, body: state, event=event):
            send(pushed, "error")
        expect(any(quote(hidden) in path for path in asked), f"asked for {asked}")
        hosted.state["m.room.member", hosted.user] = first
        sentinel = hosted.make("m.room.message", {"body": "sentinel"}, **base)
        send(sentinel)
        alice.wait("sentinel", lambda: alice.event(hosted.room, sentinel[1]))
        expect("displayname" not in alice.state(hosted.room)["m.room.member", hosted.user]["content"], "C, D or E was believed")
        expect(not alice.event(hosted.room, pushed[1]) and at_state, "the pushed event was believed")

    def state_one_by_one():
        alice, hosted = fresh(checks, house, stranger, "gap-state-ids")
        topic = hosted.add("m.room.topic", {"topic": "unseen"}, "")
        before, by_missing, pushed = hosted.say("before"), hosted.say("between"), hosted.say("pushed")
        state = {"pdu_ids": [event_id for _, event_id in hosted.state.values()], "auth_chain_ids": []}
        hosted.asked.clear()
        with stranger.scripted(get_missing_events=lambda path, body: {"events": [by_missing[0]]}, state_ids=lambda path, body: state,
                               event=hosted.event_by_id):
            send(pushed)
        for event_id in (by_missing[1], pushed[1]):
            alice.wait("event of the gap", lambda: alice.event(hosted.room, event_id))
        expect(alice.state(hosted.room)["m.room.topic", ""]["content"] == {"topic": "unseen"}, "the state lacks the topic")
        expect(sorted(hosted.asked) == sorted([("event", topic[1]), ("event", before[1])]), f"asked for {hosted.asked}")

    def state_at_once():
        """More than fifty unknown events: one question for all."""
        alice, hosted = fresh(checks, house, stranger, "gap-state")
        for number in range(60):
            hosted.add("org.example.item", {"number": number}, f"item {number}")
        before, by_missing, pushed = hosted.say("before"), hosted.say("between"), hosted.say("pushed")
        state, asked = [event_id for _, event_id in hosted.state.values()], []
        hosted.asked.clear()
        with stranger.scripted(get_missing_events=lambda path, body: {"events": [by_missing[0]]},
                               state_ids=lambda path, body: {"pdu_ids": state, "auth_chain_ids": []},
                               state=recorder(asked, "state", lambda path, body: {"pdus": hosted.state_pdus(), "auth_chain": []}),
                               event=hosted.event_by_id):
            send(pushed)
        alice.wait("pushed event", lambda: alice.event(hosted.room, pushed[1]))
        expect(("org.example.item", "item 59") in alice.state(hosted.room), "the state lacks the items")
        expect(len(asked) == 1 and len(hosted.asked) <= 2 and before, f"asked {len(asked)} times for all, for {len(hosted.asked)} single events")

    def another_server():
        """The origin does not give the state; another server of the room does."""
        alice = house.user("gap-other")
        hosted = HostedRoom(stranger)
        second = f"@second:{other.name}"
        event = hosted.make("m.room.member", {"membership": "join"}, second, sender=second, auth_events=hosted.auth_for("m.room.member", second, second))
        hosted.keep(*other.sign_event({key: value for key, value in event[0].items() if key not in ("hashes", "signatures")}))
        hosted.joined_by(alice)
        alice.wait("room", lambda: hosted.room in alice.rooms)
        hosted.add("m.room.topic", {"topic": "unseen"}, "")
        before, by_missing, pushed = hosted.say("before"), hosted.say("between"), hosted.say("pushed")
        state = {"pdu_ids": [event_id for _, event_id in hosted.state.values()], "auth_chain_ids": []}
        with stranger.scripted(get_missing_events=lambda path, body: {"events": [by_missing[0]]}, state_ids=lambda path, body: (403, {})), \
                other.scripted(state_ids=lambda path, body: state, event=hosted.event_by_id):
            send(pushed)
        alice.wait("pushed event", lambda: alice.event(hosted.room, pushed[1]))
        expect(alice.state(hosted.room)["m.room.topic", ""]["content"] == {"topic": "unseen"} and before, "the state lacks the topic")

    def forked_state():
        """Two branches that do not know each other; an event on both sees the state of both."""
        alice, hosted = fresh(checks, house, stranger, "gap-fork")
        base, depth = hosted.ids[-1], len(hosted.events) + 1
        left = hosted.make("org.example.left", {"side": "left"}, "", prev_events=[base], depth=depth)
        right = hosted.make("org.example.right", {"side": "right"}, "", prev_events=[base], depth=depth)
        both = hosted.make("m.room.message", {"body": "on both"}, prev_events=[left[1], right[1]], depth=depth + 1)
        send(left)
        with stranger.scripted(get_missing_events=lambda path, body: {"events": [right[0]]}):
            send(both)
        alice.wait("merging event", lambda: alice.event(hosted.room, both[1]))
        state = alice.state(hosted.room)
        expect(("org.example.left", "") in state and ("org.example.right", "") in state, "a branch is lost")
        status, answer = stranger.request(http, house.name, "GET", f"/_matrix/federation/v1/state_ids/{quote(hosted.room)}?event_id={quote(both[1])}")
        expect(status == 200 and {left[1], right[1]} <= set(answer["pdu_ids"]), f"{status} {answer}")

    def rejected_auth_event():
        """An event that names a rejected one among its auth events is rejected too."""
        alice, hosted = fresh(checks, house, stranger, "gap-rejected")
        mallory = f"@mallory:{stranger.name}"
        levels = hosted.make("m.room.power_levels", {"users": {mallory: 100}}, "", sender=mallory,
                             auth_events=hosted.auth_for("m.room.power_levels"))  # mallory is not in the room
        topic = hosted.make("m.room.topic", {"topic": "mallory's"}, "", auth_events=hosted.auth_for("m.room.topic") + [levels[1]])
        send(levels)  # "should not cause the transaction request to be responded to with an error"
        send(topic)
        sentinel = hosted.say("sentinel")
        send(sentinel)
        alice.wait("sentinel", lambda: alice.event(hosted.room, sentinel[1]))
        state = alice.state(hosted.room)
        expect(("m.room.topic", "") not in state and state["m.room.power_levels", ""]["content"]["users"] == {hosted.user: 100}, "rejected state counts")
        expect(not alice.event(hosted.room, topic[1]), "a rejected event is shown")

    def unknown_state():
        """History without its state: 404, not an empty state."""
        alice, hosted = fresh(checks, house, stranger, "gap-history")
        path = f"/_matrix/federation/v1/state_ids/{quote(hosted.room)}?event_id={quote(hosted.ids[4])}"
        status, answer = stranger.request(http, house.name, "GET", path)
        expect(status == 404, f"of an event that we know as state only: {status} {answer}")

    def wide_history():
        """More than 20 prev and 10 auth events, of which some are not known here: history is taken as it is."""
        alice, hosted = house.user("gap-wide"), HostedRoom(stranger)
        base, depth = hosted.ids[-1], len(hosted.events) + 1
        members = [hosted.add("m.room.member", {"membership": "join"}, f"@m{number}:{stranger.name}", sender=f"@m{number}:{stranger.name}",
                              auth_events=hosted.auth_for("m.room.member", f"@m{number}:{stranger.name}", f"@m{number}:{stranger.name}"))
                   for number in range(2)]
        branches = [hosted.add("m.room.message", {"body": f"branch {number}"}, prev_events=[base], depth=depth) for number in range(25)]
        wide = hosted.add("m.room.message", {"body": "wide"}, prev_events=[event_id for _, event_id in branches], depth=depth + 1)
        gone = hosted.add("m.room.member", {"membership": "leave"}, f"@m0:{stranger.name}", sender=f"@m0:{stranger.name}",
                          auth_events=hosted.auth_for("m.room.member", f"@m0:{stranger.name}", f"@m0:{stranger.name}"))
        again = hosted.add("m.room.member", {"membership": "join"}, f"@m0:{stranger.name}", sender=f"@m0:{stranger.name}",
                           auth_events=hosted.auth_for("m.room.member", f"@m0:{stranger.name}", f"@m0:{stranger.name}"))
        hosted.joined_by(alice)
        asked = []

        def backfill(path, body):
            asked.append(path)
            return {"origin": stranger.name, "origin_server_ts": 1, "pdus": [again[0], wide[0]] + [event for event, _ in branches[:3]]}
        hosted.asked.clear()
        with stranger.scripted(backfill=backfill, event=hosted.event_by_id):
            texts = [event["content"].get("body") for event in alice.history(hosted.room)]
        expect("wide" in texts and "branch 2" in texts, f"history {texts}")
        expect(("event", gone[1]) in hosted.asked and members, f"auth events asked for: {hosted.asked}")

    def dead_edges():
        """A server that gives nothing, or what we have, is not asked again with each page."""
        alice, hosted = fresh(checks, house, stranger, "gap-dead")
        hosted.say("unknown")
        last, asked = hosted.say("after an unknown one"), []
        with stranger.scripted(get_missing_events=lambda path, body: {"events": [last[0]]}, event=hosted.event_by_id,
                               state_ids=lambda path, body: {"pdu_ids": [event_id for _, event_id in hosted.state.values()], "auth_chain_ids": []}):
            send(hosted.say("pushed"))
        known = [event for event in hosted.events if event["type"] == "m.room.message"][1:]
        with stranger.scripted(backfill=recorder(asked, "backfill", {"origin": stranger.name, "origin_server_ts": 1, "pdus": known})):
            for _ in range(3):
                alice.history(hosted.room)
        expect(len(asked) == 1, f"asked {len(asked)} times")

    def unknown_visibility(visibility, shown):
        """What another server gets of history from before it was in the room, which came here without its state."""
        def act():
            alice, hosted = house.user("gap-sees-" + visibility), HostedRoom(stranger, visibility=visibility)
            said = [hosted.say(f"early {number}") for number in range(3)]
            second = f"@second:{other.name}"
            join = hosted.make("m.room.member", {"membership": "join"}, second, sender=second,
                               auth_events=hosted.auth_for("m.room.member", second, second))
            join = hosted.keep(*other.sign_event({key: value for key, value in join[0].items() if key not in ("hashes", "signatures")}))
            hosted.joined_by(alice)
            alice.wait("room", lambda: hosted.room in alice.rooms)
            answer = {"origin": stranger.name, "origin_server_ts": 1, "pdus": [join[0]] + [event for event, _ in said[1:]]}
            with stranger.scripted(backfill=lambda path, body: answer, event=hosted.event_by_id):
                alice.history(hosted.room)
            status, answer = other.request(http, house.name, "GET", f"/_matrix/federation/v1/event/{quote(said[1][1])}")
            expect(status == 200, f"{status} {answer}")
            expect(("body" in answer["pdus"][0]["content"]) == shown, f"got {answer['pdus'][0]}")
        return act

    for name, action in (("a pushed event without its past", nothing_divulged), ("corrupted auth chain", corrupted_auth_chain),
                         ("state one by one", state_one_by_one), ("state at once", state_at_once), ("another server is asked", another_server),
                         ("forked state", forked_state), ("rejected auth events", rejected_auth_event), ("unknown state", unknown_state),
                         ("history of a joined room", unknown_visibility("joined", False)), ("history of a shared room", unknown_visibility("shared", True)),
                         ("wide history", wide_history), ("edges that nobody fills", dead_edges)):
        checks.step("gap: " + name, action)


def survives(checks, house, stranger):
    """The events workers die while a gap is being filled: the transaction fails or waits for their successors, and works when it comes
    again."""
    http = house.federation()

    def act():
        alice, hosted = fresh(checks, house, stranger, "gap-killed")
        between, pushed, killed = hosted.say("between"), hosted.say("pushed"), []

        def missing(path, body):
            if not killed:
                killed.extend(row["pid"] for row in house.processes() if row["kind"] == "events")
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            return {"events": [between[0]]}
        with stranger.scripted(get_missing_events=missing):
            status, answer = stranger.send(http, house.name, [pushed[0]], txn_id="killed")
            expect(killed and (status >= 500 or answer == {"pdus": {pushed[1]: {}}}), f"while they were dead: {status} {answer}")
            again = lambda: stranger.send(http, house.name, [pushed[0]], txn_id="killed")
            poll("the repetition", lambda: again() == (200, {"pdus": {pushed[1]: {}}}), 20)
        for _, event_id in (between, pushed):
            alice.wait("event of the gap", lambda: alice.event(hosted.room, event_id))

    checks.step("events in a gap survive the death of their workers", act)
