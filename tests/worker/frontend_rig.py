"""A frontend with everything around it scripted: this file plays the supervisor on the control channel, starts fake workers,
and speaks HTTP/1.1 by hand where a well-behaved client would be in the way."""

import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from ports import free_port


def wait_until(condition, seconds=20.0, what="condition"):
    """Waits for something that will happen; fails the test when it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what}")


class Worker:
    """One fake worker process; what it printed is in lines."""

    def __init__(self, rig, kind, quiet=False, endpoint=None, mode=""):
        self.rig, self.kind = rig, kind
        self.instance = secrets.token_hex(8)
        self.endpoint = endpoint or f"ipc://{rig.folder}/{kind}-{self.instance}"
        self.lines = []
        arguments = [rig.fake_worker, self.endpoint, "quiet" if quiet else "talk", rig.secret, mode]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for("ready")

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, start, count=1, seconds=20.0):
        wait_until(lambda: self.count(start) >= count, seconds, f"{count} × '{start}' from {self.kind}")

    def count(self, start):
        return sum(1 for line in self.lines if line.startswith(start))

    def peer(self, draining=False):
        return {"instance": self.instance, "kind": self.kind, "endpoint": self.endpoint, "publisher": "", "version": "test",
                "draining": draining}

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        if how == signal.SIGKILL:
            self.process.wait()


class Rig:
    """with Rig(frontend, fake_worker, setting=…) as rig: …; workers of the kinds are started and announced."""

    def __init__(self, frontend, fake_worker, kinds=("accounts", "events", "sync", "federation"), tls=False, quiet=False, **settings):
        self.frontend, self.fake_worker = frontend, fake_worker
        self.folder = tempfile.mkdtemp(prefix="front-", dir="/tmp")
        os.mkdir(f"{self.folder}/run")
        self.port, self.federation_port = free_port(), free_port()
        self.secret = settings.get("cluster_secret", "")
        self.settings = {
            "server_name": "test.example",
            "client_listen": f"127.0.0.1:{self.port}",
            "federation_listen": f"127.0.0.1:{self.federation_port}" + (",tls" if tls else ""),
            "rate_limits": "false",
            "log_level": "debug" if os.environ.get("VERBOSE") else "warn",
            **settings,
        }
        if tls:
            self.make_certificate()
        self.workers, self.packets, self.generation, self.reply_id = [], [], 0, 0
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        for kind in kinds:
            self.workers.append(Worker(self, kind, quiet))
        self.announce()

    def make_certificate(self, name="localhost"):
        os.makedirs(f"{self.folder}/tls", exist_ok=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", f"/CN={name}", "-keyout", f"{self.folder}/tls/server.key", "-out", f"{self.folder}/tls/server.crt"],
                       check=True, capture_output=True)

    def start(self):
        ours, theirs = socket.socketpair()
        self.log = open(f"{self.folder}/log", "w+")

        def child():
            os.dup2(theirs.fileno(), 3)

        # Descriptor 3 must survive pass_fds' closing: duplicate first, whatever number it had.
        self.process = subprocess.Popen([self.frontend], preexec_fn=child, close_fds=False,
                                        stderr=None if os.environ.get("VERBOSE") else self.log)
        theirs.close()
        self.control = ours
        lines = "".join(f"{k}={v}\n" for k, v in self.settings.items())
        self.tell({"type": "settings", "lines": lines, "data": self.folder})
        self.announce()
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: self.packet("ready") or self.process.poll() is not None, 10, "ready")
        assert self.packet("ready"), "the frontend ended"

    def tell(self, packet):
        data = json.dumps(packet).encode()
        self.control.sendall(struct.pack("<I", len(data)) + data)

    def _read(self):
        stream = self.control.makefile("rb")
        while True:
            head = stream.read(4)
            size = struct.unpack("<I", head)[0] if len(head) == 4 else 0
            body = stream.read(size)
            if not size or len(body) < size:
                return  # it ended, perhaps in the middle of a packet
            self.packets.append(json.loads(body))

    def packet(self, kind):
        return next((p for p in self.packets if p["type"] == kind), None)

    def announce(self, peers=None):
        """The live list: by default every worker that runs."""
        self.generation += 1
        if peers is None:
            peers = [w.peer() for w in self.workers if w.process.poll() is None]
        self.tell({"type": "peers", "generation": self.generation, "peers": peers})

    def worker(self, kind):
        return next(w for w in self.workers if w.kind == kind and w.process.poll() is None)

    def add_worker(self, kind, announce=True, **more):
        worker = Worker(self, kind, **more)
        self.workers.append(worker)
        if announce:
            self.announce()
        return worker

    def metrics(self):
        self.reply_id += 1
        self.tell({"type": "metrics", "id": self.reply_id})
        found = wait_until(lambda: next((p for p in self.packets if p["type"] == "metrics" and p["id"] == self.reply_id), None))
        result = {}
        for line in found["text"].splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                result[name] = float(value)
        return result

    def metric(self, name):
        """The sum of its series."""
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == name)

    def connect(self, port=None):
        return Http(port or self.port)

    def get(self, target, **more):
        with self.connect() as http:
            return http.request("GET", target, **more)

    def drain(self, seconds=6):
        started = time.monotonic()
        self.tell({"type": "drain"})
        self.process.wait(seconds)
        return time.monotonic() - started

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        status = self.process.poll()
        if status is None:
            self.drain(10)
            status = self.process.returncode
        self.control.close()
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill(signal.SIGCONT)
                worker.kill()
        self.log.seek(0)
        log = self.log.read()
        self.log.close()
        if failure[0] or status:
            print(log[-6000:])
        subprocess.run(["rm", "-rf", self.folder], check=False)
        if not failure[0]:
            assert status == 0, f"the frontend ended with {status}"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Http:
    """HTTP/1.1, one byte at a time if need be."""

    def __init__(self, port, timeout=15):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def send_request(self, method, target, headers=(), body=None):
        lines = [f"{method} {target} HTTP/1.1", "Host: test.example", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))

    def read_answer(self, method="GET"):
        status_line = self.stream.readline()
        if not status_line:
            raise EOFError
        status, headers = int(status_line.split()[1]), {}
        while (line := self.stream.readline().rstrip()):
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while (size := int(self.stream.readline(), 16)):
                body += self.stream.read(size)
                self.stream.readline()
            self.stream.readline()
        else:
            body = self.stream.read(int(headers.get("content-length", 0)))
        return Answer(status, headers, body)

    def request(self, method, target, headers=(), body=None):
        self.send_request(method, target, headers, body)
        return self.read_answer(method)

    def is_closed(self, seconds):
        """Whether the server ends the connection within that time (what it says before does not matter)."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False
