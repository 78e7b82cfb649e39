"""Two whole servers; the way from one to the other breaks at the first, second, third… turn of a join, an invite, a message, for every turn:
before the other server hears it, and when it has heard and its answer is lost. What was acknowledged is there on both sides; what was
not can be asked for again; a message comes once.

Usage: test_torture_peer.py BUILD_FOLDER
"""

import itertools
import os
import shutil
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from matrix import MatrixError, poll, quote  # noqa: E402
from peer_proxy import BEFORE, BEHIND, Proxy  # noqa: E402
from servers import ROOT, Authority, free_port, scratch_folder  # noqa: E402

V3 = "/_matrix/client/v3"
TURNS_MAX = 40
BUILD = sys.argv.pop(1) if len(sys.argv) > 1 else os.path.join(ROOT, "build", "dev")


class PeerTorture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["MYELIN_BUILD"] = BUILD
        from house import House, house_prefix
        cls.folder = scratch_folder("torture-peer")
        authority, prefix, port = Authority(cls.folder), house_prefix(cls.folder, "torture-peer"), free_port()
        cls.near = House(cls.folder, authority, "near", prefix, replicas=1)
        cls.far = House(cls.folder, authority, "far", prefix, replicas=1, name=f"localhost:{port}")
        cls.proxy = Proxy(port, cls.far.federation_port)
        for house in (cls.near, cls.far):
            house.start()
        cls.alice, cls.carol = cls.near.user("alice"), cls.far.user("carol")
        cls.pids = {(house.label, row["kind"]): row["pid"] for house in (cls.near, cls.far) for row in house.processes()}
        cls.numbers = itertools.count()

    @classmethod
    def tearDownClass(cls):
        from house import parse_log
        for house in (cls.near, cls.far):
            house.stop()
        cls.proxy.stop()
        complaints = [line for house in (cls.near, cls.far) for line in parse_log(house.log)]
        shutil.rmtree(cls.folder, ignore_errors=True)
        if complaints:
            raise AssertionError(complaints[:5])

    def every_turn(self, make):
        """As in test_torture.py. An error to the client is of the other server's absence, whatever its status."""
        for how in (BEFORE, BEHIND):
            turns = refused = 0
            for number in range(1, TURNS_MAX):
                request, check = make()
                self.proxy.lose(number, how)
                try:
                    answer = [request()]
                except MatrixError:
                    answer = None
                if answer:  # what is acknowledged first and told later: its turns may be lost now
                    with self.subTest(how=how, turn=number):
                        check(answer[0])
                lost = self.proxy.disarm()
                if not answer:
                    refused += 1
                    with self.subTest(how=how, turn=number):
                        check(poll("an answer to the repetition", lambda: [request()], 30)[0])
                if not lost:
                    break
                turns = number
            else:
                self.fail(f"more than {TURNS_MAX} turns?")
            print(f"{self.id().rpartition('.')[2]}: {turns} turns lost, each {how}; {refused} answers were errors", flush=True)
            self.assertGreater(turns, 0)
        now = {(house.label, row["kind"]): row["pid"] for house in (self.near, self.far) for row in house.processes()}
        self.assertEqual(now, self.pids, "a process died")

    def state_of(self, client, room, user_id):
        return client.state(room)["m.room.member", user_id]["content"]["membership"]

    def test_join(self):
        def make():
            room = self.carol.create_room(preset="public_chat")

            def check(answer):
                self.assertEqual(answer["room_id"], room)
                for client in (self.alice, self.carol):
                    poll("the join", lambda: self.state_of(client, room, self.alice.user_id) == "join", 20)
            return lambda: self.alice.call("POST", f"{V3}/join/{quote(room)}?via={quote(self.far.name)}&server_name={quote(self.far.name)}", {}), check
        self.every_turn(make)

    def test_invite(self):
        def make():
            room = self.alice.create_room(preset="private_chat")

            def check(answer):
                self.carol.wait("the invite", lambda: room in self.carol.invites)
                self.assertEqual(self.state_of(self.alice, room, self.carol.user_id), "invite")

            def request():
                try:
                    return self.alice.invite(room, self.carol.user_id)
                except MatrixError as error:
                    if error.status == 403 and self.state_of(self.alice, room, self.carol.user_id) == "invite":
                        return {}  # it was done, and cannot be done again
                    raise
            return request, check
        self.every_turn(make)

    def test_message(self):
        room = self.carol.create_room(preset="public_chat")
        self.alice.join(room, self.far.name)
        self.carol.sync()

        def make():
            text = f"torture {next(self.numbers)}"

            def check(answer):
                self.carol.wait("the message", lambda: self.carol.event(room, answer["event_id"]), 60)
                bodies = [event["content"].get("body") for event in self.carol.rooms[room]["timeline"]]
                self.assertEqual(bodies.count(text), 1, "it came once")
            path = f"{V3}/rooms/{quote(room)}/send/m.room.message/t{time.time_ns()}"
            return lambda: self.alice.call("PUT", path, {"msgtype": "m.text", "body": text}), check
        self.every_turn(make)


if __name__ == "__main__":
    unittest.main(verbosity=2)
