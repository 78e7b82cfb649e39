"""A room whose policy server is the scripted one: what is asked before sending, what becomes of events that it does not recommend."""

from clients import refused
from matrix import quote
from peer import redacted
from sodium import SigningKey
from stranger import canonical, unpadded, without
from suite import expect

KEY_ID = "ed25519:policy_server"


def run(checks, house, stranger):
    http, alice, key = house.federation(), house.user("policed"), SigningKey.generate()
    room, place, asked = None, None, []

    def signature(event):
        return unpadded(key.sign(canonical(without(redacted(event), "signatures", "unsigned"))).signature)

    def sign(path, event):
        asked.append(event)
        if "spam" in event["content"].get("body", ""):
            return 400, {"errcode": "M_FORBIDDEN", "error": "This looks like spam"}
        return {stranger.name: {KEY_ID: signature(event)}}

    def enable():
        nonlocal room, place
        room = alice.create_room(preset="public_chat", room_version="11")
        policy = {"via": stranger.name, "public_keys": {"ed25519": unpadded(bytes(key.verify_key))}}
        alice.set_state(room, "m.room.policy", policy)
        alice.say(room, "nobody of the policy server is here: spam")  # so it is not asked
        place = stranger.join(http, house.name, room)
        alice.wait("join", lambda: alice.membership(room, stranger.user_id) == "join")

    def sent():
        asked.clear()
        with stranger.scripted(policy=sign):
            said = alice.say(room, "good words")
        expect(len(asked) == 1 and asked[0]["content"]["body"] == "good words", f"asked {asked}")
        status, answer = stranger.request(http, house.name, "GET", f"/_matrix/federation/v1/event/{quote(said)}")
        event = answer["pdus"][0]
        expect(event["signatures"][stranger.name] == {KEY_ID: signature(event)} and house.name in event["signatures"], f"{event['signatures']}")

    def not_sent():
        with stranger.scripted(policy=sign):
            body = refused(403, "M_FORBIDDEN", lambda: alice.say(room, "spam"))
        expect("looks like spam" in body["error"], f"got {body}")
        with stranger.scripted(policy=lambda path, event: {stranger.name: {KEY_ID: unpadded(bytes(64))}}):
            refused(403, "M_FORBIDDEN", lambda: alice.say(room, "signed wrongly"))
        last = alice.set_state(room, "m.room.policy", alice.state(room)["m.room.policy", ""]["content"] | {"org.example.changed": True})  # needs none
        alice.wait("own event", lambda: alice.event(room, last))
        texts = [event["content"].get("body") for event in alice.rooms[room]["timeline"]]
        expect("signed wrongly" not in texts and "spam" not in texts, f"shown {texts}")

    def received():
        unsigned, unsigned_id = stranger.message(place, "for the policy server to judge")
        spam, spam_id = stranger.sign_event(stranger.draft(place, content={"msgtype": "m.text", "body": "spam"}))
        signed, signed_id = stranger.sign_event(stranger.draft(place, content={"msgtype": "m.text", "body": "signed already"}))
        signed["signatures"][stranger.name][KEY_ID] = signature(signed)
        asked.clear()
        with stranger.scripted(policy=sign):
            status, answer = stranger.send(http, house.name, [unsigned, spam, signed])
        expect(status == 200 and answer["pdus"] == {unsigned_id: {}, spam_id: {}, signed_id: {}}, f"{status} {answer}")
        expect([event["content"]["body"] for event in asked] == ["for the policy server to judge", "spam"], f"asked {asked}")
        for event_id in (unsigned_id, signed_id):
            alice.wait("recommended event", lambda: alice.event(room, event_id))
        expect(not alice.event(room, spam_id), "spam is shown")

    def disabled():
        alice.set_state(room, "m.room.policy", {})
        asked.clear()
        with stranger.scripted(policy=sign):
            alice.say(room, "spam at last")
        expect(not asked, f"asked {asked}")

    checks.step("policy: room", enable)
    for name, action in (("sent", sent), ("not sent", not_sent), ("received", received), ("disabled", disabled)):
        checks.step("policy: " + name, action, ["policy: room"])
