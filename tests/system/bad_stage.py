"""What the tables of bad input are played on: a whole server, its users and rooms, scripted servers, and a look at what is stored."""

import contextlib
import http.client
import json
import re
import ssl

from house import House
from matrix import poll, quote
from servers import free_port
from stranger import Stranger, canonical
from suite import expect

REPEAT = re.compile(r"<(?!nested)([^<>]{1,60}|<|\{[^<>]*\}|\[|\])\*(\d+)>")
VERSIONS = ("10", "11", "12")
# Tables that change by themselves, or by being asked. All others must be to the byte what they were.
VOLATILE = {
    "worker": "heartbeats",
    "sender_slot": "moves on with time",
    "destination": "back-off; a server that talks to us is tried again at once",
    "server_key": "a cache of what other servers publish",
    "registration_nonce": "given out for the asking",
    "ui_auth_session": "a refusal for want of authentication opens a session",
}


def expand(text, names, encode=lambda text: text):
    """Fills in <name> and <text*N>."""
    text = REPEAT.sub(lambda match: match[1] * int(match[2]), text)
    return re.sub(r"<([a-z_0-9]+)>", lambda match: encode(names[match[1]]) if match[1] in names else match[0], text)


def fill_in(value, names):
    """The same in a JSON value; "<nested*N>" is N arrays in each other."""
    if isinstance(value, str):
        nested = re.fullmatch(r"<nested\*(\d+)>", value)
        if nested:
            deep = []
            for _ in range(int(nested[1])):
                deep = [deep]
            return deep
        return expand(value, names)
    if isinstance(value, dict):
        return {fill_in(key, names): fill_in(entry, names) for key, entry in value.items()}
    return [fill_in(entry, names) for entry in value] if isinstance(value, list) else value


def as_bytes(text):
    """\\xNN is a byte, \\\\ a backslash; everything else is UTF-8."""
    parts = re.split(r"(\\x[0-9a-f]{2}|\\\\)", text)
    return b"".join(bytes([int(part[2:], 16)]) if part.startswith("\\x") else b"\\" if part == "\\\\" else part.encode() for part in parts)


class Raw:
    """A kept connection whose bodies go out as they are; length: a Content-Length of its own, and no body."""

    def __init__(self, port, cafile=None):
        self.port, self.cafile, self.connection = port, cafile, None

    def ask(self, method, path, body, headers, length=None):
        """Status and parsed answer."""
        for attempt in (1, 2):
            kept = self.connection
            if not kept:
                self.connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=ssl.create_default_context(cafile=self.cafile)) \
                    if self.cafile else http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                self.connection.putrequest(method, path, skip_accept_encoding=True)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.connection.putheader(name, value)
                if length is not None or body is not None:
                    self.connection.putheader("Content-Length", str(length if length is not None else len(body)))
                self.connection.endheaders(body)
                answer = self.connection.getresponse()
                raw = answer.read()
                if length is not None:
                    self.close()  # the body that was announced will not come
                break
            except (OSError, http.client.HTTPException):
                self.close()
                if not kept or attempt == 2:
                    raise
        try:
            return answer.status, json.loads(raw)
        except ValueError:
            return answer.status, raw

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Stage:
    def __init__(self, folder, authority, prefix, settings):
        self.house = House(folder, authority, "bad-input", prefix, settings=["sweep_interval=3600000"] + list(settings))  # what goes by itself is not stored
        self.authority, self.flawed = authority, {}
        self.stranger = self.new_stranger()
        self.house.start()
        self.clients, self.servers = Raw(self.house.client_port), Raw(self.house.federation_port, authority.certificate)
        self.federation = self.house.federation()
        self.user, self.other = self.house.user("someone"), self.house.user("another")
        self.admin = self.house.user("admin", admin=True)
        make = lambda version, **more: self.user.create_room(preset="public_chat", room_version=version, **more)
        room = make("11", room_alias_name="taken")
        self.places = {version: self.stranger.join(self.federation, self.house.name, make(version)) for version in VERSIONS}
        knock = [{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]
        self.names = {
            "room": room, "room10": make("10"), "room12": make("12"), "joined": self.places["11"]["room"],
            "private": self.user.create_room(preset="private_chat", room_version="11"), "knocked": self.user.create_room(room_version="11", initial_state=knock),
            "event": self.user.say(room, "an event"), "joined_event": self.user.say(self.places["11"]["room"], "an event"), "user": self.user.user_id,
            "other": self.other.user_id, "user_local": "someone", "alias_local": "taken", "alias": f"#taken:{self.house.name}", "server": self.house.name,
            "stranger": self.stranger.name, "stranger_user": self.stranger.user_id,
            "device": self.user.call("GET", "/_matrix/client/v3/account/whoami")["device_id"]}
        # The joins make us tell the stranger of our user's device, by itself: not while a request is judged by what changed.
        poll("nothing is owed any more", lambda: self.was_told() and self.house.sql("SELECT count(*) FROM outgoing_edu") == [["0"]], 20)

    def was_told(self):
        sent = [body for _, path, body in self.stranger.received if "/federation/v1/send/" in path]
        return any(edu["edu_type"] == "m.device_list_update" for body in sent for edu in body.get("edus", []))

    def new_stranger(self):
        return Stranger(self.authority, free_port())

    def stop(self):
        self.house.stop()
        for stranger in [self.stranger, *self.flawed.values()]:
            stranger.stop()

    # What is stored

    def stored(self, but=()):
        return self.house.table_hashes({*VOLATILE, *but})

    @contextlib.contextmanager
    def nothing_stored(self, but=()):
        """Whatever happens inside leaves every table as it was. but: tables that may change, for a reason that the caller knows."""
        before = self.stored(but)
        yield
        after = self.stored(but)
        changed = {table: f"{before[table].split(':')[0]} rows, now {after[table].split(':')[0]}" for table in before if before[table] != after[table]}
        expect(not changed, f"stored: {changed}")

    # Requests

    def signer(self, flaw):
        """Flaws of a server's key need a server of their own: keys are cached."""
        if flaw not in ("expired-key", "forged-key", "unreachable"):
            return self.stranger
        if flaw not in self.flawed:
            stranger = self.flawed[flaw] = self.new_stranger()
            stranger.key_valid_for_ms = -3600000 if flaw == "expired-key" else 86400000
            stranger.key_is_forged = flaw == "forged-key"
            if flaw == "unreachable":
                stranger.stop()
                stranger.server.server_close()
        return self.flawed[flaw]

    def x_matrix(self, flaw, method, path, body):
        signer, ours = self.signer(flaw), self.house.name
        try:
            content = None if body is None else json.loads(body)
            canonical(content)
        except ValueError:  # no JSON, or lone surrogates
            content = {}
        changes = {"wrong-destination": {"to": "example.org"}, "named-destination": {"named": "example.org"},
                   "unknown-key": {"key": "ed25519:nobody"}, "bad-signature": {"sig": "A" * 86}, "as-us": {"origin": ours},
                   "garbage": {"raw": "X-Matrix origin=,,=\"x\",sig"}, "no-signature": {"sig": None}}.get(flaw, {})
        if flaw == "other-body":
            content = {"origin": signer.name, "pdus": [], "another": "body"}
        with contextlib.ExitStack() as stack:
            if flaw == "foreign-signature":
                stack.enter_context(signer.signing_with(signer.new_key()))
            if flaw == "old-key":
                stack.enter_context(signer.signing_with(signer.old_key, signer.old_key_id))
            return signer.header(ours, method, path, content, **changes)

    def ask(self, method, path, auth, body, length=None):
        headers = {}
        if auth.startswith("server"):
            headers["Authorization"] = self.x_matrix(auth.partition(":")[2], method, path, body)
            return self.servers.ask(method, path, body, headers, length)
        if auth != "none":
            headers["Authorization"] = "Bearer " + {"user": self.user.token, "other": self.other.token, "admin": self.admin.token, "bad": "syt_no_such_token"}[auth]
        return self.clients.ask(method, path, body, headers, length)

    def refused(self, method, path, auth, body, statuses, errcodes, length=None):
        """Asks; the answer must be one of these errors, and say something to a human."""
        status, answer = self.ask(method, path, auth, body, length)
        errcode = answer.get("errcode") if isinstance(answer, dict) else None
        expect(str(status) in statuses.split("|") and errcode in errcodes.split("|"), f"answered {status} {str(answer)[:200]}, not {statuses} {errcodes}")
        expect(isinstance(answer.get("error"), str) and answer["error"], "no error text")

    def request_row(self, method, path, auth, body, statuses, errcodes):
        data = None if body == "-" else as_bytes(expand(body, self.names))
        with self.nothing_stored():
            self.refused(method, expand(path, self.names, quote), auth, data, statuses, errcodes)
