"""Bad events in transactions of a server that is in the room, in rooms of each version; EDUs; transactions that come again."""

import copy
import json
import os

from bad_stage import VERSIONS, fill_in
from matrix import quote
from suite import expect

# Tables that an event which is kept as rejected or soft-failed may grow. Of its room only the version and the count of positions may change.
KEPT = ("event", "state_key", "state_snapshot", "room")
REMEMBERED = ("received_transaction",)


def prepare(stage, case, version):
    """The event that a row describes, and its id."""
    stranger, place, names = stage.stranger, stage.places[version], {**stage.names, "place": stage.places[version]["room"], "version": version}
    names["create_event"] = "$" + place["room"][1:] if version == "12" else place["auth"][0]
    draft = stranger.draft(place, **fill_in(case.get("change", {}), names))
    draft["auth_events"] = draft["auth_events"] + [fill_in(entry, names) for entry in case.get("more_auth_events", [])] if "auth_events" in draft else None
    draft = {key: value for key, value in draft.items() if value is not None}
    draft["origin_server_ts"] = draft["origin_server_ts"] + case["later_ms"] if "later_ms" in case else draft["origin_server_ts"]
    if draft.get("content") == {"msgtype": "m.text", "body": "hello"}:
        draft["content"]["body"] = f"event of {case['name']}"
    signer, key_id = signer_of(stage, case.get("signed", "properly"))
    if "signer_sends" in case:
        draft["sender"] = signer.user_id
    signable = {"type": "", "content": {}, **draft}
    signable = signable if isinstance(signable["type"], str) and isinstance(signable["content"], dict) else {**signable, "type": "x", "content": {}}
    with signer.signing_with(key_id[0], key_id[1]):
        event, event_id = signer.sign_event(signable, version)
    event.update(draft)
    for key in ("type", "content"):
        if key not in draft:
            event.pop(key, None)
    for key, value in fill_in(case.get("after", {}), names).items():
        event[key] = value
        if value is None:
            del event[key]
    return event, event_id


def signer_of(stage, how):
    """Server, key and key id."""
    stranger = stage.stranger
    if how == "by a lapsed server":
        lapsed = stage.signer("expired-key")
        return lapsed, (lapsed.key, lapsed.key_id)
    return stranger, {"properly": (stranger.key, stranger.key_id), "by an old key": (stranger.old_key, stranger.old_key_id),
                      "by another key": (stranger.new_key(), stranger.key_id), "by an unknown key": (stranger.key, "ed25519:nobody"),
                      "by a key of another kind": (stranger.key, "rsa:peer")}[how]


def heads(stage, place):
    return stage.house.sql(f"SELECT extremities, depth, snapshot_nid, tail_pos, room_version, is_public FROM room WHERE room_id = '{place['room']}'")


def check_event(stage, case, version):
    stranger, place = stage.stranger, stage.places[version]
    event, event_id = prepare(stage, case, version)
    newest = stage.user.history(place["room"], limit=1, pages=1)[0]["event_id"]
    before, head = stage.stored(REMEMBERED), heads(stage, place)
    status, answer = stranger.send(stage.federation, stage.house.name, [copy.deepcopy(event)])
    if case["result"] == "not JSON":  # nobody can read the transaction
        expect(status == 400 and answer["errcode"] == "M_NOT_JSON", f"answered {status} {str(answer)[:200]}")
        answer, status = {"pdus": {event_id: {"error": "not read"}}}, 200
    expect(status == 200 and isinstance(answer.get("pdus"), dict), f"answered {status} {str(answer)[:200]}")
    entry = next(iter(answer["pdus"].values()), None)
    found = "none" if entry is None else "error" if "error" in entry else "ok"
    expect(found == ("error" if case["result"] == "not JSON" else case["result"]), f"its result is {found}, not {case['result']}: {str(answer)[:200]}")
    shown = [entry for entry in stage.user.history(place["room"], limit=5, pages=1) if entry["event_id"] == event_id]
    if case.get("shown"):
        expect(shown, "it is not shown to clients")
        expect((shown[0]["content"] == {}) == (case["shown"] == "redacted"), f"shown as {shown[0]['content']}")
        place["last"], place["depth"] = event_id, event["depth"] + 1
        return
    expect(stage.user.history(place["room"], limit=1, pages=1)[0]["event_id"] == newest, "it is shown to clients")
    after = stage.stored(REMEMBERED)
    changed = {table for table in before if before[table] != after[table]} - set(KEPT if case.get("kept") else ())
    expect(not changed, f"stored in {sorted(changed)}")
    expect(heads(stage, place) == head, f"the room's head moved: {head}, now {heads(stage, place)}")
    expect(not case.get("kept") or before["event"] != after["event"], "it is not kept")


def several(stage, version):
    """In one transaction a bad event costs only itself: the good ones around it are taken, once even when named twice."""
    place = stage.places[version]
    first, first_id = stage.stranger.message(place, "before the bad one")
    bad, bad_id = stage.stranger.sign_event(stage.stranger.draft(place, content={"body": "bad"}), version)
    bad["signatures"] = {}
    last, last_id = stage.stranger.message(place, "after the bad one")
    status, answer = stage.stranger.send(stage.federation, stage.house.name, [first, "an event", bad, 7, first, None, last])
    expect(status == 200 and answer["pdus"].get(first_id) == {} and answer["pdus"].get(last_id) == {} and "error" in answer["pdus"].get(bad_id, {}),
           f"answered {status} {answer}")
    shown = [entry["event_id"] for entry in stage.user.history(place["room"], limit=6, pages=1)]
    expect(shown[:2] == [last_id, first_id], f"shown {shown}, sent {first_id}, {last_id}")


def replay(stage):
    """A transaction sent three times, and once more under other ids: one event, one answer."""
    stranger = stage.stranger
    event, event_id = stranger.message(stage.places["11"], "replayed")
    answers = [stranger.send(stage.federation, stage.house.name, [event], txn_id="replayed") for _ in range(3)]
    expect(all(answer == answers[0] for answer in answers) and answers[0][1]["pdus"] == {event_id: {}}, f"answers {answers}")
    with stage.nothing_stored(REMEMBERED):
        stranger.send(stage.federation, stage.house.name, [event], txn_id="another-id")
    with stage.nothing_stored():
        forged = stranger.send(stage.federation, stage.house.name, [], txn_id="replayed")
        expect(forged[0] == 200, f"another body under the same id: {forged}")
    other = stage.signer("second")
    with stage.nothing_stored(REMEMBERED):  # a recorded event, sent by somebody who is not in the room
        status, answer = other.send(stage.federation, stage.house.name, [event], txn_id="replayed")
        expect(status == 200, f"from another server: {status} {answer}")
    with stage.nothing_stored():  # the header of an earlier request does not open another path
        method, path, body, headers = stranger.prepare(stage.house.name, "PUT", "/_matrix/federation/v1/send/recorded",
                                                       {"origin": stranger.name, "origin_server_ts": 1, "pdus": []})
        status, answer = stage.servers.ask(method, path + "2", body, headers)
        expect(status == 401 and answer["errcode"] == "M_UNAUTHORIZED", f"a recorded header: {status} {answer}")


def check_edu(stage, case):
    """A transaction with this EDU is answered, and nothing is kept of the EDU; a control shows that a whole one would have been."""
    body = {"origin": stage.stranger.name, "origin_server_ts": 1, "pdus": [], "edus": fill_in(case["edus"] if "edus" in case else [case["edu"]], stage.names)}
    before = stage.stored(REMEMBERED)
    path = f"/_matrix/federation/v1/send/{quote('EDU ' + case['name'])[:200]}"
    status, answer = stage.stranger.request(stage.federation, stage.house.name, "PUT", path, body)
    due = case.get("status", 200)
    expect(status == due, f"answered {status} {str(answer)[:200]}, not {due}")
    after = stage.stored(REMEMBERED)
    changed = {table for table in before if before[table] != after[table]}
    expect(changed == set(case.get("stored", ())), f"stored in {sorted(changed)}, not in {case.get('stored', [])}")


def run(checks, stage, tables, match):
    for version in VERSIONS:
        for case in json.load(open(os.path.join(tables, "events.json"))):
            if match in case["name"] and version in case.get("versions", VERSIONS):
                checks.step(f"event of version {version}: {case['name']}", lambda: check_event(stage, case, version))
        checks.step(f"good and bad events together, version {version}", lambda: several(stage, version))
    checks.step("replayed transactions", lambda: replay(stage))
    for case in json.load(open(os.path.join(tables, "edus.json"))):
        if match in case["name"]:
            checks.step("EDU: " + case["name"], lambda: check_edu(stage, case))
