"""Host names to addresses within a deadline.

``getaddrinfo`` cannot be interrupted, so that it runs on a daemon thread of its own, which is left behind when it is
late. Whoever asks for the same host meanwhile waits for that thread instead of starting another.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import threading
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from exporter_core_otlp.forking import reset_after_fork

if TYPE_CHECKING:
    from exporter_core import Context

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # family and what connect() takes for it


class _Lookup:
    """One call of getaddrinfo, and who waits for it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._lock = threading.Lock()
        self._waiters: list[Context] = []
        self.addresses: list[Address] = []
        self.error: OSError | None = None
        self.done = False

    def run(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self.addresses = [(family, address) for family, _, _, _, address in found]
        except OSError as error:
            self.error = error
        except ValueError:
            self.error = OSError("not a host name")
        _lookups.finished(self._host, self)
        with self._lock:
            self.done = True
            waiters = self._waiters.copy()
        for waiter in waiters:
            waiter.cancel()

    def wait(self, context: Context) -> None:
        """Until it is done; raises the context's error if that is done first."""
        waiter = context.child()
        with self._lock:
            if self.done:
                return
            self._waiters.append(waiter)
        waiter.wait(math.inf)
        if not self.done:
            with self._lock:
                self._waiters.remove(waiter)
            context.raise_if_done()


class _Lookups:
    """The calls that have not returned."""

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Lookup] = {}

    def of(self, host: str, port: int) -> _Lookup:
        with self._lock:
            lookup = self._running.get(host)
            if lookup is not None:
                return lookup
            lookup = self._running[host] = _Lookup(host, port)
        try:
            threading.Thread(target=lookup.run, name=f"otlp-resolve-{host}", daemon=True).start()
        except RuntimeError:
            lookup.run()  # from Python 3.12 no thread starts while the interpreter exits; a guard still bounds this
        return lookup

    def finished(self, host: str, lookup: _Lookup) -> None:
        with self._lock:
            if self._running.get(host) is lookup:
                del self._running[host]


_lookups = _Lookups()


def resolve(context: Context, host: str, port: int) -> list[Address]:
    """The addresses of a host, in the order in which to try them: families in turn, the system's first choice first.

    Raises:
        OSError: there are none.
        DeadlineExceededError, ContextCancelledError: as soon as the context is done.
    """
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if not getattr(literal, "scope_id", None):  # the number of a scope is looked up below
            return [(socket.AF_INET, (host, port)) if literal.version == 4 else (socket.AF_INET6, (host, port, 0, 0))]  # noqa: PLR2004 - IPv4
    lookup = _lookups.of(host, port)
    lookup.wait(context)
    if lookup.error is not None:
        raise OSError(*lookup.error.args)
    return in_turn([(family, _at_port(address, port)) for family, address in lookup.addresses])


def in_turn(addresses: list[Address]) -> list[Address]:
    """The addresses with their families in turn, the first one staying first."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


def _at_port(address: tuple[Any, ...], port: int) -> tuple[Any, ...]:
    """The address with this port: the thread may have been asked for another."""
    return (address[0], port, *address[2:])
