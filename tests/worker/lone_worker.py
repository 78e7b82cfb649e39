"""One real worker process with this file as its supervisor: settings and an empty list of peers go down the control channel, messages go in over
the bus (bus_call)."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time


class LoneWorker:
    def __init__(self, program, bus_call, files=(), environment=(), **settings):
        """files: (name, content) to be in the data folder."""
        self.folder = tempfile.mkdtemp(prefix="lone-", dir="/tmp")
        self.bus_call, self.packets, self.ended, self.problem = bus_call, [], threading.Event(), None
        self.secret = settings.get("cluster_secret")
        for name, content in files:
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(content)
        ours, theirs = socket.socketpair()
        self.log = open(os.path.join(self.folder, "log"), "w+")

        def child():
            os.dup2(theirs.fileno(), 3)
            os.set_inheritable(3, True)  # also when it was 3 already

        self.process = subprocess.Popen([program], preexec_fn=child, close_fds=False, stderr=self.log, env={**os.environ, **dict(environment)})
        theirs.close()
        self.control = ours
        lines = "".join(f"{key}={value}\n" for key, value in {"server_name": "test.example", **settings}.items())
        self.tell({"type": "settings", "lines": lines, "data": self.folder})
        self.tell({"type": "peers", "generation": 1, "peers": []})
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, packet):
        data = json.dumps(packet).encode()
        try:
            self.control.sendall(struct.pack("<I", len(data)) + data)
        except OSError:
            pass  # it ended; the test will see

    def _read(self):
        """A process that dies may leave half a packet behind, and stop() closes the socket under our hands: ends like any other."""
        try:
            with self.control.makefile("rb") as stream:
                while len(head := stream.read(4)) == 4:
                    size = struct.unpack("<I", head)[0]
                    if len(body := stream.read(size)) < size:
                        break
                    self.packets.append(json.loads(body))
        except (OSError, ValueError) as problem:  # ValueError: what came is no packet; a test that waits for one says what was logged
            self.problem = problem
        finally:
            self.ended.set()

    def packet(self, kind, seconds=15, **wanted):
        """The first such packet; None when the worker ends without it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            over = self.ended.is_set()  # asked first: its last packets are still looked at
            for packet in list(self.packets):
                if packet["type"] == kind and all(packet.get(key) == value for key, value in wanted.items()):
                    return packet
            if over and isinstance(self.problem, ValueError):
                break
            if over:
                return None
            self.ended.wait(0.01)
        raise AssertionError(f"no {kind}: {self.problem or ''} {self.logged()}")

    def calls(self, *calls, rank=1, times=1):
        """(message, request) … → answers."""
        endpoint = self.packet("ready")["endpoint"]
        lines = "".join(f"{name} {json.dumps(request)}\n" for name, request in calls)
        secret = [self.secret] if self.secret else []
        done = subprocess.run([self.bus_call, endpoint, str(rank), str(times), *secret], input=lines, capture_output=True, text=True, timeout=60)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def call(self, name, request, **more):
        return self.calls((name, request), **more)[0]

    def metrics(self):
        self.tell({"type": "metrics", "id": 7})
        return self.packet("metrics", id=7)["text"]

    def logged(self):
        if hasattr(self, "told"):
            return self.told
        with open(self.log.name) as log:
            return log.read()

    def stop(self):
        """Drains; the exit status."""
        if self.process.poll() is None and self.packet("ready"):
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.ended.wait(5)
        self.control.close()
        self.log.close()
        self.told = self.logged()
        shutil.rmtree(self.folder)
        return status
