"""A scripted homeserver: signs events and transactions, serves its key, joins rooms of a real server. Needs PyNaCl.

It knows just enough of federation for users who join public rooms and talk (room versions 8 to 12, where an event's id is the hash of
the redacted event). What it is sent, it acknowledges and forgets.
"""

import base64
import hashlib
import http.server
import json
import ssl
import threading
import time

from nacl.signing import SigningKey

from matrix import quote

# What redaction keeps: all versions, versions below 11 only, 11 and 12 only. None: everything.
EVENT_KEPT = {"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth", "prev_events", "auth_events",
              "origin_server_ts"}
EVENT_KEPT_ONCE = {"prev_state", "origin", "membership"}
CONTENT_KEPT = {
    "m.room.member": {"membership", "join_authorised_via_users_server"}, "m.room.join_rules": {"join_rule", "allow"},
    "m.room.power_levels": {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"},
    "m.room.history_visibility": {"history_visibility"}}
CONTENT_KEPT_ONCE = {"m.room.create": {"creator"}}
CONTENT_KEPT_NOW = {"m.room.create": None, "m.room.power_levels": {"invite"}, "m.room.redaction": {"redacts"}}


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unpadded(data):
    return base64.b64encode(data).decode().rstrip("=")


def without(event, *names):
    return {key: value for key, value in event.items() if key not in names}


def redacted(event, version="11"):
    """The event as its signature and its id see it; third-party invites are not among what these peers make."""
    now = int(version) >= 11
    kept = {key: value for key, value in event.items() if key in EVENT_KEPT or not now and key in EVENT_KEPT_ONCE}
    more = (CONTENT_KEPT_NOW if now else CONTENT_KEPT_ONCE).get(event["type"], set())
    if more is not None:
        names = CONTENT_KEPT.get(event["type"], set()) | more
        kept["content"] = {key: value for key, value in event["content"].items() if key in names}
    return kept


def reference(event, version="11"):
    """An event's id."""
    digest = hashlib.sha256(canonical(without(redacted(event, version), "signatures", "unsigned"))).digest()
    return "$" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Peer:
    """A federation server on loopback, named localhost:PORT."""

    def __init__(self, authority, port):
        self.name, self.authority, self.port = f"localhost:{port}", authority, port
        self.key, self.key_id = SigningKey.generate(), "ed25519:peer"
        self.user_id = f"@peer:{self.name}"
        certificate, key = authority.issue("peer")
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = peer.respond(self.command, self.path, body)
                data = answer if isinstance(answer, bytes) else canonical(answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = reply

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()

    def respond(self, method, path, body):
        """Status and answer (an object, or JSON as bytes)."""
        return 200, self.answer(path)

    def answer(self, path):
        if path.startswith("/_matrix/key/v2/server"):
            return self.sign({"server_name": self.name, "valid_until_ts": int(time.time() * 1000) + 86400000, "old_verify_keys": {},
                              "verify_keys": {self.key_id: {"key": unpadded(bytes(self.key.verify_key))}}})
        return {"pdus": {}}

    def sign(self, value):
        signature = self.key.sign(canonical(without(value, "signatures", "unsigned"))).signature
        value.setdefault("signatures", {}).setdefault(self.name, {})[self.key_id] = unpadded(signature)
        return value

    def sign_event(self, event, version="11"):
        """Adds hash and signature; returns the event and its id."""
        event["hashes"] = {"sha256": unpadded(hashlib.sha256(canonical(without(event, "hashes", "signatures", "unsigned"))).digest())}
        event["signatures"] = self.sign(redacted(event, version))["signatures"]
        return event, reference(event, version)

    def prepare(self, destination, method, path, body=None):
        """A signed request: what Http.send takes."""
        signed = {"method": method, "uri": path, "origin": self.name, "destination": destination}
        if body is not None:
            signed["content"] = body
        signature = self.sign(signed)["signatures"][self.name][self.key_id]
        header = f'X-Matrix origin="{self.name}",destination="{destination}",key="{self.key_id}",sig="{signature}"'
        return method, path, None if body is None else canonical(body), {"Authorization": header}

    def request(self, http, destination, method, path, body=None):
        return http.send(*self.prepare(destination, method, path, body))

    def template(self, http, destination, membership, room, user_id=None):
        """An unsigned membership event by make_join, make_leave or make_knock, and the room's version."""
        user_id, versions = user_id or self.user_id, "" if membership == "leave" else "?ver=10&ver=11&ver=12"
        path = f"/_matrix/federation/v1/make_{membership}/{quote(room)}/{quote(user_id)}{versions}"
        status, answer = self.request(http, destination, "GET", path)
        if status != 200:
            raise RuntimeError(f"make_{membership}: {status} {answer}")
        event = without(answer["event"], "event_id", "signatures", "hashes", "unsigned", "origin")
        return {**event, "origin_server_ts": int(time.time() * 1000), "sender": user_id, "state_key": user_id, "room_id": room}, answer["room_version"]

    def join(self, http, destination, room):
        """Joins through make_join and send_join; returns what further events of ours need."""
        event, version = self.template(http, destination, "join", room)
        event, join_id = self.sign_event(event, version)
        status, answer = self.request(http, destination, "PUT", f"/_matrix/federation/v2/send_join/{quote(room)}/{quote(join_id)}", event)
        if status != 200:
            raise RuntimeError(f"send_join: {status} {answer}")
        state = {(entry["type"], entry["state_key"]): entry for entry in answer["state"]}
        create = [] if version == "12" else [reference(state["m.room.create", ""], version)]  # implied by the room's id since version 12
        auth = create + [reference(state["m.room.power_levels", ""], version), join_id]
        return {"room": room, "version": version, "auth": auth, "last": join_id, "depth": event["depth"] + 1}

    def message(self, place, text):
        """The next message of ours in a room that join() described."""
        event, event_id = self.sign_event({
            "type": "m.room.message", "room_id": place["room"], "sender": self.user_id, "content": {"msgtype": "m.text", "body": text},
            "origin_server_ts": int(time.time() * 1000), "depth": place["depth"], "prev_events": [place["last"]], "auth_events": place["auth"]},
            place["version"])
        place["last"], place["depth"] = event_id, place["depth"] + 1
        return event, event_id
