"""Requests of their own, one for each way through the house, repeated until they succeed: how long that takes after something broke."""

import itertools
import threading
import time

from matrix import MatrixError, quote
from people import DISTURBANCES, GIVE_UP_S, V3
from suite import expect


class Probe:
    """local: needs nothing of the other server."""

    def __init__(self, name, action, local=True):
        self.name, self.action, self.local, self.took = name, action, local, []

    def measure(self, broken_at):
        problem = None
        while time.monotonic() - broken_at < GIVE_UP_S:
            try:
                self.action()
                self.took.append(time.monotonic() - broken_at)
                return
            except (*DISTURBANCES, MatrixError, AssertionError) as error:
                problem = error
                time.sleep(0.02)
        self.took.append(float("inf"))
        print(f"      {self.name} did not come back: {problem}", flush=True)


def client_of(house, person):
    """A connection of its own."""
    made = house.client()
    made.token, made.user_id, made.http.timeout = person.sender.token, person.user_id, GIVE_UP_S
    return made


def once(made, *call, **query):
    try:
        return made.call(*call, **query)
    finally:
        made.http.close()


class Probes:
    """Of one server that is hurt. What they send is recorded as everything else that was acknowledged."""

    numbers = itertools.count()

    def __init__(self, house, other, room, person, friend, record):
        self.house, self.other, self.room, self.person, self.friend, self.record = house, other, room, person, friend, record
        login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": person.name}, "password": "secret-" + person.name, "device_id": "PROBE"}
        self.requests = [
            Probe("send", self.send),
            Probe("sync", self.get("/sync", timeout=0, filter='{"room":{"timeline":{"limit":1}}}')),
            Probe("whoami", self.get("/account/whoami")),
            Probe("room state", self.get(f"/rooms/{quote(room)}/state")),
            Probe("messages", self.get(f"/rooms/{quote(room)}/messages", dir="b", limit=5)),
            Probe("login", lambda: once(client_of(house, person), "POST", V3 + "/login", login)),
            Probe("remote profile", self.get(f"/profile/{quote(friend.user_id)}"), local=False),
            Probe("server keys", lambda: self.federation("/_matrix/key/v2/server")),
            Probe("notary", lambda: self.federation(f"/_matrix/key/v2/query/{quote(other.name)}"), local=False),
        ]
        self.deliveries = [Probe("message to the other server", self.delivery(house, person, friend)),
                           Probe("message from the other server", self.delivery(other, friend, person))]

    def get(self, path, **query):
        return lambda: once(client_of(self.house, self.person), "GET", V3 + path, None, **query)

    def put(self, house, person, kind, body):
        """A repetition after a lost answer is a new event: only what is acknowledged is recorded."""
        number = next(self.numbers)
        path = f"{V3}/rooms/{quote(self.room)}/send/{kind}/probe{number}"
        event_id = once(client_of(house, person), "PUT", path, body)["event_id"]
        self.record.add(event_id, self.room, f"probe {number}")
        return event_id

    def send(self):
        self.put(self.house, self.person, "org.example.probe", {})

    def federation(self, path):
        http = self.house.federation()
        try:
            status, answer = http.send("GET", path)
        finally:
            http.close()
        expect(status == 200 and answer.get("server_keys", answer), f"{path}: {status} {answer}")

    def delivery(self, house, person, receiver):
        def act():
            event_id = self.put(house, person, "m.room.message", {"msgtype": "m.text", "body": f"probe {next(self.numbers)}"})
            deadline = time.monotonic() + GIVE_UP_S
            while event_id not in receiver.seen.get(self.room, [])[-400:]:
                expect(time.monotonic() < deadline, "was not delivered")
                time.sleep(0.01)
        return act

    def all(self):
        return self.requests + self.deliveries


def measure_all(probes, broken_at):
    threads = [threading.Thread(target=probe.measure, args=(broken_at,)) for probe in probes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(probes, key=lambda probe: probe.took[-1])
