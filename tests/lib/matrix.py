"""A small Matrix client for tests: the standard library only, blocking, one connection per client.

A client remembers what /sync told it (timeline, state, invites), so that a test waits for an event instead of for time to pass:
`bob.wait("alice's message", lambda: bob.event(room, event_id))`.
"""

import hashlib
import hmac
import http.client
import itertools
import json
import ssl
import time
import urllib.parse


class MatrixError(Exception):
    """An answer other than 200, with the server's errcode."""

    def __init__(self, method, path, status, body):
        self.status, self.body = status, body
        self.errcode = body.get("errcode") if isinstance(body, dict) else None
        super().__init__(f"{method} {path.split('?')[0]}: {status} {json.dumps(body)[:300]}")


class Waited(Exception):
    """Something did not happen before its deadline."""


def quote(text):
    return urllib.parse.quote(text, safe="")


class Http:
    """JSON over one kept connection. A connection that the server closed while idle is opened again, once."""

    def __init__(self, host, port, cafile=None, timeout=90):
        self.host, self.port, self.cafile, self.timeout = host, port, cafile, timeout
        self.connection = None

    def connect(self):
        if self.cafile:
            context = ssl.create_default_context(cafile=self.cafile)
            return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def send(self, method, path, body=None, headers=None):
        """Returns (status, parsed body or the bytes themselves). A body of bytes is JSON already."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = dict(headers or {})
        if data is not None:
            headers["Content-Type"] = "application/json"
        for attempt in (1, 2):
            fresh = self.connection is None
            try:
                if fresh:
                    self.connection = self.connect()
                self.connection.request(method, path, data, headers)
                answer = self.connection.getresponse()
                raw = answer.read()
                break
            except (http.client.HTTPException, OSError):
                self.close()
                if fresh or attempt == 2:
                    raise
        try:
            return answer.status, json.loads(raw)
        except ValueError:
            return answer.status, raw


class Client:
    """One device of one user."""

    _txn = itertools.count()

    def __init__(self, host, port):
        self.http = Http(host, port)
        self.user_id = self.token = self.since = None
        self.filter = None  # an inline filter for /sync, as JSON text
        self.rooms = {}     # room id → {"timeline": [event], "state": {(type, key): event}, "prev_batch": token}
        self.invites = {}   # room id → stripped state
        self.left = set()

    # Requests

    def call(self, method, path, body=None, **query):
        query = {name: str(value) for name, value in query.items() if value is not None}
        if query:
            path += "?" + urllib.parse.urlencode(query)
        headers = {"Authorization": "Bearer " + self.token} if self.token else {}
        status, answer = self.http.send(method, path, body, headers)
        if status != 200:
            raise MatrixError(method, path, status, answer)
        return answer

    def register(self, name, password, secret, admin=False):
        """Through the shared-secret route, which every server under test offers."""
        path = "/_synapse/admin/v1/register"
        nonce = self.call("GET", path)["nonce"]
        mac = hmac.new(secret.encode(), digestmod=hashlib.sha1)
        mac.update(b"\0".join(part.encode() for part in (nonce, name, password, "admin" if admin else "notadmin")))
        answer = self.call("POST", path, {"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac.hexdigest()})
        self.user_id, self.token = answer["user_id"], answer["access_token"]
        return self

    def create_room(self, **body):
        return self.call("POST", "/_matrix/client/v3/createRoom", body)["room_id"]

    def join(self, room, via=None):
        query = {"server_name": via, "via": via}
        return self.call("POST", f"/_matrix/client/v3/join/{quote(room)}", {}, **query)["room_id"]

    def leave(self, room):
        return self.call("POST", f"/_matrix/client/v3/rooms/{quote(room)}/leave", {})

    def invite(self, room, user_id):
        return self.call("POST", f"/_matrix/client/v3/rooms/{quote(room)}/invite", {"user_id": user_id})

    def kick(self, room, user_id):
        return self.call("POST", f"/_matrix/client/v3/rooms/{quote(room)}/kick", {"user_id": user_id})

    def say(self, room, text):
        path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/t{time.time_ns()}-{next(self._txn)}"
        return self.call("PUT", path, {"msgtype": "m.text", "body": text})["event_id"]

    def set_state(self, room, kind, content, key=""):
        return self.call("PUT", f"/_matrix/client/v3/rooms/{quote(room)}/state/{quote(kind)}/{quote(key)}", content)["event_id"]

    def redact(self, room, event_id):
        path = f"/_matrix/client/v3/rooms/{quote(room)}/redact/{quote(event_id)}/t{time.time_ns()}-{next(self._txn)}"
        return self.call("PUT", path, {})["event_id"]

    def state(self, room):
        events = self.call("GET", f"/_matrix/client/v3/rooms/{quote(room)}/state")
        return {(event["type"], event["state_key"]): event for event in events}

    def get_event(self, room, event_id):
        return self.call("GET", f"/_matrix/client/v3/rooms/{quote(room)}/event/{quote(event_id)}")

    def history(self, room, limit=20, pages=50):
        """The room's events, newest first, by following /messages to the beginning."""
        token, events = None, []
        for _ in range(pages):
            page = self.call("GET", f"/_matrix/client/v3/rooms/{quote(room)}/messages", None, dir="b", limit=limit, **{"from": token})
            events += page["chunk"]
            if not page.get("end") or page["end"] == token:
                break
            token = page["end"]
        return events

    # What /sync told us

    def sync(self, timeout_ms=0):
        answer = self.call("GET", "/_matrix/client/v3/sync", None, timeout=timeout_ms, since=self.since, filter=self.filter)
        self.since = answer["next_batch"]
        rooms = answer.get("rooms", {})
        for room_id, invite in rooms.get("invite", {}).items():
            self.invites[room_id] = invite.get("invite_state", {}).get("events", [])
        for membership in ("join", "leave"):
            for room_id, update in rooms.get(membership, {}).items():
                self._remember(room_id, update)
                self.invites.pop(room_id, None)
                (self.left.discard if membership == "join" else self.left.add)(room_id)
        return answer

    def _remember(self, room_id, update):
        room = self.rooms.setdefault(room_id, {"timeline": [], "state": {}, "prev_batch": None})
        timeline = update.get("timeline", {})
        if timeline.get("limited"):
            room["prev_batch"] = timeline.get("prev_batch")
        for event in update.get("state", {}).get("events", []) + timeline.get("events", []):
            if "state_key" in event:
                room["state"][event["type"], event["state_key"]] = event
        room["timeline"] += timeline.get("events", [])

    def event(self, room, event_id):
        """The event if /sync has shown it."""
        return next((event for event in self.rooms.get(room, {}).get("timeline", []) if event.get("event_id") == event_id), None)

    def state_content(self, room, kind, key=""):
        return self.rooms.get(room, {}).get("state", {}).get((kind, key), {}).get("content", {})

    def membership(self, room, user_id):
        return self.state_content(room, "m.room.member", user_id).get("membership")

    def wait(self, what, predicate, seconds=30):
        """Long-polls until predicate() holds; its value is the result."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            result = predicate()
            if result:
                return result
            if left <= 0:
                raise Waited(f"{self.user_id} saw no {what} within {seconds} s")
            self.sync(int(min(left, 2) * 1000))


def poll(what, predicate, seconds=30, pause=0.1):
    """For what /sync does not tell. An answer of "not found" counts as not yet."""
    deadline, error = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            result = predicate()
            if result:
                return result
        except MatrixError as problem:
            error = problem
        time.sleep(pause)
    raise Waited(f"no {what} within {seconds} s" + (f" ({error})" if error else ""))
