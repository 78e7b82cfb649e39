#!/usr/bin/env python3
"""myelin-frontend as a real process: test_frontend.py <frontend> <fake_worker> [unittest arguments]."""

import ctypes
import gzip
import os
import re
import selectors
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import unittest

from frontend_rig import Http, Rig, free_port, wait_until

FRONTEND, FAKE_WORKER = sys.argv[1], sys.argv[2]
HERE = os.path.dirname(os.path.abspath(__file__))
FAULTS = dict(re.findall(r"^FAULT\((\w+), (\d+),", open(f"{HERE}/../../proto/faults.def", encoding="utf-8").read(), re.M))
VERSIONS = "/_matrix/client/versions"  # GET, any lane
LOGIN = "/_matrix/client/v3/login"     # POST: not idempotent, 64 KiB
SYNC = "/_matrix/client/v3/sync"
SEND = "/_matrix/client/v3/rooms/!a%2Fb:x/send/m.room.message/t1"


def rig(**settings):
    return Rig(FRONTEND, FAKE_WORKER, **settings)


class Later:
    """A request on its own connection, answered in the background."""

    def __init__(self, http, method, target, **more):
        self.answer, self.seconds = None, None
        self.http, started = http, time.monotonic()

        def run():
            try:
                self.answer = http.request(method, target, **more)
            except (OSError, EOFError):
                pass
            self.seconds = time.monotonic() - started

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def wait(self, seconds=15):
        self.thread.join(seconds)
        assert self.answer, "no answer"
        return self.answer


class Http2:
    """Just enough HTTP/2 to misbehave: frames by hand, headers without compression."""

    def __init__(self, port):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 15))
        assert self.socket.selected_alpn_protocol() == "h2"
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(4, 0, 0, b""))

    @staticmethod
    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    @staticmethod
    def headers(method, path):
        out = b""
        for name, value in (":method", method), (":scheme", "https"), (":authority", "test.example"), (":path", path):
            out += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        return out

    def request(self, stream, method, path, ends=True):
        return self.frame(1, 4 | (1 if ends else 0), stream, self.headers(method, path))

    def reset(self, stream):
        return self.frame(3, 0, stream, struct.pack(">I", 8))

    def is_closed(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.settimeout(end - time.monotonic() if end > time.monotonic() else 0.01)
            try:
                if not self.socket.recv(65536):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False


class Requests(unittest.TestCase):
    """What a worker is told, and what a client gets."""

    @classmethod
    def setUpClass(cls):
        cls.rig = rig(trusted_proxies="127.0.0.1, 10.0.0.0/8")

    @classmethod
    def tearDownClass(cls):
        cls.rig.__exit__(None, None, None)

    def test_passes_everything_a_worker_needs(self):
        headers = ["Authorization: Bearer abc", "Content-Type: text/plain", "User-Agent: test/1",
                   "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
        with self.rig.connect() as http:
            answer = http.request("PUT", SEND + "?x=%20y", headers, b'{"a":1}')
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        seen = answer.json
        self.assertEqual(seen["handler"], "send_message")
        self.assertEqual(seen["target"], SEND + "?x=%20y")
        self.assertEqual(seen["query"], "x=%20y")
        self.assertEqual(seen["params"], ["!a/b:x", "m.room.message", "t1"])
        self.assertEqual(seen["authorization"], "Bearer abc")
        self.assertEqual(seen["content_type"], "text/plain")
        self.assertEqual(seen["user_agent"], "test/1")
        self.assertEqual(seen["remote_address"], "127.0.0.1")
        self.assertEqual(seen["body_bytes"], 7)
        self.assertEqual(seen["trace"], "0af7651916cd43dd8448eb211c80319c")
        self.assertEqual(seen["caller_rank"], 0)
        self.assertTrue(59000 < seen["timeout_ms"] <= 60000)

    def test_a_trace_context_that_is_none_gets_a_number_of_ours(self):
        for trace in ("xy7651916cd43dd8448eb211c80319c0", "0af7651916cd43dd8448eb211c80319z", "0" * 32):
            with self.rig.connect() as http:
                seen = http.request("GET", "/_matrix/client/v3/login", [f"traceparent: 00-{trace}-b7ad6b7169203331-01"]).json
            self.assertNotIn(seen["trace"], (trace, "0" * 32))

    def test_makes_trace_ids(self):
        first, second = self.rig.get(VERSIONS).json["trace"], self.rig.get(VERSIONS).json["trace"]
        self.assertNotEqual(first, second)
        self.assertEqual(len(first), 32)

    def test_worker_headers(self):
        answer = self.rig.get(VERSIONS)
        self.assertEqual(answer.headers["x-fake"], "yes")
        self.assertEqual(answer.headers["connection"], "keep-alive")

    def test_status_and_type_of_the_worker(self):
        answer = self.rig.get(VERSIONS + "?status=404&type=text/html")
        self.assertEqual((answer.status, answer.headers["content-type"], answer.body), (404, "text/html", b"x"))

    def test_head(self):
        with self.rig.connect() as http:
            answer = http.request("HEAD", VERSIONS)
            self.assertEqual(answer.status, 200)
            self.assertGreater(int(answer.headers["content-length"]), 10)
            self.assertEqual(http.request("GET", VERSIONS).status, 200)

    def test_unknown_path_and_method(self):
        with self.rig.connect() as http:
            answer = http.request("GET", "/_matrix/client/v3/nothing")
            self.assertEqual((answer.status, answer.json["errcode"]), (404, "M_UNRECOGNIZED"))
            self.assertEqual(answer.headers["access-control-allow-origin"], "*")
            answer = http.request("DELETE", VERSIONS)
            self.assertEqual((answer.status, answer.json["errcode"]), (405, "M_UNRECOGNIZED"))
            answer = http.request("GET", "/_matrix/federation/v1/nothing")
            self.assertEqual(answer.status, 404)
            self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_preflight(self):
        with self.rig.connect() as http:
            for target in SEND, "/_matrix/client/v3/nothing":
                answer = http.request("OPTIONS", target, ["Origin: https://app.example"])
                self.assertEqual(answer.status, 204)
                self.assertEqual(answer.headers["access-control-allow-origin"], "*")
                self.assertIn("PUT", answer.headers["access-control-allow-methods"])
                self.assertIn("Authorization", answer.headers["access-control-allow-headers"])
        self.assertEqual(self.rig.get(VERSIONS).headers["access-control-allow-origin"], "*")

    def test_absolute_form(self):
        self.assertEqual(self.rig.get(f"http://test.example{VERSIONS}?a=b").json["target"], VERSIONS + "?a=b")

    def test_pipelining(self):
        with self.rig.connect() as http:
            for i in range(5):
                http.send_request("GET", f"{VERSIONS}?i={i}&delay={50 - 10 * i}")
            self.assertEqual([http.read_answer().json["query"].split("&")[0] for _ in range(5)], [f"i={i}" for i in range(5)])

    def test_compression(self):
        accepts = ["Accept-Encoding: gzip, deflate"]
        for size, compressed in (0, False), (2000, True), (3_000_000, True):
            answer = self.rig.get(f"{VERSIONS}?size={size}", headers=accepts)
            self.assertEqual(answer.headers.get("content-encoding"), "gzip" if compressed else None)
            body = gzip.decompress(answer.body) if compressed else answer.body
            self.assertEqual(body.count(b"x" * 1000), size // 1000)
        plain = self.rig.get(f"{VERSIONS}?size=3000000")
        self.assertNotIn("content-encoding", plain.headers)
        self.assertEqual(len(plain.json["padding"]), 3_000_000)

    def test_chunked_body(self):
        with self.rig.connect() as http:
            http.send(f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{{\"a\"\r\n3\r\n:1}}\r\n0\r\n\r\n")
            self.assertEqual(http.read_answer().json["body_bytes"], 7)

    def test_forwarded_address(self):
        for header, address in (("X-Forwarded-For: 192.0.2.7", "192.0.2.7"), ("X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
                                ("X-Forwarded-For: 2001:db8::1", "2001:db8::1"), ("X-Forwarded-For: nonsense", "127.0.0.1")):
            self.assertEqual(self.rig.get(VERSIONS, headers=[header]).json["remote_address"], address)

    def test_bus_faults_become_answers(self):
        for name, status, errcode in ("DEADLINE", 504, "M_UNKNOWN"), ("FORBIDDEN", 403, "M_FORBIDDEN"), ("INTERNAL", 500, "M_UNKNOWN"):
            answer = self.rig.get(f"{VERSIONS}?fault={FAULTS[name]}")
            self.assertEqual((answer.status, answer.json["errcode"]), (status, errcode))

    def test_metrics_by_route(self):
        row = 'myelin_frontend_requests_total{route="login_flows",method="GET",path="/_matrix/client/v3/login",status="2xx"}'
        before = self.rig.metrics().get(row, 0)
        self.rig.get(LOGIN)
        self.rig.get(LOGIN)
        metrics = self.rig.metrics()
        self.assertEqual(metrics[row], before + 2)
        self.assertGreaterEqual(metrics['myelin_frontend_request_ms_count{route="login_flows",method="GET",path="/_matrix/client/v3/login"}'], 2)

    def test_long_polls_get_more_time(self):
        self.assertGreater(self.rig.get(SYNC + "?timeout=30000").json["timeout_ms"], 85000)

    def test_json_with_another_content_type(self):
        with self.rig.connect() as http:
            answer = http.request("POST", LOGIN, ["Content-Type: application/x-www-form-urlencoded"], b"{}")
            self.assertEqual(answer.status, 200)


class Routing(unittest.TestCase):
    def test_equal_lanes_meet(self):
        with rig(kinds=("accounts", "events", "events", "rooms", "rooms", "federation", "federation")) as r:
            def asked(method, target, headers=(), body=None):
                with r.connect() as http:
                    return http.request(method, target, headers, body).json

            rooms = {asked("PUT", f"/_matrix/client/v3/rooms/!r{i}:x/send/a/{i}", body=b"{}")["pid"] for i in range(32)}
            self.assertEqual(len(rooms), 2, "rooms are spread")
            for room in "!a:x", "!b:x", "!c:x":
                answers = [asked("PUT", f"/_matrix/client/v3/rooms/{room}/send/a/{i}", body=b"{}") for i in range(6)]
                self.assertEqual(len({a["pid"] for a in answers}), 1, "a room has one worker")
                self.assertEqual(len({a["lane"] for a in answers}), 1)
            same = [asked("GET", "/_matrix/client/v3/joined_rooms", ["Authorization: Bearer tok"]) for _ in range(6)]
            same.append(asked("GET", "/_matrix/client/v3/joined_rooms?access_token=tok"))
            self.assertEqual(len({a["pid"] for a in same}), 1, "a device has one worker")
            origins = [asked("GET", "/_matrix/federation/v1/event/$e", [f'Authorization: X-Matrix {v}'])
                       for v in ('origin="hs.example",key="k",sig="s"', 'key="k",origin=hs.example,sig="s"')]
            self.assertEqual(origins[0]["lane"], origins[1]["lane"])
            self.assertTrue(origins[0]["has_lane"])
            anywhere = [asked("GET", "/_matrix/client/v3/publicRooms") for _ in range(20)]
            self.assertEqual(len({a["pid"] for a in anywhere}), 2)
            self.assertFalse(anywhere[0]["has_lane"])

    def test_restricted_listeners(self):
        with rig(restrict_listeners="true") as r:
            for port, target, status in ((r.port, VERSIONS, 200), (r.port, "/_matrix/federation/v1/version", 404),
                                         (r.federation_port, VERSIONS, 404), (r.federation_port, "/_matrix/federation/v1/version", 200),
                                         (r.federation_port, "/.well-known/matrix/server", 200), (r.port, "/.well-known/matrix/server", 200)):
                with r.connect(port) as http:
                    self.assertEqual(http.request("GET", target).status, status, (port == r.port, target))
        with rig() as r, r.connect(r.federation_port) as http:
            self.assertEqual(http.request("GET", VERSIONS).status, 200)

    def test_several_listeners(self):
        with rig() as probe:
            pass
        ports = probe.port, probe.federation_port
        with rig(client_listen=f"127.0.0.1:{ports[0]},plain, [::1]:{ports[1]}") as r:
            with r.connect(ports[0]) as http:
                self.assertEqual(http.request("GET", VERSIONS).status, 200)
            with socket.create_connection(("::1", ports[1]), 5) as s:
                s.sendall(f"GET {VERSIONS} HTTP/1.0\r\n\r\n".encode())
                self.assertIn(b'"remote_address":"::1"', s.makefile("rb").read())

    def test_worker_over_tcp_with_curve(self):
        with rig(kinds=(), cluster_secret="sixteen tons of secret") as r:
            r.add_worker("accounts", endpoint=f"tcp://127.0.0.1:{free_port()}")
            self.assertEqual(r.get(VERSIONS).status, 200)


class Workers(unittest.TestCase):
    """Workers come, go, and stop."""

    def test_waits_for_the_first_worker(self):
        with rig(kinds=()) as r:
            poll = Later(r.connect(), "POST", LOGIN, body=b"{}")
            time.sleep(0.5)
            r.add_worker("accounts")
            self.assertEqual(poll.wait().status, 200)

    def test_gives_up_when_none_comes(self):
        with rig(kinds=()) as r:
            poll = Later(r.connect(), "GET", VERSIONS)
            answer = poll.wait()
            self.assertEqual((answer.status, answer.json["errcode"], answer.headers["retry-after"]), (503, "M_UNKNOWN", "1"))
            self.assertGreater(poll.seconds, 3.5)

    def test_idempotent_request_moves_to_another_worker(self):
        with rig(kinds=("accounts", "accounts")) as r:
            polls = [Later(r.connect(), "GET", VERSIONS + "?delay=1000") for _ in range(8)]
            wait_until(lambda: sum(w.count("request") for w in r.workers) == 8)
            r.workers[0].kill()
            for poll in polls:
                answer = poll.wait()
                self.assertEqual((answer.status, answer.json["pid"]), (200, r.workers[1].process.pid))

    def test_other_request_is_refused_at_once(self):
        with rig(kinds=("accounts", "accounts")) as r:
            posts = [Later(r.connect(), "POST", LOGIN + "?delay=2500", body=b"{}") for _ in range(8)]
            wait_until(lambda: sum(w.count("request") for w in r.workers) == 8)
            hit = r.workers[0].count("request")
            r.workers[0].kill()
            refused = [p for p in posts if p.wait().status == 503]
            self.assertEqual(len(refused), hit)
            self.assertTrue(all(p.answer.headers["retry-after"] == "1" for p in refused))
            answered = [p for p in posts if p not in refused]
            self.assertTrue(all(p.answer.status == 200 for p in answered))
            self.assertLess(max((p.seconds for p in refused), default=0), min((p.seconds for p in answered), default=1), "at once")
            with r.connect() as http:
                self.assertEqual(http.request("POST", LOGIN, body=b"{}").status, 200, "not sent yet: any worker will do")

    def test_service_returns_when_the_only_worker_is_replaced(self):
        with rig(kinds=("accounts",)) as r:
            poll = Later(r.connect(), "GET", VERSIONS + "?delay=300")
            r.workers[0].wait_for("request")
            r.workers[0].kill()
            time.sleep(1)
            r.add_worker("accounts")
            self.assertEqual(poll.wait().json["pid"], r.workers[1].process.pid)

    def test_poison_does_not_kill_everybody(self):
        with rig(kinds=("accounts",) * 5) as r:
            self.assertEqual(r.get(VERSIONS + "?die=1").status, 503)
            wait_until(lambda: sum(w.process.poll() is None for w in r.workers) == 2)
            time.sleep(0.2)
            self.assertEqual(sum(w.process.poll() is None for w in r.workers), 2)
            r.announce()
            self.assertEqual(r.get(VERSIONS).status, 200)

    def test_stopped_worker_is_left(self):
        with rig(kinds=("accounts", "accounts")) as r:
            polls = [Later(r.connect(), "GET", VERSIONS + "?delay=200") for _ in range(6)]
            for poll in polls:
                poll.wait()
            r.workers[0].kill(signal.SIGSTOP)
            polls = [Later(r.connect(), "GET", VERSIONS) for _ in range(6)]
            self.assertEqual({p.wait().json["pid"] for p in polls}, {r.workers[1].process.pid})

    def test_worker_that_refuses(self):
        with rig(kinds=("accounts", "accounts")) as r:
            self.assertEqual(r.get(f"{VERSIONS}?fault={FAULTS['UNAVAILABLE']}").status, 503)
            for worker in r.workers:
                worker.wait_for("request")

    def test_workers_that_are_not_whom_we_mean(self):
        """Another major version, and another process at the address: nothing is sent there, whatever the request."""
        for mode in "foreign", "stranger":
            with self.subTest(mode), rig(kinds=()) as r:
                bad = r.add_worker("accounts", mode=mode, announce=False)
                good = r.add_worker("accounts")
                for _ in range(12):
                    for method, target in ("GET", VERSIONS), ("POST", LOGIN):
                        with r.connect() as http:
                            answer = http.request(method, target, body=b"{}" if method == "POST" else None)
                        self.assertEqual((answer.status, answer.json["pid"]), (200, good.process.pid))
                bad.wait_for("hello")
                self.assertEqual(bad.count("request"), 0)

    def test_old_workers_pass_it_on(self):
        """VERSION_MISMATCH means that nothing was done: all others are asked, also for POST."""
        with rig(kinds=()) as r:
            old = [r.add_worker("accounts", mode="old", announce=False) for _ in range(4)]
            new = r.add_worker("accounts")
            for _ in range(12):
                with r.connect() as http:
                    answer = http.request("POST", LOGIN, body=b"{}")
                    self.assertEqual((answer.status, answer.json["pid"]), (200, new.process.pid))
            self.assertTrue(any(w.count("request") for w in old))
            new.kill()
            r.announce()

            def status():
                with r.connect() as http:
                    return http.request("POST", LOGIN, body=b"{}").status

            wait_until(lambda: status() == 500, 10, "the list to be there: then nobody knows it, no reason to wait")

    def test_puts_are_repeated_when_they_may_be(self):
        data, alias = "/_matrix/client/v3/user/@u:x/account_data/t", "/_matrix/client/v3/directory/room/%23a:x"
        with rig(kinds=("accounts", "accounts", "rooms", "rooms")) as r:
            for kind, target in ("accounts", data), ("rooms", alias):
                puts = [Later(r.connect(), "PUT", f"{target}?delay=1500", body=b"{}") for _ in range(6)]
                workers = [w for w in r.workers if w.kind == kind]
                wait_until(lambda workers=workers: sum(w.count("request") for w in workers) == 6)
                hit = next(w for w in workers if w.count("request"))
                lost = hit.count("request")
                hit.kill()
                statuses = sorted(p.wait().status for p in puts)
                self.assertEqual(statuses, [200] * 6 if kind == "accounts" else [200] * (6 - lost) + [503] * lost)

    def test_draining_worker_gets_nothing_new(self):
        with rig(kinds=("accounts", "accounts")) as r:
            polls = []
            while not all(w.count("request") for w in r.workers):
                polls.append(Later(r.connect(), "GET", VERSIONS + "?delay=2000"))
                wait_until(lambda: sum(w.count("request") for w in r.workers) == len(polls))
            r.announce([r.workers[0].peer(draining=True), r.workers[1].peer()])
            time.sleep(0.1)
            for _ in range(10):
                self.assertEqual(r.get(VERSIONS).json["pid"], r.workers[1].process.pid)
            self.assertEqual({p.wait().status for p in polls}, {200})
            self.assertEqual({p.answer.json["pid"] for p in polls}, {w.process.pid for w in r.workers}, "and finishes what it has")

    def test_deadline(self):
        with rig(request_timeout="1s") as r:
            poll = Later(r.connect(), "GET", VERSIONS + "?mute=1")
            self.assertEqual(poll.wait().status, 504)
            self.assertGreater(poll.seconds, 0.9)
            r.worker("accounts").wait_for("cancel")
            self.assertEqual(r.get(VERSIONS).status, 200)


class Clients(unittest.TestCase):
    """Clients that leave, dawdle, flood or lie: one test per guard."""

    def test_http1_client_leaves(self):
        with rig() as r:
            worker = r.worker("sync")
            clients = [r.connect() for _ in range(20)]
            for http in clients:
                http.send_request("GET", SYNC + "?timeout=30000&mute=1")
            worker.wait_for("request", 20)
            time.sleep(0.6)
            for http in clients[:15]:
                http.close()
            worker.wait_for("cancel", 15)
            time.sleep(0.2)
            self.assertEqual(worker.count("cancel"), 15)
            self.assertEqual(r.metric("myelin_frontend_requests_in_flight"), 5)
            self.assertEqual(r.metric("myelin_frontend_connections"), 5)

    def test_http2_client_leaves(self):
        with rig(tls=True) as r:
            worker = r.worker("sync")
            client = Http2(r.federation_port)
            client.socket.sendall(b"".join(client.request(2 * i + 1, "GET", SYNC + "?mute=1") for i in range(4)))
            worker.wait_for("request", 4)
            client.socket.sendall(client.reset(1))
            worker.wait_for("cancel", 1)
            client.socket.close()
            worker.wait_for("cancel", 4)

    def test_reset_flood(self):
        with rig(tls=True) as r:
            worker, client, sent = r.worker("accounts"), Http2(r.federation_port), 0
            try:
                for i in range(20):
                    streams = range(2 * 500 * i + 1, 2 * 500 * (i + 1), 2)
                    client.socket.sendall(b"".join(client.request(s, "GET", VERSIONS + "?mute=1") + client.reset(s) for s in streams))
                    sent += 500
            except OSError:
                pass
            self.assertTrue(client.is_closed(5))
            self.assertEqual(r.metric("myelin_frontend_reset_floods_total"), 1)
            self.assertLess(worker.count("request"), 250, f"of {sent}")
            self.assertEqual(r.get(VERSIONS).status, 200)

    def test_resets_of_an_honest_client(self):
        with rig(tls=True) as r:
            worker, client = r.worker("accounts"), Http2(r.federation_port)
            for i in range(50):
                client.socket.sendall(client.request(2 * i + 1, "GET", VERSIONS + "?mute=1"))
            worker.wait_for("request", 50)
            for i in range(50):
                client.socket.sendall(client.reset(2 * i + 1))
            worker.wait_for("cancel", 50)
            self.assertFalse(client.is_closed(0.5))

    def test_connections_of_one_address(self):
        with rig(connections_per_address="5", connections_max="100") as r:
            held = [r.connect() for _ in range(5)]
            for http in held:
                self.assertEqual(http.request("GET", VERSIONS).status, 200)
            self.assertTrue(r.connect().is_closed(2))
            held.pop().close()
            wait_until(lambda: r.metric("myelin_frontend_connections") < 5)
            self.assertEqual(r.get(VERSIONS).status, 200)

    def test_connections_in_total(self):
        with rig(connections_max="5", trusted_proxies="127.0.0.1", connections_per_address="1") as r:
            held = [r.connect() for _ in range(5)]
            for http in held:
                self.assertEqual(http.request("GET", VERSIONS).status, 200)
            self.assertTrue(r.connect().is_closed(2))
            self.assertEqual(r.metric("myelin_frontend_connections_refused_total"), 1)

    def test_slow_clients(self):
        """Late headers, late bodies (both protocols), and one that is slow but moves."""
        with rig(tls=True, body_timeout="2s") as r:
            started, head, body, steady = time.monotonic(), r.connect(), r.connect(), r.connect()
            head.send(f"GET {VERSIONS} HTTP/1.1\r\nHost: x\r\n")
            body.send(f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{")
            http2 = Http2(r.federation_port)
            http2.socket.sendall(http2.request(1, "POST", LOGIN, ends=False) + http2.frame(0, 0, 1, b"{"))
            steady.send("PUT /_matrix/federation/v1/send/t1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            for _ in range(20):
                steady.send(b"x" * 50000)
                time.sleep(0.2)
            self.assertEqual(steady.read_answer().json["body_bytes"], 1000000)
            self.assertTrue(body.is_closed(1))
            self.assertTrue(http2.is_closed(1.5))
            self.assertTrue(head.is_closed(12))
            self.assertGreater(time.monotonic() - started, 9.5)
            self.assertEqual(r.metric("myelin_frontend_slow_requests_total"), 3)

    def test_unfinished_bodies(self):
        """All of a loop together have a bound: who has most of it is cut, the others finish."""
        target = "/_matrix/federation/v1/send/t1"
        with rig(tls=True, body_memory_max="8MiB", threads="frontend=1") as r:
            clients = {size: r.connect() for size in (2, 3, 4)}
            for size, client in clients.items():
                client.send(f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {(size << 20) + 1}\r\n\r\n")
                client.send(b"x" * (size << 20))
            self.assertTrue(clients[4].is_closed(5))
            for size in 2, 3:
                clients[size].send(b"x")
                self.assertEqual(clients[size].read_answer().json["body_bytes"], (size << 20) + 1)
            self.assertEqual(r.metric("myelin_frontend_bodies_cut_total"), 1)

            # HTTP/2 over TLS: many streams of one connection, none too large by itself
            http2 = Http2(r.federation_port)
            steady = Http2(r.federation_port)
            steady.socket.sendall(steady.request(1, "PUT", target, ends=False) + steady.frame(0, 0, 1, b"{"))
            part = b"x" * 15000
            for stream in range(1, 160, 2):
                frames = http2.frame(0, 0, stream, part) * 4
                try:
                    http2.socket.sendall(http2.request(stream, "PUT", target, ends=False) + frames)
                except OSError:
                    break
            self.assertFalse(http2.is_closed(2), "4.8 MB are allowed")
            second = Http2(r.federation_port)
            for stream in range(1, 180, 2):
                try:
                    second.socket.sendall(second.request(stream, "PUT", target, ends=False) + second.frame(0, 0, stream, part) * 4)
                except OSError:
                    break
            self.assertTrue(second.is_closed(5), "it has most")
            self.assertFalse(http2.is_closed(1.5))
            self.assertFalse(steady.is_closed(0.1))
            self.assertEqual(r.metric("myelin_frontend_bodies_cut_total"), 2)

    def test_connections_over_tls(self):
        """The caps hold before the handshake."""
        with rig(tls=True, connections_per_address="3") as r:
            clients = [Http2(r.federation_port) for _ in range(3)]
            with self.assertRaises(OSError):
                Http2(r.federation_port)
            clients.pop().socket.close()
            wait_until(lambda: r.metric("myelin_frontend_connections") == 2)
            clients.append(Http2(r.federation_port))
            self.assertEqual(r.metric("myelin_frontend_connections_refused_total"), 1)

    def test_body_over_the_limit(self):
        with rig(tls=True) as r:
            too_long, longest = b"x" * 65537, b"x" * 65536
            with r.connect() as http:
                answer = http.request("POST", LOGIN, body=too_long)
                self.assertEqual((answer.status, answer.json["errcode"]), (413, "M_TOO_LARGE"))
                self.assertEqual(http.request("POST", LOGIN, body=longest).status, 200)
                huge = b"x" * (20 << 20)
                self.assertEqual(http.request("POST", LOGIN, body=huge).status, 413)
            for body, status in (too_long, 413), (longest, 200), (huge, 413):
                done = subprocess.run(["curl", "-sk", "--http2", "-w", "\n%{http_code} %{http_version}", "--data-binary", "@-",
                                       f"https://127.0.0.1:{r.federation_port}{LOGIN}"], input=body, capture_output=True, check=True)
                text, _, result = done.stdout.rpartition(b"\n")
                self.assertEqual(result.decode(), f"{status} 2")
                if status == 413:
                    self.assertIn(b"M_TOO_LARGE", text)
            r.worker("accounts").wait_for("request", 2)
            self.assertEqual(r.worker("accounts").count("request"), 2)

    def test_ambiguous_framing(self):
        cases = {
            "two lengths": "Host: x\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}GET /",
            "length and encoding": "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "encoding and length": "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "two hosts": "Host: x\r\nHost: y\r\nContent-Length: 2\r\n\r\n{}",
            "no host": "Content-Length: 2\r\n\r\n{}",
            "folded line": "Host: x\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
            "not a number": "Host: x\r\nContent-Length: +2\r\n\r\n{}",
        }
        with rig() as r:
            for name, rest in cases.items():
                with self.subTest(name), r.connect() as http:
                    http.send(f"POST {LOGIN} HTTP/1.1\r\n{rest}")
                    self.assertEqual(http.read_answer().status, 400)
                    self.assertTrue(http.is_closed(2))
            with r.connect() as http:
                http.send(f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}")
                self.assertEqual(http.read_answer().status, 200, "the same length twice")
            r.worker("accounts").wait_for("request")
            self.assertEqual(r.worker("accounts").count("request"), 1)

    def test_rate_limits(self):
        with rig(rate_limits="true", trusted_proxies="127.0.0.1") as r:
            def login(address):
                with r.connect() as http:
                    return http.request("POST", LOGIN, [f"X-Forwarded-For: {address}"], b"{}")

            answers = [login("192.0.2.1") for _ in range(30)]
            refused = [a for a in answers if a.status == 429]
            self.assertTrue(5 <= len(refused) <= 11, len(refused))
            self.assertEqual(refused[0].json["errcode"], "M_LIMIT_EXCEEDED")
            self.assertTrue(0 < refused[0].json["retry_after_ms"] <= 1000)
            self.assertEqual(refused[0].headers["retry-after"], "1")
            self.assertEqual(login("192.0.2.2").status, 200, "others are not held up")
            self.assertEqual(login("2001:db8::1").status, 200)
            with r.connect() as http:
                sends = [http.request("PUT", SEND, ["Authorization: Bearer one"], b"{}").status for _ in range(130)]
                self.assertEqual(sends[:100], [200] * 100)
                self.assertIn(429, sends)
                self.assertEqual(http.request("PUT", SEND, ["Authorization: Bearer two"], b"{}").status, 200)

    def test_half_closed_client_counts_as_gone(self):
        with rig() as r:
            with r.connect() as http:
                http.send_request("GET", SYNC + "?mute=1")
                r.worker("sync").wait_for("request")
                http.socket.shutdown(socket.SHUT_WR)
                r.worker("sync").wait_for("cancel")


class Life(unittest.TestCase):
    def test_a_stuck_loop_stops_the_heartbeat(self):
        """One thread of several is held by ptrace: the process must not look alive."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        seize, interrupt, detach = 0x4206, 0x4207, 17
        with rig(threads="frontend=2") as r:
            tasks = f"/proc/{r.process.pid}/task"
            named = lambda task: open(f"{tasks}/{task}/comm", encoding="utf-8").read().strip()
            loop = wait_until(lambda: next((int(t) for t in os.listdir(tasks) if named(t) == "loop 1"), None))
            beats = lambda: sum(p["type"] == "load" for p in r.packets)
            wait_until(lambda: beats() >= 2)
            self.assertEqual(libc.ptrace(seize, loop, None, None), 0, os.strerror(ctypes.get_errno()))
            libc.ptrace(interrupt, loop, None, None)
            os.waitpid(loop, 0x40000000)  # __WALL

            def silent():
                before = beats()
                time.sleep(2.5)
                return beats() == before

            wait_until(silent, 20, "silence")
            libc.ptrace(detach, loop, None, None)
            before = beats()
            wait_until(lambda: beats() > before, 5, "a heartbeat")

    def test_tls(self):
        with rig(tls=True) as r:
            def certificate(version=None):
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                if version:
                    context.minimum_version = context.maximum_version = version
                with context.wrap_socket(socket.create_connection(("127.0.0.1", r.federation_port), 5)) as s:
                    s.sendall(f"GET {VERSIONS} HTTP/1.0\r\n\r\n".encode())
                    assert b"200 OK" in s.recv(100)
                    return s.getpeercert(True)

            old = certificate()
            self.assertEqual(certificate(ssl.TLSVersion.TLSv1_2), old)
            with self.assertRaises((ssl.SSLError, OSError)):
                certificate(ssl.TLSVersion.TLSv1_1)
            # Accepted, but nothing said yet: nobody else holds the old certificate when they begin.
            silent = [socket.create_connection(("127.0.0.1", r.federation_port), 5) for _ in range(20)]
            r.make_certificate("newer.example")
            r.tell({"type": "reload"})
            wait_until(lambda: certificate() != old, what="the newer certificate")
            old = certificate()
            trusting = ssl._create_unverified_context()
            for connection in silent:
                with trusting.wrap_socket(connection) as s:
                    s.sendall(f"GET {VERSIONS} HTTP/1.0\r\n\r\n".encode())
                    self.assertIn(b"200 OK", s.recv(100))
            held = Http2(r.federation_port)
            r.make_certificate("new.example")
            r.tell({"type": "reload"})
            wait_until(lambda: certificate() != old, what="the new certificate")
            os.truncate(f"{r.folder}/tls/server.crt", 10)
            r.process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
            certificate()
            self.assertFalse(held.is_closed(0.1))

    def test_drain(self):
        with rig(tls=True) as r:
            request = Later(r.connect(), "GET", VERSIONS + "?delay=1500")
            poll = Later(r.connect(), "GET", SYNC + "?timeout=30000&mute=1&since=s12_34")
            first = Later(r.connect(), "GET", SYNC + "?timeout=30000&mute=1")
            idle, http2 = r.connect(), Http2(r.federation_port)
            idle.request("GET", VERSIONS)
            r.worker("sync").wait_for("request", 2)
            r.worker("accounts").wait_for("request", 2)
            seconds = r.drain()
            self.assertGreater(seconds, 1.3)
            self.assertEqual(request.wait().status, 200)
            self.assertEqual((poll.wait().status, poll.answer.json), (200, {"next_batch": "s12_34"}))
            self.assertLess(poll.seconds, request.seconds, "at once")
            self.assertEqual(first.wait().status, 503)
            self.assertTrue(idle.is_closed(0.1) and http2.is_closed(0.1))
            self.assertEqual(r.process.returncode, 0)
            self.assertTrue(r.packet("drained"))

    def test_drain_does_not_wait_for_ever(self):
        with rig() as r:
            request = Later(r.connect(), "POST", LOGIN + "?mute=1", body=b"{}")
            r.worker("accounts").wait_for("request")
            self.assertLess(r.drain(), 5)
            self.assertEqual(request.wait().status, 503)

    def test_sigterm_drains(self):
        with rig() as r:
            r.process.send_signal(signal.SIGTERM)
            self.assertEqual(r.process.wait(5), 0)

    def test_ends_with_its_supervisor(self):
        with rig() as r:
            r.control.shutdown(socket.SHUT_RDWR)
            self.assertEqual(r.process.wait(5), 0)

    def test_refuses_bad_listeners(self):
        for setting in "nonsense", "127.0.0.1:99999", "::1:8008", "tls", "127.0.0.1:1,tls":
            with self.subTest(setting), self.assertRaises((AssertionError, BrokenPipeError, ConnectionError)):
                with rig(client_listen=setting, kinds=()):
                    pass

    def test_never_stalls(self):
        """The pump: no request may wait for another event to be noticed. At 1, 16 and 128 connections, for a second each."""
        with rig(quiet=True, kinds=("accounts",)) as r:
            for count in 1, 16, 128:
                with self.subTest(connections=count):
                    answers, slowest = self.load(r.port, count)
                    self.assertGreater(answers, 300, "a pump that stalls gives less than a hundred a second")
                    self.assertLess(slowest, 2)

    @staticmethod
    def load(port, count, seconds=1.0):
        request = f"GET {VERSIONS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        selector, asked, answers, slowest = selectors.DefaultSelector(), {}, 0, 0.0
        for _ in range(count):
            client = Http(port).socket
            client.sendall(request)
            asked[client] = time.monotonic()
            selector.register(client, selectors.EVENT_READ)
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for key, _ in selector.select(0.1):
                client = key.fileobj
                client.recv(65536)
                slowest = max(slowest, time.monotonic() - asked[client])
                answers += 1
                asked[client] = time.monotonic()
                client.sendall(request)
        slowest = max(slowest, max(now - since for since in asked.values()))
        for client in asked:
            client.close()
        return answers, slowest


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, warnings="ignore")
