"""A scripted homeserver that can misbehave: keys that expired, keys that nobody knows, signatures that do not fit, recorded requests."""

import sys

import sodium

sys.modules.setdefault("nacl.signing", sodium)  # peer.py asks for PyNaCl; what it uses of that is here too
import base64  # noqa: E402
import contextlib  # noqa: E402
import copy  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402

from nacl.signing import SigningKey  # noqa: E402
from peer import Peer, canonical, unpadded, without  # noqa: E402
from matrix import quote  # noqa: E402


class Stranger(Peer):
    def __init__(self, authority, port):
        super().__init__(authority, port)
        self.key_valid_for_ms = 86400000
        self.key_is_forged = False   # the answer's own signature does not fit
        self.served_key_id = self.key_id
        self.old_key, self.old_key_id = self.new_key(), "ed25519:old"
        self.old_key_expired_ts = int(time.time() * 1000) - 3600000  # it is served as one of old_verify_keys
        self.asked = []              # paths that others asked for, in order
        self.received = []           # (method, path, parsed body) of the same
        self.scripts = {}            # part of a path → function(path, body) that gives the answer, or (status, answer)
        self._txn = itertools.count(1)

    @contextlib.contextmanager
    def scripted(self, **scripts):
        """While it lasts, requests whose path has this part are answered so. Names stand for parts: state_ids for /state_ids/."""
        before = self.scripts
        self.scripts = {**before, **{f"/{name}/": action for name, action in scripts.items()}}
        try:
            yield self
        finally:
            self.scripts = before

    def respond(self, method, path, body):
        try:
            body = json.loads(body) if body else None
        except ValueError:
            body = None
        self.received.append((method, path, body))
        for part, action in list(self.scripts.items()):
            if part in path:
                self.asked.append(path)
                answer = action(path, body)
                return answer if isinstance(answer, tuple) else (200, answer)
        return super().respond(method, path, body)

    def pdus(self):
        """All events that transactions brought."""
        return [pdu for _, path, body in self.received if "/federation/v1/send/" in path for pdu in body["pdus"]]

    def answer(self, path):
        self.asked.append(path)
        if not path.startswith("/_matrix/key/v2/server"):
            return super().answer(path)
        answer = {"server_name": self.name, "valid_until_ts": int(time.time() * 1000) + self.key_valid_for_ms,
                  "old_verify_keys": {self.old_key_id: {"key": unpadded(bytes(self.old_key.verify_key)), "expired_ts": self.old_key_expired_ts}},
                  "verify_keys": {self.served_key_id: {"key": unpadded(bytes(self.key.verify_key))}}}
        signature = self.key.sign(canonical(answer)).signature
        if self.key_is_forged:
            signature = bytes(64)
        answer["signatures"] = {self.name: {self.served_key_id: unpadded(signature)}}
        return answer

    @staticmethod
    def new_key():
        return SigningKey.generate()

    @contextlib.contextmanager
    def signing_with(self, key, key_id=None):
        """Everything signed inside is signed by another key."""
        proper = self.key, self.key_id
        self.key, self.key_id = key, key_id or self.key_id
        try:
            yield
        finally:
            self.key, self.key_id = proper

    def header(self, destination, method, path, body=None, **changes):
        """An Authorization header. changes: to (what is signed and named), named (only named), key, sig, origin, raw."""
        if "raw" in changes:
            return changes["raw"]
        to = changes.get("to", destination)
        signed = {"method": method, "uri": path, "origin": self.name, "destination": to}
        if body is not None:
            signed["content"] = body
        signature = self.sign(signed)["signatures"][self.name][self.key_id]
        fields = {"origin": changes.get("origin", self.name), "destination": changes.get("named", to), "key": changes.get("key", self.key_id),
                  "sig": changes.get("sig", signature)}
        return "X-Matrix " + ",".join(f'{name}="{value}"' for name, value in fields.items() if value is not None)

    def send(self, http, destination, pdus, edus=(), txn_id=None):
        """One transaction. Returns status and answer."""
        path = f"/_matrix/federation/v1/send/{txn_id or f'{time.time_ns()}-{next(self._txn)}'}"
        body = {"origin": self.name, "origin_server_ts": int(time.time() * 1000), "pdus": list(pdus), "edus": list(edus)}
        return self.request(http, destination, "PUT", path, body)

    def draft(self, place, **changes):
        """An unsigned message event on top of what join() described; None as a value removes a key."""
        event = {"type": "m.room.message", "room_id": place["room"], "sender": self.user_id, "content": {"msgtype": "m.text", "body": "hello"},
                 "origin_server_ts": int(time.time() * 1000), "depth": place["depth"], "prev_events": [place["last"]], "auth_events": place["auth"]}
        event.update(copy.deepcopy(changes))
        return {key: value for key, value in event.items() if value is not None}


def check_signed(answer, name, verify_keys):
    """Raises unless the object is signed by each of these keys of server `name`."""
    unsigned = canonical(without(answer, "signatures", "unsigned"))
    if not verify_keys:
        raise AssertionError("no keys are listed")
    for key_id, key in verify_keys.items():
        signature = answer.get("signatures", {}).get(name, {}).get(key_id)
        if not signature or not sodium.verifies(from_unpadded(key["key"]), from_unpadded(signature), unsigned):
            raise AssertionError(f"{key_id} of {name} did not sign this")


def check_self_signed(answer, name):
    """Raises unless the key answer of server `name` is signed by each key that it lists."""
    check_signed(answer, name, answer.get("verify_keys"))


def from_unpadded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


__all__ = ["Stranger", "check_signed", "check_self_signed", "canonical", "quote", "unpadded", "without"]
