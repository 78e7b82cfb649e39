"""Who talks while things break: users that send, users that come and go, and what each of them was told."""

import collections
import http.client
import threading
import time

from matrix import Client, MatrixError, quote
from suite import expect

V3 = "/_matrix/client/v3"
GIVE_UP_S = 20.0
PAUSE_S = 0.02        # between two sends of one user
DISTURBANCES = (OSError, http.client.HTTPException)
FILTER = '{"room":{"timeline":{"limit":200}},"presence":{"types":[]}}'


def is_passing(error):
    """Worth another try: the server says that it is unwell, or the connection broke."""
    return isinstance(error, DISTURBANCES) or isinstance(error, MatrixError) and (error.status >= 500 or error.status == 429)


class Record:
    """Acknowledged events, from whichever thread: event id → (room, what)."""

    def __init__(self):
        self.events, self.doubled, self.lock = {}, [], threading.Lock()

    def add(self, event_id, room, what):
        with self.lock:
            if event_id in self.events:
                self.doubled.append(f"{event_id} acknowledges {self.events[event_id][1]} and {what}")
            self.events[event_id] = (room, what)


class Person:
    """One user: a thread that sends, a thread that follows /sync. Of ten sends one is a state event of his own, one redacts what he
    said, one goes to the devices of the next person; the others are messages."""

    def __init__(self, house, name, record):
        self.name, self.house, self.record = name, house, record
        self.sender, self.follower = house.user(name), house.client()
        self.user_id = self.sender.user_id
        self.follower.token, self.follower.user_id = self.sender.token, self.user_id
        for client in (self.sender, self.follower):
            client.http.timeout = 10
        self.rooms = ()        # where everybody talks; what happens in others is not followed
        self.neighbour = None  # who gets to-device messages
        self.sent = 0          # acknowledged sends of all sorts
        self.said = collections.defaultdict(list)  # room → event ids of own messages
        self.state = {}        # room → content last acknowledged
        self.redacted = {}     # event id → room, acknowledged
        self.handed = []       # to-device messages, acknowledged
        self.received = collections.Counter()  # to-device messages that /sync brought
        self.attempts = self.retried = 0
        self.failures = []     # what made a repetition necessary
        self.seen = {}         # room → [event id] in the order of /sync
        self.bodies = {}       # room → [body]
        self.gaps = 0
        self.broken = []       # what should never be answered
        self.stop_sending, self.stop_following = threading.Event(), threading.Event()
        self.threads = []

    # Sending

    def send_all(self):
        number = 0
        while not self.stop_sending.is_set():
            room, sort = self.rooms[number % len(self.rooms)], number % 10
            action = {3: self.set_state, 5: self.redact, 7: self.hand_over}.get(sort, self.say)
            action(room, number)
            number += 1
            self.stop_sending.wait(PAUSE_S)

    def repeat(self, what, method, path, body):
        """A request, repeated with the same path until it is answered for good; None when it never was."""
        first, deadline = True, time.monotonic() + GIVE_UP_S
        while True:
            self.attempts += 1
            self.retried += not first
            try:
                answer = self.sender.call(method, path, body)
                self.sent += 1
                return answer
            except (*DISTURBANCES, MatrixError) as error:
                self.sender.http.close()
                if not is_passing(error) or time.monotonic() > deadline:
                    self.broken.append(f"{what}: {error}")
                    return None
                first = False
                self.failures.append(f"{what}: {error}")
                time.sleep(0.02)

    def say(self, room, number):
        body = f"{self.name} {number}"
        answer = self.repeat("send", "PUT", f"{V3}/rooms/{quote(room)}/send/m.room.message/txn{number}", {"msgtype": "m.text", "body": body})
        if answer:
            self.record.add(answer["event_id"], room, body)
            self.said[room].append(answer["event_id"])

    def set_state(self, room, number):
        """Each in a content of its own, under a key that nobody else writes: the last acknowledged one must be what stands at the end. A
        repetition may make a second event, as state has no transaction id."""
        content = {"said": f"{self.name} {number}"}
        answer = self.repeat("state", "PUT", f"{V3}/rooms/{quote(room)}/state/org.example.chaos/{quote(self.user_id)}", content)
        if answer:
            with self.record.lock:  # a repetition may be answered with the event that stands
                self.record.events[answer["event_id"]] = (room, f"state {content['said']}")
            self.state[room] = content

    def redact(self, room, number):
        targets = [event_id for event_id in self.said[room][:-2] if event_id not in self.redacted]
        if not targets:
            self.say(room, number)
            return
        answer = self.repeat("redaction", "PUT", f"{V3}/rooms/{quote(room)}/redact/{quote(targets[0])}/txn{number}", {"reason": f"{self.name} {number}"})
        if answer:
            self.record.add(answer["event_id"], room, f"redaction {self.name} {number}")
            self.redacted[targets[0]] = room

    def hand_over(self, room, number):
        body = {"messages": {self.neighbour.user_id: {"*": {"said": f"{self.name} {number}"}}}}
        if self.repeat("to-device", "PUT", f"{V3}/sendToDevice/org.example.chaos/txn{number}", body) is not None:
            self.handed.append(f"{self.name} {number}")

    # Following

    def follow(self):
        while not self.stop_following.is_set():
            try:
                self.take(self.sync_once(1000))
            except (*DISTURBANCES, MatrixError) as error:
                self.follower.http.close()
                if not is_passing(error):
                    self.broken.append(f"sync: {error}")
                    return
                time.sleep(0.02)

    def sync_once(self, timeout_ms):
        return self.follower.call("GET", V3 + "/sync", None, timeout=timeout_ms, since=self.follower.since, filter=FILTER)

    def take(self, answer):
        gaps, updates = {}, {room: update for room, update in answer.get("rooms", {}).get("join", {}).items() if room in self.rooms}
        for room, update in updates.items():  # all that may fail comes first: an answer is taken whole or not at all
            timeline = update.get("timeline", {})
            if timeline.get("limited") and self.seen.get(room):
                gaps[room] = self.fill_gap(self.follower, room, timeline["prev_batch"], set(self.seen[room]))
        for room, update in updates.items():
            self.gaps += room in gaps
            events = gaps.get(room, []) + update.get("timeline", {}).get("events", [])
            self.seen.setdefault(room, []).extend(event["event_id"] for event in events)
            self.bodies.setdefault(room, []).extend(event["content"]["body"] for event in events
                                                    if event["type"] == "m.room.message" and "body" in event["content"])
        self.received.update(event["content"]["said"] for event in answer.get("to_device", {}).get("events", []) if event["type"] == "org.example.chaos")
        self.follower.since = answer["next_batch"]

    @staticmethod
    def fill_gap(client, room, token, known):
        """What lies before `token`, back to an event that is known; oldest first."""
        found = []
        while token:
            page = client.call("GET", f"{V3}/rooms/{quote(room)}/messages", None, dir="b", limit=100, **{"from": token})
            for event in page["chunk"]:
                if event["event_id"] in known:
                    return found[::-1]
                found.append(event)
            if not page["chunk"]:
                break
            token = page.get("end")
        return found[::-1]

    def from_scratch(self):
        """Room → events, by a first sync and /messages."""
        client = Client("127.0.0.1", self.house.client_port)
        client.token = self.sender.token
        answer = client.call("GET", V3 + "/sync", None, filter='{"room":{"timeline":{"limit":50}}}')
        rooms = {}
        for room, update in answer["rooms"]["join"].items():
            if room not in self.rooms:
                continue
            timeline = update["timeline"]
            older = self.fill_gap(client, room, timeline["prev_batch"], set()) if timeline.get("limited") else []
            rooms[room] = older + timeline["events"]
        return rooms

    def start(self, rooms):
        self.rooms = rooms
        self.take(self.sync_once(0))
        self.threads = [threading.Thread(target=self.send_all, daemon=True), threading.Thread(target=self.follow, daemon=True)]
        for thread in self.threads:
            thread.start()


class Guest:
    """Somebody of the other server who is invited, joins and leaves again and again. Each step carries a reason of its own."""

    def __init__(self, host, guest):
        self.host, self.guest = self.own(host), self.own(guest)
        self.name = f"{guest.name}, invited by {host.name}"
        self.room = self.host.create_room(preset="private_chat")
        self.done = []         # (membership, reason, whether it was repeated) of acknowledged steps
        self.broken = []
        self.failures = []     # what made a repetition necessary
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.come_and_go, daemon=True)

    @staticmethod
    def own(person):
        client = person.house.client()
        client.token, client.user_id, client.http.timeout = person.sender.token, person.user_id, 10
        return client

    def come_and_go(self):
        number = 0
        while not self.stopping.is_set() and not self.broken:
            path = f"{V3}/rooms/{quote(self.room)}"
            self.step("invite", self.host, path + "/invite", {"user_id": self.guest.user_id, "reason": f"invite {number}"})
            self.step("join", self.guest, path + "/join", {"reason": f"join {number}"})
            self.step("leave", self.guest, path + "/leave", {"reason": f"leave {number}"})
            deadline = time.monotonic() + 2 * GIVE_UP_S
            while not self.stands(self.host, "leave") and time.monotonic() < deadline:  # the leave travels: who is still in cannot be invited
                self.stopping.wait(0.05)
            number += 1
            self.stopping.wait(0.2)

    def step(self, membership, client, path, body):
        """Repeated whatever is answered: a repetition after a lost answer may be refused, and the other server may be away."""
        deadline, first, problem = time.monotonic() + GIVE_UP_S, True, None
        while time.monotonic() < deadline:
            try:
                client.call("POST", path, body)
                self.done.append((membership, body["reason"], not first))
                return
            except (*DISTURBANCES, MatrixError) as error:
                client.http.close()
                problem = error
                self.failures.append(f"{body['reason']}: {error}")
                if not first and isinstance(error, MatrixError) and error.status == 403 and self.stands(client, membership):
                    self.done.append((membership, body["reason"], True))
                    return
                first = False
                time.sleep(0.05)
        self.broken.append(f"{self.name}: {membership}: {problem}")

    def stands(self, client, membership):
        """Whether the earlier request, whose answer was lost, has done it."""
        try:
            if client is self.host:
                path = f"{V3}/rooms/{quote(self.room)}/state/m.room.member/{quote(self.guest.user_id)}"
                return client.call("GET", path)["membership"] == membership
            return (self.room in client.call("GET", V3 + "/joined_rooms")["joined_rooms"]) == (membership == "join")
        except (*DISTURBANCES, MatrixError):
            client.http.close()
            return False

    def check(self):
        """What was acknowledged is in the host's room: once, unless it had to be repeated; and both sides end with the last step."""
        expect(not self.broken, f"{self.broken}")
        expect(len(self.done) >= 3, "nobody came and went")
        events = [event for event in self.host.history(self.room, limit=100) if event["type"] == "m.room.member"]
        found = collections.Counter((event["content"]["membership"], event["content"].get("reason")) for event in events)
        for membership, reason, repeated in self.done:
            count = found[membership, reason]
            expect(count >= 1 and (repeated or count == 1), f"{self.name}: {reason} is there {count} times")
        path = f"{V3}/rooms/{quote(self.room)}/state/m.room.member/{quote(self.guest.user_id)}"
        expect(self.host.call("GET", path)["membership"] == self.done[-1][0], f"the host does not say {self.done[-1]}")
        joined = self.room in self.guest.call("GET", V3 + "/joined_rooms")["joined_rooms"]
        expect(joined == (self.done[-1][0] == "join"), f"the guest's server does not say {self.done[-1]}")
