"""The discovery worker as a real process: the message, its faults, its metrics, and many look-ups at once."""

import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from discovery_sites import Authority, Site
from dns_server import DnsServer
from lone_worker import LoneWorker

WORKER, BUS_CALL = sys.argv[1:3]
del sys.argv[1:3]


class DiscoveryWorker(unittest.TestCase):
    def setUp(self):
        self.dns, self.folder = DnsServer(), tempfile.TemporaryDirectory(prefix="disc-", dir="/tmp")
        authority = Authority(self.folder.name)
        self.site = Site(authority)
        self.worker = LoneWorker(WORKER, BUS_CALL, federation_ca_file=authority.certificate, federation_allow_private="true",
                                 discovery_dns_server=self.dns.address, discovery_well_known_port=self.site.port)

    def tearDown(self):
        self.assertEqual(self.worker.stop(), 0, self.worker.logged())
        self.dns.__exit__()
        self.site.close()
        self.folder.cleanup()

    def resolve(self, name, **more):
        return self.worker.call("resolve", {"server_name": name, "refresh": False, **more})

    def test_answers(self):
        self.dns.add("a.example", "A", "127.0.0.1")
        self.dns.add("b.example", "A", "127.0.0.2", ttl=600)
        self.site.serve("a.example", f"a.example:{self.site.port}", (200, {}, json.dumps({"m.server": "b.example:1234"}).encode()))
        found = self.resolve("a.example")
        self.assertEqual(found["fault"], "OK", found)
        reply = found["reply"]
        self.assertEqual((reply["addresses"], reply["ports"]), (["127.0.0.2"], [1234]))
        self.assertEqual((reply["host_header"], reply["certificate_name"]), ("b.example:1234", "b.example"))
        self.assertEqual(reply["steps"], "well-known > port > a")
        self.assertEqual(self.resolve("a.example"), found)
        metrics = self.worker.metrics()
        for line in ('myelin_discovery_lookups_total{outcome="ok"} 2', 'myelin_discovery_cache_hits_total{cache="results"} 1',
                     'myelin_http_fetches_total{outcome="ok"} 1', 'myelin_discovery_well_known_total{outcome="good"} 1'):
            self.assertIn(line, metrics)

    def test_faults(self):
        self.assertEqual(self.resolve("not a name"), {"fault": "INVALID_PARAM", "why": "not a server name"})
        self.assertEqual(self.resolve("gone.example:1"), {"fault": "PEER", "why": "port > nxdomain"})

    def test_many_at_once(self):
        self.dns.add("a.example", "A", "127.0.0.1")
        first, all_of_them = self.worker.calls(("resolve", {"server_name": "a.example:1", "refresh": False}), times=2000)
        self.assertEqual((first["fault"], self.dns.count("a.example", "A")), ("OK", 1))
        print(f"\n    cached answers/s over the bus: {2000e6 / all_of_them['us']:.0f}", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
