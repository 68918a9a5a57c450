"""Ports for programs that listen on one they are told: of a range from which the system gives none by itself.

A port that the system gave a moment ago, and that was closed again, it may give to somebody else before the program
listens there: tests run side by side.
"""

from __future__ import annotations

import os
import socket
from itertools import count

_FIRST, _EACH, _WORKERS = 20_000, 500, 24  # below 32,768, where Linux begins by itself
_used = count(os.getpid())


def free_port(row: int = 1) -> int:
    """Return a free port, the first of a row of so many: no two processes of a run of tests get the same ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    while True:
        ports = [_FIRST + worker * _EACH + next(_used) % _EACH for _ in range(row)]
        if ports[-1] == ports[0] + row - 1 and all(map(_is_free, ports)):
            return ports[0]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
