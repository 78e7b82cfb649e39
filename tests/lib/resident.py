"""A scripted server with rooms of its own, of any size, that others join through make_join and send_join (room versions 11 and 1)."""

import base64
import hashlib
import json
import threading
import time
import urllib.parse

from stranger import Stranger, canonical, unpadded, without
from peer import CONTENT_KEPT, redacted
from sodium import SigningKey

POWER_KEPT = ("ban", "events", "events_default", "invite", "kick", "redact", "state_default", "users", "users_default")


class Guest:
    """Another server's signature: one whose keys the resident knows, or nobody."""

    def __init__(self, name):
        self.name, self.key, self.key_id = name, SigningKey.generate(), "ed25519:guest"


class Room:
    """What is true at its newest event. `signers` share the members among them."""

    def __init__(self, resident, members, join_rule="public", signers=(), version="11"):
        self.version, self.extra = version, []  # extra: events of the answer that are no state
        self.resident, self.state, self.depth, self.last = resident, [], 0, None
        self.joins = {}  # user → id of the join that was accepted
        self.id = f"!large{time.time_ns()}:{resident.name}"
        creator, stamp = resident.user_id, int(time.time() * 1000)
        self.create = self.add("m.room.create", "", {"room_version": version, **({"creator": creator} if version == "1" else {})}, creator, [], stamp)
        self.creator = self.add("m.room.member", creator, {"membership": "join"}, creator, [self.create], stamp)
        self.power = self.add("m.room.power_levels", "", {"users": {creator: 100}, "users_default": 0}, creator, [self.create, self.creator], stamp)
        rules = {"join_rule": join_rule}
        self.is_restricted = join_rule == "restricted"
        if self.is_restricted:
            rules["allow"] = [{"type": "m.room_membership", "room_id": f"!elsewhere:{resident.name}"}]
        self.rules = self.add("m.room.join_rules", "", rules, creator, [self.create, self.creator, self.power], stamp)
        vouched = {"join_authorised_via_users_server": creator} if join_rule == "restricted" else {}
        for number in range(members):
            signer = (resident, *signers)[number % (1 + len(signers))]
            user = f"@member{number}:{signer.name}"
            content = {**vouched, "membership": "join", "displayname": f"Member number {number} of this room",
                       "avatar_url": f"mxc://{signer.name}/AbCdEfGhIjKlMnOpQrStUv{number:06}"}
            self.add("m.room.member", user, content, user, self.auth(), stamp + number, signer)
        self.text = canonical(self.state)  # once for all joins

    def auth(self):
        return [self.create, self.power, self.rules] + ([self.creator] if self.is_restricted else [])

    def event(self, kind, key, content, sender, auth, stamp=None, signer=None, event_id=None):
        """A signed event on top of the room, and its id; version 1 lets one choose that."""
        draft = {"type": kind, "room_id": self.id, "sender": sender, "state_key": key, "content": content, "depth": self.depth + 1,
                 "origin_server_ts": stamp or int(time.time() * 1000), "prev_events": self.refer([self.last] if self.last else []),
                 "auth_events": self.refer(auth)}
        if self.version == "1":
            draft["event_id"] = event_id or f"$e{self.depth}-{time.time_ns()}:{self.resident.name}"
        return sign_event(signer or self.resident, draft, self.version)

    def add(self, *about):
        event, event_id = self.event(*about)
        self.state.append(event)
        self.depth, self.last = self.depth + 1, event_id
        return event_id

    def refer(self, event_ids):
        return [[event_id, {"sha256": "A" * 43}] for event_id in event_ids] if self.version == "1" else event_ids

    def template(self, user, membership):
        content, auth = {"membership": membership}, self.auth()
        if membership == "join" and self.is_restricted:
            content["join_authorised_via_users_server"] = self.resident.user_id
        if membership == "leave":
            auth = [self.create, self.power] + ([self.joins[user]] if user in self.joins else [])
        return {"type": "m.room.member", "room_id": self.id, "sender": user, "state_key": user, "content": content, "depth": self.depth + 1,
                "origin_server_ts": int(time.time() * 1000), "prev_events": self.refer([self.last]), "auth_events": self.refer(auth)}


class Resident(Stranger):
    """`hold`: an Event that the answer of send_join waits for. `spoil`: changes the answer's bytes before they go."""

    def __init__(self, authority, port):
        super().__init__(authority, port)
        self.rooms_by_id, self.received, self.joins, self.leaves = {}, [], [], []
        self.hold, self.spoil, self.holding = None, None, threading.Event()

    def make_room(self, members, **options):
        room = Room(self, members, **options)
        self.rooms_by_id[room.id] = room
        return room

    def say(self, room, text):
        """A message on top of the room: the event and its id."""
        chosen = {"event_id": f"$m{time.time_ns()}:{self.name}"} if room.version == "1" else {}
        event, event_id = sign_event(self, {
            **chosen, "type": "m.room.message", "room_id": room.id, "sender": self.user_id, "content": {"msgtype": "m.text", "body": text},
            "origin_server_ts": int(time.time() * 1000), "depth": room.depth + 1, "prev_events": room.refer([room.last]),
            "auth_events": room.refer([room.create, room.power, room.creator])}, room.version)
        room.depth, room.last = room.depth + 1, event_id
        return event, event_id

    def respond(self, method, path, body):
        words = [urllib.parse.unquote(word) for word in path.split("?")[0].split("/")]
        if len(words) > 5 and words[4] in ("make_join", "make_leave"):
            self.asked.append(path)
            room = self.rooms_by_id[words[5]]
            return 200, {"room_version": room.version, "event": room.template(words[6], words[4][5:])}
        if len(words) > 5 and words[4] in ("send_join", "send_leave"):
            self.asked.append(path)
            return 200, self.accept(self.rooms_by_id[words[5]], words[4][5:], words[6], json.loads(body))
        if len(words) > 4 and words[4] == "send":
            self.received += json.loads(body)["pdus"]
        return super().respond(method, path, body)

    def accept(self, room, membership, event_id, event):
        if membership == "leave":
            self.leaves.append(event["state_key"])
            room.depth, room.last = max(room.depth, event["depth"]) + 1, event_id
            return {}
        self.joins.append(event["state_key"])
        if room.is_restricted:
            signature = self.key.sign(canonical(without(redacted(event), "signatures", "unsigned"))).signature
            event["signatures"].setdefault(self.name, {})[self.key_id] = unpadded(signature)
        name = json.dumps(self.name).encode()
        answer = (b'{"auth_chain":' + canonical(room.extra) + b',"event":' + canonical(event) + b',"members_omitted":false,"origin":' + name + b',"servers_in_room":[' + name
                  + b'],"state":' + room.text + b'}')
        room.depth, room.last = max(room.depth, event["depth"]), event_id
        room.joins[event["state_key"]] = event_id
        if self.spoil:
            answer = self.spoil(answer)
        if self.hold:
            self.holding.set()
            self.hold.wait(120)
        return answer


def sign_event(signer, event, version="11"):
    """The event signed by any server, and its id. Faster than Peer.sign_event: each form is written once."""
    event["hashes"] = {"sha256": unpadded(hashlib.sha256(canonical(event)).digest())}
    names = CONTENT_KEPT.get(event["type"], POWER_KEPT if event["type"] == "m.room.power_levels" else ("join_rule", "allow"))
    if version == "1":
        names = {"m.room.create": ("creator",), "m.room.member": ("membership",)}.get(event["type"], names)
    kept = event if names is None else {**event, "content": {key: value for key, value in event["content"].items() if key in names}}
    text = canonical(kept)
    event["signatures"] = {signer.name: {signer.key_id: unpadded(signer.key.sign(text).signature)}}
    return event, event.get("event_id") or "$" + base64.urlsafe_b64encode(hashlib.sha256(text).digest()).decode().rstrip("=")
