"""Who was never in a room reads nothing of it, whatever became of his invite or knock; who was in it sees it as it was when he went."""

from clients import V3, refused
from matrix import MatrixError, quote
from suite import expect


def endpoints(room, event_id):
    at = f"{V3}/rooms/{quote(room)}"
    return [f"{at}/state", f"{at}/state/m.room.name/", f"{at}/members", f"{at}/joined_members", f"{at}/context/{quote(event_id)}",
            f"{at}/messages?dir=b", f"{at}/event/{quote(event_id)}"]


def sees_nothing(client, room, event_id):
    for path in endpoints(room, event_id):
        try:
            answer = client.call("GET", path)
        except MatrixError as error:
            expect(error.status in (403, 404), f"{path}: {error.status}")
            continue
        raise AssertionError(f"{path} shows {str(answer)[:300]}")


def never_in(checks, house):
    alice, bob = house.user("insider"), house.user("outsider")

    def room(rule="invite", **body):
        made = alice.create_room(name="Secret", initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": rule}}], **body)
        return made, alice.say(made, "for members only")

    def ban(room_id):
        alice.call("POST", f"{V3}/rooms/{quote(room_id)}/ban", {"user_id": bob.user_id})

    def declined():
        made, said = room(invite=[bob.user_id])
        bob.leave(made)
        sees_nothing(bob, made, said)

    def withdrawn_knock():
        made, said = room("knock")
        bob.call("POST", f"{V3}/knock/{quote(made)}", {})
        sees_nothing(bob, made, said)
        bob.leave(made)
        sees_nothing(bob, made, said)

    def banned():
        made, said = room()
        ban(made)
        sees_nothing(bob, made, said)

    def banned_later():
        """He left, things went on, he was banned: what he sees ends where he left."""
        made, said = room(invite=[bob.user_id])
        bob.join(made)
        bob.leave(made)
        alice.set_state(made, "m.room.name", {"name": "Renamed"})
        later = alice.say(made, "when he was gone")
        ban(made)
        expect(bob.state(made)["m.room.name", ""]["content"] == {"name": "Secret"}, "sees the later state")
        expect(bob.call("GET", f"{V3}/rooms/{quote(made)}/state/m.room.name/") == {"name": "Secret"}, "sees the later name")
        members = {event["state_key"]: event["content"]["membership"] for event in bob.call("GET", f"{V3}/rooms/{quote(made)}/members")["chunk"]}
        expect(members == {alice.user_id: "join", bob.user_id: "leave"}, f"members {members}")
        seen = {event["event_id"] for event in bob.history(made)}
        expect(said in seen and later not in seen, "the history does not end where he left")
        refused(403, "M_FORBIDDEN", lambda: bob.call("GET", f"{V3}/rooms/{quote(made)}/joined_members"))
        refused(404, "M_NOT_FOUND", lambda: bob.call("GET", f"{V3}/rooms/{quote(made)}/context/{quote(later)}"))

    checks.step("a declined invite opens nothing", declined)
    checks.step("a withdrawn knock opens nothing", withdrawn_knock)
    checks.step("a ban opens nothing", banned)
    checks.step("a ban after leaving shows nothing later", banned_later)


def run(checks, house):
    never_in(checks, house)
