"""Stands between programs and PostgreSQL, on a Unix socket of its own, and loses the n-th round trip.

A trip is what a client sends up to a Sync (or a simple query). It is held until it is whole, then passed on; so a trip that is lost
before has not begun at all, and one that is lost behind has been done, but nobody was told. Either way the connection is gone, as
when a network breaks or a server dies.
"""

import os
import socket
import struct
import threading

BEFORE, BEHIND = "lost before it is done", "done, its answer lost"


class Proxy:
    def __init__(self, folder, server):
        """folder: for our socket; server: path of PostgreSQL's socket."""
        self.folder, self.server = folder, server
        self.lock = threading.Lock()
        self.due, self.how, self.names, self.lost = 0, None, (), None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(folder, ".s.PGSQL.5432"))
        os.chmod(os.path.join(folder, ".s.PGSQL.5432"), 0o777)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, number, how, names):
        """The number-th trip from now on, of programs with these application names."""
        with self.lock:
            self.due, self.how, self.names, self.lost = number, how, names, None

    def disarm(self):
        """Who lost a trip; None when there were not so many."""
        with self.lock:
            self.due = 0
            return self.lost

    def _is_due(self, name):
        with self.lock:
            if not self.due or name not in self.names:
                return None
            self.due -= 1
            if self.due:
                return None
            self.lost = name
            return self.how

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.server)
            except OSError:
                client.close()
                continue
            Link(self, client, server)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Link:
    """One connection, two threads."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server, self.is_deaf = proxy, client, server, False
        for target in (self._there, self._back):
            threading.Thread(target=target, daemon=True).start()

    def _there(self):
        try:
            start = self._exactly(4)
            start += self._exactly(struct.unpack("!I", start)[0] - 4)
            self.server.sendall(start)  # StartupMessage or CancelRequest: no type byte
            words = start[8:].split(b"\0")
            named = dict(zip(words[::2], words[1::2]))
            name = named.get(b"application_name", b"").decode()
            held = b""
            while True:
                head = self._exactly(5)
                held += head + self._exactly(struct.unpack("!I", head[1:])[0] - 4)
                if head[:1] not in b"SQXpH":
                    continue
                how = self.proxy._is_due(name) if head[:1] in b"SQ" else None
                if how == BEFORE:
                    break
                self.is_deaf = self.is_deaf or how == BEHIND
                self.server.sendall(held)
                held = b""
        except OSError:
            pass
        self._close()

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.client.recv(size - len(data))
            if not more:
                raise OSError("the client has gone")
            data += more
        return data

    def _back(self):
        try:
            while data := self.server.recv(65536):
                if self.is_deaf:
                    if data[-6:-1] == b"Z\0\0\0\5":  # ReadyForQuery: the trip is done
                        break
                    continue
                self.client.sendall(data)
        except OSError:
            pass
        self._close()

    def _close(self):
        for side in (self.client, self.server):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            side.close()
