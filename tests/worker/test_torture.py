"""A whole server whose database connection breaks at the first, second, third… trip of an operation, for every trip that it makes:
before the trip is done, and behind it, when it is done but nobody is told. What was acknowledged is there; what was not can be
asked for again, and is then there once. Nobody may die of it.

Usage: test_torture.py BUILD_FOLDER
"""

import itertools
import os
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from matrix import MatrixError, poll, quote  # noqa: E402
from pg_proxy import BEFORE, BEHIND, Proxy  # noqa: E402
from servers import ROOT, Authority, scratch_folder, unprivileged  # noqa: E402

V3 = "/_matrix/client/v3"
TRIPS_MAX = 60
KINDS = ("myelin-rooms", "myelin-events", "myelin-accounts", "myelin-federation", "myelin-sync")
BUILD = sys.argv.pop(1) if len(sys.argv) > 1 else os.path.join(ROOT, "build", "dev")


class Torture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["MYELIN_BUILD"] = BUILD
        from house import House, house_prefix
        cls.folder = scratch_folder("torture")
        cls.postgres = subprocess.Popen([os.path.join(ROOT, "tests", "lib", "throwaway_postgres")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        url = cls.postgres.stdout.readline().strip()
        run = os.path.join(cls.folder, "pg")
        os.mkdir(run)
        cls.proxy = Proxy(run, os.path.join(url.partition("host=")[2].partition("&")[0], ".s.PGSQL.5432"))
        account = unprivileged()
        if account:
            os.chown(run, account["user"], account["group"])
        cls.house = House(cls.folder, Authority(cls.folder), "torture", house_prefix(cls.folder, "torture"), replicas=1,
                          settings=[f"database_url=postgresql:///myelin?host={run}&user=myelin"])
        cls.house.start()
        cls.alice, cls.bob = cls.house.user("alice"), cls.house.user("bob")
        cls.pids = {row["kind"]: row["pid"] for row in cls.house.processes()}
        cls.numbers = itertools.count()

    @classmethod
    def tearDownClass(cls):
        import shutil
        from house import parse_log
        cls.house.stop()
        cls.proxy.stop()
        cls.postgres.stdin.close()
        cls.postgres.wait(30)
        complaints = parse_log(cls.house.log)
        shutil.rmtree(cls.folder, ignore_errors=True)
        if complaints:
            raise AssertionError(complaints[:5])

    def every_trip(self, make):
        """make() gives (request, check): request() is made once with the trip lost, check(answer) looks whether what it answered is there.
        An unacknowledged one is asked for again."""
        for how in (BEFORE, BEHIND):
            trips = refused = 0
            for number in range(1, TRIPS_MAX):
                request, check = make()
                self.proxy.lose(number, how, KINDS)
                try:
                    answer = request()
                except MatrixError as error:
                    self.assertGreaterEqual(error.status, 500, f"trip {number} {how}: {error}")
                    answer = None
                lost = self.proxy.disarm()
                with self.subTest(how=how, trip=number, of=lost):
                    if answer is None:
                        refused += 1
                        answer, = poll("an answer to the repetition", lambda: self.again(request), 20)
                    check(answer)
                if not lost:
                    break
                trips = number
            else:
                self.fail(f"more than {TRIPS_MAX} trips?")
            print(f"{self.id().rpartition('.')[2]}: {trips} trips lost, each {how}; {refused} answers were errors", flush=True)
            self.assertGreater(trips, 0)
        self.assertEqual({row["kind"]: row["pid"] for row in self.house.processes()}, self.pids, "a process died")

    @staticmethod
    def again(request):
        """The answer in a list, as it may be empty; None when another try is due."""
        try:
            return [request()]
        except MatrixError as error:
            if error.status < 500:
                raise AssertionError(f"the repetition is refused: {error}") from None
            return None

    def room(self, **body):
        return self.alice.create_room(preset="public_chat", **body)

    def test_create_room(self):
        def make():
            def check(answer):
                room = answer["room_id"]
                state = self.alice.state(room)
                self.assertLessEqual({("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.join_rules", ""), ("m.room.name", ""),
                                      ("m.room.member", self.alice.user_id)}, set(state))
                self.alice.get_event(room, self.alice.say(room, "usable"))
                self.assertIn(room, self.alice.call("GET", V3 + "/joined_rooms")["joined_rooms"])
            return lambda: self.alice.call("POST", V3 + "/createRoom", {"preset": "public_chat", "name": "Tortured"}), check
        self.every_trip(make)

    def test_send(self):
        room = self.room()

        def make():
            number = next(self.numbers)
            path = f"{V3}/rooms/{quote(room)}/send/m.room.message/torture{number}"

            def check(answer):
                found = [event["event_id"] for event in self.alice.history(room, limit=20, pages=1) if event["content"].get("body") == f"torture {number}"]
                self.assertEqual(found, [answer["event_id"]], "it is there once")
            return lambda: self.alice.call("PUT", path, {"msgtype": "m.text", "body": f"torture {number}"}), check
        self.every_trip(make)

    def test_redact(self):
        room = self.room()

        def make():
            number, target = next(self.numbers), self.alice.say(room, "to be redacted")
            path = f"{V3}/rooms/{quote(room)}/redact/{quote(target)}/torture{number}"

            def check(answer):
                found = [event["event_id"] for event in self.alice.history(room, limit=20, pages=1) if event["content"].get("reason") == f"torture {number}"]
                self.assertEqual(found, [answer["event_id"]], "it is there once")
                self.assertEqual(self.alice.get_event(room, target)["content"], {})
            return lambda: self.alice.call("PUT", path, {"reason": f"torture {number}"}), check
        self.every_trip(make)

    def test_state(self):
        room = self.room()

        def make():
            topic = f"torture {next(self.numbers)}"

            def check(answer):
                event = self.alice.state(room)["m.room.topic", ""]
                self.assertEqual((event["content"]["topic"], event["event_id"]), (topic, answer["event_id"]))
            return lambda: self.alice.call("PUT", f"{V3}/rooms/{quote(room)}/state/m.room.topic/", {"topic": topic}), check
        self.every_trip(make)

    def test_join(self):
        def make():
            room = self.room()

            def check(answer):
                self.assertEqual(answer["room_id"], room)
                self.assertEqual(self.bob.state(room)["m.room.member", self.bob.user_id]["content"]["membership"], "join")
                self.assertIn(room, self.bob.call("GET", V3 + "/joined_rooms")["joined_rooms"])
                self.bob.say(room, "usable")
            return lambda: self.bob.call("POST", f"{V3}/rooms/{quote(room)}/join", {}), check
        self.every_trip(make)

    def test_to_device(self):
        room = self.room()
        self.bob.join(room)
        self.bob.sync()

        def make():
            number = next(self.numbers)
            body = {"messages": {self.bob.user_id: {"*": {"number": number}}}}

            def check(answer):
                come, deadline = [], time.monotonic() + 20
                marker = self.alice.say(room, "behind the message")
                while number not in come or not self.bob.event(room, marker):  # a hint may be lost with the trip: then the next tick brings it
                    self.assertLess(time.monotonic(), deadline, f"acknowledged, but only {come} came")
                    answer = self.bob.sync(1000)
                    come += [message["content"]["number"] for message in answer.get("to_device", {}).get("events", [])]
                self.assertEqual(come, [number], "it came once")
            return lambda: self.alice.call("PUT", f"{V3}/sendToDevice/org.example.torture/torture{number}", body), check
        self.every_trip(make)


if __name__ == "__main__":
    unittest.main(verbosity=2)
