"""The sandboxes of a running server (what they forbid: tests/unit/test_sandbox.c), and a renewed certificate, which is read through them."""

import os
import signal
import ssl

from matrix import poll
from suite import expect


def run(checks, house):
    def every_thread_is_confined():
        workers = [row for row in house.processes() if row["kind"] not in ("supervisor", "postgres")]
        expect(len(workers) >= 10, f"only {len(workers)} workers are listed")
        for row in workers:
            for thread in os.listdir(f"/proc/{row['pid']}/task"):
                with open(f"/proc/{row['pid']}/task/{thread}/status") as status:
                    facts = dict(line.split(":\t", 1) for line in status.read().splitlines())
                expect((facts["Seccomp"], facts["NoNewPrivs"]) == ("2", "1"), f"{row['kind']} {row['number']}, thread {facts['Name']}")

    def renewal():
        served = lambda: ssl.get_server_certificate(("127.0.0.1", house.federation_port))
        before = served()
        fresh, key = house.authority.issue("renewed")
        os.rename(fresh, house.certificate)  # as the usual programs do it: another file under the same name
        os.rename(key, house.key)
        house.process.send_signal(signal.SIGHUP)
        poll("the new certificate", lambda: served() != before, 10)

    checks.step("every thread of every worker is confined", every_thread_is_confined)
    checks.step("a renewed certificate is served after SIGHUP", renewal)
