#!/usr/bin/env python3
"""test_sync.py BUILD_DIR SOURCE_DIR [seeds]: scenarios of /sync, then random histories: two devices of one user, one on the fast path
whenever it is sure, the other on the SQL path always (its filter asks for redundant members). Both must come to know the same."""
import json
import random
import sys
import threading
import time

from sync_rig import Device, System, quote


def types(events):
    return [event["type"] for event in events]


def scenario_first_and_next(system):
    alice, bob = Device(system), Device(system)
    before = bob.sync()["next_batch"]
    room = alice.room(preset="public_chat", name="Room")
    whole = alice.sync()
    joined = whole["rooms"]["join"][room]
    assert {"m.room.create", "m.room.name"} <= set(types(joined["timeline"]["events"] + joined["state"]["events"])), joined
    assert joined["summary"]["m.joined_member_count"] == 1
    assert "rooms" not in alice.sync(whole["next_batch"])
    bob.in_room(room, "join")
    news = bob.sync(before)
    assert sorted(news["device_lists"]["changed"]) == sorted([alice.user, bob.user]), "who meets them on other devices, too"
    assert news["rooms"]["join"][room]["timeline"]["limited"], "newly joined"
    news = alice.sync(whole["next_batch"])
    assert news["device_lists"]["changed"] == [bob.user], news
    assert types(news["rooms"]["join"][room]["timeline"]["events"]) == ["m.room.member"]
    assert news["rooms"]["join"][room]["state"]["events"] == []
    assert news["rooms"]["join"][room]["summary"]["m.heroes"] == [bob.user]
    for i in range(12):
        alice.send(room, str(i))
    news = bob.sync(bob.sync(before)["next_batch"], filter={"room": {"timeline": {"limit": 1}}})
    alice.in_room(room, "state/m.room.topic/", {"topic": "new"}, "PUT")
    for i in range(12):
        alice.send(room, str(i))
    gap = bob.sync(news["next_batch"])["rooms"]["join"][room]
    assert gap["timeline"]["limited"] and types(gap["state"]["events"]) == ["m.room.topic"], gap
    after = bob.sync(news["next_batch"], use_state_after="true")["rooms"]["join"][room]
    assert "state" not in after and types(after["state_after"]["events"]) == ["m.room.topic"], after


def scenario_waiting(system):
    alice, bob = Device(system), Device(system)
    room = alice.room(preset="public_chat")
    bob.in_room(room, "join")
    since = bob.sync()["next_batch"]
    since = bob.sync(since).get("next_batch", since)
    got = []
    waiter = threading.Thread(target=lambda: got.append(bob.sync(since, timeout=20000)))
    waiter.start()
    event = alice.send(room, "now")
    waiter.join()
    while not got[0].get("rooms"):  # presence may come first
        got[0] = bob.sync(got[0]["next_batch"], timeout=20000)
    assert [e["event_id"] for e in got[0]["rooms"]["join"][room]["timeline"]["events"]] == [event]
    assert got[0]["rooms"]["join"][room]["unread_notifications"]["notification_count"] == 1
    since = got[0]["next_batch"]
    alice.in_room(room, "typing/" + quote(alice.user), {"typing": True, "timeout": 1000}, "PUT")
    for users in ([alice.user], []):
        news = {}
        while not any(e["type"] == "m.typing" for e in news.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])):
            news = bob.sync(since, timeout=20000)
            since = news["next_batch"]
        assert news["rooms"]["join"][room]["ephemeral"]["events"] == [{"type": "m.typing", "content": {"user_ids": users}}], news


def scenario_leaving(system):
    alice, bob = Device(system), Device(system)
    room, private = alice.room(preset="public_chat"), alice.room(preset="private_chat", name="private")
    bob.in_room(room, "join")
    since = bob.sync()["next_batch"]
    alice.in_room(private, "invite", {"user_id": bob.user})
    invited = bob.sync(since)
    offered = invited["rooms"]["invite"][private]["invite_state"]["events"]
    assert {"m.room.create", "m.room.name", "m.room.member"} <= set(types(offered)), offered
    bob.in_room(private, "leave")
    alice.send(room, "before")
    bob.in_room(room, "leave")
    alice.send(room, "after")
    left = bob.sync(invited["next_batch"])
    assert types(left["rooms"]["leave"][room]["timeline"]["events"]) == ["m.room.message", "m.room.member"], left
    assert types(left["rooms"]["leave"][private]["timeline"]["events"]) == ["m.room.member"], left
    assert alice.user in left["device_lists"]["left"], left
    assert "leave" not in bob.sync().get("rooms", {})
    assert room in bob.sync(filter={"room": {"include_leave": True}})["rooms"]["leave"]


def scenario_to_device(system):
    alice, bob = Device(system), Device(system)
    since = bob.sync()["next_batch"]
    alice.ask("PUT", f"/sendToDevice/x.y/{time.time_ns()}", {"messages": {bob.user: {bob.device: {"k": 1}}}})
    first, again = bob.sync(since), bob.sync(since)
    assert [e["content"] for e in first["to_device"]["events"]] == [{"k": 1}] == [e["content"] for e in again["to_device"]["events"]]
    assert "to_device" not in bob.sync(first["next_batch"])
    assert "to_device" not in bob.sync(), "it was acknowledged"


def scenario_filter(system):
    """One event that the filter lets through, and then more than the server looks at."""
    alice, bob = Device(system), Device(system)
    room, small = alice.room(preset="public_chat"), alice.room(preset="public_chat")
    bob.in_room(room, "join")
    since = bob.sync()["next_batch"]
    rare = alice.in_room(room, "send/x.rare/1", {}, "PUT")["event_id"]
    for i in range(10):
        alice.send(room, str(i))
    filter = {"room": {"timeline": {"types": ["x.rare"]}, "account_data": {"types": []}}}
    part = bob.sync(since, filter=filter)["rooms"]["join"][room]["timeline"]
    assert [e["event_id"] for e in part["events"]] == [rare] and not part["limited"], part
    for i in range(500):
        alice.send(room, str(i))
    part = bob.sync(since, filter=filter)["rooms"]["join"][room]["timeline"]
    assert part["limited"] and part["events"] == [], part
    page = bob.in_room(room, "messages?dir=b&limit=100&from=" + part["prev_batch"] + "&filter=" + quote(json.dumps({"types": ["x.rare"]})), method="GET")
    assert [e["event_id"] for e in page["chunk"]] == [rare], page
    since = bob.sync(since, filter=filter)["next_batch"]
    assert "rooms" not in bob.sync(since, filter=filter)
    part = Device(system, alice).sync(filter=filter)["rooms"]["join"]
    assert part[room]["timeline"]["limited"] and not part[small]["timeline"]["limited"], part


def scenario_left_data(system):
    alice = Device(system)
    room = alice.room()
    since = alice.sync()["next_batch"]
    alice.ask("PUT", f"/user/{quote(alice.user)}/rooms/{quote(room)}/account_data/x.data", {"k": 1})
    alice.in_room(room, "leave")
    shown = [{"type": "x.data", "content": {"k": 1}}]
    assert alice.sync(since)["rooms"]["leave"][room]["account_data"]["events"] == shown
    assert alice.sync(filter={"room": {"include_leave": True}})["rooms"]["leave"][room]["account_data"]["events"] == shown


class Known:
    """What a client has come to know from all its syncs."""

    def __init__(self, device, filter):
        self.device, self.filter, self.since = device, filter, None
        self.timeline, self.state, self.receipts, self.typing, self.unread, self.summary, self.data, self.left = {}, {}, {}, {}, {}, {}, {}, set()

    def sync(self):
        news = self.device.sync(self.since, filter=self.filter)
        self.since = news["next_batch"]
        for event in news.get("account_data", {}).get("events", []):
            self.data[event["type"]] = event["content"]
        for room, part in news.get("rooms", {}).get("leave", {}).items():
            self.left.add(room)
            self.typing.pop(room, None)
            self.timeline.setdefault(room, []).extend(e["event_id"] for e in part["timeline"]["events"])
        for room, part in news.get("rooms", {}).get("join", {}).items():
            self.take(room, part)

    def take(self, room, part):
        self.left.discard(room)
        if part["timeline"]["limited"]:
            self.timeline[room] = []
        for event in part["state"]["events"] + part["timeline"]["events"]:
            if "state_key" in event:
                self.state.setdefault(room, {})[event["type"], event["state_key"]] = event["event_id"]
        for event in part["timeline"]["events"]:
            assert event["event_id"] not in self.timeline.setdefault(room, []), "told twice"
            self.timeline[room].append(event["event_id"])
        for event in part["ephemeral"]["events"]:
            if event["type"] == "m.typing":
                self.typing[room] = sorted(event["content"]["user_ids"])
                continue
            for event_id, by_type in event["content"].items():
                for kind, users in by_type.items():
                    for user, data in users.items():
                        self.receipts.setdefault(room, {})[kind, user, data.get("thread_id")] = event_id
        if part["summary"]:
            self.summary[room] = part["summary"]
        self.unread[room] = part["unread_notifications"]

    def same_as(self, other):
        gone = self.left | other.left
        for name in ("state", "receipts", "typing", "unread", "summary"):
            mine, theirs = ({r: v for r, v in getattr(k, name).items() if r not in gone and v} for k in (self, other))
            assert mine == theirs, (name, mine, theirs)
        assert self.data == other.data and self.left == other.left
        for room in self.timeline.keys() & other.timeline.keys():
            both = min(len(self.timeline[room]), len(other.timeline[room]))
            assert both == 0 or self.timeline[room][-both:] == other.timeline[room][-both:], (room, self.timeline[room], other.timeline[room])


def one_step(dice, users, rooms, last, step):
    user, room, roll = dice.choice(users), dice.choice(rooms), dice.random()
    me = users[0]
    if roll < 0.55:
        thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": last[room]}} if room in last and dice.random() < 0.1 else {}
        last[room] = user.send(room, f"{step} {dice.choice(['', me.user, 'x'])}", **thread)
    elif roll < 0.65:
        user.in_room(room, "typing/" + quote(user.user), {"typing": dice.random() < 0.6, "timeout": 60000}, "PUT")
    elif roll < 0.80 and room in last:
        user.in_room(room, f"receipt/{dice.choice(['m.read', 'm.read', 'm.read.private'])}/{quote(last[room])}")
    elif roll < 0.84:
        user.in_room(room, "state/m.room.topic/", {"topic": str(step)}, "PUT")
    elif roll < 0.86:
        user.in_room(room, "leave")
    elif roll < 0.89:
        user.in_room(room, "join")
    elif roll < 0.91 and room in last:
        user.in_room(room, f"redact/{quote(last[room])}/{time.time_ns()}", {}, "PUT")
    elif roll < 0.93:
        me.ask("PUT", f"/user/{quote(me.user)}/account_data/x.{step % 5}", {"step": step})


def random_history(system, seed, steps=120):
    dice = random.Random(seed)
    users = [Device(system) for _ in range(4)]
    fast = Known(users[0], None)
    slow = Known(Device(system, login=users[0]), {"room": {"state": {"include_redundant_members": True}}})
    rooms, last = [users[dice.randrange(3)].room(preset="public_chat") for _ in range(3)], {}
    for room in rooms:
        for user in users[:3]:
            user.in_room(room, "join")
    for step in range(steps):
        for _ in range(dice.choice([0, 1, 1, 1, 2, 3])):
            try:
                one_step(dice, users, rooms, last, step)
            except AssertionError as refused:
                if refused.args[0][2] not in (403, 404):
                    raise
        fast.sync()
        if dice.random() < 0.3:
            slow.sync()
        if step % 10 == 9:
            time.sleep(0.1)
            for _ in range(2):
                fast.sync()
                slow.sync()
            fast.same_as(slow)


def main():
    system = System(sys.argv[1], sys.argv[2])
    failed = []
    tests = [(f.__name__, lambda f=f: f(system)) for f in (scenario_first_and_next, scenario_waiting, scenario_leaving, scenario_to_device,
                                                             scenario_filter, scenario_left_data)]
    tests += [(f"random history {seed}", lambda seed=seed: random_history(system, seed)) for seed in map(int, sys.argv[3:] or ["1", "2", "3"])]
    for name, run in tests:
        try:
            run()
            print("ok  ", name, flush=True)
        except Exception as why:  # the other tests are of interest too
            failed.append(name)
            print("FAIL", name, json.dumps(str(why))[:2000], flush=True)
    complaints = system.stop()
    print("\n".join(complaints[:20]))
    print(f"{len(tests) - len(failed)} of {len(tests)} passed")
    sys.exit(1 if failed or complaints else 0)


main()
