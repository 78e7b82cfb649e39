"""What keys and sender are tested in: a throw-away PostgreSQL, the real signing, discovery, keys, sender, events and frontend processes with
this file as their supervisor, and scripted HTTPS servers as the outside world.

    with Rig(build_folder) as rig:
        peer = rig.peer()            # localhost:PORT, serves its keys, acknowledges transactions
        rig.call("sender", "fetch", {...})
"""

import base64
import http.server
import json
import os
import re
import shutil
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time

import ed25519
from frontend_rig import free_port, wait_until
from lone_worker import LoneWorker

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

SEED = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"  # spec, appendix "Signing JSON"
OUR_KEY = ed25519.Key(base64.b64decode(SEED + "="))
NAME = "test.example"


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unpadded(data):
    return base64.b64encode(data).decode().rstrip("=")


def padded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def now_ms():
    return int(time.time() * 1000)


def signable(value):
    return canonical({key: part for key, part in value.items() if key not in ("signatures", "unsigned")})


def is_signed(value, server, key_id, public):
    return ed25519.verify(public, padded(value["signatures"][server][key_id]), signable(value))


class Peer:
    """A scripted server. handle(method, path, body) gives (status, JSON or bytes), or None for what a plain server does."""

    def __init__(self, rig, port=None, seed=b"\1" * 32, key_id="ed25519:peer"):
        self.rig, self.port, self.key, self.key_id = rig, port or free_port(), ed25519.Key(seed), key_id
        self.name = f"localhost:{self.port}"
        self.requests, self.handle, self.server = [], None, None
        self.old_keys, self.valid_ms = {}, 86400000
        self.change_keys = lambda answer: answer  # after signing: to spoil it
        self.lock = threading.Lock()

    def sign(self, value, name=None):
        signature = unpadded(self.key.sign(signable(value)))
        value.setdefault("signatures", {}).setdefault(name or self.name, {})[self.key_id] = signature
        return value

    def signature(self, message):
        return unpadded(self.key.sign(message))

    def keys(self):
        return self.sign({"server_name": self.name, "valid_until_ts": now_ms() + self.valid_ms, "old_verify_keys": self.old_keys,
                          "verify_keys": {self.key_id: {"key": unpadded(self.key.public)}}})

    def answer(self, method, path, body):
        given = self.handle(method, path, body) if self.handle else None
        if given is not None:
            return given
        if path.startswith("/_matrix/key/v2/server"):
            return 200, self.change_keys(self.keys())
        return 200, {"pdus": {}}

    def start(self):
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, wbufsize = "HTTP/1.1", -1  # one packet per answer

            def reply(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                entry = {"method": self.command, "path": self.path, "body": body, "at": time.perf_counter(),
                         "authorization": self.headers.get("Authorization"), "type": self.headers.get("Content-Type")}
                with peer.lock:
                    peer.requests.append(entry)
                status, answer = peer.answer(self.command, self.path, body)
                data = answer if isinstance(answer, bytes) else canonical(answer)
                entry["status"] = status
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = reply

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads, allow_reuse_address, request_queue_size = True, True, 64
            connections = []

            def get_request(self):
                connection, address = super().get_request()
                connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                connection.settimeout(20)
                self.connections.append(connection)
                return connection, address

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.connections = []
        self.server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.context.load_cert_chain(self.rig.certificate, self.rig.key)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self):
        """As if it died: open connections too."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            for connection in self.server.connections:
                try:
                    connection.shutdown(2)
                    connection.close()
                except OSError:
                    pass
            self.server = None

    def count(self, start, method=None):
        with self.lock:
            return sum(r["path"].startswith(start) and method in (None, r["method"]) for r in self.requests)

    def transactions(self, acknowledged=True):
        with self.lock:
            return [{**json.loads(r["body"]), "id": r["path"].split("/")[-1], "at": r["at"]} for r in self.requests
                    if r["path"].startswith("/_matrix/federation/v1/send/") and (not acknowledged or r.get("status") == 200)]

    def bodies(self):
        """content.body of the messages that it took, in order of arrival, without repetitions."""
        found = {}
        for transaction in self.transactions():
            for pdu in transaction["pdus"]:
                found.setdefault(pdu["content"].get("body"), True)
        return [body for body in found if body]

    def edus(self):
        return [edu for transaction in self.transactions() for edu in transaction.get("edus", [])]

    def forget(self):
        with self.lock:
            self.requests.clear()


class Rig:
    def __init__(self, build, kinds=("signing", "discovery", "keys", "sender"), **settings):
        self.build, self.kinds, self.workers, self.killed, self.peers, self.generation = build, kinds, [], [], [], 0
        self.folder = os.path.join("/tmp", f"outbound-{os.getpid()}-{free_port()}")
        os.mkdir(self.folder)
        self.certificates()
        self.port = free_port()
        self.settings = {"server_name": NAME, "federation_ca_file": self.authority, "federation_allow_private": "true", "rate_limits": "false",
                         "client_listen": f"127.0.0.1:{self.port}", "federation_listen": f"127.0.0.1:{free_port()}",
                         "log_level": os.environ.get("LEVEL", "info"), "default_room_version": "11", **settings}

    def certificates(self):
        self.authority, self.certificate, self.key = (os.path.join(self.folder, name) for name in ("ca.crt", "peer.crt", "peer.key"))
        authority_key = os.path.join(self.folder, "ca.key")
        make = ("openssl", "req", "-x509", "-days", "7", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        subprocess.run([*make, "-subj", "/CN=Test authority", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", authority_key, "-out",
                        self.authority], check=True, capture_output=True)
        subprocess.run([*make, "-CA", self.authority, "-CAkey", authority_key, "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.key, "-out",
                        self.certificate], check=True, capture_output=True)

    def __enter__(self):
        self.postgres = subprocess.Popen([os.path.join(ROOT, "tests/lib/throwaway_postgres")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)
        self.url = self.postgres.stdout.readline().strip()
        self.settings["database_url"] = self.url
        subprocess.run([os.path.join(self.build, "tests/check/migrate_database"), self.url, os.path.join(ROOT, "schema")], check=True,
                       stdout=subprocess.DEVNULL)
        for kind in self.kinds:
            self.start(kind)
        return self

    def __exit__(self, *failure):
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)  # all at once: each takes a moment
        statuses = [(worker.kind, worker.stop()) for worker in self.workers if worker not in self.killed]
        for peer in self.peers:
            peer.stop()
        self.postgres.stdin.close()
        self.postgres.wait(30)
        if failure[0] or any(status for _, status in statuses):
            for worker in self.workers:
                print(f"---- {worker.kind}\n{worker.logged()[-4000:]}", file=sys.stderr)
        for worker in self.workers:
            shutil.rmtree(worker.folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        if not failure[0]:
            assert not any(status for _, status in statuses), statuses

    # Processes

    def start(self, kind, **settings):
        worker = LoneWorker(os.path.join(self.build, f"myelin-{kind}"), os.path.join(self.build, "tests/worker/bus_call"),
                            files=[("signing.key", f"ed25519 auto {SEED}\n")], **{**self.settings, **settings})
        worker.kind = kind
        ready = worker.packet("ready")
        assert ready, worker.logged()
        worker.instance = ready["instance"]
        self.workers.append(worker)
        self.announce()
        return worker

    def announce(self):
        self.generation += 1
        peers = []
        for worker in self.workers:
            ready = worker.packet("ready")
            if worker.process.poll() is None:
                peers.append({"kind": worker.kind, "version": "test", "draining": False, "publisher": ready.get("publisher", ""),
                              **{key: ready[key] for key in ("instance", "endpoint")}})
        for worker in self.workers:
            worker.tell({"type": "peers", "generation": self.generation + 1, "peers": peers})

    def worker(self, kind):
        return next(worker for worker in self.workers if worker.kind == kind and worker.process.poll() is None)

    def kill(self, worker):
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        self.killed.append(worker)
        self.announce()

    def call(self, kind, message, request, **more):
        return self.worker(kind).call(message, request, **more)

    def metric(self, kind, name):
        text = self.worker_metrics(kind)
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line))

    def worker_metrics(self, kind):
        worker = self.worker(kind)
        self.generation += 1
        worker.tell({"type": "metrics", "id": 1000 + self.generation})
        return worker.packet("metrics", id=1000 + self.generation)["text"]

    def database(self, command):
        self.postgres.stdin.write(command + "\n")
        self.postgres.stdin.flush()
        assert self.postgres.stdout.readline().strip() == "ok"

    def sql(self, statement):
        host = re.search(r"host=([^&]*)", self.url)[1]
        done = subprocess.run(["psql", "-h", host, "-U", "myelin", "-d", "myelin", "-Atqc", statement], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def peer(self, start=True, **more):
        peer = Peer(self, **more)
        self.peers.append(peer)
        return peer.start() if start else peer

    def get(self, path):
        return self.request("GET", path)

    def request(self, method, path, body=None):
        from matrix import Http
        return Http("127.0.0.1", self.port, timeout=20).send(method, path, body)

    # Rooms: made by the real events worker; members of other servers are written by hand

    def room(self, *peers):
        me = f"@me:{NAME}"
        contents = [{"room_version": "11"}, {"membership": "join"}, {"users": {me: 100}}, {"join_rule": "public"}]
        reply = self.call("events", "room_create", {
            "room_version": "11", "creator": me, "types": ["m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules"],
            "state_keys": ["", me, "", ""], "senders": [None] * 4, "contents": [json.dumps(c) for c in contents]})
        room = reply["reply"]["room_id"]
        for peer in peers:
            self.sql(f"INSERT INTO membership (room_nid, user_id, server, membership, event_nid, is_local) SELECT room_nid, '@u:{peer.name}', "
                     f"'{peer.name}', 'join', 0, false FROM room WHERE room_id = '{room}'")
        return room

    def say(self, room, *texts):
        """Messages of ours; each is acknowledged when this returns."""
        answers = self.worker("events").calls(*(("room_append", {
            "room_id": room, "types": ["m.room.message"], "state_keys": [None], "senders": [f"@me:{NAME}"], "redacts": [None],
            "contents": [json.dumps({"msgtype": "m.text", "body": text})]}) for text in texts))
        assert all(answer["fault"] == "OK" for answer in answers), answers
        return [answer["reply"]["event_ids"][0] for answer in answers]
