"""The keys worker as a real process among real ones; other servers are scripted: test_keys.py BUILD_FOLDER [unittest arguments]."""

import json
import os
import re
import sys
import time
import unittest

from outbound_rig import NAME, OUR_KEY, ROOT, Rig, is_signed, now_ms, unpadded, wait_until

BUILD = sys.argv.pop(1)
KINDS = ("signing", "discovery", "sender", "keys", "frontend")
DAY = 86400000
FAULTS = {int(number): name for name, number in re.findall(r"^FAULT\((\w+), (\d+),", open(os.path.join(ROOT, "proto/faults.def"), encoding="utf-8").read(), re.M)}


def entries(*rows):
    """(server, key id, signature, message, valid_at) …"""
    columns = list(zip(*rows))
    return dict(zip(("servers", "key_ids", "signatures", "messages", "valid_at"), (list(column) for column in columns)))


def row(peer, message="hello", valid_at=None, key_id=None, signature=None, server=None):
    return (server or peer.name, key_id or peer.key_id, signature or peer.signature(message.encode()), message, now_ms() if valid_at is None else valid_at)


def verify(rig, *rows, **more):
    answer = rig.call("keys", "verify", entries(*rows), **more)
    assert answer["fault"] == "OK", answer
    return [FAULTS[code] for code in answer["reply"]["results"]]


class Publishing(unittest.TestCase):
    def test_own_keys(self):
        with Rig(BUILD, ("signing", "discovery", "sender", "keys", "frontend")) as rig:
            for path in ("/_matrix/key/v2/server", "/_matrix/key/v2/server/ed25519:any"):
                status, answer = rig.get(path)
                self.assertEqual((status, answer["server_name"], answer["old_verify_keys"]), (200, NAME, {}))
                self.assertEqual(answer["verify_keys"], {"ed25519:auto": {"key": unpadded(OUR_KEY.public)}})
                self.assertTrue(now_ms() + 23 * 3600000 < answer["valid_until_ts"] <= now_ms() + DAY + 1000)
                self.assertTrue(is_signed(answer, NAME, "ed25519:auto", OUR_KEY.public))
            rig.kill(rig.worker("signing"))
            self.assertEqual(rig.get("/_matrix/key/v2/server")[1], answer)

    def test_notary(self):
        with Rig(BUILD, KINDS) as rig:
            peer, silent = rig.peer(), rig.peer(start=False)
            self.assertEqual(rig.get("/_matrix/key/v2/query/" + silent.name), (200, {"server_keys": []}))
            status, answer = rig.get("/_matrix/key/v2/query/" + peer.name)
            self.assertEqual((status, len(answer["server_keys"])), (200, 1))
            keys = answer["server_keys"][0]
            self.assertTrue(is_signed(keys, peer.name, peer.key_id, peer.key.public))
            self.assertTrue(is_signed(keys, NAME, "ed25519:auto", OUR_KEY.public))
            peer.stop()
            query = {"server_keys": {peer.name: {peer.key_id: {"minimum_valid_until_ts": 5}}, silent.name: {}, NAME: {}, "not a name": {}}}
            status, answer = rig.request("POST", "/_matrix/key/v2/query", query)
            self.assertEqual((status, sorted(k["server_name"] for k in answer["server_keys"])), (200, sorted([peer.name, NAME])))
            self.assertEqual(peer.count("/_matrix/key"), 1)
            self.assertEqual(rig.request("POST", "/_matrix/key/v2/query", {"server_keys": {}}), (200, {"server_keys": []}))
            for bad in ({}, {"server_keys": []}, {"server_keys": {"a": []}}, {"server_keys": {"a": {"ed25519:1": {"minimum_valid_until_ts": "5"}}}}):
                self.assertEqual(rig.request("POST", "/_matrix/key/v2/query", bad)[0], 400, bad)
            self.assertEqual(rig.get(f"/_matrix/key/v2/query/{peer.name}?minimum_valid_until_ts=x")[0], 400)
            # a time that its answer does not reach: asked again (in vain), then what we have
            self.assertEqual(len(rig.get(f"/_matrix/key/v2/query/{peer.name}?minimum_valid_until_ts={now_ms() + 9 * DAY}")[1]["server_keys"]), 1)


class Verifying(unittest.TestCase):
    def test_results(self):
        with Rig(BUILD) as rig:
            peer, silent = rig.peer(), rig.peer(start=False, seed=b"\2" * 32)
            bad = unpadded(b"x" * 64)
            own = unpadded(OUR_KEY.sign(b"ours"))
            found = verify(rig, row(peer), row(peer, signature=bad), row(peer, key_id="ed25519:other"), row(peer, signature="!"), row(silent),
                           row(peer, server="no name!"), (NAME, "ed25519:auto", own, "ours", now_ms()), (NAME, "ed25519:auto", own, "theirs", 0))
            self.assertEqual(found, ["OK", "INVALID_SIGNATURE", "PEER", "INVALID_SIGNATURE", "PEER", "PEER", "OK", "INVALID_SIGNATURE"])
            self.assertEqual(peer.count("/_matrix/key"), 1)
            self.assertEqual(verify(rig, row(peer, key_id="ed25519:other")), ["PEER"])
            self.assertEqual(peer.count("/_matrix/key"), 1)  # an unknown key does not make us ask again at once
            self.assertEqual(rig.worker("keys").call("verify", {**entries(row(peer)), "key_ids": []})["fault"], "INVALID_PARAM")

    def test_equal_lookups_meet(self):
        with Rig(BUILD) as rig:
            peer = rig.peer()
            peer.handle = lambda method, path, body: (time.sleep(0.3), None)[1]
            answers = rig.worker("keys").calls(("verify", entries(row(peer))), times=20)
            self.assertEqual(answers[0]["reply"]["results"], [0])
            self.assertEqual(peer.count("/_matrix/key"), 1)

    def test_times(self):
        with Rig(BUILD) as rig:
            peer = rig.peer()
            old = unpadded(peer.key.public)
            peer.old_keys = {"ed25519:old": {"key": old, "expired_ts": now_ms() - 10 * DAY}}
            peer.valid_ms = 30 * DAY  # believed for 7 days only
            now = now_ms()
            found = verify(rig, row(peer, valid_at=0), row(peer, valid_at=now + 6 * DAY), row(peer, valid_at=now + 8 * DAY),
                           row(peer, key_id="ed25519:old", valid_at=now - 11 * DAY), row(peer, key_id="ed25519:old", valid_at=now - 9 * DAY),
                           row(peer, key_id="ed25519:old", valid_at=0))
            self.assertEqual(found, ["OK", "OK", "INVALID_SIGNATURE", "OK", "INVALID_SIGNATURE", "OK"])

    def test_bad_answers(self):
        def other_name(answer):
            return {**answer, "server_name": "other.example"}

        def unsigned(answer):
            return {**answer, "signatures": {}}

        def changed(answer):
            return {**answer, "valid_until_ts": answer["valid_until_ts"] + 1}

        def oversize(answer):
            return {**answer, "padding": "x" * 70000}

        with Rig(BUILD) as rig:
            for spoil in (other_name, unsigned, changed, oversize, lambda _: b"{", lambda _: b"[]", lambda _: {}):
                peer = rig.peer()
                peer.change_keys = spoil
                self.assertEqual(verify(rig, row(peer)), ["PEER"], spoil)
            self.assertEqual(rig.sql("SELECT count(*) FROM server_key"), "0")

    def test_kept_in_the_table(self):
        with Rig(BUILD) as rig:
            peer = rig.peer()
            self.assertEqual(verify(rig, row(peer)), ["OK"])
            wait_until(lambda: rig.sql("SELECT count(*) FROM server_key") == "1")
            peer.stop()
            rig.kill(rig.worker("keys"))
            rig.start("keys")
            self.assertEqual(verify(rig, row(peer)), ["OK"])

    def test_database_away(self):
        with Rig(BUILD) as rig:
            peer, late = rig.peer(), rig.peer()
            self.assertEqual(verify(rig, row(peer)), ["OK"])
            rig.database("stop")
            self.assertEqual(verify(rig, row(peer)), ["OK"])
            self.assertEqual(verify(rig, row(late)), ["OK"])
            rig.database("start")

    def test_notaries(self):
        with Rig(BUILD) as rig:
            notary, gone = rig.peer(), rig.peer(start=False, seed=b"\3" * 32)

            def handle(method, path, body):
                if not path.startswith("/_matrix/key/v2/query"):
                    return None
                wanted = json.loads(body)["server_keys"]
                return 200, {"server_keys": [notary.sign(gone.keys())] if gone.name in wanted else []}

            notary.handle = handle
            rig.kill(rig.worker("keys"))
            rig.start("keys", trusted_key_servers=f"localhost:1,{notary.name}")
            self.assertEqual(verify(rig, row(gone)), ["OK"])
            self.assertEqual(verify(rig, row(gone)), ["OK"])
            self.assertEqual(notary.count("/_matrix/key/v2/query"), 1)

    def test_negative_answers_are_kept(self):
        with Rig(BUILD) as rig:
            peer = rig.peer()
            peer.handle = lambda *_: (500, {})
            for _ in range(5):
                self.assertEqual(verify(rig, row(peer)), ["PEER"])
            self.assertEqual(peer.count("/_matrix/key"), 1)
            peer.handle = None
            wait_until(lambda: verify(rig, row(peer)) == ["OK"], 5, "the second question")

    def test_rate(self):
        with Rig(BUILD) as rig:
            peer = rig.peer()
            one = rig.worker("keys").calls(("verify", entries(row(peer))), times=2000)[1]
            many = rig.worker("keys").calls(("verify", entries(*[row(peer)] * 1000)), times=5)[1]
            print(f"\n    verifications/s: {one['count'] * 1e6 / one['us']:.0f} one per message, {many['count'] * 1e9 / many['us']:.0f} in batches of 1000",
                  file=sys.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2 if "-v" in sys.argv else 1)
