"""The signing worker, as a real process: what it answers, what it refuses to start with, and that it is sealed."""

import base64
import os
import subprocess
import sys
import tempfile
import unittest

from lone_worker import LoneWorker

WORKER, BUS_CALL, SEAL = sys.argv[1:4]
del sys.argv[1:4]

# Spec, appendix "Signing JSON": the example key.
SEED = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
PUBLIC = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"
SIGNATURE_OF_EMPTY_OBJECT = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"


def start(text, **settings):
    return LoneWorker(WORKER, BUS_CALL, files=[("signing.key", text)], **settings)


class Signing(unittest.TestCase):
    def test_signs_a_batch(self):
        worker = start(f"ed25519 1 {SEED}\n")
        found = worker.call("sign", {"payloads": ["{}", "x", "{}"]})
        self.assertEqual(found["fault"], "OK")
        reply = found["reply"]
        self.assertEqual(reply["key_id"], "ed25519:1")
        self.assertEqual((reply["signatures"][0], reply["signatures"][2]), (SIGNATURE_OF_EMPTY_OBJECT,) * 2)
        self.assertEqual(len(base64.b64decode(reply["signatures"][1] + "==")), 64)
        self.assertEqual(worker.call("sign", {"payloads": []})["reply"]["signatures"], [])
        self.assertIn("myelin_signing_signatures_total 3", worker.metrics())
        self.assertEqual(worker.stop(), 0, worker.logged())

    def test_many_keys(self):
        other, old = (base64.b64encode(bytes([i] * 32)).decode() for i in (7, 8))
        worker = start(f"# ours\n\ned25519 old {old} expired_ts=1500000000000\ned25519 1 {SEED}=\r\n ed25519   a_b {other}\n"
                       f"ed25519 gone {PUBLIC} expired_ts=1400000000000 public")
        reply = worker.call("signing_keys", {})["reply"]
        self.assertEqual(reply["key_ids"], ["ed25519:1", "ed25519:a_b", "ed25519:old", "ed25519:gone"])
        self.assertEqual(reply["expired_ts"], [0, 0, 1500000000000, 1400000000000])
        self.assertEqual((reply["public_keys"][0], reply["public_keys"][3]), (PUBLIC, PUBLIC))
        self.assertEqual(worker.call("sign", {"payloads": ["{}"]})["reply"]["signatures"], [SIGNATURE_OF_EMPTY_OBJECT])
        self.assertEqual(worker.stop(), 0)

    def test_file_elsewhere(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(f"ed25519 9 {SEED}")
            file.flush()
            worker = LoneWorker(WORKER, BUS_CALL, signing_key_file=file.name)
            self.assertEqual(worker.call("sign", {"payloads": []})["reply"]["key_id"], "ed25519:9")
            worker.stop()
        worker = LoneWorker(WORKER, BUS_CALL, files=[("signing.key", f"ed25519 9 {SEED}")], signing_key_file="/dev/null")
        self.assertIsNone(worker.packet("ready"))
        worker.stop()

    def test_refuses_bad_files_and_does_not_log_them(self):
        for text, why in ((f"ed25519 1 {SEED[:-2]}", ":1 does not have 32 bytes"), (f"ed25519 1 {SEED}!", ":1 does not have 32 bytes"), ("", "holds no key"),
                          (f"ed25519 1 {SEED} expired_ts=5", "holds no key"), (f"rsa 1 {SEED}", ":1 is not"), (f"\ned25519 {SEED}", ":2 is not"),
                          (f"ed25519 a:b {SEED}", ":1 has a version"), (f"ed25519 1 {SEED}\ned25519 1 {SEED}", ":2 has the version"),
                          (f"ed25519 1 {SEED} expires=5", ":1 has an expiry"), (f"ed25519 1 {SEED} expired_ts=-5", ":1 has an expiry"),
                          (f"ed25519 1 {SEED} expired_ts=5 private", ":1 ends with"), (f"ed25519 1 {SEED} a b c d", ":1 is not")):
            with self.subTest(why=why, text=text):
                worker = start(text)
                self.assertIsNone(worker.packet("ready"))
                self.assertNotEqual(worker.stop(), 0)
                self.assertIn(why, worker.logged())
                self.assertNotIn(SEED[:20], worker.logged())

    def test_no_file(self):
        worker = LoneWorker(WORKER, BUS_CALL)
        self.assertIsNone(worker.packet("ready"))
        self.assertNotEqual(worker.stop(), 0)

    def test_is_sealed(self):
        worker = start(f"ed25519 1 {SEED}")
        worker.packet("ready")
        for thread in os.listdir(f"/proc/{worker.process.pid}/task"):
            with open(f"/proc/{worker.process.pid}/task/{thread}/status") as status:
                facts = dict(line.split(":\t", 1) for line in status.read().splitlines())
            self.assertEqual((facts["Seccomp"], facts["NoNewPrivs"]), ("2", "1"), f"thread {facts['Name']}")
        # and still works, for a caller that comes now and one that comes later
        for _ in range(2):
            self.assertEqual(worker.call("sign", {"payloads": ["{}"]})["fault"], "OK")
        self.assertEqual(worker.stop(), 0, worker.logged())

    def test_is_reached_from_other_machines(self):
        """New tcp:// connections with CURVE, also after the seal."""
        worker = start(f"ed25519 1 {SEED}", bus_listen="127.0.0.1", cluster_secret="a long secret of the cluster")
        self.assertTrue(worker.packet("ready")["endpoint"].startswith("tcp://"))
        for _ in range(3):
            self.assertEqual(worker.call("sign", {"payloads": ["{}"]})["fault"], "OK")
        self.assertEqual(worker.stop(), 0, worker.logged())

    def test_what_the_seal_forbids(self):
        subprocess.run([SEAL], check=True, timeout=30)

    def test_rate(self):
        worker = start(f"ed25519 1 {SEED}")
        single = worker.calls(("sign", {"payloads": ["{}"]}), times=2000)[1]
        batch = worker.calls(("sign", {"payloads": ["{}" * 200] * 100}), times=50)[1]
        print(f"\n    signatures/s: {single['count'] * 1e6 / single['us']:.0f} one per message, {batch['count'] * 1e8 / batch['us']:.0f} in batches of 100",
              file=sys.stderr)
        self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    unittest.main()
