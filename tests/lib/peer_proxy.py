"""Stands in front of a server's federation port and loses the n-th turn of the talk.

A turn is what the client says until the server speaks: a handshake's first word, a request. The talk is TLS; what is in it, the proxy does not
know. A turn that is lost before never reaches the server; of one that is lost behind the server's answer never comes back. Either way the
connection is gone.
"""

import socket
import threading

from pg_proxy import BEFORE, BEHIND


class Proxy:
    def __init__(self, port, target_port):
        self.target_port, self.lock = target_port, threading.Lock()
        self.due, self.how, self.lost = 0, None, False
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, number, how):
        with self.lock:
            self.due, self.how, self.lost = number, how, False

    def disarm(self):
        """Whether a turn was lost; there may not have been so many."""
        with self.lock:
            self.due = 0
            return self.lost

    def _due(self):
        with self.lock:
            if not self.due:
                return None
            self.due -= 1
            if self.due:
                return None
            self.lost = True
            return self.how

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                if self.listener.fileno() < 0:
                    return
                continue
            Talk(self, client, server)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Talk:
    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.is_turn, self.is_deaf = True, False
        for target in (self._there, self._back):
            threading.Thread(target=target, daemon=True).start()

    def _there(self):
        try:
            while data := self.client.recv(65536):
                how = self.proxy._due() if self.is_turn else None
                self.is_turn = False
                if how == BEFORE:
                    break
                self.is_deaf = self.is_deaf or how == BEHIND
                self.server.sendall(data)
        except OSError:
            pass
        self._close()

    def _back(self):
        try:
            while data := self.server.recv(65536):
                if self.is_deaf:
                    break
                self.is_turn = True
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
