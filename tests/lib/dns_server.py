"""A DNS server for tests, standard library only: UDP and TCP on one port, a zone that is changed while it runs, and every way to misbehave.

    with DnsServer() as dns:
        dns.add("host.example", "A", "127.0.0.1", ttl=60)
        dns.add("alias.example", "CNAME", "host.example")
        dns.add("_matrix-fed._tcp.host.example", "SRV", "10 0 8448 host.example")
        dns.behave("sick.example", "servfail")
        … dns.address is "127.0.0.1:port", dns.asked[("host.example", "A")] counts questions

It answers like a recursive resolver: chains of CNAME are followed within the zone. Names that are not in it, and have nothing below them, do
not exist. By hand: dns_server.py PORT "name TYPE data" …
"""

import collections
import socket
import struct
import sys
import threading

TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "AAAA": 28, "SRV": 33}
NAMES = {number: name for name, number in TYPES.items()}
# What a name can do, by (name) or (name, type): an rcode, or
#   drop           never answer                 truncate      UDP says "too long", TCP has it
#   truncate-only  as above, but TCP hangs up    garbage       an answer that is no DNS
#   wrong-id       somebody else's answer         slow          after 300 ms
RCODES = {"formerr": 1, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            out += bytes([len(label)]) + label.encode()
    return out + b"\0"


def decode_name(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), at + 1


def encode_data(kind, data):
    if kind == "A":
        return socket.inet_aton(data)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, data)
    if kind == "CNAME":
        return encode_name(data)
    priority, weight, port, target = data.split()
    return struct.pack(">HHH", int(priority), int(weight), int(port)) + encode_name(target)


class DnsServer:
    def __init__(self, port=0, address="127.0.0.1"):
        self.records, self.behaviour, self.asked, self.lock = [], {}, collections.Counter(), threading.Lock()
        while True:  # the same port for both
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind((address, port))
            self.port = self.udp.getsockname()[1]
            self.tcp = socket.socket()
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.tcp.bind((address, self.port))
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
        self.tcp.listen(64)
        self.address = f"{address}:{self.port}"
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.udp.close()
        self.tcp.close()

    # ---- the zone

    def add(self, name, kind, data, ttl=300):
        with self.lock:
            self.records.append((name.lower(), kind, data, ttl))

    def remove(self, name):
        with self.lock:
            self.records = [record for record in self.records if record[0] != name.lower()]

    def behave(self, name, how, kind=None):
        self.behaviour[(name.lower(), kind)] = how

    def count(self, name, kind=None):
        """Questions about the name so far."""
        return sum(n for (asked, of_kind), n in self.asked.items() if asked == name and kind in (None, of_kind))

    def _find(self, name, kind):
        """(rcode, records)"""
        found, name = [], name.lower()
        for _ in range(20):
            here = [record for record in self.records if record[0] == name]
            found += [record for record in here if record[1] == kind]
            alias = [record for record in here if record[1] == "CNAME"]
            if not alias or kind == "CNAME":
                exists = here or any(record[0].endswith("." + name) for record in self.records)
                return (0 if exists else 3), found
            found.append(alias[0])
            name = alias[0][2].lower()
        return 2, []

    # ---- answers

    def _answer(self, query, over_tcp):
        """The answer's bytes; None: none."""
        ident, flags, questions = struct.unpack(">HHH", query[:6])
        name, end = decode_name(query, 12)
        kind = NAMES.get(struct.unpack(">H", query[end:end + 2])[0], "?")
        question = query[12:end + 4]
        with self.lock:
            self.asked[(name.lower(), kind)] += 1
            how = self.behaviour.get((name.lower(), kind), self.behaviour.get((name.lower(), None)))
            rcode, records = self._find(name, kind)
        if how == "drop" or (how == "truncate-only" and over_tcp):
            return None
        if how == "garbage":
            return struct.pack(">HHHHHH", ident, 0x8180, 1, 9, 0, 0) + question + b"\xc0\xff" * 3
        if how == "slow":
            threading.Event().wait(0.3)
        truncated = how in ("truncate", "truncate-only") and not over_tcp
        if how in RCODES:
            rcode, records = RCODES[how], []
        if how == "wrong-id":
            ident ^= 0x5555
        body = b""
        for owner, of_kind, data, ttl in ([] if truncated else records):
            encoded = encode_data(of_kind, data)
            body += encode_name(owner) + struct.pack(">HHIH", TYPES[of_kind], 1, ttl, len(encoded)) + encoded
        head = struct.pack(">HHHHHH", ident, 0x8180 | (0x0200 if truncated else 0) | rcode, 1, 0 if truncated else len(records), 0, 0)
        return head + question + body

    def _serve_udp(self):
        while True:
            try:
                query, sender = self.udp.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self._reply_udp, args=(query, sender), daemon=True).start()

    def _reply_udp(self, query, sender):
        answer = self._answer(query, False)
        if answer:
            try:
                self.udp.sendto(answer, sender)
            except OSError:
                pass

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._talk_tcp, args=(connection,), daemon=True).start()

    def _talk_tcp(self, connection):
        with connection, connection.makefile("rb") as stream:
            while True:
                size = stream.read(2)
                if len(size) < 2:
                    return
                answer = self._answer(stream.read(struct.unpack(">H", size)[0]), True)
                if answer is None:
                    return
                connection.sendall(struct.pack(">H", len(answer)) + answer)


if __name__ == "__main__":
    with DnsServer(int(sys.argv[1])) as server:
        for line in sys.argv[2:]:
            server.add(*line.split(None, 2))
        print("listening on", server.address, flush=True)
        threading.Event().wait()
