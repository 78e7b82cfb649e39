"""Bad membership events at send_join, send_leave, send_knock and invite: the template that we gave, spoilt in one way, is refused, and
nothing of it is stored. The last of each endpoint is whole, and is accepted: the others failed for their flaw."""

import copy
import json
import os
import time

from bad_events import signer_of
from bad_stage import fill_in
from matrix import quote
from suite import expect

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
# Endpoint → what the event says, and the path in front of /{roomId}/{eventId}.
ENDPOINTS = {
    "send_join v2": ("join", V2 + "/send_join"), "send_join v1": ("join", V1 + "/send_join"), "send_leave v2": ("leave", V2 + "/send_leave"),
    "send_leave v1": ("leave", V1 + "/send_leave"), "send_knock": ("knock", V1 + "/send_knock"), "invite v2": ("invite", V2 + "/invite"),
}


class Template:
    """A whole event for an endpoint, the room's version, and the names that the table's rows use."""

    def __init__(self, stage, endpoint, version):
        self.membership, self.path = ENDPOINTS[endpoint]
        stranger, self.version, self.shown = stage.stranger, version, []
        if self.membership == "invite":
            self.room = f"!invited:{stranger.name}"
            if version == "12":  # the room's id is its create event's, which goes with the invite
                create, create_id = stranger.sign_event(
                    {"type": "m.room.create", "sender": stranger.user_id, "state_key": "", "depth": 1, "content": {"room_version": "12"},
                     "origin_server_ts": int(time.time() * 1000), "prev_events": [], "auth_events": []}, "12")
                self.room, self.shown = "!" + create_id[1:], [create]
            self.event = {"type": "m.room.member", "room_id": self.room, "sender": stranger.user_id, "state_key": stage.user.user_id, "depth": 5,
                          "content": {"membership": "invite"}, "origin_server_ts": int(time.time() * 1000), "prev_events": ["$" + "A" * 43],
                          "auth_events": ["$" + "A" * 43]}
        else:
            self.room = stage.names["knocked"] if self.membership == "knock" else stage.places[version]["room"]
            if self.membership == "leave":  # the last one was left
                stage.places[version] = stranger.join(stage.federation, stage.house.name, self.room)
            user_id = stranger.user_id if self.membership == "leave" else f"@newcomer:{stranger.name}"
            self.event, found = stranger.template(stage.federation, stage.house.name, self.membership, self.room, user_id)
            expect(found == version, f"the room's version is {found}")


def spoil(stage, template, case):
    """Path and body of the request that a row describes."""
    names = {**stage.names, "place": template.room, "sender": template.event["sender"]}
    event = copy.deepcopy(template.event)
    for key, value in fill_in(case.get("change", {}), names).items():
        event[key] = {**event[key], **value} if key == "content" and isinstance(value, dict) else value
        if value is None:
            del event[key]
    event["origin_server_ts"] = event["origin_server_ts"] + case["later_ms"] if "later_ms" in case else event["origin_server_ts"]
    signer, key = signer_of(stage, case.get("signed", "properly"))
    signable = {**event, "type": event["type"] if isinstance(event.get("type"), str) else "x",
                "content": event["content"] if isinstance(event.get("content"), dict) else {}}
    with signer.signing_with(*key):
        signed, event_id = signer.sign_event(signable, template.version)
    event = {**event, "hashes": signed["hashes"], "signatures": signed["signatures"]}
    for key, value in fill_in(case.get("after", {}), names).items():
        event[key] = {**event[key], **value} if key in ("content", "hashes") and isinstance(value, dict) else value
        if value is None:
            del event[key]
    room, event_id = fill_in(case.get("path_room", template.room), names), case.get("path_event", event_id)
    body = {"room_version": template.version, "event": event, "invite_room_state": template.shown} if template.membership == "invite" else event
    if template.membership == "invite":
        body.update(fill_in(case.get("around", {}), names))
    return f"{template.path}/{quote(room)}/{quote(event_id)}", body


def check(stage, template, case):
    path, body = spoil(stage, template, case)
    if case.get("accepted"):
        status, answer = stage.stranger.request(stage.federation, stage.house.name, "PUT", path, body)
        expect(status == 200, f"answered {status} {str(answer)[:200]}")
        return
    with stage.nothing_stored():
        stage.refused("PUT", path, "server", json.dumps(body).encode(), case["status"], case["errcode"])


def run(checks, stage, tables, match):
    rows = json.load(open(os.path.join(tables, "memberships.json")))
    for endpoint in ENDPOINTS:
        for version in ("11",) if "v1" in endpoint or "knock" in endpoint else ("10", "11", "12"):
            title = f"{endpoint}, version {version}"
            template = checks.step(f"{title}: template", lambda: Template(stage, endpoint, version))
            for case in rows:
                fits = endpoint.split()[0] in case.get("only", endpoint) and version in case.get("versions", version)
                if template and fits and match in case["name"]:
                    checks.step(f"{title}: {case['name']}", lambda: check(stage, template, case))
