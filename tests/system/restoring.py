"""One server is dumped while another owes it nothing and is owed something, and restored into a cluster that has counted far fewer
transactions (lib/kit/migrate_epoch.c, ops/runbooks/restore.md): its clients start over, nothing that was promised is forgotten."""

import os
import subprocess

from clients import V3
from matrix import poll, quote
from servers import ROOT
from suite import expect

KEY = {"signed_curve25519:AAAA": {"key": "handed out after the dump, perhaps"}}


class Cluster:
    """A throw-away PostgreSQL beside the servers' own."""

    def __init__(self):
        self.process = subprocess.Popen([os.path.join(ROOT, "tests/lib/throwaway_postgres"), "-c", "max_connections=200"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def sql(self, statement):
        return subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.url, "-c", statement], check=True, capture_output=True,
                              text=True).stdout.strip()

    def restore(self, house):
        dump = subprocess.Popen(["pg_dump", "--no-owner", "--no-privileges", "-h", os.path.join(house.data, "run"), "-U", "myelin", "myelin"],
                                stdout=subprocess.PIPE)
        subprocess.run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", self.url], stdin=dump.stdout, stdout=subprocess.DEVNULL, check=True)
        expect(dump.wait() == 0, "pg_dump failed")

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def run(checks, house, other):
    alice, carol, bob = house.user("restored"), house.user("claimer"), other.user("afar")
    kept, cluster = {}, Cluster()

    def before():
        house.sql("DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
        kept["room"] = room = alice.create_room(preset="public_chat", name="Kept")
        bob.join(room, house.name)
        bob.wait("room", lambda: room in bob.rooms)
        alice.wait("guest", lambda: alice.membership(room, bob.user_id) == "join")
        for number in range(5):
            alice.say(room, f"before the dump {number}")
        kept["page"] = alice.call("GET", f"{V3}/rooms/{quote(room)}/messages", None, dir="b", limit=3)
        kept["older"] = alice.call("GET", f"{V3}/rooms/{quote(room)}/messages", None, dir="b", limit=3, **{"from": kept["page"]["end"]})
        alice.call("POST", V3 + "/keys/upload", {"one_time_keys": KEY})
        other.stop()
        kept["owed"] = alice.say(room, "while you were away")
        alice.wait("own message", lambda: alice.event(room, kept["owed"]))
        kept["token"] = alice.since

    def dump_and_restore():
        cluster.restore(house)
        house.stop()
        expect(int(cluster.sql("SELECT pg_current_xact_id()")) < int(cluster.sql("SELECT min(pos::text::bigint) FROM event WHERE room_nid = "
               f"(SELECT room_nid FROM room WHERE room_id = '{kept['room']}')")), "the new cluster has counted too far for this test")
        house.settings.append("database_url=" + cluster.url)
        house.start()
        expect(cluster.sql("SELECT epoch FROM cluster") == "2", "the restore was not noticed")

    def old_token_starts_over():
        alice.http.close()
        expect(alice.since == kept["token"], "the wrong token")
        answer = alice.sync()
        types = {event["type"] for part in ("state", "timeline") for event in answer["rooms"]["join"][kept["room"]][part]["events"]}
        expect({"m.room.create", "m.room.name", "m.room.message"} <= types, f"not a first sync: {sorted(types)}")
        expect("_g2" in alice.since, f"no epoch in {alice.since}")
        expect("rooms" not in alice.sync(), "told twice")

    def other_tokens():
        room = kept["room"]
        again = alice.call("GET", f"{V3}/rooms/{quote(room)}/messages", None, dir="b", limit=3, **{"from": kept["page"]["end"]})
        expect([event["event_id"] for event in again["chunk"]] == [event["event_id"] for event in kept["older"]["chunk"]], f"another page: {again}")
        newest = alice.call("GET", f"{V3}/rooms/{quote(room)}/messages", None, dir="b", limit=1, **{"from": kept["token"]})
        expect(newest["chunk"][0]["event_id"] == kept["owed"], f"got {newest}")
        changes = alice.call("GET", V3 + "/keys/changes", None, **{"from": kept["token"], "to": alice.since})
        expect(bob.user_id in changes["changed"], f"got {changes}")

    def incremental():
        event_id = alice.say(kept["room"], "after the restore")
        answer = alice.sync(5000)
        timeline = answer["rooms"]["join"][kept["room"]]["timeline"]
        expect([event["event_id"] for event in timeline["events"]] == [event_id], f"got {timeline}")

    def one_time_keys():
        device = alice.call("GET", V3 + "/account/whoami")["device_id"]
        claim = {"one_time_keys": {alice.user_id: {device: "signed_curve25519"}}}
        carol.http.close()
        answer = carol.call("POST", V3 + "/keys/claim", claim)["one_time_keys"]
        expect(not answer.get(alice.user_id, {}).get(device), f"an old key was handed out: {answer}")
        expect(alice.sync()["device_one_time_keys_count"].get("signed_curve25519", 0) == 0, "an old key is counted")
        alice.call("POST", V3 + "/keys/upload", {"one_time_keys": {"signed_curve25519:BBBB": {"key": "new"}}})
        answer = carol.call("POST", V3 + "/keys/claim", claim)["one_time_keys"]
        expect(list(answer[alice.user_id][device]) == ["signed_curve25519:BBBB"], f"got {answer}")

    def to_others():
        other.start()
        bob.http.close()
        answered = bob.say(kept["room"], "I am back")
        alice.wait("the other server's event", lambda: alice.event(kept["room"], answered))
        bob.wait("what was owed at the dump", lambda: bob.event(kept["room"], kept["owed"]))
        sent = alice.say(kept["room"], "welcome")
        bob.wait("a new event", lambda: bob.event(kept["room"], sent))
        poll("distributed positions that move", lambda: cluster.sql(
            f"SELECT bool_and(distributed_pos > (SELECT pos FROM event WHERE event_id = '{sent}')) FROM sender_slot") == "t")

    def a_worker_that_hangs():
        """Workers switch roles here, so that the supervisor knows them by name."""
        done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", cluster.url, "-c", "SET ROLE myelin_rooms", "-c", "BEGIN", "-c",
                               "INSERT INTO published_room VALUES ('!stuck', 0)", "-c", "SELECT pg_sleep(600)"], capture_output=True, text=True,
                              env={**os.environ, "PGAPPNAME": "myelin-rooms"}, timeout=120)
        expect("terminating connection due to administrator command" in done.stderr, f"got {done.stderr}")
        expect(cluster.sql("SELECT count(*) FROM published_room WHERE room_id = '!stuck'") == "0", "it was committed")

    try:
        checks.step("a server with history, tokens, keys and debts", before)
        checks.step("a dump restored into another cluster", dump_and_restore, needs=["a server with history, tokens, keys and debts"])
        after = ["a dump restored into another cluster"]
        checks.step("an old sync token starts over", old_token_starts_over, needs=after)
        checks.step("other old tokens", other_tokens, needs=after)
        checks.step("a new event comes in the next sync", incremental, needs=after + ["an old sync token starts over"])
        checks.step("no old one-time key is handed out", one_time_keys, needs=after)
        checks.step("what was owed, and what is new, is sent", to_others, needs=after)
        checks.step("a worker that hangs in a transaction is ended", a_worker_that_hangs, needs=after)
    finally:
        house.stop()
        cluster.stop()
