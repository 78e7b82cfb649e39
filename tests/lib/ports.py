"""Ports for servers that a test starts a moment later, or again.

The kernel would give the next free one to anybody in between: to a test that runs beside this one, or to a connection. So they are below those
that the kernel gives, and each process begins at a place of its own.
"""

import itertools
import os
import socket

FIRST, LAST, EACH = 12000, 32000, 32  # Linux gives ports from 32768 on
_blocks = (LAST - FIRST) // EACH
_next = itertools.count(os.getpid() % _blocks * EACH)


def free_port():
    while True:
        port = FIRST + next(_next) % (LAST - FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
