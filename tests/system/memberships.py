"""Memberships and aliases set as state, and joins that are decided by other rooms or other servers."""

import threading

from clients import V3, refused
from matrix import MatrixError, poll, quote
from suite import expect

V1 = "/_matrix/federation/v1"
NOWHERE = "localhost:1"


def aliases(checks, house, stranger):
    """An alias of another server is asked of it: for those who may set it, and without holding the room up."""
    alice, bob = house.user("aliasing"), house.user("aliasless")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    theirs, known, asked = f"#theirs:{stranger.name}", stranger.answer, threading.Event()
    path = f"{V3}/rooms/{quote(room)}/state/m.room.canonical_alias"

    def slow():
        """The send is answered while the other server is silent."""
        silent, results = threading.Event(), []

        def answer(what):
            if "/query/directory" not in what:
                return known(what)
            asked.set()
            silent.wait(20)
            return {"room_id": room, "servers": [house.name]}
        other = house.client()
        other.token, other.user_id = alice.token, alice.user_id
        setter = threading.Thread(target=lambda: results.append(other.call("PUT", path, {"alias": theirs})))
        stranger.answer = answer
        try:
            setter.start()
            expect(asked.wait(10), "the other server was not asked")
            bob.say(room, "while it is asked")
            alice.set_state(room, "m.room.topic", {"topic": "while it is asked"})
            expect(setter.is_alive() and not results, "the alias was set before its server answered")
        finally:
            silent.set()
            setter.join(20)
            stranger.answer = known
        expect(results and results[0]["event_id"], f"got {results}")
        expect(alice.call("GET", path) == {"alias": theirs}, "not set")

    def powerless():
        """However the path is written."""
        stranger.asked.clear()
        for written in ("m.room.canonical_alias", "m.room.canonical_alias/", "m.room.canonical%5Falias", "%6D.room.canonical_alias/"):
            where = f"{V3}/rooms/{quote(room)}/state/{written}"
            refused(403, "M_FORBIDDEN", lambda: bob.call("PUT", where, {"alias": f"#more:{stranger.name}"}))
        expect(not any("/query/directory" in asked_for for asked_for in stranger.asked), "the other server was asked for nothing")

    def judged():
        own = f"#judged:{house.name}"
        refused(400, "M_BAD_ALIAS", lambda: alice.call("PUT", path, {"alias": own}))
        refused(400, "M_BAD_ALIAS", lambda: alice.call("PUT", path, {"alias": f"#a:{NOWHERE}"}))
        alice.call("PUT", f"{V3}/directory/room/{quote(own)}", {"room_id": room})
        event_id = alice.call("PUT", path, {"alias": own, "alt_aliases": [own]})["event_id"]
        expect(alice.call("PUT", path + "/", {"alt_aliases": [own], "alias": own})["event_id"] == event_id, "the same content made another event")
        many = [f"#{number}:{house.name}" for number in range(11)]
        refused(400, "M_INVALID_PARAM", lambda: alice.call("PUT", path, {"alt_aliases": many}))
        refused(400, "M_BAD_JSON", lambda: alice.call("PUT", path, {"alt_aliases": "many"}))
        alice.call("PUT", path, {})

    checks.step("sends do not wait for an alias's server", slow)
    checks.step("who may not set an alias makes nobody ask", powerless)
    checks.step("canonical aliases must lead here", judged)


def restricted(checks, house, stranger):
    """Who may join by being elsewhere."""
    http, alice, bob = house.federation(), house.user("restricting"), house.user("restricted")
    known = alice.create_room(preset="public_chat")
    unknown = f"!unknown:{stranger.name}"

    def room(*allowed, rule="restricted"):
        allow = [{"type": "m.room_membership", "room_id": other} for other in allowed]
        return alice.create_room(room_version="10", initial_state=[
            {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": rule, "allow": allow}}])

    def make_join(room_id):
        path = f"{V1}/make_join/{quote(room_id)}/{quote(stranger.user_id)}?ver=10"
        status, answer = stranger.request(http, house.name, "GET", path)
        return status, answer.get("errcode")

    def verdicts():
        expect(make_join(room()) == (403, "M_FORBIDDEN"), f"nothing allowed: {make_join(room())}")
        expect(make_join(room(known)) == (403, "M_FORBIDDEN"), f"all known: {make_join(room(known))}")
        for allowed in ((unknown,), (known, unknown)):
            got = make_join(room(*allowed))
            expect(got == (400, "M_UNABLE_TO_AUTHORISE_JOIN"), f"some unknown: {got}")

    def at_home():
        for allowed in ((), (known,), (known, unknown)):
            made = room(*allowed, rule="knock_restricted")
            refused(403, "M_FORBIDDEN", lambda: bob.join(made, house.name))
        bob.join(known)
        made = room(unknown, known)
        bob.join(made)
        content = alice.state(made)["m.room.member", bob.user_id]["content"]
        expect(content["join_authorised_via_users_server"] == alice.user_id, f"nobody vouched: {content}")

    checks.step("restricted joins: what other servers are told", verdicts)
    checks.step("restricted joins: our own users", at_home)


def state_memberships(checks, house):
    alice, bob = house.user("setting"), house.user("set")
    room = alice.create_room(preset="private_chat")

    def member(client, content, target=None):
        return client.set_state(room, "m.room.member", content, target or client.user_id)

    def days():
        refused(403, "M_FORBIDDEN", lambda: member(bob, {"membership": "join"}))
        invited = member(alice, {"membership": "invite"}, bob.user_id)
        bob.wait("invite", lambda: bob.invites.get(room))
        expect(member(alice, {"membership": "invite"}, bob.user_id) == invited, "the same invite made another event")
        member(bob, {"membership": "join", "displayname": "Bob here", "join_authorised_via_users_server": alice.user_id})
        content = alice.state(room)["m.room.member", bob.user_id]["content"]
        expect(content == {"membership": "join", "displayname": "Bob here"}, f"joined as {content}")
        member(bob, {"membership": "join"})
        content = alice.state(room)["m.room.member", bob.user_id]["content"]
        expect(content == {"membership": "join"}, f"renamed to {content}")
        refused(403, "M_FORBIDDEN", lambda: member(bob, {"membership": "ban"}, alice.user_id))
        member(bob, {"membership": "leave", "reason": "enough"})
        content = alice.state(room)["m.room.member", bob.user_id]["content"]
        expect(content == {"membership": "leave", "reason": "enough"}, f"left as {content}")
        member(alice, {"membership": "ban"}, bob.user_id)
        expect(alice.state(room)["m.room.member", bob.user_id]["content"] == {"membership": "ban"}, "not banned")

    checks.step("memberships as state", days)


def run(checks, house, stranger):
    aliases(checks, house, stranger)
    restricted(checks, house, stranger)
    state_memberships(checks, house)


def run_pair(checks, host, guest):
    """Between two servers."""
    alice, bob = host.user(f"{host.label}-sets"), guest.user(f"{guest.label}-is-set")

    def invite(name):
        room = alice.create_room(preset="private_chat", name=name)
        alice.set_state(room, "m.room.member", {"membership": "invite"}, bob.user_id)
        kinds = {event["type"] for event in bob.wait("invite", lambda: bob.invites.get(room))}
        expect({"m.room.create", "m.room.name", "m.room.member"} <= kinds, f"stripped state {sorted(kinds)}")
        return room

    def accepted():
        room = invite("Accepted as state")
        bob.set_state(room, "m.room.member", {"membership": "join", "displayname": "Bob abroad"}, bob.user_id)
        alice.wait("join", lambda: alice.membership(room, bob.user_id) == "join")
        expect(alice.state_content(room, "m.room.member", bob.user_id)["displayname"] == "Bob abroad", "joined under another name")

    def declined():
        room = invite("Declined as state")
        bob.set_state(room, "m.room.member", {"membership": "leave"}, bob.user_id)
        alice.wait("rejection", lambda: alice.membership(room, bob.user_id) == "leave")

    def knocked():
        room = alice.create_room(initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}], room_version="10")
        bob.set_state(room, "m.room.member", {"membership": "knock"}, bob.user_id)
        alice.wait("knock", lambda: alice.membership(room, bob.user_id) == "knock")

    def named_servers():
        """Who names servers means those; who names none, all that are known."""
        room = alice.create_room(preset="public_chat")
        bob.join(room, host.name)
        bob.leave(room)
        alice.wait("leave", lambda: alice.membership(room, bob.user_id) == "leave")
        try:
            bob.join(room, NOWHERE)
        except MatrixError as error:
            expect(error.status in (404, 502), f"answered {error.status}")
        else:
            raise AssertionError("joined through a server that was not named")
        poll("join through what is known", lambda: bob.join(room) == room, 10)

    checks.step("invite as state, join as state", accepted)
    checks.step("invite as state, decline as state", declined)
    checks.step("knock as state", knocked)
    checks.step("a join goes through the servers that were named", named_servers)
