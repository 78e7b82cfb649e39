"""A room that a scripted server hosts: its events, and the answers that federation asks of a resident server."""

import time
import urllib.parse

from matrix import quote
from stranger import without


class HostedRoom:
    """Made by the stranger's user, public, one line of events. `answers()` is what stranger.scripted takes, so that ours can join."""

    def __init__(self, stranger, version="11", visibility="shared"):
        self.stranger, self.version = stranger, version
        self.room, self.user = f"!hosted{time.time_ns()}:{stranger.name}", stranger.user_id
        self.events, self.state, self.ids = [], {}, []
        self.asked = []  # (endpoint, what) in order
        self.add("m.room.create", {"room_version": version}, "")
        self.add("m.room.member", {"membership": "join"}, self.user)
        self.add("m.room.power_levels", {"users": {self.user: 100}}, "")
        self.add("m.room.join_rules", {"join_rule": "public"}, "")
        self.add("m.room.history_visibility", {"history_visibility": visibility}, "")

    def auth_for(self, kind, key=None, sender=None):
        wanted = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", sender or self.user)]
        if kind == "m.room.member":
            wanted += [("m.room.join_rules", ""), ("m.room.member", key)]
        return list(dict.fromkeys(self.state[pair][1] for pair in wanted if pair in self.state)) if kind != "m.room.create" else []

    def make(self, kind, content, key=None, **changes):
        event = {"type": kind, "room_id": self.room, "sender": self.user, "content": content, "origin_server_ts": int(time.time() * 1000),
                 "depth": len(self.events) + 1, "prev_events": self.ids[-1:], "auth_events": self.auth_for(kind, key)}
        if key is not None:
            event["state_key"] = key
        event.update(changes)
        return self.stranger.sign_event(event)

    def keep(self, event, event_id):
        self.events.append(event)
        self.ids.append(event_id)
        if "state_key" in event:
            self.state[event["type"], event["state_key"]] = (event, event_id)
        return event, event_id

    def add(self, kind, content, key=None, **changes):
        return self.keep(*self.make(kind, content, key, **changes))

    def say(self, text, **changes):
        return self.add("m.room.message", {"msgtype": "m.text", "body": text}, **changes)

    # What a resident server answers

    def state_pdus(self):
        return [event for event, _ in self.state.values()]

    def make_join(self, path, body):
        user = urllib.parse.unquote(path.split("?")[0].split("/")[-1])
        return {"room_version": self.version, "event": {
            "type": "m.room.member", "room_id": self.room, "sender": user, "state_key": user, "content": {"membership": "join"},
            "origin_server_ts": int(time.time() * 1000), "depth": len(self.events) + 1, "prev_events": self.ids[-1:],
            "auth_events": self.auth_for("m.room.member", user, user)}}

    def send_join(self, path, body):
        answer = {"state": self.state_pdus(), "auth_chain": self.state_pdus(), "event": body, "members_omitted": False, "origin": self.stranger.name,
                  "servers_in_room": [self.stranger.name]}
        self.keep(body, urllib.parse.unquote(path.split("/")[-1]))
        return answer

    def event_by_id(self, path, body=None):
        event_id = urllib.parse.unquote(path.split("?")[0].split("/")[-1])
        self.asked.append(("event", event_id))
        if event_id not in self.ids:
            return 404, {"errcode": "M_NOT_FOUND", "error": "no such event"}
        return {"origin": self.stranger.name, "origin_server_ts": 1, "pdus": [self.events[self.ids.index(event_id)]]}

    def answers(self):
        return {"make_join": self.make_join, "send_join": self.send_join, "event": self.event_by_id}

    def joined_by(self, client):
        """Our user joins; returns the room's id."""
        with self.stranger.scripted(**self.answers()):
            return client.join(self.room, self.stranger.name)


def member_draft(answer, room, user):
    """A make_… answer as the event to sign."""
    return {**without(answer["event"], "event_id", "signatures", "hashes", "unsigned", "origin"), "origin_server_ts": int(time.time() * 1000),
            "sender": user, "state_key": user, "room_id": room}


__all__ = ["HostedRoom", "member_draft", "quote"]
