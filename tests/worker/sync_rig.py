"""A whole system on loopback for tests of /sync, and a client that keeps what it is told."""
import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from ports import free_port


def quote(text):
    return urllib.parse.quote(text, safe="")


class System:
    """`myelin up` from a build folder, with two replicas of what sync hears and is."""

    def __init__(self, build, source, more=()):
        self.folder = tempfile.mkdtemp(prefix="myelin-sync-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.port, federation = free_port(), free_port()
        settings = ["open_registration=true", "rate_limits=false", "password_cost=cheap", "replicas.sync=2", "replicas.events=2",
                    "replicas.media=0", "replicas.push=0", "replicas.janitor=0", *more]
        self.log = open(self.folder + "/log", "w")
        self.process = subprocess.Popen(
            [build + "/myelin", "up", "--data", self.folder + "/data", "--schema", source + "/schema", "--server-name", "sync.test", "--client-listen",
             f"127.0.0.1:{self.port}", "--federation-listen", f"127.0.0.1:{federation},plain"] + [a for s in settings for a in ("--set", s)],
            stdout=self.log, stderr=self.log, start_new_session=True)
        for _ in range(300):
            try:
                self.request(None, "GET", "/_matrix/client/versions")
                return
            except (OSError, AssertionError):
                time.sleep(0.2)
        raise SystemExit("the system did not start: " + open(self.folder + "/log").read()[-3000:])

    def request(self, token, method, path, body=None, connection=None):
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + token
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (method, path, answer.status, text)
        return json.loads(text)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
        log = open(self.folder + "/log").read()
        shutil.rmtree(self.folder, ignore_errors=True)
        return [line for line in log.splitlines() if "Sanitizer" in line or "runtime error" in line or '"level":"error"' in line]


class Device:
    serial = itertools.count()

    def __init__(self, system, login=None):
        self.system, self.since = system, None
        self.connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=90)
        self.token = None
        if login:
            answer = self.ask("POST", "/login", {"type": "m.login.password", "password": "a-long-password-1",
                                                 "identifier": {"type": "m.id.user", "user": login.user}})
        else:
            answer = self.ask("POST", "/register", {"username": f"user{next(Device.serial)}", "password": "a-long-password-1",
                                                    "auth": {"type": "m.login.dummy"}})
        self.token, self.user, self.device = answer["access_token"], answer["user_id"], answer["device_id"]

    def ask(self, method, path, body=None):
        return self.system.request(self.token, method, "/_matrix/client/v3" + path, body, self.connection)

    def room(self, **how):
        return self.ask("POST", "/createRoom", how)["room_id"]

    def in_room(self, room, what, body=None, method="POST"):
        return self.ask(method, f"/rooms/{quote(room)}/{what}", body or {})

    def send(self, room, text, **extra):
        content = {"msgtype": "m.text", "body": text, **extra}
        return self.in_room(room, f"send/m.room.message/{time.time_ns()}", content, "PUT")["event_id"]

    def sync(self, since=None, timeout=0, filter=None, **more):
        query = {"timeout": str(timeout), **more}
        if since:
            query["since"] = since
        if filter is not None:
            query["filter"] = json.dumps(filter)
        return self.ask("GET", "/sync?" + urllib.parse.urlencode(query))
