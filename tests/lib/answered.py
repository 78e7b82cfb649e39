"""Which rows of proto/routes.def were answered with success: the frontends count by row and status class, and /metrics tells.

The other half of tests/check/routes.py: a row, its handler and a test that names its path are no proof that anything works."""

import os
import re
import urllib.request

from servers import ROOT, free_port

ROW = re.compile(r'^ROUTE\((\w+), "([^"]+)"', re.M)
SUCCESS = re.compile(r'^myelin_frontend_requests_total\{.*method="(\w+)",path="([^"]+)",status="2xx".*\} [1-9]', re.M)


class Answered:
    """Gathers over servers and their restarts: take() before a server stops, because its counters end with it."""

    def __init__(self):
        with open(os.path.join(ROOT, "proto", "routes.def")) as file:
            self.rows = set(ROW.findall(file.read()))
        self.seen, self.listens = set(), {}

    def watch(self, house):
        self.listens[house] = f"127.0.0.1:{free_port()}"
        house.settings.append("metrics_listen=" + self.listens[house])

    def take(self, house):
        with urllib.request.urlopen(f"http://{self.listens[house]}/metrics", timeout=10) as answer:
            self.seen |= set(SUCCESS.findall(answer.read().decode()))

    def expect_all(self):
        missing = sorted(self.rows - self.seen)
        if missing or not self.rows:
            raise AssertionError(f"{len(missing)} of {len(self.rows)} rows were never answered with 2xx: " + ", ".join(" ".join(row) for row in missing))
