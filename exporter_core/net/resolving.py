"""Host names to addresses within a deadline.

``getaddrinfo`` cannot be interrupted. It runs on a daemon thread of its own, which is left behind when it is late. A
further call for the same host waits for that thread instead of starting another.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final

from exporter_core.forking import call_after_fork
from exporter_core.sync import Latch, blocking
from exporter_core.untrusted import DetachedCall

if TYPE_CHECKING:
    from exporter_core.context import Context

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # family and what connect() takes for it


@dataclass(slots=True)
class _Lookup:
    """One call of getaddrinfo, shared by the threads that wait for it."""

    host: str
    port: int
    addresses: list[Address] = field(default_factory=list)
    error: OSError | None = None
    ended: Latch = field(default_factory=Latch)

    def run(self) -> None:
        try:
            found = blocking(socket, "getaddrinfo")(self.host, self.port, type=socket.SOCK_STREAM)
            self.addresses = [(family, address) for family, _, _, _, address in found]
        except OSError as error:
            self.error = error
        except ValueError:
            self.error = OSError("not a host name")
        finally:
            _running.pop(self.host, None)
            self.ended.open()


_running: Final[dict[str, _Lookup]] = {}
"""The lookups that have not returned, by host. Their threads do not exist in a forked child."""
call_after_fork(_running.clear)


def resolve(context: Context, host: str, port: int) -> list[Address]:
    """Return a host's addresses in the order in which to try them: families in turn, the system's first choice first.

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
    lookup = _lookup(host, port)
    while not lookup.ended.wait(context):
        context.raise_if_done()
    if lookup.error is not None:
        raise OSError(*lookup.error.args)
    return in_turn([(family, _at_port(address, port)) for family, address in lookup.addresses])


def _lookup(host: str, port: int) -> _Lookup:
    """Return the lookup of this host that is running, or a new one."""
    new = _Lookup(host, port)
    lookup = _running.setdefault(host, new)
    if lookup is new:
        try:
            DetachedCall(lookup.run, f"exporter-core-resolve-{host}")
        except RuntimeError:
            lookup.run()  # from Python 3.12 no thread starts while the interpreter exits; a guard still bounds this
    return lookup


def in_turn(addresses: list[Address]) -> list[Address]:
    """Return the addresses with their families in turn, the first one staying first."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


def _at_port(address: tuple[Any, ...], port: int) -> tuple[Any, ...]:
    """Return the address with this port: the lookup may have been made for another."""
    return (address[0], port, *address[2:])
